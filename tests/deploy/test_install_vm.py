"""A VM: installed, upgraded and rolled back in a root of its own, up to readings in a hub."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.deploy


def test_the_wheel_installs_without_a_registry(tmp_path: Path, wheel: Path, wheelhouse: Path) -> None:
    subprocess.run([sys.executable, "-m", "venv", tmp_path], check=True)
    pip = [tmp_path / "bin" / "pip", "install", "--quiet", "--no-index", "--find-links", wheelhouse, wheel]

    subprocess.run(pip, check=True)

    told = subprocess.run(
        [tmp_path / "bin" / "microshare-forwarder", "--version"], capture_output=True, text=True, check=True
    )
    assert told.stdout.startswith("microshare-forwarder ")
