"""`make bench`: everything that has a bound, measured in turn, and written into docs/performance.md."""

from __future__ import annotations

import argparse
import os
import platform
import re
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from importlib.metadata import version
from pathlib import Path

from benchmarks import (
    answers,
    calls,
    cold_start,
    cpu,
    delivery,
    memory,
    profiling,
    scaling,
    shards,
    state,
    status,
)
from benchmarks.processes import ROOT
from benchmarks.results import Result, table

# By the heading under which they stand. Each is told whether there is time for the long form.
BENCHMARKS: Mapping[str, Callable[[bool], Iterable[Result]]] = {
    "The processor": cpu.results,
    "Delivery": delivery.results,
    "Cold start": cold_start.results,
    "Memory": memory.results,
    "Calls": calls.results,
    "State at scale": state.results,
    "Reading an answer": answers.results,
    "Status": status.results,
    "Scaling": scaling.results,
    "Shards": shards.results,
}
# What is written of a heading in other places.
WRITTEN_BESIDES: Mapping[str, Callable[[], None]] = {"Scaling": scaling.write}
DOCUMENT = ROOT / "docs" / "performance.md"
BEGIN, END = "<!-- measured: from here on -->", "<!-- measured: up to here -->"
NAMED = ("azure-eventhub", "requests", "msgspec", "simplejson")


def main() -> int:
    """Measure; give 1 where a bound is not met."""
    options = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    options.add_argument("headings", nargs="*", metavar="HEADING", help=f"of: {', '.join(BENCHMARKS)}")
    options.add_argument("--long", action="store_true", help="a million readings, too")
    options.add_argument("--write", action="store_true", help="write the results into docs/performance.md")
    chosen = options.parse_args()
    unknown = [heading for heading in chosen.headings if heading not in BENCHMARKS]
    if unknown:
        options.error(f"{unknown[0]!r} is not measured; write one of: {', '.join(BENCHMARKS)}")
    began = time.monotonic()
    tables: dict[str, Sequence[str]] = {}
    found = []
    for heading in chosen.headings or BENCHMARKS:
        results = list(BENCHMARKS[heading](chosen.long))
        found += results
        tables[heading] = list(table(results))
        print(f"### {heading}", "", *tables[heading], "", sep="\n", flush=True)
        if chosen.write and heading in WRITTEN_BESIDES:
            WRITTEN_BESIDES[heading]()
    if chosen.write:
        page = DOCUMENT.read_text(encoding="utf-8")
        if chosen.headings:
            for heading, lines in tables.items():
                page = with_table(page, heading, lines)
        else:
            profile = list(_profile())
            minutes = f"It took {(time.monotonic() - began) / 60:.0f} minutes."
            parts = [line for heading in tables for line in (f"### {heading}", "", *tables[heading], "")]
            page = replaced(page, [f"{machine()} {minutes}", "", *parts, *profile])
        DOCUMENT.write_text(page, encoding="utf-8")
    return 0 if all(result.is_met for result in found) else 1


def _profile() -> Iterator[str]:
    found = profiling.profile()
    yield from ("### Profile", "")
    yield from ["None: py-spy may not look into a process here."] if found is None else found.lines()


def machine() -> str:
    """Say on what was measured."""
    packages = ", ".join(f"{name} {version(name)}" for name in NAMED)
    cores = f"{os.cpu_count()} cores ({_processor()})"
    return f"{platform.system()} on {cores}, Python {platform.python_version()}, {packages}."


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.machine()
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()


def replaced(page: str, lines: Iterable[str]) -> str:
    """Give the page with these lines between its marks."""
    before, _, rest = page.partition(BEGIN)
    return "\n".join([before + BEGIN, "", *lines, "", END + rest.partition(END)[2]])


def with_table(page: str, heading: str, lines: Iterable[str]) -> str:
    """Give the page with these lines under a heading, in place of those that are there."""
    before, mark, rest = page.partition(f"\n### {heading}\n")
    end = re.search(rf"\n(?=### |{re.escape(END)})", rest)
    if end is None:
        raise ValueError(f"the page has no heading {heading!r} before {END}")
    return "\n".join([before + mark, *lines, rest[end.start() :]])


if __name__ == "__main__":
    raise SystemExit(main())
