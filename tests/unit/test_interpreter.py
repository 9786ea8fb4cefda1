"""What is said where packages cannot be loaded because they are for another Python."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest

from app.base.interpreter import needing_packages


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Give an app's folder whose packages are for Python 3.12."""
    folder = tmp_path / ".python_packages" / "lib" / "site-packages"
    for path in ("pure/__init__.py", "any/fast.abi3.so", "fast/core.cpython-312-x86_64-linux-gnu.so"):
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).touch()
    return tmp_path


def test_packages_for_another_python_are_named_with_both_and_what_to_do(
    root: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with pytest.raises(ImportError) as raised, needing_packages(root, (3, 13)):
        import nowhere.core  # type: ignore[import-not-found]  # noqa: F401

    said = str(raised.value)
    assert "are for Python 3.12, and this is 3.13 (No module named 'nowhere')" in said
    assert "deploy those for 3.13" in said
    assert "set the app's Python to 3.12" in said
    assert [(record.levelno, record.getMessage()) for record in caplog.records] == [(logging.CRITICAL, said)]


@pytest.mark.parametrize("running", [(3, 12), (3, 13)], ids=["the same Python", "no packages in the folder"])
def test_whatever_else_cannot_be_imported_is_raised_as_it_is(
    root: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture, running: tuple[int, int]
) -> None:
    folder = root if running == (3, 12) else tmp_path / "elsewhere"

    with (
        pytest.raises(ModuleNotFoundError, match=r"^No module named 'nowhere'$"),
        needing_packages(folder, running),
    ):
        import nowhere.core  # type: ignore[import-not-found,unused-ignore]  # noqa: F401

    assert caplog.records == []


def test_nothing_is_said_where_all_can_be_imported(root: Path, caplog: pytest.LogCaptureFixture) -> None:
    with needing_packages(root, (3, 13)):
        import json  # noqa: F401

    assert caplog.records == []
