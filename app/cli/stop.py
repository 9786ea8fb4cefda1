"""Being told to stop: what Ctrl-C and SIGTERM do to runs."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from types import FrameType

from app.base.budget import Budget


class Stop:
    """What Ctrl-C and SIGTERM do: the first ends runs in order, the second at once. Thread-safe."""

    def __init__(self) -> None:
        self.asked = False
        self._told = threading.Event()
        self._budgets: dict[int, Budget] = {}

    def watch(self, budget: Budget) -> Budget:
        """Give the budget back, which the next signal is going to stop: that of this thread's newest run."""
        self._budgets[threading.get_ident()] = budget
        if self.asked:
            budget.stop()
        return budget

    def now(self) -> None:
        """End runs in order, as the first signal does."""
        self.asked = True
        self._told.set()
        for budget in list(self._budgets.values()):
            budget.stop()

    def wait(self, seconds: float) -> bool:
        """Wait for so long, or until it is asked to stop; say whether it is."""
        return self._told.wait(seconds)

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
        # past the first, and leaves the second to a thread. An error here would be raised in that code.
        with suppress(OSError):
            os.write(2, b"stopping: what is under way is finished and saved; once more ends at once\n")
        threading.Thread(target=self.now, daemon=True).start()
