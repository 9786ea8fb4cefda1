"""Lets each file operation, or each request to the table service, of a run fail in turn.

    python -m tests.crashes.failing [--store json|table|both] [--every K]

The first fails in the first run, the second in the next, and so on until a run passes without a failure: once
only, as where somebody makes room in time, or with all that come after it. A run that meets one ends
with status 0 or 1, never otherwise; with 1 it says why and what to do. Once a save has failed nothing is
sent but what was on its way. The rules of `tests.environments.killable` hold, and the run after it, which no
longer fails, makes all of it good.
"""

from __future__ import annotations

import argparse
import itertools
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.crashes.enumeration import STORES, Store, prepare
from tests.crashes.forks import in_processes
from tests.environments.azurite import AzuriteMissing, Fault, running_azurite
from tests.environments.killable import HUBS, Findings, KillableInstallation, Step
from tools import faults_document


@dataclass(frozen=True, slots=True)
class Failure:
    """What a store is told, once or from then on: an error of the operating system, or a relay's fault."""

    store: Store
    error: str
    keeps: bool = False

    @property
    def title(self) -> str:
        how_long = "from then on" if self.keeps else "once"
        return f"{self.store}, {self.error.replace('_', ' ')}, {how_long}"

    def happens(self, killable: KillableInstallation, nth: int) -> tuple[Step, bool]:
        """Let it happen at the nth operation of a run; give the run, and whether it came so far."""
        if killable.relay is None:
            step = killable.run(
                saves_often=True, fails_with=self.error, fails_from=nth, keeps_failing=self.keeps
            )
            return step, any("failed" in line for line in step.trace)
        before = len(killable.relay.fired)
        killable.relay.order_from(Fault[self.error], nth, keeps=self.keeps)
        step = killable.run(saves_often=True)
        killable.relay.forget_orders()
        return step, len(killable.relay.fired) > before


ERRORS: Mapping[Store, Sequence[str]] = {
    "json": ("ENOSPC", "EIO"),
    "table": tuple(fault.name for fault in Fault),
}
FAILURES = tuple(
    Failure(store, error, keeps) for store in STORES for error in ERRORS[store] for keeps in (False, True)
)


@dataclass(slots=True)
class Sweep:
    """What came of it. `failed` counts the runs that ended with 1, the others bore it."""

    operations: int = 0
    failed: int = 0
    repeated: int = 0
    violations: list[str] = field(default_factory=list)

    def told(self) -> str:
        return (
            f"{self.operations} operations failed, {self.failed} runs with them, {self.repeated} readings "
            f"repeated, {len(self.violations)} violations"
        )


def sweep(
    killable: KillableInstallation, failure: Failure, *, every: int = 1, first: int = 1
) -> Iterator[tuple[int, Findings, Step]]:
    """Let each operation fail in turn, or each `every`th from the `first` on; give what is wrong."""
    for nth in itertools.count(first, every):
        prepare(killable, "slow run")
        step, happened = failure.happens(killable, nth)
        findings = killable.judge_complete(step) if step.ended.status == 0 else killable.judge(step)
        findings.violations += _of_ending(step)
        # A run that cannot reach the service cannot give back its lease.
        killable.lease_left = True
        findings.add(killable.judge_complete(killable.run()))
        if not happened:
            return
        yield nth, findings, step


def _of_ending(step: Step) -> Iterator[str]:
    status = step.ended.status
    if status not in (0, 1):
        yield f"ended with {status}: {'; '.join(step.failures())}"
    if status == 1 and not any("state: " in text and "; " in text for text in step.failures()):
        yield f"does not say what failed and what to do: {step.failures()}"
    on_their_way = 0
    after_failure = False
    for line in step.trace:
        match line.get("at"):
            case "save failed":
                after_failure, on_their_way = True, 0
            case "save completed":
                after_failure = False
            case _:
                on_their_way += after_failure and "hub" in line
    if on_their_way > len(HUBS):
        yield f"{on_their_way} batches were sent after a save had failed"


@dataclass(frozen=True, slots=True)
class Pass:
    """All of one failure; what a process does of the whole."""

    failure: Failure
    every: int = 1

    def done(self) -> Sweep:
        """Do it, on an installation of its own; what is wrong is printed at once."""
        found = Sweep()
        began = time.monotonic()
        with ExitStack() as stack:
            port = None
            if self.failure.store == "table":
                port = stack.enter_context(running_azurite(_folder(stack)))
            killable = stack.enter_context(KillableInstallation(_folder(stack), azurite_port=port))
            for nth, findings, step in sweep(killable, self.failure, every=self.every):
                found.operations += 1
                found.failed += step.ended.status != 0
                found.repeated += findings.repeats.total()
                for text in findings.violations:
                    found.violations.append(f"{self.failure.title}, no. {nth}: {text}")
                    print(found.violations[-1], flush=True)
        print(f"{self.failure.title}: {found.told()} ({time.monotonic() - began:.0f} s)", flush=True)
        return found


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.crashes.failing", description=__doc__)
    parser.add_argument("--store", choices=(*STORES, "both"), default="both")
    parser.add_argument("--every", type=int, default=1, metavar="K", help="each Kth operation only")
    parser.add_argument("--workers", type=int, default=4, metavar="N", help="how many at a time")
    parser.add_argument("--write", action="store_true", help="put the result into docs/faults.md")
    asked = parser.parse_args()
    wanted = [Pass(one, asked.every) for one in FAILURES if asked.store in ("both", one.store)]
    try:
        with in_processes(asked.workers) as workers:
            sweeps = list(workers.map(Pass.done, wanted))
    except AzuriteMissing as missing:
        print(f"not done: {missing}", file=sys.stderr)
        return 1
    if asked.write:
        faults_document.write("every failure", table([one.failure for one in wanted], sweeps))
    return 1 if any(found.violations for found in sweeps) else 0


def table(failures: Sequence[Failure], sweeps: Sequence[Sweep]) -> str:
    """Give the result as docs/faults.md has it."""
    head = ("failure", "operations", "runs that failed with it", "readings repeated", "rules broken")
    rows: list[tuple[Any, ...]] = [
        (one.title, found.operations, found.failed, found.repeated, len(found.violations))
        for one, found in zip(failures, sweeps, strict=True)
    ]
    return faults_document.table(head, rows)


def _folder(stack: ExitStack) -> Path:
    return Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="failing-")))


if __name__ == "__main__":
    # What goes to other processes must have the name by which they know it.
    from tests.crashes import failing

    sys.exit(failing.main())
