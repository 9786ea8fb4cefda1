"""What surrounds a run in the Functions host: which endings are failures, and what its log says of them."""

from __future__ import annotations

import json
import logging
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from azure.functions.timer import TimerRequest

from app.base.errors import FeedOff, LockHeld, SettingsError
from app.base.log import LOGGER_NAME
from app.run.ports import Wiring
from app.run.report import RunFailed
from app.timer import wired_for_timer
from tests.unit.a_run import NOON, draft

FEED = "people_counter"


@pytest.fixture(autouse=True)
def _settings(environ: dict[str, str]) -> None:
    """Let the host have the settings of commands in unit tests."""


def lines(caplog: pytest.LogCaptureFixture) -> list[tuple[str, str, str]]:
    """Give level, event and reason of each line of ours."""
    ours = [record for record in caplog.records if record.name.startswith(LOGGER_NAME)]
    found = [(record.levelname, json.loads(record.getMessage())) for record in ours]
    return [(level, line["event"], line.get("reason", "")) for level, line in found]


def run(ending: Exception | None = None, feed: str = FEED, *, past_due: bool = False) -> Wiring:
    """Let a timer fire, and its run end so; give the parts that it was given."""
    with wired_for_timer(feed, TimerRequest(past_due=past_due)) as wiring:
        if ending is not None:
            raise ending
    return wiring


def test_a_run_that_ends_well_is_given_its_parts_and_says_nothing_besides(
    caplog: pytest.LogCaptureFixture, tmp_path: Path
) -> None:
    wiring = run()

    assert [hub.entity for hub in wiring.settings.hubs] == ["counts"]
    assert (wiring.store.place, wiring.dry_run, wiring.until) == (str(tmp_path / "state"), False, None)
    assert lines(caplog) == []


def test_a_timer_that_is_late_says_so(caplog: pytest.LogCaptureFixture) -> None:
    run(past_due=True)

    assert lines(caplog) == [("INFO", "timer.late", "")]


@pytest.mark.parametrize(
    ("ending", "feed", "line"),
    [
        (FeedOff("off"), FEED, ("INFO", "run.skipped", "the feed has no view id, so it is off")),
        (
            FeedOff("off"),
            "visits",
            ("WARNING", "run.skipped", "the settings file has no entry feeds.visits, so it is off"),
        ),
        (
            LockHeld("another run works on this feed"),
            FEED,
            ("WARNING", "run.skipped", "another run works on this feed"),
        ),
    ],
    ids=["a feed that is off", "a feed without an entry", "a feed that another run works on"],
)
def test_a_run_that_has_nothing_to_do_is_no_failure_of_its_invocation(
    caplog: pytest.LogCaptureFixture, ending: Exception, feed: str, line: tuple[str, str, str]
) -> None:
    run(ending, feed)

    assert lines(caplog) == [line]


def test_a_run_that_failed_is_a_failure_of_its_invocation() -> None:
    told = draft()
    told.fail(None, None, "hub down")
    failed = RunFailed(told.finish(failing_since=NOON, took_s=1.0))

    with pytest.raises(RunFailed):
        run(failed)


def test_settings_that_cannot_be_used_are_named_before_anything_is_done(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("STATE_DIR", "")
    monkeypatch.setenv("MICROSHARE_PASSWORD", "")

    with pytest.raises(SettingsError):
        run()

    record = caplog.records[-1]
    problems = json.loads(record.getMessage())["problems"]
    assert (record.levelname, "MICROSHARE_PASSWORD" in str(problems)) == ("ERROR", True)


def test_the_level_of_the_settings_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LOG_LEVEL", "ERROR")

    run()

    assert logging.getLogger(LOGGER_NAME).getEffectiveLevel() == logging.ERROR


@pytest.mark.parametrize(
    "context",
    [None, SimpleNamespace(), SimpleNamespace(trace_context=SimpleNamespace(trace_parent=None))],
    ids=["no context", "nothing of a trace", "no name"],
)
def test_a_host_need_not_tell_of_its_invocation(context: Any) -> None:
    with wired_for_timer(FEED, TimerRequest(past_due=False), context) as wiring:
        assert wiring.settings.feeds[FEED].view_id
