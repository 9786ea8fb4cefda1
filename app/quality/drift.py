"""What about the source is not as it was: names, silences, keys of the bodies. Pure.

Each thing is told once; what was told is in the feed's state until it is over, or for a week.
"""

from __future__ import annotations

import re
import shlex
from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

from app.base.checkpoints import Discovery, Drift, LocationState, Place, SeenKey, Sensor
from app.base.grouping import by_key
from app.base.instants import format_time, hour_of
from app.base.readings import Reading
from app.base.text import dashed, named, said_and_advised
from app.quality.bounds import (
    KEY_BYTES,
    KEYS_KEPT,
    error_kept,
    newest_sensors,
    sensor_of,
    shortened,
)

SILENT = "silent"
SPEAKS_AGAIN = "speaks again"
# Whoever looks once a week still sees it; and where names change in every run the state stays bounded.
_TOLD_FOR = timedelta(days=7)
_TOLD_AT_MOST = 200
# A silence is odd when it is twice the longest one before: nights and holidays vary in length. It is at
# least so many look-backs, for what comes late within one is no silence yet, but no more than a day.
_TIMES_LONGEST = 2
_LOOK_BACKS = 3
_LONGEST_WAIT = timedelta(hours=24)
# How much of two samples of devices must agree for the same building under another name: some may have
# been exchanged since, and two buildings share none.
_SAME_DEVICES = 0.5
_SHARED_AT_MOST = 50
_MOVE = re.compile("`state move [^ ]+ --from (.+) --to ")
_KEYS_NAMED = 11
_KEY_DEPTH = 4
# A key may come with one reading a day only.
_KEY_VANISHED = timedelta(hours=48)


@dataclass(frozen=True, slots=True)
class Drifting:
    """What is told now, and what stays told in the state."""

    told: tuple[Drift, ...]
    kept: tuple[Drift, ...]


def gather(
    known: Sequence[Drift], found: Iterable[Drift], over: Collection[Drift], now: datetime
) -> Drifting:
    """Put what was found to what is known: each once; what is `over`, or older than a week, goes.

    Silences last until they are over, so of them no more are told than can be kept; of the rest the
    oldest make room.
    """
    kept = [
        drift
        for drift in known
        if drift not in over and (drift.kind == SILENT or now - drift.since < _TOLD_FOR)
    ]
    had = {_subject(drift) for drift in kept}
    silent = sum(drift.kind == SILENT for drift in kept)
    told = []
    for drift in found:
        if _subject(drift) in had or (drift.kind == SILENT and silent >= _TOLD_AT_MOST):
            continue
        had.add(_subject(drift))
        silent += drift.kind == SILENT
        told.append(replace(drift, text=error_kept(drift.text)))
    lasting = [drift for drift in told if drift.kind != SPEAKS_AGAIN]
    return Drifting(tuple(told), _newest((*kept, *lasting), _TOLD_AT_MOST - silent))


def joined(found: Iterable[Drift]) -> tuple[Drift, ...]:
    """Give what several told of one feed, each once, and no more than is kept of a feed."""
    once = tuple({_subject(drift): drift for drift in found}.values())
    silent = sum(drift.kind == SILENT for drift in once)
    return _newest(once, _TOLD_AT_MOST - silent)[:_TOLD_AT_MOST]


def _newest(drifts: Sequence[Drift], others: int) -> tuple[Drift, ...]:
    """Give the silences, and so many of the others as there is room for, the last ones."""
    ends = [at for at, drift in enumerate(drifts) if drift.kind != SILENT]
    kept = set(ends[-others:] if others > 0 else ())
    return tuple(drift for at, drift in enumerate(drifts) if drift.kind == SILENT or at in kept)


# --- names ------------------------------------------------------------------------------------------


def between(before: Discovery, found: Sequence[Place], now: datetime, feed: str) -> list[Drift]:
    """Tell locations that are gone, new, or the same devices under another name."""
    known = {place.name: place for place in before.places}
    listed = {place.name: place for place in found}
    gone = {name: place for name, place in known.items() if name not in listed}
    by_device: defaultdict[str, list[str]] = defaultdict(list)
    for name, place in gone.items():
        for device in place.sketch:
            by_device[device].append(name)
    drifts = []
    for name, place in listed.items():
        if name in known:
            continue
        former = next(
            (old for old in _sharing(place, by_device) if old in gone and _alike(place, gone[old])), None
        )
        if former is None:
            drifts.append(Drift("new", name, f"{name}: a new location, begun at START_FROM", now))
            continue
        del gone[former]
        drifts.append(Drift("renamed", name, _renamed(former, name, feed), now))
    drifts += [Drift("gone", name, f"{name}: {_GONE}", now) for name in gone]
    return drifts


def _sharing(place: Place, by_device: Mapping[str, Sequence[str]]) -> Sequence[str]:
    """Give the places that have a device of this one; one that very many have tells none from another."""
    shared = [by_device.get(device, ()) for device in place.sketch]
    return sorted({name for names in shared if len(names) <= _SHARED_AT_MOST for name in names})


_GONE = (
    "discovery no longer lists this location; if it should be there, look at its device cluster; it is "
    "asked for two days more, then left, its positions kept"
)


def _renamed(former: str, name: str, feed: str) -> str:
    return (
        f"{name}: a new location with the devices of {former}, which is gone: probably renamed; to go on "
        f"from where {former} stopped: `state move {dashed(feed)} --from {shlex.quote(former)} "
        f"--to {shlex.quote(name)}`; it began at START_FROM"
    )


def former_name(drift: Drift) -> str | None:
    """Give the earlier name that a drift proposes to move from; None where it proposes no move."""
    command = _MOVE.search(drift.text)
    if drift.kind != "renamed" or command is None:
        return None
    try:
        return shlex.split(command[1])[0]
    except ValueError:  # its text was cut short
        return None


def without_advice(drift: Drift) -> Drift:
    return replace(drift, text=said_and_advised(drift.text)[0])


def _alike(one: Place, other: Place) -> bool:
    fewer = min(len(one.sketch), len(other.sketch))
    return fewer > 0 and len(one.sketch & other.sketch) >= fewer * _SAME_DEVICES


# --- silence ----------------------------------------------------------------------------------------


def with_readings(
    sensors: Mapping[tuple[str, ...], Sensor], readings: Iterable[Reading]
) -> Mapping[tuple[str, ...], Sensor]:
    """Give what sensors have shown, with these readings, which are in the order of their times."""
    known = dict(sensors)
    shown = by_key(
        (reading.tags, reading.time) for reading in readings if reading.time is not None and reading.tags
    )
    for tags, times in shown.items():
        kept_as = tags if tags in known else sensor_of(tags)
        sensor = known.get(kept_as) or Sensor(times[0])
        last, longest = sensor.last, sensor.longest
        for time in times:
            if time > last:
                last, longest = time, max(longest, time - last)
        known[kept_as] = Sensor(last, longest)
    return newest_sensors(known)


def silences(name: str, location: LocationState, look_back: timedelta, now: datetime) -> Iterator[Drift]:
    """Tell a location, or sensors of it, silent for longer than their own history explains.

    Only for a location whose queries were answered: else nothing is known of it.
    """
    least = min(_LOOK_BACKS * look_back, _LONGEST_WAIT)
    if location.newest is None:
        if location.begun is not None and now - location.begun >= least:
            yield Drift(SILENT, name, _never(name, location.begun), location.begun)
        return
    silent = {
        tags: sensor
        for tags, sensor in sorted(location.sensors.items())
        if now - sensor.last >= max(least, _TIMES_LONGEST * sensor.longest)
    }
    # A reading without tags is of no sensor, and yet the location has spoken.
    newest = max((sensor.last for sensor in silent.values()), default=None)
    if newest is not None and len(silent) == len(location.sensors) and newest >= location.newest:
        yield Drift(SILENT, name, f"{name}: {_silent_since(newest)}", newest)
        return
    for tags, sensor in silent.items():
        text = f"{name}: sensor {' / '.join(tags)}: {_silent_since(sensor.last)}"
        yield Drift(SILENT, name, text, sensor.last, tags)


def spoke_again(drift: Drift, location: LocationState, now: datetime) -> Drift | None:
    """Tell that what was silent has shown readings since; None where it has not."""
    if drift.sensor:
        sensor = location.sensors.get(drift.sensor)
        last = sensor.last if sensor else None
    else:
        last = location.newest
    if drift.kind != SILENT or last is None or last <= drift.since:
        return None
    what = f"{drift.location}: sensor {' / '.join(drift.sensor)}" if drift.sensor else str(drift.location)
    text = f"{what}: sends again, after a silence since {format_time(drift.since)}"
    return Drift(SPEAKS_AGAIN, drift.location, text, now, drift.sensor)


def is_forgotten(drift: Drift, location: LocationState) -> bool:
    """Whether what was told is about a sensor of which nothing is kept any more."""
    return bool(drift.sensor) and drift.sensor not in location.sensors


def _silent_since(last: datetime) -> str:
    return (
        f"silent since {format_time(last)}, longer than ever before, though the API answers for it; look at "
        "the sensors and their network, and ask Microshare whether they arrive there"
    )


def _never(name: str, begun: datetime) -> str:
    return (
        f"{name}: no reading since it was first asked for at {format_time(begun)}, though the API answers; "
        "compare its name with what the view calls it, for a wrong one is answered so too; for snapshots set "
        "MICROSHARE_LOCATION_PREFIX or location_names"
    )


# --- keys of the bodies -----------------------------------------------------------------------------


def body_keys(readings: Iterable[Reading]) -> set[str]:
    """Give the keys of the readings' entries as dotted paths, to a depth of four, so many as are kept."""
    keys: set[str] = set()
    entry = _Part("", _KEY_DEPTH)
    for reading in readings:
        if type(reading.entry) is dict:
            _add_keys(reading.entry, entry, keys)
    return keys


class _Part:
    """A place in entries that holds objects: its path, the sets of keys met there, and the places below."""

    __slots__ = ("below", "depth", "path", "shapes")

    def __init__(self, path: str, depth: int) -> None:
        self.path, self.depth = path, depth
        self.shapes: set[tuple[str, ...]] = set()
        self.below: dict[str, _Part] = {}


def _add_keys(found: dict[str, Any], part: _Part, keys: set[str]) -> None:
    # Nearly all readings have the same keys.
    shape = tuple(found)
    if shape not in part.shapes:
        part.shapes.add(shape)
        for key in found:
            if len(keys) >= KEYS_KEPT:
                return
            keys.add(_written(part.path, key))
    if part.depth == 1:
        return
    for key, value in found.items():
        if type(value) is dict:
            below = part.below.get(key)
            if below is None:
                below = part.below[key] = _Part(f"{_written(part.path, key)}.", part.depth - 1)
            _add_keys(value, below, keys)


def _written(path: str, key: str) -> str:
    return shortened(f"{path}{key}", KEY_BYTES)


def keys_drift(
    known: Mapping[str, SeenKey], found: Collection[str], now: datetime
) -> tuple[Mapping[str, SeenKey], list[Drift]]:
    """Tell keys that appeared, and those that no reading has had for two days.

    The first keys ever seen are no news. Where no reading was seen nothing is said. Where keys are data
    themselves, dates or ids, they are more than are kept: those that vanished longest ago make room for
    new ones, and of what finds no room nothing is said.
    """
    if not found:
        return known, []
    hour = hour_of(now)
    unknown = sorted(set(found) - known.keys())
    after = dict(_with_room(known, found, len(unknown)))
    new = unknown[: KEYS_KEPT - len(after)]
    after |= {key: SeenKey(hour) for key in (*new, *(known.keys() & set(found)))}
    vanished = sorted(
        key for key, seen in after.items() if not seen.vanished and now - seen.last >= _KEY_VANISHED
    )
    after |= {key: replace(after[key], vanished=True) for key in vanished}
    drifts = []
    if new and known:
        text = f"new {_fields(new)} in readings"
        drifts.append(Drift("keys appeared", None, text, now))
    if vanished:
        text = f"{_fields(vanished)} missing from readings for two days; tell those who use them"
        drifts.append(Drift("keys vanished", None, text, now))
    return after, drifts


def _fields(keys: Sequence[str]) -> str:
    quoted = named([f"'{key}'" for key in keys], _KEYS_NAMED)
    return f"field {quoted}" if len(keys) == 1 else f"fields {quoted}"


def _with_room(known: Mapping[str, SeenKey], found: Collection[str], wanted: int) -> Mapping[str, SeenKey]:
    """Give the known keys without those that vanished longest ago, as many as there is no room for."""
    surplus = len(known) + wanted - KEYS_KEPT
    gone = sorted((seen.last, key) for key, seen in known.items() if seen.vanished and key not in found)
    out = {key for _, key in gone[: max(surplus, 0)]}
    return {key: seen for key, seen in known.items() if key not in out}


def _subject(drift: Drift) -> tuple[object, ...]:
    if drift.kind.startswith("keys"):
        return (drift.kind, drift.text)
    return (drift.kind, drift.location, drift.sensor)
