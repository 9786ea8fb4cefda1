from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from emulators.estate import Estate
from emulators.eventhubs import EventHubsEmulator
from emulators.microshare import MicroshareEmulator
from tests.site import START, Clock, Site


@pytest.fixture
def clock() -> Clock:
    return Clock(START)


@pytest.fixture
def estate() -> Estate:
    return Estate()


@pytest.fixture
def site(tmp_path: Path, clock: Clock, estate: Estate) -> Iterator[Site]:
    """A site with the default estate and two hubs, nothing forwarded yet."""
    with MicroshareEmulator(estate, clock=clock) as source, EventHubsEmulator(["a", "b"]) as hubs:
        yield Site(source, hubs, clock, tmp_path)
