"""What once went wrong, in the order in which it was found."""

from __future__ import annotations

import threading
import time
from datetime import timedelta
from pathlib import Path

from app.base.budget import Budget
from emulators.eventhubs import StoredEvent
from tests.site import START, Clock, Site, bodies, same

DAY = timedelta(hours=24)


def test_a_full_millisecond_ahead_of_a_hub_that_is_behind_costs_it_nothing(site: Site, clock: Clock) -> None:
    name = site.estate.listed(clock.now)[0].name
    site.run()
    both = site.environ.pop("EVENT_HUB_CONNECTION_STRINGS")
    clock.move(days=5)
    site.run()
    site.environ["EVENT_HUB_CONNECTION_STRINGS"] = both
    clock.move(minutes=15)
    burst = clock.now - timedelta(minutes=5)
    full = {site.estate.add_people(name, None, burst)["record"] for _ in range(1200)}

    report = site.run()

    assert report.ok, report.failures
    assert [(location, gap.window.start) for location, gap in report.gaps] == [(name, burst)]
    expected = [body for body in site.published(START - DAY) if body["record"] not in full]
    for hub in (site.a, site.b):
        assert same([body for body in bodies(hub.received()) if body["record"] not in full], expected)


def test_an_object_that_is_no_json_is_set_aside_and_stops_nobody(site: Site) -> None:
    def break_it(body: bytes) -> bytes:
        return body.replace(b'"data":{', b'"data":{"odd":NaN,').replace(b'"data": {', b'"data": {"odd":NaN,')

    site.source.faults.rewrite_body(break_it, location="Quay+One")

    report = site.run("hourly_snapshot")

    assert site.source.faults.fired["rewrite_body"] > 0
    assert report.ok, report.failures
    assert {reading.location for reading in report.quarantined} == {"Quay+One"}
    assert all("NaN" in reading.reason for reading in report.quarantined)
    assert len({event.properties["location"] for event in site.a.received()}) == 4


def test_a_hub_that_is_behind_at_a_stretch_nobody_can_read_holds_no_other_hub_back(
    site: Site, clock: Clock
) -> None:
    site.overrides["concurrency"] = 1
    site.run()
    site.b.refuse_attach()
    clock.move(hours=30)
    site.run()
    site.b.clear_faults()
    site.source.faults.status(
        404, location="Quay+One", when=lambda request: str(request.first("from")) < "2026-03-02T17"
    )
    reports = []
    for _ in range(3):
        clock.move(minutes=15)
        reports.append(site.run())

    assert [[failure.location for failure in report.failures] for report in reports] == [["Quay+One"]] * 3
    assert site.position("Quay+One", "a") == clock.now
    assert site.position("Quay+One", "b") == START
    assert same(bodies(site.a.received()), site.published(START - DAY))
    broken = site.state().locations["Quay+One"]
    assert broken.since == clock.now - timedelta(minutes=30)
    site.source.faults.clear()
    assert site.run().ok
    assert site.state().locations["Quay+One"].error is None
    assert same(bodies(site.b.received()), site.published(START - DAY))


def test_a_run_whose_save_failed_waits_for_its_lanes_without_spinning(
    site: Site, clock: Clock, tmp_path: Path
) -> None:
    site.run()
    clock.move(hours=2)
    site.a.delay(1.5)  # b is sent to meanwhile
    site.b.delay(5.0)

    def break_state(_: StoredEvent) -> None:
        if not (tmp_path / "away").exists():
            (tmp_path / "state").rename(tmp_path / "away")
            (tmp_path / "state").write_text("a file stands where the folder should be")

    site.a.on_store(break_state)
    began, spent = time.monotonic(), time.process_time()

    report = site.run(budget=Budget(timedelta(seconds=20)))

    assert not report.ok
    assert time.monotonic() - began > 4
    assert time.process_time() - spent < 2.5


def test_a_run_that_is_told_to_stop_does_not_wait_for_answers_it_could_not_send(
    site: Site, clock: Clock
) -> None:
    site.run()
    clock.move(minutes=15)
    site.source.faults.slow(8)
    budget = Budget(timedelta(minutes=4))
    threading.Timer(1.0, budget.stop).start()
    began = time.monotonic()

    report = site.run(budget=budget)

    assert time.monotonic() - began < 5
    assert report.ok, report.failures
    assert report.left == 5
    site.source.faults.clear()
    assert site.run().ok
    assert same(bodies(site.a.received()), site.published(START - DAY))


def test_a_row_without_time_does_not_make_a_silent_source_look_awake(site: Site, clock: Clock) -> None:
    site.run()
    building = site.estate.listed(clock.now)[0]
    for tags in building.groups:
        site.estate.silence(building.name, clock.now, START + timedelta(hours=5), tags=tags)
    clock.move(hours=4, minutes=45)
    broken = [building.name, "broken"]
    site.estate.add_people(
        building.name, broken, clock.now - timedelta(minutes=5), visible_from=clock.now, without=["time"]
    )
    silent = site.run()
    clock.move(minutes=30)

    site.run()

    assert len(silent.quarantined) == 1
    expected = [body for body in site.published(START - DAY) if "time" in body]
    assert same(bodies(site.a.received()), expected)
