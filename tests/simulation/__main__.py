"""`python -m tests.simulation [--runs N] [--minutes M] [--seed S]`: simulate worlds; say what they held."""

from __future__ import annotations

import argparse
import itertools
import os
import sys
import time
from collections import Counter, deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from dataclasses import dataclass

from tests.simulation.world import Tally, Violation, simulate

_PROGRESS_S = 10.0
# Worlds ahead of the one that is waited for, for each process: they take a second, some a few.
_AHEAD = 4


def main() -> int:
    """Simulate until the runs are made or the time is over. Gives 1 where an invariant was broken."""
    parser = argparse.ArgumentParser(prog="python -m tests.simulation", description=__doc__)
    parser.add_argument("--runs", type=int, default=0, help="how many runs to make at least")
    parser.add_argument("--minutes", type=float, default=0.0, help="how long to go on at most")
    parser.add_argument("--seed", type=int, help="one world only; with --runs or --minutes, the first")
    parser.add_argument("--keep-going", action="store_true", help="go on after a broken invariant")
    parser.add_argument("--workers", type=int, default=os.cpu_count() or 1, help="how many worlds at a time")
    options = parser.parse_args()
    one = options.seed is not None and not options.runs and not options.minutes
    seeds = [options.seed] if one else itertools.count(options.seed or 0)
    lives = map(_live, seeds) if one or options.workers < 2 else _live_apart(seeds, options.workers)
    return _tell(
        lives,
        runs=options.runs or (10**9 if one or options.minutes else 2_000),
        seconds=options.minutes * 60 or 1e9,
        keep_going=options.keep_going,
    )


@dataclass(frozen=True, slots=True)
class _Broken:
    """What became of a world in which an invariant does not hold."""

    seed: int
    invariant: str
    text: str


def _live(seed: int) -> Tally | _Broken:
    try:
        return simulate(seed)
    except Violation as violation:
        return _Broken(violation.seed, violation.invariant, str(violation))


def _live_apart(seeds: Iterable[int], workers: int) -> Iterator[Tally | _Broken]:
    """Live through worlds in processes of their own; give what came of them in the order of their seeds.

    So the worlds that a number of runs takes are the same, however many processes there are.
    """
    pool = ProcessPoolExecutor(workers)
    ahead: deque[Future[Tally | _Broken]] = deque()
    try:
        for seed in seeds:
            ahead.append(pool.submit(_live, seed))
            if len(ahead) > workers * _AHEAD:
                yield ahead.popleft().result()
        while ahead:
            yield ahead.popleft().result()
    finally:
        pool.shutdown(cancel_futures=True)


def _tell(lives: Iterable[Tally | _Broken], *, runs: int, seconds: float, keep_going: bool) -> int:
    began = told = time.monotonic()
    counts: Counter[str] = Counter()
    worlds = made = readings = 0
    days = 0.0
    broken: list[_Broken] = []
    for life in lives:
        now = time.monotonic()
        if isinstance(life, _Broken):
            broken.append(life)
            print(life.text, flush=True)
            if not keep_going:
                break
        else:
            worlds += 1
            made += life.runs
            days += life.days
            readings += life.readings
            counts += life.counts
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
