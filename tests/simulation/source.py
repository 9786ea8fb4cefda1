"""The simulated source: buildings, what they read, and when a view shows it."""

from __future__ import annotations

import random
from bisect import bisect_left
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from app.base.instants import MILLISECOND, format_time, hour_of
from app.base.readings import Slice

START = datetime(2026, 3, 2, tzinfo=UTC)
HOUR = timedelta(hours=1)
MINUTE = timedelta(minutes=1)
DAY = timedelta(hours=24)
NEVER = datetime(2100, 1, 1, tzinfo=UTC)

REC_TYPES = {
    "people_counter": "io.microshare.peoplecounter.unpacked.event.agg",
    "hourly_snapshot": "io.microshare.lake.snapshot.hourly",
}
LARGE_BYTES = 2_500
_NO_TIME = Slice(NEVER, NEVER)


@dataclass(slots=True, eq=False)
class Version:
    """A reading as it is shown from `shown` until `replaced`.

    `promised` says whether it is due at every hub however the runs fall: it was published inside
    the look-back, or at once after a silence of at most a day. One that is `stray` is in every
    answer once it is shown, whatever window was asked.
    """

    serial: int
    building: str
    time: datetime
    shown: datetime
    tags: tuple[str, ...]
    entry: dict[str, Any]
    replaced: datetime = NEVER
    replaces: Version | None = None
    flawed: bool = False
    large: bool = False
    promised: bool = False
    saturated: bool = False
    stray: bool = False

    def is_shown(self, at: datetime) -> bool:
        return self.shown <= at < self.replaced


@dataclass(frozen=True, slots=True)
class Habits:
    """How the buildings of a world behave; `per_hour` is how many readings one may have."""

    feed: str
    look_back: timedelta
    record_limit: int
    lateness: float
    corrections: float
    flaws: float
    silences: int
    bursts: int
    strays: float
    per_hour: tuple[float, ...]


@dataclass(slots=True)
class Building:
    """A location: when discovery lists it, and everything it will ever show, by time.

    `missed` is a stretch in which discovery does not list it, though it is there.
    """

    name: str
    listed_from: datetime
    listed_until: datetime = NEVER
    missed: Slice = _NO_TIME
    versions: list[Version] = field(default_factory=list)
    times: list[datetime] = field(default_factory=list)
    strays: list[Version] = field(default_factory=list)

    def is_listed(self, at: datetime) -> bool:
        return self.listed_from <= at < self.listed_until and at not in self.missed

    def is_listed_throughout(self, window: Slice) -> bool:
        overlaps = window.start < self.missed.end and self.missed.start <= window.end
        return self.listed_from <= window.start and window.end < self.listed_until and not overlaps

    def list_always(self) -> None:
        self.listed_from, self.listed_until, self.missed = START, NEVER, _NO_TIME

    def view(self, window: Slice, at: datetime, limit: int) -> list[Version]:
        """Give what a view shows of a window: the newest `limit` of it, without a word on the rest."""
        low, high = bisect_left(self.times, window.start), bisect_left(self.times, window.end)
        found = [version for version in self.versions[low:high] if version.is_shown(at)]
        found += [version for version in self.strays if version.is_shown(at) and version not in found]
        return found[-limit:]

    def published(self, window: Slice, at: datetime) -> int:
        """Count what was ever shown of a window, replaced readings too."""
        return sum(version.shown <= at and version.time in window for version in self.versions)

    def busiest_hour(self, window: Slice, at: datetime) -> int:
        """Give the most readings that one hour of the window shows."""
        shown = [version.time for version in self.versions if version.shown <= at and version.time in window]
        return max(Counter(map(hour_of, shown)).values(), default=0)

    def index(self) -> None:
        self.versions.sort(key=lambda version: (version.time, version.serial))
        self.times = [version.time for version in self.versions]
        self.strays = [version for version in self.versions if version.stray]


# When something is read, and the number of the sensor that reads it.
_Instant = tuple[datetime, int]


class Source:
    """All buildings of a world, with readings from `begin` to `end`."""

    def __init__(self, rng: random.Random, habits: Habits, begin: datetime, end: datetime) -> None:
        self._rng = rng
        self._habits = habits
        self._serial = 0
        self.silences: list[Slice] = []
        self.buildings: dict[str, Building] = {}
        self._populate(begin, end)
        self.by_publication: list[Version] = []
        self._index()

    def listed(self, at: datetime) -> list[str]:
        return [building.name for building in self.buildings.values() if building.is_listed(at)]

    def add_fresh(self, name: str, time: datetime, at: datetime) -> Version:
        """Publish one more reading now."""
        version = self._version(self.buildings[name], time, at, sensor=0)
        version.promised = True
        self.buildings[name].index()
        return version

    # --- making it up -----------------------------------------------------------------------------

    def _populate(self, begin: datetime, end: datetime) -> None:
        rng = self._rng
        for number in range(rng.choice((1, 1, 1, 2, 2, 3))):
            name = f"Installation {number + 1}"
            building = self.buildings[name] = Building(name, begin)
            until = end
            if rng.random() < 0.15:
                until = building.listed_until = begin + (end - begin) * rng.uniform(0.4, 0.9)
                renamed = Building(f"{name} (new)", until)
                self.buildings[renamed.name] = renamed
                self._read(renamed, until, end)
            elif rng.random() < 0.1:
                building.listed_from = begin + (end - begin) * rng.uniform(0.4, 0.8)
            elif rng.random() < 0.05:
                building.listed_until = begin + (end - begin) * rng.uniform(0.4, 0.9)
            elif rng.random() < 0.15:
                vanished = begin + (end - begin) * rng.uniform(0.2, 0.8)
                building.missed = Slice(vanished, vanished + rng.choice((3, 12, 30, 60)) * HOUR)
            self._read(building, begin, until)

    def _read(self, building: Building, begin: datetime, end: datetime) -> None:
        habits, rng = self._habits, self._rng
        silences = [self._silence(begin, end) for _ in range(habits.silences)]
        self.silences += silences
        if habits.feed == "hourly_snapshot":
            instants = self._hours(begin, end)
        else:
            instants = self._intervals(begin, end) + self._bursts(begin, end)
        for instant, sensor in sorted(instants):
            shown = max(begin, instant + self._delay())
            for silence in silences:
                if shown in silence:
                    shown = silence.end
            version = self._version(building, instant, shown, sensor)
            if rng.random() < habits.corrections:
                version.replaced = shown + timedelta(seconds=rng.choice((90, 600, 2_400, 9_000, 40_000)))
                corrected = self._version(building, instant, version.replaced, sensor, of=version)
                corrected.replaces = version
        if rng.random() < habits.strays:
            self._stray(building, begin, end)

    def _stray(self, building: Building, begin: datetime, end: datetime) -> None:
        """Have one that a view shows in every answer: of a day gone by, or of one to come."""
        rng = self._rng
        time = rng.choice((begin + (end - begin) * 0.5, end + 3 * DAY))
        shown = max(time, begin + (end - begin) * 0.3) if time < end else begin + (end - begin) * 0.3
        stray = self._version(building, time, shown, sensor=0)
        stray.stray = True

    def _silence(self, begin: datetime, end: datetime) -> Slice:
        start = begin + (end - begin) * self._rng.random()
        return Slice(start, start + self._rng.choice((2, 5, 11, 20, 23)) * HOUR)

    def _intervals(self, begin: datetime, end: datetime) -> list[_Instant]:
        step = HOUR / self._rng.choice(self._habits.per_hour)
        instants = []
        instant = begin
        while instant < end:
            jitter = timedelta(milliseconds=self._rng.choice((0, 0, 1, 999, 1_000, 61_007, 200_500)))
            instants.append((instant + jitter, self._rng.randrange(3)))
            instant += step
        return instants

    def _hours(self, begin: datetime, end: datetime) -> list[_Instant]:
        rooms = int(self._rng.choice(self._habits.per_hour)) or 1
        hours = int((end - begin) / HOUR)
        return [(hour_of(begin) + n * HOUR, room) for n in range(1, hours) for room in range(rooms)]

    def _bursts(self, begin: datetime, end: datetime) -> list[_Instant]:
        limit = min(self._habits.record_limit, 30)
        instants = []
        for _ in range(self._habits.bursts):
            instant = begin + timedelta(milliseconds=self._rng.randrange(int((end - begin) / MILLISECOND)))
            together = self._rng.choice((limit // 2, limit - 1, limit + 5))
            instants += [(instant, sensor) for sensor in range(together)]
        return instants

    def _delay(self) -> timedelta:
        rng, habits = self._rng, self._habits
        if rng.random() >= habits.lateness:
            return timedelta(milliseconds=rng.choice((0, 500, 20_000, 120_000)))
        if rng.random() < 0.8:
            return habits.look_back * rng.random()
        return timedelta(hours=rng.choice((1.5, 3, 8, 23, 30)))

    def _version(
        self, building: Building, time: datetime, shown: datetime, sensor: int, of: Version | None = None
    ) -> Version:
        self._serial += 1
        rng = self._rng
        flawed = of is None and rng.random() < self._habits.flaws
        large = of is None and rng.random() < self._habits.flaws
        written = "soon" if flawed else format_time(time)
        entry: dict[str, Any] = {"time": written, "serial": self._serial}
        if self._habits.feed == "people_counter":
            entry["record"] = of.entry["record"] if of else f"r{self._serial}"
            entry["change"] = {"in": rng.randrange(9), "out": rng.randrange(9)}
            tags = (building.name, f"Door {sensor % 3}")
        else:
            entry |= {"category": "space", "metric": "occupancy", "value": rng.randrange(99)}
            tags = (building.name, f"Room {sensor}")
        if large:
            entry["note"] = "x" * LARGE_BYTES
        version = Version(self._serial, building.name, time, shown, tags, entry)
        version.flawed, version.large = flawed, large
        building.versions.append(version)
        return version

    # --- what is promised of it -------------------------------------------------------------------

    def _index(self) -> None:
        for building in self.buildings.values():
            building.index()
            _mark_promised(building.versions, self._habits.look_back)
            _mark_saturated(building.versions, self._habits.record_limit)
        everything = [version for building in self.buildings.values() for version in building.versions]
        self.by_publication = sorted(everything, key=lambda version: (version.shown, version.serial))


def _mark_promised(versions: Sequence[Version], look_back: timedelta) -> None:
    newest: datetime | None = None
    waiting: list[Version] = []
    for version in sorted(versions, key=lambda version: version.shown):
        if waiting and version.shown > waiting[0].shown:
            newest = max([found.time for found in waiting] + ([newest] if newest else []))
            waiting = []
        waiting.append(version)
        in_look_back = version.time >= version.shown - look_back
        after_silence = version.time >= version.shown - DAY and (
            newest is None or version.time >= newest - look_back
        )
        version.promised = (in_look_back or after_silence) and not version.stray


def _mark_saturated(versions: Sequence[Version], limit: int) -> None:
    """Mark what shares its millisecond with so much else that a view cannot show all of it."""
    at = 0
    while at < len(versions):
        end = at
        while end < len(versions) and versions[end].time == versions[at].time:
            end += 1
        if end - at >= limit * 0.95:
            for version in versions[at:end]:
                version.saturated = True
        at = end
