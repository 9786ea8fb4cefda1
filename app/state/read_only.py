"""Stores for a dry run: what is there can be read, and nothing is written."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from contextlib import contextmanager

from app.base.checkpoints import Discovery, FeedState
from app.base.readings import JsonObject, QuarantinedReading
from app.base.shards import WHOLE, Shard
from app.state.store import MendableStore, RunLock


class ReadOnlyStore:
    """A `MendableStore` of another's content, whose lock it takes too: the state read is nobody's half."""

    def __init__(self, store: MendableStore) -> None:
        self.place, self.load, self.lock, self.probe = store.place, store.load, store.lock, store.probe
        self.outline, self.history, self.quarantined = store.outline, store.history, store.quarantined

    def save(self, name: str, state: FeedState, changed: Collection[str], shard: Shard = WHOLE) -> None:
        """Save nothing."""

    def quarantine(self, name: str, item: QuarantinedReading) -> str:  # noqa: ARG002
        return "nowhere: a dry run writes nothing"

    def keep_report(self, name: str, report: JsonObject) -> None:
        """Keep nothing."""

    def keep_discovery(self, name: str, discovery: Discovery) -> None:
        """Keep nothing."""

    def set_aside(self, name: str) -> list[str]:  # noqa: ARG002
        return []

    def remove(self, name: str) -> None:
        """Remove nothing."""

    def release(self, name: str, feed: str, key: str) -> str:  # noqa: ARG002
        return "nowhere: a dry run writes nothing"


class RememberingStore(ReadOnlyStore):
    """One for several dry runs: each finds what the one before would have saved. No lock is taken."""

    def __init__(self, store: MendableStore) -> None:
        super().__init__(store)
        self._saved: dict[tuple[str, Shard], FeedState] = {}
        self._load = store.load
        self.load, self.lock = self._remembered, self._unlocked

    def save(
        self,
        name: str,
        state: FeedState,
        changed: Collection[str],  # noqa: ARG002
        shard: Shard = WHOLE,
    ) -> None:
        self._saved[name, shard] = state

    def _remembered(self, name: str, shard: Shard = WHOLE) -> FeedState:
        saved = self._saved.get((name, shard))
        return self._load(name, shard) if saved is None else saved

    @contextmanager
    def _unlocked(self, name: str, owner: str, shard: Shard = WHOLE) -> Iterator[RunLock]:  # noqa: ARG002
        yield _Nobodys()


class _Nobodys:
    """A lock on what is nobody's but this run's, for it is nowhere."""

    def held(self) -> bool:
        return True
