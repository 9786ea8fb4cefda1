"""Runs the whole fault matrix, and prints how every case stands."""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from xml.etree import ElementTree

from app.base.program import APP_ROOT
from tests.faults.case import Case
from tests.faults.matrix import CASES
from tools import faults_document

NOT_RUN = "not run"


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.faults", description=__doc__)
    parser.add_argument("--workers", default="4", help="how many cases at a time")
    parser.add_argument("--write", action="store_true", help="write the table into docs/faults.md")
    arguments = parser.parse_args()
    began = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        told = Path(folder) / "results.xml"
        everything = ["-m", "pytest", "tests/faults", "-m", "", "-n", arguments.workers]
        words = ["--show-capture=no", "--tb=short", f"--junitxml={told}"]
        subprocess.run([sys.executable, *everything, *words], cwd=APP_ROOT, check=False)
        results = _results(told)
    minutes = (time.monotonic() - began) / 60
    for case in CASES:
        print(f"{case.id:4} {case.name:62} {case.expects[:70]:72} {results[case.title]}")
    green = sum(result == "green" for result in results.values())
    print(f"{len(CASES)} cases, {green} green, in {minutes:.1f} minutes")
    if arguments.write and NOT_RUN in results.values():
        print("not every case was run, so docs/faults.md stays as it was")
    elif arguments.write:
        faults_document.write("fault cases", _account(CASES, results, minutes=minutes))
    return 0 if green == len(CASES) else 1


def _account(cases: Sequence[Case], results: Mapping[str, str], *, minutes: float) -> str:
    """Give the section of a whole run: how many cases, how they stand, and a row a case."""
    green = sum(results[case.title] == "green" for case in cases)
    head = ("#", "situation", "right behaviour", "result")
    rows = [(case.id, case.name, case.expects, results[case.title]) for case in cases]
    count = f"{len(cases)} cases, {green} green; the whole run took {minutes:.0f} minutes."
    return f"{count}\n\n{faults_document.table(head, rows)}"


def _results(told: Path) -> Mapping[str, str]:
    """Read how each case ended; what is known to be wrong says so with its reason."""
    found = {case.title: NOT_RUN for case in CASES}
    reasons = {case.title: case.known for case in CASES}
    for test in ElementTree.parse(told).iter("testcase") if told.exists() else ():
        title = test.get("name", "").partition("[")[2].removesuffix("]")
        if test.find("failure") is not None or test.find("error") is not None:
            found[title] = "red"
        elif (skipped := test.find("skipped")) is not None:
            known = skipped.get("type") == "pytest.xfail"
            found[title] = f"known: {reasons[title]}" if known else NOT_RUN
        else:
            found[title] = "green"
    return {title: result for title, result in found.items() if title in reasons}


if __name__ == "__main__":
    sys.exit(main())
