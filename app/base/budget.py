"""The time a run has: a budget for opening slices, and a hard end for everything."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from datetime import timedelta

from app.base.errors import Interrupted

# What a batch under way may need to be acknowledged; with the budget of 4 minutes it stays well below the
# 10 that host.json allows an invocation.
GRACE = timedelta(seconds=30)


class Budget:
    """How long a run may go on. Thread-safe.

    Slices are opened until the budget is used or `stop` is called; whatever is under way then
    has `GRACE` to finish, and `remaining` says how many seconds that still leaves.
    """

    def __init__(
        self, budget: timedelta, *, grace: timedelta = GRACE, monotonic: Callable[[], float] = time.monotonic
    ) -> None:
        self._monotonic = monotonic
        self._grace = grace.total_seconds()
        self._started = monotonic()
        self._opens_until = self._started + budget.total_seconds()
        self._stopped = threading.Event()

    def stop(self) -> None:
        """End the run early, as if its budget were used now."""
        self._opens_until = min(self._opens_until, self._monotonic())
        self._stopped.set()

    @property
    def stopped(self) -> bool:
        return self._stopped.is_set()

    def elapsed(self) -> float:
        return self._monotonic() - self._started

    def left(self) -> float:
        """Seconds in which slices may still be opened; never negative."""
        return max(0.0, self._opens_until - self._monotonic())

    def used(self) -> float:
        """Give the used share of the budget, 0 to 1."""
        whole = self._opens_until - self._started
        return 1.0 if whole <= 0 else min(1.0, self.elapsed() / whole)

    def remaining(self) -> float:
        """Seconds until everything must have ended; never negative."""
        return max(0.0, self._opens_until + self._grace - self._monotonic())

    def sleep(self, seconds: float) -> None:
        """Wait. Raises Interrupted at once where the wait would outlast the budget, or when told to stop."""
        if seconds > self.left() or self._stopped.wait(seconds):
            raise Interrupted(
                f"the run's time does not allow a wait of {seconds:.0f} s; the next run goes on"
            )
