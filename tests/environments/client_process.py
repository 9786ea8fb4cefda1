"""A client in a process of its own, which is spoken to by lines on its standard streams."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any


@contextmanager
def client_process(command: Sequence[str], **options: Any) -> Iterator[subprocess.Popen[str]]:
    """Run a command with pipes to it and from it; it is killed at the end."""
    process = subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, encoding="utf-8", **options
    )
    try:
        yield process
    finally:
        process.kill()
        process.wait(10)
        for pipe in (process.stdin, process.stdout):
            if pipe is not None:
                pipe.close()
