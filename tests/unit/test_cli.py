"""What the command line says and how it ends where nothing is asked of anybody."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC
from pathlib import Path
from zoneinfo import ZoneInfo

import click
import pytest

from app.base.errors import FeedOff, HubRefused, LockHeld, SettingsError, SourceUnavailable
from app.base.instants import parse_time
from app.base.interpreter import lacking
from app.base.program import APP_ROOT
from app.base.redaction import register_secret
from app.base.text import dashed, minute, moment, printable, said_and_advised, span, times_in
from app.cli import COMMANDS, commands
from app.cli.choices import find_hub, find_hubs, instant
from app.cli.output import Output, text
from app.cli.session import explain, worst
from app.cli.tables import Column, table
from app.settings.loading import load_settings
from app.state.json_file import JsonFileStore
from tests.commands import FALSE_KEY, FEEDS, HUB, Call
from tests.unit.a_run import HUBS
from tests.unit.a_run import settings as settings_of_a_run

# --- exit statuses ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("one", "other", "both"),
    [
        (0, 0, 0),
        (0, 1, 1),
        (0, 2, 2),
        (0, 3, 3),
        (1, 1, 1),
        (1, 2, 2),
        (1, 3, 1),
        (2, 2, 2),
        (2, 3, 2),
        (3, 3, 3),
    ],
)
def test_the_worst_of_two_endings_is_told_whichever_came_first(one: int, other: int, both: int) -> None:
    assert (worst([one, other]), worst([other, one])) == (both, both)


def test_nothing_done_is_well() -> None:
    assert worst([]) == 0


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


def test_help_fits_80_columns_also_where_the_command_is_installed_and_has_a_longer_name(
    call: Call,
) -> None:
    longer = len("microshare-forwarder") - len("python -m app")
    lines = [
        line for words in _all_commands() for line in call(*words, "--help", COLUMNS="80").out.splitlines()
    ]

    assert len(lines) > 200
    assert [line for line in lines if len(line) + longer * line.count("python -m app") > 80] == []


def _all_commands(command: click.Command = commands, *words: str) -> Iterator[list[str]]:
    yield list(words)
    if isinstance(command, click.Group):
        ctx = click.Context(command)
        for name in command.list_commands(ctx):
            below = command.get_command(ctx, name)
            assert below is not None
            yield from _all_commands(below, *words, name)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["nix"], "No such command 'nix'"),
        (["statsu"], "No such command 'statsu'. (Did you mean one of: 'state', 'status'?)"),
        (["state", "shwo"], "No such command 'shwo'. Did you mean 'show'?"),
        (["run"], f"Missing argument 'FEED'. There are {', '.join(map(dashed, FEEDS))}, all"),
        (["backfill"], f"Missing argument 'FEED'. There are {', '.join(map(dashed, FEEDS))}\n"),
        (["status", "--tz", "Mars/Base"], "'Mars/Base' is not a time zone of this host; write one like"),
        (["completion", "bash"], "only the installed command can be completed"),
        (["run", "nix"], f"'nix' is not a feed; there are {', '.join(map(dashed, FEEDS))}, all"),
        (["status", "--nix"], "No such option"),
        (["tail", "--count", "0"], "0 is not in the range"),
        (["tail", "--hub", "nix"], f"there are:\n  primary ({HUB})"),
        (["send-test", "--count", "many"], "'many' is not a valid integer"),
        (["send-test", "--hub", "nix"], "'nix' is not one of the hubs"),
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
    assert "config.yaml: 1 problem\n  - MICROSHARE_PASSWORD: not set" in ended.err
    assert "the environment: 1 problem\n  - START_FROM: '5'" in ended.err
    assert not Path(environ["STATE_DIR"]).exists()


def test_no_command_shows_a_secret(call: Call) -> None:
    for words in (["check", "--offline"], ["status"], ["tail", "--hub", "nix"], ["run", "hourly-snapshot"]):
        ended = call(*words)
        assert FALSE_KEY not in ended.out + ended.err
        assert "obviously-false-password" not in ended.out + ended.err


# --- run --------------------------------------------------------------------------------------------


def test_a_feed_that_is_off_is_refused_by_name(call: Call) -> None:
    ended = call("run", "hourly-snapshot", "--json")

    assert (ended.status, ended.out) == (2, "")
    assert "feeds.hourly_snapshot: the feed is off; set its view id to run it" in ended.err


def test_a_run_beside_another_is_refused_before_anything_is_asked(call: Call, store: JsonFileStore) -> None:
    with store.lock("peoplecounterstate", "another-run"):
        ended = call("run", "all", "--json")

    locked, *off = ended.objects
    assert ended.status == 3
    assert "another run works on this feed (another-run" in locked.pop("error")
    assert locked == {"feed": "people_counter", "ok": False}
    assert off == [{"feed": feed, "ok": True, "off": True} for feed in FEEDS if feed != "people_counter"]


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


@pytest.mark.parametrize("wanted", [None, "PRIMARY", HUB.upper()], ids=["none", "name", "key"])
def test_a_hub_is_found_by_name_or_key(wanted: str | None, environ: dict[str, str]) -> None:
    assert find_hub(load_settings(environ), wanted).key == HUB


def test_a_paused_hub_is_left_out_and_refused_where_it_is_named() -> None:
    live, paused = HUBS[0], replace(HUBS[1], enabled=False)
    found = replace(settings_of_a_run(), hubs=(live, paused))

    assert (find_hubs(found, []), find_hubs(found, [live.name, live.key])) == ([live], [live])
    with pytest.raises(click.UsageError, match="hub b is paused; enable it first"):
        find_hubs(found, [paused.name])
    with pytest.raises(click.UsageError, match="every hub is paused"):
        find_hubs(replace(found, hubs=(paused,)), [])


# --- a Python without the packages ------------------------------------------------------------------


@pytest.mark.parametrize("module", ["app", "emulators", "emulators.demo", "emulators.scenario"])
def test_a_python_without_the_packages_is_named_with_the_ways_out(module: str) -> None:
    bare = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}

    ended = subprocess.run(
        [sys.executable, "-S", "-m", module],
        cwd=APP_ROOT,
        env=bare,
        capture_output=True,
        text=True,
        check=False,
    )

    assert (ended.returncode, ended.stdout) == (2, "")
    assert f"this Python, {sys.executable}, lacks " in ended.stderr
    assert f"install them into this one: {sys.executable} -m pip install -r " in ended.stderr
    assert "Traceback" not in ended.stderr


def test_a_package_that_is_loaded_late_is_missed_before_anything_is_begun(tmp_path: Path) -> None:
    program = "import sys; sys.modules['requests'] = None; from app.cli import main; main(['run', 'all'])"

    ended = subprocess.run(
        [sys.executable, "-c", program],
        cwd=APP_ROOT,
        env={**os.environ, "STATE_DIR": str(tmp_path / "state")},
        capture_output=True,
        text=True,
        check=False,
    )

    assert (ended.returncode, ended.stdout) == (2, "")
    assert ended.stderr.startswith(f"this Python, {sys.executable}, lacks the package requests, ")
    assert not (tmp_path / "state").exists()


def test_a_package_that_only_a_command_needs_is_no_bug_to_report(tmp_path: Path) -> None:
    missing = ModuleNotFoundError("No module named 'azure.eventhub'", name="azure.eventhub")
    other = tmp_path / ".venv" / "bin" / "python"

    assert explain(missing).status == 2
    assert "lacks the package azure.eventhub" in explain(missing).text
    assert f"python3 -m venv {other.parents[1]} && " in str(lacking(missing, python="p", root=tmp_path))
    other.parent.mkdir(parents=True)
    other.touch()
    assert f"call the one that has them: {other} -m app" in str(lacking(missing, python="p", root=tmp_path))
    assert str(lacking(missing, python="p", root=tmp_path, installed=True)).endswith(
        "install the wheel again, with what it needs: p -m pip install FILE.whl"
    )
    assert (
        "please report it" in explain(ModuleNotFoundError("No module named 'app.nix'", name="app.nix")).text
    )


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


def test_times_are_shown_and_read_in_the_zone_that_is_chosen(call: Call) -> None:
    with times_in(ZoneInfo("Asia/Kolkata")):
        shown = minute(parse_time("2026-03-01T20:00:00Z")), moment(parse_time("2026-03-01T20:00:00Z"))
        now = parse_time("2026-03-03T00:00:00Z")
        read = instant("--from", "2026-03-02T01:30", now), instant("--from", "2026-03-02T01:30Z", now)

    assert shown == ("2026-03-02 01:30", "2026-03-02 01:30:00 IST")
    assert read == (parse_time("2026-03-01T20:00:00Z"), parse_time("2026-03-02T01:30:00Z"))
    assert minute(parse_time("2026-03-01T20:00:00Z")) == "2026-03-01 20:00"


@pytest.mark.parametrize("words", [["--tz", "Asia/Kolkata", "check"], ["check", "--tz", "Asia/Kolkata"]])
def test_a_zone_can_be_chosen_with_any_command(call: Call, words: list[str]) -> None:
    with times_in(UTC):
        shown = call(*words, "--offline", PEOPLE_COUNTER_SCHEDULE="0 0 0 * * *")

    assert "05:30" in shown.out
    assert "Asia/Kolkata" in shown.out


@pytest.mark.parametrize(
    "words", [["-q", "runs"], ["runs", "-q"], ["check", "--offline", "--quiet"]], ids=" ".join
)
def test_a_quiet_command_tells_by_its_exit_status(call: Call, words: list[str]) -> None:
    aloud = call(*[word for word in words if word not in ("-q", "--quiet")])

    quiet = call(*words)

    assert aloud.out
    assert (quiet.status, quiet.out) == (aloud.status, "")


@pytest.mark.parametrize("words", list(_all_commands()), ids=" ".join)
def test_every_command_takes_the_options_that_are_common_after_its_words(
    call: Call, words: list[str]
) -> None:
    for common in (["-v"], ["--verbose"], ["-q"], ["--tz", "UTC"], ["--log-format", "text"]):
        assert call(*words, *common, "--help").status == 0

    refused = call(*words, "-q", "-v")
    assert refused.status == 2
    assert "--quiet and --verbose exclude one another; give one of them" in refused.err


def test_a_quiet_command_writes_the_json_and_the_errors_that_it_is_called_for(call: Call) -> None:
    assert call("-q", "status", "--json").objects
    assert "is not a feed" in call("-q", "run", "nix").err


def test_times_for_programs_are_in_utc_and_those_of_people_are_read_in_the_zone_that_is_chosen(
    call: Call,
) -> None:
    with times_in(ZoneInfo("Asia/Kolkata")):
        shown = call("check", "--offline", "--json", PEOPLE_COUNTER_SCHEDULE="0 0 0 * * *")
        read = instant("--from", "2026-03-02T01:30", parse_time("2026-03-03T00:00:00Z"))

    assert "Asia/Kolkata" not in shown.out
    assert "UTC" in shown.out
    assert read == parse_time("2026-03-01T20:00:00Z")


def test_times_are_shown_in_utc() -> None:
    assert minute(parse_time("2026-03-02T13:30:59+01:00")) == "2026-03-02 12:30"


def test_texts_cannot_command_a_terminal() -> None:
    assert printable("Été \x1b[2J\r\nnext") == "Été \\x1b[2J\\r\\nnext"
    assert text("[red]\x07").plain == "[red]\\x07"
