"""Whether memory grows with the length of a catch-up: a run of two days against one of twenty.

    python -m benchmarks.catch_up

Each is the real command line in a process of its own against the emulators; its peak memory
is what the operating system says of it.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from emulators.eventhubs import EventHubsEmulator
from emulators.microshare import MicroshareEmulator

ROOT = Path(__file__).parent.parent


@dataclass(frozen=True, slots=True)
class Measured:
    """One run: what it delivered, how long it took, and its peak memory in KiB."""

    readings: int
    seconds: float
    peak_kib: int


def catch_up(days: int) -> Measured:
    with (
        tempfile.TemporaryDirectory() as folder,
        MicroshareEmulator() as source,
        EventHubsEmulator(["a"]) as hubs,
    ):
        environment = os.environ | source.environment()
        environment |= {
            "EVENT_HUB_CONNECTION_STRING": hubs.connection_string("a"),
            "EVENT_HUB_CONNECTION_STRINGS": "[]",
            "STATE_STORE": "json",
            "STATE_DIR": folder,
            "START_FROM": f"{days}d",
            "FORWARDER_CONFIG": str(ROOT / "config.yaml"),
            "LOG_LEVEL": "CRITICAL",
        }
        command = [sys.executable, "-m", "app", "run", "people-counter", "--json"]
        began = time.perf_counter()
        process = subprocess.Popen(command, cwd=ROOT, env=environment, stdout=subprocess.DEVNULL)
        _, status, usage = os.wait4(process.pid, 0)
        took = time.perf_counter() - began
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode:
            raise SystemExit(f"the run ended with {process.returncode}")
        return Measured(len(hubs.hub("a").received()), took, usage.ru_maxrss)


def main() -> None:
    short, long = catch_up(2), catch_up(20)
    for name, run in (("2 days", short), ("20 days", long)):
        rate, peak_mib = run.readings / run.seconds, run.peak_kib / 1024
        print(f"{name:8} {run.readings:>7,} readings, {rate:>6,.0f} a second, peak {peak_mib:.0f} MiB")
    print(
        f"20 days against 2: {long.readings / short.readings:.1f} times the readings, "
        f"{long.peak_kib / short.peak_kib:.2f} times the memory"
    )


if __name__ == "__main__":
    main()
