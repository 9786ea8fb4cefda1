"""What a run asks of the parts that it is given; `app.wiring` puts them together."""

from __future__ import annotations

import queue
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Executor, ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import datetime
from functools import partial
from typing import Any, Protocol

from app.base.budget import Budget
from app.base.errors import FeedOff
from app.base.instants import utc_now
from app.eventhub.deliveries import Delivery, News
from app.microshare.client import MicroshareClient
from app.run.pings import Ask, asking
from app.run.report import Report
from app.settings.schema import DIRECT, FeedSettings, HubSettings, Settings
from app.state.store import MendableStore

Progress = Callable[[float, float], None]


class Lanes(Protocol):
    """What a run asks of its broadcaster; see `app.eventhub.broadcaster`."""

    def start(self) -> None: ...
    def has_room(self, hub: str) -> bool: ...
    def put(self, hub: str, delivery: Delivery) -> None: ...
    def stop_location(self, location: str) -> None: ...
    def close(self) -> None: ...


class Inbox(Protocol):
    """Where news waits for the run's own thread; `queue.SimpleQueue` unless a test counts its own time."""

    def put(self, item: Any) -> None: ...
    def empty(self) -> bool: ...
    def get(self, *, timeout: float | None = None) -> Any:
        """Give the next news. Raises queue.Empty where none came within `timeout` seconds."""


# Hubs, the run's time, where to tell news, and what gives the reason why nothing may be sent, or None.
MakeLanes = Callable[[Sequence[HubSettings], Budget, Callable[[News], None], Callable[[], str | None]], Lanes]


@dataclass(frozen=True, slots=True)
class Wiring:
    """The parts of a run, put together by `app.wiring`. A dry run sends nothing and saves nothing.

    A run that is not up to now, a backfill, ends at `until` and keeps its positions under a
    `state_name` of its own. Of `store` a run asks no more than a `StateStore` promises. `make_workers`
    gives what fetches, for a number of slices at a time, `make_inbox` the queue in which the run waits
    for its news. `export` is given the report of a run that is up to now, and the seconds that the run
    has left; it must not raise. `ask_monitor` makes the pings of such a run.
    """

    settings: Settings
    store: MendableStore
    make_client: Callable[[Budget], MicroshareClient]
    make_lanes: MakeLanes
    dry_run: bool = False
    until: datetime | None = None
    state_name: str | None = None
    now: Callable[[], datetime] = utc_now
    monotonic: Callable[[], float] = time.monotonic
    make_workers: Callable[[int], Executor] = ThreadPoolExecutor
    make_inbox: Callable[[], Inbox] = queue.SimpleQueue
    export: Callable[[Report, float], None] | None = None
    ask_monitor: Ask = field(default_factory=partial(asking, DIRECT))

    def feed(self, name: str) -> FeedSettings:
        """Give the settings of a feed that is to be run. Raises FeedOff."""
        feed = self.settings.feeds.get(name)
        if feed is None or not feed.view_id:
            raise FeedOff([f"feeds.{name}: the feed is off; set its view id to run it"])
        return feed
