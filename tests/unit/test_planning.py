from datetime import UTC, datetime, timedelta

import pytest

from app.base.checkpoints import Checkpoint
from app.base.readings import Slice
from app.run.planning import Group, Limits, group_hubs, halve, plan_slice, read_floor

HOUR = timedelta(hours=1)
LIMITS = Limits(look_back=HOUR, slice_length=24 * HOUR, record_limit=999)


def at(day: int, hour: int = 0, minute: int = 0) -> datetime:
    return datetime(2026, 3, day, hour, minute, tzinfo=UTC)


def ids_an_hour(count: int, hours: list[datetime]) -> dict[datetime, frozenset[str]]:
    return {hour: frozenset(f"{hour:%d%H}-{n:09d}" for n in range(count)) for hour in hours}


def day_of_hours(day: int) -> list[datetime]:
    return [at(day, hour) for hour in range(24)]


@pytest.mark.parametrize(
    ("newest", "known_from", "floor"),
    [
        pytest.param(
            at(2, 11, 58), at(1), at(2, 10, 58), id="steady: the look-back before the newest reading"
        ),
        pytest.param(at(2, 13), at(1), at(2, 11), id="never after the look-back before the position"),
        pytest.param(at(2, 7), at(1), at(2, 6), id="silent since seven: from an hour before"),
        pytest.param(at(1, 12), at(1), at(1, 12), id="silent for a day: never more than a day"),
        pytest.param(at(2, 11), at(2, 11, 30), at(2, 11, 30), id="never before known_from"),
        pytest.param(None, at(1), at(1, 12), id="nothing seen yet: a day"),
    ],
)
def test_a_run_begins_to_read_at_the_read_floor(
    newest: datetime | None, known_from: datetime, floor: datetime
) -> None:
    checkpoint = Checkpoint(at(2, 12), known_from, newest=newest)

    assert read_floor(checkpoint, LIMITS) == floor


def test_a_look_back_longer_than_a_day_is_read_again_whole() -> None:
    limits = Limits(look_back=48 * HOUR, slice_length=24 * HOUR, record_limit=999)
    checkpoint = Checkpoint(at(9), at(1), newest=at(8, 23))

    assert read_floor(checkpoint, limits) == at(7)


def test_a_steady_run_is_one_slice_from_the_floor_to_the_horizon() -> None:
    group = Group("A", ("h",), Checkpoint(at(2, 12), at(1), ids_an_hour(16, day_of_hours(1))), at(2, 11))

    assert plan_slice(group, at(2, 12, 15), LIMITS) == Slice(at(2, 11), at(2, 12, 15))


def test_a_day_of_silence_is_still_one_slice() -> None:
    group = Group("A", ("h",), Checkpoint(at(2, 12), at(1), {}), at(1, 12))

    assert plan_slice(group, at(2, 12, 15), LIMITS) == Slice(at(1, 12), at(2, 12, 15))


def test_nothing_is_planned_at_the_horizon() -> None:
    group = Group("A", ("h",), Checkpoint(at(2), at(1), {}), at(2))

    assert plan_slice(group, at(2), LIMITS) is None


@pytest.mark.parametrize(
    ("behind", "planned"),
    [
        (timedelta(milliseconds=1), True),
        (timedelta(seconds=1), True),
        (timedelta(milliseconds=1_001), False),
        (3 * HOUR, False),
    ],
    ids=["a millisecond", "as exact as a Date is", "more than that", "hours"],
)
def test_nothing_is_planned_for_a_position_that_is_ahead_of_the_horizon(
    behind: timedelta, planned: bool
) -> None:
    group = Group("A", ("h",), Checkpoint(at(2, 12), at(1)), at(2, 6))

    slices = plan_slice(group, at(2, 12) - behind, LIMITS)

    assert slices == (Slice(at(2, 6), at(2, 12) - behind) if planned else None)


def test_catch_up_slices_end_on_the_grid_of_the_day() -> None:
    group = Group("A", ("h",), Checkpoint(at(2, 5, 13), at(1), {}), at(2, 4, 13))

    assert plan_slice(group, at(9), LIMITS) == Slice(at(2, 4, 13), at(3))


@pytest.mark.parametrize(
    ("readings_an_hour", "look_back", "end"),
    [
        pytest.param(4, HOUR, at(2, 12), id="an hour is read again"),
        pytest.param(4, 6 * HOUR, at(2, 12), id="six hours are read again"),
        pytest.param(240, HOUR, at(2, 1), id="two hours in an answer"),
        pytest.param(480, HOUR, at(2, 0, 1), id="little more than an hour in an answer"),
    ],
)
def test_a_run_that_has_time_for_one_slice_of_catching_up_moves_on(
    readings_an_hour: int, look_back: timedelta, end: datetime
) -> None:
    limits = Limits(look_back, slice_length=24 * HOUR, record_limit=999)
    # Where the slice of an earlier run ended.
    checkpoint = Checkpoint(at(2), at(1), ids_an_hour(readings_an_hour, day_of_hours(1)), at(2))
    group = Group("A", ("h",), checkpoint, read_floor(checkpoint, limits))

    assert plan_slice(group, at(9), limits) == Slice(at(2) - look_back, end)


def test_what_is_read_again_is_cut_where_it_is_all_that_an_answer_holds() -> None:
    checkpoint = Checkpoint(at(2), at(1), ids_an_hour(900, day_of_hours(1)), at(2))
    group = Group("A", ("h",), checkpoint, at(1, 23))

    assert plan_slice(group, at(9), LIMITS) == Slice(at(1, 23), at(1, 23, 30))


def test_hubs_at_different_positions_meet_on_the_grid() -> None:
    ends = set()
    for position in (at(2, 5, 13), at(2, 9, 47)):
        group = Group("A", ("h",), Checkpoint(position, at(1), {}), position)
        window = plan_slice(group, at(9), LIMITS)
        assert window is not None
        ends.add(window.end)

    assert ends == {at(3)}


@pytest.mark.parametrize(
    ("readings_an_hour", "length"),
    [(4, 24 * HOUR), (60, 8 * HOUR), (480, HOUR), (1000, timedelta(minutes=15))],
    ids=["a day", "eight hours", "an hour", "a quarter"],
)
def test_catch_up_slices_aim_at_half_the_record_limit(readings_an_hour: int, length: timedelta) -> None:
    ids = ids_an_hour(readings_an_hour, [at(1, 23)])
    group = Group("A", ("h",), Checkpoint(at(2), at(1), ids), at(2))

    window = plan_slice(group, at(9), LIMITS)

    assert window == Slice(at(2), at(2) + length)


def test_a_steady_slice_near_the_record_limit_is_cut() -> None:
    ids = ids_an_hour(900, [at(2, 11)])
    group = Group("A", ("h",), Checkpoint(at(2, 12), at(1), ids), at(2, 11))

    window = plan_slice(group, at(2, 12, 15), LIMITS)

    assert window is not None
    assert window.end < at(2, 12)


def test_equal_checkpoints_are_one_group_and_different_ones_are_two() -> None:
    same = Checkpoint(at(2), at(1), {at(1, 5): frozenset({"a"})})
    equal = Checkpoint(at(2), at(1), {at(1, 5): frozenset({"a"})})
    other = Checkpoint(at(2), at(1), {at(1, 5): frozenset({"b"})})

    groups = group_hubs("A", {"x": same, "y": other, "z": equal}, dict.fromkeys("xyz", at(2)))

    assert [(group.hubs, group.checkpoint) for group in groups] == [(("x", "z"), same), (("y",), other)]


def test_hubs_that_are_to_read_from_different_places_are_two_groups() -> None:
    same = Checkpoint(at(2), at(1), {})

    groups = group_hubs("A", {"x": same, "y": same}, {"x": at(1), "y": at(2)})

    assert [group.hubs for group in groups] == [("x",), ("y",)]


def test_a_half_is_never_shorter_than_a_millisecond() -> None:
    millisecond = timedelta(milliseconds=1)

    assert halve(Slice(at(1), at(2))) == Slice(at(1), at(1, 12))
    assert halve(Slice(at(1), at(1) + 3 * millisecond)) == Slice(at(1), at(1) + millisecond)
    assert halve(Slice(at(1), at(1) + millisecond)) == Slice(at(1), at(1) + millisecond)


def test_a_checkpoint_forgets_ids_beyond_its_reach_and_never_reads_there_again() -> None:
    checkpoint = Checkpoint(at(2), at(1), ids_an_hour(1, day_of_hours(1)))

    moved = checkpoint.done_until(at(2, 6, 30), reach=24 * HOUR)

    assert moved.delivered_until == at(2, 6, 30)
    assert moved.known_from == at(1, 6)
    assert sorted(moved.ids) == [at(1, hour) for hour in range(6, 24)]


def test_a_position_never_moves_back_by_a_slice_that_ends_before_it() -> None:
    checkpoint = Checkpoint(at(2), at(1), {})

    assert checkpoint.done_until(at(1, 12), reach=24 * HOUR).delivered_until == at(2)
