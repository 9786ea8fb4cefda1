"""The command `microshare-forwarder`, as the wheel installs it: `python -m app` of the tree, and all it does.

Packages of the application import one another as `app...`, which is not a name for a package
among others: it is in this one, and this folder is on the path of this command alone.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import NoReturn


def main() -> NoReturn:
    """Do what the command line says, and end with the exit status."""
    sys.path.insert(0, str(Path(__file__).resolve().parent))
    from app.__main__ import main as run

    run()
