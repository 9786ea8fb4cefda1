"""Checks the bodies of events against their JSON Schemas, with the package `jsonschema`.

The forwarder itself needs neither: the package is loaded here, and only where somebody asks for it.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple, cast

from app.base import exact_json
from app.base.errors import SettingsError
from app.base.redaction import redact_json
from app.base.text import cut_short, printable
from app.base.wire_forms import form_of
from app.feeds.event_schema import BODIES, Schema, event_schema
from app.feeds.feed import Feed

if TYPE_CHECKING:
    from jsonschema import Draft202012Validator
    from jsonschema.exceptions import ValidationError

_LONGEST = 60


class Flaw(NamedTuple):
    """What does not fit: `place` within the body, the value `seen` there, redacted, and what is expected."""

    place: str
    seen: str
    expected: str

    def __str__(self) -> str:
        return f"{self.place} is {self.seen}; {self.expected}"


@dataclass(frozen=True, slots=True)
class Validated:
    """The `$id` of the schema that a body was checked against, and what of it does not fit."""

    schema: str
    flaws: tuple[Flaw, ...]


class EventValidator:
    """Checks events of these feeds, by their names. Raises SettingsError where the package is missing."""

    def __init__(self, feeds: Mapping[str, Feed]) -> None:
        validator = _validator_class()
        schemas = {
            (feed.rec_type, body): event_schema(name, feed, body)
            for name, feed in feeds.items()
            for body in BODIES
        }
        self._of = {kind: (schema["$id"], validator(schema)) for kind, schema in schemas.items()}

    def check(self, rec_type: object, content_type: str | None, body: bytes) -> Validated | None:
        """Check the body of an event of ours against the schema of its feed and form; None: it has none."""
        said, flaw = _read(body)
        found = self._of.get((str(rec_type), form_of(content_type, said)))
        if found is None:
            return None
        schema, validator = found
        # Of what is missing each name has an error of its own, and they are told together.
        flaws = [flaw] if flaw else dict.fromkeys(map(_flaw, validator.iter_errors(said)))
        return Validated(schema, tuple(flaws))


def _validator_class() -> type[Draft202012Validator]:
    try:
        from jsonschema import Draft202012Validator
    except ModuleNotFoundError:
        import shlex

        do = f"install it: `{shlex.quote(sys.executable)} -m pip install jsonschema`"
        raise SettingsError(
            [f"it takes the package jsonschema, which this Python does not have; {do}"], source="--validate"
        ) from None
    return Draft202012Validator


def _read(body: bytes) -> tuple[Any, Flaw | None]:
    try:
        said = exact_json.loads(body)
        # A key twice is found where it is to be written.
        exact_json.dumps(said)
    except exact_json.NotJson as error:
        return None, Flaw(
            "$", f"not JSON ({cut_short(printable(str(error)), _LONGEST)})", "must be an object"
        )
    return said, None


def _flaw(error: ValidationError) -> Flaw:
    rule, value = cast(Any, error.validator_value), cast(Any, error.instance)
    path = list(error.absolute_path)
    place = "".join(["$", *(f"[{part}]" if isinstance(part, int) else f".{part}" for part in path)])
    if error.validator == "required":
        lacks = " and ".join(name for name in rule if name not in value)
        return Flaw(place, f"without {lacks}", "must have it")
    name = next((part for part in reversed(path) if isinstance(part, str)), "")
    expected = _expected(str(error.validator), rule, cast(Schema, error.schema))
    return Flaw(place, _seen(name, value), expected)


def _seen(name: str, value: object) -> str:
    """Write a value for a message; under a name that says it is a secret its text is masked."""
    (masked,) = redact_json({name: value}).values()
    text = printable(exact_json.dumps(masked).decode())
    return text if len(text) <= _LONGEST else f"{cut_short(text, _LONGEST)}…"


def _expected(keyword: str, rule: object, schema: Schema) -> str:
    if keyword == "anyOf":
        return f"must be: {schema['description']}"
    wanted = exact_json.dumps(rule).decode()
    return f"must be {wanted}" if keyword == "const" else f"must have {keyword} {wanted}"
