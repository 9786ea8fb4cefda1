"""Why a reading is missing at a hub, as the state from before the comparison tells it. Pure."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from app.audit.findings import (
    BEFORE_START,
    BEHIND,
    LATE,
    LOST,
    QUARANTINED,
    RETENTION,
    UNEXPLAINED,
    Failing,
    Finding,
)
from app.base.checkpoints import Checkpoint, Gap, HubRecord, LocationState
from app.base.instants import EPOCH, hour_of
from app.run.planning import Limits, read_floor


@dataclass(frozen=True, slots=True)
class Promised:
    """What a hub was promised of a location, by the state from before the hub was read.

    Nothing before `start` was. From `read_from` on the next run reads, and brings what the hub has
    not had; `current` says that it has come as far as it should by now, `failing` what keeps it. What is
    at or before `expired` may have been lost to the hub's retention; `quarantined` are ids.
    """

    start: datetime
    read_from: datetime
    current: bool
    checkpoint: Checkpoint
    gaps: Sequence[Gap]
    quarantined: Collection[str]
    expired: datetime | None
    failing: Failing | None = None

    def explained(self, finding: Finding, *, flawed: bool = False) -> Finding:
        """Give a missing reading with its cause, and whether the hub should have it by now.

        A `flawed` one can never be forwarded. Where it is not in quarantine any more, it was dealt with.
        """
        if flawed:
            due = finding.id in self.quarantined or not self.checkpoint.knows(finding.id)
            return replace(finding, cause=QUARANTINED, due=due)
        cause = self._cause(finding.time, finding.id)
        due = cause != BEFORE_START and not (cause == BEHIND and self.current)
        return replace(finding, cause=cause, due=due, stuck=cause == BEHIND and self.failing is not None)

    def _cause(self, time: datetime, reading_id: str) -> str:
        if reading_id in self.quarantined:
            return QUARANTINED
        may_have_expired = self.expired is not None and time <= self.expired
        if self.checkpoint.knows(reading_id):
            return RETENTION if may_have_expired else LOST
        if time >= max(self.start, self.read_from):
            return BEHIND
        gap = next((gap.cause for gap in self.gaps if time in gap.window), None)
        return gap or self._cause_outside_gaps(time, may_have_expired=may_have_expired)

    def _cause_outside_gaps(self, time: datetime, *, may_have_expired: bool) -> str:
        if time < self.start:
            return BEFORE_START
        if time >= self.checkpoint.known_from:
            return LATE
        return RETENTION if may_have_expired else UNEXPLAINED


def promised(
    location: LocationState,
    hub: str,
    *,
    start: datetime,
    expected: datetime | None,
    limits: Limits,
    quarantined: Collection[str],
    expired: datetime | None,
) -> Promised:
    """Give what the state says of a hub at a location. `start` is where it would begin without a position.

    Its position should be at `expected` by now, at least; None where two runs were never due.
    """
    checkpoint = location.checkpoints.get(hub)
    gaps = tuple(gap for gap in location.gaps if not gap.hubs or hub in gap.hubs)
    record = location.hubs.get(hub, HubRecord())
    failing = _failing(location, record)
    known = gaps, quarantined, expired, failing
    if checkpoint is None:
        return Promised(start, start, False, Checkpoint(start, start), *known)
    current = failing is None and expected is not None and checkpoint.delivered_until >= expected
    began, read_from = _began(checkpoint, record, limits), read_floor(checkpoint, limits)
    return Promised(began, read_from, current, checkpoint, *known)


def _failing(location: LocationState, record: HubRecord) -> Failing | None:
    if location.error:
        return Failing("location", location.error)
    return Failing("hub", record.error) if record.error else None


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
