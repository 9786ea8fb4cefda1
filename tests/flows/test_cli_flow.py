"""The command line as people and timers use it: a process of its own, against the emulators."""

from __future__ import annotations

import json
import os
import pty
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from azure.data.tables import TableServiceClient

from app.base.errors import HubRefused, HubUnreachable
from app.base.program import APP_ROOT
from app.eventhub.reader import HubReader
from app.eventhub.received import Received
from app.settings.loading import load_settings
from app.state.json_file import JsonFileStore
from tests.commands import Ended
from tests.environments.azurite import connection_string
from tests.environments.terminal import Terminal, finish, wait_for

on_a_full_device = pytest.mark.skipif(
    not Path("/dev/full").exists(), reason="there is no device that is full"
)

_LOCATIONS = ["50% Annex", "Example Beacon House", "Mill & Lane", "Quay+One", "Tour Été"]


# --- what every command takes ------------------------------------------------------------------------


@pytest.mark.parametrize("words", [["check"], ["locations"], ["run", "people-counter"]], ids=" ".join)
def test_a_verbose_command_tells_each_request_on_standard_error(terminal: Terminal, words: list[str]) -> None:
    silent = terminal.call(*words, "--json")
    told = terminal.call("-v", *words, "--json")

    assert "request.made" not in silent.err
    assert '"login": "web"' in told.err
    assert told.objects
    assert terminal.call(*words, "--verbose").err.count("request.made") > 1


# --- locations --------------------------------------------------------------------------------------


def test_locations_lists_what_discovery_finds_and_what_is_configured(terminal: Terminal) -> None:
    ended = terminal.call(
        "locations", "--json", MICROSHARE_LOCATIONS='["Example Shed"]', MICROSHARE_LOCATION_PREFIX="Example"
    )

    assert ended.status == 0
    assert [found["location"] for found in ended.objects] == sorted([*_LOCATIONS, "Example Shed"])
    by_name = {found["location"]: found for found in ended.objects}
    assert by_name["Example Beacon House"] == {
        "location": "Example Beacon House",
        "owner": "com.example.NORTH",
        "devices": by_name["Example Beacon House"]["devices"],
        "configured": False,
        "feeds": ["people_counter", "hourly_snapshot"],
        "snapshot_name": "Beacon House",
    }
    assert by_name["Example Shed"] == {
        "location": "Example Shed",
        "owner": None,
        "devices": None,
        "configured": True,
        "feeds": ["people_counter", "hourly_snapshot"],
        "snapshot_name": "Shed",
    }


# --- run --------------------------------------------------------------------------------------------


def test_a_run_forwards_to_every_hub_and_tells_it_a_line_a_feed(terminal: Terminal) -> None:
    ended = terminal.call("run", "all", "--json")

    people, snapshots = ended.objects
    assert (people["feed"], people["ok"], snapshots["feed"], snapshots["ok"]) == (
        "people_counter",
        True,
        "hourly_snapshot",
        True,
    )
    told = people["hubs"][terminal.key("a")]["events"] + snapshots["hubs"][terminal.key("a")]["events"]
    assert told == len(terminal.a.received()) == len(terminal.b.received()) > 0
    assert ended.status == 0
    assert all(json.loads(line)["event"] for line in ended.err.splitlines())


def test_a_dry_run_sends_nothing_and_saves_nothing(terminal: Terminal) -> None:
    ended = terminal.call("run", "people-counter", "--dry-run", "--json")

    report = ended.objects[0]
    assert (ended.status, report["dry_run"], report["ok"]) == (0, True, True)
    assert report["hubs"][terminal.key("a")]["events"] > 0
    assert terminal.a.received() == terminal.b.received() == []
    assert not (terminal.folder / "state").exists()


def test_a_run_that_failed_for_one_hub_ends_with_1_and_its_whole_report(terminal: Terminal) -> None:
    terminal.b.refuse_attach()

    ended = terminal.call("run", "people-counter", "--json")

    report = ended.objects[0]
    assert (ended.status, report["ok"]) == (1, False)
    assert [failure["hub"] for failure in report["failures"]] == [terminal.key("b")]
    assert report["hubs"][terminal.key("a")]["events"] == len(terminal.a.received()) > 0


def test_a_run_for_people_names_the_hub_that_failed_and_what_to_do(terminal: Terminal) -> None:
    terminal.b.refuse_attach()

    ended = terminal.call("run", "people-counter")

    assert ended.status == 1
    assert re.search(
        r"^primary +[\d,]+ +[\d,]+ +0 +\d{4}-\d\d-\d\d \d\d:\d\d +\d+ s$", ended.out, re.MULTILINE
    )
    assert re.search(r"^second \(failed\) +0 +0 +0 ", ended.out, re.MULTILINE)
    assert re.search(
        r"^failed: hub second: refuses the credentials; grant the Send right", ended.out, re.MULTILINE
    )


def test_a_run_for_people_tells_what_changed_and_what_is_noticed(terminal: Terminal) -> None:
    estate, now = terminal.source.estate, datetime.now(UTC)
    (name, tags, time, _), *_ = estate.expected_people(now - timedelta(minutes=40), now, now)
    terminal.call("run", "people-counter")
    estate.correct(name, tags, str(time), at=datetime.now(UTC), change={"in": 99, "bikes": 1})

    ended = terminal.call("run", "people-counter")

    assert ended.status == 0
    assert re.search(f"^changed: {name}, .* UTC: 1 reading changed after delivery$", ended.out, re.MULTILINE)
    assert re.search(r"^noticed: new field 'change\.bikes' in readings$", ended.out, re.MULTILINE)


def test_a_feed_without_a_view_is_off_for_all_and_refused_by_name(terminal: Terminal) -> None:
    del terminal.environ["MICROSHARE_SNAPSHOT_DASHBOARD_VIEW_ID"]

    everything = terminal.call("run", "all", "--json")
    by_name = terminal.call("run", "hourly-snapshot", "--json")

    assert everything.objects[1] == {"feed": "hourly_snapshot", "ok": True, "off": True}
    assert everything.status == 0
    assert (by_name.status, by_name.out) == (2, "")
    assert "the feed is off; set its view id" in by_name.err


def test_a_run_beside_another_ends_with_3_at_once(terminal: Terminal) -> None:
    store = JsonFileStore(terminal.folder / "state")
    with store.lock("peoplecounterstate", "another-run"):
        alone = terminal.call("run", "people-counter", "--json")
        everything = terminal.call("run", "all", "--json")

    assert alone.status == everything.status == 3
    assert [sorted(found) for found in alone.objects] == [["error", "feed", "ok"]]
    assert "another run works on this feed (another-run" in alone.objects[0]["error"]
    assert [found["ok"] for found in everything.objects] == [False, True]


@pytest.mark.parametrize("locked", ["peoplecounterstate", "snapshotstate"])
def test_a_feed_that_fails_beside_one_that_is_locked_ends_with_1(terminal: Terminal, locked: str) -> None:
    terminal.source.faults.status(404)
    store = JsonFileStore(terminal.folder / "state")
    with store.lock(locked, "another-run"):
        ended = terminal.call("run", "all", "--json")

    assert (ended.status, [found["ok"] for found in ended.objects]) == (1, [False, False])


@pytest.mark.parametrize(
    ("streams", "status"),
    [
        ("> /dev/full", 1),
        ("> /dev/full 2>&1", 1),
        ("2> /dev/full", 0),
        (">&-", 0),
        (">&- 2>&-", 0),
    ],
)
@on_a_full_device
def test_where_its_output_cannot_be_written_a_run_is_as_any_other(
    terminal: Terminal, streams: str, status: int
) -> None:
    words = f"exec {sys.executable} -m app run all --json {streams}"

    done = subprocess.run(
        ["sh", "-c", words], cwd=APP_ROOT, env=terminal.environ, capture_output=True, check=False
    )

    said = done.stderr.decode()
    assert done.returncode == status
    assert ("people-counter: standard output: No space left on device" in said) == (streams == "> /dev/full")
    assert "Traceback" not in said
    assert "Exception ignored" not in said
    for hub in (terminal.a, terminal.b):
        assert len({event.properties["recType"] for event in hub.received()}) == 2
    assert terminal.call("status").status == 0


@on_a_full_device
def test_why_a_feed_was_not_run_is_told_though_its_output_is_lost(terminal: Terminal) -> None:
    line = f"exec {sys.executable} -m app run people-counter --json > /dev/full"

    with JsonFileStore(terminal.folder / "state").lock("peoplecounterstate", "another-run"):
        done = subprocess.run(
            ["sh", "-c", line], cwd=APP_ROOT, env=terminal.environ, capture_output=True, check=False
        )

    why, lost = done.stderr.decode().splitlines()[-2:]
    assert why.startswith("people-counter: ")
    assert "another run works on this feed (another-run" in why
    assert lost.startswith("people-counter: standard output: ")


@pytest.mark.parametrize("words", ["status --json", "config show", "locations"])
@on_a_full_device
def test_what_cannot_be_told_ends_with_1_and_says_so(terminal: Terminal, words: str) -> None:
    line = f"exec {sys.executable} -m app {words} > /dev/full"

    done = subprocess.run(
        ["sh", "-c", line], cwd=APP_ROOT, env=terminal.environ, capture_output=True, check=False
    )

    assert (done.returncode, done.stderr.decode().splitlines()[-1]) == (
        1,
        "standard output: No space left on device; look at where it is sent to",
    )


def test_sigterm_ends_a_run_early_in_order_and_with_0(
    terminal: Terminal, held_queries: tuple[threading.Event, threading.Event]
) -> None:
    came, go_on = held_queries
    process = terminal.start("run", "all", "--json")
    assert came.wait(30)

    process.send_signal(signal.SIGTERM)
    wait_for("once more ends at once", process)
    go_on.set()
    ended = finish(process)

    assert ended.status == 0
    report, not_begun = ended.objects
    assert (report["ok"], report["left"] > 0, report["interrupted"]) == (True, True, True)
    assert not_begun == {"feed": "hourly_snapshot", "ok": True, "stopped": True}
    after = terminal.call("run", "all", "--json").objects[0]
    assert (after["left"], after["interrupted"]) == (0, False)


def test_a_second_signal_ends_a_run_at_once(
    terminal: Terminal, held_queries: tuple[threading.Event, threading.Event]
) -> None:
    process = terminal.start("run", "people-counter", "--json")
    assert held_queries[0].wait(30)

    process.send_signal(signal.SIGINT)
    wait_for("once more ends at once", process)
    process.send_signal(signal.SIGTERM)

    assert finish(process) == Ended(143, "", "")


# --- status -----------------------------------------------------------------------------------------


def test_status_of_a_new_installation_is_well(terminal: Terminal) -> None:
    ended = terminal.call("status", "--json")

    assert ended.status == 0
    assert [(found["feed"], found["ok"], found["locations"]) for found in ended.objects] == [
        ("people_counter", True, []),
        ("hourly_snapshot", True, []),
    ]
    assert "people-counter: never ran: nothing was forwarded yet" in terminal.call("status").out


def test_status_tells_hubs_that_fail_are_paused_or_were_removed_apart(terminal: Terminal) -> None:
    assert terminal.call("run", "people-counter").status == 0
    sent = len(terminal.b.received())
    terminal.a.refuse_attach()
    assert terminal.call("run", "people-counter").status == 1
    paused = {**terminal.second(terminal.hubs.connection_string("c")), "enabled": False}

    ended = terminal.call("status", "--json", EVENT_HUB_CONNECTION_STRINGS=json.dumps([paused]))

    status = ended.objects[0]
    assert (ended.status, status["ok"], status["last_run"]["ok"]) == (1, False, False)
    assert {
        key: (hub["name"], hub["paused"], hub["removed"], hub["error"] is not None)
        for key, hub in status["hubs"].items()
    } == {
        terminal.key("a"): ("primary", False, False, True),
        terminal.key("c"): ("second", True, False, False),
        terminal.key("b"): (terminal.key("b"), False, True, False),
    }
    assert status["hubs"][terminal.key("b")]["events"] >= sent
    assert [found["location"] for found in status["locations"]] == _LOCATIONS
    assert all(found["hubs"][terminal.key("a")]["since"] for found in status["locations"])


def test_status_of_a_damaged_state_says_what_to_do_and_goes_on(terminal: Terminal) -> None:
    (terminal.folder / "state").mkdir()
    (terminal.folder / "state" / "peoplecounterstate.json").write_text("{", encoding="utf-8")

    ended = terminal.call("status", "--json")

    assert ended.status == 1
    damaged, well = ended.objects
    assert "cannot be read as state" in damaged["error"]
    assert (damaged["feed"], damaged["ok"], damaged["verdict"]) == ("people_counter", False, "unknown")
    assert "`state reset` moves it aside" in damaged["wrong"][0]["do"]
    assert well["ok"] is True


def test_status_says_the_same_words_as_the_run_of_a_hub_and_of_a_location(terminal: Terminal) -> None:
    terminal.b.refuse_attach()
    terminal.source.faults.status(404, location="Quay+One")

    report = terminal.call("run", "people-counter", "--json").objects[0]
    ended = terminal.call("status", "--json")

    status = ended.objects[0]
    told = {f"{trouble['said']}; {trouble['do']}" for trouble in status["wrong"] if trouble["grave"]}
    assert (ended.status, status["verdict"]) == (1, "failing")
    assert told == {failure["error"] for failure in report["failures"]}
    assert status["warnings"] == report["warnings"]
    assert status["trend"]["readings"][terminal.key("a")] == report["hubs"][terminal.key("a")]["readings"] > 0


def test_status_is_watched_as_json_until_it_is_stopped(terminal: Terminal) -> None:
    process = terminal.start("status", "--watch", "1", "--json")
    assert process.stdout is not None
    feeds = [json.loads(process.stdout.readline())["feed"] for _ in range(4)]

    process.send_signal(signal.SIGINT)
    ended = finish(process)

    assert feeds == ["people_counter", "hourly_snapshot"] * 2
    assert (ended.status, ended.err) == (0, "")


def test_status_is_watched_on_a_terminal_and_the_last_of_it_stays(terminal: Terminal) -> None:
    ours, theirs = pty.openpty()
    environ = terminal.environ | {"TERM": "xterm", "COLUMNS": "80", "LINES": "24"}
    process = subprocess.Popen(
        [sys.executable, "-m", "app", "status", "--watch", "1"],
        cwd=APP_ROOT,
        env=environ,
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        start_new_session=True,
    )
    os.close(theirs)
    shown = _read_until(ours, "Ctrl-C ends", times=2)

    process.send_signal(signal.SIGINT)
    shown = _read_until(ours, None)

    assert process.wait(20) == 0
    # The screen is given back, and then has what was seen last.
    assert "people-counter: never ran" in shown.split("\x1b[?1049l")[-1]
    os.close(ours)


def _read_until(terminal: int, said: str | None, times: int = 1) -> str:
    """Read what a program writes to its terminal, until it said so often enough, or has ended."""
    shown = ""
    while said is None or shown.count(said) < times:
        try:
            shown += os.read(terminal, 65_536).decode()
        except OSError:  # the other end was closed
            return shown
    return shown


@pytest.mark.parametrize("words", [["status"], ["status", "--json", "--max-behind", "1s"]], ids=" ".join)
def test_status_makes_no_table(terminal: Terminal, azurite_port: int, words: list[str]) -> None:
    tables = TableServiceClient.from_connection_string(connection_string(azurite_port))
    for table in tables.list_tables():
        tables.delete_table(table.name)

    storage = {"STATE_STORE": "table", "AzureWebJobsStorage": connection_string(azurite_port)}
    ended = terminal.call(*words, **storage)

    assert ended.status == 0
    assert [table.name for table in tables.list_tables()] == []


# --- tail, send-test --------------------------------------------------------------------------------


def test_tail_gives_what_a_hub_holds_an_event_a_line(terminal: Terminal) -> None:
    assert terminal.call("run", "people-counter").status == 0
    sent = {event.message_id: event for event in terminal.b.received()}

    ended = terminal.call("tail", "--hub", "SECOND", "--count", str(len(sent)), "--json")

    lines = terminal.call("tail", "--hub", "SECOND", "--count", "5").out.splitlines()
    assert [line for line in lines if not re.search(r"\d\d:\d\d \S.*  in \d+  out \d+  \(\+\d+ ", line)] == []
    assert len(lines) == 5
    assert ended.status == 0
    assert {found["message_id"] for found in ended.objects} == sent.keys()
    found = ended.objects[0]
    event = sent[found["message_id"]]
    assert found == {
        "partition": event.partition_id,
        "sequence": event.sequence_number,
        "offset": event.offset,
        "enqueued": found["enqueued"],
        "message_id": event.message_id,
        "partition_key": event.partition_key,
        "content_type": "application/json",
        "properties": event.properties,
        "body_type": "data",
        "body": json.loads(event.body),
    }


def test_tail_latest_gives_test_events_at_once_and_nothing_older(terminal: Terminal) -> None:
    assert terminal.call("send-test").status == 0
    tail = terminal.start("tail", "--latest", "--count", "3", "--json")
    wait_for("reading primary", tail)

    sent = terminal.call("send-test", "--count", "3")

    events = finish(tail).objects
    assert sent.status == tail.returncode == 0
    assert f"sent 3 test events in 1 batch to primary ({terminal.key('a')})" in sent.out
    assert [event["body"]["number"] for event in events] == [1, 2, 3]
    assert {event["properties"]["recType"] for event in events} == {"test"}


def test_tail_ends_after_its_time_and_with_ctrl_c(terminal: Terminal) -> None:
    timed = terminal.call("tail", "--seconds", "0.5", "--json")
    tail = terminal.start("tail")
    wait_for("reading primary", tail)

    tail.send_signal(signal.SIGINT)

    assert (timed.status, timed.out) == (0, "")
    assert finish(tail) == Ended(0, "", "")


@pytest.mark.parametrize(
    ("words", "variables", "status", "said"),
    [
        (["tail", "--consumer-group", "nix"], {}, 1, "consumer group; check EntityPath and --consumer-group"),
        (["tail", "--hub", "nix"], {}, 2, "'nix' is not one of the hubs; there are:\n  primary (127.0.0.1:"),
        (["send-test", "--hub", "nix"], {}, 2, "'nix' is not one of the hubs"),
        (["send-test"], {"hub": "nowhere"}, 1, "there is no such event hub"),
        (["tail"], {"key": "obviously-false"}, 1, "use one with the Listen right"),
        (["send-test"], {"key": "obviously-false"}, 1, "grant the Send right"),
    ],
    ids=["no such group", "tail of no hub", "send to no hub", "hub gone", "tail wrong key", "send wrong key"],
)
def test_what_a_hub_refuses_is_a_message(
    terminal: Terminal, words: list[str], variables: Mapping[str, str], status: int, said: str
) -> None:
    hub = {"hub": "a", **variables}

    ended = terminal.call(*words, EVENT_HUB_CONNECTION_STRING=terminal.hubs.connection_string(**hub))

    assert (ended.status, ended.out) == (status, "")
    assert said in ended.err
    assert "obviously-false" not in ended.err


@pytest.mark.parametrize("stage", ["connect", "cbs", "attach"])
def test_a_reader_gives_up_on_a_hub_that_falls_silent(terminal: Terminal, stage: Any) -> None:
    assert terminal.call("send-test").status == 0
    terminal.a.stall(stage)
    began = time.monotonic()

    with pytest.raises(HubUnreachable, match="check the network"):
        _read_one(HubReader(load_settings(terminal.environ).hubs[0], "$Default", answer_s=1.5))

    # Less than the time that a reader waits unless it is told otherwise.
    assert time.monotonic() - began < 11


def test_a_reader_without_the_listen_right_says_so(terminal: Terminal) -> None:
    terminal.a.refuse_attach(links=("receive",))

    with pytest.raises(HubRefused, match="use one with the Listen right"):
        _read_one(HubReader(load_settings(terminal.environ).hubs[0], "$Default"))


def _read_one(reader: HubReader) -> list[Received]:
    taken: list[Received] = []

    def take(event: Received) -> bool:
        taken.append(event)
        return False

    reader.open(latest=False)
    reader.read(take)
    return taken


# --- tables -----------------------------------------------------------------------------------------


def test_locations_are_named_whole_at_any_width(terminal: Terminal) -> None:
    for width in (60, 80, 120):
        on_a_terminal = {"TTY_COMPATIBLE": "1", "COLUMNS": str(width)}

        shown = re.sub(r"\x1b\[[0-9;]*m", "", terminal.call("locations", **on_a_terminal).out)

        assert [name for name in _LOCATIONS if not {*name.split()} <= {*shown.split()}] == []
        assert max(map(len, shown.splitlines())) <= width
