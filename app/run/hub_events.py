"""What an event at a hub says of the readings that this forwarder sent. Pure.

Whoever else sends to a hub may write anything into an event; only what its content proves counts.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

from app.base.errors import BadResponse
from app.base.readings import Reading
from app.base.wire_forms import plain_body, wire_text
from app.eventhub.received import Received
from app.feeds.feed import SOURCE, Feed


def names_on_the_wire(locations: Collection[str]) -> dict[str | None, str]:
    """Give the locations by the names that their events carry, which have no lone surrogates."""
    return {wire_text(name): name for name in locations}


def is_ours(event: Received) -> bool:
    """Whether a forwarder of this kind sent the event: it names itself as the source, and writes bytes."""
    return event.body_type == "data" and event.properties.get("source") == SOURCE


def is_of(feed: Feed, event: Received) -> bool:
    """Whether an event of ours is one of this feed."""
    return event.properties.get("recType") == feed.rec_type


def location_of(event: Received, name_of: Mapping[str | None, str]) -> str | None:
    """Give the location of an event of ours; None for any other's, or one of another location."""
    return name_of.get(event.properties.get("location")) if is_ours(event) else None


def body_of(event: Received) -> bytes:
    """Give the body of an event without what it is wrapped in."""
    return plain_body(event.content_type, event.body)


def readings_of(feed: Feed, location: str, event: Received) -> Sequence[Reading] | None:
    """Give the readings that an event stands for, with the ids that their content gives; None: unreadable."""
    try:
        return feed.readings_in(location, body_of(event))
    except BadResponse:
        return None
