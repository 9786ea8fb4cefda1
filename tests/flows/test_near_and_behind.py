"""A hub that is behind catches up after what the others are about to get, which is soon."""

from __future__ import annotations

import itertools
import threading
from dataclasses import replace
from datetime import timedelta

import pytest

from app.base.instants import parse_time
from app.run.forwarder import run_forwarder
from emulators.microshare import Request, Response
from tests.environments.installation import START, Clock, Installation

DAY = timedelta(days=1)


@pytest.fixture
def installation(installation: Installation, clock: Clock) -> Installation:
    """The first hub lacks an hour, the second one a day more; all that may be asked is asked at once."""
    installation.overrides["concurrency"] = 32
    installation.b.refuse_attach()
    installation.run()
    installation.b.clear_faults()
    clock.move(hours=1)
    return installation


def is_behind(request: Request) -> bool:
    return parse_time(request.query["from"][0]) < START - timedelta(hours=2)


def test_what_is_behind_is_asked_for_once_what_is_near_has_arrived(installation: Installation) -> None:
    told: list[str] = []

    def note(request: Request) -> None:
        if request.kind == "query":
            told.append("behind asked" if is_behind(request) else "near asked")

    installation.source.intercept = note
    installation.a.on_store(lambda _: told.append("near arrived"))
    # No time passes, so that it would wait for ever.
    wiring = replace(installation.wiring(), monotonic=lambda: 0.0)

    assert run_forwarder("people_counter", wiring).ok

    begun = told.index("behind asked")
    assert set(told[:begun]) == {"near asked", "near arrived"}
    assert "near arrived" not in told[begun:]
    for hub in (installation.a, installation.b):
        assert installation.breaches(hub, START - DAY) == []


def test_a_location_that_answers_late_holds_up_what_is_behind_no_longer_than_a_second(
    installation: Installation,
) -> None:
    held, behind_asked = threading.Event(), threading.Event()
    begun: list[bool] = []
    seconds = itertools.count()

    def hold(request: Request) -> Response | None:
        if request.kind != "query":
            return None
        if is_behind(request):
            behind_asked.set()
        elif not held.is_set():
            held.set()
            begun.append(behind_asked.wait(30))
        return None

    installation.source.intercept = hold
    # Once an answer is late, a second passes from one look at the clock to the next.
    wiring = replace(installation.wiring(), monotonic=lambda: float(next(seconds)) if held.is_set() else 0.0)

    assert run_forwarder("people_counter", wiring).ok

    assert begun == [True]
    for hub in (installation.a, installation.b):
        assert installation.breaches(hub, START - DAY) == []
