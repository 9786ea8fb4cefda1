"""The command `audit` from outside: its JSON, its exit statuses, and what people read."""

from __future__ import annotations

import json
import re
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


def test_people_see_counts_that_add_up_what_is_wrong_and_what_to_do(terminal: Terminal) -> None:
    lost = recent(terminal)[10]
    terminal.a.discard(lambda event: event == lost)

    found = terminal.call("audit", "--feed", "people-counter", "--hub", "primary", "--from", "5h")
    well = terminal.call("audit", "--feed", "people-counter", "--hub", "second", "--from", "5h")

    assert (found.status, well.status) == (1, 0)
    heads, counts = (found.out.split("\n")[line].split("  ") for line in (2, 3))
    numbers = [int(part.replace(",", "")) for part in counts[1:] if part]
    assert [head for head in heads if head][1:4] == ["published", "delivered", "missing"]
    assert numbers[0] == sum(numbers[1:])
    assert numbers[2] == 1
    time = entry_time(lost)
    assert f"{lost.properties['location']}, {time[:10]} {time[11:16]}, {lost.message_id}\n" in found.out
    assert "  the hub acknowledged it and does not hold it; --repair sends it\n" in found.out
    assert found.out.endswith("\n\nsomething is wrong: 1 reading missing at primary\n")
    assert well.out.split("\n")[-2].startswith("nothing is wrong: ")


def entry_time(event: StoredEvent) -> str:
    return str(json.loads(event.body)["time"])


def test_of_a_window_without_readings_nothing_is_said_to_be_well(terminal: Terminal) -> None:
    for name in (MILL, "Quay+One"):
        terminal.source.estate.hide(name, utc_now() - timedelta(days=9), utc_now() - timedelta(days=6))
    words = ("audit", "--feed", "people-counter", "--from", "8d", "--to", "7d", "--repair", "--yes")

    ended = terminal.call(*words)

    assert ended.status == 0
    assert ended.out.endswith("\n\nnothing to compare: no readings in this window\n")
    assert "nothing is wrong" not in ended.out
    assert ended.err == "people-counter: nothing to compare: no readings in this window\n"


def test_a_hub_that_cannot_be_read_is_no_part_of_the_verdict(terminal: Terminal) -> None:
    terminal.b.refuse_attach(links=["receive"])

    ended = terminal.call("audit", "--feed", "people-counter", "--from", "5h")

    assert ended.status == 1
    assert (
        "hub second could not be read: refuses the credentials; use one with the Listen right\n" in ended.out
    )
    last = ended.out.split("\n")[-2]
    assert last.startswith("nothing is wrong in what could be compared: ")
    assert last.endswith("; not compared: hub second")
    assert "both hubs" not in ended.out


def test_every_reading_is_named_with_all_and_counts_are_by_location_too(terminal: Terminal) -> None:
    lost = [event.message_id for event in recent(terminal)[10:20]]
    terminal.a.discard(lambda event: event.message_id in lost)

    every = terminal.call("audit", "--feed", "people-counter", "--hub", "primary", "--from", "5h", "--all")

    assert all(str(name) in every.out for name in lost)
    assert re.search(rf"^{MILL} +primary ", every.out, re.MULTILINE)
    assert every.out.endswith("\n\nsomething is wrong: 10 readings missing at primary\n")


def test_a_repair_ends_with_0_where_nothing_is_wrong_any_more_and_asks_first(terminal: Terminal) -> None:
    lost = recent(terminal)[10]
    terminal.a.discard(lambda event: event == lost)
    words = ("audit", "--feed", "people-counter", "--hub", "primary", "--from", "5h", "--repair")

    nobody = terminal.call(*words)
    repaired = terminal.call(*words, "--yes", "--json")
    again = terminal.call(*words, "--yes")

    assert (nobody.status, repaired.status, again.status) == (2, 0, 0)
    assert "people-counter: 1 reading for primary: 1 lost" in nobody.err
    assert "there is no terminal to ask at; add --yes" in nobody.err
    (found,) = repaired.objects
    assert (found["ok"], found["wrong"], found["repaired"]) == (True, 1, 1)
    assert "people-counter: 1 reading sent to primary" in repaired.err
    assert "nothing is missing that a repair can send" in again.err
    assert [event.message_id for event in terminal.a.received()].count(lost.message_id) == 1


def test_after_a_repair_causes_are_said_again_with_what_was_sent_and_what_is_left(terminal: Terminal) -> None:
    lost, doubled = recent(terminal)[10:12]
    terminal.a.repeat(lambda event: event == doubled)
    for hub in (terminal.a, terminal.b):
        hub.discard(lambda event: event.message_id == lost.message_id)

    ended = terminal.call("audit", "--feed", "people-counter", "--from", "5h", "--repair", "--yes")

    before, after = ended.out.split("people-counter, after the repair\n")
    assert ended.status == 1
    assert re.search(r"^lost +1 .* both hubs$", before, re.MULTILINE)
    assert re.search(r"^sent now +1 .* both hubs$", after, re.MULTILINE)
    assert re.search(r"^more than once +1 .* primary$", after, re.MULTILINE)
    assert not re.search(r"^lost", after, re.MULTILINE)
    assert after.endswith("\n\nsomething is wrong: 1 reading more than once at primary; 1 sent now\n")


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
        (["--from", "1h", "--to", "2h"], "is not before"),
        (["--from", "2999-01-01", "--to", "2999-02-01"], "is not before"),
        (["--from", "yesterday"], "--from: 'yesterday' is not a time; write it like"),
        (["--feed", "doors"], "'doors' is not a feed; there are people-counter, hourly-snapshot"),
        (["--hub", "third"], "'third' is not one of the hubs; there are:\n  primary"),
        (["--location", "Nowhere"], f"'Nowhere' is not one of the locations; there are:\n  {MILL}\n"),
    ],
    ids=["turned round", "future", "no time", "feed", "hub", "location"],
)
def test_what_cannot_be_compared_is_refused_with_what_there_is(
    terminal: Terminal, words: list[str], said: str
) -> None:
    ended = terminal.call("audit", *words)

    assert (ended.status, ended.out) == (2, "")
    assert said in ended.err
