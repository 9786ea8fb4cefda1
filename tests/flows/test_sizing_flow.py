"""`check --sizing` at a command line: the figures of an installation that forwards."""

from __future__ import annotations

import re

import pytest

from emulators.estate import DEFAULT
from tests.environments.terminal import Terminal


def test_it_says_what_the_installation_needs_and_asks_nobody(terminal: Terminal) -> None:
    for _ in range(2):
        assert terminal.call("run", "all").status == 0
    requests, connections = len(terminal.source.requests), terminal.a.connections

    ended = terminal.call("check", "--sizing", "--json")

    assert (len(terminal.source.requests), terminal.a.connections) == (requests, connections)
    people, snapshots, both = ended.objects
    assert (people["sizing"], snapshots["sizing"], both["sizing"]) == (
        "people_counter",
        "hourly_snapshot",
        None,
    )
    given = people["given"]
    assert given["locations"] == {"value": len(DEFAULT), "origin": "state"}
    assert given["hubs"] == {"value": 2, "origin": "settings"}
    assert given["calls_a_location"]["origin"] == "measured in the last 2 runs"
    # So few questions do not measure how long answers take.
    assert given["answer_s"] == {"value": 0.5, "origin": "assumed"}
    assert people["needs"]["transactions_a_day"] == 0
    assert people["advice"] == both["advice"] == []
    assert people["enough_for"] == 500
    assert both["needs"]["calls_a_day"] == sum(found["needs"]["calls_a_day"] for found in (people, snapshots))
    assert both["prices_of"].startswith("assumed: ")
    assert ended.status == 0


def test_it_fits_a_terminal_and_says_where_each_figure_is_from(terminal: Terminal) -> None:
    assert terminal.call("run", "people-counter").status == 0

    ended = terminal.call("check", "--sizing", COLUMNS="80", TTY_COMPATIBLE="1")

    lines = re.sub(r"\x1b\[[0-9;]*m", "", ended.out).splitlines()
    assert max(map(len, lines)) <= 80
    assert [line.split() for line in lines if line.startswith("locations")] == [
        ["locations", str(len(DEFAULT)), "state"],
        ["locations", "0", "state"],
    ]
    assert "prices are assumed: " in " ".join(ended.out.split())


@pytest.mark.parametrize("option", ["--offline", "--all-locations"])
def test_what_is_for_checks_is_refused_with_it(terminal: Terminal, option: str) -> None:
    ended = terminal.call("check", "--sizing", option)

    assert ended.status == 2
    assert "leave out --offline and --all-locations" in " ".join(ended.err.split())
