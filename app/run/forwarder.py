"""One pass over a feed: the only place that knows the order of things."""

from __future__ import annotations

import queue
import time
import traceback
import uuid
from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import Executor, ThreadPoolExecutor
from contextlib import nullcontext
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from functools import partial
from typing import Any, Protocol

from app.base.budget import Budget
from app.base.checkpoints import FeedState
from app.base.clocks import DATE_RESOLUTION, Clocks
from app.base.errors import (
    AuthError,
    ClocksDiffer,
    FeedOff,
    ForwarderError,
    HubUnreachable,
    Interrupted,
    LockHeld,
    SourceError,
    StateConflict,
    StateError,
    StateTooLarge,
)
from app.base.instants import MILLISECOND, floor_to, format_time, parse_time, utc_now
from app.base.log import get_log
from app.base.readings import DashboardAnswer, Ids, JsonObject, QuarantinedReading, Reading, Slice
from app.base.redaction import redact
from app.base.text import counted
from app.eventhub.deliveries import Delivered, Delivery, Dropped, LaneClosed, News, Opened, Rejected
from app.feeds.feed import Feed, load_feed, read_answer
from app.feeds.quarantine import quarantine_text
from app.microshare.client import MicroshareClient
from app.run.delivery import Refused, dispatch
from app.run.fetching import Fetched, fetch_slice
from app.run.ledger import Ledger
from app.run.locations import begin_checkpoints, find_locations
from app.run.observer import Observer
from app.run.outages import Outages, outages_in
from app.run.planning import Group, Limits, plan_slice
from app.run.report import Draft, Quarantined, Report, RunFailed, backlog
from app.run.schedule import Schedule, Task
from app.settings.schema import FeedSettings, HubSettings, Settings
from app.state.store import RunLock, StateStore

_MINUTE = timedelta(minutes=1)
# How long a run waits for its hubs to connect before it fetches for those that have.
_OPENING_GRACE_S = 5.0
_OPENING_SHARE = 0.2
# The share of the budget after which what is behind comes before what is near.
_NEAR_SHARE = 0.8
# How soon a run notices that its time is over or that it was told to stop.
_LONGEST_WAIT_S = 0.5
_SAVES_APART_S = 1.0
_SAVES_APART_TIMES = 10.0
# Runs no further apart than this tell what the feed does in such a time.
_FOLLOWS_CLOSELY = timedelta(hours=3)

Progress = Callable[[float, float], None]


class Lanes(Protocol):
    """What a run asks of its broadcaster; see `app.eventhub.broadcaster`."""

    def start(self) -> None: ...
    def has_room(self, hub: str) -> bool: ...
    def put(self, hub: str, delivery: Delivery) -> None: ...
    def stop_location(self, location: str) -> None: ...
    def close(self) -> None: ...


class Inbox(Protocol):
    """Where news waits for the run's own thread; `queue.SimpleQueue` unless a test counts its own time."""

    def put(self, item: Any) -> None: ...
    def empty(self) -> bool: ...
    def get(self, *, timeout: float | None = None) -> Any:
        """Give the next news. Raises queue.Empty where none came within `timeout` seconds."""


# Hubs, the run's time, where to tell news, and what gives the reason why nothing may be sent, or None.
MakeLanes = Callable[[Sequence[HubSettings], Budget, Callable[[News], None], Callable[[], str | None]], Lanes]


@dataclass(frozen=True, slots=True)
class Wiring:
    """The parts of a run, put together by `app.wiring`. A dry run sends nothing and saves nothing.

    A run that is not up to now, a backfill, ends at `until` and keeps its positions under a
    `state_name` of its own. `make_workers` gives what fetches, for a number of slices at a time,
    `make_inbox` the queue in which the run waits for its news. `export` is given the report of a
    run that is up to now, and the seconds that the run has left; it must not raise.
    """

    settings: Settings
    store: StateStore
    make_client: Callable[[Budget], MicroshareClient]
    make_lanes: MakeLanes
    dry_run: bool = False
    until: datetime | None = None
    state_name: str | None = None
    now: Callable[[], datetime] = utc_now
    monotonic: Callable[[], float] = time.monotonic
    make_workers: Callable[[int], Executor] = ThreadPoolExecutor
    make_inbox: Callable[[], Inbox] = queue.SimpleQueue
    export: Callable[[Report, float], None] | None = None


def run_forwarder(
    feed_name: str,
    wiring: Wiring,
    *,
    budget: Budget | None = None,
    progress: Progress | None = None,
) -> Report:
    """Run a feed once: all that the source shows and a hub has not had goes to that hub.

    1. Take the feed's run lock and load its state.
    2. Connect to all hubs, and log in.
    3. Find the horizon and the locations; write down first checkpoints before anything is sent.
    4. Fetch slices, and hand each to the lanes of its group; save as acknowledgements come in.
    5. Close the lanes, save, and report.

    `progress` is told how many seconds of the backlog are fetched, and of how many.
    Gives the report of a run in which nothing failed; raises RunFailed, which carries the report,
    after everything else was tried. Raises FeedOff and LockHeld before anything is asked or sent.
    """
    settings = wiring.settings.feeds.get(feed_name)
    if settings is None or not settings.view_id:
        raise FeedOff([f"feeds.{feed_name}: the feed is off; set its view id to run it"])
    feed = load_feed(feed_name)
    budget = budget or Budget(wiring.settings.run.budget)
    run = _Run(feed, settings, wiring, budget, progress)
    try:
        lock = nullcontext(None) if wiring.dry_run else wiring.store.lock(run.state_name, owner=run.id)
        with lock as held:
            report = run.execute(held)
    except LockHeld:
        raise
    except StateError as error:
        report = run.refuse(error)
    if wiring.export is not None and wiring.until is None:
        wiring.export(report, budget.remaining())
    if not report.ok:
        raise RunFailed(report)
    return report


@dataclass(frozen=True, slots=True)
class _FetchEnded:
    group: Group
    result: Fetched | Exception


class _Run:
    """A run under way. Its own thread decides and changes everything; others only send it news."""

    def __init__(
        self, feed: Feed, settings: FeedSettings, wiring: Wiring, budget: Budget, progress: Progress | None
    ) -> None:
        self.id = uuid.uuid4().hex[:12]
        self._feed = feed
        self._settings = settings
        self._wiring = wiring
        self.state_name = wiring.state_name or feed.state_name
        self._budget = budget
        self._progress = progress
        self._log = get_log(run=self.id, feed=settings.name)
        self._limits = Limits(settings.look_back, settings.slice_length, settings.record_limit)
        self._draft = Draft(wiring.settings.hubs, wiring.settings.warnings)
        self._client = wiring.make_client(budget)
        self._inbox = wiring.make_inbox()
        self._ledger = Ledger(FeedState(), self._limits)
        self._observer = Observer(self._ledger, self._draft, settings, is_live=False)
        # From when on the state may be changed: where it was loaded, and it is known what time it is.
        self._may_change_state = False
        self._clocks_differ = False
        self._lanes: Lanes | None = None
        self._schedule = Schedule()
        self._backlog_before_s = 0.0
        self._started = wiring.now()
        self._horizon = self._started
        self._names: list[str] = []
        self._outages = Outages()
        self._hubs_failed: set[str] = set()
        self._refusals: set[tuple[str, str]] = set()
        self._locations_failed: set[str] = set()
        self._locations_answered: set[str] = set()
        # What may be done still: hubs that are connected, with the largest message each takes.
        self._connecting = {hub.key for hub in wiring.settings.hubs if hub.enabled}
        self._connected: dict[str, int] = {}
        self._stopped: set[tuple[str, str]] = set()
        self._stopped_locations: set[str] = set()
        self._opens_no_more = False
        self._unsaved: str | None = None
        self._lock: RunLock | None = None
        # What is under way.
        self._fetching: set[tuple[str, str]] = set()
        self._fetches = 0
        self._cut_short = False
        self._undelivered: Counter[str] = Counter()
        self._full_until: dict[str, datetime] = {}
        self._answered_lengths: dict[str, timedelta] = {}
        self._monotonic = wiring.monotonic
        self._save_due = self._monotonic()
        self._fetched_s = self._backlog_s = 0.0
        self._apart_s: float | None = None

    def execute(self, lock: RunLock | None) -> Report:
        """Do steps 2 to 5; whatever fails is in the report."""
        self._log.info("run.started")
        try:
            self._prepare(lock)
            self._forward()
        except ForwarderError as error:
            self._clocks_differ = isinstance(error, ClocksDiffer)
            self._failed(error)
        finally:
            self._finish()
        return self._tell()

    def refuse(self, error: ForwarderError) -> Report:
        """Give the report of a run that could not begin."""
        self._draft.fail(None, None, str(error))
        self._client.close()
        return self._tell()

    def _failed(self, error: ForwarderError) -> None:
        if isinstance(error, Interrupted) and self._budget.left() <= 0:
            self._draft.warn(str(error))
        else:
            self._draft.fail(None, None, str(error))

    def _tell(self) -> Report:
        report = self._kept(self._report())
        for key, hub in report.hubs.items():
            if not hub.paused:
                took = {"events": hub.events, "readings": hub.readings, "behind_s": hub.behind_s}
                position = hub.delivered_until and format_time(hub.delivered_until)
                self._log.info("hub.delivered", hub=key, **took, position=position)
        said = {name: value for name, value in report.as_json().items() if name not in ("run", "feed")}
        (self._log.info if report.ok else self._log.error)("run.finished", **said)
        return report

    def _kept(self, report: Report) -> Report:
        """Add the report to the feed's history, which a backfill is no part of; where that fails, say so.

        A run that does not know what time it is changes nothing: its entry would have a wrong time.
        """
        if self._wiring.state_name is not None or self._clocks_differ:
            return report
        try:
            self._wiring.store.keep_report(self.state_name, report.as_json())
        except StateError as error:
            text = redact(f"the report of this run could not be kept: {error}")
            return replace(report, warnings=(*report.warnings, text))
        return report

    # --- before anything is sent --------------------------------------------------------------------

    def _prepare(self, lock: RunLock | None) -> None:
        state = self._wiring.store.load(self.state_name)
        self._outages = outages_in(state)
        self._open_lanes(lock)
        self._client.login()
        self._client.learn_time(self._settings.cluster_ids)
        self._find_horizon(state)
        self._may_change_state = True
        self._ledger = Ledger(state, self._limits)
        is_live = self._wiring.until is None
        self._observer = Observer(self._ledger, self._draft, self._settings, is_live=is_live)
        self._apart_s = self._seconds_since(state.last_run)
        self._names = find_locations(
            self._client, self._ledger, self._wiring.settings, self._settings, self._horizon, self._draft
        )
        if not self._names:
            self._draft.warn("there is no location to ask for; see `locations`")
        place = self._wiring.store.place
        begin_checkpoints(self._ledger, self._wiring.settings, self._names, self._horizon, place, self._draft)
        self._look_at_clocks()
        self._backlog_before_s = self._backlog()
        # Also where nothing changed: a place that cannot be written is found before anything is sent.
        self._save()
        self._await_lanes()

    def _seconds_since(self, last_run: JsonObject | None) -> float | None:
        """Give how long ago the run before began; None where this one does not follow closely on it."""
        if last_run is None or "started" not in last_run:
            return None
        apart = self._started - parse_time(last_run["started"])
        return apart.total_seconds() if _MINUTE <= apart <= _FOLLOWS_CLOSELY else None

    def _open_lanes(self, lock: RunLock | None) -> None:
        self._lock = lock
        hubs = [hub for hub in self._wiring.settings.hubs if hub.enabled]
        self._lanes = self._wiring.make_lanes(hubs, self._budget, self._inbox.put, self._why_not_send)
        self._lanes.start()

    def _why_not_send(self) -> str | None:
        """Give the reason why nothing may be sent, which is no hub's fault; None where all may."""
        lost = self._lock is not None and not self._lock.held()
        return "the run lock was lost" if lost else self._unsaved

    def _find_horizon(self, state: FeedState) -> None:
        """Find what no slice ends after. Raises ClocksDiffer where the clocks are too far apart for one."""
        clocks = self._clocks()
        clocks.require_agreement(state.last_run_ended())
        self._horizon = clocks.horizon(self._settings.settle)
        if self._wiring.until is not None:
            self._horizon = min(self._horizon, self._wiring.until)
        self._warn_of_skew(clocks)

    def _clocks(self) -> Clocks:
        return Clocks(self._wiring.now(), self._client.api_time())

    def _warn_of_skew(self, clocks: Clocks) -> None:
        warning = clocks.warning()
        if warning is not None:
            self._draft.warn(warning)

    def _look_at_clocks(self) -> None:
        """Open no more slices after two answers in a row whose times had to be left out."""
        for found in self._client.left_out_times():
            if found.in_a_row == 2:
                self._opens_no_more = True
                self._draft.fail(None, None, f"in mid-run, {found.clocks.why_apart()}")

    def _tell_of_left_out_times(self) -> None:
        left_out = self._client.left_out_times()
        if left_out:
            answers = counted(len(left_out), "answer")
            self._draft.warn(
                f"{left_out[0].clocks.said()}, in {answers} of this run; what it says of the time was left "
                "out, what it holds was not; if it comes again, see what answers in the API's place (a "
                "proxy, a cache)"
            )

    def _await_lanes(self) -> None:
        """Wait until every hub is connected or known to fail, so that they share what is fetched."""
        until = self._monotonic() + min(_OPENING_GRACE_S, self._budget.left() * _OPENING_SHARE)
        while self._connecting and (left := until - self._monotonic()) > 0:
            try:
                self._handle(self._inbox.get(timeout=left))
            except queue.Empty:
                return

    # --- fetching and delivering --------------------------------------------------------------------

    def _forward(self) -> None:
        workers = self._wiring.make_workers(self._wiring.settings.run.concurrency)
        try:
            for name in self._names:
                self._backlog_s += self._consider(name)
            while self._goes_on(workers):
                self._handle_next()
                self._save_if_due()
            self._tell_of_silence()
            self._compare()
        finally:
            workers.shutdown(wait=False, cancel_futures=True)

    def _goes_on(self, workers: Executor) -> bool:
        """Open what can be opened. False where nothing is under way then, or the time is over."""
        self._open_slices(workers)
        if self._budget.remaining() <= 0:
            self._draft.warn("the run's hard end came before its lanes were empty; the next run goes on")
            return False
        # Once told to stop, lanes take no more batches: what is still being fetched is for the next run.
        under_way = (self._fetches > 0 and not self._budget.stopped) or self._undelivered.total() > 0
        return under_way or (bool(self._connecting) and not self._is_closing())

    def _is_closing(self) -> bool:
        return self._opens_no_more or self._budget.left() <= 0

    def _consider(self, name: str) -> float:
        """Offer the next slice of every hub of a location that has none under way.

        Gives how many seconds the location is behind the horizon, the part read again included.
        """
        if name in self._stopped_locations:
            return 0.0
        known = self._ledger.location(name).checkpoints
        free = [hub for hub in self._connected if hub in known and self._is_free(name, hub)]
        behind = [timedelta(0)]
        for group in self._ledger.groups(name, free):
            window = plan_slice(group, self._horizon, self._limits_of(name))
            if window is not None:
                failing = name in self._outages.locations and name not in self._locations_answered
                near = window.end >= self._horizon
                self._schedule.offer(group, window, near=near, failed_before=failing)
                behind.append(self._horizon - group.cursor)
        return max(behind).total_seconds()

    def _limits_of(self, name: str) -> Limits:
        """Give the feed's limits; slices no longer than the source could answer for in this run."""
        answered = self._answered_lengths.get(name, self._limits.slice_length)
        return replace(self._limits, slice_length=min(answered, self._limits.slice_length))

    def _is_free(self, name: str, hub: str) -> bool:
        return (name, hub) not in self._fetching and self._is_usable(name, hub)

    def _is_usable(self, name: str, hub: str) -> bool:
        stopped = name in self._stopped_locations or (name, hub) in self._stopped
        return hub in self._connected and not stopped

    def _open_slices(self, workers: Executor) -> None:
        while not self._is_closing() and self._fetches < self._wiring.settings.run.concurrency:
            behind_first = self._budget.used() >= _NEAR_SHARE
            task = self._schedule.take(behind_first=behind_first, usable=self._is_usable)
            if task is None:
                return
            with_room = tuple(hub for hub in task.group.hubs if self._has_room(hub))
            if with_room:
                self._open_slice(workers, replace(task, group=replace(task.group, hubs=with_room)))
            else:
                self._schedule.wait_for_room(task)

    def _open_slice(self, workers: Executor, task: Task) -> None:
        self._fetching |= {(task.group.location, hub) for hub in task.group.hubs}
        self._fetches += 1
        workers.submit(self._fetch, task, self._earliest_for(task), self._comes_back(task))

    def _earliest_for(self, task: Task) -> datetime:
        """Give what no question goes before: `known_from`, or a full millisecond that lies before the slice.

        One that lies after its beginning is another group's: this one has yet to get there.
        """
        known_from = task.group.checkpoint.known_from
        full_until = self._full_until.get(task.group.location, known_from)
        return max(full_until, known_from) if full_until <= task.window.start else known_from

    def _comes_back(self, task: Task) -> Ids:
        """Give the ids that the source must show again, of hours that hold their own readings only."""
        seals = [self._ledger.location(task.group.location).seals.get(hub, {}) for hub in task.group.hubs]
        return {
            hour: ids
            for hour, ids in task.group.checkpoint.ids.items()
            if hour >= task.window.start and not any(hour in known for known in seals)
        }

    def _has_room(self, hub: str) -> bool:
        return self._lanes is not None and self._lanes.has_room(hub)

    def _fetch(self, task: Task, earliest: datetime, had: Ids) -> None:
        """Fetch one slice, in a worker's thread; whatever comes of it goes to the inbox."""
        location = task.group.location
        try:
            result: Fetched | Exception = fetch_slice(
                partial(self._ask, location),
                partial(self._read, location),
                task.window,
                earliest,
                self._settings.record_limit,
                had,
            )
        except Exception as error:  # noqa: BLE001 - one location's trouble must not stop the others
            result = error
        self._inbox.put(_FetchEnded(task.group, result))

    def _ask(self, location: str, window: Slice) -> DashboardAnswer:
        answer: DashboardAnswer = self._feed.ask(
            self._client.query_dashboard, self._settings, location, window
        )
        return answer

    def _read(self, location: str, answer: DashboardAnswer) -> list[Reading]:
        return read_answer(self._feed.rec_type, location, answer)

    def _handle_next(self) -> None:
        wait_s = min(self._budget.remaining(), _LONGEST_WAIT_S)
        if self._ledger.changed and self._unsaved is None:
            wait_s = min(wait_s, max(0.0, self._save_due - self._monotonic()))
        try:
            self._handle(self._inbox.get(timeout=wait_s))
        except queue.Empty:
            return

    def _handle(self, news: News | _FetchEnded) -> None:
        match news:
            case _FetchEnded(group, result):
                self._look_at_clocks()
                self._fetches -= 1
                self._fetching -= {(group.location, hub) for hub in group.hubs}
                if isinstance(result, Exception):
                    self._fetch_failed(group, result)
                else:
                    self._take_in(group, result)
            case Opened(hub, largest):
                self._connecting.discard(hub)
                self._connected[hub] = largest
                for name in self._names:
                    self._consider(name)
            case Delivered(hub, delivery, maybe_twice):
                self._delivered(hub, delivery, maybe_twice=maybe_twice)
            case Dropped(hub, _):
                self._settled(hub)
            case Rejected(hub, delivery, error):
                self._settled(hub)
                self._stop(delivery.location, hub, str(error))
            case LaneClosed(hub, error):
                self._lane_closed(hub, error)

    def _settled(self, hub: str) -> None:
        self._undelivered[hub] -= 1
        self._schedule.room_came()

    def _take_in(self, group: Group, fetched: Fetched) -> None:
        try:
            self._fetched(group, fetched)
        except Exception as error:  # noqa: BLE001 - one location's trouble must not stop the others
            self._fetch_failed(group, error)
        else:
            self._consider(group.location)

    def _fetch_failed(self, group: Group, error: Exception) -> None:
        """Leave a group alone for this run; hubs that are elsewhere in the location's time go on."""
        name = group.location
        if isinstance(error, Interrupted) and self._budget.left() <= 0:
            self._cut_short = True
            return
        if isinstance(error, AuthError | Interrupted):
            self._opens_no_more = True
        if not isinstance(error, ForwarderError):
            trace = "".join(traceback.format_exception(error))[-4000:]
            self._log.error("error.unexpected", location=name, traceback=trace)
            error = ForwarderError(f"location {name}: unexpected {type(error).__name__}: {error}")
        if name not in self._outages.locations | self._locations_failed:
            self._log.warning("location.failing", location=name, error=str(error))
        self._locations_failed.add(name)
        self._stopped |= {(name, hub) for hub in group.hubs}
        self._ledger.query_failed(name, str(error), self._wiring.now())
        self._draft.fail(name, None, str(error))

    def _fetched(self, group: Group, fetched: Fetched) -> None:
        """Hand what was fetched to the lanes of its group."""
        name = group.location
        self._lower_horizon()
        self._note_fetched(name, fetched)
        self._observer.fetched(group, fetched, self._horizon)
        limits = {hub: self._connected[hub] for hub in group.hubs if self._is_usable(name, hub)}
        if not limits or self._lanes is None:
            return
        done_until = min(fetched.window.end, self._horizon)
        at_most = self._ledger.newest_at_most(name, limits)
        todo = dispatch(self._feed, self._settings, group, fetched, done_until, limits, at_most)
        if not all(self._quarantine(name, refused) for refused in todo.refused):
            return
        for hub, deliveries in todo.deliveries.items():
            self._ledger.planned(name, hub, todo.ids, fetched.window, done_until, todo.newest)
            for delivery in deliveries:
                self._undelivered[hub] += 1
                self._lanes.put(hub, delivery)

    def _backlog(self) -> float:
        locations = [self._ledger.location(name) for name in self._names]
        return backlog(locations, self._wiring.settings.hubs, self._horizon)

    def _lower_horizon(self) -> None:
        """Follow an API clock that turns out to be behind the one the horizon was taken from."""
        api = self._client.api_time()
        if api is not None and api - self._settings.settle < self._horizon - DATE_RESOLUTION:
            self._horizon = floor_to(api - self._settings.settle, MILLISECOND)
            self._warn_of_skew(self._clocks())

    def _note_fetched(self, name: str, fetched: Fetched) -> None:
        self._draft.slices += 1
        self._fetched_s += (fetched.window.end - fetched.window.start).total_seconds()
        if self._progress is not None:
            self._progress(min(self._fetched_s, self._backlog_s), self._backlog_s)
        self._locations_answered.add(name)
        if fetched.too_wide:
            self._answered_lengths[name] = max(fetched.window.end - fetched.window.start, _MINUTE)
        if fetched.saturated is not None:
            self._full_until[name] = fetched.saturated.end

    def _quarantine(self, name: str, refused: Refused) -> bool:
        """Set readings aside. False where that failed: no position may move past them then."""
        for reading in refused.readings:
            reason = refused.reason or "it cannot be forwarded"
            item = QuarantinedReading(
                self._settings.name,
                name,
                refused.hubs,
                reading.id,
                reason,
                self._wiring.now(),
                quarantine_text(reading),
            )
            try:
                place = self._wiring.store.quarantine(self._feed.state_name, item)
            except StateError as error:
                for hub in refused.hubs:
                    self._stop(name, hub, f"a reading could not be quarantined: {error}")
                return False
            self._draft.quarantined(Quarantined(name, refused.hubs, reading.id, reason, place))
        return True

    def _delivered(self, hub: str, delivery: Delivery, *, maybe_twice: bool) -> None:
        self._settled(hub)
        self._ledger.delivered(hub, delivery, self._wiring.now())
        events = delivery.batch.events if delivery.batch is not None else ()
        readings = sum(len(event.readings) for event in events)
        size = sum(len(event.body) for event in events)
        self._draft.delivered(
            hub,
            events=len(events),
            readings=readings,
            duplicates=delivery.duplicates,
            maybe_twice=readings if maybe_twice else 0,
            size=size,
        )

    def _stop(self, name: str, hub: str, error: str) -> None:
        """Leave one hub alone for one location; its position stays where acknowledgements brought it."""
        self._stopped.add((name, hub))
        if (name, hub) not in self._outages.refusals | self._refusals:
            self._log.warning("location.failing", location=name, hub=hub, error=error)
        self._refusals.add((name, hub))
        self._ledger.hub_failed(name, hub, error, self._wiring.now())
        self._draft.fail(name, hub, error)

    def _lane_closed(self, hub: str, error: ForwarderError | None) -> None:
        """Leave a hub alone for the rest of the run."""
        self._connecting.discard(hub)
        self._connected.pop(hub, None)
        self._undelivered[hub] = 0
        self._schedule.room_came()
        if error is None:
            return
        self._draft.hub_failed(hub, str(error))
        if self._why_not_send() is not None:
            return
        if hub not in self._outages.hubs:
            self._log.warning("hub.failing", hub=hub, error=str(error))
        self._hubs_failed.add(hub)
        for name in self._names:
            self._ledger.hub_failed(name, hub, str(error), self._wiring.now())

    def _compare(self) -> None:
        """Ask again, in spare time, for hours that have left the look-back, each location once a day."""
        if self._wiring.dry_run or self._wiring.until is not None:
            return
        hubs = [hub.key for hub in self._wiring.settings.hubs]
        for name in self._observer.due(self._names, hubs, self._horizon):
            self._look_at_clocks()
            if self._opens_no_more or self._unsaved or self._budget.used() >= _NEAR_SHARE:
                return
            if name in self._locations_failed | self._stopped_locations:
                continue
            try:
                self._observer.compare(name, hubs, partial(self._shown, name), self._horizon)
            except Interrupted:
                return
            except SourceError as error:
                self._draft.warn(f"{name}: not compared with the source, the next run tries again: {error}")
            self._save_if_due()

    def _shown(self, name: str, window: Slice) -> list[Reading]:
        """Give all that the source shows of a window now."""
        readings: list[Reading] = []
        while window.start < window.end:
            ask, read = partial(self._ask, name), partial(self._read, name)
            fetched = fetch_slice(ask, read, window, window.start, self._settings.record_limit)
            readings += fetched.readings
            window = Slice(fetched.window.end, window.end)
        return readings

    # --- state --------------------------------------------------------------------------------------

    def _save_if_due(self) -> None:
        if self._ledger.changed and self._monotonic() >= self._save_due and self._unsaved is None:
            self._save()

    def _save(self) -> None:
        """Save what changed. After a failure nothing more is sent in this run."""
        changed = frozenset(self._ledger.changed)
        began = self._monotonic()
        try:
            self._wiring.store.save(self.state_name, self._ledger.state(), changed)
        except StateError as error:
            # What names no location is of the whole feed: nothing was saved, or what was is no whole.
            if not isinstance(error, StateConflict | StateTooLarge) or not error.locations:
                self._unsaved = str(error)
                self._opens_no_more = True
                self._draft.fail(None, None, str(error))
                return
            self._lose_locations(error)
        self._ledger.changed -= changed
        self._unsaved = None
        took = self._monotonic() - began
        self._save_due = self._monotonic() + max(_SAVES_APART_S, took * _SAVES_APART_TIMES)

    def _lose_locations(self, error: StateConflict | StateTooLarge) -> None:
        """Stop the locations that could not be saved; whoever has them goes on from what it knows."""
        for name in error.locations:
            self._stopped_locations.add(name)
            self._draft.fail(name, None, str(error))
            if self._lanes is not None:
                self._lanes.stop_location(name)

    def _finish(self) -> None:
        """Close the lanes, take in what they still acknowledged, and save."""
        if self._lanes is not None:
            self._lanes.close()
        self._client.close()
        while not self._inbox.empty():
            news = self._inbox.get()
            if not isinstance(news, _FetchEnded):
                self._handle(news)
        if self._may_change_state:
            self._look_at_clocks()
            self._tell_of_left_out_times()
            self._tell_what_is_over()
            self._observer.settle(self._locations_answered - self._locations_failed, self._horizon)
            self._ledger.update(last_run=self._last_run())
            self._save()

    def _tell_what_is_over(self) -> None:
        if self._wiring.dry_run:
            return
        for hub in sorted(self._outages.hubs & self._connected.keys()):
            self._ledger.hub_recovered(hub, but={name for name, refuses in self._refusals if refuses == hub})
            self._log.info("hub.recovered", hub=hub)
        for name in sorted(self._outages.locations & self._locations_answered - self._locations_failed):
            self._ledger.query_recovered(name)
            self._log.info("location.recovered", location=name)
        for name, hub in sorted(self._outages.refusals):
            if hub not in self._hubs_failed and not self._ledger.is_failing(name, hub):
                self._log.info("location.recovered", location=name, hub=hub)

    def _tell_of_silence(self) -> None:
        """Name the hubs, or the source, that never answered in a run that had its whole time."""
        if self._budget.stopped or self._opens_no_more:
            return
        waited_s = self._budget.elapsed()
        for hub in sorted(self._connecting):
            self._lane_closed(
                hub,
                HubUnreachable(
                    f"hub {hub}: no connection within the run's {waited_s:.0f} s; check the network, and "
                    f"EVENT_HUB_TRANSPORT where only port 443 is open"
                ),
            )
        waits_still = self._cut_short or self._fetches > 0
        if waits_still and self._draft.slices == 0 and not self._draft.failed:
            text = f"microshare: no query was answered within the run's {waited_s:.0f} s; check the API"
            self._draft.fail(None, None, text)

    def _last_run(self) -> dict[str, object]:
        ended = self._wiring.now()
        return {
            "run": self.id,
            "started": format_time(self._started),
            "ended": format_time(ended),
            "ok": not self._draft.failed,
            "error": self._draft.first_error,
            "failing_since": self._failing_since and format_time(self._failing_since),
            "hubs_failing": sorted(self._hubs_failed | self._outages.hubs - self._connected.keys()),
        }

    @property
    def _failing_since(self) -> datetime | None:
        return (self._outages.since or self._started) if self._draft.failed else None

    def _report(self) -> Report:
        return self._draft.finish(
            run=self.id,
            feed=self._settings.name,
            started=self._started,
            failing_since=self._failing_since,
            until=self._horizon if self._names else None,
            took_s=self._budget.elapsed(),
            api_calls=self._client.api_calls,
            locations={name: self._ledger.location(name) for name in self._names},
            backlog_before_s=self._backlog_before_s,
            apart_s=self._apart_s,
            dry_run=self._wiring.dry_run,
        )
