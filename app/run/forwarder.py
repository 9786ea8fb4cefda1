"""One pass over a feed: the only place that knows the order of things."""

from __future__ import annotations

import queue
import uuid
from collections import Counter
from contextlib import nullcontext
from dataclasses import replace
from datetime import datetime, timedelta
from functools import partial

from app.base.budget import Budget
from app.base.checkpoints import FeedState
from app.base.errors import (
    AuthError,
    ClocksDiffer,
    FeedOff,
    ForwarderError,
    HubUnreachable,
    Interrupted,
    LockHeld,
    SourceError,
    StateError,
)
from app.base.instants import format_time, parse_time
from app.base.log import get_log
from app.base.readings import JsonObject, QuarantinedReading
from app.base.redaction import redact
from app.eventhub.deliveries import Delivered, Delivery, Dropped, LaneClosed, News, Opened, Rejected
from app.feeds.feed import Feed, load_feed
from app.feeds.quarantine import quarantine_text
from app.run.availability import Availability
from app.run.delivery import Refused, dispatch
from app.run.fetching import Fetched
from app.run.horizon import Horizon
from app.run.ledger import Ledger
from app.run.locations import begin_checkpoints, find_locations
from app.run.observer import Observer
from app.run.outages import outages_in
from app.run.planning import Group, Limits, plan_slice
from app.run.ports import Lanes, Progress, Wiring
from app.run.report import Draft, Quarantined, Report, RunFailed, backlog
from app.run.saving import Saving
from app.run.schedule import Schedule
from app.run.source import FetchEnded, Source
from app.settings.schema import FeedSettings
from app.state.store import RunLock

_MINUTE = timedelta(minutes=1)
# How long a run waits for its hubs to connect before it fetches for those that have, and at most which
# share of its time: a hub that never connects must not keep a short run from its work.
_OPENING_GRACE_S = 5.0
_OPENING_SHARE = 0.2
# The share of the budget after which what is behind comes before what is near.
_NEAR_SHARE = 0.8
# How soon a run notices that its time is over or that it was told to stop.
_LONGEST_WAIT_S = 0.5
# Runs no further apart than this tell what the feed does in such a time.
_FOLLOWS_CLOSELY = timedelta(hours=3)


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
    telling = _Telling(wiring, settings, wiring.state_name or feed.state_name)
    try:
        lock = nullcontext(None) if wiring.dry_run else wiring.store.lock(telling.state_name, telling.id)
        with lock as held:
            telling.log.info("run.started")
            state = wiring.store.load(telling.state_name)
            report = _Run(feed, settings, wiring, budget, progress, telling, state, held).execute()
    except LockHeld:
        raise
    except StateError as error:
        report = telling.could_not_begin(error, budget.elapsed())
    if wiring.export is not None and wiring.until is None:
        wiring.export(report, budget.remaining())
    if not report.ok:
        raise RunFailed(report)
    return report


class _Telling:
    """Who a run is, and how what became of it is told: in its log, and in the feed's history."""

    def __init__(self, wiring: Wiring, settings: FeedSettings, state_name: str) -> None:
        self.id = uuid.uuid4().hex[:12]
        self.state_name = state_name
        self.log = get_log(run=self.id, feed=settings.name)
        self.draft = Draft(wiring.settings.hubs, wiring.settings.warnings)
        self.started = wiring.now()
        self._wiring = wiring
        self._feed = settings.name

    def could_not_begin(self, error: StateError, took_s: float) -> Report:
        """Tell of a run whose state cannot be used."""
        self.draft.fail(None, None, str(error))
        return self.tell(
            self.draft.finish(
                run=self.id,
                feed=self._feed,
                started=self.started,
                failing_since=self.started,
                until=None,
                took_s=took_s,
                api_calls=0,
                locations={},
                backlog_before_s=0.0,
                apart_s=None,
                dry_run=self._wiring.dry_run,
            )
        )

    def tell(self, report: Report, *, knows_the_time: bool = True) -> Report:
        """Log what became of the run, and keep it in the history, which a backfill is no part of.

        A run that does not know what time it is changes nothing: its entry would have a wrong time.
        """
        if self._wiring.state_name is None and knows_the_time:
            report = self._kept(report)
        for key, hub in report.hubs.items():
            if not hub.paused:
                took = {"events": hub.events, "readings": hub.readings, "behind_s": hub.behind_s}
                position = hub.delivered_until and format_time(hub.delivered_until)
                self.log.info("hub.delivered", hub=key, **took, position=position)
        said = {name: value for name, value in report.as_json().items() if name not in ("run", "feed")}
        (self.log.info if report.ok else self.log.error)("run.finished", **said)
        return report

    def _kept(self, report: Report) -> Report:
        try:
            self._wiring.store.keep_report(self.state_name, report.as_json())
        except StateError as error:
            text = redact(f"the report of this run could not be kept: {error}")
            return replace(report, warnings=(*report.warnings, text))
        return report


class _Run:
    """A run under way. Its own thread decides and changes everything; others only send it news."""

    def __init__(
        self,
        feed: Feed,
        settings: FeedSettings,
        wiring: Wiring,
        budget: Budget,
        progress: Progress | None,
        telling: _Telling,
        state: FeedState,
        lock: RunLock | None,
    ) -> None:
        self._feed = feed
        self._settings = settings
        self._wiring = wiring
        self._budget = budget
        self._progress = progress
        self._telling = telling
        self._state = state
        self._draft = draft = telling.draft
        self._limits = Limits(settings.look_back, settings.slice_length, settings.record_limit)
        self._client = wiring.make_client(budget)
        self._inbox = wiring.make_inbox()
        self._ledger = Ledger(state, self._limits)
        self._observer = Observer(self._ledger, draft, settings, is_live=wiring.until is None)
        self._horizon = Horizon(self._client, wiring.now, settings.settle, wiring.until, draft)
        hubs = [hub for hub in wiring.settings.hubs if hub.enabled]
        self._available = Availability(
            [hub.key for hub in hubs], outages_in(state), self._ledger, draft, telling.log, wiring.now
        )
        self._saving = Saving(
            wiring.store, telling.state_name, lock, draft, wiring.monotonic, self._lose_location
        )
        self._lanes: Lanes = wiring.make_lanes(hubs, budget, self._inbox.put, self._saving.why_not_send)
        workers = wiring.make_workers(wiring.settings.run.concurrency)
        self._source = Source(feed, settings, self._client, workers, self._inbox.put)
        self._schedule = Schedule()
        self._names: list[str] = []
        # From when on the state may be changed: once it is known what time it is.
        self._knows_the_time = False
        self._opens_no_more = False
        self._cut_short = False
        self._undelivered: Counter[str] = Counter()
        self._fetched_s = self._backlog_s = self._backlog_before_s = 0.0
        self._apart_s = self._seconds_since(state.last_run)

    def execute(self) -> Report:
        """Do steps 2 to 5; whatever fails is in the report."""
        clocks_differ = False
        try:
            self._prepare()
            self._forward()
        except ForwarderError as error:
            clocks_differ = isinstance(error, ClocksDiffer)
            self._failed(error)
        finally:
            self._finish()
        return self._telling.tell(self._report(), knows_the_time=not clocks_differ)

    def _failed(self, error: ForwarderError) -> None:
        if isinstance(error, Interrupted) and self._budget.left() <= 0:
            self._draft.warn(str(error))
        else:
            self._draft.fail(None, None, str(error))

    # --- before anything is sent --------------------------------------------------------------------

    def _prepare(self) -> None:
        wiring = self._wiring
        self._lanes.start()
        self._client.login()
        self._horizon.find(self._settings.cluster_ids, self._state.last_run_ended())
        self._knows_the_time = True
        found = find_locations(self._client, self._state, wiring.settings, self._settings, self._horizon.at)
        found.noted(self._ledger, self._draft)
        self._names = list(found.names)
        if not self._names:
            self._draft.warn("there is no location to ask for; see `locations`")
        place = wiring.store.place
        begin_checkpoints(self._ledger, wiring.settings, self._names, self._horizon.at, place, self._draft)
        self._look_at_clocks()
        self._backlog_before_s = self._backlog()
        # Also where nothing changed: a place that cannot be written is found before anything is sent.
        self._saving.save(self._ledger)
        self._await_lanes()

    def _seconds_since(self, last_run: JsonObject | None) -> float | None:
        """Give how long ago the run before began; None where this one does not follow closely on it."""
        if last_run is None or "started" not in last_run:
            return None
        apart = self._telling.started - parse_time(last_run["started"])
        return apart.total_seconds() if _MINUTE <= apart <= _FOLLOWS_CLOSELY else None

    def _await_lanes(self) -> None:
        """Wait until every hub is connected or known to fail, so that they share what is fetched."""
        monotonic = self._wiring.monotonic
        until = monotonic() + min(_OPENING_GRACE_S, self._budget.left() * _OPENING_SHARE)
        while self._available.connecting and (left := until - monotonic()) > 0:
            try:
                self._handle(self._inbox.get(timeout=left))
            except queue.Empty:
                return

    # --- fetching and delivering --------------------------------------------------------------------

    def _forward(self) -> None:
        for name in self._names:
            self._backlog_s += self._consider(name)
        while self._goes_on():
            self._handle_next()
            self._saving.save_if_due(self._ledger)
        self._tell_of_silence()
        self._compare()

    def _goes_on(self) -> bool:
        """Open what can be opened. False where nothing is under way then, or the time is over."""
        self._open_slices()
        if self._budget.remaining() <= 0:
            self._draft.warn("the run's hard end came before its lanes were empty; the next run goes on")
            return False
        # Once told to stop, lanes take no more batches: what is still being fetched is for the next run.
        is_asking = self._source.under_way > 0 and not self._budget.stopped
        is_connecting = bool(self._available.connecting) and not self._is_closing()
        return is_asking or self._undelivered.total() > 0 or is_connecting

    def _is_closing(self) -> bool:
        return self._opens_no_more or self._saving.has_failed or self._budget.left() <= 0

    def _look_at_clocks(self) -> None:
        if self._horizon.fails_for_clocks():
            self._opens_no_more = True

    def _consider(self, name: str) -> float:
        """Offer the next slice of every hub of a location that has none under way.

        Gives how many seconds the location is behind the horizon, the part read again included.
        """
        if name in self._available.stopped_locations:
            return 0.0
        known = self._ledger.location(name).checkpoints
        free = [hub for hub in self._available.connected if hub in known and self._is_free(name, hub)]
        limits = self._source.limits_of(name, self._limits)
        behind = [timedelta(0)]
        for group in self._ledger.groups(name, free):
            window = plan_slice(group, self._horizon.at, limits)
            if window is not None:
                near = window.end >= self._horizon.at
                failed_before = self._available.has_yet_to_answer(name)
                self._schedule.offer(group, window, near=near, failed_before=failed_before)
                behind.append(self._horizon.at - group.cursor)
        return max(behind).total_seconds()

    def _is_free(self, name: str, hub: str) -> bool:
        return not self._source.is_asking(name, hub) and self._available.is_usable(name, hub)

    def _open_slices(self) -> None:
        while not self._is_closing() and self._source.under_way < self._wiring.settings.run.concurrency:
            behind_first = self._budget.used() >= _NEAR_SHARE
            task = self._schedule.take(behind_first=behind_first, usable=self._available.is_usable)
            if task is None:
                return
            with_room = tuple(hub for hub in task.group.hubs if self._lanes.has_room(hub))
            if with_room:
                task = replace(task, group=replace(task.group, hubs=with_room))
                self._source.open(task, self._ledger.location(task.group.location))
            else:
                self._schedule.wait_for_room(task)

    def _handle_next(self) -> None:
        wait_s = min(self._budget.remaining(), _LONGEST_WAIT_S)
        due_in_s = self._saving.due_in(self._ledger)
        try:
            self._handle(self._inbox.get(timeout=wait_s if due_in_s is None else min(wait_s, due_in_s)))
        except queue.Empty:
            return

    def _handle(self, news: News | FetchEnded) -> None:
        match news:
            case FetchEnded(group, result):
                self._look_at_clocks()
                self._source.ended(group)
                if isinstance(result, Exception):
                    self._fetch_failed(group, result)
                else:
                    self._take_in(group, result)
            case Opened(hub, largest):
                self._available.opened(hub, largest)
                for name in self._names:
                    self._consider(name)
            case Delivered(hub, delivery, maybe_twice):
                self._delivered(hub, delivery, maybe_twice=maybe_twice)
            case Dropped(hub, _):
                self._settled(hub)
            case Rejected(hub, delivery, error):
                self._settled(hub)
                self._available.refused(delivery.location, hub, str(error))
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
        if isinstance(error, Interrupted) and self._budget.left() <= 0:
            self._cut_short = True
            return
        if isinstance(error, AuthError | Interrupted):
            self._opens_no_more = True
        self._available.query_failed(group, error)

    def _fetched(self, group: Group, fetched: Fetched) -> None:
        """Hand what was fetched to the lanes of its group."""
        name, available = group.location, self._available
        self._horizon.follow()
        self._note_fetched(name, fetched)
        self._observer.fetched(group, fetched, self._horizon.at)
        limits = {hub: available.connected[hub] for hub in group.hubs if available.is_usable(name, hub)}
        if not limits:
            return
        done_until = min(fetched.window.end, self._horizon.at)
        at_most = self._ledger.newest_at_most(name, limits)
        todo = dispatch(self._feed, self._settings, group, fetched, done_until, limits, at_most)
        if not all(self._quarantine(name, refused) for refused in todo.refused):
            return
        for hub, deliveries in todo.deliveries.items():
            self._ledger.planned(name, hub, todo.ids, fetched.window, done_until, todo.newest)
            for delivery in deliveries:
                self._undelivered[hub] += 1
                self._lanes.put(hub, delivery)

    def _note_fetched(self, name: str, fetched: Fetched) -> None:
        self._draft.slices += 1
        self._available.answered_locations.add(name)
        self._source.learn(name, fetched)
        self._fetched_s += (fetched.window.end - fetched.window.start).total_seconds()
        if self._progress is not None:
            self._progress(min(self._fetched_s, self._backlog_s), self._backlog_s)

    def _backlog(self) -> float:
        locations = [self._ledger.location(name) for name in self._names]
        return backlog(locations, self._wiring.settings.hubs, self._horizon.at)

    def _quarantine(self, name: str, refused: Refused) -> bool:
        """Set readings aside. False where that failed: no position may move past them then."""
        for reading in refused.readings:
            reason = refused.reason or "it cannot be forwarded"
            at, text = self._wiring.now(), quarantine_text(reading)
            item = QuarantinedReading(self._settings.name, name, refused.hubs, reading.id, reason, at, text)
            try:
                place = self._wiring.store.quarantine(self._feed.state_name, item)
            except StateError as error:
                for hub in refused.hubs:
                    self._available.refused(name, hub, f"a reading could not be quarantined: {error}")
                return False
            self._draft.quarantined(Quarantined(name, refused.hubs, reading.id, reason, place))
        return True

    def _delivered(self, hub: str, delivery: Delivery, *, maybe_twice: bool) -> None:
        self._settled(hub)
        self._ledger.delivered(hub, delivery, self._wiring.now())
        events = delivery.batch.events if delivery.batch is not None else ()
        readings = sum(len(event.readings) for event in events)
        self._draft.delivered(
            hub,
            events=len(events),
            readings=readings,
            duplicates=delivery.duplicates,
            maybe_twice=readings if maybe_twice else 0,
            size=sum(len(event.body) for event in events),
        )

    def _lane_closed(self, hub: str, error: ForwarderError | None) -> None:
        """Leave a hub alone for the rest of the run."""
        self._undelivered[hub] = 0
        self._schedule.room_came()
        is_its_fault = self._saving.why_not_send() is None
        self._available.closed(hub, error, self._names, is_its_fault=is_its_fault)

    def _lose_location(self, name: str) -> None:
        """Stop a location that could not be saved; whoever has it goes on from what it knows."""
        self._available.stopped_locations.add(name)
        self._lanes.stop_location(name)

    def _compare(self) -> None:
        """Ask again, in spare time, for hours that have left the look-back, each location once a day."""
        if self._wiring.dry_run or self._wiring.until is not None:
            return
        hubs = [hub.key for hub in self._wiring.settings.hubs]
        for name in self._observer.due(self._names, hubs, self._horizon.at):
            self._look_at_clocks()
            if self._is_closing() or self._budget.used() >= _NEAR_SHARE:
                return
            if name in self._available.failed_locations | self._available.stopped_locations:
                continue
            try:
                self._observer.compare(name, hubs, partial(self._source.shown, name), self._horizon.at)
            except Interrupted:
                return
            except SourceError as error:
                self._draft.warn(f"{name}: not compared with the source, the next run tries again: {error}")
            self._saving.save_if_due(self._ledger)

    # --- the end ------------------------------------------------------------------------------------

    def _finish(self) -> None:
        """Close the lanes, take in what they still acknowledged, and save."""
        self._source.close()
        self._lanes.close()
        self._client.close()
        while not self._inbox.empty():
            news = self._inbox.get()
            if not isinstance(news, FetchEnded):
                self._handle(news)
        if self._knows_the_time:
            self._look_at_clocks()
            self._horizon.tell_of_left_out_times()
            if not self._wiring.dry_run:
                self._available.tell_what_is_over()
            self._observer.settle(self._available.well_answered(), self._horizon.at)
            self._ledger.update(last_run=self._last_run())
            self._saving.save(self._ledger)

    def _tell_of_silence(self) -> None:
        """Name the hubs, or the source, that never answered in a run that had its whole time."""
        if self._budget.stopped or self._opens_no_more or self._saving.has_failed:
            return
        waited_s = self._budget.elapsed()
        for hub in sorted(self._available.connecting):
            self._lane_closed(
                hub,
                HubUnreachable(
                    f"hub {hub}: no connection within the run's {waited_s:.0f} s; check the network, and "
                    f"EVENT_HUB_TRANSPORT where only port 443 is open"
                ),
            )
        waits_still = self._cut_short or self._source.under_way > 0
        if waits_still and self._draft.slices == 0 and not self._draft.failed:
            text = f"microshare: no query was answered within the run's {waited_s:.0f} s; check the API"
            self._draft.fail(None, None, text)

    def _last_run(self) -> dict[str, object]:
        return {
            "run": self._telling.id,
            "started": format_time(self._telling.started),
            "ended": format_time(self._wiring.now()),
            "ok": not self._draft.failed,
            "error": self._draft.first_error,
            "failing_since": self._failing_since and format_time(self._failing_since),
            "hubs_failing": self._available.failing_hubs(),
        }

    @property
    def _failing_since(self) -> datetime | None:
        since = self._available.failed_before.since or self._telling.started
        return since if self._draft.failed else None

    def _report(self) -> Report:
        return self._draft.finish(
            run=self._telling.id,
            feed=self._settings.name,
            started=self._telling.started,
            failing_since=self._failing_since,
            until=self._horizon.at if self._names else None,
            took_s=self._budget.elapsed(),
            api_calls=self._client.api_calls,
            locations={name: self._ledger.location(name) for name in self._names},
            backlog_before_s=self._backlog_before_s,
            apart_s=self._apart_s,
            dry_run=self._wiring.dry_run,
        )
