from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.base.instants import floor_to, format_time, parse_time


@given(st.datetimes(min_value=datetime(1970, 1, 1), timezones=st.just(UTC)))  # noqa: DTZ001 - hypothesis adds the zone
def test_a_time_is_read_as_it_was_written_to_the_millisecond(instant: datetime) -> None:
    instant = floor_to(instant, timedelta(milliseconds=1))

    assert parse_time(format_time(instant)) == instant


def test_times_are_written_with_milliseconds_and_z() -> None:
    assert format_time(datetime(2025, 11, 14, 14, 30, tzinfo=UTC)) == "2025-11-14T14:30:00.000Z"


@pytest.mark.parametrize("text", ["", "yesterday", "2025-13-01T00:00:00Z", "2025-02-30"])
def test_what_is_no_time_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r".*"):
        parse_time(text)


def test_a_grid_is_counted_from_the_epoch_in_utc() -> None:
    assert floor_to(datetime(2026, 3, 2, 13, 47, tzinfo=UTC), timedelta(hours=6)) == datetime(
        2026, 3, 2, 12, tzinfo=UTC
    )
