"""What every hub has of every location during a run: acknowledged, and planned.

Acknowledged is what may be saved. Planned is what will be acknowledged once the
hub's lane has done all that was put into it; the next slice is planned from
there, so that fetching does not wait for the slowest hub. Used from the
forwarder's thread only.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime

from app.base.checkpoints import Checkpoint, FeedState, Gap, HubRecord, LocationState
from app.base.instants import LATEST
from app.base.readings import Ids, Reading, Slice
from app.eventhub.deliveries import Delivery
from app.quality.bounds import gaps_kept
from app.quality.drift import with_readings
from app.quality.hourly_digests import sealed, unprovable
from app.run.planning import Group, Limits, group_hubs, read_floor


@dataclass(frozen=True, slots=True)
class _Plan:
    """What a hub will have of a location, and where to go on; `begun` once the run took in a slice of it."""

    checkpoint: Checkpoint
    cursor: datetime
    begun: bool = False


class Ledger:
    """The state of a feed while a run changes it. `changed` names the locations not yet saved."""

    def __init__(self, state: FeedState, limits: Limits) -> None:
        # As it was loaded, but for what is said of the whole feed.
        self._state = state
        self._limits = limits
        self._locations = dict(state.locations)
        self._plans: dict[tuple[str, str], _Plan] = {}
        self.changed: set[str] = set()

    def state(self) -> FeedState:
        return replace(self._state, locations=dict(self._locations))

    def update(self, **fields: object) -> None:
        """Change what is said of the whole feed: `discovery`, `takeover`, `last_run`."""
        self._state = replace(self._state, **fields)  # type: ignore[arg-type]  # names as in FeedState

    def location(self, name: str) -> LocationState:
        return self._locations.get(name, LocationState())

    def locations(self) -> Mapping[str, LocationState]:
        return self._locations

    def of(self, names: Iterable[str]) -> Mapping[str, LocationState]:
        return {name: self.location(name) for name in names}

    # --- before anything is sent --------------------------------------------------------------------

    def listed(self, name: str, at: datetime) -> None:
        self._set(name, replace(self.location(name), last_listed=at))

    def begin(self, name: str, hub: str, start: datetime, at: datetime) -> None:
        """Give a hub its first checkpoint of a location: nothing before `start` is ever read."""
        location = self.location(name)
        record = location.hubs.get(hub, HubRecord())
        first = start if record.start is None else min(start, record.start)
        hubs = {**location.hubs, hub: replace(record, start=first)}
        self._set(name, replace(location, begun=location.begun or at, hubs=hubs))
        self._set_checkpoint(name, hub, Checkpoint(start, start))

    # --- planning -----------------------------------------------------------------------------------

    def groups(self, name: str, hubs: Iterable[str]) -> list[Group]:
        """Give the groups of a location among `hubs`, by what is planned for them."""
        plans = {hub: self._plan(name, hub) for hub in hubs}
        checkpoints = {hub: plan.checkpoint for hub, plan in plans.items()}
        return group_hubs(name, checkpoints, {hub: plan.cursor for hub, plan in plans.items()})

    def known(self, name: str) -> list[Checkpoint]:
        """Give what the location's hubs have or are about to get, paused and removed ones too."""
        found = list(self.location(name).checkpoints.values())
        found += [plan.checkpoint for (location, _), plan in self._plans.items() if location == name]
        return list({id(checkpoint): checkpoint for checkpoint in found}.values())

    def newest_at_most(self, name: str, hubs: Iterable[str]) -> datetime | None:
        """Give up to where the next slice of these hubs may say that the source has spoken.

        What a run asks of a location first says it as it is. What a later slice shows may have been
        published since an earlier one was asked, which a source that was silent then would have to be
        asked again: it says no more than what was shown before the run, or nothing.
        """
        if not any(self._plan(name, hub).begun for hub in hubs):
            return LATEST
        before = self._state.locations.get(name)
        return before.newest if before else None

    def planned(
        self, name: str, hub: str, ids: Ids, window: Slice, done_until: datetime, newest: datetime | None
    ) -> None:
        """Note that a slice is in the hub's lane: it will have `ids`, and be done up to `done_until`."""
        before = self._plan(name, hub).checkpoint
        after = before.with_hours(ids).done_until(done_until, reach=self._limits.reach, newest=newest)
        self._plans[name, hub] = _Plan(after, window.end, begun=True)

    # --- what came of it ----------------------------------------------------------------------------

    def delivered(self, hub: str, delivery: Delivery, at: datetime) -> None:
        """Note that the hub has a delivery; its position moves when that closes a slice."""
        name = delivery.location
        location = self.location(name)
        checkpoint = location.checkpoints[hub].with_hours(delivery.ids)
        seals = location.seals.get(hub, {})
        if delivery.odd:
            seals = unprovable(seals, delivery.odd, checkpoint)
        record = location.hubs.get(hub, HubRecord())
        if delivery.batch is not None:
            counts = delivery.batch.counts
            record = record.plus(events=counts.events, readings=counts.readings).succeeded(at)
        if delivery.closes is not None:
            full = checkpoint
            checkpoint = full.done_until(delivery.closes, reach=self._limits.reach, newest=delivery.newest)
            seals = sealed(seals, full, checkpoint)
            record = record.plus(duplicates=delivery.duplicates).succeeded(at)
        self._set(
            name,
            replace(
                location,
                checkpoints={**location.checkpoints, hub: checkpoint},
                hubs={**location.hubs, hub: record},
                seals={**location.seals, hub: seals} if seals else location.seals,
            ),
        )

    def hub_failed(self, name: str, hub: str, error: str, at: datetime) -> None:
        location = self.location(name)
        record = location.hubs.get(hub, HubRecord()).failed(error, at)
        self._set(name, replace(location, hubs={**location.hubs, hub: record}))

    def is_failing(self, name: str, hub: str) -> bool:
        record = self.location(name).hubs.get(hub)
        return record is not None and record.error is not None

    def hub_recovered(self, hub: str, *, but: Collection[str]) -> None:
        """Note that a hub works again, at all locations but those of `but`, sent to or not."""
        for name, location in list(self._locations.items()):
            record = location.hubs.get(hub)
            if record is not None and record.error is not None and name not in but:
                well = replace(record, error=None, since=None)
                self._set(name, replace(location, hubs={**location.hubs, hub: well}))

    def query_failed(self, name: str, error: str, at: datetime) -> None:
        location = self.location(name)
        since = location.since if location.error else at
        self._set(name, replace(location, error=error, since=since))

    def query_recovered(self, name: str) -> None:
        self._set(name, replace(self.location(name), error=None, since=None))

    def saw(self, name: str, readings: Iterable[Reading], until: datetime) -> None:
        """Note what an answer shows of the location and its sensors; what lies after `until` says nothing."""
        location = self.location(name)
        told = [reading for reading in readings if reading.time is not None and reading.time <= until]
        seen = [instant for instant in (location.newest, *(reading.time for reading in told)) if instant]
        newest = max(seen, default=None)
        self._set(name, replace(location, newest=newest, sensors=with_readings(location.sensors, told)))

    def compared(self, name: str, location: LocationState, gaps: Iterable[Gap], at: datetime) -> None:
        """Note a comparison with the source: seals that follow it, and the gaps that were found."""
        self._set(name, replace(location, gaps=gaps_kept((*location.gaps, *gaps)), compared=at))

    def found_gap(self, name: str, gap: Gap) -> bool:
        """Keep a gap. False where it is known."""
        location = self.location(name)
        if any(
            known.cause == gap.cause and known.window.covers(gap.window) and known.hubs in ((), gap.hubs)
            for known in location.gaps
        ):
            return False
        self._set(name, replace(location, gaps=gaps_kept((*location.gaps, gap))))
        return True

    def _plan(self, name: str, hub: str) -> _Plan:
        plan = self._plans.get((name, hub))
        if plan is None:
            checkpoint = self.location(name).checkpoints[hub]
            plan = self._plans[name, hub] = _Plan(checkpoint, read_floor(checkpoint, self._limits))
        return plan

    def _set_checkpoint(self, name: str, hub: str, checkpoint: Checkpoint) -> None:
        location = self.location(name)
        self._set(name, replace(location, checkpoints={**location.checkpoints, hub: checkpoint}))

    def _set(self, name: str, location: LocationState) -> None:
        if self._locations.get(name) != location:
            self._locations[name] = location
            self.changed.add(name)
