"""What a run has to tell, gathered while it goes on, and made into its report."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from types import MappingProxyType

from app.base.checkpoints import Drift, Gap, LocationState
from app.base.instants import write_duration
from app.base.redaction import redact
from app.base.shards import WHOLE, Shard
from app.quality.drift import Drifting
from app.quality.lateness import Latenesses
from app.run.report import Changed, Compared, Failure, HubReport, Quarantined, Report
from app.settings.schema import FeedSettings, HubSettings, Settings


class Draft:
    """What a run has to tell, gathered while it goes on; each warning and failure once."""

    def __init__(
        self,
        run: str,
        feed: str,
        started: datetime,
        settings: Settings,
        *,
        dry_run: bool,
        shard: Shard = WHOLE,
        tick: str | None = None,
    ) -> None:
        self._run = run
        self._feed = feed
        self._started = started
        self._dry_run = dry_run
        self._shard = shard
        self._tick = tick
        self._hubs = hubs = settings.hubs
        self._got: dict[str, HubReport] = {hub.key: HubReport(paused=not hub.enabled) for hub in hubs}
        self.slices = 0
        self.lateness = Latenesses()
        self._quarantined: list[Quarantined] = []
        self._quarantined_before: list[Quarantined] = []
        self._gaps: list[tuple[str, Gap]] = []
        # Each once, in the order in which they came.
        self._warnings: dict[str, None] = dict.fromkeys(settings.warnings)
        self._failures: dict[Failure, None] = {}
        self._drifts: list[Drift] = []
        self._changed: dict[tuple[str, datetime], dict[str, str]] = {}
        self._compared = Compared(0, 0, 0)

    @property
    def failed(self) -> bool:
        return bool(self._failures)

    @property
    def first_error(self) -> str | None:
        return next((failure.error for failure in self._failures), None)

    def warn(self, text: str) -> None:
        text = redact(text)
        self._warnings.setdefault(text)

    def warn_of_look_back(self, location: str, readings: int, feed: FeedSettings) -> None:
        """Tell that a location's readings nearly came too late to be found."""
        noun = "reading" if readings == 1 else "readings"
        self.warn(
            f"{location}: {readings} {noun} came so late that the look-back "
            f"({write_duration(feed.look_back)}) all but ended before; write feeds.{feed.name}.look_back: "
            f"{write_duration(feed.look_back * 2)} in config.yaml, for later ones are missed"
        )

    def fail(self, location: str | None, hub: str | None, error: str) -> None:
        failure = Failure(location, hub, redact(error))
        self._failures.setdefault(failure)

    def hub_failed(self, hub: str, error: str) -> None:
        self._got[hub] = replace(self._got[hub], error=redact(error))
        self.fail(None, hub, error)

    def quarantined(self, reading: Quarantined) -> None:
        self._quarantined.append(reading)
        for hub in reading.hubs:
            self._got[hub] = replace(self._got[hub], quarantined=self._got[hub].quarantined + 1)

    def quarantined_before(self, reading: Quarantined) -> None:
        """Note a reading that came again, and that quarantine has for these hubs already."""
        self._quarantined_before.append(reading)

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
        failing_since: datetime | None,
        took_s: float,
        until: datetime | None = None,
        api_calls: int = 0,
        locations: Mapping[str, LocationState] = MappingProxyType({}),
        backlog_before_s: float = 0.0,
        apart_s: float | None = None,
        stopped: bool = False,
    ) -> Report:
        """Give the report; `locations` are those of the run, as they are now.

        `backlog_before_s` is what `backlog` gave for them before anything was fetched, `stopped` whether
        the run was told to stop.
        """
        lacking = [_lacking(found, self._hubs, until) for found in locations.values()] if until else []
        left_s = sum(lacking)
        gained_s = backlog_before_s - left_s
        return Report(
            run=self._run,
            feed=self._feed,
            started=self._started,
            failing_since=failing_since,
            until=until,
            took_s=took_s,
            locations=len(locations),
            slices=self.slices,
            api_calls=api_calls,
            hubs={key: _with_position(got, key, locations, until) for key, got in self._got.items()},
            left=sum(until is not None and self._is_behind(found, until) for found in locations.values()),
            left_s=left_s,
            left_longest_s=max(lacking, default=0.0),
            forecast_s=left_s / gained_s * took_s if left_s > 0 and gained_s > 0 else None,
            lateness=self.lateness.told(),
            dry_run=self._dry_run,
            shard=self._shard,
            tick=self._tick,
            quarantined=tuple(self._quarantined),
            quarantined_before=tuple(self._quarantined_before),
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
            interrupted=stopped and (until is None or left_s > 0),
        )

    def _is_behind(self, location: LocationState, until: datetime) -> bool:
        return any(hub.enabled and _position(location, hub.key, until) < until for hub in self._hubs)


def backlog(locations: Iterable[LocationState], hubs: Sequence[HubSettings], until: datetime) -> float:
    """Give the seconds of source time that locations lack up to `until`, each at its slowest hub on."""
    return sum(_lacking(location, hubs, until) for location in locations)


def _lacking(location: LocationState, hubs: Sequence[HubSettings], until: datetime) -> float:
    enabled = (hub.key for hub in hubs if hub.enabled)
    lacks = ((until - _position(location, hub, until)).total_seconds() for hub in enabled)
    return max(0.0, *lacks, 0.0)


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
