"""Tells a certificate that is not trusted from other trouble with a connection."""

from __future__ import annotations

import ssl


def why_untrusted(error: BaseException | None) -> str | None:
    """Say what is wrong with a certificate, where that is what an error began with; else None."""
    while error is not None:
        if isinstance(error, ssl.SSLCertVerificationError):
            return error.verify_message
        first = error.args[0] if error.args else None
        # Through a proxy urllib3 keeps what it wraps only as the argument of its own error.
        within = first if isinstance(first, BaseException) else None
        error = error.__cause__ or error.__context__ or within
    return None
