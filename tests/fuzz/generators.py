"""Inputs: valid documents in which something is odd, and bytes in which anything is.

Drawn from few choices at a time, so that Hypothesis can make what it finds small.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from typing import Any

from hypothesis import strategies as st

from tests.canaries import forms
from tests.fuzz.oracle import SECRETS


class Raw(str):
    """A text that stands in a document as it is, valid or not."""

    __slots__ = ()


class Object(list[tuple[str, Any]]):
    """An object's pairs: a name may stand in it more than once."""


CANARIES = sorted(form for secret in SECRETS for form in forms(secret))
TIMES: Sequence[Any] = (
    "2026-03-02T10:00:00Z",
    "2026-03-02T10:00:00z",
    "2026-03-02T10:00:00.123456789+02:00",
    "2026-03-02T23:59:60Z",
    "2026-03-02\ud80010:00:00Z",
    "0001-01-01T00:00:00+14:00",
    "9999-12-31T23:59:60Z",
    "9999-12-31T23:59:59-14:00",
    "2026-W10-1",
    "20260302T100000",
    "2026-03-02T24:00:00Z",
    "2026-02-30T10:00:00Z",
    "2026-03-02T10:00:00+99:99",
    "２０２６-03-02T10:00:00Z",
    {"$date": "2026-03-02T10:00:00Z"},
    {"$date": 1772445600000},
    {"$date": {"$numberLong": "1772445600000"}},
    {"$date": {"$numberLong": "9" * 400}},
    {"$date": {"$date": 1}},
    1772445600000,
    1772445600000.5,
    -62135596800000,
    -(10**30),
    10**30,
    253402300799999,
)
NUMBERS: Sequence[Any] = (
    0,
    -1,
    2**31,
    2**63,
    -(2**63) - 1,
    10**400,
    Raw("9" * 5_000),
    Raw("-0"),
    Raw("0.1000"),
    Raw("1e400"),
    Raw("-1E-400"),
    Raw("1e1000000"),
    Raw("1e9999999999999999999999"),
    Raw("1E-99999999999999999999999"),
    Raw("NaN"),
    Raw("-Infinity"),
    Raw("01"),
    Raw("0." + "3" * 5_000),
)
TEXTS: Sequence[str] = (
    "",
    " ",
    "\0",
    "\ud800",
    "a\udfffb",
    "\u2028\x1b[31m\r\n",
    "é" * 300,
    "x" * 70_000,
    "../../../etc/passwd",
    "/absolute",
    "null",
    "$numberLong",
    "__proto__",
    "🏢" * 40,
)
DEPTHS = (3, 70, 300, 1_200, 30_000)
NESTED: Sequence[Any] = (
    *(Raw("[" * depth + "]" * depth) for depth in DEPTHS),
    *(Raw('{"a":' * depth + "1" + "}" * depth) for depth in DEPTHS),
)
HOLDERS: Sequence[Any] = (
    None,
    True,
    False,
    [],
    {},
    [[]],
    [{}],
    [None],
    {"": ""},
    {"a": None},
    Object([("a", 1), ("a", 2)]),
    Object([("time", "2026-03-02T10:00:00Z"), ("time", None)]),
    Object([*((f"k{number}", 0) for number in range(3_000)), ("k0", 0)]),
    ["x"] * 3_000,
)


def odd_values() -> st.SearchStrategy[Any]:
    """Give any JSON value in any place: those that readers are known to stumble over, and small ones."""
    plain = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8)
    small = st.recursive(plain, lambda inner: st.lists(inner, max_size=3) | _objects(inner), max_leaves=6)
    known = (HOLDERS, TIMES, NUMBERS, TEXTS, NESTED, CANARIES)
    return st.one_of(*(st.sampled_from(list(each)) for each in known), small)


def _objects(values: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return st.lists(st.tuples(st.text(max_size=8), values), max_size=3).map(Object)


@st.composite
def documents(draw: st.DrawFn, *documents: Any, most: int = 3) -> Any:
    """Give one of some valid JSON documents, changed in up to so many places."""
    holder = [_opened(draw(st.sampled_from(documents)))]
    for _ in range(draw(st.integers(0, most))):
        _change(draw, *draw(st.sampled_from(list(_places(holder)))))
        # Nothing at all is a document, too.
        holder = holder or [Raw("")]
    return holder[0]


def json_texts(*examples: Any, most: int = 3) -> st.SearchStrategy[bytes]:
    """Give the texts of such documents."""
    return documents(*examples, most=most).map(written)


def written(value: Any) -> bytes:
    """Write a document as JSON, odd as it may be; lone surrogates as escapes."""
    return "".join(_pieces(value)).encode("utf-8", "surrogatepass")


@st.composite
def changed_bytes(draw: st.DrawFn, originals: st.SearchStrategy[bytes], most: int = 4) -> bytes:
    """Give bytes that were valid before something was cut, put in, doubled or replaced."""
    content = draw(originals)
    for _ in range(draw(st.integers(1, most))):
        start = draw(st.integers(0, len(content)))
        end = min(len(content), start + draw(st.integers(0, 12)))
        piece = draw(st.binary(max_size=6) | st.sampled_from(_ODD_BYTES))
        doubled = content[start:end] * draw(st.sampled_from([0, 0, 2, 40]))
        content = content[:start] + piece + doubled + content[end:]
    return content


_ODD_BYTES = [
    *(form.encode() for form in CANARIES),
    *(b"\0", b"\xff\xfe", b"\xef\xbb\xbf", b"\xed\xa0\x80", b"\xc0\x80", b"\r\n", b"\n", b"\r", b"\x1a"),
    *(b"'", b'"', b"\\", b"{", b"[", b"${", b"}", b";", b"=", b"#", b"%00", b"&lt;", b"\x1f\x8b"),
]


def _opened(value: Any) -> Any:
    """Give a copy that can be changed, objects as their pairs."""
    if isinstance(value, dict):
        return Object((name, _opened(inner)) for name, inner in value.items())
    if isinstance(value, Object):
        return Object((name, _opened(inner)) for name, inner in value)
    return [_opened(inner) for inner in value] if isinstance(value, list) else value


def _places(holder: list[Any]) -> Iterator[tuple[list[Any], int]]:
    """Give where each value stands, from the outside in."""
    for at, member in enumerate(holder):
        yield holder, at
        value = member[1] if isinstance(holder, Object) else member
        # Of long lists the beginning is as good as the rest.
        if isinstance(value, list) and len(value) < 100:
            yield from _places(value)


def _change(draw: st.DrawFn, holder: list[Any], at: int) -> None:
    how = draw(st.sampled_from(["replace", "replace", "remove", "double", "rename", "wrap", "canary"]))
    name, value = holder[at] if isinstance(holder, Object) else ("", holder[at])
    if how == "remove":
        del holder[at]
        return
    if how == "double":
        holder.insert(at, holder[at])
        return
    if how == "rename":
        name = draw(st.sampled_from([*TEXTS, *CANARIES, "time", "data", "_id", "line", "tags", "recType"]))
    elif how == "wrap":
        value = draw(st.sampled_from([[value], Object([("$date", value)]), Object([("a", value)])]))
    elif how == "canary" and isinstance(value, str):
        value = f"{value}{draw(st.sampled_from(CANARIES))}"
    else:
        value = _opened(draw(odd_values()))
    holder[at] = (name, value) if isinstance(holder, Object) else value


def _pieces(value: Any) -> Iterator[str]:
    if isinstance(value, Raw):
        yield value
    elif isinstance(value, dict | Object):
        pairs = list(value.items()) if isinstance(value, dict) else value
        yield "{"
        for number, (name, inner) in enumerate(pairs):
            yield f"{',' if number else ''}{json.dumps(name)}:"
            yield from _pieces(inner)
        yield "}"
    elif isinstance(value, list):
        yield "["
        for number, inner in enumerate(value):
            yield "," if number else ""
            yield from _pieces(inner)
        yield "]"
    else:
        yield json.dumps(value)
