"""How fast two hubs get their readings, and whether one that is in trouble, or behind, slows the other.

    python -m benchmarks.delivery

The baseline of the rate is the least program that sends the same events to both hubs, encoding them for
each, one hub after the other. That of a hub while the other is in trouble, or behind, is the same hub while
both are well, and as near. What counts is when the hub has its last reading, by its own clock, from the
start of the process on.
"""

from __future__ import annotations

import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from datetime import timedelta
from functools import partial
from pathlib import Path

from app.base.instants import format_time, utc_now
from app.feeds.people_counter import FEED
from benchmarks.processes import run, started
from benchmarks.results import Result
from benchmarks.services import Services, services

BUILDINGS, DAYS = 20, 2
# What takes little time is measured more often.
PAIRS, SHORT_PAIRS = 3, 7
# How far the nearer of two hubs is from the present, where the other has those days to catch up with.
NEAR_HOURS = 6
LONGEST_S = 60.0
TROUBLES = {"throttle": "is throttled", "stall": "acknowledges nothing"}


def results(long: bool) -> Iterator[Result]:  # noqa: ARG001
    # Instants, so that each run has the same readings before it.
    far, near = (
        format_time(utc_now() - back) for back in (timedelta(days=DAYS), timedelta(hours=NEAR_HOURS))
    )
    with services(buildings=BUILDINGS) as served, tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "events"
        forward(served, far, keep=True)
        count = served.ask("save", str(file))
        served.ask("clear")
        ours, naive = zip(
            *((rate(served, far, count), naive_rate(served, file, count)) for _ in range(PAIRS)), strict=True
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
            yield undisturbed(
                f"a hub has its {count:,} readings while another one {said}",
                partial(beside, served, far, count, trouble=trouble),
                partial(beside, served, far, count),
                PAIRS,
            )
        few = forward(served, near)
        yield undisturbed(
            f"a hub has its {few:,} readings while another one is {DAYS} days behind",
            partial(beside, served, near, few, other_from=far),
            partial(beside, served, near, few),
            SHORT_PAIRS,
        )


def undisturbed(what: str, disturbed: Callable[[], float], well: Callable[[], float], pairs: int) -> Result:
    took = [(disturbed(), well()) for _ in range(pairs)]
    measured, least = (statistics.median(column) for column in zip(*took, strict=True))
    return Result(what, measured, "s", 1.15, "while both are well", least)


COMMAND = ("-m", "app", "run", "people-counter", "--json")


def forward(served: Services, start: str, *, keep: bool = False) -> int:
    """Run once on no state; give how many readings each hub got."""
    with tempfile.TemporaryDirectory() as state:
        run(COMMAND, served.environment(state, START_FROM=start))
    count = int(served.ask("received")["a"])
    if not keep:
        served.ask("clear")
    return count


def rate(served: Services, start: str, count: int) -> float:
    began = time.time()
    forward(served, start, keep=True)
    return count / last(served, began)


def naive_rate(served: Services, file: Path, count: int) -> float:
    began = time.time()
    run(["-m", "benchmarks.least", "send", str(file), *served.connection_strings])
    return count / last(served, began)


def last(served: Services, began: float) -> float:
    """Give the seconds until both hubs had all, and clear them."""
    took = max(map(float, served.ask("last").values())) - began
    served.ask("clear")
    return took


def beside(served: Services, start: str, count: int, *, trouble: str = "", other_from: str = "") -> float:
    """Give the seconds until the first hub has all since `start`, the second in trouble or behind.

    The run is ended then: it would wait for the second one until its time is over.
    """
    with tempfile.TemporaryDirectory() as state:
        if other_from:
            fall_behind(served, other_from, Path(state))
        served.ask("trouble", trouble)
        began = time.time()
        with started(COMMAND, served.environment(state, START_FROM=start)):
            wait_until(lambda: served.ask("received")["a"] >= count, "the first hub lacks readings")
    took = float(served.ask("last")["a"]) - began
    served.ask("trouble")
    served.ask("clear")
    return took


def fall_behind(served: Services, start: str, state: Path) -> None:
    """Write a state in which the second hub has got nothing since `start`; the first is not known to it."""
    served.ask("trouble", "stall")
    environment = served.environment(state, START_FROM=start)
    environment["EVENT_HUB_CONNECTION_STRING"] = served.connection_strings[1]
    environment["EVENT_HUB_CONNECTION_STRINGS"] = "[]"
    with started(COMMAND, environment):
        wait_until((state / f"{FEED.state_name}.json").exists, "no state was written")
    served.ask("trouble")
    served.ask("clear")


def wait_until(is_so: Callable[[], bool], lacking: str) -> None:
    """Raises SystemExit after a minute."""
    began = time.monotonic()
    while not is_so():
        if time.monotonic() - began > LONGEST_S:
            raise SystemExit(f"{lacking} after {LONGEST_S:.0f} s")
        time.sleep(0.25)


if __name__ == "__main__":
    print(*results(long=False), sep="\n")
