"""Peak memory: of a long catch-up against a short one, of a run of many locations, and of
an audit's comparison.

    python -m benchmarks Memory

Peaks are what the operating system says of the real command's process.
"""

from __future__ import annotations

import re
import tempfile
from collections.abc import Iterator
from pathlib import Path

from benchmarks import audit
from benchmarks.processes import MEBIBYTE, ROOT, run
from benchmarks.results import Result
from benchmarks.services import Services, services

# A door has some 94 readings a day.
BUILDINGS, DOORS = 20, 4
SHORT, LONG, LONGER = "32h", "40d", "133d"
# Their readings are made by the stand-in, which takes most of the time.
LOCATIONS, FEW_DOORS = 2_000, 2
CONFIG = ROOT / "config.yaml"


def results(long: bool) -> Iterator[Result]:
    with services(buildings=BUILDINGS, doors=DOORS, hubs=("a",)) as served:
        few, short = forward(served, SHORT)
        many, peak = forward(served, LONGER if long else LONG)
    against = f"{few:,} readings"
    yield Result(f"a catch-up of {many:,} readings", peak, "MiB", 20, against, short, of="difference")
    yield Result(f"a catch-up of {many:,} readings, in all", peak, "MiB", 150, of="ours")
    with services(buildings=LOCATIONS, doors=FEW_DOORS, hubs=("a",)) as served:
        many, peak = forward(served, "1h", runs=2)
    yield Result(f"a run of {LOCATIONS:,} locations, {many:,} readings", peak, "MiB", 256, of="ours")
    yield from audit.results(long)


def forward(served: Services, start: str, *, runs: int = 1) -> tuple[int, float]:
    """Run the command line so often, first on no state; give how many readings came, and the peak in MiB."""
    with tempfile.TemporaryDirectory() as state:
        config = Path(state) / "config.yaml"
        config.write_text(with_time(CONFIG.read_text(encoding="utf-8")), encoding="utf-8")
        environment = served.environment(state, 1, START_FROM=start, FORWARDER_CONFIG=str(config))
        command = ["-m", "app", "run", "people-counter", "--json"]
        peaks = [run(command, environment).peak_bytes for _ in range(runs)]
    readings = sum(served.ask("received").values())
    served.ask("clear")
    return readings, max(peaks) / MEBIBYTE


def with_time(config: str) -> str:
    """Give settings whose runs have time for all that there is, however slow the machine."""
    found = re.subn(r"(?m)^  budget: \S+", "  budget: 50m", config)
    if found[1] != 1:
        raise AssertionError("the settings have one budget")
    return found[0]
