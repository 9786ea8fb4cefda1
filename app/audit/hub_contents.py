"""The hubs' side of a comparison: what a hub holds of a feed's window, and how far that can be trusted."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from hashlib import blake2b

from app.audit.comparing import slot_of, written_time
from app.audit.comparison_file import ComparisonFile
from app.audit.findings import HeldReading
from app.base.errors import HubError
from app.base.instants import HOUR, MILLISECOND
from app.base.readings import Reading, Slice
from app.eventhub.reader import HubReader
from app.eventhub.received import Received
from app.feeds.feed import Feed, joint_id
from app.run.hub_events import is_of, is_ours, location_of, readings_of
from app.settings.schema import HubSettings

# The clocks of hub and source may differ, so hubs are read from before the window.
_BEFORE = HOUR
# Puts an event's time and its number into one integer that sorts as they do.
_NUMBERS = 1_000_000


@dataclass(slots=True)
class HubContents:
    """What one hub holds of one feed. Its readings go into the `file`; what else is known of it stays here.

    `name_of` gives the locations by what events say of theirs. Where hours are `sent_whole` again, only
    the same once more is a repeat. Where it `failed` the hub could not be read, and nothing else is said
    of it. `foreign` counts events of another sender or location.
    """

    hub: str
    feed: Feed
    window: Slice
    name_of: Mapping[str | None, str]
    sent_whole: bool
    file: ComparisonFile
    foreign: int = 0
    readable_from: datetime | None = None
    warnings: list[str] = field(default_factory=list)
    failed: HubError | None = None
    # The time up to which the hub was read: what came later is not compared.
    _read_until: datetime | None = None
    _kept_since: Mapping[str, datetime] = field(default_factory=dict)
    # The oldest event of each location that is left: where it is in the hub, its partition and time.
    _oldest: dict[str, tuple[int, str, datetime]] = field(default_factory=dict)

    @property
    def read_from(self) -> datetime:
        return self.window.start - _BEFORE

    def take(self, event: Received) -> None:
        """Note the readings of an event of this feed; one of another sender or location is only counted."""
        if is_ours(event) and not is_of(self.feed, event):
            return
        location = location_of(event, self.name_of)
        if location is None:
            self.foreign += 1
            return
        readings = readings_of(self.feed, location, event) or ()
        timed = [reading for reading in readings if reading.time is not None]
        if not timed or len(timed) < len(readings):
            self.file.hold(self.hub, self._unreadable(location, event))
        repeats = not self.sent_whole or self._came_before(location, timed)
        for reading in timed:
            self._hold(location, reading, event, single=len(timed) == 1, repeats=repeats)

    def came_since(self, reader: HubReader) -> set[str]:
        """Give the ids of what came to the hub after it was read. Raises HubError."""
        came: set[str] = set()

        def take(event: Received) -> None:
            location = location_of(event, self.name_of)
            if location is not None and is_of(self.feed, event):
                came.update(reading.id for reading in readings_of(self.feed, location, event) or ())

        reader.open(latest=False, since=self._read_until or self.read_from)
        reader.read_held(take)
        return came

    def expired(self, location: str) -> datetime | None:
        """Give the time up to which readings of a location may be gone by retention; None: none can be.

        Readings of a location arrive by time, so what came before the oldest event that is left is
        not newer than that.
        """
        if location not in self._oldest:
            return self.readable_from
        _, partition, time = self._oldest[location]
        kept_since = self._kept_since.get(partition)
        return None if kept_since is None else min(time, kept_since)

    def was_read(self, reader: HubReader, readable_from: datetime | None) -> None:
        self._kept_since, self.readable_from = dict(reader.kept_since), readable_from
        self._read_until = reader.newest
        self.warnings += (
            f"the hub says that its partition {partition} goes to event {end}, and delivers none after "
            f"{came}; what it does not deliver counts as missing"
            for partition, (came, end) in reader.withheld.items()
        )

    def _came_before(self, location: str, readings: Sequence[Reading]) -> bool:
        ids = joint_id([reading.id for reading in readings])
        digest = blake2b(f"{location} {ids}".encode("utf-8", "surrogatepass"), digest_size=12).digest()
        return not self.file.is_new(self.hub, digest)

    def _hold(self, location: str, reading: Reading, event: Received, *, single: bool, repeats: bool) -> None:
        if reading.time is None:
            return
        order = _order(event)
        oldest = self._oldest.get(location)
        if oldest is None or (order, reading.time) < (oldest[0], oldest[2]):
            self._oldest[location] = order, event.partition, reading.time
        if reading.time not in self.window:
            return
        slot, written = slot_of(reading, self.feed.merged_by), written_time(reading)
        named = event.message_id if single and event.message_id != reading.id else None
        came = 1, order, order, event.enqueued
        held = HeldReading(location, slot, reading.time, reading.id, written, *came, named)
        self.file.hold(self.hub, held, repeats=repeats)

    def _unreadable(self, location: str, event: Received) -> HeldReading:
        """Give an event that cannot be read as something that nobody published, at the time it came."""
        last, order = self.window.end - MILLISECOND, _order(event)
        at = min(max(event.enqueued or last, self.window.start), last)
        named = event.message_id or f"{event.partition}/{event.sequence}"
        slot = b"unreadable " + named.encode()
        came = 1, order, order, event.enqueued
        return HeldReading(location, slot, at, named, None, *came, event.message_id)


def read_hub(
    hub: HubSettings, consumer_group: str, feeds: Sequence[HubContents], progress: Callable[[int, int], None]
) -> None:
    """Read a hub once for all feeds; where that cannot be done, each says why."""

    def take(event: Received) -> None:
        for contents in feeds:
            contents.take(event)

    reader = HubReader(hub, consumer_group)
    try:
        reader.open(latest=False, since=min(contents.read_from for contents in feeds))
        readable_from = reader.read_held(take, progress)
    except HubError as error:
        for contents in feeds:
            contents.failed = error
    else:
        for contents in feeds:
            contents.was_read(reader, readable_from)


def _order(event: Received) -> int:
    """Give what sorts as events arrived: within a partition by number, over several by time."""
    ms = 0 if event.enqueued is None else int(event.enqueued.timestamp() * 1000)
    return ms * _NUMBERS + (event.sequence or 0) % _NUMBERS
