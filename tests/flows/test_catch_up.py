"""A backlog of a month: several short runs bring it down, oldest first, in questions of a day at most."""

from __future__ import annotations

import time
from datetime import datetime, timedelta
from itertools import pairwise

import pytest

from app.base.budget import Budget
from app.base.instants import parse_time
from app.run.report import Report
from emulators.estate import Building, Estate
from emulators.microshare import Request
from tests.environments.installation import START, Clock, Installation

MONTH = timedelta(days=30)
DAY = timedelta(hours=24)
# What the overlap of two questions adds.
OVERLAP = timedelta(seconds=1)


class Hurry:
    """A clock on which each query takes 10 s."""

    # The queries that are under way when a budget is used must not use up the time for acknowledgements.
    GRACE = timedelta(minutes=10)

    def __init__(self, installation: Installation) -> None:
        self.queries = 0
        installation.source.intercept = self._note

    def _note(self, request: Request) -> None:
        self.queries += request.kind == "query"

    def __call__(self) -> float:
        return time.monotonic() + 10.0 * self.queries

    def budget(self, budget: timedelta = timedelta(minutes=2)) -> Budget:
        return Budget(budget, grace=self.GRACE, monotonic=self)


@pytest.fixture
def estate() -> Estate:
    """Two buildings with one door each, so that a month is not too much for a test."""
    return Estate(buildings=[Building(name, groups=((name, "0", "Door"),)) for name in ("East", "West")])


def test_a_month_is_caught_up_with_over_several_runs_oldest_first(
    installation: Installation, clock: Clock
) -> None:
    installation.run()
    clock.move(days=30)
    already = len(installation.source.queries())
    hurry = Hurry(installation)
    reports: list[Report] = []
    positions: list[list[datetime]] = []
    while not reports or (reports[-1].left and len(reports) < 60):
        reports.append(installation.run(budget=hurry.budget()))
        positions.append([installation.position(name, hub) for name in ("East", "West") for hub in "ab"])

    assert [report.failures for report in reports if not report.ok] == []
    assert 3 < len(reports) < 60
    # No position goes back, and every run gains: which hub gains most is for the lanes to settle.
    steps = list(pairwise(positions))
    assert all(
        before <= after for earlier, later in steps for before, after in zip(earlier, later, strict=True)
    )
    assert all(earlier != later for earlier, later in steps)
    assert positions[-1] == [clock.now] * 4
    left = [report.left_s for report in reports]
    assert left == sorted(left, reverse=True)
    assert left[0] < 2 * MONTH.total_seconds()
    assert reports[-1].left == 0
    for hub in (installation.a, installation.b):
        assert installation.breaches(hub, START - DAY) == []
    asked = [
        parse_time(query.query["to"][0]) - parse_time(query.query["from"][0])
        for query in installation.source.queries()[already:]
    ]
    # A run reads a day again after one that asked in several slices, and that with what is new at once.
    assert max(asked) <= 2 * DAY + OVERLAP
    assert sorted(asked)[len(asked) // 2] <= DAY + OVERLAP


def test_runs_that_have_time_for_one_slice_of_a_location_catch_up_too(
    installation: Installation, clock: Clock
) -> None:
    installation.run()
    clock.move(days=3)
    hurry = Hurry(installation)
    positions: list[list[datetime]] = []
    left = None
    while left != 0:
        # All that may be asked is asked at once, and then the time is over.
        left = installation.run(budget=hurry.budget(timedelta(seconds=10))).left
        positions.append([installation.position(name, hub) for name in ("East", "West") for hub in "ab"])
        assert positions[-1] not in positions[:-1]

    assert positions[-1] == [clock.now] * 4
    for hub in (installation.a, installation.b):
        assert installation.breaches(hub, START - DAY) == []


def test_a_run_that_leaves_something_forecasts_how_long_runs_need_for_it(
    installation: Installation, clock: Clock
) -> None:
    installation.run()
    clock.move(days=30)
    hurry = Hurry(installation)

    first = installation.run(budget=hurry.budget())
    gained_s = 2 * MONTH.total_seconds() - first.left_s
    whole = installation.run()

    assert 0 < first.left_s < 2 * MONTH.total_seconds()
    assert first.forecast_s == pytest.approx(first.left_s / gained_s * first.took_s)
    assert first.as_json()["forecast_s"] > first.as_json()["took_s"]
    assert (whole.left_s, whole.forecast_s) == (0.0, None)


def test_a_run_that_gains_nothing_forecasts_nothing(installation: Installation, clock: Clock) -> None:
    installation.run()
    clock.move(days=3)
    installation.a.refuse_attach()
    installation.b.refuse_attach()

    report = installation.run()

    assert (report.left, report.left_s, report.forecast_s) == (2, 6 * DAY.total_seconds(), None)
