"""The code broken on purpose, as a careless colleague might; each break must be noticed.

`python -m tools.planted_breaks [--only TEXT] [--jobs N] [--write]`, or `make breaks`, breaks a copy of the
tree in one way after another, and runs the tests that are named for a break, or where none is the
simulation, and then tests of the core. With `--write` what came of it goes into docs/faults.md. A break
that nothing notices is a test that is missing.
"""

from __future__ import annotations

import argparse
import itertools
import os
import queue
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tools import faults_document
from tools.breaks import BREAKS, PlantedBreak

ROOT = Path(__file__).parents[1]
# All but what is made, and what does not belong to the code.
_NOT_COPIED = (
    ".git",
    ".venv*",
    "node_modules",
    ".*_cache",
    "__pycache__",
    ".hypothesis",
    ".demo",
    ".scenario",
)
_RUNS = 2_000
# Enough to see that the simulation starts and ends in a copy; `make simulate` says whether the code holds.
_RUNS_UNBROKEN = 200
_MINUTES = 8.0
_TIMEOUT_S = 900
# Tried where no test is named for a break and no simulated run notices it.
_OF_THE_CORE = (
    "tests/unit/test_planning.py",
    "tests/unit/test_fetching.py",
    "tests/unit/test_feeds.py",
    "tests/unit/test_state_document.py",
    "tests/unit/test_slicing_properties.py",
    "tests/flows/test_regressions.py",
    "tests/flows/test_forwarding.py",
    "tests/flows/test_failures.py",
    "tests/flows/test_stores.py",
)


@dataclass(frozen=True, slots=True)
class Verdict:
    """What noticed a planted break: a test or an invariant, or, where `by` is empty, nothing."""

    planted: PlantedBreak
    by: str
    seconds: float


class Copies:
    """Copies of the tree in which breaks are planted, one at a time in each, and undone. Thread-safe."""

    def __init__(self, folder: Path, count: int) -> None:
        self._free: queue.SimpleQueue[Path] = queue.SimpleQueue()
        # Python takes a compiled module for current where time and size of its source are as they were.
        self._times = itertools.count(int(time.time()))
        for number in range(count):
            tree = folder / str(number)
            shutil.copytree(ROOT, tree, ignore=shutil.ignore_patterns(*_NOT_COPIED))
            # Azurite, for the tests of the table store.
            (tree / "node_modules").symlink_to(ROOT / "node_modules")
            self._free.put(tree)

    @contextmanager
    def whole(self) -> Iterator[Path]:
        """Give a copy in which nothing is broken, for as long as it is needed."""
        tree = self._free.get()
        try:
            yield tree
        finally:
            self._free.put(tree)

    @contextmanager
    def broken(self, planted: PlantedBreak) -> Iterator[Path]:
        """Give a copy in which a break is planted, for as long as it is needed."""
        with self.whole() as tree:
            file = tree / planted.file
            text = file.read_text(encoding="utf-8")
            try:
                self._write(file, text.replace(planted.old, planted.new))
                yield tree
            finally:
                self._write(file, text)

    def _write(self, file: Path, text: str) -> None:
        at = next(self._times)
        file.write_text(text, encoding="utf-8")
        os.utime(file, (at, at))


@contextmanager
def copies(count: int) -> Iterator[Copies]:
    with tempfile.TemporaryDirectory(prefix="planted-") as folder:
        yield Copies(Path(folder), count)


def unbroken(breaks: Sequence[PlantedBreak], trees: Copies) -> str:
    """Give what complains of a copy in which nothing is broken, which would complain of every break."""
    tests = {test for planted in breaks for test in planted.tests or _OF_THE_CORE}
    simulated = not all(planted.tests for planted in breaks)
    with trees.whole() as tree:
        amiss = _by_simulation(tree, _RUNS_UNBROKEN) if simulated else ""
        return amiss or _by_tests(tree, sorted(tests), workers=6)


def check(planted: PlantedBreak, trees: Copies) -> Verdict:
    """Plant a break and see what notices."""
    began = time.monotonic()
    if not fits(planted):
        return Verdict(planted, "", 0.0)
    with trees.broken(planted) as tree:
        if planted.tests:
            by = _by_tests(tree, planted.tests)
        else:
            by = _by_simulation(tree) or _by_tests(tree, _OF_THE_CORE, workers=2)
    return Verdict(planted, by, time.monotonic() - began)


def fits(planted: PlantedBreak) -> bool:
    """Whether the text that a break replaces is still in the code, once."""
    return (ROOT / planted.file).read_text(encoding="utf-8").count(planted.old) == 1


def _by_simulation(tree: Path, runs: int = _RUNS) -> str:
    # Bounded by the clock too: a busy machine is slow, which is no sign of a break.
    bounds = ("--runs", str(runs), "--minutes", str(_MINUTES), "--seed", "0", "--workers", "1")
    found = _run(tree, "-m", "tests.simulation", *bounds)
    if found is None:
        return "simulation: it does not end"
    broken = re.search(r"^broken: (seed \d+: .*)$", found.stdout, re.MULTILINE)
    if broken:
        return broken[1]
    if found.returncode:
        return f"simulation: {found.stderr.strip().splitlines()[-1][:120]}"
    return ""


def _by_tests(tree: Path, tests: Sequence[str], *, workers: int = 0) -> str:
    """Give the test that fails; "" where all pass. Workers take longer to start than one test takes."""
    found = _run(tree, "-m", "pytest", "-x", "-q", "-p", "no:cacheprovider", "-n", str(workers), *tests)
    if found is None:
        return "tests: they do not end"
    # Without its parameters, which may have spaces in them.
    failed = re.search(r"^(?:FAILED|ERROR) ([^\s\[]+)", found.stdout, re.MULTILINE)
    if failed:
        return failed[1]
    # Not even collected: a name that is no test, or code that cannot be imported.
    return "" if found.returncode == 0 else f"pytest ends with {found.returncode}"


def _run(tree: Path, *command: str) -> subprocess.CompletedProcess[str] | None:
    try:
        return subprocess.run(
            [sys.executable, *command],
            cwd=tree,
            capture_output=True,
            text=True,
            timeout=_TIMEOUT_S,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return None


def _account(verdicts: Sequence[Verdict]) -> str:
    """Give the section of docs/faults.md; of a break that was not tried, what it says already."""
    told: dict[str, tuple[object, ...]] = {
        label: (*rest,) for label, *rest in faults_document.rows(faults_document.read("planted breaks"))
    }
    told |= {_label(found.planted): (found.by or "**nothing**", round(found.seconds)) for found in verdicts}
    rows = [(_label(planted), *told[_label(planted)]) for planted in BREAKS if _label(planted) in told]
    return (
        "The code is broken on purpose, in a copy, in one way at a time, and must not get away\n"
        "with it: `make breaks WRITE=1` makes this table. A name is that of a test which fails; a seed is a\n"
        "simulated world in which an invariant does not hold.\n\n"
        + faults_document.table(("break", "noticed by", "seconds"), rows)
    )


def _label(planted: PlantedBreak) -> str:
    return f"{planted.name} (`{planted.file}`)"


def main() -> int:
    """Try all breaks, or those whose name or file holds a text.

    Gives 1 where nothing noticed one, 2 where even the code as it is does not pass.
    """
    parser = argparse.ArgumentParser(prog="python -m tools.planted_breaks", description=__doc__)
    parser.add_argument("--only", default="", help="only those whose name or file holds this text")
    parser.add_argument("--jobs", type=int, default=2, help="how many at a time")
    parser.add_argument("--write", action="store_true", help="write the table into docs/faults.md")
    options = parser.parse_args()
    chosen = [planted for planted in BREAKS if options.only in _label(planted)]
    verdicts = []
    with copies(options.jobs) as trees, ThreadPoolExecutor(options.jobs) as jobs:
        amiss = unbroken(chosen, trees)
        if amiss:
            print(
                f"nothing is broken yet, and there is a complaint: {amiss}; see to that first",
                file=sys.stderr,
            )
            return 2
        for verdict in jobs.map(lambda planted: check(planted, trees), chosen):
            verdicts.append(verdict)
            print(f"{verdict.seconds:6.1f} s  {verdict.planted.name}: {verdict.by or 'NOTHING'}", flush=True)
    if options.write:
        faults_document.write("planted breaks", _account(verdicts))
    return 1 if any(not verdict.by for verdict in verdicts) else 0


if __name__ == "__main__":
    sys.exit(main())
