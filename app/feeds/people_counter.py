"""The people counter feed: counts at doors, one event a reading."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime

from app.base import exact_json
from app.base.checkpoints import Checkpoint
from app.base.readings import DashboardAnswer, Event, JsonObject, Reading, Slice
from app.feeds.feed import SOURCE, AskDashboard, ask_view, read_body, read_objects, timed_ids
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
    return ask_view(dashboard, settings, REC_TYPE, location, window, FIELDS)


@dataclass(frozen=True, slots=True)
class PeopleCounterFeed:
    """Counts of people, as they came, plus recType and the tags of the object that held them."""

    title: str = "people counter"
    rec_type: str = REC_TYPE
    state_name: str = "peoplecounterstate"
    merged_by: tuple[str, ...] = ()

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
        return [(time, message_id) for time, _ in timed_ids(self.readings_in(location, body))]

    def readings_in(self, location: str, body: bytes) -> list[Reading]:
        said = read_body(location, body)
        data = {"_id": {"tags": said.get(_TAGS)}, "line": [_without_ours(said)]}
        return read_objects(REC_TYPE, location, [{"data": data}])

    def held_as(self, location: str, reading: Reading) -> str:
        if _OURS.isdisjoint(reading.entry):
            return reading.id
        data = {"_id": {"tags": list(reading.tags)}, "line": [_without_ours(reading.entry)]}
        return read_objects(REC_TYPE, location, [{"data": data}])[0].id


def _without_ours(entry: JsonObject) -> JsonObject:
    return {name: value for name, value in entry.items() if name not in _OURS}


def _event(location: str, reading: Reading) -> Event:
    said = {"recType": REC_TYPE, _TAGS: list(reading.tags)}
    body = {"recType": REC_TYPE} | dict(reading.entry) | said
    properties = {"recType": REC_TYPE, "location": location, "source": SOURCE}
    return Event(reading.id, location, exact_json.dumps(body), properties, (reading,))


FEED = PeopleCounterFeed()
