from __future__ import annotations

import contextlib
import io
import json
import logging

import pytest

from app.base.log import configure_logging, get_log
from app.base.redaction import register_secret


@pytest.fixture
def lines(caplog: pytest.LogCaptureFixture) -> pytest.LogCaptureFixture:
    configure_logging("INFO", to_stderr=False)
    return caplog


def test_a_line_is_one_json_object_with_the_event_first(lines: pytest.LogCaptureFixture) -> None:
    get_log(run="r1", feed="people_counter").info("run.finished", events=3, place="50% Annex, Tour Été")

    [record] = lines.records
    assert record.getMessage() == (
        '{"event": "run.finished", "run": "r1", "feed": "people_counter", "events": 3, '
        '"place": "50% Annex, Tour Été"}'
    )
    assert record.levelno == logging.INFO


@pytest.mark.parametrize("end", ["\n", "\r", "\x85", "\x9b", "\u2028", "\u2029", "\ud800"])
def test_a_name_cannot_forge_a_line(lines: pytest.LogCaptureFixture, end: str) -> None:
    get_log().warning("location.failing", location=f'A{end}{{"event": "run.finished"}}')

    [record] = lines.records
    assert len(record.getMessage().splitlines()) == 1
    assert json.loads(record.getMessage())["location"] == f'A{end}{{"event": "run.finished"}}'


@pytest.mark.parametrize("text", ["no answer", "é" * 20_000], ids=["many entries", "entries too long"])
def test_a_line_too_long_for_its_readers_has_its_lists_cut_and_says_so(
    lines: pytest.LogCaptureFixture, text: str
) -> None:
    failures = [{"location": f"Building {at}", "hub": None, "error": text} for at in range(1000)]

    get_log(run="r1").error("run.finished", ok=False, failures=failures, warnings=["one"] * 2, took_s=1.5)

    [record] = lines.records
    said = json.loads(record.getMessage())
    assert len(record.getMessage().encode()) <= 30_000
    assert said["failures"] == failures[: len(said["failures"])]
    assert said["cut"]["failures"] == 1000
    assert (said["run"], said["ok"], said["took_s"]) == ("r1", False, 1.5)


def test_a_line_never_holds_a_secret(lines: pytest.LogCaptureFixture) -> None:
    register_secret("false-but-registered")

    get_log().error("run.finished", error="refused: false-but-registered")

    assert "false-but-registered" not in lines.text


def test_below_the_level_nothing_is_written(lines: pytest.LogCaptureFixture) -> None:
    configure_logging("ERROR", to_stderr=False)

    get_log().warning("hub.failing")

    assert lines.records == []
    configure_logging("INFO", to_stderr=False)


class Unwritten:
    """A value that must not be written out."""

    def __str__(self) -> str:
        raise AssertionError("it was written")


def test_a_detail_that_nobody_reads_is_not_even_written_out(lines: pytest.LogCaptureFixture) -> None:
    log = get_log()

    log.debug("request.made", location=Unwritten())

    assert not log.tells_details
    assert lines.records == []


def test_lines_go_where_standard_error_leads_at_the_time_as_above_the_bars_of_progress() -> None:
    root = logging.getLogger()
    before, root.handlers = root.handlers, []
    shown = io.StringIO()
    try:
        configure_logging("INFO", to_stderr=True, as_text=True)
        with contextlib.redirect_stderr(shown):
            get_log().info("run.started", feed="people_counter")
    finally:
        root.handlers = before

    assert shown.getvalue().endswith(" INFO    run.started feed=people-counter\n")
