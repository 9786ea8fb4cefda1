"""An event of a hub as a line that a person reads: when, where, what it counts, how late it came."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta

from app.base import exact_json
from app.base.readings import Reading
from app.base.text import counted, cut_short, in_shown_zone, printable, span
from app.eventhub.received import Received
from app.feeds.feed import Feed
from app.feeds.in_words import in_words
from app.run.hub_events import body_of, is_ours, readings_of

# Names up to here stand in a column of their own; longer ones push what follows.
_WIDEST_PLACE = 32
_LONGEST_NAME = 60
# The address of a device, six or eight bytes, which may be the last of the tags.
_DEVICE = re.compile(r"(?i)[0-9a-f]{2}(?:[-:]?[0-9a-f]{2}){5,7}")


class EventLines:
    """Writes events of these feeds; of any other it says in short that it is none. `now` is when it began."""

    def __init__(self, feeds: Iterable[Feed], now: datetime) -> None:
        self._feeds = {feed.rec_type: feed for feed in feeds}
        self._today = in_shown_zone(now).date()
        # As wide as what came so far, so that lines stand below one another.
        self._time_width = self._place_width = 0

    def line(self, event: Received) -> str:
        if event.body_type == "undecoded":
            return self._foreign(event, "an event of another sender, in a form that cannot be decoded")
        if not is_ours(event):
            return self._foreign(event, f"an event of another sender, {_size(event)}")
        rec_type = event.properties.get("recType")
        feed = self._feeds.get(rec_type) if isinstance(rec_type, str) else None
        if feed is None:
            return self._foreign(event, _of_no_feed(event, rec_type))
        location = str(event.properties.get("location"))
        readings = readings_of(feed, location, event)
        if not readings:
            what = "holds no reading" if readings is not None else "cannot be read"
            return self._foreign(event, f"an event of {_name(location)} that {what}, {_size(event)}")
        return self._of_readings(event, location, readings)

    def _of_readings(self, event: Received, location: str, readings: Sequence[Reading]) -> str:
        times = [reading.time for reading in readings if reading.time is not None]
        time = min(times, default=None)
        place = _place(location, readings)
        self._place_width = max(self._place_width, min(len(place), _WIDEST_PLACE))
        delay = f"  ({_delay(event.enqueued - time)})" if event.enqueued and time else ""
        return f"{self._at(time)} {place:{self._place_width}}  {in_words(readings)}{delay}"

    def _foreign(self, event: Received, what: str) -> str:
        return f"{self._at(event.enqueued)} {what} ({event.partition}/{event.sequence})"

    def _at(self, instant: datetime | None) -> str:
        """Write a time of today; the day before it where it is of another."""
        if instant is None:
            at = "-"
        else:
            local = in_shown_zone(instant)
            at = f"{local:%H:%M:%S}" if local.date() == self._today else f"{local:%m-%d %H:%M:%S}"
        self._time_width = max(self._time_width, len(at))
        return f"{at:>{self._time_width}}"


def _of_no_feed(event: Received, rec_type: object) -> str:
    number = _number_of_test(event) if rec_type == "test" else None
    if number is not None:
        return f"test event {number}"
    return f"an event of recType {_name(str(rec_type))}, which is not a feed here, {_size(event)}"


def _number_of_test(event: Received) -> int | None:
    """Give the number that `send-test` counts its events by."""
    try:
        body = exact_json.loads(body_of(event))
    except exact_json.NotJson:
        return None
    number = body.get("number") if isinstance(body, dict) else None
    return number if isinstance(number, int) else None


def _place(location: str, readings: Sequence[Reading]) -> str:
    """Name the location, and the door or room where it is one: the last of its tags that people gave."""
    sensors = {reading.tags for reading in readings}
    tags = next(iter(sensors)) if len(sensors) == 1 else ()
    names = [tag for tag in tags if not _DEVICE.fullmatch(tag)]
    return ", ".join(_name(name) for name in dict.fromkeys((location, *names[-1:])))


def _name(name: str) -> str:
    # Made printable before its width is counted.
    return cut_short(printable(name), _LONGEST_NAME)


def _delay(late: timedelta) -> str:
    return f"+{span(late)}" if late >= timedelta(0) else f"-{span(-late)}"


def _size(event: Received) -> str:
    return counted(len(event.body), "byte")
