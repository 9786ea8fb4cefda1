"""How much memory the largest answer takes while it is read, in times its bytes; four may be read at once.

    python -m benchmarks.answers

The baseline is the body itself. What the answers hold is what readings are, and what takes the most memory
for its length: an API could send it. Of discovery only names are kept.
"""

from __future__ import annotations

import json
import tracemalloc
from collections.abc import Collection, Iterator

from app.base import exact_json
from app.base.readings import DashboardAnswer
from app.feeds.feed import read_answer
from app.feeds.people_counter import FEED
from app.microshare.discovery import READ_NAMES
from app.settings.schema import MicroshareSettings
from benchmarks.processes import MEBIBYTE
from benchmarks.results import Result

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


def results(long: bool) -> Iterator[Result]:  # noqa: ARG001
    yield result("an answer of readings", 8, answer(json.dumps(READING).encode()))
    for what, part in (("fractions", b"0.1"), ("objects", b'{"a":0}'), ("lists", b"[]")):
        body = answer(b'{"x":[%b]}' % b",".join([part] * 1_000))
        yield result(f"an answer of {what} in readings", 32, body)
    devices = json.dumps(DEVICE).encode()
    clusters = filled(b'{"objs":[{"data":{"devices":[', devices, b"]}}]}", 64 * MEBIBYTE)
    yield result("an answer of discovery", 6, clusters, READ_NAMES)


def result(what: str, bound: float, body: bytes, kept: Collection[str] | None = None) -> Result:
    return Result(what, peak_of(body, kept) / MEBIBYTE, "MiB", bound, "its bytes", len(body) / MEBIBYTE)


if __name__ == "__main__":
    print(*results(long=False), sep="\n")
