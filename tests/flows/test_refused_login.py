"""A password that the API refuses, in commands as people start them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from emulators.estate import Building, Estate
from emulators.eventhubs import EventHubsEmulator
from emulators.microshare import MicroshareEmulator
from tests.environments.terminal import Terminal


@pytest.fixture
def terminal(tmp_path: Path) -> Iterator[Terminal]:
    estate = Estate(buildings=[Building("Mill & Lane")])
    with MicroshareEmulator(estate) as source, EventHubsEmulator(["a", "b"]) as hubs:
        yield Terminal(source, hubs, tmp_path)


def test_a_refused_password_is_not_tried_in_every_run_and_a_check_that_gets_in_ends_that(
    terminal: Terminal,
) -> None:
    right = terminal.source.password
    terminal.source.password = "changed-at-the-source"

    def tries(*words: str) -> int:
        before = len(terminal.source.requests)
        assert terminal.call(*words).status == 1
        return sum(request.path == "/login" for request in terminal.source.requests[before:])

    # Two feeds, two runs of each: the fourth login is not tried any more.
    assert [tries("run", "all"), tries("run", "all")] == [2, 1]
    assert tries("run", "hourly-snapshot") == 0
    assert tries("check") == 1
    assert "4 times" not in (said := terminal.call("run", "people-counter").err)
    assert "3 times in a row" in said
    assert "`python -m app check`, is tried at once" in said
    told = terminal.call("status")
    assert told.status == 1
    assert "the API refuses the login" in told.out

    terminal.source.password = right
    assert tries("run", "people-counter") == 0
    assert terminal.call("check").status == 0
    assert terminal.call("run", "all").status == 0
