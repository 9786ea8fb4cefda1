"""A call beside the work that it is about, which can neither fail nor delay that."""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextlib import suppress


class SideCall:
    """A call in a thread of its own, begun at once. It gives what went wrong, or None.

    The thread is left behind if need be, and does not keep the process: not every call keeps a limit, and
    looking up a name has none.
    """

    def __init__(self, name: str, call: Callable[[], str | None]) -> None:
        self._call = call
        self._trouble: str | None = None
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        # Where the host gives no further thread, the work may still succeed.
        with suppress(RuntimeError):
            self._thread.start()

    def trouble(self, longest_s: float) -> str | None:
        """Say what went wrong; waits so long for the end of it."""
        if self._thread.ident is None:
            return "no thread could be started for it"
        self._thread.join(longest_s)
        return f"no answer within {longest_s:.3g} s" if self._thread.is_alive() else self._trouble

    def _run(self) -> None:
        try:
            self._trouble = self._call()
        except Exception as error:  # noqa: BLE001 - nothing beside the work may fail it
            self._trouble = f"unexpected {type(error).__name__}: {error}"
