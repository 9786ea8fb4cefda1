"""The simulated Microshare client: what the real one promises, over the simulated source."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from app.base.budget import Budget
from app.base.checkpoints import Place
from app.base.clocks import LARGEST_SKEW, ApiClock, LeftOut
from app.base.errors import (
    AuthError,
    BadResponse,
    Interrupted,
    NoPermission,
    SourceError,
    SourceRefused,
    SourceUnavailable,
    WindowTooWide,
)
from app.base.readings import DashboardAnswer, DashboardQuery
from app.microshare.asked import Asked
from app.microshare.discovery import Found
from app.microshare.paging import Page, read_all_pages
from app.microshare.verdict import Question
from tests.simulation.process import Process
from tests.simulation.source import HOUR, Source, Version

_FAULTS: dict[str, Callable[[str], SourceError]] = {
    "unavailable": SourceUnavailable,
    "bad response": BadResponse,
    "refused": SourceRefused,
    "refused token": AuthError,
}


@dataclass(slots=True)
class ApiWeather:
    """How the API fares in one run.

    `lag` is how far its Date header lies back from query number `lags_from` on. Where `wrong_at` is
    `first`, `one`, `two` or `all`, the first answer, one or two answers in mid-run, or all are dated
    `wrong` away from the truth. `warm`: the process kept its token. `fails` is the
    share of queries that fail with `fault`, `drifts` the share of longer ones whose pages differ;
    a window over `too_wide` times out. `broken` names a location whose queries always fail. `stale` is
    the share of answers from a cache, which lack some of what was shown before. An answer has pages of
    `per_page` objects, all of them where that is 0.
    """

    latency_s: float = 0.3
    login: str = ""
    discovery: str = ""
    fails: float = 0.0
    fault: str = "unavailable"
    broken: str = ""
    drifts: float = 0.0
    too_wide: timedelta | None = None
    lag: timedelta = timedelta(0)
    lags_from: int = 0
    wrong: timedelta = timedelta(0)
    wrong_at: str = ""
    warm: bool = False
    stale: float = 0.0
    per_page: int = 0

    def is_calm(self) -> bool:
        """Whether it answers well and in time, the `broken` location apart."""
        fails = self.login or self.discovery or self.fails or self.drifts or self.too_wide or self.stale
        return not fails and not self.lag and not self.wrong_at and self.latency_s <= 1.0


class SimulatedClient:
    """One process's client."""

    def __init__(
        self,
        process: Process,
        source: Source,
        weather: ApiWeather,
        budget: Budget,
        record_limit: int,
        floor: Callable[[str], datetime | None],
        reach: timedelta,
    ) -> None:
        self._process = process
        self._source = source
        self._weather = weather
        self._budget = budget
        self._limit = record_limit
        self._floor = floor
        self._reach = reach
        self._rng = random.Random(process.rng.random())
        self._queries = 0
        self.api_calls = 0
        self._answers = 0
        self._api_clock = ApiClock()
        # How many answers in a row told a time that is far from the host's, in mid-run; the most there were.
        self._apart_in_a_row = 0
        process.api_time = self.api_time

    def login(self) -> None:
        if self._weather.warm:
            return
        self._call("login", 0.4)
        if self._weather.login:
            self._fault(f"login {self._weather.login}")
            raise _FAULTS[self._weather.login]("microshare: login")
        self._tell_time()

    def learn_time(self, cluster_ids: Sequence[str]) -> None:  # noqa: ARG002
        if self.api_time() is None:
            self._call("ask the time", 0.3)
            self._tell_time()

    def api_time(self) -> datetime | None:
        """Give the API's clock as the answers told it, whose Date is cut to the second."""
        return self._api_clock.time(self._process.clock.monotonic(), self._process.host_time())

    def left_out_times(self) -> tuple[LeftOut, ...]:
        return self._api_clock.left_out()

    def _tell_time(self) -> None:
        """Date an answer that is the API's own."""
        process, weather = self._process, self._weather
        lag = weather.lag if self._queries >= weather.lags_from else timedelta(0)
        date = process.clock.now().replace(microsecond=0) - lag
        if _is_wrong(weather.wrong_at, self._answers):
            date += weather.wrong
            self._fault(f"a wrong Date, {weather.wrong_at}")
        self._answers += 1
        host = process.host_time()
        is_apart = abs(date - host) > LARGEST_SKEW
        if self._answers == 1:
            process.begins_apart = is_apart
            skew = host - process.clock.now()
            process.host_time_at_first = lambda: process.clock.now() + skew
        else:
            self._apart_in_a_row = self._apart_in_a_row + 1 if is_apart else 0
        process.apart_in_a_row = max(process.apart_in_a_row, self._apart_in_a_row)
        self._api_clock.tell(date, process.clock.monotonic(), host)

    def discover_locations(self, cluster_ids: Sequence[str]) -> Found:  # noqa: ARG002
        self._call("discover", 0.5)
        if self._weather.discovery in ("", "fewer"):
            self._tell_time()
        names = sorted(self._source.listed(self._process.clock.now()))
        match self._weather.discovery:
            case "":
                return _found(names)
            case "fewer":
                self._fault("discovery shows fewer")
                return _found(names[::2])
            case "nothing shown":
                self._fault("discovery shows nothing")
                raise NoPermission("microshare: discovery: no cluster")
            case fault:
                self._fault(f"discovery {fault}")
                raise _FAULTS[fault]("microshare: discovery")

    def query_dashboard(self, query: DashboardQuery) -> DashboardAnswer:
        process, weather = self._process, self._weather
        self._call("query", weather.latency_s, query.loc1, query.window)
        self._queries += 1
        if query.window.end <= process.clock.now() - self._reach:
            process.old_queries += 1
        else:
            process.queries[query.loc1] += 1
        earliest = process.asked_from.get(query.loc1, query.window.start)
        process.asked_from[query.loc1] = min(earliest, query.window.start)
        self._judge_start(query)
        if self._budget.remaining() <= 0:
            raise Interrupted("the run's time is over; the next run goes on")
        self._maybe_fail(query)
        self._tell_time()
        order = self._rng.random()
        if not weather.per_page:
            return DashboardAnswer(tuple(self._objects(query, order)))
        question = Question(f"{query.loc1}, {query.window}", "view", "")
        pages = read_all_pages(
            question, lambda number, _: self._page(query, order, number), largest_bytes=10**9
        )
        if pages.flaw:
            raise WindowTooWide(f"microshare: {query.loc1}: {pages.flaw}, twice")
        return DashboardAnswer(pages.objs)

    def tell_requests(self, tell: Callable[[Asked], None]) -> None:
        """There are no requests to tell of."""

    def close(self) -> None:
        """Nothing to close."""

    def _page(self, query: DashboardQuery, order: float, number: int) -> Page:
        """Give a page of what is shown by then; where pages drift, an object is now before the page."""
        if number > 1:
            self._call("page", self._weather.latency_s, query.loc1, number)
            self._tell_time()
        objects = self._objects(query, order)
        if number > 1 and self._weather.drifts and self._rng.random() < self._weather.drifts:
            self._fault("pages drift")
            objects = objects[1:]
        size = self._weather.per_page
        shown = objects[(number - 1) * size : number * size]
        pages = -(-len(objects) // size)
        return Page(tuple(shown), pages, size, len(objects), body_bytes=1)

    def _objects(self, query: DashboardQuery, order: float) -> list[dict[str, Any]]:
        building = self._source.buildings[query.loc1]
        found = building.view(query.window, self._process.clock.now(), self._limit)
        if self._weather.stale and self._rng.random() < self._weather.stale:
            self._fault("stale answer")
            self._process.had_stale_answers = True
            oracle = self._process.oracle
            found = [
                version
                for version in found
                if self._rng.random() < 0.5 or version.stray or not oracle.is_known_everywhere(version)
            ]
        return _objects(found, order, repeats=len(found) < self._limit * 0.5)

    def _call(self, what: str, seconds: float, *about: object) -> None:
        self._process.effect(what, *about)
        self._process.clock.sleep(seconds)
        self.api_calls += 1

    def _judge_start(self, query: DashboardQuery) -> None:
        floor = self._floor(query.loc1)
        if floor is None or query.window.start < floor:
            raise self._process.oracle.broken(
                "nothing before known_from is ever asked", query.loc1, query.window, floor
            )

    def _maybe_fail(self, query: DashboardQuery) -> None:
        weather, name = self._weather, query.loc1
        if name == weather.broken:
            self._fault("location broken")
            raise SourceRefused(f"microshare: {name}: 404")
        width = query.window.end - query.window.start
        if weather.too_wide is not None and width > weather.too_wide:
            self._fault("window too wide")
            raise WindowTooWide(f"microshare: {name}: 504")
        if weather.drifts and not weather.per_page and width > HOUR and self._rng.random() < weather.drifts:
            self._fault("pages drift")
            raise WindowTooWide(f"microshare: {name}: pages differ, twice")
        if weather.fails and self._rng.random() < weather.fails:
            self._fault(f"query {weather.fault}")
            raise _FAULTS[weather.fault](f"microshare: {name}: {weather.fault}")

    def _fault(self, what: str) -> None:
        self._process.oracle.counts[f"fault: {what}"] += 1


def _is_wrong(wrong_at: str, answer: int) -> bool:
    """Whether the answer of that number, counted from 0, has a wrong date."""
    return answer in {"first": (0,), "one": (2,), "two": (2, 3)}.get(wrong_at, ()) or wrong_at == "all"


def _found(names: Sequence[str]) -> Found:
    return Found(tuple(Place(name, "example.test", 1) for name in names))


def _objects(versions: Sequence[Version], order: float, *, repeats: bool) -> list[dict[str, Any]]:
    """Put readings into objects by their tags; the other way round, or with `repeats`, for some `order`s."""
    lines: dict[tuple[str, ...], list[dict[str, Any]]] = {}
    for version in versions:
        lines.setdefault(version.tags, []).append(version.entry)
    objects = [{"data": {"_id": {"tags": list(tags)}, "line": line}} for tags, line in sorted(lines.items())]
    if order < 0.3:
        objects.reverse()
        for line in lines.values():
            line.reverse()
    if order < 0.1 and repeats:
        for line in lines.values():
            line.append(line[0])
    return objects
