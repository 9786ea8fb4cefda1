"""Where a run begins: its locations, and the first checkpoint of each hub at each of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from app.base.checkpoints import LOCATION_KEPT, Discovery, Drift, FeedState, Takeover
from app.base.clocks import DATE_RESOLUTION
from app.base.errors import AuthError, NoPermission, SourceError, SourceRefused
from app.base.instants import HOUR, MILLISECOND, floor_to, format_time
from app.base.shards import WHOLE, Shard
from app.base.text import counted
from app.feeds.feed import why_not_asked
from app.microshare.client import MicroshareClient
from app.microshare.discovery import Found, shared_identities
from app.quality.drift import between
from app.run.draft import Draft
from app.run.ledger import Ledger
from app.run.report import NO_STATE, TAKEN_OVER
from app.settings.schema import FeedSettings, Settings

# A cold start within the hour does not ask again.
_DISCOVERY_KEPT = HOUR
# Two hosts, or two runs by different clocks, may differ by so much; a list from further ahead is no list.
_CLOCK_TOLERANCE = timedelta(minutes=5)


@dataclass(frozen=True, slots=True)
class FoundLocations:
    """What a run asks for, and what was noticed while that was found out. Nothing is written down yet.

    `names` are discovered, configured, or lately listed; `refused` stand in two organisations, or have
    names that a view could take for a part of its query.
    `discovery` is the one that counts, `is_new` whether the state has another. `failures` go with the
    location they are about, or None. Of a `shard` it is what concerns the locations that it holds;
    `others` says whether there are some that it does not hold.
    """

    names: tuple[str, ...]
    refused: frozenset[str]
    discovery: Discovery | None
    is_new: bool
    warnings: tuple[str, ...] = ()
    failures: tuple[tuple[str | None, str], ...] = ()
    drift: tuple[Drift, ...] = ()
    shard: Shard = WHOLE
    others: bool = False

    def noted(self, ledger: Ledger, draft: Draft) -> None:
        """Write down in a run's ledger what was found, and in its draft what was noticed."""
        if self.discovery is not None:
            if self.is_new:
                ledger.update(discovery=self.discovery)
            for place in self.discovery.places:
                if place.name not in self.refused and self.shard.holds(place.name):
                    ledger.listed(place.name, self.discovery.at)
        draft.drifts(self.drift)
        for text in self.warnings:
            draft.warn(text)
        for name, text in self.failures:
            draft.fail(name, None, text)


def find_locations(
    client: MicroshareClient,
    state: FeedState,
    settings: Settings,
    feed: FeedSettings,
    horizon: datetime,
    shard: Shard = WHOLE,
    *,
    kept: timedelta = _DISCOVERY_KEPT,
) -> FoundLocations:
    """Find what a run asks for: locations that are discovered, configured, and lately listed.

    A list that is younger than `kept` is not asked for again.

    Where discovery fails, the last known list is used and the result says so. Raises SourceError
    only where there is none. A shard goes by the newest list that any of them has. What is new, gone or
    renamed is told by the one that holds the name.
    """
    asked_with = f"{settings.microshare.api_url} {settings.microshare.identity} {feed.cluster_ids}"
    known = state.discovery
    discovery = _newest_list(state, asked_with)
    warnings: list[str] = []
    failures: list[tuple[str | None, str]] = []
    drift: Sequence[Drift] = ()
    if feed.cluster_ids and not _is_fresh(discovery, asked_with, horizon, kept):
        try:
            found = client.discover_locations(feed.cluster_ids)
        except AuthError:
            raise
        except SourceError as error:
            if discovery is None and not feed.locations:
                raise
            text = f"discovery failed, the last known list of locations is used: {error}"
            if isinstance(error, NoPermission | SourceRefused):
                failures.append((None, text))
            else:
                warnings.append(text)
        else:
            before = discovery if discovery is not None and discovery.of == asked_with else None
            warnings += _newly_shared(before, found, settings.microshare.identity)
            discovery = Discovery(horizon, found.places, asked_with, found.collisions)
            warnings += found.warnings
    is_new = discovery is not known
    if known is not None and discovery is not None and is_new and known.of == discovery.of:
        drift = between(known, discovery.places, horizon, feed.name)
    # Named in MICROSHARE_LOCATIONS, a building is asked for whoever else has one of that name.
    refused = frozenset(discovery.collisions if discovery else ()) - set(feed.locations)
    failures += ((name, _why_refused(name)) for name in sorted(refused) if shard.holds(name))
    of_all = _names(state, discovery, feed, horizon) - refused
    names = {name for name in of_all if shard.holds(name)}
    unfit = {name: why for name in sorted(names) if (why := why_not_asked(name, feed))}
    failures += unfit.items()
    refused |= unfit.keys()
    return FoundLocations(
        tuple(sorted(names - refused)),
        refused,
        discovery,
        is_new,
        tuple(warnings),
        tuple(failures),
        tuple(each for each in drift if each.location is not None and shard.holds(each.location)),
        shard,
        others=len(names) < len(of_all),
    )


def begin_checkpoints(
    ledger: Ledger,
    settings: Settings,
    names: list[str],
    horizon: datetime,
    place: str,
    draft: Draft,
    *,
    may_be_new: bool = True,
) -> None:
    """Give every hub without a checkpoint its first one; warn of positions ahead of the horizon.

    The first is at START_FROM, or at the earlier forwarder's position where that is taken over now.
    `place` is where the state is kept, for the report, which says where an installation is new, if it
    may be: a shard's locations can all be new where the feed is not.
    """
    start = min(_start(ledger, settings, names, horizon, place if may_be_new else None, draft), horizon)
    ahead: list[tuple[datetime, str, str]] = []
    for name in names:
        for hub in settings.hubs:
            checkpoint = ledger.location(name).checkpoints.get(hub.key)
            if checkpoint is None:
                ledger.begin(name, hub.key, floor_to(start, MILLISECOND), horizon)
            elif checkpoint.delivered_until > horizon:
                ahead.append((checkpoint.delivered_until, name, hub.name))
    _warn_of_ahead(ahead, horizon, draft)


def _warn_of_ahead(ahead: list[tuple[datetime, str, str]], horizon: datetime, draft: Draft) -> None:
    if not ahead or max(ahead)[0] - horizon <= DATE_RESOLUTION:
        return
    position, name, hub = max(ahead)
    more = f" ({counted(len(ahead) - 1, 'other')} too)" if len(ahead) > 1 else ""
    draft.warn(
        f"{name}: the position of hub {hub}, {format_time(position)}, is ahead of the clock, "
        f"{format_time(horizon)}{more}; check this host's clock: nothing is asked for it until that "
        "time has passed"
    )


def _newest_list(state: FeedState, asked_with: str) -> Discovery | None:
    """Give the newest list that is kept, one that was asked for with these settings before any other."""
    lists = [found for found in (state.discovery, state.latest_discovery) if found is not None]
    return max(lists, key=lambda found: (found.of == asked_with, found.at), default=None)


def _is_fresh(discovery: Discovery | None, asked_with: str, horizon: datetime, kept: timedelta) -> bool:
    if discovery is None or discovery.of != asked_with:
        return False
    return -_CLOCK_TOLERANCE <= horizon - discovery.at < kept


def _newly_shared(known: Discovery | None, found: Found, identity: Sequence[str]) -> list[str]:
    """Warn of organisations that share an identity, when they are first seen."""
    before = shared_identities({place.owner for place in known.places} if known else (), identity)
    now = shared_identities({place.owner for place in found.places}, identity)
    return [warning for warning in now if warning not in before]


def _why_refused(name: str) -> str:
    return (
        f"location {name!r} is a name in two organisations, and readings do not say whose they are; "
        "name it in MICROSHARE_LOCATIONS to forward it"
    )


def _names(state: FeedState, discovery: Discovery | None, feed: FeedSettings, horizon: datetime) -> set[str]:
    listed = {place.name for place in discovery.places} if discovery is not None else set()
    lately = {
        name
        for name, location in state.locations.items()
        if location.last_listed is not None and horizon - location.last_listed <= LOCATION_KEPT
    }
    return {*feed.locations} | listed | lately


def _start(
    ledger: Ledger, settings: Settings, names: list[str], horizon: datetime, place: str | None, draft: Draft
) -> datetime:
    takeover = ledger.state().takeover
    if takeover is not None and takeover.at is None and names:
        return _take_over(ledger, takeover, horizon, draft)
    start_from = settings.run.start_from
    start = start_from if isinstance(start_from, datetime) else horizon - start_from
    if place and names and not any(location.checkpoints for location in ledger.locations().values()):
        draft.warn(f"{NO_STATE}{place}: a new installation, begins at {format_time(min(start, horizon))}")
    return start


def _take_over(ledger: Ledger, takeover: Takeover, horizon: datetime, draft: Draft) -> datetime:
    ledger.update(takeover=replace(takeover, at=horizon))
    position = format_time(takeover.position)
    draft.warn(f"{TAKEN_OVER}{position} was taken over from {takeover.source}")
    return takeover.position
