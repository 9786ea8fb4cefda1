"""What every state store promises, stated once and held against each of them."""

from __future__ import annotations

import base64
import hashlib
import json
import time
from contextlib import ExitStack, suppress
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from app.base.checkpoints import (
    Checkpoint,
    Discovery,
    Drift,
    FeedState,
    Gap,
    HubRecord,
    LocationState,
    Place,
    Seal,
    SeenKey,
    Sensor,
    Takeover,
)
from app.base.errors import AuthError, LockHeld, StateDamaged, StateError
from app.base.instants import format_time
from app.base.readings import QuarantinedReading, Slice
from app.run.refused_logins import RefusedLogins
from tests.contracts.conftest import StatePlace
from tests.unit.microshare_fake import SETTINGS

NOON = datetime(2026, 3, 2, 12, tzinfo=UTC)
HOUR = timedelta(hours=1)
HUB_A = "alpha.example.test/counts"
HUB_B = "beta.example.test:5671/counts"
HUB_C = "gamma.example.test/counts"

AWKWARD_NAMES = {
    "a way out": "../../x",
    "an absolute path": "/etc/passwd",
    "NUL and newline": "nul\0and\nnewline\r\u2028",
    "what keys cannot hold": "a/b\\c#d?e%f",
    "a device": "CON",
    "300 characters": "x" * 300,
    "300 accents": "é" * 300,
    "300 accents and one more": "é" * 301,
    "emoji": "🏢 Étage 3",
    "composed": "Caf\u00e9",
    "decomposed": "Cafe\u0301",
    "upper case": "CAFE",
    "lower case": "cafe",
    "a trailing space": "Beacon House ",
    "without it": "Beacon House",
    "an escape of ours": "Beacon_20House",
    "an escape of the web": "Beacon%20House",
    "a lone surrogate": "half \ud800 a pair",
    "like a row of the lock": "lock",
    "quotes": 'it\'s "quoted"',
    "a prototype": "__proto__",
}


def reading_id(number: int) -> str:
    return base64.urlsafe_b64encode(hashlib.sha256(str(number).encode()).digest()[:12]).decode()


def checkpoint(until: datetime, *hours: datetime, count: int = 3) -> Checkpoint:
    ids = {
        hour: frozenset(reading_id(hour.hour * 100_000 + number) for number in range(count)) for hour in hours
    }
    return Checkpoint(until, until - 24 * HOUR, ids)


def location(until: datetime = NOON) -> LocationState:
    return LocationState(checkpoints={HUB_A: checkpoint(until, until - HOUR)})


RICH = FeedState(
    locations={
        "Beacon House": LocationState(
            last_listed=NOON,
            newest=NOON - timedelta(milliseconds=1),
            checkpoints={
                HUB_A: checkpoint(NOON, NOON - HOUR, NOON - 2 * HOUR),
                HUB_B: checkpoint(NOON - 5 * HOUR, NOON - 6 * HOUR),
                HUB_C: checkpoint(NOON, NOON - HOUR, NOON - 2 * HOUR),
            },
            hubs={
                HUB_A: HubRecord(10, 12, 1, NOON, None, None),
                HUB_B: HubRecord(4, 5, 0, NOON - 5 * HOUR, "connection lost – é\nagain", NOON - HOUR),
            },
            gaps=(
                Gap(Slice(NOON - HOUR, NOON), "saturated", NOON),
                Gap(Slice(NOON - 9 * HOUR, NOON - 8 * HOUR), "left behind", NOON, (HUB_B, HUB_C)),
            ),
            error="the view answered 503",
            since=NOON - 2 * HOUR,
            begun=NOON - 90 * HOUR,
            seals={
                HUB_A: {NOON - 30 * HOUR: Seal(3, 2**47 + 5, 1), NOON - 29 * HOUR: None},
                HUB_B: {NOON - 30 * HOUR: Seal(0, 0, None)},
            },
            compared=NOON - 7 * HOUR,
            sensors={("Beacon House", "É"): Sensor(NOON, timedelta(minutes=15, milliseconds=3))},
        ),
        "Nothing known": LocationState(),
        "Never delivered": LocationState(checkpoints={HUB_A: Checkpoint(NOON, NOON)}),
    },
    discovery=Discovery(
        NOON,
        (
            Place("Beacon House", "org.example", 7, frozenset({"00aa", "11bb"})),
            Place("Étage", "org.example.fr", 0),
        ),
        "a1b2",
    ),
    takeover=Takeover(NOON - 48 * HOUR, "an earlier place", 1234567890123, 5, NOON - 47 * HOUR),
    last_run={"run": "r1", "ok": False, "took_s": 4.25, "warnings": ["é"], "hubs": {HUB_A: {"error": None}}},
    drift=(Drift("gone", "Étage", "Étage: gone", NOON), Drift("keys appeared", None, "new: é", NOON)),
    keys={"change.in": SeenKey(NOON), "é": SeenKey(NOON, vanished=True)},
)


def saved(place: StatePlace, name: str, state: FeedState) -> FeedState:
    """Save all of the state from one instance, and load it with another."""
    first = place.open()
    first.load(name)
    first.save(name, state, state.locations.keys())
    return place.open().load(name)


# --- load and save ----------------------------------------------------------------------------------


def test_what_was_never_saved_is_an_empty_state(place: StatePlace, name: str) -> None:
    assert place.open().load(name) == FeedState()


def test_a_saved_state_comes_back_whole(place: StatePlace, name: str) -> None:
    assert saved(place, name, RICH) == RICH


def test_hubs_that_are_equal_come_back_equal(place: StatePlace, name: str) -> None:
    found = saved(place, name, RICH).locations["Beacon House"].checkpoints

    assert (found[HUB_A] == found[HUB_C], found[HUB_A] == found[HUB_B]) == (True, False)


def test_locations_come_back_under_their_names_whatever_these_hold(place: StatePlace, name: str) -> None:
    state = FeedState(
        {text: location(NOON + number * HOUR) for number, text in enumerate(AWKWARD_NAMES.values())}
    )

    assert saved(place, name, state) == state


def test_a_location_with_many_ids_comes_back_whole(place: StatePlace, name: str) -> None:
    ids = checkpoint(NOON, *(NOON - number * HOUR for number in range(8)), count=4_000)
    state = FeedState({"Busy": LocationState(checkpoints={HUB_A: ids})})

    assert saved(place, name, state) == state


def test_instances_see_each_others_saves(place: StatePlace, name: str) -> None:
    first, second = place.open(), place.open()
    early, late = FeedState({"A": location(NOON)}), FeedState({"A": location(NOON + HOUR)})

    first.save(name, early, ["A"])
    seen_early = second.load(name)
    second.save(name, late, ["A"])

    assert (seen_early, first.load(name)) == (early, late)


def test_one_instance_saves_again_and_again(place: StatePlace, name: str) -> None:
    store = place.open()
    store.load(name)
    for hours in range(4):
        store.save(name, FeedState({"A": location(NOON + hours * HOUR)}), ["A"])

    assert place.open().load(name) == FeedState({"A": location(NOON + 3 * HOUR)})


def test_a_change_to_one_location_keeps_the_others(place: StatePlace, name: str) -> None:
    store = place.open()
    store.save(name, FeedState({"A": location(), "B": location()}), ["A", "B"])
    moved = FeedState({"A": location(NOON + HOUR), "B": location()})

    store.save(name, moved, ["A"])

    assert place.open().load(name) == moved


def test_what_is_said_of_the_feed_is_saved_without_any_location(place: StatePlace, name: str) -> None:
    store = place.open()
    store.save(name, FeedState({"A": location()}), ["A"])

    store.save(name, FeedState({"A": location()}, last_run={"run": "r2"}), [])

    assert place.open().load(name) == FeedState({"A": location()}, last_run={"run": "r2"})


def test_a_changed_location_that_the_state_does_not_hold_is_removed(place: StatePlace, name: str) -> None:
    store = place.open()
    store.save(name, FeedState({"A": location(), "B": location()}), ["A", "B"])

    store.save(name, FeedState({"A": location()}), ["B"])

    assert place.open().load(name) == FeedState({"A": location()})


def test_a_removed_location_can_be_saved_anew(place: StatePlace, name: str) -> None:
    store = place.open()
    store.save(name, FeedState({"A": location()}), ["A"])
    store.save(name, FeedState(), ["A"])

    store.save(name, FeedState({"A": location(NOON + HOUR)}), ["A"])

    assert place.open().load(name) == FeedState({"A": location(NOON + HOUR)})


def test_feeds_know_nothing_of_each_other(place: StatePlace, name: str) -> None:
    saved(place, name, RICH)

    assert place.open().load(f"{name}other") == FeedState()


def test_the_place_is_named_and_holds_no_secret(place: StatePlace) -> None:
    found = place.open().place

    assert found
    assert "AccountKey" not in found
    assert "Eby8vdM02" not in found


# --- the earlier forwarder's state ------------------------------------------------------------------


@pytest.mark.parametrize(
    ("document", "expected"),
    [
        pytest.param(
            {
                "last_fetch_timestamp": "2026-03-01T10:15:00.000Z",
                "total_events_sent": 70,
                "total_duplicates_skipped": 3,
            },
            Takeover(datetime(2026, 3, 1, 10, 15, tzinfo=UTC), "", 70, 3),
            id="people counter",
        ),
        pytest.param(
            {"last_fetch_time": "2026-03-01T10:15:00.123456", "total_snapshots_sent": 12},
            Takeover(datetime(2026, 3, 1, 10, 15, 0, 123456, tzinfo=UTC), "", 12, 0),
            id="snapshot, a time without a zone",
        ),
        pytest.param(
            {"last_fetch_timestamp": "2026-03-01T12:15:00+02:00"},
            Takeover(datetime(2026, 3, 1, 10, 15, tzinfo=UTC), ""),
            id="a time with an offset, no totals",
        ),
    ],
)
def test_the_earlier_forwarders_state_is_a_takeover(
    place: StatePlace, name: str, document: dict[str, Any], expected: Takeover
) -> None:
    place.put_earlier_state(name, document)

    found = place.open().load(name)

    assert found.takeover is not None
    assert name in found.takeover.source
    assert found == FeedState(takeover=replace(expected, source=found.takeover.source))


def test_an_earlier_state_without_a_position_is_refused(place: StatePlace, name: str) -> None:
    place.put_earlier_state(name, {"total_events_sent": 70})

    with pytest.raises(StateDamaged, match="last_fetch_timestamp"):
        place.open().load(name)


def test_a_takeover_is_recorded_and_the_earlier_state_is_kept(place: StatePlace, name: str) -> None:
    earlier = {"last_fetch_timestamp": "2026-03-01T10:15:00.000Z"}
    place.put_earlier_state(name, earlier)
    store = place.open()
    found = store.load(name).takeover
    assert found is not None
    state = FeedState({"A": location()}, takeover=replace(found, at=NOON))

    store.save(name, state, ["A"])
    store.save(name, state, ["A"])

    assert (place.open().load(name), place.earlier_state(name)) == (state, earlier)


# --- the run lock -----------------------------------------------------------------------------------


def test_a_second_run_is_refused_at_once_and_told_who_holds_the_lock(place: StatePlace, name: str) -> None:
    with place.open().lock(name, "run-one") as lock:
        started = time.monotonic()
        with pytest.raises(LockHeld, match="run-one"), place.open().lock(name, "run-two"):
            pytest.fail("two runs at once")

        assert (lock.held(), time.monotonic() - started < 20) == (True, True)


def test_a_lock_that_was_refused_leaves_the_holder_named(place: StatePlace, name: str) -> None:
    with place.open().lock(name, "run-one"):
        for run in ("run-two", "run-three"):
            with pytest.raises(LockHeld, match="run-one"), place.open().lock(name, run):
                pytest.fail("two runs at once")


def test_a_released_lock_is_held_no_more_and_can_be_taken(place: StatePlace, name: str) -> None:
    with place.open().lock(name, "run-one") as first:
        pass
    with place.open().lock(name, "run-two") as second:
        assert (first.held(), second.held()) == (False, True)


def test_a_lock_is_released_by_a_run_that_fails(place: StatePlace, name: str) -> None:
    def fail() -> None:
        with place.open().lock(name, "run-one"):
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    with place.open().lock(name, "run-two") as lock:
        assert lock.held()


def test_locks_of_two_feeds_are_independent(place: StatePlace, name: str) -> None:
    store = place.open()
    with ExitStack() as held:
        locks = [held.enter_context(store.lock(feed, "run-one")) for feed in (name, f"{name}other")]

        assert [lock.held() for lock in locks] == [True, True]


def test_the_state_can_be_read_and_saved_under_the_lock(place: StatePlace, name: str) -> None:
    store = place.open()
    with store.lock(name, "run-one"):
        before = store.load(name)
        store.save(name, RICH, RICH.locations.keys())
        seen = place.open().load(name)

    assert (before, seen, place.open().load(name)) == (FeedState(), RICH, RICH)


def test_a_run_whose_lock_another_has_taken_saves_nothing_over_what_that_one_saved(
    place: StatePlace, name: str
) -> None:
    first, second = place.open(), place.open()
    theirs = FeedState({"A": location(NOON + HOUR)})
    with first.lock(name, "run-one"):
        first.save(name, FeedState({"A": location()}), ["A"])
        place.lose_lock(name)
        with second.lock(name, "run-two"):
            second.load(name)
            second.save(name, theirs, ["A"])

            with pytest.raises(StateError):
                first.save(name, FeedState({"A": location(NOON + 2 * HOUR)}), ["A"])

            assert place.open().load(name) == theirs


def test_a_run_whose_lock_another_has_taken_leaves_that_one_its_lock(place: StatePlace, name: str) -> None:
    second = place.open()
    with ExitStack() as later:
        with place.open().lock(name, "run-one"):
            place.lose_lock(name)
            later.enter_context(second.lock(name, "run-two"))

        with pytest.raises(LockHeld, match="run-two"), place.open().lock(name, "run-three"):
            pytest.fail("two runs at once")


# --- looking ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kept", ["nothing", "a state", "the earlier forwarder's", "what cannot be read"])
def test_looking_writes_nothing(place: StatePlace, name: str, kept: str) -> None:
    if kept == "a state":
        saved(place, name, RICH)
        place.open().keep_report(name, run_report(NOON))
        place.open().quarantine(name, quarantined(1))
    elif kept == "the earlier forwarder's":
        place.put_earlier_state(name, {"last_fetch_timestamp": "2026-03-01T10:15:00.000Z"})
    elif kept == "what cannot be read":
        place.put_earlier_state(name, {"total_events_sent": 70})
    before = place.stored(name)
    store = place.open()

    for _ in range(2):
        with suppress(StateDamaged):
            store.load(name)
        list(store.history(name, NOON - HOUR))
        list(store.quarantined(name, "people_counter"))

    assert place.stored(name) == before


# --- quarantine and probe ---------------------------------------------------------------------------


def quarantined(number: int, text: bytes = b'{"a":1}') -> QuarantinedReading:
    return QuarantinedReading(
        feed="people_counter",
        location="../../x\n",
        hubs=[HUB_A, HUB_B],
        id=reading_id(number),
        reason="larger than a message",
        at=NOON,
        text=text,
    )


def as_read(item: QuarantinedReading) -> dict[str, Any]:
    return {
        "feed": "people_counter",
        "location": "../../x\n",
        "hubs": [HUB_A, HUB_B],
        "id": item.id,
        "reason": "larger than a message",
        "at": "2026-03-02T12:00:00.000Z",
        "reading": json.loads(item.text),
    }


def test_a_quarantined_reading_can_be_found_and_read_in_full(place: StatePlace, name: str) -> None:
    item = quarantined(1, b'{"name":"\\u00e9","tags":["a",null],"change":{"in":5.10}}')

    found = place.open().quarantine(name, item)

    assert item.id in found
    assert place.quarantined(name) == [as_read(item)]


def test_a_quarantined_reading_larger_than_a_table_row_is_whole(place: StatePlace, name: str) -> None:
    item = quarantined(1, json.dumps({"text": "x" * 2_500_000}).encode())

    place.open().quarantine(name, item)

    assert place.quarantined(name) == [as_read(item)]


def test_the_same_reading_quarantined_again_replaces_the_first(place: StatePlace, name: str) -> None:
    first, again = quarantined(1, b'{"try":1}'), quarantined(1, b'{"try":2}')

    places = [place.open().quarantine(name, item) for item in (first, again)]

    assert (places[0] == places[1], place.quarantined(name)) == (True, [as_read(again)])


def test_readings_that_differ_in_id_or_hubs_are_kept_apart(place: StatePlace, name: str) -> None:
    items = [quarantined(1), quarantined(2), replace(quarantined(1), hubs=[HUB_C])]

    for item in items:
        place.open().quarantine(name, item)

    expected = [as_read(items[0]), as_read(items[1]), as_read(items[2]) | {"hubs": [HUB_C]}]
    assert sorted(map(str, place.quarantined(name))) == sorted(map(str, expected))


def held(place: StatePlace, name: str) -> list[tuple[str, QuarantinedReading]]:
    return list(place.open().quarantined(name, "people_counter"))


def test_quarantine_gives_back_what_was_put_in_in_the_order_of_its_keys(place: StatePlace, name: str) -> None:
    exact = b'{"entry":{"change":{"in":5.10},"note":"x"},"tags":["a",null]}'
    items = [quarantined(1, exact), quarantined(2), replace(quarantined(2), hubs=[HUB_C])]
    items.append(quarantined(3, json.dumps({"text": "x" * 2_500_000}, separators=(",", ":")).encode()))
    for item in items:
        place.open().quarantine(name, item)

    found = held(place, name)

    assert [key for key, _ in found] == sorted(key for key, _ in found)
    assert sorted((item for _, item in found), key=str) == sorted(items, key=str)


def test_a_reading_is_found_in_quarantine_by_its_id(place: StatePlace, name: str) -> None:
    odd = replace(quarantined(1), id="-_it's*[a]")
    items = [quarantined(1), quarantined(2), replace(quarantined(2), hubs=[HUB_C]), odd]
    for item in items:
        place.open().quarantine(name, item)

    def found(reading_id: str) -> list[QuarantinedReading]:
        return [item for _, item in place.open().quarantined(name, "people_counter", reading_id)]

    assert sorted(found(items[1].id), key=str) == sorted(items[1:3], key=str)
    assert (found(odd.id), found("-_it_s__a_"), found(items[1].id[:-1])) == ([odd], [], [])


def test_where_nothing_was_quarantined_nothing_is_found(place: StatePlace, name: str) -> None:
    place.open().quarantine(name, quarantined(1))

    assert list(place.open().quarantined(name, "hourly_snapshot")) == []
    assert list(place.open().quarantined(f"{name}other", "hourly_snapshot")) == []


def test_a_released_reading_is_moved_and_the_others_stay(place: StatePlace, name: str) -> None:
    large = quarantined(1, json.dumps({"text": "x" * 2_500_000}).encode())
    for item in (large, quarantined(2)):
        place.open().quarantine(name, item)
    key = next(key for key, item in held(place, name) if item.id == large.id)

    where = place.open().release(name, "people_counter", key)

    assert ("replayed" in where, key in where) == (True, True)
    assert [item.id for _, item in held(place, name)] == [reading_id(2)]
    with pytest.raises(StateError, match="quarantine list"):
        place.open().release(name, "people_counter", key)


def test_a_reading_can_be_quarantined_and_released_again(place: StatePlace, name: str) -> None:
    for text in (b'{"try":1}', b'{"try":2}'):
        place.open().quarantine(name, quarantined(1, text))
        [(key, item)] = held(place, name)
        place.open().release(name, "people_counter", key)

        assert (item.text, held(place, name)) == (text, [])


# --- set aside --------------------------------------------------------------------------------------


def test_a_state_that_was_set_aside_is_empty_and_can_be_saved_anew(place: StatePlace, name: str) -> None:
    saved(place, name, RICH)
    store = place.open()
    store.load(name)
    with store.lock(name, "state reset") as lock:
        places = store.set_aside(name)
        empty = store.load(name)
        store.save(name, FeedState({"A": location()}), ["A"])

        assert lock.held()
    assert places
    assert all("damaged" in found for found in places)
    assert (empty, place.open().load(name)) == (FeedState(), FeedState({"A": location()}))


def test_setting_aside_nothing_does_nothing(place: StatePlace, name: str) -> None:
    assert (place.open().set_aside(name), place.open().load(name)) == ([], FeedState())


def test_an_earlier_state_that_cannot_be_read_can_be_set_aside(place: StatePlace, name: str) -> None:
    place.put_earlier_state(name, {"total_events_sent": 70})

    assert len(place.open().set_aside(name)) == 1
    assert place.open().load(name) == FeedState()


def test_a_state_keeps_its_quarantine_when_it_is_set_aside(place: StatePlace, name: str) -> None:
    saved(place, name, RICH)
    place.open().quarantine(name, quarantined(1))

    place.open().set_aside(name)

    assert [item.id for _, item in held(place, name)] == [reading_id(1)]


def test_a_probe_leaves_nothing_and_may_be_repeated(place: StatePlace, name: str) -> None:
    saved(place, name, RICH)

    place.open().probe()
    place.open().probe()

    assert place.open().load(name) == RICH


def test_a_probe_passes_while_a_run_holds_the_lock(place: StatePlace, name: str) -> None:
    with place.open().lock(name, "run-one") as lock:
        place.open().probe()

        assert lock.held()


# --- removing -----------------------------------------------------------------------------------------


def test_a_removed_state_is_gone_with_its_lock_and_leaves_others_and_quarantine(
    place: StatePlace, name: str
) -> None:
    other = f"{name}other"
    saved(place, other, RICH)
    place.open().quarantine(name, quarantined(1))
    store = place.open()
    with store.lock(name, "run-one"):
        for _ in range(2):
            store.save(name, RICH, RICH.locations.keys())

    store.remove(name)

    assert (store.load(name), place.open().load(name), place.open().load(other)) == (
        FeedState(),
        FeedState(),
        RICH,
    )
    assert place.quarantined(name) == [as_read(quarantined(1))]


def test_removing_what_is_not_there_does_nothing(place: StatePlace, name: str) -> None:
    place.open().remove(name)

    assert place.open().load(name) == FeedState()


# --- history ----------------------------------------------------------------------------------------


def run_report(began: datetime, run: str = "r1", **more: Any) -> dict[str, Any]:
    return {"run": run, "feed": "people_counter", "ok": True, "started": format_time(began), **more}


def test_the_history_gives_what_was_kept_in_the_order_in_which_runs_began(
    place: StatePlace, name: str
) -> None:
    reports = [run_report(NOON + n * 5 * HOUR, f"r{n}", warnings=["é – \u2028"]) for n in range(6)]
    for report in [*reports[3:], *reports[:3]]:
        place.open().keep_report(name, report)

    assert list(place.open().history(name, NOON)) == reports
    assert list(place.open().history(name, NOON + 12 * HOUR)) == reports[3:]
    assert list(place.open().history(f"{name}x", NOON)) == []


def test_the_history_forgets_after_thirty_days(place: StatePlace, name: str) -> None:
    for days in (0, 1, 30, 31):
        place.open().keep_report(name, run_report(NOON + timedelta(days=days), f"r{days}"))

    runs = [report["run"] for report in place.open().history(name, NOON - 90 * 24 * HOUR)]

    assert runs == ["r1", "r30", "r31"]


def test_a_report_too_long_for_the_history_keeps_the_beginning_of_its_lists(
    place: StatePlace, name: str
) -> None:
    many = [{"location": f"Site {n}", "error": "x" * 2_000} for n in range(5_000)]

    place.open().keep_report(name, run_report(NOON, failures=many, hubs={HUB_A: {"events": 7}}))

    (kept,) = place.open().history(name, NOON)
    assert kept["failures"] == many[: len(kept["failures"])]
    assert 10 <= len(kept["failures"]) <= 100
    assert kept["hubs"] == {HUB_A: {"events": 7}}


def test_the_history_has_no_part_in_the_state(place: StatePlace, name: str) -> None:
    place.open().keep_report(name, run_report(NOON))

    assert place.open().load(name) == FeedState()
    saved(place, name, RICH)
    assert len(list(place.open().history(name, NOON))) == 1


def test_a_refused_login_is_remembered_beside_the_states_until_one_is_accepted(
    place: StatePlace, name: str
) -> None:
    before = saved(place, name, RICH)
    for _ in range(3):
        refusals = RefusedLogins(place.open(), lambda: NOON)
        refusals.require_due(SETTINGS)
        refusals.refused(SETTINGS)

    waiting = RefusedLogins(place.open(), lambda: NOON)
    with pytest.raises(AuthError, match="3 times in a row"):
        waiting.require_due(SETTINGS)
    waiting.accepted()

    RefusedLogins(place.open(), lambda: NOON).require_due(SETTINGS)
    assert place.open().load(name) == before


# --- what discovery found, kept by who plans shards ---------------------------------------------------

FOUND = Discovery(NOON + HOUR, (Place("Mill & Lane", "com.example.NORTH", 3),), "asked with")


def test_discovery_is_kept_and_nothing_else_of_the_feed_is_changed(place: StatePlace, name: str) -> None:
    place.open().save(name, RICH, list(RICH.locations))

    place.open().keep_discovery(name, FOUND)

    assert place.open().load(name) == replace(RICH, discovery=FOUND)


def test_an_outline_has_all_but_the_ids_seals_and_sensors_of_locations(place: StatePlace, name: str) -> None:
    place.open().save(name, RICH, list(RICH.locations))

    found = place.open().outline(name)

    kept = RICH.locations["Beacon House"].checkpoints
    assert any(checkpoint.ids for checkpoint in kept.values())
    assert found.locations["Beacon House"].checkpoints == {
        hub: replace(checkpoint, ids={}) for hub, checkpoint in kept.items()
    }
    assert found == replace(
        RICH, locations={key: location.outline() for key, location in RICH.locations.items()}
    )


def test_discovery_is_kept_where_nothing_else_is(place: StatePlace, name: str) -> None:
    place.open().keep_discovery(name, FOUND)

    assert place.open().load(name) == FeedState(discovery=FOUND)


def test_a_position_of_the_earlier_forwarder_stays_when_discovery_is_kept(
    place: StatePlace, name: str
) -> None:
    place.put_earlier_state(name, {"last_fetch_timestamp": "2026-03-01T00:00:00Z", "total_events_sent": 7})
    before = place.open().load(name).takeover

    place.open().keep_discovery(name, FOUND)

    assert before is not None
    assert place.open().load(name).takeover == before
