"""What was failing before a run, and what of it is over: each told once, and since the first time."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from app.base.checkpoints import Checkpoint, FeedState, HubRecord, LocationState
from app.base.errors import HubUnreachable
from app.base.instants import format_time
from app.base.log import configure_logging, get_log
from app.eventhub.deliveries import Delivery
from app.run.availability import Availability
from app.run.draft import Draft
from app.run.ledger import Ledger
from app.run.outages import Outages, outages_in
from app.run.planning import Group, Limits
from app.run.ports import Wiring
from app.run.telling import Telling
from app.state.json_file import JsonFileStore
from tests.unit.a_run import DAY, FEED, HOUR, MILL, MINUTE, NOON, QUAY, A, B, draft, settings

POSITION = Checkpoint(NOON - HOUR, NOON - DAY)
AT_BOTH = LocationState(
    checkpoints={A: POSITION, B: POSITION}, hubs={A: HubRecord(start=NOON - DAY), B: HubRecord()}
)
DOWN = HubRecord(error="down", since=NOON - HOUR)


class Run:
    """One run's knowledge of who fails, from the state that the run before left."""

    def __init__(self, state: FeedState) -> None:
        self.ledger = Ledger(state, Limits(HOUR, DAY, 999))
        self.draft: Draft = draft()
        self.available = Availability(
            [A, B], outages_in(state), self.ledger, self.draft, get_log(run="r1", feed="f"), lambda: NOON
        )

    def query_failed(self, name: str) -> None:
        self.available.query_failed(Group(name, (A, B), POSITION, NOON), HubUnreachable("no answer"))

    def ends(self) -> FeedState:
        """End the run; give the state that the next one finds."""
        self.available.tell_what_is_over()
        last_run = {"hubs_failing": self.available.failing_hubs()}
        return replace(self.ledger.state(), last_run=last_run)


@pytest.fixture
def lines(caplog: pytest.LogCaptureFixture) -> pytest.LogCaptureFixture:
    configure_logging("INFO", to_stderr=False)
    return caplog


def told(lines: pytest.LogCaptureFixture) -> list[tuple[str, str | None, str | None]]:
    """Give what was logged since this was asked last: event, location, hub."""
    found = [json.loads(record.getMessage()) for record in lines.records]
    lines.clear()
    return [(line["event"], line.get("location"), line.get("hub")) for line in found]


# --- what the run before left -----------------------------------------------------------------------


def test_a_state_without_a_run_has_nothing_failing() -> None:
    assert outages_in(FeedState({MILL: AT_BOTH})) == Outages()


def test_what_was_failing_is_told_apart_by_whose_fault_it_was() -> None:
    state = FeedState(
        {
            MILL: replace(AT_BOTH, error="404", since=NOON - HOUR, hubs={A: DOWN, B: DOWN}),
            QUAY: replace(AT_BOTH, hubs={A: DOWN, B: HubRecord()}),
        },
        last_run={"failing_since": format_time(NOON - 3 * HOUR), "hubs_failing": [A]},
    )

    assert outages_in(state) == Outages(
        since=NOON - 3 * HOUR,
        hubs=frozenset([A]),
        locations=frozenset([MILL]),
        refusals=frozenset([(MILL, B)]),
    )


# --- told once --------------------------------------------------------------------------------------


def test_a_hub_that_fails_for_days_is_told_when_it_begins_and_when_it_is_over(
    lines: pytest.LogCaptureFixture,
) -> None:
    state, every = FeedState({MILL: AT_BOTH, QUAY: AT_BOTH}), []
    for fails in (True, True, True, False, False):
        run = Run(state)
        run.available.opened(B, 1_000_000)
        if fails:
            run.available.closed(A, HubUnreachable("down"), [MILL, QUAY], is_its_fault=True)
        else:
            run.available.opened(A, 1_000_000)
        state = run.ends()
        every.append(told(lines))

    assert every == [[("hub.failing", None, A)], [], [], [("hub.recovered", None, A)], []]


def test_a_hub_that_a_run_did_not_come_to_is_still_failing_in_the_next(
    lines: pytest.LogCaptureFixture,
) -> None:
    state = FeedState({MILL: AT_BOTH}, last_run={"hubs_failing": [A]})

    after = Run(state).ends()

    assert after.last_run == {"hubs_failing": [A]}
    assert told(lines) == []


ALONE, BESIDE = "hub a: no connection; open port 443", "hub a: no connection; check its namespace"


@pytest.mark.parametrize(
    ("then", "said"),
    [
        (lambda available: available.opened(B, 1_000_000), BESIDE),
        (lambda available: available.closed(B, HubUnreachable("gone"), [MILL], is_its_fault=True), ALONE),
        (lambda available: available.tell_of_closed(at_last=True), ALONE),
    ],
    ids=["the other is reached", "the other fails too", "the other says nothing to the end"],
)
def test_what_to_do_about_a_hub_waits_for_whether_others_are_reached(
    lines: pytest.LogCaptureFixture, then: Callable[[Availability], None], said: str
) -> None:
    run = Run(FeedState({MILL: AT_BOTH}))

    run.available.closed(A, HubUnreachable(ALONE, beside_others=BESIDE), [MILL], is_its_fault=True)
    before = told(lines)
    then(run.available)

    first = json.loads(lines.records[0].getMessage())
    assert before == []
    assert (first["event"], first["hub"], first["error"]) == ("hub.failing", A, said)
    assert run.ledger.state().locations[MILL].hubs[A].error == said
    assert A in run.available.failing_hubs()


def test_a_hub_that_is_lost_beside_another_that_is_reached_is_told_at_once(
    lines: pytest.LogCaptureFixture,
) -> None:
    run = Run(FeedState({MILL: AT_BOTH}))
    run.available.opened(B, 1_000_000)

    run.available.closed(A, HubUnreachable(ALONE, beside_others=BESIDE), [MILL], is_its_fault=True)

    assert [json.loads(record.getMessage())["error"] for record in lines.records] == [BESIDE]


def test_what_is_not_a_hub_s_fault_leaves_its_record_alone(lines: pytest.LogCaptureFixture) -> None:
    run = Run(FeedState({MILL: AT_BOTH}))
    run.available.opened(A, 1_000_000)

    run.available.closed(A, HubUnreachable("the run lock was lost"), [MILL], is_its_fault=False)

    after = run.ends()
    assert after.last_run == {"hubs_failing": []}
    assert after.locations[MILL].hubs[A].error is None
    assert told(lines) == []


def test_a_location_that_cannot_be_queried_is_told_once_and_is_left_alone_for_the_run(
    lines: pytest.LogCaptureFixture,
) -> None:
    first = Run(FeedState({MILL: AT_BOTH, QUAY: AT_BOTH}))
    for hub in (A, B):
        first.available.opened(hub, 1_000_000)
    first.query_failed(MILL)
    usable = [first.available.is_usable(name, A) for name in (MILL, QUAY)]
    state = first.ends()
    began = told(lines)
    second = Run(state)
    second.query_failed(MILL)
    state = second.ends()
    lasts = told(lines)
    third = Run(state)
    waiting = third.available.has_yet_to_answer(MILL)
    third.available.answered_locations.add(MILL)
    third.ends()

    assert usable == [False, True]
    assert (began, lasts) == ([("location.failing", MILL, None)], [])
    assert (waiting, told(lines)) == (True, [("location.recovered", MILL, None)])


def test_a_location_that_answered_in_part_is_not_over(lines: pytest.LogCaptureFixture) -> None:
    run = Run(FeedState({MILL: replace(AT_BOTH, error="504", since=NOON - HOUR)}))
    run.available.answered_locations.add(MILL)
    run.query_failed(MILL)

    after = run.ends()

    assert (after.locations[MILL].error, after.locations[MILL].since) == ("no answer", NOON - HOUR)
    assert told(lines) == []


def test_a_refusal_stops_one_hub_at_one_location_and_is_over_when_that_hub_takes_it(
    lines: pytest.LogCaptureFixture,
) -> None:
    first = Run(FeedState({MILL: AT_BOTH, QUAY: AT_BOTH}))
    for hub in (A, B):
        first.available.opened(hub, 1_000_000)
    first.available.refused(MILL, A, "rejected")
    usable = {(name, hub): first.available.is_usable(name, hub) for name in (MILL, QUAY) for hub in (A, B)}
    state = first.ends()
    began = told(lines)
    second = Run(state)
    for hub in (A, B):
        second.available.opened(hub, 1_000_000)
    second.ledger.delivered(A, Delivery(MILL, None, {}, closes=NOON), NOON)
    second.ends()

    assert [key for key, usable in usable.items() if not usable] == [(MILL, A)]
    assert (began, told(lines)) == (
        [("location.failing", MILL, A)],
        [("location.recovered", MILL, A)],
    )


# --- since when a feed fails ------------------------------------------------------------------------


def test_a_feed_fails_since_the_first_run_of_those_that_failed(
    tmp_path: Path,
) -> None:
    state, found = FeedState({MILL: AT_BOTH}), []
    for number, fails in enumerate((False, True, True, False, True)):
        began = NOON + number * 15 * MINUTE

        def now(at: object = began) -> object:
            return at

        wiring = Wiring(settings(), JsonFileStore(tmp_path), None, None, now=now)  # type: ignore[arg-type]  # no run is made
        telling = Telling(wiring, FEED, "peoplecounterstate")
        run = Run(state)
        if fails:
            telling.draft.fail(MILL, None, "no answer")
        last_run = telling.last_run(run.available)
        state = replace(run.ends(), last_run=last_run)
        found.append(last_run["failing_since"])

    first, again = (format_time(NOON + minutes * MINUTE) for minutes in (15, 60))
    assert found == [None, first, first, None, again]


@pytest.mark.parametrize(
    ("apart", "expected"),
    [
        (timedelta(minutes=15), 900.0),
        (timedelta(hours=3), 10_800.0),
        (timedelta(seconds=59), None),
        (timedelta(hours=3, seconds=1), None),
        (timedelta(minutes=-15), None),
    ],
    ids=["as runs follow", "with a pause", "a repeat by hand", "after a longer pause", "a clock put back"],
)
def test_what_a_run_did_is_a_rate_only_where_it_follows_on_another(
    tmp_path: Path, apart: timedelta, expected: float | None
) -> None:
    wiring = Wiring(settings(), JsonFileStore(tmp_path), None, None, now=lambda: NOON)  # type: ignore[arg-type]  # no run is made

    telling = Telling(wiring, FEED, "peoplecounterstate")

    assert telling.seconds_since({"started": format_time(NOON - apart)}) == expected
