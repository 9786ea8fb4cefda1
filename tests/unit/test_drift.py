"""What about the source is not as it was, told once, by instants that a test gives."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta

import pytest

from app.base.checkpoints import Discovery, Drift, LocationState, Place, SeenKey, Sensor
from app.quality.drift import (
    SILENT,
    between,
    body_keys,
    gather,
    keys_drift,
    silences,
    spoke_again,
    with_readings,
)
from tests.unit.a_run import DAY, HOUR, MILL, MINUTE, NOON, QUAY, reading

DOOR: tuple[str, ...] = ("Main Entrance",)
PATIO: tuple[str, ...] = ("Patio",)


def silent(
    newest: datetime | None,
    sensors: Mapping[tuple[str, ...], Sensor] = {},
    *,
    look_back: timedelta = HOUR,
    begun: datetime | None = None,
) -> list[tuple[tuple[str, ...], datetime]]:
    """Give what of Mill & Lane is silent at noon: the sensor, () for all of it, and since when."""
    location = LocationState(newest=newest, sensors=sensors, begun=begun)
    return [(drift.sensor, drift.since) for drift in silences(MILL, location, look_back, NOON)]


# --- told once --------------------------------------------------------------------------------------


def a_drift(kind: str, since: datetime, location: str | None = MILL, text: str = "said") -> Drift:
    return Drift(kind, location, text, since)


def test_what_was_told_is_not_told_again_however_its_words_change() -> None:
    known = a_drift(SILENT, NOON - HOUR, text="silent since eleven")

    found = gather([known], [a_drift(SILENT, NOON, text="silent since noon")], [], NOON)

    assert (found.told, found.kept) == ((), (known,))


def test_what_is_found_twice_in_a_run_is_told_once() -> None:
    twice = [a_drift("gone", NOON), a_drift("gone", NOON), a_drift("gone", NOON, QUAY)]

    assert [drift.location for drift in gather([], twice, [], NOON).told] == [MILL, QUAY]


def test_what_is_over_can_be_told_anew() -> None:
    known = a_drift(SILENT, NOON - HOUR)

    over = gather([known], [], [known], NOON)
    again = gather(over.kept, [a_drift(SILENT, NOON)], [], NOON)

    assert (over.kept, len(again.told)) == ((), 1)


@pytest.mark.parametrize(
    ("kind", "age", "kept"),
    [
        ("gone", 7 * DAY - MINUTE, True),
        ("gone", 7 * DAY, False),
        (SILENT, 300 * DAY, True),
    ],
    ids=["within the week", "after a week", "a silence lasts until it is over"],
)
def test_what_was_told_is_kept_for_a_week_and_a_silence_as_long_as_it_lasts(
    kind: str, age: timedelta, kept: bool
) -> None:
    known = a_drift(kind, NOON - age)

    assert gather([known], [], [], NOON).kept == ((known,) if kept else ())


def test_that_something_speaks_again_is_told_and_not_kept() -> None:
    found = gather([], [a_drift("speaks again", NOON)], [], NOON)

    assert (len(found.told), found.kept) == (1, ())


def test_of_more_than_two_hundred_the_newest_stay_known() -> None:
    found = gather([], [a_drift("new", NOON, f"House {number}") for number in range(300)], [], NOON)

    assert (len(found.told), len(found.kept), found.kept[-1].location) == (300, 200, "House 299")


# --- names ------------------------------------------------------------------------------------------


def place(name: str, *devices: str) -> Place:
    return Place(name, "com.example", len(devices), frozenset(devices))


def listed(*places: Place) -> Discovery:
    return Discovery(NOON - HOUR, places)


def told(before: Discovery, *found: Place) -> list[tuple[str, str | None]]:
    return [(drift.kind, drift.location) for drift in between(before, found, NOON, "people_counter")]


def test_a_list_as_it_was_tells_nothing_whatever_its_devices_are() -> None:
    assert told(listed(place(MILL, "a")), place(MILL, "b")) == []


def test_a_location_under_another_name_is_told_as_one_with_the_command_that_goes_on() -> None:
    (drift,) = between(listed(place("It's Mill", "a", "b")), [place(MILL, "a", "b")], NOON, "people_counter")

    assert (drift.kind, drift.location) == ("renamed", MILL)
    assert "`state move people-counter --from 'It'\"'\"'s Mill' --to 'Mill & Lane'`" in drift.text


@pytest.mark.parametrize(
    ("devices", "kinds"),
    [
        ("abcd", [("renamed", QUAY)]),
        ("abxy", [("renamed", QUAY)]),
        ("axyz", [("new", QUAY), ("gone", MILL)]),
        ("", [("new", QUAY), ("gone", MILL)]),
    ],
    ids=["all", "half", "less than half", "none"],
)
def test_a_building_is_the_same_where_half_of_its_devices_are(
    devices: str, kinds: list[tuple[str, str]]
) -> None:
    assert told(listed(place(MILL, *"abcd")), place(QUAY, *devices)) == kinds


def test_one_name_that_is_gone_is_not_the_former_of_two() -> None:
    found = told(listed(place(MILL, "a", "b")), place(QUAY, "a", "b"), place("Annex", "a", "b"))

    assert found == [("renamed", QUAY), ("new", "Annex")]


def test_very_many_names_that_change_at_once_are_told_in_no_time() -> None:
    def numbered(prefix: str) -> list[Place]:
        devices = [[f"{at}-{device}" for device in range(16)] for at in range(3_000)]
        return [place(f"{prefix} {at:04}", "shared by all", *some) for at, some in enumerate(devices)]

    begun = time.process_time()
    found = told(listed(*numbered("Mill")), *numbered("Mull"))

    assert found == [("renamed", f"Mull {at:04}") for at in range(3_000)]
    # Each with each are nine million pairs.
    assert time.process_time() - begun < 5


# --- silence ----------------------------------------------------------------------------------------


def test_a_sensor_s_longest_silence_lies_between_two_of_its_own_readings() -> None:
    times = [NOON, NOON + 3 * HOUR, NOON + 4 * HOUR]
    readings = [reading(f"r{at:%H}", at, *DOOR) for at in times] + [reading("other", NOON, *PATIO)]

    known = with_readings({}, readings[:1])
    known = with_readings(known, readings[1:])

    assert known == {DOOR: Sensor(NOON + 4 * HOUR, 3 * HOUR), PATIO: Sensor(NOON)}


def test_what_comes_late_or_has_no_time_or_tags_changes_nothing_of_a_sensor() -> None:
    known = {DOOR: Sensor(NOON, HOUR)}
    late = reading("late", NOON - 9 * HOUR, *DOOR)

    assert with_readings(known, [late, reading("timeless", None, *DOOR), reading("untagged", NOON)]) == known


@pytest.mark.parametrize(
    ("last", "longest", "look_back", "found"),
    [
        (3 * HOUR, MINUTE, HOUR, True),
        (3 * HOUR - MINUTE, MINUTE, HOUR, False),
        (9 * HOUR, 5 * HOUR, HOUR, False),
        (10 * HOUR, 5 * HOUR, HOUR, True),
        (24 * HOUR, MINUTE, 30 * HOUR, True),
        (24 * HOUR - MINUTE, MINUTE, 30 * HOUR, False),
    ],
    ids=[
        "three look-backs",
        "less than three look-backs",
        "less than twice its longest silence",
        "twice its longest silence",
        "a day, however long the look-back",
        "less than a day",
    ],
)
def test_a_sensor_is_silent_when_neither_the_look_back_nor_its_own_history_explains_it(
    last: timedelta, longest: timedelta, look_back: timedelta, found: bool
) -> None:
    sensors = {DOOR: Sensor(NOON - last, longest), PATIO: Sensor(NOON)}

    assert silent(NOON, sensors, look_back=look_back) == ([(DOOR, NOON - last)] if found else [])


def test_a_location_is_silent_once_as_a_whole_where_all_its_sensors_are() -> None:
    sensors = {DOOR: Sensor(NOON - 5 * HOUR), PATIO: Sensor(NOON - 4 * HOUR)}

    assert silent(NOON - 4 * HOUR, sensors) == [((), NOON - 4 * HOUR)]


def test_a_location_that_shows_readings_without_tags_is_not_silent_though_all_its_sensors_are() -> None:
    sensors = {DOOR: Sensor(NOON - 5 * HOUR), PATIO: Sensor(NOON - 4 * HOUR)}

    assert silent(NOON, sensors) == [(DOOR, NOON - 5 * HOUR), (PATIO, NOON - 4 * HOUR)]


@pytest.mark.parametrize(
    ("begun", "found"),
    [(NOON - 3 * HOUR, True), (NOON - 2 * HOUR, False), (None, False)],
    ids=["for three look-backs", "lately", "never"],
)
def test_a_location_that_never_showed_anything_is_silent_since_it_was_first_asked_for(
    begun: datetime | None, found: bool
) -> None:
    assert silent(None, begun=begun) == ([((), begun)] if found else [])


@pytest.mark.parametrize(
    ("newest", "sensors", "again"),
    [
        (NOON, {DOOR: Sensor(NOON)}, {(), DOOR}),
        (NOON, {DOOR: Sensor(NOON - 5 * HOUR)}, {()}),
        (NOON - 5 * HOUR, {}, set()),
        (None, {}, set()),
    ],
    ids=["both", "another sensor", "what is as old", "nothing"],
)
def test_what_was_silent_speaks_again_when_it_shows_something_newer(
    newest: datetime | None, sensors: Mapping[tuple[str, ...], Sensor], again: set[tuple[str, ...]]
) -> None:
    location = LocationState(newest=newest, sensors=sensors)
    silences = [Drift(SILENT, MILL, "", NOON - 5 * HOUR, sensor) for sensor in ((), DOOR)]

    spoken = {drift.sensor for drift in silences if spoke_again(drift, location, NOON)}

    assert spoken == again
    assert spoke_again(Drift("gone", MILL, "", NOON - 5 * HOUR), location, NOON) is None


# --- keys -------------------------------------------------------------------------------------------


def seen(*keys: str, at: datetime = NOON - HOUR) -> Mapping[str, SeenKey]:
    return {key: SeenKey(at) for key in keys}


def kinds(drifts: Iterable[Drift]) -> list[tuple[str, str]]:
    return [(drift.kind, drift.text.partition(";")[0]) for drift in drifts]


def test_keys_of_the_bodies_are_dotted_paths_to_a_depth_of_four() -> None:
    entry = {"a": {"b": {"c": {"d": {"e": 1}}}}, "list": [{"inside": 1}]}

    assert body_keys([reading("r", NOON, **entry)]) == {"a", "a.b", "a.b.c", "a.b.c.d", "list"}


def test_the_first_keys_are_no_news_and_later_ones_are_told_once() -> None:
    known, first = keys_drift({}, {"time"}, NOON)
    known, second = keys_drift(known, {"time", "battery"}, NOON + HOUR)
    _, third = keys_drift(known, {"time", "battery"}, NOON + 2 * HOUR)

    assert (first, third) == ([], [])
    assert kinds(second) == [("keys appeared", "new field 'battery' in readings")]


def test_a_key_vanishes_after_two_days_and_is_told_once_until_it_comes_again() -> None:
    known = seen("time", "battery", at=NOON)
    told = []
    for hours, found in ((47, "time"), (48, "time"), (60, "time"), (61, "battery"), (109, "time")):
        known, drifts = keys_drift(known, {"time", found}, NOON + hours * HOUR)
        told.append([kind for kind, _ in kinds(drifts)])

    assert told == [[], ["keys vanished"], [], [], ["keys vanished"]]


def test_where_no_reading_was_seen_no_key_has_vanished() -> None:
    known = seen("time", at=NOON - 9 * DAY)

    assert keys_drift(known, set(), NOON) == (known, [])


def test_where_keys_are_data_the_state_keeps_three_hundred_of_them() -> None:
    known, _ = keys_drift(seen("time"), {f"key {number}" for number in range(1_000)}, NOON)

    assert len(known) == 300
    assert "time" in known
