"""How what is written in settings is read, and what it must be: the marks on the types in schema.py.

A rule's message says what is wrong with the value and what to write; the caller adds where it
stands. Values of secrets are never in a message.
"""

from __future__ import annotations

import json
import math
import re
import ssl
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from app.base.files import is_file
from app.base.instants import format_time, parse_time, read_duration, utc_now
from app.base.text import shown
from app.base.view_text import unfit_for_view
from app.base.wire_forms import OUR_PROPERTIES, PropertyValue
from app.settings.connection_strings import authority, is_host, is_loopback
from app.settings.json_texts import json_array
from app.settings.ncrontab import schedule_problem

_WRITE_AUTHORITIES = "write the path of a file of certificates, or remove it"
_LONGEST_START = timedelta(days=3650)
# What YAML 1.1 takes for true and for false, and digits.
_TRUE, _FALSE = ("true", "yes", "on", "t", "y", "1"), ("false", "no", "off", "f", "n", "0")
TRUTH_WORDS = (*_TRUE, *_FALSE)
# Room for them in each message, beside the body.
MOST_PROPERTIES, LONGEST_PROPERTY = 20, 1_024
_LONGEST_NAME = 128
# What the query says by itself.
_OWN_PARAMETERS = {"id", "recType", "dataContext", "loc1", "from", "to", "page", "perPage"}


# --- marks ------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Reads:
    """How the value is made of what is written. `read` raises ValueError."""

    read: Callable[[Any], object]


@dataclass(frozen=True, slots=True)
class Checks:
    """What a value must be beside those above it in its section. `check` raises ValueError.

    `advice` is what to write where the key is missing, if it may not be.
    """

    check: Callable[[Any, Mapping[str, Any]], object]
    advice: str = ""


def needed(advice: str) -> Checks:
    """Say that there must be a value, and what to write."""

    def check(value: object, _: Mapping[str, Any]) -> None:
        if not value:
            raise ValueError(f"not set; {advice}")

    return Checks(check, advice)


# For a field that is not written but set when the sections are put together.
UNWRITTEN = object()


def between(least: str, most: str) -> Reads:
    return Reads(partial(duration, least=least, most=most))


def whole(least: int, most: int) -> Reads:
    return Reads(partial(whole_number, least=least, most=most))


def texts(kind: str, *, one: bool) -> Reads:
    """Read a list of texts, from YAML or as a JSON array; with `one` a bare text is a list of itself."""
    return Reads(partial(text_list, kind=kind, one=one))


# --- how values are read ----------------------------------------------------------------------------


def plain_text(value: object) -> str:
    """Give a text that is used as it is. Raises ValueError for what strays into one; shows nothing."""
    text = _text(value)
    if text.startswith("\ufeff"):
        raise ValueError("begins with a byte order mark; save it as UTF-8 without one")
    if text != text.rstrip("\r\n"):
        raise ValueError("ends with a newline; remove it")
    if text != text.strip():
        raise ValueError("begins or ends with a space; remove it")
    if not text.isprintable():
        raise ValueError("holds a line break or another control character; remove it")
    return text


def _text(value: object) -> str:
    if isinstance(value, date):
        return value.isoformat()
    if not isinstance(value, str):
        raise ValueError(f"is {kind_of(value)} and no text; put it in quotes")
    return value


def kind_of(value: object) -> str:
    if isinstance(value, bool) or value is None:
        return json.dumps(value)
    if isinstance(value, int | float):
        return "a number"
    return "a list" if isinstance(value, list) else "a mapping"


def truth(value: object) -> bool | None:
    """Read what stands for true or false, letter case ignored; None where it is neither."""
    if isinstance(value, str):
        value = value.lower()
    return True if value in (*_TRUE, 1) else False if value in (*_FALSE, 0) else None


def _trimmed(value: object) -> str:
    return _text(value).lstrip("\ufeff").strip()


def lower(value: object) -> str:
    return _trimmed(value).lower()


def upper(value: object) -> str:
    return _trimmed(value).upper()


def word(value: object) -> str:
    text = plain_text(value)
    if re.search(r"[\s/,\"'\[\]{}]", text):
        raise ValueError(
            f"{shown(text)} is not an id; write one word without spaces, commas, slashes or brackets"
        )
    return text


def duration(value: object, *, least: str, most: str) -> timedelta:
    found = read_duration(str(value) if isinstance(value, int) else _trimmed(value))
    if not read_duration(least) <= found <= read_duration(most):
        raise ValueError(f"{shown(value)} is out of range; write {least} to {most}")
    return found


def whole_number(value: object, *, least: int, most: int) -> int:
    written = value.strip() if isinstance(value, str) else value
    if isinstance(written, str) and re.fullmatch(r"-?[0-9]{1,18}", written):
        written = int(written)
    if not isinstance(written, int) or isinstance(written, bool):
        raise ValueError(f"{shown(value)} is not a whole number; write {least} to {most}")
    if not least <= written <= most:
        raise ValueError(f"{shown(value)} is out of range; write {least} to {most}")
    return written


def text_list(value: object, *, kind: str, one: bool) -> tuple[str, ...]:
    if isinstance(value, list | tuple):
        entries = list(value)
    else:
        text = _trimmed(value)
        # With a backslash before the bracket it is a list whose quotes were escaped.
        bare = one and not text.lstrip("\\\"'").startswith(("[", "{", "%5B", "%5b")) and "," not in text
        entries = ([text] if text else []) if bare else json_array(text or "[]")
    for at, entry in enumerate(entries):
        if not isinstance(entry, str) or not entry.strip() or not entry.isprintable():
            raise ValueError(f"entry {at} is {shown(entry)}; write {kind}, a text that is not empty")
        # Tags and locations go into a view as text; elsewhere a quote is what a shell or a template left.
        if flaw := unfit_for_view(entry):
            raise ValueError(f"entry {at} is {shown(entry)}, which {flaw}; write {kind} without it")
    return tuple(dict.fromkeys(entry.strip() for entry in entries))


def base_url(value: object) -> str:
    """Give a base URL without a trailing slash. What could be a secret in it is not shown."""
    text = plain_text(value)
    try:
        url = urlsplit(text)
        host, port = url.hostname or "", url.port
    except ValueError:
        raise ValueError("is not a URL; write it like https://api.example.com") from None
    if "@" in url.netloc:
        raise ValueError("holds a user or password before the host; remove it")
    if "?" in text or "#" in text:
        raise ValueError(f"holds more than {url.scheme}://{url.netloc}{url.path}; remove what follows ? or #")
    if url.scheme not in ("https", "http") or not is_host(host) or " " in text:
        raise ValueError(f"{shown(text)} is not a URL; write it like https://api.example.com")
    if url.scheme == "http" and not is_loopback(host):
        raise ValueError(f"{shown(text)} is not encrypted; write https://")
    return f"{url.scheme}://{authority(host, port)}{url.path.rstrip('/')}"


def secret_url(value: object) -> str:
    """Give a URL as `base_url` does, or nothing; nothing of it is in a message."""
    try:
        return base_url(value) if value else ""
    except ValueError:
        raise ValueError(
            "is not a URL as https://hc.example.com/ID is, unless its host is loopback: no user, ? or # in it"
        ) from None


def url_or_nothing(value: object) -> str:
    return base_url(value) if value else ""


def account_name(value: object) -> str:
    text = plain_text(value)
    if not re.fullmatch("([a-z0-9]{3,24})?", text):
        raise ValueError(
            f"{shown(text)} is not the name of a storage account; write its 3 to 24 small letters and digits"
        )
    return text


def authorities(value: object) -> str | None:
    """Give the path of a file of certificates in PEM form that TLS can load; None for an empty text."""
    text = plain_text(value)
    if text and not is_file(Path(text)):
        raise ValueError(f"{shown(text)} is not a file; {_WRITE_AUTHORITIES}")
    try:
        if text:
            ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(text)
    except OSError as error:
        reason = getattr(error, "reason", None) or error.strerror or type(error).__name__
        raise ValueError(
            f"{shown(text)} holds no certificates that can be read ({reason}); {_WRITE_AUTHORITIES}"
        ) from None
    return text or None


def schedule(value: object) -> str:
    text = " ".join(_trimmed(value).split())
    if problem := schedule_problem(text):
        raise ValueError(problem)
    return text


def start(value: object) -> timedelta | datetime:
    text = _trimmed(value)
    if re.match(r"[0-9]+([smhd]|$)", text):
        return duration(text, least="0s", most="3650d")
    try:
        instant = parse_time(text)
    except (ValueError, OverflowError):
        raise ValueError(
            f"{shown(text)} is not a time; write 24h, or a time like 2026-03-01T00:00:00Z"
        ) from None
    if instant > utc_now():
        raise ValueError(f"{format_time(instant)} is in the future; write a time that is past, or 0s for now")
    if instant < utc_now() - _LONGEST_START:
        raise ValueError(f"{format_time(instant)} is more than 3650 days ago; write a later one")
    return instant


def names(value: object) -> dict[str, str]:
    if not isinstance(value, dict):
        raise ValueError(f"is {kind_of(value)}; write name: other name")
    for name, other in value.items():
        if not isinstance(other, str) or not other.strip():
            raise ValueError(f"{shown(name)} has the value {shown(other)}; write a text that is not empty")
    return value


def names_in_view(value: object) -> dict[str, str]:
    """Give names that go into a view's query as text."""
    for name, other in (found := names(value)).items():
        if flaw := unfit_for_view(other):
            raise ValueError(f"{shown(name)} has the value {shown(other)}, which {flaw}; write it without")
    return found


def mapping(value: object) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise ValueError("is not a mapping; write `key: value` lines under it")
    return value


def static_properties(value: object) -> dict[str, PropertyValue]:
    """Give properties that every event gets. Their values are not shown."""
    found = mapping(value)
    if len(found) > MOST_PROPERTIES:
        raise ValueError(f"has {len(found)} properties; write at most {MOST_PROPERTIES}")
    for name, content in found.items():
        if name in OUR_PROPERTIES:
            raise ValueError(f"{name} is written by the forwarder itself; remove it")
        if not name.isprintable() or not 0 < len(name) <= _LONGEST_NAME:
            raise ValueError(f"{shown(name)} is not a name; write 1 to {_LONGEST_NAME} printable characters")
        if not _is_property(content):
            raise ValueError(
                f"the value of {shown(name)} cannot be sent; write a text of at most "
                f"{LONGEST_PROPERTY:,} printable characters, a whole number of 32 bits, "
                "a decimal number, true or false"
            )
    return found


def _is_property(value: object) -> bool:
    if isinstance(value, str):
        return value.isprintable() and len(value) <= LONGEST_PROPERTY
    # The SDK sends no whole number that is longer.
    if isinstance(value, int):
        return -(2**31) <= value < 2**31
    return isinstance(value, float) and math.isfinite(value)


# --- what one value must be beside another ----------------------------------------------------------


def key_for_oauth2(api_key: str, above: Mapping[str, Any]) -> None:
    if not api_key and above.get("auth") == "oauth2":
        raise ValueError("not set, and MICROSHARE_AUTH is oauth2; write the API key, or web there")


def whole_segments(identity: tuple[str, ...], _: Mapping[str, Any]) -> None:
    for organisation in identity:
        name = organisation.removeprefix("=")
        if not name or name.strip(". ") != name or "*" in name or "=" in name:
            raise ValueError(
                f"{shown(organisation)} is not an organisation; write it whole, or its last segments: NORTH, "
                "or with = before it to mean exactly that one: =com.example.NORTH"
            )


def context_of_a_feed_that_is_on(context: tuple[str, ...], above: Mapping[str, Any]) -> None:
    if not context and above.get("view_id"):
        raise ValueError("not set; write the tags the view asks for as a JSON array, like '[\"room\"]'")


def further_parameters_only(parameters: Mapping[str, str], _: Mapping[str, Any]) -> None:
    for name in _OWN_PARAMETERS.intersection(parameters):
        raise ValueError(f"{name} is written by the forwarder itself; remove it")


def somewhere_to_ask(clusters: tuple[str, ...], above: Mapping[str, Any]) -> None:
    if not clusters and above.get("view_id") and above.get("locations") == ():
        raise ValueError(
            "not set, and no MICROSHARE_LOCATIONS; write the device cluster's id, or a JSON array of ids"
        )
