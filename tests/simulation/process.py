"""One simulated process that runs the forwarder once: its time, its effects, its death, its inbox.

Nothing here waits: the only place where a run blocks is its inbox, which moves the
simulated time to the next thing that happens in the process.
"""

from __future__ import annotations

import heapq
import itertools
import queue
import random
from collections import Counter, deque
from collections.abc import Callable
from concurrent.futures import Executor, Future
from datetime import datetime, timedelta
from typing import Any

from app.base.shards import WHOLE, Shard
from app.eventhub.deliveries import Delivered, Delivery
from tests.simulation.oracle import Oracle
from tests.simulation.source import START


class Killed(BaseException):
    """The process is dead: no code of it runs any further."""


class Clock:
    """The world's time, in whole milliseconds since it began. The API's clock shows it."""

    def __init__(self) -> None:
        self.ms = 0

    def now(self) -> datetime:
        return START + timedelta(milliseconds=self.ms)

    def monotonic(self) -> float:
        return self.ms / 1000

    def sleep(self, seconds: float) -> None:
        self.ms += max(0, round(seconds * 1000))


class Process:
    """A run's effects, numbered in the order in which they happen, and what it did for each hub.

    At effect `kill_at` the process dies; at effect `intrude_at`, `on_intrusion` is called once.
    """

    def __init__(
        self,
        name: str,
        clock: Clock,
        rng: random.Random,
        oracle: Oracle,
        trace: deque[tuple[Any, ...]],
        shard: Shard = WHOLE,
    ) -> None:
        self.name = name
        self.shard = shard
        self.clock = clock
        self.rng = rng
        self.oracle = oracle
        self.trace = trace
        self.started = clock.now()
        self.alive = True
        self.effects = 0
        self.kill_at = 0
        self.intrude_at = 0
        self.on_intrusion: Callable[[Process], None] = lambda _: None
        self.on_death: Callable[[], None] = lambda: None
        self.on_lost_lease: Callable[[], None] = lambda: None
        # The host's clock, and what it would say had it not jumped since the first answer.
        self.host_time: Callable[[], datetime] = clock.now
        self.host_time_at_first: Callable[[], datetime] = clock.now
        # Whether the first answer told a time that is far from the host's.
        self.begins_apart = False
        # The most answers in a row that told a time far from the host's in mid-run.
        self.apart_in_a_row = 0
        self.api_time: Callable[[], datetime | None] = lambda: None
        self.inbox = SimulatedInbox(self)
        # Why what this run stored may come once more; the store and the lanes note it.
        self.causes: set[str] = set()
        self.lock_token = 0
        self.save_failed = False
        self.lane_was_full = False
        self.had_stale_answers = False
        self.stored: dict[str, set[int]] = {}
        self.handed: dict[str, dict[str, set[int]]] = {}
        # Questions to each location, and to all of them for what lies before the reach of a steady run.
        self.queries: Counter[str] = Counter()
        self.old_queries = 0
        self.asked_from: dict[str, datetime] = {}
        self._events: list[tuple[int, int, Callable[[], None]]] = []
        self._numbers = itertools.count()

    def effect(self, what: str, *about: object) -> None:
        """Note that something is about to be done to the world outside; the process may die first."""
        if not self.alive:
            raise Killed
        self.effects += 1
        self.trace.append((self.clock.ms, self.name, self.effects, what, about))
        if self.effects == self.kill_at:
            self.die()
            raise Killed
        if self.effects == self.intrude_at:
            self.on_intrusion(self)

    def die(self) -> None:
        self.alive = False
        self.causes.add("kill")
        self.oracle.counts["fault: kill"] += 1
        self.trace.append((self.clock.ms, self.name, self.effects, "KILLED", ()))
        self.on_death()

    def after(self, seconds: float, happens: Callable[[], None]) -> None:
        due = self.clock.ms + round(seconds * 1000)
        heapq.heappush(self._events, (due, next(self._numbers), happens))

    def step(self, until_ms: int | None) -> bool:
        """Let the next thing happen, if it does by then."""
        if not self._events or (until_ms is not None and self._events[0][0] > until_ms):
            return False
        due, _, happens = heapq.heappop(self._events)
        self.clock.ms = max(self.clock.ms, due)
        happens()
        return True

    def earlier_clock(self) -> datetime:
        """Give the earlier of the host's clock and the API's, a jump of the host's in mid-run left out."""
        host, api = self.host_time_at_first(), self.api_time()
        return host if api is None else min(host, api)

    def note_handed(self, news: Delivered, serials: set[int]) -> None:
        self.handed.setdefault(news.delivery.location, {}).setdefault(news.hub, set()).update(serials)


class SimulatedInbox:
    """A queue whose waiting takes simulated time only."""

    def __init__(self, process: Process) -> None:
        self._process = process
        self._items: deque[Any] = deque()
        self._stored: dict[int, tuple[Delivery, set[int]]] = {}

    def put(self, item: Any) -> None:
        self._items.append(item)

    def empty(self) -> bool:
        return not self._items

    def note_stored(self, delivery: Delivery, serials: set[int]) -> None:
        """Remember what readings a delivery held, to tell when the run is told of it."""
        self._stored[id(delivery)] = (delivery, serials)

    def get(self, *, timeout: float | None = None) -> Any:
        process = self._process
        if not process.alive:
            raise Killed
        clock = process.clock
        until = None if timeout is None else clock.ms + max(1, round(timeout * 1000))
        while not self._items:
            if not process.step(until):
                if until is None:
                    raise process.oracle.broken("a run never waits for what cannot come", process.name)
                clock.ms = until
                raise queue.Empty
        item = self._items.popleft()
        if isinstance(item, Delivered):
            _, serials = self._stored.get(id(item.delivery), (None, set()))
            process.note_handed(item, serials)
        return item


class SimulatedWorkers(Executor):
    """Runs each task when its time has come, in the one thread there is."""

    def __init__(self, process: Process, latency: Callable[[], float]) -> None:
        self._process = process
        self._latency = latency
        self._is_shut = False

    def submit(self, task: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        def happen() -> None:
            if not self._is_shut:
                task(*args, **kwargs)

        self._process.after(self._latency(), happen)
        return Future()

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:  # noqa: ARG002
        self._is_shut = True
