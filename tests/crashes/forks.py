"""Starts runs in processes of their own, from one warm process; see `tests.crashes.child`.

Runs wait for sockets three quarters of their time, so several installations side by side cost
little more than one.
"""

from __future__ import annotations

import atexit
import json
import multiprocessing
import subprocess
import sys
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Self

from tests.crashes.child import Order, as_line

ROOT = Path(__file__).parents[2]


@dataclass(frozen=True, slots=True)
class Ended:
    """How a run ended: its exit status, -9 where it was killed, and how long it took in seconds."""

    status: int
    took_s: float

    @property
    def was_killed(self) -> bool:
        return self.status == -9


class Forks:
    """The warm process, until it is closed. One run at a time."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.crashes.child"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd=ROOT,
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        self._process.communicate(timeout=30)

    def run(self, order: Order) -> Ended:
        """Do a run in a fork of the warm process; ends when the run has ended."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(as_line(order))
        self._process.stdin.flush()
        return Ended(**json.loads(self._process.stdout.readline()))


@cache
def forks() -> Forks:
    """Give the one of this process, which all installations share; it ends with it."""
    started = Forks()
    atexit.register(started.close)
    return started


def in_processes(workers: int) -> ProcessPoolExecutor:
    """Give what does so many things at a time, in processes that share nothing with this one."""
    return ProcessPoolExecutor(workers, mp_context=multiprocessing.get_context("spawn"))
