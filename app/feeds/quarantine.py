"""A quarantined reading's text, and the way back from it to a reading. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from app.base import exact_json
from app.base.checkpoints import Checkpoint
from app.base.errors import BadResponse, ForwarderError
from app.base.instants import hour_of
from app.base.readings import Event, QuarantinedReading, Reading
from app.feeds.feed import Feed, read_objects
from app.settings.schema import FeedSettings


class NotForwardable(ForwarderError):
    """A quarantined reading that no hub can take, whatever its size."""


def quarantine_text(reading: Reading) -> bytes:
    """Write a reading in full, with what is needed to forward it later; flaws are named in it.

    `object` is the object that held the entry, its lines left out.
    """
    frame = {name: value for name, value in reading.data.items() if name != "line"}
    return exact_json.dumps_with_flaws({"tags": list(reading.tags), "entry": reading.entry, "object": frame})


def event_again(feed: Feed, item: QuarantinedReading, settings: FeedSettings) -> Event:
    """Give the event of a quarantined reading alone, with the message id it would have had then.

    Raises NotForwardable for one that cannot be an event by its nature: no time, no JSON.
    """
    reading = _reading_again(feed, item)
    if reading.flaw is not None or reading.time is None:
        raise NotForwardable(reading.flaw or "it has no time")
    if settings.late == "hour":
        raise NotForwardable(
            "its feed sends whole hours (`late: hour`), and this reading alone would stand for its hour"
        )
    # The hub has the other readings of that hour: what comes now is an update of it.
    known = Checkpoint(reading.time, reading.time, {hour_of(reading.time): frozenset([reading.id])})
    return feed.events(item.location, [reading], [reading], known, settings)[0]


def _reading_again(feed: Feed, item: QuarantinedReading) -> Reading:
    kept = exact_json.loads(item.text)
    if not isinstance(kept, Mapping) or "entry" not in kept or _names_a_flaw(kept):
        raise NotForwardable(f"what came is not JSON that could be sent: {item.reason}")
    # What was quarantined before the object was kept has its tags alone.
    frame = kept.get("object", {"_id": {"tags": kept.get("tags")}})
    try:
        again = {"data": {**frame, "line": [kept["entry"]]}}
        reading = read_objects(feed.rec_type, item.location, [again])[0]
    except (BadResponse, TypeError):
        raise NotForwardable("it is not as it was written; it was changed since") from None
    if reading.id != item.id:
        raise NotForwardable(f"its content has the id {reading.id}; it was changed since it was written")
    return reading


def _names_a_flaw(value: Any) -> bool:
    """Whether a text of `quarantine_text` holds, instead of JSON, the name of a flaw."""
    if isinstance(value, Mapping):
        return value.keys() == {"flaw", "text"} or any(map(_names_a_flaw, value.values()))
    return isinstance(value, list) and any(map(_names_a_flaw, value))
