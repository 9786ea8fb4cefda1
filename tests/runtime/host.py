"""The Functions host as a test sees it: the worker's process, what it indexed, and what it is told to run."""

from __future__ import annotations

import json
import queue
import subprocess
import threading
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

_WORKER = Path(__file__).with_name("worker.py")
# Above what any run of these tests takes, below the time-out of a test.
_ANSWER_S = 60


@dataclass(frozen=True, slots=True)
class LogLine:
    """A line as the host gets it. `category` is System for the platform's own, which the owner never sees."""

    level: str
    logger: str
    category: str
    message: str
    invocation: str | None

    def fields(self) -> dict[str, Any]:
        """Give the JSON object that the message is. Raises ValueError where it is none."""
        found = json.loads(self.message)
        if not isinstance(found, dict):
            raise ValueError(f"not an object: {self.message}")
        return found


@dataclass(frozen=True, slots=True)
class Invocation:
    """How one invocation ended, what it gave to its output bindings, and the lines that carry its id."""

    id: str
    ok: bool
    error: str | None
    stack: str | None
    returned: object
    outputs: Mapping[str, Any]
    log: tuple[LogLine, ...]

    def events(self) -> list[str]:
        """Give the names of what the app logged, in order."""
        return [line.fields()["event"] for line in self.log if line.category == "User"]

    def said(self, event: str) -> dict[str, Any]:
        """Give the fields of the only line with that event."""
        (found,) = [
            fields
            for line in self.log
            if line.category == "User" and (fields := line.fields())["event"] == event
        ]
        return found


class FunctionsHost:
    """Microsoft's runtime in a process of its own, with the app in `folder`; a context manager.

    `environ` is the process's whole environment. `log` is everything that was logged so far, and
    `transcript` every word that left the process.
    """

    def __init__(self, python: Path, folder: Path, environ: Mapping[str, str]) -> None:
        self._command: list[str | Path] = [python, "-P", _WORKER, folder]
        self._environ = dict(environ)
        self._answers: queue.SimpleQueue[str] = queue.SimpleQueue()
        self._errors: list[str] = []
        self.functions: dict[str, list[dict[str, Any]]] = {}
        self.indexing_error: str | None = None
        self.log: list[LogLine] = []
        self.transcript = ""

    def __enter__(self) -> Self:
        pipe = subprocess.PIPE
        self._process = subprocess.Popen(
            self._command,
            env=self._environ,
            stdin=pipe,
            stdout=pipe,
            stderr=pipe,
            text=True,
            encoding="utf-8",
        )
        self._readers = [
            threading.Thread(target=self._read_answers, daemon=True),
            threading.Thread(target=self._read_errors, daemon=True),
        ]
        for reader in self._readers:
            reader.start()
        indexed = self._answer()
        self.functions, self.indexing_error = indexed["functions"], indexed["error"]
        return self

    def __exit__(self, *_: object) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()
        try:
            self._process.wait(timeout=10)
        finally:
            self._process.kill()
            for reader in self._readers:
                reader.join(timeout=10)
            self.transcript += "".join(self._errors)

    def fire(self, *functions: str, past_due: bool = False, traceparent: str = "") -> list[Invocation]:
        """Let the timers of `functions` fire at once; give how each invocation ended.

        `traceparent` is what the host calls the invocation in its own telemetry.
        """
        return self._invoked(
            [{"function": each, "past_due": past_due, "traceparent": traceparent} for each in functions]
        )

    def begin(self, function: str) -> None:
        """Let a timer fire, and wait for nothing."""
        self._ask([{"function": function, "past_due": False, "traceparent": ""}])

    def end(self, number: int) -> None:
        """End the worker by a signal, whatever it is doing."""
        self._process.send_signal(number)
        self._process.wait(timeout=10)

    def deliver(self, *messages: str, to: str) -> list[Invocation]:
        """Hand messages of a queue to that function, each to an invocation of its own, at once."""
        return self._invoked([{"function": to, "message": each, "traceparent": ""} for each in messages])

    def _invoked(self, asked: list[dict[str, Any]]) -> list[Invocation]:
        self._ask(asked)
        before = len(self.log)
        results = self._answer()["results"]
        lines = self.log[before:]
        return [
            Invocation(**result, log=tuple(line for line in lines if line.invocation == result["id"]))
            for result in results
        ]

    def _ask(self, asked: list[dict[str, Any]]) -> None:
        assert self._process.stdin is not None
        asked = [{"id": str(uuid.uuid4()), **each} for each in asked]
        self._process.stdin.write(json.dumps(asked) + "\n")
        self._process.stdin.flush()

    def _answer(self) -> dict[str, Any]:
        try:
            line = self._answers.get(timeout=_ANSWER_S)
        except queue.Empty:
            line = ""
        if not line:
            self._process.kill()
            self._readers[1].join(timeout=10)
            raise AssertionError("the worker gave no answer; it said:\n" + "".join(self._errors))
        self.transcript += line
        answer: dict[str, Any] = json.loads(line)
        self.log += [LogLine(**said) for said in answer["log"]]
        return answer

    def _read_answers(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            self._answers.put(line)
        self._answers.put("")

    def _read_errors(self) -> None:
        assert self._process.stderr is not None
        self._errors.extend(self._process.stderr)


def queue_bindings(schedule: str, queue: str) -> list[dict[str, object]]:
    """Give what a timer function must be indexed with that puts messages on a queue."""
    to_queue = {"direction": "OUT", "type": "queue", "name": "shards", "queueName": queue}
    return [{**to_queue, "connection": "AzureWebJobsStorage"}, *timer_bindings(schedule)]


def shard_bindings(queue: str) -> list[dict[str, object]]:
    """Give what the function must be indexed with that takes messages from a queue."""
    of_queue = {"direction": "IN", "type": "queueTrigger", "name": "message", "queueName": queue}
    return [{**of_queue, "connection": "AzureWebJobsStorage"}]


def timer_bindings(schedule: str) -> list[dict[str, object]]:
    """Give what a function of ours must be indexed with: caught up after an outage, not run at each start."""
    return [
        {
            "direction": "IN",
            "type": "timerTrigger",
            "name": "timer",
            "schedule": schedule,
            "runOnStartup": False,
            "useMonitor": True,
        }
    ]
