"""The state document: what is written comes back, and nothing else is taken for it."""

from __future__ import annotations

import base64
import json
import re
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

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
from app.base.readings import QuarantinedReading, Slice
from app.quality.bounds import sensor_of
from app.quality.hourly_digests import unprovable
from app.state.document import (
    check_version,
    decode,
    encode,
    feed_document,
    feed_from,
    ids_from,
    ids_text,
    location_document,
    location_from,
    quarantine_document,
    quarantine_key,
    takeover_from,
    whole_document,
    whole_from,
)
from app.state.state_text import whole_text

NOON = datetime(2026, 3, 2, 12, tzinfo=UTC)
HOUR = timedelta(hours=1)
HUB_A, HUB_B = "alpha.example.test/counts", "beta.example.test/counts"
IDS = frozenset({"AAAAAAAAAAAAAAAA", "BBBBBBBBBBBBBBB-"})

milliseconds = st.integers(0, 4_000_000_000_000)
instants = milliseconds.map(lambda ms: datetime(2000, 1, 1, tzinfo=UTC) + timedelta(milliseconds=ms))
hours = st.integers(0, 500_000).map(lambda number: datetime(2000, 1, 1, tzinfo=UTC) + number * HOUR)
texts = st.text(max_size=20)
counts = st.integers(0, 2**70)
reading_ids = st.binary(min_size=12, max_size=12).map(lambda raw: base64.urlsafe_b64encode(raw).decode())
ids = st.dictionaries(hours, st.frozensets(reading_ids, min_size=1, max_size=4), max_size=3)
checkpoints = st.builds(Checkpoint, instants, instants, ids)
hub_records = st.builds(
    HubRecord, counts, counts, counts, st.none() | instants, st.none() | texts, st.none() | instants
)
gaps = st.builds(
    Gap,
    st.builds(Slice, instants, instants),
    st.sampled_from(["saturated", "missed", "left behind"]),
    instants,
    st.lists(texts, max_size=2).map(tuple),
)
halves = st.integers(0, 2**48 - 1)
seals = st.dictionaries(hours, st.none() | st.builds(Seal, counts, halves, st.none() | halves), max_size=3)
sensors = st.builds(Sensor, instants, milliseconds.map(lambda ms: timedelta(milliseconds=ms)))
tags = st.lists(texts, max_size=3).map(lambda some: sensor_of(tuple(some)))
locations = st.builds(
    LocationState,
    st.none() | instants,
    st.none() | instants,
    # Drawn from few checkpoints, so that some hubs are equal.
    st.lists(checkpoints, min_size=1, max_size=2).flatmap(
        lambda few: st.dictionaries(texts, st.sampled_from(few), max_size=4)
    ),
    st.dictionaries(texts, hub_records, max_size=3),
    st.lists(gaps, max_size=2).map(tuple),
    st.none() | texts,
    st.none() | instants,
    st.none() | instants,
    st.dictionaries(texts, seals, max_size=3),
    st.none() | instants,
    st.dictionaries(
        st.lists(texts, max_size=3).map(lambda tags: sensor_of(tuple(tags))), sensors, max_size=3
    ),
)


@settings(max_examples=60)
@given(locations)
def test_a_location_comes_back_as_it_was_written(location: LocationState) -> None:
    assert location_from(decode(encode(location_document(location)))) == location


@settings(max_examples=60)
@given(locations)
def test_hubs_share_a_group_exactly_when_they_are_equal(location: LocationState) -> None:
    groups = location_document(location)["groups"]

    distinct = [
        known
        for number, known in enumerate(location.checkpoints.values())
        if known not in list(location.checkpoints.values())[:number]
    ]
    assert sorted(hub for group in groups for hub in group["hubs"]) == sorted(location.checkpoints)
    assert len(groups) == len(distinct)


@settings(max_examples=60)
@given(st.dictionaries(st.text() | st.characters(categories=["Cs"]), texts | counts, max_size=4))
def test_any_text_can_be_written_lone_surrogates_too(document: dict[str, Any]) -> None:
    assert decode(encode(document)) == document


@pytest.mark.parametrize("count", [0, 1, 20, 45])
def test_a_whole_state_is_written_in_parts_as_it_would_be_at_once(count: int) -> None:
    location = LocationState(
        checkpoints={HUB_A: Checkpoint(NOON, NOON - HOUR, {NOON - HOUR: IDS})},
        error='a "quote", a \\, a line\nend, \x01, \x7f, é, \u2028',
        sensors={("Ä", "1"): Sensor(NOON, timedelta(seconds=0.125))},
    )
    state = FeedState({f"Bänk {number}": location for number in range(count)}, last_run={"run": "r"})

    text = b"".join(whole_text("peoplecounterstate", state))

    assert text.decode() == json.dumps(
        whole_document("peoplecounterstate", state), ensure_ascii=False, indent=1
    )
    assert whole_from(decode(text)) == state


def test_a_state_with_half_a_surrogate_pair_is_written_and_read() -> None:
    state = FeedState({name: LocationState(error=name) for name in ("plain", "\ud800")})

    assert whole_from(decode(b"".join(whole_text("peoplecounterstate", state)))) == state


def test_a_location_is_written_as_documented() -> None:
    location = LocationState(
        last_listed=NOON,
        newest=NOON + timedelta(microseconds=123_456),
        checkpoints={hub: Checkpoint(NOON, NOON - HOUR, {NOON - HOUR: IDS}) for hub in (HUB_B, HUB_A)},
        hubs={HUB_A: HubRecord(1, 2, 3, NOON, "refused", NOON)},
        gaps=(Gap(Slice(NOON - HOUR, NOON), "missed", NOON, (HUB_A,)),),
        begun=NOON - HOUR,
        seals={hub: {NOON: Seal(3, 0xAB, 0xCD), NOON + HOUR: Seal(1, 0, None)} for hub in (HUB_A, HUB_B)},
        compared=NOON,
        sensors={("A", "Door"): Sensor(NOON, timedelta(minutes=15))},
    )

    assert location_document(location) == {
        "begun": "2026-03-02T11:00:00.000Z",
        "compared": "2026-03-02T12:00:00.000Z",
        "seals": [{"hubs": [HUB_A, HUB_B], "hours": {"2026-03-02T12": "3:ab:cd", "2026-03-02T13": "1:0:"}}],
        "sensors": [{"tags": ["A", "Door"], "last": "2026-03-02T12:00:00.000Z", "longest_s": 900.0}],
        "last_listed": "2026-03-02T12:00:00.000Z",
        "newest": "2026-03-02T12:00:00.123Z",
        "error": None,
        "since": None,
        "groups": [
            {
                "hubs": [HUB_A, HUB_B],
                "delivered_until": "2026-03-02T12:00:00.000Z",
                "known_from": "2026-03-02T11:00:00.000Z",
                "newest": None,
                "ids": {"2026-03-02T11": "AAAAAAAAAAAAAAAABBBBBBBBBBBBBBB-"},
            }
        ],
        "hubs": {
            HUB_A: {
                "events": 1,
                "readings": 2,
                "duplicates": 3,
                "last_success": "2026-03-02T12:00:00.000Z",
                "error": "refused",
                "since": "2026-03-02T12:00:00.000Z",
                "start": None,
            }
        },
        "gaps": [
            {
                "from": "2026-03-02T11:00:00.000Z",
                "to": "2026-03-02T12:00:00.000Z",
                "cause": "missed",
                "found": "2026-03-02T12:00:00.000Z",
                "hubs": [HUB_A],
            }
        ],
    }


def test_a_feed_says_its_least_position_and_its_totals() -> None:
    state = FeedState(
        {
            "A": LocationState(checkpoints={HUB_A: Checkpoint(NOON, NOON)}, hubs={HUB_A: HubRecord(5, 9, 1)}),
            "B": LocationState(checkpoints={HUB_A: Checkpoint(NOON - HOUR, NOON - HOUR)}),
        },
        discovery=Discovery(NOON, (Place("A", "org.example", 2, frozenset({"b2", "a1"})),), "a1b2"),
        takeover=Takeover(NOON - HOUR, "state.json", 100, 10, NOON),
        last_run={"run": "r1"},
        drift=(Drift("silent", "A", "A: silent", NOON, ("A", "Door")),),
        keys={"change.in": SeenKey(NOON), "change.out": SeenKey(NOON, vanished=True)},
    )

    assert feed_document(state) == {
        "version": 1,
        "last_fetch_timestamp": "2026-03-02T11:00:00.000Z",
        "total_events_sent": 105,
        "total_duplicates_skipped": 11,
        "discovery": {
            "at": "2026-03-02T12:00:00.000Z",
            "of": "a1b2",
            "collisions": [],
            "places": [{"name": "A", "owner": "org.example", "devices": 2, "sketch": "a1 b2"}],
        },
        "takeover": {
            "position": "2026-03-02T11:00:00.000Z",
            "source": "state.json",
            "events": 100,
            "duplicates": 10,
            "at": "2026-03-02T12:00:00.000Z",
        },
        "last_run": {"run": "r1"},
        "drift": [
            {
                "kind": "silent",
                "location": "A",
                "text": "A: silent",
                "since": "2026-03-02T12:00:00.000Z",
                "sensor": ["A", "Door"],
            }
        ],
        "keys": {"change.in": "2026-03-02T12", "change.out": "-2026-03-02T12"},
    }
    assert feed_from(feed_document(state), state.locations) == state


def test_a_feed_without_anything_comes_back() -> None:
    assert feed_from(feed_document(FeedState()), {}) == FeedState()


def test_ids_are_sorted_and_joined() -> None:
    text = ids_text(IDS)

    assert text == "AAAAAAAAAAAAAAAABBBBBBBBBBBBBBB-"
    assert frozenset(ids_from(text)) == IDS


@pytest.mark.parametrize("odd", ["short", "A" * 15 + '"'])
def test_what_is_no_id_is_not_written_among_ids(odd: str) -> None:
    with pytest.raises(ValueError, match="ids"):
        ids_text(IDS | {odd})


@pytest.mark.parametrize("text", ["A", "A" * 17, "A" * 15 + "=", "A" * 15 + "\n", "é" * 16])
def test_a_text_that_is_no_ids_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="ids"):
        ids_from(text)


@pytest.mark.parametrize(
    ("version", "message"),
    [
        (2, "version 2 was written by a newer forwarder, this one reads 1"),
        (0, "version 0 is not one of this forwarder's"),
        (None, "version None is not one of this forwarder's"),
        (True, "version True is not one of this forwarder's"),
        ("1", "version '1' is not one of this forwarder's"),
    ],
)
def test_another_version_is_refused(version: object, message: str) -> None:
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        check_version({"version": version})


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"groups": None}, "location: a NoneType where a list belongs"),
        ({"groups": [None]}, "location: 'NoneType' object is not subscriptable"),
        ({"gaps": [{}]}, "location: lacks 'from'"),
        ({"hubs": []}, "location: 'list' object has no attribute 'items'"),
        ({"hubs": {HUB_A: {}}}, "location: lacks 'events'"),
        ({"newest": "0001-01-01T00:00:00+14:00"}, "location: date value out of range"),
        ({"since": "yesterday"}, "location: Invalid isoformat string: 'yesterday'"),
        ({"error": 5}, "location: a int where a str belongs"),
    ],
    ids=["no list", "no group", "no gap", "no hubs", "no hub", "before all time", "no time", "no text"],
)
def test_a_location_of_another_shape_is_refused_with_its_part(change: dict[str, Any], message: str) -> None:
    document = location_document(LocationState()) | change

    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        location_from(document)


@pytest.mark.parametrize(
    "instant", ["0001-01-01T00:00:00.000Z", "1969-12-31T23:59:59.999Z", "9999-06-01T00:00:00Z"]
)
@pytest.mark.parametrize("field", ["delivered_until", "known_from", "newest"])
def test_a_position_that_no_look_back_can_be_taken_from_is_refused(field: str, instant: str) -> None:
    position = {
        "hubs": ["a"],
        "delivered_until": "2026-03-02T12:00:00Z",
        "known_from": "2026-03-02T12:00:00Z",
    }
    group: dict[str, Any] = {**position, "newest": None, "ids": {}, field: instant}
    document = location_document(LocationState()) | {"groups": [group]}

    with pytest.raises(ValueError, match="is outside all that is forwarded"):
        location_from(document)


@pytest.mark.parametrize("year", [1, 1969, 9999])
def test_a_reading_of_any_year_leaves_a_state_that_can_be_read(year: int) -> None:
    noon = datetime(2026, 3, 2, 12, tzinfo=UTC)
    checkpoint = Checkpoint(noon, noon - timedelta(hours=3))
    seals = {noon: Seal(2, 7, 9)}
    marked = unprovable(seals, [datetime(year, 6, 1, tzinfo=UTC), noon + timedelta(hours=1)], checkpoint)

    found = location_from(
        location_document(LocationState(checkpoints={"a": checkpoint}, seals={"a": marked}))
    )

    assert found.seals == {"a": {**seals, noon + timedelta(hours=1): None}}


def test_a_mark_of_what_is_no_hour_is_refused() -> None:
    document = location_document(LocationState()) | {"seals": [{"hubs": ["a"], "hours": {"noon": "-"}}]}

    with pytest.raises(ValueError, match="noon"):
        location_from(document)


@pytest.mark.parametrize(
    "left",
    [
        [],
        {"started": None},
        {"ended": "2026-03-02T12:00:"},
        {"ended": "9999-12-31T23:59:59Z"},
        {"ok": "no"},
        {"failing_since": 7},
        {"hubs_failing": "a"},
        {"hubs_failing": [None]},
    ],
    ids=str,
)
def test_what_a_run_did_not_leave_of_itself_is_refused(left: object) -> None:
    document = feed_document(FeedState()) | {"last_run": left}

    with pytest.raises(ValueError, match=r"^feed: "):
        feed_from(document, {})


@pytest.mark.parametrize(
    "text",
    [
        *(b"", b"[]", b"1", b'{"a":1,"a":1}', b'{"a":1', b"\xff", b"[" * 100_000),
        *(b'{"a":NaN}', b'{"a":-Infinity}', b'{"a":1e400}'),
    ],
    ids=[
        *("empty", "a list", "a number", "a key twice", "cut short", "no UTF-8", "too deep"),
        *("no number", "no end", "no float"),
    ],
)
def test_a_text_that_is_no_document_is_refused(text: bytes) -> None:
    with pytest.raises(ValueError):  # noqa: PT011 - the parser's own words
        decode(text)


@pytest.mark.parametrize(
    ("document", "message"),
    [
        ({}, "no version, and no last_fetch_timestamp"),
        ({"last_fetch_timestamp": 5}, "no version, and no last_fetch_timestamp"),
        ({"last_fetch_timestamp": None, "last_fetch_time": ""}, "no version, and no last_fetch_timestamp"),
        ({"last_fetch_time": "yesterday"}, "earlier forwarder's state: Invalid isoformat"),
        ({"last_fetch_time": "2026-03-01T00:00:00", "total_events_sent": "x"}, "earlier forwarder's state"),
        ({"last_fetch_time": "2026-03-01T00:00:00", "total_events_sent": [1]}, "earlier forwarder's state"),
    ],
    ids=["empty", "a number", "empty positions", "no time", "a total in words", "a total in a list"],
)
def test_an_earlier_state_that_cannot_be_read_is_refused(document: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        takeover_from(document, "state.json")


def test_an_earlier_state_with_empty_fields_is_read_by_the_ones_that_are_filled() -> None:
    document = {
        "last_fetch_timestamp": None,
        "last_fetch_time": "2026-03-02T12:00:00",
        "total_events_sent": None,
        "total_snapshots_sent": 4,
        "total_duplicates_skipped": None,
    }

    assert takeover_from(document, "state.json") == Takeover(NOON, "state.json", 4, 0)


READING = QuarantinedReading(
    "people_counter", "A", [HUB_A], "AAAAAAAAAAAAAAAA", "no time", NOON, b'{"a":1.50}'
)


def test_a_quarantined_reading_is_written_in_full_with_its_reason() -> None:
    expected = {
        "feed": "people_counter",
        "location": "A",
        "hubs": [HUB_A],
        "id": "AAAAAAAAAAAAAAAA",
        "reason": "no time",
        "at": "2026-03-02T12:00:00.000Z",
        "reading": {"a": 1.5},
    }

    found = quarantine_document(READING)

    assert (json.loads(found), b'"a": 1.50' in found) == (expected, True)


@pytest.mark.parametrize(
    "other",
    [
        replace(READING, id="aAAAAAAAAAAAAAAA"),
        replace(READING, location="B"),
        replace(READING, hubs=[HUB_B]),
        replace(READING, feed="hourly_snapshot"),
    ],
    ids=["id, in case only", "location", "hubs", "feed"],
)
def test_quarantined_readings_that_differ_have_names_that_differ_without_case(
    other: QuarantinedReading,
) -> None:
    assert quarantine_key(other).lower() != quarantine_key(READING).lower()


def test_the_name_of_a_quarantined_reading_holds_nothing_from_outside() -> None:
    hostile = replace(READING, id="../x\0é" * 50, location="\ud800/..")

    assert re.fullmatch(r"[A-Za-z0-9_-]{1,80}", quarantine_key(hostile))


def test_the_order_of_hubs_does_not_matter_to_the_name_of_a_quarantined_reading() -> None:
    names = {quarantine_key(replace(READING, hubs=hubs)) for hubs in ([HUB_A, HUB_B], [HUB_B, HUB_A])}

    assert len(names) == 1
