"""The list of what is in a package: complete, of its Python, always the same bytes."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from app.base.program import APP_ROOT
from app.base.version import VERSION
from tools.dependencies import make, sbom
from tools.locks import RUN, read_lock
from tools.package import PYTHONS, package_name

pytestmark = pytest.mark.deploy


def test_a_list_names_every_package_with_its_licence_and_nothing_of_where_it_was_made(tmp_path: Path) -> None:
    make()
    assert sbom(tmp_path / "one") == 0
    assert sbom(tmp_path / "two") == 0

    for python in PYTHONS:
        text = (tmp_path / "one" / f"{package_name(python)}.cdx.json").read_text()
        found = json.loads(text)
        locked = {
            (one.name, one.version) for one in read_lock((APP_ROOT / RUN).read_text()) if one.is_for(python)
        }
        described = found["metadata"]["component"]
        assert (found["bomFormat"], found["specVersion"]) == ("CycloneDX", "1.6")
        assert (described["name"], described["version"]) == ("microshare-forwarder", VERSION)
        assert {
            (part["name"].lower().replace("_", "-"), part["version"]) for part in found["components"]
        } == locked
        assert [part["name"] for part in found["components"] if not part.get("licenses")] == []
        assert "/tmp" not in text
        assert text == (tmp_path / "two" / f"{package_name(python)}.cdx.json").read_text()
