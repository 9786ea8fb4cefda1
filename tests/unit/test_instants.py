from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.base.instants import floor_to, format_time, hour_of, parse_time

OF_ANY_ZONE = st.datetimes(
    min_value=datetime(2, 1, 1),  # noqa: DTZ001 - hypothesis adds the zone
    max_value=datetime(9998, 12, 31),  # noqa: DTZ001
    timezones=st.integers(-1439, 1439).map(lambda minutes: timezone(timedelta(minutes=minutes))),
)


@given(st.datetimes(min_value=datetime(1970, 1, 1), timezones=st.just(UTC)))  # noqa: DTZ001 - hypothesis adds the zone
def test_a_time_is_read_as_it_was_written_to_the_millisecond(instant: datetime) -> None:
    instant = floor_to(instant, timedelta(milliseconds=1))

    assert parse_time(format_time(instant)) == instant


def test_times_are_written_with_milliseconds_and_z() -> None:
    assert format_time(datetime(2025, 11, 14, 14, 30, tzinfo=UTC)) == "2025-11-14T14:30:00.000Z"


@given(OF_ANY_ZONE)
def test_a_time_of_any_zone_is_written_as_iso_has_it_in_utc(instant: datetime) -> None:
    iso = instant.astimezone(UTC).isoformat(timespec="milliseconds")

    assert format_time(instant) == iso.replace("+00:00", "Z")


@given(OF_ANY_ZONE)
def test_the_hour_of_a_time_is_one_of_utc(instant: datetime) -> None:
    hour = hour_of(instant)

    assert hour <= instant < hour + timedelta(hours=1)
    assert (hour.tzinfo, hour.minute, hour.second, hour.microsecond) == (UTC, 0, 0, 0)


@pytest.mark.parametrize("text", ["", "yesterday", "2025-13-01T00:00:00Z", "2025-02-30"])
def test_what_is_no_time_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r".*"):
        parse_time(text)


def test_a_grid_is_counted_from_the_epoch_in_utc() -> None:
    assert floor_to(datetime(2026, 3, 2, 13, 47, tzinfo=UTC), timedelta(hours=6)) == datetime(
        2026, 3, 2, 12, tzinfo=UTC
    )
