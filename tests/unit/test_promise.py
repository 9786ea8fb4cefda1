from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta

import pytest

from tests.promise import Arrival, Reading, arrival_of, breaches, lost, not_merged, reading_of, repeated

NOON = datetime(2026, 3, 2, 12, 0, tzinfo=UTC)


def published(minute: int, *, location: str = "Mill", count: int = 1) -> Reading:
    time = f"2026-03-02T12:{minute:02}:00.000Z"
    return reading_of(location, "counts", ["Mill", "Door"], {"time": time, "record": "r1", "in": count})


def event(*readings: Reading, id: str = "", body: bytes = b"as it was") -> Arrival:  # noqa: A002
    minute = int(readings[0].entry["time"][14:16])
    time = NOON + timedelta(minutes=minute)
    return Arrival(id or f"{readings[0].location} {minute}", readings[0].location, time, readings, body)


ONE, TWO, THREE = published(1), published(2), published(3)
OWED = (ONE, TWO, THREE)


def test_all_that_was_published_once_and_in_order_is_no_breach() -> None:
    assert breaches(OWED, [event(ONE), event(TWO), event(THREE)]) == []


def test_nothing_is_owed_and_nothing_arrived() -> None:
    assert breaches([], []) == []


def test_what_is_lost_is_named() -> None:
    assert breaches(OWED, [event(ONE), event(THREE)]) == [
        "lost: Mill ['Mill', 'Door'] at 2026-03-02T12:02:00.000Z, record r1"
    ]


def test_a_correction_is_owed_too_and_what_it_corrects_may_be_there() -> None:
    corrected = published(2, count=7)
    arrived = [event(ONE), event(TWO), event(corrected, id="corrected"), event(THREE)]

    assert breaches([ONE, corrected, THREE], arrived, also=[TWO]) == []
    assert [
        text[:6] for text in breaches([ONE, corrected, THREE], arrived[:2] + arrived[3:], also=[TWO])
    ] == ["lost: "]


@pytest.mark.parametrize(
    "stranger",
    [
        published(2, count=9),
        published(2, location="Quay"),
        reading_of("Mill", "counts", ["Mill", "Gate"], TWO.entry),
        reading_of("Mill", "snapshots", ["Mill", "Door"], TWO.entry),
    ],
    ids=["content", "location", "tags", "record type"],
)
def test_what_was_never_published_like_that_is_invented(stranger: Reading) -> None:
    found = breaches(OWED, [event(ONE), event(TWO), event(stranger, id="new"), event(THREE)])

    assert found == [f"arrived, but was never published: {stranger}"]


def test_what_is_withheld_is_not_lost_and_must_not_arrive() -> None:
    assert breaches(OWED, [event(ONE), event(THREE)], withheld=[TWO]) == []
    assert breaches(OWED, [event(ONE), event(TWO), event(THREE)], withheld=[TWO]) == [
        f"arrived, though it is withheld: {TWO}"
    ]


def test_a_repeat_needs_a_reason() -> None:
    arrived = [event(ONE), event(TWO), event(TWO), event(THREE), event(TWO)]

    told = f"repeated without a reason: {TWO}, message id Mill 2"
    assert [breaches(OWED, arrived, repeats=allowed) for allowed in (0, 1, 2)] == [[told] * 2, [told], []]


def test_an_event_of_several_readings_that_comes_again_is_one_repeat() -> None:
    assert breaches([ONE, TWO], [event(ONE, TWO), event(ONE, TWO)], repeats=1) == []


def test_no_reason_allows_another_message_id() -> None:
    arrived = [event(ONE), event(TWO), event(TWO, id="other"), event(THREE)]

    assert breaches(OWED, arrived, repeats=9) == [
        f"repeated under another message id than Mill 2: {TWO}, message id other"
    ]


def test_no_reason_allows_other_content_under_a_message_id() -> None:
    arrived = [event(ONE), event(ONE, body=b"as it was not")]

    assert breaches([ONE], arrived, repeats=9) == [
        "came with other content under the same message id: Mill 2026-03-02 12:01:00, message id Mill 1"
    ]


def test_two_readings_under_one_message_id_are_named() -> None:
    arrived = [event(ONE, id="same", body=b"one"), event(TWO, id="same", body=b"two")]

    assert [text[:37] for text in breaches([ONE, TWO], arrived)] == ["came with other content under the sam"]


def test_what_comes_behind_a_later_one_of_its_location_is_out_of_order() -> None:
    elsewhere = published(1, location="Quay")

    assert breaches([*OWED, elsewhere], [event(ONE), event(THREE), event(TWO), event(elsewhere)]) == [
        "arrived behind a later one: Mill 2026-03-02 12:02:00, message id Mill 2"
    ]


def test_each_that_comes_behind_the_latest_is_out_of_order() -> None:
    found = breaches(OWED, [event(THREE), event(ONE), event(TWO)])

    assert [text[-6:] for text in found] == ["Mill 1", "Mill 2"]


def test_what_is_late_may_come_behind_and_changes_nothing_for_the_others() -> None:
    late = published(9)

    assert breaches(OWED, [event(ONE), event(THREE), event(TWO)], late=[TWO]) == []
    assert breaches([*OWED, late], [event(late), event(ONE), event(TWO), event(THREE)], late=[late]) == []


def test_a_repeat_that_is_allowed_is_not_asked_for_its_order() -> None:
    assert breaches(OWED, [event(ONE), event(TWO), event(ONE), event(THREE)], repeats=1) == []


def test_repeats_are_told_apart_by_when_the_hub_had_them() -> None:
    found = list(repeated([event(ONE, id="new"), event(TWO), event(TWO)], had={ONE: "old"}))

    assert [(repeat.reading, repeat.first, repeat.had_before) for repeat in found] == [
        (ONE, "old", True),
        (TWO, "Mill 2", False),
    ]


def test_the_lost_are_told_location_by_location() -> None:
    other = published(0, location="Abbey")

    assert lost([TWO, ONE, other], []) == [f"lost: {other}", f"lost: {ONE}", f"lost: {TWO}"]


def test_an_event_of_people_counts_is_taken_apart() -> None:
    entry = {"time": "2026-03-02T12:01:00.000Z", "in": 3}
    body = json.dumps({"recType": "counts", "_location_tags": ["Mill", "Door"], **entry}).encode()

    assert arrival_of("id", {"location": "Mill"}, body) == Arrival(
        "id",
        "Mill",
        NOON + timedelta(minutes=1),
        (reading_of("Mill", "counts", ["Mill", "Door"], entry),),
        body,
    )


def test_an_event_of_snapshots_is_taken_apart() -> None:
    told = {"recType": "snapshots", "objs": [{"data": {"_id": {"tags": ["Mill", "1"]}, "line": [{"n": 1}]}}]}
    body = json.dumps(told).encode()

    assert arrival_of("id", {"location": "Mill", "hour": "2026-03-02T12:00:00Z"}, body) == Arrival(
        "id", "Mill", NOON, (reading_of("Mill", "snapshots", ["Mill", "1"], {"n": 1}),), body
    )


# --- what a consumer keeps ------------------------------------------------------------------------


def counted(record: str | None, *, minute: int = 1, count: int = 1) -> Reading:
    entry = {"time": f"2026-03-02T12:{minute:02}:00.000Z", "record": record, "in": count}
    return reading_of("Mill", "counts", ["Mill", "Door"], entry)


OLD, NEW, OTHER = counted("r1"), counted("r1", count=2), counted("r2")


def test_a_table_of_the_last_versions_is_no_breach() -> None:
    arrived = [event(OLD), event(OTHER), event(NEW), event(OTHER)]

    assert not_merged(arrived, [NEW, OTHER]) == []


def test_readings_without_a_record_are_told_apart_by_their_time() -> None:
    first, second = counted(None, minute=1), counted(None, minute=2)

    assert not_merged([event(first), event(second)], [first, second]) == []


@pytest.mark.parametrize(
    ("kept", "said"),
    [
        ([NEW], [f"not in the consumer's table: {OTHER}"]),
        ([OLD, OTHER], [f"not in the consumer's table: {NEW}", f"too much in the consumer's table: {OLD}"]),
        ([NEW, NEW, OTHER], [f"too much in the consumer's table: {NEW}"]),
        ([OLD, NEW, OTHER], [f"too much in the consumer's table: {OLD}"]),
    ],
    ids=["one is missing", "the first version stayed", "twice", "both versions"],
)
def test_what_a_table_has_otherwise_is_named(kept: list[Reading], said: list[str]) -> None:
    assert not_merged([event(OLD), event(NEW), event(OTHER)], kept) == said
