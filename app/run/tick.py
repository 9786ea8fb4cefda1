"""A tick of a feed that is run in shards: locations are discovered once, and each shard gets a message."""

from __future__ import annotations

from collections.abc import Collection
from datetime import UTC, datetime, timedelta

from app.base.budget import Budget
from app.base.checkpoints import FeedState
from app.base.errors import ForwarderError, SettingsError
from app.base.instants import format_time
from app.base.log import get_log
from app.base.shards import Shard
from app.feeds.feed import load_feed
from app.run.horizon import agreed_clocks
from app.run.locations import FoundLocations, find_locations
from app.run.ports import Wiring
from app.run.shard_message import ShardMessage
from app.settings.schema import FeedSettings

# Before and after all positions.
_NEW, _LATEST = datetime.min.replace(tzinfo=UTC), datetime.max.replace(tzinfo=UTC)


def plan_tick(feed_name: str, wiring: Wiring) -> list[ShardMessage]:
    """Discover locations, write them down; give a message for each shard, the longest behind first.

    What goes wrong on the way is logged, and keeps no shard from its run, which tells it in its report.
    Raises FeedOff, and SettingsError where feeds are not run in shards.
    """
    settings, scale_out = wiring.feed(feed_name), wiring.settings.scale_out
    if scale_out is None:
        raise SettingsError(
            ["SCALE_OUT: is not queue, so there are no shards to run; set it, and start again"]
        )
    tick = wiring.now()
    log = get_log(feed=feed_name, tick=format_time(tick), shards=scale_out.shards)
    state_name = load_feed(feed_name).state_name
    state, names, problems = FeedState(), tuple[str, ...](), list[str]()
    try:
        # An instance that plans has as little memory as one that runs a shard.
        state = wiring.store.outline(state_name)
        found = _discover(wiring, settings, state)
        names, problems = found.names, [*found.warnings, *(text for _, text in found.failures)]
        if found.is_new and found.discovery is not None:
            wiring.store.keep_discovery(state_name, found.discovery)
    except ForwarderError as error:
        problems.append(str(error))
    write = log.warning if problems else log.info
    write("tick.planned", locations=len(names), problems=problems)
    hubs = [hub.key for hub in wiring.settings.hubs if hub.enabled]
    shards = longest_behind_first(state, names or state.locations, hubs, scale_out.shards)
    return [ShardMessage(feed_name, shard, tick) for shard in shards]


def longest_behind_first(
    state: FeedState, names: Collection[str], hubs: Collection[str], of: int
) -> list[Shard]:
    """Give all shards in the order in which they are to be run: by the least position of their locations.

    A location that a hub has no position of is new, and comes first; a shard without locations last.
    """
    shards = [Shard(index, of) for index in range(of)]
    least: dict[Shard, datetime] = {}
    for name in names:
        shard = Shard.of_location(name, of)
        least[shard] = min(least.get(shard, _LATEST), _position(state, name, hubs))
    return sorted(shards, key=lambda shard: (least.get(shard, _LATEST), shard))


def _position(state: FeedState, name: str, hubs: Collection[str]) -> datetime:
    location = state.locations.get(name)
    known = location.checkpoints if location else {}
    positions = [known[hub].delivered_until for hub in hubs if hub in known]
    return min(positions, default=_LATEST) if len(positions) == len(hubs) else _NEW


def _discover(wiring: Wiring, settings: FeedSettings, state: FeedState) -> FoundLocations:
    client = wiring.make_client(Budget(wiring.settings.run.budget))
    try:
        client.login()
        clocks = agreed_clocks(client, settings.cluster_ids, wiring.now, state.last_run_ended())
        horizon = clocks.horizon(settings.settle)
        return find_locations(client, state, wiring.settings, settings, horizon, kept=timedelta(0))
    finally:
        client.close()
