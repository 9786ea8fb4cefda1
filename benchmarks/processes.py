"""Commands as processes of their own, and what the operating system says that they took."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path
from typing import ParamSpec, TypeVar

_Asked = ParamSpec("_Asked")
_Given = TypeVar("_Given")

ROOT = Path(__file__).parent.parent
MEBIBYTE = 2**20


@dataclass(frozen=True, slots=True)
class Took:
    """One process, from start to exit: seconds of the processor, of the clock, and its peak memory."""

    cpu_s: float
    wall_s: float
    peak_bytes: int
    stdout: bytes


@contextmanager
def started(arguments: Sequence[str], environment: Mapping[str, str]) -> Iterator[None]:
    """Let Python run with these arguments while the context lasts, or to its end."""
    environment = {**os.environ, **environment}
    command = [sys.executable, *arguments]
    with subprocess.Popen(command, cwd=ROOT, env=environment, stdout=subprocess.DEVNULL) as process:
        try:
            yield
        finally:
            process.kill()


def run(
    arguments: Sequence[str],
    environment: Mapping[str, str] | None = None,
) -> Took:
    """Run Python with these arguments to its end, in the project's folder. Raises SystemExit if it fails."""
    began = time.perf_counter()
    process = subprocess.Popen(
        [sys.executable, *arguments],
        cwd=ROOT,
        env={**os.environ, **(environment or {})},
        stdout=subprocess.PIPE,
    )
    if process.stdout is None:
        raise AssertionError("its output is a pipe")
    stdout = process.stdout.read()
    process.stdout.close()
    _, status, usage = os.wait4(process.pid, 0)
    wall_s = time.perf_counter() - began
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise SystemExit(f"python {' '.join(arguments)} ended with {process.returncode}")
    return Took(usage.ru_utime + usage.ru_stime, wall_s, usage.ru_maxrss * 1024, stdout)


def apart(work: Callable[_Asked, _Given], *args: _Asked.args, **options: _Asked.kwargs) -> _Given:
    """Give what a function gives in a new process of its own.

    What a process holds counts in the peak of those that it starts: Linux has them begin with it.
    """
    with ProcessPoolExecutor(1, get_context("spawn")) as process:
        return process.submit(work, *args, **options).result()
