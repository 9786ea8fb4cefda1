"""Keeps secrets out of everything that is shown: logs, errors, reports, state.

Whoever learns a secret (settings, the login) registers it here; whoever shows a
text passes it through `redact`. The registry is process-wide because a secret
must not be shown by code that never knew it was one.
"""

from __future__ import annotations

import base64
import re
import threading
from urllib.parse import quote, quote_plus

_MASK = "***"
# Shorter texts are too common to be masked without garbling every message.
_SHORTEST_SECRET = 4
# Shapes that are secret wherever they come from, registered or not.
_SECRET_SHAPES = re.compile(
    r"(?i)(?P<name>SharedAccessKey|AccountKey|SharedAccessSignature|InstrumentationKey|password|access_token|refresh_token)"
    # Our own messages on a setting ("MICROSHARE_PASSWORD: not set") are prose after the colon.
    r"(?!(?<=MICROSHARE[_.]password): [a-z])"
    r"(?P<sep>[\"']?\s*[=:]\s*[\"']?)(?P<value>[^;,&\s\"'*][^;,&\s\"']*)"
)
_BEARER = re.compile(r"(?i)\b(Bearer|PLAY_SESSION=)\s*[A-Za-z0-9._~+/=-]{8,}")

_lock = threading.Lock()
_forms: frozenset[str] = frozenset()
_pattern: re.Pattern[str] | None = None


def register_secret(secret: str | None) -> None:
    """Mask `secret` from now on, in its plain, URL-encoded, JSON-escaped and base64 forms."""
    global _forms, _pattern
    if not secret or len(secret) < _SHORTEST_SECRET:
        return
    with _lock:
        if secret in _forms:
            return
        _forms = _forms | _written_forms(secret)
        # Compiled when it is next needed: secrets come several at a time.
        _pattern = None


def redact(text: str) -> str:
    """Give `text` with every registered secret, and everything shaped like one, masked."""
    if _forms:
        text = _pattern_of_secrets().sub(_MASK, text)
    text = _SECRET_SHAPES.sub(rf"\g<name>\g<sep>{_MASK}", text)
    return _BEARER.sub(rf"\1 {_MASK}", text)


def _pattern_of_secrets() -> re.Pattern[str]:
    global _pattern
    with _lock:
        if _pattern is None:
            longest_first = sorted(_forms, key=len, reverse=True)
            _pattern = re.compile("|".join(re.escape(form) for form in longest_first))
        return _pattern


def _written_forms(secret: str) -> frozenset[str]:
    raw = secret.encode("utf-8", "surrogatepass")
    encoded = base64.b64encode(raw).decode()
    escaped = secret.replace("\\", "\\\\").replace('"', '\\"')
    forms = {secret, quote(secret, safe="", errors="replace"), quote_plus(secret, errors="replace"), escaped}
    forms |= {encoded, encoded.rstrip("="), base64.urlsafe_b64encode(raw).decode().rstrip("=")}
    return frozenset(form for form in forms if len(form) >= _SHORTEST_SECRET)
