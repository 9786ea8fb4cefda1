"""Settings while somebody is asked for them: what a file of variables has, the answers, what both give."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from app.base.files import is_file
from app.settings.credentials import register_credentials
from app.settings.document import Document, Keys, fill_in
from app.settings.env_file import read_env_file, with_values
from app.settings.parts import Parts, read_parts
from app.settings.secret_files import read_secret_files
from app.settings.sources import told_by_files
from app.settings.variables import variables_of
from app.settings.yaml_file import feeds_in, read_yaml

# Azure has storage of its own for these, and no file of this host.
_OF_THIS_HOST = ("state", "ca_file")


class Answers:
    """What is given so far: by the environment, by secret files, by the file of variables, by answers.

    An answer that is empty takes a value of the file away. Raises SettingsError where one of the files
    cannot be read.
    """

    def __init__(self, config_file: Path, env_file: Path, environ: Mapping[str, str]) -> None:
        self.config_file = config_file
        self.env_file = env_file
        self._environ = {name: value for name, value in environ.items() if value}
        self._in_file = {name: value for name, value in read_env_file(env_file).items() if value}
        self._answered: dict[str, str] = {}
        self._written = read_yaml(config_file)
        bare = fill_in(self._written, {})
        self._named = bare.named
        self._secrets = bare.secret_variables
        self._in_secret_files = read_secret_files(variables_of(self._in_file, self._environ), self._secrets)
        self.feeds = list(feeds_in(self._written))

    def variable(self, keys: Keys) -> str | None:
        """Give the variable that a setting comes from; None where the settings file has its value itself."""
        return next(iter(self._named.get(keys, ())), None)

    def set_elsewhere(self, variable: str) -> str | None:
        """Say where else a variable is set than in the file, which it goes before."""
        if variable in self._environ:
            return "the environment"
        return self._in_secret_files.places.get(variable)

    def value(self, keys: Keys) -> object:
        """Give what counts now; None where there is nothing."""
        return self._document({}).value(keys)

    def answer(self, variable: str, value: str) -> str | None:
        """Take an answer; give the one that was there, for `put_back`."""
        before = self._answered.pop(variable, None)
        if self._in_file.get(variable, "") != value:
            self._answered[variable] = value
        return before

    def put_back(self, variable: str, before: str | None) -> None:
        """Let an answer be what it was, None where there was none."""
        self._answered.pop(variable, None)
        if before is not None:
            self._answered[variable] = before

    def parts(self, stand_ins: Mapping[str, str] | None = None) -> Parts:
        """Give what can be read of the settings; a stand-in counts where nothing else does.

        Every secret is registered for redaction.
        """
        document, values = self._document(stand_ins or {}), self._values(stand_ins or {})
        register_credentials(document, values)
        return read_parts(told_by_files(document, self._in_secret_files.places), values, self._environ)

    def problems_of(self, variable: str) -> Sequence[str]:
        """Say what is wrong with the value of a variable, as it is or beside others."""
        begins = tuple(f"{variable}{mark}" for mark in ":[.")
        return [problem for problem in self.parts().problems if problem.startswith(begins)]

    def is_secret(self, variable: str) -> bool:
        return variable in self._secrets

    # --- what is written ----------------------------------------------------------------------------

    def new(self) -> Mapping[str, str]:
        """Give the answers that the file has no value for."""
        return {name: value for name, value in self._answered.items() if name not in self._in_file}

    def replaced(self) -> Mapping[str, tuple[str, str]]:
        """Give the answers that replace a value of the file: what it was, and what it is to be."""
        return {
            name: (self._in_file[name], value)
            for name, value in self._answered.items()
            if name in self._in_file
        }

    def text_with(self, values: Mapping[str, str]) -> str:
        """Give the text of the file with these values; what else is in it stays."""
        there = is_file(self.env_file)
        text = self.env_file.read_bytes().decode("utf-8-sig") if there else _HEAD
        return with_values(text, values)

    def for_azure(self) -> Mapping[str, str]:
        """Give what an app in Azure is to have: all that is set but for what only this host has."""
        values = self._values({})
        names = [
            name for keys, named in self._named.items() for name in named if keys[0] not in _OF_THIS_HOST
        ]
        return {name: values[name] for name in dict.fromkeys(names) if name in values}

    # ------------------------------------------------------------------------------------------------

    def _values(self, stand_ins: Mapping[str, str]) -> Mapping[str, str]:
        given = variables_of({**self._in_file, **self._answered}, self._environ)
        return {**stand_ins, **given, **self._in_secret_files.values}

    def _document(self, stand_ins: Mapping[str, str]) -> Document:
        return fill_in(self._written, self._values(stand_ins))


_HEAD = "# Settings of the forwarder: NAME='value'. docs/settings.md has every name.\n"
