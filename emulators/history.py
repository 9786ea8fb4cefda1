"""Days of runs in seconds: the real forwarder in this process, by a clock that goes from run to run.

The one module of the emulators that knows the app. All that it does is decided by the settings, the
source and the instants: made again, a history is the same to the byte.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
import selectors
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial
from itertools import takewhile

from app.base.budget import Budget
from app.base.checkpoints import FeedState
from app.base.readings import JsonObject
from app.base.shards import WHOLE, Shard
from app.eventhub.broadcaster import Broadcaster
from app.microshare.auth import TokenCache
from app.microshare.client import MicroshareClient
from app.run.forwarder import run_forwarder
from app.run.report import RunFailed
from app.settings.loading import load_settings
from app.settings.ncrontab import times_after
from app.settings.schema import NetworkSettings, Settings
from app.state.json_file import JsonFileStore
from app.wiring import wire
from emulators.authorities import one_authority

# How long a run takes for each question to the API, by its own clock.
_ANSWERED_IN_S = 0.4
# The SDK of Event Hubs polls, and waits before it tries again; none of it is needed on loopback.
_TIMES_FASTER = 10


class Clock:
    """An instant that stands until it is set; after `release` it is the machine's time."""

    def __init__(self, at: datetime) -> None:
        self._at: datetime | None = at

    def __call__(self) -> datetime:
        return self._at or datetime.now(UTC)

    def set(self, at: datetime) -> None:
        self._at = at

    def release(self) -> None:
        self._at = None


class Runs:
    """Runs of an installation, one after the other, each at the instant at which `clock` stands."""

    def __init__(self, environ: Mapping[str, str], clock: Clock) -> None:
        self.settings = _for_loopback(load_settings(environ))
        self._clock = clock
        self._store = _Store(self.settings.state.directory, now=clock)
        self._tokens = TokenCache()

    def due(self, begin: datetime, end: datetime) -> Iterator[tuple[datetime, str]]:
        """Give when which feed's timer fires, after `begin` and up to `end`, feed by feed."""
        for feed in self.settings.feeds.values():
            for at in takewhile(lambda at: at <= end, times_after(feed.schedule, begin)):
                yield at, feed.name

    def run(self, feed: str) -> None:
        """Run a feed once; what failed is in its report, which the store keeps."""
        clients: list[MicroshareClient] = []

        def make_client(budget: Budget) -> MicroshareClient:
            settings, now = self.settings.microshare, self._clock
            client = MicroshareClient(settings, budget, tokens=self._tokens, now=now, wait=lambda _: None)
            clients.append(client)
            return client

        def elapsed_s() -> float:
            return _ANSWERED_IN_S * sum(client.api_calls for client in clients)

        wiring = replace(
            wire(self.settings),
            store=self._store,
            make_client=make_client,
            make_lanes=partial(
                Broadcaster,
                send_timeout_s=self.settings.run.send_timeout.total_seconds(),
                lane_bytes=self.settings.run.lane_bytes,
                make_loop=_HastyLoop,
            ),
            now=self._clock,
            monotonic=lambda: 0.0,  # no save in mid-run, which would come where the machine is slow
        )
        try:
            run_forwarder(feed, wiring, budget=Budget(self.settings.run.budget, monotonic=elapsed_s))
        except RunFailed:
            return


@contextmanager
def runs(environ: Mapping[str, str], clock: Clock) -> Iterator[Runs]:
    """Give runs that are silent and wait for nothing, while the context lasts."""
    loggers = [logging.getLogger(name) for name in ("forwarder", "azure.eventhub")]
    levels = [logger.level for logger in loggers]
    try:
        for logger in loggers:
            logger.setLevel(logging.CRITICAL + 1)
        yield Runs(environ, clock)
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)


class _Store(JsonFileStore):
    """The JSON store, where a run is called by its feed and time: chance would make each history another."""

    def save(self, name: str, state: FeedState, changed: Collection[str], shard: Shard = WHOLE) -> None:
        run = state.last_run
        super().save(name, replace(state, last_run=run and _named(name, run)), changed, shard)

    def keep_report(self, name: str, report: JsonObject) -> None:
        super().keep_report(name, _named(name, report))


def _named(state_name: str, run: JsonObject) -> JsonObject:
    digest = hashlib.blake2b(f"{state_name} {run['started']}".encode(), digest_size=6)
    return {**run, "run": digest.hexdigest()}


def _for_loopback(settings: Settings) -> Settings:
    """Ask one location at a time, so that reports have one order, and read few authorities."""
    network = NetworkSettings(ca_file=str(one_authority()))
    hubs = tuple(replace(hub, network=network) for hub in settings.hubs)
    return replace(settings, hubs=hubs, run=replace(settings.run, concurrency=1))


class _HastySelector(selectors.DefaultSelector):
    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        return super().select(None if timeout is None else timeout / _TIMES_FASTER)


class _HastyLoop(asyncio.SelectorEventLoop):
    """A loop whose time passes faster than the machine's, so that its waits are shorter."""

    def __init__(self) -> None:
        super().__init__(_HastySelector())

    def time(self) -> float:
        return super().time() * _TIMES_FASTER
