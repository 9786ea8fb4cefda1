"""The source's side of a comparison: what it shows of a feed's window, asked slice by slice."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_COMPLETED, Executor, Future, wait
from dataclasses import dataclass, field, replace
from datetime import datetime

from app.audit.comparing import slot_of, written_time
from app.audit.comparison_file import ComparisonFile
from app.audit.findings import Published
from app.base.checkpoints import Checkpoint
from app.base.errors import AuthError, SourceError
from app.base.instants import format_time
from app.base.readings import Reading, Slice
from app.base.text import counted
from app.feeds.feed import Feed
from app.microshare.client import MicroshareClient
from app.run.fetching import OVERLAP, Fetched
from app.run.planning import Group, Limits, plan_slice
from app.run.source import fetch
from app.settings.schema import FeedSettings


@dataclass(slots=True)
class SourceContents:
    """What the source shows of one feed. Its readings go into the `file`; what else is known stays here.

    `failures` are locations that could not be asked for, and why.
    """

    feed: Feed
    settings: FeedSettings
    client: MicroshareClient
    window: Slice
    limits: Limits
    file: ComparisonFile
    failures: dict[str, str] = field(default_factory=dict)
    warnings: list[str] = field(default_factory=list)
    # Readings that can never be forwarded, and milliseconds of which the view does not give all.
    _flawed: set[tuple[str, str]] = field(default_factory=set)
    _saturated: dict[str, list[Slice]] = field(default_factory=dict)

    def ask(
        self,
        locations: Sequence[str],
        workers: Executor,
        at_once: int,
        progress: Callable[[float, float], None],
    ) -> None:
        """Fetch every location, a few slices at a time, oldest first; tell how many seconds are fetched.

        A location that fails is left out. Raises AuthError, with which nothing more can be asked.
        """
        start, length = self.window.start, (self.window.end - self.window.start).total_seconds()
        begin = Checkpoint(start, start)
        waiting = deque(_Asking(name, begin, start - OVERLAP, self.limits) for name in locations)
        running: dict[Future[Fetched], _Asking] = {}
        done_s = 0.0
        while waiting or running:
            while waiting and len(running) < at_once:
                asking = waiting.popleft()
                window = asking.next_slice(self.window.end)
                if window is not None:
                    future = workers.submit(self.fetch, asking.location, window, asking.earliest)
                    running[future] = asking
            progress(done_s, length * len(locations))
            ended, _ = wait(running, return_when=FIRST_COMPLETED) if running else (set(), None)
            for future in ended:
                asking = running.pop(future)
                try:
                    fetched = future.result()
                except AuthError:
                    raise
                except SourceError as error:
                    self.failures[asking.location] = str(error)
                    continue
                done_s += (fetched.window.end - fetched.window.start).total_seconds()
                self._take(asking.location, fetched)
                waiting.append(asking.after(fetched))

    def fetch(self, location: str, window: Slice, earliest: datetime) -> Fetched:
        """Fetch a slice, or its beginning where it is too wide. Raises SourceError."""
        return fetch(self.feed, self.settings, self.client, location, window, earliest)

    def is_flawed(self, location: str, reading_id: str) -> bool:
        """Whether a reading can never be forwarded."""
        return (location, reading_id) in self._flawed

    def is_saturated(self, location: str, time: datetime) -> bool:
        """Whether the view gives only some of what a location has of that time."""
        return any(time in full for full in self._saturated.get(location, ()))

    def shows_all_of(self, location: str, window: Slice) -> bool:
        """Whether the source gave all that a location has of a window, as far as it can be told."""
        asked = self.window.start <= window.start and window.end <= self.window.end
        full = self._saturated.get(location, ())
        cut = any(part.start < window.end and window.start < part.end for part in full)
        return asked and location not in self.failures and not cut

    def _take(self, location: str, fetched: Fetched) -> None:
        for text in fetched.warnings:
            if text not in self.warnings:
                self.warnings.append(text)
        if fetched.saturated is not None:
            self._saturated.setdefault(location, []).append(fetched.saturated)
            self.warnings.append(
                f"{location}: the view gives {counted(fetched.lines, 'reading')} of "
                f"{format_time(fetched.saturated.start)}, which is all that it can give; the others of that "
                "time cannot be compared"
            )
        for reading in fetched.readings:
            if reading.flaw is not None:
                # Without a time it may come with several slices; it counts with the first.
                if self.is_flawed(location, reading.id):
                    continue
                self._flawed.add((location, reading.id))
            time = reading.time or fetched.window.start
            if time in self.window:
                self.file.publish(self._published(location, time, reading))

    def _published(self, location: str, time: datetime, reading: Reading) -> Published:
        held_as = reading.id if reading.flaw else self.feed.held_as(location, reading)
        slot = slot_of(reading, self.feed.merged_by)
        return Published(location, slot, time, reading.id, held_as, written_time(reading))


@dataclass(frozen=True, slots=True)
class _Asking:
    """How far a location is asked for; `had` is what came last, which tells how much comes next."""

    location: str
    had: Checkpoint
    earliest: datetime
    limits: Limits

    def next_slice(self, end: datetime) -> Slice | None:
        return plan_slice(Group(self.location, (), self.had, self.had.delivered_until), end, self.limits)

    def after(self, fetched: Fetched) -> _Asking:
        done, full = fetched.window, fetched.saturated
        came = ((reading.time or done.start, reading.id) for reading in fetched.readings)
        limits = self.limits
        if fetched.too_wide:
            limits = replace(limits, slice_length=done.end - done.start)
        earliest = self.earliest if full is None else max(self.earliest, full.end)
        return _Asking(self.location, Checkpoint(done.end, done.start).with_ids(came), earliest, limits)
