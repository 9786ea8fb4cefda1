"""A tree that is copied over an earlier one's: it works, or says what is left of the other."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from app.base.program import APP_ROOT

# Modules that stood at the root of app/ in 1.0.0, two of them now the names of folders.
OF_1_0_0 = ("audit.py", "config.py", "forwarder.py", "locations.py", "model.py", "settings.py")
# And some that stood in its folders.
WITHIN_FOLDERS = ("cli/edge.py", "cli/health.py", "eventhub/rehearsal.py", "state/surgery.py")
OF_ANOTHER_VERSION = 'raise AssertionError("code of another version was run")\n'


def laid_over(folder: Path, stale: Sequence[str]) -> Path:
    """Copy this app/ over a folder that holds files of another version."""
    for name in stale:
        path = folder / "app" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(OF_ANOTHER_VERSION)
    ignored = shutil.ignore_patterns("__pycache__")
    shutil.copytree(APP_ROOT / "app", folder / "app", dirs_exist_ok=True, ignore=ignored)
    return folder


def python(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *words], cwd=folder, capture_output=True, text=True, check=False, timeout=60
    )


@pytest.mark.parametrize("words", [("--help",), ("run", "all"), ("check", "--offline")], ids=" ".join)
def test_the_command_line_names_what_is_left_of_another_version(
    tmp_path: Path, words: tuple[str, ...]
) -> None:
    ended = python(laid_over(tmp_path, OF_1_0_0), "-m", "app", *words)

    assert (ended.returncode, ended.stdout) == (2, "")
    assert "6 files of another version" in ended.stderr
    assert "audit.py, config.py, forwarder.py, locations.py, model.py and 1 more" in ended.stderr
    assert "rsync -a --delete" in ended.stderr
    assert "Traceback" not in ended.stderr


@pytest.mark.parametrize("module", ["app.config", "app.forwarder", "app.wiring", "app"])
def test_a_function_app_meets_the_same_error_whichever_version_it_is_of(tmp_path: Path, module: str) -> None:
    ended = python(laid_over(tmp_path, OF_1_0_0), "-c", f"import {module}")

    assert ended.returncode == 1
    assert "ImportError" in ended.stderr
    assert "files of another version left among this one's (audit.py, config.py" in ended.stderr
    assert "code of another version" not in ended.stderr


def test_what_is_left_within_folders_is_in_nobodys_way(tmp_path: Path) -> None:
    ended = python(laid_over(tmp_path, WITHIN_FOLDERS), "-m", "app", "--help")

    assert (ended.returncode, ended.stderr) == (0, "")


def test_a_feed_of_ones_own_that_still_imports_what_has_moved_is_told_what_it_lacks(tmp_path: Path) -> None:
    folder = laid_over(tmp_path, [])
    (folder / "app" / "feeds" / "lifts.py").write_text("from app.model import Reading\n")

    ended = python(folder, "-c", "from app.feeds.feed import load_feed; load_feed('lifts')")

    assert "app/feeds/lifts.py" in ended.stderr
    assert "No module named 'app.model'" in ended.stderr.strip().splitlines()[-1]
