"""What a steady run asks of others, as they count it: the API, the hubs, and the table service."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from emulators.estate import DEFAULT
from emulators.eventhubs import EventHubsEmulator
from emulators.microshare import MicroshareEmulator
from tests.environments.azurite import Relay, connection_string
from tests.environments.installation import Clock, Installation, small_estate
from tests.environments.terminal import Terminal
from tests.flows.test_stores import table_environment

NAMES = sorted(building.name for building in DEFAULT)


@pytest.fixture
def relay(azurite_port: int) -> Iterator[Relay]:
    table_environment(azurite_port)
    relay = Relay(azurite_port)
    yield relay
    relay.close()


def test_a_steady_run_asks_for_each_location_once_over_one_connection_a_hub(
    installation: Installation, clock: Clock
) -> None:
    installation.run()
    clock.move(minutes=15)
    requests = len(installation.source.requests)
    a, b = installation.a.connections, installation.b.connections

    assert installation.run().ok

    asked = installation.source.requests[requests:]
    assert sorted(request.location or "" for request in asked if request.kind == "query") == NAMES
    assert (installation.a.connections - a, installation.b.connections - b) == (1, 1)
    # And one small question for the API's clock: no login, no discovery.
    assert Counter(request.kind for request in asked) == {"query": len(NAMES), "devices": 1}


def test_a_process_logs_in_once_for_all_its_runs(installation: Installation, clock: Clock) -> None:
    for _ in range(3):
        assert installation.run().ok
        assert installation.run("hourly_snapshot").ok
        clock.move(minutes=15)

    assert installation.source.logins == 1


def test_a_run_of_a_process_of_its_own_logs_in_once(terminal: Terminal) -> None:
    for logins in (1, 2):
        assert terminal.call("run", "all").status == 0
        assert terminal.source.logins == logins


def test_a_steady_run_writes_each_location_once_in_one_transaction(
    tmp_path: Path, clock: Clock, relay: Relay
) -> None:
    environ = {"STATE_STORE": "table", "AzureWebJobsStorage": connection_string(relay.port)}
    with MicroshareEmulator(small_estate(), clock=clock) as source, EventHubsEmulator(["a", "b"]) as hubs:
        installation = Installation(source, hubs, clock, tmp_path, environ)
        assert installation.run().ok
        clock.move(minutes=15)
        relay.location_writes.clear()
        before = len(relay.requests)

        assert installation.run().ok

    assert set(relay.location_writes.values()) == {1}
    assert relay.location_writes.total() == len(NAMES)
    assert sum("$batch" in path for _, path in relay.requests[before:]) == 1
