"""What time it is: this host's clock, the API's as its own answers tell it, and whether they agree."""

from __future__ import annotations

import threading
from dataclasses import dataclass
from datetime import datetime, timedelta

from app.base.errors import ClocksDiffer
from app.base.instants import MILLISECOND, MINUTE, floor_to, format_time
from app.base.text import span
from app.base.version import RELEASED

# Below this a host is set as hosts are; above it somebody should look.
SKEW_TOLERATED = timedelta(minutes=5)
# Up to this the earlier clock counts, and costs nothing but a delay: ids are kept, and read again, for
# a day. Further apart, one of the two was never set, or an answer was not the API's own.
LARGEST_SKEW = timedelta(hours=6)
# The API's Date is cut to the second.
DATE_RESOLUTION = timedelta(seconds=1)


@dataclass(frozen=True, slots=True)
class Clocks:
    """The host's clock and the API's at one moment; no `api` where no answer has told it."""

    host: datetime
    api: datetime | None

    @property
    def earlier(self) -> datetime:
        return self.host if self.api is None else min(self.host, self.api)

    @property
    def skew(self) -> timedelta:
        """How far the host's clock is ahead of the API's; zero where that is not known."""
        return timedelta(0) if self.api is None else self.host - self.api

    @property
    def are_apart(self) -> bool:
        """Whether they are too far apart to tell what time it is."""
        return abs(self.skew) > LARGEST_SKEW

    def warning(self) -> str | None:
        """Say what is odd about clocks that may be worked with; None where nothing is."""
        if self.api is None:
            return (
                "no answer of the API told its time (they have no Date), so this host's clock counts alone; "
                "see that a time server sets it"
            )
        if abs(self.skew) <= SKEW_TOLERATED:
            return None
        minutes = abs(self.skew) // MINUTE
        order = "ahead of" if self.host > self.api else "behind"
        return (
            f"the host's clock is {minutes} minutes {order} the API's; "
            "set the host's clock right: the earlier of the two counts"
        )

    def require_agreement(self, last_run: datetime | None = None) -> None:
        """Raise ClocksDiffer where they are too far apart. `last_run` is when the run before ended."""
        if self.are_apart:
            raise ClocksDiffer(self.why_apart(last_run))

    def horizon(self, settle: timedelta) -> datetime:
        """Give what no slice may end after: the earlier of the two, less the settle delay."""
        return floor_to(self.earlier - settle, MILLISECOND)

    def why_apart(self, last_run: datetime | None = None) -> str:
        """Say how far apart they are, which is wrong where that can be known, and what to do."""
        return f"{self.said()}, {span(abs(self.skew).total_seconds())} apart; {self._advice(last_run)}"

    def said(self) -> str:
        api = "none" if self.api is None else format_time(self.api)
        return f"clocks: this host's says {format_time(self.host)} and the API's {api}"

    def _advice(self, last_run: datetime | None) -> str:
        host = "set this host's clock right (`timedatectl set-ntp true` keeps it so)"
        api = "see what answers in the API's place (a proxy, a cache), or ask Microshare"
        for name, past in (("this release", RELEASED), ("the last run", last_run)):
            if past is None or self.api is None:
                continue
            if self.host < past <= self.api:
                return f"{host}: it is wrong, from before {name}"
            if self.api < past <= self.host:
                return f"{api}: its time is wrong, from before {name}"
        return f"{host}, or {api}; one of them is wrong, a run works again once they agree"


@dataclass(frozen=True, slots=True)
class LeftOut:
    """A time of the API's that was left out; `in_a_row` counts it, and those just before it."""

    clocks: Clocks
    in_a_row: int


class ApiClock:
    """The API's clock in one run, as the answers that are its own tell it. Thread-safe.

    The first time told counts, whatever it is: whoever begins a run holds it against the host's
    (`Clocks.require_agreement`). One that is told later, and is too far from the host's, is left out.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._told: tuple[datetime, float, datetime] | None = None
        self._left_out: list[LeftOut] = []
        self._in_a_row = 0

    def tell(self, time: datetime, at: float, host: datetime) -> None:
        """Take in what an answer said, which came at the monotonic second `at`, at `host` by our clock."""
        clocks = Clocks(host, time)
        with self._lock:
            if self._told is not None and clocks.are_apart:
                self._in_a_row += 1
                self._left_out.append(LeftOut(clocks, self._in_a_row))
            else:
                self._in_a_row = 0
                self._told = (time, at, host)

    def time(self, monotonic: float, host: datetime) -> datetime | None:
        """Give the API's clock at the monotonic second `monotonic`; None before it is told.

        A Date of 10:00:00 was written somewhere in that second: this is up to a second early. It is
        late only where our own clock was moved ahead since. A monotonic clock stands while its
        machine sleeps, so the time that passed by our clock counts where that is more.
        """
        with self._lock:
            if self._told is None:
                return None
            time, at, host_then = self._told
        return time + max(timedelta(0), timedelta(seconds=monotonic - at), host - host_then)

    def left_out(self) -> tuple[LeftOut, ...]:
        """Give what was left out in this run, in order."""
        with self._lock:
            return tuple(self._left_out)
