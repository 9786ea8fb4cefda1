"""Events of a location as size-limited batches, encoded once for all hubs that take them."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from app.base.readings import Event, Reading
from app.eventhub import encoding

if TYPE_CHECKING:
    from azure.eventhub import EventDataBatch

_LONGEST_PARTITION_KEY = 128
_CONTENT_TYPE = "application/json"


@dataclass(frozen=True, slots=True)
class Counts:
    """How much is in a batch: events, the readings in them, and the bytes of their bodies."""

    events: int
    readings: int
    body_bytes: int


@dataclass(frozen=True, slots=True)
class Batch:
    """Events of one location, encoded once; any number of hubs may send it."""

    events: tuple[Event, ...]
    size_bytes: int
    encoded: EventDataBatch = field(repr=False, compare=False)
    had: Counts | None = None

    @property
    def counts(self) -> Counts:
        readings = sum(len(event.readings) for event in self.events)
        return self.had or Counts(len(self.events), readings, sum(len(event.body) for event in self.events))

    def without_events(self) -> Batch:
        """Give the batch as it waits to be sent: events take several times the memory of their encoding."""
        return replace(self, events=(), had=self.counts)


@dataclass(frozen=True, slots=True)
class Packed:
    """What became of events under a size limit: batches in order, and readings that fit no message."""

    batches: tuple[Batch, ...]
    oversize: tuple[Reading, ...]


def partition_key(location: str) -> str:
    """Give a location's partition key: itself, or where it is too long its start and a stable hash."""
    key = wire_text(location)
    if len(key) <= _LONGEST_PARTITION_KEY:
        return key
    digest = hashlib.sha256(key.encode()).hexdigest()[:24]
    return f"{key[: _LONGEST_PARTITION_KEY - len(digest) - 1]}-{digest}"


def pack(
    events: Sequence[Event],
    largest_bytes: int,
    split: Callable[[Event, Callable[[Event], bool]], tuple[list[Event], list[Reading]]],
) -> Packed:
    """Encode events of one location into batches of at most `largest_bytes`, keeping their order.

    An event that alone is larger is split by `split`; what still does not fit, a part too, is oversize.
    """
    packer = _Packer(largest_bytes)
    oversize: list[Reading] = []
    for event in events:
        if packer.add(event):
            continue
        parts, too_large = split(event, packer.fits)
        oversize += too_large
        for part in parts:
            if not packer.add(part):
                oversize += part.readings
    return Packed(packer.finish(), tuple(oversize))


class _Packer:
    def __init__(self, largest_bytes: int) -> None:
        self._largest = largest_bytes
        self._batches: list[Batch] = []
        self._open: EventDataBatch | None = None
        self._events: list[Event] = []

    def fits(self, event: Event) -> bool:
        """Whether the event alone fits a message."""
        return _try_add(self._empty(event), event)

    def add(self, event: Event) -> bool:
        """Add the event to the batch that is open, or to a new one. False: it is too large for any."""
        if self._open is not None and _try_add(self._open, event):
            self._events.append(event)
            return True
        fresh = self._empty(event)
        if not _try_add(fresh, event):
            return False
        self._close()
        self._open, self._events = fresh, [event]
        return True

    def finish(self) -> tuple[Batch, ...]:
        self._close()
        return tuple(self._batches)

    def _empty(self, event: Event) -> EventDataBatch:
        from azure.eventhub import EventDataBatch

        return EventDataBatch(max_size_in_bytes=self._largest, partition_key=partition_key(event.location))

    def _close(self) -> None:
        if self._open is not None:
            self._batches.append(Batch(tuple(self._events), self._open.size_in_bytes, self._open))
        self._open, self._events = None, []


def _try_add(batch: EventDataBatch, event: Event) -> bool:
    return encoding.add(
        batch,
        partition_key(event.location),
        message_id=event.message_id,
        content_type=_CONTENT_TYPE,
        body=event.body,
        properties={name: _wire_value(value) for name, value in event.properties.items()},
    )


def _wire_value(value: str | int | bool) -> str | int | bool:
    return wire_text(value) if isinstance(value, str) else value


def wire_text(text: str) -> str:
    """Give a text as it is on the wire: UTF-8 has no lone surrogates, they are written as their escapes."""
    return text.encode("utf-8", "backslashreplace").decode()
