"""How fast two hubs get their readings, and whether one that is in trouble slows the other.

    python -m benchmarks.delivery

The baseline of the rate is the least program that sends the same events to both hubs, encoding them for
each, one hub after the other. That of a hub beside one in trouble is the same hub beside one that is well.
What counts is when the hub has its last reading, by its own clock, from the start of the process on.
"""

from __future__ import annotations

import statistics
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from benchmarks.processes import run
from benchmarks.results import Result
from benchmarks.services import Services, services

BUILDINGS, DAYS, PAIRS = 20, 2, 3
# A run ends for a hub that answers nothing when its time is over; the other one has all long before.
BUDGET = "8s"
TROUBLES = {"throttle": "is throttled", "stall": "acknowledges nothing"}


def results(long: bool) -> Iterator[Result]:  # noqa: ARG001
    with services(buildings=BUILDINGS) as served, tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "events"
        forward(served)
        count = served.ask("save", str(file))
        served.ask("clear")
        ours, naive = zip(
            *((rate(served, count), naive_rate(served, file, count)) for _ in range(PAIRS)), strict=True
        )
        yield Result(
            f"{count:,} readings to two hubs",
            statistics.median(ours),
            "a second",
            1.6,
            "encoded for each hub",
            statistics.median(naive),
            at_least=True,
        )
        for trouble, said in TROUBLES.items():
            pairs = [(beside(served, trouble), beside(served, "")) for _ in range(PAIRS)]
            in_trouble, well = (statistics.median(column) for column in zip(*pairs, strict=True))
            yield Result(
                f"a hub has its {count:,} readings beside one that {said}",
                in_trouble,
                "s",
                1.15,
                "beside one that is well",
                well,
            )


def forward(served: Services) -> None:
    with tempfile.TemporaryDirectory() as state:
        environment = served.environment(state, START_FROM=f"{DAYS}d", RUN_BUDGET=BUDGET)
        run(["-m", "app", "run", "people-counter", "--json"], environment, allowed=(0, 1))


def rate(served: Services, count: int) -> float:
    began = time.time()
    forward(served)
    took = max(map(float, served.ask("last").values())) - began
    served.ask("clear")
    return count / took


def naive_rate(served: Services, file: Path, count: int) -> float:
    began = time.time()
    run(["-m", "benchmarks.least", "send", str(file), *served.connection_strings])
    took = max(map(float, served.ask("last").values())) - began
    served.ask("clear")
    return count / took


def beside(served: Services, trouble: str) -> float:
    """Give the seconds until the first hub has all, with the second in trouble."""
    served.ask("trouble", trouble)
    began = time.time()
    forward(served)
    took = float(served.ask("last")["a"]) - began
    served.ask("trouble")
    served.ask("clear")
    return took


if __name__ == "__main__":
    print(*results(long=False), sep="\n")
