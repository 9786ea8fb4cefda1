"""What to do where the Python that runs this lacks a package, or has those of another. Needs none itself."""

from __future__ import annotations

import importlib.util
import logging
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from app.base.program import APP_ROOT, INSTALLED


def lacking(
    error: ModuleNotFoundError,
    *,
    python: str = sys.executable,
    root: Path = APP_ROOT,
    installed: bool = INSTALLED,
) -> str | None:
    """Say which interpreter lacks which package, and the two ways out; None for a module of ours."""
    package = (error.name or "").partition(".")[0]
    if not package or package in ("app", "emulators", "function_app"):
        return None
    import shlex

    lacks = f"this Python, {python}, lacks the package {error.name}, which the forwarder needs"
    pip = f"{shlex.quote(python)} -m pip install"
    if installed:
        return f"{lacks}; install the wheel again, with what it needs: {pip} FILE.whl"
    known = [root / ".venv" / "bin" / "python", root / ".venv" / "Scripts" / "python.exe"]
    has_them = next((path for path in known if path.exists() and str(path) != python), None)
    requirements = shlex.quote(str(root / "requirements.txt"))
    if has_them is not None:
        other = f"call the one that has them: {shlex.quote(str(has_them))} -m app"
    else:
        venv = shlex.quote(str(root / ".venv"))
        made = f"python3 -m venv {venv} && {venv}/bin/pip install -r {requirements}"
        other = f"make a virtual environment: {made}"
    return f"{lacks}; {other}; or install them into this one: {pip} -r {requirements}"


def is_there(package: str) -> bool:
    """Whether a package, or a part of one, could be loaded. It is not loaded, but what it lies in is."""
    try:
        return importlib.util.find_spec(package) is not None
    except ModuleNotFoundError:
        return False  # nor is what it would lie in


def require(package: str) -> None:
    """Raise ModuleNotFoundError where a package is missing, as loading it would. It is not loaded."""
    if not is_there(package):
        raise ModuleNotFoundError(f"No module named {package!r}", name=package)


@contextmanager
def needing_packages(
    root: Path = APP_ROOT, running: tuple[int, int] = sys.version_info[:2]
) -> Iterator[None]:
    """Say for which Python the packages are, where one that is imported inside cannot be loaded for that.

    The Functions host lists no function then, and shows nobody why. Raises what was raised, in these words.
    """
    try:
        yield
    except ImportError as error:
        folder = root / ".python_packages" / "lib" / "site-packages"
        made_for, runs = _made_for(folder), "{}.{}".format(*running)
        if made_for is None or runs == made_for:
            raise
        said = (
            f"the packages in .python_packages are for Python {made_for}, and this is {runs} ({error}); "
            f"deploy those for {runs} (`make package` makes them), or set the app's Python to {made_for}"
        )
        # Raised alone it would be in no log of the app where functions are listed.
        logging.getLogger(__name__).critical(said)
        raise ImportError(said) from error


def _made_for(folder: Path) -> str | None:
    """Give the Python that compiled modules below a folder are for, as they tell by their names."""
    names = (path.name for path in folder.glob("**/*.cpython-3*.so"))
    found = next((match for name in names if (match := re.search(r"\.cpython-3(\d+)-", name))), None)
    return found and f"3.{found[1]}"
