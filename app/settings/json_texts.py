"""Lists that are written as JSON, and what happens to their quotes on the way: to say what was meant."""

from __future__ import annotations

import html
import json
import re
from collections.abc import Iterator
from contextlib import suppress
from urllib.parse import unquote_plus

from app.base.text import shown

_TYPOGRAPHIC = str.maketrans(dict.fromkeys("“”„‟«»″", '"') | dict.fromkeys("‘’‚‛′", "'"))
_PAIRS = ('""', "''", "“”", "„“", "„”", "‘’", "«»")


class _Twice(ValueError):
    """An object of JSON has a key twice, of which a reader would silently take one."""


def json_array(text: str, *, secret: bool = False) -> list[object]:
    """Read a JSON array. Raises ValueError, naming the usual reasons; a secret text is not shown."""
    seen = "" if secret else f"{shown(text)} "
    written = text.lstrip("\ufeff").strip()
    try:
        parsed = _parsed(written)
    except _Twice as error:
        raise ValueError(str(error)) from None
    if isinstance(parsed, list):
        return parsed
    for reason, meant in _meant(written):
        example = '["...","..."]' if secret else _compact(meant)
        raise ValueError(f"{seen}{reason}; write '{example}'")
    words = [word.strip(" \"'“”\\") for word in written.strip("[]").split(",")]
    example = '["...","..."]' if secret else _compact(words)
    if written.startswith("[") and '"' not in written:
        raise ValueError(f"{seen}had its quotes eaten by a shell; write '{example}' in single quotes")
    raise ValueError(f"{seen}is not a JSON array; write '{example}'")


def unwrapped(text: str) -> str | None:
    """Give what stands between the quotes around a whole text, escaped or not; None where there are none."""
    with suppress(ValueError, RecursionError):
        inner = json.loads(text) if text.startswith('"') else None
        if isinstance(inner, str):
            return inner
    bare = re.sub(r"\\+([\"'])", r"\1", text) if text.startswith("\\") else text
    if len(bare) < 2 or f"{bare[0]}{bare[-1]}" not in _PAIRS:
        return None
    inner = bare[1:-1]
    # Several texts in quotes with commas between are a list without its brackets.
    return None if bare[0] in "\"'" and re.search(rf"{bare[0]}\s*,\s*{bare[0]}", inner) else inner


def _parsed(text: str) -> object:
    """Parse JSON; None where it is none. Raises _Twice."""
    try:
        return json.loads(text, object_pairs_hook=_each_once)
    except _Twice:
        raise
    except (ValueError, RecursionError):
        return None


def _each_once(pairs: list[tuple[str, object]]) -> dict[str, object]:
    found: dict[str, object] = {}
    for name, value in pairs:
        if name in found:
            raise _Twice(f"holds {shown(name)} twice in one object; keep one of them")
        found[name] = value
    return found


def _meant(text: str) -> Iterator[tuple[str, list[object]]]:
    """Give what an array was before its quotes were changed, with what was done to them."""
    reason = ""
    for said, changed in _undone(text):
        reason = reason or said
        with suppress(_Twice):
            parsed = _parsed(changed)
            if isinstance(parsed, list):
                yield reason, parsed
                return


def _undone(text: str) -> Iterator[tuple[str, str]]:
    """Undo one habit after the other that makes JSON no JSON; give each text that is changed by it."""
    steps = (
        (
            "is written as in a URL",
            lambda found: unquote_plus(found) if found[:3].upper() == "%5B" else found,
        ),
        ("has its quotes written as in HTML", html.unescape),
        ("has back-quotes where JSON has double quotes", lambda found: found.replace("`", '"')),
        ("has more than the array in it", lambda found: found.rstrip(";, \t\r\n")),
        ("has typographic quotes", lambda found: found.translate(_TYPOGRAPHIC)),
        ("has its quotes escaped once too often", lambda found: re.sub(r"\\+([\"'])", r"\1", found)),
        ("stands in quotes of its own", lambda found: re.sub(r"^([\"'])(\[.*\])\1$", r"\2", found)),
        (
            "has single quotes where JSON has double ones",
            lambda found: found if '"' in found else found.replace("'", '"'),
        ),
        ("lacks a comma between its texts", lambda found: re.sub(r'"\s+"', '","', found)),
        ("has a comma before its end", lambda found: re.sub(r",\s*\]$", "]", found)),
    )
    for said, undo in steps:
        changed = undo(text)
        if changed != text:
            yield said, changed
        text = changed


def _compact(values: object) -> str:
    return json.dumps(values, ensure_ascii=False, separators=(",", ":"))
