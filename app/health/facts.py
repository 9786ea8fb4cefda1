"""What a feed is judged by: when it ran and should have, and where its locations stand. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import islice, takewhile

from app.base.budget import GRACE
from app.base.checkpoints import FeedState, Gap, HubRecord, LocationState
from app.base.instants import parse_time
from app.base.shards import Shard
from app.feeds.feed import why_not_asked
from app.health.past_runs import PastRun
from app.health.records import Condition, HubOfLocation, LocationHealth, Runs
from app.health.trend import TREND
from app.run.due_runs import expected_position
from app.settings.ncrontab import times_after, times_before
from app.settings.schema import FeedSettings, HubSettings, Settings

# How much of the history is looked at: a day, and the day before it to compare with.
HISTORY = 2 * TREND
# Over a hundred days of people counters: beyond that the count tells nothing more, and takes long.
_MISSED_AT_MOST = 10_000


@dataclass(frozen=True, slots=True)
class Kept:
    """What is kept of a feed: its state, its runs since `HISTORY`, readings set aside.

    `quarantined` is how many those are, counted up to a limit at which `counted_all` is False.
    """

    state: FeedState
    runs: Sequence[PastRun] = ()
    quarantined: int = 0
    counted_all: bool = True

    @property
    def last(self) -> PastRun | None:
        return self.runs[-1] if self.runs else None

    def not_begun(self, now: datetime) -> PastRun | None:
        """Give the newest run, where it failed before it changed the state: at the login, most likely."""
        ended, last = self.state.last_run_ended(), self.last
        is_newer = last is not None and last.started <= now and (ended is None or last.started > ended)
        return last if last is not None and is_newer and not last.ok else None

    def record(self, location: str, hub: str) -> HubRecord:
        found = self.state.locations.get(location)
        return found.hubs.get(hub, HubRecord()) if found else HubRecord()

    def gaps(self) -> list[tuple[str, Gap]]:
        """Give the gaps with their locations, in the order of the names."""
        return [(name, gap) for name, found in sorted(self.state.locations.items()) for gap in found.gaps]

    def last_success(self) -> datetime | None:
        records = (record for found in self.state.locations.values() for record in found.hubs.values())
        return max((record.last_success for record in records if record.last_success), default=None)


@dataclass(frozen=True, slots=True)
class Facts:
    """A feed under judgement. What is asked for counts, at hubs that are `on`; all else is only shown.

    `limit` is what nothing may lag by more than; where it is not `given`, no two runs that were due.
    """

    feed: FeedSettings
    hubs: Mapping[str, HubSettings]
    kept: Kept
    now: datetime
    longest_run: timedelta
    runs: Runs
    limit: timedelta | None
    given: bool
    locations: Sequence[LocationHealth]

    @property
    def on(self) -> list[str]:
        return [key for key, hub in self.hubs.items() if hub.enabled]

    @property
    def asked(self) -> dict[str, LocationHealth]:
        return {location.name: location for location in self.locations if location.asked}

    @property
    def lag(self) -> timedelta | None:
        """The most that anything lags by."""
        return max((found.lag for found in self.asked.values() if found.lag is not None), default=None)

    def since(self, instant: datetime) -> timedelta:
        return max(self.now - instant, timedelta(0))

    def hub_name(self, key: str) -> str:
        return self.hubs[key].name if key in self.hubs else key


def gather_facts(
    feed: FeedSettings, settings: Settings, kept: Kept, now: datetime, max_behind: timedelta | None
) -> Facts:
    longest_run = settings.run.budget + GRACE
    runs = _runs(feed.schedule, kept, now, longest_run)
    limit = max_behind
    if limit is None and runs.expected is not None:
        limit = now - runs.expected + feed.settle
    hubs = {hub.key: hub for hub in settings.hubs}
    locations = [
        _location(name, location, hubs, now, limit, asked=_is_asked(name, location, feed, kept.state))
        for name, location in sorted(kept.state.locations.items())
    ]
    locations += _not_begun(feed, kept, now, limit)
    return Facts(feed, hubs, kept, now, longest_run, runs, limit, max_behind is not None, locations)


def _runs(schedule: str, kept: Kept, now: datetime, longest_run: timedelta) -> Runs:
    began, ended = _began(kept), kept.state.last_run_ended()
    if (failed := kept.not_begun(now)) is not None:
        # It is over at once, and what it says of that itself may be anything.
        began = ended = failed.started
    missed = 0
    if began is not None:
        since = takewhile(lambda at: at > began, times_before(schedule, now - longest_run))
        missed = sum(1 for _ in islice(since, _MISSED_AT_MOST))
    return Runs(
        began,
        ended,
        next(times_after(schedule, now), None),
        missed,
        expected_position(schedule, now, longest_run),
    )


def _began(kept: Kept) -> datetime | None:
    began = _parsed((kept.state.last_run or {}).get("started"))
    if began is not None and kept.last is not None and kept.last.shards > 1:
        # The state has when the first of all shards began: long ago, where one does not run any more.
        return max(began, kept.last.started)
    # A run that was killed has said nothing of itself, but its hubs' positions tell of it.
    return began or kept.last_success()


def _is_asked(name: str, location: LocationState, feed: FeedSettings, state: FeedState) -> bool:
    """Whether a run still asks for the location: one that is gone stays where it is, and is not behind."""
    if name in feed.locations:
        return True
    return location.last_listed is not None and not state.is_gone(location)


def _location(
    name: str,
    location: LocationState,
    hubs: Mapping[str, HubSettings],
    now: datetime,
    limit: timedelta | None,
    *,
    asked: bool,
) -> LocationHealth:
    found: dict[str, HubOfLocation] = {}
    for key, checkpoint in sorted(location.checkpoints.items()):
        hub, record = hubs.get(key), location.hubs.get(key, HubRecord())
        lag = max(now - checkpoint.delivered_until, timedelta(0))
        behind = asked and _is_on(hub) and limit is not None and lag > limit
        how = fares(failing=bool(location.error or record.error), behind=behind) if asked else Condition.GONE
        found[key] = HubOfLocation(
            hub_condition(hub, how), checkpoint.delivered_until, checkpoint.known_from, lag, behind, record
        )
    failing = any(record.error for key, record in location.hubs.items() if _is_on(hubs.get(key)))
    how = fares(failing=failing or bool(location.error), behind=any(hub.behind for hub in found.values()))
    return LocationHealth(
        name,
        how if asked else Condition.GONE,
        asked,
        max((hub.lag for hub in found.values() if hub.is_on), default=None),
        location.last_listed,
        location.newest,
        location.error,
        location.since,
        found,
    )


def _not_begun(
    feed: FeedSettings, kept: Kept, now: datetime, limit: timedelta | None
) -> Iterator[LocationHealth]:
    """Give the locations of which nothing is kept, since the shards that hold them have not run."""
    if kept.last is None or not (since := _missing_since(kept.runs, kept.last)):
        return
    discovery = kept.state.discovery
    listed = {place.name for place in discovery.places} - {*discovery.collisions} if discovery else set()
    for name in sorted({*listed, *feed.locations} - kept.state.locations.keys()):
        first = since.get(Shard.of_location(name, kept.last.shards).number)
        if first is not None and why_not_asked(name, feed) is None:
            lag = max(now - first, timedelta(0))
            how = fares(failing=False, behind=limit is not None and lag > limit)
            listed_at = discovery.at if discovery and name in listed else None
            yield LocationHealth(name, how, asked=True, lag=lag, last_listed=listed_at)


def _missing_since(runs: Sequence[PastRun], last: PastRun) -> Mapping[int, datetime]:
    """Give the shards that ran in none of the newest runs, each with when the first of these began."""
    since: dict[int, datetime] = {}
    still = {*last.missing}
    for run in reversed(runs):
        still &= {*run.missing} if run.shards == last.shards else set()
        since |= dict.fromkeys(still, run.started)
    return since


def fares(*, failing: bool, behind: bool) -> Condition:
    return Condition.FAILING if failing else Condition.BEHIND if behind else Condition.HEALTHY


def hub_condition(hub: HubSettings | None, how: Condition) -> Condition:
    """Give how something fares at a hub, unless that is not in the settings, or off."""
    if hub is None:
        return Condition.REMOVED
    return how if hub.enabled else Condition.PAUSED


def _is_on(hub: HubSettings | None) -> bool:
    return hub is not None and hub.enabled


def _parsed(written: object) -> datetime | None:
    return parse_time(written) if isinstance(written, str) else None
