"""Who can be sent to and asked in a run: connected, stopped, failing, answered; each trouble told once."""

from __future__ import annotations

import traceback
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import datetime

from app.base.errors import ForwarderError, HubUnreachable
from app.base.log import Log
from app.base.redaction import redact
from app.eventhub.hub import BESIDE_OTHERS
from app.run.draft import Draft
from app.run.ledger import Ledger
from app.run.outages import Outages
from app.run.planning import Group


@dataclass(frozen=True, slots=True)
class _Closed:
    """A hub that is left alone, which is still to be told: what of, and of which locations."""

    hub: str
    error: ForwarderError
    names: Iterable[str]
    is_its_fault: bool


class Availability:
    """What is known of hubs and locations in one run, beside what was failing before it.

    A hub is left alone for the run, a location for the run, or one for the other; what is left alone
    is in the report with why, and in the log only where it was not failing before.
    """

    def __init__(
        self,
        hubs: Iterable[str],
        outages: Outages,
        ledger: Ledger,
        draft: Draft,
        log: Log,
        now: Callable[[], datetime],
    ) -> None:
        self.connecting = set(hubs)
        # Hubs that are connected, with the largest message that each takes, in bytes.
        self.connected: dict[str, int] = {}
        self.failed_before = outages
        self.failed_locations: set[str] = set()
        self.answered_locations: set[str] = set()
        self.stopped_locations: set[str] = set()
        self._stopped: set[tuple[str, str]] = set()
        self._failed_hubs: set[str] = set()
        self._closed: list[_Closed] = []
        self._refusals: set[tuple[str, str]] = set()
        self._ledger = ledger
        self._draft = draft
        self._log = log
        self._now = now

    def is_usable(self, name: str, hub: str) -> bool:
        stopped = name in self.stopped_locations or (name, hub) in self._stopped
        return hub in self.connected and not stopped

    def has_yet_to_answer(self, name: str) -> bool:
        """Whether a location failed in the run before, and has not answered in this one."""
        return name in self.failed_before.locations and name not in self.answered_locations

    def opened(self, hub: str, largest_bytes: int) -> None:
        self.connecting.discard(hub)
        self.connected[hub] = largest_bytes
        self.tell_of_closed()

    def closed(
        self, hub: str, error: ForwarderError | None, names: Iterable[str], *, is_its_fault: bool
    ) -> None:
        """Leave a hub alone for the rest of the run."""
        self.connecting.discard(hub)
        self.connected.pop(hub, None)
        if error is not None:
            self._closed.append(_Closed(hub, error, names, is_its_fault))
        self.tell_of_closed()

    def tell_of_closed(self, *, at_last: bool = False) -> None:
        """Tell of hubs that are left alone, once it is known what to do about them.

        Where others are reached the same way, that is something else: the first hubs wait for those that
        are still connecting, unless it is told `at_last`.
        """
        waiting = bool(self.connecting) and not self.connected and not at_last
        closed, self._closed = self._closed, []
        for one in closed:
            if waiting and isinstance(one.error, HubUnreachable) and one.error.depends_on_others:
                self._closed.append(one)
            else:
                self._tell_of(one)

    def _tell_of(self, closed: _Closed) -> None:
        hub, error = closed.hub, closed.error
        if self.connected and isinstance(error, HubUnreachable):
            error = error.where_others_are_reached()
        self._draft.hub_failed(hub, str(error))
        if not closed.is_its_fault:
            return
        if hub not in self.failed_before.hubs:
            self._log.warning("hub.failing", hub=hub, error=str(error))
        self._failed_hubs.add(hub)
        for name in closed.names:
            self._ledger.hub_failed(name, hub, str(error), self._now())

    def refused(self, name: str, hub: str, error: str) -> None:
        """Leave one hub alone for one location; its position stays where acknowledgements brought it."""
        self._stopped.add((name, hub))
        if (name, hub) not in self.failed_before.refusals | self._refusals:
            self._log.warning("location.failing", location=name, hub=hub, error=error)
        self._refusals.add((name, hub))
        self._ledger.hub_failed(name, hub, error, self._now())
        self._draft.fail(name, hub, error)

    def query_failed(self, group: Group, error: Exception) -> None:
        """Leave a group alone for this run; hubs that are elsewhere in the location's time go on."""
        name = group.location
        if not isinstance(error, ForwarderError):
            trace = redact("".join(traceback.format_exception(error)))[-4000:]
            self._log.error("error.unexpected", location=name, traceback=trace)
            error = ForwarderError(f"location {name}: unexpected {type(error).__name__}: {error}")
        if name not in self.failed_before.locations | self.failed_locations:
            self._log.warning("location.failing", location=name, error=str(error))
        self.failed_locations.add(name)
        self._stopped |= {(name, hub) for hub in group.hubs}
        self._ledger.query_failed(name, str(error), self._now())
        self._draft.fail(name, None, str(error))

    def well_answered(self) -> set[str]:
        """Give the locations whose queries all succeeded."""
        return self.answered_locations - self.failed_locations

    def failing_hubs(self) -> list[str]:
        """Give the hubs that are failing when the run ends, for the next one."""
        return sorted(self._failed_hubs | self.failed_before.hubs - self.connected.keys())

    def tell_what_is_over(self) -> None:
        """Log, and note in the state, what was failing before and is not any more."""
        for hub in sorted(self.failed_before.hubs & self.connected.keys()):
            self._ledger.hub_recovered(hub, but={name for name, refuses in self._refusals if refuses == hub})
            self._log.info("hub.recovered", hub=hub)
        for name in sorted(self.failed_before.locations & self.well_answered()):
            self._ledger.query_recovered(name)
            self._log.info("location.recovered", location=name)
        for name, hub in sorted(self.failed_before.refusals):
            if hub not in self._failed_hubs and not self._ledger.is_failing(name, hub):
                self._log.info("location.recovered", location=name, hub=hub)


def never_connected(hub: str, waited_s: float) -> HubUnreachable:
    """Give the error of a hub that neither took the connection nor refused it in a whole run."""
    said = f"hub {hub}: no connection within the run's {waited_s:.0f} s"
    return HubUnreachable(
        f"{said}; check the network, and EVENT_HUB_TRANSPORT where only port 443 is open",
        beside_others=f"{said}; {BESIDE_OTHERS}",
    )
