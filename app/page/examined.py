"""A feed on its way to the page: its audits gone through, added up, and how far they reached. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from app.base.causes import advice, short_cause
from app.base.grouping import by_key
from app.base.instants import HOUR
from app.base.readings import Slice
from app.base.text import minute, named
from app.health.records import Condition
from app.page.coverage import Reach
from app.page.gathered import GatheredFeed


@dataclass(frozen=True, slots=True)
class Problem:
    """What could not be read or compared: `what` it is, its cause in our words, what to do, and the error.

    `what` is empty where it is not a hub or location of the comparison.
    """

    what: str
    cause: str
    do: str | None
    technical: str

    @property
    def said(self) -> str:
        return f"{self.what} could not be compared: {self.cause}" if self.what else self.cause


class Examined:
    """A feed that is on, looked through."""

    def __init__(self, found: GatheredFeed, window: Slice) -> None:
        self.found = found
        self._window = window
        self.compared = {key: each for key, each in found.comparisons.items() if each.audit.error is None}
        self.totals = {key: comparison.total for key, comparison in self.compared.items()}
        # Where a location could not be compared it is the source's trouble, so once for all hubs.
        self.failures = {
            name: text for hub in self.compared.values() for name, text in hub.audit.failures.items()
        }
        self.problems = list(self._find_problems())
        self.is_wrong = any(each.audit.wrong for each in self.compared.values())
        removed = {key for key, hub in found.health.hubs.items() if hub.verdict is Condition.REMOVED}
        self.hubs = [name for key, name in found.hubs.items() if key not in removed]
        self.paused = [
            found.hubs[key]
            for key, hub in found.health.hubs.items()
            if hub.verdict is Condition.PAUSED and key in found.hubs and key not in self.compared
        ]
        self.reach = self._reach(window)
        self.aside = list(self._left_aside())

    @property
    def published(self) -> int:
        """Count what the source showed, which hubs are compared with one after the other."""
        most: dict[object, int] = {}
        for hub in self.compared.values():
            for place, hour in hub.hours.items():
                most[place] = max(most.get(place, 0), hour.published)
        return sum(most.values())

    @property
    def locations(self) -> list[str]:
        """Give the locations that were to be asked for, or have readings in the window."""
        seen = {name for hub in self.compared.values() for name, _ in hub.hours}
        asked = {location.name for location in self.found.health.locations if location.asked}
        return sorted(seen | asked | {*self.failures})

    def _reach(self, window: Slice) -> Reach:
        hubs = {key: self.found.hubs[key] for key in self.compared}
        unread = dict.fromkeys(self.paused, "is paused")
        for key, comparison in self.found.comparisons.items():
            if comparison.audit.error is not None:
                unread[self.found.hubs[key]] = "could not be read"
        asked = next((hub.audit.window for hub in self.compared.values()), window)
        all_hubs = self.found.all_hubs and not unread
        is_asked = window.end - asked.end < HOUR
        whole = all_hubs and is_asked and not self.failures and not self.problems
        return Reach(hubs, unread, asked, list(self.failures), all_hubs, whole)

    def _left_aside(self) -> Iterator[str]:
        """Say what was not compared, though nothing failed."""
        for name in self.paused:
            yield f"hub {name}: it is paused"
        if self.compared and self._window.end - self.reach.asked.end >= HOUR:
            from_then = minute(self.reach.asked.end)
            yield f"{self.found.name}: what came from {from_then} on was not asked for"

    def _find_problems(self) -> Iterator[Problem]:
        """Give what could not be read or compared, with what to do."""
        for text in self.found.problems:
            yield _problem("", text)
        for key, comparison in self.found.comparisons.items():
            if comparison.audit.error is not None:
                yield _problem(f"hub {self.found.hubs[key]}", comparison.audit.error)
        alike = by_key((short_cause(text), name) for name, text in self.failures.items())
        for names in alike.values():
            yield _problem(named(names), self.failures[names[0]])


def _problem(what: str, error: str) -> Problem:
    return Problem(what, short_cause(error), advice(error), error)
