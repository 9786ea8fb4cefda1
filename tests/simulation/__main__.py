"""`python -m tests.simulation [--runs N] [--minutes M] [--seed S]`: simulate worlds; say what they held."""

from __future__ import annotations

import argparse
import itertools
import sys
import time
from collections import Counter
from collections.abc import Iterable

from tests.simulation.world import Violation, simulate

_PROGRESS_S = 10.0


def main() -> int:
    """Simulate until the runs are made or the time is over. Gives 1 where an invariant was broken."""
    parser = argparse.ArgumentParser(prog="python -m tests.simulation", description=__doc__)
    parser.add_argument("--runs", type=int, default=0, help="how many runs to make at least")
    parser.add_argument("--minutes", type=float, default=0.0, help="how long to go on at most")
    parser.add_argument("--seed", type=int, help="one world only; with --runs or --minutes, the first")
    parser.add_argument("--keep-going", action="store_true", help="go on after a broken invariant")
    options = parser.parse_args()
    one = options.seed is not None and not options.runs and not options.minutes
    return _simulate(
        [options.seed] if one else itertools.count(options.seed or 0),
        runs=options.runs or (10**9 if one or options.minutes else 2_000),
        seconds=options.minutes * 60 or 1e9,
        keep_going=options.keep_going,
    )


def _simulate(seeds: Iterable[int], *, runs: int, seconds: float, keep_going: bool) -> int:
    began = told = time.monotonic()
    counts: Counter[str] = Counter()
    worlds = made = readings = 0
    days = 0.0
    broken: list[Violation] = []
    for seed in seeds:
        try:
            tally = simulate(seed)
        except Violation as violation:
            broken.append(violation)
            print(violation, flush=True)
            if not keep_going:
                break
            continue
        worlds += 1
        made += tally.runs
        days += tally.days
        readings += tally.readings
        counts += tally.counts
        now = time.monotonic()
        if now - told > _PROGRESS_S:
            told = now
            print(f"{worlds} worlds, {made} runs, {now - began:.0f} s", file=sys.stderr, flush=True)
        if made >= runs or now - began > seconds:
            break
    took = time.monotonic() - began
    print(f"{worlds} worlds, {made} runs, {days:.0f} simulated days, {readings} readings, in {took:.1f} s")
    for name, count in sorted(counts.items()):
        if not name.startswith("excused"):
            print(f"  {count:>9} {name}")
    for found in broken:
        print(f"broken: seed {found.seed}: {found.invariant}")
    return 1 if broken else 0


if __name__ == "__main__":
    sys.exit(main())
