"""What the page is made of, as it was found: comparisons, runs, health. Nothing is judged here."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from app.base.readings import QuarantinedReading, Slice
from app.health.past_runs import PastRun
from app.health.records import FeedHealth
from app.page.comparison import Comparison


@dataclass(frozen=True, slots=True)
class GatheredFeed:
    """One feed. `health` is as of when the page was made, `runs` are those of the window, in order.

    `hubs` are the names of those to show, by key, as are `comparisons`. `problems` say what could not
    be read, and what to do.
    """

    title: str
    health: FeedHealth
    look_back: timedelta = timedelta(0)
    hubs: Mapping[str, str] = field(default_factory=dict)
    runs: Sequence[PastRun] = ()
    comparisons: Mapping[str, Comparison] = field(default_factory=dict)
    quarantined: Sequence[QuarantinedReading] = ()
    problems: Sequence[str] = ()


@dataclass(frozen=True, slots=True)
class Gathered:
    """All feeds, in one window; `made` is when they were gathered."""

    made: datetime
    window: Slice
    feeds: Sequence[GatheredFeed] = ()
