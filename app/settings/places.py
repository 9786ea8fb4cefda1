"""Where config.yaml and the file of variables beside it are looked for."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from app.base.errors import SettingsError
from app.base.files import is_file
from app.base.program import APP_ROOT, CONFIG_VARIABLE, INSTALLED
from app.base.text import shown

_FOLDER = "microshare-forwarder"


def given_or_own(environ: Mapping[str, str] | None) -> Mapping[str, str]:
    """Give `environ`, or where it is None the environment of this process."""
    return os.environ if environ is None else environ


def use_config_file(path: Path) -> None:
    """Let the rest of this process, and what it starts, read that settings file."""
    os.environ[CONFIG_VARIABLE] = str(path.resolve())


def find_config_file(environ: Mapping[str, str], config_file: Path | None) -> Path:
    """Give the argument, else what FORWARDER_CONFIG names, else config.yaml. Raises SettingsError.

    That is the tree's own. What a wheel installed looks in the user's folder and the machine's first
    (`settings_folders`), and then takes the one that came with it.
    """
    if config_file is not None:
        return config_file
    named = environ.get(CONFIG_VARIABLE)
    if named and not is_file(Path(named)):
        raise SettingsError(
            [f"{CONFIG_VARIABLE}: {shown(named)} is not a file; write the path of the settings file"]
        )
    if named:
        return Path(named)
    own = [folder / "config.yaml" for folder in settings_folders(environ)] if INSTALLED else []
    return next(filter(is_file, own), APP_ROOT / "config.yaml")


def settings_folders(environ: Mapping[str, str]) -> list[Path]:
    """Give where an installed command's config.yaml and `env` may lie: the user's folder goes before /etc."""
    given = environ.get("XDG_CONFIG_HOME", "")
    # The Base Directory Specification has relative paths ignored, and systemd's services have no HOME.
    user = Path(given) if Path(given).is_absolute() else Path(environ.get("HOME") or "/", ".config")
    return [user / _FOLDER, Path("/etc", _FOLDER)]


def own_state_folder() -> Path:
    """Give where an account keeps its state that may not write to the machine's folders."""
    given = os.environ.get("XDG_STATE_HOME", "")
    return (Path(given) if Path(given).is_absolute() else Path.home() / ".local" / "state") / _FOLDER


def find_env_file(environ: Mapping[str, str] | None = None) -> Path:
    """Give where the `.env` file would be. Raises SettingsError."""
    environ = given_or_own(environ)
    return env_file_of(find_config_file(environ, None), environ)


def new_env_file(environ: Mapping[str, str]) -> Path:
    """Give where variables are written: the file that is read, or for an installed command the user's own."""
    found = find_env_file(environ)
    if INSTALLED and not is_file(found) and find_config_file(environ, None).parent == APP_ROOT:
        return settings_folders(environ)[0] / "env"
    return found


def env_file_of(config_file: Path, environ: Mapping[str, str]) -> Path:
    """Give the `.env` beside a config file; in the folders of an installed command it is called `env`."""
    folders = settings_folders(environ) if INSTALLED else []
    if config_file.parent in folders:
        return config_file.parent / "env"
    if INSTALLED and config_file.parent == APP_ROOT:
        # Beside what came with the wheel nothing of a user's is looked for.
        files = [folder / "env" for folder in folders]
        return next(filter(is_file, files), files[-1])
    return config_file.parent / ".env"
