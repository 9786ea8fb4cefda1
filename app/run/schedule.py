"""Which slice is opened next. Pure.

Groups whose next slice reaches the horizon come first, then those that are behind and
those whose location failed in the last run, a slice each in turn, the longest-waiting
first. Near the end of the budget what is behind comes first, so that a busy estate
cannot starve its own catch-up; in the beginning it can be told to wait for what is near.
"""

from __future__ import annotations

import heapq
import itertools
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from datetime import datetime
from enum import Enum

from app.base.readings import Slice
from app.run.planning import Group


class Turn(Enum):
    """What comes first. With `NEAR_ALONE` nothing that is behind is given, unless some was given before."""

    NEAR_ALONE = "near alone"
    NEAR_FIRST = "near first"
    BEHIND_FIRST = "behind first"


@dataclass(order=True, frozen=True, slots=True)
class Task:
    """A slice to open for a group; tasks sort by who is to be served first."""

    served: int
    failed_before: bool
    position: datetime
    number: int
    group: Group = field(compare=False)
    window: Slice = field(compare=False)


class Schedule:
    """The slices that could be opened. A hub of a location has at most one task: the latest offered."""

    def __init__(self) -> None:
        self._near: list[Task] = []
        self._behind: list[Task] = []
        self._waiting: list[Task] = []
        self._behind_has_begun = False
        self._latest: dict[tuple[str, str], int] = {}
        self._served: Counter[str] = Counter()
        self._numbers = itertools.count(1)

    def offer(self, group: Group, window: Slice, *, near: bool, failed_before: bool) -> None:
        """Add the next slice of a group, in place of what was offered for its hubs before."""
        number = next(self._numbers)
        position = group.checkpoint.delivered_until
        task = Task(self._served[group.location], failed_before, position, number, group, window)
        self._latest |= {(group.location, hub): number for hub in group.hubs}
        heapq.heappush(self._near if near and not failed_before else self._behind, task)

    @property
    def has_near(self) -> bool:
        return bool(self._near)

    def take(self, turn: Turn, usable: Callable[[str, str], bool]) -> Task | None:
        """Give the next task, for those of its hubs that are `usable` and were not offered anew."""
        for heap in self._heaps(turn):
            while heap:
                task = heapq.heappop(heap)
                hubs = self._current_hubs(task, usable)
                if hubs:
                    self._behind_has_begun |= heap is self._behind
                    self._served[task.group.location] += 1
                    return replace(task, group=replace(task.group, hubs=hubs))
        return None

    def wait_for_room(self, task: Task) -> None:
        """Put back a task whose lanes are all full, until `room_came`."""
        self._served[task.group.location] -= 1
        self._waiting.append(task)

    def room_came(self) -> None:
        for task in self._waiting:
            heapq.heappush(self._behind, task)
        self._waiting = []

    def _heaps(self, turn: Turn) -> list[list[Task]]:
        if turn is Turn.BEHIND_FIRST:
            return [self._behind, self._near]
        if turn is Turn.NEAR_ALONE and not self._behind_has_begun:
            return [self._near]
        return [self._near, self._behind]

    def _current_hubs(self, task: Task, usable: Callable[[str, str], bool]) -> tuple[str, ...]:
        location = task.group.location
        hubs: Iterable[str] = task.group.hubs
        return tuple(
            hub for hub in hubs if self._latest.get((location, hub)) == task.number and usable(location, hub)
        )
