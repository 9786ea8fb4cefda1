"""How late the source is, as runs measure it, and the warning where the look-back is too short for it."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from app.run.report import Report
from emulators.estate import Estate
from emulators.eventhubs import EventHubsEmulator
from emulators.microshare import MicroshareEmulator
from tests.environments.installation import START, Clock, Installation, small_estate

DAY = timedelta(hours=24)
MINUTES = timedelta(minutes=7)
NAME = "Mill & Lane"


def about_look_back(*reports: Report) -> list[str]:
    return [text for report in reports for text in report.warnings if "look-back" in text]


@pytest.fixture
def estate() -> Estate:
    """An estate that makes nothing by itself."""
    return Estate(generated=False)


@pytest.fixture
def generated(tmp_path: Path, clock: Clock) -> Iterator[Installation]:
    """An installation whose estate makes readings by itself."""
    with MicroshareEmulator(small_estate(), clock=clock) as source, EventHubsEmulator(["a", "b"]) as hubs:
        yield Installation(source, hubs, clock, tmp_path)


def test_a_steady_run_tells_how_long_after_their_times_readings_were_first_seen(
    installation: Installation, clock: Clock
) -> None:
    installation.estate.add_people(NAME, None, START - timedelta(minutes=30))
    installation.run()
    for minutes in (1, 2, 3, 12):
        installation.estate.add_people(NAME, None, START + timedelta(minutes=minutes))
    clock.move(minutes=15)

    first, second = installation.run(), installation.run()

    assert first.as_json()["lateness"] == {
        "readings": 4,
        "median_s": 720.0,
        "p95_s": 840.0,
        "max_s": 840.0,
        "delays": ({"up_to_s": 300, "readings": 1}, {"up_to_s": 900, "readings": 3}),
    }
    assert second.as_json()["lateness"] is None
    assert about_look_back(first, second) == []


def test_a_reading_that_the_look_back_hardly_reaches_is_warned_of(
    installation: Installation, clock: Clock
) -> None:
    for minutes in (5, 40):
        installation.estate.add_people(NAME, None, START - timedelta(minutes=minutes))
    installation.estate.add_people(NAME, None, START - timedelta(minutes=52), visible_from=START + MINUTES)
    installation.run()
    clock.move(minutes=15)

    report = installation.run()

    said = (
        "Mill & Lane: 1 reading came so late that the look-back (1h) all but ended before; write "
        "feeds.people_counter.look_back: 2h in config.yaml, for later ones are missed"
    )
    assert about_look_back(report) == [said]


def test_a_reading_that_is_late_within_reason_is_not_warned_of(
    installation: Installation, clock: Clock
) -> None:
    installation.estate.add_people(NAME, None, START - timedelta(minutes=5))
    installation.estate.add_people(NAME, None, START - timedelta(minutes=40), visible_from=START + MINUTES)
    installation.run()
    clock.move(minutes=15)

    report = installation.run()

    assert report.as_json()["lateness"]["max_s"] == 55 * 60
    assert about_look_back(report) == []


def test_a_correction_is_no_first_sight(installation: Installation, clock: Clock) -> None:
    instant = START - timedelta(minutes=50)
    building = next(found for found in installation.estate.listed(clock.now) if found.name == NAME)
    installation.estate.add_people(NAME, None, START - timedelta(minutes=5))
    installation.estate.add_people(NAME, None, instant)
    installation.run()
    clock.move(minutes=15)
    installation.estate.correct(NAME, building.groups[0], instant, at=clock.now, change={"in": 99})

    report = installation.run()

    assert report.hubs[installation.key("a")].readings == 1
    assert report.lateness is None
    assert about_look_back(report) == []


def plant_every_quarter(installation: Installation, hours: float) -> None:
    for quarter in range(-4 * 30, int(hours * 4) + 1):
        installation.estate.add_people(NAME, None, START + timedelta(minutes=15 * quarter - 3))


def test_a_first_run_measures_nothing(installation: Installation) -> None:
    plant_every_quarter(installation, 0)

    report = installation.run()

    assert report.hubs[installation.key("a")].readings > 90
    assert report.lateness is None
    assert about_look_back(report) == []


def test_a_catch_up_measures_nothing(installation: Installation, clock: Clock) -> None:
    plant_every_quarter(installation, 30)
    installation.run()
    clock.move(hours=30)

    report = installation.run()

    assert report.hubs[installation.key("a")].readings == 120
    assert report.lateness is None
    assert about_look_back(report) == []


def test_a_source_that_was_silent_and_then_published_all_at_once_is_no_reason_for_a_longer_look_back(
    installation: Installation, clock: Clock
) -> None:
    plant_every_quarter(installation, 6)
    installation.run()
    installation.estate.silence(NAME, START, START + timedelta(hours=5))
    reports = []
    for _ in range(22):
        clock.move(minutes=15)
        reports.append(installation.run())

    assert about_look_back(*reports) == []
    assert max(report.lateness.max_s for report in reports if report.lateness) > 4 * 3600
    assert installation.breaches(installation.a, START - DAY) == []


def test_a_hub_that_was_down_is_no_reason_for_a_longer_look_back(
    installation: Installation, clock: Clock
) -> None:
    plant_every_quarter(installation, 3)
    installation.run()
    installation.b.refuse_attach()
    reports = []
    for _ in range(5):
        clock.move(minutes=15)
        reports.append(installation.run())
    installation.b.clear_faults()
    clock.move(minutes=15)
    reports.append(installation.run())

    assert reports[-1].ok
    assert [report.lateness and report.lateness.readings for report in reports] == [1] * 6
    assert about_look_back(*reports) == []


def test_snapshots_that_come_as_late_as_ever_are_within_their_look_back(
    generated: Installation, clock: Clock
) -> None:
    generated.run("hourly_snapshot")
    reports = []
    for _ in range(9):
        clock.move(hours=1)
        reports.append(generated.run("hourly_snapshot"))

    assert about_look_back(*reports) == []
    assert all(report.lateness and 3600 < report.lateness.median_s < 3 * 3600 for report in reports)


def test_hubs_that_were_both_down_when_a_silent_source_spoke_again_are_no_reason(
    installation: Installation, clock: Clock
) -> None:
    plant_every_quarter(installation, 6)
    installation.run()
    installation.estate.silence(NAME, START, START + timedelta(hours=5))
    clock.move(hours=4, minutes=50)
    reports = [installation.run()]
    for hub in (installation.a, installation.b):
        hub.reject("com.microsoft:argument-error")
    clock.move(minutes=15)
    reports.append(installation.run())
    for hub in (installation.a, installation.b):
        hub.clear_faults()
    clock.move(minutes=15)
    reports.append(installation.run())

    assert [report.ok for report in reports] == [True, False, True]
    assert about_look_back(*reports) == []
    assert installation.breaches(installation.b, START - DAY) == []
