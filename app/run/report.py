"""The report of a run: what was done, for whom, and what was not. Its JSON form is a contract."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import datetime, timedelta
from typing import Any

from app.base.checkpoints import Drift, Gap, LocationState
from app.base.errors import ForwarderError
from app.base.instants import format_time
from app.base.redaction import redact
from app.quality.drift import Drifting
from app.quality.lateness import Lateness, Latenesses
from app.settings.schema import FeedSettings, HubSettings

_DAY_S = 86_400
# What a throughput unit takes a second (Event Hubs quotas documentation).
_UNIT_EVENTS = 1_000
_UNIT_BYTES = 1_000_000


@dataclass(frozen=True, slots=True)
class HubReport:
    """What one hub got in a run; `delivered_until` is the least over its locations.

    `behind_s` is how far that is from the horizon, in seconds; None where it has no location yet.
    `bytes` counts the bodies of the events, `maybe_twice` the readings whose acknowledgement was lost on
    the way, so that the hub may have them twice.
    """

    events: int = 0
    readings: int = 0
    duplicates: int = 0
    delivered_until: datetime | None = None
    behind_s: float | None = None
    error: str | None = None
    paused: bool = False
    bytes: int = 0
    maybe_twice: int = 0


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
    seconds; `forecast_s` the seconds that runs at this one's pace need for it, None where nothing
    is left or this one gained nothing. `failing_since` is when the first of the runs began of which
    none has ended well since; None where this one did. `apart_s` are the
    seconds since the run before began, where this one follows closely on it: what it did is then
    about what the feed does in such a time.
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
    forecast_s: float | None = None
    failing_since: datetime | None = None
    lateness: Lateness | None = None
    dry_run: bool = False
    quarantined: Sequence[Quarantined] = ()
    gaps: Sequence[tuple[str, Gap]] = ()
    warnings: Sequence[str] = ()
    failures: Sequence[Failure] = ()
    changed: Sequence[Changed] = ()
    drift: Sequence[Drift] = ()
    compared: Compared | None = None
    apart_s: float | None = None

    @property
    def ok(self) -> bool:
        return not self.failures

    def as_json(self) -> dict[str, Any]:
        """Give the documented JSON object; fields are only ever added."""
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
            "forecast_s": None if self.forecast_s is None else round(self.forecast_s, 3),
            "failing_since": self.failing_since and format_time(self.failing_since),
            "lateness": self.lateness and asdict(self.lateness),
            "hubs": {key: _hub_json(hub) for key, hub in self.hubs.items()},
            "quarantined": [
                {
                    "location": reading.location,
                    "hubs": list(reading.hubs),
                    "id": reading.id,
                    "reason": reading.reason,
                    "place": reading.place,
                }
                for reading in self.quarantined
            ],
            "gaps": [gap_json(location, gap) for location, gap in self.gaps],
            "warnings": list(self.warnings),
            "failures": [
                {"location": failure.location, "hub": failure.hub, "error": failure.error}
                for failure in self.failures
            ],
            "changed": [_changed_json(changed) for changed in self.changed],
            "drift": [drift_json(drift) for drift in self.drift],
            "compared": self.compared and asdict(self.compared),
            "per_day": self._per_day(),
        }

    def _per_day(self) -> dict[str, Any] | None:
        """Forecast a day's work: API calls, and what each hub gets, as a share of a throughput unit."""
        if not self.apart_s:
            return None
        runs = _DAY_S / self.apart_s
        return {
            "api_calls": round(self.api_calls * runs),
            "hubs": {
                key: {
                    "events": round(hub.events * runs),
                    "bytes": round(hub.bytes * runs),
                    "unit_share": round(
                        max(hub.events / _UNIT_EVENTS, hub.bytes / _UNIT_BYTES) / self.apart_s, 6
                    ),
                }
                for key, hub in self.hubs.items()
            },
        }

    def summary(self) -> str:
        """Say in one line what failed, for an exception's text."""
        first = self.failures[0].error if self.failures else "nothing failed"
        more = f" (and {len(self.failures) - 1} more)" if len(self.failures) > 1 else ""
        return f"{self.feed}: {first}{more}"


class Draft:
    """What a run has to tell, gathered while it goes on; each warning and failure once."""

    def __init__(self, hubs: Sequence[HubSettings], warnings: Sequence[str] = ()) -> None:
        self._hubs = hubs
        self._got: dict[str, HubReport] = {hub.key: HubReport(paused=not hub.enabled) for hub in hubs}
        self.slices = 0
        self.lateness = Latenesses()
        self._quarantined: list[Quarantined] = []
        self._gaps: list[tuple[str, Gap]] = []
        self._warnings: list[str] = list(warnings)
        self._failures: list[Failure] = []
        self._drifts: list[Drift] = []
        self._changed: dict[tuple[str, datetime], dict[str, str]] = {}
        self._compared = Compared(0, 0, 0)

    @property
    def failed(self) -> bool:
        return bool(self._failures)

    @property
    def first_error(self) -> str | None:
        return self._failures[0].error if self._failures else None

    def warn(self, text: str) -> None:
        text = redact(text)
        if text not in self._warnings:
            self._warnings.append(text)

    def warn_of_look_back(self, location: str, readings: int, feed: FeedSettings) -> None:
        """Tell that a location's readings nearly came too late to be found."""
        noun = "reading" if readings == 1 else "readings"
        self.warn(
            f"{location}: {readings} {noun} came so late that the look-back ({_written(feed.look_back)}) "
            f"all but ended before; later ones are missed; in config.yaml write "
            f"feeds.{feed.name}.look_back: {_written(feed.look_back * 2)}"
        )

    def fail(self, location: str | None, hub: str | None, error: str) -> None:
        failure = Failure(location, hub, redact(error))
        if failure not in self._failures:
            self._failures.append(failure)

    def hub_failed(self, hub: str, error: str) -> None:
        self._got[hub] = replace(self._got[hub], error=redact(error))
        self.fail(None, hub, error)

    def quarantined(self, reading: Quarantined) -> None:
        self._quarantined.append(reading)

    def found_gap(self, location: str, gap: Gap) -> None:
        self._gaps.append((location, gap))

    def drifts(self, found: Iterable[Drift]) -> None:
        """Note what is not as it was; which of it is news, `settle_drift` says."""
        self._drifts += found

    def settle_drift(self, drifting: Drifting) -> None:
        self._drifts = list(drifting.told)

    @property
    def drifted(self) -> Sequence[Drift]:
        return tuple(self._drifts)

    def changed(self, location: str, hour: datetime, ids: Mapping[str, str]) -> None:
        """Note readings whose content changed after delivery: what became of each id."""
        self._changed.setdefault((location, hour), {}).update(ids)

    def compared(self, hours: int, differ: int) -> None:
        """Count a location that was compared with the source."""
        known = self._compared
        self._compared = Compared(known.locations + 1, known.hours + hours, known.differ + differ)

    def delivered(
        self, hub: str, *, events: int, readings: int, duplicates: int, maybe_twice: int, size: int
    ) -> None:
        got = self._got[hub]
        self._got[hub] = replace(
            got,
            events=got.events + events,
            readings=got.readings + readings,
            duplicates=got.duplicates + duplicates,
            maybe_twice=got.maybe_twice + maybe_twice,
            bytes=got.bytes + size,
        )

    def finish(
        self,
        *,
        run: str,
        feed: str,
        started: datetime,
        failing_since: datetime | None,
        until: datetime | None,
        took_s: float,
        api_calls: int,
        locations: Mapping[str, LocationState],
        backlog_before_s: float,
        apart_s: float | None,
        dry_run: bool,
    ) -> Report:
        """Give the report; `locations` are those of the run, as they are now.

        `backlog_before_s` is what `backlog` gave for them before anything was fetched.
        """
        left_s = backlog(locations.values(), self._hubs, until) if until else 0.0
        gained_s = backlog_before_s - left_s
        left = {
            name
            for name, location in locations.items()
            for hub in self._hubs
            if hub.enabled and until and _position(location, hub.key, until) < until
        }
        return Report(
            run=run,
            feed=feed,
            started=started,
            failing_since=failing_since,
            until=until,
            took_s=took_s,
            locations=len(locations),
            slices=self.slices,
            api_calls=api_calls,
            hubs={key: _with_position(got, key, locations, until) for key, got in self._got.items()},
            left=len(left),
            left_s=left_s,
            forecast_s=left_s / gained_s * took_s if left_s > 0 and gained_s > 0 else None,
            lateness=self.lateness.told(),
            dry_run=dry_run,
            quarantined=tuple(self._quarantined),
            gaps=tuple(self._gaps),
            warnings=tuple(self._warnings),
            failures=tuple(self._failures),
            changed=[
                Changed(location, hour, tuple(sorted(ids.items())))
                for (location, hour), ids in sorted(self._changed.items())
            ],
            drift=tuple(self._drifts),
            compared=self._compared if self._compared.locations else None,
            apart_s=apart_s,
        )


def backlog(locations: Iterable[LocationState], hubs: Sequence[HubSettings], until: datetime) -> float:
    """Give the seconds of source time that locations lack up to `until`, each at its slowest hub on."""
    enabled = [hub.key for hub in hubs if hub.enabled]
    return sum(
        max(
            (max(0.0, (until - _position(location, hub, until)).total_seconds()) for hub in enabled),
            default=0,
        )
        for location in locations
    )


def _written(duration: timedelta) -> str:
    """Write a duration as the settings do, in its largest whole unit."""
    seconds = round(duration.total_seconds())
    for unit, size in (("d", 86_400), ("h", 3_600), ("m", 60)):
        if seconds and seconds % size == 0:
            return f"{seconds // size}{unit}"
    return f"{seconds}s"


def _position(location: LocationState, hub: str, otherwise: datetime) -> datetime:
    checkpoint = location.checkpoints.get(hub)
    return checkpoint.delivered_until if checkpoint else otherwise


def _with_position(
    got: HubReport, hub: str, locations: Mapping[str, LocationState], until: datetime | None
) -> HubReport:
    positions = [
        location.checkpoints[hub].delivered_until
        for location in locations.values()
        if hub in location.checkpoints
    ]
    if not positions or until is None:
        return got
    least = min(positions)
    return replace(got, delivered_until=least, behind_s=round(max(0.0, (until - least).total_seconds()), 3))


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
    share = max(hub.events / _UNIT_EVENTS, hub.bytes / _UNIT_BYTES) / apart_s
    return {
        "events": round(hub.events * runs),
        "bytes": round(hub.bytes * runs),
        "unit_share": round(share, 6),
    }


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
    return {
        "events": hub.events,
        "readings": hub.readings,
        "duplicates": hub.duplicates,
        "maybe_twice": hub.maybe_twice,
        "bytes": hub.bytes,
        "delivered_until": hub.delivered_until and format_time(hub.delivered_until),
        "behind_s": hub.behind_s,
        "error": hub.error,
        "paused": hub.paused,
    }


class RunFailed(ForwarderError):
    """Something was not delivered; everything else was tried first. The report says what."""

    def __init__(self, report: Report) -> None:
        super().__init__(f"run {report.run} of {report.summary()}")
        self.report = report
