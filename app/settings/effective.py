"""The settings that count: each with its value, its variables, where it came from, and what that covers.

Whatever of them is refused, the others are told.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Final, Literal

from app.base.errors import SettingsError
from app.base.files import is_file
from app.base.instants import write_duration
from app.settings.credentials import register_credentials
from app.settings.document import Document, Keys, dotted, fill_in, is_secret
from app.settings.env_file import read_env_file
from app.settings.fields import ENTRIES, SECTIONS, WrittenField, fields_of, top_fields
from app.settings.network import PROXIES, VARIABLES
from app.settings.parts import Parts, read_parts
from app.settings.places import env_file_of, find_config_file, given_or_own
from app.settings.secret_files import CREDENTIALS_DIRECTORY, SUFFIX, SecretFiles, read_secret_files
from app.settings.sources import refusal, told_by_files
from app.settings.summaries import proxy_summary, summary_of
from app.settings.variables import read_environment, variables_of
from app.settings.yaml_file import feeds_in, lines_of, read_yaml

# `config default` is what stands in config.yaml for a variable that is not set; `default` is the code's.
Kind = Literal[
    "environment",
    "env file",
    "secret file",
    "credentials directory",
    "config",
    "config default",
    "default",
]


NETWORK: Final = "network"


@dataclass(frozen=True, slots=True)
class Place:
    """Where a value stands: `where` names the file, with its line in config.yaml."""

    kind: Kind
    where: str
    variable: str | None = None


@dataclass(frozen=True, slots=True)
class Covered:
    """What is set, and does not count; its value is None where that is secret."""

    place: Place
    value: object


@dataclass(frozen=True, slots=True)
class Effective:
    """One setting: `value` is as it is written, and None for a secret or where there is none.

    `summary` is what people may know of a secret that is set. Of the network's variables, which have no
    key in config.yaml, the keys begin with `NETWORK`.
    """

    keys: Keys
    variables: tuple[str, ...]
    value: object
    is_set: bool
    secret: bool
    summary: str | None
    place: Place | None
    covers: tuple[Covered, ...] = ()

    @property
    def name(self) -> str | None:
        """Give its name in config.yaml."""
        return None if self.keys[0] == NETWORK else dotted(self.keys).removeprefix(".")


@dataclass(frozen=True, slots=True)
class Inventory:
    """All settings of an installation, and the error with which commands refuse them, if they do."""

    config_file: Path
    env_file: Path
    has_env_file: bool
    settings: Sequence[Effective]
    parts: Parts
    error: SettingsError | None


def take_inventory(environ: Mapping[str, str] | None = None) -> Inventory:
    """Read the settings that count. Raises SettingsError where the settings file itself cannot be read.

    Every secret is registered for redaction.
    """
    environ = given_or_own(environ)
    config_file = find_config_file(environ, None)
    written, lines = read_yaml(config_file), lines_of(config_file)
    given = _read_variables(environ, config_file, fill_in(written, {}).secret_variables)
    document = fill_in(written, given.values)
    register_credentials(document, given.values)
    parts = read_parts(told_by_files(document, given.in_files.places), given.values, environ)
    error = given.error
    if error is None and parts.problems:
        error = refusal(parts.problems, environ, config_file)
    told = _Told(document, given, lines, config_file.name)
    return Inventory(
        config_file,
        given.env_file,
        is_file(given.env_file),
        list(told.everything()),
        parts,
        error,
    )


# --- variables --------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Variables:
    """What the environment, the file of variables and secret files say, each by itself; `values` is all."""

    environ: Mapping[str, str]
    env_file: Path
    in_env_file: Mapping[str, str]
    in_files: SecretFiles
    error: SettingsError | None

    @property
    def values(self) -> Mapping[str, str]:
        return {**variables_of(self.in_env_file, self.environ), **self.in_files.values}

    def places_of(self, variable: str) -> Iterator[tuple[Place, str]]:
        """Give where a variable is set, and to what, the place that counts first."""
        if value := self.environ.get(variable):
            yield Place("environment", "the environment", variable), value
        if value := self.in_env_file.get(variable):
            yield Place("env file", str(self.env_file), variable), value
        if variable in self.in_files.values:
            yield self._file_of(variable), self.in_files.values[variable]

    def _file_of(self, variable: str) -> Place:
        if self.in_files.places[variable] == variable + SUFFIX:
            return Place("secret file", self.values[variable + SUFFIX], variable + SUFFIX)
        folder = self.values[CREDENTIALS_DIRECTORY]
        return Place("credentials directory", str(Path(folder, variable)), variable)


def _read_variables(environ: Mapping[str, str], config_file: Path, secrets: frozenset[str]) -> _Variables:
    """Read as `read_document` does; what cannot be read is left out, and the first error is kept."""
    error: SettingsError | None = None
    env_file = env_file_of(config_file, environ)
    in_env_file: Mapping[str, str] = {}
    try:
        read_environment(environ, config_file, None)
        in_env_file = read_env_file(env_file)
    except SettingsError as refused:
        error = refused
    given = variables_of(in_env_file, environ)
    values: dict[str, str] = {}
    places: dict[str, str] = {}
    problems: list[str] = []
    for name in sorted(secrets):
        try:
            found = read_secret_files(given, [name])
        except SettingsError as refused:
            problems += refused.problems
        else:
            values |= found.values
            places |= found.places
    error = error or (SettingsError(problems) if problems else None)
    return _Variables(environ, env_file, in_env_file, SecretFiles(values, places), error)


# --- settings ---------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Told:
    """Tells of each key of a document where its value came from."""

    document: Document
    given: _Variables
    lines: Mapping[Keys, int]
    file: str

    def everything(self) -> Iterator[Effective]:
        for name, section in SECTIONS.items():
            for keys in self._entries(name):
                for found in fields_of(section):
                    yield from self._field((*keys, found.name), found)
        for found in top_fields():
            yield from self._field((found.name,), found)
        for variable in VARIABLES:
            yield from self._network(variable)

    def _network(self, variable: str) -> Iterator[Effective]:
        """Tell of a variable that is set; of proxies and what is reached without them small letters first."""
        names = (variable.lower(), variable) if variable in (*PROXIES, "NO_PROXY") else (variable,)
        secret = variable in PROXIES
        places = [found for name in names for found in self.given.places_of(name)]
        if not places:
            return
        (place, value), *others = places
        covers = [Covered(at, None if secret else found) for at, found in others if found != value]
        summary = proxy_summary(value) if secret else None
        keys = (NETWORK, variable)
        yield Effective(keys, names, None if secret else value, True, secret, summary, place, tuple(covers))

    def _entries(self, section: str) -> Sequence[Keys]:
        if section != ENTRIES:
            return [(section,)]
        return [(section, name) for name in feeds_in(self.document.values)]

    def _field(self, keys: Keys, found: WrittenField) -> Iterator[Effective]:
        value = self.document.value(keys)
        if isinstance(value, dict) and value and not is_secret(keys):
            for name in value:
                yield self._setting((*keys, name), None)
        else:
            yield self._setting(keys, found.default)

    def _setting(self, keys: Keys, default: object) -> Effective:
        written = self.document.value(keys)
        secret, variables = is_secret(keys), self._variables(keys)
        value = _as_written(default if written is None else written)
        covers = self._covered(keys, variables)
        is_set = value not in _NOTHING
        return Effective(
            keys,
            variables,
            None if secret else value,
            is_set,
            secret,
            summary_of(keys, value) if secret and is_set else None,
            self._place(keys, default),
            tuple(Covered(place, None if secret else found) for place, found in covers),
        )

    def _variables(self, keys: Keys) -> tuple[str, ...]:
        """Give the variables in a value's text; of a list or mapping those of all its texts."""
        below = [names for at, names in self.document.named.items() if at[: len(keys)] == keys]
        return tuple(dict.fromkeys(name for names in below for name in names))

    def _place(self, keys: Keys, default: object) -> Place | None:
        counts = self.document.origins.get(keys, "")
        if places := list(self.given.places_of(counts)):
            return places[0][0]
        if self.document.value(keys) is not None:
            line = self.lines.get(keys)
            where = self.file if line is None else f"{self.file}:{line}"
            return Place("config default" if counts else "config", where)
        return None if default is None else Place("default", "the code")

    def _covered(self, keys: Keys, variables: Sequence[str]) -> Iterator[tuple[Place, str]]:
        """Give what is set and does not count: in a place further down, or a variable for a default."""
        counts = self.document.origins.get(keys, "")
        value = self.given.values.get(counts)
        if value is None:
            return
        yield from ((place, found) for place, found in self.given.places_of(counts) if found != value)
        # A text of several variables is more than the value of the first.
        if self.document.value(keys) == value:
            for other in variables:
                if other != counts:
                    yield from self.given.places_of(other)


_NOTHING: Final[tuple[object, ...]] = (None, "", "[]", [], {})


def _as_written(value: object) -> object:
    """Give a default as one writes it in the file."""
    if isinstance(value, timedelta):
        return write_duration(value)
    return list(value) if isinstance(value, tuple) else value
