"""Proof during normal work: hours that have left the look-back, against what the source shows later. Pure.

When an hour's ids are dropped, a count and a fingerprint of them stay for two days, its seal.
Once a day the source is asked again for these hours. Where it shows other readings than a hub
got, the hour becomes a gap; then the seal follows the source, so that a difference is told once.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from functools import reduce
from operator import xor

from app.base.checkpoints import Checkpoint, Gap, LocationState, Seal, Seals
from app.base.instants import DAY, HOUR, hour_of
from app.base.packed_ids import decoded
from app.base.readings import Reading, Slice, ids_by_hour
from app.quality.bounds import marks_kept

MISSED = "missed"
CHANGED = "changed"
# Every hour is compared with the source once or twice, since that is done once a day.
_KEPT = timedelta(hours=48)
# An id is a hash of the reading's key and one of its content, of so many bytes each.
_HALF_BYTES = 6
# The share of the view's record limit that a question aims at, as in catch-up.
_SHARE = 0.5


@dataclass(frozen=True, slots=True)
class Difference:
    """An hour of which the source shows other readings (`missed`), or other contents (`changed`)."""

    hour: datetime
    kind: str
    hubs: tuple[str, ...]


def seal(ids: Iterable[str]) -> Seal:
    """Give the seal of an hour's ids, each reading counted once, whatever its versions."""
    halves = decoded(ids)
    keys = {int.from_bytes(raw[:_HALF_BYTES]) for raw in halves}
    contents = _xor(int.from_bytes(raw[_HALF_BYTES:]) for raw in halves)
    return Seal(len(keys), _xor(keys), contents if len(keys) == len(halves) else None)


def sealed(seals: Seals, before: Checkpoint, after: Checkpoint) -> Seals:
    """Give a hub's seals when its checkpoint moves on: whole hours whose ids were dropped get theirs."""
    if after.known_from <= before.known_from:
        return seals
    oldest = after.known_from - _KEPT
    hour = max(hour_of(before.known_from - timedelta(microseconds=1)) + HOUR, oldest)
    kept = {known: found for known, found in seals.items() if known >= oldest}
    while hour < after.known_from:
        kept.setdefault(hour, seal(before.ids.get(hour, ())))
        hour += HOUR
    return kept


def unprovable(seals: Seals, hours: Iterable[datetime], checkpoint: Checkpoint) -> Seals:
    """Give the seals with hours marked whose ids are no picture of what the source shows of them.

    `checkpoint` is the hub's: hours long before its ids need no mark.
    """
    return marks_kept({**seals, **dict.fromkeys(hours)}, checkpoint.known_from - _KEPT)


def is_due(location: LocationState, hubs: Iterable[str], now: datetime) -> bool:
    """Whether a day has passed since the location was last compared, or since the first seal of a hub."""
    oldest = [min(seals) for hub in hubs if (seals := location.seals.get(hub))]
    if not oldest:
        return False
    if location.compared is None or location.compared > now:
        return now - min(oldest) >= 2 * DAY
    return now - location.compared >= DAY


def questions(location: LocationState, hubs: Iterable[str], record_limit: int) -> Iterator[Slice]:
    """Give the windows to ask for again: whole hours that any of the hubs has a seal of, oldest first.

    Each is at most a day, and sized so that its answer holds about half of what the view gives.
    """
    most: dict[datetime, int] = {}
    for hub in hubs:
        for hour, found in location.seals.get(hub, {}).items():
            if found is not None:
                most[hour] = max(most.get(hour, 0), found.readings)
    window: Slice | None = None
    expected = 0
    for hour, readings in sorted(most.items()):
        fits = expected + readings <= record_limit * _SHARE
        if window is not None and window.end == hour and fits and hour - window.start < DAY:
            window, expected = replace(window, end=hour + HOUR), expected + readings
            continue
        if window is not None:
            yield window
        window, expected = Slice(hour, hour + HOUR), readings
    if window is not None:
        yield window


def compare(
    location: LocationState, hubs: Iterable[str], window: Slice, readings: Iterable[Reading]
) -> tuple[LocationState, list[Difference]]:
    """Compare what the source shows of whole hours now with what each hub got.

    Gives the location with seals that follow the source, and where it differs, oldest first; hours
    that lie in a known gap of the hub are not told again.
    """
    ids = ids_by_hour((reading.time, reading.id) for reading in readings if reading.time is not None)
    seals = dict(location.seals)
    digests: dict[datetime, Seal] = {}
    found: dict[tuple[datetime, str], list[str]] = {}
    for hub in hubs:
        had = location.seals.get(hub)
        if had is None:
            continue
        hours = [hour for hour, known in had.items() if known and hour in window]
        # Hubs have the same hours, nearly always.
        digests |= {hour: seal(ids.get(hour, ())) for hour in hours if hour not in digests}
        shown = {hour: digests[hour] for hour in hours}
        for hour, now in shown.items():
            kind = _difference(had[hour], now)
            if kind and not _in_gap(location.gaps, hub, hour):
                found.setdefault((hour, kind), []).append(hub)
        seals[hub] = {**had, **shown}
    differences = [Difference(hour, kind, tuple(names)) for (hour, kind), names in sorted(found.items())]
    return replace(location, seals=seals), differences


def gaps_of(differences: Sequence[Difference], found: datetime) -> list[Gap]:
    """Give the gaps that hours with other readings are, hours that follow one another as one."""
    gaps: list[Gap] = []
    for difference in differences:
        if difference.kind != MISSED:
            continue
        window = Slice(difference.hour, difference.hour + HOUR)
        if gaps and gaps[-1].window.end == window.start and gaps[-1].hubs == difference.hubs:
            gaps[-1] = replace(gaps[-1], window=replace(window, start=gaps[-1].window.start))
        else:
            gaps.append(Gap(window, MISSED, found, difference.hubs))
    return gaps


def _difference(had: Seal | None, shown: Seal) -> str | None:
    if had is None:
        return None
    if (had.readings, had.keys) != (shown.readings, shown.keys):
        return MISSED
    if None in (had.contents, shown.contents) or had.contents == shown.contents:
        return None
    return CHANGED


def _in_gap(gaps: Iterable[Gap], hub: str, hour: datetime) -> bool:
    return any(
        gap.window.start < hour + HOUR and hour < gap.window.end and (not gap.hubs or hub in gap.hubs)
        for gap in gaps
    )


def _xor(numbers: Iterable[int]) -> int:
    return reduce(xor, numbers, 0)
