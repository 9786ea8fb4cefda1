"""Readings kept in a file: sorted when they are read, counted when they come again."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from app.audit.comparison_file import ComparisonFile
from app.audit.findings import Finding, HeldReading, Published

NOON = datetime(2026, 3, 2, 12, tzinfo=UTC)
MOMENT = timedelta(microseconds=1)


def shown(location: str, at: datetime, reading_id: str = "x" * 16) -> Published:
    return Published(location, b"slot", at, reading_id, reading_id, "as written")


def held(location: str, at: datetime, *, arrived: int) -> HeldReading:
    return HeldReading(location, b"slot", at, "x" * 16, "as written", 1, arrived, arrived, NOON, None)


def test_what_is_published_comes_back_whole_and_sorted_by_location_and_time_each_once() -> None:
    readings = [
        shown("A", NOON + MOMENT),
        shown("Ä", NOON - timedelta(days=9_000)),
        shown("A", NOON),
        shown("A", NOON, "b" * 16),
    ]
    with ComparisonFile(sorted({"A", "Ä"}), []) as file:
        for reading in [*readings, *readings]:
            file.publish(reading)

        found = list(file.published())

    assert found == [readings[3], readings[2], readings[0], readings[1]]


def test_what_a_hub_holds_is_its_own_and_is_counted_with_its_first_and_last_arrival() -> None:
    with ComparisonFile(["A"], ["one", "two"]) as file:
        for arrived, repeats in ((7, True), (3, True), (9, False)):
            file.hold("one", held("A", NOON, arrived=arrived), repeats=repeats)
        file.hold("two", held("A", NOON, arrived=1))

        (one,), (two,) = file.held("one"), file.held("two")

    assert (one.times, one.first, one.last, one.enqueued) == (2, 3, 9, NOON)
    assert two == held("A", NOON, arrived=1)


def test_an_event_is_new_once_a_hub() -> None:
    with ComparisonFile([], ["one", "two"]) as file:
        assert [file.is_new(hub, b"digest") for hub in ("one", "one", "two")] == [True, False, True]


def test_findings_are_kept_by_hub_and_heading_and_change_when_they_are_repaired() -> None:
    missing = [
        Finding("missing", place, NOON, None, name, cause="lost") for place, name in ("A1", "B2", "B3")
    ]
    changed = Finding("changed", "A", NOON, "t", "4", 3, "held", None, enqueued=NOON)
    with ComparisonFile(["A", "B"], ["one", "two"]) as file:
        for finding in [*reversed(missing), changed]:
            file.find("one", finding)
        kept = file.findings("one", "missing")

        before = list(kept)
        file.repaired("one", "B", [(NOON, "3")])

        assert sorted(before, key=lambda found: found.id) == missing
        assert {found.id: found.repaired for found in kept} == {"1": False, "2": False, "3": True}
        assert [found.id for found in file.missing_at("one", "B")] == ["3", "2"]
        assert (len(kept), len(file.findings("two", "missing"))) == (3, 0)
        assert list(file.findings("one", "changed")) == [changed]
