"""A world: one seed, some simulated days of one feed, many runs, and a quiet end."""

from __future__ import annotations

import logging
import random
import traceback
from collections import Counter, deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from functools import partial
from typing import Any

from app.base.budget import Budget
from app.base.clocks import LARGEST_SKEW
from app.base.errors import LockHeld
from app.base.instants import EPOCH, LATEST, MILLISECOND, format_time
from app.base.readings import Slice
from app.base.shards import WHOLE, Shard
from app.base.wire_forms import Body, WireForm
from app.eventhub.deliveries import News
from app.run.forwarder import run_forwarder
from app.run.ports import Lanes, Wiring
from app.run.report import Report, RunFailed
from app.settings.schema import (
    FeedSettings,
    HubSettings,
    MicroshareSettings,
    RunSettings,
    Settings,
    StateSettings,
)
from app.state.shard_records import together
from tests.simulation.client import ApiWeather, SimulatedClient
from tests.simulation.comparison import judge_daily
from tests.simulation.lanes import HubWeather, SimulatedLanes
from tests.simulation.oracle import Broken, Oracle
from tests.simulation.process import Clock, Killed, Process, SimulatedWorkers
from tests.simulation.source import DAY, HOUR, MINUTE, START, Habits, Source
from tests.simulation.store import Disk, Saved, SimulatedStore, StoreFaults

_MICROSHARE = MicroshareSettings(
    app_url="https://app.example.test",
    auth_url="https://auth.example.test",
    api_url="https://api.example.test",
    auth="web",
    username="svc@example.test",
    password="not-a-password",
    api_key="",
    identity=("com.example",),
)
_SEND_FAULTS = (
    "loses",
    "stores and cuts",
    "stalls",
    "stalls and stores",
    "busy",
    "busy for long",
    "stores twice",
)
# Clocks that were never set, or answers that are somebody else's.
_WILD = tuple(
    timedelta(hours=hours)
    for hours in (7, -7, 24, -24, 72, -72, -20 * 24, 30 * 24, 3_653 * 24, -3_653 * 24, 20_000 * 24)
)
_PASSING = ("unavailable", "bad response", "refused", "refused token")
_KEPT_AFTER_LISTING = 40 * HOUR
SECOND = timedelta(seconds=1)
_TRACE_LENGTH = 60
# A run with so few questions, each answered within a second, has time enough in this budget.
_SHORT_RUN = 80
_LONG_BUDGET_S = 240.0
# The share of worlds with leases whose feed is run in shards, and how many there may be.
_SHARED_OUT = 0.4
_NUMBERS = (1, 2, 2, 3)
# The share of steps, and of runs in between, before which a hub gets another form.
_ANOTHER_FORM = 0.1
_BODIES: tuple[Body, ...] = ("plain", "with_ids", "cloudevents")
# The share of worlds whose quiet end goes on for days.
_QUIET_DAYS = 0.2


class Violation(AssertionError):
    """An invariant was broken; the text has the seed, the last effects, and how to see it again."""

    def __init__(self, seed: int, broken: Broken, trace: Sequence[tuple[Any, ...]]) -> None:
        lines = [
            f"  {format_time(START + timedelta(milliseconds=ms))} {name} #{number} {what} "
            + " ".join(map(str, about))
            for ms, name, number, what, about in trace
        ]
        super().__init__(
            f"seed {seed}: {broken.invariant}\n  {broken.detail}\nthe last effects:\n"
            + "\n".join(lines)
            + f"\nto see it again: python -m tests.simulation --seed {seed}"
        )
        self.seed = seed
        self.invariant = broken.invariant


@dataclass(slots=True)
class Weather:
    """All that goes wrong in one run."""

    skew: timedelta
    api: ApiWeather
    store: StoreFaults
    hubs: dict[str, HubWeather]
    budget_s: float = 240.0
    told_to_stop_after_s: float = 0.0
    kill_at: int = 0
    intrude_at: int = 0
    loses_lease: bool = False
    paused: frozenset[str] = frozenset()
    # How far the host's clock jumps in mid-run, and after how long.
    jump: timedelta = timedelta(0)
    jumps_after_s: float = 0.0

    def host_skew(self, since_s: float) -> timedelta:
        """Give how far the host's clock is ahead of the truth so long after the run began."""
        return self.skew + (self.jump if self.jump and since_s >= self.jumps_after_s else timedelta(0))

    def is_the_hubs_alone(self) -> bool:
        """Whether what goes wrong, if anything, goes wrong at hubs, or at one location."""
        has_time = self.budget_s >= _LONG_BUDGET_S and not self.told_to_stop_after_s
        store = self.store
        well = self.api.is_calm() and not self.jump
        return has_time and well and not (store.load or store.save or store.quarantine)


@dataclass(slots=True)
class Outcome:
    """What became of one run; no report where it was killed or another held the lock."""

    process: Process
    started: datetime
    report: Report | None = None


@dataclass(frozen=True, slots=True)
class Tally:
    """What a world was made of."""

    runs: int
    days: float
    readings: int
    counts: Counter[str] = field(default_factory=Counter)


def simulate(seed: int) -> Tally:
    """Live through one world. Raises Violation where an invariant does not hold."""
    world = SimulatedFeed(seed)
    with _silence():
        try:
            world.live()
        except Broken as broken:
            raise Violation(seed, world.oracle.first or broken, tuple(world.trace)) from None
        except Exception as error:
            unexpected = Broken("nothing unexpected is raised", traceback.format_exc())
            raise Violation(seed, unexpected, tuple(world.trace)) from error
    return world.tally()


@contextmanager
def _silence() -> Iterator[None]:
    """Keep the runs' log lines to themselves: writing them would be most of the work."""
    logger = logging.getLogger("forwarder")
    before = logger.level
    logger.setLevel(logging.CRITICAL + 1)
    try:
        yield
    finally:
        logger.setLevel(before)


class SimulatedFeed:
    """One seed's buildings, hubs, state and time."""

    def __init__(self, seed: int) -> None:
        self.seed = seed
        self.rng = rng = random.Random(seed)
        self.clock = Clock()
        self.trace: deque[tuple[Any, ...]] = deque(maxlen=_TRACE_LENGTH)
        self.runs = 0
        self.badness = rng.choice((0.0, 0.1, 0.25, 0.25, 0.5))
        self.steps = rng.choice((12, 20, 40, 60))
        self.feed = self._draw_feed()
        self.is_long = rng.random() < 0.1
        self.pauses = self._draw_pauses()
        self.start_from = rng.choice((2, 2, 4, 8, 24, 72 if self.is_long else 2)) * HOUR
        horizon = START + sum(self.pauses, timedelta(0)) + 8 * HOUR
        self.source = Source(rng, self._draw_habits(), START - self.start_from - 3 * HOUR, horizon)
        self._reach = max(DAY, self.feed.look_back)
        self.oracle = Oracle(self.source, self.feed, self.start_from)
        self.disk = Disk(leased=rng.random() < 0.5)
        self.largest = {f"hub-{n}": self._draw_largest() for n in range(rng.choice((1, 2, 2, 3)))}
        self.hubs = [HubSettings(key, key, "example.test", key) for key in self.largest]
        self.late_hub = self.hubs.pop() if len(self.hubs) > 1 and rng.random() < 0.2 else None
        self.has_late_hub = self.late_hub is not None
        self.lane_bytes = rng.choice((1_500, 20_000, 8 * 1024 * 1024))
        self.concurrency = rng.choice((1, 2, 4))
        self.hub_down: dict[str, tuple[int, int, str]] = self._draw_outages()
        # A hub that happens to be down whenever a silent source speaks again.
        self.deaf_hub = rng.choice(sorted(self.largest)) if rng.random() < self.badness else ""
        self.rejected: dict[str, tuple[int, int, str]] = {}
        self.broken_building = self._draw_broken()
        # Drawn apart, so that what else a seed makes is the same with shards and without.
        self.shards_rng = random.Random(f"{seed} shards")
        self.is_shared_out = self.disk.leased and self.shards_rng.random() < _SHARED_OUT
        self.shards = self.shards_rng.choice(_NUMBERS) if self.is_shared_out else 1
        self.forms_rng = random.Random(f"{seed} forms")
        self.forms = {hub: self._draw_form() for hub in self.largest}
        self.skew = timedelta(0)
        self.api_wrong = timedelta(0)
        self.per_page = rng.choice((0, 0, 0, 0, 0, 1, 2))
        self.listed_fewer_at = START - DAY
        for hub in self.hubs:
            self.oracle.add_hub(hub.key)

    def tally(self) -> Tally:
        days = (self.clock.now() - START) / DAY
        return Tally(self.runs, days, len(self.source.by_publication), self.oracle.counts)

    def live(self) -> None:
        """Run through the bad days, then a quiet phase in which everything must come right."""
        for step, pause in enumerate(self.pauses):
            self._between_runs(step)
            for shard in self._draw_shards():
                self._live_through(step, shard)
            self._wait(pause)
        self._quiet_phase()

    def _live_through(self, step: int, shard: Shard) -> None:
        weather = self._draw_weather(step)
        if self.is_shared_out and not weather.intrude_at and self.shards_rng.random() < 0.4:
            # Runs of shards go on at the same time as a rule.
            weather.intrude_at = self.shards_rng.randrange(2, 40)
            weather.loses_lease = self.shards_rng.random() < self.badness
        saved, runs = self.disk.now, self.runs
        outcome = self.run(weather, f"run {step}", shard)
        if self.runs == runs + 1:
            self._judge_clocks(outcome, weather, saved)
        self._judge_run(outcome)
        self._judge_healthy(outcome, weather)

    # --- what a world is made of --------------------------------------------------------------------

    def _draw_pauses(self) -> list[timedelta]:
        every = 15 if self.feed.name == "people_counter" else 60
        minutes = (every,) * 24 + (5, 5, 30, 30, 60, 60, 180, 420, 1_500)
        pauses = [self.rng.choice(minutes) * MINUTE for _ in range(self.steps)]
        if self.is_long:
            # The forwarder off for days, a month at most: a backlog for several runs.
            pauses[self.rng.randrange(self.steps)] = self.rng.choice((3, 10, 30)) * DAY
        return pauses

    def _draw_feed(self) -> FeedSettings:
        rng = self.rng
        name, look_back = rng.choice(
            (("people_counter", HOUR), ("people_counter", HOUR), ("hourly_snapshot", 6 * HOUR))
        )
        if rng.random() < 0.1:
            look_back = 30 * HOUR
        return FeedSettings(
            name=name,
            view_id="view",
            data_context=("people",),
            schedule="0 */15 * * * *",
            look_back=look_back,
            cluster_ids=("cluster",),
            settle=rng.choice((0, 0, 0, 5)) * MINUTE,
            record_limit=rng.choice((15, 20, 30, 999)),
            late=rng.choice(("reading", "reading", "hour")),
        )

    def _draw_habits(self) -> Habits:
        rng, bad = self.rng, self.badness
        return Habits(
            self.feed.name,
            self.feed.look_back,
            self.feed.record_limit,
            lateness=rng.choice((0.0, 0.1, 0.3)) if bad else 0.0,
            corrections=rng.choice((0.0, 0.05)) if bad else 0.0,
            flaws=rng.choice((0.0, 0.0, 0.01)) if bad else 0.0,
            silences=rng.choice((0, 1, 1, 2)) if bad else 0,
            bursts=rng.choice((0, 0, 1, 2)) if bad else 0,
            strays=rng.choice((0.0, 0.0, 0.0, 0.3)) if bad else 0.0,
            per_hour=(0.3, 0.5) if self.is_long else (0.3, 0.5, 1, 1, 2, 3),
        )

    def _draw_largest(self) -> int:
        # What two readings fill, some of the large ones, and what a real hub takes.
        sizes = (1_200, 2_000, 20_000, 20_000, 1_000_000, 1_000_000)
        return self.rng.choice(sizes) if self.badness else 1_000_000

    def _draw_outages(self) -> dict[str, tuple[int, int, str]]:
        found = {}
        for hub in self.largest:
            if self.rng.random() < self.badness:
                begin = self.rng.randrange(self.steps)
                kind = self.rng.choice(("down", "refused", "silent", "paused"))
                found[hub] = (begin, begin + self.rng.choice((2, 5, 15)), kind)
        return found

    def _draw_form(self) -> WireForm:
        beside = self.forms_rng.choice(((), (("tenant", "north"),)))
        return WireForm(self.forms_rng.choice(_BODIES), beside)

    def _maybe_change_a_form(self) -> None:
        if self.forms_rng.random() < _ANOTHER_FORM:
            hub, form = self.forms_rng.choice(sorted(self.forms)), self._draw_form()
            self.oracle.counts["hubs given another form"] += form != self.forms[hub]
            self.forms[hub] = form

    def _draw_broken(self) -> tuple[int, int, str]:
        if self.rng.random() >= self.badness:
            return (0, 0, "")
        begin = self.rng.randrange(self.steps)
        return (begin, begin + self.rng.choice((1, 4, 10)), self.rng.choice(sorted(self.source.buildings)))

    def _draw_shards(self) -> list[Shard]:
        """Give the shards that run in this step, in their order; now and then others, or one less."""
        if not self.is_shared_out:
            return [WHOLE]
        rng = self.shards_rng
        if rng.random() < 0.15:
            self.shards = rng.choice(_NUMBERS)
            self.oracle.counts["another number of shards"] += 1
        shards = _all_of(self.shards)
        rng.shuffle(shards)
        return shards[1:] if rng.random() < self.badness * 0.3 else shards

    # --- what goes wrong in a run ---------------------------------------------------------------------

    def _draw_weather(self, step: int) -> Weather:
        rng, bad = self.rng, self.badness

        def happens(share: float) -> bool:
            return rng.random() < bad * share

        api = ApiWeather(latency_s=rng.choice((0.1, 0.3, 1.0)), per_page=self.per_page)
        if happens(0.1):
            api.login = rng.choice(_PASSING[:1] + _PASSING[3:])
        if happens(0.2):
            api.discovery = rng.choice((*_PASSING, "nothing shown", "fewer", "fewer"))
            if api.discovery == "fewer":
                self.listed_fewer_at = self.clock.now()
        if happens(0.3):
            api.fails, api.fault = rng.choice((0.1, 0.5, 1.0)), rng.choice(_PASSING)
        if happens(0.3):
            api.drifts = rng.choice((0.1, 0.5))
        if happens(0.3):
            api.too_wide = rng.choice((40 * MINUTE, HOUR, 7 * HOUR))
        if happens(0.3):
            api.stale = rng.choice((0.2, 0.7))
        if happens(0.2):
            api.latency_s = rng.choice((5.0, 20.0, 50.0))
        if happens(0.2):
            api.lag, api.lags_from = rng.choice((2, 10)) * MINUTE, rng.choice((0, 1, 2))
        begin, end, name = self.broken_building
        api.broken = name if begin <= step < end else ""
        store = StoreFaults(load=happens(0.1))
        if happens(0.3):
            store.save, store.kinds = rng.choice((0.3, 1.0)), ("fails", "torn", "unknown", "too large")
        if happens(0.3):
            store.quarantine = 0.5
        if happens(0.3):
            tame = (-5 * HOUR, -HOUR, -4 * MINUTE, timedelta(0), timedelta(0), 4 * MINUTE, 2 * HOUR, 5 * HOUR)
            self.skew = rng.choice(tame)
        api.warm = rng.random() < 0.3
        weather = Weather(self.skew, api, store, {})
        self._draw_wild_clocks(weather, happens)
        weather.hubs = {hub: self._draw_hub(hub, step, weather) for hub in self.largest}
        if happens(0.3):
            weather.budget_s = rng.choice((1.0, 5.0, 20.0))
        if happens(0.2):
            weather.told_to_stop_after_s = rng.uniform(0.1, 8.0)
        if happens(0.6):
            weather.kill_at = rng.choice((rng.randrange(1, 12), rng.randrange(1, 80)))
        if happens(0.4):
            weather.intrude_at = rng.choice((rng.randrange(2, 14), rng.randrange(2, 60)))
        weather.loses_lease = self.disk.leased and rng.random() < 0.7
        return weather

    def _draw_wild_clocks(self, weather: Weather, happens: Callable[[float], bool]) -> None:
        """Let one of the two clocks be wrong for an answer, for a run, or until further notice."""
        rng, api = self.rng, weather.api
        # Somebody notices that no run works any more, and sets the clock right.
        if rng.random() < 0.4:
            self.api_wrong = timedelta(0)
            self.skew = self.skew if abs(self.skew) <= LARGEST_SKEW else timedelta(0)
        if happens(0.04):
            self.api_wrong = rng.choice(_WILD)
        if happens(0.04):
            weather.skew = self.skew = rng.choice(_WILD)
        elif happens(0.04):
            weather.skew = rng.choice(_WILD)
        if happens(0.06):
            weather.jump, weather.jumps_after_s = rng.choice(_WILD), rng.uniform(0.0, 6.0)
        if self.api_wrong:
            api.wrong, api.wrong_at = self.api_wrong, "all"
        elif happens(0.2):
            api.wrong, api.wrong_at = rng.choice(_WILD), rng.choice(("first", "one", "one", "two", "all"))
        # Two clocks that are wrong alike cannot be told from two that are right.
        if weather.jump or abs(api.wrong - weather.skew) <= LARGEST_SKEW + HOUR:
            api.wrong, api.wrong_at = timedelta(0), ""

    def _draw_hub(self, hub: str, step: int, weather: Weather) -> HubWeather:
        rng = self.rng
        found = HubWeather(self.largest[hub], rng.choice((0.005, 0.02, 0.1)))
        begin, end, kind = self.hub_down.get(hub, (0, 0, ""))
        if begin <= step < end:
            if kind == "paused":
                weather.paused |= {hub}
            else:
                found.opening = kind
                self.oracle.counts[f"fault: hub {kind}"] += 1
        if hub == self.deaf_hub and self._a_silence_ends():
            found.opening = "down"
        if rng.random() < self.badness * 0.6:
            found.fails_at, found.fault = rng.choice((1, 1, 2, 4)), rng.choice(_SEND_FAULTS)
        if rng.random() < self.badness * 0.1:
            self.rejected[hub] = (step, step + rng.choice((1, 3)), rng.choice(sorted(self.source.buildings)))
        begin, end, name = self.rejected.get(hub, (0, 0, ""))
        found.rejects = name if begin <= step < end else ""
        if rng.random() < self.badness * 0.2:
            found.latency_s = rng.choice((1.0, 10.0))
        return found

    def _a_silence_ends(self) -> bool:
        now = self.clock.now()
        return any(-10 * MINUTE < now - silence.end < 40 * MINUTE for silence in self.source.silences)

    def _calm(self) -> Weather:
        hubs = {hub: HubWeather(largest) for hub, largest in self.largest.items()}
        api = ApiWeather(per_page=self.per_page)
        return Weather(timedelta(0), api, StoreFaults(), hubs, budget_s=3_600.0)

    def _between_runs(self, step: int) -> None:
        """Add a hub late, restore an older state, change the form of a hub."""
        self._maybe_change_a_form()
        if self.late_hub is not None and step == self.steps // 2:
            self.hubs.append(self.late_hub)
            self.oracle.add_hub(self.late_hub.key)
            self.late_hub = None
        if self.disk.older and self.rng.random() < self.badness * 0.05:
            saved = self.rng.choice(list(self.disk.older))
            self.trace.append((self.clock.ms, "world", 0, "RESTORED", (saved.number,)))
            self.oracle.counts["fault: restore"] += 1
            self.disk.restore(saved)
            self.oracle.restore(saved.number, saved.begins, self.clock.now())

    def _wait(self, pause: timedelta) -> None:
        self.clock.sleep(pause.total_seconds() + self.rng.choice((0.0, 0.0, 1.5, 40.0)))

    # --- a run ----------------------------------------------------------------------------------------

    def run(self, weather: Weather, name: str, shard: Shard) -> Outcome:
        """Run the forwarder once, in a process of its own."""
        self.runs += 1
        name = name if shard.is_whole else f"{name}, shard {shard}"
        process = Process(name, self.clock, self.rng, self.oracle, self.trace, shard)
        began_ms = self.clock.ms
        process.host_time = lambda: _moved(
            self.clock.now(), weather.host_skew((self.clock.ms - began_ms) / 1000)
        )
        process.kill_at = weather.kill_at
        process.intrude_at = weather.intrude_at
        process.on_intrusion = lambda found: self._intrude(found, weather)
        outcome = Outcome(process, self.clock.now())
        budget = Budget(timedelta(seconds=weather.budget_s), monotonic=self.clock.monotonic)
        if weather.told_to_stop_after_s:
            process.after(weather.told_to_stop_after_s, budget.stop)
        try:
            wiring = self._wiring(process, weather)
            outcome.report = run_forwarder(self.feed.name, wiring, shard=shard, budget=budget)
        except RunFailed as failed:
            outcome.report = failed.report
        except LockHeld:
            effects = process.effects
            self.oracle.require(effects == 1, "a run that finds the lock held does nothing", effects)
        except Killed:
            pass
        if self.oracle.first is not None:
            raise self.oracle.first
        self._excuse(process)
        self._judge_text(outcome)
        return outcome

    def _wiring(self, process: Process, weather: Weather) -> Wiring:
        paused = weather.paused
        hubs = tuple(
            replace(hub, enabled=hub.key not in paused, form=self.forms[hub.key]) for hub in self.hubs
        )
        settings = Settings(
            _MICROSHARE,
            {self.feed.name: self.feed},
            hubs,
            StateSettings("json", "nowhere"),
            RunSettings(start_from=self.start_from, concurrency=self.concurrency),
        )

        def make_client(budget: Budget) -> Any:
            return SimulatedClient(
                process,
                self.source,
                weather.api,
                budget,
                self.feed.record_limit,
                self._floor,
                self._reach,
            )

        def make_lanes(
            hubs: Sequence[HubSettings],
            budget: Budget,
            tell: Callable[[News], None],
            may_send: Callable[[], str | None],
        ) -> Lanes:
            owns = partial(self._owns, process)
            return SimulatedLanes(process, weather.hubs, self.lane_bytes, hubs, budget, tell, may_send, owns)

        return Wiring(
            settings=settings,
            store=SimulatedStore(self.disk, process, weather.store, self.largest),
            make_client=make_client,
            make_lanes=make_lanes,
            now=process.host_time,
            monotonic=self.clock.monotonic,
            make_workers=lambda _: SimulatedWorkers(process, lambda: self.rng.choice((0.001, 0.05, 0.3))),
            make_inbox=lambda: process.inbox,
        )

    def _owns(self, process: Process) -> bool:
        return self.disk.holds_lock(process)

    def _floor(self, building: str) -> datetime | None:
        """Give what no question may go before: the least first checkpoint of the location's hubs."""
        begins = [begin for (name, _), begin in self.oracle.begins.items() if name == building]
        return min(begins, default=None)

    def _intrude(self, process: Process, weather: Weather) -> None:
        """Let another run come in between two effects of one that is under way."""
        if weather.loses_lease:
            self.oracle.counts["fault: lease lost"] += 1
            process.causes.add("lease lost")
            self._excuse(process)
            process.on_lost_lease()
            self.disk.lose_lock(process.shard)
            self.clock.sleep(61)
        self.oracle.counts["second runners"] += 1
        self._maybe_change_a_form()
        second = self._calm()
        second.skew, second.paused = weather.skew, weather.paused
        if self.rng.random() < 0.3:
            second.kill_at = self.rng.randrange(1, 40)
        self.run(second, f"{process.name} second", self._draw_second(process.shard))

    def _draw_second(self, shard: Shard) -> Shard:
        """Give what a run that comes in between works on: the same, or where shards are, any other part."""
        if not self.is_shared_out:
            return shard
        rng = self.shards_rng
        others = [each for of in (shard.of, shard.of, *_NUMBERS) for each in _all_of(of)]
        found = rng.choice([shard, rng.choice(others)])
        if found.of != shard.of:
            self.oracle.counts["second runners of another number"] += 1
        elif found != shard:
            self.oracle.counts["runs of two shards at a time"] += 1
        return found

    def _excuse(self, process: Process) -> None:
        """What a run stored and no save covers may come again, if the world knows why."""
        for hub, serials in process.stored.items():
            unsettled = [serial for serial in serials if serial not in self.oracle.settled[hub]]
            if unsettled:
                self.oracle.require(
                    bool(process.causes),
                    "what was acknowledged is saved when a run ends",
                    process.name,
                    hub,
                    unsettled,
                )
                self.oracle.excuse(hub, unsettled, ", ".join(sorted(process.causes)))

    # --- what a run must have done -------------------------------------------------------------------

    def _judge_text(self, outcome: Outcome) -> None:
        for failure in outcome.report.failures if outcome.report else ():
            self.oracle.require(
                "unexpected" not in failure.error, "nothing unexpected is raised", failure.error
            )

    def _judge_clocks(self, outcome: Outcome, weather: Weather, before: Saved) -> None:
        """A clock that is wrong stops a run, or is left out; it changes nothing."""
        report, process = outcome.report, outcome.process
        if process.begins_apart:
            self.oracle.counts["runs whose clocks began apart"] += 1
            self.oracle.require(
                self.disk.now.number == before.number and not process.queries and not process.stored,
                "a run whose clocks are too far apart changes nothing",
                process.name,
            )
            self.oracle.require(
                report is None or not report.ok, "a run whose clocks are too far apart fails", process.name
            )
            return
        if report is None:
            return
        told = any("clocks: " in failure.error for failure in report.failures)
        is_apart = process.apart_in_a_row > 1
        self.oracle.require(
            told == is_apart,
            "a run fails for its clocks if, and only if, they differ",
            [failure.error for failure in report.failures],
            process.apart_in_a_row,
        )
        if report.until is not None and not weather.jump:
            least = outcome.started + min(weather.skew, -weather.api.lag) - self.feed.settle - 2 * SECOND
            self.oracle.require(
                report.until >= least, "a wrong answer in mid-run moves no horizon", report.until, least
            )

    def _judge_run(self, outcome: Outcome) -> None:
        """A run that says all is well has delivered everything that was shown when it began."""
        report, started = outcome.report, outcome.started
        if report is not None and outcome.process.causes & {"conflict", "save failed"}:
            self.oracle.require(not report.ok, "a run that could not save says so", outcome.process.name)
        if report is None or not report.ok or report.left or report.until is None:
            return
        self.oracle.counts["runs that were well"] += 1
        hubs = [key for key, hub in report.hubs.items() if not hub.paused]
        names = self._not_ahead(self._asked(started, outcome.process.shard), report.until)
        lacking = self.oracle.missing(names, hubs, shown=started, until=report.until)
        self.oracle.require(
            not lacking, "a run that says all is well has delivered all that was shown", *lacking[:3]
        )

    def _judge_healthy(self, outcome: Outcome, weather: Weather) -> None:
        """A hub that is well gets all that was shown, whatever happens to other hubs and locations."""
        report, process = outcome.report, outcome.process
        if report is None or report.until is None or not weather.is_the_hubs_alone():
            return
        queries = process.queries.total() + process.old_queries
        if process.causes & {"lease lost", "conflict"} or queries > _SHORT_RUN:
            return
        well = [hub for hub, found in report.hubs.items() if not found.paused and weather.hubs[hub].is_calm()]
        self.oracle.counts["hubs that were well in a run"] += len(well)
        names = self._not_ahead(self._asked(outcome.started, process.shard), report.until)
        names = [name for name in names if name != weather.api.broken]
        lacking = self.oracle.missing(names, well, shown=outcome.started, until=report.until)
        self.oracle.require(
            not lacking, "a hub and location that are well are held back by nobody", *lacking[:3]
        )

    def _not_ahead(self, names: Sequence[str], until: datetime) -> list[str]:
        """Give the buildings whose positions the clock has passed: nothing is asked for the others."""
        known = self.disk.now.locations
        return [
            name
            for name in names
            if name not in known
            or all(found.delivered_until <= until for found in known[name].checkpoints.values())
        ]

    def _asked(self, at: datetime, shard: Shard = WHOLE) -> list[str]:
        """Give the buildings that a run must ask for: listed now, or found listed within two days."""
        kept = {
            name
            for name, found in self.disk.now.locations.items()
            if found.last_listed is not None and at - found.last_listed < _KEPT_AFTER_LISTING
        }
        lately = Slice(at - 2 * HOUR, at)
        # A list that was short is used until discovery works again.
        discovery = together(self.disk.now.records).discovery
        listed = at if discovery is None else discovery.at
        was_short = min(at, listed) - self.listed_fewer_at < 2 * HOUR
        return [
            name
            for name, building in self.source.buildings.items()
            if shard.holds(name)
            and (name in kept or (not was_short and building.is_listed_throughout(lately)))
        ]

    # --- the quiet end ----------------------------------------------------------------------------------

    def _quiet_phase(self) -> None:
        """Without faults, everything that was promised arrives, and a steady run asks one question."""
        asked = self._asked(self.clock.now())
        for name, building in self.source.buildings.items():
            if name not in asked:
                building.list_always()
        self._wait(65 * MINUTE)
        pauses = [15 * MINUTE] * 3
        if self.rng.random() < _QUIET_DAYS:
            pauses += [13 * HOUR] * 6
        for number, pause in enumerate(pauses):
            for shard in _all_of(self.shards):
                self._judge_quiet(self.run(self._calm(), f"quiet {number}", shard))
            self._wait(pause)
        self._judge_fresh()
        self.oracle.judge_gaps(self.disk.now.locations, self._asked(self.clock.now()))

    def _judge_quiet(self, outcome: Outcome) -> None:
        report = outcome.report
        oracle = self.oracle
        oracle.require(report is not None and report.ok, "a run without faults does not fail", report)
        if report is None:
            return
        oracle.require(report.left == 0, "a run without faults leaves nothing behind", report.left)
        self._judge_run(outcome)
        if report.until is not None:
            asked = self._asked(outcome.started, outcome.process.shard)
            compared = {name: found for name, found in self.disk.now.locations.items() if name in asked}
            judge_daily(oracle, compared, report.until)

    def _judge_fresh(self) -> None:
        """A reading that is published now is everywhere after the next run, at one question a group."""
        now = self.clock.now()
        names = [name for name in self._asked(now) if self.source.buildings[name].is_listed(now)]
        fresh = [
            self.source.add_fresh(name, now - self.feed.settle - MINUTE - MILLISECOND, now) for name in names
        ]
        for version in fresh:
            self.oracle.publish(version)
        groups = _groups(self.disk.now.locations.items())
        outcomes = [self.run(self._calm(), "quiet fresh", shard) for shard in _all_of(self.shards)]
        for outcome in outcomes:
            self._judge_quiet(outcome)
        for version in fresh:
            lacking = [hub.key for hub in self.hubs if not self.oracle.stored_at[hub.key][version.serial]]
            self.oracle.require(
                not lacking or version.large or version.flawed,
                "a fresh reading passes",
                version,
                lacking,
            )
        for outcome in outcomes:
            self._judge_questions(outcome.process, groups)

    def _judge_questions(self, process: Process, groups: Mapping[str, int]) -> None:
        for name, queries in process.queries.items():
            self.oracle.require(process.shard.holds(name), "a shard asks for its own locations only", name)
            expected = groups.get(name, 1) if self.badness or self.has_late_hub else 1
            if process.lane_was_full:
                continue  # a hub whose lane has no room leaves the slice to a question of its own
            self.oracle.require(
                queries <= expected or self._is_dense(name, process.asked_from[name]),
                "a steady run asks once a group of a location",
                name,
                queries,
                expected,
            )

    def _is_dense(self, name: str, asked_from: datetime) -> bool:
        """Whether so much is shown that a run should rather ask in parts than come near the view's limit."""
        now, building = self.clock.now(), self.source.buildings[name]
        if building.strays:
            return True
        lines = building.published(Slice(asked_from - HOUR, now), now)
        busiest = building.busiest_hour(Slice(asked_from - DAY, now), now)
        return lines + busiest / 2 > self.feed.record_limit * 0.7


def _all_of(number: int) -> list[Shard]:
    return [Shard(index, number) for index in range(number)]


def _moved(instant: datetime, by: timedelta) -> datetime:
    """Move an instant, within what a clock can show."""
    return max(EPOCH, min(LATEST, instant + by))


def _groups(locations: Any) -> dict[str, int]:
    found = {}
    for name, location in locations:
        distinct: list[Any] = []
        for checkpoint in location.checkpoints.values():
            if checkpoint not in distinct:
                distinct.append(checkpoint)
        found[name] = len(distinct)
    return found
