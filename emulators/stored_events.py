"""What an emulated event hub holds: partitions of stored events, kept as the bytes that came."""

from __future__ import annotations

import re
import time
from bisect import bisect_left, bisect_right
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cached_property
from operator import attrgetter
from typing import Final, Protocol

from emulators import amqp

_NEVER_MS = -62_135_596_800_000  # year 1, what the service gives where there was no event
_SELECTOR = re.compile(r"amqp\.annotation\.(x-opt-[a-z-]+) (>=?) '([^']*)'")
_POSITIONS: dict[str, Callable[[Record], int]] = {
    "x-opt-offset": attrgetter("offset"),
    "x-opt-sequence-number": attrgetter("sequence_number"),
    "x-opt-enqueued-time": attrgetter("enqueued_ms"),
}


def host_ms() -> int:
    """Give the host's clock in milliseconds since the epoch."""
    return time.time_ns() // 1_000_000


@dataclass(frozen=True, slots=True)
class StoredEvent:
    """An event as the hub holds it. `connection` numbers the AMQP connections in their order."""

    hub: str
    partition_id: str
    sequence_number: int
    offset: str
    enqueued_at: datetime
    message_id: str | None
    partition_key: str | None
    content_type: str | None
    properties: dict[str, object]
    body: bytes
    connection: int


onlookers: Final[list[Callable[[StoredEvent], None]]] = []
"""Who is shown every event that a client sent, once, as the program that the hub runs in first reads it."""


class Reader(Protocol):
    """Whoever wants to know that a partition has grown."""

    def pump(self) -> None: ...


class Record:
    """A stored event: the bytes as they came, decoded only when somebody asks."""

    def __init__(
        self,
        partition: Partition,
        encoded: bytes,
        partition_key: str | None,
        connection: int,
    ) -> None:
        self.partition = partition
        self.encoded = encoded
        self.partition_key = partition_key
        self.connection = connection
        # Not put there by hand, which has no connection, nor changed since.
        self.is_as_sent = connection > 0
        self.sequence_number = partition.next_sequence_number
        self.offset = partition.next_offset
        self.enqueued_ms = max(partition.now_ms(), partition.last_enqueued_ms)

    @cached_property
    def event(self) -> StoredEvent:
        message = amqp.decode_event(self.encoded)
        event = StoredEvent(
            hub=self.partition.hub,
            partition_id=self.partition.id,
            sequence_number=self.sequence_number,
            offset=str(self.offset),
            enqueued_at=datetime.fromtimestamp(0, UTC) + timedelta(milliseconds=self.enqueued_ms),
            message_id=None if message.message_id is None else str(message.message_id),
            partition_key=self.partition_key,
            content_type=message.content_type,
            properties=dict(message.properties),
            body=message.body,
            connection=self.connection,
        )
        for look in onlookers if self.is_as_sent else ():
            look(event)
        return event

    def rewrite(self, old: bytes, new: bytes) -> None:
        """Change what the event says, as if it had come so."""
        self.is_as_sent = False
        self.encoded = self.encoded.replace(old, new)
        self.__dict__.pop("event", None)

    def delivered(self) -> bytes:
        """The event as a consumer gets it, with the annotations of the service."""
        added = {
            "x-opt-sequence-number": amqp.long_value(self.sequence_number),
            "x-opt-offset": amqp.string_value(str(self.offset)),
            "x-opt-enqueued-time": amqp.timestamp_value(self.enqueued_ms),
        }
        if self.partition_key is not None:
            added["x-opt-partition-key"] = amqp.string_value(self.partition_key)
        return amqp.with_annotations(self.encoded, added)


class Partition:
    """The events of a partition. Offsets are byte positions, so nobody takes them for sequence numbers.

    `now_ms` is the clock by which they are enqueued, in milliseconds since the epoch.
    """

    def __init__(self, hub: str, partition_id: str, now_ms: Callable[[], int]) -> None:
        self.hub = hub
        self.id = partition_id
        self.now_ms = now_ms
        self.records: list[Record] = []
        self.readers: list[Reader] = []
        self.next_sequence_number = 0
        self.next_offset = 0
        self.last_enqueued_ms = _NEVER_MS
        self.last_offset = -1

    def append(self, encoded: bytes, partition_key: str | None, connection: int) -> Record:
        record = Record(self, encoded, partition_key, connection)
        self.records.append(record)
        self.next_sequence_number += 1
        self.last_offset = record.offset
        self.next_offset += len(encoded)
        self.last_enqueued_ms = record.enqueued_ms
        return record

    def at_or_after(self, sequence_number: int) -> Record | None:
        index = bisect_left(self.records, sequence_number, key=_POSITIONS["x-opt-sequence-number"])
        return self.records[index] if index < len(self.records) else None

    def start_of(self, selector: str | None) -> int:
        """Give the sequence number a reader begins with. Raises ValueError where it asks for nonsense."""
        if selector is None:
            return 0
        asked = _SELECTOR.fullmatch(selector)
        if asked is None or asked[1] not in _POSITIONS:
            raise ValueError(f"the filter {selector!r} is not one that Event Hubs knows")
        name, operator, value = asked.groups()
        if (name, value) == ("x-opt-offset", "@latest"):
            return self.next_sequence_number
        bisect = bisect_left if operator == ">=" else bisect_right
        index = bisect(self.records, int(value), key=_POSITIONS[name])
        return self.records[index].sequence_number if index < len(self.records) else self.next_sequence_number

    def properties(self) -> dict[str, object]:
        beginning = self.records[0].sequence_number if self.records else self.next_sequence_number
        return {
            "name": self.hub,
            "type": "com.microsoft:partition",
            "partition": self.id,
            "begin_sequence_number": amqp.long_value(beginning),
            "last_enqueued_sequence_number": amqp.long_value(self.next_sequence_number - 1),
            "last_enqueued_offset": str(self.last_offset),
            "last_enqueued_time_utc": amqp.timestamp_value(self.last_enqueued_ms),
            "is_partition_empty": not self.records,
        }
