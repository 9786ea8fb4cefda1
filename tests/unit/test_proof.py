"""Seals of hours that have left the look-back: what they hold, when they are compared, what they tell."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.base.checkpoints import Checkpoint, Gap, LocationState, Seals
from app.base.readings import Reading, Slice
from app.quality.hourly_digests import compare, gaps_of, is_due, questions, seal, sealed, unprovable

NOON = datetime(2026, 3, 2, 12, tzinfo=UTC)
HOUR = timedelta(hours=1)
DAY = timedelta(hours=24)
A, B = "alpha.example.test/counts", "beta.example.test/counts"


def reading_id(reading: str, content: str = "first") -> str:
    halves = [hashlib.sha256(part.encode()).digest()[:6] for part in (reading, content)]
    return base64.urlsafe_b64encode(b"".join(halves)).decode()


def checkpoint(until: datetime, ids: Mapping[datetime, Iterable[str]], known_from: datetime) -> Checkpoint:
    return Checkpoint(until, known_from, {hour: frozenset(found) for hour, found in ids.items()})


def reading(time: datetime, name: str, content: str = "first") -> Reading:
    return Reading(reading_id(name, content), time, ("Beacon House",), {}, {})


def location(*hours: tuple[datetime, Iterable[str]], hubs: Iterable[str] = (A, B)) -> LocationState:
    return LocationState(seals={hub: {hour: seal(ids) for hour, ids in hours} for hub in hubs})


texts = st.lists(st.text(), unique=True, max_size=8)


@given(texts, st.randoms())
def test_a_seal_is_the_same_in_whatever_order_readings_came(names: list[str], random: object) -> None:
    ids = [reading_id(name) for name in names]

    assert seal(ids) == seal(reversed(ids))
    assert seal(ids).readings == len(names)


@given(st.lists(st.text(), unique=True, min_size=1, max_size=8))
def test_a_seal_differs_when_one_reading_is_missing(names: list[str]) -> None:
    ids = [reading_id(name) for name in names]

    assert seal(ids) != seal(ids[1:])


def test_a_seal_counts_a_reading_in_two_versions_once_and_has_no_print_of_contents() -> None:
    both = seal([reading_id("a"), reading_id("a", "second"), reading_id("b")])

    assert (both.readings, both.keys) == (2, seal([reading_id("a"), reading_id("b")]).keys)
    assert both.contents is None


def test_hours_get_their_seal_when_their_ids_are_dropped_empty_hours_too() -> None:
    ids = {NOON: [reading_id("a")], NOON + 2 * HOUR: [reading_id("b")], NOON + 3 * HOUR: [reading_id("c")]}
    before = checkpoint(NOON + DAY, ids, NOON)
    after = before.done_until(NOON + DAY + 3 * HOUR, reach=DAY)

    seals = sealed({}, before, after)

    assert seals == {
        NOON: seal([reading_id("a")]),
        NOON + HOUR: seal([]),
        NOON + 2 * HOUR: seal([reading_id("b")]),
    }


def test_an_hour_that_is_known_in_part_gets_no_seal() -> None:
    before = checkpoint(NOON + DAY, {NOON: [reading_id("a")]}, NOON + timedelta(minutes=20))
    after = before.done_until(NOON + DAY + 2 * HOUR, reach=DAY)

    assert list(sealed({}, before, after)) == [NOON + HOUR]


def test_a_seal_goes_after_two_days() -> None:
    seals: Seals = {}
    known = Checkpoint(NOON, NOON)
    for hours in range(1, 100):
        after = known.done_until(NOON + hours * HOUR, reach=DAY)
        seals = sealed(seals, known, after)
        known = after

    assert (min(seals), max(seals), len(seals)) == (NOON + 27 * HOUR, NOON + 74 * HOUR, 48)


def test_an_hour_that_cannot_be_proved_stays_so_when_its_ids_are_dropped() -> None:
    before = checkpoint(NOON + DAY, {NOON: [reading_id("a")]}, NOON)
    after = before.done_until(NOON + DAY + HOUR, reach=DAY)

    seals = sealed(unprovable({}, [NOON], before), before, after)

    assert seals == {NOON: None}
    assert list(questions(LocationState(seals={A: seals}), [A], 999)) == []


@pytest.mark.parametrize(
    ("compared", "oldest", "due"),
    [
        (None, NOON - DAY, False),
        (None, NOON - 2 * DAY, True),
        (NOON - DAY + HOUR, NOON - 2 * DAY, False),
        (NOON - DAY, NOON - 2 * DAY, True),
        (NOON + HOUR, NOON - 2 * DAY, True),
    ],
    ids=["a first day", "a second day", "compared today", "compared yesterday", "compared by a wrong clock"],
)
def test_a_location_is_due_once_a_day(compared: datetime | None, oldest: datetime, due: bool) -> None:
    known = LocationState(compared=compared, seals={A: {oldest: seal([])}})

    assert is_due(known, [A], NOON) is due
    assert is_due(known, [B], NOON) is False


def test_questions_cover_all_sealed_hours_in_windows_that_hold_half_the_limit() -> None:
    hours = [NOON + n * HOUR for n in (0, 1, 2, 3, 7, 8)]
    known = location(*((hour, [reading_id(f"{hour}{n}") for n in range(20)]) for hour in hours))

    windows = list(questions(known, [A, B], 100))

    assert windows == [
        Slice(NOON, NOON + 2 * HOUR),
        Slice(NOON + 2 * HOUR, NOON + 4 * HOUR),
        Slice(NOON + 7 * HOUR, NOON + 9 * HOUR),
    ]


def test_no_question_is_longer_than_a_day() -> None:
    known = location(*((NOON + n * HOUR, []) for n in range(30)))

    assert [window.end - window.start for window in questions(known, [A], 999)] == [DAY, 6 * HOUR]


WINDOW = Slice(NOON, NOON + 3 * HOUR)


def test_what_is_shown_as_it_was_delivered_differs_in_nothing() -> None:
    known = location((NOON, [reading_id("a"), reading_id("b")]), (NOON + HOUR, []))

    after, found = compare(known, [A, B], WINDOW, [reading(NOON, "b"), reading(NOON, "a")])

    assert (after, found) == (known, [])


def test_what_was_published_later_is_told_once_for_the_hubs_that_lack_it() -> None:
    known = location((NOON, [reading_id("a")]), hubs=[A])
    known = LocationState(seals={**known.seals, B: {NOON: seal([reading_id("a"), reading_id("late")])}})
    shown = [reading(NOON, "a"), reading(NOON + timedelta(minutes=5), "late")]

    after, found = compare(known, [A, B], WINDOW, shown)

    assert [(difference.hour, difference.kind, difference.hubs) for difference in found] == [
        (NOON, "missed", (A,))
    ]
    assert compare(after, [A, B], WINDOW, shown)[1] == []


def test_a_content_that_changed_is_no_missed_reading() -> None:
    known = location((NOON, [reading_id("a")]), hubs=[A])

    _, found = compare(known, [A], WINDOW, [reading(NOON, "a", "second")])

    assert [difference.kind for difference in found] == ["changed"]
    assert gaps_of(found, NOON) == []


def test_a_correction_that_was_delivered_is_no_difference() -> None:
    known = location((NOON, [reading_id("a"), reading_id("a", "second")]), hubs=[A])

    assert compare(known, [A], WINDOW, [reading(NOON, "a", "second")])[1] == []


def test_an_hour_in_a_known_gap_is_not_told_again() -> None:
    gap = Gap(Slice(NOON + timedelta(minutes=30), NOON + HOUR), "saturated", NOON, (A,))
    seals = location((NOON, [])).seals

    _, found = compare(LocationState(seals=seals, gaps=(gap,)), [A, B], WINDOW, [reading(NOON, "a")])

    assert [difference.hubs for difference in found] == [(B,)]


def test_hours_that_follow_one_another_are_one_gap() -> None:
    known = location(*((NOON + n * HOUR, []) for n in range(5)), hubs=[A])
    shown = [reading(NOON + n * HOUR, f"r{n}") for n in (0, 1, 3)]

    _, found = compare(known, [A], Slice(NOON, NOON + 5 * HOUR), shown)

    assert gaps_of(found, NOON + DAY) == [
        Gap(Slice(NOON, NOON + 2 * HOUR), "missed", NOON + DAY, (A,)),
        Gap(Slice(NOON + 3 * HOUR, NOON + 4 * HOUR), "missed", NOON + DAY, (A,)),
    ]
