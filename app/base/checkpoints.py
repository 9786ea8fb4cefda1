"""What is known of feeds, locations and hubs: checkpoints, records, gaps, discovery. Frozen, no effects.

A position always means the exclusive end of what is done. All instants are timezone-aware UTC.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

from app.base.instants import hour_of, parse_time
from app.base.packed_ids import joined, unpacked
from app.base.readings import Ids, JsonObject, Slice, ids_by_hour


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """What one hub has of one location: done up to `delivered_until`, ids complete from `known_from`.

    `newest` is the time of the newest reading of the slices that are done, as far as it proves that
    the source had spoken when the slices before were asked; what lies outside its slice, or has no
    time, proves nothing.
    """

    delivered_until: datetime
    known_from: datetime
    ids: Ids = field(default_factory=dict, repr=False)
    newest: datetime | None = None

    def knows(self, reading_id: str) -> bool:
        return any(reading_id in ids for ids in self.ids.values())

    def known_among(self, reading_ids: Iterable[str]) -> Collection[str]:
        """Give those of the ids that are known; quicker than asking for each."""
        wanted = frozenset(reading_ids)
        return frozenset().union(*(wanted & unpacked(ids) for ids in self.ids.values()))

    def newest_hour(self) -> datetime | None:
        """Give the newest hour that has readings; None where no id is held."""
        return max((hour for hour, ids in self.ids.items() if ids), default=None)

    def with_ids(self, found: Iterable[tuple[datetime, str]]) -> Checkpoint:
        """Give the checkpoint with (instant, id) pairs, by the hour, added."""
        return self.with_hours(ids_by_hour(found))

    def with_hours(self, added: Ids) -> Checkpoint:
        """Give the checkpoint with ids, by the hour, added."""
        if not added:
            return self
        new = {hour: joined(self.ids.get(hour, frozenset()), ids) for hour, ids in added.items()}
        return replace(self, ids={**self.ids, **new})

    def done_until(self, end: datetime, *, reach: timedelta, newest: datetime | None = None) -> Checkpoint:
        """Give the checkpoint moved on to `end`, never back, with ids older than `reach` dropped.

        `newest` is how far the slice that ends there proves that the source has spoken, if it does.

        What is dropped raises `known_from`, so that it is never read again.
        """
        position = max(self.delivered_until, end)
        seen = max((at for at in (self.newest, newest) if at is not None), default=None)
        oldest = hour_of(position - reach)
        if oldest <= self.known_from:
            return replace(self, delivered_until=position, newest=seen)
        ids = {hour: ids for hour, ids in self.ids.items() if hour >= oldest}
        return Checkpoint(position, oldest, ids, seen)


@dataclass(frozen=True, slots=True)
class HubRecord:
    """What is told of one hub at one location: totals since the beginning, and how it fares.

    `start` is where its first checkpoint was: nothing before it was ever promised.
    """

    events: int = 0
    readings: int = 0
    duplicates: int = 0
    last_success: datetime | None = None
    error: str | None = None
    since: datetime | None = None
    start: datetime | None = None

    def plus(self, *, events: int = 0, readings: int = 0, duplicates: int = 0) -> HubRecord:
        return replace(
            self,
            events=self.events + events,
            readings=self.readings + readings,
            duplicates=self.duplicates + duplicates,
        )

    def succeeded(self, at: datetime) -> HubRecord:
        return replace(self, last_success=at, error=None, since=None)

    def failed(self, error: str, at: datetime) -> HubRecord:
        return replace(self, error=error, since=self.since if self.error else at)


@dataclass(frozen=True, slots=True)
class Seal:
    """What a hub had of an hour when its ids were dropped: how many readings, and fingerprints of them.

    `keys` and `contents` are the XOR of the first and of the second halves of the ids, 6 bytes each;
    `contents` is None where a reading came in two versions, of which the source shows only the later.
    """

    readings: int
    keys: int
    contents: int | None


# Seals by hour; None for an hour that holds readings of another one, or misses some of its own.
Seals = Mapping[datetime, Seal | None]


@dataclass(frozen=True, slots=True)
class Gap:
    """A stretch that may have readings missing, kept until it is repaired or dismissed.

    `cause` is `saturated`, `missed` or `left behind`; no `hubs` means all of them.
    """

    window: Slice
    cause: str
    found: datetime
    hubs: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Sensor:
    """What one sensor, told by its tags, has shown: its newest reading, and its longest silence before."""

    last: datetime
    longest: timedelta = timedelta(0)


@dataclass(frozen=True, slots=True)
class LocationState:
    """One document of the state: everything known of one location in one feed.

    `last_listed` is when discovery last listed it (None: configured, or never);
    `newest` the time of the newest reading seen; `error` what its query failed with, and since when.
    `begun` is when it was first asked for; `seals` are kept by hub, and `compared` is when the source
    was last asked again for their hours.
    """

    last_listed: datetime | None = None
    newest: datetime | None = None
    checkpoints: Mapping[str, Checkpoint] = field(default_factory=dict)
    hubs: Mapping[str, HubRecord] = field(default_factory=dict)
    gaps: tuple[Gap, ...] = ()
    error: str | None = None
    since: datetime | None = None
    begun: datetime | None = None
    seals: Mapping[str, Seals] = field(default_factory=dict, repr=False)
    compared: datetime | None = None
    sensors: Mapping[tuple[str, ...], Sensor] = field(default_factory=dict, repr=False)

    def outline(self) -> LocationState:
        """Give it without what takes nearly all of the space: ids, seals and sensors."""
        checkpoints = {hub: replace(known, ids={}) for hub, known in self.checkpoints.items()}
        return replace(self, checkpoints=checkpoints, seals={}, sensors={})


@dataclass(frozen=True, slots=True)
class Place:
    """A location as discovery found it: its name, the organisation that owns it, its devices.

    `sketch` is a sample of the devices, as hashes, the same whatever the location is called.
    """

    name: str
    owner: str
    devices: int
    sketch: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Discovery:
    """What discovery found, and when.

    `of` tells the settings it was asked with from others; `collisions` are names that two
    organisations own, which are refused.
    """

    at: datetime
    places: tuple[Place, ...]
    of: str = ""
    collisions: tuple[str, ...] = ()


# A location is asked for this long after discovery last listed it: a renamed building has a tail.
LOCATION_KEPT = timedelta(hours=48)


@dataclass(frozen=True, slots=True)
class Takeover:
    """The earlier forwarder's position, found in `source`; taken over by the run at `at`, once."""

    position: datetime
    source: str
    events: int = 0
    duplicates: int = 0
    at: datetime | None = None


@dataclass(frozen=True, slots=True)
class Drift:
    """Something about the source that is not as it was, since when, in words.

    `kind` is `renamed`, `gone`, `new`, `silent`, `speaks again`, `keys appeared` or `keys vanished`;
    `sensor` its tags, where it is about one.
    """

    kind: str
    location: str | None
    text: str
    since: datetime
    sensor: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class SeenKey:
    """A key of the bodies: the hour in which it was last seen, and whether its absence was told."""

    last: datetime
    vanished: bool = False


@dataclass(frozen=True, slots=True)
class FeedState:
    """The whole state of one feed. `drift` is what was told and is not over; `keys` those of the bodies.

    What a shard of the feed loads has its own locations only, and the list that it knew of; the
    `latest_discovery` is then the newest that anybody has. It is not written.
    """

    locations: Mapping[str, LocationState] = field(default_factory=dict)
    discovery: Discovery | None = None
    takeover: Takeover | None = None
    last_run: JsonObject | None = None
    drift: tuple[Drift, ...] = ()
    keys: Mapping[str, SeenKey] = field(default_factory=dict, repr=False)
    latest_discovery: Discovery | None = None

    def is_gone(self, location: LocationState) -> bool:
        """Whether discovery last listed the location so long ago that it is no longer asked for."""
        if self.discovery is None or location.last_listed is None:
            return False
        return self.discovery.at - location.last_listed > LOCATION_KEPT

    def last_run_ended(self) -> datetime | None:
        """Give when the last run ended, by its host's clock; None where there was none."""
        ended = self.last_run.get("ended") if self.last_run else None
        return parse_time(ended) if isinstance(ended, str) else None

    def least_position(self) -> datetime | None:
        """Give the position of what is furthest behind, of the locations that are still asked for."""
        positions = [
            checkpoint.delivered_until
            for location in self.locations.values()
            for checkpoint in location.checkpoints.values()
            if not self.is_gone(location)
        ]
        return min(positions, default=None)

    def total_events(self) -> int:
        return sum(hub.events for hub in self._hubs()) + (self.takeover.events if self.takeover else 0)

    def total_duplicates(self) -> int:
        return sum(hub.duplicates for hub in self._hubs()) + (
            self.takeover.duplicates if self.takeover else 0
        )

    def _hubs(self) -> Iterator[HubRecord]:
        return (hub for location in self.locations.values() for hub in location.hubs.values())
