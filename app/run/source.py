"""The source of one feed in one run: asked slice by slice, a few at a time, in threads of its own."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Executor
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from functools import partial
from types import MappingProxyType

from app.base.checkpoints import LocationState
from app.base.instants import MINUTE
from app.base.readings import Ids, Reading, Slice
from app.feeds.feed import Feed, read_answer
from app.microshare.client import MicroshareClient
from app.run.fetching import Fetched, fetch_slice
from app.run.planning import Group, Limits
from app.run.schedule import Task
from app.settings.schema import FeedSettings

# A source that answered for less than this is asked for this much all the same: it has to end some time.
_SHORTEST_LENGTH = MINUTE


@dataclass(frozen=True, slots=True)
class FetchEnded:
    """News: what came of a slice that was asked for."""

    group: Group
    result: Fetched | Exception


def fetch(
    feed: Feed,
    settings: FeedSettings,
    client: MicroshareClient,
    location: str,
    window: Slice,
    earliest: datetime,
    had: Ids = MappingProxyType({}),
) -> Fetched:
    """Fetch a slice of a location, or its beginning where it is too wide; see `fetch_slice`.

    Raises SourceError.
    """
    return fetch_slice(
        lambda asked: client.query_dashboard(feed.query(settings, location, asked)),
        partial(read_answer, feed.rec_type, location),
        window,
        earliest,
        settings.record_limit,
        had,
    )


class Source:
    """Asks for slices, and remembers what the answers say of how to ask. Used from the run's own thread.

    What comes of a slice is told through `tell`, from the thread that fetched it.
    """

    def __init__(
        self,
        feed: Feed,
        settings: FeedSettings,
        client: MicroshareClient,
        workers: Executor,
        tell: Callable[[FetchEnded], None],
    ) -> None:
        self._settings = settings
        self._fetch = partial(fetch, feed, settings, client)
        self._workers = workers
        self._tell = tell
        self._asking: set[tuple[str, str]] = set()
        self._full_until: dict[str, datetime] = {}
        self._answered_lengths: dict[str, timedelta] = {}
        # How many slices are being fetched.
        self.under_way = 0

    def is_asking(self, name: str, hub: str) -> bool:
        """Whether a slice of the location is being fetched for the hub."""
        return (name, hub) in self._asking

    def limits_of(self, name: str, limits: Limits) -> Limits:
        """Give a feed's limits, its slices no longer than the source could answer for in this run."""
        answered = self._answered_lengths.get(name, limits.slice_length)
        return replace(limits, slice_length=min(answered, limits.slice_length))

    def open(self, task: Task, location: LocationState) -> None:
        """Begin to fetch a slice; `location` is what is known of its place."""
        self._asking |= {(task.group.location, hub) for hub in task.group.hubs}
        self.under_way += 1
        self._workers.submit(self._fetch_slice, task, self._earliest_for(task), _comes_back(task, location))

    def ended(self, group: Group) -> None:
        """Note that a slice is not being fetched any more."""
        self.under_way -= 1
        self._asking -= {(group.location, hub) for hub in group.hubs}

    def learn(self, name: str, fetched: Fetched) -> None:
        """Note what an answer says of how to ask for the slices after it."""
        if fetched.too_wide:
            length = fetched.window.end - fetched.window.start
            self._answered_lengths[name] = max(length, _SHORTEST_LENGTH)
        if fetched.saturated is not None:
            self._full_until[name] = fetched.saturated.end

    def shown(self, name: str, window: Slice) -> list[Reading]:
        """Give all that the source shows of a window now. Raises SourceError."""
        readings: list[Reading] = []
        while window.start < window.end:
            fetched = self._fetch(name, window, window.start)
            readings += fetched.readings
            window = Slice(fetched.window.end, window.end)
        return readings

    def close(self) -> None:
        self._workers.shutdown(wait=False, cancel_futures=True)

    def _earliest_for(self, task: Task) -> datetime:
        """Give what no question goes before: `known_from`, or a full millisecond that lies before the slice.

        One that lies after its beginning is another group's: this one has yet to get there.
        """
        known_from = task.group.checkpoint.known_from
        full_until = self._full_until.get(task.group.location, known_from)
        return max(full_until, known_from) if full_until <= task.window.start else known_from

    def _fetch_slice(self, task: Task, earliest: datetime, had: Ids) -> None:
        """Fetch one slice, in a worker's thread; whatever comes of it is told."""
        try:
            result: Fetched | Exception = self._fetch(task.group.location, task.window, earliest, had)
        except Exception as error:  # noqa: BLE001 - one location's trouble must not stop the others
            result = error
        self._tell(FetchEnded(task.group, result))


def _comes_back(task: Task, location: LocationState) -> Ids:
    """Give the ids that the source must show again, of hours that hold their own readings only."""
    seals = [location.seals.get(hub, {}) for hub in task.group.hubs]
    return {
        hour: ids
        for hour, ids in task.group.checkpoint.ids.items()
        if hour >= task.window.start and not any(hour in known for known in seals)
    }
