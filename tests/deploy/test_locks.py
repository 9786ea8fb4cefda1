"""The locks in an empty environment: pip installs what they name, all of it and nothing else."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from app.base.program import APP_ROOT
from tools.locks import PYTHONS, RUN, TELEMETRY, read_lock
from tools.runtime_venv import find_python

pytestmark = pytest.mark.deploy


@pytest.mark.parametrize("version", PYTHONS)
@pytest.mark.parametrize("lock", [RUN, TELEMETRY])
def test_pip_installs_what_a_lock_names_and_nothing_else(lock: str, version: str, tmp_path: Path) -> None:
    interpreter = find_python(version)
    if interpreter is None:
        pytest.skip(f"needs a Python {version}")
    subprocess.run([interpreter, "-m", "venv", tmp_path / "venv"], check=True)
    python = tmp_path / "venv" / "bin" / "python"
    pip = [str(python), "-m", "pip", "--disable-pip-version-check"]
    subprocess.run([*pip, "install", "--quiet", "--require-hashes", "-r", str(APP_ROOT / lock)], check=True)

    listed = subprocess.run([*pip, "freeze"], capture_output=True, text=True, check=True).stdout
    checked = subprocess.run([*pip, "check"], capture_output=True, text=True, check=False)

    named = {
        f"{one.name}=={one.version}"
        for one in read_lock((APP_ROOT / lock).read_text())
        if one.is_for(version)
    }
    assert {re.sub(r"[-_.]+(?=.*==)", "-", line.lower()) for line in listed.splitlines()} == named
    assert (checked.returncode, checked.stdout) == (0, "No broken requirements found.\n")


def test_a_file_that_is_not_the_one_that_was_locked_is_not_installed(tmp_path: Path) -> None:
    subprocess.run([sys.executable, "-m", "venv", tmp_path / "venv"], check=True)
    [click] = [one for one in read_lock((APP_ROOT / RUN).read_text()) if one.name == "click"]
    (tmp_path / "lock").write_text(f"click=={click.version} --hash=sha256:{'0' * 64}\n")
    pip = [str(tmp_path / "venv" / "bin" / "python"), "-m", "pip", "--disable-pip-version-check"]

    refused = subprocess.run(
        [*pip, "install", "--require-hashes", "-r", str(tmp_path / "lock")],
        capture_output=True,
        text=True,
        check=False,
    )

    assert refused.returncode != 0
    assert "DO NOT MATCH THE HASHES" in refused.stderr
