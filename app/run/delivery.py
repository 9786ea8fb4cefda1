"""From a fetched slice to what each hub's lane has to do. Pure but for the encoding of batches."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from app.base.checkpoints import Checkpoint
from app.base.grouping import by_key
from app.base.instants import LATEST, MILLISECOND, floor_to, hour_of
from app.base.packed_ids import joined
from app.base.readings import Event, Ids, QuarantinedReading, Reading, Slice, ids_by_hour
from app.base.wire_forms import PLAIN, WireForm
from app.eventhub.batches import Batch, Packed, pack, pack_alike
from app.eventhub.deliveries import Delivery
from app.feeds.feed import Feed
from app.feeds.quarantine import quarantine_text
from app.run.fetching import OVERLAP, Fetched
from app.run.planning import Group, reach
from app.settings.schema import FeedSettings

_ALL_PLAIN: Mapping[str, WireForm] = {}


@dataclass(frozen=True, slots=True)
class Refused:
    """Readings that some hubs cannot take, and why."""

    readings: tuple[Reading, ...]
    hubs: tuple[str, ...]
    reason: str

    def as_quarantined(self, feed: str, location: str, at: datetime) -> Iterator[QuarantinedReading]:
        """Give each as quarantine keeps it."""
        for reading in self.readings:
            text = quarantine_text(reading)
            yield QuarantinedReading(feed, location, self.hubs, reading.id, self.reason, at, text)


@dataclass(frozen=True, slots=True)
class Dispatch:
    """What a slice means for a group: deliveries for each hub, in order, and what goes to quarantine.

    `ids` are those of all readings that the group has not had, quarantined ones too; `newest` is how
    far the slice proves that the source has spoken.
    """

    deliveries: Mapping[str, Sequence[Delivery]]
    refused: Sequence[Refused]
    ids: Ids
    newest: datetime | None


@dataclass(frozen=True, slots=True)
class _Remembered:
    """Readings whose ids are kept by hour: those with a time in `window` under their own, others at its end.

    The window is what ids are kept of: from `known_from` on, up to where the source was asked.
    """

    readings: Sequence[Reading]
    window: Slice

    def ids(self) -> Ids:
        start, end = self.window.start, self.window.end
        return ids_by_hour(
            (reading.time if reading.time is not None and start <= reading.time < end else end, reading.id)
            for reading in self.readings
        )

    def odd_hours(self) -> tuple[datetime, ...]:
        """Give the hours under which readings are remembered, or should be, where these are not the same."""
        start, end = self.window.start, self.window.end
        outside = [
            reading.time
            for reading in self.readings
            if reading.time is None or not start <= reading.time < end
        ]
        hours = {hour_of(end), *(time and hour_of(time) for time in outside)}
        return tuple(sorted(filter(None, hours))) if len(hours) > 1 else ()


def dispatch(
    feed: Feed,
    settings: FeedSettings,
    group: Group,
    fetched: Fetched,
    done_until: datetime,
    limits: Mapping[str, int],
    newest_at_most: datetime | None = LATEST,
    forms: Mapping[str, WireForm] = _ALL_PLAIN,
) -> Dispatch:
    """Turn what was fetched for a group into deliveries for its hubs.

    `limits` gives the largest message of each hub that takes part, in bytes, `forms` the form of those
    that are not sent the plain one. A last delivery of
    each hub closes the slice at `done_until`, and says that the source has spoken up to the newest
    reading, but not beyond `newest_at_most`; None says nothing.
    """
    # A slice overlaps what was asked before it, and may be done for less than was asked: what lies
    # there has its own hour too.
    kept = Slice(group.checkpoint.known_from, fetched.window.end)
    known = group.checkpoint.known_among([reading.id for reading in fetched.readings])
    fresh = [found for found in fetched.readings if not _is_known(feed, group, found, known)]
    sound = [reading for reading in fresh if reading.flaw is None]
    flawed = tuple(reading for reading in fresh if reading.flaw is not None)
    strays = _strays(group.checkpoint, fetched, done_until, settings.look_back)
    events = feed.events(group.location, sound, fetched.readings, group.checkpoint, settings)

    newest = _newest(fetched, done_until, newest_at_most)
    refused = [
        Refused((reading,), tuple(limits), reading.flaw) for reading in flawed if reading.flaw is not None
    ]
    deliveries: dict[str, Sequence[Delivery]] = {}
    duplicates = fetched.lines - len(fresh)
    for hubs, packed in _pack_for(events, feed, limits, forms):
        # Where an hour is sent whole with each update of it, what does not fit was set aside before.
        oversize = tuple(reading for reading in packed.oversize if not group.checkpoint.knows(reading.id))
        if oversize:
            largest = limits[hubs[0]]
            reason = too_large(largest, forms.get(hubs[0], PLAIN))
            refused.append(Refused(oversize, hubs, reason))
        queue = _queue(group.location, packed.batches, (*flawed, *packed.oversize), kept)
        queue[-1] = replace(
            queue[-1],
            ids=_both(queue[-1].ids, strays.ids()),
            odd=(*queue[-1].odd, *strays.odd_hours()),
            closes=done_until,
            newest=newest,
            duplicates=duplicates,
        )
        deliveries |= dict.fromkeys(hubs, queue)
    ids = _both(_Remembered(fresh, kept).ids(), strays.ids())
    return Dispatch(deliveries, refused, ids, newest)


def too_large(largest_bytes: int, form: WireForm) -> str:
    """Say why a hub cannot take a reading that in its form is larger than its messages."""
    in_form = "" if form.body == "plain" else f", with `body: {form.body}`,"
    return f"it is{in_form} larger than a message of the hub ({largest_bytes:,} bytes)"


def _is_known(feed: Feed, group: Group, reading: Reading, known: Collection[str]) -> bool:
    """Whether the group had the reading, by its id or by the one that its event has where a hub is read."""
    if reading.id in known:
        return True
    held_as = reading.id if reading.flaw else feed.held_as(group.location, reading)
    return held_as != reading.id and group.checkpoint.knows(held_as)


def _newest(fetched: Fetched, done_until: datetime, at_most: datetime | None) -> datetime | None:
    """Give the newest time in what the slice is done for; None where it has none, or may not say it."""
    window = Slice(fetched.window.start, max(done_until, fetched.window.start))
    times = [reading.time for reading in fetched.readings if reading.time is not None]
    newest = max((time for time in times if time in window), default=None)
    return newest and at_most and min(floor_to(newest, MILLISECOND), at_most)


def _strays(
    checkpoint: Checkpoint, fetched: Fetched, done_until: datetime, look_back: timedelta
) -> _Remembered:
    """Give what would be sent again once ids from before the reach are dropped.

    A view that shows a reading whatever it is asked is likely to show it tomorrow; and one that it
    showed ahead of its time is remembered under an hour that is dropped before its own is.
    """
    oldest = hour_of(max(done_until, checkpoint.delivered_until) - reach(look_back))
    asked = Slice(fetched.window.start - OVERLAP, fetched.window.end)
    dropped = {reading_id for hour, ids in checkpoint.ids.items() if hour < oldest for reading_id in ids}
    found = [
        reading
        for reading in fetched.readings
        if reading.id in dropped
        and reading.time is not None
        and (reading.time not in asked or reading.time >= oldest)
    ]
    return _Remembered(found, Slice(oldest, fetched.window.end))


def _pack_for(
    events: Sequence[Event], feed: Feed, limits: Mapping[str, int], forms: Mapping[str, WireForm]
) -> list[tuple[tuple[str, ...], Packed]]:
    """Encode once for all hubs of a form, with the same events in all forms.

    For each limit and form apart only where the smallest is too small for an event in one of the forms.
    """
    form_of = {hub: forms.get(hub, PLAIN) for hub in limits}
    by_form, smallest = by_key((form, hub) for hub, form in form_of.items()), min(limits.values())
    alike = pack_alike(events, smallest, feed.parts, list(by_form))
    by_both = by_key(((limit, form_of[hub]), hub) for hub, limit in limits.items())
    if len(by_both) == 1 or not any(packed.oversize for packed in alike.values()):
        return [(tuple(hubs), alike[form]) for form, hubs in by_form.items()]
    return [(tuple(hubs), pack(events, limit, feed.parts, form)) for (limit, form), hubs in by_both.items()]


def _queue(
    location: str, batches: Sequence[Batch], set_aside: Sequence[Reading], window: Slice
) -> list[Delivery]:
    queue = [
        _delivery(location, batch, [reading for event in batch.events for reading in event.readings], window)
        for batch in batches
    ]
    if set_aside or not queue:
        queue.append(_delivery(location, None, set_aside, window))
    return queue


def _delivery(location: str, batch: Batch | None, readings: Sequence[Reading], window: Slice) -> Delivery:
    remembered = _Remembered(readings, window)
    return Delivery(location, batch, remembered.ids(), odd=remembered.odd_hours())


def _both(one: Ids, other: Ids) -> Ids:
    return {**one, **{hour: joined(one.get(hour, frozenset()), ids) for hour, ids in other.items()}}
