"""What other accounts of this machine could read of the settings, or change of the state."""

from __future__ import annotations

import os
import shlex
import stat
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from app.settings.places import find_env_file
from app.settings.schema import Settings, StateSettings

# What a state's folder holds below it; who cannot look into these cannot read what is in them.
_BELOW = ("history", "quarantine", "backups")


def with_rights_told(settings: Settings) -> Settings:
    """Give the settings with a warning of each file of theirs, or of the state, that is too open."""
    return replace(settings, warnings=(*settings.warnings, *too_open(find_env_file(), settings.state)))


def too_open(env_file: Path, state: StateSettings) -> Iterator[str]:
    """Say what every account may read or write that should be for this one alone, and how to close it.

    Groups are for whoever made them. Nothing is said of what is not there, or where files have no such
    rights (Windows).
    """
    if os.name == "nt":
        return
    if _mode(env_file) & stat.S_IROTH:
        yield (
            f"{env_file} has secrets in it, and every account on this host can read it; "
            f"{_command('chmod o-rwx', env_file)}"
        )
    if state.store == "json":
        yield from _open_state(Path(state.directory))


def _open_state(folder: Path) -> Iterator[str]:
    if _mode(folder) & stat.S_IWOTH:
        yield (
            f"every account on this host can change the state in {folder}; {_command('chmod o-rwx', folder)}"
        )
    readable = [path for path in _kept_in(folder) if _mode(path) & stat.S_IROTH]
    if readable:
        more = f", and {len(readable) - 1:,} more" if len(readable) > 1 else ""
        yield (
            f"every account on this host can read {readable[0].name}{more} in {folder}; "
            f"{_command('chmod -R o-rwx', folder)}"
        )


def _kept_in(folder: Path) -> list[Path]:
    try:
        return sorted([*folder.glob("*.json*"), *(folder / name for name in _BELOW)])
    except OSError:
        return []


def _mode(path: Path) -> int:
    try:
        return path.stat().st_mode
    except OSError:
        return 0


def _command(words: str, path: Path) -> str:
    return f"{words} {shlex.quote(str(path))}"
