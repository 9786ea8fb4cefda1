from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from app.base.checkpoints import Checkpoint
from app.base.readings import Reading
from app.quality.lateness import DelayCount, Lateness, Latenesses, first_seen, is_steady, near_far_edge

NOON = datetime(2026, 3, 2, 12, tzinfo=UTC)
HOUR = timedelta(hours=1)
MINUTE = timedelta(minutes=1)


def reading(reading_id: str, time: datetime | None = NOON) -> Reading:
    return Reading(reading_id, time, ("tag",), {}, {})


def checkpoint(*ids: str, hour: datetime = NOON, until: datetime = NOON) -> Checkpoint:
    return Checkpoint(until, until - 24 * HOUR, {hour: frozenset(ids)})


def test_lateness_is_told_as_median_95th_percentile_and_maximum() -> None:
    latenesses = Latenesses()
    for seconds in range(1, 101):
        latenesses.add(timedelta(seconds=seconds))

    assert latenesses.told() == Lateness(
        readings=100,
        median_s=50.0,
        p95_s=95.0,
        max_s=100.0,
        delays=(DelayCount(60, 60), DelayCount(300, 40)),
    )


def test_what_is_later_than_every_class_has_one_without_an_end() -> None:
    latenesses = Latenesses()
    latenesses.add(timedelta(days=8))

    told = latenesses.told()

    assert told is not None
    assert told.delays == (DelayCount(None, 1),)


def test_nothing_gathered_is_nothing_told_and_the_future_is_not_late() -> None:
    latenesses = Latenesses()
    empty = latenesses.told()
    latenesses.add(-MINUTE)

    assert (empty, latenesses.told()) == (None, Lateness(1, 0.0, 0.0, 0.0, (DelayCount(60, 1),)))


@pytest.mark.parametrize(
    ("behind", "steady"),
    [(timedelta(0), True), (15 * MINUTE, True), (90 * MINUTE, True), (2 * HOUR, False)],
    ids=["at once", "a schedule later", "six schedules later", "after a pause"],
)
def test_a_run_is_steady_that_follows_closely_on_its_position(behind: timedelta, steady: bool) -> None:
    assert is_steady(NOON - behind, NOON) is steady


def test_first_seen_is_what_no_hub_has_in_any_version() -> None:
    known = [checkpoint("keyAAAAAversion1"), checkpoint("keyBBBBBversion1")]
    found = [
        reading("keyAAAAAversion1"),
        reading("keyAAAAAversion2"),
        reading("keyBBBBBversion1"),
        reading("keyCCCCCversion1"),
        reading("keyDDDDDversion1", None),
    ]

    assert first_seen(found, known) == [reading("keyCCCCCversion1")]


@pytest.mark.parametrize(
    ("newest", "newest_hour", "expected"),
    [
        (NOON - MINUTE, NOON - HOUR, [50, 55]),
        (NOON - 40 * MINUTE, NOON - HOUR, []),
        (NOON - 5 * HOUR, NOON - 5 * HOUR, []),
        (NOON - MINUTE, NOON - 5 * HOUR, []),
        (None, NOON - HOUR, []),
    ],
    ids=["a steady source", "a lull", "a silent source", "a hub that has less", "nothing seen yet"],
)
def test_what_is_near_the_far_edge_of_an_hours_look_back(
    newest: datetime | None, newest_hour: datetime, expected: list[int]
) -> None:
    known = checkpoint("keyAAAAAversion1", hour=newest_hour)
    found = [reading(f"key{minutes:05}version1", NOON - minutes * MINUTE) for minutes in (1, 40, 50, 55)]

    late = near_far_edge(found, known, newest, HOUR)

    assert [(NOON - one.time) // MINUTE for one in late if one.time] == expected
