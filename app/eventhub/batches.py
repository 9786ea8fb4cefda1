"""Events of a location as size-limited batches, encoded once for all hubs that take them."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from app.base.readings import Event, Reading
from app.base.wire_forms import PLAIN, Message, WireForm, message_of, wire_text
from app.eventhub.encoding import Envelope, empty

if TYPE_CHECKING:
    from azure.eventhub import EventDataBatch

_LONGEST_PARTITION_KEY = 128


Split = Callable[[Event, Callable[[Event], bool]], tuple[list[Event], list[Reading]]]
"""Gives the parts of an event that fit, and the readings that never will."""


@dataclass(frozen=True, slots=True)
class Counts:
    """How much is in a batch: events, the readings in them, and the bytes of their bodies."""

    events: int
    readings: int
    body_bytes: int


@dataclass(frozen=True, slots=True)
class Batch:
    """Events of one location, encoded once; any number of hubs of one form may send it."""

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
    split: Split,
    form: WireForm = PLAIN,
) -> Packed:
    """Encode events of one location into batches of at most `largest_bytes`, keeping their order.

    An event that alone is larger is split by `split`; what still does not fit, a part too, is oversize.
    """
    return pack_alike(events, largest_bytes, split, [form])[form]


def pack_alike(
    events: Sequence[Event], largest_bytes: int, split: Split, forms: Sequence[WireForm]
) -> dict[WireForm, Packed]:
    """Do what `pack` does for several forms, with the same events in all.

    What is too large in one of them is split, or is oversize, in each.
    """
    each = [(form, _Packer(largest_bytes)) for form in forms]
    oversize: list[Reading] = []

    def fits(event: Event) -> bool:
        return all(packer.fits(event, message_of(event, form)) for form, packer in each)

    def add(event: Event) -> bool:
        if len(each) == 1:
            form, packer = each[0]
            return packer.add(event, message_of(event, form))
        # It goes into all or none.
        messages = [(packer, message_of(event, form)) for form, packer in each]
        return all(packer.fits(event, message) for packer, message in messages) and all(
            packer.add(event, message) for packer, message in messages
        )

    for event in events:
        if add(event):
            continue
        parts, too_large = split(event, fits)
        oversize += too_large
        for part in parts:
            if not add(part):
                oversize += part.readings
    return {form: Packed(packer.finish(), tuple(oversize)) for form, packer in each}


class _Packer:
    def __init__(self, largest_bytes: int) -> None:
        self._largest = largest_bytes
        self._batches: list[Batch] = []
        self._open: EventDataBatch | None = None
        self._events: list[Event] = []
        self._body_bytes = 0
        self._envelope: Envelope | None = None

    def fits(self, event: Event, message: Message) -> bool:
        """Whether the event alone, as this message, fits a batch."""
        return self._envelope_of(event, message).fits(self._largest, message)

    def add(self, event: Event, message: Message) -> bool:
        """Add the event to the batch that is open, or to a new one. False: it is too large for any."""
        envelope = self._envelope_of(event, message)
        if self._open is None or not envelope.add(self._open, message):
            fresh = empty(self._largest, partition_key(event.location))
            if not envelope.add(fresh, message):
                return False
            self._close()
            self._open = fresh
        self._events.append(event)
        self._body_bytes += len(message.body)
        return True

    def finish(self) -> tuple[Batch, ...]:
        self._close()
        return tuple(self._batches)

    def _envelope_of(self, event: Event, message: Message) -> Envelope:
        """Give that of the message before, where they have the same properties: nearly always."""
        if self._envelope is None or self._envelope.properties is not message.properties:
            key = partition_key(event.location)
            self._envelope = Envelope(key, message.content_type, message.properties)
        return self._envelope

    def _close(self) -> None:
        if self._open is not None:
            counts = Counts(
                len(self._events), sum(len(event.readings) for event in self._events), self._body_bytes
            )
            self._batches.append(Batch(tuple(self._events), self._open.size_in_bytes, self._open, counts))
        self._open, self._events, self._body_bytes = None, [], 0
