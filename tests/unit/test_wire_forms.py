"""The forms of an event: what each looks like, who can read it, and that all give the same readings."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import pytest
from cloudevents.core.bindings.kafka import KafkaMessage, from_structured
from cloudevents.core.formats.json import JSONFormat
from cloudevents.core.v1.event import CloudEvent
from hypothesis import given
from hypothesis import strategies as st

from app.base import exact_json
from app.base.checkpoints import Checkpoint
from app.base.readings import DashboardAnswer, Event
from app.base.version import VERSION
from app.base.wire_forms import OUR_PROPERTIES, Body, Message, WireForm, message_of, plain_body
from app.eventhub.batches import pack
from app.feeds.feed import Feed, load_feed, read_answer
from app.settings.schema import FeedSettings

NOON = datetime(2026, 3, 2, 12, tzinfo=UTC)
LOCATION = "Mill & Lane"
FORMS: tuple[Body, ...] = ("plain", "with_ids", "cloudevents")
PEOPLE, SNAPSHOTS = "people_counter", "hourly_snapshot"
ENTRY = {"time": "2026-03-02T12:14:00.000Z", "record": "r1", "change": {"in": 5}, "text": "Été"}
PLAIN_PEOPLE = (
    '{"recType":"io.microshare.peoplecounter.unpacked.event.agg","time":"2026-03-02T12:14:00.000Z",'
    '"record":"r1","change":{"in":5},"text":"Été","_location_tags":["Mill & Lane","0"]}'
)
PLAIN_SNAPSHOT = (
    '{"recType":"io.microshare.lake.snapshot.hourly","meta":{"currentCount":1,"currentPage":1,"perPage":1,'
    '"source":"db","totalCount":1,"totalPages":1},"objs":[{"data":{"_id":{"tags":["Mill & Lane","0"]},'
    '"line":[{"time":"2026-03-02T12:14:00.000Z","record":"r1","change":{"in":5},"text":"Été"}]}}]}'
)


def events_of(name: str, *lines: list[dict[str, Any]], location: str = LOCATION) -> list[Event]:
    """Give the events of entries, each list of them from a place of its own."""
    feed = load_feed(name)
    objs = [
        {"data": {"_id": {"tags": [location, str(number)]}, "line": line}}
        for number, line in enumerate(lines)
    ]
    readings = read_answer(feed.rec_type, location, DashboardAnswer(tuple(objs)))
    followed = FeedSettings(name=name, view_id="view", schedule="0 0 * * * *")
    return feed.events(location, readings, readings, Checkpoint(NOON, NOON), followed)


def event_of(name: str = PEOPLE, **fields: Any) -> Event:
    (event,) = events_of(name, [ENTRY | fields])
    return event


def body_of(message: Message) -> Any:
    return json.loads(message.body)


def ids_back(feed: Feed, message: Message) -> list[str]:
    """Give the ids of the readings that a message stands for."""
    return [
        reading.id for reading in feed.readings_in(LOCATION, plain_body(message.content_type, message.body))
    ]


# --- what each form looks like ----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("feed", "encoded"),
    [
        (
            PEOPLE,
            b"\x00Sp\xc0\x07\x05V\x01@@@@\x00Sr\xc1#\x02\xa3\x13x-opt-partition-key\xa1\x0bMill & Lane"
            b"\x00Ss\xc00\r\xa1\x10QNhrh4pZy5oJ1mJv@@@@@\xa3\x10application/json@@@@@@"
            b"\x00St\xc1o\x06\xa1\x07recType\xa1.io.microshare.peoplecounter.unpacked.event.agg"
            b"\xa1\x08location\xa1\x0bMill & Lane\xa1\x06source\xa1\x14microshare-forwarder\x00Su\xa0\xb2"
            + PLAIN_PEOPLE.encode(),
        ),
        (
            SNAPSHOTS,
            b"\x00Sp\xc0\x07\x05V\x01@@@@\x00Sr\xc1#\x02\xa3\x13x-opt-partition-key\xa1\x0bMill & Lane"
            b"\x00Ss\xc00\r\xa1\x10JJRqKkGbOg-jY_HP@@@@@\xa3\x10application/json@@@@@@"
            b'\x00St\xc1\x83\x08\xa1\x07recType\xa1"io.microshare.lake.snapshot.hourly'
            b"\xa1\x08location\xa1\x0bMill & Lane\xa1\x06source\xa1\x14microshare-forwarder"
            b"\xa1\x04hour\xa1\x182026-03-02T12:00:00.000Z\x00Su\xb0\x00\x00\x01%" + PLAIN_SNAPSHOT.encode(),
        ),
    ],
    ids=[PEOPLE, SNAPSHOTS],
)
def test_without_a_setting_an_event_is_byte_for_byte_what_it_always_was(feed: str, encoded: bytes) -> None:
    (batch,) = pack([event_of(feed)], 1_000_000, load_feed(feed).parts).batches

    assert [bytes(event) for event in batch.encoded._message.data] == [encoded]


def test_with_ids_a_reading_has_one_key_more_that_says_what_properties_say() -> None:
    message = message_of(event_of(), WireForm("with_ids"))

    assert message.content_type == "application/json"
    assert message.body.decode() == PLAIN_PEOPLE[:-1] + (
        ',"_forwarder":{"id":"QNhrh4pZy5oJ1mJv","location":"Mill & Lane","source":"microshare-forwarder",'
        f'"feed":"people_counter","enqueued_by":"{VERSION}"}}}}'
    )


def test_with_ids_a_snapshot_has_the_ids_of_its_readings_in_the_order_of_its_lines() -> None:
    hour = [
        ENTRY | {"time": f"2026-03-02T12:{minute:02}:00.000Z", "record": minute + 1} for minute in range(4)
    ]
    (event,) = events_of(SNAPSHOTS, hour[::2], hour[1::2])
    part = event._replace(properties={**event.properties, "update": True, "part": 2, "parts": 3})

    message = message_of(part, WireForm("with_ids"))

    id_of = {reading.entry["record"]: reading.id for reading in event.readings}
    objs, said = body_of(message)["objs"], body_of(message)["_forwarder"]
    assert said == {
        "id": event.message_id,
        "ids": [id_of[line["record"]] for obj in objs for line in obj["data"]["line"]],
        "location": LOCATION,
        "source": "microshare-forwarder",
        "hour": "2026-03-02T12:00:00.000Z",
        "update": True,
        "part": 2,
        "parts": 3,
        "feed": SNAPSHOTS,
        "enqueued_by": VERSION,
    }
    assert said["ids"] != [reading.id for reading in event.readings]


def test_a_cloudevent_holds_the_plain_body_as_it_is() -> None:
    message = message_of(event_of(), WireForm("cloudevents"))

    assert message.content_type == "application/cloudevents+json"
    assert message.body.decode() == (
        '{"specversion":"1.0","id":"QNhrh4pZy5oJ1mJv",'
        '"type":"io.microshare.peoplecounter.unpacked.event.agg","source":"urn:microshare:Mill%20%26%20Lane",'
        '"subject":"Mill & Lane/0","time":"2026-03-02T12:14:00.000Z","datacontenttype":"application/json",'
        f'"data":{PLAIN_PEOPLE}}}'
    )


def test_a_cloudevent_of_several_places_has_no_subject_and_that_of_an_hour_its_time() -> None:
    (event,) = events_of(SNAPSHOTS, [ENTRY], [ENTRY | {"record": "r2"}])

    said = body_of(message_of(event, WireForm("cloudevents")))

    assert "subject" not in said
    assert said["time"] == "2026-03-02T12:00:00.000Z"


@pytest.mark.parametrize("location", [LOCATION, "Été/50% #1", "A\ud800", "a b\tc"], ids=ascii)
@pytest.mark.parametrize("feed", [PEOPLE, SNAPSHOTS])
def test_the_cloudevents_sdk_reads_what_is_sent(feed: str, location: str) -> None:
    (event,) = events_of(feed, [ENTRY], location=location)

    message = message_of(event, WireForm("cloudevents"))
    headers = {"content-type": message.content_type.encode()}
    found = from_structured(
        KafkaMessage(headers=headers, key=None, value=message.body), JSONFormat(), CloudEvent
    )

    assert (found.get_id(), found.get_type()) == (event.message_id, event.properties["recType"])
    assert found.get_specversion() == "1.0"
    assert found.get_datacontenttype() == "application/json"
    assert found.get_time() == NOON.replace(minute=14 if feed == PEOPLE else 0)
    assert found.get_data() == json.loads(event.body)
    assert str(found.get_source()).startswith("urn:microshare:")


# --- what is the same in all ------------------------------------------------------------------------


@pytest.mark.parametrize("feed", [PEOPLE, SNAPSHOTS])
@pytest.mark.parametrize("body", FORMS)
def test_id_and_our_properties_do_not_depend_on_the_form(body: Body, feed: str) -> None:
    event = event_of(feed)

    message = message_of(event, WireForm(body, (("Table", "readings"), ("recType", "ours wins"))))

    assert message.id == event.message_id
    assert message.properties == {"Table": "readings", **event.properties}
    assert set(event.properties) <= set(OUR_PROPERTIES)


@pytest.mark.parametrize("feed", [PEOPLE, SNAPSHOTS])
@pytest.mark.parametrize("body", FORMS)
@given(
    st.dictionaries(
        st.sampled_from(["_forwarder", "data", "specversion", "value", "objs"]),
        st.recursive(
            st.none()
            | st.booleans()
            | st.decimals(allow_nan=False, allow_infinity=False, places=3)
            | st.text(max_size=9),
            lambda inner: st.dictionaries(
                st.sampled_from(["id", "feed", "source", "enqueued_by", "replaced", "_forwarder"]), inner
            ),
            max_leaves=12,
        ),
    )
)
def test_every_form_gives_back_the_readings_of_the_plain_one(
    body: Body, feed: str, fields: Mapping[str, Any]
) -> None:
    event, known = event_of(feed, **fields), load_feed(feed)

    found = ids_back(known, message_of(event, WireForm(body)))

    assert found == [known.held_as(LOCATION, reading) for reading in event.readings]


@pytest.mark.parametrize("body", FORMS)
def test_what_a_source_calls_by_our_key_is_kept_beside_ours(body: Body) -> None:
    event, feed = event_of(_forwarder={"id": 1}), load_feed(PEOPLE)

    message = message_of(event, WireForm(body))

    assert ids_back(feed, message) == [event.message_id]
    if body == "with_ids":
        assert body_of(message)["_forwarder"]["replaced"] == {"id": 1}


def test_what_looks_like_ours_in_an_entry_of_the_source_is_held_as_if_it_were_not_there() -> None:
    looks_like = {"id": "x", "feed": "x", "source": "x", "enqueued_by": "x"}
    event, feed = event_of(_forwarder=looks_like), load_feed(PEOPLE)
    (reading,) = event.readings

    found = [ids_back(feed, message_of(event, WireForm(body))) for body in FORMS]

    assert found == [[event_of().message_id]] * 3
    assert feed.held_as(LOCATION, reading) == event_of().message_id != reading.id


@pytest.mark.parametrize(
    ("content_type", "body", "plain"),
    [
        (
            "application/cloudevents+json; charset=UTF-8",
            b'{"specversion":"1.0","data":{"a":1.50}}',
            b'{"a":1.50}',
        ),
        ("Application/CloudEvents+JSON", b'{"data":[1]}', b"[1]"),
        ("application/cloudevents+json", b'{"specversion":"1.0"}', b'{"specversion":"1.0"}'),
        ("application/cloudevents+json", b"{", b"{"),
        ("application/cloudevents+json", b"[]", b"[]"),
        (
            "application/json",
            b'{"specversion":"1.0","data":{"a":1}}',
            b'{"specversion":"1.0","data":{"a":1}}',
        ),
        (None, b"\xff", b"\xff"),
    ],
    ids=[
        "with its charset",
        "in other letters",
        "without data",
        "no JSON",
        "no object",
        "an entry's",
        "none",
    ],
)
def test_what_an_event_says_it_is_decides_how_it_is_read(
    content_type: str | None, body: bytes, plain: bytes
) -> None:
    assert plain_body(content_type, body) == plain


def test_numbers_in_a_cloudevent_come_back_as_they_were_written() -> None:
    event = event_of(exact=exact_json.loads("0.10"), big=10**25)

    message = message_of(event, WireForm("cloudevents"))

    assert b'"exact":0.10,"big":10000000000000000000000000' in message.body
    assert plain_body(message.content_type, message.body) == event.body


def test_values_that_are_equal_and_encoded_otherwise_are_another_form() -> None:
    whole, decimal, truth = (WireForm("plain", (("n", value),)) for value in (1, 1.0, True))

    assert len({whole, decimal, truth, WireForm("plain", (("n", 1),))}) == 3
