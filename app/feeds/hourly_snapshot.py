"""The hourly snapshot feed: occupancy of rooms, one event a location and hour."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from app.base import exact_json
from app.base.checkpoints import Checkpoint
from app.base.grouping import by_key
from app.base.instants import format_time, hour_of
from app.base.readings import Event, Reading
from app.base.wire_forms import wire_text
from app.feeds.feed import SOURCE, Feed, joint_id, read_body, read_objects, six_fields
from app.settings.schema import FeedSettings

# Larger than any real number of parts, so that numbering never makes a part outgrow its limit.
_ANY_PART = 99_999


@dataclass(frozen=True, slots=True)
class HourlyFeed(Feed):
    """Readings in the shape of a complete answer, those of one location and hour an event."""

    def events(
        self,
        location: str,
        fresh: Sequence[Reading],
        answer: Sequence[Reading],
        checkpoint: Checkpoint,
        settings: FeedSettings,
    ) -> list[Event]:
        """Give one event an hour with fresh readings: those, or with `late: hour` the whole hour."""
        whole = _by_hour([reading for reading in answer if reading.flaw is None])
        return [
            self._of_hour(
                location,
                hour,
                whole[hour] if settings.late == "hour" else readings,
                settings.name,
                is_update=_has_any(checkpoint, hour, answer),
            )
            for hour, readings in _by_hour(fresh).items()
        ]

    def parts(self, event: Event, fits: Callable[[Event], bool]) -> tuple[list[Event], list[Reading]]:
        chunks, oversize = _chunks(event, event.readings, fits)
        return [_part(event, chunk, number, len(chunks)) for number, chunk in enumerate(chunks, 1)], oversize

    def readings_in(self, location: str, body: bytes) -> list[Reading]:
        return read_objects(self.rec_type, location, read_body(location, body).get("objs"))

    def _of_hour(
        self, location: str, hour: datetime, readings: Sequence[Reading], feed: str, *, is_update: bool
    ) -> Event:
        said = {
            "recType": self.rec_type,
            "location": wire_text(location),
            "source": SOURCE,
            "hour": format_time(hour),
        }
        return _event(location, readings, said | ({"update": True} if is_update else {}), feed)


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
    hours = by_key((hour_of(reading.time), reading) for reading in readings if reading.time is not None)
    return dict(sorted(hours.items()))


def _event(
    location: str, readings: Sequence[Reading], properties: Mapping[str, str | int | bool], feed: str
) -> Event:
    message_id, body = joint_id([reading.id for reading in readings]), _body(properties["recType"], readings)
    return Event(message_id, location, body, properties, tuple(readings), feed)


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
    numbered = {"part": part, "parts": parts} if parts > 1 else {}
    return _event(event.location, readings, {**event.properties, **numbered}, event.feed)


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


FEED = HourlyFeed(
    rec_type="io.microshare.lake.snapshot.hourly",
    state_name="snapshotstate",
    # Pasted as text into the view's pipeline, so the double quotes of ownerOrg are part of the value.
    placeholders={**six_fields("current"), "ownerOrg": '"[a-zA-Z]"'},
    merged_by=("category", "metric"),
    fields={
        "category": "What is measured, such as `space`.",
        "metric": "What of it, such as `occupancy`.",
        "current": "Figures of the hour: `avg`, `min`, `max`, `first`, `last`, `sum`, `range`, `delta`, "
        "and `count`, the number of samples.",
    },
)
get_snapshot_full_coverage = FEED.full_coverage
