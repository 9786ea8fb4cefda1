"""The host's clock and the API's: which counts, when they are too far apart, and which is named wrong."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from app.base.clocks import ApiClock, Clocks
from app.base.errors import ClocksDiffer
from app.base.version import RELEASED

NOW = datetime(2027, 3, 2, 10, 0, tzinfo=UTC)
HOUR = timedelta(hours=1)
MS = timedelta(milliseconds=1)
YEARS = timedelta(days=3_653)


def test_the_clock_of_the_api_moves_on_from_the_last_time_told() -> None:
    clock = ApiClock()

    before = clock.time(5.0, NOW)
    clock.tell(NOW, 10.0, NOW)

    assert (before, clock.time(10.0, NOW), clock.time(12.5, NOW)) == (
        None,
        NOW,
        NOW + timedelta(seconds=2.5),
    )


@pytest.mark.parametrize(
    ("host_moved", "api_moved"),
    [
        (3 * HOUR, 3 * HOUR),
        (timedelta(seconds=5), timedelta(seconds=5)),
        (-3 * HOUR, timedelta(seconds=5)),
    ],
    ids=["the machine slept", "nothing happened", "the host was set back"],
)
def test_the_clock_of_the_api_outlives_a_sleep_and_a_clock_set_back(
    host_moved: timedelta, api_moved: timedelta
) -> None:
    clock = ApiClock()
    clock.tell(NOW, 10.0, NOW)

    assert clock.time(15.0, NOW + host_moved) == NOW + api_moved


@pytest.mark.parametrize("wrong", [-YEARS, -6 * HOUR - MS, 6 * HOUR + MS, YEARS], ids=str)
def test_a_time_that_is_far_from_the_host_s_is_left_out_in_mid_run(wrong: timedelta) -> None:
    clock = ApiClock()
    clock.tell(NOW, 10.0, NOW)

    clock.tell(NOW + wrong, 11.0, NOW)

    assert clock.time(11.0, NOW) == NOW + timedelta(seconds=1)
    assert [(found.clocks, found.in_a_row) for found in clock.left_out()] == [(Clocks(NOW, NOW + wrong), 1)]


def test_only_times_in_a_row_are_counted_together() -> None:
    clock = ApiClock()
    for wrong in (0, 9, 0, 9, 9, 9, 0, 9):
        clock.tell(NOW + wrong * HOUR, 10.0, NOW)

    assert [found.in_a_row for found in clock.left_out()] == [1, 1, 2, 3, 1]


def test_the_first_time_of_a_run_counts_whatever_it_says() -> None:
    clock = ApiClock()

    clock.tell(NOW - YEARS, 10.0, NOW)

    assert (clock.time(10.0, NOW), clock.left_out()) == (NOW - YEARS, ())


@pytest.mark.parametrize(
    ("skew", "agree"),
    [(6 * HOUR, True), (6 * HOUR + MS, False), (-6 * HOUR, True), (-6 * HOUR - MS, False)],
    ids=str,
)
def test_clocks_up_to_six_hours_apart_agree_and_the_earlier_counts(skew: timedelta, agree: bool) -> None:
    clocks = Clocks(NOW + skew, NOW)

    if agree:
        clocks.require_agreement()
    else:
        with pytest.raises(ClocksDiffer):
            clocks.require_agreement()
    assert clocks.horizon(timedelta(minutes=5)) == min(NOW + skew, NOW) - timedelta(minutes=5)


def test_what_is_said_of_clocks_that_differ_holds_both_times_and_how_far_apart_they_are() -> None:
    said = Clocks(NOW - 72 * HOUR, NOW).why_apart()

    assert said.startswith(
        "clocks: this host's says 2027-02-27T10:00:00.000Z and the API's 2027-03-02T10:00:00.000Z, 3 d apart"
    )
    assert "; set this host's clock right (`timedatectl" in said


@pytest.mark.parametrize(
    ("host", "api", "last_run", "named"),
    [
        (RELEASED - HOUR, NOW, None, "it is wrong, from before this release"),
        (NOW, RELEASED - YEARS, None, "its time is wrong, from before this release"),
        (NOW - 72 * HOUR, NOW, NOW - HOUR, "it is wrong, from before the last run"),
        (NOW, NOW - 72 * HOUR, NOW - HOUR, "its time is wrong, from before the last run"),
        (NOW - 72 * HOUR, NOW, NOW - 80 * HOUR, "one of them is wrong"),
        (NOW - 72 * HOUR, NOW, NOW + HOUR, "one of them is wrong"),
        (NOW + YEARS, NOW, None, "one of them is wrong"),
    ],
    ids=[
        "a host never set",
        "an old answer",
        "a host set back",
        "an answer from before the last run",
        "both after the last run",
        "both before the last run, whose own clock was ahead",
        "either may be ahead",
    ],
)
def test_the_clock_that_is_wrong_is_named_where_that_can_be_known(
    host: datetime, api: datetime, last_run: datetime | None, named: str
) -> None:
    assert named in Clocks(host, api).why_apart(last_run)


@pytest.mark.parametrize(
    ("clocks", "words"),
    [
        (Clocks(NOW, NOW + timedelta(minutes=5)), None),
        (Clocks(NOW, NOW + timedelta(minutes=7)), "7 minutes behind the API's"),
        (Clocks(NOW + timedelta(minutes=7), NOW), "7 minutes ahead of the API's"),
        (Clocks(NOW, None), "no answer of the API told its time"),
    ],
    ids=["five minutes", "behind", "ahead", "no time told"],
)
def test_clocks_that_may_be_worked_with_are_warned_of_above_five_minutes(
    clocks: Clocks, words: str | None
) -> None:
    warning = clocks.warning()

    assert warning is None if words is None else words in str(warning)
