"""Calls of the SDK's asyncio clients that end when they should."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

T = TypeVar("T")

# The SDK now and then swallows a cancellation, and goes on; asked again, it ends.
_CANCELLATIONS = 5
_CANCELLATION_S = 0.5


async def until(deadline_s: float, call: Coroutine[Any, Any, T]) -> T:
    """Await a call of the SDK, ended at the deadline. Raises TimeoutError.

    Not `asyncio.wait_for`, which waits for ever where the cancelled call does not end: on
    Python 3.11 the SDK now and then swallows a cancellation, so it is repeated.
    """
    task = asyncio.ensure_future(call)
    try:
        done, _ = await asyncio.wait({task}, timeout=deadline_s)
    except asyncio.CancelledError:
        await cancel(task)
        raise
    if not done:
        await cancel(task)
        raise TimeoutError
    return task.result()


async def cancel(task: asyncio.Future[Any]) -> None:
    """Cancel what is under way until it holds."""
    for _ in range(_CANCELLATIONS):
        task.cancel()
        done, _ = await asyncio.wait({task}, timeout=_CANCELLATION_S)
        if done:
            # Looked at, so that the loop does not complain of an exception nobody saw.
            _ = task.cancelled() or task.exception()
            return
