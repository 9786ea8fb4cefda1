"""An audit as the page needs it: counts by hour, and what differs, grouped. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from datetime import datetime
from itertools import chain

from app.audit.findings import BEFORE_START, BEHIND, RETENTION, Finding, HubAudit
from app.base.instants import hour_of

_EXCUSED = frozenset({RETENTION, BEFORE_START})


@dataclass(frozen=True, slots=True)
class Hour:
    """Readings of one location and hour at one hub, or a sum of such.

    Each published one is delivered, waiting, excused, changed or else missing: `waiting` are those that
    a run still brings, `excused` those from before the hub's start, or that it held longer than its
    retention. `repeated` ones are delivered too, `unknown` ones were not published.
    """

    published: int = 0
    delivered: int = 0
    missing: int = 0
    waiting: int = 0
    excused: int = 0
    repeated: int = 0
    changed: int = 0
    unknown: int = 0

    @property
    def differing(self) -> int:
        """What the hub has otherwise than published."""
        return self.repeated + self.changed + self.unknown


Hours = Mapping[tuple[str, datetime], Hour]


@dataclass(frozen=True, slots=True)
class FindingGroup:
    """Readings at one hub and location under one heading, for one cause: how many, and their times.

    `due` is False where nothing is wrong with it.
    """

    hub: str
    heading: str
    location: str
    cause: str | None
    due: bool
    readings: int
    first: datetime
    last: datetime

    def plus(self, other: FindingGroup) -> FindingGroup:
        return replace(
            self,
            readings=self.readings + other.readings,
            first=min(self.first, other.first),
            last=max(self.last, other.last),
        )


@dataclass(frozen=True, slots=True)
class Comparison:
    """One hub beside the source: an audit, its findings counted by hour, and grouped."""

    audit: HubAudit
    hours: Hours
    groups: Sequence[FindingGroup]

    @property
    def total(self) -> Hour:
        return total(self.hours.values())


def total(hours: Iterable[Hour]) -> Hour:
    """Add counts up, heading by heading."""
    kept = list(hours)
    return Hour(*(sum(getattr(hour, each.name) for hour in kept) for each in fields(Hour)))


def compared(audit: HubAudit) -> Comparison:
    """Go through an audit's findings once; they may be many, and are not at hand for long."""
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
    groups: dict[tuple[object, ...], FindingGroup] = {}
    for found in chain(audit.missing, audit.changed, audit.repeated, audit.unknown):
        if found.heading == "missing":
            _sort_out(hours, found)
        alike = found.heading, found.location, found.cause, found.is_wrong
        one = FindingGroup(audit.hub, *alike, 1, found.time, found.time)
        groups[alike] = groups[alike].plus(one) if alike in groups else one
    left = replace(audit, missing=(), changed=(), repeated=(), unknown=(), hours=())
    return Comparison(left, hours, list(groups.values()))


def _sort_out(hours: dict[tuple[str, datetime], Hour], finding: Finding) -> None:
    """Take a reading that the hub lacks out of the missing ones, where it is none."""
    place = finding.location, hour_of(finding.time)
    hour = hours.get(place, Hour())
    if finding.repaired:
        hours[place] = replace(hour, missing=hour.missing - 1, delivered=hour.delivered + 1)
    elif finding.cause == BEHIND:
        hours[place] = replace(hour, missing=hour.missing - 1, waiting=hour.waiting + 1)
    elif finding.cause in _EXCUSED:
        hours[place] = replace(hour, missing=hour.missing - 1, excused=hour.excused + 1)
