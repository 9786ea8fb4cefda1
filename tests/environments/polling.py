"""The waits of the Event Hubs SDK between two looks at what it opens: on loopback, most of a run's time."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from app.network.addresses import EveryAddressLoop

# In seconds; no deadline of the SDK's or of ours is so short.
_BETWEEN_LOOKS_S = 0.05
_INSTEAD_S = 0.005


def poll_quickly() -> None:
    """Shorten these waits in all event loops that the app makes in this process, and no other wait."""

    def call_later(
        self: EveryAddressLoop, delay: float, callback: Callable[..., object], *args: Any, **options: Any
    ) -> asyncio.TimerHandle:
        shorter = _INSTEAD_S if delay == _BETWEEN_LOOKS_S else delay
        return super(EveryAddressLoop, self).call_later(shorter, callback, *args, **options)

    EveryAddressLoop.call_later = call_later  # type: ignore[assignment, method-assign]
