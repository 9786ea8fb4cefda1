"""`serve` as a container runs it: one process, the emulators, and schedules of a second."""

from __future__ import annotations

import gc
import json
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from app.base.checkpoints import FeedState
from app.cli.serve import ServedFeed
from app.cli.stop import Stop
from app.feeds.feed import load_feed
from app.state.json_file import JsonFileStore
from tests.environments.terminal import Terminal, finish, read_until, wait_for

EACH_SECOND = "* * * * * *"


class Served:
    """A command `serve` under way, and what it logged so far."""

    def __init__(self, terminal: Terminal) -> None:
        self.process = terminal.start("serve")

    def until(self, said: str, times: int = 1) -> list[dict[str, Any]]:
        """Give the lines up to that many that say so."""
        read = read_until(said, self.process, times)
        assert read.count(said) == times
        return [json.loads(line) for line in read.splitlines()]

    def stop(self) -> tuple[int, str, list[dict[str, Any]]]:
        """Send SIGTERM; give the exit status, standard output and the lines of the log since."""
        self.process.send_signal(signal.SIGTERM)
        ended = finish(self.process)
        lines = [line for line in ended.err.splitlines() if not line.startswith("stopping: ")]
        return ended.status, ended.out, [json.loads(line) for line in lines]


@contextmanager
def serving(terminal: Terminal) -> Iterator[Served]:
    served = Served(terminal)
    # Else a line that never comes is waited for as long as it serves.
    end = threading.Timer(40, served.process.kill)
    end.start()
    try:
        yield served
    finally:
        end.cancel()
        served.process.kill()
        served.process.communicate()


def test_all_feeds_are_run_at_once_and_sigterm_ends_it_with_0(terminal: Terminal) -> None:
    with serving(terminal) as served:
        lines = served.until("run.finished", times=2)
        ended = served.stop()

    assert lines[0]["event"] == "serve.started"
    assert lines[0]["feeds"] == {"people_counter": "0 */15 * * * *", "hourly_snapshot": "0 0 * * * *"}
    assert {line["feed"]: line["ok"] for line in lines if line["event"] == "run.finished"} == {
        "people_counter": True,
        "hourly_snapshot": True,
    }
    assert ended == (0, "", [])
    assert len(terminal.a.received()) == len(terminal.b.received()) > 0
    assert JsonFileStore(terminal.folder / "state").load(load_feed("people_counter").state_name).locations


def test_sigterm_ends_runs_of_both_feeds_early_and_in_order(
    terminal: Terminal, held_queries: tuple[threading.Event, threading.Event]
) -> None:
    came, go_on = held_queries
    with serving(terminal) as served:
        served.until("run.started", times=2)
        assert came.wait(30)
        served.process.send_signal(signal.SIGTERM)
        wait_for("once more ends at once", served.process)
        go_on.set()
        ended = finish(served.process)

    reports = [json.loads(line) for line in ended.err.splitlines()]
    finished = [line for line in reports if line["event"] == "run.finished"]
    assert ended.status == 0
    assert [line["ok"] for line in finished] == [True, True]
    assert any(line["interrupted"] and line["left"] for line in finished)
    assert terminal.call("run", "all").status == 0


def test_a_run_that_fails_ends_neither_the_service_nor_the_other_feed(terminal: Terminal) -> None:
    terminal.environ |= {"PEOPLE_COUNTER_SCHEDULE": EACH_SECOND, "HOURLY_SNAPSHOT_SCHEDULE": EACH_SECOND}
    terminal.b.refuse_attach()
    with serving(terminal) as served:
        failed = set[str]()
        while failed != {"people_counter", "hourly_snapshot"}:
            failed |= {line["feed"] for line in served.until('"ok": false') if "ok" in line}
        terminal.b.clear_faults()
        while len(terminal.b.received()) < len(terminal.a.received()):
            served.until('"ok": true')
        status, _, _ = served.stop()

    assert status == 0
    assert len(terminal.a.received()) == len(terminal.b.received()) > 0


def states_in_memory() -> int:
    return sum(isinstance(found, FeedState) for found in gc.get_objects())


def test_a_state_is_not_kept_until_the_next_run(terminal: Terminal, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in terminal.environ.items():
        monkeypatch.setenv(name, value)
    gc.collect()
    before = states_in_memory()
    # As long as it would take Python to look for garbage by itself.
    gc.disable()
    try:
        ServedFeed("people_counter", "0 0 * * * *", Stop()).run()
        after = states_in_memory()
    finally:
        gc.enable()

    assert JsonFileStore(terminal.folder / "state").load("peoplecounterstate").last_run
    assert after <= before


def test_settings_files_are_read_again_for_each_run(terminal: Terminal) -> None:
    password = terminal.folder / "password"
    password.write_text("obviously-false-password-of-before")
    del terminal.environ["MICROSHARE_PASSWORD"]
    terminal.environ |= {
        "PEOPLE_COUNTER_SCHEDULE": EACH_SECOND,
        "HOURLY_SNAPSHOT_SCHEDULE": EACH_SECOND,
        "MICROSHARE_PASSWORD_FILE": str(password),
    }
    with serving(terminal) as served:
        refused = served.until('"ok": false')
        password.write_text(terminal.source.environment()["MICROSHARE_PASSWORD"])
        served.until('"ok": true')
        config = (terminal.folder / "config.yaml").read_text()
        (terminal.folder / "config.yaml").write_text(f"{config}\nfeed: {{}}\n")
        wrong = served.until("settings.refused")
        (terminal.folder / "config.yaml").write_text(config)
        served.until('"ok": true')
        status, _, _ = served.stop()

    assert "MICROSHARE_PASSWORD" in str(refused[-1]["failures"])
    assert "feed" in str(wrong[-1]["problems"])
    assert status == 0


def test_a_feed_that_is_off_is_left_out_and_one_that_another_run_has_is_skipped(terminal: Terminal) -> None:
    del terminal.environ["MICROSHARE_SNAPSHOT_DASHBOARD_VIEW_ID"]
    store = JsonFileStore(terminal.folder / "state")
    with store.lock("peoplecounterstate", "another-run"), serving(terminal) as served:
        started, skipped = served.until("run.skipped")
        status, _, lines = served.stop()

    assert list(started["feeds"]) == ["people_counter"]
    assert (skipped["feed"], "another-run" in skipped["reason"]) == ("people_counter", True)
    assert (status, lines) == (0, [])


@pytest.mark.parametrize("variable", ["MICROSHARE_PASSWORD", "PEOPLE_COUNTER_SCHEDULE"])
def test_settings_that_are_refused_as_it_begins_end_it_with_2(terminal: Terminal, variable: str) -> None:
    ended = terminal.call("serve", **{variable: "*" if variable.endswith("SCHEDULE") else ""})

    assert (ended.status, ended.out) == (2, "")
    assert variable in ended.err
    assert terminal.source.requests == []
