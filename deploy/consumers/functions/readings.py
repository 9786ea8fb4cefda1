"""The readings of an event, from its body alone: a hub with `body: with_ids` says what they are. Pure."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

_ADDED = ("recType", "_location_tags", "_forwarder")


def rows_of(body: str | bytes) -> list[dict[str, str]]:
    """Give a row for each reading; none of an event that no forwarder sent, or that is none of readings.

    Raises ValueError, TypeError, KeyError or AttributeError for one that cannot be read.
    """
    said = json.loads(body)
    if not isinstance(said, dict) or "_forwarder" not in said:
        return []
    if "_location_tags" in said:
        # The first half of an id is the same in all versions of a reading.
        reading, entry = said["_forwarder"]["id"][:8], {key: said[key] for key in said if key not in _ADDED}
        return [_row(said, said["_location_tags"], reading, entry)]
    return [
        _row(said, tags, json.dumps([_time(entry), entry.get("category"), entry.get("metric")]), entry)
        for tags, entry in _lines(said)
    ]


def _lines(said: dict[str, Any]) -> Iterator[tuple[Any, dict[str, Any]]]:
    for obj in said.get("objs", ()):
        for entry in obj["data"]["line"]:
            yield obj["data"]["_id"]["tags"], entry


def _row(said: dict[str, Any], tags: Any, reading: str, entry: dict[str, Any]) -> dict[str, str]:
    ours = said["_forwarder"]
    return {
        "rec_type": said["recType"],
        "location": ours["location"],
        "tags": json.dumps(tags),
        "reading": reading,
        "message_id": ours["id"],
        "time": _time(entry),
        "entry": json.dumps(entry),
    }


def _time(entry: dict[str, Any]) -> str:
    """Give the time of an entry, written as ISO text or milliseconds since 1970, perhaps below "$date"."""
    written = entry["time"]
    if isinstance(written, dict):
        written = written["$date"]
    if isinstance(written, str):
        time = datetime.fromisoformat(written)
        time = time.replace(tzinfo=UTC) if time.tzinfo is None else time.astimezone(UTC)
    else:
        time = datetime.fromtimestamp(written / 1000, UTC)
    return time.isoformat(timespec="milliseconds")
