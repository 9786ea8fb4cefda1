"""Commands to try next, written so that they work as they stand, in a fresh shell, whatever its folder."""

from __future__ import annotations

import shlex
import shutil
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path

ROOT = Path(__file__).parent.parent


def python() -> str:
    """Give how a shell in the project's folder calls the Python that runs this: it has the packages.

    `python` alone is that one only where it is no virtual environment's: another shell need not have it on.
    """
    running = Path(sys.executable)
    found = shutil.which("python")
    if sys.prefix == sys.base_prefix and found is not None and Path(found).samefile(running):
        return "python"
    inside = running.is_relative_to(ROOT)
    return shlex.quote(str(running.relative_to(ROOT) if inside else running))


def in_another_terminal(env_file: Path, commands: Iterable[str]) -> Iterator[str]:
    """Give the lines that take over the settings of a file, and call these commands of the forwarder."""
    yield f"cd {shlex.quote(str(ROOT))}"
    yield f"set -a; . {shlex.quote(str(env_file.resolve()))}; set +a"
    for words in commands:
        yield f"{python()} -m app {words}"


def from_here(command: str) -> str:
    """Give a command of the project's folder as it works in the folder where the user is."""
    return command if Path.cwd() == ROOT else f"cd {shlex.quote(str(ROOT))} && {command}"
