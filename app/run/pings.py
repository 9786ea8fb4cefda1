"""Tells a monitor of each run that it began, and how it ended: who watches for silence, notices it.

A monitor (healthchecks.io, or one that understands the same) has an URL of its own for each feed: a GET of
URL/start when a run begins, of URL when it succeeded, of URL/fail when something failed.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial

from app.base.errors import SourceError
from app.base.log import Log
from app.base.side_call import SideCall
from app.base.text import said_and_advised
from app.settings.schema import NetworkSettings

# A monitor that takes longer is not waited for: nothing of a run depends on it.
LONGEST_S = 5.0
_LARGEST_ANSWER = 65_536

# Ask a URL within so many seconds; gives what went wrong, or None.
Ask = Callable[[str, float], str | None]


class Pings:
    """The pings of one run. None of them fails or delays it: what goes wrong is a line in the log.

    Without a URL there are none.
    """

    def __init__(self, url: str, ask: Ask, log: Log, *, longest_s: float = LONGEST_S) -> None:
        self._url = url
        self._ask = ask
        self._log = log
        self._longest_s = longest_s
        self._beginning: SideCall | None = None

    def started(self) -> None:
        """Tell that the run begins; it goes on meanwhile."""
        self._beginning = self._ping("/start")

    def ended(self, *, ok: bool) -> None:
        """Tell how it ended, when it has: the process may end with it. Takes ten seconds at most."""
        # One after the other: else the monitor could hear of the beginning last, and think that it is still
        # under way.
        self._tell(self._beginning)
        self._tell(self._ping("" if ok else "/fail"))

    def _ping(self, what: str) -> SideCall | None:
        if not self._url:
            return None
        return SideCall("ping", partial(self._ask, self._url + what, self._longest_s))

    def _tell(self, ping: SideCall | None) -> None:
        """Log what went wrong, in the thread of the run: Azure tells lines of others from no invocation."""
        trouble = ping.trouble(self._longest_s) if ping is not None else None
        if trouble is not None:
            self._log.warning("ping.failed", error=f"ping: {trouble}; check ping_url of the feed")


def asking(network: NetworkSettings) -> Ask:
    """Give what asks a URL by the way that the settings say. No text of it holds the URL, a secret."""

    def ask(url: str, seconds: float) -> str | None:
        from app.microshare.http import Http

        http = Http(largest_body=_LARGEST_ANSWER, network=network)
        deadline = time.monotonic() + seconds
        try:
            answer = http.send(
                "GET", url, seconds=seconds, remaining=lambda: deadline - time.monotonic(), accept="*/*"
            )
        except SourceError as error:
            # It is another host that is asked here; what to do is said of the API's settings.
            said, _ = said_and_advised(str(error).replace(url, url.split("/")[2]))
            return said.removeprefix("microshare: ")
        finally:
            http.close()
        return None if 200 <= answer.status < 300 else f"the monitor answers with {answer.status}"

    return ask
