"""The people counter feed: counts at doors."""

from __future__ import annotations

from app.feeds.feed import six_fields
from app.feeds.flat import FlatFeed

FEED = FlatFeed(
    rec_type="io.microshare.peoplecounter.unpacked.event.agg",
    state_name="peoplecounterstate",
    placeholders=six_fields("daily_total", "meta", "change"),
)
get_people_counter_full_coverage = FEED.full_coverage
