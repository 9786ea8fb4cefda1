"""The promise in ordinary days: complete, nothing twice, in order."""

from __future__ import annotations

import itertools
import json
from datetime import timedelta
from pathlib import Path

import pytest

from app.base.instants import parse_time
from emulators.estate import Estate
from emulators.microshare_http import Request
from tests.environments.installation import START, Clock, Installation, bodies

DAY = timedelta(hours=24)


@pytest.mark.parametrize("estate", [Estate()], ids=["a day of 1,891"])
def test_everything_the_source_shows_is_at_both_hubs_once_and_in_order(installation: Installation) -> None:
    report = installation.run()

    expected = installation.published(START - DAY)
    assert report.ok, report.failures
    assert len(expected) > 1000
    for hub in (installation.a, installation.b):
        assert installation.breaches(hub, START - DAY) == []
    assert report.as_json()["hubs"][installation.key("a")]["readings"] == len(expected)


def test_a_second_run_sends_nothing_again(installation: Installation) -> None:
    installation.run()
    sent = len(installation.a.received())

    report = installation.run()

    assert report.ok
    assert len(installation.a.received()) == sent
    assert report.hubs[installation.key("a")].events == 0
    assert report.hubs[installation.key("a")].duplicates > 0


def test_the_source_is_read_over_several_pages(installation: Installation) -> None:
    installation.source.faults.small_pages(1)

    report = installation.run()

    assert report.ok, report.failures
    assert installation.source.faults.fired["small_pages"] > 0
    assert installation.breaches(installation.a, START - DAY) == []


@pytest.mark.parametrize("name", ["Tour Été", "Mill & Lane", "Quay+One", "50% Annex"])
def test_names_that_are_hostile_to_urls_arrive_as_they_are(installation: Installation, name: str) -> None:
    installation.run()

    arrived = [event for event in installation.b.received() if event.properties["location"] == name]
    shown = [tags for building, tags, _, _ in installation.shown(START - DAY) if building == name]
    assert len(shown) > 90
    assert len(arrived) == len(shown)
    assert {event.partition_key for event in arrived} == {name}


def test_more_than_the_view_gives_in_one_answer_is_asked_in_parts(
    installation: Installation, clock: Clock
) -> None:
    building = installation.estate.listed(clock.now)[0].name
    burst = [START - timedelta(hours=3) + timedelta(seconds=n) for n in range(2500)]
    for instant in burst:
        installation.estate.add_people(building, None, instant)

    report = installation.run()

    assert report.ok, report.failures
    assert installation.breaches(installation.a, START - DAY) == []


def test_a_reading_published_fifty_minutes_late_arrives_once(
    installation: Installation, clock: Clock
) -> None:
    building = installation.estate.listed(clock.now)[0].name
    late = installation.estate.add_people(
        building, None, START - timedelta(minutes=5), visible_from=START + timedelta(minutes=45)
    )
    for _ in range(5):
        installation.run()
        clock.move(minutes=15)
    installation.run()

    records = [body["record"] for body in bodies(installation.a.received())]
    assert records.count(late["record"]) == 1
    held = [reading for reading in installation.published(START - DAY) if reading.entry == late]
    assert installation.breaches(installation.a, START - DAY, late=held) == []


def test_a_correction_arrives_as_a_new_event_of_the_same_reading(
    installation: Installation, clock: Clock
) -> None:
    building = installation.estate.listed(clock.now)[0]
    instant = START - timedelta(minutes=10)
    entry = installation.estate.add_people(building.name, None, instant)
    installation.run()
    clock.move(minutes=15)
    installation.estate.correct(building.name, building.groups[0], instant, at=clock.now, change={"in": 99})

    installation.run()

    versions = [event for event in installation.a.received() if entry["record"].encode() in event.body]
    assert [json.loads(event.body)["change"]["in"] for event in versions] == [1, 99]
    ids = [str(event.message_id) for event in versions]
    assert ids[0][:8] == ids[1][:8]
    assert ids[0][8:] != ids[1][8:]


def test_a_source_that_is_silent_for_five_hours_and_then_publishes_all_loses_nothing(
    installation: Installation, clock: Clock
) -> None:
    installation.run()
    for building in installation.estate.listed(clock.now):
        installation.estate.silence(building.name, clock.now, START + timedelta(hours=5))
    for _ in range(22):
        clock.move(minutes=15)
        assert installation.run().ok

    assert installation.breaches(installation.a, START - DAY) == []
    assert installation.breaches(installation.b, START - DAY) == []


def test_a_source_that_speaks_again_between_two_questions_of_a_run_loses_nothing(
    installation: Installation, clock: Clock
) -> None:
    installation.run()
    silent_until = START + timedelta(hours=6, minutes=5)
    for building in installation.estate.listed(clock.now):
        installation.estate.silence(building.name, clock.now, silent_until)
    clock.move(hours=6)
    # Six questions to each of five locations: all are at the third hour or so.
    installation.overrides["slice_length"] = timedelta(hours=1)
    requests = itertools.count()

    def speak_again(_: Request) -> None:
        if next(requests) == 16:
            clock.move(minutes=10)

    installation.source.intercept = speak_again
    assert installation.run().ok
    installation.source.intercept = None
    clock.move(minutes=15)

    assert installation.run().ok
    assert next(requests) > 16
    # What was published between the questions of a location comes after what the later ones gave.
    held = [one for one in installation.published(START) if parse_time(one.entry["time"]) < silent_until]
    assert installation.breaches(installation.a, START - DAY, late=held) == []


def test_a_hub_that_was_down_when_a_silent_source_spoke_again_loses_nothing(
    installation: Installation, clock: Clock
) -> None:
    installation.run()
    for building in installation.estate.listed(clock.now):
        installation.estate.silence(building.name, clock.now, START + timedelta(hours=5))
    clock.move(hours=4, minutes=55)
    installation.run()
    clock.move(minutes=15)
    installation.b.refuse_attach()
    assert not installation.run().ok
    installation.b.clear_faults()
    clock.move(minutes=15)

    assert installation.run().ok
    assert installation.breaches(installation.b, START - DAY) == []


def test_a_host_clock_hours_ahead_loses_nothing(installation: Installation, clock: Clock) -> None:
    installation.run()
    clock.move(minutes=15)
    installation.host_clock = Clock(clock.now + timedelta(hours=5))
    installation.restart()

    report = installation.run()

    assert any("ahead of the API's" in warning for warning in report.warnings)
    installation.host_clock = clock
    installation.restart()
    clock.move(minutes=15)
    assert installation.run().ok
    assert installation.breaches(installation.a, START - DAY) == []


def test_discovery_is_asked_again_after_an_hour(installation: Installation, clock: Clock) -> None:
    def asked() -> int:
        devices = [request for request in installation.source.requests if request.path.startswith("/device/")]
        return sum(request.query["details"] == ["true"] for request in devices)

    installation.run()
    first = asked()
    clock.move(minutes=59)
    installation.run()
    within = asked() - first
    clock.move(minutes=1)
    installation.run()

    assert (within, asked() - first) == (0, first)


def test_hubs_have_the_same_message_ids(installation: Installation) -> None:
    installation.run()

    ids = {event.message_id for event in installation.a.received()}
    assert ids == {event.message_id for event in installation.b.received()}
    assert len(ids) == len(installation.a.received())


def test_a_dry_run_says_what_it_would_do_and_does_nothing(installation: Installation, tmp_path: Path) -> None:
    report = installation.run(dry_run=True)

    assert report.hubs[installation.key("a")].readings == len(installation.published(START - DAY))
    assert installation.a.received() == []
    assert installation.a.connections == 0
    assert not (tmp_path / "state").exists()


def test_the_log_confirms_what_each_hub_took_and_ends_with_one_line_a_run(
    installation: Installation, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", logger="forwarder")

    installation.run()

    lines = [json.loads(record.getMessage()) for record in caplog.records if record.name == "forwarder"]
    published = len(installation.published(START - DAY))
    assert [line["event"] for line in lines] == [
        "run.started",
        "hub.delivered",
        "hub.delivered",
        "run.finished",
    ]
    assert {(line["hub"], line["readings"]) for line in lines if line["event"] == "hub.delivered"} == {
        (installation.key("a"), published),
        (installation.key("b"), published),
    }
    assert lines[-1]["hubs"][installation.key("a")]["readings"] == published
