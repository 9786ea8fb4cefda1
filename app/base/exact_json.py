"""JSON that comes out as it went in: exact numbers, and no row that cannot be written again.

What JSON does not allow (NaN, Infinity) or leaves open (a key twice) becomes a
`Flaw` in the place where it stood, so that one bad row does not make its whole
answer unreadable, and is found when that row is written.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

import simplejson

# Python refuses to convert longer integers (a guard against denial of service).
_LONGEST_INTEGER = 4_000


@dataclass(frozen=True, slots=True)
class Flaw:
    """Something that has no exact JSON form; `text` is how it was written."""

    reason: str
    text: str


class NotJson(ValueError):
    """A text, or a value, that is not strict JSON. Says where or why."""


def loads(body: bytes | str) -> Any:
    """Parse strictly and losslessly: integers stay whole, decimals become `Decimal`, a BOM is skipped.

    Raises NotJson for anything that is not one JSON value, nested too deeply included.
    """
    try:
        text = body.decode("utf-8-sig") if isinstance(body, bytes) else body
        return simplejson.loads(
            text,
            use_decimal=True,
            allow_nan=True,
            parse_constant=lambda name: Flaw(f"holds {name}, which is no JSON number", name),
            parse_int=_parse_integer,
            object_pairs_hook=_object,
        )
    except RecursionError:
        raise NotJson("nested too deeply") from None
    except ValueError as error:
        raise NotJson(str(error)) from error


def dumps(value: Any, *, sort_keys: bool = False, indent: int | None = None) -> bytes:
    """Write UTF-8 JSON, compact unless indented.

    Raises NotJson where the value holds a `Flaw` or cannot be written.
    """
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
    """Write `value` for a person to look at: flaws stand as objects that name them. Sorted keys."""
    return _dumps(value, sort_keys=True, ensure_ascii=True, default=_describe_flaw).encode()


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


def _parse_integer(digits: str) -> int | Flaw:
    if len(digits) > _LONGEST_INTEGER:
        return Flaw(f"holds an integer of {len(digits)} digits", digits)
    return int(digits)


def _object(pairs: list[tuple[str, Any]]) -> Mapping[str, Any] | Flaw:
    found = dict(pairs)
    if len(found) == len(pairs):
        return found
    names = [name for name, _ in pairs]
    doubled = sorted({name for name in names if names.count(name) > 1})
    return Flaw(
        f"holds the key {doubled[0]!r} twice", dumps_with_flaws([list(pair) for pair in pairs]).decode()
    )
