"""`make bench`: everything that has a bound, measured in turn, and written into docs/performance.md."""

from __future__ import annotations

import argparse
import os
import platform
import time
from collections.abc import Callable, Iterable, Mapping
from importlib.metadata import version
from pathlib import Path

from benchmarks import cpu, delivery
from benchmarks.processes import ROOT
from benchmarks.results import Result, table

# By the heading under which they stand. Each is told whether there is time for the long form.
BENCHMARKS: Mapping[str, Callable[[bool], Iterable[Result]]] = {
    "The processor": cpu.results,
    "Delivery": delivery.results,
}
DOCUMENT = ROOT / "docs" / "performance.md"
BEGIN, END = "<!-- measured: from here on -->", "<!-- measured: up to here -->"
NAMED = ("azure-eventhub", "requests", "msgspec", "simplejson")


def main() -> int:
    """Measure; give 1 where a bound is not met."""
    options = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    options.add_argument("headings", nargs="*", metavar="HEADING", help="those to do; else all")
    options.add_argument("--long", action="store_true", help="a million readings, too")
    options.add_argument("--write", action="store_true", help="write the result into docs/performance.md")
    chosen = options.parse_args()
    began = time.monotonic()
    parts, found = [], []
    for heading in chosen.headings or BENCHMARKS:
        results = list(BENCHMARKS[heading](chosen.long))
        found += results
        parts += [f"### {heading}", "", *table(results), ""]
        print("\n".join(parts[-len(results) - 5 :]), flush=True)
    if chosen.write:
        _write([machine(), "", *parts, f"It took {(time.monotonic() - began) / 60:.0f} minutes."])
    return 0 if all(result.is_met for result in found) else 1


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


def _write(lines: Iterable[str]) -> None:
    before, _, rest = DOCUMENT.read_text(encoding="utf-8").partition(BEGIN)
    after = rest.partition(END)[2]
    DOCUMENT.write_text("\n".join([before + BEGIN, "", *lines, "", END + after]), encoding="utf-8")


if __name__ == "__main__":
    raise SystemExit(main())
