"""Commands called in this process, with settings and a state folder of their own."""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path

import pytest

from app.base.program import APP_ROOT
from app.cli import main
from app.state.json_file import JsonFileStore
from tests.commands import ENVIRONMENT, Call, Ended

# What is left of the environment in which the tests are run.
_KEPT = ("PATH", "HOME", "LANG", "LC_", "TMPDIR", "PYTEST", "PYTHON")


@pytest.fixture
def environ(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """Give the settings that commands find; none comes from where the tests are run."""
    shutil.copy(APP_ROOT / "config.yaml", tmp_path)
    variables = {
        **ENVIRONMENT,
        "FORWARDER_CONFIG": str(tmp_path / "config.yaml"),
        "STATE_DIR": str(tmp_path / "state"),
    }
    for name in os.environ:
        if not name.startswith(_KEPT):
            monkeypatch.delenv(name)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    return variables


@pytest.fixture
def call(
    environ: dict[str, str], monkeypatch: pytest.MonkeyPatch, capfdbinary: pytest.CaptureFixture[bytes]
) -> Call:
    def call(*words: str, **variables: str) -> Ended:
        for name, value in variables.items():
            monkeypatch.setenv(name, value)
        with pytest.raises(SystemExit) as ended:
            main(list(words))
        sys.stdout.flush()
        out, err = capfdbinary.readouterr()
        return Ended(int(ended.value.code or 0), out.decode(), err.decode())

    return call


@pytest.fixture
def store(environ: dict[str, str]) -> JsonFileStore:
    return JsonFileStore(environ["STATE_DIR"])
