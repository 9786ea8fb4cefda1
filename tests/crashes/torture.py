"""Kills real runs at random moments, for as long as one likes, and counts what comes of it.

    python -m tests.crashes.torture --runs N [--seed S] [--store json|table|both] [--series W]

Between runs the source publishes new readings, late ones and corrections, and now and then an hour or a
day passes; hubs, the source and the store have small faults. Most runs are ended with SIGKILL from
outside: half of them anywhere between the start of the process and its usual end, half in the last part
of it, where batches go out and the state is saved. Every twentieth run is `python -m app run
people-counter`, from the start of Python on; the others are forks that have their imports done.

After each run the oracle of `tests.environments.killable` looks at the hubs and at the state; after each run
that was let alone and ended well, nothing may be missing. The exit status is 1 if anything was wrong. What
is published and which faults are set follow from the seed and the run's number; the moment at which a
kill meets a run does not.

The runs of a store are shared out among series, each with a source, hubs and a state of its own, in which
one run follows the other; series go side by side.
"""

from __future__ import annotations

import argparse
import random
import sys
import tempfile
import time
from collections import Counter, deque
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

from app.base.instants import MILLISECOND, floor_to
from tests.crashes.enumeration import STORES
from tests.crashes.forks import in_processes
from tests.environments.azurite import AzuriteMissing, Fault, running_azurite
from tests.environments.killable import HUBS, MINUTE, Findings, KillableInstallation, Step
from tools import faults_document

_KILLED = 0.85
_FAULTY = 0.35
# The share of these that the store has, at one of so many operations or, with some, from there on.
_OF_STORE = 0.25
_OPERATIONS = 40
_JUMPS = 0.02
# The share of runs that save after each acknowledgement, as one does whose batches take a second.
_SLOW = 0.6
_REAL_EVERY = 20
# How far back a late reading or a correction lies: inside the look-back of an hour wherever a position is.
_LATE_MINUTES = 45.0
_SECOND = timedelta(seconds=1)
# The last part of a run, as a share of its usual duration.
_SENDING = 0.85
# An acknowledgement takes its time, as a real hub's does, so that there is something to interrupt.
_LONGEST_ACKNOWLEDGEMENT_S = 0.06
_OVERRUN = 1.1

Say = Callable[[str], None]


@dataclass(slots=True)
class Score:
    """What was counted. `doing` says what killed runs were in the middle of, where that is known."""

    runs: int = 0
    kills: int = 0
    commands: int = 0
    published: int = 0
    arrived: int = 0
    lost: int = 0
    complete: int = 0
    repeats: Counter[str] = field(default_factory=Counter)
    doing: Counter[str] = field(default_factory=Counter)
    faults: Counter[str] = field(default_factory=Counter)
    violations: list[str] = field(default_factory=list)

    def plus(self, other: Score) -> Score:
        return Score(
            self.runs + other.runs,
            self.kills + other.kills,
            self.commands + other.commands,
            self.published + other.published,
            self.arrived + other.arrived,
            self.lost + other.lost,
            self.complete + other.complete,
            self.repeats + other.repeats,
            self.doing + other.doing,
            self.faults + other.faults,
            self.violations + other.violations,
        )


class Torture:
    """Runs on one killable, each decided by the seed and its number."""

    def __init__(self, killable: KillableInstallation, seed: str, *, real_every: int = _REAL_EVERY) -> None:
        self.killable = killable
        self.score = Score()
        self._seed = seed
        self._real_every = real_every
        # How long runs that were let alone took lately, in seconds: forks, and whole commands.
        self._took = {False: deque([0.7], maxlen=15), True: deque([1.5], maxlen=15)}
        self._planted: list[tuple[str, datetime]] = []

    def go_on(self, runs: int, say: Say = lambda _: None) -> Score:
        """Do so many runs, the last one undisturbed."""
        every = max(1, runs // 40)
        for number in range(1, runs + 1):
            known = len(self.score.violations)
            self._once(number, last=number == runs)
            for text in self.score.violations[known:]:
                say(text)
            if number % every == 0 or number == runs:
                score = self.score
                say(
                    f"{number:6} runs, {score.kills} killed, {score.published} published, "
                    f"{score.lost} lost, {score.repeats.total()} repeated, {len(score.violations)} violations"
                )
        self.score.arrived = len(self.killable.arrivals)
        return self.score

    def _once(self, number: int, *, last: bool) -> None:
        dice = random.Random(f"{self._seed}/{number}")
        self._publish(dice)
        for name in HUBS:
            self.killable.hub(name).delay(dice.uniform(0, _LONGEST_ACKNOWLEDGEMENT_S))
        is_command = number % self._real_every == 0
        faulty = not last and dice.random() < _FAULTY
        options = self._make_trouble(dice, is_command) if faulty else {}
        kill_after_s = None if last or dice.random() > _KILLED else self._moment(dice, is_command)
        if is_command:
            step = self.killable.run_command(kill_after_s=kill_after_s)
        else:
            saves_often = dice.random() < _SLOW
            step = self.killable.run(kill_after_s=kill_after_s, saves_often=saves_often, **options)
        self._clear_trouble()
        self._count(number, step, is_command=is_command, faulty=faulty, killed=kill_after_s is not None)

    def _publish(self, dice: random.Random) -> None:
        killable = self.killable
        before = killable.now
        hours = dice.uniform(1, 30) if dice.random() < _JUMPS else 0.0
        # Whole seconds, as the API's Date is: what is younger than that is the next run's.
        killable.now = floor_to(before + timedelta(hours=hours) + dice.uniform(1, 16) * MINUTE, _SECOND)
        killable.steps += 1
        for name in killable.names:
            for _ in range(dice.randint(0, 4)):
                self._plant(name, before + (killable.now - before) * dice.random())
            if dice.random() < 0.3:
                late = before - dice.uniform(0, _LATE_MINUTES) * MINUTE
                self._plant(name, late, visible_from=killable.now)
            recent = [at for one, at in self._planted if one == name and at > before - _LATE_MINUTES * MINUTE]
            if recent and dice.random() < 0.2:
                killable.correct(name, dice.choice(recent))
                self.score.published += 1
        if dice.random() < 0.01:
            killable.plant(killable.names[0], before, visible_from=killable.now, time_as="half past nine")

    def _plant(self, name: str, time: datetime, **options: Any) -> None:
        at = _whole_ms(time)
        self.killable.plant(name, at, **options)
        self._planted.append((name, at))
        del self._planted[:-200]
        self.score.published += 1

    def _make_trouble(self, dice: random.Random, is_command: bool) -> Mapping[str, Any]:
        """Set a fault; give what of it the run itself has to be ordered."""
        if not is_command and dice.random() < _OF_STORE:
            return self._make_trouble_with_the_store(dice)
        hub = self.killable.hub(dice.choice(HUBS))
        after_s = dice.uniform(0.01, 0.15)
        troubles: Mapping[str, Callable[[], None]] = {
            "drop_after_store": lambda: hub.drop_after_store(1),
            "drop_before_store": lambda: hub.drop_before_store(1),
            "detach": lambda: hub.detach(1),
            "delay": lambda: hub.delay(after_s),
            "go_down": hub.go_down,
            "refuse_attach": hub.refuse_attach,
            "query 503": lambda: self.killable.source.faults.status(503, times=1),
            "throttle": lambda: hub.throttle(1),
        }
        # A throttled hub is waited for, 4 s at least.
        name = dice.choices(list(troubles), weights=(4, 4, 4, 6, 3, 1, 1, 1))[0]
        troubles[name]()
        self.score.faults[name] += 1
        return {}

    def _make_trouble_with_the_store(self, dice: random.Random) -> Mapping[str, Any]:
        nth, keeps = dice.randint(1, _OPERATIONS), dice.random() < 0.3
        relay = self.killable.relay
        if relay is None:
            error = dice.choice(("ENOSPC", "EIO"))
            self.score.faults[f"files: {error}"] += 1
            return {"fails_with": error, "fails_from": nth, "keeps_failing": keeps}
        fault = dice.choice(tuple(Fault))
        relay.order_from(fault, nth, keeps=keeps)
        self.score.faults[f"table: {fault.name}"] += 1
        return {}

    def _clear_trouble(self) -> None:
        self.killable.source.faults.clear()
        for name in HUBS:
            self.killable.hub(name).clear_faults()
        relay = self.killable.relay
        if relay is not None:
            relay.forget_orders()

    def _moment(self, dice: random.Random, is_command: bool) -> float:
        usual = median(self._took[is_command])
        first = dice.choice((0.0, _SENDING))
        return usual * dice.uniform(first, _OVERRUN)

    def _count(self, number: int, step: Step, *, is_command: bool, faulty: bool, killed: bool) -> None:
        killable, score = self.killable, self.score
        score.runs += 1
        score.commands += is_command
        score.kills += step.ended.was_killed
        if step.ended.was_killed:
            score.doing["`python -m app`, not traced" if is_command else doing(step.trace)] += 1
        findings = Findings()
        if step.ended.status == 0 or not (faulty or step.ended.was_killed):
            findings = killable.judge_complete(step)
            score.complete += step.ended.status == 0
            score.lost += len(killable.lost()) if step.ended.status == 0 else 0
        else:
            findings = killable.judge(step)
        if step.ended.was_killed and not killed:
            findings.violations.append("hung, and was killed for it")
        if faulty:
            # A run that could not reach the table service has not given back its lease.
            killable.lease_left = True
        if not (step.ended.was_killed or faulty):
            self._took[is_command].append(step.ended.took_s)
        score.repeats += findings.repeats
        score.violations += [f"run {number}: {text}" for text in findings.violations]


def doing(trace: Sequence[Mapping[str, Any]]) -> str:
    """Say what a run was in the middle of when its trace ended."""
    told = Counter(str(line["at"]).partition(":")[0] for line in trace if "at" in line)
    for begun, ended, name in (
        ("save begins", "save completed", "saving"),
        ("quarantine begins", "quarantine completed", "quarantining"),
        ("batch to be sent", "acknowledged", "sending"),
        ("query begins", "query answered", "querying"),
        ("discovery begins", "discovery answered", "discovering"),
        ("login begins", "logged in", "logging in"),
        ("state asked for", "state loaded", "loading the state"),
    ):
        if told[begun] > told[ended]:
            return name
    if told["run lock to be released"]:
        return "giving back the run lock, or after"
    if told["hubs to be connected"] and told["hub connected"] < len(HUBS):
        return "connecting to hubs"
    return "between two of these" if told["run lock taken"] else "starting"


@dataclass(frozen=True, slots=True)
class Series:
    """So many runs on one store, one after the other; what a process does of the whole."""

    store: str
    runs: int
    seed: str

    def done(self) -> Score:
        """Do them, on an installation of its own; how they get on is printed."""
        with ExitStack() as stack:
            port = None
            if self.store == "table":
                port = stack.enter_context(running_azurite(_folder(stack)))
            killable = stack.enter_context(
                KillableInstallation(_folder(stack), azurite_port=port, message_bytes=3000)
            )
            say = lambda text: print(f"{self.store:5} {self.seed:5} {text}", flush=True)  # noqa: E731
            return Torture(killable, self.seed).go_on(self.runs, say)


def series(stores: Sequence[str], runs: int, seed: int, number: int) -> list[Series]:
    """Share out the runs of each store among so many series."""
    shares = [runs // number + (each < runs % number) for each in range(number)]
    return [
        Series(store, share, f"{seed}.{each}")
        for store in stores
        for each, share in enumerate(shares, start=1)
        if share
    ]


def told(score: Score) -> str:
    lines = [
        f"runs        {score.runs}, of them {score.commands} as `python -m app`",
        f"kills       {score.kills}",
        f"published   {score.published} readings, corrections included; {len(HUBS)} hubs",
        f"arrived     {score.arrived} at the hubs together",
        f"lost        {score.lost}, looked for after {score.complete} runs that ended well",
        f"repeated    {score.repeats.total()}, all but the violations below allowed:",
        *(f"              {count:6}  {why}" for why, count in score.repeats.most_common()),
        f"violations  {len(score.violations)}",
        *(f"              {text}" for text in score.violations[:20]),
        "killed while",
        *(f"              {count:6}  {what}" for what, count in score.doing.most_common()),
        "faults set",
        *(f"              {count:6}  {what}" for what, count in score.faults.most_common()),
    ]
    return "\n".join(lines)


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.crashes.torture", description=__doc__)
    parser.add_argument("--runs", type=int, default=1000, metavar="N", help="of each store")
    parser.add_argument("--seed", type=int, default=1, metavar="S")
    parser.add_argument("--store", choices=(*STORES, "both"), default="both")
    parser.add_argument("--series", type=int, default=2, metavar="W", help="of each store, side by side")
    parser.add_argument("--write", action="store_true", help="put the result into docs/faults.md")
    asked = parser.parse_args()
    stores = STORES if asked.store == "both" else (asked.store,)
    wanted = series(stores, asked.runs, asked.seed, asked.series)
    began = time.monotonic()
    try:
        with in_processes(len(wanted)) as workers:
            scores = list(workers.map(Series.done, wanted))
    except AzuriteMissing as missing:
        print(f"not done: {missing}", file=sys.stderr)
        return 1
    by_store = {store: Score() for store in stores}
    for series_of_runs, score in zip(wanted, scores, strict=True):
        by_store[series_of_runs.store] = by_store[series_of_runs.store].plus(score)
    for store, score in by_store.items():
        print(f"\n{store}\n{told(score)}\n")
    minutes = (time.monotonic() - began) / 60
    print(f"seed {asked.seed}, {asked.series} series a store, {minutes:.0f} min")
    if asked.write:
        faults_document.write("random moments", table(by_store, asked.seed))
    return 1 if any(score.violations for score in scores) else 0


def table(by_store: Mapping[str, Score], seed: int) -> str:
    """Give the result as docs/faults.md has it."""
    reasons = sorted({why for score in by_store.values() for why in score.repeats})
    head = ("", *by_store)
    counts: Mapping[str, Callable[[Score], object]] = {
        "runs": lambda score: score.runs,
        "of them `python -m app run`": lambda score: score.commands,
        "killed": lambda score: score.kills,
        "with a fault besides": lambda score: score.faults.total(),
        "readings published": lambda score: score.published,
        "lost": lambda score: score.lost,
        "rules broken": lambda score: len(score.violations),
        **{f"repeated: {why}": partial(_repeated, why=why) for why in reasons},
    }
    rows = [(what, *(count(score) for score in by_store.values())) for what, count in counts.items()]
    doing = sum((score.doing for score in by_store.values()), Counter[str]())
    while_ = ", ".join(f"{what} {count}" for what, count in doing.most_common())
    return f"{faults_document.table(head, rows)}\n\nSeed {seed}. Killed while: {while_}."


def _repeated(score: Score, *, why: str) -> int:
    return score.repeats[why]


def _whole_ms(instant: datetime) -> datetime:
    return floor_to(instant, MILLISECOND)


def _folder(stack: ExitStack) -> Path:
    return Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="torture-")))


if __name__ == "__main__":
    # What goes to other processes must have the name by which they know it.
    from tests.crashes import torture

    sys.exit(torture.main())
