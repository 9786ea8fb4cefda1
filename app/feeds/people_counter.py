"""The people counter feed: counts at doors, one event a reading."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime

from app import strict_json
from app.feeds.feed import SOURCE, AskDashboard, ask_view, read_body, read_objects
from app.model import Checkpoint, DashboardAnswer, Event, Reading, Slice
from app.settings import FeedSettings

REC_TYPE = "io.microshare.peoplecounter.unpacked.event.agg"
# The view copies the sub-documents named by field1 to field6 into each line; an unused
# placeholder is its own name, and must be there: a missing one is answered with 503.
FIELDS = {
    "field1": "daily_total",
    "field2": "meta",
    "field3": "change",
    "field4": "field4",
    "field5": "field5",
    "field6": "field6",
}


def get_people_counter_full_coverage(
    dashboard: AskDashboard, settings: FeedSettings, location: str, window: Slice
) -> DashboardAnswer:
    """Ask for all counts of one building in a window, pages merged."""
    return ask_view(dashboard, settings, REC_TYPE, location, window, FIELDS)


@dataclass(frozen=True, slots=True)
class PeopleCounterFeed:
    """Counts of people, as they came, plus recType and the tags of the object that held them."""

    title: str = "people counter"
    rec_type: str = REC_TYPE
    state_name: str = "peoplecounterstate"

    def ask(
        self, dashboard: AskDashboard, settings: FeedSettings, location: str, window: Slice
    ) -> DashboardAnswer:
        return get_people_counter_full_coverage(dashboard, settings, location, window)

    def events(
        self,
        location: str,
        fresh: Sequence[Reading],
        answer: Sequence[Reading],  # noqa: ARG002 - an event holds its own reading only
        checkpoint: Checkpoint,  # noqa: ARG002
        settings: FeedSettings,  # noqa: ARG002
    ) -> list[Event]:
        return [_event(location, reading) for reading in fresh]

    def parts(self, event: Event, fits: Callable[[Event], bool]) -> tuple[list[Event], list[Reading]]:  # noqa: ARG002
        """Give nothing that fits: a single reading cannot be split."""
        return [], list(event.readings)

    def ids_in(self, location: str, message_id: str, body: bytes) -> list[tuple[datetime, str]]:
        # The body has more fields than the entry had, so it has another id.
        entry = read_body(location, body)
        objs = [{"data": {"_id": {"tags": entry.get("_location_tags")}, "line": [entry]}}]
        return [(time, message_id) for time, _ in read_objects(REC_TYPE, location, objs)]


def _event(location: str, reading: Reading) -> Event:
    said = {"recType": REC_TYPE, "_location_tags": list(reading.tags)}
    body = {"recType": REC_TYPE} | dict(reading.entry) | said
    properties = {"recType": REC_TYPE, "location": location, "source": SOURCE}
    return Event(reading.id, location, strict_json.dumps(body), properties, (reading,))


FEED = PeopleCounterFeed()
