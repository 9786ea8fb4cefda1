"""The consumer of deploy/consumers/python: its table is the source's, whatever is late, corrected, repeated.

The real forwarder sends, the consumer reads by its SDK; the hub has each of the forms, and splits snapshots.
"""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import closing
from dataclasses import dataclass, replace
from datetime import UTC, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from app.base.instants import format_time, parse_time
from app.base.program import APP_ROOT
from app.network.addresses import EveryAddressLoop
from deploy.consumers.python import ask
from deploy.consumers.python.consumer import ReadingsTable, consume, hub_name
from emulators.estate import PEOPLE, SNAPSHOTS, Building, Estate
from emulators.eventhubs import EventHubsEmulator, HubSpec, StoredEvent
from emulators.foreign_events import data, foreign_events, message
from emulators.microshare import MicroshareEmulator
from tests.commands import FALSE_KEY
from tests.environments.consuming import Event, as_read
from tests.environments.installation import START, Clock, Installation
from tests.unit.test_consumers import TIMES_ALIKE

FOLDER = APP_ROOT / "deploy" / "consumers" / "python"
SPAN = timedelta(hours=5)
BUILDING = "Mill & Lane"
DOOR = (BUILDING, "0", "Main Entrance")
ROOMS = tuple((BUILDING, f"Floor-0{number}", "Room-01") for number in range(8))
HUBS = ("plain", "with-ids", "cloudevents", "all-forms")

Row = tuple[str, str, str, str]


@dataclass
class Consumer:
    """The program's table, and the hub that it is made of."""

    file: Path
    connection_string: str

    @property
    def name(self) -> str:
        return hub_name(self.connection_string, "$Default")

    async def read(self) -> None:
        """Take what the hub holds now."""
        with closing(self._table()) as table:
            stop = asyncio.Event()
            await consume(table, self.connection_string, "$Default", once=True, stop=stop, look_every_s=0.05)

    def take(self, *events: Event) -> None:
        with closing(self._table()) as table:
            for event in events:
                table.take(event.partition, [event])  # type: ignore[list-item]

    def _table(self) -> ReadingsTable:
        return ReadingsTable(self.file, self.name)

    def process(self) -> subprocess.Popen[bytes]:
        """Start the program itself, to read what the hub holds now."""
        return subprocess.Popen(
            [sys.executable, str(FOLDER / "consumer.py"), str(self.file), "--once"],
            env=dict(os.environ) | {"EVENT_HUB_CONNECTION_STRING": self.connection_string},
        )

    def asked(self, question: str) -> list[Any]:
        with closing(sqlite3.connect(self.file, timeout=30)) as database, database:
            return database.execute(question).fetchall()

    def rows(self) -> Counter[Row]:
        """Give the readings of the table: recType, building, tags, and the entry with its keys sorted."""
        found = self.asked("SELECT rec_type, location, tags, entry FROM readings")
        return Counter(
            (kind, name, json.dumps(json.loads(tags)), json.dumps(json.loads(entry), sort_keys=True))
            for kind, name, tags, entry in found
        )

    def beyond_checkpoints(self, events: Iterable[StoredEvent]) -> list[tuple[str, int]]:
        """Give the buildings and events of rows that are behind their partition's checkpoint."""
        partition = {event.properties["location"]: event.partition_id for event in events}
        done = dict(self.asked("SELECT partition, sequence FROM checkpoints"))
        rows = self.asked("SELECT location, sequence FROM readings")
        return [(name, number) for name, number in rows if number > done.get(partition[name], -1)]


def read(*consumers: Consumer) -> None:
    """Let consumers take what their hubs hold now."""

    async def together() -> None:
        await asyncio.gather(*(consumer.read() for consumer in consumers))

    with asyncio.Runner(loop_factory=EveryAddressLoop) as runner:
        runner.run(together())


@dataclass
class Troubled:
    """An installation that went through all trouble, and what its source shows at last."""

    hubs: EventHubsEmulator
    owed: Counter[Row]
    visitors: Counter[tuple[str, str]]

    def events(self, hub: str) -> list[StoredEvent]:
        return self.hubs.hub(hub).received()


@pytest.fixture(scope="module")
def troubled(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Troubled]:
    """Readings that came late, were corrected, and repeated in each way in which the promise lets them.

    Each hub has a form of its own, the last one all of them, and takes so little that an hour is split.
    """
    buildings = [
        Building(BUILDING, groups=(DOOR,), rooms=ROOMS, zone="Europe/London"),
        Building("50% Annex", groups=(("50% Annex", "0"),), zone="Asia/Kathmandu"),
    ]
    # A fifth of the snapshots come later than the rest of their hour.
    estate = Estate(buildings=buildings, late_share=0.2)
    hubs = EventHubsEmulator([HubSpec(name, max_message_bytes=1_750) for name in HUBS])
    clock = Clock(START)
    with MicroshareEmulator(estate, clock=clock) as source, hubs:
        begins = {"START_FROM": format_time(START - SPAN)}
        installation = Installation(source, hubs, clock, tmp_path_factory.mktemp("consumer"), begins)
        go_through_trouble(installation, clock)
        yield Troubled(hubs, source_rows(installation), visitors(installation))


def go_through_trouble(installation: Installation, clock: Clock) -> None:
    estate = installation.estate
    estate.hide(BUILDING, START - timedelta(minutes=40), START, until=START + timedelta(minutes=20))
    for _ in range(2):
        estate.add_people(BUILDING, DOOR, START - timedelta(minutes=30), ins=3)
    run_both(installation, "plain")

    # Each is corrected twice.
    for minutes, came in ((10, 70), (40, 71)):
        at = START + timedelta(minutes=minutes)
        estate.correct(BUILDING, DOOR, START - timedelta(minutes=30), at=at, change={"in": came})
        estate.correct(
            BUILDING, ROOMS[0], START - timedelta(hours=3), at=at, feed="snapshots", current={"avg": came}
        )
    clock.move(minutes=15)
    for name in HUBS:
        installation.hubs.hub(name).drop_after_store(1)  # stored, and its acknowledgement is lost
    run_both(installation, "plain")
    assert all(installation.hubs.hub(name).fired["drop_after_store"] == 1 for name in HUBS)

    before = installation.folder / "before"
    shutil.copytree(installation.folder / "state", before)
    clock.move(minutes=30)
    run_both(installation, "with_ids")
    # The state of an earlier moment: what a run leaves that was killed before it saved, or a backup.
    shutil.rmtree(installation.folder / "state")
    shutil.copytree(before, installation.folder / "state")
    run_both(installation, "cloudevents")
    clock.move(hours=2)
    run_both(installation, "cloudevents")


def run_both(installation: Installation, last: str) -> None:
    """Run both feeds, with such a form at the last hub."""
    entries = [
        {"connection_string": installation.hubs.connection_string(name), "body": body}
        for name, body in zip(HUBS[1:], ("with_ids", "cloudevents", last), strict=True)
    ]
    installation.environ["EVENT_HUB_CONNECTION_STRING"] = installation.hubs.connection_string(HUBS[0])
    installation.environ["EVENT_HUB_CONNECTION_STRINGS"] = json.dumps(entries)
    for feed in ("people_counter", "hourly_snapshot"):
        installation.run(feed)


def source_rows(installation: Installation) -> Counter[Row]:
    """Give what the source shows now of both feeds, as the table should have it."""
    now, estate = installation.clock.now, installation.estate
    shown = {
        PEOPLE.rec_type: estate.expected_people(START - SPAN, now, now),
        SNAPSHOTS.rec_type: estate.expected_snapshots(START - SPAN, now, now),
    }
    return Counter(
        (kind, name, json.dumps(list(tags)), json.dumps(entry, sort_keys=True))
        for kind, found in shown.items()
        for name, tags, _, entry in found
    )


def visitors(installation: Installation) -> Counter[tuple[str, str]]:
    """Count who came at the source, by building and hour on its clocks."""
    came: Counter[tuple[str, str]] = Counter()
    for name, _, at, entry in installation.shown(START - SPAN):
        zone = ZoneInfo(entry["meta"]["timezone"])
        came[name, f"{parse_time(str(at)).astimezone(zone):%Y-%m-%d %H:00}"] += entry["change"]["in"]
    return came


@pytest.fixture
def consumer(tmp_path: Path) -> Consumer:
    return Consumer(
        tmp_path / "readings.db",
        f"Endpoint=sb://example.test/;SharedAccessKeyName=reader;SharedAccessKey={FALSE_KEY};EntityPath=counts",
    )


def consumer_of(troubled: Troubled, hub: str, folder: Path) -> Consumer:
    return Consumer(folder / f"{hub}.db", troubled.hubs.connection_string(hub))


def test_the_table_is_the_source_reading_by_reading_after_all_trouble_in_each_form(
    troubled: Troubled, tmp_path: Path
) -> None:
    consumers = [consumer_of(troubled, hub, tmp_path) for hub in HUBS]

    read(*consumers)

    for hub, consumer in zip(HUBS, consumers, strict=True):
        came = troubled.events(hub)
        assert len(came) - len({event.message_id for event in came}) > 5
        assert any(event.properties.get("update") for event in came)
        assert any("parts" in event.properties for event in came)
        assert consumer.rows() == troubled.owed
        assert consumer.asked("SELECT * FROM unread") == []


def test_ids_tell_readings_apart_as_the_tables_key_does(troubled: Troubled, tmp_path: Path) -> None:
    consumer = consumer_of(troubled, "with-ids", tmp_path)
    consumer.take(*map(as_read, troubled.events("with-ids")))

    rows = consumer.asked("SELECT count(*), count(DISTINCT substr(id, 1, 8)) FROM readings")

    assert rows == [(troubled.owed.total(),) * 2]


def test_killed_in_the_middle_it_has_no_row_beyond_its_checkpoint_and_goes_on_from_there(
    troubled: Troubled, tmp_path: Path
) -> None:
    consumer = half_read(troubled, tmp_path)
    # Rows are written, and the transaction takes for ever from there.
    consumer.asked(
        "CREATE TRIGGER stuck BEFORE INSERT ON checkpoints BEGIN "
        "SELECT count(*) FROM (WITH RECURSIVE n(i) AS (VALUES (1) UNION ALL SELECT i + 1 FROM n) "
        "SELECT i FROM n); END"
    )

    running = consumer.process()
    try:
        while not is_written(consumer.file) and running.poll() is None:
            time.sleep(0.02)
    finally:
        running.send_signal(signal.SIGKILL)

    assert running.wait() == -signal.SIGKILL
    assert 0 < consumer.rows().total() < troubled.owed.total()
    assert consumer.beyond_checkpoints(troubled.events("with-ids")) == []
    consumer.asked("DROP TRIGGER stuck")
    read(consumer)
    assert consumer.rows() == troubled.owed


def test_what_the_table_refuses_ends_it_with_nothing_of_its_batch_kept(
    troubled: Troubled, tmp_path: Path
) -> None:
    consumer = half_read(troubled, tmp_path)
    consumer.asked(
        "CREATE TRIGGER full BEFORE INSERT ON checkpoints BEGIN SELECT RAISE(ABORT, 'the disk is full'); END"
    )

    with pytest.raises(sqlite3.IntegrityError, match="the disk is full"):
        read(consumer)

    assert consumer.beyond_checkpoints(troubled.events("with-ids")) == []
    consumer.asked("DROP TRIGGER full")
    read(consumer)
    assert consumer.rows() == troubled.owed


def half_read(troubled: Troubled, folder: Path) -> Consumer:
    """Give a consumer that had the first half of a hub."""
    consumer, events = consumer_of(troubled, "with-ids", folder), troubled.events("with-ids")
    consumer.take(*map(as_read, events[: len(events) // 2]))
    return consumer


def is_written(file: Path) -> bool:
    """Whether somebody has been writing for a second."""
    with closing(sqlite3.connect(file, timeout=1, isolation_level=None)) as database:
        try:
            database.execute("BEGIN IMMEDIATE")
        except sqlite3.OperationalError:
            return True
        return False


# --- what replaces what ---------------------------------------------------------------------------


def count(came: int, *, after_s: float, sequence: int) -> Event:
    """Give an event of one reading, as it was stored so long after START."""
    entry = {"time": "2026-03-02T11:45:00.000Z", "record": "one", "change": {"in": came, "out": 0}}
    body = {"recType": PEOPLE.rec_type, **entry, "_location_tags": [BUILDING, "0"]}
    said = {"recType": PEOPLE.rec_type, "location": BUILDING, "source": "microshare-forwarder"}
    return Event(json.dumps(body), sequence, START.astimezone(UTC) + timedelta(seconds=after_s), said)


FIRST = count(1, after_s=0, sequence=10)


@pytest.mark.parametrize(
    ("later", "came"),
    [
        pytest.param(count(2, after_s=1, sequence=11), 2, id="what was stored later"),
        pytest.param(count(2, after_s=0, sequence=11), 2, id="what has the higher number, at the same time"),
        pytest.param(count(2, after_s=1, sequence=3), 2, id="what was stored later, in another partition"),
        pytest.param(count(2, after_s=-1, sequence=9), 1, id="not what was stored before"),
        pytest.param(count(2, after_s=0, sequence=9), 1, id="not what has the lower number"),
    ],
)
def test_a_reading_is_replaced_by_what_was_stored_later(consumer: Consumer, later: Event, came: int) -> None:
    consumer.take(FIRST, later)

    assert consumer.asked("SELECT came FROM people") == [(came,)]


def counted_at(written: Any) -> Event:
    return replace(FIRST, body_text=json.dumps(json.loads(FIRST.body_text) | {"time": written}))


@pytest.mark.parametrize("written", TIMES_ALIKE, ids=json.dumps)
def test_a_time_is_kept_in_utc_however_it_is_written(consumer: Consumer, written: Any) -> None:
    consumer.take(counted_at(written))

    assert consumer.asked("SELECT time FROM people") == [("2026-03-02T12:14:00.000Z",)]


@pytest.mark.parametrize("written", ["soon", None, 10**300, [], {}, {"$date": "{"}, "{"], ids=json.dumps)
def test_what_is_no_time_is_no_row(consumer: Consumer, written: Any) -> None:
    consumer.take(counted_at(written))

    assert consumer.asked("SELECT (SELECT count(*) FROM people), count(*) FROM unread") == [(0, 1)]


def test_what_is_not_a_reading_stops_nothing(consumer: Consumer) -> None:
    said = FIRST.properties
    consumer.take(
        replace(FIRST, body_text="{", sequence_number=1),
        replace(FIRST, body_text="[]", sequence_number=2),
        replace(FIRST, properties=said | {"source": "somebody else"}, sequence_number=3),
        replace(FIRST, properties=said | {"recType": "test"}, sequence_number=4),
        replace(FIRST, body_text="{}", properties={"source": said["source"]}, sequence_number=5),
        replace(FIRST, properties={"source": said["source"]}, sequence_number=6),
        FIRST,
    )

    unread = [(1, b"{"), (2, b"[]"), (5, b"{}"), (6, FIRST.body_text.encode())]
    assert consumer.asked("SELECT sequence, body FROM unread") == unread
    assert consumer.asked("SELECT sequence FROM readings") == [(10,)]


# --- the first question ---------------------------------------------------------------------------


def test_visitors_by_building_and_hour_are_those_of_the_source(troubled: Troubled, tmp_path: Path) -> None:
    consumer = consumer_of(troubled, "plain", tmp_path)
    consumer.take(*map(as_read, troubled.events("plain")))

    columns, rows = ask.answer(consumer.file, (FOLDER / "questions" / "visitors.sql").read_text())

    assert columns == ["location", "hour", "visitors"]
    assert {(name, hour): came for name, hour, came in rows} == dict(troubled.visitors)
    assert {name for name, _, came in rows if came} == {BUILDING, "50% Annex"}


@pytest.mark.parametrize("zone", ["Mars/Utopia", "Europe", "../zone", 5, {}, None])
def test_what_is_no_zone_is_told_in_utc_and_keeps_nobody_else_from_being_asked(
    consumer: Consumer, zone: Any
) -> None:
    entry = json.loads(FIRST.body_text)
    here = entry | {"record": "here", "meta": {"timezone": "Europe/Paris"}}
    nowhere = entry | {"record": "nowhere", "meta": {"timezone": zone}}
    consumer.take(*(replace(FIRST, body_text=json.dumps(said)) for said in (here, nowhere)))

    _, rows = ask.answer(consumer.file, (FOLDER / "questions" / "visitors.sql").read_text())

    utc = "" if zone is None else " UTC"
    assert rows == [(BUILDING, f"2026-03-02 11:00{utc}", 1), (BUILDING, "2026-03-02 12:00", 1)]


def test_an_answer_is_shown_with_bars_to_its_greatest_number() -> None:
    lines = ask.chart(["location", "visitors"], [("Mill & Lane", 1_200), ("Quay+One", 600), ("Roof", 0)])

    assert lines == [
        "location     visitors",
        f"Mill & Lane     1,200  {'█' * 30}",
        f"Quay+One          600  {'█' * 15}",
        "Roof                0",
    ]


# --- events of others --------------------------------------------------------------------------------


@pytest.mark.parametrize("claims", [{}, FIRST.properties], ids=["of others", "in the forwarder's name"])
def test_no_event_of_another_sender_holds_it_up(claims: dict[str, str], tmp_path: Path) -> None:
    with EventHubsEmulator([HubSpec("hub", partitions=1)]) as hubs:
        consumer = Consumer(tmp_path / "readings.db", hubs.connection_string("hub"))
        for _, encoded in foreign_events(claims):
            hubs.hub("hub").put(encoded, partition_key=BUILDING)
        ours = message(data(FIRST.body_text.encode()), application=FIRST.properties)
        hubs.hub("hub").put(ours, partition_key=BUILDING)

        running = consumer.process()
        try:
            assert running.wait(30) == 0
        finally:
            running.kill()

        last = hubs.hub("hub").received()[-1].sequence_number
    assert consumer.rows().total() == 1
    assert consumer.asked("SELECT sequence FROM checkpoints") == [(last,)]


def test_it_reads_what_others_sent_by_the_forwarders_own_way() -> None:
    assert (FOLDER / "decoding.py").read_text() == (APP_ROOT / "app/eventhub/decoding.py").read_text()
