"""The JSON Schemas of what hubs get: current in docs, true of every body, and of what is no such body not."""

from __future__ import annotations

import json
import sys
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from app.base import exact_json, extended_json
from app.base.errors import SettingsError
from app.base.program import APP_ROOT
from app.base.readings import Event
from app.base.wire_forms import Body, WireForm, message_of
from app.feeds.event_schema import BODIES, VERSION, event_schema
from app.feeds.feed import Feed, load_feed
from app.feeds.people_counter import FEED as PEOPLE_FEED
from app.feeds.validation import EventValidator
from tests.commands import FEEDS
from tests.unit.test_wire_forms import ENTRY, PEOPLE, SNAPSHOTS, events_of
from tools.event_schemas import FOLDER, texts

VALIDATOR = EventValidator({name: load_feed(name) for name in FEEDS})
GONE = object()
LATER = ENTRY | {"time": "2026-03-02T12:59:59.999Z"}
# Each way of writing a time that a reading is forwarded with.
TIMES = [
    "2026-03-02T12:14:00.000Z",
    "2026-03-02T12:14:60Z",
    "2026-03-02 13:14:00.123456+01:00",
    "20260302T121400z",
    "2026-03-02",
    "2026-W10-1",
    "2026W10",
    1772452815000,
    exact_json.loads("1772452815000.5"),
    0,
    -62135596800000,
    253402300799999,
    {"$date": 1772452815000},
    {"$date": "2026-03-02T12:14:00.000Z", "kept": True},
    {"$date": {"$numberLong": "1772452815000"}},
    {"$numberDouble": "1772452815000.5"},
]
every_form = pytest.mark.parametrize("body", BODIES)


def flaws(event: Event, body: Body, path: str = "", value: object = None) -> list[str]:
    """Give what is wrong with an event, once its body has another value at `path`, or `GONE` nothing."""
    message = message_of(event, WireForm(body))
    said = exact_json.loads(message.body)
    if path:
        change(said, path, value)
    found = VALIDATOR.check(message.properties["recType"], message.content_type, exact_json.dumps(said))
    assert found is not None
    assert found.schema.endswith(f":{event.feed}:{body}")
    return [str(flaw) for flaw in found.flaws]


def change(said: Any, path: str, value: object) -> None:
    *above, last = (int(part) if part.isdigit() else part for part in path.split("."))
    for part in above:
        said = said[part]
    if value is GONE:
        del said[last]
    else:
        said[last] = value


def test_those_in_docs_are_current_and_are_schemas() -> None:
    kept = {path.name: path.read_text(encoding="utf-8") for path in FOLDER.iterdir()}

    assert kept == texts(), "call `make schemas`"
    schemas = [json.loads(text) for text in kept.values()]
    for schema in schemas:
        Draft202012Validator.check_schema(schema)
    assert len({schema["$id"] for schema in schemas}) == len(FEEDS) * len(BODIES)


def test_the_page_about_them_names_each() -> None:
    page = (APP_ROOT / "docs" / "schemas" / "README.md").read_text()

    assert [name for name in texts() if f"(v{VERSION}/{name})" not in page] == []


@every_form
@pytest.mark.parametrize("feed", [PEOPLE, SNAPSHOTS])
@pytest.mark.parametrize("time", TIMES, ids=str)
def test_a_reading_fits_however_its_time_is_written(time: Any, feed: str, body: Body) -> None:
    (event,) = events_of(feed, [{"time": time}])

    assert flaws(event, body) == []


@given(st.text() | st.dates().map(str) | st.datetimes().map(str) | st.integers() | st.decimals())
def test_no_time_that_is_read_is_one_that_does_not_fit(written: Any) -> None:
    try:
        extended_json.instant(written)
    except ValueError:
        return

    schema = event_schema(PEOPLE, PEOPLE_FEED, "plain")["properties"]["time"]
    assert list(Draft202012Validator(schema).iter_errors(written)) == []


@every_form
@pytest.mark.parametrize("feed", [PEOPLE, SNAPSHOTS])
def test_fields_of_the_source_may_hold_anything(feed: str, body: Body) -> None:
    fields: dict[str, Any] = {
        "record": None,
        "change": "none",
        "_forwarder": 5,
        "category": [],
        "current": 1,
        "": {"a": [{}]},
    }
    events = events_of(feed, [ENTRY | fields, LATER | {"lone": "\ud800"}], [ENTRY])

    assert [flaws(event, body) for event in events] == [[]] * len(events)


@every_form
@pytest.mark.parametrize(
    ("feed", "path", "value", "expected"),
    [
        (PEOPLE, "_location_tags", GONE, "$ is without _location_tags; must have it"),
        (PEOPLE, "_location_tags.1", 1, '$._location_tags[1] is 1; must have type "string"'),
        (PEOPLE, "recType", "other", f'$.recType is "other"; must be "{PEOPLE_FEED.rec_type}"'),
        (PEOPLE, "time", "at noon", '$.time is "at noon"; must be: When it was measured'),
        (PEOPLE, "time", True, "$.time is true; must be: When it was measured"),
        (PEOPLE, "time", {"$date": None}, '$.time is {"$date":null}; must be: When it was measured'),
        (SNAPSHOTS, "objs", [], "$.objs is []; must have minItems 1"),
        (SNAPSHOTS, "meta", GONE, "$ is without meta; must have it"),
        (SNAPSHOTS, "meta.totalCount", 0, "$.meta.totalCount is 0; must have minimum 1"),
        (SNAPSHOTS, "objs.0.data._id", GONE, "$.objs[0].data is without _id; must have it"),
        (SNAPSHOTS, "objs.0.data.line.0.time", GONE, "$.objs[0].data.line[0] is without time; must have it"),
    ],
)
def test_what_does_not_fit_is_told_with_its_place_and_value(
    feed: str, path: str, value: object, expected: str, body: Body
) -> None:
    (event,) = events_of(feed, [ENTRY])

    (found,) = flaws(event, body, f"data.{path}" if body == "cloudevents" else path, value)

    assert found.replace("$.data", "$").startswith(expected)


@pytest.mark.parametrize(
    ("feed", "body", "path", "value", "expected"),
    [
        (PEOPLE, "with_ids", "_forwarder.location", GONE, "$._forwarder is without location"),
        (PEOPLE, "with_ids", "_forwarder.id", "7", '$._forwarder.id is "7"'),
        (SNAPSHOTS, "with_ids", "_forwarder.hour", GONE, "$._forwarder is without hour"),
        (SNAPSHOTS, "with_ids", "_forwarder.ids", GONE, "$._forwarder is without ids"),
        (SNAPSHOTS, "with_ids", "_forwarder.part", 1, "must have dependentRequired"),
        (SNAPSHOTS, "with_ids", "_forwarder.update", False, "must be true"),
        (PEOPLE, "cloudevents", "time", GONE, "$ is without time"),
        (PEOPLE, "cloudevents", "subject", "", '$.subject is ""'),
        (PEOPLE, "cloudevents", "source", "Mill & Lane", '$.source is "Mill & Lane"'),
        (SNAPSHOTS, "cloudevents", "time", ENTRY["time"], "$.time is "),
    ],
)
def test_what_a_form_adds_is_checked_too(
    feed: str, body: Body, path: str, value: object, expected: str
) -> None:
    (event,) = events_of(feed, [ENTRY])

    (found,) = flaws(event, body, path, value)

    assert expected in found


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        (b"\xff", "$ is not JSON ("),
        (b'{"recType":1,"recType":2}', "$ is not JSON (holds the key 'recType' twice)"),
        (b"[]", '$ is []; must have type "object"'),
    ],
)
def test_what_is_no_object_of_json_does_not_fit(body: bytes, expected: str) -> None:
    found = VALIDATOR.check(PEOPLE_FEED.rec_type, "application/json", body)

    assert found is not None
    assert [str(flaw)[: len(expected)] for flaw in found.flaws] == [expected]


def test_nothing_secret_and_nothing_long_is_told_of_what_does_not_fit() -> None:
    (event,) = events_of(PEOPLE, [ENTRY])

    (secret,) = flaws(event, "plain", "time", {"password": "not-for-eyes"})
    (long,) = flaws(event, "plain", "time", "x" * 999)

    assert "not-for-eyes" not in secret
    assert f'"{"x" * 59}…; must be' in long


def test_an_event_of_no_feed_here_has_no_schema() -> None:
    assert VALIDATOR.check("test", "application/json", b'{"recType":"test"}') is None


def test_without_the_package_it_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "jsonschema", None)

    with pytest.raises(SettingsError, match=r"package jsonschema.*-m pip install jsonschema"):
        EventValidator({})


def test_a_feed_of_another_kind_needs_a_description_first() -> None:
    class Other(Feed):
        events = readings_in = None  # type: ignore[assignment]

    with pytest.raises(TypeError, match=r"Other has no schema.*event_schema"):
        event_schema("other", Other("io.example", "other"), "plain")
