"""What is published and what a hub holds, side by side: every reading under its heading, counted. Pure.

A reading is told from others as a consumer does it: by its location, tags and time, for snapshots
also category and metric. That is its slot. What is in a slot is compared by the id that the content
gives; the message ids of the events are not believed.
"""

from __future__ import annotations

import hashlib
from bisect import bisect_left
from collections import Counter, defaultdict, deque
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from itertools import groupby

from app.audit.findings import BEHIND, Finding, Heading, HeldReading, HourCount, Published
from app.audit.summary import cause_of
from app.base import exact_json
from app.base.instants import hour_of
from app.base.readings import Reading, key_of
from app.quality.lateness import DELAYS_S, DelayCount

# Those of an hour's counts, in their order.
_COUNTED: tuple[Heading, ...] = ("delivered", "missing", "repeated", "changed", "unknown")


def slot_of(reading: Reading, merged_by: Sequence[str]) -> bytes:
    """Give what tells a reading from others of its location, hashed: tags, time, and `merged_by` fields.

    One without a time is in a slot of its own.
    """
    if reading.time is None:
        return reading.id.encode()
    key = reading.tags, reading.time, *(reading.entry.get(name) for name in merged_by)
    # Not as JSON, which takes longer than all else: keys are compared within one process only.
    return hashlib.blake2b(repr(key).encode("utf-8", "backslashreplace"), digest_size=8).digest()


def written_time(reading: Reading) -> str | None:
    """Give a reading's time exactly as it was written; None where it has none that can be read."""
    if reading.time is None:
        return None
    written = reading.entry["time"]
    return written if isinstance(written, str) else exact_json.dumps(written).decode()


def compare(published: Iterable[Published], delivered: Iterable[HeldReading]) -> Iterator[Finding]:
    """Put every reading under its heading. Both sides are sorted by location, time and slot.

    A repeated one is told of twice, as delivered or superseded and as repeated. What is missing has no
    cause yet. Nearly always a slot holds one reading in one version. Where it has more, the versions of
    one reading (the first half of their ids) are compared first. What a consumer ends up with counts:
    a version that the source does not show is superseded before one that it shows, and makes that one
    changed after it.
    """
    for shown, held in _slots(published, delivered):
        if not shown:
            yield from (_not_shown("unknown", found, found.message_id or found.id) for found in held)
        elif len(shown) == len(held) == 1 and shown[0].held_as == held[0].id:
            yield from _twice(_shown("delivered", shown[0], held[0]))
        else:
            yield from _compare_versions(shown, held)


def _compare_versions(shown: Sequence[Published], held: Sequence[HeldReading]) -> Iterator[Finding]:
    by_id = {found.id: found for found in held}
    shown_ids = {reading.held_as for reading in shown}
    others = sorted((found for found in held if found.id not in shown_ids), key=lambda found: -found.last)
    instead = _queued(others, {key_of(reading_id) for reading_id in shown_ids})
    taken: set[str] = set()
    for reading in sorted(shown, key=lambda reading: reading.held_as in by_id):
        right = by_id.get(reading.held_as)
        other = _instead(reading, right, instead)
        if other is not None:
            taken.add(other.id)
            yield replace(_shown("changed", reading, other), held=other.id)
        elif right is not None:
            yield from _twice(_shown("delivered", reading, right))
        else:
            yield Finding("missing", reading.location, reading.time, reading.written, reading.id)
    for found in others:
        if found.id not in taken:
            yield from _twice(_not_shown("superseded", found, found.id))


# Those of one reading, the last to arrive first; under no key those of which the source shows no version.
_Queues = Mapping[str | None, deque[HeldReading]]


def _queued(others: Iterable[HeldReading], keys: Collection[str]) -> _Queues:
    queues: defaultdict[str | None, deque[HeldReading]] = defaultdict(deque)
    for found in others:
        key = key_of(found.id)
        queues[key if key in keys else None].append(found)
    return queues


def _instead(reading: Published, right: HeldReading | None, instead: _Queues) -> HeldReading | None:
    """Take what a consumer has in place of a reading: a version of it, or what nothing shown is one of."""
    for key in (key_of(reading.held_as), None):
        queue = instead.get(key)
        if queue and (right is None or queue[0].last > right.last):
            return queue.popleft()
    return None


def _twice(finding: Finding) -> Iterator[Finding]:
    yield finding
    if finding.times > 1:
        yield replace(finding, heading="repeated")


def _shown(heading: Heading, reading: Published, held: HeldReading) -> Finding:
    named = reading.location, reading.time, reading.written, reading.id
    return Finding(heading, *named, held.times, enqueued=held.enqueued)


def _not_shown(heading: Heading, held: HeldReading, reading_id: str) -> Finding:
    named = held.location, held.time, held.written, reading_id
    return Finding(heading, *named, held.times, enqueued=held.enqueued)


_Slot = tuple[str, datetime, bytes]


def _slot(found: Published | HeldReading) -> _Slot:
    return found.location, found.time, found.slot


def _slots(
    published: Iterable[Published], delivered: Iterable[HeldReading]
) -> Iterator[tuple[list[Published], list[HeldReading]]]:
    """Give each slot with what is published and what is delivered in it."""
    shown, held = groupby(published, _slot), groupby(delivered, _slot)
    next_shown, next_held = next(shown, None), next(held, None)
    while next_shown is not None or next_held is not None:
        slot = min(found[0] for found in (next_shown, next_held) if found is not None)
        here: tuple[list[Published], list[HeldReading]] = ([], [])
        if next_shown is not None and next_shown[0] == slot:
            here[0].extend(next_shown[1])
            next_shown = next(shown, None)
        if next_held is not None and next_held[0] == slot:
            here[1].extend(next_held[1])
            next_held = next(held, None)
        yield here


class Counts:
    """Counts findings by location and hour as they come, in that order, and delays of delivered ones."""

    def __init__(self) -> None:
        self.hours: list[HourCount] = []
        self.headings: Counter[Heading] = Counter()
        self.causes: Counter[str] = Counter()
        self.to_come: Counter[str] = Counter()
        self.wrong = 0
        # What of that has been sent since.
        self.repaired = 0
        self.max_delay_s: float | None = None
        self._delays = [0] * (len(DELAYS_S) + 1)
        self._hour: tuple[str, datetime] | None = None
        self._here: Counter[Heading] = Counter()

    def add(self, finding: Finding) -> None:
        hour = finding.location, hour_of(finding.time)
        if hour != self._hour:
            self.close()
            self._hour = hour
        self._here[finding.heading] += 1
        self.wrong += finding.is_wrong
        if finding.cause is not None:
            self.causes[finding.cause] += 1
        if finding.cause == BEHIND:
            self.to_come[cause_of(finding)] += 1
        if finding.heading == "delivered" and finding.enqueued is not None:
            self._delayed((finding.enqueued - finding.time).total_seconds())

    def close(self) -> None:
        """Finish the hour that is open."""
        if self._hour is None:
            return
        here = self._here
        counts = [here[heading] for heading in _COUNTED]
        if any(counts):
            shown = here["delivered"] + here["missing"] + here["changed"]
            self.hours.append(HourCount(*self._hour, shown, *counts))
        self.headings.update(here)
        self._here, self._hour = Counter(), None

    @property
    def delays(self) -> list[DelayCount]:
        ends: tuple[float | None, ...] = (*DELAYS_S, None)
        return [DelayCount(end, count) for end, count in zip(ends, self._delays, strict=True)]

    def _delayed(self, seconds: float) -> None:
        self._delays[bisect_left(DELAYS_S, seconds)] += 1
        self.max_delay_s = max(seconds, self.max_delay_s or 0.0)
