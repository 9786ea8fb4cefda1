"""A feed in shards by a queue: what a timer puts there, and what comes of each message."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any, Literal

import pytest

from app.base.instants import HOUR, floor_to, format_time, utc_now
from app.base.log import LOGGER_NAME
from app.base.shards import Shard
from app.run.shard_message import ShardMessage
from app.run.tick import plan_tick
from app.timer import run_message
from app.wiring import wire
from emulators.estate import Building, Estate
from emulators.eventhubs import EventHubsEmulator
from emulators.microshare import MicroshareEmulator
from tests.environments.installation import Clock, Installation, small_estate
from tests.flows.test_stores import table_environment

# Messages are run by the clock of the host.
NOW = floor_to(utc_now(), HOUR) - HOUR
BEGIN = NOW - timedelta(hours=24)
FEED = "people_counter"
STATE = "peoplecounterstate"
SHARDS = 3
CLUSTER = "aaaaaaaaaaaaaaaaaaaaaa02"


@pytest.fixture
def estate() -> Estate:
    return small_estate()


@pytest.fixture
def clock() -> Clock:
    return Clock(NOW)


@pytest.fixture
def installation(
    azurite_port: int, tmp_path: Path, clock: Clock, estate: Estate, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Installation]:
    """An installation in queue mode, whose settings are the environment of this process."""
    environ = {
        **table_environment(azurite_port),
        "SCALE_OUT": "queue",
        "SCALE_OUT_SHARDS": str(SHARDS),
        "START_FROM": BEGIN.isoformat(),
        "LOG_LEVEL": "DEBUG",
    }
    with MicroshareEmulator(estate, clock=clock) as source, EventHubsEmulator(["a", "b"]) as hubs:
        found = Installation(source, hubs, clock, tmp_path, environ)
        for name, value in found.environ.items():
            monkeypatch.setenv(name, value)
        yield found


def planned(installation: Installation) -> list[ShardMessage]:
    return plan_tick(FEED, wire(installation.settings()))


def lines(caplog: pytest.LogCaptureFixture, *events: str) -> list[tuple[str, dict[str, Any]]]:
    """Give the level and the fields of the lines with one of these events."""
    ours = [
        (record.levelname, json.loads(record.getMessage()))
        for record in caplog.records
        if record.name.startswith(LOGGER_NAME)
    ]
    return [(level, line) for level, line in ours if line["event"] in events]


def nothing_was_done(installation: Installation) -> bool:
    return not (installation.source.requests or installation.a.received() or installation.b.received())


# --- the timer --------------------------------------------------------------------------------------


def test_a_tick_has_a_message_for_each_shard_and_together_they_deliver_all(
    installation: Installation, caplog: pytest.LogCaptureFixture
) -> None:
    messages = planned(installation)
    for message in messages:
        run_message(message.text())

    assert sorted(message.shard for message in messages) == [Shard(index, SHARDS) for index in range(SHARDS)]
    assert len({message.tick for message in messages}) == 1
    finished = [line for _, line in lines(caplog, "run.finished")]
    assert [line["ok"] for line in finished] == [True] * SHARDS
    assert {line["tick"] for line in finished} == {format_time(messages[0].tick)}
    for hub in (installation.a, installation.b):
        assert installation.breaches(hub, BEGIN) == []


def test_a_shard_that_was_not_run_is_put_first_by_the_next_tick(installation: Installation) -> None:
    held = {Shard.of_location(name, SHARDS) for name, *_ in installation.shown(BEGIN)}
    left_out = max(held)
    for message in planned(installation):
        if message.shard != left_out:
            run_message(message.text())

    assert next(message.shard for message in planned(installation)) == left_out


def test_locations_are_discovered_once_a_tick_whoever_runs(installation: Installation, clock: Clock) -> None:
    def discoveries() -> int:
        # A run asks for the first cluster alone to know what time it is.
        return sum(CLUSTER in request.path for request in installation.source.requests)

    messages = planned(installation)
    once = discoveries()
    for message in messages:
        run_message(message.text())
    by_shards = discoveries() - once
    clock.move(minutes=15)
    planned(installation)

    assert (once, by_shards, discoveries()) == (1, 0, 2)


def test_a_building_that_is_new_is_forwarded_from_the_next_tick_on(
    installation: Installation, estate: Estate, clock: Clock
) -> None:
    for message in planned(installation):
        run_message(message.text())
    estate.add(Building("Example Annex"))
    clock.move(minutes=15)
    for message in planned(installation):
        run_message(message.text())

    assert "Example Annex" in installation.state().locations


@pytest.mark.parametrize("fault", ["login", "devices"])
def test_a_source_that_fails_is_told_and_keeps_no_shard_from_its_run(
    installation: Installation, caplog: pytest.LogCaptureFixture, fault: Literal["login", "devices"]
) -> None:
    installation.source.faults.status(503, "down", on=fault, times=100)

    messages = planned(installation)

    [(level, line)] = lines(caplog, "tick.planned")
    assert (len(messages), level, len(line["problems"])) == (SHARDS, "WARNING", 1)


def test_the_position_of_the_earlier_forwarder_is_left_for_the_shards(installation: Installation) -> None:
    earlier = NOW - timedelta(hours=3)
    store = wire(installation.settings()).store
    tables: Any = store
    tables._tables.put(
        STATE,
        {"PartitionKey": "forwarder", "RowKey": "state", "last_fetch_timestamp": format_time(earlier)},
    )

    for message in planned(installation):
        run_message(message.text())

    begun = {
        checkpoint.known_from
        for location in installation.state().locations.values()
        for checkpoint in location.checkpoints.values()
    }
    assert begun == {earlier}


# --- messages ---------------------------------------------------------------------------------------


def test_a_shard_that_another_run_works_on_is_left_alone(
    installation: Installation, caplog: pytest.LogCaptureFixture
) -> None:
    message = ShardMessage(FEED, Shard(1, SHARDS), utc_now())

    with wire(installation.settings()).store.lock(STATE, "another", message.shard):
        run_message(message.text())

    [(level, line)] = lines(caplog, "shard.skipped", "run.skipped", "run.finished")
    assert (level, line["event"], line["shard"], line["shards"]) == ("DEBUG", "shard.skipped", 2, SHARDS)
    assert "another" in line["reason"]
    assert nothing_was_done(installation)


@pytest.mark.parametrize(
    ("message", "reason"),
    [
        (ShardMessage(FEED, Shard(1, SHARDS), utc_now() - timedelta(minutes=16)), "is over"),
        (ShardMessage(FEED, Shard(1, SHARDS + 1), utc_now()), "in 3 shards now"),
    ],
    ids=["of a tick that is over", "of another number of shards"],
)
def test_a_message_that_came_too_late_ends_in_silence(
    installation: Installation, caplog: pytest.LogCaptureFixture, message: ShardMessage, reason: str
) -> None:
    run_message(message.text())

    [(level, line)] = lines(caplog, "shard.skipped", "run.skipped", "run.started", "run.finished")
    assert (level, line["event"]) == ("DEBUG", "shard.skipped")
    assert reason in line["reason"]
    assert nothing_was_done(installation)


@pytest.mark.parametrize(
    "text",
    ["", "null", '{"feed": "people_counter"}', ShardMessage("nobody", Shard(0, SHARDS), utc_now()).text()],
    ids=["empty", "no object", "lacking all else", "of no feed"],
)
def test_what_is_no_message_of_a_timer_is_reported_and_nothing_is_run(
    installation: Installation, caplog: pytest.LogCaptureFixture, text: str
) -> None:
    run_message(text)

    [(level, line)] = lines(caplog, "message.refused", "run.started", "shard.skipped")
    assert (level, line["event"]) == ("ERROR", "message.refused")
    assert nothing_was_done(installation)


def test_a_run_that_fails_is_reported_and_raises_nothing(
    installation: Installation, caplog: pytest.LogCaptureFixture
) -> None:
    messages = planned(installation)
    installation.b.refuse_attach()
    for message in messages:
        run_message(message.text())

    finished = lines(caplog, "run.finished")
    assert {level for level, line in finished if line["locations"]} == {"ERROR"}


def test_settings_that_are_refused_are_reported_and_raise_nothing(
    installation: Installation, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SCALE_OUT_SHARDS", "many")

    run_message(ShardMessage(FEED, Shard(0, SHARDS), utc_now()).text())

    [(level, line)] = lines(caplog, "settings.refused")
    assert level == "ERROR"
    assert "SCALE_OUT_SHARDS" in line["problems"][0]
    assert nothing_was_done(installation)
