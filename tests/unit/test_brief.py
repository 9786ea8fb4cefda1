"""A run in one line for people."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from types import MappingProxyType
from typing import Any

import pytest

from app.base.checkpoints import Gap
from app.base.readings import Slice
from app.run.brief import in_brief
from app.run.report import NO_STATE, Failure, HubReport, Quarantined, Report

NOON = datetime(2026, 3, 2, 12, 0, tzinfo=UTC)
A, B, C = "h.example.test/a", "h.example.test/b", "h.example.test/c"
NAMES = {A: "primary", B: "analytics", C: "acme-facilities"}
GOT = HubReport(events=16, readings=16)
REPORT = Report(
    run="r1",
    feed="people_counter",
    started=NOON,
    until=NOON,
    took_s=8.31,
    locations=6,
    slices=6,
    api_calls=7,
    hubs=MappingProxyType({A: GOT, B: GOT}),
)
DOWN = "hub acme-facilities: no connection: Connection refused [<html>]; check the network"
API_500 = (
    "microshare: query of view v for 'X', 2026-03-02T11:00:00.000Z to 2026-03-02T12:00:00.000Z: 500, <p>"
)


def failing(*failures: Failure, **changes: Any) -> Report:
    return replace(REPORT, failures=failures, **changes)


CASES = {
    "all is well": (REPORT, "people-counter ok 8.3 s, 6 locations: primary +16, analytics +16"),
    "interrupted": (
        replace(REPORT, interrupted=True),
        "people-counter interrupted after 8.3 s, 6 locations: primary +16, analytics +16",
    ),
    "a new installation": (
        replace(REPORT, warnings=[f"{NO_STATE}/var/state: a new installation"]),
        "people-counter ok 8.3 s, 6 locations: primary +16, analytics +16",
    ),
    "a hub is down": (
        failing(Failure(None, C, DOWN), hubs={A: GOT, B: GOT, C: HubReport(error=DOWN)}),
        (
            "people-counter FAILED 8.3 s, 6 locations: primary +16, analytics +16, "
            "acme-facilities failed (no connection)"
        ),
    ),
    "a hub is lost on the way": (
        failing(Failure(None, C, DOWN), hubs={C: replace(GOT, readings=1_204, error=DOWN)}),
        "people-counter FAILED 8.3 s, 6 locations: acme-facilities +1,204, then failed (no connection)",
    ),
    "locations fail alike": (
        failing(*(Failure(name, None, API_500) for name in ("Mill", "Quay+One", "Tour Été", "Annex"))),
        (
            "people-counter FAILED 8.3 s, 6 locations: primary +16, analytics +16; "
            "Mill, Quay+One and 2 more failed (the API answers with 500)"
        ),
    ),
    "a hub refuses a location": (
        failing(Failure("Mill", B, "hub analytics: batch rejected: x")),
        (
            "people-counter FAILED 8.3 s, 6 locations: primary +16, analytics +16; "
            "Mill failed at analytics (refuses a batch)"
        ),
    ),
    "nothing was begun": (
        failing(
            Failure(None, None, "state: /s/people.json: No space left on device; free some"),
            hubs={A: HubReport(), B: HubReport(paused=True)},
            locations=0,
        ),
        (
            "people-counter FAILED 8.3 s, 0 locations: primary +0, analytics paused; "
            "the run failed (the disk of the state is full)"
        ),
    ),
    "a dry run": (
        replace(REPORT, dry_run=True, locations=1, hubs={A: GOT}),
        "people-counter dry run, ok 8.3 s, 1 location: primary +16",
    ),
    "what is worth a look": (
        replace(
            REPORT,
            hubs={A: GOT},
            left=1,
            quarantined=[Quarantined("Mill", (A,), "id", "too large", "p")] * 2,
            gaps=[("Mill", Gap(Slice(NOON, NOON), "saturated", NOON, ()))],
            warnings=["one", "two"],
        ),
        (
            "people-counter ok 8.3 s, 6 locations: primary +16; 1 location left for the next run; "
            "2 readings quarantined; 1 gap; 2 warnings"
        ),
    ),
    "a hub that the settings do not name": (
        replace(REPORT, hubs={"other/x": GOT}),
        "people-counter ok 8.3 s, 6 locations: other/x +16",
    ),
}


@pytest.mark.parametrize(("report", "line"), CASES.values(), ids=CASES)
def test_a_run_in_one_line(report: Report, line: str) -> None:
    assert in_brief(report, NAMES) == line
