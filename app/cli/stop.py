"""Being told to stop: what Ctrl-C and SIGTERM do to a run."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

from app.base.budget import Budget


class Stop:
    """What Ctrl-C and SIGTERM do: the first ends the run in order, the second at once."""

    def __init__(self) -> None:
        self.asked = False
        self._budget: Budget | None = None

    def watch(self, budget: Budget) -> Budget:
        """Give the budget back, which the next signal is going to stop."""
        self._budget = budget
        if self.asked:
            budget.stop()
        return budget

    @contextmanager
    def on_signals(self) -> Iterator[None]:
        before = {number: signal.signal(number, self._handle) for number in (signal.SIGINT, signal.SIGTERM)}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def _handle(self, number: int, _frame: FrameType | None) -> None:
        if self.asked:
            os._exit(128 + number)
        self.asked = True
        # A handler interrupts code that may hold the lock of the stream or of the budget: it writes
        # past the first, and leaves the second to a thread.
        os.write(2, b"stopping: what is under way is finished and saved; once more ends at once\n")
        if self._budget is not None:
            threading.Thread(target=self._budget.stop, daemon=True).start()
