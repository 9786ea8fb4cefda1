"""The hourly snapshot feed: occupancy of rooms, one event a location and hour."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from app.base import exact_json
from app.base.checkpoints import Checkpoint
from app.base.instants import format_time, hour_of
from app.base.readings import DashboardAnswer, DashboardQuery, Event, Reading, Slice
from app.feeds.feed import SOURCE, AskDashboard, joint_id, read_body, read_objects, timed_ids, view_query
from app.settings.schema import FeedSettings

REC_TYPE = "io.microshare.lake.snapshot.hourly"
PARAMETERS = {
    "field1": "current",
    "field2": "field2",
    "field3": "field3",
    "field4": "field4",
    "field5": "field5",
    "field6": "field6",
    # Pasted as text into the view's pipeline, so the double quotes are part of the value.
    "ownerOrg": '"[a-zA-Z]"',
}
# Larger than any real number of parts, so that numbering never makes a part outgrow its limit.
_ANY_PART = 99_999


def get_snapshot_full_coverage(
    dashboard: AskDashboard, settings: FeedSettings, location: str, window: Slice
) -> DashboardAnswer:
    """Ask for all snapshots of one building in a window, pages merged.

    Buildings may have another name in snapshots than in device clusters: a mapped one, or one
    that lacks a prefix. A wrong name is answered with 200 and nothing.
    """
    return dashboard(FEED.query(settings, location, window))


def snapshot_name(location: str, settings: FeedSettings) -> str:
    """Give the name under which snapshots know a discovered location."""
    mapped = settings.location_names.get(location)
    if mapped is not None:
        return mapped
    prefix = settings.location_prefix
    if not prefix or not location.startswith(prefix):
        return location
    return location.removeprefix(prefix).lstrip() or location


@dataclass(frozen=True, slots=True)
class HourlySnapshotFeed:
    """Snapshots in the shape of a complete answer, the readings of one location and hour an event."""

    title: str = "hourly snapshot"
    rec_type: str = REC_TYPE
    state_name: str = "snapshotstate"
    merged_by: tuple[str, ...] = ("category", "metric")
    placeholders: Mapping[str, str] = field(default_factory=lambda: PARAMETERS)

    def query(self, settings: FeedSettings, location: str, window: Slice) -> DashboardQuery:
        name = snapshot_name(location, settings)
        return view_query(settings, self.rec_type, name, window, self.placeholders)

    def events(
        self,
        location: str,
        fresh: Sequence[Reading],
        answer: Sequence[Reading],
        checkpoint: Checkpoint,
        settings: FeedSettings,
    ) -> list[Event]:
        """Give one event an hour with fresh readings: those, or with `late: hour` the whole hour."""
        by_hour = _by_hour(fresh)
        whole = _by_hour([reading for reading in answer if reading.flaw is None])
        return [
            _event(
                self.rec_type,
                location,
                hour,
                whole[hour] if settings.late == "hour" else readings,
                {"update": True} if _has_any(checkpoint, hour, answer) else {},
            )
            for hour, readings in by_hour.items()
        ]

    def parts(self, event: Event, fits: Callable[[Event], bool]) -> tuple[list[Event], list[Reading]]:
        chunks, oversize = _chunks(event, event.readings, fits)
        return [_part(event, chunk, number, len(chunks)) for number, chunk in enumerate(chunks, 1)], oversize

    def ids_in(self, location: str, message_id: str, body: bytes) -> list[tuple[datetime, str]]:  # noqa: ARG002
        return timed_ids(self.readings_in(location, body))

    def readings_in(self, location: str, body: bytes) -> list[Reading]:
        return read_objects(self.rec_type, location, read_body(location, body).get("objs"))

    def held_as(self, location: str, reading: Reading) -> str:  # noqa: ARG002
        return reading.id


def _has_any(checkpoint: Checkpoint, hour: datetime, answer: Sequence[Reading]) -> bool:
    """Whether readings of the hour went out before.

    Under the hour stand also ids of what is none of its readings: without a time, or far outside
    the window that was asked.
    """
    strangers = {
        reading.id
        for reading in answer
        if reading.flaw is not None or reading.time is None or hour_of(reading.time) != hour
    }
    return not checkpoint.ids.get(hour, frozenset()) <= strangers


def _by_hour(readings: Sequence[Reading]) -> dict[datetime, list[Reading]]:
    hours: dict[datetime, list[Reading]] = {}
    for reading in readings:
        if reading.time is not None:
            hours.setdefault(hour_of(reading.time), []).append(reading)
    return dict(sorted(hours.items()))


def _event(
    rec_type: str,
    location: str,
    hour: datetime,
    readings: Sequence[Reading],
    more: dict[str, str | int | bool],
) -> Event:
    properties = {"recType": rec_type, "location": location, "source": SOURCE, "hour": format_time(hour)}
    ids = [reading.id for reading in readings]
    return Event(joint_id(ids), location, _body(rec_type, readings), properties | more, tuple(readings))


def _body(rec_type: object, readings: Sequence[Reading]) -> bytes:
    objs: dict[tuple[str, ...], dict[str, Any]] = {}
    for reading in readings:
        obj = objs.setdefault(reading.tags, {"data": dict(reading.data) | {"line": []}})
        obj["data"]["line"].append(reading.entry)
    count = len(objs)
    meta = {
        "currentCount": count,
        "currentPage": 1,
        "perPage": count,
        "source": "db",
        "totalCount": count,
        "totalPages": 1,
    }
    return exact_json.dumps({"recType": rec_type, "meta": meta, "objs": list(objs.values())})


def _part(event: Event, readings: Sequence[Reading], part: int, parts: int) -> Event:
    ids = [reading.id for reading in readings]
    numbered = dict(event.properties) | ({"part": part, "parts": parts} if parts > 1 else {})
    return Event(
        joint_id(ids), event.location, _body(event.properties["recType"], readings), numbered, tuple(readings)
    )


def _chunks(
    event: Event, readings: Sequence[Reading], fits: Callable[[Event], bool]
) -> tuple[list[Sequence[Reading]], list[Reading]]:
    if fits(_part(event, readings, _ANY_PART, _ANY_PART)):
        return [readings], []
    if len(readings) == 1:
        return [], list(readings)
    middle = len(readings) // 2
    left, too_large_left = _chunks(event, readings[:middle], fits)
    right, too_large_right = _chunks(event, readings[middle:], fits)
    return left + right, too_large_left + too_large_right


FEED = HourlySnapshotFeed()
