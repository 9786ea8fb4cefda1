"""Events of other senders on a hub: every form of body that AMQP 1.0 has, and what else they may carry.

Encoded by hand, because the SDK's codec has no words for some of them. Layout: AMQP 1.0, part 1.6
(types) and part 3.2 (sections of a message).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

NULL, TRUE, EMPTY_LIST = b"\x40", b"\x41", b"\x45"

_PROPERTIES, _APPLICATION_PROPERTIES, _DATA, _SEQUENCE, _VALUE = 0x73, 0x74, 0x75, 0x76, 0x77
_ANNOTATIONS, _FOOTER = 0x72, 0x78


def text(value: str) -> bytes:
    return _sized(0xB1, value.encode())


def binary(value: bytes) -> bytes:
    return _sized(0xB0, value)


def array_of_longs(*values: int) -> bytes:
    members = b"".join(value.to_bytes(8, "big", signed=True) for value in values)
    return _sized(0xF0, len(values).to_bytes(4, "big") + b"\x81" + members)


def list_of(*members: bytes) -> bytes:
    return _sized(0xD0, len(members).to_bytes(4, "big") + b"".join(members))


def nulls(count: int) -> bytes:
    """Give an array of so many nulls, which take no bytes."""
    return _sized(0xF0, count.to_bytes(4, "big") + NULL)


def map_of(*pairs: tuple[bytes, bytes]) -> bytes:
    joined = b"".join(name + value for name, value in pairs)
    return _sized(0xD1, (2 * len(pairs)).to_bytes(4, "big") + joined)


def nested(levels: int) -> bytes:
    """Give a list in a list in a list, so many levels deep."""
    found = EMPTY_LIST
    for _ in range(levels - 1):
        found = list_of(found)
    return found


def message(
    *bodies: bytes, application: Mapping[str, str | bytes] | None = None, properties: bytes = b""
) -> bytes:
    """Give an encoded event of sections; values of `application` are text, or encoded."""
    named = [
        (text(name), text(value) if isinstance(value, str) else value)
        for name, value in (application or {}).items()
    ]
    return (
        properties + (section(_APPLICATION_PROPERTIES, map_of(*named)) if named else b"") + b"".join(bodies)
    )


def section(descriptor: int, value: bytes) -> bytes:
    return b"\x00\x53" + bytes([descriptor]) + value


def data(content: bytes) -> bytes:
    return section(_DATA, binary(content))


def value(encoded: bytes) -> bytes:
    return section(_VALUE, encoded)


def sequence(*members: bytes) -> bytes:
    return section(_SEQUENCE, list_of(*members))


def foreign_events(application: Mapping[str, str]) -> Iterator[tuple[str, bytes]]:
    """Give an event of each kind, by what it is; all have the application properties."""

    def of(*bodies: bytes, **more: bytes) -> bytes:
        return message(*bodies, application={**application, **more})

    yield "value null", of(value(NULL))
    yield "value 5", of(value(b"\x54\x05"))
    yield "value of 64 bits", of(value(b"\x80" + b"\xff" * 8))
    yield "value true", of(value(TRUE))
    yield "value of text", of(value(text('{"time":"2026-03-02T03:00:00.000Z"}')))
    yield "value of bytes that are not text", of(value(binary(b"\xff\x00\xfe")))
    yield "value that is not a number", of(value(b"\x82" + b"\x7f\xf8" + bytes(6)))
    yield "value of a time, before 1970", of(value(b"\x83" + b"\xff" * 8))
    yield "value of a uuid", of(value(b"\x98" + bytes(range(16))))
    yield "value of a map", of(value(map_of((text("a"), list_of(NULL, text("b"))), (b"\x54\x01", TRUE))))
    yield "value of an array", of(value(array_of_longs(1, -2)))
    yield "value with a map whose key is a list", of(value(map_of((EMPTY_LIST, NULL))))
    yield "value of a character, which the SDK cannot decode", of(value(b"\x73\x00\x00\x00\x41"))
    yield "value of a decimal, which the SDK cannot decode", of(value(b"\x84" + bytes(8)))
    yield "value 900 levels deep", of(value(nested(900)))
    yield "value 40,000 levels deep", of(value(nested(40_000)))
    yield "value described by another's type", of(value(b"\x00\xa3\x03a:b" + text("c")))
    yield "sequence", of(sequence(b"\x54\x05", text("five"), NULL))
    yield "two sequences", of(sequence(NULL), sequence(nested(30)))
    yield "no body at all", of()
    yield "empty bytes", of(data(b""))
    yield "bytes that are not text", of(data(bytes(range(256))))
    yield "several pieces of bytes", of(data(b'{"a":'), data(b"1}"))
    yield "JSON that is not an object", of(data(b"null"))
    yield "JSON 900 levels deep", of(data(b'{"a":' * 900 + b"1" + b"}" * 900))
    yield "JSON 200 levels deep", of(data(b'{"a":' * 200 + b"1" + b"}" * 200))
    yield "JSON with a lone surrogate", of(data(b'{"a":"\\ud800"}'))
    yield "large properties", of(data(b"{}"), large=text("x" * 200_000))
    yield "properties that are lists", of(data(b"{}"), list=list_of(NULL, text("x")), deep=nested(900))
    yield "properties that are null", section(_APPLICATION_PROPERTIES, NULL) + data(b"{}")
    yield "properties that are not a map", section(_APPLICATION_PROPERTIES, list_of(TRUE)) + data(b"{}")
    yield "footer", of(data(b"{}"), section(_FOOTER, map_of((text("a"), NULL))))
    yield "id that is a number", _with_id(b"\x80" + bytes(7) + b"\x05") + of(data(b"{}"))
    yield "id that is a uuid", _with_id(b"\x98" + bytes(16)) + of(data(b"{}"))
    yield "id that is not text", _with_id(binary(b"\xff\xfe")) + of(data(b"{}"))
    yield "annotations that the SDK cannot decode", _annotated(b"\x73\x00\x00\x00\x41") + of(data(b"{}"))
    yield "annotations 2,000 levels deep", _annotated(nested(2_000)) + of(data(b"{}"))


def _with_id(encoded: bytes) -> bytes:
    return section(_PROPERTIES, list_of(encoded))


def _annotated(encoded: bytes) -> bytes:
    return section(_ANNOTATIONS, map_of((b"\xa3\x05x-any", encoded)))


def _sized(constructor: int, content: bytes) -> bytes:
    return bytes([constructor]) + len(content).to_bytes(4, "big") + content
