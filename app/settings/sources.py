"""Where settings are written: config.yaml, `.env` beside it, the environment, files; which goes before."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from app.base.errors import SettingsError
from app.base.files import is_file
from app.settings.connection_strings import DEVELOPMENT_STORAGE
from app.settings.document import Document, fill_in
from app.settings.env_file import read_env_file
from app.settings.places import env_file_of, find_config_file, find_env_file, given_or_own
from app.settings.secret_files import read_secret_files
from app.settings.variables import read_environment
from app.settings.yaml_file import feeds_in, read_yaml

# What a problem begins with.
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*(?=[:\[.])")
# Set in an app that runs in Azure, and not by `func start`.
SET_BY_AZURE = ("WEBSITE_INSTANCE_ID", "WEBSITE_SITE_NAME")


@dataclass(frozen=True, slots=True)
class Sources:
    """The files that settings are read from; `env_file` is None where there is none.

    `covered` names what the environment sets otherwise than the `.env` file: the environment counts.
    """

    config_file: Path
    env_file: Path | None
    covered: tuple[str, ...]


def find_sources(environ: Mapping[str, str] | None = None) -> Sources:
    """Say where the settings are read from. Raises SettingsError where a file of them cannot be read."""
    environ = given_or_own(environ)
    config_file = find_config_file(environ, None)
    env_file = find_env_file(environ)
    in_file = read_env_file(env_file)
    covered = {name for name, value in in_file.items() if value and environ.get(name, "") not in ("", value)}
    return Sources(config_file, env_file if is_file(env_file) else None, tuple(sorted(covered)))


def refusal(
    problems: Sequence[str], environ: Mapping[str, str], config_file: Path, dotenv: Path | None = None
) -> SettingsError:
    """Give the error that tells each problem under the place of the value that it is about.

    A problem begins with a variable; what no place sets, and what has no variable, is a matter of the
    config file.
    """
    env_file = dotenv or env_file_of(config_file, environ)
    in_file = read_env_file(env_file)

    def standing(problem: str) -> str:
        name = _NAME.match(problem)
        # A credential of systemd's is named by the variable that leads to it.
        if problem.startswith("$") or (name and environ.get(name[0])):
            return "the environment"
        return str(env_file) if name and in_file.get(name[0]) else config_file.name

    return SettingsError(problems, sources=[standing(problem) for problem in problems])


def read_document(
    environ: Mapping[str, str], config_file: Path, dotenv: Path | None = None
) -> tuple[Document, Mapping[str, str]]:
    """Give the settings file with its variables put in, and the variables, those in files included.

    Raises SettingsError where one of the files cannot be read, or a secret is set in two ways.
    """
    written = read_yaml(config_file)
    environment = read_environment(environ, config_file, dotenv)
    # The file alone says which variables are secret, so one pass is enough where none of them is in a file.
    document = fill_in(written, environment)
    in_files = read_secret_files(environment, document.secret_variables)
    if not in_files.values:
        return document, environment
    environment = {**environment, **in_files.values}
    return told_by_files(fill_in(written, environment), in_files.places), environment


def told_by_files(document: Document, places: Mapping[str, str]) -> Document:
    """Let messages name the file that a value came from in place of the variable that it is the value of."""
    origins = {keys: places.get(name, name) for keys, name in document.origins.items()}
    return replace(document, origins=origins)


def written_feeds() -> Sequence[str]:
    """Name the feeds of the settings file, whether they are on or not; none where it cannot be read."""
    try:
        return list(feeds_in(read_yaml(find_config_file(given_or_own(None), None))))
    except SettingsError:
        return ()


def differs_from_local_settings(environ: Mapping[str, str] | None = None) -> Sequence[str]:
    """Name the variables of ours to which `local.settings.json` gives another value than is used here.

    That file, beside the config file, is read by the Functions host alone; it need not be there.
    """
    environ = given_or_own(environ)
    config_file = find_config_file(environ, None)
    document, environment = read_document(environ, config_file)
    try:
        found = json.loads((config_file.parent / "local.settings.json").read_text(encoding="utf-8-sig"))
        written = {} if found.get("IsEncrypted") else dict(found["Values"])
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return ()
    # The host needs some storage; this one says nothing of where the state is.
    return [
        name
        for name in sorted(document.variables & written.keys())
        if written[name] not in (environment.get(name, ""), DEVELOPMENT_STORAGE)
    ]
