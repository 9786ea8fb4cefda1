"""What an audit found, in people's words: each reading under one cause, the worst first; counts add up.

A reading that several hubs lack is one reading. It counts under the worst of its causes, so the counts of
causes add up to the number of readings. Pure.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from itertools import groupby

from app.audit.findings import BEFORE_START, BEHIND, LATE, LOST, QUARANTINED, RETENTION, UNEXPLAINED, Finding
from app.quality.bounds import LEFT_BEHIND, SATURATED
from app.quality.hourly_digests import MISSED

# What a run would bring, but its location or hub fails; what the next run brings; and what should be there
# by now, though nothing fails.
STUCK = "stuck"
TO_COME = "to come"
OVERDUE = "overdue"
# Set aside as it can never be forwarded, and not in quarantine any more.
DEALT_WITH = "dealt with"
# Sent by the repair that was just made.
SENT = "sent now"
# Headings that are no want, as people read them.
OTHER_CONTENT = "other content"
NOT_PUBLISHED = "not published"
MORE_THAN_ONCE = "more than once"
_HEADINGS = {"changed": OTHER_CONTENT, "unknown": NOT_PUBLISHED, "repeated": MORE_THAN_ONCE}

# What nobody can send again stands before what a command sends, that before what runs bring by themselves
# once something is put right, and that before what a hub has too much.
GRAVEST_FIRST = (
    LOST,
    UNEXPLAINED,
    LATE,
    MISSED,
    SATURATED,
    RETENTION,
    LEFT_BEHIND,
    QUARANTINED,
    OTHER_CONTENT,
    STUCK,
    OVERDUE,
    NOT_PUBLISHED,
    MORE_THAN_ONCE,
    TO_COME,
    BEFORE_START,
    DEALT_WITH,
    SENT,
)
HARMLESS = frozenset({TO_COME, BEFORE_START, DEALT_WITH, SENT})

# The columns of a count by hub, location or hour. Those of _OF_PUBLISHED add up to what is published.
DELIVERED = "delivered"
MISSING = "missing"
EXPIRED = "expired"
_OF_PUBLISHED = (DELIVERED, MISSING, EXPIRED, OTHER_CONTENT, TO_COME, BEFORE_START, DEALT_WITH)
_BESIDE = (MORE_THAN_ONCE, NOT_PUBLISHED)
COLUMNS = (*_OF_PUBLISHED, *_BESIDE)
_COLUMN_OF = {RETENTION: EXPIRED, STUCK: TO_COME, OVERDUE: TO_COME, SENT: DELIVERED}


def cause_of(finding: Finding) -> str:
    """Give the cause under which people find it: one of GRAVEST_FIRST, or that of a gap of another kind."""
    if finding.repaired:
        return SENT
    if finding.heading != "missing":
        return _HEADINGS.get(finding.heading, DELIVERED)
    if finding.cause == BEHIND:
        return STUCK if finding.stuck else OVERDUE if finding.due else TO_COME
    if finding.cause == QUARANTINED and not finding.due:
        return DEALT_WITH
    return finding.cause or UNEXPLAINED


def column_of(cause: str) -> str:
    """Give the one of COLUMNS that readings of a cause are counted in."""
    return _COLUMN_OF.get(cause, cause if cause in COLUMNS else MISSING)


def by_column(published: int, causes: Mapping[str, int]) -> dict[str, int]:
    """Give the numbers of COLUMNS for a hub, a location or an hour: what no other column has is delivered."""
    counts = Counter[str]()
    for cause, readings in causes.items():
        counts[column_of(cause)] += readings
    counts[DELIVERED] = published - sum(counts[column] for column in _OF_PUBLISHED[1:])
    return {column: counts[column] for column in COLUMNS}


def gravity(cause: str) -> int:
    """Give what sorts causes, the worst first; one that is not known here is no better than a loss."""
    return GRAVEST_FIRST.index(cause) if cause in GRAVEST_FIRST else GRAVEST_FIRST.index(UNEXPLAINED)


@dataclass(frozen=True, slots=True)
class NamedReading:
    """A reading with its cause, and the hubs (keys) at which it has that one; `finding` is the first's."""

    cause: str
    finding: Finding
    hubs: Sequence[str]


@dataclass(frozen=True, slots=True)
class CauseCount:
    """The readings of a cause, each once; how many by location, and by hub (key); the first few by name.

    A hub's number may be less than `readings`: not every one of them is wanting there.
    """

    cause: str
    readings: int
    locations: Mapping[str, int]
    hubs: Mapping[str, int]
    examples: Sequence[NamedReading] = ()

    @property
    def is_at_each_hub(self) -> bool:
        """Whether all of the readings are at each of the hubs."""
        return all(number == self.readings for number in self.hubs.values())

    @property
    def is_harmless(self) -> bool:
        return self.cause in HARMLESS


@dataclass(frozen=True, slots=True)
class Summary:
    """The causes, the worst first; `readings` is their sum, and counts each reading once.

    `mixed` of them have another, lesser cause at another hub. `by_hub` counts, for each hub (key), readings
    by cause as they are at that hub; `by_place` does for each hub and location. `incomplete` are the
    published ones that some hub lacks or has otherwise.
    """

    causes: Sequence[CauseCount] = ()
    by_hub: Mapping[str, Mapping[str, int]] = field(default_factory=dict)
    by_place: Mapping[tuple[str, str], Mapping[str, int]] = field(default_factory=dict)
    mixed: int = 0
    incomplete: int = 0

    @property
    def readings(self) -> int:
        return sum(each.readings for each in self.causes)

    @property
    def wrong(self) -> Sequence[CauseCount]:
        return [each for each in self.causes if not each.is_harmless]


def named_readings(found: Iterable[tuple[str, Finding]]) -> Iterator[tuple[NamedReading, Mapping[str, str]]]:
    """Give each reading under the worst of its causes, with its cause by hub.

    `found` are findings with their hubs, those of one reading next to one another.
    """
    for _, same in groupby(found, lambda pair: _identity(pair[1])):
        at = [(hub, finding, cause_of(finding)) for hub, finding in same]
        worst = min((cause for _, _, cause in at), key=gravity)
        finding = next(finding for _, finding, cause in at if cause == worst)
        hubs = tuple(dict.fromkeys(hub for hub, _, cause in at if cause == worst))
        yield NamedReading(worst, finding, hubs), {hub: cause for hub, _, cause in at}


def summarised(found: Iterable[tuple[str, Finding]], *, examples: int = 0) -> Summary:
    """Count readings by cause, and name so many of each; `found` as in `named_readings`."""
    kept: dict[str, _Counted] = {}
    by_hub: dict[str, Counter[str]] = {}
    by_place: dict[tuple[str, str], Counter[str]] = {}
    mixed = incomplete = 0
    for reading, causes in named_readings(found):
        kept.setdefault(reading.cause, _Counted()).add(reading, examples)
        for hub, cause in causes.items():
            by_hub.setdefault(hub, Counter())[cause] += 1
            by_place.setdefault((hub, reading.finding.location), Counter())[cause] += 1
        mixed += len(set(causes.values())) > 1
        incomplete += any(column_of(cause) in _OF_PUBLISHED[1:] for cause in causes.values())
    counts = [kept[cause].count(cause) for cause in sorted(kept, key=lambda cause: (gravity(cause), cause))]
    return Summary(counts, by_hub, by_place, mixed, incomplete)


@dataclass(slots=True)
class _Counted:
    readings: int = 0
    locations: Counter[str] = field(default_factory=Counter)
    hubs: Counter[str] = field(default_factory=Counter)
    examples: list[NamedReading] = field(default_factory=list)

    def add(self, reading: NamedReading, examples: int) -> None:
        self.readings += 1
        self.locations[reading.finding.location] += 1
        self.hubs.update(reading.hubs)
        if len(self.examples) < examples:
            self.examples.append(reading)

    def count(self, cause: str) -> CauseCount:
        return CauseCount(cause, self.readings, self.locations, self.hubs, self.examples)


def _identity(finding: Finding) -> tuple[str, datetime, bool, str]:
    # An id of what nobody published is an event's, and tells nothing of a published reading with the same.
    return finding.location, finding.time, finding.heading == "unknown", finding.id
