"""Secrets in files: NAME_FILE has the path of what NAME would hold; $CREDENTIALS_DIRECTORY/NAME is that file.

One rule for what hands out secrets as files: systemd's LoadCredential=, Docker's and Kubernetes' secrets.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from app.base.errors import SettingsError
from app.base.files import is_file
from app.base.text import printable
from app.settings.env_file import READABLE, why_unreadable

SUFFIX = "_FILE"
# systemd sets it for a unit with LoadCredential=.
CREDENTIALS_DIRECTORY = "CREDENTIALS_DIRECTORY"
# As much as systemd takes for one credential; the longest list of hubs needs a few KB.
_LARGEST_BYTES = 2**20


@dataclass(frozen=True, slots=True)
class SecretFiles:
    """What the files held, by the names of the variables; and for each of these where it stood."""

    values: Mapping[str, str]
    places: Mapping[str, str]


def read_secret_files(environment: Mapping[str, str], secret_variables: Iterable[str]) -> SecretFiles:
    """Read the files that hold secrets; one newline at the end is cut, and an empty file is none.

    Raises SettingsError with each that cannot be read, and each variable that is set in two ways. No
    message holds what stands in a file.
    """
    values: dict[str, str] = {}
    places: dict[str, str] = {}
    problems: list[str] = []
    for name in sorted(secret_variables):
        given = [name] if environment.get(name) else []
        for place, path in _files_of(name, environment):
            try:
                content = _read(path)
            except ValueError as error:
                problems.append(f"{place}: {error}")
                continue
            if content:
                values[name], places[name] = content, place
                given.append(place)
        if len(given) > 1:
            problems.append(f"{' and '.join(given)}: {_BOTH[len(given)]} set; keep one")
    if problems:
        raise SettingsError(problems)
    return SecretFiles(values, places)


_BOTH = {2: "both are", 3: "all three are"}


def _files_of(name: str, environment: Mapping[str, str]) -> Iterator[tuple[str, Path]]:
    """Give what says where a file is, for messages, and its path."""
    if named := environment.get(name + SUFFIX):
        yield name + SUFFIX, Path(named)
    if folder := environment.get(CREDENTIALS_DIRECTORY):
        path = Path(folder, name)
        # It holds what its unit was given, and that need not be this secret.
        if is_file(path):
            yield f"${CREDENTIALS_DIRECTORY}/{name}", path


def _read(path: Path) -> str:
    """Give a file's text. Raises ValueError."""
    where = f"'{printable(str(path))}'" if _can_be_shown(path) else "what it names, not shown here,"
    if not is_file(path):
        raise ValueError(f"{where} is not a file; write the path of one that holds the secret alone")
    try:
        with path.open("rb") as file:
            content = file.read(_LARGEST_BYTES + 1)
        if len(content) > _LARGEST_BYTES:
            raise ValueError(
                f"{where} is larger than {_LARGEST_BYTES:,} bytes; name the file that holds the secret alone"
            )
        text = content.decode("utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise ValueError(f"{where} cannot be read ({why_unreadable(error)}); {READABLE}") from None
    return text.removesuffix("\n").removesuffix("\r")


def _can_be_shown(path: Path) -> bool:
    """Whether this can be nothing but a path: somebody may write the secret itself in its place."""
    # Path.is_dir raises for most of what os.path.isdir says False to.
    return path.is_absolute() and path.parent != Path(path.anchor) and os.path.isdir(path.parent)  # noqa: PTH112
