"""One certificate authority, for settings of what has no TLS.

The SDK of Event Hubs reads all authorities for each connection, also for one without TLS: with the public
ones that is half of what a run costs on loopback.
"""

from __future__ import annotations

import tempfile
from functools import cache
from pathlib import Path

import certifi

_END_OF_A_CERTIFICATE = "-----END CERTIFICATE-----\n"


@cache
def one_authority() -> Path:
    """Write one of the public authorities to a file that is there until this process ends."""
    everyone = Path(certifi.where()).read_text(encoding="utf-8")
    one = everyone[: everyone.index(_END_OF_A_CERTIFICATE)] + _END_OF_A_CERTIFICATE
    path = Path(_folder().name) / "authority.pem"
    path.write_text(one, encoding="utf-8")
    return path


@cache
def _folder() -> tempfile.TemporaryDirectory[str]:
    return tempfile.TemporaryDirectory(prefix="microshare-authority-")
