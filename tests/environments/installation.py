"""A whole installation for flow tests: a source, two hubs, a state store, and the forwarder between them.

Real SDKs and real HTTP on one side, the emulators on the other. The clock is the
test's own: the source and the forwarder share it unless a test sets them apart.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from app.base.budget import Budget
from app.base.checkpoints import FeedState
from app.base.shards import WHOLE, Shard
from app.feeds.feed import load_feed
from app.microshare.auth import TokenCache
from app.microshare.client import MicroshareClient
from app.run.forwarder import run_forwarder
from app.run.ports import Wiring
from app.run.refused_logins import RefusedLogins
from app.run.report import Report, RunFailed
from app.settings.loading import load_settings
from app.settings.schema import Settings
from app.state.store import MendableStore
from app.wiring import wire
from emulators.authorities import one_authority
from emulators.estate import DEFAULT, PEOPLE, Estate, Expected
from emulators.eventhubs import EmulatedHub, EventHubsEmulator, StoredEvent
from emulators.microshare import MicroshareEmulator
from tests.promise import Arrival, Reading, arrival_of, breaches, reading_of

START = datetime(2026, 3, 2, 12, 0, tzinfo=UTC)


def small_estate() -> Estate:
    """Give the example estate with one door a building: 473 people counts a day, not 1,891."""
    return Estate(buildings=[replace(building, groups=building.groups[:1]) for building in DEFAULT])


class Clock:
    """An instant that stands until it is moved."""

    def __init__(self, now: datetime) -> None:
        self.now = now

    def __call__(self) -> datetime:
        return self.now

    def move(self, **by: float) -> None:
        self.now += timedelta(**by)


@contextmanager
def standing_still(now: datetime, begin: datetime, folder: Path, **source: Any) -> Iterator[Installation]:
    """Give a small installation whose source stands still at `now`, with all since `begin` to forward."""
    clock = Clock(now)
    environ = {"START_FROM": begin.isoformat()}
    with (
        MicroshareEmulator(small_estate(), clock=clock, **source) as emulated,
        EventHubsEmulator(["a", "b"]) as hubs,
    ):
        yield Installation(emulated, hubs, clock, folder, environ)


class Installation:
    """What a flow test plays with. `a` is the primary hub, `b` the second one."""

    def __init__(
        self,
        source: MicroshareEmulator,
        hubs: EventHubsEmulator,
        clock: Clock,
        folder: Path,
        environ: Mapping[str, str] = {},
    ) -> None:
        self.source = source
        self.hubs = hubs
        self.clock = clock
        self.host_clock = clock
        self.folder = folder
        self.environ = {
            **source.environment(),
            "EVENT_HUB_CONNECTION_STRING": hubs.connection_string("a"),
            "EVENT_HUB_CONNECTION_STRINGS": json.dumps([hubs.connection_string("b")]),
            "STATE_DIR": str(folder / "state"),
            "REQUESTS_CA_BUNDLE": str(one_authority()),
            **environ,
        }
        self.overrides: dict[str, Any] = {}
        self.tokens = TokenCache()

    @property
    def a(self) -> EmulatedHub:
        return self.hubs.hub("a")

    @property
    def b(self) -> EmulatedHub:
        return self.hubs.hub("b")

    @property
    def estate(self) -> Estate:
        return self.source.estate

    def key(self, hub: str) -> str:
        return next(found.key for found in self.settings().hubs if found.entity == hub)

    def settings(self) -> Settings:
        settings = load_settings(self.environ, dotenv=self.folder / "none")
        feeds = {
            name: replace(feed, **{key: value for key, value in self.overrides.items() if hasattr(feed, key)})
            for name, feed in settings.feeds.items()
        }
        of_run = {key: value for key, value in self.overrides.items() if hasattr(settings.run, key)}
        of_api = {key: value for key, value in self.overrides.items() if hasattr(settings.microshare, key)}
        return replace(
            settings,
            microshare=replace(settings.microshare, **of_api),
            feeds=feeds,
            run=replace(settings.run, **of_run),
        )

    def run(
        self,
        feed: str = "people_counter",
        *,
        dry_run: bool = False,
        budget: Budget | None = None,
        store: MendableStore | None = None,
        shard: Shard = WHOLE,
    ) -> Report:
        """Run a feed once, at the clock's instant; give its report, failed or not."""
        wiring = self.wiring(dry_run=dry_run)
        if store is not None:
            wiring = replace(wiring, store=store)
        try:
            return run_forwarder(feed, wiring, shard=shard, budget=budget)
        except RunFailed as failed:
            return failed.report

    def wiring(self, *, dry_run: bool = False) -> Wiring:
        """Give the parts of a run that goes by the clock."""
        wiring = wire(self.settings(), dry_run=dry_run)
        microshare = wiring.settings.microshare

        def make_client(budget: Budget) -> MicroshareClient:
            return MicroshareClient(
                microshare,
                budget,
                tokens=self.tokens,
                now=self.host_clock,
                refusals=RefusedLogins(wiring.store, self.host_clock),
            )

        return replace(wiring, make_client=make_client, now=self.host_clock)

    def restart(self) -> None:
        """Forget what a process keeps in memory."""
        self.tokens = TokenCache()

    def state(self, feed: str = "people_counter") -> FeedState:
        return wire(self.settings()).store.load(load_feed(feed).state_name)

    def position(self, location: str, hub: str, feed: str = "people_counter") -> datetime:
        return self.state(feed).locations[location].checkpoints[self.key(hub)].delivered_until

    def shown(self, start: datetime) -> list[Expected]:
        """Give what the source shows of people counts: building, tags, time, entry."""
        return self.estate.expected_people(start, self.clock.now, self.clock.now)

    def published(self, start: datetime) -> list[Reading]:
        """Give what the source shows of people counts, as every hub should have it."""
        return [reading_of(name, PEOPLE.rec_type, tags, entry) for name, tags, _, entry in self.shown(start)]

    def breaches(self, hub: EmulatedHub, start: datetime, **allowed: Any) -> list[str]:
        """Say what is wrong at a hub that should have all people counts since `start`."""
        return breaches(self.published(start), arrivals(hub.received()), **allowed)


def arrivals(events: Iterable[StoredEvent]) -> list[Arrival]:
    return [arrival_of(event.message_id, event.properties, event.body) for event in events]


def bodies(events: Iterable[StoredEvent]) -> list[dict[str, Any]]:
    return [json.loads(event.body) for event in events]
