"""One target, fuzzed for some seconds of the processor's time, in a process of its own.

    python -m tests.fuzz.campaign NAME SECONDS SEED FOLDER

Writes FOLDER/tally.json in the end. The case under way is in FOLDER/case, so that whoever waits has it
where the process does not live to tell: a reader in C can end it, or never come back.
"""

from __future__ import annotations

import json
import random
import resource
import sys
import time
import traceback
from dataclasses import dataclass, field
from pathlib import Path

import hypothesis
from hypothesis import HealthCheck, Phase, given, settings

from tests.fuzz.growth import grows_with_its_input, keeps_within_its_input, pump_of
from tests.fuzz.target import Target
from tests.fuzz.targets import target as target_named

_ROUND = 300
# After each round so many cases are looked at for how their cost grows, every so manieth for memory.
_PUMPS, _FOR_MEMORY = 12, 6
_LONGEST_PUMPED = 4_096
# What making a finding small may take beyond the time that was given.
_SHRINKING_S = 30.0
# All of a process: Python, the SDKs, and what a case of some kilobytes may need.
_MEMORY_BYTES = 3 * 1024**3


class Over(BaseException):
    """The time is used; nothing of Hypothesis takes it for a finding."""


@dataclass(slots=True)
class Tally:
    """What came of a target. `findings` are the smallest case of each kind, by what went wrong."""

    examples: int = 0
    pumped: int = 0
    seconds: float = 0.0
    findings: dict[str, bytes] = field(default_factory=dict)


def main() -> int:
    name, seconds, seed, folder = sys.argv[1:]
    resource.setrlimit(resource.RLIMIT_AS, (_MEMORY_BYTES, _MEMORY_BYTES))
    tally = fuzz(target_named(name), float(seconds), int(seed), Path(folder) / "case")
    told = {
        "examples": tally.examples,
        "pumped": tally.pumped,
        "seconds": tally.seconds,
        "findings": {kind: case.hex() for kind, case in tally.findings.items()},
    }
    (Path(folder) / "tally.json").write_text(json.dumps(told))
    return 0


def fuzz(target: Target, seconds: float, seed: int, noted: Path) -> Tally:
    """Fuzz until so many seconds of this process are used."""
    tally, draw = Tally(), random.Random(seed)
    began = time.process_time()
    until = began + seconds
    while time.process_time() < until:
        try:
            cases = _round(target, draw.getrandbits(64), tally, noted, until)
            _grow(target, cases, draw, tally, noted, until)
        except Over:
            break
    tally.seconds = time.process_time() - began
    return tally


def _round(target: Target, seed: int, tally: Tally, noted: Path, until: float) -> list[bytes]:
    """Let Hypothesis draw and judge cases, and make the first of a new kind small. Gives short ones."""
    short: list[bytes] = []
    new: dict[str, bytes] = {}

    @hypothesis.seed(seed)
    @settings(
        max_examples=_ROUND,
        database=None,
        deadline=None,
        phases=[Phase.generate, Phase.shrink],
        suppress_health_check=list(HealthCheck),
        report_multiple_bugs=False,
    )
    @given(target.cases)
    def judge(case: bytes) -> None:
        _in_time(until + (_SHRINKING_S if new else 0))
        noted.write_bytes(case)
        tally.examples += 1
        try:
            target.check(case)
        except Exception as error:
            kind = kind_of(error)
            if kind in tally.findings:
                return
            if len(case) <= len(new.get(kind, case)):
                new[kind] = case
            raise
        if len(case) <= _LONGEST_PUMPED:
            short.append(case)

    try:
        judge()
    except Exception:  # noqa: BLE001 - one of `new`, or Hypothesis finding that it comes and goes
        tally.findings |= new
    except Over:
        tally.findings |= new
        raise
    return short


def _grow(
    target: Target, cases: list[bytes], draw: random.Random, tally: Tally, noted: Path, until: float
) -> None:
    for number in range(_PUMPS if cases else 0):
        _in_time(until)
        pump = pump_of(draw.choice(cases), draw)
        if pump is None:
            continue
        noted.write_bytes(pump.case)
        look = keeps_within_its_input if number % _FOR_MEMORY == 0 else grows_with_its_input
        try:
            found = look(target.check, pump)
        except Exception as error:  # noqa: BLE001 - what a reader must not raise, of a longer input
            tally.findings.setdefault(kind_of(error), pump.to(16 * 1024))
            continue
        tally.pumped += 1
        if found is not None:
            tally.findings.setdefault(f"{look.__name__}: {pump.case[pump.start : pump.end]!r}", found)


def _in_time(until: float) -> None:
    if time.process_time() > until:
        raise Over


def kind_of(error: BaseException) -> str:
    """Tell findings apart: what was raised, and by which line of a reader, or of its judge."""
    frames = traceback.extract_tb(error.__traceback__)
    ours = [frame for frame in frames if "/app/" in frame.filename or "/fuzz/" in frame.filename]
    last = ours[-1] if ours else frames[-1]
    return f"{type(error).__name__} in {Path(last.filename).name}, {last.name}, line {last.lineno}"


if __name__ == "__main__":
    sys.exit(main())
