"""What of the settings and of the environment is secret: registered before anything else is done with it.

Of the environment all is looked at, for the libraries read variables of their own: proxies, identities,
whatever a platform hands to its apps.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from urllib.parse import unquote

from app.base.redaction import register_secret
from app.base.secret_shapes import credentials_in_urls, names_a_secret
from app.settings.connection_strings import secrets_in
from app.settings.document import Document, Keys, is_secret, is_secret_url

# App Service hands a secret to its apps under a name that does not tell (managed identities).
_SECRET_VARIABLES = frozenset({"IDENTITY_HEADER"})
# The folders that a shell is and was in.
_NO_SECRETS = frozenset({"PWD", "OLDPWD"})
_FLAGS = frozenset({"true", "false", "none", "null"})
# A key that stands where a connection string should: base64 of 15 bytes or more.
_BARE_KEY = re.compile(r"[A-Za-z0-9+/]{20,}={0,2}")


def register_credentials(document: Document, environment: Mapping[str, str]) -> None:
    """Register every secret of the settings file and of the environment, `.env` included."""
    for keys, text in _texts(document.values, ()):
        if keys[0] == "microshare" and is_secret(keys):
            _register(text)
        if is_secret_url(keys):
            _register(text)
            # An error of a client may name the path alone.
            register_secret(text.partition("://")[2].partition("/")[2])
        # A JSON array holds its connection strings between quotes.
        for piece in (text, *text.split('"')):
            _register_connection(piece, may_be_bare=is_secret(keys))
    for name, value in environment.items():
        _register_variable(name, value)


def _register(text: str) -> None:
    """Register a secret, and what is left where what stands around it is taken off."""
    register_secret(text)
    register_secret(text.strip().strip("\ufeff\r\n\t "))


def _register_connection(text: str, *, may_be_bare: bool) -> None:
    found = secrets_in(text)
    if found or (may_be_bare and _BARE_KEY.fullmatch(text.strip())):
        _register(text)
    for secret in found:
        register_secret(secret)


def _register_variable(name: str, value: str) -> None:
    telling = name in _SECRET_VARIABLES or (name not in _NO_SECRETS and names_a_secret(name))
    if telling and value.lower() not in _FLAGS:
        _register(value)
    _register_connection(value, may_be_bare=False)
    spans = list(credentials_in_urls(value))
    if not spans and name.lower().endswith("_proxy") and "@" in value:
        # Without the scheme, which clients add themselves.
        spans = [(0, value.rfind("@"))]
    for start, end in spans:
        _register_user(value[start:end])


def _register_user(written: str) -> None:
    """Register what stands before the host of a URL: `user:password`, or a token alone."""
    user, colon, password = written.partition(":")
    for secret in (written, password if colon else user):
        register_secret(secret)
        register_secret(unquote(secret))


def _texts(values: object, keys: Keys) -> Iterator[tuple[Keys, str]]:
    if isinstance(values, str):
        yield keys, values
    elif isinstance(values, dict | list):
        members = values.items() if isinstance(values, dict) else enumerate(values)
        for key, value in members:
            yield from _texts(value, (*keys, key))
