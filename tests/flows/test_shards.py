"""A feed in shards, on hosts that share the table store: together they do what one run does."""

from __future__ import annotations

import random
import signal
import subprocess
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from azure.data.tables import TableServiceClient

from app.base.errors import LockHeld
from app.base.instants import MINUTE, utc_now
from app.base.shards import WHOLE, Shard
from app.run.forwarder import run_forwarder
from app.run.report import Report
from app.settings.loading import load_settings
from app.state.edits import advised
from app.wiring import wire
from emulators.estate import PEOPLE, Building, Estate
from emulators.eventhubs import EventHubsEmulator
from emulators.microshare import MicroshareEmulator
from tests.environments.azurite import Relay, connection_string
from tests.environments.installation import START, Clock, Installation, arrivals, small_estate
from tests.environments.terminal import Terminal, finish
from tests.flows.test_stores import table_environment
from tests.promise import lost, reading_of, repeated

DAY = timedelta(hours=24)
HALVES = (Shard(0, 2), Shard(1, 2))
THIRDS = tuple(Shard(index, 3) for index in range(3))
STATE = "peoplecounterstate"
NAME = "Mill & Lane"


@pytest.fixture
def estate() -> Estate:
    return small_estate()


@pytest.fixture
def installation(azurite_port: int, tmp_path: Path, clock: Clock, estate: Estate) -> Iterator[Installation]:
    environ = table_environment(azurite_port)
    with MicroshareEmulator(estate, clock=clock) as source, EventHubsEmulator(["a", "b"]) as hubs:
        yield Installation(source, hubs, clock, tmp_path, environ)


@pytest.fixture
def table_terminal(azurite_port: int, tmp_path: Path) -> Iterator[Terminal]:
    environ = table_environment(azurite_port)
    with MicroshareEmulator(small_estate()) as source, EventHubsEmulator(["a", "b"]) as hubs:
        terminal = Terminal(source, hubs, tmp_path)
        terminal.environ |= environ
        yield terminal


def run_all(installation: Installation, shards: tuple[Shard, ...]) -> list[Report]:
    return [installation.run(shard=shard) for shard in shards]


def locations(installation: Installation) -> set[str]:
    return {name for name, *_ in installation.shown(START - DAY)}


def rows(port: int) -> dict[tuple[str, str], dict[str, Any]]:
    tables = TableServiceClient.from_connection_string(connection_string(port))
    found = tables.get_table_client(STATE).list_entities()
    return {(row["PartitionKey"], row["RowKey"]): dict(row) | {"etag": row.metadata["etag"]} for row in found}


# --- together ---------------------------------------------------------------------------------------


def test_shards_deliver_together_what_one_run_does(installation: Installation, clock: Clock) -> None:
    first = run_all(installation, HALVES)
    clock.move(minutes=15)
    second = run_all(installation, HALVES)

    assert [report.ok for report in (*first, *second)] == [True] * 4
    assert sum(report.locations for report in first) == len(locations(installation))
    assert all(report.locations for report in first)
    for hub in (installation.a, installation.b):
        assert installation.breaches(hub, START - DAY) == []


def test_a_shard_asks_for_its_own_locations_only(installation: Installation) -> None:
    installation.run(shard=HALVES[1])

    asked = {query.location for query in installation.source.queries()}
    assert asked == {name for name in locations(installation) if HALVES[1].holds(name)}


def test_a_shard_writes_no_row_of_another_s(
    installation: Installation, clock: Clock, azurite_port: int
) -> None:
    run_all(installation, HALVES)
    before = rows(azurite_port)
    clock.move(minutes=15)

    installation.run(shard=HALVES[1])

    changed = {key for key, row in rows(azurite_port).items() if before.get(key) != row}
    held = {name for name in locations(installation) if HALVES[1].holds(name)}
    assert {key for key in changed if key[0] != "location"} == {("feed", "2-of-2")}
    assert len([key for key in changed if key[0] == "location"]) == len(held)


def test_another_number_of_shards_goes_on_from_where_each_location_is(
    installation: Installation, clock: Clock
) -> None:
    for shards in (HALVES, THIRDS, (WHOLE,), HALVES):
        assert all(report.ok for report in run_all(installation, shards))
        clock.move(minutes=15)

    clock.move(minutes=-15)
    for hub in (installation.a, installation.b):
        assert installation.breaches(hub, START - DAY) == []


def test_shards_run_at_the_same_time(installation: Installation) -> None:
    with ThreadPoolExecutor(3) as hosts:
        reports = list(hosts.map(lambda shard: installation.run(shard=shard), THIRDS))

    assert [report.ok for report in reports] == [True, True, True]
    assert installation.breaches(installation.a, START - DAY) == []


def test_the_state_of_all_shards_is_one_feed_s(installation: Installation) -> None:
    run_all(installation, HALVES)

    state = installation.state()

    assert set(state.locations) == locations(installation)
    assert state.least_position() == START
    assert state.total_events() == 2 * len(installation.published(START - DAY))
    assert state.last_run is not None
    assert state.last_run["ok"] is True


def test_a_shard_takes_pairs_of_numbers_too(installation: Installation) -> None:
    report = run_forwarder("people_counter", installation.wiring(), shard=(1, 2))

    assert report.shard == HALVES[1]


# --- one at a time ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("holder", "other"),
    [(HALVES[0], WHOLE), (WHOLE, HALVES[0]), (HALVES[1], THIRDS[0]), (HALVES[0], HALVES[0])],
    ids=["whole after shard", "shard after whole", "another number", "the same shard"],
)
def test_a_run_that_finds_the_feed_worked_on_asks_and_sends_nothing(
    installation: Installation, holder: Shard, other: Shard
) -> None:
    store = wire(installation.settings()).store
    with store.lock(STATE, "somebody", holder), pytest.raises(LockHeld, match="somebody"):
        installation.run(shard=other)

    assert installation.source.queries() == []
    assert installation.run(shard=other).ok


# --- what is noticed --------------------------------------------------------------------------------


def test_what_becomes_of_names_is_told_once_by_who_holds_them(
    installation: Installation, clock: Clock
) -> None:
    run_all(installation, THIRDS)
    installation.estate.rename(NAME, "Mill House", at=START + timedelta(minutes=30))
    installation.estate.add(Building("Quay"), since=START)
    clock.move(hours=2)

    told = [(report.shard, drift) for report in run_all(installation, THIRDS) for drift in report.drift]
    clock.move(hours=2)
    later = run_all(installation, THIRDS)

    assert {(drift.kind, drift.location) for _, drift in told} == {("renamed", "Mill House"), ("new", "Quay")}
    assert all(shard.holds(drift.location or "") for shard, drift in told)
    assert [report.drift for report in later] == [(), (), ()]
    assert {drift.kind for drift in installation.state().drift} == {"renamed", "new"}


def test_a_move_is_proposed_where_another_shard_holds_the_former_name(
    installation: Installation, clock: Clock
) -> None:
    assert [shard.holds(NAME) for shard in HALVES] != [shard.holds("Quay") for shard in HALVES]
    run_all(installation, HALVES)
    installation.estate.rename(NAME, "Quay", at=START + timedelta(minutes=30))
    clock.move(hours=2)
    installation.b.refuse_attach()

    [renamed] = [drift for report in run_all(installation, HALVES) for drift in report.drift]

    assert "`state move people-counter --from 'Mill & Lane' --to Quay`" in renamed.text
    assert advised(installation.state(), renamed) == renamed


def test_what_another_number_of_shards_told_is_not_told_again(
    installation: Installation, clock: Clock
) -> None:
    run_all(installation, HALVES)
    installation.estate.rename(NAME, "Mill House", at=START + timedelta(minutes=30))
    clock.move(hours=2)
    run_all(installation, HALVES)
    clock.move(hours=2)

    reports = run_all(installation, THIRDS)

    assert [report.drift for report in reports] == [(), (), ()]


def test_one_list_of_locations_serves_all_shards_for_an_hour(
    installation: Installation, clock: Clock
) -> None:
    calls = [report.api_calls for report in run_all(installation, HALVES)]
    clock.move(minutes=15)
    again = [report.api_calls for report in run_all(installation, HALVES)]

    assert calls[0] > again[0]
    assert calls[1] == again[1]


# --- at the command line ------------------------------------------------------------------------------


def test_two_processes_do_together_what_one_does(table_terminal: Terminal) -> None:
    parts = [table_terminal.start("run", "people-counter", "--shard", f"{n}/2", "--json") for n in (1, 2)]
    ended = [finish(part) for part in parts]
    after = table_terminal.call("run", "people-counter", "--json")

    assert [part.status for part in ended] == [0, 0]
    reports = [part.objects[0] for part in ended]
    assert [report["shard"] for report in reports] == [{"index": 1, "of": 2}, {"index": 2, "of": 2}]
    [whole] = after.objects
    assert "shard" not in whole
    assert whole["locations"] == sum(report["locations"] for report in reports)
    assert whole["hubs"][table_terminal.key("a")]["events"] == 0
    assert '"shard": 1, "shards": 2' in ended[0].err
    assert '"shards"' not in after.err


def test_a_held_lock_of_a_shard_ends_with_3_and_what_edits_the_state_refuses(
    table_terminal: Terminal,
) -> None:
    table_terminal.call("run", "people-counter")
    settings = load_settings(table_terminal.environ, dotenv=table_terminal.folder / "none")
    with wire(settings).store.lock(STATE, "somebody", HALVES[0]):
        ends = [
            table_terminal.call(*words)
            for words in (
                ("run", "people-counter"),
                ("run", "people-counter", "--shard", "1/2"),
                ("run", "people-counter", "--shard", "2/3"),
                ("state", "reset", "people-counter", "--yes"),
            )
        ]
        beside = table_terminal.call("run", "people-counter", "--shard", "2/2")

    assert [ended.status for ended in ends] == [3, 3, 3, 3]
    assert all("somebody" in ended.err and "shard 1/2" in ended.err for ended in ends)
    assert beside.status == 0


@pytest.mark.parametrize("shard", ["0/2", "3/2", "half", "1/1000", ""])
def test_what_is_no_shard_is_refused_before_anything_is_asked(terminal: Terminal, shard: str) -> None:
    ended = terminal.call("run", "people-counter", "--shard", shard, STATE_STORE="table")

    assert ended.status == 2
    assert "write 1/N to N/N" in ended.err
    assert terminal.source.queries() == []


def test_a_shard_with_files_is_refused_before_anything_is_asked(terminal: Terminal) -> None:
    ended = terminal.call("run", "people-counter", "--shard", "1/2")

    assert ended.status == 2
    assert "STATE_STORE=table" in ended.err
    assert not (terminal.folder / "state").exists()


def test_hosts_that_are_killed_and_other_numbers_of_shards_lose_nothing(
    azurite_port: int, tmp_path: Path
) -> None:
    """Two hosts with folders of their own; the leases of who was killed run out before the next runs."""
    table_environment(azurite_port)
    relay, rng, began = Relay(azurite_port), random.Random(7), utc_now()
    with MicroshareEmulator(small_estate()) as source, EventHubsEmulator(["a", "b"]) as hubs:
        source.faults.slow(0.2)
        folders = [tmp_path / name for name in ("one", "two")]
        for folder in folders:
            folder.mkdir()
        hosts = [Terminal(source, hubs, folder) for folder in folders]
        for host in hosts:
            storage = connection_string(relay.port)
            host.environ |= {"STATE_STORE": "table", "AzureWebJobsStorage": storage, "START_FROM": "24h"}
        statuses: list[int] = []
        for of in (2, 2, 3, 3, 2):
            runs = [
                hosts[index % 2].start("run", "people-counter", "--shard", f"{index + 1}/{of}")
                for index in range(of)
            ]
            for run in runs if len(statuses) < 8 else ():
                if rng.random() < 0.6:
                    with suppress(subprocess.TimeoutExpired):
                        run.wait(0.5 + rng.random())
                    run.kill()
            statuses += [finish(run).status for run in runs]
            relay.clock_ahead += timedelta(seconds=70)
        owed = [
            reading_of(name, PEOPLE.rec_type, tags, entry)
            for name, tags, _, entry in source.estate.expected_people(began - DAY + MINUTE, began, began)
        ]
        received = [arrivals(hub.received()) for hub in (hosts[0].a, hosts[0].b)]
    relay.close()

    assert -signal.SIGKILL in statuses
    assert statuses[-2:] == [0, 0]
    for arrived in received:
        had = {reading for arrival in arrived for reading in arrival.readings}
        assert lost(owed, had) == []
        assert [again for again in repeated(arrived) if again.arrival.message_id != again.first] == []
