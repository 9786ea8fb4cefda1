"""What is kept of what comes from outside is bounded: each bound, and one above it."""

from __future__ import annotations

import json
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from app.base.checkpoints import Checkpoint, Drift, FeedState, Gap, HubRecord, LocationState, SeenKey, Sensor
from app.base.errors import StateTooLarge
from app.base.readings import Reading, Slice
from app.base.view_text import LONGEST_CHARACTERS
from app.quality.bounds import (
    ERROR_CHARACTERS,
    GAPS_KEPT,
    KEY_BYTES,
    KEYS_KEPT,
    MARKS_KEPT,
    OWNER_BYTES,
    SENSORS_KEPT,
    TAGS_BYTES,
    error_kept,
    gaps_kept,
    sensor_of,
    shortened,
)
from app.quality.drift import (
    body_keys,
    gather,
    is_forgotten,
    keys_drift,
    silences,
    spoke_again,
    with_readings,
)
from app.quality.hourly_digests import unprovable
from app.run.ledger import Ledger
from app.run.planning import Limits
from app.state.document import (
    HISTORY_KEPT,
    encode,
    feed_document,
    history_document,
    location_document,
    location_from,
    whole_document,
)
from app.state.table_rows import feed_row, location_row

NOON = datetime(2026, 3, 2, 12, tzinfo=UTC)
HOUR = timedelta(hours=1)
MINUTE = timedelta(minutes=1)
HUB = "alpha.example.test/counts"
MIB = 1024 * 1024
LARGEST_TAG = "Ü" * 600_000


def reading(tags: Iterable[str], at: datetime = NOON, entry: Any = None) -> Reading:
    return Reading("AAAAAAAAAAAAAAAA", at, tuple(tags), entry if entry is not None else {}, {})


def size(found: object) -> int:
    return len(json.dumps(found))


# --- texts ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "letter",
    ["x", "é", "🏢", "\ud800", "\x00", '"'],
    ids=["ASCII", "two bytes", "four", "half", "NUL", "quote"],
)
def test_a_text_is_kept_as_it_is_up_to_its_bound_and_above_it_as_its_beginning_and_a_hash(
    letter: str,
) -> None:
    fits = letter * ((TAGS_BYTES - 2) // (size(letter) - 2))

    assert shortened(fits, TAGS_BYTES) == fits
    cut = shortened(f"{fits}{letter}", TAGS_BYTES)
    assert size(cut) <= TAGS_BYTES
    assert cut.startswith(letter * 5)
    assert cut == shortened(f"{fits}{letter}", TAGS_BYTES)
    assert cut != shortened(f"{fits}{letter}{letter}", TAGS_BYTES)


def test_an_error_that_quotes_too_much_keeps_its_beginning_and_its_advice() -> None:
    fits = "x" * ERROR_CHARACTERS

    assert error_kept(fits) == fits
    cut = error_kept(f"state: it said {'x' * MIB}; look at the view")
    assert len(cut) == ERROR_CHARACTERS
    assert cut.startswith("state: it said x")
    assert cut.endswith("; look at the view")


# --- sensors ----------------------------------------------------------------------------------------


def test_a_sensor_whose_tags_are_too_long_is_kept_under_a_hash_and_known_by_it() -> None:
    tags = ("Beacon House", LARGEST_TAG)

    once = with_readings({}, [reading(tags)])
    twice = with_readings(once, [reading(tags, NOON + HOUR)])

    (kept,) = twice
    assert size(kept) <= TAGS_BYTES + 2
    assert kept[0].startswith("Beacon House / Ü")
    assert twice == {kept: Sensor(NOON + HOUR, HOUR)}


def test_tags_within_the_bound_are_kept_as_they_are() -> None:
    assert list(with_readings({}, [reading(("Beacon House", "Étage 3", "Ost"))])) == [
        ("Beacon House", "Étage 3", "Ost")
    ]


def test_of_more_sensors_than_are_kept_the_longest_silent_goes() -> None:
    many = [reading([f"sensor {n}"], NOON + n * MINUTE) for n in range(SENSORS_KEPT)]
    full = with_readings({}, many)
    assert len(full) == SENSORS_KEPT

    after = with_readings(full, [reading(["one more"], NOON + HOUR * 1_000)])

    assert len(after) == SENSORS_KEPT
    assert full.keys() - after.keys() == {("sensor 0",)}
    assert after[("one more",)] == Sensor(NOON + HOUR * 1_000)


def test_what_was_told_of_a_sensor_that_is_no_longer_kept_is_over() -> None:
    location = LocationState(newest=NOON, sensors={("a",): Sensor(NOON)})
    about = Drift("silent", "Mill", "Mill: sensor b: silent", NOON, ("b",))

    assert spoke_again(about, location, NOON) is None
    assert is_forgotten(about, location)
    assert not is_forgotten(Drift("silent", "Mill", "Mill: sensor a: silent", NOON, ("a",)), location)
    assert not is_forgotten(Drift("silent", "Mill", "Mill: silent", NOON), location)


def test_a_state_of_an_earlier_version_with_a_long_tag_is_read_within_the_bounds() -> None:
    document = location_document(LocationState())
    document["sensors"] = [
        {"tags": ["Mill", LARGEST_TAG], "last": "2026-03-02T12:00:00.000Z", "longest_s": 1.0}
    ]

    found = location_from(document)

    assert list(found.sensors) == [sensor_of(("Mill", LARGEST_TAG))]


# --- keys of the bodies -----------------------------------------------------------------------------


def test_of_an_entry_no_more_keys_are_looked_at_than_are_kept() -> None:
    assert len(body_keys([reading([], entry={f"k{n}": n for n in range(KEYS_KEPT + 1)})])) == KEYS_KEPT


def test_a_key_that_is_too_long_is_kept_as_a_hash_and_so_is_what_lies_below() -> None:
    fits = "k" * (KEY_BYTES - 2)

    assert body_keys([reading([], entry={fits: 1})]) == {fits}
    found = body_keys([reading([], entry={LARGEST_TAG: {"a": 1, "b": {"c": 2}}})])
    assert len(found) == 4
    assert all(size(key) <= KEY_BYTES for key in found)


def test_keys_that_find_no_room_are_not_told_in_every_run() -> None:
    known, _ = keys_drift({}, {f"k{n:03}" for n in range(KEYS_KEPT - 1)}, NOON)

    after, told = keys_drift(known, {*known, "x1", "x2", "x3"}, NOON)
    assert len(after) == KEYS_KEPT
    assert [drift.text for drift in told] == ["new field 'x1' in readings"]

    again, told = keys_drift(after, {*known, "x1", "x2", "x3"}, NOON + HOUR)
    assert again.keys() == after.keys()
    assert told == []


def test_keys_that_vanished_longest_ago_make_room_for_new_ones() -> None:
    known = {f"k{n:03}": SeenKey(NOON + n * HOUR, vanished=n in (3, 7)) for n in range(KEYS_KEPT)}
    now = NOON + KEYS_KEPT * HOUR

    after, told = keys_drift(known, {*known} - {"k003", "k007"} | {"x1"}, now)

    assert known.keys() - after.keys() == {"k003"}
    assert [drift.text for drift in told] == ["new field 'x1' in readings"]


# --- what drifts ------------------------------------------------------------------------------------


def silent(number: int) -> Drift:
    return Drift("silent", "Mill", f"Mill: sensor {number}: silent", NOON, (f"{number}",))


def test_of_more_silent_sensors_than_are_kept_each_is_told_once_and_the_rest_when_there_is_room() -> None:
    found = [silent(number) for number in range(201)]

    first = gather([], found, [], NOON)
    second = gather(first.kept, found, [], NOON + HOUR)
    third = gather(second.kept, found[1:], [found[0]], NOON + 2 * HOUR)

    assert list(first.told) == list(first.kept) == found[:200]
    assert second.told == ()
    assert third.told == (found[200],)
    assert third.kept == (*found[1:200], found[200])


def test_of_other_news_all_is_told_and_the_oldest_makes_room() -> None:
    news = [Drift("new", f"Site {n}", f"Site {n}: a new location", NOON) for n in range(201)]

    found = gather([silent(1)], news, [], NOON)

    assert found.told == tuple(news)
    assert found.kept == (silent(1), *news[2:])


def test_what_is_told_of_a_long_name_is_bounded() -> None:
    (told,) = gather([], [Drift("new", "x", f"{'x' * MIB}: a new location", NOON)], [], NOON).told

    assert len(told.text) == ERROR_CHARACTERS


# --- gaps, and hours that cannot be proved ----------------------------------------------------------


def gap(hour: int, cause: str = "missed", *hubs: str, found: datetime = NOON, hours: int = 1) -> Gap:
    return Gap(Slice(NOON + hour * HOUR, NOON + (hour + hours) * HOUR), cause, found, hubs)


def test_gaps_are_kept_as_they_are_up_to_the_bound_and_above_it_the_nearest_two_become_one() -> None:
    gaps = [gap(n * 10, "missed", HUB) for n in range(GAPS_KEPT)]
    near = gap(53, "missed", "beta", found=NOON - HOUR)

    assert gaps_kept(gaps) == tuple(gaps)
    kept = gaps_kept([*gaps, near])

    assert len(kept) == GAPS_KEPT
    assert set(kept) - set(gaps) == {gap(50, "missed", HUB, "beta", found=NOON - HOUR, hours=4)}


def test_a_gap_of_all_hubs_stays_one_of_all_hubs() -> None:
    gaps = [gap(n * 10, "missed", HUB) for n in range(GAPS_KEPT)]

    assert gap(50, "missed", hours=2) in gaps_kept([*gaps, gap(51)])


def test_gaps_of_other_causes_and_those_that_a_person_left_behind_stay_apart() -> None:
    left = [gap(n * 10, "left behind") for n in range(GAPS_KEPT)]
    others = [gap(3, "saturated"), gap(4, "missed"), gap(90, "missed"), gap(8, "saturated")]

    kept = gaps_kept([*left, *others])

    assert set(kept) == {*left, gap(3, "saturated", hours=6), gap(4, "missed", hours=87)}


def test_every_gap_lies_within_one_that_is_kept() -> None:
    many = [gap(n * 3 + n % 2, ("missed", "saturated")[n % 5 == 0], hours=1 + n % 4) for n in range(3_000)]

    kept = gaps_kept(many)

    assert len(kept) <= GAPS_KEPT
    assert all(
        any(one.cause == each.cause and each.window.covers(one.window) for each in kept) for one in many
    )


def test_a_run_keeps_no_more_gaps_than_that() -> None:
    ledger = Ledger(FeedState({"Mill": LocationState()}), Limits(HOUR, HOUR, 999))

    found = [ledger.found_gap("Mill", gap(n * 2, "saturated")) for n in range(GAPS_KEPT + 1)]
    again = ledger.found_gap("Mill", gap(0, "saturated"))

    assert all(found)
    assert not again
    assert len(ledger.location("Mill").gaps) == GAPS_KEPT


def test_hours_that_cannot_be_proved_are_marked_up_to_a_bound_the_nearest_first() -> None:
    checkpoint = Checkpoint(NOON, NOON - 24 * HOUR)
    far = [NOON + n * HOUR for n in range(MARKS_KEPT + 1)]

    marked = unprovable({}, [*far, NOON - 9_000 * HOUR], checkpoint)

    assert set(marked) == set(far[:-1])


# --- the whole, at the table's limits ---------------------------------------------------------------


def full_location() -> LocationState:
    """Give a location at which everything from outside has reached its bound at once."""
    letters = "🏢" * 19
    sensors: dict[tuple[str, ...], Sensor] = {
        (f"{n:04}{letters}",): Sensor(NOON, HOUR) for n in range(SENSORS_KEPT)
    }
    assert all(sensor_of(tags) == tags for tags in sensors)
    hubs = [f"hub{n}.servicebus.example.test/counts" for n in range(4)]
    marks = {NOON + n * HOUR: None for n in range(MARKS_KEPT)}
    error = "x" * MIB
    return LocationState(
        checkpoints={hub: Checkpoint(NOON - n * HOUR, NOON - 24 * HOUR) for n, hub in enumerate(hubs)},
        hubs={hub: HubRecord(error=error, since=NOON) for hub in hubs},
        gaps=gaps_kept([gap(n * 2, "missed", *hubs) for n in range(GAPS_KEPT * 2)]),
        error=error,
        since=NOON,
        seals=dict.fromkeys(hubs, marks),
        sensors=sensors,
    )


def test_a_location_at_which_all_bounds_are_reached_leaves_a_row_room_for_thirty_thousand_ids() -> None:
    row = location_row("x" * 300, full_location())

    assert sum(len(value) for value in row.values() if isinstance(value, bytes)) < MIB - 30_000 * 12
    assert max(len(value) for value in row.values() if isinstance(value, bytes)) <= 64 * 1024


def test_a_reading_with_the_largest_tag_and_eight_thousand_lists_of_tags_fit_a_row() -> None:
    many = [reading(["Mill", f"{n} {'x' * 150}"], NOON + n * timedelta(seconds=1)) for n in range(8_000)]
    ledger = Ledger(FeedState({"Mill": LocationState()}), Limits(HOUR, HOUR, 999))

    ledger.saw("Mill", [reading(["Mill", LARGEST_TAG]), *many], NOON + 24 * HOUR)

    row = location_row("Mill", ledger.location("Mill"))
    assert sum(len(value) for value in row.values() if isinstance(value, bytes)) < MIB // 2
    told = silences("Mill", ledger.location("Mill"), HOUR, NOON + 30 * 24 * HOUR)
    assert [drift.kind for drift in told] == ["silent"]


def test_a_feed_of_which_all_bounds_are_reached_fits_a_row() -> None:
    drift = gather([], [Drift("new", f"{n}", f"{n}{'é' * MIB}", NOON) for n in range(200)], [], NOON).kept
    keys = {f"{n:03}{'k' * (KEY_BYTES - 5)}": SeenKey(NOON) for n in range(KEYS_KEPT)}

    row = feed_row(feed_document(FeedState(drift=drift, keys=keys)))

    assert sum(len(value) for value in row.values() if isinstance(value, bytes)) < MIB


def test_a_row_that_is_too_large_says_of_what_and_what_to_do() -> None:
    from tests.contracts.test_state_store import checkpoint

    many = LocationState(checkpoints={HUB: checkpoint(NOON, NOON - HOUR, count=90_000)})

    with pytest.raises(StateTooLarge, match=r"1,080,000 of them ids.*; shorten the look-back") as of_ids:
        location_row("Mill", many)
    with pytest.raises(StateTooLarge, match=r", 0 of them ids.*; remove hubs") as of_hubs:
        location_row(
            "Mill", LocationState(hubs={f"hub{n}": HubRecord(error="x" * 2_000) for n in range(500)})
        )

    assert of_ids.value.locations == of_hubs.value.locations == ("Mill",)


def test_what_the_last_run_said_is_named_where_it_is_what_is_too_large() -> None:
    run = {"run": "r1", "hubs_failing": {f"hub{n}": "x" * 2_000 for n in range(600)}}

    with pytest.raises(StateTooLarge, match="most of it what the last run said; remove hubs") as refused:
        feed_row(feed_document(FeedState(last_run=run)))

    assert refused.value.locations == ()


def test_errors_are_cut_in_the_file_too() -> None:
    state = FeedState({"Mill": full_location()})

    assert len(encode(whole_document("peoplecounterstate", state))) < MIB


def test_the_table_of_the_docs_has_each_bound() -> None:
    text = (Path(__file__).parents[2] / "docs" / "architecture.md").read_text()
    table = text.partition("### What is kept, and how much of it")[2].partition("###")[0]

    for bound in (
        f"| {SENSORS_KEPT:,}; tags of {TAGS_BYTES} bytes |",
        f"| {GAPS_KEPT}, besides",
        f"{MARKS_KEPT} marks",
        f"| {KEYS_KEPT} of {KEY_BYTES} bytes",
        f"| {ERROR_CHARACTERS:,} characters |",
        f"| {LONGEST_CHARACTERS} characters | its devices",
        f"| {OWNER_BYTES} bytes |",
        f"| 256 KiB, {HISTORY_KEPT.days} days |",
    ):
        assert bound in table


# --- the history ------------------------------------------------------------------------------------


def test_a_report_is_kept_whose_single_entries_are_too_long() -> None:
    failures = [{"location": "Mill", "hub": None, "error": f"{'x' * MIB}; look at the view"}]
    changed = [
        {"location": "Mill", "hour": "2026-03-02T12:00:00.000Z", "ids": [["a" * 16, "b" * 16]] * 50_000}
    ]
    report = {"run": "r1", "started": "2026-03-02T12:00:00.000Z", "failures": failures, "changed": changed}

    kept = json.loads(history_document(report))

    assert len(history_document(report)) < 64 * 1024
    assert kept["failures"][0]["error"].endswith("; look at the view")
    assert kept["changed"][0]["ids"] == [["a" * 16, "b" * 16]] * 100
