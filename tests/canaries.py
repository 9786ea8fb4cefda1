"""Secrets that are planted in every case, and every form in which they must not be seen again."""

from __future__ import annotations

import base64
import html
import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from urllib.parse import quote, quote_plus

from app.base import redaction

PASSWORD = "[canary{pass}#word$&%+/="
HUB_KEY = base64.b64encode(b"canary-hub-key-that-opens-nothing").decode()
API_KEY = "CANARY00-0000-0000-0000-00000000CAFE"
# What only the platform's own clusters and cookies hold.
_MARKS = ("readAuth", "writeAuth", "AppKey", "PLAY_SESSION=ey")


@contextmanager
def registry_of(secrets: Iterable[str]) -> Iterator[None]:
    """Let only these secrets be known as such, and forget afterwards what came to be."""
    kept, redaction._registry = redaction._registry, redaction._Registry()
    for secret in secrets:
        redaction.register_secret(secret)
    try:
        yield
    finally:
        redaction._registry = kept


def percent(secret: str) -> str:
    """Write every byte as one does that must not be mistaken: `%5b`."""
    return "".join(f"%{byte:02x}" for byte in secret.encode())


def _entities(written: str) -> Callable[[str], str]:
    return lambda secret: "".join(written.format(ord(character)) for character in secret)


def _units(written: str) -> Callable[[str], str]:
    def write(secret: str) -> str:
        raw = secret.encode("utf-16-be")
        units = (int.from_bytes(raw[at : at + 2]) for at in range(0, len(raw), 2))
        return "".join(written.format(unit) for unit in units)

    return write


def _in_base64(secret: str) -> str:
    return base64.b64encode(secret.encode()).decode()


def _mixed_case(secret: str) -> str:
    pieces = quote(secret, safe="").split("%")
    return "%".join(piece[:2].lower() + piece[2:] if at % 2 else piece for at, piece in enumerate(pieces))


# How servers, proxies, logs and SDKs write what they were sent.
FORMS: Mapping[str, Callable[[str], str]] = {
    "plain": str,
    "in HTML": html.escape,
    "in HTML, by number": _entities("&#{};"),
    "in HTML, by number with zeros": _entities("&#{:07d};"),
    "in HTML, by hexadecimal number": _entities("&#x{:x};"),
    "in HTML, by capital hexadecimal number": _entities("&#X{:X};"),
    "in HTML, twice": lambda secret: html.escape(html.escape(secret)),
    "percent-encoded": lambda secret: quote(secret, safe=""),
    "percent-encoded in part": lambda secret: quote(secret),
    "percent-encoded in small letters": percent,
    "percent-encoded in letters of both kinds": _mixed_case,
    "percent-encoded twice": lambda secret: quote(quote(secret, safe=""), safe=""),
    "percent-encoded in HTML": lambda secret: html.escape(quote(secret)),
    "in HTML, percent-encoded": lambda secret: quote(html.escape(secret), safe=""),
    "form-encoded": quote_plus,
    "in JSON": lambda secret: json.dumps(secret)[1:-1],
    "in JSON, slashes escaped": lambda secret: json.dumps(secret)[1:-1].replace("/", "\\/"),
    "in JSON, each character escaped": _units("\\u{:04x}"),
    "in JSON, each character escaped in capitals": _units("\\u{:04X}"),
    "in JSON within JSON": lambda secret: json.dumps(json.dumps(secret))[3:-3],
    "in HTML within JSON": lambda secret: json.dumps(html.escape(secret))[1:-1],
    "in JavaScript, each character escaped": _entities("\\u{{{:x}}}"),
    "in C, each byte escaped": lambda secret: "".join(f"\\{byte:03o}" for byte in secret.encode()),
    "in hexadecimal": lambda secret: secret.encode().hex(),
    "in capital hexadecimal": lambda secret: secret.encode().hex().upper(),
    "as Python shows it": lambda secret: repr(secret)[1:-1],
    "in base64": _in_base64,
    "in base64 without padding": lambda secret: _in_base64(secret).rstrip("="),
    "in base64 for URLs": lambda secret: base64.urlsafe_b64encode(secret.encode()).decode(),
    "as HTTP Basic": lambda secret: _in_base64(f"svc-forwarder:{secret}"),
    "as HTTP Basic, after a longer name": lambda secret: _in_base64(f"svc-forwarder1:{secret}"),
    "as HTTP Basic, after a name longer still": lambda secret: _in_base64(f"svc-forwarder12:{secret}"),
    "as HTTP Basic in JSON": lambda secret: _in_base64(f"svc:{secret}").replace("/", "\\/"),
    "as HTTP Basic, percent-encoded": lambda secret: quote(_in_base64(f"svc:{secret}"), safe=""),
}


def forms(secret: str) -> set[str]:
    """Give every way in which a secret may be written."""
    return {write(secret) for write in FORMS.values()}


def shown_in(text: str, secrets: Iterable[str]) -> list[str]:
    """Give the forms of secrets, and marks of what is secret, that `text` shows."""
    found = [form for secret in secrets for form in forms(secret) if form in text]
    return found + [mark for mark in _MARKS if mark in text]
