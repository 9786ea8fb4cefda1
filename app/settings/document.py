"""A settings file with its variables, `${NAME}`, put in.

They are put into texts after the YAML is parsed, so a value never changes its type, and
nothing in it has a meaning.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from app.base.text import printable, shown
from app.settings.json_texts import unwrapped
from app.settings.placeholders import placeholder_in
from app.settings.variables import filled_text

# Where a value stands in the file: ("feeds", "people_counter", "settle").
Keys = tuple[str | int, ...]

_SECRET_KEYS: frozenset[Keys] = frozenset(
    {
        ("microshare", "password"),
        ("microshare", "api_key"),
        ("event_hubs", "primary"),
        ("event_hubs", "others"),
        ("state", "connection_string"),
        ("telemetry", "connection_string"),
    }
)
# Of these, any text could be the real one.
_CREDENTIALS: frozenset[Keys] = frozenset({("microshare", "password"), ("microshare", "api_key")})


@dataclass(frozen=True, slots=True)
class Document:
    """A settings file with its variables put in.

    `origins` has the variable that a value came from, or should come from, `named` all that stand in
    its text, in the order in which they count; `variables` every name in the file,
    `secret_variables` those that a secret is made of; `flaws` what cannot be used, whatever stands there.
    """

    values: Mapping[str, object]
    origins: Mapping[Keys, str]
    named: Mapping[Keys, tuple[str, ...]]
    variables: frozenset[str]
    secret_variables: frozenset[str]
    flaws: Mapping[Keys, str]
    warnings: Mapping[Keys, str]

    def value(self, keys: Keys) -> object:
        """Give what stands there; None where there is nothing."""
        found: object = self.values
        for key in keys:
            found = found.get(str(key)) if isinstance(found, Mapping) else None
        return found

    def name(self, keys: Keys) -> str:
        """Say where a value comes from: its variable, else its dotted key."""
        for end in range(len(keys), 0, -1):
            if keys[:end] in self.origins:
                return self.origins[keys[:end]] + dotted(keys[end:])
        return dotted(keys).removeprefix(".")

    def is_flawed(self, keys: Keys) -> bool:
        return any(keys[:end] in self.flaws for end in range(1, len(keys) + 1))


def is_secret(keys: Keys) -> bool:
    return keys[:2] in _SECRET_KEYS or is_secret_url(keys)


def is_secret_url(keys: Keys) -> bool:
    """Whether a URL stands there whose path is a secret: who has it can write there."""
    return keys[:1] == ("feeds",) and keys[2:3] == ("ping_url",)


def fill_in(written: Mapping[str, object], environment: Mapping[str, str]) -> Document:
    """Put the environment's values into a parsed settings file. Empty values count as unset."""
    filling = _Filling({name: value for name, value in environment.items() if value})
    values = filling.mapping(written, ())
    return Document(
        values,
        filling.origins,
        filling.named,
        frozenset(filling.variables),
        frozenset(filling.secret_variables),
        filling.flaws,
        filling.warnings,
    )


class _Filling:
    """One pass over a parsed file; a value without its variable is left out."""

    def __init__(self, environment: Mapping[str, str]) -> None:
        self._environment = environment
        self.origins: dict[Keys, str] = {}
        self.named: dict[Keys, tuple[str, ...]] = {}
        self.variables: set[str] = set()
        self.secret_variables: set[str] = set()
        self.flaws: dict[Keys, str] = {}
        self.warnings: dict[Keys, str] = {}

    def mapping(self, written: Mapping[str, object], keys: Keys) -> dict[str, object]:
        filled = {str(key): self._value(value, (*keys, str(key))) for key, value in written.items()}
        return {key: value for key, value in filled.items() if value is not None}

    def _value(self, written: object, keys: Keys) -> object:
        if isinstance(written, dict):
            return self.mapping(written, keys)
        if isinstance(written, list):
            return [self._value(value, (*keys, at)) for at, value in enumerate(written)]
        return self._text(written, keys) if isinstance(written, str) else written

    def _text(self, written: str, keys: Keys) -> str | None:
        used: list[str] = []
        try:
            text = filled_text(written, self._environment, used)
        except ValueError as error:
            self.flaws[keys] = str(error)
            return None
        finally:
            self.variables.update(used)
        if is_secret(keys):
            self.secret_variables.update(used)
        if used:
            self.named[keys] = tuple(dict.fromkeys(used))
            self.origins[keys] = next((name for name in used if name in self._environment), used[0])
        if text:
            self._inspect(text, keys, is_literal=not used)
            # What is no UTF-8 is a flaw by now; nothing else should have to look at it.
            text = text.encode("utf-8", "replace").decode()
        return text

    def _inspect(self, text: str, keys: Keys, *, is_literal: bool) -> None:
        flaw = _flaw(text, keys)
        # A view takes a parameter's quotes as part of its query; in YAML they were written on purpose.
        meant = is_literal and keys[2:3] == ("parameters",)
        inner = None if flaw or meant else unwrapped(text)
        if inner is not None:
            if keys == ("microshare", "password"):
                self.warnings[keys] = "is wrapped in quotes, which are sent with it; remove them unless meant"
                return
            advice = "remove them" if is_secret(keys) else f"write {printable(inner)}"
            flaw = f"is wrapped in quotes; {advice}"
        if flaw is not None:
            self.flaws[keys] = flaw if is_secret(keys) else f"{shown(text)} {flaw}"


def _flaw(text: str, keys: Keys) -> str | None:
    # The host's own way to name a schedule is for the rule of schedules to refuse.
    is_schedule = keys[-1] == "schedule"
    if found := placeholder_in(text, credential=keys in _CREDENTIALS, except_percent=is_schedule):
        return found
    if not text.isascii() and any("\ud800" <= character <= "\udfff" for character in text):
        return "holds bytes that are not UTF-8; write it as UTF-8"
    if "\0" in text:
        return "holds a NUL character; remove it"
    return None


def dotted(keys: Keys) -> str:
    return "".join(f"[{key}]" if isinstance(key, int) else f".{key}" for key in keys)
