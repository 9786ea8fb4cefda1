"""What was failing before a run, so that each trouble is told once: when it begins, and when it is over."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from app.base.checkpoints import FeedState
from app.base.instants import parse_time


@dataclass(frozen=True, slots=True)
class Outages:
    """What the run before left failing.

    `since` is when the first of the runs began of which none has ended well since. `hubs` failed as
    a whole; `locations` could not be queried; `refusals` are (location, hub) pairs of which the hub,
    though it worked, did not take something.
    """

    since: datetime | None = None
    hubs: frozenset[str] = frozenset()
    locations: frozenset[str] = frozenset()
    refusals: frozenset[tuple[str, str]] = frozenset()


def outages_in(state: FeedState) -> Outages:
    """Read what was failing from what the run before has left."""
    last_run = state.last_run or {}
    since = last_run.get("failing_since")
    hubs = frozenset(last_run.get("hubs_failing", ()))
    return Outages(
        since=parse_time(since) if since else None,
        hubs=hubs,
        locations=frozenset(name for name, location in state.locations.items() if location.error),
        refusals=frozenset(
            (name, hub)
            for name, location in state.locations.items()
            for hub, record in location.hubs.items()
            if record.error and hub not in hubs
        ),
    )
