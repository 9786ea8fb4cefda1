"""Commands as processes of their own, and what the operating system says that they took."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parent.parent
LAUNCHER = Path(__file__).with_name("launcher.py")
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
    with tempfile.TemporaryFile() as file:
        process = subprocess.run(
            [sys.executable, "-I", "-S", LAUNCHER, str(file.fileno()), sys.executable, *arguments],
            cwd=ROOT,
            env={**os.environ, **(environment or {})},
            stdout=subprocess.PIPE,
            pass_fds=[file.fileno()],
            check=True,
        )
        file.seek(0)
        took = json.load(file)
    if status := took.pop("exit"):
        raise SystemExit(f"python {' '.join(arguments)} ended with {status}")
    return Took(**took, stdout=process.stdout)
