"""What the SDK leaves open where a WebSocket comes to nothing, and nobody can close any more: closed here.

For each attempt its asyncio client (azure-eventhub 5.15.1) makes a session of aiohttp. Where a connection is
not opened, for a proxy that lets nobody through, a closed port or a deadline, it lets go of that as it is,
and aiohttp complains on stderr, in lines that are none of ours.
"""

from __future__ import annotations

import contextlib
import functools
import importlib
from typing import Any

# Where the SDK has its connections; the name is private to it.
_CONNECTIONS = "azure.eventhub._pyamqp.aio._connection_async"
_CONNECTION, _OPEN = "Connection", "open"


def close_what_fails() -> None:
    """Make the SDK close the session of a connection that is not opened. Doing it again changes nothing.

    A version that has its connections elsewhere is left as it is: what it leaves open costs a line, no event.
    """
    with contextlib.suppress(ImportError, AttributeError):
        connection: Any = getattr(importlib.import_module(_CONNECTIONS), _CONNECTION)
        opening = getattr(connection, _OPEN)
        if not hasattr(opening, "__wrapped__"):
            setattr(connection, _OPEN, _closing_what_fails(opening))


def _closing_what_fails(opening: Any) -> Any:
    @functools.wraps(opening)
    async def opened(connection: Any, *args: Any, **options: Any) -> None:
        try:
            await opening(connection, *args, **options)
        except BaseException:
            # There is none over TCP, nor where it failed before.
            session = getattr(getattr(connection, "_transport", None), "session", None)
            if session is not None:
                await session.close()
            raise

    return opened
