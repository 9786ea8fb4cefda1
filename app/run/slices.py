"""Which slices a run asks for, and when: the next of every hub of every location that has none under way."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

from app.run.availability import Availability
from app.run.horizon import Horizon
from app.run.ledger import Ledger
from app.run.planning import Limits, plan_slice
from app.run.ports import Lanes
from app.run.schedule import Schedule, Turn
from app.run.source import Source


class Slices:
    """The slices that could be opened, and the opening of them. Used from the run's own thread."""

    def __init__(
        self,
        ledger: Ledger,
        available: Availability,
        source: Source,
        lanes: Lanes,
        horizon: Horizon,
        limits: Limits,
    ) -> None:
        self._ledger = ledger
        self._available = available
        self._source = source
        self._lanes = lanes
        self._horizon = horizon
        self._limits = limits
        self._schedule = Schedule()

    def consider(self, name: str) -> float:
        """Offer the next slice of every hub of a location that has none under way.

        Gives how many seconds the location is behind the horizon, the part read again included.
        """
        if name in self._available.stopped_locations:
            return 0.0
        known = self._ledger.location(name).checkpoints
        free = [hub for hub in self._available.connected if hub in known and self._is_free(name, hub)]
        limits = self._source.limits_of(name, self._limits)
        behind = [timedelta(0)]
        for group in self._ledger.groups(name, free):
            window = plan_slice(group, self._horizon.at, limits)
            if window is not None:
                near = window.end >= self._horizon.at
                failed_before = self._available.has_yet_to_answer(name)
                self._schedule.offer(group, window, near=near, failed_before=failed_before)
                behind.append(self._horizon.at - group.cursor)
        return max(behind).total_seconds()

    @property
    def has_near(self) -> bool:
        """Whether slices are to be opened yet that reach the horizon."""
        return self._schedule.has_near

    def open_next(self, turn: Turn) -> bool:
        """Open the slice whose turn it is, for its hubs that have room. False where there is none."""
        task = self._schedule.take(turn, self._available.is_usable)
        if task is None:
            return False
        with_room = tuple(hub for hub in task.group.hubs if self._lanes.has_room(hub))
        if with_room:
            task = replace(task, group=replace(task.group, hubs=with_room))
            self._source.open(task, self._ledger.location(task.group.location))
        else:
            self._schedule.wait_for_room(task)
        return True

    def room_came(self) -> None:
        """Take those slices up again whose lanes were all full."""
        self._schedule.room_came()

    def _is_free(self, name: str, hub: str) -> bool:
        return not self._source.is_asking(name, hub) and self._available.is_usable(name, hub)
