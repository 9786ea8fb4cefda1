"""Clocks that are wrong, the host's or the API's: nothing is asked, sent or changed by them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta

import pytest

from app.base.instants import parse_time
from tests.environments.installation import START, Clock, Installation

HOUR = timedelta(hours=1)
YEARS = timedelta(days=3_653)


@contextmanager
def host_at(installation: Installation, away: timedelta) -> Iterator[None]:
    """Let the host's clock be so far from the true time, in a process of its own."""
    installation.host_clock = Clock(installation.clock.now + away)
    installation.restart()
    yield
    installation.host_clock = installation.clock
    installation.restart()


def stored(installation: Installation) -> dict[str, bytes]:
    """Give every file of the state's folder but those that say who holds a lock."""
    return {
        str(path): path.read_bytes()
        for path in (installation.folder / "state").rglob("*")
        if path.is_file() and ".lock" not in path.name
    }


def sent(installation: Installation) -> tuple[int, int]:
    return len(installation.a.received()), len(installation.b.received())


def breaches(installation: Installation, start: datetime) -> list[str]:
    return [text for hub in (installation.a, installation.b) for text in installation.breaches(hub, start)]


def earliest_asked(installation: Installation) -> datetime:
    return min(parse_time(request.query["from"][0]) for request in installation.source.queries())


def test_a_login_with_a_date_of_ten_years_ago_fails_the_run_and_changes_nothing(
    installation: Installation, clock: Clock
) -> None:
    installation.run()
    clock.move(minutes=15)
    before, at_hubs, queries = stored(installation), sent(installation), len(installation.source.queries())
    installation.restart()
    installation.source.faults.wrong_date(on="login", times=1)

    report = installation.run()

    assert not report.ok
    assert report.failures[0].error.startswith(
        "clocks: this host's says 2026-03-02T12:15:00.000Z and the API's 2016-03-02T"
    )
    assert (stored(installation), sent(installation), len(installation.source.queries())) == (
        before,
        at_hubs,
        queries,
    )
    installation.restart()
    assert installation.run().ok
    assert breaches(installation, START - timedelta(days=1)) == []
    assert earliest_asked(installation) >= START - timedelta(days=1)


@pytest.mark.parametrize("away", [-3 * 24 * HOUR, -20 * 24 * HOUR, 7 * HOUR, YEARS], ids=str)
def test_a_run_with_the_host_s_clock_wrong_changes_nothing(
    installation: Installation, clock: Clock, away: timedelta
) -> None:
    installation.run()
    clock.move(minutes=15)
    before, at_hubs = stored(installation), sent(installation)

    with host_at(installation, away):
        report = installation.run()

    assert not report.ok
    assert report.api_calls == 1
    assert (stored(installation), sent(installation)) == (before, at_hubs)
    assert installation.run().ok
    assert breaches(installation, START - timedelta(days=1)) == []


def test_the_host_s_clock_is_never_believed_alone_by_a_process_that_kept_its_token(
    installation: Installation, clock: Clock
) -> None:
    installation.run()
    clock.move(minutes=15)
    before = stored(installation)
    installation.host_clock = Clock(clock.now - timedelta(days=3))

    report = installation.run()

    assert "keeps it so): it is wrong, from before the last run" in report.failures[0].error
    assert (stored(installation), report.api_calls) == (before, 1)
    installation.host_clock = clock
    assert installation.run().ok
    assert breaches(installation, START - timedelta(days=1)) == []


def test_clocks_that_stay_apart_fail_every_run_until_they_agree(
    installation: Installation, clock: Clock
) -> None:
    installation.run()
    before = stored(installation)
    with host_at(installation, 30 * 24 * HOUR):
        reports = []
        for _ in range(3):
            clock.move(minutes=15)
            reports.append(installation.run())
        assert [report.ok for report in reports] == [False] * 3
        assert stored(installation) == before

    assert installation.run().ok
    assert breaches(installation, START - timedelta(days=1)) == []


def test_no_clock_brings_what_lies_before_the_first_checkpoint(
    installation: Installation, clock: Clock
) -> None:
    installation.overrides["start_from"] = timedelta(hours=6)
    installation.run()
    clock.move(minutes=15)

    for away in (-5 * HOUR, -10 * HOUR, timedelta(0)):
        installation.restart()
        installation.source.skew = away
        installation.run()
        clock.move(minutes=15)

    installation.run()
    assert breaches(installation, START - timedelta(hours=6)) == []
    assert earliest_asked(installation) >= START - timedelta(hours=6)


@pytest.mark.parametrize("feed", ["people_counter", "hourly_snapshot"])
def test_a_position_ahead_of_the_clock_stays_and_nothing_is_asked_for_it(
    installation: Installation, clock: Clock, feed: str
) -> None:
    installation.run(feed)
    state, queries = installation.state(feed), len(installation.source.queries())
    clock.move(hours=-3)
    installation.restart()

    report = installation.run(feed)

    assert report.ok
    assert any("is ahead of the clock" in warning for warning in report.warnings)
    after = installation.state(feed)
    assert {name: found.checkpoints for name, found in after.locations.items()} == {
        name: found.checkpoints for name, found in state.locations.items()
    }
    assert len(installation.source.queries()) == queries


def test_all_positions_ahead_of_the_clock_are_one_warning(installation: Installation, clock: Clock) -> None:
    installation.run()
    clock.move(hours=-3)

    report = installation.run()

    (warning,) = [warning for warning in report.warnings if "ahead of the clock" in warning]
    assert "(9 others too)" in warning


def test_a_position_that_time_has_passed_goes_on_where_it_was(
    installation: Installation, clock: Clock
) -> None:
    installation.run()
    clock.move(hours=-3)
    installation.run()
    clock.move(hours=4)

    installation.run()

    assert breaches(installation, START - timedelta(days=1)) == []


def one_answer(installation: Installation) -> None:
    installation.source.faults.wrong_date(times=1)


def an_error_page(installation: Installation) -> None:
    date = {"Date": "Tue, 01 Mar 2016 10:00:00 GMT"}
    installation.source.faults.status(503, "<html>", date, times=1)


def an_answer_of_a_cache(installation: Installation) -> None:
    installation.source.faults.wrong_date(-9 * 3600, age=9 * 3600)


@pytest.mark.parametrize(
    ("spoil", "warned", "more_calls"),
    [(one_answer, True, 0), (an_error_page, False, 1), (an_answer_of_a_cache, False, 0)],
    ids=["one answer", "an error page", "answers of a cache, which say how old they are"],
)
def test_one_wrong_date_in_mid_run_is_as_if_it_had_not_been(
    installation: Installation,
    clock: Clock,
    spoil: Callable[[Installation], None],
    warned: bool,
    more_calls: int,
) -> None:
    installation.run()
    clock.move(minutes=15)
    quiet = installation.run()
    clock.move(minutes=15)
    spoil(installation)

    report = installation.run()

    assert report.ok
    assert report.api_calls == quiet.api_calls + more_calls
    assert any("was left out" in warning for warning in report.warnings) == warned
    assert report.until == clock.now
    assert breaches(installation, START - timedelta(days=1)) == []


def test_a_second_wrong_date_in_a_row_opens_no_more_slices_and_fails_the_run(
    installation: Installation, clock: Clock
) -> None:
    installation.overrides["concurrency"] = 1
    installation.run()
    clock.move(minutes=15)
    queries = len(installation.source.queries())
    installation.source.faults.wrong_date(times=2)

    report = installation.run()

    assert not report.ok
    assert report.failures[0].error.startswith("during the run, clocks: this host's says ")
    assert len(installation.source.queries()) - queries == 2
    assert report.left == 3
    installation.source.faults.clear()
    assert installation.run().ok
    assert breaches(installation, START - timedelta(days=1)) == []


def test_every_answer_of_a_run_with_a_wrong_date_fails_it(installation: Installation, clock: Clock) -> None:
    installation.run()
    clock.move(minutes=15)
    before = stored(installation)
    installation.source.faults.wrong_date(on="any")

    report = installation.run()

    assert (report.ok, stored(installation)) == (False, before)


def test_an_api_that_never_tells_its_time_leaves_the_host_s_clock_with_a_warning(
    installation: Installation,
) -> None:
    installation.source.faults.no_date(on="any")

    report = installation.run()

    assert report.ok
    assert [warning for warning in report.warnings if "no answer of the API told its time" in warning] != []
    assert breaches(installation, START - timedelta(days=1)) == []


def test_a_run_that_fails_for_its_clock_leaves_the_history_of_runs_alone(
    installation: Installation, clock: Clock
) -> None:
    for _ in range(3):
        installation.run()
        clock.move(hours=20)

    with host_at(installation, YEARS):
        installation.run()

    history = list(installation.wiring().store.history("peoplecounterstate", START - YEARS))
    assert [report["ok"] for report in history] == [True] * 3
