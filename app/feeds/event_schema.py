"""JSON Schemas of the bodies that hubs get: one for each feed and form. Pure.

They say what this forwarder guarantees of a body, and in words what the source was seen to write; of what
is the source's own nothing is demanded. Whatever is not named in them may be there as well.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final, get_args

from app.base.wire_forms import Body
from app.feeds.feed import SOURCE, Feed
from app.feeds.flat import FlatFeed
from app.feeds.hourly_snapshot import HourlyFeed

VERSION: Final = 1
"""Rises where a body that fits a schema of this version would no longer be sure to be read as it says."""

DIALECT: Final = "https://json-schema.org/draft/2020-12/schema"
BODIES: Final[tuple[Body, ...]] = get_args(Body)

Schema = dict[str, Any]

_TITLES: Final[Mapping[Body, str]] = {
    "plain": "plain body",
    "with_ids": "body with ids",
    "cloudevents": "CloudEvent",
}
_TEXT: Final[Schema] = {"type": "string"}
_ID: Final[Schema] = {"type": "string", "pattern": "^[A-Za-z0-9_-]{16}$"}
# Those that this forwarder writes itself.
_TIME: Final[Schema] = {
    "type": "string",
    "format": "date-time",
    "pattern": r"^[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}\.[0-9]{3}Z$",
}
_HOUR: Final[Schema] = _TIME | {"pattern": r"^[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:00:00\.000Z$"}
_TAGS: Final[Schema] = {"type": "array", "items": _TEXT}


def event_schema(name: str, feed: Feed, body: Body) -> Schema:
    """Give the schema of what a hub with such bodies gets of a feed, which `name` is the name of.

    Raises TypeError for a feed of a kind that has no schema here.
    """
    made = _FORMS[body](name, feed, _kind_of(feed)(feed))
    return {
        "$schema": DIALECT,
        "$id": f"urn:microshare-forwarder:event:{VERSION}:{name}:{body}",
        "title": f"{name}: {_TITLES[body]}",
        "description": made["description"],
        **made,
    }


def _kind_of(feed: Feed) -> Callable[[Feed], Schema]:
    found = next((make for kind, make in _KINDS.items() if isinstance(feed, kind)), None)
    if found is None:
        raise TypeError(f"a {type(feed).__name__} has no schema of its events; describe it in {__name__}")
    return found


# --- what the source wrote --------------------------------------------------------------------------


def _time() -> Schema:
    """Describe every way of writing a time that a reading is forwarded with."""
    text: Schema = {"type": "string", "pattern": "^[0-9]{4}-?(W[0-9]{2}|[0-9]{2}-?[0-9]{2})"}
    number: Schema = {
        "type": "number",
        "exclusiveMinimum": -62_135_596_800_001,
        "exclusiveMaximum": 253_402_300_800_000,
    }
    extended: Schema = {
        "type": "object",
        "minProperties": 1,
        "maxProperties": 1,
        "patternProperties": {"^[$]number(Long|Int|Double|Decimal)$": {"type": ["string", "number"]}},
        "additionalProperties": False,
    }
    date: Schema = {
        "type": "object",
        "properties": {"$date": {"anyOf": [text, number, extended]}},
        "required": ["$date"],
    }
    return {
        "description": "When it was measured, as the source wrote it: nearly always an ISO time in UTC with "
        "milliseconds; also another ISO time (UTC where it names no zone), milliseconds since 1970, or "
        "either in MongoDB's extended JSON.",
        "anyOf": [text, number, extended, date],
    }


def _entry(feed: Feed) -> Schema:
    """Describe a line entry of the source: it has a time, and all else is the source's own."""
    said = {
        "record": "The source's own id of the record. Not in every reading.",
        **feed.fields,
    }
    return {
        "type": "object",
        "properties": {"time": _time()} | {name: {"description": words} for name, words in said.items()},
        "required": ["time"],
    }


def _rec_type(feed: Feed) -> Schema:
    return {
        "description": "The record type in Microshare.",
        "const": feed.rec_type,
    }


# --- plain bodies, by kind of feed -------------------------------------------------------------------


def _of_a_reading(feed: Feed) -> Schema:
    entry = _entry(feed)
    tags = {
        "description": "The tags of the object that held the reading: where the sensor is, from the "
        "building to the door. May be empty."
    }
    return entry | {
        "description": "A reading as the source wrote it, and what says where it belongs. Numbers are the "
        "source's, digit for digit: read them as decimals where that matters.",
        "properties": {"recType": _rec_type(feed), **entry["properties"], "_location_tags": tags | _TAGS},
        "required": ["recType", "time", "_location_tags"],
    }


def _of_an_hour(feed: Feed) -> Schema:
    identity = {
        "type": "object",
        "properties": {
            "tags": {"description": "Where the room is, from the building down. May be empty."} | _TAGS
        },
        "required": ["tags"],
    }
    data = {
        "type": "object",
        "properties": {
            "_id": identity,
            "line": {
                "description": "Its readings of the hour, as the source wrote them.",
                "type": "array",
                "minItems": 1,
                "items": _entry(feed),
            },
        },
        "required": ["_id", "line"],
    }
    return {
        "type": "object",
        "description": "Readings of one location and hour that the hub did not have before, in the shape of "
        "a complete answer of the source. Merge them by tags, time, category and metric: what "
        "comes later replaces what came earlier.",
        "properties": {
            "recType": _rec_type(feed),
            "meta": _meta(),
            "objs": {
                "description": "One object for each list of tags.",
                "type": "array",
                "minItems": 1,
                "items": {"type": "object", "properties": {"data": data}, "required": ["data"]},
            },
        },
        "required": ["recType", "meta", "objs"],
    }


def _meta() -> Schema:
    counts = ("currentCount", "perPage", "totalCount")
    said = {
        **{name: {"type": "integer", "minimum": 1} for name in counts},
        **{name: {"const": 1} for name in ("currentPage", "totalPages")},
        "source": {"const": "db"},
    }
    return {
        "description": "As in an answer of one page: the counts are the number of `objs`.",
        "type": "object",
        "properties": said,
        "required": sorted(said),
    }


# --- forms ------------------------------------------------------------------------------------------


def _plain(_name: str, _feed: Feed, body: Schema) -> Schema:
    return body


def _with_ids(name: str, feed: Feed, body: Schema) -> Schema:
    of_hour = isinstance(feed, HourlyFeed)
    properties: Schema = {"id": {"description": "The message id: a repeat has the same one."} | _ID}
    required = ["id", "location", "source", "feed", "enqueued_by"]
    if of_hour:
        said = "The ids of the readings, in the order of their lines."
        properties["ids"] = {"description": said, "type": "array", "minItems": 1, "items": _ID}
        required += ["ids", "hour"]
    properties |= {
        "location": {"description": "The building's name, as discovered."} | _TEXT,
        "source": {"const": SOURCE},
    }
    if of_hour:
        properties |= {
            "hour": {"description": "The hour of all readings in it, in UTC."} | _HOUR,
            "update": {
                "description": "There where the hub had readings of this location and hour before.",
                "const": True,
            },
            "part": {
                "description": "Which of `parts` this is, where one message has no room for all.",
                "type": "integer",
                "minimum": 1,
            },
            "parts": {"description": "In how many messages it came.", "type": "integer", "minimum": 2},
        }
    properties |= {
        "feed": {"const": name},
        "enqueued_by": {"description": "The version of the forwarder that sent it."} | _TEXT,
        "replaced": {"description": "What the source has under the name `_forwarder`."},
    }
    ours: Schema = {
        "description": "What the message says of itself, for readers that see bodies only.",
        "type": "object",
        "properties": properties,
        "required": required,
    }
    if of_hour:
        ours["dependentRequired"] = {"part": ["parts"], "parts": ["part"]}
    return body | {
        "properties": body["properties"] | {"_forwarder": ours},
        "required": [*body["required"], "_forwarder"],
    }


def _cloudevent(_name: str, feed: Feed, body: Schema) -> Schema:
    of_hour = isinstance(feed, HourlyFeed)
    when = "The hour of the readings." if of_hour else "The time of the reading."
    properties: Schema = {
        "specversion": {"const": "1.0"},
        "id": {"description": "The message id: a repeat has the same one."} | _ID,
        "type": _rec_type(feed),
        "source": {
            "description": "The location, percent-encoded.",
            "type": "string",
            "pattern": "^urn:microshare:[A-Za-z0-9_.~%-]*$",
        },
        "subject": {
            "description": "The tags, joined by `/`; not there where readings have several, or none.",
            "type": "string",
            "minLength": 1,
        },
        "time": {"description": f"{when} In UTC."} | (_HOUR if of_hour else _TIME),
        "datacontenttype": {"const": "application/json"},
        "data": body,
    }
    return {
        "description": "A structured CloudEvent 1.0; `data` is the plain body.",
        "type": "object",
        "properties": properties,
        "required": [name for name in properties if name != "subject"],
    }


_KINDS: Final[Mapping[type[Feed], Callable[[Feed], Schema]]] = {
    FlatFeed: _of_a_reading,
    HourlyFeed: _of_an_hour,
}
_FORMS: Final[Mapping[Body, Callable[[str, Feed, Schema], Schema]]] = {
    "plain": _plain,
    "with_ids": _with_ids,
    "cloudevents": _cloudevent,
}
