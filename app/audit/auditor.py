"""An audit carried out: the source and the hubs are asked for a window, and what they give is compared.

`audit_feeds` gives a `HubAudit` (see `app.audit.findings`) for each feed and hub. `compared_feeds` gives what
lies under it, a feed at a time, for whoever is to repair what is missing. Nothing is written but a
private temporary file, and no lock is taken.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Executor, Future, wait
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from hashlib import blake2b

from app.audit.findings import (
    Counts,
    Delivered,
    Finding,
    HubAudit,
    Promised,
    Published,
    compare,
    promised,
    slot_of,
    written_time,
)
from app.audit.tally import Tally
from app.base.budget import Budget
from app.base.checkpoints import Checkpoint, LocationState
from app.base.errors import AuthError, BadResponse, ForwarderError, HubError, SourceError, StateDamaged
from app.base.instants import MILLISECOND, format_time, hour_of
from app.base.readings import Reading, Slice
from app.eventhub.batches import wire_text
from app.eventhub.reader import HubReader, Received
from app.feeds.feed import SOURCE, Feed, joint_id, load_feed
from app.microshare.client import MicroshareClient
from app.run.fetching import OVERLAP, Fetched
from app.run.horizon import agreed_clocks
from app.run.locations import find_locations
from app.run.planning import Group, Limits, plan_slice
from app.run.ports import Wiring
from app.run.source import fetch
from app.settings.schema import FeedSettings, HubSettings, Settings
from app.state.store import MendableStore

# The clocks of hub and source may differ, so hubs are read from before the window.
_BEFORE = timedelta(hours=1)
# An audit takes the time it takes; each request has a limit of its own.
_UNHURRIED = timedelta(days=7)
# Puts an event's time and its number into one integer that sorts as they do.
_NUMBERS = 1_000_000

Progress = Callable[[str, float, float], None]


@dataclass(frozen=True, slots=True)
class Asked:
    """A feed to be audited: the window, cut to the horizon, and locations; none: all that are forwarded."""

    feed: str
    window: Slice
    locations: tuple[str, ...] = ()


class UnknownLocation(ForwarderError):
    """No feed forwards a location of that name. `known` lists those there are."""

    def __init__(self, name: str, known: Collection[str]) -> None:
        super().__init__(f"{name!r} is none of the locations")
        self.name = name
        self.known = sorted(known)


def audit_feeds(
    asked: Sequence[Asked],
    hubs: Sequence[HubSettings],
    wiring: Wiring,
    store: MendableStore,
    *,
    consumer_group: str = "$Default",
    progress: Progress | None = None,
) -> Iterator[HubAudit]:
    """Compare feeds with hubs, reading by reading; give one result a feed and hub, feeds first.

    A hub or a location that cannot be asked is named in its result, and the others are compared.
    `progress` is told what is being done, how much of it is done, and of how much. Raises SourceError
    where the source can be asked for nothing, StateError where the state cannot be read,
    UnknownLocation, and ForwarderError for a window that is yet to come, all before the first result.
    """
    for feed in compared_feeds(asked, hubs, wiring, store, consumer_group=consumer_group, progress=progress):
        yield from feed.audits()


def compared_feeds(
    asked: Sequence[Asked],
    hubs: Sequence[HubSettings],
    wiring: Wiring,
    store: MendableStore,
    *,
    consumer_group: str = "$Default",
    progress: Progress | None = None,
) -> Iterator[ComparedFeed]:
    """Do as `audit_feeds`, and give each feed with what was found, to be used before the next is asked for.

    1. Load the states, and find the horizon and the locations.
    2. Read every hub, once for all feeds.
    3. Ask the source, a feed at a time, slice by slice.
    4. Compare, a hub at a time.

    The order matters while runs go on: what is published or delivered meanwhile is at the source
    when the hub lacks it, and the state from before says then that a run is going to bring it.
    """
    tell = progress or (lambda _doing, _done, _whole: None)
    client = wiring.make_client(Budget(_UNHURRIED))
    with ExitStack() as stack:
        stack.callback(client.close)
        client.login()
        feeds = [ComparedFeed(one, hubs, wiring, store, client) for one in asked]
        _check_names(asked, feeds)
        for feed in feeds:
            stack.enter_context(feed.tally)
        for hub in hubs:
            _read_hub(hub, feeds, consumer_group, tell)
        workers = wiring.make_workers(wiring.settings.run.concurrency)
        stack.callback(workers.shutdown, wait=False, cancel_futures=True)
        for feed in feeds:
            feed.ask_source(workers, wiring.settings.run.concurrency, tell)
            feed.compare()
            yield feed


@dataclass(slots=True)
class _Holding:
    """What is known of one hub beside its readings of a feed."""

    foreign: int = 0
    # The oldest event of each location that is left: where it is in the hub, its partition and time.
    oldest: dict[str, tuple[int, str, datetime]] = field(default_factory=dict)
    kept_since: Mapping[str, datetime] = field(default_factory=dict)
    readable_from: datetime | None = None
    read_until: datetime | None = None
    warnings: list[str] = field(default_factory=list)
    error: str | None = None

    def expired(self, location: str) -> datetime | None:
        """Give the time up to which readings of a location may be gone by retention; None: none can be.

        Readings of a location arrive by time, so what came before the oldest event that is left is
        not newer than that.
        """
        if location not in self.oldest:
            return self.readable_from
        _, partition, time = self.oldest[location]
        kept_since = self.kept_since.get(partition)
        return None if kept_since is None else min(time, kept_since)


class ComparedFeed:
    """One feed under audit: what it was asked for, and what was found, a hub at a time."""

    def __init__(
        self,
        asked: Asked,
        hubs: Sequence[HubSettings],
        wiring: Wiring,
        store: MendableStore,
        client: MicroshareClient,
    ) -> None:
        self.settings: FeedSettings = wiring.settings.feeds[asked.feed]
        self.feed: Feed = load_feed(asked.feed)
        self.hubs = hubs
        self.client = client
        self.limits = Limits(self.settings.look_back, self.settings.slice_length, self.settings.record_limit)
        self._quarantined: dict[tuple[str, str], set[str]] = {}
        self.warnings: list[str] = []
        # From before hubs and source are asked: what comes meanwhile is a coming run's.
        self.state = store.load(self.feed.state_name)
        self._load_quarantine(store)
        clocks = agreed_clocks(client, self.settings.cluster_ids, wiring.now, self.state.last_run_ended())
        self.horizon = clocks.horizon(self.settings.settle)
        self.window = replace(asked.window, end=min(asked.window.end, self.horizon))
        if self.window.start >= self.window.end:
            raise ForwarderError(
                f"audit: the window begins at {format_time(self.window.start)}, and by the earlier of this "
                f"host's clock and the API's it is {format_time(self.horizon)}; choose an earlier --from"
            )
        start = wiring.settings.run.start_from
        self._start = start if isinstance(start, datetime) else self.horizon - start
        self.known = self._find_locations(wiring.settings)
        named = [name for name in asked.locations if name in self.known]
        self.locations: Sequence[str] = sorted(named if asked.locations else self._forwarded)
        # An event that says of itself nothing of its location is told under no name.
        self.tally = Tally(sorted({*self.locations, ""}), [hub.key for hub in hubs])
        self._on_the_wire = {wire_text(name): name for name in self.locations}
        self._holdings = {hub.key: _Holding() for hub in hubs}
        self._counts: dict[str, Counts] = {}
        self._repaired: dict[str, int] = {}
        self._flawed: set[tuple[str, str]] = set()
        self.saturated: dict[str, list[Slice]] = {}
        self.failures: dict[str, str] = {}

    def audits(self) -> Iterator[HubAudit]:
        """Give the result for each hub, as it is now."""
        return (self._audit(hub.key) for hub in self.hubs)

    def repaired(self, hub: str, location: str, sent: Collection[tuple[datetime, str]]) -> None:
        """Note that missing readings, told by time and id, have been sent."""
        self.tally.repaired(hub, location, sent)
        self._repaired[hub] = self._repaired.get(hub, 0) + len(sent)

    def is_compared(self, hub: str) -> bool:
        return self._holdings[hub].error is None

    def covers(self, location: str, window: Slice) -> bool:
        """Whether all of a window could be compared at a location."""
        inside = self.window.start <= window.start and window.end <= self.window.end
        full = self.saturated.get(location, ())
        cut = any(part.start < window.end and window.start < part.end for part in full)
        return inside and location not in self.failures and not cut

    def read_until(self, hub: str) -> datetime:
        """Give the time up to which a hub was read: what came later is not compared."""
        return self._holdings[hub].read_until or self.window.start - _BEFORE

    def ids_in(self, event: Received) -> list[str]:
        """Give the ids of the readings in an event of this feed and its locations."""
        location = self._on_the_wire.get(event.properties.get("location", ""))
        if location is None or not self.is_ours(event):
            return []
        try:
            return [reading.id for reading in self.feed.readings_in(location, event.body)]
        except BadResponse:
            return []

    def is_ours(self, event: Received) -> bool:
        """Whether an event is of this feed and this kind of forwarder."""
        named = event.properties.get("recType"), event.properties.get("source")
        return named == (self.feed.rec_type, SOURCE)

    # --- what is known before -----------------------------------------------------------------------

    def _find_locations(self, settings: Settings) -> set[str]:
        """Find what runs ask for, and what they did ask for in the window; give all names there are."""
        found = find_locations(self.client, self.state, settings, self.settings, self.horizon)
        self.warnings += (*found.warnings, *(text for _, text in found.failures))
        earlier = {
            name
            for name, location in self.state.locations.items()
            if any(known.delivered_until > self.window.start for known in location.checkpoints.values())
        }
        self._forwarded = ({*found.names} | earlier) - found.refused
        return ({*found.names, *self.state.locations}) - found.refused

    def _load_quarantine(self, store: MendableStore) -> None:
        try:
            for _, item in store.quarantined(self.feed.state_name, self.settings.name):
                for hub in item.hubs:
                    self._quarantined.setdefault((hub, item.location), set()).add(item.id)
        except StateDamaged as error:
            self.warnings.append(str(error))

    # --- what a hub holds ---------------------------------------------------------------------------

    def take(self, hub: str, event: Received) -> None:
        """Note the readings of an event of this feed; one of another sender or location is only counted."""
        holding = self._holdings[hub]
        location = event.properties.get("location")
        if location is not None and location not in self._on_the_wire:
            holding.foreign += 1
            return
        name = "" if location is None else self._on_the_wire[location]
        try:
            readings = self.feed.readings_in(name, event.body)
        except BadResponse:
            readings = []
        timed = [reading for reading in readings if reading.time is not None]
        order = _order(event)
        if not timed or len(timed) < len(readings):
            self.tally.hold(hub, self._unreadable(name, event, order))
        repeats = True
        if self.settings.late == "hour":
            # An hour that is sent whole again holds more than before: only the same once more is a repeat.
            ids = joint_id([reading.id for reading in timed])
            repeats = not self.tally.is_new(hub, blake2b(f"{name} {ids}".encode(), digest_size=12).digest())
        single = event.message_id if len(timed) == 1 else None
        for reading in timed:
            self._hold(hub, name, reading, event, order, single, repeats=repeats)

    def took_foreign(self, hub: str) -> None:
        self._holdings[hub].foreign += 1

    def _hold(
        self,
        hub: str,
        location: str,
        reading: Reading,
        event: Received,
        order: int,
        message_id: str | None,
        *,
        repeats: bool,
    ) -> None:
        if reading.time is None:
            return
        oldest = self._holdings[hub].oldest
        known = oldest.get(location)
        if known is None or (order, reading.time) < (known[0], known[2]):
            oldest[location] = order, event.partition, reading.time
        if reading.time not in self.window:
            return
        held = Delivered(
            location,
            slot_of(reading, self.feed.merged_by),
            reading.time,
            reading.id,
            written_time(reading),
            times=1,
            first=order,
            last=order,
            enqueued=event.enqueued,
            message_id=message_id if message_id != reading.id else None,
        )
        self.tally.hold(hub, held, repeats=repeats)

    def _unreadable(self, location: str, event: Received, order: int) -> Delivered:
        """Give an event that cannot be read as something that nobody published, at the time it came."""
        last = self.window.end - MILLISECOND
        came = min(max(event.enqueued or last, self.window.start), last)
        named = event.message_id or f"{event.partition}/{event.sequence}"
        slot = b"unreadable " + named.encode()
        return Delivered(location, slot, came, named, None, 1, order, order, event.enqueued, event.message_id)

    def was_read(self, hub: str, reader: HubReader, readable_from: datetime | None) -> None:
        holding = self._holdings[hub]
        holding.kept_since, holding.readable_from = dict(reader.kept_since), readable_from
        holding.read_until = reader.newest
        for partition, (came, end) in reader.withheld.items():
            holding.warnings.append(
                f"the hub says that its partition {partition} goes to event {end}, and hands out none after "
                f"{came}; what it does not hand out counts as missing"
            )

    def could_not_be_read(self, hub: str, error: HubError) -> None:
        self._holdings[hub].error = str(error)

    # --- what the source shows ----------------------------------------------------------------------

    def ask_source(self, workers: Executor, at_once: int, tell: Progress) -> None:
        """Fetch every location, a few slices at a time, oldest first.

        A location that fails is left out. Raises AuthError, with which nothing more can be asked.
        """
        start = self.window.start
        begin = Checkpoint(start, start)
        waiting = deque(_Asking(name, begin, start - OVERLAP, self.limits) for name in self.locations)
        running: dict[Future[Fetched], _Asking] = {}
        length = (self.window.end - start).total_seconds()
        done = 0.0
        while waiting or running:
            while waiting and len(running) < at_once:
                asking = waiting.popleft()
                window = asking.next_slice(self.window.end)
                if window is not None:
                    running[workers.submit(self._fetch, asking, window)] = asking
            tell(f"asking the source for {self.settings.name}", done, length * len(self.locations))
            ended, _ = wait(running, return_when=FIRST_COMPLETED) if running else (set(), None)
            for future in ended:
                asking = running.pop(future)
                try:
                    fetched = future.result()
                except AuthError:
                    raise
                except SourceError as error:
                    self.failures[asking.location] = str(error)
                    continue
                done += (fetched.window.end - fetched.window.start).total_seconds()
                self._publish(asking.location, fetched)
                waiting.append(asking.after(fetched))

    def _fetch(self, asking: _Asking, window: Slice) -> Fetched:
        return self.fetch(asking.location, window, asking.earliest)

    def fetch(self, location: str, window: Slice, earliest: datetime) -> Fetched:
        """Fetch a slice, or its beginning where it is too wide. Raises SourceError."""
        return fetch(self.feed, self.settings, self.client, location, window, earliest)

    def _publish(self, location: str, fetched: Fetched) -> None:
        for text in fetched.warnings:
            if text not in self.warnings:
                self.warnings.append(text)
        if fetched.saturated is not None:
            self.saturated.setdefault(location, []).append(fetched.saturated)
            moment = format_time(fetched.saturated.start)
            self.warnings.append(
                f"{location}: the view gives {fetched.lines} readings of {moment}, which is all that it can "
                "give; the others of that time cannot be compared"
            )
        for reading in fetched.readings:
            if reading.flaw is not None:
                if (location, reading.id) in self._flawed:
                    continue
                self._flawed.add((location, reading.id))
            time = reading.time or fetched.window.start
            if time in self.window:
                self.tally.publish(self._published(location, time, reading))

    def _published(self, location: str, time: datetime, reading: Reading) -> Published:
        held_as = reading.id if reading.flaw else self.feed.held_as(location, reading)
        slot = slot_of(reading, self.feed.merged_by)
        return Published(location, slot, time, reading.id, held_as, written_time(reading))

    # --- comparing ----------------------------------------------------------------------------------

    def compare(self) -> None:
        """Compare what is published with each hub that could be read."""
        for hub in self.hubs:
            if self.is_compared(hub.key):
                self._compare(hub.key)

    def _compare(self, hub: str) -> None:
        counts = self._counts[hub] = Counts()
        promises: dict[str, Promised] = {}
        published = (found for found in self.tally.published() if found.location not in self.failures)
        delivered = (found for found in self.tally.delivered(hub) if found.location not in self.failures)
        for finding in compare(published, delivered):
            if finding.heading == "missing":
                promise = promises.get(finding.location)
                if promise is None:
                    promise = promises[finding.location] = self._promised(finding.location, hub)
                finding = self._explained(finding, promise)
            elif finding.heading == "unknown" and self._is_saturated(finding):
                continue
            counts.add(finding)
            if finding.heading not in ("delivered", "superseded"):
                self.tally.find(hub, finding)
        counts.close()

    def _promised(self, location: str, hub: str) -> Promised:
        return promised(
            self.state.locations.get(location, LocationState()),
            hub,
            start=self._start,
            horizon=self.horizon,
            limits=self.limits,
            quarantined=self._quarantined.get((hub, location), frozenset()),
            expired=self._holdings[hub].expired(location),
        )

    def _explained(self, finding: Finding, promise: Promised) -> Finding:
        return promise.explained(finding, flawed=(finding.location, finding.id) in self._flawed)

    def _is_saturated(self, finding: Finding) -> bool:
        return any(finding.time in window for window in self.saturated.get(finding.location, ()))

    def _audit(self, hub: str) -> HubAudit:
        holding = self._holdings[hub]
        warnings = (*self.warnings, *holding.warnings)
        audit = HubAudit(
            self.settings.name,
            hub,
            self.window,
            locations=len(self.locations),
            failures=self.failures,
            warnings=warnings,
            error=holding.error,
        )
        counts = self._counts.get(hub)
        if counts is None:
            return audit
        told = counts.headings
        return replace(
            audit,
            published=told["delivered"] + told["missing"] + told["changed"],
            delivered=told["delivered"],
            missing=self.tally.findings(hub, "missing"),
            repeated=self.tally.findings(hub, "repeated"),
            changed=self.tally.findings(hub, "changed"),
            unknown=self.tally.findings(hub, "unknown"),
            wrong=counts.wrong,
            repaired=self._repaired.get(hub, 0),
            superseded=told["superseded"],
            foreign=holding.foreign,
            readable_from=holding.readable_from,
            hours=counts.hours,
            delays=counts.delays,
            max_delay_s=counts.max_delay_s,
            causes=dict(counts.causes),
        )


@dataclass(frozen=True, slots=True)
class _Asking:
    """How far a location is asked for; `had` is what came last, which tells how much comes next."""

    location: str
    had: Checkpoint
    earliest: datetime
    limits: Limits

    def next_slice(self, end: datetime) -> Slice | None:
        return plan_slice(Group(self.location, (), self.had, self.had.delivered_until), end, self.limits)

    def after(self, fetched: Fetched) -> _Asking:
        ids: dict[datetime, set[str]] = {}
        for reading in fetched.readings:
            ids.setdefault(hour_of(reading.time or fetched.window.start), set()).add(reading.id)
        known = {hour: frozenset(found) for hour, found in ids.items()}
        length = fetched.window.end - fetched.window.start
        limits = replace(self.limits, slice_length=length) if fetched.too_wide else self.limits
        full = fetched.saturated
        earliest = self.earliest if full is None else max(self.earliest, full.end)
        return _Asking(
            self.location, Checkpoint(fetched.window.end, fetched.window.start, known), earliest, limits
        )


def _read_hub(hub: HubSettings, feeds: Sequence[ComparedFeed], consumer_group: str, tell: Progress) -> None:
    """Read a hub once, and hand each event to the feed whose it is."""
    by_rec_type = {feed.feed.rec_type: feed for feed in feeds}

    def take(event: Received) -> None:
        rec_type = event.properties.get("recType")
        if event.properties.get("source") != SOURCE:
            for feed in feeds:
                feed.took_foreign(hub.key)
        elif rec_type in by_rec_type:
            by_rec_type[rec_type].take(hub.key, event)

    def progress(done: int, whole: int) -> None:
        tell(f"reading hub {hub.name}", done, whole)

    reader = HubReader(hub, consumer_group)
    try:
        reader.open(latest=False, since=min(feed.window.start for feed in feeds) - _BEFORE)
        readable_from = reader.read_held(take, progress)
    except HubError as error:
        for feed in feeds:
            feed.could_not_be_read(hub.key, error)
    else:
        for feed in feeds:
            feed.was_read(hub.key, reader, readable_from)


def _check_names(asked: Sequence[Asked], feeds: Sequence[ComparedFeed]) -> None:
    known = {name for feed in feeds for name in feed.known}
    for name in (name for one in asked for name in one.locations):
        if name not in known:
            raise UnknownLocation(name, known)


def _order(event: Received) -> int:
    """Give what sorts as events arrived: within a partition by number, over several by time."""
    ms = 0 if event.enqueued is None else int(event.enqueued.timestamp() * 1000)
    return ms * _NUMBERS + (event.sequence or 0) % _NUMBERS
