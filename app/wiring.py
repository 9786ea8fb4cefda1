"""Puts the parts of a run together from the settings. Imports what a run needs, no more."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from contextlib import AbstractContextManager

from app.budget import Budget
from app.eventhub.broadcaster import Broadcaster, News
from app.eventhub.rehearsal import Rehearsal
from app.forwarder import Lanes, MakeLanes, Wiring
from app.microshare.auth import TokenCache
from app.microshare.client import MicroshareClient
from app.model import FeedState, JsonObject, QuarantinedReading
from app.settings import HubSettings, Settings
from app.state.opening import open_store
from app.state.store import RunLock, StateStore

# One for the process: both feeds share a login, and a warm process keeps its token.
_TOKENS = TokenCache()


def wire(settings: Settings, *, dry_run: bool = False) -> Wiring:
    """Give the parts of a run. Nothing is asked, sent or written yet."""
    store = open_store(settings.state)
    return Wiring(
        settings=settings,
        store=_ReadOnly(store) if dry_run else store,
        make_client=lambda budget: MicroshareClient(settings.microshare, budget, tokens=_TOKENS),
        make_lanes=_rehearse if dry_run else _broadcast(settings),
        dry_run=dry_run,
    )


def _broadcast(settings: Settings) -> MakeLanes:
    def make_lanes(
        hubs: Sequence[HubSettings],
        budget: Budget,
        tell: Callable[[News], None],
        may_send: Callable[[], str | None],
    ) -> Lanes:
        return Broadcaster(
            hubs,
            budget,
            tell,
            send_timeout_s=settings.run.send_timeout.total_seconds(),
            lane_bytes=settings.run.lane_bytes,
            may_send=may_send,
        )

    return make_lanes


def _rehearse(
    hubs: Sequence[HubSettings],
    budget: Budget,  # noqa: ARG001 - a rehearsal takes no time
    tell: Callable[[News], None],
    may_send: Callable[[], str | None],  # noqa: ARG001 - and sends nothing
) -> Lanes:
    return Rehearsal(hubs, tell)


class _ReadOnly:
    """A store for a dry run: loads what is there, saves nothing."""

    def __init__(self, store: StateStore) -> None:
        self._store = store
        self.place = store.place

    def load(self, name: str) -> FeedState:
        return self._store.load(name)

    def save(self, name: str, state: FeedState, changed: Collection[str]) -> None:
        """Save nothing."""

    def lock(self, name: str, owner: str) -> AbstractContextManager[RunLock]:
        return self._store.lock(name, owner)

    def quarantine(self, name: str, item: QuarantinedReading) -> str:  # noqa: ARG002
        return "nowhere: a dry run writes nothing"

    def keep_report(self, name: str, report: JsonObject) -> None:
        """Keep nothing."""

    def probe(self) -> None:
        self._store.probe()
