"""Both stores give the same behaviour, across runs, failures and killed processes."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest
from azure.data.tables import TableServiceClient

from app.base.errors import LockHeld
from app.wiring import wire
from emulators.eventhubs import EventHubsEmulator
from emulators.microshare import MicroshareEmulator
from tests.environments.azurite import connection_string
from tests.environments.installation import START, Clock, Installation, small_estate

DAY = timedelta(hours=24)


def table_environment(port: int) -> dict[str, str]:
    """Point a forwarder at Azurite's tables, all of which are removed first."""
    tables = TableServiceClient.from_connection_string(connection_string(port))
    for table in tables.list_tables():
        tables.delete_table(table.name)
    return {"STATE_STORE": "table", "AzureWebJobsStorage": connection_string(port)}


@pytest.fixture(params=["json", "table"])
def stored_installation(
    request: pytest.FixtureRequest, tmp_path: Path, clock: Clock
) -> Iterator[Installation]:
    environ = {}
    if request.param == "table":
        environ = table_environment(request.getfixturevalue("azurite_port"))
    with MicroshareEmulator(small_estate(), clock=clock) as source, EventHubsEmulator(["a", "b"]) as hubs:
        yield Installation(source, hubs, clock, tmp_path, environ)


def test_runs_with_restarts_a_failing_hub_and_a_failing_location_end_equal(
    stored_installation: Installation, clock: Clock
) -> None:
    installation = stored_installation
    oks = [installation.run().ok]
    installation.restart()
    clock.move(minutes=15)
    installation.b.refuse_attach()
    oks.append(installation.run().ok)
    installation.b.clear_faults()
    installation.source.faults.status(404, location="Quay+One")
    clock.move(minutes=15)
    oks.append(installation.run().ok)
    installation.source.faults.clear()
    installation.restart()
    clock.move(minutes=15)
    oks.append(installation.run().ok)

    assert oks == [True, False, False, True]
    for hub in (installation.a, installation.b):
        assert installation.breaches(hub, START - DAY) == []


def test_what_is_saved_is_the_same_in_both(stored_installation: Installation) -> None:
    installation = stored_installation
    installation.run()

    state = installation.state()

    published = len(installation.published(START - DAY))
    assert sorted(state.locations) == sorted({name for name, *_ in installation.shown(START - DAY)})
    assert state.least_position() == START
    assert state.total_events() == 2 * published
    assert {len(found.hubs) for found in state.locations.values()} == {2}
    ids = [
        sum(len(ids) for ids in found.checkpoints[installation.key("a")].ids.values())
        for found in state.locations.values()
    ]
    assert sum(ids) == published


def test_the_run_lock_holds_in_both(stored_installation: Installation) -> None:
    store = wire(stored_installation.settings()).store
    with store.lock("peoplecounterstate", owner="another run"), pytest.raises(LockHeld, match="another run"):
        stored_installation.run()

    assert stored_installation.run().ok
