from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from app.base.checkpoints import Checkpoint, LocationState
from app.base.errors import BadResponse
from app.base.readings import DashboardAnswer, Event, Slice
from app.eventhub.received import Received
from app.feeds.feed import Feed, load_feed, read_answer
from app.run.backfill import Backfill, Held, first_state, summed
from app.run.report import HubReport, Report
from app.settings.schema import (
    FeedSettings,
    HubSettings,
    MicroshareSettings,
    RunSettings,
    Settings,
    StateSettings,
)

NOON = datetime(2026, 3, 2, 12, tzinfo=UTC)
HOUR = timedelta(hours=1)
WINDOW = Slice(NOON - 24 * HOUR, NOON)
ASKED = Backfill("people_counter", WINDOW, ("Mill & Lane",), ("h/one",))
FEEDS = ["people_counter", "hourly_snapshot"]


def settings_of(name: str) -> FeedSettings:
    return FeedSettings(
        name=name,
        view_id="view",
        data_context=("context",),
        schedule="0 0 * * * *",
        look_back=6 * HOUR,
        cluster_ids=("cluster",),
    )


def hub(name: str, *, enabled: bool = True) -> HubSettings:
    return HubSettings(f"h/{name}", name, "h", name, enabled=enabled)


SETTINGS = Settings(
    MicroshareSettings(username="svc", password="obviously-false", identity=("com.example",)),
    {name: settings_of(name) for name in FEEDS},
    (hub("one"), hub("two"), hub("off", enabled=False)),
    StateSettings("json", "/nowhere"),
    RunSettings(),
)


def test_the_same_request_has_the_same_state_and_every_other_one_of_its_own() -> None:
    others = [
        ASKED,
        replace(ASKED, window=Slice(WINDOW.start, NOON - HOUR)),
        replace(ASKED, window=Slice(WINDOW.start + HOUR, NOON)),
        replace(ASKED, locations=()),
        replace(ASKED, hubs=()),
        replace(ASKED, only_missing=True),
    ]
    names = [asked.state_name("peoplecounterstate") for asked in others]

    assert len(set(names)) == len(names)
    assert all(name.isalnum() and name.startswith("peoplecounterstatebackfill") for name in names)
    two = replace(ASKED, locations=("A", "B"))
    assert two.state_name("s") == replace(two, locations=("B", "A")).state_name("s")


@pytest.mark.parametrize(
    ("hubs", "expected"), [((), ["one", "two"]), (("h/two",), ["two"])], ids=["all that are on", "named"]
)
def test_its_runs_ask_for_the_named_locations_from_the_start_and_look_back_at_nothing(
    hubs: tuple[str, ...], expected: list[str]
) -> None:
    narrowed = replace(ASKED, hubs=hubs).narrowed(SETTINGS, ["Mill & Lane"])

    feed = narrowed.feeds["people_counter"]
    assert list(narrowed.feeds) == ["people_counter"]
    assert (feed.locations, feed.cluster_ids, feed.look_back) == (("Mill & Lane",), (), timedelta(0))
    assert [found.name for found in narrowed.hubs] == expected
    assert narrowed.run.start_from == WINDOW.start


def events_of(name: str) -> tuple[Feed, list[Event], set[tuple[datetime, str]]]:
    """Give events of two hours, and the times and ids of their readings."""
    feed = load_feed(name)
    lines = [
        {"time": f"2026-03-02T0{hour}:00:00.000Z", "category": "space", "metric": metric, "value": 1.50}
        for hour in (3, 4)
        for metric in ("occupancy", "air")
    ]
    answer = DashboardAnswer(({"data": {"_id": {"tags": ["Mill & Lane", "1"]}, "line": lines}},))
    readings = read_answer(feed.rec_type, "Mill & Lane", answer)
    events = feed.events("Mill & Lane", readings, readings, Checkpoint(NOON, NOON), settings_of(name))
    return feed, events, {(found.time, found.id) for found in readings if found.time}


def received(event: Event, **properties: object) -> Received:
    told = {**event.properties, **properties}
    return Received("0", 1, "1", NOON, event.message_id, None, "application/json", told, event.body)


@pytest.mark.parametrize("name", FEEDS)
@pytest.mark.parametrize("body", [b"\xff", b"[]", b'{"objs": 1, "line": 1'], ids=["text", "list", "cut"])
def test_a_body_that_is_none_of_the_feeds_is_refused(name: str, body: bytes) -> None:
    with pytest.raises(BadResponse):
        load_feed(name).readings_in("Mill & Lane", body)


@pytest.mark.parametrize("name", FEEDS)
def test_a_hub_begins_with_the_ids_it_holds_and_others_with_none(name: str) -> None:
    feed, events, readings = events_of(name)
    held = Held(feed, WINDOW, ["Mill & Lane", "Quay+One"])
    for event in events:
        held.take(received(event))
        held.take(received(event, location="Elsewhere"))
        held.take(received(event, recType="test"))
    held.take(replace(received(events[0]), body=b"no JSON"))

    state = first_state(ASKED, ["Mill & Lane", "Quay+One"], ["h/one", "h/two"], {"h/one": held})

    nothing = Checkpoint(WINDOW.start, WINDOW.start)
    ids = {
        hour: frozenset(found for time, found in readings if time == hour)
        for hour in (NOON - 9 * HOUR, NOON - 8 * HOUR)
    }
    assert held.readings == 4
    assert state.locations == {
        "Mill & Lane": LocationState(checkpoints={"h/one": replace(nothing, ids=ids), "h/two": nothing}),
        "Quay+One": LocationState(checkpoints={"h/one": nothing, "h/two": nothing}),
    }
    assert state.last_run is not None


ODD = "Mill \ud800"


@pytest.mark.parametrize("name", FEEDS)
@pytest.mark.parametrize(
    "claim",
    [{"message_id": "x" * 18}, {"message_id": None}, {"message_id": "AAAAAAAAAAAAAAAA"}],
    ids=["longer", "none", "another's"],
)
def test_a_message_id_is_not_believed(name: str, claim: dict[str, str | None]) -> None:
    feed, events, readings = events_of(name)
    held = Held(feed, WINDOW, ["Mill & Lane"])
    for event in events:
        held.take(replace(received(event), **claim))  # type: ignore[arg-type]

    found = {(hour, one) for hour, ids in held.ids("Mill & Lane").items() for one in ids}
    assert found == readings


@pytest.mark.parametrize("name", FEEDS)
@pytest.mark.parametrize(
    "said",
    [{"source": "another"}, {"source": None}, {"location": None}, {"location": 5}],
    ids=["another sender", "no sender", "no location", "number for a location"],
)
def test_what_another_sender_says_in_our_words_is_not_held(name: str, said: dict[str, object]) -> None:
    feed, events, _ = events_of(name)
    held = Held(feed, WINDOW, ["Mill & Lane"])
    for event in events:
        held.take(received(event, **said))
    # Our own bytes, in a form that this forwarder never sends.
    held.take(replace(received(events[0]), body_type="value"))

    assert held.readings == 0


@pytest.mark.parametrize("name", FEEDS)
def test_a_reading_whose_content_was_altered_at_the_hub_is_not_held(name: str) -> None:
    feed, events, readings = events_of(name)
    held = Held(feed, WINDOW, ["Mill & Lane"])
    held.take(replace(received(events[0]), body=events[0].body.replace(b"1.5", b"1.6")))

    found = {one for ids in held.ids("Mill & Lane").values() for one in ids}
    assert found
    assert found.isdisjoint(one for _, one in readings)


@pytest.mark.parametrize("name", FEEDS)
def test_a_location_is_found_by_the_name_that_its_events_carry(name: str) -> None:
    feed, events, _ = events_of(name)
    held = Held(feed, WINDOW, [ODD])
    for event in events:
        held.take(received(event, location="Mill \\ud800"))

    assert held.readings == 4


def test_readings_far_from_the_window_are_not_kept() -> None:
    feed, events, _ = events_of("people_counter")
    held = Held(feed, Slice(NOON + 48 * HOUR, NOON + 72 * HOUR), ["Mill & Lane"])
    for event in events:
        held.take(received(event))

    assert (held.readings, json.loads(events[0].body)["time"]) == (0, "2026-03-02T03:00:00.000Z")


def test_the_report_of_several_runs_has_their_sums_and_the_last_ones_end() -> None:
    first = Report(
        "r1", "people_counter", NOON, NOON, 2.0, 5, 3, 4,
        {
            "h/one": HubReport(
                5, 6, 7, maybe_twice=2, quarantined=1, delivered_until=WINDOW.start, behind_s=10.0
            )
        },
        left=2,
        warnings=["w"],
    )  # fmt: skip
    last = Report(
        "r2", "people_counter", NOON + HOUR, NOON, 1.0, 5, 1, 1,
        {"h/one": HubReport(1, 1, 1, delivered_until=NOON, behind_s=0.0)}, warnings=["w", "v"],
    )  # fmt: skip

    whole = summed([first, last])

    assert whole == replace(
        last,
        started=NOON,
        took_s=3.0,
        slices=4,
        api_calls=5,
        hubs={"h/one": HubReport(6, 7, 8, maybe_twice=2, quarantined=1, delivered_until=NOON, behind_s=0.0)},
        quarantined=[],
        quarantined_before=[],
        gaps=[],
        warnings=["w", "v"],
    )
