"""Microsoft's client for JavaScript, unchanged, in a process of node that does what it is told."""

from __future__ import annotations

import json
import queue
import shutil
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.environments.client_process import client_process

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "node_modules" / "@azure" / "event-hubs"
# More than the process itself waits for anything.
_PATIENCE_S = 60


class JavaScriptMissing(Exception):
    """The client cannot be run here; the text says what to do."""


class JavaScriptClient:
    """Does one thing after the other, by the names in `javascript.mjs`; clients in it have names, too."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process
        self._answers: queue.Queue[str] = queue.Queue()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def ask(self, act: str, **said: object) -> dict[str, Any]:
        """Give what came of it, with `failed` the code of an error that the client raised."""
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps({"act": act, **said}) + "\n")
        self._process.stdin.flush()
        answer = self._answers.get(timeout=_PATIENCE_S)
        assert answer, f"node ended: {self._process.wait(_PATIENCE_S)}"
        told: dict[str, Any] = json.loads(answer)
        return told

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            self._answers.put(line)
        self._answers.put("")


@contextmanager
def running_javascript() -> Iterator[JavaScriptClient]:
    """Run it. Raises JavaScriptMissing where node or the package is not there."""
    node = shutil.which("node")
    if node is None:
        raise JavaScriptMissing("the client for JavaScript needs node, which is not on the PATH")
    if not PACKAGE.exists():
        raise JavaScriptMissing(f"@azure/event-hubs is not at {PACKAGE}; run npm install --no-package-lock")
    with client_process([node, str(Path(__file__).with_suffix(".mjs"))], cwd=ROOT) as process:
        yield JavaScriptClient(process)
