"""Instances of the app in queue mode: processes, each with a listener of the queue; they can be killed.

`python -m tests.environments.instances PORT SECONDS` is one: it works until it is killed, by the settings of
its environment, and says on its standard output which messages it takes, and which of them it has ended.
"""

from __future__ import annotations

import json
import queue
import subprocess
import sys
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Self

from app.base.program import APP_ROOT
from app.settings.scale_out import QUEUE
from app.timer import run_message
from tests.environments.polling import poll_quickly
from tests.environments.queues import Listener, Queues

_POLL_S = 0.05
_LONGEST_START_S = 60.0


@dataclass(frozen=True, slots=True)
class Step:
    """What an instance did: it is `ready`, has `taken` a message, or `ended` it."""

    process: int
    what: str
    text: str = ""


class Instances:
    """So many instances, while the context lasts; one that is killed is replaced.

    A message whose instance was killed is seen again after `visibility`. What they write to standard error is
    kept in `log`.
    """

    def __init__(
        self, count: int, environ: Mapping[str, str], queue_port: int, visibility: timedelta, log: Path
    ) -> None:
        self._count = count
        self._environ = dict(environ)
        seconds = str(visibility.total_seconds())
        self._command = [sys.executable, "-m", "tests.environments.instances", str(queue_port), seconds]
        self._log = log
        self._steps: queue.SimpleQueue[Step] = queue.SimpleQueue()
        self._running: dict[int, subprocess.Popen[str]] = {}
        self._readers: list[threading.Thread] = []

    def __enter__(self) -> Self:
        for _ in range(self._count):
            self._start()
        ready = 0
        while ready < self._count:
            step = self.next(_LONGEST_START_S)
            assert step is not None, f"an instance did not start: {self._log.read_text()[-2000:]}"
            ready += step.what == "ready"
        return self

    def __exit__(self, *_: object) -> None:
        for process in [*self._running]:
            self._end(process)
        for reader in self._readers:
            reader.join(10)

    def next(self, within_s: float) -> Step | None:
        """Give what happens next, of the killed ones too; None where nothing does within that time."""
        try:
            return self._steps.get(timeout=within_s)
        except queue.Empty:
            return None

    def kill(self, process: int) -> None:
        """Kill an instance, and start another in its place."""
        self._end(process)
        self._start()

    def _start(self) -> None:
        with self._log.open("a") as log:
            started = subprocess.Popen(
                self._command,
                cwd=APP_ROOT,
                env=self._environ,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
            )
        self._running[started.pid] = started
        reader = threading.Thread(target=self._read, args=(started,))
        reader.start()
        self._readers.append(reader)

    def _end(self, process: int) -> None:
        ended = self._running.pop(process)
        ended.kill()
        ended.wait(10)

    def _read(self, process: subprocess.Popen[str]) -> None:
        assert process.stdout is not None
        with process.stdout:
            for line in process.stdout:
                # What a killed one wrote last may be cut.
                if line.endswith("\n"):
                    self._steps.put(Step(process.pid, **json.loads(line)))


def _say(what: str, text: str = "") -> None:
    sys.stdout.write(json.dumps({"what": what, "text": text}) + "\n")
    sys.stdout.flush()


def _run(text: str) -> None:
    _say("taken", text)
    run_message(text)
    _say("ended", text)


def main() -> None:
    port, seconds = sys.argv[1:]
    poll_quickly()
    listener = Listener(Queues(int(port)), QUEUE, _run, visibility=timedelta(seconds=float(seconds)))
    _say("ready")
    while True:
        if not listener.take():
            time.sleep(_POLL_S)


if __name__ == "__main__":
    main()
