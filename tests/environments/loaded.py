"""What a process has loaded when it ends: facts, where time would be a guess."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Mapping

from app.base.program import APP_ROOT

_TELL = "import atexit, sys\natexit.register(lambda: print(*sys.modules, file=sys.stderr))\n"


def loaded_by(program: str, environ: Mapping[str, str] | None = None) -> list[str]:
    """Give the modules that this program, which succeeds in the tree, has loaded, in their order."""
    ended = subprocess.run(
        [sys.executable, "-c", _TELL + program],
        cwd=APP_ROOT,
        env=environ,
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    return ended.stderr.splitlines()[-1].split()
