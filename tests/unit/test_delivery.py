"""From a fetched slice to what each lane has to do."""

from __future__ import annotations

from datetime import datetime, timedelta

import pytest

from app.base.checkpoints import Checkpoint
from app.base.instants import format_time, parse_time
from app.base.readings import DashboardAnswer, Reading, Slice
from app.base.wire_forms import WireForm
from app.feeds.feed import load_feed, read_answer
from app.run.delivery import dispatch
from app.run.fetching import Fetched
from app.run.planning import Group
from app.settings.schema import FeedSettings

FEED = load_feed("hourly_snapshot")
SETTINGS = FeedSettings(
    name="hourly_snapshot",
    view_id="view",
    data_context=("room",),
    schedule="0 0 * * * *",
    look_back=timedelta(hours=6),
)
AT_TEN, AT_ELEVEN = parse_time("2026-03-02T10:00:00Z"), parse_time("2026-03-02T11:00:00Z")
NOON = parse_time("2026-03-02T12:00:00Z")


def readings(*times: datetime, room: str = "Room 1") -> list[Reading]:
    lines = [{"time": format_time(time), "category": "space", "metric": "occupancy"} for time in times]
    obj = {"data": {"_id": {"tags": ["Example House", room]}, "line": lines}}
    return read_answer(FEED.rec_type, "Example House", DashboardAnswer((obj,)))


@pytest.mark.parametrize(
    ("asked", "done_until", "time"),
    [
        pytest.param(Slice(AT_TEN, NOON), AT_TEN, AT_ELEVEN, id="after a clock that was put back in mid-run"),
        pytest.param(
            Slice(AT_ELEVEN, NOON), NOON, AT_ELEVEN - timedelta(milliseconds=1), id="in the overlap before it"
        ),
    ],
)
def test_a_reading_beside_its_slice_makes_what_comes_late_of_its_hour_an_update(
    asked: Slice, done_until: datetime, time: datetime
) -> None:
    before = Checkpoint(AT_TEN, AT_TEN)
    first = dispatch(
        FEED,
        SETTINGS,
        Group("Example House", ("hub",), before, AT_TEN),
        Fetched(asked, readings(time), 1),
        done_until,
        {"hub": 1_000_000},
    )
    after = before.with_hours(first.deliveries["hub"][-1].ids)
    late = readings(time, room="Room 2")

    second = dispatch(
        FEED,
        SETTINGS,
        Group("Example House", ("hub",), after, AT_TEN),
        Fetched(asked, [*readings(time), *late], 2),
        NOON,
        {"hub": 1_000_000},
    )

    batch = second.deliveries["hub"][-1].batch
    assert batch is not None
    assert [event.properties.get("update") for event in batch.events] == [True]
    assert [event.readings for event in batch.events] == [tuple(late)]


@pytest.mark.parametrize(
    "time",
    [
        AT_TEN - timedelta(days=30),
        AT_ELEVEN,
        AT_ELEVEN + timedelta(days=2),
        NOON + timedelta(days=30),
    ],
    ids=["of old", "now", "of a slice to come", "to come"],
)
def test_a_reading_that_is_in_every_answer_is_sent_once_in_a_backlog_of_days(time: datetime) -> None:
    checkpoint = Checkpoint(AT_TEN, AT_TEN)
    sent = 0

    for day in range(5):
        window = Slice(AT_TEN + timedelta(days=day), AT_TEN + timedelta(days=day + 1))
        group = Group("Example House", ("hub",), checkpoint, window.start)
        fetched = Fetched(window, readings(time), 1)
        found = dispatch(FEED, SETTINGS, group, fetched, window.end, {"hub": 1_000_000})
        for delivery in found.deliveries["hub"]:
            sent += len(delivery.batch.events) if delivery.batch else 0
            checkpoint = checkpoint.with_hours(delivery.ids)
        checkpoint = checkpoint.done_until(window.end, reach=timedelta(days=1))

    assert sent == 1


def test_a_reading_that_a_hub_has_under_the_id_of_its_event_is_not_sent_again() -> None:
    feed = load_feed("people_counter")
    entry = {"time": format_time(AT_TEN), "recType": "another", "in": 1}
    obj = {"data": {"_id": {"tags": ["Example House"]}, "line": [entry]}}
    (reading,) = read_answer(feed.rec_type, "Example House", DashboardAnswer((obj,)))
    (event,) = feed.events("Example House", [reading], [reading], Checkpoint(AT_TEN, AT_TEN), SETTINGS)
    (found,) = feed.readings_in("Example House", event.body)
    held = Checkpoint(AT_TEN, AT_TEN).with_ids([(AT_TEN, found.id)])

    todo = dispatch(
        feed,
        SETTINGS,
        Group("Example House", ("hub",), held, AT_TEN),
        Fetched(Slice(AT_TEN, NOON), [reading], 1),
        NOON,
        {"hub": 1_000_000},
    )

    assert found.id != reading.id
    assert [delivery.batch for delivery in todo.deliveries["hub"]] == [None]


def test_hubs_of_one_form_share_their_batches_and_all_have_the_same_events() -> None:
    found = readings(AT_TEN, AT_ELEVEN)

    todo = dispatch(
        FEED,
        SETTINGS,
        Group("Example House", ("plain", "one", "other"), Checkpoint(AT_TEN, AT_TEN), AT_TEN),
        Fetched(Slice(AT_TEN, NOON), found, 2),
        NOON,
        dict.fromkeys(("plain", "one", "other"), 1_000_000),
        forms={"one": WireForm("with_ids"), "other": WireForm("with_ids")},
    )

    of = {hub: [delivery.batch for delivery in todo.deliveries[hub]] for hub in todo.deliveries}
    assert all(one is other for one, other in zip(of["one"], of["other"], strict=True))
    assert not any(one is plain for one, plain in zip(of["one"], of["plain"], strict=True))
    sent = {
        hub: [event.message_id for batch in found if batch for event in batch.events]
        for hub, found in of.items()
    }
    assert len(sent["plain"]) == 2
    assert sent["plain"] == sent["one"] == sent["other"]
    assert {hub: found[-1].closes for hub, found in todo.deliveries.items()} == dict.fromkeys(of, NOON)


def test_a_reading_that_is_too_large_in_one_form_is_set_aside_for_the_hubs_of_that_form_alone() -> None:
    feed = load_feed("people_counter")
    objs = tuple(
        {"data": {"_id": {"tags": ["Example House"]}, "line": [{"time": format_time(time), "note": note}]}}
        for time, note in ((AT_TEN, "x" * 9_400), (AT_ELEVEN, "short"))
    )
    found = read_answer(feed.rec_type, "Example House", DashboardAnswer(objs))

    todo = dispatch(
        feed,
        SETTINGS,
        Group("Example House", ("plain", "wrapped"), Checkpoint(AT_TEN, AT_TEN), AT_TEN),
        Fetched(Slice(AT_TEN, NOON), found, 2),
        NOON,
        {"plain": 10_000, "wrapped": 10_000},
        forms={"wrapped": WireForm("cloudevents")},
    )

    (refused,) = todo.refused
    assert (refused.hubs, [reading.id for reading in refused.readings]) == (("wrapped",), [found[0].id])
    assert refused.reason == (
        "it is, with `body: cloudevents`, larger than a message of the hub (10,000 bytes)"
    )
    sent = {
        hub: [event.message_id for one in deliveries if one.batch for event in one.batch.events]
        for hub, deliveries in todo.deliveries.items()
    }
    assert sent == {"plain": [reading.id for reading in found], "wrapped": [found[1].id]}
    assert {reading_id for ids in todo.ids.values() for reading_id in ids} == {one.id for one in found}
