"""Where the program lies, and what it is called by whoever types its commands."""

from __future__ import annotations

from pathlib import Path
from typing import Final

# What app/ lies in: the tree, a Functions app's folder, or the package of a wheel.
APP_ROOT: Final = Path(__file__).resolve().parents[2]
# In a wheel that is a package of ours (deploy/wheel); a tree has no such file.
INSTALLED: Final = (APP_ROOT / "__init__.py").is_file()
OF_THE_TREE: Final = "python -m app"
PROGRAM: Final = "microshare-forwarder" if INSTALLED else OF_THE_TREE
