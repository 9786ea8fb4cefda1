"""Both stores give the same behaviour, across runs, failures and killed processes."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest
from azure.data.tables import TableServiceClient

from app.base.errors import LockHeld
from app.wiring import wire
from emulators.estate import Estate
from emulators.eventhubs import EventHubsEmulator
from emulators.microshare import MicroshareEmulator
from tests.azurite import connection_string
from tests.site import START, Clock, Site, bodies, is_ordered, same

DAY = timedelta(hours=24)


def table_environment(port: int) -> dict[str, str]:
    """Point a forwarder at Azurite's tables, all of which are removed first."""
    tables = TableServiceClient.from_connection_string(connection_string(port))
    for table in tables.list_tables():
        tables.delete_table(table.name)
    return {"STATE_STORE": "table", "AzureWebJobsStorage": connection_string(port)}


@pytest.fixture(params=["json", "table"])
def stored_site(request: pytest.FixtureRequest, tmp_path: Path, clock: Clock) -> Iterator[Site]:
    environ = {}
    if request.param == "table":
        environ = table_environment(request.getfixturevalue("azurite_port"))
    with MicroshareEmulator(Estate(), clock=clock) as source, EventHubsEmulator(["a", "b"]) as hubs:
        yield Site(source, hubs, clock, tmp_path, environ)


def test_runs_with_restarts_a_failing_hub_and_a_failing_location_end_equal(
    stored_site: Site, clock: Clock
) -> None:
    site = stored_site
    oks = [site.run().ok]
    site.restart()
    clock.move(minutes=15)
    site.b.refuse_attach()
    oks.append(site.run().ok)
    site.b.clear_faults()
    site.source.faults.status(404, location="Quay+One")
    clock.move(minutes=15)
    oks.append(site.run().ok)
    site.source.faults.clear()
    site.restart()
    clock.move(minutes=15)
    oks.append(site.run().ok)

    assert oks == [True, False, False, True]
    for hub in (site.a, site.b):
        assert same(bodies(hub.received()), site.published(START - DAY))
        assert is_ordered(hub)


def test_what_is_saved_is_the_same_in_both(stored_site: Site) -> None:
    site = stored_site
    site.run()

    state = site.state()

    published = len(site.published(START - DAY))
    assert sorted(state.locations) == sorted({name for name, *_ in site.shown(START - DAY)})
    assert state.least_position() == START
    assert state.total_events() == 2 * published
    assert {len(found.hubs) for found in state.locations.values()} == {2}
    ids = [
        sum(len(ids) for ids in found.checkpoints[site.key("a")].ids.values())
        for found in state.locations.values()
    ]
    assert sum(ids) == published


def test_the_run_lock_holds_in_both(stored_site: Site) -> None:
    store = wire(stored_site.settings()).store
    with store.lock("peoplecounterstate", owner="another run"), pytest.raises(LockHeld, match="another run"):
        stored_site.run()

    assert stored_site.run().ok
