"""What a run takes for each location, reading and second, with which `check --sizing` reckons.

    python -m benchmarks Scaling --write

Each is a slope: what runs of two sizes took, their difference divided by that of the sizes. Runs are those
of the real command line on Azurite, whose requests a relay counts. Then runs of another size are
measured against what `check --sizing` says of them.
"""

from __future__ import annotations

import functools
import json
import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, fields
from pathlib import Path
from random import Random

from app.base.checkpoints import Discovery, FeedState
from app.base.instants import MILLISECOND, floor_to, utc_now
from app.base.shards import Shard
from app.health.measured import Measured
from app.health.sizing import READINGS_A_SENSOR, SENSORS, assumed, need_of
from app.settings.schema import StateSettings
from app.state.azure_table import AzureTableStore
from app.state.document import encode, location_document
from benchmarks import costs_page, scaling_page, state
from benchmarks.processes import MEBIBYTE, ROOT, run
from benchmarks.results import Result
from benchmarks.services import Services, building_name, services
from tests.environments.azurite import Relay, connection_string, running_azurite

COMMAND = ("-m", "app", "run", "people-counter", "--json")
SMALL, LARGE, FEW_DOORS, SLOW_S = 20, 200, 2, 0.5
LISTED, HELD = 20_000, 1_000
OTHER, ROWS = 120, 100
HUB = ("one.example.test/counts",)
READINGS = int(SENSORS * READINGS_A_SENSOR)
FIGURES = ROOT / "app" / "health" / "measured.py"
PAGES = {ROOT / "docs" / "scaling.md": scaling_page, ROOT / "docs" / "costs.md": costs_page}
BEGIN, END = "# written: from here on\n", "# written: up to here\n"


@dataclass(frozen=True, slots=True)
class Ran:
    """What one run took, and what it did."""

    cpu_s: float
    wall_s: float
    peak_mib: float
    requests: int
    calls: int
    read: int
    sent: int


class Bench:
    """A source with so many buildings, a hub, and tables behind a relay."""

    def __init__(self, stack: ExitStack, buildings: int, doors: int) -> None:
        folder = stack.enter_context(tempfile.TemporaryDirectory())
        self.port = stack.enter_context(running_azurite(Path(folder)))
        self.served: Services = stack.enter_context(services(buildings=buildings, doors=doors, hubs=("a",)))
        self._relay = Relay(self.port)
        stack.callback(self._relay.close)
        self._environment = self.served.environment(
            folder,
            STATE_STORE="table",
            AzureWebJobsStorage=connection_string(self._relay.port),
            START_FROM="1h",
        )

    def run(self, *options: str) -> Ran:
        before = len(self._relay.requests)
        took = run([*COMMAND, *options], self._environment)
        report = json.loads(took.stdout)
        [hub] = report["hubs"].values()
        return Ran(
            took.cpu_s,
            took.wall_s,
            took.peak_bytes / MEBIBYTE,
            len(self._relay.requests) - before,
            report["api_calls"],
            hub["duplicates"],
            hub["readings"],
        )


def slope(more: Ran, less: Ran, what: str, over: float) -> float:
    return max(0.0, float(getattr(more, what) - getattr(less, what)) / over)


@functools.cache
def measured() -> Measured:
    """Measure all figures, in a minute or two; three digits of each, for more are this run's alone."""
    exact = _measured()
    rounded = {each.name: float(f"{getattr(exact, each.name):.3g}") for each in fields(Measured)}
    return Measured(**rounded)


def _measured() -> Measured:
    with ExitStack() as stack:
        small, large, few_doors = (
            Bench(stack, buildings, doors)
            for buildings, doors in ((SMALL, SENSORS), (LARGE, SENSORS), (LARGE, FEW_DOORS))
        )
        firsts = [bench.run() for bench in (small, large, few_doors)]
        # The second one reads what the first one sent, and sends nothing of it again.
        steady = [
            min((bench.run() for _ in range(2)), key=lambda ran: ran.cpu_s)
            for bench in (small, large, few_doors)
        ]
        shard = large.run("--shard", "1/8")
        large.served.ask("slow", str(SLOW_S))
        slow = large.run()
    (_, large_first, few_first), (small_run, large_run, few_run) = firsts, steady
    ms_read = 1_000 * slope(large_run, few_run, "cpu_s", large_run.read - few_run.read)
    ms_sent = 1_000 * slope(large_first, few_first, "cpu_s", large_first.sent - few_first.sent)
    more = LARGE - SMALL
    ms_with_readings = 1_000 * slope(large_run, small_run, "cpu_s", more)
    ms_location = max(0.0, ms_with_readings - ms_read * (large_run.read - small_run.read) / more)
    a_second = slope(slow, large_run, "requests", slow.wall_s - large_run.wall_s)

    def besides(ran: Ran, locations: int) -> float:
        """Give the requests for each location, without those of a small run, and of each second more."""
        seconds = max(0.0, ran.wall_s - small_run.wall_s)
        return max(0.0, (ran.requests - small_run.requests - a_second * seconds) / locations)

    held = sum(Shard(0, 8).holds(building_name(number)) for number in range(LARGE))
    return Measured(
        cpu_s_a_run=small_run.cpu_s - (SMALL * ms_location + small_run.read * ms_read) / 1_000,
        cpu_ms_a_location=ms_location,
        cpu_ms_a_reading_read=ms_read,
        cpu_ms_a_reading_sent=ms_sent,
        memory_mib_a_run=small_run.peak_mib,
        **_of_memory(),
        **_of_a_document(),
        transactions_a_run=small_run.requests,
        transactions_a_second=a_second,
        transactions_a_location=besides(large_run, LARGE - SMALL),
        transactions_a_location_by_key=besides(shard, held),
    )


def _of_memory() -> dict[str, float]:
    """Measure what a state and its list take to be loaded, planned and saved."""

    def peak(held: int, listed: int, devices: int) -> float:
        with tempfile.TemporaryDirectory() as folder, running_azurite(Path(folder)) as port:
            run(["-m", "benchmarks.scaling", "make", str(port), str(held), str(listed), str(devices)])
            return run(["-m", "benchmarks.scaling", "forward", str(port)]).peak_bytes

    nothing, of_places, of_devices = peak(0, 0, 0), peak(0, LISTED, 0), peak(0, LISTED, 10)
    return {
        "memory_times_state": (peak(HELD, 0, 0) - nothing) / HELD / _size(SENSORS, READINGS),
        "memory_bytes_a_place": (of_places - nothing) / LISTED,
        "memory_bytes_a_device": (of_devices - of_places) / LISTED / 10,
    }


def make(store: AzureTableStore, held: int, listed: int, devices: int) -> None:
    """Keep a state of so many locations, and a list of so many."""
    random, now = Random(1), floor_to(utc_now(), MILLISECOND)
    names = [f"Building {number:05}" for number in range(max(held, listed))]
    locations = {name: state.location(name, HUB, SENSORS, READINGS, now, random) for name in names[:held]}
    places = state.places(names[:listed], devices, random)
    store.save(state.NAME, FeedState(locations, Discovery(now, places)), locations)


def forward(store: AzureTableStore) -> None:
    """Load a state, plan it, and save it as a run does: a transaction of locations at a time."""
    loaded = state.planned(store)
    names = sorted(loaded.locations)
    for at in range(0, max(1, len(names)), ROWS):
        store.save(state.NAME, loaded, names[at : at + ROWS])


def _of_a_document() -> dict[str, float]:
    """Count the bytes of a location's state, as JSON; ids are of a day and an hour."""
    least = _size(0, 0)
    return {
        "bytes_a_location": least,
        "bytes_a_sensor": (_size(SENSORS, 0) - least) / SENSORS,
        "bytes_a_reading_an_hour": (_size(0, READINGS) - least) / READINGS,
    }


def _size(sensors: int, readings_an_hour: int) -> int:
    now = floor_to(utc_now(), MILLISECOND)
    found = state.location("Building 00001", HUB, sensors, readings_an_hour, now, Random(1))
    return len(encode(location_document(found)))


def connected(port: int) -> AzureTableStore:
    return AzureTableStore.connect(
        StateSettings("table", "", table_connection_string=connection_string(port))
    )


def results(long: bool) -> Iterator[Result]:  # noqa: ARG001
    """Measure the figures, and what a run of another size takes against what is said of it."""
    found = measured()
    with ExitStack() as stack:
        bench = Bench(stack, OTHER, SENSORS)
        bench.run()
        ran = bench.run()
    # Its seconds are of a stand-in that answers at once.
    answer_s = ran.wall_s * assumed(OTHER, 1, hourly=False).concurrency.value / ran.calls
    load = assumed(OTHER, answer_s, hourly=False)
    need, runs = need_of(load, found), load.runs_a_day.value
    what, against = f"a steady run of {OTHER} locations", "`check --sizing`"
    yield Result(f"{what}: API calls", ran.calls, "calls", 1, against, need.calls_a_tick)
    yield Result(
        f"{what}: table transactions", ran.requests, "calls", 1.1, against, need.transactions_a_day / runs
    )
    yield Result(f"{what}: memory", ran.peak_mib, "MiB", 1.1, against, need.memory_mib)
    yield Result(f"{what}: processor", ran.cpu_s, "s", 1.25, against, need.cpu_s_a_day / runs)


def write() -> None:
    """Write the figures where `check --sizing` takes them from, and the tables of the pages."""
    given = "".join(
        f"    {each.name}={_shown(getattr(measured(), each.name))},\n" for each in fields(Measured)
    )
    before, _, rest = FIGURES.read_text(encoding="utf-8").partition(BEGIN)
    written = f"{before}{BEGIN}MEASURED: Final = Measured(\n{given})\n{END}{rest.partition(END)[2]}"
    FIGURES.write_text(written, encoding="utf-8")
    for page, of in PAGES.items():
        page.write_text(of.with_tables(page.read_text(encoding="utf-8"), measured()), encoding="utf-8")


def _shown(value: float) -> str:
    return f"{value!r}"


if __name__ == "__main__":
    match sys.argv[1:]:
        case ["forward", port]:
            forward(connected(int(port)))
        case ["make", port, *counts]:
            make(connected(int(port)), *map(int, counts))
        case _:
            print(*results(long=False), sep="\n")
