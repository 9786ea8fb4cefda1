"""A store for a dry run: what is there can be read, and nothing is written."""

from __future__ import annotations

from collections.abc import Collection

from app.base.checkpoints import FeedState
from app.base.readings import JsonObject, QuarantinedReading
from app.state.store import MendableStore


class ReadOnlyStore:
    """A `MendableStore` of another's content, whose lock it takes too: the state read is nobody's half."""

    def __init__(self, store: MendableStore) -> None:
        self.place, self.load, self.lock, self.probe = store.place, store.load, store.lock, store.probe
        self.history, self.quarantined = store.history, store.quarantined

    def save(self, name: str, state: FeedState, changed: Collection[str]) -> None:
        """Save nothing."""

    def quarantine(self, name: str, item: QuarantinedReading) -> str:  # noqa: ARG002
        return "nowhere: a dry run writes nothing"

    def keep_report(self, name: str, report: JsonObject) -> None:
        """Keep nothing."""

    def set_aside(self, name: str) -> list[str]:  # noqa: ARG002
        return []

    def remove(self, name: str) -> None:
        """Remove nothing."""

    def release(self, name: str, feed: str, key: str) -> str:  # noqa: ARG002
        return "nowhere: a dry run writes nothing"
