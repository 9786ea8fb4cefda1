"""What a second hub costs: one batch encoded once and sent to two hubs, against one hub.

    python -m benchmarks.two_hubs

Both are measured in turn in one process against the emulator, several times; the ratio of
each pair is what counts, since the machine's speed drifts. A ratio near 1 says that hubs
share the encoding, and that one does not wait for the other.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

from app.base.budget import Budget
from app.base.checkpoints import Checkpoint
from app.base.readings import DashboardAnswer, Event
from app.eventhub.batches import pack
from app.eventhub.broadcaster import Broadcaster
from app.eventhub.deliveries import Delivered, Delivery, LaneClosed, News, Opened
from app.feeds.feed import read_answer
from app.feeds.people_counter import FEED
from app.settings.schema import FeedSettings, HubSettings
from emulators.eventhubs import EventHubsEmulator

EVENTS = 4_000
PAIRS = 5
NOW = datetime(2026, 3, 2, tzinfo=UTC)


def example_events() -> list[Event]:
    lines = [
        {"time": f"2026-03-01T{n % 24:02}:00:00.000Z", "record": f"{n:024x}", "change": {"in": n, "out": n}}
        for n in range(EVENTS)
    ]
    answer = DashboardAnswer(({"data": {"_id": {"tags": ["A", "1", "Door"]}, "line": lines}},))
    readings = read_answer(FEED.rec_type, "A", answer)
    settings = FeedSettings(name="people_counter", view_id="v", data_context=("people",), schedule="")
    return FEED.events("A", readings, readings, Checkpoint(NOW, NOW), settings)


def seconds_to_deliver(events: Sequence[Event], hubs: Sequence[HubSettings]) -> float:
    """Measure from encoding to the last acknowledgement; connecting is not counted."""
    news: list[News] = []
    budget = Budget(timedelta(minutes=1))
    lanes = Broadcaster(
        hubs, budget, news.append, send_timeout_s=30, lane_bytes=1 << 30, may_send=lambda: None
    )
    lanes.start()
    wait_for(news, Opened, len(hubs))
    began = time.perf_counter()
    batches = pack(events, 1_000_000, FEED.parts).batches
    for hub in hubs:
        for batch in batches:
            lanes.put(hub.key, Delivery("A", batch, ()))
    wait_for(news, Delivered, len(hubs) * len(batches))
    took = time.perf_counter() - began
    lanes.close()
    return took


def wait_for(news: Sequence[News], kind: type, count: int) -> None:
    while sum(isinstance(item, kind) for item in news) < count:
        if any(isinstance(item, LaneClosed) for item in news):
            raise SystemExit(f"a hub failed: {news}")
        time.sleep(0.001)


def main() -> None:
    events = example_events()
    with EventHubsEmulator(["a", "b"]) as emulator:
        hubs = [
            HubSettings(f"h/{name}", name, "127.0.0.1", name, emulator.connection_string(name))
            for name in ("a", "b")
        ]
        seconds_to_deliver(events, hubs)
        pairs = [
            (seconds_to_deliver(events, hubs[:1]), seconds_to_deliver(events, hubs)) for _ in range(PAIRS)
        ]
    ratios = [two / one for one, two in pairs]
    rate = EVENTS / statistics.median(one for one, _ in pairs)
    print(f"{EVENTS:,} events of {len(events[0].body)} bytes to one hub: {rate:,.0f} a second")
    print(
        f"two hubs against one: {statistics.median(ratios):.2f} "
        f"({min(ratios):.2f} to {max(ratios):.2f}, {PAIRS} pairs)"
    )


if __name__ == "__main__":
    main()
