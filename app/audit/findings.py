"""An audit: what the source shows and what a hub holds of a window, compared reading by reading. Pure.

`app.audit.auditor.audit_feeds` asks both sides and gives a `HubAudit` for each feed and hub; the command
`audit` prints it, and a page can be made of it: `hours` are the counts by location and hour, `delays`
how long after its time the hub got each reading.

A reading is told from others as a consumer does it: by its location, tags and time, for snapshots
also category and metric. That is its slot. What is in a slot is compared by the id that the content
gives; the message ids of the events are not believed.
"""

from __future__ import annotations

import hashlib
from bisect import bisect_left
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from itertools import groupby
from typing import Literal

from app.base import exact_json
from app.base.checkpoints import Checkpoint, Gap, HubRecord, LocationState
from app.base.instants import EPOCH, hour_of
from app.base.readings import Reading, Slice
from app.quality.lateness import DELAYS_S, DelayCount, is_steady
from app.run.planning import Limits, read_floor

Heading = Literal["delivered", "missing", "repeated", "changed", "unknown", "superseded"]

# Those of an hour's counts, in their order.
_COUNTED: tuple[Heading, ...] = ("delivered", "missing", "repeated", "changed", "unknown")

LATE = "late"
BEHIND = "behind"
LOST = "lost"
QUARANTINED = "quarantined"
RETENTION = "retention"
BEFORE_START = "before start"
UNEXPLAINED = "unexplained"

# What sending once more mends. `behind` comes by itself, and what is in quarantine has a command of its own.
_NOT_MENDED = frozenset({BEHIND, QUARANTINED, RETENTION, BEFORE_START})
_KEY_LENGTH = 8


@dataclass(frozen=True, slots=True)
class Published:
    """A reading that the source shows.

    `held_as` is the id that the content of its event has at a hub, which differs from `id` where the
    entry has a field of a name that events use. `written` is its time as the source wrote it; None
    where it has none that can be read: it stands at the start of the slice that it came with then.
    """

    location: str
    slot: bytes
    time: datetime
    id: str
    held_as: str
    written: str | None


@dataclass(frozen=True, slots=True)
class Delivered:
    """A reading that a hub holds, in one of its versions. `id` is what its content gives.

    `first` and `last` order its arrivals in the hub; `times` counts them, those that are by
    configuration (`late: hour`) left out. `message_id` is its event's, where that is not the id.
    """

    location: str
    slot: bytes
    time: datetime
    id: str
    written: str | None
    times: int
    first: int
    last: int
    enqueued: datetime | None = None
    message_id: str | None = None


@dataclass(frozen=True, slots=True)
class Finding:
    """One reading under its heading.

    `written` is its time as the source wrote it, of unknown ones as the hub has it, None where it
    cannot be read. `id` is the published reading's; of an unknown one the message id of a single
    reading's event, else what its content gives. `held` is the id of what a hub holds in place of a
    changed one. A missing one has a `cause`, and is `due` where a hub should have it by now.
    """

    heading: Heading
    location: str
    time: datetime
    written: str | None
    id: str
    times: int = 1
    held: str | None = None
    cause: str | None = None
    due: bool = True
    enqueued: datetime | None = None
    repaired: bool = False

    @property
    def is_wrong(self) -> bool:
        """Whether it speaks against the promise, as it stands now."""
        if self.heading in ("delivered", "superseded") or self.repaired:
            return False
        return self.due

    @property
    def is_mendable(self) -> bool:
        """Whether sending it once more mends it."""
        return self.heading == "missing" and self.cause not in _NOT_MENDED


@dataclass(frozen=True, slots=True)
class HourCount:
    """The readings of one location and hour. `delivered` are published ones that the hub holds as they are.

    So published = delivered + missing + changed; repeated ones are delivered too.
    """

    location: str
    hour: datetime
    published: int = 0
    delivered: int = 0
    missing: int = 0
    repeated: int = 0
    changed: int = 0
    unknown: int = 0


@dataclass(frozen=True, slots=True)
class HubAudit:
    """What came of comparing one feed with one hub.

    Each finding stands under one heading only. The collections are read where they are needed, and
    are at hand until the next audit is asked for. `superseded` counts versions that the hub holds
    beside a newer one, `foreign` events that are not of this feed and forwarder or its locations.
    `readable_from` is the time from which nothing was lost to the hub's retention (None: ever).
    `failures` are locations that could not be compared, and why; with an `error` the hub could not
    be, and nothing else is said. `max_delay_s` is the longest that a delivered reading took. `wrong`
    counts what speaks against the promise, `repaired` what of it has been sent since.
    """

    feed: str
    hub: str
    window: Slice
    published: int = 0
    delivered: int = 0
    missing: Collection[Finding] = ()
    repeated: Collection[Finding] = ()
    changed: Collection[Finding] = ()
    unknown: Collection[Finding] = ()
    wrong: int = 0
    repaired: int = 0
    superseded: int = 0
    foreign: int = 0
    locations: int = 0
    readable_from: datetime | None = None
    hours: Sequence[HourCount] = ()
    delays: Sequence[DelayCount] = ()
    max_delay_s: float | None = None
    causes: Mapping[str, int] = field(default_factory=dict)
    failures: Mapping[str, str] = field(default_factory=dict)
    warnings: Sequence[str] = ()
    error: str | None = None

    @property
    def ok(self) -> bool:
        """Whether all of it could be compared, and nothing is wrong."""
        return self.wrong <= self.repaired and not self.failures and self.error is None


# --- slots ------------------------------------------------------------------------------------------


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
    if not isinstance(written, str):
        return exact_json.dumps(written).decode()
    return written


def compare(published: Iterable[Published], delivered: Iterable[Delivered]) -> Iterator[Finding]:
    """Put every reading under its heading. Both sides are sorted by location, time and slot.

    A repeated one is told of twice, as delivered or superseded and as repeated. What is missing has no
    cause yet. Nearly always a slot holds one reading in one version. Where it has more, the versions of
    one reading (the first half of their ids) are compared first. What a consumer ends up with counts:
    a version that the source does not show is superseded before one that it shows, and makes that one
    changed after it.
    """
    for shown, held in _slots(published, delivered):
        if not shown:
            yield from (_unknown(found) for found in held)
        elif len(shown) == len(held) == 1 and shown[0].held_as == held[0].id:
            yield from _found(shown[0], held[0])
        else:
            yield from _compare_versions(shown, held)


def _compare_versions(shown: Sequence[Published], held: Sequence[Delivered]) -> Iterator[Finding]:
    by_id = {found.id: found for found in held}
    shown_ids = {reading.held_as for reading in shown}
    others = sorted((found for found in held if found.id not in shown_ids), key=lambda found: -found.last)
    keys = {_key(reading_id) for reading_id in shown_ids}
    for reading in sorted(shown, key=lambda reading: reading.held_as in by_id):
        right = by_id.get(reading.held_as)
        other = _instead(reading, right, others, keys)
        if other is not None:
            others.remove(other)
            yield _finding("changed", reading, times=other.times, held=other.id, enqueued=other.enqueued)
        elif right is not None:
            yield from _found(reading, right)
        else:
            yield _finding("missing", reading)
    for found in others:
        yield from _twice(_held_finding("superseded", found, found.id))


def _instead(
    reading: Published, right: Delivered | None, others: Sequence[Delivered], keys: Collection[str]
) -> Delivered | None:
    """Give what a consumer has in place of a reading: a version of it, or what nothing shown is one of."""
    key = _key(reading.held_as)
    later = [found for found in others if right is None or found.last > right.last]
    same = [found for found in later if _key(found.id) == key]
    return next(iter(same or [found for found in later if _key(found.id) not in keys]), None)


def _key(reading_id: str) -> str:
    """Give the first half of an id: the same for every version of a reading that has a record."""
    return reading_id[:_KEY_LENGTH]


def _found(reading: Published, held: Delivered) -> Iterator[Finding]:
    return _twice(_finding("delivered", reading, times=held.times, enqueued=held.enqueued))


def _twice(finding: Finding) -> Iterator[Finding]:
    yield finding
    if finding.times > 1:
        yield replace(finding, heading="repeated")


def _finding(
    heading: Heading,
    reading: Published,
    *,
    times: int = 1,
    held: str | None = None,
    enqueued: datetime | None = None,
) -> Finding:
    return Finding(
        heading, reading.location, reading.time, reading.written, reading.id, times, held, enqueued=enqueued
    )


def _held_finding(heading: Heading, held: Delivered, reading_id: str) -> Finding:
    return Finding(
        heading, held.location, held.time, held.written, reading_id, held.times, enqueued=held.enqueued
    )


def _unknown(held: Delivered) -> Finding:
    return _held_finding("unknown", held, held.message_id or held.id)


_Slot = tuple[str, datetime, bytes]


def _slot(found: Published | Delivered) -> _Slot:
    return found.location, found.time, found.slot


def _slots(
    published: Iterable[Published], delivered: Iterable[Delivered]
) -> Iterator[tuple[list[Published], list[Delivered]]]:
    """Give each slot with what is published and what is delivered in it."""
    shown, held = groupby(published, _slot), groupby(delivered, _slot)
    next_shown, next_held = next(shown, None), next(held, None)
    while next_shown is not None or next_held is not None:
        slot = min(found[0] for found in (next_shown, next_held) if found is not None)
        here: tuple[list[Published], list[Delivered]] = ([], [])
        if next_shown is not None and next_shown[0] == slot:
            here[0].extend(next_shown[1])
            next_shown = next(shown, None)
        if next_held is not None and next_held[0] == slot:
            here[1].extend(next_held[1])
            next_held = next(held, None)
        yield here


# --- causes -----------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Promised:
    """What a hub was promised of a location, by the state from before the hub was read.

    Nothing before `start` was. From `read_from` on the next run reads, and brings what the hub has
    not had; `current` says that it has come as far as it should by now. What is at or before
    `expired` may have been lost to the hub's retention; `quarantined` are ids.
    """

    start: datetime
    read_from: datetime
    current: bool
    checkpoint: Checkpoint | None = None
    gaps: Sequence[Gap] = ()
    quarantined: Collection[str] = ()
    expired: datetime | None = None

    def cause(self, time: datetime, reading_id: str) -> str:
        """Say why a reading of this time is missing."""
        if reading_id in self.quarantined:
            return QUARANTINED
        expired = self.expired is not None and time <= self.expired
        if self.checkpoint is not None and self.checkpoint.knows(reading_id):
            return RETENTION if expired else LOST
        if time < self.start:
            return self._gap(time) or BEFORE_START
        if time >= self.read_from:
            return BEHIND
        if self.checkpoint is not None and time >= self.checkpoint.known_from:
            return self._gap(time) or LATE
        return self._gap(time) or (RETENTION if expired else UNEXPLAINED)

    def _gap(self, time: datetime) -> str | None:
        return next((gap.cause for gap in self.gaps if time in gap.window), None)

    def explained(self, finding: Finding, *, flawed: bool = False) -> Finding:
        """Give a missing reading with its cause, and whether the hub should have it by now.

        A `flawed` one can never be forwarded. Where it is not in quarantine any more, it was dealt with.
        """
        known = self.checkpoint is not None and self.checkpoint.knows(finding.id)
        if flawed:
            due = finding.id in self.quarantined or not known
            return replace(finding, cause=QUARANTINED, due=due)
        cause = self.cause(finding.time, finding.id)
        due = cause != BEFORE_START and not (cause == BEHIND and self.current)
        return replace(finding, cause=cause, due=due)


def promised(
    location: LocationState,
    hub: str,
    *,
    start: datetime,
    horizon: datetime,
    limits: Limits,
    quarantined: Collection[str],
    expired: datetime | None,
) -> Promised:
    """Give what the state says of a hub at a location. `start` is where it would begin without a position."""
    checkpoint = location.checkpoints.get(hub)
    gaps = tuple(gap for gap in location.gaps if not gap.hubs or hub in gap.hubs)
    if checkpoint is None:
        return Promised(start, start, False, None, gaps, quarantined, expired)
    record = location.hubs.get(hub, HubRecord())
    failing = location.error or record.error
    return Promised(
        start=_began(checkpoint, record, limits),
        read_from=read_floor(checkpoint, limits),
        current=not failing and is_steady(checkpoint.delivered_until, horizon),
        checkpoint=checkpoint,
        gaps=gaps,
        quarantined=quarantined,
        expired=expired,
    )


def _began(checkpoint: Checkpoint, record: HubRecord, limits: Limits) -> datetime:
    """Give the time before which nothing was promised, as far as it is known.

    Without a record of it: ids that are dropped raise `known_from` to the hour; one that lies later
    is where the hub began.
    """
    if record.start is not None:
        return min(record.start, checkpoint.known_from)
    if checkpoint.known_from > hour_of(checkpoint.delivered_until - limits.reach):
        return checkpoint.known_from
    return EPOCH


# --- counting ---------------------------------------------------------------------------------------


class Counts:
    """Counts findings by location and hour as they come, in that order, and delays of delivered ones."""

    def __init__(self) -> None:
        self.hours: list[HourCount] = []
        self.headings: Counter[Heading] = Counter()
        self.causes: Counter[str] = Counter()
        self.wrong = 0
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
