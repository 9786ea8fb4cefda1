"""Texts that JSON can hold and UTF-8 cannot pass through every command."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from emulators.estate import Building, Estate
from emulators.eventhubs import EventHubsEmulator
from emulators.microshare import MicroshareEmulator
from tests.environments.terminal import Terminal

# Half of a surrogate pair, as JSON's escape gives it.
HALF = b"\\ud800"


@pytest.fixture
def terminal(tmp_path: Path) -> Iterator[Terminal]:
    estate = Estate(buildings=[Building("Mill & Lane")])
    with MicroshareEmulator(estate) as source, EventHubsEmulator(["a", "b"]) as hubs:
        # In the tags of counts and of rooms, and in a key.
        source.faults.rewrite_body(
            lambda body: body.replace(b"Entrance", HALF).replace(b"Room-01", HALF).replace(b"raw_count", HALF)
        )
        yield Terminal(source, hubs, tmp_path)


def test_half_a_surrogate_pair_in_what_the_source_shows_stops_no_command(terminal: Terminal) -> None:
    first = terminal.call("run", "all", "--json", START_FROM="6h")
    assert first.status == 0
    assert all(sum(hub["readings"] for hub in found["hubs"].values()) for found in first.objects)
    lost = terminal.a.received()[-30]
    terminal.a.discard(lambda event: event == lost)
    page = terminal.folder / "page.html"

    for words, status in (
        (("check", "--json"), 0),
        (("status",), 0),
        (("status", "--json"), 0),
        (("quarantine", "list"), 0),
        (("state", "export", "people-counter"), 0),
        (("audit", "--from", "5h", "--json"), 1),
        (("audit", "--from", "5h", "--repair", "--yes"), 0),
        (("report", "--from", "5h", "--output", str(page)), 0),
        (("tail", "--count", "3", "--seconds", "5"), 0),
        (("run", "all"), 0),
    ):
        ended = terminal.call(*words)
        assert (ended.status, "unexpected" in ended.err) == (status, False), (words, ended)
