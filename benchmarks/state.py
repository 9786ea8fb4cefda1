"""A large state, 2,000 locations of 50 sensors and three hubs with a day of ids: loaded, planned and saved.

    python -m benchmarks.state

The baseline reads the same file with the JSON library, and writes it again, flushed to disk: it knows
nothing of what it holds, and neither checks it nor keeps the file before. Both are processes of their own.
"""

from __future__ import annotations

import json
import os
import statistics
import sys
import tempfile
import time
from base64 import urlsafe_b64encode
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from random import Random

import msgspec

from app.base.checkpoints import (
    Checkpoint,
    Discovery,
    FeedState,
    HubRecord,
    LocationState,
    Place,
    Seal,
    Sensor,
)
from app.base.instants import DAY, HOUR, MILLISECOND, floor_to, hour_of, utc_now
from app.base.packed_ids import packed
from app.run.ledger import Ledger
from app.run.planning import Limits, plan_slice
from app.state.json_file import JsonFileStore
from app.state.store import StateStore
from benchmarks.processes import MEBIBYTE, run
from benchmarks.results import Result

LOCATIONS, SENSORS, READINGS_AN_HOUR = 2_000, 50, 4
HUBS = tuple(f"{name}.example.test/counts" for name in ("one", "two", "three"))
NAME = "peoplecounterstate"
TIMES = 3


@dataclass(frozen=True, slots=True)
class Taken:
    """What a process says that it took, its imports left out, in seconds of the processor and the clock."""

    cpu_s: float
    wall_s: float
    peak_mib: float


def results(long: bool) -> Iterator[Result]:  # noqa: ARG001
    with tempfile.TemporaryDirectory() as folder:
        run(["-m", "benchmarks.state", "make", folder])
        size = (Path(folder) / f"{NAME}.json").stat().st_size / MEBIBYTE
        pairs = [(taken("forward", folder), taken("copy", folder)) for _ in range(TIMES)]
    ours, least = zip(*pairs, strict=True)

    def median(of: Callable[[Taken], float], all_of_them: tuple[Taken, ...]) -> float:
        return statistics.median(map(of, all_of_them))

    what = f"{LOCATIONS:,} locations, a file of {size:.0f} MiB, loaded, planned and saved"
    against = "the JSON library alone"
    cpu_s = median(lambda one: one.cpu_s, ours)
    yield Result(f"{what}: processor", cpu_s, "s", 1, of="ours")
    yield Result(f"{what}: processor", cpu_s, "s", 1.5, against, median(lambda one: one.cpu_s, least))
    yield Result(f"{what}: clock", median(lambda one: one.wall_s, ours), "s", 1, of="ours")
    peaks = [median(lambda one: one.peak_mib, each) for each in (ours, least)]
    yield Result(f"{what}: memory", peaks[0], "MiB", 0.6, against, peaks[1])


def taken(what: str, folder: str) -> Taken:
    took = run(["-m", "benchmarks.state", what, folder])
    cpu_s, wall_s = json.loads(took.stdout)
    return Taken(cpu_s, wall_s, took.peak_bytes / MEBIBYTE)


def forward(store: StateStore) -> None:
    """Do what a run does with the state before and after it asks anybody."""
    state = planned(store)
    store.save(NAME, state, state.locations)


def planned(store: StateStore) -> FeedState:
    """Load a state and plan its slices; give what is to be saved of it then, as it was listed anew."""
    state = store.load(NAME)
    limits = Limits(HOUR, DAY, 999)
    ledger = Ledger(state, limits)
    now = utc_now()
    for name, found in state.locations.items():
        for group in ledger.groups(name, list(found.checkpoints)):
            plan_slice(group, now, limits)
        ledger.listed(name, now)
    return ledger.state()


def copy(folder: Path) -> None:
    path = folder / f"{NAME}.json"
    document = msgspec.json.decode(path.read_bytes())
    with (folder / "copy.json").open("wb") as file:
        file.write(msgspec.json.format(msgspec.json.encode(document), indent=1))
        file.flush()
        os.fsync(file.fileno())


def make(folder: Path) -> None:
    random = Random(1)
    now = floor_to(utc_now(), MILLISECOND)
    names = [f"Building {number:04}" for number in range(LOCATIONS)]
    state = FeedState(
        {name: location(name, HUBS, SENSORS, SENSORS * READINGS_AN_HOUR, now, random) for name in names},
        Discovery(now, places(names, 16, random)),
    )
    JsonFileStore(folder).save(NAME, state, names)


def location(
    name: str, hubs: Sequence[str], sensors: int, readings_an_hour: int, now: datetime, random: Random
) -> LocationState:
    """Make a location as it is after a day: all hubs have all of its readings."""
    hours = [hour_of(now) - HOUR * back for back in range(25)]
    ids = {hour: packed(_ids(random, readings_an_hour)) for hour in hours if readings_an_hour}
    seals = {
        hours[-1] - HOUR * back: Seal(readings_an_hour, random.getrandbits(48), back) for back in range(1, 24)
    }
    last = [now - timedelta(milliseconds=random.randrange(900_000)) for _ in range(sensors)]
    return LocationState(
        last_listed=now,
        newest=now,
        checkpoints=dict.fromkeys(hubs, Checkpoint(now, hours[-1], ids, now)),
        hubs=dict.fromkeys(hubs, HubRecord(4_000, 4_000, 4_000, now, start=now - DAY)),
        begun=now - DAY,
        compared=now,
        seals=dict.fromkeys(hubs, seals),
        sensors={(name, "1", f"Door {at}"): Sensor(last[at], HOUR / 4) for at in range(sensors)},
    )


def places(names: Iterable[str], devices: int, random: Random) -> tuple[Place, ...]:
    """Make the list in which discovery found these."""
    return tuple(
        Place(name, "com.example.NORTH", devices, frozenset(_ids(random, devices))) for name in names
    )


def _ids(random: Random, count: int) -> list[str]:
    return [urlsafe_b64encode(random.randbytes(12)).decode() for _ in range(count)]


def main() -> None:
    match sys.argv[1:]:
        case ["make", folder]:
            make(Path(folder))
        case [("forward" | "copy") as what, folder]:
            cpu, wall = time.process_time(), time.perf_counter()
            forward(JsonFileStore(Path(folder))) if what == "forward" else copy(Path(folder))
            print(json.dumps([time.process_time() - cpu, time.perf_counter() - wall]))
        case _:
            print(*results(long=False), sep="\n")


if __name__ == "__main__":
    main()
