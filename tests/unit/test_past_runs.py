"""What is read of a run's report, as this version writes it, and as others may."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from app.health.past_runs import PastRun, past_run, past_runs
from app.quality.lateness import DelayCount, Lateness
from app.run.report import Changed, Compared, Failure, HubReport, Report

NOON = datetime(2026, 3, 2, 12, 0, tzinfo=UTC)
HUB = HubReport(20, 21, 3, delivered_until=NOON, behind_s=1.5, error="down", bytes=4000, maybe_twice=2)
REPORT = Report(
    run="r1",
    feed="people_counter",
    started=NOON,
    until=NOON,
    took_s=4.25,
    locations=5,
    slices=6,
    api_calls=7,
    hubs={"example.test/a": HUB},
    left=5,
    forecast_s=180.0,
    lateness=Lateness(21, 430.0, 860.0, 900.0, (DelayCount(300, 20), DelayCount(None, 1))),
    warnings=["one; do this"],
    failures=[Failure("Mill & Lane", None, "404")],
    changed=[Changed("Mill & Lane", NOON, (("a", "b"),)), Changed("Quay+One", NOON)],
    compared=Compared(2, 24, 1),
    interrupted=True,
)


def test_a_report_is_read_as_it_was_written() -> None:
    assert past_run(json.loads(json.dumps(REPORT.as_json()))) == PastRun(
        run="r1",
        started=NOON,
        ok=False,
        left=5,
        took_s=REPORT.took_s,
        slices=REPORT.slices,
        forecast=timedelta(minutes=3),
        hubs=REPORT.hubs,
        failures=tuple(REPORT.failures),
        warnings=["one; do this"],
        quarantined=tuple(REPORT.quarantined),
        gaps=[],
        changed=list(REPORT.changed),
        lateness=REPORT.lateness,
        compared=REPORT.compared,
        per_day=None,
        interrupted=True,
        locations=5,
        api_calls=7,
    )


def test_what_an_earlier_version_did_not_write_is_empty_and_what_a_later_one_adds_is_left_out() -> None:
    report = {
        "run": "r1",
        "started": "2026-03-02T12:00:00.000Z",
        "hubs": {"example.test/a": {"readings": 3, "colour": "red"}},
        "weather": "fair",
    }

    found = past_run(report)

    assert (found.ok, found.warnings, found.failures, found.changed) == (True, (), (), [])
    assert (found.left, found.forecast, found.lateness, found.compared) == (0, None, None, None)
    assert found.hubs == {"example.test/a": HubReport(readings=3)}


@pytest.mark.parametrize(
    "odd",
    [
        {"started": "yesterday"},
        {"started": {"$date": "2026-03-02T12:00:00.000Z"}},
        {"ok": "no"},
        {"left": 10**400},
        {"forecast_s": 1e300},
        {"hubs": []},
        {"hubs": {"example.test/a": {"readings": {}}}},
        {"hubs": {"example.test/a": {"delivered_until": 7}}},
        {"failures": [{}]},
        {"failures": None},
        {"warnings": [3]},
        {"changed": [{"location": "Mill & Lane", "hour": "2026-03-02T12:00:00.000Z", "ids": [["a"]]}]},
        {"lateness": {"readings": 1}},
        {"compared": [1, 2, 3]},
        {"per_day": {"api_calls": 1, "hubs": {"example.test/a": {}}}},
    ],
    ids=str,
)
def test_what_is_no_report_hides_none_of_those_beside_it(odd: dict[str, Any]) -> None:
    good = REPORT.as_json()

    assert list(past_runs([good, {**good, **odd}, good])) == [past_run(good)] * 2
