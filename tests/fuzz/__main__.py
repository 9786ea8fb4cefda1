"""`python -m tests.fuzz [--seconds S] [--target NAME] [--seed N] [--write]`: fuzz what reads the outside."""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from tests.fuzz.target import Target
from tests.fuzz.targets import TARGETS
from tools import faults_document

# A busy machine, and a finding that is made small; then a process counts as one that never comes back.
_PATIENCE = 6.0
_PATIENCE_S = 240.0
_SECTION = "fuzzed readers"
_HEAD = ("target", "reads", "examples", "grown", "CPU seconds", "seeds", "findings")


@dataclass(frozen=True, slots=True)
class Account:
    """What came of a target; `findings` are the files in which cases were kept, by what went wrong."""

    target: Target
    examples: int
    pumped: int
    seconds: float
    findings: dict[str, Path]


def main() -> int:
    """Fuzz each target so long. Gives 1 where anything was found."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    parser.add_argument("--seconds", type=float, default=60.0, help="of the processor's time, a target")
    names = [target.name for target in TARGETS]
    parser.add_argument("--target", choices=names, action="append", help="this one only; again for others")
    parser.add_argument("--seed", type=int, help="to do it again")
    parser.add_argument("--workers", type=int, default=os.cpu_count() or 1, help="how many at a time")
    parser.add_argument("--write", action="store_true", help="write the table into docs/faults.md")
    options = parser.parse_args()
    seed = options.seed if options.seed is not None else random.SystemRandom().getrandbits(32)
    targets = [target for target in TARGETS if target.name in (options.target or names)]
    print(f"seed {seed}, {options.seconds:g} s a target", flush=True)
    with ThreadPoolExecutor(options.workers) as pool:
        accounts = list(pool.map(lambda target: _fuzzed(target, options.seconds, seed), targets))
    print(faults_document.table(_HEAD, map(_row, accounts)))
    for account in accounts:
        for kind, path in account.findings.items():
            print(f"{account.target.name}: {kind}\n  kept as {path}")
    if options.write:
        faults_document.write(_SECTION, _section(accounts, faults_document.read(_SECTION)))
    return 1 if any(account.findings for account in accounts) else 0


def _fuzzed(target: Target, seconds: float, seed: int) -> Account:
    """Fuzz one target in a process of its own, and keep what it found among its seeds."""
    with tempfile.TemporaryDirectory(prefix="fuzz-") as folder:
        command = [sys.executable, "-m", "tests.fuzz.campaign", target.name, str(seconds), str(seed), folder]
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
        try:
            _, said = process.communicate(timeout=seconds * _PATIENCE + _PATIENCE_S)
        except subprocess.TimeoutExpired:
            process.kill()
            _, said = process.communicate()
        told = Path(folder) / "tally.json"
        if told.exists():
            tally = json.loads(told.read_text())
            found = {kind: bytes.fromhex(case) for kind, case in tally["findings"].items()}
        else:
            tally = {"examples": 0, "pumped": 0, "seconds": seconds}
            case = Path(folder) / "case"
            found = {_end_of(process.returncode, said): case.read_bytes() if case.exists() else b""}
    kept = {kind: _kept(target, case) for kind, case in found.items()}
    account = Account(target, tally["examples"], tally["pumped"], tally["seconds"], kept)
    print(f"{target.name}: {account.examples:,} examples, {len(kept)} findings", file=sys.stderr, flush=True)
    return account


def _end_of(status: int, said: bytes) -> str:
    """Say how a process ended that told nothing."""
    how = signal.Signals(-status).name if status < 0 else f"status {status}"
    return f"the process ended with {how}: {said.decode(errors='replace')[-500:]}"


def _kept(target: Target, case: bytes) -> Path:
    """Keep a case: from now on `make test` has it, too. Give it a name that reads as a situation."""
    path = target.folder / f"found-{hashlib.sha256(case).hexdigest()[:12]}"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(case)
    return path


def _row(account: Account) -> tuple[str, ...]:
    return (
        account.target.name,
        account.target.reads,
        f"{account.examples:,}",
        f"{account.pumped:,}",
        f"{account.seconds:,.0f}",
        f"{len(account.target.seeds()):,}",
        f"{len(account.findings):,}",
    )


def _section(accounts: Sequence[Account], written: str) -> str:
    """Give the section anew; what was written of readers that were not fuzzed now stays."""
    rows = {cells[0]: cells for cells in faults_document.rows(written)}
    rows |= {account.target.name: _row(account) for account in accounts}
    kept = [rows[target.name] for target in TARGETS if target.name in rows]
    examples, findings = (sum(int(row[at].replace(",", "")) for row in kept) for at in (2, -1))
    said = f"{len(kept)} readers: {examples:,} examples, {findings:,} findings."
    return f"{said}\n\n{faults_document.table(_HEAD, kept)}"


if __name__ == "__main__":
    sys.exit(main())
