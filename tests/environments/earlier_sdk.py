"""Earlier versions of azure-eventhub, each in a folder of its own, and a client of one in its own process."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.environments.client_process import client_process

_CLIENT = Path(__file__).with_name("earlier_sdk_client.py")
_PATIENCE_S = 120


class EarlierSdkMissing(Exception):
    """The version cannot be had here; the text says why."""


class EarlierSdkClient:
    """A client that waits for a line when it has sent and heard an event; see `earlier_sdk_client.py`."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process

    def told(self) -> dict[str, Any]:
        """Give what it says next."""
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        assert line, "the client ended"
        told: dict[str, Any] = json.loads(line)
        return told

    def say(self, line: str) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(line + "\n")
        self._process.stdin.flush()

    def ended(self) -> int:
        """Give its exit status, when all that it opened is closed."""
        return self._process.wait(_PATIENCE_S)


def install(version: str, folder: Path) -> None:
    """Put a version into a folder; what it needs of others is in this environment."""
    target = ["--target", str(folder), "--quiet", "--disable-pip-version-check", "--no-deps"]
    done = subprocess.run(
        [sys.executable, "-m", "pip", "install", *target, f"azure-eventhub=={version}"],
        capture_output=True,
        text=True,
        timeout=_PATIENCE_S,
        check=False,
    )
    if done.returncode != 0:
        raise EarlierSdkMissing(f"pip cannot install azure-eventhub {version}: {done.stderr.strip()[-500:]}")


@contextmanager
def running(folder: Path, kind: str, connection_string: str) -> Iterator[EarlierSdkClient]:
    """Run a client, `blocking` or `asynchronous`, with the version that is in a folder."""
    environ = os.environ | {"PYTHONPATH": str(folder)}
    with client_process([sys.executable, str(_CLIENT), kind], env=environ) as process:
        client = EarlierSdkClient(process)
        client.say(connection_string)
        yield client
