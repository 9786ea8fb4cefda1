"""What `tail` shows of an event to people."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from app.cli.event_lines import EventLines
from app.eventhub.received import BodyType, Received
from app.feeds.feed import SOURCE, Feed
from app.feeds.hourly_snapshot import FEED as SNAPSHOT
from app.feeds.people_counter import FEED as PEOPLE

NOW = datetime(2026, 3, 2, 20, 0, tzinfo=UTC)
AT = NOW.replace(hour=19, minute=56, second=32)


def event(
    body: object,
    properties: Mapping[str, Any],
    *,
    late: timedelta = timedelta(seconds=1),
    body_type: BodyType = "data",
) -> Received:
    written = body if isinstance(body, bytes) else json.dumps(body).encode()
    return Received("0", 7, "1", AT + late, "id", "key", None, properties, written, body_type)


def ours(feed: Feed, location: str = "Quay One") -> dict[str, str]:
    return {"recType": feed.rec_type, "location": location, "source": SOURCE}


def counted(tags: list[str], **entry: Any) -> dict[str, Any]:
    return {"recType": PEOPLE.rec_type, "time": AT.isoformat(), "_location_tags": tags, **entry}


def room(name: str, average: float) -> dict[str, Any]:
    line = {"time": AT.isoformat(), "category": "space", "metric": "occupancy", "current": {"avg": average}}
    return {
        "data": {"_id": {"tags": ["Quay One", "Floor-01", name, "00-00-5E-00-53-13-F4-31"]}, "line": [line]}
    }


DOOR = counted(["Quay One", "4", "Main door"], change={"in": 3, "out": 1204})
CASES = {
    "a people count": (
        event(DOOR, ours(PEOPLE)),
        "19:56:32 Quay One, Main door  in 3  out 1,204  (+1 s)",
    ),
    "one that came a day late": (
        event(DOOR, ours(PEOPLE), late=timedelta(hours=23, minutes=49)),
        "19:56:32 Quay One, Main door  in 3  out 1,204  (+23 h 49 min)",
    ),
    "one from the future": (
        event(DOOR, ours(PEOPLE), late=timedelta(seconds=-40)),
        "19:56:32 Quay One, Main door  in 3  out 1,204  (-40 s)",
    ),
    "one of another day": (
        event(DOOR | {"time": "2026-02-28T06:00:00Z"}, ours(PEOPLE)),
        "02-28 06:00:00 Quay One, Main door  in 3  out 1,204  (+2 d 13 h)",
    ),
    "one without what is counted": (
        event(counted(["Quay One"], record="r", count=5, note="x" * 99, deep={"a": 1}), ours(PEOPLE)),
        f"19:56:32 Quay One  count 5  note {'x' * 24}…  (+1 s)",
    ),
    "an hour of snapshots": (
        event(
            {"objs": [room("Room-01", 0.25), room("Room-02", 10.8333333), room("Room-03", 2)]}, ours(SNAPSHOT)
        ),
        "19:56:32 Quay One  3 readings  occupancy avg 0.25 to 10.83  (+1 s)",
    ),
    "a snapshot of one room": (
        event({"objs": [room("Room-01", 2.5)]}, ours(SNAPSHOT)),
        "19:56:32 Quay One, Room-01  occupancy avg 2.5  (+1 s)",
    ),
    "names that move the cursor": (
        event(counted(["\x1b[2J", "a\nb"], change={"in": "\x1b[1m", "out": None}), ours(PEOPLE, "\x1b[2J")),
        r"19:56:32 \x1b[2J, a\nb  in \x1b[1m  out None  (+1 s)",
    ),
    "a test event": (
        event({"recType": "test", "number": 3}, {"recType": "test", "location": "test", "source": SOURCE}),
        "19:56:33 test event 3 (0/7)",
    ),
    "a feed that is not here": (
        event({}, ours(PEOPLE) | {"recType": "other"}),
        "19:56:33 an event of recType other, which is not a feed here, 2 bytes (0/7)",
    ),
    "ours that cannot be read": (
        event(b"{", ours(PEOPLE)),
        "19:56:33 an event of Quay One that cannot be read, 1 byte (0/7)",
    ),
    "an hour without readings": (
        event({"objs": []}, ours(SNAPSHOT)),
        "19:56:33 an event of Quay One that holds no reading, 12 bytes (0/7)",
    ),
    "another sender's": (
        event({"x": "y" * 9999}, {"source": "other"}),
        "19:56:33 an event of another sender, 10,008 bytes (0/7)",
    ),
    "another sender's value": (
        event(b"5", ours(PEOPLE), body_type="value"),
        "19:56:33 an event of another sender, 1 byte (0/7)",
    ),
    "one that cannot be decoded": (
        event(b"", {}, body_type="undecoded"),
        "19:56:33 an event of another sender, in a form that cannot be decoded (0/7)",
    ),
}


@pytest.mark.parametrize(("found", "line"), CASES.values(), ids=CASES)
def test_an_event_as_a_person_reads_it(found: Received, line: str) -> None:
    assert EventLines([PEOPLE, SNAPSHOT], NOW).line(found) == line


def test_lines_stand_below_one_another_as_far_as_is_known() -> None:
    lines = EventLines([PEOPLE], NOW)
    short = event(counted(["Quay One", "Gate"], change={"in": 1, "out": 2}), ours(PEOPLE))

    earlier = event(DOOR | {"time": "2026-02-28T06:00:00Z"}, ours(PEOPLE), late=timedelta(0))
    assert [lines.line(short), lines.line(earlier), lines.line(short)] == [
        "19:56:32 Quay One, Gate  in 1  out 2  (+1 s)",
        "02-28 06:00:00 Quay One, Main door  in 3  out 1,204  (+2 d 13 h)",
        "      19:56:32 Quay One, Gate       in 1  out 2  (+1 s)",
    ]


@pytest.mark.parametrize("average", ["1e1000000", "-1e999999", "9" * 4000], ids=["huge", "negative", "long"])
def test_a_number_of_any_size_is_written_in_short(average: str) -> None:
    body = json.dumps({"objs": [room("Room-01", 7777)]}).replace("7777", average).encode()

    assert len(EventLines([SNAPSHOT], NOW).line(event(body, ours(SNAPSHOT)))) < 120
