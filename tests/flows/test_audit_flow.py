"""The command `audit` from outside: its JSON, its exit statuses, and what people read."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from app.base.instants import parse_time, utc_now
from app.state.json_file import JsonFileStore
from emulators.estate import Building, Estate
from emulators.eventhubs import EventHubsEmulator, StoredEvent
from emulators.microshare import MicroshareEmulator
from tests.environments.terminal import Terminal

MILL = "Mill & Lane"
FIELDS = [
    "feed",
    "hub",
    "from",
    "to",
    "ok",
    "published",
    "delivered",
    "missing",
    "repeated",
    "changed",
    "unknown",
    "hours",
    "locations",
    "causes",
    "wrong",
    "repaired",
    "superseded",
    "foreign",
    "readable_from",
    "delays",
    "max_delay_s",
    "failures",
    "warnings",
    "error",
    "compared",
    "to_come",
    "stuck",
    "without_readings",
]


@pytest.fixture
def terminal(tmp_path: Path) -> Iterator[Terminal]:
    """A terminal whose installation is forwarded up to now."""
    estate = Estate(buildings=[Building(MILL), Building("Quay+One", cluster=1)])
    with MicroshareEmulator(estate) as source, EventHubsEmulator(["a", "b"]) as hubs:
        terminal = Terminal(source, hubs, tmp_path)
        assert terminal.call("run", "all", START_FROM="6h").status == 0
        yield terminal


def recent(terminal: Terminal) -> list[StoredEvent]:
    """Give the people counts at the first hub that lie in the windows asked for here."""
    since = utc_now() - timedelta(hours=4)
    return [
        event
        for event in terminal.a.received()
        if "hour" not in event.properties and parse_time(json.loads(event.body)["time"]) > since
    ]


def test_json_is_one_object_a_feed_and_hub_with_every_reading_named_under_one_heading(
    terminal: Terminal,
) -> None:
    lost, again, altered = recent(terminal)[10:13]
    terminal.a.repeat(lambda event: event == again)
    terminal.a.rewrite(lambda event: event == altered, b'"traffic":', b'"tr4ffic":')
    terminal.a.discard(lambda event: event == lost)

    ended = terminal.call("audit", "--from", "5h", "--json")

    assert ended.status == 1
    assert [(found["feed"], found["hub"], found["ok"]) for found in ended.objects] == [
        ("people_counter", terminal.key("a"), False),
        ("people_counter", terminal.key("b"), True),
        ("hourly_snapshot", terminal.key("a"), True),
        ("hourly_snapshot", terminal.key("b"), True),
    ]
    assert all(list(found) == FIELDS for found in ended.objects)
    first = ended.objects[0]
    due = [missing for missing in first["missing"] if missing["due"]]
    assert [list(first[heading][0]) for heading in ("repeated", "changed")] == [
        ["location", "time", "id", "times"],
        ["location", "time", "id", "held", "times"],
    ]
    assert [(missing["id"], missing["cause"], missing["repaired"]) for missing in due] == [
        (lost.message_id, "lost", False)
    ]
    assert [(found["id"], found["times"]) for found in first["repeated"]] == [(again.message_id, 2)]
    assert [found["id"] for found in first["changed"]] == [altered.message_id]
    assert first["unknown"] == []
    assert first["published"] == first["delivered"] + len(first["missing"]) + 1
    assert sum(hour["published"] for hour in first["hours"]) == first["published"]
    assert sum(delay["readings"] for delay in first["delays"]) == first["delivered"]


def test_people_see_counts_by_location_what_is_wrong_and_what_to_do(terminal: Terminal) -> None:
    lost = recent(terminal)[10]
    terminal.a.discard(lambda event: event == lost)

    found = terminal.call("audit", "--feed", "people-counter", "--hub", "primary", "--from", "5h")
    well = terminal.call("audit", "--feed", "people-counter", "--hub", "second", "--from", "5h")

    assert (found.status, well.status) == (1, 0)
    assert f"{lost.message_id}  lost" in found.out
    assert "1 reading, acknowledged by the hub, and not there; --repair sends that" in found.out
    assert "1 reading found wanting" in found.out
    assert "nothing is wrong: " in well.out


def test_a_repair_ends_with_0_where_nothing_is_wrong_any_more_and_asks_first(terminal: Terminal) -> None:
    lost = recent(terminal)[10]
    terminal.a.discard(lambda event: event == lost)
    words = ("audit", "--feed", "people-counter", "--hub", "primary", "--from", "5h", "--repair")

    nobody = terminal.call(*words)
    repaired = terminal.call(*words, "--yes", "--json")
    again = terminal.call(*words, "--yes")

    assert (nobody.status, repaired.status, again.status) == (2, 0, 0)
    assert "there is no terminal to ask at; add --yes" in nobody.err
    (found,) = repaired.objects
    assert (found["ok"], found["wrong"], found["repaired"]) == (True, 1, 1)
    assert "people-counter: 1 reading sent to primary" in repaired.err
    assert "nothing is missing that sending mends" in again.err
    assert [event.message_id for event in terminal.a.received()].count(lost.message_id) == 1


def test_a_repair_beside_a_run_ends_with_3_and_sends_nothing(terminal: Terminal) -> None:
    lost = recent(terminal)[10]
    terminal.a.discard(lambda event: event == lost)
    count = len(terminal.a.received())

    with JsonFileStore(terminal.folder / "state").lock("peoplecounterstate", "a run"):
        ended = terminal.call("audit", "--feed", "people-counter", "--from", "5h", "--repair", "--yes")

    assert (ended.status, len(terminal.a.received())) == (3, count)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--from", "1h", "--to", "2h"], "does not lie before"),
        (["--from", "2999-01-01", "--to", "2999-02-01"], "does not lie before"),
        (["--from", "yesterday"], "--from: 'yesterday' is no time; write it like"),
        (["--feed", "doors"], "'doors' is no feed; there are people-counter, hourly-snapshot"),
        (["--hub", "third"], "'third' is none of the hubs; there are:\n  primary"),
        (["--location", "Nowhere"], f"'Nowhere' is none of the locations; there are:\n  {MILL}\n"),
    ],
    ids=["turned round", "future", "no time", "feed", "hub", "location"],
)
def test_what_cannot_be_compared_is_refused_with_what_there_is(
    terminal: Terminal, words: list[str], said: str
) -> None:
    ended = terminal.call("audit", *words)

    assert (ended.status, ended.out) == (2, "")
    assert said in ended.err
