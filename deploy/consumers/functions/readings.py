"""The readings of an event, from its body alone: a hub with `body: with_ids` says what they are. Pure."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

_ADDED = ("recType", "_location_tags", "_forwarder")
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def rows_of(body: str | bytes) -> list[dict[str, str]]:
    """Give a row for each reading; none of an event that no forwarder sent, or that is none of readings.

    Raises ValueError for one that cannot be read, whatever its sender put into it.
    """
    try:
        return _rows(json.loads(body))
    # JSON may be nested deeper than Python reads it, and a time be beyond what it counts to.
    except (RecursionError, ArithmeticError, LookupError, TypeError, AttributeError) as error:
        raise ValueError(f"it cannot be read: {error!r}") from error


def _rows(said: Any) -> list[dict[str, str]]:
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
        "rec_type": _text(said["recType"]),
        "location": _text(ours["location"]),
        "tags": json.dumps(tags),
        "reading": reading,
        "message_id": _text(ours["id"]),
        "time": _time(entry),
        "entry": json.dumps(entry),
    }


def _text(found: Any) -> str:
    if not isinstance(found, str):
        raise TypeError(f"{found!r} is no text")
    return found


def _time(entry: dict[str, Any]) -> str:
    return _instant(entry["time"]).isoformat(timespec="milliseconds")


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
