"""How late the source publishes: how long after its time a reading was first seen. Pure.

Only a steady run can tell. After a pause of the forwarder's own a reading is seen as late as
the run is, which says nothing of the source.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from app.base.checkpoints import Checkpoint
from app.base.instants import HOUR
from app.base.readings import Reading, key_of

# A run this far from a position is steady: six schedules of people counters, one and a half of snapshots.
# So one that was missed, and caught up with, still tells of the source.
_STEADY = timedelta(minutes=90)
# The share of the look-back that nothing late should need: what needs more is told before any is missed.
_SAFE_SHARE = 0.75
# The upper ends of the classes that delays are counted in, in seconds: from a minute to a week, finest
# where most readings are.
DELAYS_S = (60, 300, 900, 1_800, 3_600, 7_200, 10_800, 21_600, 43_200, 86_400, 172_800, 604_800)


@dataclass(frozen=True, slots=True)
class DelayCount:
    """How many readings were there within `up_to_s` of their time, and not within the end before.

    None stands for all that took longer than the last of DELAYS_S.
    """

    up_to_s: float | None
    readings: int


@dataclass(frozen=True, slots=True)
class Lateness:
    """Over the readings that were seen for the first time; seconds. `delays` has no empty classes."""

    readings: int
    median_s: float
    p95_s: float
    max_s: float
    delays: tuple[DelayCount, ...] = ()


class Latenesses:
    """Gathers how late readings were, to the second; as many counts as there are distinct ones."""

    def __init__(self) -> None:
        self._counts: Counter[int] = Counter()

    def add(self, late: timedelta) -> None:
        """Count one reading; one from the future is not late."""
        self._counts[max(0, round(late.total_seconds()))] += 1

    def told(self) -> Lateness | None:
        """Give what was gathered; None where nothing was."""
        total = self._counts.total()
        if not total:
            return None
        return Lateness(total, self._at(0.5), self._at(0.95), float(max(self._counts)), self._delays())

    def _delays(self) -> tuple[DelayCount, ...]:
        ends: tuple[float | None, ...] = (*DELAYS_S, None)
        counts = Counter[int]()
        for seconds, count in self._counts.items():
            counts[bisect_left(DELAYS_S, seconds)] += count
        return tuple(DelayCount(ends[at], count) for at, count in sorted(counts.items()))

    def _at(self, share: float) -> float:
        """Give the least lateness that this share of the readings does not exceed."""
        wanted, seen = share * self._counts.total(), 0
        for seconds, count in sorted(self._counts.items()):
            seen += count
            if seen >= wanted:
                return float(seconds)
        raise AssertionError("a share of more than all")


def is_steady(position: datetime, horizon: datetime) -> bool:
    """Whether a run from `position` to `horizon` follows closely enough on the one before."""
    return horizon - position <= _STEADY


def first_seen(readings: Sequence[Reading], known: Collection[Checkpoint]) -> list[Reading]:
    """Give the readings that no hub has had, in any version: a correction is no first sight."""
    keys = {
        key_of(reading_id) for checkpoint in known for ids in checkpoint.ids.values() for reading_id in ids
    }
    return [reading for reading in readings if reading.time is not None and key_of(reading.id) not in keys]


def near_far_edge(
    readings: Sequence[Reading],
    checkpoint: Checkpoint,
    newest: datetime | None,
    look_back: timedelta,
) -> list[Reading]:
    """Give those of the readings that lie in the last quarter of the look-back: later ones are missed.

    `checkpoint` is the hub's from before the run, `newest` the time of the newest reading seen until
    then. As for the read floor, the look-back is counted from the newest reading where the source fell
    silent: what it publishes all at once afterwards comes after that, and is never near the edge.
    """
    newest_hour = checkpoint.newest_hour()
    if newest is None or newest_hour is None:
        return []
    anchor = min(checkpoint.delivered_until, newest)
    if newest_hour + HOUR < anchor:
        anchor = newest_hour
    edge = anchor - look_back * _SAFE_SHARE
    return [reading for reading in readings if reading.time is not None and reading.time < edge]
