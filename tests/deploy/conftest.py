"""What tests of tests/deploy share: the packages that a release needs, fetched once, and the wheel."""

from __future__ import annotations

import fcntl
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from app.base.program import APP_ROOT
from tests.environments.vm import build_wheel


@pytest.fixture(scope="session")
def wheelhouse(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Give the folder with all that `pip --no-index` needs to build this tree, and its lock."""
    # The base of one worker lies in that of all.
    shared = tmp_path_factory.getbasetemp().parent
    folder, done = shared / "wheelhouse", shared / "wheelhouse.done"
    with (shared / "wheelhouse.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not done.exists():
            pip = [sys.executable, "-m", "pip", "wheel", "--quiet", "--wheel-dir", str(folder)]
            subprocess.run([*pip, "--require-hashes", "-r", "requirements.lock"], cwd=APP_ROOT, check=True)
            subprocess.run([*pip, *_BUILDERS], cwd=APP_ROOT, check=True)
            shutil.copy(APP_ROOT / "requirements.lock", folder)
            done.touch()
    return folder


@pytest.fixture(scope="session")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Give the wheel of this tree."""
    return build_wheel(APP_ROOT, tmp_path_factory.mktemp("dist"))


# The same as in pyproject.toml: pip installs them by itself where a tree is to become a wheel.
_BUILDERS = [
    line for line in (APP_ROOT / "requirements-dev.txt").read_text().splitlines() if line.startswith("hatch")
]
