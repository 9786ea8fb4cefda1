"""Lanes that send nothing: what a dry run has in place of the broadcaster."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from app.eventhub.deliveries import Delivered, Delivery, News, Opened
from app.settings.schema import HubSettings

# What Standard and higher tiers announce; a dry run asks no hub.
_ASSUMED_LARGEST_BYTES = 1_048_576


class DryRunLanes:
    """Takes every delivery for done, at once, without a connection."""

    def __init__(self, hubs: Sequence[HubSettings], tell: Callable[[News], None]) -> None:
        self._hubs = hubs
        self._tell = tell

    def start(self) -> None:
        for hub in self._hubs:
            self._tell(Opened(hub.key, _ASSUMED_LARGEST_BYTES))

    def has_room(self, hub: str) -> bool:  # noqa: ARG002 - nothing is kept
        return True

    def put(self, hub: str, delivery: Delivery) -> None:
        self._tell(Delivered(hub, delivery))

    def stop_location(self, location: str) -> None:
        """Nothing is under way."""

    def close(self) -> None:
        """Nothing is open."""
