"""What the page is made of, as it was found: comparisons, runs, health. Nothing is judged here."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from app.base.readings import QuarantinedReading, Slice
from app.health.past_runs import PastRun
from app.health.records import FeedHealth
from app.page.comparison import Comparison, Differences

TITLE = "Delivery report"


@dataclass(frozen=True, slots=True)
class GatheredFeed:
    """One feed. `health` is as of when the page was made, `runs` are those of the window, in order.

    `hubs` are the names of those to show, by key, as are `comparisons`; `all_hubs` says that there are
    no others. `problems` are errors of what could not be read, with what to do.
    """

    name: str
    health: FeedHealth
    look_back: timedelta = timedelta(0)
    hubs: Mapping[str, str] = field(default_factory=dict)
    runs: Sequence[PastRun] = ()
    comparisons: Mapping[str, Comparison] = field(default_factory=dict)
    differences: Differences = field(default_factory=Differences)
    quarantined: Sequence[QuarantinedReading] = ()
    problems: Sequence[str] = ()
    all_hubs: bool = True


@dataclass(frozen=True, slots=True)
class Gathered:
    """All feeds, in one window; `made` is when they were gathered. `nameless` pages name no building."""

    made: datetime
    window: Slice
    feeds: Sequence[GatheredFeed] = ()
    title: str = TITLE
    organisations: Sequence[str] = ()
    nameless: bool = False
