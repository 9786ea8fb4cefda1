"""How log lines look on standard error: for programs, for people, and for the journal."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from app.settings.loading import APP_ROOT

# A line, and a line of a library with a line break, of each level that matters.
_TALK = """
import logging
from app.base.log import configure_logging, get_log
from app.settings.loading import journal_stream
configure_logging("INFO", to_stderr=True, as_text=AS_TEXT, journal_stream=journal_stream())
log = get_log(run="r1", feed="people_counter")
log.info("run.started")
log.warning("location.failing", location="Tour \\x9b31mÉté", error='"no"', hub=None, attempts=0)
log.error("run.finished", ok=False, hubs={"a": {"events": 3}}, gaps=[], warnings=["one"])
logging.getLogger("sdk").error("first\\nsecond")
"""

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


def test_text_has_the_event_first_then_each_field_that_says_something(talk: Talk) -> None:
    assert talk(as_text=True) == [
        "run.started run=r1 feed=people_counter",
        r'location.failing run=r1 feed=people_counter location="Tour \u009b31mÉté" error="\"no\"" attempts=0',
        'run.finished run=r1 feed=people_counter ok=false hubs={"a":{"events":3}} warnings=["one"]',
        "first",
        "second",
    ]


def test_json_is_one_object_a_line(talk: Talk) -> None:
    lines = talk(as_text=False)

    assert [json.loads(line)["event"] for line in lines[:3]] == [
        "run.started",
        "location.failing",
        "run.finished",
    ]


@pytest.mark.parametrize("as_text", [True, False], ids=["text", "json"])
def test_in_the_journal_each_line_carries_its_priority(talk: Talk, as_text: bool) -> None:
    lines = talk(as_text=as_text, journal=True)

    assert [line[:3] for line in lines] == ["<6>", "<4>", "<3>", "<3>", "<3>"]
    assert [line[3:] for line in lines] == talk(as_text=as_text)


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
    assert finished.startswith("run.finished run=" if as_text else '{"event": "run.finished", "run": ')
