"""A past window sent again from the command line: exactly it, beside live runs, and where it stopped."""

from __future__ import annotations

import json
import os
import pty
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from datetime import datetime, timedelta
from typing import Any

import pytest
from azure.data.tables import TableServiceClient

from app.base.instants import floor_to, format_time, parse_time, utc_now
from app.base.program import APP_ROOT
from app.state.json_file import JsonFileStore
from emulators.eventhubs import StoredEvent
from tests.environments.azurite import connection_string
from tests.environments.terminal import Terminal, finish, queries_held, wait_for

HOUR = timedelta(hours=1)
FEED = "people-counter"
LOCATIONS = ["50% Annex", "Example Beacon House", "Mill & Lane", "Quay+One", "Tour Été"]
# A window that lies whole in the past, so that what the source shows of it stays.
START = floor_to(utc_now() - 20 * HOUR, HOUR)
END = START + 12 * HOUR
WINDOW = ("--from", format_time(START), "--to", format_time(END))


def time_of(event: StoredEvent) -> datetime:
    return parse_time(json.loads(event.body)["time"])


def ids(events: Sequence[StoredEvent], keep: Callable[[StoredEvent], bool] = lambda _: True) -> list[str]:
    return sorted(str(event.message_id) for event in events if keep(event))


def in_window(event: StoredEvent) -> bool:
    return START <= time_of(event) < END


def published(terminal: Terminal, start: datetime = START, end: datetime = END) -> list[tuple[str, str]]:
    """Give what the source shows of the window: location and time."""
    shown = terminal.source.estate.expected_people(start, end, utc_now())
    return sorted((name, str(entry["time"])) for name, _, _, entry in shown)


def arrived(events: Sequence[StoredEvent]) -> list[tuple[str, str]]:
    return sorted((str(event.properties["location"]), json.loads(event.body)["time"]) for event in events)


def live_state(terminal: Terminal, name: str = "peoplecounterstate") -> str:
    return (terminal.folder / "state" / f"{name}.json").read_text(encoding="utf-8")


def kept_states(terminal: Terminal) -> list[str]:
    return sorted(path.name for path in (terminal.folder / "state").iterdir() if "backfill" in path.name)


def test_a_window_is_sent_again_exactly_with_the_same_ids_and_live_positions_stay(terminal: Terminal) -> None:
    terminal.call("run", FEED)
    first = len(terminal.a.received())
    live = live_state(terminal)

    ended = terminal.call("backfill", FEED, *WINDOW, "--yes", "--json")

    for hub in (terminal.a, terminal.b):
        before, again = hub.received()[:first], hub.received()[first:]
        assert arrived(again) == published(terminal)
        assert ids(again) == ids(before, in_window)
    report = ended.objects[0]
    assert ended.status == 0
    assert (report["ok"], report["left"], report["hubs"][terminal.key("a")]["readings"]) == (
        True,
        0,
        len(published(terminal)),
    )
    assert report["backfill"].pop("state").startswith("peoplecounterstatebackfill")
    assert report["backfill"] == {
        "from": format_time(START),
        "to": format_time(END),
        "only_missing": False,
        "resumed": False,
        "runs": 1,
        "done": True,
        "held": {},
    }
    assert live_state(terminal) == live
    assert kept_states(terminal) == []


def test_a_dry_run_asks_the_source_and_sends_and_saves_nothing(terminal: Terminal) -> None:
    terminal.call("run", FEED)
    before = (len(terminal.a.received()), live_state(terminal))
    asked = len(terminal.source.queries("Quay+One"))

    ended = terminal.call("backfill", FEED, *WINDOW, "--dry-run", "--json")
    of_parts = terminal.call("backfill", FEED, *WINDOW, "--dry-run", "--only-missing", "--json").objects[0]

    report = ended.objects[0]
    assert (ended.status, report["dry_run"], report["backfill"]["done"]) == (0, True, True)
    assert report["hubs"][terminal.key("a")]["readings"] == len(published(terminal))
    assert of_parts["hubs"][terminal.key("a")]["readings"] == 0
    assert len(terminal.source.queries("Quay+One")) > asked
    assert (len(terminal.a.received()), live_state(terminal)) == before
    assert kept_states(terminal) == []


def test_it_says_how_much_it_is_about_before_it_asks(terminal: Terminal) -> None:
    nothing_known = terminal.call("backfill", FEED, *WINDOW, "--dry-run").err
    terminal.call("run", FEED)

    known = terminal.call("backfill", FEED, *WINDOW).err

    # A window that holds a midnight is asked for in two.
    windows = 5 if START.date() == (END - timedelta(seconds=1)).date() else 10
    begins = f"5 locations x 12 h, in about {windows} windows, "
    assert f"{begins}how many readings is not known\n" in nothing_known
    found = re.search(rf"{begins}about (\d+) readings by the rate of", known)
    assert found is not None
    assert int(found[1]) == pytest.approx(len(published(terminal)), rel=0.2)
    assert re.search(r"; about \d+ s at the pace of the last day's runs", known)


def test_what_a_hub_has_of_the_window_is_counted_within_it(terminal: Terminal) -> None:
    terminal.call("run", FEED)

    held = terminal.call("backfill", FEED, *WINDOW, "--dry-run", "--only-missing", "--json").objects[0]

    assert held["backfill"]["held"][terminal.key("a")]["readings"] == len(published(terminal))


def test_what_is_in_quarantine_already_is_not_set_aside_a_second_time(terminal: Terminal) -> None:
    terminal.source.estate.add_people("Quay+One", None, START + HOUR, without=["time"])
    terminal.call("run", FEED)
    [first] = terminal.call("quarantine", "list", "--json").objects

    again = terminal.call("backfill", FEED, *WINDOW, "--yes", "--json").objects[0]
    for_one = terminal.call("backfill", FEED, *WINDOW, "--hub", "second", "--yes").out

    [told] = again["quarantined_before"]
    assert (told["id"], told["hubs"], again["quarantined"]) == (first["id"], first["hubs"], [])
    assert {hub["quarantined"] for hub in again["hubs"].values()} == {0}
    assert "in quarantine already: a reading of Quay+One, second: it has no time; `quarantine show" in for_one
    assert terminal.call("quarantine", "list", "--json").objects == [first]


def test_what_is_in_quarantine_for_one_hub_is_set_aside_for_the_others(terminal: Terminal) -> None:
    terminal.source.estate.add_people("Quay+One", None, START + HOUR, without=["time"])
    terminal.call("backfill", FEED, *WINDOW, "--hub", "second", "--yes")

    terminal.call("backfill", FEED, *WINDOW, "--yes")

    kept = terminal.call("quarantine", "list", "--json").objects
    assert sorted(found["hubs"] for found in kept) == [[terminal.key("a")], [terminal.key("b")]]


def test_only_what_was_lost_at_a_hub_goes_to_it_again(terminal: Terminal) -> None:
    terminal.call("run", FEED)
    lost_from, lost_until = START + 2 * HOUR, START + 5 * HOUR
    lost = terminal.b.discard(lambda event: lost_from <= time_of(event) < lost_until)
    count = {hub.name: len(hub.received()) for hub in (terminal.a, terminal.b)}

    ended = terminal.call("backfill", FEED, *WINDOW, "--only-missing", "--yes", "--json")

    assert ended.status == 0
    assert len(terminal.a.received()) == count["a"]
    assert arrived(terminal.b.received()[count["b"] :]) == published(terminal, lost_from, lost_until)
    assert ids(terminal.b.received()) == ids(terminal.a.received())
    held = ended.objects[0]["backfill"]["held"]
    assert held[terminal.key("b")]["readable_from"] is None
    assert held[terminal.key("b")]["readings"] == held[terminal.key("a")]["readings"] - lost


def test_what_the_hub_no_longer_holds_is_told_and_counts_as_missing(terminal: Terminal) -> None:
    terminal.call("run", FEED)
    # Retention takes what is oldest in each partition.
    lost_until = START + 5 * HOUR
    terminal.b.discard(lambda event: time_of(event) < lost_until)
    count = len(terminal.b.received())

    ended = terminal.call("backfill", FEED, *WINDOW, "--only-missing", "--hub", "second", "--yes", "--json")

    assert ended.status == 0
    assert arrived(terminal.b.received()[count:]) == published(terminal, START, lost_until)
    held = ended.objects[0]["backfill"]["held"]
    assert held[terminal.key("b")]["readable_from"] is not None
    assert "hub second no longer holds all that came before" in ended.err


def test_an_hour_of_snapshots_that_is_partly_at_the_hub_is_completed_by_an_update(terminal: Terminal) -> None:
    terminal.call("run", "hourly-snapshot")
    hours = [format_time(START + number * HOUR) for number in (3, 4)]
    whole = len(terminal.a.received())

    def rooms(events: Sequence[StoredEvent]) -> list[Any]:
        return [
            (event.properties["location"], event.properties["hour"], line["time"], obj["data"]["_id"]["tags"])
            for event in events
            for obj in json.loads(event.body)["objs"]
            for line in obj["data"]["line"]
        ]

    # One hour is lost whole; of another one a room is published after the hub was filled.
    lost = terminal.a.discard(lambda event: event.properties["hour"] == hours[0])
    name = "Quay+One"
    terminal.source.estate.add_snapshot(
        name, [name, "9", "Late Room"], START + 4 * HOUR, visible_from=START + 5 * HOUR
    )
    window = ("--from", hours[0], "--to", format_time(START + 5 * HOUR))
    before = len(terminal.a.received())

    ended = terminal.call(
        "backfill", "hourly-snapshot", *window, "--only-missing", "--hub", "primary", "--yes", "--json"
    )

    again = terminal.a.received()[before:]
    assert (ended.status, before) == (0, whole - lost)
    assert {event.properties["hour"] for event in again if not event.properties.get("update")} == {hours[0]}
    assert rooms([event for event in again if event.properties.get("update")]) == [
        (name, hours[1], hours[1], [name, "9", "Late Room"])
    ]
    shown = terminal.source.estate.expected_snapshots(START + 3 * HOUR, START + 4 * HOUR, utc_now())
    assert len(rooms(again)) == len(shown) + 1


def test_a_hub_that_may_not_be_read_is_a_clear_error_and_nothing_is_sent(terminal: Terminal) -> None:
    terminal.call("run", FEED)
    count = len(terminal.b.received())
    terminal.b.refuse_attach(links=["receive"])

    ended = terminal.call("backfill", FEED, *WINDOW, "--only-missing", "--hub", "second", "--yes")

    assert ended.status == 1
    assert "use one with the Listen right" in ended.err
    assert len(terminal.b.received()) == count
    assert kept_states(terminal) == []


def test_one_location_goes_to_one_hub(terminal: Terminal) -> None:
    words = ("backfill", FEED, *WINDOW, "--location", "Tour Été", "--hub", "second", "--yes")

    ended = terminal.call(*words)

    assert ended.status == 0, ended.err
    assert "of Tour Été, from" in ended.err
    assert "go again to second, with the same message ids" in ended.err
    assert terminal.a.received() == []
    assert arrived(terminal.b.received()) == [
        found for found in published(terminal) if found[0] == "Tour Été"
    ]


def test_a_hub_that_fails_ends_it_with_1_and_the_same_command_goes_on_for_that_hub(
    terminal: Terminal,
) -> None:
    terminal.b.refuse_attach()
    failed = terminal.call("backfill", FEED, *WINDOW, "--yes", "--json")
    states = kept_states(terminal)
    terminal.b.clear_faults()

    ended = terminal.call("backfill", FEED, *WINDOW, "--yes", "--json")

    assert (failed.status, failed.objects[0]["backfill"]["done"], ended.status) == (1, False, 0)
    assert [failure["hub"] for failure in failed.objects[0]["failures"]] == [terminal.key("b")]
    assert f"to go on: python -m app backfill {FEED} --from {format_time(START)}" in failed.err
    assert states != []
    assert "goes on from where that one stopped" in ended.err
    assert ended.objects[0]["hubs"][terminal.key("a")]["events"] == 0
    assert arrived(terminal.a.received()) == arrived(terminal.b.received()) == published(terminal)
    assert kept_states(terminal) == []


@pytest.fixture
def held_after_one(terminal: Terminal) -> Iterator[tuple[threading.Event, threading.Event]]:
    """Queries of which the third waits: an event that says that it came, and one that lets it go on."""
    with queries_held(terminal.source, lambda number: number == 2) as events:
        yield events


LONG = ("--from", format_time(START - 96 * HOUR), "--to", format_time(END), "--location", "Mill & Lane")


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_a_backfill_that_was_stopped_goes_on_where_it_was(
    terminal: Terminal, held_after_one: tuple[threading.Event, threading.Event], number: signal.Signals
) -> None:
    came, go_on = held_after_one
    process = terminal.start("backfill", FEED, *LONG, "--yes", "--json")
    assert came.wait(30)
    process.send_signal(number)
    if number == signal.SIGTERM:
        wait_for("once more ends at once", process)
    else:
        process.wait(30)
    go_on.set()
    stopped = finish(process)
    so_far = len(terminal.a.received())

    ended = terminal.call("backfill", FEED, *LONG, "--yes", "--json")

    assert stopped.status == {signal.SIGKILL: -signal.SIGKILL, signal.SIGTERM: 0}[number]
    assert ("to go on: python -m app backfill" in stopped.err) is (number == signal.SIGTERM)
    assert (ended.status, ended.objects[0]["backfill"]["resumed"]) == (0, True)
    expected = [found for found in published(terminal, START - 96 * HOUR) if found[0] == "Mill & Lane"]
    assert 0 < so_far < len(expected)
    assert sorted(set(arrived(terminal.a.received()))) == sorted(set(expected))
    assert number == signal.SIGKILL or arrived(terminal.a.received()) == expected
    assert kept_states(terminal) == []


def test_it_goes_on_run_after_run_until_nothing_is_left(terminal: Terminal) -> None:
    config = terminal.folder / "config.yaml"
    config.write_text(config.read_text().replace("budget: 4m", "budget: 10s"))
    terminal.source.faults.slow(5, location="Mill & Lane")
    since = START - 40 * HOUR
    window = ("--from", format_time(since), "--to", format_time(END), "--location", "Mill & Lane")

    ended = terminal.call("backfill", FEED, *window, "--yes", "--json")

    report = ended.objects[0]
    assert (ended.status, report["left"], report["backfill"]["done"]) == (0, 0, True)
    assert report["backfill"]["runs"] > 1
    expected = [found for found in published(terminal, since) if found[0] == "Mill & Lane"]
    assert arrived(terminal.a.received()) == arrived(terminal.b.received()) == expected


def test_live_runs_go_on_meanwhile(
    terminal: Terminal, held_after_one: tuple[threading.Event, threading.Event]
) -> None:
    came, go_on = held_after_one
    process = terminal.start("backfill", FEED, *LONG, "--yes", "--json")
    assert came.wait(30)

    live = terminal.call("run", FEED, "--json")
    beside = terminal.call("backfill", FEED, *LONG, "--yes", "--json")
    go_on.set()
    ended = finish(process)

    assert (live.status, live.objects[0]["left"], beside.status, ended.status) == (0, 0, 3, 0)
    assert "another run works on this feed (" in beside.err


def test_a_window_that_is_not_over_ends_now(terminal: Terminal) -> None:
    since = format_time(floor_to(utc_now() - 2 * HOUR, HOUR))

    ended = terminal.call("backfill", FEED, "--from", since, "--to", "2999-01-01", "--yes", "--json")

    assert (ended.status, ended.objects[0]["left"]) == (0, 0)
    assert "--to is in the future; it is cut to" in ended.err
    assert len(terminal.a.received()) > 20


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ([FEED, "--from", "6h", "--to", "6h", "--yes"], "--from 6h is not before --to 6h"),
        ([FEED, "--from", "2998-01-01", "--to", "2999-01-01", "--yes"], "is not before"),
        (
            [FEED, "--from", "yesterday", "--to", "1h", "--yes"],
            "--from: 'yesterday' is not a time; write it like",
        ),
        ([FEED, "--from", "9" * 30 + "d", "--to", "1h", "--yes"], "is before 1970; no source"),
        ([FEED, "--from", "0001-01-01", "--to", "1h", "--yes"], "0001-01-01 is before 1970; no source"),
        (["doors", *WINDOW, "--yes"], "'doors' is not a feed; there are people-counter, hourly-snapshot"),
        ([FEED, *WINDOW, "--hub", "third", "--yes"], "'third' is not one of the hubs; there are:\n  primary"),
        (
            [FEED, *WINDOW, "--location", "Nowhere", "--yes"],
            "'Nowhere' is not one of the locations; there are:\n",
        ),
        ([FEED, *WINDOW], "there is no terminal to ask at; add --yes"),
    ],
    ids=["nothing", "future", "no time", "before time", "year 1", "feed", "hub", "location", "nobody to ask"],
)
def test_what_cannot_be_done_is_refused_with_what_there_is(
    terminal: Terminal, words: list[str], said: str
) -> None:
    ended = terminal.call("backfill", *words)

    assert (ended.status, ended.out) == (2, "")
    assert said in ended.err
    assert "Nowhere" not in words or all(f"\n  {name}" in ended.err for name in LOCATIONS)
    assert terminal.a.received() == terminal.b.received() == []


def test_a_paused_hub_and_a_feed_that_is_off_are_refused(terminal: Terminal) -> None:
    paused = {**terminal.second(terminal.hubs.connection_string("b")), "enabled": False}

    by_name = terminal.call(
        "backfill", FEED, *WINDOW, "--hub", "second", EVENT_HUB_CONNECTION_STRINGS=json.dumps([paused])
    )
    off = terminal.call("backfill", FEED, *WINDOW, "--yes", MICROSHARE_PC_DASHBOARD_VIEW_ID="")

    assert (by_name.status, off.status) == (2, 2)
    assert "hub second is paused; enable it first" in by_name.err
    assert "the feed is off" in off.err


@pytest.mark.parametrize(("answer", "sent"), [("y\n", True), ("n\n", False)], ids=["yes", "no"])
def test_somebody_at_a_terminal_is_asked(terminal: Terminal, answer: str, sent: bool) -> None:
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-m", "app", "backfill", FEED, *WINDOW, "--location", "Quay+One"],
        cwd=APP_ROOT,
        env=terminal.environ,
        stdin=theirs,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    os.write(ours, answer.encode())
    ended = finish(process)
    os.close(ours)
    os.close(theirs)

    assert ended.status == (0 if sent else 1)
    assert "send it? [y/N]" in ended.err
    assert (len(terminal.a.received()) > 0) is sent


def test_positions_are_kept_in_tables_too_until_it_is_done(terminal: Terminal, azurite_port: int) -> None:
    tables = TableServiceClient.from_connection_string(connection_string(azurite_port))

    def kept() -> list[str]:
        return [table.name for table in tables.list_tables() if "backfill" in table.name]

    terminal.environ |= {"STATE_STORE": "table", "AzureWebJobsStorage": connection_string(azurite_port)}
    terminal.b.refuse_attach()
    failed = terminal.call("backfill", FEED, *WINDOW, "--only-missing", "--yes")
    between = kept()
    terminal.b.clear_faults()

    ended = terminal.call("backfill", FEED, *WINDOW, "--only-missing", "--yes")

    assert (failed.status, len(between), ended.status, kept()) == (1, 1, 0, [])
    assert arrived(terminal.a.received()) == arrived(terminal.b.received()) == published(terminal)


def test_a_kept_position_of_another_window_is_another_job(terminal: Terminal) -> None:
    terminal.b.refuse_attach()
    terminal.call("backfill", FEED, *WINDOW, "--yes")
    states = kept_states(terminal)
    later = ("--from", format_time(START + HOUR), "--to", format_time(END))
    terminal.call("backfill", FEED, *later, "--yes")

    assert len(states) < len(kept_states(terminal))
    names = {name.partition(".")[0] for name in kept_states(terminal)}
    starts = {
        checkpoint.delivered_until
        for name in names
        for location in JsonFileStore(terminal.folder / "state").load(name).locations.values()
        for hub, checkpoint in location.checkpoints.items()
        if hub == terminal.key("b")
    }
    assert starts == {START, START + HOUR}
