"""What the emulated platform holds: buildings, their groups, and every reading they ever made.

Nothing is stored: a generated reading is a pure function of (seed, building, group, slot), made
when somebody asks for its window, the same in every process. Tests plant readings of their own
beside the generated ones, correct them, hold them back, and move buildings about.

All instants are timezone-aware UTC; windows are half-open unless said otherwise. Entries handed
out are shared: do not change them.

A feed of the platform is an `EmulatedFeed`, at the end of this file: a view and how its readings look.
"""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime, timedelta
from itertools import pairwise
from typing import Any, Literal
from zoneinfo import ZoneInfo

from emulators.counts import Count

Tags = tuple[str, ...]
Entry = dict[str, Any]
Expected = tuple[str, Tags, str | None, Entry]

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
MILLISECOND = timedelta(milliseconds=1)
SLOT_MS = 15 * 60_000
HOUR_MS = 60 * 60_000
# Older readings are not made any more, so that a window of centuries costs no more than this.
RETENTION = timedelta(days=400)
OWN_CLUSTERS = frozenset({0, 1})
FOREIGN_CLUSTER = 2
ALL_CLUSTERS = OWN_CLUSTERS | {FOREIGN_CLUSTER}
PEOPLE_CONTEXT = ("example", "people")
SNAPSHOT_CONTEXT = ("example", "room")
# One uplink in forty never arrives: the next one carries its counts.
LOST_IN_256 = 6
# People an hour through a busy door, by local hour.
COMING = (0, 0, 0, 0, 0, 1, 4, 22, 60, 44, 18, 14, 26, 40, 20, 14, 10, 8, 5, 3, 2, 1, 0, 0)
GOING = (1, 0, 0, 0, 0, 0, 1, 3, 6, 10, 14, 22, 42, 24, 14, 18, 30, 56, 38, 16, 8, 4, 2, 1)
CACHED_DAYS = 800


def ms_of(instant: datetime) -> int:
    """Give the milliseconds since the epoch, rounded down."""
    return (instant - EPOCH) // MILLISECOND


def time_text(ms: int) -> str:
    return (EPOCH + timedelta(milliseconds=ms)).isoformat(timespec="milliseconds").replace("+00:00", "Z")


@dataclass(frozen=True, slots=True)
class Building:
    """A building as device clusters know it.

    `groups` are the whole tags lists of its people counters, `rooms` those of its snapshot spaces;
    left out, it gets four of each. `snapshot_name` is what snapshots call it, left out: its name.
    `cluster` is 0 or 1 for the two clusters of our organisation, 2 for the foreign one. `first_name`
    is the name under which its devices were installed, left out: its name.
    """

    name: str
    groups: tuple[Tags, ...] = ()
    snapshot_name: str = ""
    zone: str = "Europe/Paris"
    rooms: tuple[Tags, ...] = ()
    cluster: int = 0
    first_name: str = ""

    def __post_init__(self) -> None:
        called = self.snapshot_name or self.name
        groups = tuple(tuple(tags) for tags in self.groups) or _default_groups(self.name)
        rooms = tuple(tuple(tags) for tags in self.rooms) or _default_rooms(called)
        given = {"snapshot_name": called, "groups": groups, "rooms": rooms}
        for attribute, value in {**given, "first_name": self.first_name or self.name}.items():
            object.__setattr__(self, attribute, value)

    def renamed(self, name: str, snapshot_name: str) -> Building:
        """Give the same doors and rooms under another name."""
        groups = tuple((name, *tags[1:]) if tags[:1] == (self.name,) else tags for tags in self.groups)
        rooms = tuple(
            (snapshot_name, *tags[1:]) if tags[:1] == (self.snapshot_name,) else tags for tags in self.rooms
        )
        return replace(self, name=name, snapshot_name=snapshot_name, groups=groups, rooms=rooms)


def _default_groups(name: str) -> tuple[Tags, ...]:
    return (
        (name, "0", "Main Entrance"),
        (name, "1", "Patio"),
        (name, "4", "North Lobby"),
        (name, "8", "Roof"),
    )


def _default_rooms(name: str) -> tuple[Tags, ...]:
    mark = hashlib.blake2b(name.encode("utf-8", "surrogatepass"), digest_size=2).digest().hex("-").upper()
    return tuple(
        (name, f"Floor-0{floor}", f"Room-0{room}", f"00-00-5E-00-53-{mark}-{floor}{room}")
        for floor, room in ((1, 1), (1, 2), (2, 1), (3, 1))
    )


DEFAULT = (
    Building("Example Beacon House", snapshot_name="Beacon House"),
    Building("Tour Été"),
    Building("Mill & Lane", zone="Europe/London"),
    Building("Quay+One", zone="America/New_York", cluster=1),
    Building("50% Annex", zone="Asia/Kathmandu", cluster=1),
)
FOREIGN = Building("Other Place", cluster=FOREIGN_CLUSTER)


@dataclass(frozen=True, slots=True)
class Stored:
    """One line entry and what only the platform knows of it.

    `position` is what `from` and `to` are compared with; both it and `visible_from` are
    milliseconds since the epoch. `context` is what a data context must be part of.
    """

    position: int
    visible_from: int
    tags: Tags
    context: tuple[str, ...]
    entry: Entry = field(compare=False)


@dataclass(frozen=True, slots=True)
class Place:
    """Where readings come from: the `number`th place of a building, whose `key` outlives its names."""

    key: str
    number: int
    tags: Tags
    zone: str


@dataclass(frozen=True, slots=True)
class EmulatedFeed:
    """A feed as the platform has it: its recType, its view, and how its readings look.

    `placeholders` are those of the view beside what every view has. Of `matched` ones a record must
    have the value; the sub-documents of a record are in a line entry where a field names them.
    `called` is the name by which the view knows a building, `places` are the tags that have
    readings there. `make_day` gives a place's readings of one day, a local one or UTC's. `variables`
    are what a forwarder's environment says of the feed.
    """

    name: str
    rec_type: str
    view_id: str
    view_name: str
    context: tuple[str, ...]
    sub_documents: tuple[str, ...]
    make_day: Callable[[Estate, Place, date], tuple[Stored, ...]]
    variables: Mapping[str, str]
    placeholders: tuple[str, ...] = ()
    matched: tuple[str, ...] = ()
    called: Callable[[Building], str] = lambda building: building.name
    places: Callable[[Building], tuple[Tags, ...]] = lambda building: building.groups
    local_days: bool = False


@dataclass(frozen=True, slots=True)
class _Tenancy:
    """A building under one name, from `start` until `end`. `key` stays the same through renamings."""

    key: str
    building: Building
    start: int | None = None
    end: int | None = None

    def covers(self, position: int) -> bool:
        return (self.start is None or self.start <= position) and (self.end is None or position < self.end)


@dataclass(frozen=True, slots=True)
class _Held:
    """Readings held back: those whose time, or whose publication, lies in a window."""

    key: str
    feed: str | None
    tags: Tags | None
    by: Literal["time", "publication"]
    start: int
    end: int | None
    until: int | None

    def visible_from(self, key: str, feed: str, stored: Stored, visible_from: int) -> int | None:
        """Give from when the reading can be seen; None for never."""
        told = (key, feed) if self.feed else (key, None)
        if (self.key, self.feed) != told or self.tags not in (None, stored.tags):
            return visible_from
        instant = stored.position if self.by == "time" else visible_from
        if instant < self.start or (self.end is not None and instant >= self.end):
            return visible_from
        return None if self.until is None else max(visible_from, self.until)


@dataclass(frozen=True, slots=True)
class _Correction:
    key: str
    feed: str
    tags: Tags
    position: int
    at: int
    fields: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class _Door:
    """One people counter: who it is, and what it writes beside its counts."""

    tags: Tags
    zone: str
    capacity: int

    def meta(self) -> Entry:
        return {
            "device": list(self.tags),
            "global": list(PEOPLE_CONTEXT),
            "capacity": self.capacity,
            "reset_hour": 0,
            "tag_depth": len(self.tags),
            "timezone": self.zone,
        }


@dataclass(slots=True)
class _Totals:
    """The running totals of one door on one local day."""

    door: _Door
    reset_ms: int
    came: int = 0
    left: int = 0
    missing: int = 0

    def entry(self, at: int, record: str, came: int, left: int, missing: int, minutes: int) -> Entry:
        self.came += came
        self.left += left
        self.missing += missing
        return {
            "time": time_text(at),
            "record": record,
            "change": {
                "in": came,
                "out": left,
                "count": came - left,
                "raw_count": came - left,
                "traffic": came + left,
                "num_devices": 1,
                "missing_records": missing,
                "elapsed": {"minutes": minutes},
            },
            "daily_total": self._daily_total(at),
            "meta": self.door.meta(),
        }

    def _daily_total(self, at: int) -> Entry:
        local = (EPOCH + timedelta(milliseconds=at)).astimezone(ZoneInfo(self.door.zone))
        inside = self.came - self.left
        return {
            "in": self.came,
            "out": self.left,
            "count": max(inside, 0),
            "raw_count": inside,
            "traffic": self.came + self.left,
            "alerts": 0,
            "faults": 0,
            "num_devices": 1,
            "missing_records": self.missing,
            "percent_capacity": max(inside, 0) * 100 // self.door.capacity,
            "date": local.date().isoformat(),
            "hour": local.hour,
            "day_of_the_week": local.isoweekday(),
            "reset_time": time_text(self.reset_ms),
            "timezone": self.door.zone,
        }


class Estate:
    """Every building of the platform and every reading, as a function of the instant of asking.

    `people_lag` and `snapshot_lag` pass between a reading's time and its publication; `late_share`
    of the snapshots come 30 to 120 minutes later still. `counts`, rows of (time, in, out),
    become the readings of the first building's first group, moved by whole weeks and repeated.
    With `generated=False` there is only what was planted (and `counts`). `feeds` are the platform's.
    """

    def __init__(
        self,
        seed: int = 1,
        buildings: Sequence[Building] = DEFAULT,
        *,
        people_lag: timedelta = timedelta(seconds=2),
        snapshot_lag: timedelta = timedelta(minutes=70),
        late_share: float = 0.03,
        counts: Sequence[Count] | None = None,
        generated: bool = True,
        feeds: Sequence[EmulatedFeed] | None = None,
    ) -> None:
        self.seed = seed
        self.feeds = {feed.name: feed for feed in (FEEDS if feeds is None else feeds)}
        self.people_lag = people_lag
        self.snapshot_lag = snapshot_lag
        self._late_in_256 = round(late_share * 256)
        self._generated = generated
        self._series = _Series(counts) if counts else None
        own = list(buildings)
        self._replayed = own[0].name if own and counts else None
        if not any(building.cluster == FOREIGN_CLUSTER for building in own):
            own.append(FOREIGN)
        # Two buildings of one name (of two organisations, say) are two sources.
        self._tenancies = tuple(_Tenancy(_key(building), building) for building in own)
        self._planted: dict[tuple[str, str], tuple[Stored, ...]] = {}
        self._held: tuple[_Held, ...] = ()
        self._corrections: tuple[_Correction, ...] = ()
        self._days: dict[tuple[Any, ...], tuple[Stored, ...]] = {}
        self._lock = threading.RLock()

    # What the platform answers.

    def listed(self, now: datetime) -> list[Building]:
        """Give the buildings whose devices are in a cluster at `now`, the foreign ones included."""
        at = ms_of(now)
        return [tenancy.building for tenancy in self._tenancies if tenancy.covers(at)]

    def readings(
        self,
        feed: str,
        name: str,
        first: int,
        last: int,
        now: datetime,
        clusters: Collection[int] = ALL_CLUSTERS,
    ) -> list[Stored]:
        """Give what is visible at `now` of everything called `name` in `clusters`, by time.

        `first` and `last` are milliseconds and both inclusive, as the API's ends are.
        """
        seen_at = ms_of(now)
        first = max(first, ms_of(now - RETENTION))
        found = [
            stored
            for tenancy in self._tenancies
            if self.feeds[feed].called(tenancy.building) == name and tenancy.building.cluster in clusters
            for stored in self._visible(tenancy, feed, first, last, seen_at)
        ]
        return sorted(found, key=lambda stored: stored.position)

    def people(
        self, building: str, start: datetime, end: datetime, *, now: datetime
    ) -> dict[Tags, list[Entry]]:
        """Give the line entries of each people counter group that are visible at `now`."""
        return _by_tags(self.readings("people", building, ms_of(start), ms_of(end) - 1, now))

    def snapshots(
        self, snapshot_name: str, start: datetime, end: datetime, *, now: datetime
    ) -> dict[Tags, list[Entry]]:
        """Give the line entries of each room that are visible at `now`, all categories and metrics."""
        return _by_tags(self.readings("snapshots", snapshot_name, ms_of(start), ms_of(end) - 1, now))

    def expected(self, feed: str, start: datetime, end: datetime, now: datetime) -> list[Expected]:
        """Give what a complete forwarder must have of `[start, end)`: (building, tags, time, entry).

        The building is named as discovered; the foreign organisation's are left out.
        """
        first = max(ms_of(start), ms_of(now - RETENTION))
        found = [
            (tenancy.building.name, stored)
            for tenancy in self._tenancies
            if tenancy.building.cluster in OWN_CLUSTERS
            for stored in self._visible(tenancy, feed, first, ms_of(end) - 1, ms_of(now))
        ]
        found.sort(key=lambda pair: (pair[0], pair[1].position, pair[1].tags))
        return [(name, stored.tags, stored.entry.get("time"), stored.entry) for name, stored in found]

    def expected_people(self, start: datetime, end: datetime, now: datetime) -> list[Expected]:
        """Give the same for people counts."""
        return self.expected("people", start, end, now)

    def expected_snapshots(
        self,
        start: datetime,
        end: datetime,
        now: datetime,
        *,
        category: str = "space",
        metric: str = "occupancy",
    ) -> list[Expected]:
        """Give the same for the snapshots of one category and metric."""
        return [
            expected
            for expected in self.expected("snapshots", start, end, now)
            if (expected[3].get("category"), expected[3].get("metric")) == (category, metric)
        ]

    def snapshot_prefix(self) -> str:
        """Give the text that a building's snapshot name lacks at the front; empty if none lacks any."""
        for tenancy in self._tenancies:
            name, called = tenancy.building.name, tenancy.building.snapshot_name
            if called != name and name.endswith(called):
                return name.removesuffix(called)
        return ""

    # What tests plant.

    def add_people(
        self,
        building: str,
        tags: Sequence[str] | None,
        time: datetime,
        *,
        ins: int = 1,
        outs: int = 0,
        time_as: str | None = None,
        visible_from: datetime | None = None,
        without: Iterable[str] = (),
        **fields: Any,
    ) -> Entry:
        """Plant a people counter entry and give it; no `tags` means the building's first group.

        `time` is its time, and what a window is compared with; `time_as` is what the entry says
        instead. `fields` replace those of the entry, sub-documents key by key (`change={"in": 7}`,
        `record="..."`); `without` names those it lacks. Planting one twice makes two entries that
        differ in `record` only.
        """
        tenancy = self._tenancy(building)
        tags = tuple(tags) if tags is not None else tenancy.building.groups[0]
        position, lag = ms_of(time), self.people_lag
        with self._lock:
            record = self._planted_record(tenancy.key, tags, position, position + lag // MILLISECOND)
            door = _Door(tags, tenancy.building.zone, capacity=50)
            totals = _Totals(door, _midnight(_local_day(position, door.zone), door.zone))
            entry = totals.entry(position, record, ins, outs, missing=0, minutes=15)
            said = fields if time_as is None else fields | {"time": time_as}
            entry = _without(_merged(entry, said), without)
            seen = position + lag // MILLISECOND if visible_from is None else ms_of(visible_from)
            self._plant(tenancy.key, "people", Stored(position, seen, tags, PEOPLE_CONTEXT, entry))
        return entry

    def add_snapshot(
        self,
        building: str,
        tags: Sequence[str] | None,
        time: datetime,
        *,
        category: str = "space",
        metric: str = "occupancy",
        time_as: str | None = None,
        visible_from: datetime | None = None,
        without: Iterable[str] = (),
        **fields: Any,
    ) -> Entry:
        """Plant a snapshot entry and give it; no `tags` means the building's first room."""
        tenancy = self._tenancy(building)
        tags = tuple(tags) if tags is not None else tenancy.building.rooms[0]
        position = ms_of(time)
        source = _Source(self.seed, "planted", tenancy.key, *tags)
        entry: Entry = {
            "time": time_text(position) if time_as is None else time_as,
            "category": category,
            "metric": metric,
            "current": _occupancy(source.digest(position), busy=12),
        }
        entry = _without(_merged(entry, fields), without)
        seen = ms_of(time + self.snapshot_lag if visible_from is None else visible_from)
        with self._lock:
            self._plant(tenancy.key, "snapshots", Stored(position, seen, tags, SNAPSHOT_CONTEXT, entry))
        return entry

    def correct(
        self,
        building: str,
        tags: Sequence[str],
        time: datetime | str,
        *,
        at: datetime,
        feed: str = "people",
        **fields: Any,
    ) -> None:
        """Let the entry of `tags` at `time` have other content from the instant `at` on."""
        instant = datetime.fromisoformat(time) if isinstance(time, str) else time
        key = self._tenancy(building).key
        correction = _Correction(key, feed, tuple(tags), ms_of(instant), ms_of(at), fields)
        with self._lock:
            self._corrections += (correction,)

    def hide(
        self,
        building: str,
        start: datetime,
        end: datetime,
        until: datetime | None = None,
        *,
        feed: str | None = None,
        tags: Sequence[str] | None = None,
    ) -> None:
        """Hold back the readings whose time is in `[start, end)`, until `until` or for ever."""
        self._hold(building, feed, tags, "time", start, end, until)

    def silence(
        self,
        building: str,
        start: datetime,
        until: datetime | None = None,
        *,
        feed: str | None = None,
        tags: Sequence[str] | None = None,
    ) -> None:
        """Publish nothing from `start` on; at `until`, if ever, all of it at once."""
        self._hold(building, feed, tags, "publication", start, until, until)

    def rename(
        self, building: str, new_name: str, *, at: datetime | None = None, snapshot_name: str | None = None
    ) -> None:
        """Call a building `new_name` from `at` on; without `at`, as if it had never had another name.

        Readings from before `at` keep the old name and can still be asked for by it.
        """
        with self._lock:
            old = self._tenancy(building)
            new = replace(old, building=old.building.renamed(new_name, snapshot_name or new_name))
            if at is None:
                self._replace(old, new)
            else:
                self._replace(old, replace(old, end=ms_of(at)), replace(new, start=ms_of(at)))

    def remove(self, building: str, *, at: datetime | None = None) -> None:
        """Take a building out of the clusters; its readings end at `at`, or were never there."""
        with self._lock:
            old = self._tenancy(building)
            self._replace(old, *([] if at is None else [replace(old, end=ms_of(at))]))

    def add(self, building: Building, *, since: datetime | None = None) -> None:
        """Put a building into its cluster; its readings begin at `since`, or have always been there."""
        start = None if since is None else ms_of(since)
        with self._lock:
            self._tenancies += (_Tenancy(_key(building), building, start=start),)

    # How it is held.

    def _tenancy(self, building: str) -> _Tenancy:
        """Give the latest building of that name, ours before the foreign organisation's."""
        called = [tenancy for tenancy in reversed(self._tenancies) if tenancy.building.name == building]
        if not called:
            raise KeyError(f"no building is called {building!r}")
        return min(called, key=lambda tenancy: tenancy.building.cluster not in OWN_CLUSTERS)

    def _replace(self, old: _Tenancy, *new: _Tenancy) -> None:
        place = self._tenancies.index(old)
        self._tenancies = (*self._tenancies[:place], *new, *self._tenancies[place + 1 :])

    def _plant(self, key: str, feed: str, stored: Stored) -> None:
        self._planted[key, feed] = (*self._planted.get((key, feed), ()), stored)

    def _planted_record(self, key: str, tags: Tags, position: int, created: int) -> str:
        twins = sum(
            (stored.tags, stored.position) == (tags, position)
            for stored in self._planted.get((key, "people"), ())
        )
        return _record(created, _Source(self.seed, "planted", key, *tags).digest(position, twins))

    def _hold(
        self,
        building: str,
        feed: str | None,
        tags: Sequence[str] | None,
        by: Literal["time", "publication"],
        start: datetime,
        end: datetime | None,
        until: datetime | None,
    ) -> None:
        ends = [None if instant is None else ms_of(instant) for instant in (end, until)]
        whose = None if tags is None else tuple(tags)
        held = _Held(self._tenancy(building).key, feed, whose, by, ms_of(start), *ends)
        with self._lock:
            self._held += (held,)

    def _visible(self, tenancy: _Tenancy, feed: str, first: int, last: int, seen_at: int) -> Iterator[Stored]:
        held = [rule for rule in self._held if rule.key == tenancy.key]
        corrections = [one for one in self._corrections if (one.key, one.feed) == (tenancy.key, feed)]
        for stored in self._all(tenancy, feed, first, min(last, seen_at)):
            if not (first <= stored.position <= last and tenancy.covers(stored.position)):
                continue
            visible_from: int | None = stored.visible_from
            for rule in held:
                if visible_from is not None:
                    visible_from = rule.visible_from(tenancy.key, feed, stored, visible_from)
            if visible_from is not None and visible_from <= seen_at:
                yield _corrected(stored, corrections, seen_at) if corrections else stored

    def _all(self, tenancy: _Tenancy, feed: str, first: int, last: int) -> Iterator[Stored]:
        """Give planted readings, and generated ones of at least `first` to `last`."""
        yield from self._planted.get((tenancy.key, feed), ())
        if first > last:
            return
        building, made = tenancy.building, self.feeds[feed]
        zone = building.zone if made.local_days else "UTC"
        for number, tags in enumerate(made.places(building)):
            place = Place(tenancy.key, number, tags, building.zone)
            if self._generated or self._replays(feed, place):
                for day in _days(_local_day(first, zone), _local_day(last, zone)):
                    yield from self._cached(made, place, day)

    def _replays(self, feed: str, place: Place) -> bool:
        return feed == "people" and place.number == 0 and place.key == self._replayed

    def _cached(self, feed: EmulatedFeed, place: Place, day: date) -> tuple[Stored, ...]:
        key = (feed.name, place, day)
        found = self._days.get(key)
        if found is None:
            if len(self._days) >= CACHED_DAYS:
                self._days.clear()
            found = self._days[key] = feed.make_day(self, place, day)
        return found

    # How it is made.

    def people_day(self, place: Place, day: date) -> tuple[Stored, ...]:
        """Make the readings of one door whose times are on one local day.

        A lost uplink leaves no entry; the next one carries its counts, across midnight too.
        """
        door = _Door(place.tags, place.zone, capacity=50 + 10 * place.number)
        if self._replays("people", place):
            return self._replayed_day(place, door, day)
        source = _Source(self.seed, "people", place.key, str(place.number))
        # A phase of the device's own, never on the quarter, and some milliseconds to and fro.
        phase = 20_000 + int.from_bytes(source.digest(-1)[:4]) % (SLOT_MS - 40_000)
        start, end = _midnight(day, door.zone), _midnight(day + timedelta(days=1), door.zone)
        totals = _Totals(door, start)
        first = (start - phase) // SLOT_MS
        carried: list[int] = []
        while source.digest(first - 1 - len(carried))[0] < LOST_IN_256:
            carried.append(first - 1 - len(carried))
        made: list[Stored] = []
        for slot in range(first, (end - phase) // SLOT_MS + 2):
            digest = source.digest(slot)
            at = slot * SLOT_MS + phase + int.from_bytes(digest[1:3]) % 601 - 300
            if digest[0] < LOST_IN_256:
                carried.append(slot)
                continue
            slots, carried = [*carried, slot], []
            if not start <= at < end:
                continue
            came, left = (
                sum(counts) for counts in zip(*(_counts(source, one, door) for one in slots), strict=True)
            )
            visible_from = at + self.people_lag // MILLISECOND
            missing = len(slots) - 1
            entry = totals.entry(at, _record(visible_from, digest), came, left, missing, 15 * len(slots))
            made.append(Stored(at, visible_from, door.tags, PEOPLE_CONTEXT, entry))
        return tuple(made)

    def _replayed_day(self, place: Place, door: _Door, day: date) -> tuple[Stored, ...]:
        """Make the readings of the file on one local day, values exactly as they are there."""
        assert self._series is not None
        source = _Source(self.seed, "counts", place.key, str(place.number))
        totals = _Totals(door, _midnight(day, door.zone))
        made = []
        for row, (at, came, left) in enumerate(self._series.on(day, door.zone)):
            visible_from = at + self.people_lag // MILLISECOND
            record = _record(visible_from, source.digest(at, row))
            entry = totals.entry(at, record, came, left, missing=0, minutes=self._series.minutes)
            made.append(Stored(at, visible_from, door.tags, PEOPLE_CONTEXT, entry))
        return tuple(made)

    def snapshot_day(self, place: Place, day: date) -> tuple[Stored, ...]:
        """Make the snapshots of one room whose times, the ends of their hours, are on one UTC day."""
        source = _Source(self.seed, "snapshots", place.key, str(place.number))
        made = []
        for hour in range(24):
            at = _midnight(day, "UTC") + hour * HOUR_MS
            digest = source.digest(at)
            if digest[0] < LOST_IN_256:
                continue
            local = (EPOCH + timedelta(milliseconds=at)).astimezone(ZoneInfo(place.zone))
            busy = 30 if local.isoweekday() < 6 and 8 < local.hour < 20 else 2
            late = (30 + digest[2] * 90 // 255) * 60_000 if digest[1] < self._late_in_256 else 0
            visible_from = at + self.snapshot_lag // MILLISECOND + late
            entry: Entry = {
                "time": time_text(at),
                "category": "space",
                "metric": "occupancy",
                "current": _occupancy(digest, busy),
            }
            made.append(Stored(at, visible_from, place.tags, SNAPSHOT_CONTEXT, entry))
        return tuple(made)


class _Source:
    """A stream of hashes, one for each number, for one thing of one seed."""

    def __init__(self, seed: int, *names: str) -> None:
        text = "\x1f".join((str(seed), *names))
        self._begun = hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=16)

    def digest(self, number: int, twin: int = 0) -> bytes:
        hashed = self._begun.copy()
        hashed.update(f"\x1f{number}\x1f{twin}".encode())
        return hashed.digest()


class _Series:
    """Rows of counts, repeated by whole weeks so that there are some on every day.

    A series shorter than a week is repeated by whole days. What lacks to whole weeks is filled
    with the same weekdays of the week before. Times with an offset stay at their time of day in UTC,
    those without one at that of the building.
    """

    def __init__(self, rows: Sequence[Count]) -> None:
        self._in_utc = rows[0][0].tzinfo is not None
        plain = [(time.astimezone(UTC) if self._in_utc else time, came, left) for time, came, left in rows]
        rows = sorted((time.replace(tzinfo=None), came, left) for time, came, left in plain)
        self._by_day: dict[date, list[Count]] = {}
        for row in rows:
            self._by_day.setdefault(row[0].date(), []).append(row)
        self._first = rows[0][0].date()
        self._span = (rows[-1][0].date() - self._first).days + 1
        self._period = self._span if self._span < 7 else -(-self._span // 7) * 7
        steps = [later[0] - earlier[0] for earlier, later in pairwise(rows) if later[0] > earlier[0]]
        self.minutes = min(steps, default=timedelta(minutes=30)) // timedelta(minutes=1)

    def on(self, day: date, zone: str) -> list[tuple[int, int, int]]:
        """Give the rows of a local day, each with its instant in milliseconds."""
        if not self._in_utc:
            local = ZoneInfo(zone)
            return [(ms_of(time.replace(tzinfo=local)), came, left) for time, came, left in self._moved(day)]
        start, end = _midnight(day, zone), _midnight(day + timedelta(days=1), zone)
        around = (day - timedelta(days=1), day, day + timedelta(days=1))
        rows = [(ms_of(time.replace(tzinfo=UTC)), *row) for one in around for time, *row in self._moved(one)]
        return [(at, came, left) for at, came, left in rows if start <= at < end]

    def _moved(self, day: date) -> list[Count]:
        place = (day - self._first).days % self._period
        while place >= self._span:
            place -= 7
        original = self._first + timedelta(days=place)
        moved = day - original
        return [(time + moved, came, left) for time, came, left in self._by_day.get(original, ())]


def _key(building: Building) -> str:
    return building.name if building.cluster in OWN_CLUSTERS else f"{building.cluster}/{building.name}"


def _record(created_ms: int, digest: bytes) -> str:
    """Make a record id as the platform does: its second of creation, then what makes it unique."""
    return f"{created_ms // 1000:08x}{digest[:8].hex()}"


def _counts(source: _Source, slot: int, door: _Door) -> tuple[int, int]:
    local = (EPOCH + timedelta(milliseconds=slot * SLOT_MS)).astimezone(ZoneInfo(door.zone))
    digest = source.digest(slot)
    week = 4 if local.isoweekday() < 6 else 24
    return COMING[local.hour] * digest[3] // 128 // week, GOING[local.hour] * digest[4] // 128 // week


def _occupancy(digest: bytes, busy: int) -> Entry:
    samples = [byte * busy // 255 for byte in digest[4:8]]
    return {
        "avg": sum(samples) / len(samples),
        "count": len(samples),
        "delta": samples[-1] - samples[0],
        "first": samples[0],
        "last": samples[-1],
        "max": max(samples),
        "min": min(samples),
        "range": max(samples) - min(samples),
        "sum": sum(samples),
    }


def _corrected(stored: Stored, corrections: Sequence[_Correction], seen_at: int) -> Stored:
    entry = stored.entry
    for one in corrections:
        if (one.tags, one.position) == (stored.tags, stored.position) and one.at <= seen_at:
            entry = _merged(entry, one.fields)
    return replace(stored, entry=entry)


def _merged(entry: Entry, fields: Mapping[str, Any]) -> Entry:
    merged = dict(entry)
    for name, value in fields.items():
        old = merged.get(name)
        if isinstance(old, Mapping) and isinstance(value, Mapping):
            merged[name] = {**old, **value}
        else:
            merged[name] = value
    return merged


def _without(entry: Entry, names: Iterable[str]) -> Entry:
    lacking = set(names)
    return {name: value for name, value in entry.items() if name not in lacking}


def _by_tags(readings: Iterable[Stored]) -> dict[Tags, list[Entry]]:
    groups: dict[Tags, list[Entry]] = {}
    for stored in readings:
        groups.setdefault(stored.tags, []).append(stored.entry)
    return dict(sorted(groups.items()))


def _local_day(ms: int, zone: str) -> date:
    return (EPOCH + timedelta(milliseconds=ms)).astimezone(ZoneInfo(zone)).date()


def _midnight(day: date, zone: str) -> int:
    return ms_of(datetime(day.year, day.month, day.day, tzinfo=ZoneInfo(zone)))


def _days(first: date, last: date) -> Iterator[date]:
    for number in range((last - first).days + 1):
        yield first + timedelta(days=number)


def every(
    minutes: int, context: tuple[str, ...], entry: Callable[[bytes], Entry], *, lag: timedelta = timedelta(0)
) -> Callable[[Estate, Place, date], tuple[Stored, ...]]:
    """Give what makes a day of a feed: an entry every so many minutes, made of sixteen bytes of its own."""

    def make_day(estate: Estate, place: Place, day: date) -> tuple[Stored, ...]:
        source = _Source(estate.seed, *context, place.key, str(place.number))
        start = _midnight(day, "UTC")
        made = []
        for at in range(start, start + 24 * HOUR_MS, minutes * 60_000):
            said = {"time": time_text(at)} | entry(source.digest(at))
            made.append(Stored(at, at + lag // MILLISECOND, place.tags, context, said))
        return tuple(made)

    return make_day


PEOPLE = EmulatedFeed(
    name="people",
    rec_type="io.microshare.peoplecounter.unpacked.event.agg",
    view_id="ffffffffffffffffffffff0a",
    view_name="People dashboard",
    context=PEOPLE_CONTEXT,
    sub_documents=("change", "daily_total", "meta"),
    make_day=Estate.people_day,
    variables={
        "MICROSHARE_PC_DASHBOARD_VIEW_ID": "ffffffffffffffffffffff0a",
        "MICROSHARE_PC_DATA_CONTEXT": json.dumps(PEOPLE_CONTEXT[1:]),
    },
    local_days=True,
)
SNAPSHOTS = EmulatedFeed(
    name="snapshots",
    rec_type="io.microshare.lake.snapshot.hourly",
    view_id="ffffffffffffffffffffff0b",
    view_name="Snapshot dashboard",
    context=SNAPSHOT_CONTEXT,
    sub_documents=("current",),
    make_day=Estate.snapshot_day,
    variables={
        "MICROSHARE_SNAPSHOT_DASHBOARD_VIEW_ID": "ffffffffffffffffffffff0b",
        "MICROSHARE_SNAPSHOT_DATA_CONTEXT": json.dumps(SNAPSHOT_CONTEXT),
        "MICROSHARE_SNAPSHOT_CATEGORY": "space",
        "MICROSHARE_SNAPSHOT_METRIC": "occupancy",
    },
    placeholders=("category", "metric", "ownerOrg"),
    matched=("category", "metric"),
    called=lambda building: building.snapshot_name,
    places=lambda building: building.rooms,
)
FEEDS = (PEOPLE, SNAPSHOTS)
