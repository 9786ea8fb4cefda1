"""How much sooner four workers are done than one, where the source takes its time to answer.

    python -m benchmarks Shards

A worker is a run of the real command line on the table store (Azurite), `--shard I/4` of four, from its
start to its exit; of four the last one counts. What they share is the source, the hub, Azurite, and the
processor's cores, all of which are this machine's. The one alone has half of the locations (`--shard 1/2`),
which takes half of the time, and has its start to bear twice as much: a hundredth of its rate.
"""

from __future__ import annotations

import re
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from app.base.shards import Shard
from benchmarks.processes import ROOT, run
from benchmarks.results import Result
from benchmarks.services import building_name, services
from tests.environments.azurite import connection_string, running_azurite

LOCATIONS, DOORS, WORKERS, ANSWER_S, AT_ONCE = 400, 2, 4, 0.5, 2
CONFIG = ROOT / "config.yaml"
COMMAND = ("-m", "app", "run", "people-counter", "--json")


def results(long: bool) -> Iterator[Result]:  # noqa: ARG001
    with (
        tempfile.TemporaryDirectory() as folder,
        running_azurite(Path(folder)) as port,
        services(buildings=LOCATIONS, doors=DOORS, hubs=("a",)) as served,
    ):
        # A worker that asks so few questions at a time has as much to do as in a tick of minutes; its start,
        # and the connecting to the hub, take it a second and a half.
        config = Path(folder) / "config.yaml"
        config.write_text(re.sub("concurrency: [0-9]+", f"concurrency: {AT_ONCE}", CONFIG.read_text()))
        environment = served.environment(
            folder,
            STATE_STORE="table",
            AzureWebJobsStorage=connection_string(port),
            START_FROM="1h",
            FORWARDER_CONFIG=str(config),
        )
        # What an installation has after its first run: its state, and its list of locations.
        run(COMMAND, environment)
        served.ask("slow", str(ANSWER_S))
        ours, one = rate(environment, *shards_of(WORKERS)), rate(environment, shards_of(2)[0])
    yield Result(
        f"{LOCATIONS} locations, {ANSWER_S} s an answer, {AT_ONCE} questions at once: {WORKERS} workers",
        ours,
        "a second",
        3.5,
        "one worker, with half of them",
        one,
        at_least=True,
    )


def shards_of(number: int) -> list[Shard]:
    return [Shard(index, number) for index in range(number)]


def rate(environment: dict[str, str], *shards: Shard) -> float:
    """Give how many locations a second a worker for each of these is done with, all together."""
    held = sum(shard.holds(name) for shard in shards for name in map(building_name, range(LOCATIONS)))
    began = time.perf_counter()
    with ThreadPoolExecutor(len(shards)) as hosts:
        list(hosts.map(lambda shard: run([*COMMAND, "--shard", str(shard)], environment), shards))
    return held / (time.perf_counter() - began)


if __name__ == "__main__":
    print(*results(long=False), sep="\n")
