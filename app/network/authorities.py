"""The certificate authorities that are trusted, read once for all hubs, since that takes 20 ms."""

from __future__ import annotations

import ssl
from functools import lru_cache
from pathlib import Path

import certifi


def trusting(ca_file: str | None) -> ssl.SSLContext:
    """Give what verifies certificates and hosts by the authorities of a file, by the public ones where None.

    Raises OSError where the file cannot be read.
    """
    path = Path(ca_file or certifi.where())
    return _read(path, path.stat().st_mtime_ns)


def no_authorities() -> ssl.SSLContext:
    """Give what takes no certificate at all."""
    return ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)


# A host that lives long takes in a file that was written anew.
@lru_cache(maxsize=4)
def _read(path: Path, changed_ns: int) -> ssl.SSLContext:  # noqa: ARG001
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.load_verify_locations(path)
    return context
