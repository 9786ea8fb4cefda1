"""What an audit found, cause by cause: the worst first, each reading once, and all of it adds up."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from app.audit.comparison_file import ComparisonFile
from app.audit.findings import Finding
from app.audit.summary import (
    COLUMNS,
    GRAVEST_FIRST,
    HARMLESS,
    Summary,
    cause_of,
    column_of,
    named_readings,
    summarised,
)

NOON = datetime(2026, 3, 2, 12, tzinfo=UTC)
MINUTE = timedelta(minutes=1)
MILL, QUAY = "Mill & Lane", "Quay+One"
HUBS = ("eu", "us", "backup")


def missing(name: str, cause: str = "lost", *, place: str = MILL, **fields: Any) -> Finding:
    """A reading that a hub lacks; its time goes by its name."""
    return replace(
        Finding("missing", place, NOON + ord(name) * MINUTE, None, name * 16, cause=cause), **fields
    )


def found(**at_hubs: list[Finding]) -> Summary:
    """Give the summary of what was found at hubs, through the file in which it is kept."""
    with ComparisonFile(sorted({MILL, QUAY}), HUBS) as file:
        for hub, findings in at_hubs.items():
            for finding in findings:
                file.find(hub, finding)
        return summarised(file.by_reading(), examples=1)


@pytest.mark.parametrize(
    ("finding", "cause"),
    [
        (missing("a", "late"), "late"),
        (missing("a", "behind", due=False), "to come"),
        (missing("a", "behind", due=True), "overdue"),
        (missing("a", "behind", due=True, stuck=True), "stuck"),
        (missing("a", "quarantined", due=True), "quarantined"),
        (missing("a", "quarantined", due=False), "dealt with"),
        (missing("a", "lost", repaired=True), "sent now"),
        (Finding("changed", MILL, NOON, None, "a"), "other content"),
        (Finding("repeated", MILL, NOON, None, "a", 2), "more than once"),
        (Finding("unknown", MILL, NOON, None, "a"), "not published"),
    ],
    ids=lambda value: value if isinstance(value, str) else value.heading,
)
def test_each_finding_has_one_cause_in_peoples_words(finding: Finding, cause: str) -> None:
    assert cause_of(finding) == cause


def test_what_counts_as_wrong_is_no_harmless_cause_and_the_other_way_round() -> None:
    wrong = {
        cause: cause_of(missing("a", cause))
        for cause in ("lost", "late", "behind", "retention", "unexplained")
    }

    assert not HARMLESS & set(wrong.values())
    assert {
        cause_of(missing("a", cause, due=False)) for cause in ("behind", "before start", "quarantined")
    } < HARMLESS
    assert GRAVEST_FIRST[-len(HARMLESS) :] == tuple(cause for cause in GRAVEST_FIRST if cause in HARMLESS)


def test_every_cause_is_counted_in_a_column() -> None:
    assert {column_of(cause) for cause in (*GRAVEST_FIRST, "a gap of another kind")} <= set(COLUMNS)
    assert [
        column_of(cause) for cause in ("lost", "late", "stuck", "to come", "before start", "sent now")
    ] == [
        "missing",
        "missing",
        "to come",
        "to come",
        "before start",
        "delivered",
    ]


def test_causes_stand_the_worst_first_with_readings_locations_and_hubs() -> None:
    summary = found(
        eu=[
            missing("a", "behind", due=False),
            missing("b", place=QUAY),
            Finding("repeated", MILL, NOON, None, "c", 2),
        ],
        us=[missing("d", "late"), missing("e", "late", place=QUAY), missing("f", "a gap of another kind")],
    )

    assert [
        (each.cause, each.readings, dict(each.locations), dict(each.hubs)) for each in summary.causes
    ] == [
        ("lost", 1, {QUAY: 1}, {"eu": 1}),
        ("a gap of another kind", 1, {MILL: 1}, {"us": 1}),
        ("late", 2, {MILL: 1, QUAY: 1}, {"us": 2}),
        ("more than once", 1, {MILL: 1}, {"eu": 1}),
        ("to come", 1, {MILL: 1}, {"eu": 1}),
    ]
    assert [each.cause for each in summary.wrong] == [
        "lost",
        "a gap of another kind",
        "late",
        "more than once",
    ]
    assert [named.finding.id for each in summary.causes for named in each.examples] == [
        "b" * 16,
        "f" * 16,
        "d" * 16,
        "c",
        "a" * 16,
    ]


def test_a_reading_that_two_hubs_lack_is_one_reading_at_two_hubs() -> None:
    summary = found(eu=[missing("a", "late"), missing("b", "late")], us=[missing("a", "late")])

    (late,) = summary.causes
    assert (late.readings, dict(late.hubs), summary.readings) == (2, {"eu": 2, "us": 1}, 2)
    assert (late.examples[0].hubs, summary.mixed, summary.incomplete) == (("eu", "us"), 0, 2)


def test_a_reading_with_two_causes_counts_under_the_worst_and_each_hub_keeps_its_own() -> None:
    again = Finding("repeated", MILL, missing("b").time, None, "b" * 16, 2)

    summary = found(
        eu=[missing("a", "lost"), again],
        us=[
            missing("a", "behind", stuck=True),
            missing("b", "behind", due=False),
            missing("c", "behind", stuck=True),
        ],
    )

    assert [(each.cause, each.readings, dict(each.hubs)) for each in summary.causes] == [
        ("lost", 1, {"eu": 1}),
        ("stuck", 1, {"us": 1}),
        ("more than once", 1, {"eu": 1}),
    ]
    assert (summary.readings, summary.mixed, summary.incomplete) == (3, 2, 3)
    assert {hub: dict(causes) for hub, causes in summary.by_hub.items()} == {
        "eu": {"lost": 1, "more than once": 1},
        "us": {"stuck": 2, "to come": 1},
    }


def test_what_nobody_published_is_another_thing_than_a_published_reading_with_its_id() -> None:
    forged = Finding("unknown", MILL, missing("a").time, None, "a" * 16)

    summary = found(eu=[missing("a"), forged], us=[missing("a"), forged])

    assert [(each.cause, each.readings, len(each.hubs)) for each in summary.causes] == [
        ("lost", 1, 2),
        ("not published", 1, 2),
    ]
    assert summary.incomplete == 1


def test_what_was_sent_by_a_repair_is_left_under_no_other_cause() -> None:
    with ComparisonFile([MILL], HUBS) as file:
        for hub in ("eu", "us"):
            file.find(hub, missing("a"))
            file.find(hub, missing("b"))
        file.repaired("eu", MILL, [(missing("a").time, "a" * 16), (missing("b").time, "b" * 16)])
        file.repaired("us", MILL, [(missing("b").time, "b" * 16)])

        named = [
            (reading.finding.id[0], reading.cause, reading.hubs)
            for reading, _ in named_readings(file.by_reading())
        ]

    assert named == [("a", "lost", ("us",)), ("b", "sent now", ("eu", "us"))]
