"""How much a run without trouble logs: docs/costs.md reckons with it."""

from __future__ import annotations

from pathlib import Path

from benchmarks.costs_page import LOGGED_BYTES, LOGGED_BYTES_A_HUB
from emulators.eventhubs import EventHubsEmulator
from emulators.microshare import MicroshareEmulator
from tests.environments.installation import small_estate
from tests.environments.terminal import Terminal


def test_a_run_logs_what_costs_are_reckoned_with(tmp_path: Path) -> None:
    with MicroshareEmulator(small_estate()) as source, EventHubsEmulator(["a", "b"]) as hubs:
        terminal = Terminal(source, hubs, tmp_path)
        assert terminal.call("run", "people-counter").status == 0

        logged = len(terminal.call("run", "people-counter", "--json").err.encode())

    reckoned = LOGGED_BYTES + 2 * LOGGED_BYTES_A_HUB
    assert 0.7 * reckoned < logged <= reckoned
