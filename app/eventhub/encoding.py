"""An event as an AMQP message in a batch of the SDK: the SDK's own bytes, at a tenth of its cost.

The SDK encodes each event twice, once to measure it, and all of it each time, though nearly all but the body
and the id is the same for all events of a location. Its public way leaves no other; so its batch is filled
here, with what its own encoder makes of the parts that repeat. That is private to it, and was compared with
the public way of the one version that is named here; with any other the public way is gone.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping
from functools import cache, lru_cache
from typing import TYPE_CHECKING, Any, Final

from app.base.wire_forms import Message, PropertyValue

if TYPE_CHECKING:
    from azure.eventhub import EventDataBatch

COMPARED_WITH: Final = "5.15.1"
"""The version of azure-eventhub whose public way gives the same bytes (`tests/unit/test_encoding.py`)."""

# Descriptors of AMQP 1.0, part 3.2: `properties` is a list of 13 fields, `data` is binary.
_PROPERTIES, _DATA = b"\x00\x53\x73\xc0", b"\x00\x53\x75"
_STRING8, _SYMBOL8, _BINARY8, _BINARY32 = b"\xa1", b"\xa3", b"\xa0", b"\xb0"
_FIELDS, _UNSET = b"\x0d", b"\x40"
# Of the five fields between id and content type, and the six behind it, none is set.
_BETWEEN, _BEHIND = _UNSET * 5, _UNSET * 6
# A list whose length is one byte holds 255; whatever is longer than this the SDK encodes.
_SHORT = 200
_BYTES: Final = [bytes((number,)) for number in range(256)]
_LENGTH = struct.Struct(">L").pack
_OVERHEAD_BYTES, _LARGE_OVERHEAD_BYTES = 5, 8


def sdk_version() -> str:
    from azure.eventhub import __version__

    return str(__version__)


@cache
def is_compared() -> bool:
    """Whether the installed SDK is the one whose encoding is known here."""
    return sdk_version() == COMPARED_WITH


def empty(largest_bytes: int, key: str) -> EventDataBatch:
    """Give a batch of this partition key with nothing in it."""
    from azure.eventhub import EventDataBatch

    return EventDataBatch(max_size_in_bytes=largest_bytes, partition_key=key)


class Envelope:
    """What messages of one partition key, content type and set of properties share, encoded once for them."""

    def __init__(self, key: str, content_type: str, properties: Mapping[str, PropertyValue]) -> None:
        self.properties = properties
        self._key = key
        self._content_type = content_type
        self._is_compared = is_compared()
        if self._is_compared:
            kind = content_type.encode()
            self._longest_id = _SHORT - len(kind)
            self._head = _head(key)
            self._behind_id = b"".join((_BETWEEN, _SYMBOL8, _BYTES[min(len(kind), 255)], kind, _BEHIND))
            self._properties = _all_properties(properties)

    def add(self, batch: EventDataBatch, message: Message) -> bool:
        """Add a message to a batch of its partition key. False: it would be too large, nothing was done."""
        if not self._is_compared:
            return add_publicly(batch, message)
        encoded = self._encoded(message)
        size = _with_overhead(len(encoded))
        if batch._size + size > batch.max_size_in_bytes:
            return False
        batch._message.data.append(encoded)
        batch._size += size
        batch._count += 1
        return True

    def fits(self, largest_bytes: int, message: Message) -> bool:
        """Whether `add` would take a message into an empty batch."""
        if not self._is_compared:
            return add_publicly(empty(largest_bytes, self._key), message)
        return _empty_bytes(self._key) + _with_overhead(len(self._encoded(message))) <= largest_bytes

    def _encoded(self, message: Message) -> bytes:
        body = message.body
        length = _BINARY8 + _BYTES[len(body)] if len(body) < 256 else _BINARY32 + _LENGTH(len(body))
        return b"".join((self._head, self._own(message.id), self._properties, _DATA, length, body))

    def _own(self, message_id: str) -> bytes:
        """Encode what AMQP calls properties: the id and the content type."""
        identity = message_id.encode()
        length = len(identity)
        if length > self._longest_id:
            from azure.eventhub._pyamqp.message import Properties

            return _by_the_sdk(properties=Properties(message_id=message_id, content_type=self._content_type))
        fields = b"".join((_FIELDS, _STRING8, _BYTES[length], identity, self._behind_id))
        return b"".join((_PROPERTIES, _BYTES[len(fields)], fields))


def add_publicly(batch: EventDataBatch, message: Message) -> bool:
    """Do what `Envelope.add` does in the way that the SDK documents."""
    from azure.eventhub import EventData

    data = EventData(message.body)
    data.message_id = message.id
    data.content_type = message.content_type
    data.properties = dict(message.properties.items())
    try:
        batch.add(data)
    except ValueError:
        return False
    return True


@lru_cache(maxsize=64)
def _head(key: str) -> bytes:
    """Give what stands before the properties: that it is durable, and its partition key."""
    from azure.eventhub._pyamqp.message import Header

    return _by_the_sdk(header=Header(durable=True), message_annotations={b"x-opt-partition-key": key})


def _all_properties(properties: Mapping[str, PropertyValue]) -> bytes:
    return _application_properties(tuple(properties.items()), tuple(map(type, properties.values())))


# Types count too: 1 and True are equal, but are not encoded alike.
@lru_cache(maxsize=256)
def _application_properties(
    properties: tuple[tuple[str, PropertyValue], ...],
    types: tuple[type, ...],  # noqa: ARG001
) -> bytes:
    return _by_the_sdk(application_properties=dict(properties))


def _with_overhead(size: int) -> int:
    return size + (_OVERHEAD_BYTES if size < 256 else _LARGE_OVERHEAD_BYTES)


@lru_cache(maxsize=64)
def _empty_bytes(key: str) -> int:
    return int(empty(1_000_000, key).size_in_bytes)


def _by_the_sdk(**sections: Any) -> bytes:
    from azure.eventhub._pyamqp._encode import encode_payload
    from azure.eventhub._pyamqp.message import Message as SdkMessage

    return bytes(encode_payload(bytearray(), SdkMessage(**sections)))
