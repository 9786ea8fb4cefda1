from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from itertools import islice

import pytest

from app.base.instants import format_time, parse_time
from app.settings.ncrontab import times_after, times_before

# A Monday.
NOON = parse_time("2026-03-02T12:00:00Z")


def written(times: Iterator[datetime], count: int = 3) -> list[str]:
    return [format_time(found)[:19] for found in islice(times, count)]


# Worked out by hand, with a calendar.
@pytest.mark.parametrize(
    ("schedule", "following"),
    [
        ("0 */15 * * * *", ["2026-03-02T12:15:00", "2026-03-02T12:30:00", "2026-03-02T12:45:00"]),
        ("0 0 * * * *", ["2026-03-02T13:00:00", "2026-03-02T14:00:00", "2026-03-02T15:00:00"]),
        ("30 5/20 13 * * *", ["2026-03-02T13:05:30", "2026-03-02T13:25:30", "2026-03-02T13:45:30"]),
        ("0 0 6,18 * * TUE-thu", ["2026-03-03T06:00:00", "2026-03-03T18:00:00", "2026-03-04T06:00:00"]),
        ("0 0 0 * * 0", ["2026-03-08T00:00:00", "2026-03-15T00:00:00", "2026-03-22T00:00:00"]),
        ("0 0 0 13 * FRI", ["2026-03-13T00:00:00", "2026-11-13T00:00:00", "2027-08-13T00:00:00"]),
        ("0 0 0 31 jan-jun/3 *", ["2027-01-31T00:00:00", "2028-01-31T00:00:00", "2029-01-31T00:00:00"]),
        ("0 0 12 29 FEB *", ["2028-02-29T12:00:00", "2032-02-29T12:00:00", "2036-02-29T12:00:00"]),
        ("59 59 23 31 12 *", ["2026-12-31T23:59:59", "2027-12-31T23:59:59", "2028-12-31T23:59:59"]),
        ("0 0 0 30 2 *", []),
    ],
    ids=[
        "every quarter",
        "every hour",
        "from a value in steps",
        "names and lists",
        "sundays",
        "day and weekday must both fit",
        "months that lack the day",
        "leap days",
        "end of the year",
        "never",
    ],
)
def test_a_schedule_fires_when_its_six_fields_say(schedule: str, following: list[str]) -> None:
    assert written(times_after(schedule, NOON)) == following


def test_the_times_before_an_instant_include_it_and_go_back() -> None:
    assert written(times_before("0 */15 * * * *", NOON), 2) == ["2026-03-02T12:00:00", "2026-03-02T11:45:00"]
    assert written(times_before("0 30 23 * * MON", NOON), 2) == ["2026-02-23T23:30:00", "2026-02-16T23:30:00"]
    assert written(times_before("0 0 0 30 2 *", NOON)) == []


def test_an_instant_itself_is_not_after_it() -> None:
    assert written(times_after("0 0 12 * * *", NOON), 1) == ["2026-03-03T12:00:00"]
