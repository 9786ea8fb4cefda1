"""Sends what an audit found missing, and takes note of it in the state.

The feed's run lock is held meanwhile, so no run and no other repair sends the same. Positions stay as
they are; ids, sizes, order within a location and the encoding are those of a run.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

from app.audit.auditor import UNHURRIED, ComparedFeed, Tell, untold
from app.audit.findings import BEFORE_START, QUARANTINED, Finding
from app.base.budget import Budget
from app.base.checkpoints import Checkpoint, FeedState, Gap, LocationState
from app.base.errors import HubError, LockLost, SourceError, StateError
from app.base.instants import HOUR, hour_of
from app.base.readings import Slice
from app.eventhub.deliveries import Delivered, Delivery, Dropped, LaneClosed, Opened, Rejected
from app.eventhub.reader import HubReader
from app.run.delivery import Refused, dispatch
from app.run.fetching import OVERLAP, Fetched
from app.run.planning import Group
from app.run.ports import Inbox, Lanes, Wiring
from app.state.edits import changed, close_gap, remember
from app.state.store import RunLock

OWNER = "audit --repair"
# Of hours that follow one another; as long as a run's longest slice.
_LONGEST = timedelta(hours=24)


@dataclass(frozen=True, slots=True)
class Plan:
    """What a repair would do: readings to send, by hub and cause, and gaps that are over then.

    `distinct` counts each reading once, to however many hubs it is sent.
    """

    readings: Mapping[str, Mapping[str, int]]
    gaps: int
    distinct: int = 0

    @property
    def is_empty(self) -> bool:
        return not self.gaps and not any(self.readings.values())


@dataclass(slots=True)
class Outcome:
    """What came of it: readings sent, by hub, gaps that are closed, and what did not work."""

    sent: Counter[str] = field(default_factory=Counter)
    gaps: int = 0
    errors: list[str] = field(default_factory=list)


def plan_repair(compared: ComparedFeed) -> Plan:
    """Say what `repair` would do. Nothing is asked or sent."""
    readings = {hub.key: Counter[str]() for hub in compared.compared_hubs}
    distinct = 0
    for location in compared.locations:
        here: set[tuple[datetime, str]] = set()
        for key, causes in readings.items():
            found = _to_send(compared, key, location)
            causes.update(str(each.cause) for each in found)
            here.update((each.time, each.id) for each in found)
        distinct += len(here)
    gaps = sum(1 for _ in _over(compared, compared.state, assume_sent=True))
    return Plan(readings, gaps, distinct)


def repair(
    compared: ComparedFeed,
    wiring: Wiring,
    *,
    consumer_group: str,
    progress: Tell = untold,
) -> Outcome:
    """Send what is missing and can be sent, and close the gaps that are over then.

    1. Take the feed's run lock. Raises LockHeld.
    2. Leave out what came to a hub since it was compared.
    3. Fetch the hours of what is missing again, and send what is missing of them.
    4. Save: gaps that are over are closed, and what was sent is remembered, so that no run sends it again.

    A hub that fails is left alone, and named in the outcome; what it acknowledged counts.
    """
    with wiring.store.lock(compared.feed.state_name, OWNER) as lock:
        work = _Repair(compared, wiring, lock, progress, wiring.make_inbox())
        work.leave_out_what_came_since(consumer_group)
        work.send()
        work.save()
    return work.outcome


@dataclass(slots=True)
class _Repair:
    """A repair under way. Its own thread decides; lanes send it news."""

    compared: ComparedFeed
    wiring: Wiring
    lock: RunLock
    tell: Tell
    inbox: Inbox
    outcome: Outcome = field(default_factory=Outcome)
    # Ids that came to a hub after it was compared; a hub that is not in it gets nothing.
    came: dict[str, set[str]] = field(default_factory=dict)
    largest: dict[str, int] = field(default_factory=dict)
    under_way: Counter[str] = field(default_factory=Counter)
    # By location and hub: the times of what is to be sent, by id, and what was acknowledged of it.
    times: dict[tuple[str, str], dict[str, datetime]] = field(default_factory=dict)
    sent: dict[tuple[str, str], list[tuple[datetime, str]]] = field(default_factory=dict)

    def leave_out_what_came_since(self, consumer_group: str) -> None:
        for hub in self.compared.compared_hubs:
            reader = HubReader(hub, consumer_group)
            try:
                self.came[hub.key] = self.compared.contents[hub.key].came_since(reader)
            except HubError as error:
                self.outcome.errors.append(str(error))

    def send(self) -> None:
        """Fetch and send, a location at a time."""
        for location in self.compared.locations:
            for hub, came in self.came.items():
                wanted = {found.id: found.time for found in _to_send(self.compared, hub, location)}
                if left := {found: time for found, time in wanted.items() if found not in came}:
                    self.times[location, hub] = left
        if not self.times:
            return
        hubs = [hub for hub in self.compared.hubs if hub.key in self.came]
        lanes = self.wiring.make_lanes(hubs, Budget(UNHURRIED), self.inbox.put, self._why_not)
        lanes.start()
        try:
            while len(self.largest) < len(self.came):
                self._handle_next()
            places = sorted({location for location, _ in self.times})
            for done, location in enumerate(places):
                self.tell("sending what is missing", done, len(places))
                self._send_location(location, lanes)
            while self.under_way.total():
                self._handle_next()
        finally:
            lanes.close()

    def _why_not(self) -> str | None:
        return None if self.lock.held() else "the run lock was lost"

    def _send_location(self, location: str, lanes: Lanes) -> None:
        wanted = {hub: dict(self.times.get((location, hub), {})) for hub in self.came}
        try:
            for window in _windows({time for ids in wanted.values() for time in ids.values()}):
                while window.start < window.end:
                    fetched = self.compared.source.fetch(location, window, window.start - OVERLAP)
                    for hub in list(self.came):
                        self._put(hub, location, fetched, wanted[hub], lanes)
                    window = Slice(fetched.window.end, window.end)
        except SourceError as error:
            self.outcome.errors.append(str(error))

    def _put(
        self, hub: str, location: str, fetched: Fetched, wanted: dict[str, datetime], lanes: Lanes
    ) -> None:
        """Put what a hub is to get of an answer into its lane; it is taken off `wanted`."""
        start, end = fetched.window.start, fetched.window.end
        had = [reading for reading in fetched.readings if reading.id not in wanted]
        if hub not in self.came or len(had) == len(fetched.readings):
            return
        known = Checkpoint(start, start).with_ids((found.time or start, found.id) for found in had)
        group, limits = Group(location, (hub,), known, start), {hub: self.largest[hub]}
        forms = {found.key: found.form for found in self.compared.hubs}
        todo = dispatch(self.compared.feed, self.compared.settings, group, fetched, end, limits, forms=forms)
        taken = {reading.id for reading in fetched.readings if wanted.pop(reading.id, None)}
        for refused in todo.refused:
            self._quarantine(location, refused)
        for batch in [delivery for delivery in todo.deliveries[hub] if delivery.batch is not None]:
            while hub in self.came and not lanes.has_room(hub):
                self._handle_next()
            if hub not in self.came:
                return
            self.under_way[hub] += 1
            # A delivery also names what is remembered though it is not sent now.
            lanes.put(hub, replace(batch, ids={hour: ids & taken for hour, ids in batch.ids.items()}))

    def _quarantine(self, location: str, refused: Refused) -> None:
        for item in refused.as_quarantined(self.compared.settings.name, location, self.wiring.now()):
            place = self.wiring.store.quarantine(self.compared.feed.state_name, item)
            self.outcome.errors.append(
                f"{location}: a reading was set aside, {item.reason}; it is kept at {place}"
            )

    def _handle_next(self) -> None:
        match self.inbox.get():
            case Opened(hub, largest):
                self.largest[hub] = largest
            case Delivered(hub, delivery):
                self.under_way[hub] -= 1
                self._delivered(hub, delivery)
            case Dropped(hub, _):
                self.under_way[hub] -= 1
            case Rejected(hub, _, error):
                self.under_way[hub] -= 1
                self.outcome.errors.append(str(error))
            case LaneClosed(hub, error):
                self.came.pop(hub, None)
                self.largest.pop(hub, None)
                self.under_way[hub] = 0
                if error is not None:
                    self.outcome.errors.append(str(error))

    def _delivered(self, hub: str, delivery: Delivery) -> None:
        times = self.times[delivery.location, hub]
        sent = sorted((times[found], found) for ids in delivery.ids.values() for found in ids)
        self.sent.setdefault((delivery.location, hub), []).extend(sent)
        self.compared.repaired(hub, delivery.location, sent)
        self.outcome.sent[hub] += len(sent)

    def save(self) -> None:
        """Close gaps and remember what was sent, in the state as it is now."""
        try:
            self._save(self.compared.feed.state_name)
        except StateError as error:
            self.outcome.gaps = 0
            self.outcome.errors.append(
                f"{error}; what was sent is not noted in the state: do this again to close the gaps"
            )

    def _save(self, name: str) -> None:
        before = after = self.wiring.store.load(name)
        for (location, hub), sent in self.sent.items():
            after = remember(after, location, hub, [(hour_of(time), found) for time, found in sent])
        for location, gap, hubs in _over(self.compared, after):
            after = close_gap(after, location, gap, hubs)
            self.outcome.gaps += 1
        different = changed(before, after)
        if different and not self.lock.held():
            raise LockLost(f"state: {name}: the run lock was lost")
        if different:
            self.wiring.store.save(name, after, different)


def _to_send(compared: ComparedFeed, hub: str, location: str) -> list[Finding]:
    found = compared.file.missing_at(hub, location)
    return [finding for finding in found if finding.is_mendable and not finding.repaired]


def _over(
    compared: ComparedFeed, state: FeedState, *, assume_sent: bool = False
) -> Iterator[tuple[str, Gap, tuple[str, ...]]]:
    """Give the gaps in which nothing is missing any more, with the hubs for which that is known.

    With `assume_sent`, as if all that can be sent were sent.
    """
    keys = [hub.key for hub in compared.compared_hubs]
    for location in compared.locations:
        for gap in state.locations.get(location, LocationState()).gaps:
            if not compared.source.shows_all_of(location, gap.window):
                continue
            hubs = tuple(
                key
                for key in keys
                if (not gap.hubs or key in gap.hubs)
                and not _lacks(compared, key, location, gap.window, assume_sent=assume_sent)
            )
            if hubs:
                yield location, gap, hubs


def _lacks(compared: ComparedFeed, hub: str, location: str, window: Slice, *, assume_sent: bool) -> bool:
    return any(
        found.time in window
        and not found.repaired
        and found.cause not in (QUARANTINED, BEFORE_START)
        and not (assume_sent and found.is_mendable)
        for found in compared.file.missing_at(hub, location)
    )


def _windows(times: Collection[datetime]) -> Iterator[Slice]:
    """Give the hours of these times, those that follow one another as one window of at most a day."""
    start = end = None
    for hour in sorted({hour_of(time) for time in times}):
        if start is not None and end is not None and (hour > end or end - start >= _LONGEST):
            yield Slice(start, end)
            start = None
        start, end = start or hour, hour + HOUR
    if start is not None and end is not None:
        yield Slice(start, end)
