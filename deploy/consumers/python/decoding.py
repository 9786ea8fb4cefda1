"""What the SDK makes of events that others sent, in any form that AMQP 1.0 has; none of them stops it.

Its decoder (azure-eventhub 5.15.1) knows no char and no decimal32 or decimal64, ends in a
RecursionError where values are nested some 900 levels deep, and takes memory for as many members of a
list or an array as an event says there are, four billion at most. It decodes before anybody can ask for
the event, so one such event would end the reading of its partition at the same place each time, until
retention removes it.

Layout: AMQP 1.0, part 1.2 (constructors) and part 3.2 (sections of a message).
"""

from __future__ import annotations

import importlib
import math
import threading
from collections.abc import Callable, Iterator
from typing import Any

# Where the SDK's asyncio client takes its decoder from; the name is private to it.
_RECEIVER = "azure.eventhub._pyamqp.aio._receiver_async"
_DECODER = "decode_payload"
# What it decodes values with, by their constructors.
_DECODERS_OF_VALUES = "azure.eventhub._pyamqp._decode", "_DECODE_BY_CONSTRUCTOR"
# Of lists and arrays: where after the constructor the number of members stands.
_COUNTS = {0xC0: slice(1, 2), 0xD0: slice(4, 8), 0xE0: slice(1, 2), 0xF0: slice(4, 8)}

_ANNOTATIONS = 0x72
# Bytes after a constructor, by its upper four bits; the others name their size in 1 or 4 bytes.
_FIXED_WIDTHS = {0x4: 0, 0x5: 1, 0x6: 2, 0x7: 4, 0x8: 8, 0x9: 16}
_SHORT_SIZES = {0xA, 0xC, 0xE}
_DESCRIBED = 0x00


class Undecoded:
    """Stands for the body of an event that the SDK cannot decode."""


def read_every_event() -> None:
    """Make the SDK hand out an event it cannot decode as one with an `Undecoded` body.

    What the service says of it (number, time, partition key) is kept. Doing it again changes nothing.
    """
    receiver: Any = importlib.import_module(_RECEIVER)
    decode = getattr(receiver, _DECODER)
    if isinstance(decode, _Decoder):
        return
    setattr(receiver, _DECODER, _Decoder(decode))
    module, name = _DECODERS_OF_VALUES
    of_values = getattr(importlib.import_module(module), name)
    for constructor, count in _COUNTS.items():
        of_values[constructor] = _Counted(of_values[constructor], count)


class _MembersLeft(threading.local):
    """How many members of lists and arrays the event that a thread decodes may still have."""

    number: float = math.inf


_members_left = _MembersLeft()


class _Counted:
    """Decodes a list or an array, unless the members of its event come to more than the event has bytes."""

    def __init__(self, decode: Callable[[memoryview], Any], count: slice) -> None:
        self._decode = decode
        self._count = count

    def __call__(self, value: memoryview) -> Any:
        _members_left.number -= int.from_bytes(value[self._count], "big")
        if _members_left.number < 0:
            raise ValueError("more members than bytes")
        return self._decode(value)


class _Decoder:
    def __init__(self, decode: Callable[[memoryview], Any]) -> None:
        self._decode = decode

    def __call__(self, message: memoryview) -> Any:
        _members_left.number = len(message)
        try:
            decoded = self._decode(message)
        except Exception:  # noqa: BLE001 - whatever it stumbles over, the event is another sender's
            return self._what_the_service_says(message)
        finally:
            _members_left.number = math.inf
        # The SDK asks both for their items.
        maps = (decoded.application_properties, decoded.message_annotations)
        if all(found is None or isinstance(found, dict) for found in maps):
            return decoded
        return self._what_the_service_says(message)

    def _what_the_service_says(self, message: memoryview) -> Any:
        """Decode the annotations, each by itself: a sender may have put more beside the service's."""
        found: dict[Any, Any] = {}
        for name, value in _annotations(bytes(message)):
            # A section of one pair, made of the bytes as they came.
            pair = b"\x00\x53\x72\xd1" + (len(name) + len(value) + 4).to_bytes(4, "big") + b"\0\0\0\2"
            try:
                found |= self._decode(memoryview(pair + name + value)).message_annotations
            except Exception:  # noqa: BLE001, S112 - the next pair may be the service's
                continue
        decoded = self._decode(memoryview(b"\x00\x53\x77\x40"))
        return decoded._replace(message_annotations=found, value=Undecoded())


def _annotations(message: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Give the pairs of the message annotations as they are encoded, as far as they can be told apart."""
    at = 0
    while at + 3 < len(message):
        end = _end_of_value(message, at)
        if message[at + 2] == _ANNOTATIONS and message[at + 3] in (0xC1, 0xD1):
            at += 6 if message[at + 3] == 0xC1 else 12
            while at < end:
                middle = _end_of_value(message, at)
                last = _end_of_value(message, middle)
                yield message[at:middle], message[middle:last]
                at = last
            return
        at = end


def _end_of_value(message: bytes, at: int) -> int:
    """Give where the encoded value that begins at `at` ends; the message's end where it is cut off."""
    # A described value is its descriptor and a value, each of which may be described in turn.
    owed = 1
    while owed and at < len(message):
        constructor = message[at]
        at += 1
        if constructor == _DESCRIBED:
            owed += 1
            continue
        owed -= 1
        if constructor >> 4 in _FIXED_WIDTHS:
            at += _FIXED_WIDTHS[constructor >> 4]
        else:
            width = 1 if constructor >> 4 in _SHORT_SIZES else 4
            at += width + int.from_bytes(message[at : at + width], "big")
    return min(at, len(message))
