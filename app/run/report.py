"""The report of a run: what was done, for whom, and what was not. Its JSON form is a contract."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any, Final

from app.base.checkpoints import Drift, Gap
from app.base.errors import ForwarderError
from app.base.instants import format_time
from app.base.shards import WHOLE, Shard
from app.quality.lateness import Lateness

_DAY_S = 86_400
# How a warning of a first run begins: what it tells of is over with the next one.
NO_STATE: Final = "no state at "
TAKEN_OVER: Final = "the earlier forwarder's position "
# What a throughput unit takes a second (Event Hubs quotas documentation).
UNIT_EVENTS: Final = 1_000
UNIT_BYTES: Final = 1_000_000


@dataclass(frozen=True, slots=True)
class HubReport:
    """What one hub got in a run; `delivered_until` is the least over its locations.

    `behind_s` is how far that is from the horizon, in seconds; None where it has no location yet.
    `bytes` counts the bodies of the events, `maybe_twice` the readings whose acknowledgement was lost on
    the way, so that the hub may have them twice, `quarantined` those that were set aside for it.
    """

    events: int = 0
    readings: int = 0
    duplicates: int = 0
    maybe_twice: int = 0
    bytes: int = 0
    delivered_until: datetime | None = None
    behind_s: float | None = None
    error: str | None = None
    paused: bool = False
    quarantined: int = 0


@dataclass(frozen=True, slots=True)
class Failure:
    """Something that was not delivered: of a location, to a hub, or, where both are None, at all."""

    location: str | None
    hub: str | None
    error: str


@dataclass(frozen=True, slots=True)
class Quarantined:
    """A reading that was set aside for some hubs; `place` is where it is kept."""

    location: str
    hubs: tuple[str, ...]
    id: str
    reason: str
    place: str


@dataclass(frozen=True, slots=True)
class Compared:
    """A comparison with the source in spare time: of how many locations and hours, and how many differ."""

    locations: int
    hours: int
    differ: int


@dataclass(frozen=True, slots=True)
class Changed:
    """Readings of an hour whose content changed after delivery, with their ids before and after.

    No `ids` where only the hour's fingerprint tells it.
    """

    location: str
    hour: datetime
    ids: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class Report:
    """One run of one feed. `until` is the horizon; `left` counts locations that are still behind it.

    `left_s` is the source time that they have still to be fetched, each for its slowest hub, in
    seconds, `left_longest_s` that of the one that is furthest behind; `forecast_s` the seconds that runs
    at this one's pace need for it all, None where nothing is left or this one gained nothing.
    `interrupted`: it was told to stop before it was done, which is no failure. `failing_since` is when
    the first of the runs began of which none has ended well since; None where this one did. `apart_s`
    are the seconds since the run before began, where this one follows closely on it: what it did is
    then about what the feed does in such a time. `quarantined_before` came again and is in quarantine
    for these hubs already; the place of such a reading is its key there. `shard` is the part of the feed
    that was run; runs of shards that were begun together share a `tick`.
    """

    run: str
    feed: str
    started: datetime
    until: datetime | None
    took_s: float
    locations: int
    slices: int
    api_calls: int
    hubs: Mapping[str, HubReport]
    left: int = 0
    left_s: float = 0.0
    left_longest_s: float = 0.0
    forecast_s: float | None = None
    failing_since: datetime | None = None
    lateness: Lateness | None = None
    dry_run: bool = False
    quarantined: Sequence[Quarantined] = ()
    quarantined_before: Sequence[Quarantined] = ()
    gaps: Sequence[tuple[str, Gap]] = ()
    warnings: Sequence[str] = ()
    failures: Sequence[Failure] = ()
    changed: Sequence[Changed] = ()
    drift: Sequence[Drift] = ()
    compared: Compared | None = None
    apart_s: float | None = None
    interrupted: bool = False
    shard: Shard = WHOLE
    tick: str | None = None

    @property
    def ok(self) -> bool:
        return not self.failures

    def as_json(self) -> dict[str, Any]:
        """Give the documented JSON object; fields are only ever added.

        A run of the whole feed names no shard, and only one that was begun with others has a tick.
        """
        shard = {} if self.shard.is_whole else {"shard": {"index": self.shard.number, "of": self.shard.of}}
        tick = {} if self.tick is None else {"tick": self.tick}
        return {
            "run": self.run,
            "feed": self.feed,
            "ok": self.ok,
            "dry_run": self.dry_run,
            "started": format_time(self.started),
            "until": self.until and format_time(self.until),
            "took_s": round(self.took_s, 3),
            "locations": self.locations,
            "slices": self.slices,
            "api_calls": self.api_calls,
            "left": self.left,
            "left_s": round(self.left_s, 3),
            "left_longest_s": round(self.left_longest_s, 3),
            "forecast_s": None if self.forecast_s is None else round(self.forecast_s, 3),
            "failing_since": self.failing_since and format_time(self.failing_since),
            "lateness": self.lateness and asdict(self.lateness),
            "hubs": {key: _hub_json(hub) for key, hub in self.hubs.items()},
            "quarantined": [_quarantined_json(found) for found in self.quarantined],
            "quarantined_before": [_quarantined_json(found) for found in self.quarantined_before],
            "gaps": [gap_json(location, gap) for location, gap in self.gaps],
            "warnings": list(self.warnings),
            "failures": [asdict(failure) for failure in self.failures],
            "changed": [_changed_json(changed) for changed in self.changed],
            "drift": [drift_json(drift) for drift in self.drift],
            "compared": self.compared and asdict(self.compared),
            "per_day": self._per_day(),
            "interrupted": self.interrupted,
            **shard,
            **tick,
        }

    def _per_day(self) -> dict[str, Any] | None:
        """Forecast a day's work: API calls, and what each hub gets, as a share of a throughput unit."""
        if not self.apart_s:
            return None
        runs = _DAY_S / self.apart_s
        return {
            "api_calls": round(self.api_calls * runs),
            "hubs": {key: _hub_per_day(hub, self.apart_s) for key, hub in self.hubs.items()},
        }

    def summary(self) -> str:
        """Say in one line what failed, for an exception's text."""
        first = self.failures[0].error if self.failures else "nothing failed"
        more = f" (and {len(self.failures) - 1} more)" if len(self.failures) > 1 else ""
        return f"{self.feed}: {first}{more}"


def is_note(warning: str) -> bool:
    """Whether a run's warning only tells how it began: nothing is wrong, and no later run says it."""
    return warning.startswith((NO_STATE, TAKEN_OVER))


def gap_json(location: str, gap: Gap) -> dict[str, Any]:
    """Give a gap as reports and `status` show it."""
    return {
        "location": location,
        "from": format_time(gap.window.start),
        "to": format_time(gap.window.end),
        "cause": gap.cause,
        "found": format_time(gap.found),
        "hubs": list(gap.hubs),
    }


def _hub_per_day(hub: HubReport, apart_s: float) -> dict[str, Any]:
    runs = _DAY_S / apart_s
    share = max(hub.events / UNIT_EVENTS, hub.bytes / UNIT_BYTES) / apart_s
    return {
        "events": round(hub.events * runs),
        "bytes": round(hub.bytes * runs),
        "unit_share": round(share, 6),
    }


def _quarantined_json(found: Quarantined) -> dict[str, Any]:
    return {**asdict(found), "hubs": list(found.hubs)}


def drift_json(drift: Drift) -> dict[str, Any]:
    """Give what drifts as reports and `status` show it."""
    return {
        "kind": drift.kind,
        "location": drift.location,
        "sensor": list(drift.sensor),
        "text": drift.text,
        "since": format_time(drift.since),
    }


def _changed_json(changed: Changed) -> dict[str, Any]:
    return {
        "location": changed.location,
        "hour": format_time(changed.hour),
        "readings": len(changed.ids) or None,
        "ids": [list(pair) for pair in changed.ids],
    }


def _hub_json(hub: HubReport) -> dict[str, Any]:
    return {**asdict(hub), "delivered_until": hub.delivered_until and format_time(hub.delivered_until)}


class RunFailed(ForwarderError):
    """Something was not delivered; everything else was tried first. The report says what."""

    def __init__(self, report: Report) -> None:
        super().__init__(f"run {report.run} of {report.summary()}")
        self.report = report
