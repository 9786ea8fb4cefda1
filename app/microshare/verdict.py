"""What an answer of the API means: its status and body turned into an error, or into JSON."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from app.base import exact_json
from app.base.errors import BadResponse, NoPermission, SourceError, SourceRefused, WindowTooWide
from app.base.readings import JsonObject
from app.base.redaction import redact
from app.base.text import counted, printable
from app.microshare.retries import PassingTrouble, asked_pause

if TYPE_CHECKING:
    from app.microshare.http import HttpAnswer

_QUOTED_CHARACTERS = 500
# An error page is searched and quoted from its beginning only.
_SEARCHED_BYTES = 64 * 1024
_TITLE = re.compile(r"(?i)<title[^<>]*>([^<>]*)")
_QUOTED_OF_A_TITLE = 80
_PAGE = re.compile(r"(?i)<(?:!doctype|html|head|body|title|form|script)\b")
# A text that could be a title: "503 Service Unavailable", "Too Many Requests". It holds nothing but words,
# and none as long as a key.
_PLAIN_WORDS = re.compile(r"(?:[1-5][0-9]{2} )?[A-Za-z']{1,20}(?:[ ,.-]{1,2}[A-Za-z']{1,20}){0,9}[.!]?")
# What of an error that is no JSON is quoted: the rest of the line.
_QUOTED_OF_A_LINE = 200
# Views nest some ten levels deep; what goes much further would only exhaust who walks it.
_DEEPEST = 64
# The view's own fault, though it is answered with 503: the words are those of MVEL, which fills
# the template, and of MongoDB, which runs the result.
_TEMPLATE_FAULT = re.compile(
    r"unresolvable property or identifier|\[Error:|\[Near\b|org\.mvel2|needs an array|has to be a string"
    r"|must be an array|unknown operator|unknown top level operator|Unrecognized pipeline stage"
    r"|FailedToParse|BadValue|JsonParseException|JSONParseException"
)
# How the API itself begins what it says in plain text, beside that: 404 and 403 were seen.
_OWN_WORDS = re.compile(
    rf"io\.microshare\.[\w.]*Exception|Access to this path is denied|{_TEMPLATE_FAULT.pattern}"
)


@dataclass(frozen=True, slots=True)
class Question:
    """One GET. `name` is what messages call it, `id` what 404 is about, `parameters` what was sent.

    `asks` is the same for the log, by field. `wide` is whether a shorter window could be asked where this
    one takes too long, `divisible` whether one could where this one has too much in it.
    """

    name: str
    id: str
    url: str
    parameters: str = ""
    wide: bool = False
    divisible: bool = False
    asks: Mapping[str, str] = field(default_factory=dict)


def check_status(question: Question, answer: HttpAnswer, now: datetime) -> None:
    """Raise what a status other than success means for the caller; 401 is the caller's own matter.

    Raises PassingTrouble, WindowTooWide, NoPermission or SourceRefused.
    """
    status = answer.status
    if 200 <= status < 300:
        return
    where, said = f"microshare: {question.name}", f"{status}, {quote_body(answer.body)}"
    if status == 429:
        raise PassingTrouble(f"{question.name}: {said}", busy=True, pause=asked_pause(answer.headers, now))
    if status >= 500 and _TEMPLATE_FAULT.search(searchable(answer.body)):
        raise SourceRefused(
            f"{where}: the view refuses its parameters ({said}); compare them with the view's "
            f"placeholders, the one it names is not always the faulty one; sent {question.parameters}"
        )
    if status == 504 and question.wide:
        raise WindowTooWide(f"{where}: {said}; ask for a shorter window")
    if status >= 500 or status == 408:
        raise PassingTrouble(f"{question.name}: {said}")
    raise _refusal(question, answer, where, said)


def _refusal(question: Question, answer: HttpAnswer, where: str, said: str) -> SourceError:
    if 300 <= answer.status < 400:
        return SourceRefused(
            f"{where}: redirect to {redirect_target(answer)} refused ({answer.status}); "
            f"check MICROSHARE_API_URL"
        )
    if answer.status == 403:
        return NoPermission(
            f"{where}: {said}, the account may not read this; have rights on {question.id} granted to it, "
            f"and check MICROSHARE_IDENTITY"
        )
    if answer.status == 404:
        return SourceRefused(
            f"{where}: {said}, {question.id} does not exist or is no longer visible to this account; "
            f"check the id, then the account's rights"
        )
    sent = f"; sent {question.parameters}" if question.parameters else ""
    return SourceRefused(f"{where}: {said}; check the settings it was made of{sent}")


def read_json(question: Question, answer: HttpAnswer, kept: Collection[str] | None = None) -> JsonObject:
    """Give the JSON object that a body holds, flaws in their places. Raises BadResponse for anything else.

    Of every object in it only the names in `kept` are kept, where these are given: memory does not grow
    with the rest.
    """
    where = f"microshare: {question.name}"
    if not answer.body.strip():
        raise BadResponse(f"{where}: an empty answer; if that lasts, ask Microshare about it")
    try:
        found = exact_json.loads_with_flaws(answer.body, deepest=_DEEPEST, kept=kept)
    except exact_json.NotJson as error:
        raise BadResponse(
            f"{where}: no readable JSON ({error}) but {quote_body(answer.body)}; "
            f"if that lasts, see what answers at this address"
        ) from None
    if not isinstance(found, Mapping):
        raise BadResponse(f"{where}: no JSON object but {quote_body(answer.body)}")
    return found


def is_json_typed(answer: HttpAnswer) -> bool:
    kind = answer.headers.get("Content-Type", "").partition(";")[0].strip().lower()
    return kind == "application/json" or kind.endswith("+json")


def redirect_target(answer: HttpAnswer) -> str:
    """Name the host of a redirect, without the rest, which could hold anything."""
    try:
        host = urlsplit(answer.headers.get("Location", "")).hostname
    except ValueError:
        host = None
    return printable(host) if host else "the same host"


def searchable(body: bytes) -> str:
    return body[:_SEARCHED_BYTES].decode("utf-8", "replace")


def quote_body(body: bytes) -> str:
    """Say of an error body, whatever its bytes, what is known of it: one line without secrets.

    JSON is quoted from its beginning, other text where it says what the API itself says, and a page, or a
    text that could be one, by its title. Of all else only the size is told: pages repeat what they were sent,
    and nobody knows all the forms in which they do.
    """
    text = redact(searchable(body)).strip()
    if not text:
        return "an empty body"
    # First of all: one may stand within JSON.
    if _PAGE.search(text):
        title = _TITLE.search(text)
        named = printable(" ".join(title[1].split()))[:_QUOTED_OF_A_TITLE] if title else ""
        return f'a page, "{named}"' if named else "a page"
    if _is_json(body):
        return f'"{printable(text)[:_QUOTED_CHARACTERS]}"'
    if _PLAIN_WORDS.fullmatch(text):
        return f'"{text}"'
    own = _OWN_WORDS.search(text)
    if own is not None:
        begins = text.rfind("\n", 0, own.start()) + 1
        return f'"{printable(text[begins : own.end() + _QUOTED_OF_A_LINE].strip())[:_QUOTED_CHARACTERS]}"'
    return f"{counted(len(body), 'byte')}, not JSON"


def _is_json(body: bytes) -> bool:
    if len(body) > _SEARCHED_BYTES:
        return False
    try:
        exact_json.loads(body)
    except exact_json.NotJson:
        return False
    return True
