"""An event as a hub holds it: of this forwarder or of any other sender."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Any, Literal

from app.base import exact_json
from app.eventhub.decoding import Undecoded

if TYPE_CHECKING:
    from azure.eventhub import EventData

# How deep a value is written out. JSON is written by recursion, several calls of Python a level, and
# has 1,000 in all; what anybody means to be read is far below.
_LEVELS = 50

BodyType = Literal["data", "value", "sequence", "undecoded"]


@dataclass(frozen=True, slots=True)
class Received:
    """One event as a hub holds it. `sequence` counts within the partition.

    `body_type` is the kind of its AMQP body. This forwarder writes bytes, `data`; of a value or a
    sequence the `body` is the JSON of it, and of what cannot be decoded it is empty.
    """

    partition: str
    sequence: int | None
    offset: str | None
    enqueued: datetime | None
    message_id: str | None
    partition_key: str | None
    content_type: str | None
    properties: Mapping[str, Any]
    body: bytes = field(repr=False)
    body_type: BodyType = "data"


def received(partition: str, event: EventData) -> Received:
    """Give what the SDK says of an event, whatever its sender put into it; raises nothing."""
    body_type, body = _body(event)
    return Received(
        partition=partition,
        sequence=event.sequence_number,
        offset=event.offset,
        enqueued=event.enqueued_time,
        message_id=_text(event.message_id),
        partition_key=_text(event.partition_key),
        content_type=_text(event.content_type),
        properties={str(_text(name)): _scalar(value) for name, value in (event.properties or {}).items()},
        body=body,
        body_type=body_type,
    )


def _body(event: EventData) -> tuple[BodyType, bytes]:
    found: Any = event.body
    body_type: BodyType = event.body_type.value
    if isinstance(found, Undecoded):
        return "undecoded", b""
    if body_type == "data":
        parts = [found] if isinstance(found, bytes | str) else found
        return body_type, b"".join(part if isinstance(part, bytes) else str(part).encode() for part in parts)
    return body_type, exact_json.dumps(_plain(list(found) if body_type == "sequence" else found))


def _text(value: Any) -> str | None:
    plain = _scalar(value)
    return plain if plain is None or isinstance(plain, str) else str(plain)


def _scalar(value: Any) -> str | int | bool | None:
    """Give an AMQP value as one that JSON has; a list or map as the JSON of it."""
    plain = _plain(value)
    return exact_json.dumps(plain).decode() if isinstance(plain, dict | list) else plain


def _plain(value: Any, levels: int = _LEVELS) -> Any:
    """Give an AMQP value as JSON has it; what is nested deeper than `levels` is left out."""
    if isinstance(value, bytes):
        return value.decode("utf-8", "backslashreplace")
    if value is None or isinstance(value, bool | int | str):
        return value
    if not isinstance(value, dict | list):
        return str(value)
    if not levels:
        return "…"
    if isinstance(value, list):
        return [_plain(member, levels - 1) for member in value]
    return {str(_text(name)): _plain(member, levels - 1) for name, member in value.items()}
