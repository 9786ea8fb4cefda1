"""What it takes to begin: to be indexed by the Functions host, to run once in a new process, to show help.

    python -m benchmarks.cold_start

A baseline and ours are processes of their own, from start to exit, and take turns. Their modules are
compiled beforehand, as they are on every start but the first.
"""

from __future__ import annotations

import json
import statistics
import tempfile
from collections.abc import Callable, Iterator
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


def results(long: bool) -> Iterator[Result]:
    pairs = MORE_PAIRS if long else PAIRS
    sdks = "import azure.functions, azure.eventhub, requests"
    yield from compared(
        "`import function_app`",
        0.7,
        lambda: run(["-c", "import function_app"], PLAIN),
        "the imports of the SDKs",
        lambda: run(["-c", sdks], PLAIN),
        pairs,
    )
    with services(buildings=1, hubs=("a",)) as served:
        forward(served)
        questions = served.ask("questions")
        yield from compared(
            "a run of one location and one hub",
            1.15,
            partial(forward, served),
            "the least program with the same calls",
            partial(least, served, questions),
            pairs,
        )
    yield from compared(
        "`python -m app --help`",
        1.5,
        lambda: run(["-m", "app", "--help"], PLAIN),
        "`import click`",
        lambda: run(["-c", "import click"], PLAIN),
        pairs,
    )


def compared(
    what: str, bound: float, ours: Callable[[], Took], against: str, baseline: Callable[[], Took], pairs: int
) -> Iterator[Result]:
    """Measure both in turn, after a first time that does not count."""
    took = [(ours(), baseline()) for _ in range(pairs + 1)][1:]
    of_ours, of_baseline = zip(*took, strict=True)

    def result(unit: str, seconds: Callable[[Took], float]) -> Result:
        measured, least = (statistics.median(map(seconds, each)) for each in (of_ours, of_baseline))
        return Result(f"{what}: {unit}", measured, "s", bound, against, least)

    yield result("processor", lambda one: one.cpu_s)
    yield result("clock", lambda one: one.wall_s)


def forward(served: Services) -> Took:
    """Run as the timer of a new installation does, which discovers, and sends the readings of an hour."""
    with tempfile.TemporaryDirectory() as state:
        environment = served.environment(state, START_FROM="1h")
        return run(["-m", "app", "run", "people-counter", "--json"], {**environment, **PLAIN})


def least(served: Services, questions: list[str]) -> Took:
    """Make the same calls by a program that does nothing else."""
    form = {
        "csrfToken": "forwarder",
        "username": served.variables["MICROSHARE_USERNAME"],
        "password": served.variables["MICROSHARE_PASSWORD"],
    }
    login = f"{served.variables['MICROSHARE_APP_URL']}/login"
    with tempfile.TemporaryDirectory() as folder:
        said = [str(Path(folder) / "state"), served.connection_strings[0], login, json.dumps(form)]
        return run(["-m", "benchmarks.least", "forward", *said, *questions], PLAIN)


if __name__ == "__main__":
    print(*results(long=False), sep="\n")
