"""Readers of what is put on a queue: messages that ask for a shard to be run."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from hypothesis import strategies as st

from app.base.instants import floor_to
from app.base.shards import MOST_SHARDS
from app.base.text import shown
from app.run.shard_message import ShardMessage
from tests.fuzz.generators import changed_bytes, json_texts
from tests.fuzz.oracle import Broken, outcome
from tests.fuzz.target import Target

_NOW = datetime(2026, 3, 2, 12, tzinfo=UTC)
_SCHEDULES = ("0 */15 * * * *", "0 30 4 29 2 *")


def check_message(case: bytes) -> None:
    """Take a case for a message: it asks for one shard of several and a tick, or is refused as a whole."""
    text = case.decode("utf-8", "replace")
    found = outcome(lambda: ShardMessage.parse(text), ValueError)
    if found.value is None:
        # What is said of it in the log, in one line that can be written.
        f"{found.error} {shown(text)}".encode()
        return
    message = found.value
    if not (2 <= message.shard.of <= MOST_SHARDS and message.feed):
        raise Broken(f"{text!r} is read as {message}")
    again = ShardMessage.parse(message.text())
    at = floor_to(message.tick, timedelta(milliseconds=1))
    if (again.feed, again.shard, again.tick) != (message.feed, message.shard, at):
        raise Broken(f"{message} is written as {message.text()!r}, and that is read as {again}")
    for schedule in _SCHEDULES:
        for now in (_NOW, message.tick):
            outcome(lambda now=now, schedule=schedule: message.is_over(now, schedule)).result()  # type: ignore[misc]
    if message.is_over(message.tick, _SCHEDULES[0]):
        raise Broken(f"{message} is over when it is put there")


_SAID = {"feed": "people_counter", "shard": 2, "of": 8, "tick": "2026-03-02T12:00:00.000Z"}
_WRITTEN = ShardMessage.parse(
    '{"feed": "hourly_snapshot", "shard": 256, "of": 256, "tick": "2026-03-02T12:00:00Z"}'
)

TARGETS = (
    Target(
        "message",
        "messages of the queue",
        json_texts(
            _SAID, _SAID | {"tick": "9999-12-31T23:59:59.999Z"}, _SAID | {"tick": "0001-01-01T00:00:00+02:00"}
        )
        | changed_bytes(st.just(_WRITTEN.text().encode())),
        check_message,
    ),
)
