"""What `run` shows a person: what was done, what is left, and what failed, in words of ours."""

from __future__ import annotations

import re
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from app.base.checkpoints import Checkpoint, LocationState
from app.cli.output import Output
from app.cli.run import show
from app.run.report import NO_STATE, Failure, HubReport, Report
from tests.unit.a_run import HOUR, MILL, NOON, QUAY, A, B, draft, settings

QUERY = "microshare: query of view ffff for {}, 2026-03-02T10:00:00.000Z to 2026-03-02T11:59:59.999Z: "
DOWN = '502, a page, "<b>nginx</b>"; given up after 4 attempts, the next run tries again'
REPORT = Report(
    "r1", "people_counter", NOON, NOON, 8.34, 6, 6, 9, {A: HubReport(28, 28, 85, delivered_until=NOON)}
)


@pytest.fixture
def shown(capfd: pytest.CaptureFixture[str]) -> Any:
    """Show a report; give what came out, its lines as one."""

    def shown(report: Report, **how: bool) -> str:
        show(report, settings(), Output(), **how)
        return re.sub(r"\s+", " ", capfd.readouterr().out)

    return shown


def test_a_run_that_did_all_says_so_in_a_line(shown: Any) -> None:
    assert shown(REPORT).startswith("people-counter: 6 locations up to 2026-03-02 12:00 UTC, 8.3 s hub ")


def test_an_interrupted_run_says_that_and_that_the_next_goes_on(shown: Any) -> None:
    said = shown(replace(REPORT, interrupted=True))

    assert said.startswith("people-counter: interrupted after 8.3 s, the next run goes on from there hub ")


def test_a_dry_run_says_that_nothing_was_sent_or_saved(shown: Any) -> None:
    said = shown(replace(REPORT, dry_run=True))

    assert said.startswith("people-counter, dry run: 6 locations ")
    assert "nothing was sent or saved" in said


def test_what_is_left_is_told_by_the_furthest_and_how_many(shown: Any) -> None:
    left = replace(REPORT, left=3, left_s=9 * 3600.0, left_longest_s=4 * 3600.0, forecast_s=120.0)

    assert "left for the next run: 4 h at most, at 3 locations, about 2 min of runs like this one" in shown(
        left
    )


def test_what_fails_is_not_said_to_be_caught_up_with(shown: Any) -> None:
    left = replace(
        REPORT, left=1, left_longest_s=60.0, forecast_s=1.0, failures=[Failure(MILL, None, "down")]
    )

    assert "left for the next run: 1 min at most, at 1 location failed:" in shown(left)


def test_an_interrupted_run_says_nothing_of_how_long_the_rest_takes(shown: Any) -> None:
    left = replace(REPORT, left=1, left_longest_s=60.0, forecast_s=1.0, interrupted=True)

    assert shown(left).strip().endswith("left for the next run: 1 min at most, at 1 location")


def test_alike_failures_are_told_once_by_their_cause_and_whole_only_where_that_is_asked_for(
    shown: Any,
) -> None:
    failures = [Failure(name, None, QUERY.format(repr(name)) + DOWN) for name in (MILL, QUAY)]
    failed = replace(REPORT, failures=[*failures, Failure(None, B, "hub b: busy: said the SDK; at length")])

    said, whole = shown(failed), shown(failed, verbose=True)

    assert said.startswith("people-counter: failed in part: 6 locations ")
    assert (
        f"failed: {MILL}, {QUAY}: the API answers with 502; the next run tries again failed: hub b: asks"
        in said
    )
    assert "nginx" not in said
    assert "SDK" not in said
    assert said in whole.replace(f" {failures[0].error} {failures[1].error}", "").replace(
        " hub b: busy: said the SDK; at length", ""
    )


def test_hubs_that_fail_alike_are_told_together(shown: Any) -> None:
    refused = "hub x: unauthorized-access: the key may not send; grant the Send right (said the SDK)"
    failed = replace(
        REPORT, failures=[Failure(None, A, refused), Failure(None, B, refused), Failure(MILL, B, refused)]
    )

    said = shown(failed)

    assert "failed: hubs a, b: refuse the credentials; grant the Send right failed:" in said
    assert f"failed: {MILL}, hub b: refuses the credentials; grant the Send right" in said


def test_a_new_installation_is_a_note_and_no_warning(shown: Any) -> None:
    new = f"{NO_STATE}/var/state: a new installation, begins at 2026-03-01T00:00:00.000Z"

    said = shown(replace(REPORT, warnings=[new, f"discovery failed: {QUERY.format('x')}{DOWN}"]))

    assert f"note: {new} warning: discovery failed (the API answers with 502)" in said


def test_of_many_alike_things_some_are_told_unless_all_are_asked_for(shown: Any) -> None:
    many = replace(REPORT, warnings=[f"{number} of a kind" for number in range(9)])

    said = shown(many)

    assert "warning: 3 of a kind warning: 5 more; --verbose shows all" in said
    assert "8 of a kind" not in said
    assert "8 of a kind" in shown(many, verbose=True)


def test_a_run_that_asked_for_nothing_says_so(shown: Any) -> None:
    refused = "microshare: login refused for user svc@example.test (401); check MICROSHARE_PASSWORD"
    failed = replace(REPORT, until=None, locations=0, failures=[Failure(None, None, refused)])

    said = shown(failed)

    assert said.startswith("people-counter: failed after 8.3 s, before any location was asked for ")
    assert said.strip().endswith("failed: the API refuses the login; check MICROSHARE_PASSWORD")


# --- what the report says of an early end -----------------------------------------------------------


@pytest.mark.parametrize(
    ("behind", "stopped", "interrupted"),
    [(HOUR, True, True), (HOUR, False, False), (timedelta(0), True, False)],
    ids=["with something left", "by its time", "with nothing left"],
)
def test_a_run_is_interrupted_where_it_was_stopped_with_something_left(
    behind: timedelta, stopped: bool, interrupted: bool
) -> None:
    found = {MILL: LocationState(checkpoints={A: Checkpoint(NOON - behind, NOON - behind)})}

    report = draft().finish(failing_since=None, took_s=1, until=NOON, locations=found, stopped=stopped)

    assert report.interrupted is interrupted


def test_a_run_that_was_stopped_before_it_knew_up_to_where_is_interrupted() -> None:
    assert draft().finish(failing_since=None, took_s=1, stopped=True).interrupted


def test_the_furthest_of_what_is_left_is_no_sum() -> None:
    found = {
        name: LocationState(checkpoints={A: Checkpoint(NOON - behind, NOON), B: Checkpoint(NOON, NOON)})
        for name, behind in ((MILL, HOUR), (QUAY, 2 * HOUR))
    }

    report = draft().finish(failing_since=None, took_s=1, until=NOON, locations=found)

    assert (report.left_s, report.left_longest_s) == (3 * 3600, 2 * 3600)
