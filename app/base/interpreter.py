"""What to do where the Python that runs this lacks a package. Needs none itself."""

from __future__ import annotations

import sys
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
