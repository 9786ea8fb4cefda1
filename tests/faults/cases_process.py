"""E: the process. Killed, told to stop, out of time, out of step with its timer."""

from __future__ import annotations

import signal
import subprocess
import threading
import time
from collections.abc import Callable
from datetime import timedelta

from app.base.budget import Budget
from app.base.instants import parse_time
from emulators.microshare import Request, Response
from tests.environments.faulty import RUN, FaultyInstallation, Outcome, run_within
from tests.faults.case import Case
from tests.faults.cases_source import M, T, all_moved, nothing_moved

KILLED = "no loss; at most the batches in flight repeat, with the same ids; the next run needs no help"


def kill_at_a_request(kind: str) -> Callable[[FaultyInstallation], Outcome]:
    """Give a run that is killed as it asks."""

    def act(faulty: FaultyInstallation) -> Outcome:
        running: list[subprocess.Popen[str]] = []
        started = threading.Event()

        def kill(request: Request) -> Response | None:
            if request.kind == kind and not faulty.fired["killed"]:
                started.wait(10)
                faulty.fired["killed"] += 1
                running[0].kill()
                running[0].wait(10)
            return None

        faulty.source.intercept = kill
        running.append(faulty.start(*RUN))
        started.set()
        return faulty.finish(running[0])

    return act


def kill_at_a_batch(hub: str) -> Callable[[FaultyInstallation], Outcome]:
    """Give a run that is killed when a hub has stored a batch, and its acknowledgement is on its way."""

    def act(faulty: FaultyInstallation) -> Outcome:
        running: list[subprocess.Popen[str]] = []
        started = threading.Event()

        def kill(_: object) -> None:
            if not faulty.fired["killed"]:
                started.wait(10)
                faulty.fired["killed"] += 1
                running[0].kill()
                running[0].wait(10)

        (faulty.a if hub == "a" else faulty.b).on_store(kill)
        # Two doors of two buildings, one reading each since the last save.
        faulty.repeats = 4
        running.append(faulty.start(*RUN))
        started.set()
        return faulty.finish(running[0])

    return act


def nothing(_: FaultyInstallation) -> None:
    """The run itself makes the fault."""


def stop_by_signal(faulty: FaultyInstallation) -> Outcome:
    """Give a run that is told to stop while its queries are under way."""
    came, go_on = threading.Event(), threading.Event()

    def hold(request: Request) -> Response | None:
        if request.kind == "query":
            faulty.fired["held"] += 1
            came.set()
            go_on.wait(30)
        return None

    faulty.source.intercept = hold
    process = faulty.start(*RUN)
    assert came.wait(30)
    process.send_signal(signal.SIGTERM)
    assert process.stderr is not None
    assert any("once more ends at once" in line for line in process.stderr)
    go_on.set()
    return faulty.finish(process)


def stop_while_a_hub_is_silent(faulty: FaultyInstallation) -> Outcome:
    """Give a run that is told to stop while hub b owes it an answer."""
    budget = Budget(timedelta(seconds=60), grace=timedelta(seconds=3))

    def stop() -> None:
        while not faulty.b.fired["stall"]:
            time.sleep(0.05)
        budget.stop()

    faulty.b.stall("outcome")
    stopper = threading.Thread(target=stop, daemon=True)
    stopper.start()
    outcome = faulty.run_once(budget=budget)
    stopper.join()
    return outcome


def ended_soon(faulty: FaultyInstallation) -> None:
    assert faulty.report.took_s < 30
    assert faulty.since("b") == 0


def silent_source(faulty: FaultyInstallation) -> None:
    faulty.source.faults.slow(30)


def much_behind(faulty: FaultyInstallation) -> None:
    faulty.pass_quiet_time(hours=30)
    faulty.overrides["slice_length"] = timedelta(hours=1)
    faulty.overrides["concurrency"] = 1
    faulty.source.faults.slow(0.5)


def fair_progress(faulty: FaultyInstallation) -> None:
    """Both locations went on, about as far; what is left is said."""
    report = faulty.report
    assert report.left == 2
    begin = faulty.began
    gone = [faulty.position(name, "a") - begin for name in (M, T)]
    assert min(gone) > timedelta(0)
    assert max(gone) - min(gone) <= timedelta(hours=2)
    behind = report.hubs[faulty.key("a")].behind_s
    assert behind is not None
    assert behind > 0
    assert report.left_s > 0
    assert report.forecast_s is not None
    assert report.forecast_s > 0


def pages_too_large(faulty: FaultyInstallation) -> None:
    """Let the pages of a long window be more together than memory is given."""
    faulty.overrides["largest_answer_bytes"] = 30_000
    faulty.pass_time(hours=4)
    faulty.source.faults.small_pages(1)


def page_too_large(faulty: FaultyInstallation) -> None:
    """Let a long window be one page that is more than memory is given."""
    faulty.overrides["largest_answer_bytes"] = 40_000
    faulty.pass_time(hours=4)
    asked = len(faulty.source.queries())
    faulty.proof("it was asked", lambda: len(faulty.source.queries()) > asked)


def asked_less(faulty: FaultyInstallation) -> None:
    all_moved(faulty)
    widths = [_width(found.query) for found in faulty.source.queries(M)[1:]]
    assert min(widths) < max(widths)
    # Once it was answered for less, what is left is asked for no more than that.
    answered = widths.index(min(widths))
    assert max(widths[answered:]) < max(widths[:answered])


def _width(query: object) -> timedelta:
    asked = dict(query)  # type: ignore[call-overload]  # a mapping
    return parse_time(asked["to"][0]) - parse_time(asked["from"][0])


def late_by(**by: float) -> Callable[[FaultyInstallation], None]:
    def inject(faulty: FaultyInstallation) -> None:
        before = faulty.clock.now
        faulty.pass_quiet_time(**by)
        faulty.proof("time passed", lambda: faulty.clock.now > before)

    return inject


def bounded_slices(faulty: FaultyInstallation) -> None:
    all_moved(faulty)
    widths = [_width(found.query) for found in faulty.source.queries()]
    assert max(widths) <= timedelta(hours=24, seconds=1)


def twice_at_once(faulty: FaultyInstallation) -> Outcome:
    """Give the second of two runs that begin one after the other at the same instant."""
    faulty.run_once()
    sent = (faulty.since("a"), faulty.since("b"))
    outcome = faulty.run_once()
    assert (faulty.since("a"), faulty.since("b")) == sent
    faulty.fired["fired twice"] += 1
    return outcome


CASES = (
    Case("E1", "killed while it logs in", KILLED, nothing, -9, act=kill_at_a_request("login"), live=True),
    Case("E1", "killed while it asks", KILLED, nothing, -9, act=kill_at_a_request("query"), live=True),
    Case(
        "E1",
        "killed before an acknowledgement of one hub",
        KILLED,
        nothing,
        -9,
        act=kill_at_a_batch("a"),
        live=True,
    ),
    Case(
        "E1",
        "killed before an acknowledgement of the other",
        KILLED,
        nothing,
        -9,
        act=kill_at_a_batch("b"),
        live=True,
    ),
    Case(
        "E2",
        "told to stop while it asks",
        "ends in order and soon, with status 0 and what is left",
        nothing,
        0,
        ('"left":2',),
        act=stop_by_signal,
        live=True,
    ),
    Case(
        "E2",
        "told to stop while a hub does not answer",
        "what is under way is abandoned within the grace time; the rest is kept",
        nothing,
        0,
        ('"left": 2',),
        ended_soon,
        act=stop_while_a_hub_is_silent,
    ),
    Case(
        "E2",
        "source that answers nothing until the time is over",
        "ends within the grace time, reported",
        silent_source,
        1,
        ("no query was answered", "check the API"),
        nothing_moved,
        act=run_within(2.0, 2.0),
    ),
    Case(
        "E3",
        "time used up with a backlog",
        "fair across locations, progress kept, what is left is said",
        much_behind,
        0,
        ('"left": 2',),
        fair_progress,
        act=run_within(10.0),
        slow=True,
    ),
    Case(
        "E4",
        "answer larger than memory is given",
        "a shorter window is asked",
        pages_too_large,
        check=asked_less,
    ),
    Case(
        "E4",
        "one page larger than memory is given",
        "a shorter window is asked",
        page_too_large,
        check=asked_less,
    ),
    Case(
        "E5",
        "timer off for a week",
        "caught up in slices of a day at most",
        late_by(days=7),
        check=bounded_slices,
    ),
    Case(
        "E5", "timer late by minutes", "nothing depends on the schedule", late_by(minutes=7), check=all_moved
    ),
    Case(
        "E5", "timer fires twice", "the second run sends nothing", nothing, act=twice_at_once, check=all_moved
    ),
)
