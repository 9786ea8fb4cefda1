"""A hub that others send to as well: what they put there is foreign, and no command stumbles over it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import timedelta
from pathlib import Path

import pytest

from app.base.instants import floor_to, format_time, utc_now
from app.eventhub.reader import HubReader
from app.eventhub.received import Received
from app.feeds.people_counter import FEED
from app.settings.schema import HubSettings
from emulators.estate import Building, Estate
from emulators.eventhubs import EventHubsEmulator, HubSpec
from emulators.foreign_events import foreign_events, list_of, message, nulls, value
from emulators.microshare import MicroshareEmulator
from tests.environments.terminal import Terminal, words

MILL = "Mill & Lane"
HOUR = timedelta(hours=1)
END = floor_to(utc_now() - HOUR, HOUR)
WINDOW = ("--from", format_time(END - 4 * HOUR), "--to", format_time(END))
NOT_DECODED = {
    "value with a map whose key is a list",
    "value of a character, which the SDK cannot decode",
    "value of a decimal, which the SDK cannot decode",
    "value 40,000 levels deep",
    "properties that are not a map",
    "annotations that the SDK cannot decode",
    "annotations 2,000 levels deep",
}
# How deep the SDK can go depends on where it stands, and on the version of Python.
ON_THE_BRINK = {"value 900 levels deep", "properties that are lists"}
READ_AS = {"value null": b"null", "value 5": b"5", "value true": b"true", "sequence": b'[[5,"five",null]]'}


@pytest.fixture
def terminal(tmp_path: Path) -> Iterator[Terminal]:
    """A terminal whose installation is forwarded up to now, and whose hubs have events of others."""
    with (
        MicroshareEmulator(Estate(buildings=[Building(MILL)])) as source,
        EventHubsEmulator(["a", "b"]) as hubs,
    ):
        terminal = Terminal(source, hubs, tmp_path)
        assert terminal.call("run", "all", START_FROM="8h").status == 0
        claims = {"recType": FEED.rec_type, "location": MILL}
        for encoded in (
            *(
                encoded
                for claim in (claims, {}, {"source": "another"})
                for _, encoded in foreign_events(claim)
            ),
            *in_our_name(claims),
        ):
            terminal.a.put(encoded, partition_key=MILL)
        yield terminal


def in_our_name(claims: Mapping[str, str]) -> Iterator[bytes]:
    """Give what says to be this forwarder's, in forms that it never writes."""
    for what, encoded in foreign_events({**claims, "source": "microshare-forwarder"}):
        if what.startswith(("value", "sequence", "two sequences", "no body")):
            yield encoded


def test_every_kind_comes_in_its_turn_with_what_the_service_says_of_it() -> None:
    kinds = dict(foreign_events({"source": "another"}))
    with EventHubsEmulator([HubSpec("hub", partitions=1)]) as emulator:
        for encoded in kinds.values():
            emulator.hub("hub").put(encoded, partition_key="key")
        came: list[Received] = []
        string = emulator.connection_string("hub")
        reader = HubReader(HubSettings("h/hub", "hub", "127.0.0.1", "hub", string), "$Default")

        reader.open(latest=False)
        reader.read_held(came.append)

    by_kind = dict(zip(kinds, came, strict=True))
    assert [event.sequence for event in came] == list(range(len(kinds)))
    assert {event.partition_key for event in came} == {"key"}
    assert all(event.enqueued is not None and event.offset is not None for event in came)
    assert {what: by_kind[what].body for what in READ_AS} == READ_AS
    undecoded = {what for what, event in by_kind.items() if event.body_type == "undecoded"}
    assert undecoded - ON_THE_BRINK == NOT_DECODED


def test_an_event_of_more_members_than_bytes_takes_no_memory_for_them() -> None:
    with EventHubsEmulator([HubSpec("hub", partitions=1)]) as emulator:
        for members in (nulls(20_000_000), list_of(nulls(20), nulls(100)), nulls(20)):
            emulator.hub("hub").put(message(value(members)))
        came: list[Received] = []
        string = emulator.connection_string("hub")
        reader = HubReader(HubSettings("h/hub", "hub", "127.0.0.1", "hub", string), "$Default")

        reader.open(latest=False)
        reader.read_held(came.append)

    assert [event.body_type for event in came] == ["undecoded", "undecoded", "value"]
    assert all(event.enqueued is not None for event in came)


def test_an_audit_counts_them_and_finds_nothing(terminal: Terminal, tmp_path: Path) -> None:
    count = 3 * len(list(foreign_events({}))) + len(list(in_our_name({})))

    audit = terminal.call("audit", "--feed", "people-counter", *WINDOW, "--json")
    repair = terminal.call("audit", "--feed", "people-counter", *WINDOW, "--repair", "--yes")
    report = terminal.call("report", *WINDOW, "--output", str(tmp_path / "page.html"))

    found = audit.objects[0]
    assert (audit.status, found["ok"], found["foreign"], found["unknown"]) == (0, True, count, [])
    assert (found["published"], found["missing"], found["warnings"]) == (found["delivered"], [], [])
    assert repair.status == 0
    assert report.status == 0
    assert "no connection" not in words(tmp_path / "page.html")


def test_they_are_shown_one_by_one(terminal: Terminal) -> None:
    held = len(terminal.a.received())

    shown = terminal.call("tail", "--json", "--count", str(held))
    lines = terminal.call("tail", "--count", str(held))

    assert (shown.status, lines.status) == (0, 0)
    assert len(shown.objects) == held
    assert {None, 5, True} <= {
        event["body"]
        for event in shown.objects
        if event["body_type"] == "value" and not isinstance(event["body"], list | dict)
    }
    assert len(lines.out.splitlines()) == held
    assert f" {MILL}, " in lines.out
    assert "an event of another sender, 1 byte (" in lines.out


def test_events_of_others_are_not_validated(terminal: Terminal) -> None:
    held = len(terminal.a.received())

    shown = terminal.call("tail", "--validate", "--json", "--count", str(held))

    assert shown.status == 0
    ours = [event["fits"] for event in shown.objects if event["fits"] is not None]
    assert ours == [True] * (held - 3 * len(list(foreign_events({}))) - len(list(in_our_name({}))))


def test_what_is_missing_is_found_beside_them_and_sent(terminal: Terminal) -> None:
    ours = [
        event
        for event in terminal.a.received()
        if event.properties.get("source") == "microshare-forwarder" and event.message_id is not None
    ]
    gone = [event for event in ours if event.properties["recType"] == FEED.rec_type][-30:-28]
    terminal.a.discard(lambda event: event in gone)

    ended = terminal.call(
        "backfill", "people-counter", "--from", "7h", "--to", "5m", "--only-missing", "--yes"
    )

    again = [event.message_id for event in terminal.a.received()[-2:]]
    assert ended.status == 0
    assert sorted(map(str, again)) == sorted(str(event.message_id) for event in gone)
