"""JSON that comes out as it went in: exact numbers, and no row that cannot be written again.

What JSON does not allow (NaN, Infinity) or leaves open (a key twice) becomes a
`Flaw` in the place where it stood, so that one bad row does not make its whole
answer unreadable, and is found when that row is written. Time and memory are
linear in the length of a text, whatever it holds.

Nearly all texts are plain, and are read and written by `fast_json`; what it is unsure of is read
and written here. Both give the same.
"""

from __future__ import annotations

import re
import secrets
from collections import Counter
from collections.abc import Callable, Collection, Mapping
from contextlib import suppress
from decimal import Decimal, InvalidOperation
from functools import cache, partial
from typing import Any

import simplejson

from app.base import fast_json
from app.base.text import shown

# What is nested deeper exhausts those who walk it; nothing that is written here is half as deep.
_DEEPEST = 300
_STRING_OR_BRACKET = re.compile(r'"[^"\\]*+(?:\\.[^"\\]*+)*+"?|[\[\]{}]', re.DOTALL)
_CLOSING = {"[": "]", "{": "}"}
# What bytes that are not UTF-8 become when they are decoded with `surrogateescape`.
_UNDECODED = re.compile("[\udc80-\udcff]")


class Flaw:
    """Something that has no exact JSON form: as it was written, or the pairs of an object.

    No dataclass, which a JSON library would write as if it were an object.
    """

    __slots__ = ("reason", "written")

    def __init__(self, reason: str, written: str | tuple[tuple[str, Any], ...]) -> None:
        self.reason = reason
        self.written = written

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Flaw) and (self.reason, self.written) == (other.reason, other.written)

    def __hash__(self) -> int:
        return hash((self.reason, self.written))

    def __repr__(self) -> str:
        return f"Flaw({self.reason!r}, {self.written!r})"

    @property
    def text(self) -> str:
        """How it was written."""
        if isinstance(self.written, str):
            return self.written
        # Texts within texts would double their backslashes at each level.
        return _dumps(self.written, sort_keys=True, ensure_ascii=True, default=_describe_flaw_within)


# What holds other values. Not a union, which Python would make anew for each value that is looked at.
_HOLDERS = (dict, list, Flaw)


class NotJson(ValueError):
    """A text, or a value, that is not strict JSON. Says where or why."""


def loads(body: bytes | str) -> Any:
    """Parse strictly and losslessly: integers stay whole, decimals become `Decimal`, a BOM is skipped.

    Raises NotJson for anything that is not one JSON value, nested too deeply included.
    """
    with suppress(fast_json.Unsure):
        return _loads_plain(body, _DEEPEST)
    try:
        text = body.decode("utf-8-sig") if isinstance(body, bytes) else body
        found = _parse(text)
    except RecursionError:
        raise NotJson("nested too deeply") from None
    except ValueError as error:
        raise NotJson(str(error)) from error
    if _is_deeper(found, _DEEPEST):
        raise NotJson("nested too deeply")
    return found


def loads_with_flaws(body: bytes, *, deepest: int, kept: Collection[str] | None = None) -> Any:
    """Parse what others wrote, so that no part of it that can be read is lost for another's sake.

    As `loads`, but what is nested over `deepest` levels and texts whose bytes are no UTF-8 are flaws
    in their places too, and a control character within a text is taken as it stands. Where `kept` is
    given, names that are not in it are left out of every object as it is read.
    Raises NotJson for anything that is not one JSON value.
    """
    if kept is None:
        with suppress(fast_json.Unsure):
            return _loads_plain(body, deepest)
    text, is_utf8 = _decode(body)
    try:
        try:
            found = _parse(text, strict=False, kept=kept)
            too_deep = _is_deeper(found, deepest)
        except RecursionError:
            too_deep = True
        if too_deep:
            shallow, cut = _cut_off(text, deepest)
            found = _parse(shallow, strict=False, cut=cut, kept=kept)
        return found if is_utf8 else _without_undecoded(found)
    except RecursionError:
        raise NotJson("nested too deeply") from None
    except ValueError as error:
        raise NotJson(str(error)) from error


def dumps(value: Any, *, sort_keys: bool = False, indent: int | None = None) -> bytes:
    """Write UTF-8 JSON, compact unless indented.

    Raises NotJson where the value holds a `Flaw` or cannot be written.
    """
    if indent is None:
        try:
            return fast_json.dumps(value, sort_keys=sort_keys)
        except fast_json.Unsure:
            pass
    try:
        text = _dumps(value, sort_keys=sort_keys, indent=indent, ensure_ascii=False)
        return text.encode()
    except UnicodeEncodeError:
        # A lone surrogate is legal in JSON only as an escape.
        return _dumps(value, sort_keys=sort_keys, indent=indent, ensure_ascii=True).encode()
    except RecursionError:
        raise NotJson("nested too deeply") from None
    except (TypeError, ValueError) as error:
        raise NotJson(str(error)) from error


def dumps_with_flaws(value: Any) -> bytes:
    """Write `value` for a person to look at: flaws stand as objects that name them. Sorted keys.

    Raises NotJson where it is nested too deeply.
    """
    try:
        plain = fast_json.dumps(value, sort_keys=True)
        # What is not ASCII, and its last character, is escaped here.
        if plain.isascii() and b"\x7f" not in plain:
            return plain
    except fast_json.Unsure:
        pass
    try:
        return _dumps(value, sort_keys=True, ensure_ascii=True, default=_describe_flaw).encode()
    except RecursionError:
        raise NotJson("nested too deeply") from None


def _dumps(value: Any, **options: Any) -> str:
    text: str = _encoder(**options).encode(value)
    return text


@cache
def _encoder(
    *,
    sort_keys: bool,
    ensure_ascii: bool,
    indent: int | None = None,
    default: Callable[[Any], Any] | None = None,
) -> simplejson.JSONEncoder:
    """Give an encoder, made once: making one takes as long as writing a short reading."""
    return simplejson.JSONEncoder(
        use_decimal=True,
        allow_nan=False,
        sort_keys=sort_keys,
        ensure_ascii=ensure_ascii,
        indent=indent,
        separators=(",", ": ") if indent else (",", ":"),
        default=default or _refuse,
    )


def _refuse(value: Any) -> Any:
    if isinstance(value, Flaw):
        raise TypeError(value.reason)
    raise TypeError(f"a {type(value).__name__} has no JSON form")


def _describe_flaw(value: Any) -> Any:
    if isinstance(value, Flaw):
        return {"flaw": value.reason, "text": value.text}
    raise TypeError(f"a {type(value).__name__} has no JSON form")


def _describe_flaw_within(value: Any) -> Any:
    """Name a flaw within the text of another one."""
    if isinstance(value, Flaw) and not isinstance(value.written, str):
        return {"flaw": value.reason, "keys and values": [part for pair in value.written for part in pair]}
    return _describe_flaw(value)


# --- reading ------------------------------------------------------------------------------------------


def _loads_plain(body: bytes | str, deepest: int) -> Any:
    """Give what a text without any flaw holds. Raises Unsure where it may have one."""
    return fast_json.loads(
        body if isinstance(body, bytes) else body.encode("utf-8", "surrogatepass"), deepest=deepest
    )


def _parse(
    text: str,
    *,
    strict: bool = True,
    cut: Mapping[str, Flaw] | None = None,
    kept: Collection[str] | None = None,
) -> Any:
    parse = partial(
        simplejson.loads,
        text,
        cls=simplejson.JSONDecoder,
        allow_nan=True,
        strict=strict,
        parse_constant=lambda name: Flaw(f"holds {name}, which is not a JSON number", name),
        parse_int=partial(_parse_cut_integer, cut) if cut else _parse_integer,
        object_pairs_hook=_object if kept is None else partial(_object_of, kept),
    )
    try:
        return parse(parse_float=Decimal)
    except InvalidOperation:
        return parse(parse_float=_parse_decimal)


def _parse_integer(digits: str) -> int | Flaw:
    try:
        return int(digits)
    except ValueError:
        # Python refuses to convert integers of over 4,300 digits (a guard against denial of service).
        return Flaw(f"holds an integer of {len(digits)} digits", digits)


def _parse_cut_integer(cut: Mapping[str, Flaw], digits: str) -> int | Flaw:
    return cut.get(digits) or _parse_integer(digits)


def _parse_decimal(text: str) -> Decimal | Flaw:
    try:
        return Decimal(text)
    except InvalidOperation:
        return Flaw(f"holds the number {shown(text)}, whose exponent is out of all bounds", text)


def _object(pairs: list[tuple[str, Any]]) -> Mapping[str, Any] | Flaw:
    found = dict(pairs)
    if len(found) == len(pairs):
        return found
    doubled = min(name for name, times in Counter(name for name, _ in pairs).items() if times > 1)
    return Flaw(f"holds the key {shown(doubled)} twice", tuple(pairs))


def _object_of(kept: Collection[str], pairs: list[tuple[str, Any]]) -> Mapping[str, Any] | Flaw:
    return _object([(name, member) for name, member in pairs if name in kept])


def _decode(body: bytes) -> tuple[str, bool]:
    """Give the text of a body, and whether it is UTF-8."""
    try:
        return body.decode("utf-8-sig"), True
    except UnicodeDecodeError:
        return body.decode("utf-8-sig", "surrogateescape"), False


def _is_deeper(value: Any, levels: int) -> bool:
    """Whether anything is nested over so many levels. Each value is looked at in every answer and event."""
    holders = [value]
    for _ in range(levels + 1):
        below: list[Any] = []
        for holder in holders:
            for member in holder.values() if type(holder) is dict else _members(holder):
                if isinstance(member, _HOLDERS):
                    below.append(member)  # noqa: PERF401 - a list made for each holder takes longer
        if not below:
            return False
        holders = below
    return True


def _members(value: Any) -> Collection[Any]:
    if isinstance(value, dict):
        return value.values()
    if isinstance(value, list):
        return value
    if isinstance(value, Flaw) and isinstance(value.written, tuple):
        return [member for _, member in value.written]
    return ()


def _cut_off(text: str, levels: int) -> tuple[str, Mapping[str, Flaw]]:
    """Put a number that nobody could guess in the place of whatever is nested over so many levels.

    A parser that meets nesting of any depth gives up on the whole. Gives the flaw for each number;
    what has no matching brackets is left as it is.
    """
    prefix = f"{1 << 128 | secrets.randbits(128)}"
    kept: list[str] = []
    cut: dict[str, Flaw] = {}
    open_brackets: list[str] = []
    done = begin = 0
    for found in _STRING_OR_BRACKET.finditer(text):
        bracket = found[0]
        if bracket in _CLOSING:
            open_brackets.append(_CLOSING[bracket])
            if len(open_brackets) == levels + 2:
                begin = found.start()
        elif bracket[0] != '"':
            if not open_brackets or open_brackets.pop() != bracket:
                return text, {}
            if len(open_brackets) == levels + 1:
                number = f"{prefix}{len(cut)}"
                cut[number] = Flaw(f"is nested over {levels} levels deep", text[begin : found.end()])
                kept += (text[done:begin], number)
                done = found.end()
    return "".join((*kept, text[done:])), cut


def _without_undecoded(value: Any) -> Any:
    """Put flaws in the places of texts, and of objects with keys, that were no UTF-8."""
    if isinstance(value, str):
        if not _UNDECODED.search(value):
            return value
        return Flaw("holds bytes that are not UTF-8", value.encode("unicode_escape").decode())
    if isinstance(value, list):
        return [_without_undecoded(member) for member in value]
    if isinstance(value, dict):
        if _UNDECODED.search("".join(value)):
            return Flaw("holds a key with bytes that are not UTF-8", tuple(value.items()))
        return {name: _without_undecoded(member) for name, member in value.items()}
    return value
