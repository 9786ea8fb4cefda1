from __future__ import annotations

import json
import re
import sys
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from types import ModuleType
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.base.checkpoints import Checkpoint
from app.base.errors import BadResponse, SettingsError
from app.base.exact_json import loads, loads_with_flaws
from app.base.readings import DashboardAnswer, DashboardQuery, Event, Reading, Slice
from app.feeds import hourly_snapshot, people_counter
from app.feeds.feed import Feed, count_lines, load_feed, read_answer
from app.feeds.quarantine import quarantine_text
from app.settings.schema import FeedSettings

LOCATION = "Example Beacon House"
WINDOW = Slice(datetime(2025, 11, 12, 8, tzinfo=UTC), datetime(2025, 11, 12, 9, tzinfo=UTC))
SETTINGS = FeedSettings(
    name="people_counter",
    view_id="ffffffffffffffffffffff0a",
    data_context=("people",),
    schedule="0 */15 * * * *",
    look_back=timedelta(hours=1),
)
TAGS = ["Example Beacon House", "4", "North Lobby"]
ENTRY = {
    "time": "2025-11-12T08:14:29.822Z",
    "record": "691441e70000000000000001",
    "change": {"in": 5, "out": 3},
    "meta": {"device": TAGS},
}
SNAPSHOT = {
    "time": "2025-11-12T08:00:00.000Z",
    "category": "space",
    "metric": "occupancy",
    "current": {"avg": 12.5, "count": 4},
}
NOTHING = Checkpoint(WINDOW.start, WINDOW.start)


def answer(*lines: Any, tags: Any = TAGS) -> DashboardAnswer:
    return DashboardAnswer(({"data": {"_id": {"tags": tags}, "line": list(lines)}},))


def people(*lines: Any) -> list[Reading]:
    return read_answer(people_counter.FEED.rec_type, LOCATION, answer(*lines))


def snapshots(*objs: tuple[list[str], list[dict[str, Any]]]) -> list[Reading]:
    found = tuple(
        {"name": "Derived Data", "data": {"_id": {"tags": tags}, "line": lines}} for tags, lines in objs
    )
    return read_answer(hourly_snapshot.FEED.rec_type, LOCATION, DashboardAnswer(found))


# --- ids ------------------------------------------------------------------------------------------


def test_ids_never_change_between_versions() -> None:
    [reading] = people(ENTRY)
    [snapshot] = snapshots((TAGS, [SNAPSHOT]))

    assert (reading.id, snapshot.id) == ("0alevhu6WzRFJeXB", "XORNDjz9EfPtMV1t")


def test_the_same_entry_written_in_another_order_has_the_same_id() -> None:
    reordered = dict(reversed(list(ENTRY.items())))

    assert people(reordered)[0].id == people(ENTRY)[0].id


def test_a_correction_shares_the_first_half_of_the_id_only() -> None:
    [before] = people(ENTRY)
    [after] = people(ENTRY | {"change": {"in": 6, "out": 3}})

    assert before.id[:8] == after.id[:8]
    assert before.id[8:] != after.id[8:]


@pytest.mark.parametrize(
    "other",
    [{"time": "2025-11-12T08:29:00.000Z"}, {"category": "device"}, {"metric": "activity"}],
    ids=["time", "category", "metric"],
)
def test_without_a_record_the_key_is_time_category_and_metric(other: dict[str, str]) -> None:
    [first], [second] = snapshots((TAGS, [SNAPSHOT])), snapshots((TAGS, [SNAPSHOT | other]))

    assert first.id[:8] != second.id[:8]


@pytest.mark.parametrize("nothing", [None, ""], ids=["null", "an empty text"])
def test_a_record_that_names_nothing_is_none(nothing: object) -> None:
    first, second = people(
        ENTRY | {"record": nothing}, ENTRY | {"record": nothing, "time": "2025-11-12T08:29:00.000Z"}
    )
    [without] = people({name: value for name, value in ENTRY.items() if name != "record"})

    assert first.id[:8] != second.id[:8]
    assert first.id[:8] == without.id[:8]


def test_two_places_or_two_feeds_never_share_a_key() -> None:
    keys = {
        read_answer(rec_type, location, answer(ENTRY, tags=tags))[0].id[:8]
        for rec_type in (people_counter.FEED.rec_type, hourly_snapshot.FEED.rec_type)
        for location in ("A", "B")
        for tags in (["A", "1"], ["A", "2"])
    }

    assert len(keys) == 8


# --- from an answer to readings -------------------------------------------------------------------


def test_readings_come_once_each_and_by_time() -> None:
    later = ENTRY | {"time": "2025-11-12T08:29:30.104Z", "record": "691441e70000000000000002"}

    readings = people(later, ENTRY, later)

    assert [reading.entry for reading in readings] == [ENTRY, later]
    assert [reading.tags for reading in readings] == [tuple(TAGS)] * 2


@pytest.mark.parametrize(
    ("entry", "flaw"),
    [
        pytest.param({"record": "r1"}, "it has no time", id="no time"),
        pytest.param(
            {"time": "yesterday"},
            "its time 'yesterday' is not an ISO time, and no number of milliseconds since 1970",
            id="no ISO time",
        ),
        pytest.param("a text", "it is not a JSON object", id="no object"),
        pytest.param(
            loads('{"time": "2025-11-12T08:00:00Z", "x": NaN}'),
            "holds NaN, which is not a JSON number",
            id="NaN",
        ),
        pytest.param(
            loads('{"time": "2025-11-12T08:00:00Z", "a": 1, "a": 2}'),
            "holds the key 'a' twice",
            id="key twice",
        ),
    ],
)
def test_an_entry_that_cannot_be_forwarded_is_flawed_and_blocks_nothing(entry: Any, flaw: str) -> None:
    readings = people(entry, ENTRY)

    assert {(reading.flaw, reading.entry == ENTRY) for reading in readings} >= {(None, True)}
    assert [reading.flaw for reading in readings if reading.flaw] == [flaw]


def test_a_flawed_entry_has_the_same_id_each_time() -> None:
    bad = '{"time": "2025-11-12T08:00:00Z", "x": [Infinity, {"a": 1, "a": 2}]}'

    assert people(loads(bad))[0].id == people(loads(bad))[0].id


def test_an_object_without_tags_makes_its_readings_flawed() -> None:
    [reading] = read_answer(people_counter.FEED.rec_type, LOCATION, answer(ENTRY, tags=None))

    assert reading.flaw == "its object has no list of tags"


@pytest.mark.parametrize(
    "objs",
    [[{}], [{"data": []}], [{"data": {"data": {"event": "people_counter"}}}], [None, "x", {"data": None}]],
    ids=["no data", "a list", "another view", "several"],
)
def test_an_answer_of_which_nothing_is_a_dashboard_s_is_none(objs: list[Any]) -> None:
    with pytest.raises(BadResponse, match=r"has data with tags or lines; check that the feed's view id"):
        read_answer(people_counter.FEED.rec_type, LOCATION, DashboardAnswer(tuple(objs)))


def _in_place_of(place: Sequence[str | int], value: Any) -> dict[str, Any]:
    """Give a good object with `value` in one place of it."""
    obj: Any = {"name": "Derived Data", "data": {"_id": {"tags": ["Other"]}, "line": [dict(ENTRY)]}}
    whole = {"obj": obj}
    holder: Any = whole
    for step in ["obj", *place][:-1]:
        holder = holder[step]
    holder[["obj", *place][-1]] = value
    return whole


PLACES: dict[str, list[str | int]] = {
    "object": [],
    "data": ["data"],
    "id": ["data", "_id"],
    "tags": ["data", "_id", "tags"],
    "tag": ["data", "_id", "tags", 0],
    "lines": ["data", "line"],
    "line": ["data", "line", 0],
    "time": ["data", "line", 0, "time"],
    "record": ["data", "line", 0, "record"],
    "field": ["data", "line", 0, "change"],
    "beside": ["data", "view"],
}
ANY_JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.sampled_from(["0", "-1", "1e400", "1e9999999999999999999", "9" * 5_000, "NaN", "1762935269822.5"])
    | st.text(st.characters(codec=None), max_size=6).map(json.dumps),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.sampled_from("ab$"), inner, max_size=2),
    max_leaves=4,
)


def _as_written(value: Any) -> str:
    """Write what ANY_JSON gives, whose texts are JSON already, an object with the key `b` twice over."""
    if isinstance(value, str):
        return value
    if isinstance(value, list):
        return f"[{','.join(map(_as_written, value))}]"
    if isinstance(value, dict):
        pairs = [f"{json.dumps(name)}:{_as_written(held)}" for name, held in value.items()]
        return f"{{{','.join(pairs * (2 if 'b' in value else 1))}}}"
    return json.dumps(value)


@pytest.mark.parametrize("feed", [people_counter.FEED, hourly_snapshot.FEED], ids=["people", "snapshots"])
@given(place=st.sampled_from(sorted(PLACES)), value=ANY_JSON)
def test_whatever_stands_in_any_place_of_an_answer_the_readings_beside_it_are_forwarded(
    feed: Feed, place: str, value: Any
) -> None:
    written = loads_with_flaws(_as_written(value).encode(), deepest=64)
    bad = _in_place_of(PLACES[place], written)["obj"]
    found = DashboardAnswer((bad, *answer(ENTRY).objs, bad))

    readings = read_answer(feed.rec_type, LOCATION, found)
    sound = [reading for reading in readings if reading.flaw is None]
    events = feed.events(LOCATION, sound, readings, NOTHING, SETTINGS)

    good = read_answer(feed.rec_type, LOCATION, answer(ENTRY))[0]
    assert good in sound
    assert sum(len(event.readings) for event in events) == len(sound)
    assert all(json.loads(event.body) for event in events)
    assert all(quarantine_text(reading) for reading in readings if reading.flaw is not None)
    # Nothing of the bad one vanishes without a word: it is sent, or set aside with a reason.
    lines = bad["data"]["line"] if place not in ("object", "data", "lines") else [written]
    if lines and count_lines(DashboardAnswer((bad,))):
        assert len(readings) > 1
    assert count_lines(found) >= len(readings)


@pytest.mark.parametrize(
    ("written", "instant"),
    [
        ("2025-11-12T08:14:29.822Z", datetime(2025, 11, 12, 8, 14, 29, 822000, UTC)),
        ("2025-11-12T09:14:29.822+01:00", datetime(2025, 11, 12, 8, 14, 29, 822000, UTC)),
        ("2025-11-12T08:14:29.822", datetime(2025, 11, 12, 8, 14, 29, 822000, UTC)),
        ("2016-12-31T23:59:60Z", datetime(2017, 1, 1, tzinfo=UTC)),
        ("2025-11-12t08:14:29.822z", datetime(2025, 11, 12, 8, 14, 29, 822000, UTC)),
        ({"$date": 1762935269822}, datetime(2025, 11, 12, 8, 14, 29, 822000, UTC)),
        ({"$date": "2025-11-12T08:14:29.822Z"}, datetime(2025, 11, 12, 8, 14, 29, 822000, UTC)),
        ({"$date": {"$numberLong": "1762935269822"}}, datetime(2025, 11, 12, 8, 14, 29, 822000, UTC)),
        ({"$numberLong": "1762935269822"}, datetime(2025, 11, 12, 8, 14, 29, 822000, UTC)),
        (1762935269822, datetime(2025, 11, 12, 8, 14, 29, 822000, UTC)),
        (loads("1762935269822.5"), datetime(2025, 11, 12, 8, 14, 29, 822500, UTC)),
        (loads("1.762935269822E+12"), datetime(2025, 11, 12, 8, 14, 29, 822000, UTC)),
        (-1, datetime(1969, 12, 31, 23, 59, 59, 999000, UTC)),
    ],
    ids=[
        "UTC",
        "offset",
        "no zone is UTC",
        "leap second",
        "lower case",
        "extended JSON",
        "extended JSON of ISO",
        "extended JSON in full",
        "a long number of extended JSON",
        "milliseconds",
        "milliseconds and a fraction",
        "milliseconds with an exponent",
        "before 1970",
    ],
)
def test_times_are_read_as_utc(written: Any, instant: datetime) -> None:
    [reading] = people(ENTRY | {"time": written})

    assert (reading.time, reading.flaw) == (instant, None)


@pytest.mark.parametrize(
    "written",
    [
        "2025-11-12\ud80008:14:29Z",
        "2025-11-12\x0008:14:29Z",
        "٢٠٢٥-11-12T08:14:29Z",
        "0001-01-01T00:00:00+14:00",
        "9999-12-31T23:59:60Z",
        "05/13/2019 02:40:38:311 PM",
        True,
        loads("1e1000000"),
        10**300,
        {"$date": loads("1e-9999999999999999999")},
        {"$date": {"$numberLong": "9" * 5_000}},
        {"$date": {"$date": 1762935269822}},
        [],
    ],
    ids=[
        "a lone surrogate",
        "a control character",
        "other digits",
        "before the year 1",
        "after the year 9999",
        "month and day",
        "a truth",
        "a number of a million digits",
        "an integer of 300 digits",
        "an exponent without bounds",
        "a text of 5,000 digits",
        "a date in a date",
        "a list",
    ],
)
def test_what_is_no_one_time_for_sure_is_none(written: Any) -> None:
    [reading] = people(ENTRY | {"time": written})

    assert reading.time is None
    assert len(reading.flaw or "") in range(10, 200)
    assert quarantine_text(reading)


def test_lines_are_counted_as_they_came() -> None:
    assert count_lines(answer(ENTRY, ENTRY, "x")) == 3


# --- people counter -------------------------------------------------------------------------------


def test_a_count_goes_out_as_it_came_with_rec_type_and_tags() -> None:
    [event] = people_counter.FEED.events(LOCATION, people(ENTRY), [], NOTHING, SETTINGS)

    assert json.loads(event.body) == ENTRY | {"recType": people_counter.FEED.rec_type, "_location_tags": TAGS}
    assert event.properties == {
        "recType": people_counter.FEED.rec_type,
        "location": LOCATION,
        "source": "microshare-forwarder",
    }
    assert event.message_id == event.readings[0].id


def test_numbers_and_accents_survive_as_they_came() -> None:
    written = '{"time":"2025-11-12T08:00:00Z","n":12345678901234567890123,"f":0.10,"t":"Été \\ud83d\\ude00"}'
    [event] = people_counter.FEED.events(LOCATION, people(loads(written)), [], NOTHING, SETTINGS)

    assert b'"n":12345678901234567890123,"f":0.10,"t":"\xc3\x89t\xc3\xa9 \xf0\x9f\x98\x80"' in event.body


def test_a_lone_surrogate_is_sent_as_its_escape() -> None:
    [event] = people_counter.FEED.events(
        LOCATION, people(loads('{"time":"2025-11-12T08:00:00Z","t":"\\ud800"}')), [], NOTHING, SETTINGS
    )

    assert b'"t":"\\ud800"' in event.body


def test_the_people_query_has_every_placeholder_of_the_view() -> None:
    asked = people_counter.FEED.query(SETTINGS, LOCATION, WINDOW)

    assert [asked] == [
        DashboardQuery(
            view_id="ffffffffffffffffffffff0a",
            rec_type="io.microshare.peoplecounter.unpacked.event.agg",
            data_context=("people",),
            loc1=LOCATION,
            window=WINDOW,
            parameters={
                "field1": "daily_total",
                "field2": "meta",
                "field3": "change",
                "field4": "field4",
                "field5": "field5",
                "field6": "field6",
            },
        )
    ]


# --- hourly snapshot ------------------------------------------------------------------------------


def test_an_hour_of_a_location_is_one_event_in_the_shape_of_a_complete_answer() -> None:
    other = ["Beacon House", "Floor-01", "Room-02"]
    readings = snapshots((TAGS, [SNAPSHOT]), (other, [SNAPSHOT]))

    [event] = hourly_snapshot.FEED.events(LOCATION, readings, readings, NOTHING, SETTINGS)

    body = json.loads(event.body)
    assert sorted(body["objs"], key=str) == sorted(
        [{"data": {"_id": {"tags": tags}, "line": [SNAPSHOT]}} for tags in (TAGS, other)], key=str
    )
    assert (body["recType"], body["meta"]["currentCount"], body["meta"]["totalPages"]) == (
        "io.microshare.lake.snapshot.hourly",
        2,
        1,
    )
    assert event.properties == {
        "recType": "io.microshare.lake.snapshot.hourly",
        "location": LOCATION,
        "source": "microshare-forwarder",
        "hour": "2025-11-12T08:00:00.000Z",
    }


def test_the_message_id_of_an_hour_does_not_depend_on_the_order_of_its_readings() -> None:
    readings = snapshots((TAGS, [SNAPSHOT]), (["B"], [SNAPSHOT]))

    ids = {
        hourly_snapshot.FEED.events(LOCATION, order, order, NOTHING, SETTINGS)[0].message_id
        for order in (readings, readings[::-1])
    }

    assert len(ids) == 1


def test_what_came_late_to_an_hour_goes_out_alone_as_an_update() -> None:
    early, late = snapshots((TAGS, [SNAPSHOT]))[0], snapshots((["B"], [SNAPSHOT]))[0]
    checkpoint = NOTHING.with_ids([(WINDOW.start, early.id)])

    [event] = hourly_snapshot.FEED.events(LOCATION, [late], [early, late], checkpoint, SETTINGS)

    assert [obj["data"]["_id"]["tags"] for obj in json.loads(event.body)["objs"]] == [["B"]]
    assert event.properties["update"] is True


def test_the_first_event_of_an_hour_is_no_update_though_ids_of_something_else_stand_under_it() -> None:
    timed = snapshots((TAGS, [SNAPSHOT]))[0]
    without_time = snapshots((TAGS, [{"category": "space", "metric": "occupancy"}]))[0]
    of_another_day = snapshots((TAGS, [SNAPSHOT | {"time": "2025-11-09T08:00:00.000Z"}]))[0]
    seen = [without_time, of_another_day]
    checkpoint = NOTHING.with_ids([(WINDOW.start, reading.id) for reading in seen])

    [event] = hourly_snapshot.FEED.events(LOCATION, [timed], [*seen, timed], checkpoint, SETTINGS)

    assert "update" not in event.properties


def test_late_hour_sends_the_whole_hour_again() -> None:
    early, late = snapshots((TAGS, [SNAPSHOT]))[0], snapshots((["B"], [SNAPSHOT]))[0]
    checkpoint = NOTHING.with_ids([(WINDOW.start, early.id)])

    [event] = hourly_snapshot.FEED.events(
        LOCATION, [late], [early, late], checkpoint, replace(SETTINGS, late="hour")
    )

    assert [obj["data"]["_id"]["tags"] for obj in json.loads(event.body)["objs"]] == [TAGS, ["B"]]


def test_an_hour_without_fresh_readings_is_not_sent() -> None:
    readings = snapshots((TAGS, [SNAPSHOT]))

    assert hourly_snapshot.FEED.events(LOCATION, [], readings, NOTHING, SETTINGS) == []


def test_an_hour_too_large_for_a_message_is_split_into_numbered_parts_of_the_same_shape() -> None:
    readings = snapshots(*[([f"Room {number}"], [SNAPSHOT]) for number in range(10)])
    [whole] = hourly_snapshot.FEED.events(LOCATION, readings, readings, NOTHING, SETTINGS)

    def fits(event: Event) -> bool:
        return len(event.readings) <= 3

    parts, oversize = hourly_snapshot.FEED.parts(whole, fits)

    assert oversize == []
    assert [(part.properties["part"], part.properties["parts"]) for part in parts] == [
        (number, len(parts)) for number in range(1, len(parts) + 1)
    ]
    assert [reading for part in parts for reading in part.readings] == readings
    assert len({part.message_id for part in parts}) == len(parts)
    assert {tuple(json.loads(part.body)) for part in parts} == {("recType", "meta", "objs")}


def test_a_reading_that_fits_no_message_is_named_and_the_others_are_kept() -> None:
    readings = snapshots(*[([f"Room {number}"], [SNAPSHOT]) for number in range(4)])
    [whole] = hourly_snapshot.FEED.events(LOCATION, readings, readings, NOTHING, SETTINGS)

    def fits(event: Event) -> bool:
        return len(event.readings) <= 2 and readings[1] not in event.readings

    parts, oversize = hourly_snapshot.FEED.parts(whole, fits)

    assert oversize == [readings[1]]
    assert [reading for part in parts for reading in part.readings] == [readings[0], *readings[2:]]


@pytest.mark.parametrize(
    ("location", "settings", "asked"),
    [
        ("Example Beacon House", {"location_prefix": "Example"}, "Beacon House"),
        ("Beacon Example House", {"location_prefix": "Example"}, "Beacon Example House"),
        ("Example", {"location_prefix": "Example"}, "Example"),
        ("A", {"location_prefix": "A", "location_names": {"A": "B"}}, "B"),
    ],
    ids=["prefix and the space after it", "at the start only", "never to nothing", "a mapped name wins"],
)
@pytest.mark.parametrize("feed", [people_counter.FEED, hourly_snapshot.FEED], ids=lambda feed: feed.rec_type)
def test_a_view_is_asked_by_the_name_that_it_knows(
    feed: Feed, location: str, settings: dict[str, Any], asked: str
) -> None:
    assert feed.query(replace(SETTINGS, **settings), location, WINDOW).loc1 == asked


def test_owner_org_is_asked_with_its_quotes() -> None:
    settings = replace(SETTINGS, parameters={"category": "space", "metric": "occupancy"})
    asked = hourly_snapshot.FEED.query(settings, LOCATION, WINDOW)

    assert asked.parameters == {
        "field1": "current",
        **{f"field{number}": f"field{number}" for number in range(2, 7)},
        "ownerOrg": '"[a-zA-Z]"',
        "category": "space",
        "metric": "occupancy",
    }


def test_a_feed_without_a_module_is_named() -> None:
    with pytest.raises(SettingsError, match=r"feeds\.lifts: no module app/feeds/lifts\.py"):
        load_feed("lifts")


@pytest.mark.parametrize(
    ("defined", "said"),
    [({}, "defines FEED (module 'app.feeds.lifts' has no attribute 'FEED'); "), ({"FEED": 1}, "as a Feed; ")],
    ids=["nothing", "something else"],
)
def test_a_module_that_defines_no_feed_is_named(
    monkeypatch: pytest.MonkeyPatch, defined: dict[str, int], said: str
) -> None:
    module = ModuleType("app.feeds.lifts")
    vars(module).update(defined)
    monkeypatch.setitem(sys.modules, "app.feeds.lifts", module)

    with pytest.raises(SettingsError, match=re.escape(said)):
        load_feed("lifts")


# --- back from a hub --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "more",
    [
        {},
        {"recType": "another.type"},
        {"_location_tags": ["elsewhere"]},
        {"recType": people_counter.FEED.rec_type},
    ],
    ids=["as usual", "own recType", "own tags", "our recType"],
)
def test_a_people_event_gives_its_reading_back_whatever_names_its_entry_has(more: dict[str, Any]) -> None:
    feed = people_counter.FEED
    (reading,) = people({**ENTRY, **more})
    (event,) = feed.events(LOCATION, [reading], [reading], NOTHING, SETTINGS)

    (found,) = feed.readings_in(LOCATION, event.body)

    assert (found.tags, found.time, found.id) == (
        reading.tags,
        reading.time,
        feed.held_as(LOCATION, reading),
    )
    assert (found.id == reading.id) is (more == {})


def test_a_people_event_whose_content_was_changed_gives_another_id_and_the_same_time_and_tags() -> None:
    (reading,) = people(ENTRY)
    (event,) = people_counter.FEED.events(LOCATION, [reading], [reading], NOTHING, SETTINGS)
    body = event.body.replace(b'"in":5', b'"in":6')

    (found,) = people_counter.FEED.readings_in(LOCATION, body)

    assert (found.tags, found.time, found.id[:8]) == (reading.tags, reading.time, reading.id[:8])
    assert found.id != reading.id


def test_a_snapshot_event_gives_its_readings_back() -> None:
    feed = hourly_snapshot.FEED
    readings = snapshots((["A", "1"], [SNAPSHOT]), (["A", "2"], [SNAPSHOT, {**SNAPSHOT, "metric": "sf"}]))
    (event,) = feed.events(LOCATION, readings, readings, NOTHING, SETTINGS)

    found = feed.readings_in(LOCATION, event.body)

    assert {reading.id for reading in found} == {feed.held_as(LOCATION, reading) for reading in readings}
    assert {reading.id for reading in found} == {reading.id for reading in readings}
