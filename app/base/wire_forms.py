"""The forms that an event goes to a hub in, and the way back from the body of each to the plain one. Pure.

Message ids, partition keys and our own properties are the same in all forms, and so is what readings come
back: who reads a hub goes by what an event itself says, never by how its hub is set now.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Literal, NamedTuple
from urllib.parse import quote

from app.base import exact_json
from app.base.grouping import by_key
from app.base.instants import format_time
from app.base.readings import Event, JsonObject, Reading
from app.base.text import printable
from app.base.version import VERSION

Body = Literal["plain", "with_ids", "cloudevents"]
PropertyValue = str | int | float | bool

OUR_PROPERTIES: Final = ("recType", "location", "source", "hour", "update", "part", "parts")
"""The application properties that say what an event is."""

_JSON, _CLOUDEVENT = "application/json", "application/cloudevents+json"
_FORWARDER: Final = "_forwarder"
# What `_forwarder` has in every event; in an entry of the source it may be anything.
_ALWAYS: Final = frozenset({"id", "feed", "source", "enqueued_by"})
_REPLACED: Final = "replaced"


@dataclass(frozen=True, slots=True)
class WireForm:
    """What hubs may have in common: the form of a body, and properties that every event gets beside ours."""

    body: Body = "plain"
    properties: tuple[tuple[str, PropertyValue], ...] = ()
    # 1, 1.0 and True are equal, and are not encoded alike.
    types: tuple[type, ...] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "types", tuple(type(value) for _, value in self.properties))

    def said(self) -> str:
        """Say what is not as in a hub without a form of its own; of properties the names alone."""
        said = [f"body: {self.body}"] if self.body != "plain" else []
        if self.properties:
            said.append(f"properties: {', '.join(name for name, _ in self.properties)}")
        return "; ".join(said)

    def as_json(self) -> dict[str, Any]:
        return {"body": self.body, "properties": dict(self.properties)}


PLAIN: Final = WireForm()


class Message(NamedTuple):
    """An event as hubs of one form are sent it."""

    id: str
    content_type: str
    body: bytes
    properties: Mapping[str, PropertyValue]


def message_of(event: Event, form: WireForm) -> Message:
    """Give an event in a form."""
    ours = event.properties
    properties = {**dict(form.properties), **ours} if form.properties else ours
    if form.body == "cloudevents":
        return Message(event.message_id, _CLOUDEVENT, _cloudevent(event), properties)
    body = event.body if form.body == "plain" else _with_ids(event)
    return Message(event.message_id, _JSON, body, properties)


def plain_body(content_type: str | None, body: bytes) -> bytes:
    """Give what stands for an event's readings in its body: all of it, or what a CloudEvent is about."""
    if not _is_cloudevent(content_type):
        return body
    try:
        found = exact_json.loads(body)
        return exact_json.dumps(found["data"]) if isinstance(found, Mapping) and "data" in found else body
    except exact_json.NotJson:
        return body


def form_of(content_type: str | None, said: object) -> Body:
    """Give the form of an event's body, `said`, as its readers tell it."""
    if _is_cloudevent(content_type):
        return "cloudevents"
    return "with_ids" if isinstance(said, Mapping) and _has_ids(said) else "plain"


def without_ids(said: JsonObject) -> JsonObject:
    """Give a body without what `with_ids` adds to it; one that has nothing of it as it is."""
    while _has_ids(said):
        ours = said[_FORWARDER]
        left = {name: value for name, value in said.items() if name != _FORWARDER}
        if _REPLACED not in ours:
            return left
        said = left | {_FORWARDER: ours[_REPLACED]}
    return said


def _is_cloudevent(content_type: str | None) -> bool:
    return (content_type or "").partition(";")[0].strip().lower() == _CLOUDEVENT


def _has_ids(said: JsonObject) -> bool:
    # Nearly nothing has it, and to ask what is a mapping takes ten times as long.
    return _FORWARDER in said and isinstance(ours := said[_FORWARDER], Mapping) and ours.keys() >= _ALWAYS


def wire_text(text: str) -> str:
    """Give a text as it is on the wire: UTF-8 has no lone surrogates, they are written as their escapes."""
    return text if text.isascii() else text.encode("utf-8", "backslashreplace").decode()


def _with_ids(event: Event) -> bytes:
    """Add a key to the body as it is, so that its readings are written as they are in the plain one."""
    ours: dict[str, Any] = {"id": event.message_id}
    if "hour" in event.properties:
        ours["ids"] = [reading.id for reading in _as_in_the_body(event.readings)]
    ours |= {name: value for name, value in event.properties.items() if name != "recType"}
    ours |= {"feed": event.feed, "enqueued_by": VERSION}
    body = event.body
    if f'"{_FORWARDER}"'.encode() in body:
        said = exact_json.loads(body)
        if _FORWARDER in said:
            ours[_REPLACED] = said.pop(_FORWARDER)
            body = exact_json.dumps(said)
    return b'%s,"%s":%s}' % (body[:-1], _FORWARDER.encode(), exact_json.dumps(ours))


def _as_in_the_body(readings: tuple[Reading, ...]) -> list[Reading]:
    """Give readings in the order of a snapshot's lines: those of one place stand together."""
    places = by_key((reading.tags, reading) for reading in readings)
    return [reading for together in places.values() for reading in together]


def _cloudevent(event: Event) -> bytes:
    """Put the plain body into a structured CloudEvent 1.0; what is not known of it is left out."""
    attributes: dict[str, Any] = {
        "specversion": "1.0",
        "id": event.message_id,
        "type": event.properties["recType"],
        "source": f"urn:microshare:{quote(wire_text(event.location), safe='')}",
    }
    places = {reading.tags for reading in event.readings}
    # Of several places there is no one subject, and an empty text is none.
    if len(places) == 1 and (subject := "/".join(map(_without_controls, *places))):
        attributes["subject"] = subject
    if time := event.properties.get("hour") or _first_time(event.readings):
        attributes["time"] = time
    attributes["datacontenttype"] = _JSON
    return b'%s,"data":%s}' % (exact_json.dumps(attributes)[:-1], event.body)


def _without_controls(text: str) -> str:
    return printable(wire_text(text))


def _first_time(readings: tuple[Reading, ...]) -> str | None:
    time = min((reading.time for reading in readings if reading.time is not None), default=None)
    return None if time is None else format_time(time)
