"""What a run takes of the processor, against the least program that sends the same events with the SDK.

    python -m benchmarks.cpu

Ours does the whole of it: it logs in, asks, reads, makes ids, encodes, sends, and saves its state. The
baseline has the events ready and only sends them, to two hubs by encoding them for each, as the SDK's
documentation shows. All are processes of their own, from start to exit; services are in another one.
"""

from __future__ import annotations

import statistics
import tempfile
from collections.abc import Iterator
from pathlib import Path

from benchmarks.processes import run
from benchmarks.results import Result
from benchmarks.services import Services, services

BUILDINGS, PAIRS = 20, 3
DAYS, LONG_DAYS = 3, 8


def results(long: bool) -> Iterator[Result]:
    start = f"{LONG_DAYS if long else DAYS}d"
    with services(buildings=BUILDINGS) as served, tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "events"
        forward(served, start, 1, keep=True)
        count = served.ask("save", str(file))
        served.ask("clear")
        one, two = served.connection_strings[:1], served.connection_strings
        pairs = [
            (
                forward(served, start, 1),
                send(served, file, one),
                forward(served, start, 2),
                send(served, file, two),
            )
            for _ in range(PAIRS)
        ]
    ours_one, sdk, ours_two, naive = (statistics.median(column) for column in zip(*pairs, strict=True))
    of = f"{count:,} readings"
    yield Result(f"{of} to one hub", ours_one, "s", 1.15, "the SDK alone", sdk)
    yield Result(f"{of} to two hubs", ours_two, "s", 0.62, "encoded for each hub", naive)


def forward(served: Services, start: str, hubs: int, *, keep: bool = False) -> float:
    with tempfile.TemporaryDirectory() as state:
        environment = served.environment(state, hubs, START_FROM=start)
        took = run(["-m", "app", "run", "people-counter", "--json"], environment)
    if not keep:
        served.ask("clear")
    return took.cpu_s


def send(served: Services, file: Path, connection_strings: tuple[str, ...]) -> float:
    took = run(["-m", "benchmarks.least", "send", str(file), *connection_strings])
    served.ask("clear")
    return took.cpu_s


if __name__ == "__main__":
    print(*results(long=False), sep="\n")
