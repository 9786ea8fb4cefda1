"""Whether an audit's memory grows with what it compares: a hundred thousand readings against a million.

    python -m benchmarks.audit [READINGS]

Compares the comparison alone, without the network: readings are handed to it as a hub and a source
would, in a process of its own each, and its peak memory is what the operating system says of it.
"""

from __future__ import annotations

import os
import resource
import subprocess
import sys
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

from app.audit.comparing import Counts, compare, slot_of, written_time
from app.audit.comparison_file import ComparisonFile
from app.audit.findings import HeldReading, Published
from app.base import exact_json
from app.base.instants import format_time
from app.base.readings import Reading
from app.feeds.people_counter import FEED

ROOT = Path(__file__).parent.parent
START = datetime(2026, 3, 2, tzinfo=UTC)
PLACES = [f"Building {number:02}" for number in range(20)]
STEP = timedelta(seconds=9)
HUB = "example.servicebus.windows.net/counts"


def readings(count: int) -> Iterator[tuple[str, Reading]]:
    """Give readings with their locations, in the order in which they would arrive, read from bodies."""
    for number in range(count):
        place = PLACES[number % len(PLACES)]
        at = START + STEP * (number // len(PLACES))
        body = {
            "recType": FEED.rec_type,
            "time": format_time(at),
            "record": f"{number:024x}",
            "change": {"in": number % 7, "out": number % 5, "count": 0, "traffic": 12},
            "daily_total": {"in": number % 700, "out": number % 500, "date": "2026-03-02", "hour": 9},
            "meta": {"device": [place, "4", "North Lobby"], "timezone": "Europe/Paris"},
            "_location_tags": [place, "4", "North Lobby"],
        }
        yield place, FEED.readings_in(place, exact_json.dumps(body))[0]


def measure(count: int) -> None:
    """Compare `count` readings of which nothing is wrong; print CPU seconds and peak memory in KiB."""
    began = time.process_time()
    with ComparisonFile(PLACES, [HUB]) as file:
        for number, (place, reading) in enumerate(readings(count)):
            if reading.time is None:
                raise AssertionError("every reading here has a time")
            slot, written = slot_of(reading, FEED.merged_by), written_time(reading)
            held = HeldReading(
                place, slot, reading.time, reading.id, written, 1, number, number, reading.time
            )
            file.hold(HUB, held)
            file.publish(Published(place, slot, reading.time, reading.id, reading.id, written))
        counts = Counts()
        for finding in compare(file.published(), file.held(HUB)):
            counts.add(finding)
        counts.close()
    if counts.headings != {"delivered": count}:
        raise AssertionError(f"found {counts.headings}")
    took = time.process_time() - began
    print(took, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)


def main() -> None:
    most = int(sys.argv[1]) if len(sys.argv) > 1 else 1_000_000
    found = {}
    for count in (most // 10, most):
        command = [sys.executable, "-c", f"from benchmarks.audit import measure; measure({count})"]
        said = subprocess.run(command, cwd=ROOT, env=os.environ, check=True, capture_output=True, text=True)
        seconds, peak = said.stdout.split()
        found[count] = float(seconds), int(peak)
        print(f"{count:>9,} readings: {float(seconds):6.1f} s, peak {int(peak) / 1024:.0f} MiB")
    few, many = found.values()
    times, memory = many[0] / few[0], many[1] / few[1]
    print(f"10 times the readings: {times:.1f} times the time, {memory:.2f} times the memory")


if __name__ == "__main__":
    main()
