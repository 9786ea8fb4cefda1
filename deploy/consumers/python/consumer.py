"""Reads a hub that microshare-forwarder sends to, and keeps each reading once, as it came last, in SQLite.

    python consumer.py readings.db            # until Ctrl-C or SIGTERM
    python consumer.py readings.db --once     # up to what the hub holds now

EVENT_HUB_CONNECTION_STRING says which hub: with EntityPath, and with a key that may listen.

Rows and the checkpoint of their partition are one transaction: wherever the program is stopped or killed,
it goes on where its table ends. The rules are in unfold.sql and merge.sql.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import logging
import os
import signal
import sqlite3
import sys
import time
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, cast

from azure.eventhub import EventData, parse_connection_string
from azure.eventhub.aio import CheckpointStore, EventHubConsumerClient, PartitionContext
from azure.eventhub.amqp import AmqpMessageBodyType
from azure.eventhub.exceptions import EventHubError

HERE = Path(__file__).resolve().parent
UNFOLD = (HERE / "unfold.sql").read_text("utf-8")
MERGE = (HERE / "merge.sql").read_text("utf-8")
# What is read from where there is no checkpoint: all that the hub still has.
EARLIEST = "-1"
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class ReadingsTable(CheckpointStore):
    """The table of readings, with the SDK's store of checkpoints of a hub. For one process at a time."""

    def __init__(self, file: Path, hub: str) -> None:
        self._hub = hub
        self._database = sqlite3.connect(file, timeout=30, isolation_level=None)
        self._database.row_factory = sqlite3.Row
        self._database.create_function("utc", 1, utc, deterministic=True)
        # Others may read while it is written.
        self._database.execute("PRAGMA journal_mode = WAL")
        self._database.executescript((HERE / "schema.sql").read_text("utf-8"))

    def close(self) -> None:
        self._database.close()

    def take(self, partition: str, events: Sequence[EventData]) -> None:
        """Merge the readings of events, and move the partition's checkpoint: both, or nothing."""
        if not events:
            return
        self._database.execute("BEGIN IMMEDIATE")
        try:
            for event in events:
                self._merge(partition, event)
            self._database.execute(
                "INSERT INTO checkpoints (hub, partition, offset, sequence) VALUES (?, ?, ?, ?) "
                "ON CONFLICT (hub, partition) "
                "DO UPDATE SET offset = excluded.offset, sequence = excluded.sequence",
                (self._hub, partition, str(events[-1].offset), events[-1].sequence_number),
            )
            self._database.execute("COMMIT")
        except BaseException:
            if self._database.in_transaction:
                self._database.execute("ROLLBACK")
            raise

    def sequences(self) -> dict[str, int]:
        """Give the number of the last event that was taken from each partition."""
        return {row["partition"]: row["sequence"] for row in self._checkpoints()}

    def _checkpoints(self) -> list[sqlite3.Row]:
        of_hub = "SELECT partition, offset, sequence FROM checkpoints WHERE hub = ?"
        return self._database.execute(of_hub, (self._hub,)).fetchall()

    def _merge(self, partition: str, event: EventData) -> None:
        said = {_text(name): _text(value) for name, value in (event.properties or {}).items()}
        is_ours = said.get("source") == "microshare-forwarder" and event.body_type is AmqpMessageBodyType.DATA
        if not is_ours or said.get("recType") == "test":
            return
        body = b"".join(cast(Iterable[bytes], event.body))
        kind = str(_text(event.content_type) or "").partition(";")[0]
        message_id = _text(event.message_id)
        try:
            given = {
                "body": body.decode(),
                "message_id": message_id if isinstance(message_id, str) else None,
                "cloudevent": kind == "application/cloudevents+json",
            }
            found = self._database.execute(UNFOLD, given).fetchall()
        except (UnicodeDecodeError, sqlite3.OperationalError):
            found = []
        is_whole = found and all(row["tags"] and row["time"] for row in found)
        if not is_whole or not all(isinstance(said.get(name), str) for name in ("recType", "location")):
            unread = (self._hub, partition, event.sequence_number, body)
            self._database.execute("INSERT OR IGNORE INTO unread VALUES (?, ?, ?, ?)", unread)
            return
        of_event = {
            "rec_type": said["recType"],
            "location": said["location"],
            "enqueued": cast(datetime, event.enqueued_time)
            .astimezone(UTC)
            .isoformat(timespec="milliseconds"),
            "sequence": event.sequence_number,
        }
        self._database.executemany(MERGE, [{**dict(row), **of_event} for row in found])

    # What the SDK asks of a store. All partitions are this process's.

    async def list_ownership(self, *_: str, **__: Any) -> Iterable[dict[str, Any]]:
        return []

    async def claim_ownership(
        self, ownership_list: Iterable[dict[str, Any]], **_: Any
    ) -> Iterable[dict[str, Any]]:
        return [{**ownership, "last_modified_time": time.time()} for ownership in ownership_list]

    async def update_checkpoint(self, checkpoint: dict[str, Any], **_: Any) -> None:
        raise NotImplementedError("a checkpoint is written with its rows, by take()")

    async def list_checkpoints(
        self, fully_qualified_namespace: str, eventhub_name: str, consumer_group: str, **_: Any
    ) -> Iterable[dict[str, Any]]:
        return [
            {
                "fully_qualified_namespace": fully_qualified_namespace,
                "eventhub_name": eventhub_name,
                "consumer_group": consumer_group,
                "partition_id": row["partition"],
                "offset": row["offset"],
                "sequence_number": row["sequence"],
            }
            for row in self._checkpoints()
        ]


def utc(written: Any) -> str | None:
    """Give a time of the source as `2026-03-02T12:14:00.000Z`, an object being JSON; None if it is none."""
    try:
        time = _instant(json.loads(written) if str(written).startswith("{") else written)
    except (ValueError, TypeError, ArithmeticError, RecursionError):
        return None
    return f"{time.replace(tzinfo=None).isoformat(timespec='milliseconds')}Z"


def _instant(written: Any) -> datetime:
    """Read ISO text, UTC where it names no zone, or milliseconds since 1970; either in extended JSON, too."""
    if isinstance(written, dict):
        if "$date" in written:
            return _instant(written["$date"])
        ((_, number),) = written.items()
        return _instant(float(number))
    if not isinstance(written, str):
        return EPOCH + timedelta(milliseconds=written)
    # A leap second is the second after.
    leap = written[16:19] == ":60"
    text = f"{written[:16]}:59{written[19:]}" if leap else written
    time = datetime.fromisoformat(text.removesuffix("z") + "Z" if text.endswith("z") else text)
    time = time.replace(tzinfo=UTC) if time.tzinfo is None else time.astimezone(UTC)
    return time + timedelta(seconds=leap)


def hub_name(connection_string: str, group: str) -> str:
    """Give the name that a hub's checkpoints have: nothing of a key is in it."""
    hub = parse_connection_string(connection_string)
    return f"{hub.fully_qualified_namespace}/{hub.eventhub_name}/{group}"


async def consume(
    table: ReadingsTable,
    connection_string: str,
    group: str,
    *,
    once: bool,
    stop: asyncio.Event,
    look_every_s: float = 1,
) -> None:
    """Take what comes into the table, until `stop` is set, or `once` the end of each partition is reached.

    What the table cannot take is raised. What ails a connection is logged, and the SDK tries again.
    """
    failures: list[Exception] = []

    async def on_batch(context: PartitionContext, events: list[EventData]) -> None:
        table.take(context.partition_id, events)
        if events and left.get(context.partition_id, sys.maxsize) <= (events[-1].sequence_number or 0):
            del left[context.partition_id]
            if not left:
                stop.set()

    async def on_error(_: PartitionContext | None, error: Exception) -> None:
        if isinstance(error, EventHubError):
            logging.warning("the hub: %s", error)
            return
        failures.append(error)
        stop.set()

    # The SDK looks at partitions, and whether it was closed, once in this interval.
    client = EventHubConsumerClient.from_connection_string(
        connection_string, group, checkpoint_store=table, load_balancing_interval=look_every_s
    )
    async with client:
        left = await _to_read(client, table) if once else {}
        if once and not left:
            return
        receiving = asyncio.create_task(
            client.receive_batch(on_batch, on_error=on_error, starting_position=EARLIEST)
        )
        stopping = asyncio.create_task(stop.wait())
        await asyncio.wait({receiving, stopping}, return_when=asyncio.FIRST_COMPLETED)
        stopping.cancel()
    await receiving
    if failures:
        raise failures[0]


async def _to_read(client: EventHubConsumerClient, table: ReadingsTable) -> dict[str, int]:
    """Give the last event of each partition that has some which were not taken."""
    of_hub = await client.get_eventhub_properties()
    of_partitions = [await client.get_partition_properties(number) for number in of_hub["partition_ids"]]
    had = table.sequences()
    return {
        found["id"]: found["last_enqueued_sequence_number"]
        for found in of_partitions
        if not found["is_empty"] and found["last_enqueued_sequence_number"] > had.get(found["id"], -1)
    }


def _text(value: Any) -> Any:
    return value.decode("utf-8", "backslashreplace") if isinstance(value, bytes) else value


async def _main(arguments: argparse.Namespace, connection_string: str) -> None:
    stop = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    table = ReadingsTable(arguments.file, hub_name(connection_string, arguments.consumer_group))
    try:
        await consume(table, connection_string, arguments.consumer_group, once=arguments.once, stop=stop)
    finally:
        table.close()


if __name__ == "__main__":
    from decoding import read_every_event

    parser = argparse.ArgumentParser(description="Keeps a hub's readings in SQLite.")
    parser.add_argument("file", type=Path, help="the database; made if it is missing")
    parser.add_argument("--once", action="store_true", help="end when all is read that the hub holds now")
    parser.add_argument("--consumer-group", default="$Default", help="one that nobody else reads with")
    given = parser.parse_args()
    if not os.environ.get("EVENT_HUB_CONNECTION_STRING"):
        parser.error("set EVENT_HUB_CONNECTION_STRING to a hub's connection string, with EntityPath")
    # Whoever may send to the hub can send what the SDK ends at, each time, until retention removes it.
    read_every_event()
    asyncio.run(_main(given, os.environ["EVENT_HUB_CONNECTION_STRING"]))
