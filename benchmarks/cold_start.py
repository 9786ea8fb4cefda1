"""What it takes to begin: to be indexed by the Functions host, to run once in a new process, to show help.

    python -m benchmarks.cold_start

A baseline and ours are processes of their own, from start to exit, and take turns. Their modules are
compiled beforehand, as they are on every start but the first.
"""

from __future__ import annotations

import json
import statistics
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from benchmarks.processes import Took, run
from benchmarks.results import Result
from benchmarks.services import Services, services

PAIRS, MORE_PAIRS = 11, 41
# Compiled modules are written by the first start, and used by those that are measured; no file of
# authorities is read that this host happens to name.
PLAIN = {
    "PYTHONDONTWRITEBYTECODE": "",
    **dict.fromkeys(("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "SSL_CERT_FILE"), ""),
}
SECONDS: Mapping[str, Callable[[Took], float]] = {
    "processor": lambda one: one.cpu_s,
    "clock": lambda one: one.wall_s,
}


@dataclass(frozen=True, slots=True)
class Baseline:
    """A program that ours is compared with, and how many times its seconds ours may take."""

    what: str
    run: Callable[[], Took]
    bound: float


def results(long: bool) -> Iterator[Result]:
    pairs = MORE_PAIRS if long else PAIRS
    sdks = "import azure.functions, azure.eventhub, requests"
    yield from compared(
        "`import function_app`",
        lambda: run(["-c", "import function_app"], PLAIN),
        [Baseline("the imports of the SDKs", lambda: run(["-c", sdks], PLAIN), 0.7)],
        pairs,
    )
    with services(buildings=1, hubs=("a",)) as served:
        forward(served)
        questions = served.ask("questions")
        yield from compared(
            "a run of one location and one hub",
            partial(forward, served),
            [
                Baseline(
                    "the least program with the same calls",
                    partial(least, served, "forward", questions),
                    1.15,
                ),
                Baseline(
                    "the same with the libraries of a command line",
                    partial(least, served, "forward_with_libraries", questions),
                    1.3,
                ),
            ],
            pairs,
        )
    yield from compared(
        "`python -m app --help`",
        lambda: run(["-m", "app", "--help"], PLAIN),
        [Baseline("`import click`", lambda: run(["-c", "import click"], PLAIN), 1.5)],
        pairs,
    )


def compared(
    what: str, ours: Callable[[], Took], baselines: Sequence[Baseline], pairs: int
) -> Iterator[Result]:
    """Measure ours and each baseline in turn, after a first time that does not count."""
    programs = [ours, *(baseline.run for baseline in baselines)]
    took = [[program() for program in programs] for _ in range(pairs + 1)][1:]
    of_ours, *others = zip(*took, strict=True)
    for baseline, of_baseline in zip(baselines, others, strict=True):
        for unit, seconds in SECONDS.items():
            measured, least = (statistics.median(map(seconds, each)) for each in (of_ours, of_baseline))
            yield Result(f"{what}: {unit}", measured, "s", baseline.bound, baseline.what, least)


def forward(served: Services) -> Took:
    """Run as the timer of a new installation does, which discovers, and sends the readings of an hour."""
    with tempfile.TemporaryDirectory() as state:
        environment = served.environment(state, START_FROM="1h")
        return run(["-m", "app", "run", "people-counter", "--json"], {**environment, **PLAIN})


def least(served: Services, program: str, questions: list[str]) -> Took:
    """Make the same calls by a program of `benchmarks.least`, which does nothing else."""
    form = {
        "csrfToken": "forwarder",
        "username": served.variables["MICROSHARE_USERNAME"],
        "password": served.variables["MICROSHARE_PASSWORD"],
    }
    login = f"{served.variables['MICROSHARE_APP_URL']}/login"
    with tempfile.TemporaryDirectory() as folder:
        said = [str(Path(folder) / "state"), served.connection_strings[0], login, json.dumps(form)]
        return run(["-m", "benchmarks.least", program, *said, *questions], PLAIN)


if __name__ == "__main__":
    print(*results(long=False), sep="\n")
