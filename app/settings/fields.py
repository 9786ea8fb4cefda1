"""The keys that config.yaml may have, as the classes of schema.py have them: each with its type and marks."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import MISSING, Field, dataclass, fields
from typing import Annotated, Any, Final, Literal, get_args, get_origin, get_type_hints

from app.settings.rules import UNWRITTEN
from app.settings.schema import (
    FeedSettings,
    MicroshareSettings,
    RunSettings,
    Written,
    WrittenFile,
    WrittenHubs,
    WrittenScaleOut,
    WrittenState,
    WrittenTelemetry,
)

# Each is a section of the file; that of feeds has an entry of its class for each feed.
SECTIONS: Final[Mapping[str, type[Written]]] = {
    "microshare": MicroshareSettings,
    "feeds": FeedSettings,
    "event_hubs": WrittenHubs,
    "state": WrittenState,
    "run": RunSettings,
    "scale_out": WrittenScaleOut,
    "telemetry": WrittenTelemetry,
}
ENTRIES: Final = "feeds"


@dataclass(frozen=True, slots=True)
class WrittenField:
    """One key of a section: `kind` is its type without marks; the default of one that is needed is None.

    `checked`: its default is checked beside the values above it, too.
    """

    name: str
    kind: Any
    marks: tuple[Any, ...]
    needed: bool
    default: Any
    checked: bool


def fields_of(section: type[Written]) -> Iterator[WrittenField]:
    """Give the keys of a section, those left out that are set in code alone."""
    hints = get_type_hints(section, include_extras=True)
    for found in fields(section):
        kind, marks = taken_apart(hints[found.name])
        if UNWRITTEN not in marks:
            default = _default(found)
            needed = default is MISSING
            checked = "checked" in found.metadata
            yield WrittenField(found.name, kind, marks, needed, None if needed else default, checked)


def top_fields() -> Iterator[WrittenField]:
    """Give the keys at the top of the file that are no sections."""
    return (found for found in fields_of(WrittenFile) if found.name not in SECTIONS)


def taken_apart(hint: Any) -> tuple[Any, tuple[Any, ...]]:
    """Give a type without its marks, and these."""
    if get_origin(hint) is not Annotated:
        return hint, ()
    kind, *marks = get_args(hint)
    return kind, tuple(marks)


def words_of(kind: Any) -> tuple[str, ...]:
    """Give the words that a type is made of, None among its alternatives or not; of any other type none."""
    alternatives = (kind, *get_args(kind))
    return next((get_args(one) for one in alternatives if get_origin(one) is Literal), ())


def _default(found: Field[Any]) -> Any:
    return found.default if found.default_factory is MISSING else found.default_factory()
