"""What the golden states were made of: one small estate, and a name for each reading that a hub has of it.

Golden states of older versions are made with this module by those versions, so it imports the
emulators only, and nothing in it may change what is published or how a reading is named.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from typing import Any

from emulators.estate import Building, Estate
from emulators.eventhubs import StoredEvent

HOUR = timedelta(hours=1)
MINUTE = timedelta(minutes=1)
# When the last run of the older version began.
LAST_RUN = datetime(2026, 3, 2, 13, tzinfo=UTC)
# Before this it had nothing to send: its first run began six hours later, with START_FROM=6h.
BEGUN = LAST_RUN - 37 * HOUR
# What hub b was made to skip of one building's people counts.
SKIPPED_BUILDING = "Tour Été"
SKIPPED = LAST_RUN - 13 * HOUR, LAST_RUN - 4 * HOUR
# The host that stands for the emulated hubs in the files.
HOST = "hubs.example.test:5671"


def make_estate() -> Estate:
    """Give two buildings, with a reading that came late, one that is late still, and one without a time."""
    beacon = Building(
        "Example Beacon House",
        snapshot_name="Beacon House",
        groups=(("Example Beacon House", "0", "Main Entrance"), ("Example Beacon House", "1", "Patio")),
        rooms=(("Beacon House", "Floor-01", "Room-01", "00-00-5E-00-53-01-11"),),
    )
    tower = Building(
        SKIPPED_BUILDING,
        groups=((SKIPPED_BUILDING, "0", "Main Entrance"),),
        rooms=((SKIPPED_BUILDING, "Floor-01", "Room-01", "00-00-5E-00-53-02-11"),),
    )
    estate = Estate(buildings=(beacon, tower))
    for name, published in ((beacon.name, LAST_RUN - 50 * MINUTE), (tower.name, LAST_RUN + 5 * MINUTE)):
        estate.add_people(name, None, LAST_RUN - 61 * MINUTE + 10 * MINUTE, visible_from=published)
    estate.add_people(beacon.name, None, LAST_RUN - 2 * HOUR, without=["time"])
    return estate


def published(estate: Estate, now: datetime, hub: str) -> set[str]:
    """Name what a hub is to have at `now`, but for what it was made to skip."""
    people = estate.expected_people(BEGUN, now, now)
    snapshots = estate.expected_snapshots(BEGUN, now, now)
    skipped = [found for found in people if hub == "b" and _is_skipped(found[0], found[3])]
    wanted = [found for found in [*people, *snapshots] if found not in skipped and "time" in found[3]]
    return {_named(tags, entry) for _, tags, _, entry in wanted}


def _is_skipped(building: str, entry: dict[str, Any]) -> bool:
    start, end = SKIPPED
    return building == SKIPPED_BUILDING and start <= datetime.fromisoformat(entry["time"]) < end


def received(events: Iterable[StoredEvent]) -> list[str]:
    """Name the readings of events, each as often as it came."""
    names: list[str] = []
    for event in events:
        body = json.loads(event.body)
        if "objs" not in body:
            names.append(_named(body["_location_tags"], body))
            continue
        for found in body["objs"]:
            names += [_named(found["data"]["_id"]["tags"], entry) for entry in found["data"]["line"]]
    return names


def _named(tags: Iterable[str], entry: dict[str, Any]) -> str:
    told = [entry.get(key) for key in ("time", "record", "category", "metric")]
    return hashlib.sha256(json.dumps([*tags, *told]).encode()).hexdigest()[:12]
