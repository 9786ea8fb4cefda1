"""One pass over a feed: the only place that knows the order of things."""

from __future__ import annotations

import queue
import threading
from contextlib import nullcontext
from functools import partial

from app.base.budget import Budget
from app.base.checkpoints import FeedState
from app.base.errors import (
    AuthError,
    ClocksDiffer,
    ForwarderError,
    Interrupted,
    LockHeld,
    SourceError,
    StateError,
)
from app.base.shards import WHOLE, Shard
from app.eventhub.deliveries import Delivered, Dropped, LaneClosed, News, Opened, Rejected
from app.feeds.feed import Feed, load_feed
from app.microshare.asked import Asked
from app.run.availability import Availability, never_connected
from app.run.draft import backlog
from app.run.fetching import Fetched
from app.run.handover import Handover
from app.run.horizon import Horizon
from app.run.ledger import Ledger
from app.run.locations import begin_checkpoints, find_locations
from app.run.observer import Observer
from app.run.outages import outages_in
from app.run.pings import Pings
from app.run.planning import Group, Limits
from app.run.ports import Progress, Wiring
from app.run.report import Report, RunFailed
from app.run.saving import Saving
from app.run.schedule import Turn
from app.run.slices import Slices
from app.run.source import FetchEnded, Source
from app.run.telling import Telling
from app.settings.schema import FeedSettings
from app.state.store import RunLock

# How long a run waits for its hubs to connect before it fetches for those that have, and at most which
# share of its time: a hub that never connects must not keep a short run from its work.
_OPENING_GRACE_S = 5.0
_OPENING_SHARE = 0.2
# The share of the budget after which what is behind comes before what is near.
_NEAR_SHARE = 0.8
# How long what is behind waits, once all that is near was asked for, so that what is near has the processor
# to itself. A source and a hub that are well take less; one slow location holds up a run no longer.
_BEHIND_WAITS_S = 1.0
# How soon a run notices that its time is over or that it was told to stop.
_LONGEST_WAIT_S = 0.5


def run_forwarder(
    feed_name: str,
    wiring: Wiring,
    *,
    shard: Shard | tuple[int, int] = WHOLE,
    tick: str | None = None,
    budget: Budget | None = None,
    progress: Progress | None = None,
) -> Report:
    """Run a feed once: all that the source shows and a hub has not had goes to that hub.

    1. Take the feed's run lock and load its state.
    2. Connect to all hubs, and log in.
    3. Find the horizon and the locations; write down first checkpoints before anything is sent.
    4. Fetch slices, and hand each to the lanes of its group; save as acknowledgements come in.
    5. Close the lanes, save, and report.

    With a `shard`, (0, 8) to (7, 8), only the locations that it holds are asked for; runs of the other
    shards may go on beside it. Runs of shards that are begun together have the same `tick`.
    `progress` is told how many seconds of the backlog are fetched, and of how many.
    Gives the report of a run in which nothing failed; raises RunFailed, which carries the report,
    after everything else was tried. Raises FeedOff and LockHeld before anything is asked or sent.
    """
    settings = wiring.feed(feed_name)
    feed = load_feed(feed_name)
    shard = shard if isinstance(shard, Shard) else Shard(*shard)
    budget = budget or Budget(wiring.settings.run.budget)
    telling = Telling(wiring, settings, wiring.state_name or feed.state_name, shard, tick)
    pings = _pings(wiring, settings, telling)
    try:
        store, name = wiring.store, telling.state_name
        lock = nullcontext(None) if wiring.dry_run else store.lock(name, telling.id, shard)
        with lock as held:
            telling.log.info("run.started")
            pings.started()
            state = store.load(name, shard)
            report = _Run(feed, settings, wiring, budget, progress, telling, state, held, shard).execute()
    except LockHeld:
        raise
    except StateError as error:
        report = telling.could_not_begin(error, budget.elapsed())
    except BaseException:
        pings.ended(ok=False)
        raise
    pings.ended(ok=report.ok)
    if wiring.export is not None and wiring.until is None:
        wiring.export(report, budget.remaining())
    if not report.ok:
        raise RunFailed(report)
    return report


def _nothing_asked(within_s: float) -> str:
    return (
        f"no location was asked for within the run's {within_s:.0f} s, so long did its state, the login and "
        "the list of locations take; give runs more time (run.budget), or fewer locations each (--shard)"
    )


def _pings(wiring: Wiring, feed: FeedSettings, telling: Telling) -> Pings:
    """Give the pings of a run; a dry run and a backfill have none."""
    is_live = wiring.until is None and not wiring.dry_run
    return Pings(feed.ping_url if is_live else "", wiring.ask_monitor, telling.log)


class _Run:
    """A run under way. Its own thread decides and changes everything; others only send it news."""

    def __init__(
        self,
        feed: Feed,
        settings: FeedSettings,
        wiring: Wiring,
        budget: Budget,
        progress: Progress | None,
        telling: Telling,
        state: FeedState,
        lock: RunLock | None,
        shard: Shard,
    ) -> None:
        self._feed = feed
        self._settings = settings
        self._wiring = wiring
        self._budget = budget
        self._progress = progress
        self._telling = telling
        self._state = state
        self._shard = shard
        self._draft = draft = telling.draft
        limits = Limits.of(settings)
        self._client = wiring.make_client(budget)
        self._inbox = wiring.make_inbox()
        self._own_thread = threading.get_ident()
        if telling.log.tells_details:
            self._client.tell_requests(self._note_request)
        self._ledger = ledger = Ledger(state, limits)
        self._observer = Observer(ledger, draft, settings, is_live=wiring.until is None, shard=shard)
        self._horizon = Horizon(self._client, wiring.now, settings.settle, wiring.until, draft)
        hubs = [hub for hub in wiring.settings.hubs if hub.enabled]
        keys, before = [hub.key for hub in hubs], outages_in(state)
        self._available = available = Availability(keys, before, ledger, draft, telling.log, wiring.now)
        self._saving = Saving(
            wiring.store,
            telling.state_name,
            lock,
            draft,
            telling.log,
            wiring.monotonic,
            self._lose_location,
            shard,
        )
        self._lanes = wiring.make_lanes(hubs, budget, self._inbox.put, self._saving.why_not_send)
        workers = wiring.make_workers(wiring.settings.run.concurrency)
        self._source = Source(feed, settings, self._client, workers, self._inbox.put)
        self._slices = Slices(ledger, available, self._source, self._lanes, self._horizon, limits)
        self._handover = Handover(feed, settings, wiring, ledger, draft, available, self._lanes, telling.log)
        self._names: list[str] = []
        # From when on the state may be changed: once it is known what time it is.
        self._knows_the_time = False
        self._opens_no_more = False
        self._cut_short = False
        self._behind_waits_until = wiring.monotonic()
        self._fetched_s = self._backlog_s = self._backlog_before_s = 0.0

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
        if not isinstance(error, Interrupted) or self._budget.left() > 0:
            self._draft.fail(None, None, str(error))
        elif self._budget.stopped:
            self._draft.warn(str(error))
        else:
            self._draft.fail(None, None, _nothing_asked(self._budget.elapsed()))

    # --- before anything is sent --------------------------------------------------------------------

    def _prepare(self) -> None:
        wiring = self._wiring
        self._lanes.start()
        self._client.login()
        self._horizon.find(self._settings.cluster_ids, self._state.last_run_ended())
        self._knows_the_time = True
        found = find_locations(
            self._client, self._state, wiring.settings, self._settings, self._horizon.at, self._shard
        )
        found.noted(self._ledger, self._draft)
        self._names = list(found.names)
        if not self._names and not found.others:
            self._draft.warn("there is no location to ask for; see `locations`")
        place = wiring.store.place
        begin_checkpoints(
            self._ledger,
            wiring.settings,
            self._names,
            self._horizon.at,
            place,
            self._draft,
            may_be_new=self._shard.is_whole or self._state.last_run is None,
        )
        self._look_at_clocks()
        locations = self._ledger.of(self._names).values()
        self._backlog_before_s = backlog(locations, wiring.settings.hubs, self._horizon.at)
        # Also where nothing changed: a place that cannot be written is found before anything is sent.
        self._saving.save(self._ledger)
        self._await_lanes()

    def _await_lanes(self) -> None:
        """Wait until every hub is connected or known to fail, so that they share what is fetched."""
        monotonic = self._wiring.monotonic
        until = monotonic() + min(_OPENING_GRACE_S, self._budget.left() * _OPENING_SHARE)
        # Those that connected meanwhile count, whatever is left of the time.
        while self._available.connecting and ((left := until - monotonic()) > 0 or not self._inbox.empty()):
            self._handle_next(max(0.0, left))

    # --- fetching and delivering --------------------------------------------------------------------

    def _forward(self) -> None:
        for name in self._names:
            self._backlog_s += self._slices.consider(name)
        while self._goes_on():
            wait_s = min(self._budget.remaining(), _LONGEST_WAIT_S)
            due_in_s = self._saving.due_in(self._ledger)
            self._handle_next(wait_s if due_in_s is None else min(wait_s, due_in_s))
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
        return is_asking or self._handover.undelivered.total() > 0 or is_connecting

    def _is_closing(self) -> bool:
        return self._opens_no_more or self._saving.has_failed or self._budget.left() <= 0

    def _look_at_clocks(self) -> None:
        self._opens_no_more |= self._horizon.fails_for_clocks()

    def _open_slices(self) -> None:
        while not self._is_closing() and self._source.under_way < self._wiring.settings.run.concurrency:
            if not self._slices.open_next(self._turn()):
                return

    def _turn(self) -> Turn:
        """Say what comes first: by the end what is behind, before that what is near, at first on its own."""
        if self._budget.used() >= _NEAR_SHARE:
            return Turn.BEHIND_FIRST
        now = self._wiring.monotonic()
        if self._slices.has_near:
            self._behind_waits_until = now + _BEHIND_WAITS_S
        is_under_way = self._source.under_way > 0 or self._handover.undelivered.total() > 0
        return Turn.NEAR_ALONE if is_under_way and now < self._behind_waits_until else Turn.NEAR_FIRST

    def _handle_next(self, within_s: float) -> None:
        try:
            self._handle(self._inbox.get(timeout=within_s))
        except queue.Empty:
            return

    def _handle(self, news: News | FetchEnded | Asked) -> None:
        match news:
            case Asked():
                self._note_request(news)
                return
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
                    self._slices.consider(name)
            case Delivered(hub, delivery, maybe_twice, took_s):
                self._handover.delivered(hub, delivery, maybe_twice=maybe_twice, took_s=took_s)
            case Dropped(hub, _):
                self._handover.dropped(hub)
            case Rejected(hub, delivery, error):
                self._handover.rejected(hub, delivery, str(error))
            case LaneClosed(hub, error):
                self._lane_closed(hub, error)
        if not isinstance(news, FetchEnded):
            self._slices.room_came()

    def _note_request(self, asked: Asked) -> None:
        """Log a request, in the run's own thread; what another made waits for its turn among the news."""
        if threading.get_ident() == self._own_thread:
            self._telling.log.debug("request.made", **asked.as_fields())
        else:
            self._inbox.put(asked)

    def _take_in(self, group: Group, fetched: Fetched) -> None:
        try:
            self._horizon.follow()
            self._note_fetched(group.location, fetched)
            self._observer.fetched(group, fetched, self._horizon.at)
            self._handover.hand_over(group, fetched, self._horizon.at)
        except Exception as error:  # noqa: BLE001 - one location's trouble must not stop the others
            self._fetch_failed(group, error)
        else:
            self._slices.consider(group.location)

    def _fetch_failed(self, group: Group, error: Exception) -> None:
        if isinstance(error, Interrupted) and self._budget.left() <= 0:
            self._cut_short = True
            return
        if isinstance(error, AuthError | Interrupted):
            self._opens_no_more = True
        self._available.query_failed(group, error)

    def _note_fetched(self, name: str, fetched: Fetched) -> None:
        self._draft.slices += 1
        self._available.answered_locations.add(name)
        self._source.learn(name, fetched)
        self._fetched_s += (fetched.window.end - fetched.window.start).total_seconds()
        if self._progress is not None:
            self._progress(min(self._fetched_s, self._backlog_s), self._backlog_s)

    def _lane_closed(self, hub: str, error: ForwarderError | None) -> None:
        """Leave a hub alone for the rest of the run."""
        self._handover.closed(hub)
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

    def _finish(self) -> None:
        """Close the lanes, take in what they still acknowledged, and save."""
        self._source.close()
        self._lanes.close()
        self._client.close()
        while not self._inbox.empty():
            news = self._inbox.get()
            if not isinstance(news, FetchEnded):
                self._handle(news)
        self._available.tell_of_closed(at_last=True)
        if self._knows_the_time:
            self._look_at_clocks()
            self._horizon.tell_of_left_out_times()
            if not self._wiring.dry_run:
                self._available.tell_what_is_over()
            self._observer.settle(self._available.well_answered(), self._horizon.at)
            self._ledger.update(last_run=self._telling.last_run(self._available))
            self._saving.save(self._ledger)

    def _tell_of_silence(self) -> None:
        """Name the hubs, or the source, that never answered in a run that had its whole time."""
        if self._budget.stopped or self._opens_no_more or self._saving.has_failed:
            return
        waited_s = self._budget.elapsed()
        for hub in sorted(self._available.connecting):
            self._lane_closed(hub, never_connected(hub, waited_s))
        if self._draft.slices or self._draft.failed:
            return
        if self._cut_short or self._source.under_way > 0:
            text = f"microshare: no query was answered within the run's {waited_s:.0f} s; check the API"
            self._draft.fail(None, None, text)
        elif self._backlog_s > 0 and self._budget.left() <= 0:
            self._draft.fail(None, None, _nothing_asked(waited_s))

    def _report(self) -> Report:
        return self._draft.finish(
            failing_since=self._telling.failing_since(self._available),
            until=self._horizon.at if self._names else None,
            took_s=self._budget.elapsed(),
            api_calls=self._client.api_calls,
            locations=self._ledger.of(self._names),
            backlog_before_s=self._backlog_before_s,
            apart_s=self._telling.seconds_since(self._state.last_run),
            stopped=self._budget.stopped,
        )
