"""What may be done to a feed's state by hand, and what that means for what is sent. Pure.

A position moved back, or ids forgotten, sends readings again; a position moved forward
leaves readings behind. `effects` finds both from a state before and a state after, so
that each operation tells the truth about itself, whatever it is.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime

from app.base.checkpoints import Checkpoint, Drift, FeedState, Gap, HubRecord, LocationState, Seals
from app.base.grouping import by_key
from app.base.instants import DAY, HOUR, MILLISECOND, hour_of
from app.base.readings import Slice
from app.base.shards import WHOLE, Shard
from app.quality.bounds import LEFT_BEHIND, gaps_kept
from app.quality.drift import former_name, without_advice
from app.quality.hourly_digests import unprovable


@dataclass(frozen=True, slots=True)
class Part:
    """The part of a state that is meant: one location or all (None), one hub's key or all (None)."""

    location: str | None = None
    hub: str | None = None

    @property
    def is_all(self) -> bool:
        return self.location is None and self.hub is None

    def has(self, location: str, hub: str) -> bool:
        return self.location in (None, location) and self.hub in (None, hub)

    def checkpoints(self, state: FeedState) -> dict[str, dict[str, Checkpoint]]:
        """Give the checkpoints that are meant, by location and hub; locations without one are left out."""
        found = {
            name: {hub: known for hub, known in location.checkpoints.items() if self.has(name, hub)}
            for name, location in sorted(state.locations.items())
        }
        return {name: checkpoints for name, checkpoints in found.items() if checkpoints}


@dataclass(frozen=True, slots=True)
class Effect:
    """What a change means for hubs of a location that are alike in it.

    `before` and `after` are positions; None: there was, or will be, no checkpoint. `again` is what
    they are sent once more, with the same message ids; `never` what they are not sent at all; `more`
    what they never had and are sent now. `readings` says about how many that is, by the rate of the
    last day that the location was done for; None where nothing is known of it.
    """

    location: str
    hubs: tuple[str, ...]
    before: datetime | None
    after: datetime | None
    again: Slice | None = None
    never: Slice | None = None
    more: Slice | None = None
    readings: int | None = None

    @property
    def window(self) -> Slice | None:
        return self.again or self.never or self.more


def skip(state: FeedState, part: Part, to: datetime, now: datetime) -> FeedState:
    """Move the positions of `part` that lie before `to` forward to it.

    What lies between is never read: `known_from` is `to`, ids are kept from there on, and the
    stretch becomes a gap found at `now`. Positions at or past `to` stay.
    """
    skipped = {
        name: {
            hub: Checkpoint(to, to, {hour: ids for hour, ids in known.ids.items() if hour >= hour_of(to)})
            for hub, known in checkpoints.items()
            if known.delivered_until < to
        }
        for name, checkpoints in part.checkpoints(state).items()
    }
    return _with(state, {name: found for name, found in skipped.items() if found}, to, now)


def reset(state: FeedState, part: Part, to: datetime | None, start: datetime, now: datetime) -> FeedState:
    """Forget the positions and ids of `part`; what is counted and listed stays.

    They begin anew at `to`, or without it, when they next run, at START_FROM, which is `start` now.
    Where that lies after a position, the stretch between becomes a gap found at `now`. A whole
    feed's reset also leaves an earlier forwarder's position that is yet to be taken over.
    """
    renewed = {
        name: {hub: None if to is None else Checkpoint(to, to) for hub in checkpoints}
        for name, checkpoints in part.checkpoints(state).items()
    }
    after = _with(state, renewed, start if to is None else to, now)
    if part.is_all and state.takeover is not None and state.takeover.at is None:
        after = replace(after, takeover=replace(state.takeover, at=now))
    return after


def move(state: FeedState, former: str, name: str) -> FeedState:
    """Let the hubs of the location `name` go on from where they stopped with `former`, its earlier name.

    Counts and gaps go to `name`. Ids do not, for they are made with the name: what was sent under
    `former` is never read under `name`. Where a hub stopped is after the last reading that it has: what
    was answered after that without readings may have them under `name`. Hubs that are past it stay,
    unless they began past it: they are set back, with the ids they have. The positions of `former`
    stay, so that what it still shows is had.
    """
    old, new = state.locations[former], state.locations.get(name, LocationState())
    stops = {hub: _stopped(known) for hub, known in old.checkpoints.items()}
    moved = {
        hub: found
        for hub, stop in stops.items()
        if (found := _gone_on_from(stop, new.checkpoints.get(hub), new.hubs.get(hub))) is not None
    }
    if not moved:
        return state
    hubs = {hub: _with_counts(new.hubs.get(hub, HubRecord()), record) for hub, record in old.hubs.items()}
    begun = {hub: _begun_at(stops[hub], hubs.get(hub) or new.hubs.get(hub, HubRecord())) for hub in moved}
    left = {hub: replace(record, events=0, readings=0, duplicates=0) for hub, record in old.hubs.items()}
    locations = dict(state.locations)
    locations[former] = replace(old, hubs=left, gaps=())
    locations[name] = replace(
        new,
        checkpoints={**new.checkpoints, **moved},
        hubs={**new.hubs, **hubs, **begun},
        gaps=gaps_kept((*old.gaps, *new.gaps)),
        seals=_without(new.seals, moved),
    )
    return replace(state, locations=locations)


def advised(state: FeedState, drift: Drift, shard: Shard = WHOLE) -> Drift:
    """Give what drifts with its advice to move a renamed location only while that would do something.

    The state of a shard does not say it where another holds the former name.
    """
    former = former_name(drift)
    if former is None or drift.location is None or not shard.holds(former):
        return drift
    is_known = former in state.locations and drift.location != former
    return drift if is_known and move(state, former, drift.location) != state else without_advice(drift)


def close_gap(state: FeedState, location: str, gap: Gap, hubs: Collection[str]) -> FeedState:
    """Take a gap away that is over for these hubs; it stays for the others that it is about."""
    found = state.locations[location]
    left = tuple(hub for hub in sorted(gap.hubs or found.checkpoints) if hub not in hubs)
    still = [replace(gap, hubs=left)] if left else []
    kept = [part for known in found.gaps for part in (still if known == gap else [known])]
    return _with_location(state, location, replace(found, gaps=tuple(kept)))


def remember(state: FeedState, location: str, hub: str, sent: Iterable[tuple[datetime, str]]) -> FeedState:
    """Note readings (hour, id) that a hub got beside its runs, so that none of them sends them again.

    Those from before its ids are complete are never read again. Of their hours the daily comparison
    would find fewer readings at the hub than there are, so it leaves them out.
    """
    found = state.locations.get(location, LocationState())
    known = found.checkpoints.get(hub)
    if known is None:
        return state
    pairs = list(sent)
    noted = known.with_ids((hour, reading_id) for hour, reading_id in pairs if hour >= known.known_from)
    seals = dict(found.seals)
    if hub in seals:
        seals[hub] = unprovable(seals[hub], {hour for hour, _ in pairs} & seals[hub].keys(), known)
    checkpoints = {**found.checkpoints, hub: noted}
    return _with_location(state, location, replace(found, checkpoints=checkpoints, seals=seals))


def effects(before: FeedState, after: FeedState, start: datetime) -> list[Effect]:
    """Say what it means that `before` becomes `after`, for each hub that either has a position of.

    A checkpoint that is gone begins at `start`. Hubs of a location that are alike are told as one.
    Where nothing is sent again or never, and no position changes, nothing is said.
    """
    found: dict[Effect, list[str]] = {}
    for name in sorted(before.locations.keys() | after.locations.keys()):
        location = before.locations.get(name, LocationState())
        had, has = location.checkpoints, after.locations.get(name, LocationState()).checkpoints
        rate = rate_of(location)
        for hub in sorted(had.keys() | has.keys()):
            if had.get(hub) != has.get(hub):
                effect = _effect(name, had.get(hub), has.get(hub), start)
                found.setdefault(_with_readings(effect, rate), []).append(hub)
    return [replace(effect, hubs=tuple(hubs)) for effect, hubs in found.items() if _is_felt(effect)]


def changed(before: FeedState, after: FeedState) -> list[str]:
    """Name the locations that differ, those that only one of them has among them."""
    names = before.locations.keys() | after.locations.keys()
    return sorted(name for name in names if before.locations.get(name) != after.locations.get(name))


def _with(
    state: FeedState, found: Mapping[str, Mapping[str, Checkpoint | None]], to: datetime, now: datetime
) -> FeedState:
    """Give the state with these checkpoints in place of those it has; None takes one away."""
    locations = dict(state.locations)
    for name, checkpoints in found.items():
        location = locations[name]
        left = {hub: location.checkpoints[hub].delivered_until for hub in checkpoints}
        new = {**location.checkpoints, **checkpoints}
        locations[name] = replace(
            location,
            checkpoints={hub: checkpoint for hub, checkpoint in new.items() if checkpoint is not None},
            gaps=(*location.gaps, *_left_behind(left, to, now, location.gaps)),
            seals=_without(location.seals, checkpoints),
        )
    return replace(state, locations=locations)


def _stopped(known: Checkpoint) -> datetime:
    """Give where a hub has all: after its newest reading, or from that one's hour if only that is known.

    A position goes on where the source is asked and answers without readings, so it says too much.
    """
    after = known.known_from if known.newest is None else known.newest + MILLISECOND
    return min(known.delivered_until, max(after, known.newest_hour() or after))


def _gone_on_from(stop: datetime, known: Checkpoint | None, record: HubRecord | None) -> Checkpoint | None:
    """Give a checkpoint that goes on from `stop`; None where the one there is has gone on from it.

    `known_from` rises with time, so where it began is what its record says, if that says it.
    """
    if known is None or known.delivered_until < stop:
        return Checkpoint(stop, stop)
    began = known.known_from if record is None or record.start is None else record.start
    return Checkpoint(stop, stop, known.ids, known.newest) if min(began, known.known_from) > stop else None


def _begun_at(stop: datetime, record: HubRecord) -> HubRecord:
    return replace(record, start=stop if record.start is None else min(record.start, stop))


def _without(seals: Mapping[str, Seals], hubs: Iterable[str]) -> dict[str, Seals]:
    """Give the seals but those of hubs that begin anew: nothing before that is asked for again."""
    return {hub: found for hub, found in seals.items() if hub not in hubs}


def _with_counts(record: HubRecord, former: HubRecord) -> HubRecord:
    counted = record.plus(events=former.events, readings=former.readings, duplicates=former.duplicates)
    return replace(counted, last_success=record.last_success or former.last_success)


def _with_location(state: FeedState, name: str, location: LocationState) -> FeedState:
    return replace(state, locations={**state.locations, name: location})


def _left_behind(
    positions: Mapping[str, datetime], to: datetime, now: datetime, known: Iterable[Gap]
) -> list[Gap]:
    by_position = by_key((position, hub) for hub, position in sorted(positions.items()) if position < to)
    gaps = [
        Gap(Slice(position, to), LEFT_BEHIND, now, tuple(hubs))
        for position, hubs in sorted(by_position.items())
    ]
    had = {(gap.window, gap.cause, gap.hubs) for gap in known}
    return [gap for gap in gaps if (gap.window, gap.cause, gap.hubs) not in had]


def _effect(name: str, before: Checkpoint | None, after: Checkpoint | None, start: datetime) -> Effect:
    position = None if after is None else after.delivered_until
    if before is None:
        return Effect(name, (), None, position)
    begins = after or Checkpoint(start, start)
    found = Effect(name, (), before.delivered_until, position)
    if begins.delivered_until > before.delivered_until:
        return replace(found, never=Slice(before.delivered_until, begins.delivered_until))
    if any(begins.ids.values()) and begins.ids == before.ids:
        return replace(found, more=_slice(begins.known_from, before.known_from))
    unknown_from = begins.delivered_until if any(begins.ids.values()) else begins.known_from
    return replace(found, again=_slice(unknown_from, _reached(before)))


def _with_readings(effect: Effect, rate: float | None) -> Effect:
    window = effect.window
    if window is None or rate is None:
        return effect
    return replace(effect, readings=round(rate * ((window.end - window.start) / HOUR)))


def _is_felt(effect: Effect) -> bool:
    return effect.before != effect.after or effect.window is not None


def _slice(start: datetime, end: datetime) -> Slice | None:
    return Slice(start, end) if start < end else None


def _reached(checkpoint: Checkpoint) -> datetime:
    """Give the end of what a hub has, to the hour for batches of a slice that was not completed."""
    newest = checkpoint.newest_hour()
    if newest is not None and newest > checkpoint.delivered_until:
        return newest + HOUR
    return checkpoint.delivered_until


def rate_of(location: LocationState) -> float | None:
    """Give readings an hour, quiet hours included, of the hub whose last day had most; None if unknown."""
    found = [
        _rate_at(known, location.seals.get(hub, {})) for hub, known in sorted(location.checkpoints.items())
    ]
    return max((rate for rate in found if rate), default=None)


def _rate_at(checkpoint: Checkpoint, seals: Seals) -> float | None:
    """Give the rate of the last day that is done, as far as its hours are counted: by ids, else by seals."""
    end = _reached(checkpoint)
    since = hour_of(end) - DAY
    ids = {hour: len(found) for hour, found in checkpoint.ids.items() if hour >= since}
    sealed = {
        hour: seal.readings
        for hour, seal in seals.items()
        if seal is not None and since <= hour < checkpoint.known_from and hour not in ids
    }
    hours = (end - max(checkpoint.known_from, since)) / HOUR + len(sealed)
    count = sum(ids.values()) + sum(sealed.values())
    return count / hours if count and hours > 0 else None
