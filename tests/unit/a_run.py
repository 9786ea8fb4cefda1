"""What a run is told of by its settings, where a test needs some and it does not matter which."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from app.base.readings import Event, Reading
from app.eventhub.batches import Batch
from app.run.draft import Draft
from app.settings.schema import (
    FeedSettings,
    HubSettings,
    MicroshareSettings,
    RunSettings,
    Settings,
    StateSettings,
)

NOON = datetime(2026, 3, 2, 12, tzinfo=UTC)
HOUR = timedelta(hours=1)
MINUTE = timedelta(minutes=1)
DAY = timedelta(days=1)
A, B = "a.example.test/counts", "b.example.test/counts"
MILL, QUAY = "Mill & Lane", "Quay+One"
HUBS = tuple(HubSettings(key, key[0], key.split("/")[0], "counts") for key in (A, B))
FEED = FeedSettings(
    name="people_counter",
    view_id="view",
    data_context=("people",),
    schedule="0 */15 * * * *",
    cluster_ids=("cluster",),
)
MICROSHARE = MicroshareSettings(
    username="svc@example.test", password="obviously-false-password", identity=("com.example.NORTH",)
)


def settings(feed: FeedSettings = FEED, **of_run: object) -> Settings:
    """Give the settings of one feed and two hubs."""
    return Settings(
        microshare=MICROSHARE,
        feeds={feed.name: feed},
        hubs=HUBS,
        state=StateSettings("json", "unused"),
        run=RunSettings(**of_run),  # type: ignore[arg-type]  # names as in RunSettings
    )


def draft(feed: FeedSettings = FEED) -> Draft:
    return Draft("r1", feed.name, NOON, settings(feed), dry_run=False)


def reading(name: str, time: datetime | None = NOON, *tags: str, **entry: object) -> Reading:
    """Give a reading whose id is `name`, made long enough for one: a key's half, then a content's."""
    key, _, content = name.partition("/")
    return Reading(f"{key:A>8}{content or '1':A>8}", time, tags, entry, {})


def batch(*readings: Reading, location: str = MILL, size_bytes: int = 100) -> Batch:
    """Give a batch with one event a reading, which nobody has encoded."""
    events = tuple(Event(found.id, location, b"{}", {}, (found,)) for found in readings)
    return Batch(events, size_bytes, encoded=None)  # type: ignore[arg-type]  # nothing sends it
