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
from dataclasses import dataclass, field

from tests.environments.simulated import Tally, Violation, simulate
from tools import faults_document

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
    parser.add_argument("--write", action="store_true", help="write the account into docs/faults.md")
    options = parser.parse_args()
    one = options.seed is not None and not options.runs and not options.minutes
    seeds = [options.seed] if one else itertools.count(options.seed or 0)
    lives = map(_live, seeds) if one or options.workers < 2 else _live_apart(seeds, options.workers)
    account = _account(
        lives,
        runs=options.runs or (10**9 if one or options.minutes else 2_000),
        seconds=options.minutes * 60 or 1e9,
        keep_going=options.keep_going,
    )
    _tell(account)
    if options.write:
        faults_document.write("simulated runs", _section(account, options.seed or 0))
    return 1 if account.broken else 0


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


@dataclass(slots=True)
class _Account:
    """What came of all worlds so far."""

    worlds: int = 0
    runs: int = 0
    days: float = 0.0
    readings: int = 0
    seconds: float = 0.0
    counts: Counter[str] = field(default_factory=Counter)
    broken: list[_Broken] = field(default_factory=list)

    def add(self, life: Tally | _Broken) -> None:
        if isinstance(life, _Broken):
            self.broken.append(life)
            return
        self.worlds += 1
        self.runs += life.runs
        self.days += life.days
        self.readings += life.readings
        self.counts += life.counts

    def summary(self) -> str:
        return (
            f"{self.worlds:,} worlds, {self.runs:,} runs, {self.days:,.0f} simulated days, "
            f"{self.readings:,} readings, in {self.seconds:,.0f} s"
        )

    def happened(self) -> list[tuple[str, int]]:
        return [item for item in sorted(self.counts.items()) if not item[0].startswith("excused")]


def _account(lives: Iterable[Tally | _Broken], *, runs: int, seconds: float, keep_going: bool) -> _Account:
    began = told = time.monotonic()
    account = _Account()
    for life in lives:
        account.add(life)
        now = time.monotonic()
        account.seconds = now - began
        if isinstance(life, _Broken):
            print(life.text, flush=True)
            if not keep_going:
                break
        if now - told > _PROGRESS_S:
            told = now
            print(account.summary(), file=sys.stderr, flush=True)
        if account.runs >= runs or account.seconds > seconds:
            break
    return account


def _tell(account: _Account) -> None:
    print(account.summary())
    for name, count in account.happened():
        print(f"  {count:>9} {name}")
    for found in account.broken:
        print(f"broken: seed {found.seed}: {found.invariant}")


def _section(account: _Account, first: int) -> str:
    """Give the account for docs/faults.md."""
    broken = [f"- seed {found.seed}: {found.invariant}" for found in account.broken]
    rows = [(name, f"{count:,}") for name, count in account.happened()]
    head = f"From seed {first} on: {account.summary()}. Invariants broken: {len(account.broken)}."
    parts = [head, "\n".join(broken), faults_document.table(("what happened", "times"), rows)]
    return "\n\n".join(filter(None, parts))


if __name__ == "__main__":
    sys.exit(main())
