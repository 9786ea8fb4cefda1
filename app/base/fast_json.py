"""JSON by msgspec, the fastest library that keeps numbers exact, where it says what `exact_json` would say.

It keeps decimals as they were written and integers whole, refuses what is not JSON, and takes a tenth of the
time. What it lets pass is looked for here: of a key that stands twice in an object it keeps the last. Where
there may be one, and wherever it refuses a text, `exact_json` reads it again and says what is wrong with it.
"""

from __future__ import annotations

import re
from decimal import Decimal
from typing import Any

import msgspec

_decode = msgspec.json.Decoder(float_hook=Decimal).decode
_encode = msgspec.json.Encoder(decimal_format="number").encode
_encode_sorted = msgspec.json.Encoder(decimal_format="number", order="sorted").encode
# A name and its colon that are apart: where a body has that, counting `":` misses names.
_APART = re.compile(rb'"[ \t\r\n]+:')


class Unsure(ValueError):
    """Whether this library says all that there is to say is not known: ask the other one."""


def loads(body: bytes) -> tuple[Any, int]:
    """Parse one JSON value; give it, and how many names its objects must have, all of them together.

    If they have fewer, a name stands twice in one of them; or a text holds a quote and a colon, which
    is counted too. Raises Unsure.
    """
    if _may_be_apart(body) and _APART.search(body):
        raise Unsure("names are not followed by their colons")
    try:
        return _decode(body), body.count(b'":')
    except (msgspec.MsgspecError, ValueError, ArithmeticError, RecursionError) as error:
        raise Unsure(f"{error}") from None


def _may_be_apart(body: bytes) -> bool:
    """Whether white space stands before any colon: looking for that takes less time."""
    return b" :" in body or any(mark in body for mark in (b"\n", b"\r", b"\t"))


def dumps(value: Any, *, sort_keys: bool) -> bytes:
    """Write compact UTF-8 JSON of what JSON holds. Raises Unsure."""
    try:
        return (_encode_sorted if sort_keys else _encode)(value)
    except (TypeError, ValueError, RecursionError) as error:
        raise Unsure(f"{error}") from None
