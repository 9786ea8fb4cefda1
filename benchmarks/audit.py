"""Whether an audit's memory grows with what it compares: four times the readings, or ten.

    python -m benchmarks.audit

Compares the comparison alone, without the network: readings are handed to it as a hub and a source
would, in a process of its own each.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

from app.audit.comparing import Counts, compare, slot_of, written_time
from app.audit.comparison_file import ComparisonFile
from app.audit.findings import HeldReading, Published
from app.base import exact_json
from app.base.instants import format_time
from app.base.readings import Reading
from app.feeds.people_counter import FEED
from benchmarks.processes import MEBIBYTE, run
from benchmarks.results import Result

START = datetime(2026, 3, 2, tzinfo=UTC)
PLACES = [f"Building {number:02}" for number in range(20)]
STEP = timedelta(seconds=9)
# The cache of the comparison's file is full with the fewer ones: up to there memory does grow.
FEW, MANY, MORE = 100_000, 400_000, 1_000_000
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
    """Compare `count` readings of which nothing is wrong."""
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


def results(long: bool) -> Iterator[Result]:
    most = MORE if long else MANY
    few, many = (peak_of(count) for count in (FEW, most))
    yield Result(f"an audit of {most:,} readings", many, "MiB", 1.1, f"{FEW:,} readings", few)


def peak_of(count: int) -> float:
    took = run(["-c", f"from benchmarks.audit import measure; measure({count})"])
    return took.peak_bytes / MEBIBYTE


if __name__ == "__main__":
    print(*results(long=False), sep="\n")
