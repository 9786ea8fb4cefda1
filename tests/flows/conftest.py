from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from emulators.estate import Estate
from emulators.eventhubs import EventHubsEmulator
from emulators.microshare import MicroshareEmulator
from tests.environments.installation import START, Clock, Installation, small_estate
from tests.environments.terminal import Terminal, queries_held


@pytest.fixture
def clock() -> Clock:
    return Clock(START)


@pytest.fixture
def estate() -> Estate:
    return small_estate()


@pytest.fixture
def installation(tmp_path: Path, clock: Clock, estate: Estate) -> Iterator[Installation]:
    """An installation with a small estate and two hubs, nothing forwarded yet."""
    with MicroshareEmulator(estate, clock=clock) as source, EventHubsEmulator(["a", "b"]) as hubs:
        yield Installation(source, hubs, clock, tmp_path)


@pytest.fixture
def terminal(tmp_path: Path) -> Iterator[Terminal]:
    """Somebody at a command line, with a small estate and two hubs, nothing forwarded yet."""
    with MicroshareEmulator(small_estate()) as source, EventHubsEmulator(["a", "b"]) as hubs:
        yield Terminal(source, hubs, tmp_path)


@pytest.fixture
def held_queries(terminal: Terminal) -> Iterator[tuple[threading.Event, threading.Event]]:
    """Queries that wait: an event that says that one came, and one that lets them go on."""
    with queries_held(terminal.source, lambda _: True) as events:
        yield events
