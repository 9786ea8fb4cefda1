"""Saving what a run changes: when it is due, and what follows where it cannot be done."""

from __future__ import annotations

from collections.abc import Callable

from app.base.errors import StateConflict, StateError, StateTooLarge
from app.base.log import Log
from app.base.shards import WHOLE, Shard
from app.run.draft import Draft
from app.run.ledger import Ledger
from app.state.store import RunLock, StateStore

# A save flushes to disk, or writes a row a location: a state that takes long to save is saved less often,
# so that saving takes a tenth of a run at most.
_SAVES_APART_S = 1.0
_SAVES_APART_TIMES = 10.0


class Saving:
    """What of a run's ledger is saved. No batch is sent while the last save failed, or the lock is lost.

    `lose` is told of each location that could not be saved while the others were: whoever changed it
    meanwhile goes on from what it knows. Used from the run's own thread, but for `why_not_send`.
    """

    def __init__(
        self,
        store: StateStore,
        name: str,
        lock: RunLock | None,
        draft: Draft,
        log: Log,
        monotonic: Callable[[], float],
        lose: Callable[[str], None],
        shard: Shard = WHOLE,
    ) -> None:
        self._store = store
        self._name = name
        self._lock = lock
        self._draft = draft
        self._log = log
        self._monotonic = monotonic
        self._lose = lose
        self._shard = shard
        self._unsaved: str | None = None
        self._due = monotonic()
        # Whether any save of this run failed as a whole: no slice is opened after that.
        self.has_failed = False

    def why_not_send(self) -> str | None:
        """Give the reason why nothing may be sent, which is no hub's fault; None where all may."""
        lost = self._lock is not None and not self._lock.held()
        return "the run lock was lost" if lost else self._unsaved

    def due_in(self, ledger: Ledger) -> float | None:
        """Give the seconds until what changed should be saved; None where nothing is to be."""
        if not ledger.changed or self._unsaved is not None:
            return None
        return max(0.0, self._due - self._monotonic())

    def save_if_due(self, ledger: Ledger) -> None:
        if self.due_in(ledger) == 0.0:
            self.save(ledger)

    def save(self, ledger: Ledger) -> None:
        """Save what changed. After a failure nothing more is sent in this run."""
        changed = frozenset(ledger.changed)
        began = self._monotonic()
        try:
            self._store.save(self._name, ledger.state(), changed, self._shard)
        except StateError as error:
            # What names no location is of the whole feed: nothing was saved, or what was is no whole.
            if not isinstance(error, StateConflict | StateTooLarge) or not error.locations:
                self._unsaved = str(error)
                self.has_failed = True
                self._draft.fail(None, None, str(error))
                return
            self._give_up(error)
        ledger.changed -= changed
        self._unsaved = None
        took = self._monotonic() - began
        self._log.debug("state.saved", locations=len(changed), ms=round(took * 1000))
        self._due = self._monotonic() + max(_SAVES_APART_S, took * _SAVES_APART_TIMES)

    def _give_up(self, error: StateConflict | StateTooLarge) -> None:
        for name in error.locations:
            self._draft.fail(name, None, str(error))
            self._lose(name)
