"""Somebody at a command line, with an installation to work on: commands are processes of their own."""

from __future__ import annotations

import html
import itertools
import json
import os
import re
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from app.base.program import APP_ROOT
from emulators.authorities import one_authority
from emulators.eventhubs import EmulatedHub, EventHubsEmulator
from emulators.microshare import MicroshareEmulator, Request, Response
from tests.commands import Ended, ended, of_two_feeds
from tests.environments.forked import forked_commands


class Terminal:
    """Somebody with a shell, settings in the environment, and an installation of two feeds to work on."""

    def __init__(self, source: MicroshareEmulator, hubs: EventHubsEmulator, folder: Path) -> None:
        self.source = source
        self.hubs = hubs
        self.folder = folder
        (folder / "config.yaml").write_text(of_two_feeds((APP_ROOT / "config.yaml").read_text()))
        self.environ = {
            "PATH": os.environ["PATH"],
            "FORWARDER_CONFIG": str(folder / "config.yaml"),
            **source.environment(),
            "EVENT_HUB_CONNECTION_STRING": hubs.connection_string("a"),
            "EVENT_HUB_CONNECTION_STRINGS": json.dumps([self.second(hubs.connection_string("b"))]),
            "STATE_DIR": str(folder / "state"),
            "REQUESTS_CA_BUNDLE": str(one_authority()),
        }

    @property
    def a(self) -> EmulatedHub:
        return self.hubs.hub("a")

    @property
    def b(self) -> EmulatedHub:
        return self.hubs.hub("b")

    @staticmethod
    def second(connection_string: str) -> dict[str, str]:
        return {"name": "second", "connection_string": connection_string}

    def key(self, hub: str) -> str:
        return f"127.0.0.1:{self.hubs.port}/{hub}"

    def start(self, *words: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [sys.executable, "-m", "app", *words],
            cwd=APP_ROOT,
            env=self.environ,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            encoding="utf-8",
        )

    def call_in_folder(self, *words: str) -> Ended:
        """Call Python where `folder` holds a tree of its own, of which a command is `-m app`."""
        return ended([sys.executable, *words], self.folder, self.environ, 120)

    def call(self, *words: str, **variables: str) -> Ended:
        self.environ |= variables
        if not hasattr(os, "fork"):
            return finish(self.start(*words))
        ended = forked_commands().call(words, self.environ, APP_ROOT)
        assert "Traceback" not in ended.err
        return ended


def finish(process: subprocess.Popen[str]) -> Ended:
    out, err = process.communicate(timeout=60)
    assert "Traceback" not in err
    return Ended(process.returncode, out, err)


def wait_for(said: str, process: subprocess.Popen[str]) -> None:
    """Read standard error until a line says so."""
    assert said in read_until(said, process)


def read_until(said: str, process: subprocess.Popen[str], times: int = 1) -> str:
    """Read standard error until so many lines said so; give what was read."""
    assert process.stderr is not None
    read = ""
    while read.count(said) < times and (line := process.stderr.readline()):
        read += line
    return read


@contextmanager
def queries_held(
    source: MicroshareEmulator, is_held: Callable[[int], bool]
) -> Iterator[tuple[threading.Event, threading.Event]]:
    """Let queries wait, by their numbers from 0 on; gives an event for one that came, and one to go on."""
    came, go_on = threading.Event(), threading.Event()
    numbers = itertools.count()

    def hold(request: Request) -> Response | None:
        if request.kind == "query" and is_held(next(numbers)):
            came.set()
            go_on.wait(30)
        return None

    source.intercept = hold
    yield came, go_on
    go_on.set()


def words(page: Path) -> str:
    """Give what a page of `report` says, without its tags."""
    body = page.read_text().split("<body>")[1].split("<script>")[0]
    return re.sub(r"\s+", " ", html.unescape(re.sub(r"<[^>]+>", " ", body)))
