"""What the page is made of, as it was found: comparisons, runs, state, quarantine. Nothing is judged here."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from app.base.readings import JsonObject, QuarantinedReading, Slice
from app.page.comparison import Comparison


@dataclass(frozen=True, slots=True)
class Hub:
    """A hub that is configured, or, where `removed`, that only the state still knows."""

    key: str
    name: str
    paused: bool = False
    removed: bool = False


@dataclass(frozen=True, slots=True)
class FeedFindings:
    """One feed. `comparisons` are by hub key; `runs` are what the history has of the window, in order.

    `status` is the object that the command of that name gives, as of when the page was made.
    `problems` say what else could not be read, and what to do. A feed that is off has a title only.
    """

    name: str
    title: str
    look_back: timedelta = timedelta(0)
    off: bool = False
    hubs: Sequence[Hub] = ()
    status: JsonObject | None = None
    runs: Sequence[JsonObject] = ()
    comparisons: Mapping[str, Comparison] = field(default_factory=dict)
    quarantined: Sequence[QuarantinedReading] = ()
    problems: Sequence[str] = ()


@dataclass(frozen=True, slots=True)
class Findings:
    """All feeds, in one window; `made` is when they were gathered."""

    made: datetime
    window: Slice
    feeds: Sequence[FeedFindings] = ()
