"""How log lines look on standard error: for programs, for people, and for the journal."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest

from app.base.program import APP_ROOT

# A line, and a line of a library with a line break, of each level that matters.
_TALK = """
import logging
from app.base.log import configure_logging, get_log
from app.settings.loading import journal_stream
configure_logging("INFO", to_stderr=True, as_text=AS_TEXT, journal_stream=journal_stream())
log = get_log(run="r1", feed="people_counter")
log.info("run.started")
log.warning("location.failing", location="Tour \\x9b31mÉté", error='"no"', hub=None, attempts=0)
log.error("run.finished", briefly="people-counter FAILED, a \x9b2J", ok=False, hubs={"a": {}}, gaps=[])
logging.getLogger("sdk").error("first\\nsecond")
"""

# What a line begins with where the journal does not add it.
_TIMED = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ (.{7}) (.*)")

Talk = Callable[..., list[str]]


@pytest.fixture
def talk() -> Talk:
    def talk(*, as_text: bool, journal: bool = False) -> list[str]:
        """Give the lines that a process writes to standard error, which is the journal or only says so."""
        read, write = os.pipe()
        stream = os.fstat(write)
        named = f"{stream.st_dev}:{stream.st_ino + (0 if journal else 1)}"
        with os.fdopen(read, encoding="utf-8") as lines:
            subprocess.run(
                [sys.executable, "-c", _TALK.replace("AS_TEXT", str(as_text))],
                cwd=APP_ROOT,
                env={"PATH": os.environ["PATH"], "JOURNAL_STREAM": named, "PYTHONIOENCODING": "utf-8"},
                stderr=write,
                check=True,
                timeout=60,
            )
            os.close(write)
            return lines.read().splitlines()

    return talk


def test_text_has_time_level_and_event_then_each_field_that_says_something(talk: Talk) -> None:
    lines = [_TIMED.fullmatch(line) for line in talk(as_text=True)]

    assert [line and line.groups() for line in lines] == [
        ("INFO   ", "run.started run=r1 feed=people-counter"),
        (
            "WARNING",
            (
                r'location.failing run=r1 feed=people-counter location="Tour \u009b31mÉté" '
                r'error="\"no\"" attempts=0'
            ),
        ),
        ("ERROR  ", r"run.finished people-counter FAILED, a \u009b2J"),
        ("ERROR  ", "first"),
        ("ERROR  ", "second"),
    ]


def test_the_time_of_a_line_is_when_it_was_written_in_utc(talk: Talk) -> None:
    began = datetime.now(UTC).replace(microsecond=0)
    text, said = talk(as_text=True)[0], json.loads(talk(as_text=False)[0])
    ended = datetime.now(UTC)

    assert began <= datetime.fromisoformat(text.split(" ")[0]) <= ended
    assert began <= datetime.fromisoformat(said["at"]) <= ended
    assert said["at"].endswith("Z")


def test_json_is_one_object_a_line_with_its_level_and_the_whole_report(talk: Talk) -> None:
    said = [json.loads(line) for line in talk(as_text=False)[:3]]

    assert [list(line)[:5] for line in said] == [["event", "at", "level", "run", "feed"]] * 3
    assert [(line["event"], line["level"]) for line in said] == [
        ("run.started", "INFO"),
        ("location.failing", "WARNING"),
        ("run.finished", "ERROR"),
    ]
    assert {name: value for name, value in said[2].items() if name not in ("event", "at", "level")} == {
        "run": "r1",
        "feed": "people_counter",
        "ok": False,
        "hubs": {"a": {}},
        "gaps": [],
    }


def test_in_the_journal_each_line_begins_with_its_priority_and_its_event(talk: Talk) -> None:
    assert talk(as_text=True, journal=True) == [
        "<6>run.started run=r1 feed=people_counter",
        (
            r'<4>location.failing run=r1 feed=people_counter location="Tour \u009b31mÉté" '
            r'error="\"no\"" attempts=0'
        ),
        '<3>run.finished run=r1 feed=people_counter ok=false hubs={"a":{}}',
        "<3>first",
        "<3>second",
    ]
    assert talk(as_text=False, journal=True)[0] == (
        '<6>{"event": "run.started", "run": "r1", "feed": "people_counter"}'
    )


@pytest.mark.parametrize(
    ("words", "environ", "as_text"),
    [
        (["run", "people-counter"], {}, False),
        (["run", "people-counter"], {"LOG_FORMAT": "text"}, True),
        (["--log-format", "text", "run", "people-counter"], {}, True),
        (["run", "people-counter", "--log-format", "text"], {}, True),
        (["--log-format=json", "run", "people-counter"], {"LOG_FORMAT": "text"}, False),
    ],
    ids=["nothing said", "variable", "before the command", "after it", "option over variable"],
)
def test_the_option_wins_over_the_variable_wherever_it_stands(
    tmp_path: Path, words: list[str], environ: dict[str, str], as_text: bool
) -> None:
    # A file stands where the state's folder should be: the run ends before anything is asked.
    (tmp_path / "state").write_text("")
    ended = subprocess.run(
        [sys.executable, "-m", "app", *words],
        cwd=APP_ROOT,
        env={
            "PATH": os.environ["PATH"],
            "MICROSHARE_USERNAME": "svc@example.test",
            "MICROSHARE_PASSWORD": "obviously-false-password",
            "MICROSHARE_IDENTITY": "com.example.NORTH",
            "MICROSHARE_LOCATIONS": '["Example Shed"]',
            "MICROSHARE_PC_DASHBOARD_VIEW_ID": "ffffffffffffffffffffff0a",
            "EVENT_HUB_CONNECTION_STRING": "Endpoint=sb://a.example.test/;SharedAccessKeyName=send;"
            "SharedAccessKey=obviously-false-key;EntityPath=counts",
            "STATE_DIR": str(tmp_path / "state"),
            **environ,
        },
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )

    (finished,) = [line for line in ended.stderr.splitlines() if "run.finished" in line]
    assert ended.returncode == 1
    assert finished.startswith('{"event": "run.finished", "at": "') is not as_text
    assert (" ERROR   run.finished " in finished) is as_text
