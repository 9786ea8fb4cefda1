"""An audit as the page needs it: counts by hour, and what differs, grouped. Pure."""

from __future__ import annotations

import heapq
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from datetime import datetime
from itertools import groupby
from operator import attrgetter

from app.audit.findings import BEFORE_START, Finding, Heading, HubAudit
from app.audit.summary import (
    DEALT_WITH,
    DELIVERED,
    EXPIRED,
    HARMLESS,
    MISSING,
    OVERDUE,
    SENT,
    STUCK,
    TO_COME,
    cause_of,
    column_of,
)
from app.base.grouping import by_key
from app.base.instants import hour_of

_TOLD: tuple[Heading, ...] = ("missing", "changed", "repeated", "unknown")


@dataclass(frozen=True, slots=True)
class Hour:
    """Readings of one location and hour at one hub, or a sum of such.

    published = delivered + missing + expired + changed + waiting + before_start + dealt_with: `waiting` are
    those that a run brings, now or when what fails is put right, `expired` those that the hub may have held
    longer than it keeps them, `dealt_with` those that can never be forwarded, and are out of quarantine.
    `repeated` ones are delivered too, `unknown` ones were not published.
    """

    published: int = 0
    delivered: int = 0
    missing: int = 0
    expired: int = 0
    changed: int = 0
    waiting: int = 0
    before_start: int = 0
    dealt_with: int = 0
    repeated: int = 0
    unknown: int = 0

    @property
    def is_as_published(self) -> bool:
        """Whether the hub has each published reading, once, and nothing else."""
        return self.delivered == self.published and not (self.repeated or self.unknown)


# The field of a column of an audit, for what is no longer missing once its cause is known.
_FIELDS = {
    DELIVERED: "delivered",
    EXPIRED: "expired",
    TO_COME: "waiting",
    BEFORE_START: "before_start",
    DEALT_WITH: "dealt_with",
}

Hours = Mapping[tuple[str, datetime], Hour]


@dataclass(frozen=True, slots=True)
class FindingGroup:
    """Readings of a location that differ for one cause at the same hubs: how many, and their times.

    `hubs` are keys, in the order of the page; the cause is one of `app.audit.summary`. Readings without
    a time of their own are not `timed`: the times are then where they were found.
    """

    hubs: tuple[str, ...]
    location: str
    cause: str
    readings: int
    first: datetime
    last: datetime
    timed: bool = True

    @property
    def is_wrong(self) -> bool:
        return self.cause not in HARMLESS

    def plus(self, other: FindingGroup) -> FindingGroup:
        return replace(
            self,
            readings=self.readings + other.readings,
            first=min(self.first, other.first),
            last=max(self.last, other.last),
        )


_COUNTS = attrgetter(*(each.name for each in fields(Hour)))


@dataclass(frozen=True, slots=True)
class Differences:
    """What differs between the source and all hubs of a feed, each reading counted once.

    `missing` and `overdue` count readings by the hubs, as keys, that lack them for good, or until a run
    that should have come already.
    """

    groups: Sequence[FindingGroup] = ()
    missing: Mapping[tuple[str, ...], int] = field(default_factory=dict)
    overdue: Mapping[tuple[str, ...], int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Comparison:
    """One hub beside the source: an audit, and its findings counted by hour."""

    audit: HubAudit
    hours: Hours

    @property
    def total(self) -> Hour:
        return total(self.hours.values())


def total(hours: Iterable[Hour]) -> Hour:
    """Add counts up, heading by heading."""
    return Hour(*map(sum, zip(*map(_COUNTS, hours), strict=True)))


def compared(audit: HubAudit) -> Comparison:
    """Go through what a hub lacks once; it may be much, and is not at hand for long."""
    hours = {
        (count.location, count.hour): Hour(
            published=count.published,
            delivered=count.delivered,
            missing=count.missing,
            repeated=count.repeated,
            changed=count.changed,
            unknown=count.unknown,
        )
        for count in audit.hours
    }
    for found in audit.missing:
        _sort_out(hours, found)
    left = replace(audit, missing=(), changed=(), repeated=(), unknown=(), hours=())
    return Comparison(left, hours)


def _sort_out(hours: dict[tuple[str, datetime], Hour], finding: Finding) -> None:
    """Take a reading that the hub lacks out of the missing ones, where it is none."""
    counted_as = _FIELDS.get(column_of(cause_of(finding)))
    if counted_as is not None:
        place = finding.location, hour_of(finding.time)
        hour = hours.get(place, Hour())
        more = {counted_as: getattr(hour, counted_as) + 1}
        hours[place] = replace(hour, missing=hour.missing - 1, **more)


def differences(audits: Iterable[HubAudit]) -> Differences:
    """Put what differs at several hubs together, reading by reading.

    Each audit's findings are in the order of location and time, so no more is held at once than one
    location has of one instant.
    """
    kept = list(audits)
    groups: dict[tuple[object, ...], FindingGroup] = {}
    missing: Counter[tuple[str, ...]] = Counter()
    overdue: Counter[tuple[str, ...]] = Counter()
    for heading in _TOLD:
        for together in _by_instant(kept, heading):
            for one in _grouped(together):
                alike = one.hubs, one.location, one.cause, one.timed
                groups[alike] = groups[alike].plus(one) if alike in groups else one
            missing.update(_lacking(together, lambda cause: column_of(cause) == MISSING))
            overdue.update(_lacking(together, lambda cause: cause in (OVERDUE, STUCK)))
    return Differences(list(groups.values()), missing, overdue)


_Found = tuple[Finding, str]


def _by_instant(audits: Sequence[HubAudit], heading: Heading) -> Iterator[list[_Found]]:
    """Give the findings of all hubs under a heading, those of one location and instant together."""
    of_hubs = [_with_hub(getattr(audit, heading), audit.hub) for audit in audits]
    for _, together in groupby(heapq.merge(*of_hubs, key=_place), key=_place):
        yield list(together)


def _with_hub(findings: Iterable[Finding], hub: str) -> Iterator[_Found]:
    return ((found, hub) for found in findings)


def _place(found: _Found) -> tuple[str, datetime]:
    return found[0].location, found[0].time


def _grouped(together: Sequence[_Found]) -> Iterator[FindingGroup]:
    """Give each reading once for all hubs where it differs for the same cause."""
    alike = by_key(((each.id, cause_of(each)), (each, hub)) for each, hub in together)
    for (_, cause), found in alike.items():
        one, hubs = found[0][0], tuple(dict.fromkeys(hub for _, hub in found))
        if cause != SENT:
            yield FindingGroup(hubs, one.location, cause, 1, one.time, one.time, one.written is not None)


def _lacking(together: Sequence[_Found], is_such: Callable[[str], bool]) -> Iterator[tuple[str, ...]]:
    """Give for each reading that differs for such a cause the hubs where it does."""
    such = ((each.id, hub) for each, hub in together if is_such(cause_of(each)))
    for hubs in by_key(such).values():
        yield tuple(hubs)
