"""When `serve` runs a feed, by a clock that moves where it waits or runs, and at once."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta

import pytest

from app.base.budget import Budget
from app.base.program import APP_ROOT
from app.cli.serve import ServedFeed, keep_on_schedule
from app.cli.stop import Stop
from tests.commands import Call

QUARTERS = "0 */15 * * * *"
HOURS = "0 0 * * * *"
MINUTE = timedelta(minutes=1)
DAY = timedelta(days=1)


def at(time: str) -> datetime:
    return datetime.fromisoformat(f"2026-03-02T{time}Z").astimezone(UTC)


class VirtualHost:
    """A host whose time passes as its feed is run and waited for, from `begin` to `end`.

    `takes` is how long the run takes that begins then, `shifts` what is done to the clock in the first wait
    that ends after that time.
    """

    def __init__(
        self,
        begin: str,
        end: str,
        *,
        takes: Mapping[str, timedelta] = {},
        shifts: Mapping[str, timedelta] = {},
        schedules: Mapping[str, str] = {},
    ) -> None:
        self.clock = at(begin)
        self.left = at(end) - self.clock
        self.takes, self.schedules = takes, schedules
        self.shifts = {at(time): shift for time, shift in shifts.items()}
        self.schedule = QUARTERS
        self.runs: list[str] = []

    def now(self) -> datetime:
        return self.clock

    def wait(self, seconds: float) -> bool:
        self._pass(timedelta(seconds=seconds))
        for time in [time for time in self.shifts if time <= self.clock]:
            self.clock += self.shifts.pop(time)
        return self.left <= timedelta(0)

    def run(self) -> str:
        began = f"{self.clock:%H:%M:%S}"
        self.runs.append(began)
        self._pass(self.takes.get(began, timedelta(seconds=4)))
        self.schedule = self.schedules.get(began, self.schedule)
        return self.schedule

    def _pass(self, time: timedelta) -> None:
        self.clock += time
        self.left -= time

    def runs_until_stopped(self) -> list[str]:
        keep_on_schedule(self.run, self.wait, self.now)
        return self.runs


def test_a_feed_is_run_at_once_and_then_at_each_time_of_its_schedule() -> None:
    host = VirtualHost("10:07:30", "11:02:00")

    assert host.runs_until_stopped() == ["10:07:30", "10:15:00", "10:30:00", "10:45:00", "11:00:00"]


def test_a_time_that_comes_while_the_feed_runs_is_left_out() -> None:
    host = VirtualHost("10:00:00", "11:16:00", takes={"10:15:00": 31 * MINUTE})

    assert host.runs_until_stopped() == ["10:00:00", "10:15:00", "11:00:00", "11:15:00"]


def test_a_schedule_that_changes_counts_from_the_run_that_read_it() -> None:
    host = VirtualHost("10:00:00", "12:01:00", schedules={"10:30:00": HOURS})

    assert host.runs_until_stopped() == ["10:00:00", "10:15:00", "10:30:00", "11:00:00", "12:00:00"]


def test_times_that_a_host_slept_over_make_one_run() -> None:
    host = VirtualHost("10:00:00", "10:31:00", shifts={"10:10:00": 2 * 60 * MINUTE})

    assert host.runs_until_stopped() == ["10:00:00", "12:10:04", "12:15:00", "12:30:00"]


@pytest.mark.parametrize("back", [20 * MINUTE, 3 * DAY], ids=["some minutes", "days"])
def test_where_the_clock_is_set_back_the_next_time_is_by_the_new_clock(back: timedelta) -> None:
    host = VirtualHost("10:01:00", "10:27:00", shifts={"10:05:30": -back})

    runs = host.runs_until_stopped()

    assert runs == ["10:01:00", {20 * MINUTE: "10:00:00", 3 * DAY: "10:15:00"}[back]]


def test_a_feed_that_is_told_to_stop_before_it_begins_is_not_run() -> None:
    assert VirtualHost("10:00:00", "10:00:00").runs_until_stopped() == []


def test_a_signal_ends_the_newest_run_of_each_thread() -> None:
    stop = Stop()
    budgets = [Budget(4 * MINUTE) for _ in range(4)]

    with ThreadPoolExecutor(2) as threads:
        both = threading.Barrier(2)

        def watch(*runs: Budget) -> None:
            both.wait()
            for run in runs:
                stop.watch(run)
            both.wait()

        for done in [threads.submit(watch, *budgets[:2]), threads.submit(watch, *budgets[2:])]:
            done.result()
    waited_in_vain = stop.wait(0)
    stop.now()

    assert [budget.stopped for budget in budgets] == [False, True, False, True]
    assert stop.watch(Budget(4 * MINUTE)).stopped
    assert (waited_in_vain, stop.wait(0)) == (False, True)


_STOPPED = """
import os, signal, sys
from app.cli.stop import Stop

stop = Stop()
with stop.on_signals():
    os.close(2)
    os.kill(os.getpid(), signal.SIGTERM)
    sys.exit(0 if stop.wait(30) else 1)
"""


def test_a_signal_is_obeyed_where_nothing_can_be_said_of_it() -> None:
    assert subprocess.run([sys.executable, "-c", _STOPPED], cwd=APP_ROOT, check=False).returncode == 0


class FaultyStop(Stop):
    def watch(self, budget: Budget) -> Budget:  # noqa: ARG002 - as in Stop
        raise RuntimeError("a bug")


def test_a_bug_in_a_run_is_logged_and_the_next_run_comes(
    environ: dict[str, str], caplog: pytest.LogCaptureFixture
) -> None:
    schedule = ServedFeed("people_counter", HOURS, FaultyStop()).run()

    [line] = [json.loads(record.getMessage()) for record in caplog.records]
    assert (line["event"], line["feed"]) == ("error.unexpected", "people_counter")
    assert "RuntimeError: a bug" in line["traceback"]
    assert schedule == QUARTERS


def test_a_service_without_a_feed_that_is_on_is_refused(call: Call, environ: dict[str, str]) -> None:
    ended = call("serve", MICROSHARE_PC_DASHBOARD_VIEW_ID="", MICROSHARE_SNAPSHOT_DASHBOARD_VIEW_ID="")

    assert (ended.status, ended.out) == (2, "")
    assert "all are off" in ended.err
