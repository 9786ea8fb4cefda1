"""The people counter feed: counts at doors, one event a reading.

A feed of the same shape is this class with other parameters: its title, recType, state name and
the placeholders of its view.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from app.base import exact_json
from app.base.checkpoints import Checkpoint
from app.base.readings import DashboardAnswer, DashboardQuery, Event, JsonObject, Reading, Slice
from app.feeds.feed import SOURCE, AskDashboard, read_body, read_objects, timed_ids, view_query
from app.settings.schema import FeedSettings

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
# What an event adds to its entry, in place of what the entry has under these names.
_TAGS = "_location_tags"
_OURS = frozenset({"recType", _TAGS})


def get_people_counter_full_coverage(
    dashboard: AskDashboard, settings: FeedSettings, location: str, window: Slice
) -> DashboardAnswer:
    """Ask for all counts of one building in a window, pages merged."""
    return dashboard(FEED.query(settings, location, window))


@dataclass(frozen=True, slots=True)
class PeopleCounterFeed:
    """Counts of people, as they came, plus recType and the tags of the object that held them."""

    title: str = "people counter"
    rec_type: str = REC_TYPE
    state_name: str = "peoplecounterstate"
    merged_by: tuple[str, ...] = ()
    placeholders: Mapping[str, str] = field(default_factory=lambda: FIELDS)

    def query(self, settings: FeedSettings, location: str, window: Slice) -> DashboardQuery:
        return view_query(settings, self.rec_type, location, window, self.placeholders)

    def events(
        self,
        location: str,
        fresh: Sequence[Reading],
        answer: Sequence[Reading],  # noqa: ARG002 - an event holds its own reading only
        checkpoint: Checkpoint,  # noqa: ARG002
        settings: FeedSettings,  # noqa: ARG002
    ) -> list[Event]:
        return [_event(self.rec_type, location, reading) for reading in fresh]

    def parts(self, event: Event, fits: Callable[[Event], bool]) -> tuple[list[Event], list[Reading]]:  # noqa: ARG002
        """Give nothing that fits: a single reading cannot be split."""
        return [], list(event.readings)

    def ids_in(self, location: str, message_id: str, body: bytes) -> list[tuple[datetime, str]]:
        return [(time, message_id) for time, _ in timed_ids(self.readings_in(location, body))]

    def readings_in(self, location: str, body: bytes) -> list[Reading]:
        said = read_body(location, body)
        data = {"_id": {"tags": said.get(_TAGS)}, "line": [_without_ours(said)]}
        return read_objects(self.rec_type, location, [{"data": data}])

    def held_as(self, location: str, reading: Reading) -> str:
        if _OURS.isdisjoint(reading.entry):
            return reading.id
        data = {"_id": {"tags": list(reading.tags)}, "line": [_without_ours(reading.entry)]}
        return read_objects(self.rec_type, location, [{"data": data}])[0].id


def _without_ours(entry: JsonObject) -> JsonObject:
    return {name: value for name, value in entry.items() if name not in _OURS}


def _event(rec_type: str, location: str, reading: Reading) -> Event:
    said = {"recType": rec_type, _TAGS: list(reading.tags)}
    body = {"recType": rec_type} | dict(reading.entry) | said
    properties = {"recType": rec_type, "location": location, "source": SOURCE}
    return Event(reading.id, location, exact_json.dumps(body), properties, (reading,))


FEED = PeopleCounterFeed()
