"""A monitor is told of each run, and no run depends on it."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest

from app.base.log import get_log
from app.run.pings import Pings, asking
from app.settings.schema import DIRECT
from tests.environments.monitor import CHECK, Monitor
from tests.environments.terminal import Terminal


@pytest.fixture
def monitor() -> Iterator[Monitor]:
    with Monitor() as found:
        yield found


@pytest.fixture
def terminal(terminal: Terminal, monitor: Monitor) -> Terminal:
    terminal.environ["PEOPLE_COUNTER_PING_URL"] = monitor.url
    return terminal


def test_a_run_tells_when_it_begins_and_that_it_succeeded(terminal: Terminal, monitor: Monitor) -> None:
    ended = terminal.call("run", "all")

    assert ended.status == 0, ended.err
    assert monitor.heard == ["GET /start", "GET"]
    assert "ping" not in ended.err


def test_a_run_in_which_something_failed_tells_so(terminal: Terminal, monitor: Monitor) -> None:
    terminal.b.refuse_attach()

    ended = terminal.call("run", "people-counter")

    assert ended.status == 1
    assert monitor.heard == ["GET /start", "GET /fail"]


def test_a_run_that_cannot_read_its_state_tells_so(terminal: Terminal, monitor: Monitor) -> None:
    terminal.call("run", "people-counter")
    monitor.heard.clear()
    (terminal.folder / "state" / "peoplecounterstate.json").write_text("damaged")

    ended = terminal.call("run", "people-counter")

    assert ended.status == 1
    assert monitor.heard == ["GET /start", "GET /fail"]


def test_a_dry_run_and_a_backfill_tell_nothing(terminal: Terminal, monitor: Monitor) -> None:
    assert terminal.call("run", "people-counter", "--dry-run").status == 0
    assert (
        terminal.call(
            "backfill", "people-counter", "--from", "2026-03-01T00:00Z", "--to", "2026-03-01T06:00Z", "--yes"
        ).status
        == 0
    )

    assert monitor.heard == []


def test_a_run_succeeds_whatever_the_monitor_answers_and_says_so_in_its_log(
    terminal: Terminal, monitor: Monitor
) -> None:
    monitor.status = 404

    ended = terminal.call("run", "people-counter")

    assert ended.status == 0
    told = [line for line in ended.err.splitlines() if '"ping.failed"' in line]
    assert len(told) == 2
    assert "the monitor answers with 404; check ping_url of the feed" in told[0]
    assert CHECK not in ended.out + ended.err


def test_a_run_succeeds_where_nobody_listens_and_shows_no_more_than_the_host(
    terminal: Terminal, monitor: Monitor
) -> None:
    url = f"http://127.0.0.1:1/{CHECK}"

    ended = terminal.call("run", "people-counter", PEOPLE_COUNTER_PING_URL=url)

    assert ended.status == 0
    assert "ping: connection to 127.0.0.1:1 failed" in ended.err
    assert CHECK not in ended.out + ended.err


def test_an_error_names_the_monitors_host_alone_and_no_setting_of_another(monitor: Monitor) -> None:
    monitor.body = b" " * 100_000

    said = asking(DIRECT)(monitor.url, 5.0)

    host = monitor.url.split("/")[2]
    assert said == f"the answer of {host} is over 65,536 bytes"


@pytest.mark.parametrize(
    "url",
    [f"http://hc.example.test/{CHECK}", f"https://u:p@hc.example.test/{CHECK}", f"hc.example.test/{CHECK}"],
)
def test_a_url_that_cannot_be_one_is_refused_and_not_shown(terminal: Terminal, url: str) -> None:
    ended = terminal.call("run", "people-counter", PEOPLE_COUNTER_PING_URL=url)

    assert ended.status == 2
    assert "PEOPLE_COUNTER_PING_URL: is not a URL as https://hc.example.com/ID is" in ended.err
    assert CHECK not in ended.err


def test_the_end_is_told_after_the_beginning_though_that_takes_longer() -> None:
    told: list[str] = []
    may_begin = threading.Event()

    def ask(url: str, seconds: float) -> str | None:
        if url.endswith("/start"):
            may_begin.wait(10)
        told.append(url)
        return None

    pings = Pings("https://hc.example.test/x", ask, get_log())
    pings.started()
    threading.Timer(0.05, may_begin.set).start()
    pings.ended(ok=True)

    assert told == ["https://hc.example.test/x/start", "https://hc.example.test/x"]


def test_a_monitor_that_never_answers_is_left_behind(caplog: pytest.LogCaptureFixture) -> None:
    never = threading.Event()

    def ask(url: str, seconds: float) -> str | None:
        never.wait(60)
        return None

    pings = Pings("https://hc.example.test/x", ask, get_log(), longest_s=0.01)
    pings.started()
    pings.ended(ok=False)

    # That it comes here at all is the point; what waits still is let go.
    waiting = [thread.name for thread in threading.enumerate() if thread.name == "ping"]
    never.set()
    assert waiting == ["ping", "ping"]
    assert ["no answer within 0.01 s" in record.getMessage() for record in caplog.records] == [True, True]


def test_what_went_wrong_is_logged_by_the_thread_of_the_run(caplog: pytest.LogCaptureFixture) -> None:
    def ask(url: str, seconds: float) -> str | None:
        return "the monitor answers with 404"

    pings = Pings("https://hc.example.test/x", ask, get_log(run="r1", feed="people_counter"))
    pings.started()
    pings.ended(ok=True)

    assert [record.thread for record in caplog.records] == [threading.get_ident()] * 2


def test_an_error_nobody_thought_of_is_a_line_in_the_log(caplog: pytest.LogCaptureFixture) -> None:
    def ask(url: str, seconds: float) -> str | None:
        raise RuntimeError("a bug")

    pings = Pings("https://hc.example.test/x", ask, get_log(run="r1", feed="people_counter"))
    pings.started()
    pings.ended(ok=True)

    assert ["unexpected RuntimeError: a bug" in record.getMessage() for record in caplog.records] == [
        True,
        True,
    ]
