"""A copied feed with a forgotten line, in a tree of its own: no command reads or changes anything."""

from __future__ import annotations

import shutil
from collections.abc import Iterator

import pytest

from app.base.program import APP_ROOT
from emulators.eventhubs import EventHubsEmulator
from emulators.microshare import MicroshareEmulator
from tests.environments.terminal import Terminal

ENTRY = """
  door_counter:
    schedule: 0 */5 * * * *
    view_id: ${MICROSHARE_PC_DASHBOARD_VIEW_ID:-}
    data_context: ["people"]
    locations: ["Mill & Lane"]
    look_back: 2h

event_hubs:"""
MODULE = """
from dataclasses import replace

from app.feeds.people_counter import FEED as PEOPLE

FEED = replace(PEOPLE, rec_type="io.example.doors")
"""


@pytest.fixture(scope="module")
def terminal(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Terminal]:
    folder = tmp_path_factory.mktemp("tree")
    shutil.copytree(APP_ROOT / "app", folder / "app", ignore=shutil.ignore_patterns("__pycache__"))
    (folder / "app" / "feeds" / "door_counter.py").write_text(MODULE)
    with MicroshareEmulator() as source, EventHubsEmulator(["a", "b"]) as hubs:
        terminal = Terminal(source, hubs, folder)
        config = folder / "config.yaml"
        config.write_text(config.read_text().replace("\nevent_hubs:", ENTRY, 1))
        yield terminal


@pytest.mark.parametrize(
    "words",
    [
        ("check",),
        ("check", "--offline"),
        ("locations",),
        ("run", "people-counter"),
        ("run", "hourly-snapshot", "--dry-run"),
        ("run", "all", "--json"),
        ("status",),
        ("backfill", "people-counter", "--from", "2026-03-01", "--to", "2026-03-02", "--yes"),
        ("audit",),
        ("report", "--output", "report.html"),
        ("tail", "--count", "1"),
        ("send-test",),
        ("state", "show", "door-counter"),
        ("state", "reset", "people-counter", "--yes"),
        ("quarantine", "list"),
    ],
    ids=" ".join,
)
def test_every_command_is_refused_naming_both_feeds(terminal: Terminal, words: tuple[str, ...]) -> None:
    ended = terminal.call_in_folder("-m", "app", *words)

    assert ended.status == 2, ended.err
    assert "feeds.people_counter and feeds.door_counter: both have the state name" in ended.err
    assert not (terminal.folder / "state").exists()
    assert terminal.source.requests == []
    assert terminal.a.received() == []


@pytest.mark.parametrize("words", [("--help",), ("run", "--help"), ("state", "show", "-h")], ids=" ".join)
def test_help_is_given_all_the_same(terminal: Terminal, words: tuple[str, ...]) -> None:
    ended = terminal.call_in_folder("-m", "app", *words)

    assert (ended.status, "Usage: " in ended.out) == (0, True)
