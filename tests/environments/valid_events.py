"""Events that a test reads from an emulated hub: those of ours fit the schema of their feed and form."""

from __future__ import annotations

from functools import cache

from app.feeds.feed import SOURCE, load_feed
from app.feeds.validation import EventValidator
from emulators.stored_events import StoredEvent, onlookers
from tests.commands import FEEDS

# Both hubs of a test have the same ones, and so do tests of one estate.
_known_to_fit: set[int] = set()


def check_events_as_they_are_read() -> None:
    """Fail whoever reads an event of ours that does not fit, from now on."""
    onlookers.append(_check)


def _check(event: StoredEvent) -> None:
    if event.properties.get("source") != SOURCE:
        return
    rec_type = str(event.properties.get("recType"))
    known = hash((rec_type, event.content_type, event.body))
    if known not in _known_to_fit:
        found = _validator().check(rec_type, event.content_type, event.body)
        assert found is None or not found.flaws, f"{found.schema}: {'; '.join(map(str, found.flaws))}"
        _known_to_fit.add(known)


@cache
def _validator() -> EventValidator:
    return EventValidator({name: load_feed(name) for name in FEEDS})
