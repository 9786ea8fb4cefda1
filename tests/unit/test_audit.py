"""What a source shows and a hub holds, put side by side: each reading under one heading, with a cause."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from app.audit.causes import promised
from app.audit.comparing import Counts, compare, slot_of, written_time
from app.audit.comparison_file import ComparisonFile
from app.audit.findings import Failing, Finding, HeldReading, HourCount, Published
from app.audit.hub_contents import HubContents
from app.base.checkpoints import Checkpoint, Gap, HubRecord, LocationState
from app.base.instants import format_time
from app.base.readings import Reading, Slice
from app.eventhub.reader import HubReader
from app.feeds.feed import load_feed
from app.run.planning import Limits
from app.settings.schema import HubSettings

NOON = datetime(2026, 3, 2, 12, tzinfo=UTC)
HOUR = timedelta(hours=1)
MINUTE = timedelta(minutes=1)
LIMITS = Limits(look_back=HOUR, slice_length=24 * HOUR, record_limit=999)
PLACE = "Example Beacon House"


def shown(version: str, *, at: datetime = NOON, slot: str = "", location: str = PLACE) -> Published:
    """A reading that the source shows; a version is `reading/content`, and a slot is its reading's."""
    return Published(location, (slot or version[0]).encode(), at, _id(version), _id(version), format_time(at))


def held(
    version: str,
    *,
    arrived: int = 1,
    times: int = 1,
    at: datetime = NOON,
    slot: str = "",
    location: str = PLACE,
) -> HeldReading:
    text = format_time(at)
    return HeldReading(
        location, (slot or version[0]).encode(), at, _id(version), text, times, arrived, arrived + times
    )


def _id(version: str) -> str:
    reading, content = version.split("/")
    return reading * 8 + content * 8


def told(published: Sequence[Published], delivered: Sequence[HeldReading]) -> list[tuple[str, str]]:
    """Give heading and version of every finding."""
    return [(found.heading, f"{found.id[0]}/{found.id[8]}") for found in compare(published, delivered)]


@pytest.mark.parametrize(
    ("published", "delivered", "expected"),
    [
        ([shown("a/1")], [held("a/1")], [("delivered", "a/1")]),
        ([shown("a/1")], [], [("missing", "a/1")]),
        ([], [held("a/1")], [("unknown", "a/1")]),
        ([shown("a/1")], [held("a/1", times=3)], [("delivered", "a/1"), ("repeated", "a/1")]),
        ([shown("a/2")], [held("a/1")], [("changed", "a/2")]),
        (
            [shown("a/2")],
            [held("a/1", arrived=1), held("a/2", arrived=5)],
            [("delivered", "a/2"), ("superseded", "a/1")],
        ),
        ([shown("a/1")], [held("a/1", arrived=1), held("a/2", arrived=5)], [("changed", "a/1")]),
        (
            [shown("a/3")],
            [held("a/1", arrived=1, times=2), held("a/3", arrived=5)],
            [("delivered", "a/3"), ("superseded", "a/1"), ("repeated", "a/1")],
        ),
        (
            [shown("a/3")],
            [held("a/1", arrived=1), held("a/2", arrived=2)],
            [("changed", "a/3"), ("superseded", "a/1")],
        ),
        ([shown("a/1", slot="s")], [held("b/9", slot="s")], [("changed", "a/1")]),
        ([], [held("a/1", times=4)], [("unknown", "a/1")]),
    ],
    ids=[
        "as it should be",
        "only at the source",
        "only at the hub",
        "thrice at the hub",
        "another content at the hub",
        "corrected, and both delivered",
        "content that the source never showed, delivered after the right one",
        "the old version repeated",
        "two old versions, and not the newest",
        "another record with the same tags and time",
        "unknown, and repeated",
    ],
)
def test_each_reading_of_one_slot_stands_under_its_heading(
    published: list[Published], delivered: list[HeldReading], expected: list[tuple[str, str]]
) -> None:
    assert told(published, delivered) == expected


@pytest.mark.parametrize(
    ("published", "delivered", "expected"),
    [
        (["a/1", "b/1"], [held("a/1"), held("b/1")], {("delivered", "a/1"), ("delivered", "b/1")}),
        (["a/1", "b/1"], [held("a/1")], {("delivered", "a/1"), ("missing", "b/1")}),
        (["a/1", "b/1"], [held("a/2"), held("b/1")], {("changed", "a/1"), ("delivered", "b/1")}),
        (
            ["a/2", "b/1"],
            [held("a/1", arrived=1), held("a/2", arrived=4)],
            {("delivered", "a/2"), ("superseded", "a/1"), ("missing", "b/1")},
        ),
        (
            ["a/1", "b/1"],
            [held("a/1", arrived=1), held("b/1", arrived=2), held("a/2", arrived=9)],
            {("changed", "a/1"), ("delivered", "b/1")},
        ),
    ],
    ids=["both", "one is missing", "one is changed", "one corrected, one missing", "one overwritten"],
)
def test_two_records_with_the_same_tags_and_time_are_two_readings(
    published: list[str], delivered: list[HeldReading], expected: set[tuple[str, str]]
) -> None:
    here = [HeldReading(PLACE, b"s", NOON, d.id, d.written, d.times, d.first, d.last) for d in delivered]

    found = told([shown(version, slot="s") for version in published], here)

    assert set(found) == expected
    assert len(found) == len(expected)


def test_very_many_readings_of_one_sensor_at_one_instant_are_compared_in_one_pass() -> None:
    count = 30_000
    published = [
        replace(shown("a/1", slot="s"), id=f"{n:08}new-text", held_as=f"{n:08}new-text") for n in range(count)
    ]
    delivered = [replace(held("a/1", slot="s", arrived=n), id=f"{n:08}old-text") for n in range(count)]

    began = time.process_time()
    found = list(compare(published, delivered))

    # Some minutes where each was compared with each.
    assert time.process_time() - began < 20
    assert [(one.heading, one.id, one.held) for one in found] == [
        ("changed", f"{n:08}new-text", f"{n:08}old-text") for n in range(count)
    ]


def test_sides_that_end_at_different_slots_are_compared_to_their_ends() -> None:
    published = [shown("a/1", at=NOON), shown("b/1", at=NOON + HOUR), shown("c/1", location="Z")]
    delivered = [held("a/1", at=NOON), held("d/1", at=NOON + 2 * HOUR), held("c/1", location="Z")]

    assert told(published, delivered) == [
        ("delivered", "a/1"),
        ("missing", "b/1"),
        ("unknown", "d/1"),
        ("delivered", "c/1"),
    ]


def test_a_finding_gives_the_time_as_the_source_wrote_it_and_of_unknown_ones_as_the_hub_has_it() -> None:
    source = Published(PLACE, b"a", NOON, "a" * 16, "a" * 16, "2026-03-02T12:00:00Z")
    unknown = HeldReading(PLACE, b"b", NOON, "b" * 16, "2026-03-02T13:00:00+01:00", 1, 1, 1, NOON, "planted")

    changed, other = compare([source], [held("c/1", slot="a"), unknown])

    assert (changed.written, changed.id, changed.held) == (
        "2026-03-02T12:00:00Z",
        "a" * 16,
        "c" * 8 + "1" * 8,
    )
    assert (other.written, other.id) == ("2026-03-02T13:00:00+01:00", "planted")


def _reading(entry: dict[str, Any], tags: tuple[str, ...] = ("A", "1")) -> Reading:
    return Reading("x" * 16, NOON, tags, entry, {})


@pytest.mark.parametrize(
    ("other", "same"),
    [
        (_reading({"time": "t", "record": "2", "change": 9}), True),
        (_reading({"time": "t", "metric": "noise"}), False),
        (_reading({"time": "t"}, ("A", "2")), False),
        (Reading("x" * 16, NOON + MINUTE, ("A", "1"), {}, {}), False),
    ],
    ids=["record and content", "metric", "tags", "time"],
)
def test_a_slot_is_told_by_tags_time_and_what_the_feed_merges_by(other: Reading, same: bool) -> None:
    assert (slot_of(_reading({"time": "t"}), ("metric",)) == slot_of(other, ("metric",))) is same


@pytest.mark.parametrize(
    ("time", "written"),
    [("2026-03-02T12:00:00Z", "2026-03-02T12:00:00Z"), (1772452800000, "1772452800000")],
    ids=["text", "milliseconds"],
)
def test_a_time_is_given_as_it_was_written(time: Any, written: str) -> None:
    assert written_time(_reading({"time": time})) == written


# --- causes -----------------------------------------------------------------------------------------

HUB = "example.servicebus.windows.net/counts"
# The hub began at 10:00 two days before, its position is noon; it had its newest reading at 11:50.
AT_WORK = Checkpoint(
    NOON,
    known_from=NOON - 24 * HOUR,
    ids={NOON - 20 * HOUR: frozenset({"k" * 16}), NOON - HOUR: frozenset({"n" * 16})},
    newest=NOON - 10 * MINUTE,
)
NEW = Checkpoint(NOON, known_from=NOON - 2 * HOUR, newest=NOON - 10 * MINUTE)
HOUR_AGO = Slice(NOON - 3 * HOUR, NOON - 2 * HOUR)


def cause(
    time: datetime,
    *,
    reading_id: str = "x" * 16,
    checkpoint: Checkpoint | None = AT_WORK,
    expected: datetime | None = NOON - 15 * MINUTE,
    gap: Gap | None = None,
    error: str | None = None,
    expired: datetime | None = None,
    quarantined: frozenset[str] = frozenset(),
    flawed: bool = False,
    start: datetime | None = None,
) -> tuple[str | None, bool]:
    """Give the cause of a missing reading of this time, and whether it is due."""
    location = LocationState(
        checkpoints={} if checkpoint is None else {HUB: checkpoint},
        hubs={HUB: HubRecord(error=error, start=start)},
        gaps=() if gap is None else (gap,),
    )
    promise = promised(
        location,
        HUB,
        start=NOON - 24 * HOUR,
        expected=expected,
        limits=LIMITS,
        quarantined=quarantined,
        expired=expired,
    )
    finding = promise.explained(Finding("missing", PLACE, time, None, reading_id), flawed=flawed)
    return finding.cause, finding.due


def test_a_reading_that_came_after_the_look_back_is_late() -> None:
    assert cause(NOON - 2 * HOUR) == ("late", True)


def test_one_that_the_hub_acknowledged_and_does_not_hold_is_lost() -> None:
    assert cause(NOON - 20 * HOUR, reading_id="k" * 16) == ("lost", True)


def test_one_from_before_the_ids_that_are_remembered_is_unexplained() -> None:
    assert cause(NOON - 30 * HOUR) == ("unexplained", True)


def test_one_inside_the_look_back_or_after_the_position_comes_with_the_next_run_and_is_not_wrong() -> None:
    assert cause(NOON - 30 * MINUTE) == ("behind", False)
    assert cause(NOON + MINUTE) == ("behind", False)


def test_one_behind_is_wrong_where_the_hub_is_far_behind_or_fails_or_has_no_position() -> None:
    assert cause(NOON + MINUTE, expected=NOON) == ("behind", False)
    assert cause(NOON + MINUTE, expected=NOON + MINUTE) == ("behind", True)
    assert cause(NOON + MINUTE, expected=None) == ("behind", True)
    assert cause(NOON + MINUTE, error="no connection") == ("behind", True)
    assert cause(NOON - HOUR, checkpoint=None) == ("behind", True)


def test_one_behind_is_stuck_where_its_hub_or_its_location_fails_and_says_which() -> None:
    assert stuck(hub_error="no connection") == (True, Failing("hub", "no connection"))
    assert stuck(location_error="500") == (True, Failing("location", "500"))
    assert stuck(location_error="500", hub_error="no connection", checkpoint=None) == (
        True,
        Failing("location", "500"),
    )
    assert stuck() == (False, None)


def test_what_no_run_brings_is_not_stuck_whatever_fails() -> None:
    assert stuck(hub_error="no connection", time=NOON - 2 * HOUR)[0] is False


def stuck(
    *,
    location_error: str | None = None,
    hub_error: str | None = None,
    checkpoint: Checkpoint | None = AT_WORK,
    time: datetime = NOON + MINUTE,
) -> tuple[bool, Failing | None]:
    """Give whether a missing reading is stuck, and what keeps it."""
    location = LocationState(
        checkpoints={} if checkpoint is None else {HUB: checkpoint},
        hubs={HUB: HubRecord(error=hub_error)},
        error=location_error,
    )
    promise = promised(
        location, HUB, start=NOON - 24 * HOUR, expected=NOON, limits=LIMITS, quarantined=(), expired=None
    )
    return promise.explained(Finding("missing", PLACE, time, None, "x" * 16)).stuck, promise.failing


def test_one_from_before_the_hub_began_was_never_promised() -> None:
    assert cause(NOON - 3 * HOUR, checkpoint=NEW) == ("before start", False)
    assert cause(NOON - 30 * HOUR, checkpoint=None) == ("before start", False)


def test_where_the_hub_began_is_known_long_after_its_ids_are_forgotten() -> None:
    assert cause(NOON - 50 * HOUR, start=NOON - 49 * HOUR) == ("before start", False)
    assert cause(NOON - 48 * HOUR, start=NOON - 49 * HOUR) == ("unexplained", True)


def test_one_in_quarantine_is_named_so_wherever_it_lies() -> None:
    assert cause(NOON - 2 * HOUR, quarantined=frozenset({"x" * 16})) == ("quarantined", True)


def test_one_that_can_never_be_forwarded_is_wrong_until_it_was_dealt_with() -> None:
    kept = frozenset({"k" * 16})

    assert cause(NOON - HOUR, reading_id="k" * 16, quarantined=kept, flawed=True) == ("quarantined", True)
    assert cause(NOON - HOUR, reading_id="k" * 16, flawed=True) == ("quarantined", False)
    assert cause(NOON - HOUR, flawed=True) == ("quarantined", True)


@pytest.mark.parametrize("name", ["saturated", "missed"])
def test_one_in_a_gap_of_the_hub_has_the_gaps_cause(name: str) -> None:
    time = HOUR_AGO.start + MINUTE

    assert cause(time, gap=Gap(HOUR_AGO, name, NOON)) == (name, True)
    assert cause(time, gap=Gap(HOUR_AGO, name, NOON, (HUB,))) == (name, True)
    assert cause(time, gap=Gap(HOUR_AGO, name, NOON, ("another",))) == ("late", True)


def test_one_that_was_left_behind_by_hand_is_told_so_though_it_lies_before_the_new_start() -> None:
    assert cause(HOUR_AGO.start, checkpoint=NEW, gap=Gap(HOUR_AGO, "left behind", NOON, (HUB,))) == (
        "left behind",
        True,
    )


def test_one_that_the_hubs_retention_may_have_taken_is_told_so_unless_it_is_known_never_to_have_come() -> (
    None
):
    old = NOON - 20 * HOUR

    assert cause(old, reading_id="k" * 16, expired=old) == ("retention", True)
    assert cause(NOON - 30 * HOUR, expired=old) == ("retention", True)
    assert cause(old + MINUTE, reading_id="k" * 16, expired=old) == ("lost", True)
    assert cause(old - MINUTE, expired=old) == ("late", True)


# --- counting ---------------------------------------------------------------------------------------


def test_counts_are_by_location_and_hour_and_delivered_ones_are_published_too() -> None:
    counts = Counts()
    findings = [
        Finding("delivered", "A", NOON, None, "1", enqueued=NOON + 2 * MINUTE),
        Finding("repeated", "A", NOON, None, "1", times=2),
        Finding("missing", "A", NOON + 59 * MINUTE, None, "2", cause="late"),
        Finding("changed", "A", NOON + HOUR, None, "3"),
        Finding("superseded", "A", NOON + 2 * HOUR, None, "4"),
        Finding("unknown", "B", NOON, None, "5"),
        Finding("missing", "B", NOON, None, "6", cause="behind", due=False),
        Finding("missing", "B", NOON, None, "7", cause="behind", stuck=True),
    ]

    for finding in findings:
        counts.add(finding)
    counts.close()

    assert counts.hours == [
        HourCount("A", NOON, published=2, delivered=1, missing=1, repeated=1),
        HourCount("A", NOON + HOUR, published=1, changed=1),
        HourCount("B", NOON, published=2, missing=2, unknown=1),
    ]
    assert (counts.wrong, counts.causes) == (5, {"late": 1, "behind": 2})
    assert counts.to_come == {"to come": 1, "stuck": 1}
    assert [delay.up_to_s for delay in counts.delays if delay.readings] == [300]
    assert counts.max_delay_s == 120.0


def test_what_a_hub_says_to_hold_and_hands_out_to_nobody_is_warned_of() -> None:
    hub = HubSettings("h.example.test/e", "eu", "h.example.test", "e")
    reader = HubReader(hub, "$Default")
    reader.withheld = {"3": (17, 20)}
    window = Slice(NOON, NOON + HOUR)
    with ComparisonFile([PLACE], [hub.key]) as file:
        contents = HubContents(hub.key, load_feed("people_counter"), window, {}, sent_whole=False, file=file)

        contents.was_read(reader, None)

    [warning] = contents.warnings
    assert warning == (
        "the hub says that its partition 3 goes to event 20, and delivers none after 17; what it does not "
        "deliver counts as missing"
    )


@pytest.mark.parametrize(
    ("reason", "mendable"),
    [
        ("late", True),
        ("lost", True),
        ("unexplained", True),
        ("missed", True),
        ("left behind", True),
        ("behind", False),
        ("quarantined", False),
        ("retention", False),
        ("before start", False),
    ],
)
def test_only_what_sending_once_more_mends_is_mendable(reason: str, mendable: bool) -> None:
    assert Finding("missing", PLACE, NOON, None, "1", cause=reason).is_mendable is mendable
