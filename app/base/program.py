"""Where the program lies, and what it is called by whoever types its commands."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Final

# What app/ lies in: the tree, a Functions app's folder, or the package of a wheel.
APP_ROOT: Final = Path(__file__).resolve().parents[2]
# In a wheel that is a package of ours (deploy/wheel); a tree has no such file.
INSTALLED: Final = (APP_ROOT / "__init__.py").is_file()
OF_THE_TREE: Final = "python -m app"
PROGRAM: Final = "microshare-forwarder" if INSTALLED else OF_THE_TREE
# The variable that names another settings file.
CONFIG_VARIABLE: Final = "FORWARDER_CONFIG"


def typed_here() -> str:
    """Give PROGRAM as a shell finds it in this folder: with the path it was called by, where it needs one."""
    import shlex
    import shutil

    if INSTALLED:
        return PROGRAM if shutil.which(PROGRAM) else shlex.quote(sys.argv[0])
    python = Path(sys.executable)
    # Not where links lead: a virtual environment's Python is a link to one that lacks the packages.
    if shutil.which("python") == str(python):
        return PROGRAM
    near = python.is_relative_to(Path.cwd())
    return f"{shlex.quote(str(python.relative_to(Path.cwd()) if near else python))} -m app"
