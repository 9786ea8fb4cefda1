"""JSON by msgspec, the fastest library that keeps numbers exact, where it says what `exact_json` would say.

It keeps decimals as they were written and integers whole, refuses what is not JSON, and takes a tenth of the
time. What it lets pass is looked for here: of a key that stands twice in an object it keeps the last. Where
there may be one, and wherever it refuses a text, `exact_json` reads it again and says what is wrong with it.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from decimal import Decimal
from typing import Any

import msgspec

_decode = msgspec.json.Decoder(float_hook=Decimal).decode
_decode_with_floats = msgspec.json.Decoder().decode
_encode = msgspec.json.Encoder(decimal_format="number").encode
_encode_sorted = msgspec.json.Encoder(decimal_format="number", order="sorted").encode
_HOLDERS = frozenset({dict, list})
# A name and its colon that are apart: where a body has that, counting `":` misses names.
_APART = re.compile(rb'"[ \t\r\n]+:')


class Unsure(ValueError):
    """Whether this library says all that there is to say is not known: ask the other one."""


def loads(body: bytes, *, deepest: int, floats: bool = False) -> Any:
    """Parse one JSON value, nested over at most `deepest` levels; decimals are `Decimal`, or `floats`.

    Raises Unsure.
    """
    if _may_be_apart(body) and _APART.search(body):
        raise Unsure("names are not followed by their colons")
    try:
        found = (_decode_with_floats if floats else _decode)(body)
    except (msgspec.MsgspecError, ValueError, ArithmeticError, RecursionError) as error:
        raise Unsure(f"{error}") from None
    # If its objects have fewer names, one stands twice in one of them; or a text holds a quote and a colon.
    if _names_in(found, deepest) != body.count(b'":'):
        raise Unsure("a name twice, or too much nesting")
    return found


def _names_in(value: Any, levels: int) -> int | None:
    """Count the names of all objects in a value; None where it is nested over so many levels."""
    names = 0
    holders = [value] if type(value) in _HOLDERS else []
    for _ in range(levels + 1):
        names += sum([len(holder) for holder in holders if type(holder) is dict])
        holders = [
            member
            for holder in holders
            for member in (holder.values() if type(holder) is dict else holder)
            if type(member) in _HOLDERS
        ]
        if not holders:
            return names
    return None


def _may_be_apart(body: bytes) -> bool:
    """Whether white space stands before any colon: looking for that takes less time."""
    return any(mark in body for mark in (b"\n", b"\r", b"\t", b" :"))


def reader_of(kind: Any) -> Callable[[bytes], Any]:
    """Give what parses JSON of one kind; where a name is there twice it takes the last. It raises Unsure."""
    read = msgspec.json.Decoder(kind).decode

    def value(body: bytes) -> Any:
        try:
            return read(body)
        except (msgspec.MsgspecError, ValueError) as error:
            raise Unsure(f"{error}") from None

    return value


def dumps_indented(value: Any) -> bytes:
    """Write UTF-8 JSON of what JSON holds as `json.dumps` with an indent of 1 does. Raises Unsure."""
    return msgspec.json.format(dumps(value, sort_keys=False), indent=1)


def dumps(value: Any, *, sort_keys: bool) -> bytes:
    """Write compact UTF-8 JSON of what JSON holds. Raises Unsure."""
    try:
        return (_encode_sorted if sort_keys else _encode)(value)
    except (TypeError, ValueError, RecursionError) as error:
        raise Unsure(f"{error}") from None
