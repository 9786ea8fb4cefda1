"""A backfill: a past window is asked for again and sent to hubs, beside the live runs. Pure.

It is made of runs like any other, with settings narrowed to what was asked for, and with positions
under a state name of its own, so that it never touches the live ones, and goes on after a
kill where it stopped. Ids are the same as ever.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from app.base.checkpoints import Checkpoint, FeedState, LocationState
from app.base.instants import DAY, HOUR, format_time, hour_of
from app.base.readings import Ids, Slice
from app.eventhub.received import Received
from app.feeds.feed import Feed
from app.run.hub_events import is_of, location_of, names_on_the_wire, readings_of
from app.run.planning import Limits, slices_needed
from app.run.report import HubReport, Report
from app.settings.schema import FeedSettings, Settings
from app.state.edits import rate_of

# A view may show readings a little outside the window that it was asked for.
_AROUND = DAY


@dataclass(frozen=True, slots=True)
class Backfill:
    """What was asked for. No `locations` or `hubs` (keys) means all that are forwarded, or are on."""

    feed: str
    window: Slice
    locations: tuple[str, ...] = ()
    hubs: tuple[str, ...] = ()
    only_missing: bool = False

    def state_name(self, feed_state_name: str) -> str:
        """Give the name its positions are kept under: the same for the same request, and no other.

        Letters and digits only, for it becomes a table's name.
        """
        asked = [
            format_time(self.window.start),
            format_time(self.window.end),
            sorted(self.locations),
            sorted(self.hubs),
            self.only_missing,
        ]
        digest = hashlib.sha256(json.dumps(asked).encode()).hexdigest()[:8]
        return f"{feed_state_name}backfill{digest}"

    def narrowed(self, settings: Settings, locations: Sequence[str]) -> Settings:
        """Give the settings of its runs, which ask for `locations` and discover nothing.

        What was published late needs no look-back: it is there by now.
        """
        feed = replace(
            settings.feeds[self.feed],
            look_back=timedelta(0),
            cluster_ids=(),
            locations=tuple(locations),
        )
        return replace(
            settings,
            feeds={self.feed: feed},
            hubs=tuple(
                hub for hub in settings.hubs if hub.enabled and (not self.hubs or hub.key in self.hubs)
            ),
            run=replace(settings.run, start_from=self.window.start),
        )


@dataclass(frozen=True, slots=True)
class Expected:
    """About what a backfill asks for: `readings` of the locations whose rate is known, None if none is."""

    windows: int
    readings: int | None
    unknown: int


def expected(window: Slice, locations: Sequence[str], live: FeedState, feed: FeedSettings) -> Expected:
    """Reckon by the rate of each location's last day, as the live state has it."""
    rates = [rate_of(live.locations.get(name, LocationState())) for name in locations]
    known = [rate for rate in rates if rate is not None]
    hours = (window.end - window.start) / HOUR
    return Expected(
        sum(slices_needed(window, rate, Limits.of(feed)) for rate in rates),
        round(sum(known) * hours) if known else None,
        len(rates) - len(known),
    )


class Held:
    """The ids that a hub holds of a window, gathered from its events; of these nothing else is kept.

    From `readable_from` on nothing was lost to the hub's retention (None: ever).
    """

    def __init__(self, feed: Feed, window: Slice, locations: Collection[str]) -> None:
        self._feed = feed
        self._asked = window
        self._window = Slice(window.start - _AROUND, window.end + _AROUND)
        self._within: set[tuple[str, str]] = set()
        self._name_of = names_on_the_wire(locations)
        self._ids: dict[str, dict[datetime, set[str]]] = {name: {} for name in locations}
        self.readable_from: datetime | None = None

    def take(self, event: Received) -> None:
        """Note the readings of an event; one of another feed, location or sender says nothing.

        What counts is the content. A message id is a claim: of an event that was altered since, or that
        another sender made up, it would keep a reading from being sent that the hub does not have.
        """
        location = location_of(event, self._name_of)
        if location is None or not is_of(self._feed, event):
            return
        for reading in readings_of(self._feed, location, event) or ():
            if reading.time is not None and reading.time in self._window:
                self._ids[location].setdefault(hour_of(reading.time), set()).add(reading.id)
                if reading.time in self._asked:
                    self._within.add((location, reading.id))

    def ids(self, location: str) -> Ids:
        return {hour: frozenset(found) for hour, found in self._ids.get(location, {}).items()}

    @property
    def readings(self) -> int:
        """Give how many it has of the window itself."""
        return len(self._within)


def first_state(
    backfill: Backfill, locations: Sequence[str], hubs: Sequence[str], held: Mapping[str, Held]
) -> FeedState:
    """Give the state to begin with: every hub at the window's start, with the ids it is known to hold."""
    start = backfill.window.start
    return FeedState(
        locations={
            name: LocationState(
                checkpoints={
                    hub: Checkpoint(start, start, held[hub].ids(name) if hub in held else {}) for hub in hubs
                }
            )
            for name in locations
        },
        last_run={"backfill": format_time(start)},
    )


def summed(reports: Sequence[Report]) -> Report:
    """Give one report of a backfill's runs: totals, and how it stands after the last one."""
    last = reports[-1]
    return replace(
        last,
        started=reports[0].started,
        took_s=sum(report.took_s for report in reports),
        slices=sum(report.slices for report in reports),
        api_calls=sum(report.api_calls for report in reports),
        hubs={
            key: _summed_hub([report.hubs[key] for report in reports], hub) for key, hub in last.hubs.items()
        },
        quarantined=[found for report in reports for found in report.quarantined],
        quarantined_before=[found for report in reports for found in report.quarantined_before],
        gaps=[found for report in reports for found in report.gaps],
        warnings=list(dict.fromkeys(text for report in reports for text in report.warnings)),
    )


def _summed_hub(hubs: Sequence[HubReport], last: HubReport) -> HubReport:
    return replace(
        last,
        events=sum(hub.events for hub in hubs),
        readings=sum(hub.readings for hub in hubs),
        duplicates=sum(hub.duplicates for hub in hubs),
        maybe_twice=sum(hub.maybe_twice for hub in hubs),
        quarantined=sum(hub.quarantined for hub in hubs),
        bytes=sum(hub.bytes for hub in hubs),
    )
