"""Keeps secrets out of everything that is shown: logs, errors, reports, state, telemetry, the page.

Whoever learns a secret (settings, the environment, the login) registers it here; whoever shows a
text passes it through `redact`, before the text becomes part of JSON or of HTML. The registry is
process-wide because a secret must not be shown by code that never knew it was one.

A secret is looked for in a text as it is, and in what the text says once its escapes are undone
(`app/base/escapes.py`): so each way of writing each character is known, mixed and twice over, and no
list of forms can lack one. Only base64 and hexadecimal digits hide characters from that; base64 is looked for
by what it makes of a secret at each of the three places that it may begin at within a longer text,
`user:password` among them.

Time is linear in the text for each form of a secret, whatever the text holds.
"""

from __future__ import annotations

import base64
import re
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import cache, partial
from typing import Any

from app.base.escapes import Place, places_in, readings, unescape
from app.base.secret_shapes import MASK, names_a_secret, shapes_in

# Shorter texts are too common to be masked without garbling every message.
_SHORTEST_SECRET = 4
# A word or number that may stand in any text. Field names are such words; the longest of ours has 24
# characters.
_EVERYDAY = re.compile(r"(?=.{0,24}\Z)(?:[A-Za-z]+(?:_[A-Za-z]+)*|[0-9]+)")
_WITHIN_WORDS = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-")
_BASE64 = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789+/-_=")
_URL_SAFE = str.maketrans("+/", "-_")
# Base64 of more than a request line or a header has room for is not met, and would fill memory.
_LONGEST_IN_BASE64 = 8 * 1024
# Of a place whose secret is renewed: what came before may still be spoken of by what is under way.
_KEPT_OF_A_PLACE = 4


@dataclass(frozen=True, slots=True)
class _Forms:
    """What is looked for: texts wherever they stand, words where they stand alone, parts of encoded text."""

    texts: tuple[str, ...] = ()
    words: tuple[str, ...] = ()
    encoded: tuple[str, ...] = ()


class _Registry:
    """The secrets of a process, by place; `known` is what is looked for. Thread-safe."""

    def __init__(self) -> None:
        self.known = _Forms()
        self._lock = threading.Lock()
        # Those that stay stand under None.
        self._by_place: dict[str | None, dict[str, _Forms]] = {}

    def add(self, secret: str, place: str | None) -> None:
        with self._lock:
            of_place = self._by_place.setdefault(place, {})
            forms = of_place.pop(secret, None)
            # Put last again: the newest is the one that was seen last.
            of_place[secret] = forms or _forms_of(secret)
            if place is not None and len(of_place) > _KEPT_OF_A_PLACE:
                del of_place[next(iter(of_place))]
            if forms is None:
                self.known = _all_of(one for some in self._by_place.values() for one in some.values())


_registry = _Registry()


def register_secret(secret: str | None, *, place: str | None = None) -> None:
    """Mask `secret` from now on, in every form.

    It stays for good, unless `place` says what it is the present value of (a session's token): of a place
    the newest few are kept, so that a process that runs for months does not gather them.
    """
    if secret and len(secret) >= _SHORTEST_SECRET:
        _registry.add(secret, place)


def redact(text: str) -> str:
    """Give `text` with every registered secret, and everything shaped like one, masked."""
    return _masked(text, _registry.known)


def redact_json(value: Any) -> Any:
    """Redact every text of a value that is to become JSON; what it becomes stays JSON.

    A text under a name that says it is a secret is masked whole where no secret is known in it. Names are
    redacted too, but for everyday words: a password may be one, and a field's name tells nothing of it.
    """
    # Names, and most texts, come again and again.
    return _redacted(value, cache(redact), cache(_redact_name))


def _redacted(value: Any, mask: Callable[[str], str], mask_name: Callable[[str], str]) -> Any:
    if isinstance(value, str):
        return mask(value)
    if isinstance(value, Mapping):
        return {
            mask_name(name): _redacted_under(name, member, mask)
            if isinstance(member, str)
            else _redacted(member, _mask_under(name, member, mask), mask_name)
            for name, member in value.items()
        }
    if isinstance(value, list | tuple):
        return [_redacted(member, mask, mask_name) for member in value]
    return value


def _redacted_under(name: str, text: str, mask: Callable[[str], str]) -> str:
    masked = mask(text)
    return MASK if text and masked == text and names_a_secret(name) else masked


def _mask_under(name: str, member: Any, mask: Callable[[str], str]) -> Callable[[str], str]:
    """Give what masks the texts of what stands under `name`: those of a list as if each stood there."""
    if isinstance(member, list | tuple) and names_a_secret(name):
        return partial(_redacted_under, name, mask=mask)
    return mask


def _redact_name(name: str) -> str:
    return _masked(name, replace(_registry.known, words=()))


# --- masking ----------------------------------------------------------------------------------------


def _masked(text: str, forms: _Forms) -> str:
    spans = list(_found(text, forms))
    for said in readings(text):
        if meant := list(_found(said, forms)):
            places = places_in(text, said)
            spans += [(places[start][0], places[end - 1][1]) for start, end in meant]
    parts: list[str] = []
    done = 0
    for start, end in _together(spans):
        parts += (text[done:start], MASK)
        done = end
    return "".join([*parts, text[done:]])


def _together(spans: Iterable[Place]) -> Iterator[Place]:
    """Give spans in order, those that overlap or touch as one."""
    begun: Place | None = None
    for start, end in sorted(spans):
        if begun is None:
            begun = start, end
        elif start <= begun[1]:
            begun = begun[0], max(begun[1], end)
        else:
            yield begun
            begun = start, end
    if begun is not None:
        yield begun


def _found(text: str, forms: _Forms) -> Iterator[Place]:
    for form in forms.texts:
        yield from _each(form, text)
    for form in forms.words:
        for start, end in _each(form, text):
            if not (text[start - 1 : start] in _WITHIN_WORDS or text[end : end + 1] in _WITHIN_WORDS):
                yield start, end
    for form in forms.encoded:
        yield from _whole_runs(form, text)
    yield from shapes_in(text)


def _each(form: str, text: str) -> Iterator[Place]:
    start = text.find(form)
    while start >= 0:
        yield start, start + len(form)
        start = text.find(form, start + len(form))


def _whole_runs(form: str, text: str) -> Iterator[Place]:
    """Find base64: what stands beside the part of a secret holds bits of its first and last characters."""
    start, done = text.find(form), 0
    while start >= 0:
        end = start + len(form)
        while start > done and text[start - 1] in _BASE64:
            start -= 1
        while text[end : end + 1] in _BASE64:
            end += 1
        yield start, end
        start, done = text.find(form, end), end


# --- what is looked for -----------------------------------------------------------------------------


def _forms_of(secret: str) -> _Forms:
    if _EVERYDAY.fullmatch(secret):
        return _Forms(words=(secret,), encoded=_in_letters_and_digits(secret))
    # Forms write a space as a plus; errors of SDKs are put on one line.
    written = {secret, secret.replace(" ", "+"), " ".join(secret.split())}
    if not secret.isascii():
        written |= {"".join(map(_halves, secret)), *_misread(secret)}
    texts = written | {unescape(text) for text in written}
    return _Forms(texts=_long_enough(texts), encoded=_in_letters_and_digits(secret))


def _misread(secret: str) -> Iterator[str]:
    """Give how it looks where its UTF-8 is read as Latin-1, as HTTP has headers, and the other way round."""
    yield secret.encode("utf-8", "surrogatepass").decode("latin-1")
    with suppress(UnicodeEncodeError):
        yield secret.encode("latin-1").decode("utf-8", "replace")


def _halves(character: str) -> str:
    """Give a character as UTF-16 has it: JSON escapes one beyond the 65,536 first in two halves."""
    code = ord(character) - 0x10000
    return character if code < 0 else chr(0xD800 + (code >> 10)) + chr(0xDC00 + (code & 0x3FF))


def _in_letters_and_digits(secret: str) -> tuple[str, ...]:
    """Give what base64 makes of a secret within a longer text, wherever it begins there, and its digits."""
    if len(secret) > _LONGEST_IN_BASE64:
        return ()
    raws = {secret.encode("utf-8", "surrogatepass")}
    # Some clients write HTTP Basic in it.
    with suppress(UnicodeEncodeError):
        raws.add(secret.encode("latin-1"))
    found: set[str] = set()
    for raw in raws:
        found |= {raw.hex(), raw.hex().upper()}
        for before in range(3):
            whole = base64.b64encode(b"\0" * before + raw).decode()
            # The first characters hold bits of what stands before, the last of what follows.
            part = whole[-(-before * 8 // 6) : (before + len(raw)) * 8 // 6]
            found |= {part, part.translate(_URL_SAFE)}
    return _long_enough(found)


def _long_enough(texts: Iterable[str]) -> tuple[str, ...]:
    return tuple(text for text in texts if len(text) >= _SHORTEST_SECRET)


def _all_of(known: Iterable[_Forms]) -> _Forms:
    def gathered(some: Iterable[tuple[str, ...]]) -> tuple[str, ...]:
        return tuple(dict.fromkeys(text for texts in some for text in texts))

    forms = list(known)
    return _Forms(
        gathered(one.texts for one in forms),
        gathered(one.words for one in forms),
        gathered(one.encoded for one in forms),
    )
