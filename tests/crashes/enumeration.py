"""Kills a run at each of its boundaries in turn, and looks at what the next ordinary run makes of it.

    python -m tests.crashes.enumeration [--store json|table|both] [--feed NAME|both] [--every K]
                                         [--situation first|takeover|later|slow|recovery|all]

A boundary is what `tests.crashes.child` traces, told apart by what it is about and the how-manieth it is
in the run: the third batch to be sent, the second flush of a file. A run that passes gives the list; then
one run dies at each of them, and the run after it gets no help. What a hub has stored and not yet
acknowledged is a boundary, too, at which the run is killed from outside.

Between two boundaries nothing changes that lasts, so dying before each of them, and after the last, is
dying anywhere: nobody outside can tell whether an acknowledgement was read or only sent.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any, Literal

from tests.crashes.forks import in_processes
from tests.environments.azurite import AzuriteMissing, running_azurite
from tests.environments.killable import Feed, Findings, KillableInstallation, Step
from tools import faults_document

Store = Literal["json", "table"]
# A takeover run finds the earlier forwarder's state, a recovery run what another left that was killed. A
# slow run saves after each acknowledgement, as one does whose batches take a second each.
Situation = Literal["first run", "takeover run", "later run", "slow run", "recovery run"]
# How long the hubs take for an acknowledgement then, so that a save comes between any two.
_SLOW_S = {"a": 0.03, "b": 0.045}
# Further back than START_FROM, so that whoever begins there instead loses something.
_TAKEN_OVER = timedelta(hours=30)
_OLD = timedelta(hours=28)
# Where the run before a recovery run dies: some of what was acknowledged is not saved yet, and with files
# a part of that save stands beside the state.
_LEFTOVER: dict[Store, tuple[str, int]] = {
    "json": ("link peoplecounterstate.json.bak.*.tmp", 2),
    "table": ("save begins", 2),
}
STORES: tuple[Store, ...] = ("json", "table")
SITUATIONS: tuple[Situation, ...] = ("first run", "takeover run", "later run", "slow run", "recovery run")
# What is done with snapshots, too: their batches differ, what is done with the state does not.
_OF_SNAPSHOTS: tuple[Situation, ...] = ("first run", "later run")
FEEDS: tuple[Feed, ...] = ("people_counter", "hourly_snapshot")
_STORED = "stored, not acknowledged: "
# How often a boundary is tried for that the run did not come to, as it does not always save equally often.
_TRIES = 4


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

    def include(self, other: Tally) -> None:
        self.kinds += other.kinds
        self.missed += other.missed
        self.repeats += other.repeats
        self.violations += other.violations

    def told(self) -> str:
        repeats = ", ".join(f"{count} {why}" for why, count in sorted(self.repeats.items())) or "none"
        return (
            f"{self.kinds.total()} deaths, {self.missed} boundaries not reached, "
            f"{len(self.violations)} violations, repeats: {repeats}"
        )


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


def boundaries(killable: KillableInstallation, situation: Situation) -> Iterator[tuple[str, int]]:
    """Give every boundary of a run that passes, in the order in which it first reached it."""
    counts: Counter[str] = Counter()
    for line in _undisturbed(killable, situation).trace:
        for boundary in _boundaries_at(line):
            counts[boundary] += 1
            yield boundary, counts[boundary]


def _boundaries_at(line: Mapping[str, Any]) -> Iterator[str]:
    # Only an acknowledgement tells of which hub it is.
    if "hub" in line:
        yield f"{_STORED}{line['hub']}"
    if "at" in line:
        yield line["at"]


def _undisturbed(killable: KillableInstallation, situation: Situation) -> Step:
    prepare(killable, situation)
    step = killable.run(saves_often=situation == "slow run")
    wrong = killable.judge_complete(step)
    assert not wrong.violations, f"a run that nobody disturbed: {wrong.violations}"
    return step


def prepare(killable: KillableInstallation, situation: Situation) -> None:
    """Bring about what the next run finds."""
    match situation:
        case "first run":
            killable.begin_anew()
            if not killable.steps:
                killable.publish()
        case "takeover run":
            if not killable.steps:
                killable.publish()
                for name in killable.names:
                    killable.plant(name, killable.now - _OLD)
            killable.begin_anew(earlier=killable.now - _TAKEN_OVER)
        case "later run":
            killable.publish()
        case "slow run":
            for hub, seconds in _SLOW_S.items():
                killable.hub(hub).delay(seconds)
            killable.publish()
        case "recovery run":
            killable.publish()
            boundary, nth = _LEFTOVER["json" if killable.relay is None else "table"]
            killed = killable.run(die_at=boundary, nth=nth)
            wrong = killable.judge(killed)
            assert killed.ended.was_killed, f"{boundary} was not reached"
            assert not wrong.violations, wrong.violations


def die(killable: KillableInstallation, situation: Situation, boundary: str, nth: int) -> Death:
    """Let a run die there and the next one recover."""
    prepare(killable, situation)
    often = situation == "slow run"
    if boundary.startswith(_STORED):
        killed = killable.run(die_when_stored=(boundary.removeprefix(_STORED), nth), saves_often=often)
    else:
        killed = killable.run(die_at=boundary, nth=nth, saves_often=often)
    findings = killable.judge(killed)
    if not killed.ended.was_killed and killed.ended.status != 0:
        findings.violations.append(f"was not killed, and ended with {killed.ended.status}")
    recovered = killable.run()
    findings.add(killable.judge_complete(recovered))
    return Death(boundary, nth, killed.ended.was_killed, findings)


def enumerate_deaths(
    killable: KillableInstallation, situation: Situation, *, every: int = 1, offset: int = 0, tries: int = 1
) -> Iterator[Death]:
    """Die at each boundary, or at each `every`th from `offset` on; what is not reached is tried again."""
    if situation not in ("first run", "takeover run"):
        _undisturbed(killable, "later run")
    found = list(boundaries(killable, situation))
    for boundary, nth in found[offset::every]:
        for left in reversed(range(tries)):
            death = die(killable, situation, boundary, nth)
            if death.reached or death.findings.violations or not left:
                yield death
                break


@dataclass(frozen=True, slots=True)
class Pass:
    """All deaths of one situation; what a process does of the whole."""

    store: Store
    feed: Feed
    situation: Situation
    every: int = 1

    @property
    def title(self) -> str:
        return f"{self.store}, {self.feed}, {self.situation}"

    def done(self) -> Tally:
        """Do it, on an installation of its own; what is wrong is printed at once."""
        tally = Tally()
        began = time.monotonic()
        with ExitStack() as stack:
            port = None
            if self.store == "table":
                port = stack.enter_context(running_azurite(_folder(stack)))
            killable = stack.enter_context(KillableInstallation(_folder(stack), self.feed, azurite_port=port))
            for death in enumerate_deaths(killable, self.situation, every=self.every, tries=_TRIES):
                tally.add(death)
                if death.findings.violations:
                    print(f"{self.title}: {death.told()}", flush=True)
        print(f"{self.title}: {tally.told()} ({time.monotonic() - began:.0f} s)", flush=True)
        return tally


def passes(store: str, feed: str, situation: str, every: int) -> Iterator[Pass]:
    """Give what is asked for, `both` and `all` meaning each."""
    for of_store in STORES:
        for of_feed in FEEDS:
            for each in SITUATIONS if of_feed == "people_counter" else _OF_SNAPSHOTS:
                if (
                    store in ("both", of_store)
                    and feed in ("both", of_feed)
                    and situation in ("all", each.split()[0])
                ):
                    yield Pass(of_store, of_feed, each, every)


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.crashes.enumeration", description=__doc__)
    parser.add_argument("--store", choices=(*STORES, "both"), default="both")
    parser.add_argument("--feed", choices=(*FEEDS, "both"), default="both")
    parser.add_argument(
        "--situation", choices=(*(each.split()[0] for each in SITUATIONS), "all"), default="all"
    )
    parser.add_argument("--every", type=int, default=1, metavar="K", help="each Kth boundary only")
    parser.add_argument("--workers", type=int, default=4, metavar="N", help="how many passes at a time")
    parser.add_argument("--write", action="store_true", help="put the result into docs/faults.md")
    asked = parser.parse_args()
    wanted = list(passes(asked.store, asked.feed, asked.situation, asked.every))
    try:
        with in_processes(asked.workers) as workers:
            tallies = list(workers.map(Pass.done, wanted))
    except AzuriteMissing as missing:
        print(f"not done: {missing}", file=sys.stderr)
        return 1
    total = Tally()
    for tally in tallies:
        total.include(tally)
    print(f"\nin all {total.told()}; boundaries by kind:")
    for kind, count in sorted(total.kinds.items()):
        print(f"  {count:5}  {kind}")
    if asked.write:
        faults_document.write("every boundary", table(wanted, tallies))
    return 1 if total.violations else 0


def table(wanted: Sequence[Pass], tallies: Sequence[Tally]) -> str:
    """Give the result as docs/faults.md has it."""
    rows = [
        (one.store, one.feed, one.situation, *_counts([tally]))
        for one, tally in zip(wanted, tallies, strict=True)
    ]
    head = ("store", "feed", "situation", "deaths", "not reached", "readings repeated", "rules broken")
    return faults_document.table(head, [*rows, ("", "", "in all", *_counts(tallies))])


def _counts(tallies: Sequence[Tally]) -> tuple[int, int, int, int]:
    total = Tally()
    for tally in tallies:
        total.include(tally)
    return total.kinds.total(), total.missed, total.repeats.total(), len(total.violations)


def _folder(stack: ExitStack) -> Path:
    return Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="crashes-")))


if __name__ == "__main__":
    # What goes to other processes must have the name by which they know it.
    from tests.crashes import enumeration

    sys.exit(enumeration.main())
