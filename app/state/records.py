"""How a frozen record is written as a JSON object and read back, field by field."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, Final

from app.base.instants import DAY, EPOCH, LATEST, format_time, parse_time

_REQUIRED: Final = object()
_BEYOND: Final = LATEST - 366 * DAY


@dataclass(frozen=True, slots=True)
class Ready:
    """Stands in a document for the value of a field that was read from the text: JSON has no such values."""

    value: Any


@dataclass(frozen=True, slots=True)
class Field:
    """How one field is written and read, each of which may raise what it likes.

    `attribute` is the record's name for it where the document has another. `absent` is read where
    it is missing: an earlier version did not write it.
    """

    write: Callable[[Any], Any]
    read: Callable[[Any], Any]
    attribute: str = ""
    absent: Any = _REQUIRED

    def of(self, attribute: str) -> Field:
        return replace(self, attribute=attribute)

    def or_absent(self, absent: Any = None) -> Field:
        return replace(self, absent=absent)

    def or_none(self) -> Field:
        write, read = self.write, self.read
        return replace(
            self,
            write=lambda value: None if value is None else write(value),
            read=lambda found: None if found is None else read(found),
        )


class Record:
    """A kind of record, and the fields of its document in their order."""

    def __init__(self, kind: Callable[..., Any], fields: Mapping[str, Field]) -> None:
        self._kind = kind
        self._fields = [(name, field.attribute or name, field) for name, field in fields.items()]

    def document(self, record: Any) -> dict[str, Any]:
        return {name: field.write(getattr(record, attribute)) for name, attribute, field in self._fields}

    def value(self, document: Mapping[str, Any], **more: Any) -> Any:
        """Read a record; `more` are fields that its document does not have."""
        for name, attribute, field in self._fields:
            found = document[name] if field.absent is _REQUIRED else document.get(name, field.absent)
            more[attribute] = found.value if type(found) is Ready else field.read(found)
        return self._kind(**more)

    def field(self) -> Field:
        return Field(self.document, self.value)


def of_kind(kind: type, value: Any) -> Any:
    """Give the value if it is of the kind itself. Raises TypeError; a bool is no int."""
    if type(value) is not kind:
        raise TypeError(f"a {type(value).__name__} where a {kind.__name__} belongs")
    return value


def in_reach(instant: datetime) -> datetime:
    """Give an instant that lies between 1970 and a year before the calendar's end, so that time can be added.

    Raises ValueError for one beyond: no clock was ever believed that said so.
    """
    if not EPOCH <= instant < _BEYOND:
        raise ValueError(f"{instant:%Y-%m-%d} is outside all that is forwarded")
    return instant


def several(field: Field) -> Field:
    """Give the field of a tuple of such values, which is written as a list."""
    return Field(
        lambda values: [field.write(value) for value in values],
        lambda found: tuple(field.read(value) for value in of_kind(list, found)),
    )


def texts_from(found: Any) -> tuple[str, ...]:
    """Read a list of texts."""
    for text in of_kind(list, found):
        of_kind(str, text)
    return tuple(found)


def keyed(field: Field) -> Field:
    """Give the field of such values by their keys, which are written in their order."""
    return Field(
        lambda values: {key: field.write(value) for key, value in sorted(values.items())},
        lambda found: {key: field.read(value) for key, value in found.items()},
    )


def _instant(found: Any) -> datetime:
    return parse_time(of_kind(str, found))


def _as_it_is(kind: type) -> Field:
    return Field(lambda value: value, lambda found: of_kind(kind, found))


TEXT: Final = _as_it_is(str)
NUMBER: Final = _as_it_is(int)
FLAG: Final = _as_it_is(bool)
INSTANT: Final = Field(format_time, _instant)
# An instant that look-backs and days are added to, and taken from.
POSITION: Final = Field(format_time, lambda found: in_reach(_instant(found)))
