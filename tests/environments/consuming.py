"""The reference consumer of deploy/consumers/python, fed with what an emulated hub holds."""

from __future__ import annotations

import json
from collections.abc import Iterable
from contextlib import closing
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

from azure.eventhub.amqp import AmqpMessageBodyType

from deploy.consumers.python.consumer import ReadingsTable
from emulators.stored_events import StoredEvent
from tests.promise import Reading, reading_of


@dataclass
class Event:
    """An event as the SDK gives it, of a place and time that a test says."""

    body_text: str
    sequence_number: int
    enqueued_time: datetime
    properties: dict[str, Any]
    message_id: str = "id"
    content_type: str = "application/json"
    offset: str = "0"
    partition: str = "0"
    body_type: AmqpMessageBodyType = AmqpMessageBodyType.DATA
    body: list[bytes] = field(init=False)

    def __post_init__(self) -> None:
        self.body = [self.body_text.encode()]


def as_read(event: StoredEvent) -> Event:
    """Give an event of the hub as the SDK reads it."""
    return Event(
        event.body.decode(),
        event.sequence_number,
        event.enqueued_at,
        event.properties,
        str(event.message_id),
        str(event.content_type),
        event.offset,
        event.partition_id,
    )


class _MemoryTable(ReadingsTable):
    def __init__(self) -> None:
        super().__init__(Path(":memory:"), "hub")

    def readings(self) -> list[Reading]:
        found = self._database.execute("SELECT location, rec_type, tags, entry FROM readings")
        return [
            reading_of(name, kind, json.loads(tags), json.loads(entry)) for name, kind, tags, entry in found
        ]

    def unread(self) -> list[bytes]:
        return [body for (body,) in self._database.execute("SELECT body FROM unread")]


def kept_of(events: Iterable[StoredEvent]) -> list[Reading]:
    """Give the rows of the consumer's table that has read events, and each once more, from the last one back.

    An event in which it found no reading fails.
    """
    read = [as_read(event) for event in events]
    with closing(_MemoryTable()) as table:
        for event in (*read, *reversed(read)):
            table.take(event.partition, [event])  # type: ignore[list-item]
        assert table.unread() == []
        return table.readings()
