"""The people counter feed: counts at doors."""

from __future__ import annotations

from app.feeds.feed import six_fields
from app.feeds.flat import FlatFeed

FEED = FlatFeed(
    rec_type="io.microshare.peoplecounter.unpacked.event.agg",
    state_name="peoplecounterstate",
    placeholders=six_fields("daily_total", "meta", "change"),
    fields={
        "change": "What was counted since the reading before: `in`, `out`, `count` (in less out), `traffic`.",
        "daily_total": "The day's totals at that time: `in`, `out`, `count` (never below 0), `traffic`; "
        "`date` and `hour` are local, and so is the time at which they begin at 0 again.",
        "meta": "Of the sensor: `device` has its tags.",
    },
)
get_people_counter_full_coverage = FEED.full_coverage
