"""Tells a host's name that nothing knows from other trouble with a connection."""

from __future__ import annotations

import socket

# Of Windows WSAHOST_NOT_FOUND and WSANO_DATA. A name server that does not answer says otherwise (EAI_AGAIN).
_UNKNOWN = frozenset({socket.EAI_NONAME, getattr(socket, "EAI_NODATA", socket.EAI_NONAME), 11001, 11004})


def why_unknown(error: BaseException | None) -> str | None:
    """Say in the system's words that a host does not exist, where an error began with that; else None."""
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        if isinstance(error, socket.gaierror):
            return error.strerror if error.errno in _UNKNOWN else None
        seen.add(id(error))
        error = error.__cause__ or error.__context__ or _wrapped(error)
    return None


def _wrapped(error: BaseException) -> BaseException | None:
    """Give what an error keeps otherwise: urllib3 as its argument, the SDKs of Azure as an attribute."""
    kept = (getattr(error, "inner_exception", None), *error.args)
    return next((one for one in kept if isinstance(one, BaseException)), None)
