"""What once went wrong, in the order in which it was found."""

from __future__ import annotations

import time
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from app.base.budget import Budget
from app.run.forwarder import run_forwarder
from app.run.report import RunFailed
from emulators.eventhubs import StoredEvent
from emulators.microshare import Request
from tests.environments.installation import START, Clock, Installation, arrivals
from tests.promise import breaches

DAY = timedelta(hours=24)


def test_a_full_millisecond_ahead_of_a_hub_that_is_behind_costs_it_nothing(
    installation: Installation, clock: Clock
) -> None:
    name = installation.estate.listed(clock.now)[0].name
    installation.run()
    both = installation.environ.pop("EVENT_HUB_CONNECTION_STRINGS")
    clock.move(days=5)
    installation.run()
    installation.environ["EVENT_HUB_CONNECTION_STRINGS"] = both
    clock.move(minutes=15)
    burst = clock.now - timedelta(minutes=5)
    full = {installation.estate.add_people(name, None, burst)["record"] for _ in range(1200)}

    report = installation.run()

    assert report.ok, report.failures
    assert [(location, gap.window.start) for location, gap in report.gaps] == [(name, burst)]
    published = installation.published(START - DAY)
    unread = [reading for reading in published if reading.entry["record"] in full]
    expected = set(published) - set(unread)
    for hub in (installation.a, installation.b):
        assert breaches(expected, arrivals(hub.received()), also=unread) == []


def test_an_object_that_is_no_json_is_set_aside_and_stops_nobody(installation: Installation) -> None:
    def break_it(body: bytes) -> bytes:
        return body.replace(b'"data":{', b'"data":{"odd":NaN,').replace(b'"data": {', b'"data": {"odd":NaN,')

    installation.source.faults.rewrite_body(break_it, location="Quay+One")

    report = installation.run("hourly_snapshot")

    assert installation.source.faults.fired["rewrite_body"] > 0
    assert report.ok, report.failures
    assert {reading.location for reading in report.quarantined} == {"Quay+One"}
    assert all("NaN" in reading.reason for reading in report.quarantined)
    assert len({event.properties["location"] for event in installation.a.received()}) == 4


def test_a_hub_that_is_behind_at_a_stretch_nobody_can_read_holds_no_other_hub_back(
    installation: Installation, clock: Clock
) -> None:
    installation.overrides["concurrency"] = 1
    installation.run()
    installation.b.refuse_attach()
    clock.move(hours=30)
    installation.run()
    installation.b.clear_faults()
    installation.source.faults.status(
        404, location="Quay+One", when=lambda request: str(request.first("from")) < "2026-03-02T17"
    )
    reports = []
    for _ in range(3):
        clock.move(minutes=15)
        reports.append(installation.run())

    assert [[failure.location for failure in report.failures] for report in reports] == [["Quay+One"]] * 3
    assert installation.position("Quay+One", "a") == clock.now
    assert installation.position("Quay+One", "b") == START
    assert installation.breaches(installation.a, START - DAY) == []
    broken = installation.state().locations["Quay+One"]
    assert broken.since == clock.now - timedelta(minutes=30)
    installation.source.faults.clear()
    assert installation.run().ok
    assert installation.state().locations["Quay+One"].error is None
    assert installation.breaches(installation.b, START - DAY) == []


def test_a_run_whose_save_failed_waits_for_its_lanes_without_spinning(
    installation: Installation, clock: Clock, tmp_path: Path
) -> None:
    installation.run()
    clock.move(hours=2)
    installation.a.delay(1.5)  # b is sent to meanwhile
    installation.b.delay(5.0)

    def break_state(_: StoredEvent) -> None:
        if not (tmp_path / "away").exists():
            (tmp_path / "state").rename(tmp_path / "away")
            (tmp_path / "state").write_text("a file stands where the folder should be")

    installation.a.on_store(break_state)
    looks: list[float] = []

    def monotonic() -> float:
        looks.append(time.monotonic())
        return looks[-1]

    wiring = replace(installation.wiring(), monotonic=monotonic)
    with pytest.raises(RunFailed):
        run_forwarder("people_counter", wiring, budget=Budget(timedelta(seconds=20), monotonic=monotonic))

    assert looks[-1] - looks[0] > 4
    # Whoever waits by asking again and again how long to wait looks at the clock some thousand times.
    assert len(looks) < 500


def test_a_run_that_is_told_to_stop_does_not_wait_for_answers_it_could_not_send(
    installation: Installation, clock: Clock
) -> None:
    installation.run()
    clock.move(minutes=15)
    installation.source.faults.slow(60)
    budget = Budget(timedelta(minutes=4))

    def stop(request: Request) -> None:
        if request.kind == "query":
            budget.stop()

    installation.source.intercept = stop
    began = time.monotonic()

    report = installation.run(budget=budget)

    assert time.monotonic() - began < 30
    assert report.ok, report.failures
    assert report.left == 5
    installation.source.intercept = None
    installation.source.faults.clear()
    assert installation.run().ok
    assert installation.breaches(installation.a, START - DAY) == []


def test_a_row_without_time_does_not_make_a_silent_source_look_awake(
    installation: Installation, clock: Clock
) -> None:
    installation.run()
    building = installation.estate.listed(clock.now)[0]
    for tags in building.groups:
        installation.estate.silence(building.name, clock.now, START + timedelta(hours=5), tags=tags)
    clock.move(hours=4, minutes=45)
    broken = [building.name, "broken"]
    installation.estate.add_people(
        building.name, broken, clock.now - timedelta(minutes=5), visible_from=clock.now, without=["time"]
    )
    silent = installation.run()
    clock.move(minutes=30)

    installation.run()

    assert len(silent.quarantined) == 1
    timeless = [reading for reading in installation.published(START - DAY) if "time" not in reading.entry]
    assert installation.breaches(installation.a, START - DAY, withheld=timeless) == []
