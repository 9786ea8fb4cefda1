"""What every feed keeps to: those of config.yaml, and a third one with a recType and a view of its own."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from app.base.budget import Budget
from app.base.checkpoints import Checkpoint
from app.base.errors import BadResponse
from app.base.exact_json import loads
from app.base.program import APP_ROOT
from app.base.readings import DashboardAnswer, Event, QuarantinedReading, Reading, Slice
from app.base.wire_forms import Body, WireForm, message_of
from app.feeds.event_schema import BODIES
from app.feeds.feed import Feed, load_feed, read_answer
from app.feeds.quarantine import event_again, quarantine_text
from app.feeds.validation import EventValidator
from app.microshare.client import MicroshareClient
from app.settings.loading import load_settings
from app.settings.schema import FeedSettings
from emulators.estate import FEEDS as DESCRIBED_FEEDS
from emulators.estate import Estate
from emulators.microshare import MicroshareEmulator
from tests.commands import FEEDS
from tests.environments import third_feed

HOUR = timedelta(hours=1)
NOON = datetime(2026, 3, 2, 12, tzinfo=UTC)
WINDOW = Slice(NOON, NOON + 2 * HOUR)
LOCATION = "Example Été & Lane"
EVERY_FEED: dict[str, Feed] = {name: load_feed(name) for name in FEEDS} | {
    third_feed.NAME: third_feed.module().FEED
}
SETTINGS = FeedSettings(name="a_feed", view_id="view", data_context=("tag",), schedule="0 0 * * * *")
NOTHING = Checkpoint(NOON, NOON)


def entry(minute: int, **fields: Any) -> dict[str, Any]:
    return {
        "time": f"2026-03-02T12:{minute:02}:00.000Z",
        "record": f"r{minute}",
        "value": {"n": minute},
    } | fields


# Entries as a source may write them; no time is twice under one place.
ENTRIES = [
    [entry(1), entry(14, text="Été \U0001f600"), entry(59, big=10**25, exact=loads("0.10"))],
    [entry(1, record=None, category="space", metric="occupancy"), entry(2, time="2026-03-02T13:30:00+01:00")],
    [entry(5, time="2026-03-02T13:05:00.000Z"), {"time": {"$date": 1772452815000}, "lone": "\ud800"}],
]


@pytest.fixture(params=EVERY_FEED, ids=str)
def feed(request: pytest.FixtureRequest) -> Feed:
    return EVERY_FEED[request.param]


def readings_of(feed: Feed, entries: list[list[dict[str, Any]]] = ENTRIES) -> list[Reading]:
    objs = tuple(
        {"name": "Derived Data", "data": {"_id": {"tags": [LOCATION, str(number)]}, "line": line}}
        for number, line in enumerate(entries)
    )
    return read_answer(feed.rec_type, LOCATION, DashboardAnswer(objs))


def events_of(feed: Feed, readings: list[Reading]) -> list[Event]:
    return feed.events(LOCATION, readings, readings, NOTHING, SETTINGS)


def told_by(feed: Feed, events: list[Event]) -> list[tuple[datetime, str]]:
    """Give time and id of every reading in events as a hub holds them."""
    found = [reading for event in events for reading in feed.readings_in(LOCATION, event.body)]
    return sorted((reading.time, reading.id) for reading in found if reading.time is not None)


def ids(readings: list[Reading]) -> list[tuple[datetime | None, str]]:
    return sorted((reading.time, reading.id) for reading in readings)


def test_ids_do_not_depend_on_what_else_an_answer_holds_or_on_its_order(feed: Feed) -> None:
    together = {reading.id for reading in readings_of(feed)}
    reordered = [[dict(reversed(list(one.items()))) for one in reversed(line)] for line in ENTRIES]

    assert {reading.id for reading in readings_of(feed, reordered)} == together
    assert len(together) == sum(map(len, ENTRIES))
    assert all(re.fullmatch(r"[\w-]{16}", one) for one in together)


def test_no_two_feeds_have_a_reading_in_common() -> None:
    keys = [reading.id[:8] for feed in EVERY_FEED.values() for reading in readings_of(feed)]

    assert len(set(keys)) == len(keys)


def test_a_correction_is_known_as_one(feed: Feed) -> None:
    (before,) = readings_of(feed, [[entry(1)]])
    (after,) = readings_of(feed, [[entry(1, value={"n": 2})]])

    assert (before.id[:8], before.id == after.id) == (after.id[:8], False)


def test_events_stand_for_each_reading_once_and_give_back_its_id(feed: Feed) -> None:
    readings = readings_of(feed)

    events = events_of(feed, readings)

    assert ids([reading for event in events for reading in event.readings]) == ids(readings)
    assert told_by(feed, events) == ids(readings)


@pytest.mark.parametrize("body", BODIES)
def test_events_fit_their_schema_in_each_form(feed: Feed, body: Body) -> None:
    # What is sent names the feed by its settings.
    validator = EventValidator({SETTINGS.name: feed})

    for event in events_of(feed, readings_of(feed)):
        sent = message_of(event, WireForm(body))
        found = validator.check(feed.rec_type, sent.content_type, sent.body)
        assert found is not None
        assert (found.schema.rpartition(":")[2], found.flaws) == (body, ())


def test_the_body_of_an_event_gives_its_readings_back_as_the_source_wrote_them(feed: Feed) -> None:
    for event in events_of(feed, readings_of(feed)):
        found = feed.readings_in(LOCATION, event.body)

        assert sorted(reading.id for reading in found) == sorted(
            feed.held_as(LOCATION, reading) for reading in event.readings
        )
        assert {(reading.tags, reading.time) for reading in found} == {
            (reading.tags, reading.time) for reading in event.readings
        }


def test_what_an_entry_calls_by_our_names_is_found_again_all_the_same(feed: Feed) -> None:
    ours = [[entry(1, recType="another", _location_tags=["elsewhere"])]]
    (reading,) = readings_of(feed, ours)
    (event,) = events_of(feed, [reading])

    (found,) = feed.readings_in(LOCATION, event.body)

    assert (found.id, found.tags) == (feed.held_as(LOCATION, reading), reading.tags)


@pytest.mark.parametrize("body", [b"", b"\xff", b"[]", b'{"objs": 1}', b'{"objs": [{}]}'], ids=repr)
def test_a_body_of_somebody_else_is_refused_or_stands_for_nothing(feed: Feed, body: bytes) -> None:
    with suppress(BadResponse):
        assert [found for found in feed.readings_in(LOCATION, body) if found.time is not None] == []


@pytest.mark.parametrize("most", [1, 2, 3], ids="{} readings fit".format)
def test_parts_fit_and_lose_nothing_and_what_fits_no_message_is_named(feed: Feed, most: int) -> None:
    readings = readings_of(feed, [[entry(minute) for minute in range(12)], *ENTRIES[1:]])
    never = readings[3]

    def fits(event: Event) -> bool:
        return len(event.readings) <= most and never not in event.readings

    sent: list[Event] = []
    named: list[Reading] = []
    for event in events_of(feed, readings):
        parts, oversize = ([event], []) if fits(event) else feed.parts(event, fits)
        sent += parts
        named += oversize

    assert all(map(fits, sent))
    assert named == [never]
    assert sorted([*told_by(feed, sent), (never.time, never.id)]) == ids(readings)
    assert len({event.message_id for event in sent}) == len(sent)


def test_what_was_quarantined_becomes_the_same_reading_again(feed: Feed) -> None:
    for reading in readings_of(feed):
        kept = QuarantinedReading(
            feed.state_name, LOCATION, ("hub",), reading.id, "too large", NOON, quarantine_text(reading)
        )

        event = event_again(feed, kept, SETTINGS)

        assert [(one.id, one.time, one.tags) for one in event.readings] == [
            (reading.id, reading.time, reading.tags)
        ]
        assert event.message_id == events_of(feed, [reading])[0].message_id
        assert told_by(feed, [event]) == ids([reading])


def test_every_event_says_what_it_is(feed: Feed) -> None:
    events = events_of(feed, readings_of(feed))

    assert {event.location for event in events} == {LOCATION}
    for event in events:
        said = json.loads(event.body)
        assert said["recType"] == feed.rec_type
        assert {**event.properties, "recType": feed.rec_type, "location": LOCATION} == event.properties
        assert event.properties["source"] == "microshare-forwarder"
        assert re.fullmatch(r"[\w-]{16}", event.message_id)


def test_events_come_by_time(feed: Feed) -> None:
    times = [event.readings[0].time for event in events_of(feed, readings_of(feed))]

    assert times == sorted(times, key=str)


def test_a_question_says_what_the_settings_say(feed: Feed) -> None:
    named = next(iter(feed.placeholders))
    told = replace(SETTINGS, location_names={LOCATION: "Lane"}, parameters={named: "other", "further": "one"})

    asked = feed.query(told, LOCATION, WINDOW)

    assert (asked.view_id, asked.rec_type, asked.data_context) == ("view", feed.rec_type, ("tag",))
    assert (asked.loc1, asked.window) == ("Lane", WINDOW)
    assert asked.parameters == {**feed.placeholders, named: "other", "further": "one"}


# --- the view of a feed -----------------------------------------------------------------------------

DESCRIBED = {feed.rec_type: feed for feed in (*DESCRIBED_FEEDS, third_feed.DESKS)}


@pytest.fixture(scope="module")
def source() -> Iterator[MicroshareEmulator]:
    with MicroshareEmulator(Estate(feeds=list(DESCRIBED.values())), clock=lambda: NOON) as emulator:
        yield emulator


@pytest.mark.parametrize("name", [name for name, feed in EVERY_FEED.items() if feed.rec_type in DESCRIBED])
def test_a_view_answers_what_a_feed_asks(
    source: MicroshareEmulator, tmp_path_factory: pytest.TempPathFactory, name: str
) -> None:
    folder = tmp_path_factory.mktemp(name)
    config = folder / "config.yaml"
    config.write_text(third_feed.with_entry((APP_ROOT / "config.yaml").read_text()))
    hub = "Endpoint=sb://a.example.test/;SharedAccessKeyName=x;SharedAccessKey=false-key;EntityPath=e"
    environ = {**source.environment(), "EVENT_HUB_CONNECTION_STRING": hub}
    settings = load_settings(environ, config_file=config, dotenv=folder / "none")
    feed, window = EVERY_FEED[name], Slice(NOON - 6 * HOUR, NOON)
    client = MicroshareClient(settings.microshare, Budget(timedelta(minutes=1)))

    answer = client.query_dashboard(feed.query(settings.feeds[name], "Example Beacon House", window))
    client.close()

    readings = read_answer(feed.rec_type, "Example Beacon House", answer)
    shown = DESCRIBED[feed.rec_type]
    published = source.estate.expected(shown.name, window.start, window.end, NOON)
    fields = {value for value in feed.placeholders.values() if value in shown.sub_documents}
    assert len(readings) == sum(location == "Example Beacon House" for location, *_ in published) > 0
    assert all(reading.flaw is None and fields <= reading.entry.keys() for reading in readings)
