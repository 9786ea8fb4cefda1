"""Kills a run at each of its boundaries in turn, and looks at what the next ordinary run makes of it.

    python -m tests.crashes.enumeration [--store json|table|both] [--feed NAME|both]
                                         [--situation first|later|slow|all] [--every K]

A boundary is what `tests.crashes.child` traces, told apart by what it is about and the how-manieth it is
in the run: the third batch to be sent, the second flush of a file. A run that passes gives the list; then
one run dies at each of them, and the run after it gets no help.

Between two boundaries nothing changes that lasts, so dying before each of them, and after the last, is
dying anywhere: nobody outside can tell whether an acknowledgement was read or only sent.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from tests.azurite import running_azurite
from tests.crashes.ground import Feed, Findings, Ground, Step

# A slow run saves after each acknowledgement, as one does whose batches take a second each.
Situation = Literal["first run", "later run", "slow run"]
# How long the hubs take for an acknowledgement then, so that a save comes between any two.
_SLOW_S = {"a": 0.03, "b": 0.045}
SITUATIONS: tuple[Situation, ...] = ("first run", "later run", "slow run")
FEEDS: tuple[Feed, ...] = ("people_counter", "hourly_snapshot")


@dataclass(frozen=True, slots=True)
class Death:
    """What came of one kill; `reached` is False where the run passed without coming to its boundary."""

    boundary: str
    nth: int
    reached: bool
    findings: Findings

    def told(self) -> str:
        return f"killed at {self.boundary!r}, no. {self.nth}: {'; '.join(self.findings.violations)}"


@dataclass(slots=True)
class Tally:
    """What an enumeration found. `kinds` counts the boundaries at which a run died, by kind."""

    kinds: Counter[str] = field(default_factory=Counter)
    missed: int = 0
    repeats: Counter[str] = field(default_factory=Counter)
    violations: list[str] = field(default_factory=list)

    def add(self, death: Death) -> None:
        self.violations += [death.told()] if death.findings.violations else []
        if death.reached:
            self.kinds[kind_of(death.boundary)] += 1
            self.repeats += death.findings.repeats
        else:
            self.missed += 1


def kind_of(boundary: str) -> str:
    """Give what a boundary is about, names left out."""
    words = boundary.partition(": ")[0].split(" ")
    if words[0] == "request":
        return _kind_of_request(boundary)
    if words[0] in ("open", "rename", "link", "remove", "mkdir"):
        return f"{words[0]} a file" if words[0] != "mkdir" else "make a folder"
    return " ".join(words)


def _kind_of_request(boundary: str) -> str:
    method = boundary.split(" ")[1]
    if "devstoreaccount" in boundary:
        return f"table {method}"
    return "HTTP request" if method != "body" else "HTTP request body"


def boundaries(ground: Ground, situation: Situation) -> Iterator[tuple[str, int]]:
    """Give every boundary of a run that passes, in the order in which it first reached it."""
    counts: Counter[str] = Counter()
    for line in _undisturbed(ground, situation).trace:
        if "at" in line:
            counts[line["at"]] += 1
            yield line["at"], counts[line["at"]]


def _undisturbed(ground: Ground, situation: Situation) -> Step:
    prepare(ground, situation)
    step = ground.run(saves_often=situation == "slow run")
    wrong = ground.judge_complete(step)
    assert not wrong.violations, f"a run that nobody disturbed: {wrong.violations}"
    return step


def prepare(ground: Ground, situation: Situation) -> None:
    if situation == "slow run":
        for hub, seconds in _SLOW_S.items():
            ground.hub(hub).delay(seconds)
    if situation == "first run":
        ground.begin_anew()
        if not ground.steps:
            ground.publish()
    else:
        ground.publish()


def die(ground: Ground, situation: Situation, boundary: str, nth: int) -> Death:
    """Let a run die there and the next one recover."""
    prepare(ground, situation)
    killed = ground.run(die_at=boundary, nth=nth, saves_often=situation == "slow run")
    findings = ground.judge(killed)
    if not killed.ended.was_killed and killed.ended.status != 0:
        findings.violations.append(f"was not killed, and ended with {killed.ended.status}")
    recovered = ground.run()
    findings.add(ground.judge_complete(recovered))
    return Death(boundary, nth, killed.ended.was_killed, findings)


def enumerate_deaths(
    ground: Ground, situation: Situation, *, every: int = 1, offset: int = 0
) -> Iterator[Death]:
    """Die at each boundary, or at each `every`th from `offset` on."""
    if situation != "first run":
        _undisturbed(ground, situation)
    found = list(boundaries(ground, situation))
    for boundary, nth in found[offset::every]:
        yield die(ground, situation, boundary, nth)


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.crashes.enumeration", description=__doc__)
    parser.add_argument("--store", choices=("json", "table", "both"), default="both")
    parser.add_argument("--feed", choices=(*FEEDS, "both"), default="both")
    parser.add_argument(
        "--situation", choices=(*(each.split()[0] for each in SITUATIONS), "all"), default="all"
    )
    parser.add_argument("--every", type=int, default=1, metavar="K", help="each Kth boundary only")
    asked = parser.parse_args()
    stores = ("json", "table") if asked.store == "both" else (asked.store,)
    feeds = FEEDS if asked.feed == "both" else (asked.feed,)
    total = Tally()
    with ExitStack() as stack:
        port = None
        if "table" in stores:
            port = stack.enter_context(running_azurite(Path(stack.enter_context(_folder()))))
        for store in stores:
            for feed in feeds:
                for situation in SITUATIONS:
                    if asked.situation not in ("all", situation.split()[0]):
                        continue
                    with _folder() as folder:
                        of_store = port if store == "table" else None
                        with Ground(Path(folder), feed, azurite_port=of_store) as ground:
                            _enumerate(ground, situation, f"{store}, {feed}, {situation}", asked.every, total)
    print(f"\nin all {total.kinds.total()} deaths; boundaries by kind:")
    for kind, count in sorted(total.kinds.items()):
        print(f"  {count:5}  {kind}")
    return 1 if total.violations else 0


def _enumerate(ground: Ground, situation: Situation, title: str, every: int, total: Tally) -> None:
    tally = Tally()
    began = time.monotonic()
    for death in enumerate_deaths(ground, situation, every=every):
        tally.add(death)
        if death.findings.violations:
            print(death.told(), flush=True)
    repeats = ", ".join(f"{count} {why}" for why, count in sorted(tally.repeats.items())) or "none"
    print(
        f"{title}: {tally.kinds.total()} deaths, {tally.missed} boundaries not reached, "
        f"{len(tally.violations)} violations, repeats: {repeats} ({time.monotonic() - began:.0f} s)",
        flush=True,
    )
    total.kinds += tally.kinds
    total.missed += tally.missed
    total.violations += tally.violations


def _folder() -> tempfile.TemporaryDirectory[str]:
    return tempfile.TemporaryDirectory(prefix="crashes-")


if __name__ == "__main__":
    sys.exit(main())
