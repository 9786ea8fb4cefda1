"""The AMQP 1.0 wire format, on the codec that the Event Hubs SDK brings.

The only module that touches `azure.eventhub._pyamqp`. That package is private to the SDK; 5.12 to
5.15 have it in this form. Its decoder gives bytes for text, symbols and binaries alike, and reads
frames as the SDK's peer writes them; other clients write the same ones otherwise, which is put right here.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

try:
    from azure.eventhub._pyamqp._decode import decode_frame, decode_payload
    from azure.eventhub._pyamqp._encode import encode_frame, encode_payload, encode_value
    from azure.eventhub._pyamqp.endpoints import ApacheFilters, Source, Target
    from azure.eventhub._pyamqp.error import AMQPError
    from azure.eventhub._pyamqp.message import Message as WireMessage
    from azure.eventhub._pyamqp.message import Properties
    from azure.eventhub._pyamqp.outcomes import Accepted, Rejected, Released
    from azure.eventhub._pyamqp.performatives import (
        AttachFrame,
        BeginFrame,
        CloseFrame,
        DetachFrame,
        DispositionFrame,
        EndFrame,
        FlowFrame,
        OpenFrame,
        SASLInit,
        SASLMechanism,
        SASLOutcome,
        TransferFrame,
    )
    from azure.eventhub._pyamqp.types import TYPE, VALUE, AMQPTypes, FieldDefinition, ObjDefinition
except ImportError as missing:
    raise ImportError(
        f"the Event Hubs emulator needs the private AMQP codec of azure-eventhub 5.12 to 5.15 ({missing}); "
        "install one of these versions to run it"
    ) from missing

__all__ = [
    "AMQP_HEADER",
    "BATCH_FORMAT",
    "HEARTBEAT",
    "SASL_HEADER",
    "Accepted",
    "AttachFrame",
    "BeginFrame",
    "CloseFrame",
    "DetachFrame",
    "DispositionFrame",
    "EndFrame",
    "FlowFrame",
    "Frame",
    "FrameBuffer",
    "Malformed",
    "Message",
    "OpenFrame",
    "Rejected",
    "Released",
    "SASLInit",
    "SASLMechanism",
    "SASLOutcome",
    "TransferFrame",
    "address_of",
    "array_value",
    "batched_messages",
    "decode_annotations",
    "decode_event",
    "decode_message",
    "encode",
    "encode_response",
    "error",
    "fill",
    "long_value",
    "selector_of",
    "source",
    "string_value",
    "target",
    "text",
    "timestamp_value",
    "with_annotations",
]

AMQP_HEADER = b"AMQP\x00\x01\x00\x00"
SASL_HEADER = b"AMQP\x03\x01\x00\x00"
HEARTBEAT = b"\x00\x00\x00\x08\x02\x00\x00\x00"
BATCH_FORMAT = 0x80013700  # every data section of such a message is an encoded message of its own
SELECTOR: bytes = ApacheFilters.selector_filter

_HEADER_SECTION, _ANNOTATIONS_SECTION, _DATA_SECTION = 0x70, 0x72, 0x75
_PERFORMATIVES: dict[int, Any] = {
    0x10: OpenFrame,
    0x11: BeginFrame,
    0x12: AttachFrame,
    0x13: FlowFrame,
    0x14: TransferFrame,
    0x15: DispositionFrame,
    0x16: DetachFrame,
    0x17: EndFrame,
    0x18: CloseFrame,
    0x41: SASLInit,
}
# Bytes that follow a constructor, by its upper four bits; the others carry their size in 1 or 4 bytes.
_FIXED_WIDTHS = {0x4: 0, 0x5: 1, 0x6: 2, 0x7: 4, 0x8: 8, 0x9: 16}
_SHORT_SIZES = {0xA, 0xC, 0xE}
_EMPTY_LIST, _EMPTY_LIST8 = 0x45, b"\xc0\x01\x00"
# What a field decodes to, where more is done with it than to send it back.
_KINDS: dict[Any, type] = {
    AMQPTypes.uint: int,
    AMQPTypes.ushort: int,
    FieldDefinition.fields: dict,
    ObjDefinition.source: list,
    ObjDefinition.target: list,
}
_UNDECODABLE = (IndexError, KeyError, TypeError, ValueError, RecursionError, struct.error)

TypedValue = dict[str, Any]


class Malformed(Exception):
    """What came is not the AMQP that was expected."""


@dataclass(frozen=True, slots=True)
class Frame:
    """One frame: its channel and its performative; None for a heartbeat."""

    channel: int
    performative: Any


@dataclass(frozen=True, slots=True)
class Message:
    """A decoded message. Text is text where it is UTF-8; `message_id` is as its sender typed it."""

    message_id: object
    content_type: str | None
    annotations: Mapping[str, object]
    properties: Mapping[str, object]
    body: bytes
    value: object


class FrameBuffer:
    """Cuts a stream of bytes into protocol headers (bytes) and frames."""

    def __init__(self, max_frame_bytes: int) -> None:
        self._max_frame_bytes = max_frame_bytes
        self._bytes = bytearray()

    def feed(self, data: bytes) -> Iterator[bytes | Frame]:
        """Give what is complete, oldest first. Raises Malformed where the peer broke the framing."""
        self._bytes += data
        while len(self._bytes) >= 8:
            head = bytes(self._bytes[:8])
            size = 8 if head.startswith(b"AMQP") else int.from_bytes(head[:4], "big")
            if not 8 <= size <= self._max_frame_bytes:
                raise Malformed(f"a frame of {size} bytes, where {self._max_frame_bytes} are allowed")
            if len(self._bytes) < size:
                return
            whole = bytes(self._bytes[:size])
            del self._bytes[:size]
            yield head if head.startswith(b"AMQP") else _decode(whole)


def _decode(whole: bytes) -> Frame:
    channel = int.from_bytes(whole[6:8], "big")
    body = memoryview(whole)[whole[4] * 4 :]
    if not body:
        return Frame(channel, None)
    try:
        code, fields = decode_frame(_in_the_form_of_the_sdk(body))
        performative = _PERFORMATIVES[code]
        payload = [fields.pop()] if performative is TransferFrame else []
        missing = len(performative._fields) - len(fields) - len(payload)
        decoded = performative(*fields, *[None] * missing, *payload)
    except _UNDECODABLE as cause:
        raise Malformed(f"a frame that cannot be decoded: {cause!r}") from cause
    for field, value in zip(performative._definition, decoded, strict=True):  # noqa: SLF001 - its fields
        if field is None:  # the payload
            continue
        if value is None and field.mandatory:
            raise Malformed(f"a frame of type {performative.__name__} without its {field.name}")
        if value is not None and not isinstance(value, _KINDS.get(field.type, object)):
            raise Malformed(f"a frame of type {performative.__name__} with {value!r} as its {field.name}")
    return Frame(channel, decoded)


def _in_the_form_of_the_sdk(body: memoryview) -> memoryview:
    """Write a performative anew where its descriptor is a long one, or its list the one for no fields.

    The SDK's decoder looks at neither: in an `end` or a `close` without an error, as others write it, it
    reads beyond the end.
    """
    code, start = _descriptor(body)
    if body[start] == _EMPTY_LIST:
        return memoryview(_described(code, _EMPTY_LIST8) + body[start + 1 :])
    return body if start == 3 else memoryview(_described(code, body[start:]))


def _described(code: int, value: bytes | memoryview) -> bytes:
    return b"\x00\x53" + bytes([code]) + value


def encode(channel: int, performative: Any, *, sasl: bool = False) -> bytes:
    header, body = encode_frame(performative, b"\x01" if sasl else b"\x00")
    return header + channel.to_bytes(2, "big") + (body or b"")


def error(condition: str, description: str) -> Any:
    return AMQPError(condition=condition, description=description, info=None)


def fill(performative: Any, **known: Any) -> Any:
    """Build a performative with null in every other field: the SDK indexes fields without counting them."""
    return performative(**dict.fromkeys(performative._fields) | known)


def source(address: str | None, selector: str | None = None) -> Any:
    filters = {SELECTOR: (SELECTOR, string_value(selector))} if selector is not None else None
    return fill(Source, address=address, filters=filters)


def target(address: str | None) -> Any:
    return fill(Target, address=address)


def address_of(terminus: Any) -> str | None:
    """Read the address of a source or a target as it was decoded."""
    return text(terminus[0]) if terminus else None


def selector_of(terminus: Any) -> str | None:
    """Read the filter of a source as it was decoded; None where all is asked for."""
    filters = terminus[7] if terminus and len(terminus) > 7 else None
    return text(filters.get(SELECTOR)) if isinstance(filters, dict) else None


def text(value: object) -> str | None:
    """Read what the decoder gives for text; None stays None. Raises Malformed for anything else."""
    if value is None or isinstance(value, str):
        return value
    if isinstance(value, bytes):
        return value.decode("utf-8", "replace")
    raise Malformed(f"{value!r} where text was expected")


def string_value(value: str) -> TypedValue:
    return {TYPE: AMQPTypes.string, VALUE: value}


def long_value(value: int) -> TypedValue:
    return {TYPE: AMQPTypes.long, VALUE: value}


def timestamp_value(milliseconds: int) -> TypedValue:
    return {TYPE: AMQPTypes.timestamp, VALUE: milliseconds}


def array_value(values: Iterable[TypedValue]) -> TypedValue:
    return {TYPE: AMQPTypes.array, VALUE: list(values)}


def encode_response(
    request_id: object, properties: Mapping[str, str | int], value: Mapping[str, object] | None
) -> bytes:
    """Encode the answer to a request: the request's id as correlation id, and what was found."""
    encoded = bytearray()
    encode_payload(
        encoded,
        WireMessage(
            properties=fill(Properties, correlation_id=request_id),
            application_properties=dict(properties.items()),
        ),
    )
    pairs = [_encode_pair(string_value(name), each) for name, each in (value or {}).items()]
    return bytes(encoded) + b"\x00\x53\x77" + _encode_map(pairs)


def decode_message(encoded: bytes) -> Message:
    """Decode a message. Raises Malformed where it is none, or has what the SDK's codec does not know."""
    sections = _sections(memoryview(encoded))
    try:
        message = decode_payload(memoryview(b"".join(_described(code, value) for code, _, value in sections)))
    except _UNDECODABLE as cause:
        raise Malformed(f"a message that cannot be decoded: {cause!r}") from cause
    properties = message.properties
    pieces: Any = message.data or ()  # a list, in what the decoder gives
    return Message(
        message_id=_readable(properties.message_id) if properties else None,
        content_type=text(properties.content_type) if properties else None,
        annotations=_readable_map(message.message_annotations),
        properties=_readable_map(message.application_properties),
        body=b"".join(pieces),
        value=_readable(message.value),
    )


def _readable(value: object) -> object:
    if isinstance(value, bytes):
        try:
            return value.decode()
        except UnicodeDecodeError:
            return value
    return value


def _readable_map(pairs: Mapping[Any, object] | None) -> dict[str, object]:
    # What is no map at all is another sender's.
    members = pairs.items() if isinstance(pairs, Mapping) else ()
    return {str(_readable(key)): _readable(value) for key, value in members}


def decode_event(encoded: bytes) -> Message:
    """Decode an event of any sender; one that the SDK's codec does not know has nothing in it."""
    try:
        return decode_message(encoded)
    except Malformed:
        return Message(None, None, {}, {}, b"", None)


def decode_annotations(encoded: bytes) -> dict[str, object]:
    """Read the annotations of a message, and nothing else of it."""
    for descriptor, whole, _ in _sections(memoryview(encoded)):
        if descriptor == _ANNOTATIONS_SECTION:
            return dict(decode_message(bytes(whole)).annotations)
    return {}


def batched_messages(encoded: bytes) -> list[bytes]:
    """Give the encoded messages inside a batch, in their order. Raises Malformed where one is none."""
    sections = _sections(memoryview(encoded))
    messages = [_binary(value) for descriptor, _, value in sections if descriptor == _DATA_SECTION]
    for message in messages:
        for _ in _sections(memoryview(message)):
            pass
    return messages


def with_annotations(encoded: bytes, added: Mapping[str, TypedValue]) -> bytes:
    """Splice annotations into an encoded message; all else stays byte for byte what its sender wrote."""
    header, rest = bytearray(), bytearray()
    annotations: dict[bytes, bytes] = {}
    for descriptor, whole, value in _sections(memoryview(encoded)):
        if descriptor == _HEADER_SECTION:
            header += whole
        elif descriptor == _ANNOTATIONS_SECTION:
            annotations.update(_map_pairs(value))
        else:
            rest += whole
    for name, typed in added.items():
        annotations[name.encode()] = _encode_pair({TYPE: AMQPTypes.symbol, VALUE: name}, typed)
    return bytes(header) + b"\x00\x53\x72" + _encode_map(annotations.values()) + bytes(rest)


def _encode_pair(name: TypedValue, value: object) -> bytes:
    pair = bytearray()
    encode_value(pair, name)
    if isinstance(value, bool):
        # As the service writes it. The SDK's form has a byte of its own, which some clients give as a number.
        pair += b"\x41" if value else b"\x42"
    else:
        encode_value(pair, value)
    return bytes(pair)


def _encode_map(pairs: Iterable[bytes]) -> bytes:
    encoded = list(pairs)
    body = b"".join(encoded)
    return b"\xd1" + (len(body) + 4).to_bytes(4, "big") + (2 * len(encoded)).to_bytes(4, "big") + body


def _sections(message: memoryview) -> Iterator[tuple[int, memoryview, memoryview]]:
    """Yield the descriptor, the whole and the value of each section of an encoded message."""
    while message:
        descriptor, start = _descriptor(message)
        end = _end_of_value(message, start)
        yield descriptor, message[:end], message[start:end]
        message = message[end:]


def _descriptor(described: memoryview) -> tuple[int, int]:
    """Read the code of a described value, which has a byte or eight; gives it, and where the value begins."""
    if bytes(described[:2]) == b"\x00\x53" and len(described) > 3:
        return described[2], 3
    if bytes(described[:9]) == b"\x00\x80" + bytes(7) and len(described) > 10:
        return described[9], 10
    raise Malformed("a section or a performative without its descriptor")


def _end_of_value(buffer: memoryview, start: int) -> int:
    if start >= len(buffer):
        raise Malformed("a message that ends too early")
    constructor = buffer[start]
    if constructor == 0:  # a described value: its descriptor, then the value
        return _end_of_value(buffer, _end_of_value(buffer, start + 1))
    end = start + 1
    if constructor >> 4 in _FIXED_WIDTHS:
        end += _FIXED_WIDTHS[constructor >> 4]
    else:
        prefix = 1 if constructor >> 4 in _SHORT_SIZES else 4
        end += prefix + int.from_bytes(buffer[end : end + prefix], "big")
    if end > len(buffer):
        raise Malformed("a message that ends too early")
    return end


def _binary(value: memoryview) -> bytes:
    """Take a binary, a text or a symbol out of its constructor and size."""
    return bytes(value[2:] if value[0] >> 4 in _SHORT_SIZES else value[5:])


def _map_pairs(value: memoryview) -> Iterator[tuple[bytes, bytes]]:
    """Yield each key of an encoded map with the bytes of its key and value."""
    if value[0] >> 4 == 0x4:  # null
        return
    value = value[3:] if value[0] == 0xC1 else value[9:]
    while value:
        middle = _end_of_value(value, 0)
        end = _end_of_value(value, middle)
        yield _binary(value[:middle]), bytes(value[:end])
        value = value[end:]
