"""What the command line says and how it ends where nothing is asked of anybody."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import click
import pytest

from app.cli import COMMANDS, commands, main
from app.cli.edge import explain, find_hub, said_and_advised
from app.cli.output import Column, Output, minute, printable, span, table, text
from app.config import APP_ROOT, load_settings
from app.errors import FeedOff, HubRefused, LockHeld, SettingsError, SourceUnavailable
from app.instants import parse_time
from app.model import Checkpoint, Discovery, FeedState, Gap, HubRecord, LocationState, Place, Slice, Takeover
from app.redaction import register_secret
from app.state.json_file import JsonFileStore

_KEY = "example.servicebus.windows.net/counts"
_FALSE_KEY = "obviously-false-shared-access-key"
_ENVIRONMENT = {
    "MICROSHARE_USERNAME": "svc@example.test",
    "MICROSHARE_PASSWORD": "obviously-false-password",
    "MICROSHARE_IDENTITY": "com.example.NORTH",
    "MICROSHARE_PC_DEVICE_CLUSTER_ID": "aaaaaaaaaaaaaaaaaaaaaa01",
    "MICROSHARE_PC_DASHBOARD_VIEW_ID": "ffffffffffffffffffffff0a",
    "EVENT_HUB_CONNECTION_STRING": (
        "Endpoint=sb://example.servicebus.windows.net/;SharedAccessKeyName=sender;"
        f"SharedAccessKey={_FALSE_KEY};EntityPath=counts"
    ),
}


@dataclass(frozen=True, slots=True)
class Ended:
    """How a command ended."""

    status: int
    out: str
    err: str

    @property
    def objects(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.out.splitlines()]


Call = Callable[..., Ended]


@pytest.fixture
def environ(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """Give the settings that commands find; none comes from where the tests are run."""
    shutil.copy(APP_ROOT / "config.yaml", tmp_path)
    variables = {
        **_ENVIRONMENT,
        "FORWARDER_CONFIG": str(tmp_path / "config.yaml"),
        "STATE_DIR": str(tmp_path / "state"),
    }
    for name in os.environ:
        if name.startswith(("MICROSHARE_", "EVENT_HUB_", "AzureWebJobs", "STATE_", "LOG_LEVEL")):
            monkeypatch.delenv(name)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    return variables


@pytest.fixture
def call(
    environ: dict[str, str], monkeypatch: pytest.MonkeyPatch, capfdbinary: pytest.CaptureFixture[bytes]
) -> Call:
    def call(*words: str, **variables: str) -> Ended:
        for name, value in variables.items():
            monkeypatch.setenv(name, value)
        with pytest.raises(SystemExit) as ended:
            main(list(words))
        sys.stdout.flush()
        out, err = capfdbinary.readouterr()
        return Ended(int(ended.value.code or 0), out.decode(), err.decode())

    return call


@pytest.fixture
def store(environ: dict[str, str]) -> JsonFileStore:
    return JsonFileStore(environ["STATE_DIR"])


# --- help and usage ---------------------------------------------------------------------------------


def test_help_teaches_a_first_session_and_the_exit_statuses(call: Call) -> None:
    shown = call("--help")

    assert shown.status == 0
    for said in ("A first session:", "python -m app run all", "Exit status:", "  3  another run", *COMMANDS):
        assert said in shown.out


@pytest.mark.parametrize("name", COMMANDS)
def test_the_help_of_a_command_begins_with_its_line_in_the_list(call: Call, name: str) -> None:
    shown = call(name, "--help")

    assert shown.status == 0
    assert shown.out.startswith(f"Usage: python -m app {name}")
    command = commands.get_command(click.Context(commands), name)
    assert command is not None
    assert command.short_help == COMMANDS[name]
    assert command.help


def test_help_loads_no_sdk_and_no_table_maker() -> None:
    heavy = ("azure", "rich", "pydantic", "yaml", "urllib3")
    program = (
        "import sys; from app.cli import commands; commands.main(['--help'], standalone_mode=False); "
        f"print([name for name in {heavy} if name in sys.modules], file=sys.stderr)"
    )

    ended = subprocess.run(
        [sys.executable, "-c", program], cwd=APP_ROOT, capture_output=True, text=True, check=True
    )

    assert ended.stderr == "[]\n"


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["nix"], "No such command 'nix'"),
        (["run"], "Missing argument 'FEED'"),
        (["run", "nix"], "'nix' is no feed; there are people-counter, hourly-snapshot, all"),
        (["status", "--nix"], "No such option"),
        (["tail", "--count", "0"], "0 is not in the range"),
        (["tail", "--hub", "nix"], f"there are:\n  primary ({_KEY})"),
        (["send-test", "--count", "many"], "'many' is not a valid integer"),
        (["send-test", "--hub", "nix"], "'nix' is none of the hubs"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_words_that_mean_nothing_are_refused_with_2(call: Call, words: list[str], said: str) -> None:
    ended = call(*words)

    assert (ended.status, ended.out) == (2, "")
    assert said in ended.err


# --- settings ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "words",
    [["run", "all"], ["locations"], ["status"], ["tail"], ["check"], ["check", "--offline"]],
    ids=" ".join,
)
def test_refused_settings_are_told_all_at_once_and_nothing_is_written(
    call: Call, words: list[str], environ: dict[str, str]
) -> None:
    ended = call(*words, MICROSHARE_PASSWORD="", START_FROM="5")

    assert (ended.status, ended.out) == (2, "")
    assert "config.yaml: 2 problems" in ended.err
    assert "MICROSHARE_PASSWORD: not set" in ended.err
    assert "START_FROM: '5'" in ended.err
    assert not Path(environ["STATE_DIR"]).exists()


def test_check_as_json_gives_each_refused_setting_with_what_to_do(call: Call) -> None:
    ended = call("check", "--offline", "--json", MICROSHARE_PASSWORD="", MICROSHARE_IDENTITY="")

    assert ended.status == 2
    assert sorted((found["check"], found["ok"], found["said"]) for found in ended.objects) == [
        ("settings", False, "MICROSHARE_IDENTITY: not set"),
        ("settings", False, "MICROSHARE_PASSWORD: not set"),
    ]
    assert all(found["do"].startswith("write ") for found in ended.objects)


def test_check_offline_looks_at_settings_and_the_state_folder_only(call: Call, store: JsonFileStore) -> None:
    ended = call("check", "--offline", "--json")

    assert ended.status == 0
    assert [(found["check"], found["said"]) for found in ended.objects] == [
        ("settings", "1 feed on, 1 hub"),
        ("hourly-snapshot", "off: it has no view id, so its timer does nothing"),
        ("state", ended.objects[2]["said"]),
        ("state of people-counter", "nothing was forwarded yet; the first run begins at START_FROM"),
    ]
    assert ended.objects[2]["said"].startswith(f"{store.place} can be written")


def test_check_finds_a_state_folder_that_cannot_be_made(call: Call, tmp_path: Path) -> None:
    (tmp_path / "file").touch()

    ended = call("check", "--offline", "--json", STATE_DIR=str(tmp_path / "file" / "state"))

    assert ended.status == 1
    assert [found["check"] for found in ended.objects if not found["ok"]] == ["state"]
    assert ended.objects[-1]["do"] == "set STATE_DIR to a folder; a file stands in its way"


def test_no_command_shows_a_secret(call: Call) -> None:
    for words in (["check", "--offline"], ["status"], ["tail", "--hub", "nix"], ["run", "hourly-snapshot"]):
        ended = call(*words)
        assert _FALSE_KEY not in ended.out + ended.err
        assert "obviously-false-password" not in ended.out + ended.err


# --- run --------------------------------------------------------------------------------------------


def test_a_feed_that_is_off_is_refused_by_name(call: Call) -> None:
    ended = call("run", "hourly-snapshot", "--json")

    assert (ended.status, ended.out) == (2, "")
    assert "feeds.hourly_snapshot: the feed is off; set its view id to run it" in ended.err


def test_a_run_beside_another_is_refused_before_anything_is_asked(call: Call, store: JsonFileStore) -> None:
    with store.lock("peoplecounterstate", "another-run"):
        ended = call("run", "all", "--json")

    locked, off = ended.objects
    assert ended.status == 3
    assert "another run works on this feed (another-run" in locked.pop("error")
    assert locked == {"feed": "people_counter", "ok": False}
    assert off == {"feed": "hourly_snapshot", "ok": True, "off": True}


# --- status -----------------------------------------------------------------------------------------

_DONE = datetime(2026, 3, 2, 12, 0, tzinfo=UTC)


def _state(**fields: Any) -> FeedState:
    """Give a state of one location, done until noon by the one hub; `fields` replace the location's."""
    location = LocationState(
        **{
            "last_listed": _DONE,
            "checkpoints": {_KEY: Checkpoint(_DONE, datetime(2026, 3, 1, tzinfo=UTC))},
            "hubs": {_KEY: HubRecord(10, 20, 3, last_success=_DONE)},
            **fields,
        }
    )
    discovery = Discovery(_DONE, (Place("Beacon House", "com.example.NORTH", 4),))
    return FeedState({"Beacon House": location}, discovery)


def _status(call: Call, store: JsonFileStore, state: FeedState) -> tuple[int, dict[str, Any]]:
    store.save("peoplecounterstate", state, list(state.locations))
    ended = call("status", "--json")
    return ended.status, ended.objects[0]


def test_status_gives_position_counts_and_last_success_of_hub_and_location(
    call: Call, store: JsonFileStore
) -> None:
    status, found = _status(call, store, _state())

    at_hub = found["hubs"][_KEY]
    figures = {
        "delivered_until": "2026-03-02T12:00:00.000Z",
        "behind_s": at_hub["behind_s"],
        "events": 10,
        "readings": 20,
        "duplicates": 3,
        "last_success": "2026-03-02T12:00:00.000Z",
        "error": None,
        "since": None,
    }
    assert (status, found["ok"], found["last_fetch_timestamp"]) == (0, True, "2026-03-02T12:00:00.000Z")
    assert (found["total_events_sent"], found["total_duplicates_skipped"]) == (10, 3)
    assert at_hub == {"name": "primary", "paused": False, "removed": False, **figures}
    assert at_hub["behind_s"] > 0
    known_from = "2026-03-01T00:00:00.000Z"
    assert found["locations"][0]["hubs"] == {
        _KEY: {
            **figures,
            "behind_s": found["locations"][0]["hubs"][_KEY]["behind_s"],
            "known_from": known_from,
        }
    }


@pytest.mark.parametrize(
    ("fields", "well"),
    [
        ({"error": "microshare: 503", "since": _DONE}, False),
        ({"hubs": {_KEY: HubRecord(error="refused", since=_DONE)}}, False),
        ({"hubs": {"old.example.test/gone": HubRecord(error="refused", since=_DONE)}}, True),
        ({"error": "microshare: 503", "since": _DONE, "last_listed": datetime(2026, 2, 1, tzinfo=UTC)}, True),
        ({"gaps": (Gap(Slice(_DONE, _DONE.replace(hour=13)), "missed", _DONE),)}, True),
    ],
    ids=["query fails", "hub fails", "hub was removed", "location is gone", "gap"],
)
def test_status_ends_with_1_for_what_is_forwarded_still_and_fails(
    call: Call, store: JsonFileStore, fields: dict[str, Any], well: bool
) -> None:
    status, found = _status(call, store, _state(**fields))

    assert (status, found["ok"]) == (0 if well else 1, well)


def test_status_for_people_shows_names_positions_and_gaps(call: Call, store: JsonFileStore) -> None:
    gap = Gap(Slice(_DONE, _DONE.replace(hour=13)), "saturated", _DONE)
    state = _state(gaps=(gap,), hubs={_KEY: HubRecord(error="hub primary: no\x1b[31m", since=_DONE)})
    store.save("peoplecounterstate", state, ["Beacon House"])

    shown = call("status").out

    assert "Beacon House  primary  2026-03-02 12:00" in shown
    assert "gap: Beacon House, 2026-03-02 12:00:00 UTC to 2026-03-02 13:00:00 UTC, saturated" in shown
    assert "hub primary: no\\x1b[31m (since 2026-03-02 12:00:00 UTC)" in shown
    assert "hourly-snapshot: off" in shown


def test_status_announces_a_takeover(call: Call, store: JsonFileStore) -> None:
    store.save("peoplecounterstate", FeedState(takeover=Takeover(_DONE, "state.json", 7, 1)), [])

    ended = call("status")

    assert ended.status == 0
    assert "the next run takes over the earlier forwarder's position 2026-03-02 12:00:00 UTC" in ended.out


# --- the edge ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (SettingsError(["a"]), 2),
        (FeedOff(["a"]), 2),
        (LockHeld("a"), 3),
        (SourceUnavailable("a"), 1),
        (HubRefused("a"), 1),
        (RuntimeError("a"), 1),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, Exception) else "",
)
def test_an_error_decides_the_exit_status(error: Exception, status: int) -> None:
    assert explain(error).status == status


def test_an_unexpected_error_is_one_redacted_line() -> None:
    register_secret("obviously-false-canary")

    explained = explain(RuntimeError("with obviously-false-canary in it"))

    assert explained.text.startswith("unexpected RuntimeError: with *** in it; please report it")


def test_a_message_is_split_into_what_is_wrong_and_what_to_do() -> None:
    assert said_and_advised("hub b: not found; check a; or b") == ("hub b: not found", "check a; or b")
    assert said_and_advised("hub b: not found") == ("hub b: not found", None)


@pytest.mark.parametrize("wanted", [None, "PRIMARY", _KEY.upper()], ids=["none", "name", "key"])
def test_a_hub_is_found_by_name_or_key(wanted: str | None, environ: dict[str, str]) -> None:
    assert find_hub(load_settings(environ), wanted).key == _KEY


# --- output -----------------------------------------------------------------------------------------


def test_an_object_stays_one_line_of_json_whatever_it_holds(
    capfdbinary: pytest.CaptureFixture[bytes],
) -> None:
    register_secret("obviously-false-canary")
    found = {
        "text": "a\nb\u2028c\x1b",
        "secret": "is obviously-false-canary",
        "lone": "\ud800",
        "password": 1,
    }

    Output(as_json=True).write_object(found)

    line = capfdbinary.readouterr().out.decode()
    assert len(line.splitlines()) == 1
    assert json.loads(line) == {**found, "secret": "is ***"}


def test_a_table_in_a_pipe_is_as_wide_as_it_must_be(capfdbinary: pytest.CaptureFixture[bytes]) -> None:
    name = "a hub with a name that no terminal could hold " * 5

    Output().show(table([Column("hub"), Column("events", number=True)], [[name, 1_234], ["b\n[red]", None]]))

    lines = capfdbinary.readouterr().out.decode().splitlines()
    assert lines[1] == f"{name}   1,234"
    assert lines[2].split() == ["b\\n[red]", "-"]


def test_a_reader_that_has_gone_ends_nothing() -> None:
    program = (
        "from app.cli.output import Output\n"
        "out = Output(as_json=True)\n"
        "while not out.reader_gone: out.write_object({'n': 1})\n"
        "raise SystemExit(7)"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", program], cwd=APP_ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    assert process.stdout is not None
    assert process.stderr is not None
    process.stdout.readline()

    process.stdout.close()

    assert (process.wait(20), process.stderr.read()) == (7, b"")
    process.stderr.close()


@pytest.mark.parametrize(
    ("seconds", "said"),
    [
        (None, "-"),
        (0.4, "0 s"),
        (59, "59 s"),
        (60, "1 min"),
        (3600, "1 h"),
        (12_000, "3 h 20 min"),
        (86_400, "1 d"),
        (187_200, "2 d 4 h"),
    ],
)
def test_a_span_is_told_in_its_largest_units(seconds: float | None, said: str) -> None:
    assert span(seconds) == said


def test_times_are_shown_in_utc() -> None:
    assert minute(parse_time("2026-03-02T13:30:59+01:00")) == "2026-03-02 12:30"


def test_texts_cannot_command_a_terminal() -> None:
    assert printable("Été \x1b[2J\r\nnext") == "Été \\x1b[2J\\r\\nnext"
    assert text("[red]\x07").plain == "[red]\\x07"
