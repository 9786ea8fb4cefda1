"""What runs notice beside delivering: readings missed, changed, cut off; and what drifts."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

import pytest

from app.base.instants import format_time, parse_time
from app.feeds.feed import load_feed
from app.run.report import Report
from app.state.edits import advised, changed, move
from app.wiring import wire
from emulators.estate import Building, Estate
from tests.environments.installation import START, Clock, Installation

HOUR = timedelta(hours=1)
MINUTE = timedelta(minutes=1)
NAME = "Mill & Lane"
DOOR = (NAME, "0", "Main Entrance")


@pytest.fixture
def estate() -> Estate:
    """Two buildings, as runs over days are many."""
    return Estate(buildings=(Building("Quay+One"), Building(NAME)))


def runs(
    installation: Installation, clock: Clock, *, hours: float, step: float, feed: str = "people_counter"
) -> list[Report]:
    """Run again and again, `step` hours apart."""
    reports = []
    for _ in range(round(hours / step)):
        clock.move(hours=step)
        reports.append(installation.run(feed))
    return reports


def told(reports: Sequence[Report], name: str) -> list[dict[str, Any]]:
    return [found for report in reports for found in report.as_json()[name]]


def compared(reports: Sequence[Report]) -> list[dict[str, Any]]:
    return [found for report in reports if (found := report.as_json()["compared"])]


def test_what_was_published_after_the_look_back_is_a_gap_told_once(
    installation: Installation, clock: Clock
) -> None:
    late = START + 2 * HOUR + 20 * MINUTE
    installation.estate.add_people(NAME, DOOR, late, visible_from=START + 9 * HOUR)
    installation.run()

    reports = runs(installation, clock, hours=84, step=6)

    hour = START + 2 * HOUR
    gap = {"location": NAME, "from": format_time(hour), "to": format_time(hour + HOUR), "cause": "missed"}
    assert [{key: found[key] for key in gap} for found in told(reports, "gaps")] == [gap]
    assert [found.window.start for found in installation.state().locations[NAME].gaps] == [hour]
    assert sum(found["differ"] for found in compared(reports)) == 1
    assert all(report.ok for report in reports)


@pytest.mark.parametrize("feed", ["people_counter", "hourly_snapshot"])
def test_where_everything_was_delivered_no_hour_differs(
    installation: Installation, clock: Clock, feed: str
) -> None:
    installation.estate.correct(
        NAME, DOOR, _some_time(installation), at=START + 10 * MINUTE, change={"in": 99}
    )
    installation.run(feed)

    reports = runs(installation, clock, hours=60, step=6, feed=feed)

    found = compared(reports)
    assert {locations["locations"] for locations in found} == {len(installation.state(feed).locations)}
    assert [hours["differ"] for hours in found] == [0] * len(found)
    assert sum(hours["hours"] for hours in found) >= 2 * 24 * len(installation.state(feed).locations)
    assert told(reports, "gaps") == []


def _some_time(installation: Installation) -> datetime:
    shown = installation.estate.expected_people(START - HOUR, START, START)
    return next(parse_time(str(time)) for name, tags, time, _ in shown if (name, tags) == (NAME, DOOR))


def test_a_content_that_changes_within_the_look_back_is_told_with_both_ids(
    installation: Installation, clock: Clock
) -> None:
    time = _some_time(installation)
    installation.run()
    before = {event.message_id for event in installation.a.received()}
    installation.estate.correct(NAME, DOOR, time, at=START + 10 * MINUTE, change={"in": 99})
    clock.move(minutes=15)

    report = installation.run()

    (changed,) = told([report], "changed")
    ((old, new),) = changed["ids"]
    assert (changed["location"], changed["readings"]) == (NAME, 1)
    assert old in before
    assert new in {event.message_id for event in installation.a.received()} - before
    assert (old[:8], old != new) == (new[:8], True)


def test_a_content_that_changes_later_is_told_by_its_hour_and_is_no_gap(
    installation: Installation, clock: Clock
) -> None:
    time = _some_time(installation)
    installation.estate.correct(NAME, DOOR, time, at=START + 10 * HOUR, change={"in": 99})
    installation.run()

    reports = runs(installation, clock, hours=54, step=6)

    hour = time.replace(minute=0, second=0, microsecond=0)
    assert told(reports, "changed") == [
        {"location": NAME, "hour": format_time(hour), "readings": None, "ids": []}
    ]
    assert told(reports, "gaps") == []


def test_a_stale_answer_is_asked_for_again(installation: Installation, clock: Clock) -> None:
    clock.move(minutes=45)
    installation.run()
    clock.move(minutes=15)
    installation.estate.hide(NAME, START + 5 * MINUTE, START + 20 * MINUTE)

    report = installation.run()

    assert [text for text in report.warnings if "did not come back" in text and NAME in text] != []
    assert report.ok


def drift(reports: Sequence[Report]) -> list[tuple[str, str | None]]:
    return [(found["kind"], found["location"]) for found in told(reports, "drift")]


def test_a_move_is_proposed_while_it_would_do_something_and_no_longer(
    installation: Installation, clock: Clock
) -> None:
    """A hub that is down has nothing of the new name yet, and all of the earlier one."""
    installation.run()
    installation.estate.rename(NAME, "Mill House", at=START + 30 * MINUTE)
    clock.move(hours=2)
    installation.b.refuse_attach()

    [told_now] = [found for found in installation.run().drift if found.kind == "renamed"]

    assert "`state move people-counter --from 'Mill & Lane' --to 'Mill House'`" in told_now.text
    lagging = installation.state()
    assert advised(lagging, told_now) == told_now
    moved = move(lagging, NAME, "Mill House")
    assert advised(moved, told_now).text == told_now.text.partition("; ")[0]
    installation.b.clear_faults()
    assert installation.run().ok
    assert advised(installation.state(), told_now) == advised(moved, told_now)


def test_a_renamed_building_is_told_once_and_no_move_where_the_new_name_has_all(
    installation: Installation, clock: Clock
) -> None:
    installation.run()
    installation.estate.rename(NAME, "Mill House", at=START + 30 * MINUTE)

    reports = runs(installation, clock, hours=4, step=2)

    assert drift(reports) == [("renamed", "Mill House")]
    text = told(reports, "drift")[0]["text"]
    assert text == (
        "Mill House: a new location with the devices of Mill & Lane, which is gone: probably renamed"
    )
    assert [found.kind for found in installation.state().drift] == ["renamed"]


def test_buildings_that_come_and_go_are_told_once(installation: Installation, clock: Clock) -> None:
    installation.run()
    installation.estate.remove(NAME, at=START + 30 * MINUTE)
    installation.estate.add(Building("Quay"), since=START)

    reports = runs(installation, clock, hours=6, step=2)

    assert sorted(drift(reports)) == [("gone", NAME), ("new", "Quay")]


def test_a_sensor_that_falls_silent_is_told_once_and_when_it_speaks_again(
    installation: Installation, clock: Clock
) -> None:
    installation.estate.silence(NAME, START, START + 8 * HOUR, tags=DOOR)
    installation.run()

    reports = runs(installation, clock, hours=12, step=1)

    assert drift(reports) == [("silent", NAME), ("speaks again", NAME)]
    silent = told(reports, "drift")[0]
    assert silent["sensor"] == list(DOOR)
    assert installation.state().drift == ()


def test_a_building_that_falls_silent_is_told_as_one(installation: Installation, clock: Clock) -> None:
    installation.estate.silence(NAME, START)
    installation.run()

    reports = runs(installation, clock, hours=6, step=1)

    assert drift(reports) == [("silent", NAME)]
    assert told(reports, "drift")[0]["sensor"] == []
    assert [(found.kind, found.location) for found in installation.state().drift] == [("silent", NAME)]


def test_a_building_that_cannot_be_asked_for_is_not_called_silent(
    installation: Installation, clock: Clock
) -> None:
    installation.run()
    installation.estate.silence(NAME, START)
    installation.source.faults.status(403, on="query", location=NAME)

    reports = runs(installation, clock, hours=6, step=1)

    assert drift(reports) == []
    assert all(report.failures for report in reports)


def test_a_name_that_never_shows_a_reading_is_told(installation: Installation, clock: Clock) -> None:
    installation.environ["MICROSHARE_LOCATIONS"] = '["Mil & Lane"]'
    installation.run()

    reports = runs(installation, clock, hours=6, step=1)

    assert drift(reports) == [("silent", "Mil & Lane")]
    assert "compare its name with what the view calls it" in told(reports, "drift")[0]["text"]


def test_an_answer_that_lacks_readings_once_makes_no_gap(installation: Installation, clock: Clock) -> None:
    installation.run()
    nothing = b'{"meta":{"currentCount":0,"currentPage":1,"totalCount":0,"totalPages":1},"objs":[]}'
    installation.source.faults.rewrite_body(
        lambda _: nothing,
        location=NAME,
        when=lambda request: str(request.first("to")) < format_time(clock.now - 25 * HOUR),
        times=1,
    )

    reports = runs(installation, clock, hours=54, step=6)

    assert installation.source.faults.fired["rewrite_body"] == 1
    assert [found["differ"] for found in compared(reports)] == [0] * len(compared(reports))
    assert told(reports, "gaps") == []


def test_keys_of_the_bodies_that_come_and_go_are_told_once(installation: Installation, clock: Clock) -> None:
    installation.run()
    clock.move(minutes=30)
    installation.estate.add_people(NAME, DOOR, clock.now - 5 * MINUTE, change={"bikes": 3})

    reports = [installation.run(), *runs(installation, clock, hours=54, step=6)]

    assert [(kind, location) for kind, location in drift(reports) if kind.startswith("keys")] == [
        ("keys appeared", None),
        ("keys vanished", None),
    ]
    texts = [found["text"] for found in told(reports, "drift") if found["kind"].startswith("keys")]
    assert all("change.bikes" in text for text in texts)


def test_runs_that_follow_closely_forecast_a_day(installation: Installation, clock: Clock) -> None:
    first = installation.run()
    clock.move(minutes=15)
    second = installation.run()

    assert first.as_json()["per_day"] is None
    day = second.as_json()["per_day"]
    hub = second.as_json()["hubs"][installation.key("a")]
    assert day["api_calls"] == second.api_calls * 96
    assert day["hubs"][installation.key("a")]["events"] == hub["events"] * 96
    assert day["hubs"][installation.key("a")]["bytes"] == hub["bytes"] * 96 > 0
    assert 0 < day["hubs"][installation.key("a")]["unit_share"] < 0.01


def test_a_move_loses_nothing_where_the_earlier_name_went_on_without_readings(
    installation: Installation, clock: Clock
) -> None:
    """The new name's queries fail at first; the earlier one's are answered, and have no readings any more."""
    installation.run()
    installation.estate.rename(NAME, "Mill House", at=START)
    installation.source.faults.status(500, location="Mill House")
    runs(installation, clock, hours=2, step=1)
    _move(installation, "Mill House")
    installation.source.faults.clear()

    assert installation.run().ok

    assert installation.breaches(installation.a, START - 24 * HOUR) == []


def test_a_move_after_a_long_stop_is_proposed_and_loses_nothing(
    installation: Installation, clock: Clock
) -> None:
    """The first run after three days asks the new name from START_FROM on, and the earlier one for all."""
    installation.run()
    installation.estate.rename(NAME, "Mill House", at=START)

    reports = runs(installation, clock, hours=73, step=72.5)

    [told_now] = [found for found in reports[0].drift if found.kind == "renamed"]
    assert "`state move people-counter --from 'Mill & Lane' --to 'Mill House'`" in told_now.text
    _move(installation, "Mill House")
    assert installation.run().ok
    late = installation.published(START)
    assert installation.breaches(installation.a, START - 24 * HOUR, late=late) == []
    assert advised(installation.state(), told_now) != told_now
    later = runs(installation, clock, hours=60, step=12)
    assert all(report.ok for report in later)
    assert advised(installation.state(), told_now) != told_now


def test_no_move_is_proposed_once_the_new_name_has_gone_on_for_days(
    installation: Installation, clock: Clock
) -> None:
    installation.run()
    installation.estate.rename(NAME, "Mill House", at=START + 30 * MINUTE)

    runs(installation, clock, hours=96, step=6)

    [kept] = [found for found in installation.state().drift if found.kind == "renamed"]
    before = installation.state()
    assert move(before, NAME, "Mill House") == before
    assert advised(before, kept).text == kept.text.partition("; ")[0]


def _move(installation: Installation, name: str) -> None:
    store, state_name = wire(installation.settings()).store, load_feed("people_counter").state_name
    before = store.load(state_name)
    after = move(before, NAME, name)
    store.save(state_name, after, changed(before, after))
