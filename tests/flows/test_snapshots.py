"""Hourly snapshots: one event a location and hour, and updates for what comes late."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from app.base.instants import parse_time
from emulators.estate import Estate
from emulators.eventhubs import EmulatedHub, EventHubsEmulator, HubSpec
from emulators.microshare import MicroshareEmulator
from tests.environments.installation import START, Clock, Installation

DAY = timedelta(hours=24)


def readings_at(hub: EmulatedHub) -> list[tuple[object, tuple[str, ...], str]]:
    """Give every reading that a hub got: location, tags, content."""
    return sorted(
        (event.properties["location"], tuple(obj["data"]["_id"]["tags"]), json.dumps(line, sort_keys=True))
        for event in hub.received()
        for obj in json.loads(event.body)["objs"]
        for line in obj["data"]["line"]
    )


def published(
    installation: Installation, since: datetime = START - DAY
) -> list[tuple[object, tuple[str, ...], str]]:
    now = installation.clock.now
    return sorted(
        (name, tuple(tags), json.dumps(entry, sort_keys=True))
        for name, tags, _, entry in installation.estate.expected_snapshots(since, now, now)
    )


def test_every_snapshot_is_at_both_hubs_once_hour_by_hour(installation: Installation) -> None:
    report = installation.run("hourly_snapshot")

    assert report.ok, report.failures
    assert len(published(installation)) > 300
    assert readings_at(installation.a) == published(installation)
    assert readings_at(installation.b) == published(installation)
    hours = [(event.properties["location"], event.properties["hour"]) for event in installation.a.received()]
    assert len(set(hours)) == len(hours)


def test_a_building_whose_snapshots_lack_its_prefix_is_found(installation: Installation) -> None:
    installation.run("hourly_snapshot")

    assert "Example Beacon House" in {event.properties["location"] for event in installation.a.received()}


def test_snapshots_that_come_late_arrive_as_updates_and_nothing_comes_twice(
    installation: Installation, clock: Clock
) -> None:
    installation.run("hourly_snapshot")
    first = len(installation.a.received())
    for _ in range(8):
        clock.move(hours=1)
        assert installation.run("hourly_snapshot").ok

    assert readings_at(installation.a) == published(installation)
    seen: set[tuple[object, object]] = set()
    for event in installation.a.received():
        key = (event.properties["location"], event.properties["hour"])
        assert event.properties.get("update", False) is (key in seen)
        seen.add(key)
    assert len(installation.a.received()) > first


def test_hours_of_a_location_arrive_in_order(installation: Installation) -> None:
    installation.run("hourly_snapshot")

    hours: dict[object, list[str]] = {}
    for event in installation.a.received():
        hours.setdefault(event.properties["location"], []).append(str(event.properties["hour"]))
    assert all(found == sorted(found) for found in hours.values())


@pytest.fixture
def crowded(tmp_path: Path, clock: Clock) -> Iterator[Installation]:
    """An installation where one hour of one building is far larger than one hub's messages."""
    estate = Estate(generated=False)
    hour = START - timedelta(hours=3)
    for room in range(40):
        tags = ["Mill & Lane", "1", f"Room {room}"]
        estate.add_snapshot("Mill & Lane", tags, hour, visible_from=hour, note="x" * 20_000)
    hubs = EventHubsEmulator(["a", HubSpec("b", max_message_bytes=262_144)])
    with MicroshareEmulator(estate, clock=clock) as source, hubs:
        yield Installation(source, hubs, clock, tmp_path)


def test_an_hour_too_large_for_a_hub_is_split_for_it(crowded: Installation) -> None:
    report = crowded.run("hourly_snapshot")

    assert report.ok, report.failures
    assert len(readings_at(crowded.a)) == 40
    assert readings_at(crowded.b) == readings_at(crowded.a)
    parts = [event.properties for event in crowded.b.received()]
    assert [part["part"] for part in parts] == list(range(1, len(parts) + 1))
    assert {part["parts"] for part in parts} == {len(parts)}
    assert len(parts) > 2


def test_a_reading_too_large_is_set_aside_once_though_its_whole_hour_is_sent_again(
    tmp_path: Path, clock: Clock
) -> None:
    estate = Estate(generated=False)
    hour = START - timedelta(hours=2)
    notes = {"Room 1": "x" * 1_100_000, "Room 2": "small", "Room 3": "late"}
    for room, note in notes.items():
        seen = START + timedelta(minutes=30) if note == "late" else hour
        estate.add_snapshot("Mill & Lane", ["Mill & Lane", "1", room], hour, visible_from=seen, note=note)
    with MicroshareEmulator(estate, clock=clock) as source, EventHubsEmulator(["a", "b"]) as hubs:
        installation = Installation(source, hubs, clock, tmp_path)
        installation.overrides["late"] = "hour"

        first = installation.run("hourly_snapshot")
        clock.move(hours=1)
        second = installation.run("hourly_snapshot")

        assert [len(report.quarantined) for report in (first, second)] == [1, 0]
        assert [tags[-1] for _, tags, _ in readings_at(installation.a)] == ["Room 2", "Room 2", "Room 3"]


def test_the_body_of_an_hour_says_what_it_holds(installation: Installation) -> None:
    installation.run("hourly_snapshot")

    event = installation.a.received()[0]
    body: dict[str, Any] = json.loads(event.body)
    hour = parse_time(str(event.properties["hour"]))
    times = {parse_time(line["time"]) for obj in body["objs"] for line in obj["data"]["line"]}
    assert times == {hour}
    assert body["meta"]["currentCount"] == len(body["objs"])
    assert event.content_type == "application/json"
