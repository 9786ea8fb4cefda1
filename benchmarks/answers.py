"""How much memory an answer takes while it is read, in times its bytes; and four of the largest at once.

    python -m benchmarks.answers

The baseline is the body itself. What the answers hold is what readings are, and what takes the most memory
for its length: an API could send it. Of discovery only names are kept.
"""

from __future__ import annotations

import json
import tracemalloc
from collections.abc import Collection

from app.base import exact_json
from app.base.readings import DashboardAnswer
from app.feeds.feed import read_answer
from app.feeds.people_counter import FEED
from app.microshare.discovery import READ_NAMES
from app.settings.schema import MicroshareSettings, RunSettings

MEBIBYTE = 2**20
LARGEST = MicroshareSettings(username="svc", password="", identity=("NORTH",)).largest_answer_bytes
READING = {
    "time": "2026-03-02T08:14:29.822Z",
    "record": "691441e70000000000000001",
    "change": {"in": 5, "out": 3, "count": 2, "raw_count": 2, "traffic": 8, "elapsed": {"minutes": 15}},
    "daily_total": {"in": 100, "out": 90, "traffic": 190, "date": "2026-03-02", "timezone": "Europe/Paris"},
    "meta": {"device": ["Mill & Lane", "4", "North Lobby", "Door A"]},
}
DEVICE = {
    "guid": "dddddddd-0000-0000-0000-000000000001",
    "id": "00-00-5E-00-53-00-00-01",
    "status": "pending",
    "meta": {"location": ["Mill & Lane", "4", "North Lobby"], "lora": {"AppKey": "", "NwkKey": ""}},
    "state": {"updateDate": "2026-03-02T08:00:00.000Z"},
}


def filled(before: bytes, part: bytes, after: bytes, size: int) -> bytes:
    """Give an answer of about `size` bytes, most of it one part again and again."""
    return before + b",".join([part] * (size // (len(part) + 1))) + after


def answer(part: bytes) -> bytes:
    return filled(b'{"objs":[{"data":{"_id":{"tags":["a"]},"line":[', part, b"]}}]}", LARGEST)


def peak_of(body: bytes, kept: Collection[str] | None = None) -> int:
    """Give the most bytes that reading an answer took, itself included."""
    tracemalloc.start()
    found = exact_json.loads_with_flaws(body, deepest=64, kept=kept)
    if kept is None:
        read_answer(FEED.rec_type, "Mill & Lane", DashboardAnswer(tuple(found["objs"])))
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    return peak + len(body)


def show(what: str, body: bytes, kept: Collection[str] | None = None, workers: int = 1) -> None:
    peak = peak_of(body, kept)
    times, all_of_them = peak / len(body), workers * peak / MEBIBYTE
    print(f"{what:36} {len(body) / MEBIBYTE:5.1f} MiB  {times:5.1f} times  {all_of_them:5.0f} MiB at once")


def main() -> None:
    workers = RunSettings().concurrency
    show("readings", answer(json.dumps(READING).encode()), workers=workers)
    for what, part in (("fractions", b"0.1"), ("objects", b'{"a":0}'), ("lists", b"[]")):
        show(
            f"{what} in a reading",
            answer(b'{"x":[%b]}' % b",".join([part] * 1_000)),
            None,
            workers,
        )
    devices = json.dumps(DEVICE).encode()
    clusters = filled(b'{"objs":[{"data":{"devices":[', devices, b"]}}]}", 64 * MEBIBYTE)
    show("discovery", clusters, READ_NAMES)


if __name__ == "__main__":
    main()
