"""A repair takes note of what it sent in the state as it is then, not as it was compared."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from app.audit.auditor import Asked, compared_feeds
from app.audit.repair import repair
from app.base.checkpoints import Checkpoint
from app.base.readings import Slice
from emulators.estate import Building, Estate
from emulators.eventhubs import EventHubsEmulator
from emulators.microshare import MicroshareEmulator
from tests.environments.installation import START, Clock, Installation
from tests.flows.test_stores import table_environment

MILL = "Mill & Lane"


@pytest.fixture(params=["json", "table"])
def installation(request: pytest.FixtureRequest, tmp_path: Path, clock: Clock) -> Iterator[Installation]:
    environ = {"START_FROM": "6h"}
    if request.param == "table":
        environ |= table_environment(request.getfixturevalue("azurite_port"))
    estate = Estate(buildings=[Building(MILL)])
    with MicroshareEmulator(estate, clock=clock) as source, EventHubsEmulator(["a", "b"]) as hubs:
        yield Installation(source, hubs, clock, tmp_path, environ)


def checkpoints(installation: Installation) -> dict[str, Checkpoint]:
    return dict(installation.state().locations[MILL].checkpoints)


def positions(installation: Installation) -> dict[str, datetime]:
    return {hub: found.delivered_until for hub, found in checkpoints(installation).items()}


def test_a_run_between_the_comparison_and_its_repair_is_not_undone(
    installation: Installation, clock: Clock
) -> None:
    # Published after the look-back, so that only a repair brings it, and its id is news to the state.
    late = installation.estate.add_people(
        MILL, None, START - timedelta(hours=3), visible_from=START + timedelta(minutes=20)
    )
    installation.run()
    clock.move(minutes=30)
    installation.run()
    settings = installation.settings()
    asked = Asked("people_counter", Slice(START - timedelta(hours=6), clock.now))
    hubs = [hub for hub in settings.hubs if hub.entity == "a"]
    feeds = compared_feeds([asked], hubs, installation.wiring())
    feed = next(feeds)
    clock.move(minutes=60)
    installation.run()
    after_run = positions(installation)

    outcome = repair(feed, installation.wiring(), consumer_group="$Default")

    assert (outcome.errors, outcome.sent.total()) == ([], 1)
    assert positions(installation) == after_run
    ids = {
        reading
        for found in checkpoints(installation)[installation.key("a")].ids.values()
        for reading in found
    }
    assert {str(event.message_id) for event in installation.a.received()} <= ids
    clock.move(minutes=15)
    installation.run()
    begin = START - timedelta(hours=6)
    repaired = [reading for reading in installation.published(begin) if reading.entry == late]
    assert len(repaired) == 1
    assert installation.breaches(installation.a, begin, late=repaired) == []
    assert installation.breaches(installation.b, begin, withheld=repaired) == []
