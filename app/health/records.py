"""How a feed fares, as data, and as the JSON object of `status`, docs/status.md: people are told the same."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any

from app.base.checkpoints import Drift, Gap, HubRecord, Takeover
from app.base.instants import format_time
from app.base.readings import JsonObject
from app.run.report import Compared, drift_json, gap_json


class Condition(StrEnum):
    """How a feed, a hub or a location fares, in a word: its verdict."""

    HEALTHY = "healthy"
    BEHIND = "behind"
    FAILING = "failing"
    # Of feeds only.
    STOPPED = "stopped"
    NEVER_RAN = "never ran"
    OFF = "off"
    UNKNOWN = "unknown"
    # Of hubs and locations only: these are shown, and not judged.
    PAUSED = "paused"
    REMOVED = "removed"
    GONE = "gone"


class Kind(StrEnum):
    """What a trouble is about."""

    STATE = "state"
    STOPPED = "stopped"
    RUN = "run"
    HUB = "hub"
    LOCATION = "location"
    BEHIND = "behind"
    GAP = "gap"
    QUARANTINE = "quarantine"
    DRIFT = "drift"
    WARNING = "warning"


@dataclass(frozen=True, slots=True)
class Trouble:
    """One thing that is wrong, in the words of the log; `do` is what to do about it.

    `cause` is what an error is in a few words (`app.base.causes`), None where it is no error.
    `last` is when a warning was said last; what is without it lasts. A `grave` one makes the feed not ok.
    """

    kind: Kind
    said: str
    do: str | None
    hub: str | None = None
    locations: Sequence[str] = ()
    since: datetime | None = None
    last: datetime | None = None
    grave: bool = False
    cause: str | None = None

    @property
    def whole(self) -> str:
        """Give its text as the log has it: what is wrong, and what to do."""
        return self.said if self.do is None else f"{self.said}; {self.do}"

    def as_json(self) -> dict[str, Any]:
        return {
            "kind": self.kind,
            "grave": self.grave,
            "hub": self.hub,
            "locations": list(self.locations),
            "since": _time(self.since),
            "last": _time(self.last),
            "said": self.said,
            "do": self.do,
            "cause": self.cause,
        }


@dataclass(frozen=True, slots=True)
class Told:
    """What people are told of troubles that have one cause, with what follows from it, in words of ours.

    `said` stands alone; `technical` are the texts as the log has them, with what a server or an SDK said.
    """

    kind: Kind
    said: str
    do: str | None
    grave: bool = False
    technical: Sequence[str] = ()


@dataclass(frozen=True, slots=True)
class Runs:
    """When the feed ran, and when it should have.

    `missed` counts the runs that were due since the last one began, and should have ended by now.
    Every position should be at `expected` at least: when the last but one of those due was to begin.
    """

    began: datetime | None = None
    ended: datetime | None = None
    next_due: datetime | None = None
    missed: int = 0
    expected: datetime | None = None


@dataclass(frozen=True, slots=True)
class HubOfLocation:
    """What one hub has of one location. Only what is asked for can be `behind`, at a hub that is on."""

    condition: Condition
    position: datetime
    known_from: datetime
    lag: timedelta
    behind: bool
    record: HubRecord

    @property
    def is_on(self) -> bool:
        return self.condition not in (Condition.PAUSED, Condition.REMOVED)

    def as_json(self) -> dict[str, Any]:
        return {
            "delivered_until": format_time(self.position),
            "behind_s": _seconds(self.lag),
            "known_from": format_time(self.known_from),
            **_record_json(self.record),
        }


@dataclass(frozen=True, slots=True)
class LocationHealth:
    """How a location fares, by hub; `lag` is the most of hubs that are on.

    It is `asked` for unless it is gone: then it stays where it is, and is not behind. `error` is what
    its query failed with, and since when.
    """

    name: str
    verdict: Condition
    asked: bool
    lag: timedelta | None = None
    last_listed: datetime | None = None
    newest: datetime | None = None
    error: str | None = None
    since: datetime | None = None
    hubs: Mapping[str, HubOfLocation] = field(default_factory=dict)

    def as_json(self) -> dict[str, Any]:
        return {
            "location": self.name,
            "verdict": self.verdict,
            "asked": self.asked,
            "behind_s": _seconds(self.lag),
            "last_listed": _time(self.last_listed),
            "newest": _time(self.newest),
            "error": self.error,
            "since": _time(self.since),
            "hubs": {key: hub.as_json() for key, hub in self.hubs.items()},
        }


@dataclass(frozen=True, slots=True)
class HubHealth:
    """How a hub fares: the least position and longest-lasting error of what is asked for, all its counts."""

    name: str
    verdict: Condition
    locations: int = 0
    behind: int = 0
    failing: int = 0
    position: datetime | None = None
    lag: timedelta | None = None
    record: HubRecord = field(default_factory=HubRecord)

    def as_json(self) -> dict[str, Any]:
        return {
            "name": self.name,
            "verdict": self.verdict,
            "paused": self.verdict is Condition.PAUSED,
            "removed": self.verdict is Condition.REMOVED,
            "locations": self.locations,
            "locations_behind": self.behind,
            "locations_failing": self.failing,
            "delivered_until": _time(self.position),
            "behind_s": _seconds(self.lag),
            **_record_json(self.record),
        }


@dataclass(frozen=True, slots=True)
class Trend:
    """The runs since an instant, summed up.

    `readings_before` are those of the day before, None where the history does not reach back so far.
    `per_day` is what a day costs at the mean pace of these runs, in the form of a report's own.
    """

    since: datetime
    runs: int
    failed: int
    missed: int
    readings: Mapping[str, int]
    readings_before: Mapping[str, int] | None
    changed: int
    compared: Compared | None
    per_day: JsonObject | None

    def as_json(self) -> dict[str, Any]:
        found = asdict(self)
        return {"from": format_time(found.pop("since")), **found}


@dataclass(frozen=True, slots=True)
class FeedHealth:
    """How a feed fares at an instant: a verdict, a sentence on it, what is wrong, and the figures.

    `troubles` are all there are, each by itself; `told` is what people read of them. `interrupted` is
    of the last run. Behind is what lags by more than `limit`. A feed that is off has nothing but a
    verdict, one whose state cannot be read has the `error` beside it.
    """

    feed: str
    at: datetime
    verdict: Condition
    said: str
    troubles: Sequence[Trouble] = ()
    told: Sequence[Told] = ()
    interrupted: bool = False
    error: str | None = None
    last_run: JsonObject | None = None
    runs: Runs = Runs()
    lag: timedelta | None = None
    limit: timedelta | None = None
    position: datetime | None = None
    events: int = 0
    duplicates: int = 0
    takeover: Takeover | None = None
    hubs: Mapping[str, HubHealth] = field(default_factory=dict)
    locations: Sequence[LocationHealth] = ()
    gaps: Sequence[tuple[str, Gap]] = ()
    drift: Sequence[Drift] = ()
    warnings: Sequence[str] = ()
    quarantined: int = 0
    trend: Trend | None = None

    @property
    def ok(self) -> bool:
        return not any(trouble.grave for trouble in self.troubles)

    @property
    def is_known(self) -> bool:
        """Whether the feed is on, and its state could be read."""
        return self.verdict not in (Condition.OFF, Condition.UNKNOWN)

    def as_json(self) -> dict[str, Any]:
        """Give the documented JSON object; fields are only ever added."""
        judged = {"verdict": self.verdict, "said": self.said}
        wrong = [trouble.as_json() for trouble in self.troubles]
        if self.verdict is Condition.OFF:
            return {"feed": self.feed, "ok": True, "off": True, **judged}
        if self.verdict is Condition.UNKNOWN:
            return {"feed": self.feed, "ok": False, "error": self.error, **judged, "wrong": wrong}
        return {
            "feed": self.feed,
            "ok": self.ok,
            **judged,
            "at": format_time(self.at),
            "last_run": self.last_run,
            "runs_missed": self.runs.missed,
            "next_run": _time(self.runs.next_due),
            "behind_s": _seconds(self.lag),
            "limit_s": _seconds(self.limit),
            "last_fetch_timestamp": _time(self.position),
            "total_events_sent": self.events,
            "total_duplicates_skipped": self.duplicates,
            "takeover": self.takeover and _takeover_json(self.takeover),
            "hubs": {key: hub.as_json() for key, hub in self.hubs.items()},
            "locations": [location.as_json() for location in self.locations],
            "wrong": wrong,
            "gaps": [gap_json(name, gap) for name, gap in self.gaps],
            "drift": [drift_json(drift) for drift in self.drift],
            "warnings": list(self.warnings),
            "quarantined": self.quarantined,
            "trend": self.trend and self.trend.as_json(),
        }


def _record_json(record: HubRecord) -> dict[str, Any]:
    return {
        "events": record.events,
        "readings": record.readings,
        "duplicates": record.duplicates,
        "last_success": _time(record.last_success),
        "error": record.error,
        "since": _time(record.since),
    }


def _takeover_json(takeover: Takeover) -> dict[str, Any]:
    return {
        "position": format_time(takeover.position),
        "source": takeover.source,
        "at": _time(takeover.at),
    }


def _time(instant: datetime | None) -> str | None:
    return None if instant is None else format_time(instant)


def _seconds(length: timedelta | None) -> float | None:
    return None if length is None else round(length.total_seconds(), 3)
