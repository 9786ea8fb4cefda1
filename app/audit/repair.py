"""Sends what an audit found missing, and takes note of it in the state.

The feed's run lock is held meanwhile, so no run and no other repair sends the same. Positions stay as
they are; ids, sizes, order within a location and the encoding are those of a run.
"""

from __future__ import annotations

import queue
from collections import Counter
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from app.audit.auditor import ComparedFeed, Tell
from app.audit.findings import BEFORE_START, QUARANTINED, Finding
from app.base.budget import Budget
from app.base.checkpoints import Checkpoint, FeedState, Gap, LocationState
from app.base.errors import HubError, LockLost, SourceError, StateError
from app.base.instants import HOUR, hour_of
from app.base.readings import QuarantinedReading, Reading, Slice
from app.eventhub import deliveries
from app.eventhub.deliveries import Delivery, Dropped, LaneClosed, News, Opened, Rejected
from app.eventhub.reader import HubReader
from app.feeds.quarantine import quarantine_text
from app.run.delivery import dispatch
from app.run.fetching import OVERLAP, Fetched
from app.run.planning import Group
from app.run.ports import Lanes, Wiring
from app.state.edits import changed, close_gap, remember
from app.state.store import MendableStore, RunLock

OWNER = "audit --repair"
_UNHURRIED = timedelta(days=7)
_LONGEST = timedelta(hours=24)


@dataclass(frozen=True, slots=True)
class Plan:
    """What a repair would do: readings to send, by hub and cause, and gaps that are over then."""

    readings: Mapping[str, Mapping[str, int]]
    gaps: int

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
    readings = {hub.key: Counter[str]() for hub in compared.hubs if compared.is_compared(hub.key)}
    for key, causes in readings.items():
        for location in compared.locations:
            causes.update(str(found.cause) for found in _to_send(compared, key, location))
    gaps = sum(1 for _ in _over(compared, compared.state, assume_sent=True))
    return Plan(readings, gaps)


def repair(
    compared: ComparedFeed,
    wiring: Wiring,
    store: MendableStore,
    *,
    consumer_group: str,
    progress: Tell | None = None,
) -> Outcome:
    """Send what is missing and can be sent, and close the gaps that are over then.

    1. Take the feed's run lock. Raises LockHeld.
    2. Leave out what came to a hub since it was compared.
    3. Fetch the hours of what is missing again, and send what is missing of them.
    4. Save: gaps that are over are closed, and what was sent is remembered, so that no run sends it again.

    A hub that fails is left alone, and named in the outcome; what it acknowledged counts.
    """
    with store.lock(compared.feed.state_name, OWNER) as lock:
        work = _Repair(compared, wiring, store, lock, progress or (lambda _doing, _done, _whole: None))
        work.leave_out_what_came_since(consumer_group)
        work.send()
        work.save()
    return work.outcome


class _Repair:
    """A repair under way. Its own thread decides; lanes send it news."""

    def __init__(
        self,
        compared: ComparedFeed,
        wiring: Wiring,
        store: MendableStore,
        lock: RunLock,
        tell: Tell,
    ) -> None:
        self.outcome = Outcome()
        self._compared = compared
        self._wiring = wiring
        self._store = store
        self._lock = lock
        self._tell = tell
        # Ids that came to a hub after it was compared; a hub that is not in it gets nothing.
        self._came: dict[str, set[str]] = {}
        self._inbox: queue.SimpleQueue[News] = queue.SimpleQueue()
        self._largest: dict[str, int] = {}
        self._under_way: Counter[str] = Counter()
        # What is in a lane, by its batch there, and what was acknowledged, by location and hub.
        self._in_lanes: dict[tuple[str, int], list[tuple[datetime, str]]] = {}
        self._sent: dict[tuple[str, str], list[tuple[datetime, str]]] = {}

    def leave_out_what_came_since(self, consumer_group: str) -> None:
        for hub in self._compared.hubs:
            if not self._compared.is_compared(hub.key):
                continue
            try:
                self._came[hub.key] = self._compared.contents[hub.key].came_since(
                    HubReader(hub, consumer_group)
                )
            except HubError as error:
                self.outcome.errors.append(str(error))

    def send(self) -> None:
        """Fetch and send, a location at a time."""
        hubs = [hub for hub in self._compared.hubs if hub.key in self._came]
        places = [name for name in self._compared.locations if any(self._wanted(name).values())]
        if not places:
            return
        lanes = self._wiring.make_lanes(hubs, Budget(_UNHURRIED), self._inbox.put, self._why_not)
        lanes.start()
        try:
            while len(self._largest) < len(self._came):
                self._handle_next()
            for done, name in enumerate(places):
                self._tell("sending what is missing", done, len(places))
                self._send_location(name, lanes)
            while self._under_way.total():
                self._handle_next()
        finally:
            lanes.close()

    def _why_not(self) -> str | None:
        return None if self._lock.held() else "the run lock was lost"

    def _wanted(self, location: str) -> dict[str, dict[str, datetime]]:
        """Give what each hub is to be sent of a location: ids and their times."""
        return {
            hub: {
                found.id: found.time
                for found in _to_send(self._compared, hub, location)
                if found.id not in came
            }
            for hub, came in self._came.items()
        }

    def _send_location(self, location: str, lanes: Lanes) -> None:
        wanted = self._wanted(location)
        times = {time for ids in wanted.values() for time in ids.values()}
        try:
            for window in _windows(times):
                for fetched in self._fetched(location, window):
                    for hub in [key for key in self._came if wanted.get(key)]:
                        self._put(hub, location, fetched, wanted[hub], lanes)
        except SourceError as error:
            self.outcome.errors.append(str(error))

    def _fetched(self, location: str, window: Slice) -> Iterator[Fetched]:
        start = window.start
        while start < window.end:
            fetched = self._compared.source.fetch(location, Slice(start, window.end), start - OVERLAP)
            yield fetched
            start = fetched.window.end

    def _put(
        self, hub: str, location: str, fetched: Fetched, wanted: dict[str, datetime], lanes: Lanes
    ) -> None:
        """Put what a hub is to get of an answer into its lane; it is taken off `wanted`."""
        if not any(reading.id in wanted for reading in fetched.readings):
            return
        had: dict[datetime, set[str]] = {}
        for reading in fetched.readings:
            if reading.id not in wanted:
                had.setdefault(hour_of(reading.time or fetched.window.start), set()).add(reading.id)
        known = Checkpoint(
            fetched.window.start,
            fetched.window.start,
            {hour: frozenset(ids) for hour, ids in had.items()},
        )
        group = Group(location, (hub,), known, fetched.window.start)
        settings = self._compared.settings
        limits = {hub: self._largest[hub]}
        todo = dispatch(self._compared.feed, settings, group, fetched, fetched.window.end, limits)
        taken = {reading.id: wanted.pop(reading.id) for reading in fetched.readings if reading.id in wanted}
        for refused in todo.refused:
            for reading in refused.readings:
                reason = refused.reason or "it cannot be forwarded"
                self._quarantine(location, refused.hubs, reading, reason)
        for delivery in todo.deliveries[hub]:
            if delivery.batch is not None:
                self._await_room(hub, lanes)
                sent = [(taken[found], found) for _, found in delivery.ids if found in taken]
                self._in_lanes[hub, id(delivery.batch)] = sent
                self._under_way[hub] += 1
                lanes.put(hub, delivery)

    def _quarantine(self, location: str, hubs: tuple[str, ...], reading: Reading, reason: str) -> None:
        at, text = self._wiring.now(), quarantine_text(reading)
        item = QuarantinedReading(self._compared.settings.name, location, hubs, reading.id, reason, at, text)
        place = self._store.quarantine(self._compared.feed.state_name, item)
        self.outcome.errors.append(f"{location}: a reading was set aside, {reason}; it is kept at {place}")

    # --- news ---------------------------------------------------------------------------------------

    def _await_room(self, hub: str, lanes: Lanes) -> None:
        while hub in self._came and not lanes.has_room(hub):
            self._handle_next()

    def _handle_next(self) -> None:
        match self._inbox.get():
            case Opened(hub, largest):
                self._largest[hub] = largest
            case deliveries.Delivered(hub, delivery):
                self._under_way[hub] -= 1
                self._delivered(hub, delivery)
            case Dropped(hub, _):
                self._under_way[hub] -= 1
            case Rejected(hub, _, error):
                self._under_way[hub] -= 1
                self.outcome.errors.append(str(error))
            case LaneClosed(hub, error):
                self._came.pop(hub, None)
                self._largest.pop(hub, None)
                self._under_way[hub] = 0
                if error is not None:
                    self.outcome.errors.append(str(error))

    def _delivered(self, hub: str, delivery: Delivery) -> None:
        sent = self._in_lanes.pop((hub, id(delivery.batch)))
        self._sent.setdefault((delivery.location, hub), []).extend(sent)
        self._compared.repaired(hub, delivery.location, sent)
        self.outcome.sent[hub] += len(sent)

    # --- state --------------------------------------------------------------------------------------

    def save(self) -> None:
        """Close gaps and remember what was sent, in the state as it is now."""
        try:
            self._save(self._compared.feed.state_name)
        except StateError as error:
            self.outcome.gaps = 0
            self.outcome.errors.append(
                f"{error}; what was sent is not noted in the state: do this again to close the gaps"
            )

    def _save(self, name: str) -> None:
        before = after = self._store.load(name)
        for (location, hub), sent in self._sent.items():
            after = remember(after, location, hub, [(hour_of(time), found) for time, found in sent])
        for location, gap, hubs in _over(self._compared, after):
            after = close_gap(after, location, gap, hubs)
            self.outcome.gaps += 1
        different = changed(before, after)
        if different and not self._lock.held():
            raise LockLost(f"state: {name}: the run lock was lost")
        if different:
            self._store.save(name, after, different)


def _to_send(compared: ComparedFeed, hub: str, location: str) -> list[Finding]:
    found = compared.file.missing_at(hub, location)
    return [finding for finding in found if finding.is_mendable and not finding.repaired]


def _over(
    compared: ComparedFeed, state: FeedState, *, assume_sent: bool = False
) -> Iterator[tuple[str, Gap, tuple[str, ...]]]:
    """Give the gaps in which nothing is missing any more, with the hubs for which that is known.

    With `assume_sent`, as if all that can be sent were sent.
    """
    keys = [hub.key for hub in compared.hubs if compared.is_compared(hub.key)]
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
