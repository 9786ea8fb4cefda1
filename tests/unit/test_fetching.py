from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

import pytest

from app.base.errors import SourceUnavailable, WindowTooWide
from app.base.instants import format_time
from app.base.readings import DashboardAnswer, Reading, Slice
from app.feeds.feed import read_answer
from app.run.fetching import Fetched, fetch_slice

START = datetime(2026, 3, 2, tzinfo=UTC)
SECOND = timedelta(seconds=1)
MILLISECOND = timedelta(milliseconds=1)
LIMIT = 100


class CappedView:
    """A view that gives only the newest readings, up to its limit, and does not say so."""

    def __init__(self, times: Sequence[datetime]) -> None:
        self._times = sorted(times)
        self.asked: list[Slice] = []

    def ask(self, window: Slice) -> DashboardAnswer:
        self.asked.append(window)
        found = [(n, time) for n, time in enumerate(self._times) if time in window][-LIMIT:]
        lines = [{"time": format_time(time), "record": f"r{n}"} for n, time in found]
        return DashboardAnswer(({"data": {"_id": {"tags": ["A"]}, "line": lines}},))


def read(answer: DashboardAnswer) -> Sequence[Reading]:
    return read_answer("r", "A", answer)


def fetch(view: CappedView, window: Slice, earliest: datetime = START - timedelta(days=1)) -> Fetched:
    return fetch_slice(view.ask, read, window, earliest, LIMIT)


def fetch_all(view: CappedView, window: Slice) -> list[Fetched]:
    """Fetch as a run does: each slice begins where the one before ended."""
    fetched = [fetch(view, window)]
    while fetched[-1].window.end < window.end:
        done = fetched[-1]
        earliest = done.saturated.end if done.saturated else START - timedelta(days=1)
        fetched.append(fetch(view, Slice(done.window.end, window.end), earliest))
    return fetched


def records(fetched: Sequence[Fetched]) -> set[str]:
    return {reading.entry["record"] for part in fetched for reading in part.readings}


def test_a_quiet_slice_is_one_question_with_a_second_of_overlap() -> None:
    view = CappedView([START + SECOND])
    window = Slice(START, START + timedelta(hours=1))

    fetched = fetch(view, window)

    assert view.asked == [Slice(START - SECOND, window.end)]
    assert (fetched.window, fetched.lines, fetched.saturated) == (window, 1, None)


def test_nothing_earlier_than_allowed_is_asked() -> None:
    view = CappedView([])

    fetch(view, Slice(START, START + SECOND), earliest=START)

    assert view.asked == [Slice(START, START + SECOND)]


def test_a_full_answer_is_not_complete_and_every_reading_is_had_in_halves() -> None:
    view = CappedView([START + n * SECOND for n in range(1000)])

    fetched = fetch_all(view, Slice(START, START + 1000 * SECOND))

    assert records(fetched) == {f"r{n}" for n in range(1000)}
    assert [part.saturated for part in fetched if part.saturated] == []


def test_an_answer_just_below_the_limit_is_full_too() -> None:
    view = CappedView([START + n * SECOND for n in range(95)])

    fetched = fetch(view, Slice(START, START + 95 * SECOND))

    assert len(view.asked) > 1
    assert fetched.window.end < START + 95 * SECOND


def test_a_full_millisecond_is_delivered_as_it_came_and_named() -> None:
    burst = START + timedelta(minutes=10)
    view = CappedView([START + SECOND, *[burst] * 150, burst + SECOND])

    fetched = fetch_all(view, Slice(START, START + timedelta(hours=1)))

    assert [part.saturated for part in fetched if part.saturated] == [Slice(burst, burst + MILLISECOND)]
    assert records(fetched) >= {"r0", "r151"}
    assert sum(part.lines for part in fetched if part.saturated) == LIMIT


@pytest.mark.parametrize("count", [94, 150], ids=["not full alone", "full alone"])
def test_snapshots_of_one_instant_take_few_questions(count: int) -> None:
    hour = START + timedelta(hours=1)
    view = CappedView([hour] * count)

    fetch_all(view, Slice(START, START + timedelta(hours=2)))

    assert len(view.asked) <= 6


def test_a_full_overlap_is_given_up_rather_than_the_slice() -> None:
    view = CappedView([*[START - MILLISECOND] * 150, START + SECOND])
    window = Slice(START, START + timedelta(minutes=5))

    fetched = fetch_all(view, window)

    assert fetched[-1].window.end == window.end
    assert records(fetched) >= {"r150"}


def test_a_window_too_wide_for_the_source_is_halved() -> None:
    view = CappedView([START + timedelta(hours=n) for n in range(24)])

    def ask(window: Slice) -> DashboardAnswer:
        if window.end - window.start > timedelta(hours=7):
            raise WindowTooWide("microshare: 504")
        return view.ask(window)

    fetched = fetch_slice(ask, read, Slice(START, START + timedelta(hours=24)), START, LIMIT)

    assert fetched.window == Slice(START, START + timedelta(hours=6))


def test_a_source_that_answers_no_window_is_unavailable() -> None:
    def ask(window: Slice) -> DashboardAnswer:
        raise WindowTooWide("microshare: 504")

    with pytest.raises(SourceUnavailable, match="504; no shorter window is tried"):
        fetch_slice(ask, read, Slice(START, START + timedelta(hours=24)), START, LIMIT)


def had_in(view: CappedView, window: Slice) -> dict[datetime, frozenset[str]]:
    """Give what a first question shows of an hour, as a checkpoint remembers it."""
    return {window.start: frozenset(reading.id for reading in read(view.ask(window)))}


class StaleView(CappedView):
    """A view whose first answer lacks what is newest, as a cache's would."""

    def ask(self, window: Slice) -> DashboardAnswer:
        fresh = super().ask(window)
        if len(self.asked) > 1:
            return fresh
        (obj,) = fresh.objs
        return DashboardAnswer(({"data": {**obj["data"], "line": obj["data"]["line"][:-2]}},))


HOUR = Slice(START, START + timedelta(hours=1))
TIMES = [START + n * timedelta(minutes=10) for n in range(6)]


def test_readings_that_do_not_come_back_are_asked_for_again_in_halves() -> None:
    view = StaleView(TIMES)

    fetched = fetch_slice(view.ask, read, HOUR, START, LIMIT, had_in(CappedView(TIMES), HOUR))

    assert records([fetched]) == {f"r{n}" for n in range(6)}
    assert [reading.time for reading in fetched.readings] == TIMES
    assert (fetched.window, fetched.absent) == (HOUR, 0)
    half = START + timedelta(minutes=30)
    assert view.asked[1:] == [Slice(START, half), Slice(half, HOUR.end)]


def test_halves_that_are_full_are_asked_for_in_smaller_parts() -> None:
    times = [START + n * SECOND for n in range(1_000)]
    few = CappedView(times[:6])
    view = CappedView(times)

    def ask(window: Slice) -> DashboardAnswer:
        view.asked.append(window)
        return few.ask(window) if len(view.asked) == 1 else CappedView(times).ask(window)

    fetched = fetch_slice(ask, read, HOUR, START, LIMIT, {START: frozenset(["a reading of old"])})

    assert records([fetched]) >= {f"r{n}" for n, time in enumerate(times) if time in fetched.window}
    assert fetched.window.end < HOUR.end


def test_halves_that_are_too_wide_still_are_asked_for_in_smaller_parts() -> None:
    stale = StaleView(TIMES)

    def ask(window: Slice) -> DashboardAnswer:
        if stale.asked and window.end - window.start > timedelta(minutes=20):
            raise WindowTooWide("microshare: 504")
        return stale.ask(window)

    fetched = fetch_slice(ask, read, HOUR, START, LIMIT, had_in(CappedView(TIMES), HOUR))

    assert (fetched.window.start, fetched.window.end) == (START, START + timedelta(minutes=15))
    assert fetched.too_wide


def test_of_two_versions_the_one_that_was_shown_later_counts() -> None:
    def ask(window: Slice) -> DashboardAnswer:
        lines = [{"time": format_time(START), "record": "r0", "in": len(asked)}]
        asked.append(window)
        return DashboardAnswer(({"data": {"_id": {"tags": ["A"]}, "line": lines}},))

    asked: list[Slice] = []

    fetched = fetch_slice(ask, read, HOUR, START, LIMIT, {START: frozenset(["a reading of old"])})

    assert [reading.entry["in"] for reading in fetched.readings if reading.entry["in"] == 0] == []


def test_readings_that_are_gone_for_good_are_counted_and_cost_nothing_else() -> None:
    view = CappedView(TIMES[:4])

    fetched = fetch_slice(view.ask, read, HOUR, START, LIMIT, had_in(CappedView(TIMES), HOUR))

    assert records([fetched]) == {f"r{n}" for n in range(4)}
    assert (fetched.window, fetched.absent) == (HOUR, 2)


def test_only_hours_that_lie_in_the_question_must_come_back() -> None:
    view = CappedView([])
    before = had_in(CappedView(TIMES), HOUR)

    fetched = fetch_slice(view.ask, read, Slice(START + SECOND * 2, HOUR.end), START + SECOND, LIMIT, before)

    assert (len(view.asked), fetched.absent) == (1, 0)


def test_a_correction_comes_back_as_another_version() -> None:
    def ask(window: Slice) -> DashboardAnswer:
        lines = [{"time": format_time(START), "record": "r0", "in": len(asked)}]
        asked.append(window)
        return DashboardAnswer(({"data": {"_id": {"tags": ["A"]}, "line": lines}},))

    asked: list[Slice] = []
    before = {START: frozenset(reading.id for reading in read(ask(HOUR)))}

    fetched = fetch_slice(ask, read, HOUR, START, LIMIT, before)

    assert (len(asked), fetched.absent) == (2, 0)
