"""How fast two hubs get their readings, and whether one that is in trouble slows the other.

    python -m benchmarks.delivery

The baseline of the rate is the least program that sends the same events to both hubs, encoding them for
each, one hub after the other. That of a hub while the other is in trouble is the same hub while both
are well. What counts is when the hub has its last reading, by its own clock, from the start of the
process on.
"""

from __future__ import annotations

import statistics
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from benchmarks.processes import run, started
from benchmarks.results import Result
from benchmarks.services import Services, services

BUILDINGS, DAYS, PAIRS = 20, 2, 3
LONGEST_S = 60.0
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
            pairs = [(beside(served, trouble, count), beside(served, "", count)) for _ in range(PAIRS)]
            in_trouble, well = (statistics.median(column) for column in zip(*pairs, strict=True))
            yield Result(
                f"a hub has its {count:,} readings while another one {said}",
                in_trouble,
                "s",
                1.15,
                "while both are well",
                well,
            )


COMMAND = ("-m", "app", "run", "people-counter", "--json")


def forward(served: Services) -> None:
    with tempfile.TemporaryDirectory() as state:
        run(COMMAND, served.environment(state, START_FROM=f"{DAYS}d"))


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


def beside(served: Services, trouble: str, count: int) -> float:
    """Give the seconds until the first hub has all, with the second in trouble.

    The run is ended then: it would wait for the second one until its time is over.
    """
    served.ask("trouble", trouble)
    began = time.time()
    with (
        tempfile.TemporaryDirectory() as state,
        started(COMMAND, served.environment(state, START_FROM=f"{DAYS}d")),
    ):
        while served.ask("received")["a"] < count:
            if time.time() - began > LONGEST_S:
                raise SystemExit(f"the first hub lacks readings after {LONGEST_S:.0f} s")
            time.sleep(0.5)
    took = float(served.ask("last")["a"]) - began
    served.ask("trouble")
    served.ask("clear")
    return took


if __name__ == "__main__":
    print(*results(long=False), sep="\n")
