"""What an answer of the API means: its status and body turned into an error, or into JSON."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import datetime
from urllib.parse import urlsplit

from app.base import exact_json
from app.base.errors import BadResponse, NoPermission, SourceError, SourceRefused, WindowTooWide
from app.base.readings import JsonObject
from app.base.redaction import redact
from app.base.text import printable
from app.microshare.http import HttpAnswer
from app.microshare.retries import PassingTrouble, asked_pause

_QUOTED_CHARACTERS = 500
# An error page is searched and quoted from its beginning only.
_SEARCHED_BYTES = 64 * 1024
# Views nest some ten levels deep; what goes much further would only exhaust who walks it.
_DEEPEST = 64
# The view's own fault, though it is answered with 503: the words are those of MVEL, which fills
# the template, and of MongoDB, which runs the result.
_TEMPLATE_FAULT = re.compile(
    r"unresolvable property or identifier|\[Error:|\[Near\b|org\.mvel2|needs an array|has to be a string"
    r"|must be an array|unknown operator|unknown top level operator|Unrecognized pipeline stage"
    r"|FailedToParse|BadValue|JsonParseException|JSONParseException"
)


@dataclass(frozen=True, slots=True)
class Question:
    """One GET. `name` is what messages call it, `id` what 404 is about, `parameters` what was sent.

    `wide` is whether a shorter window could be asked where this one takes too long, `divisible`
    whether one could where this one has too much in it.
    """

    name: str
    id: str
    url: str
    parameters: str = ""
    wide: bool = False
    divisible: bool = False


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
            f"{where}: the view refuses its parameters ({said}); sent {question.parameters}; compare "
            f"them with the view's placeholders, the one it names is not always the faulty one"
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
            f"{where}: {said}; the account may not read this: have rights on {question.id} granted to it, "
            f"and check MICROSHARE_IDENTITY"
        )
    if answer.status == 404:
        return SourceRefused(
            f"{where}: {said}; {question.id} does not exist or is no longer visible to this account: "
            f"check the id, then the account's rights"
        )
    sent = f"; sent {question.parameters}" if question.parameters else ""
    return SourceRefused(f"{where}: {said}{sent}; check the settings it was made of")


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
    """Give the beginning of an error body, whatever its bytes, as one line without secrets."""
    text = printable(redact(searchable(body)).strip())[:_QUOTED_CHARACTERS]
    return f'"{text}"' if text else "an empty body"
