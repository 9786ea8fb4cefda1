"""What a text says once the escapes in it are undone: percent, HTML, JSON and what Python's repr writes.

To look for something in it, not to show it. Characters beyond ASCII become the bytes of their UTF-8, a
character each, since percent-encoding knows only bytes. Escapes of escapes are undone with them, and the
backslash itself is left out, so that one reading fits texts that were escaped once, twice, or in parts.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

# Of a percent sign that is escaped itself comes %25 with what it begins: %252b.
_SIGN = "%(?:25)*"


def _sequence(sign: str) -> str:
    """Give what finds the bytes of UTF-8 that make one character beyond ASCII, each after `sign`."""
    follows = f"{sign}[89abAB][0-9a-fA-F]"
    return (
        f"{sign}[cdCD][0-9a-fA-F]{follows}|{sign}[eE][0-9a-fA-F](?:{follows}){{2}}"
        f"|{sign}[fF][0-7](?:{follows}){{3}}"
    )


# %2B, %C3%A4; %u00e4 is how JavaScript's escape() writes what is no byte.
_PERCENT = (
    f"(?P<percents>{_sequence(_SIGN)})|{_SIGN}(?:(?P<byte>[0-9a-fA-F]{{2}})|u(?P<unit>[0-9a-fA-F]{{4}}))"
)
# &amp; also as &amp;amp;; browsers take the four of HTML 2 without the semicolon.
_ENTITY = (
    r"&(?:(?:amp|#0*38|#[xX]0*26);)*"
    r"(?P<entity>#[0-9]+;?|#[xX][0-9a-fA-F]+;?|[A-Za-z][A-Za-z0-9]{1,31};|amp|lt|gt|quot)"
)
# \u00e4, \/ and \" of JSON; \xe4, \xc3\xa4 and \U0001f600 of Python; \u{e4} of JavaScript; \303\244 of C
# and shells. Of other escapes what is escaped stays.
_BACKSLASH = (
    "(?P<hexes>" + _sequence(r"\\+x") + r")"
    r"|\\+(?:u(?P<half>[0-9a-fA-F]{4})|x(?P<hex>[0-9a-fA-F]{2})|U(?P<long>[0-9a-fA-F]{8})"
    r"|u\{(?P<point>[0-9a-fA-F]{1,6})\}|(?P<octal>[0-3][0-7]{2})|(?P<control>[nrtbf]))?"
)
_ESCAPE = re.compile(f"{_PERCENT}|{_ENTITY}|{_BACKSLASH}")
# The last two of each: what stands before them escapes the percent sign itself.
_TWO_DIGITS = re.compile(r"[0-9a-fA-F]{2}(?![0-9a-fA-F])")
# Where something begins in a text, and where it ends.
Place = tuple[int, int]
_CONTROLS = {"n": "\n", "r": "\r", "t": "\t", "b": "\b", "f": "\f"}
# Kinds of escapes within one another; nobody means more by them.
_DEEPEST = 6


def readings(text: str) -> Iterator[str]:
    """Give what `text` says in bytes, one a character: its escapes undone, then those in that, and so on.

    Nothing where that is `text` itself. Each depth is a reading of its own: of `%%41B` one depth makes `%AB`,
    which is a percent sign and two letters as much as it is an escape.
    """
    if text.isascii() and not ("%" in text or "&" in text or "\\" in text):
        return
    said = _as_bytes(text)
    if said != text:
        yield said
    for _ in range(_DEEPEST):
        before, said = said, _ESCAPE.sub(_meant, said)
        if said == before:
            break
        yield said


def unescape(text: str) -> str:
    """Give the last of its readings; `text` itself where nothing in it is escaped."""
    said = text
    for reading in readings(text):
        said = reading
    return said


def places_in(text: str, reading: str) -> Sequence[Place]:
    """Give where in `text` each character of one of its readings is written."""
    said = _as_bytes(text)
    places = [(at, at + 1) for at, one in enumerate(text) for _ in _as_bytes(one)]
    while said != reading:
        said, places = _undone(said, places)
    return places


def _undone(text: str, places: Sequence[Place]) -> tuple[str, list[Place]]:
    parts: list[str] = []
    found: list[Place] = []
    done = 0
    for escape in _ESCAPE.finditer(text):
        start, end, meant = escape.start(), escape.end(), _meant(escape)
        parts += (text[done:start], meant)
        found += places[done:start]
        found += [(places[start][0], places[end - 1][1])] * len(meant)
        done = end
    return "".join([*parts, text[done:]]), [*found, *places[done:]]


def _as_bytes(text: str) -> str:
    return text.encode("utf-8", "surrogatepass").decode("latin-1")


def _meant(escape: re.Match[str]) -> str:
    kind = escape.lastgroup
    if kind is None:
        return ""
    written = escape[kind]
    if kind == "entity":
        return _as_bytes(_entity(written))
    if kind == "control":
        return _CONTROLS[written]
    if kind in ("percents", "hexes"):
        return "".join(chr(int(byte, 16)) for byte in _TWO_DIGITS.findall(written))
    if kind == "octal":
        return chr(int(written, 8))
    # A byte that stands alone is a character of Latin-1.
    code = int(written, 16)
    return _as_bytes(chr(code)) if code <= 0x10FFFF else ""


def _entity(written: str) -> str:
    import html

    if not written.startswith("#"):
        return html.unescape(f"&{written}")
    digits = written.strip("#;").lstrip("xX0")
    # No character has a longer number, and to read a long one takes long.
    if len(digits) > 7:
        return ""
    return html.unescape(f"&#{'x' if written[1] in 'xX' else ''}{digits or '0'};")
