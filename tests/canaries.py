"""Secrets that are planted in every case, and every form in which they must not be seen again."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterable
from urllib.parse import quote, quote_plus

PASSWORD = "[canary{pass}#word$&%+/="
HUB_KEY = base64.b64encode(b"canary-hub-key-that-opens-nothing").decode()
API_KEY = "CANARY00-0000-0000-0000-00000000CAFE"
# What only the platform's own clusters and cookies hold.
_MARKS = ("readAuth", "writeAuth", "AppKey", "PLAY_SESSION=ey")


def forms(secret: str) -> set[str]:
    encoded = base64.b64encode(secret.encode()).decode()
    quoted = {quote(secret, safe=""), quote_plus(secret)}
    return {secret, encoded, encoded.rstrip("="), json.dumps(secret)[1:-1], repr(secret)[1:-1], *quoted}


def shown_in(text: str, secrets: Iterable[str]) -> list[str]:
    """Give the forms of secrets, and marks of what is secret, that `text` shows."""
    found = [form for secret in secrets for form in forms(secret) if form in text]
    return found + [mark for mark in _MARKS if mark in text]
