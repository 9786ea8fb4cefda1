"""Where the processor's time of a run goes: a sampling profile of a catch-up, by py-spy.

    python -m benchmarks.profiling

A sample is taken of whichever thread holds the interpreter, so that waiting is not counted. A function
of a library written in C counts as the line of ours that calls it: `fast_json` is msgspec's work.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from benchmarks.processes import ROOT
from benchmarks.services import services

BUILDINGS, DAYS = 20, 16
SAMPLES_A_SECOND = 200
SHOWN = 15
_FRAME = re.compile(r"(?P<function>.*) \((?P<file>[^:)]*)(?::\d+)?\)?")
# By the path of a file, the first that fits; what is imported is told by the frames around it.
_PARTS = (
    ("JSON (msgspec, simplejson)", re.compile(r"app/base/(fast|exact)_json|simplejson/")),
    ("Event Hubs SDK, asyncio", re.compile(r"eventhub/_pyamqp|^eventhub/|azure/|asyncio/|selectors")),
    ("HTTP (requests, urllib3)", re.compile(r"requests/|urllib3/|^http/|^socket|^ssl|email/|urllib/")),
    ("the forwarder: readings, ids, events", re.compile(r"app/(feeds|base)/")),
    ("the forwarder: encoding", re.compile(r"app/eventhub/")),
    ("the forwarder: all else", re.compile(r"app/")),
)
_OTHER, _IMPORTS = "the interpreter, its library", "imports"


@dataclass(frozen=True, slots=True)
class Profile:
    """Samples by part and by function, and how many there are."""

    parts: Counter[str]
    functions: Counter[str]

    @property
    def samples(self) -> int:
        return self.parts.total()

    def lines(self) -> Iterator[str]:
        """Give it as two Markdown tables."""
        yield "| Part | Share |"
        yield "|---|---|"
        for part, count in self.parts.most_common():
            yield f"| {part} | {count / self.samples:.0%} |"
        yield ""
        yield "| Function, without what it calls | Share |"
        yield "|---|---|"
        for function, count in self.functions.most_common(SHOWN):
            yield f"| `{function}` | {count / self.samples:.1%} |"


def read(stacks: Iterable[str]) -> Profile:
    """Read py-spy's raw form: a line a stack, frames parted by semicolons, then how often it was met."""
    parts: Counter[str] = Counter()
    functions: Counter[str] = Counter()
    for line in stacks:
        stack, _, count = line.rpartition(" ")
        frames = [found.groupdict() for frame in stack.split(";") if (found := _FRAME.fullmatch(frame))]
        if not frames:
            continue
        last = frames[-1]
        parts[_part(frames)] += int(count)
        functions[f"{last['function']} ({last['file']})"] += int(count)
    return Profile(parts, functions)


def _part(frames: list[dict[str, str]]) -> str:
    if any("importlib._bootstrap" in frame["file"] for frame in frames):
        return _IMPORTS
    file = frames[-1]["file"]
    return next((name for name, pattern in _PARTS if pattern.search(file)), _OTHER)


def profile() -> Profile | None:
    """Profile a catch-up; None where this machine lets nobody look into a process."""
    spy = Path(sys.executable).with_name("py-spy")
    with (
        services(buildings=BUILDINGS, hubs=("a",)) as served,
        tempfile.TemporaryDirectory() as folder,
    ):
        environment = served.environment(folder, START_FROM=f"{DAYS}d")
        raw = Path(folder) / "stacks"
        options = ["--gil", "--format", "raw", "--rate", f"{SAMPLES_A_SECOND}", "--output", str(raw)]
        run = [sys.executable, "-m", "app", "run", "people-counter", "--json"]
        command = [str(spy), "record", *options, "--", *run]
        subprocess.run(command, cwd=ROOT, env=os.environ | environment, check=False, capture_output=True)
        return read(raw.read_text(encoding="utf-8").splitlines()) if raw.is_file() else None


if __name__ == "__main__":
    found = profile()
    print(
        "no profile: py-spy may not look into a process here" if found is None else "\n".join(found.lines())
    )
