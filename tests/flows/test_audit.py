"""What an audit finds of an installation, cause by cause, and what a repair sends."""

from __future__ import annotations

import json
import random
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from app.audit.auditor import Asked, ComparedFeed, UnknownLocation, compared_feeds
from app.audit.findings import Finding, HubAudit
from app.audit.repair import Outcome, plan_repair, repair
from app.audit.summary import OVERDUE, TO_COME
from app.base.budget import Budget
from app.base.checkpoints import Gap
from app.base.errors import ForwarderError, HubUnreachable
from app.base.instants import format_time, parse_time
from app.base.readings import Slice
from app.eventhub.deliveries import Delivery, LaneClosed, News, Opened
from app.feeds import hourly_snapshot
from app.health.facts import Kept
from app.health.feed_health import judge
from app.settings.schema import HubSettings
from app.state.opening import open_store
from emulators.estate import Building, Estate
from emulators.eventhubs import EventHubsEmulator, StoredEvent
from emulators.microshare import MicroshareEmulator
from tests.environments.installation import START, Clock, Installation, arrivals
from tests.promise import breaches

HOUR = timedelta(hours=1)
MINUTE = timedelta(minutes=1)
BEGUN = START - 12 * HOUR
MILL = "Mill & Lane"
QUAY = "Quay+One"
PEOPLE, SNAPSHOTS = "people_counter", "hourly_snapshot"


@pytest.fixture
def estate() -> Estate:
    """Two buildings with two doors are enough, so that a test takes little time."""
    doors = {name: ((name, "0", "Main Entrance"), (name, "1", "Patio")) for name in (MILL, QUAY)}
    return Estate(
        buildings=[
            Building(MILL, zone="Europe/London", groups=doors[MILL]),
            Building(QUAY, cluster=1, groups=doors[QUAY]),
        ]
    )


@pytest.fixture
def installation(installation: Installation) -> Installation:
    installation.environ["START_FROM"] = "12h"
    return installation


@dataclass(frozen=True, slots=True)
class Found:
    """One audit of one hub, read while it was at hand."""

    audit: HubAudit
    missing: list[Finding]
    repeated: list[Finding]
    changed: list[Finding]
    unknown: list[Finding]

    @property
    def causes(self) -> dict[str, int]:
        return dict(self.audit.causes)

    def counts(self) -> tuple[int, int, int, int]:
        return len(self.missing), len(self.repeated), len(self.changed), len(self.unknown)


def read(audit: HubAudit) -> Found:
    return Found(audit, list(audit.missing), list(audit.repeated), list(audit.changed), list(audit.unknown))


def compared(
    installation: Installation,
    *hubs: str,
    feed: str = PEOPLE,
    since: datetime = BEGUN,
    until: datetime | None = None,
    locations: Sequence[str] = (),
) -> Iterator[ComparedFeed]:
    settings = installation.settings()
    asked = Asked(feed, Slice(since, until or installation.clock.now), tuple(locations))
    chosen = [hub for hub in settings.hubs if hub.entity in (hubs or ("a",))]
    return compared_feeds([asked], chosen, installation.wiring())


def audit(installation: Installation, hub: str = "a", **asked: Any) -> Found:
    ((found,),) = ([read(audit) for audit in feed.audits()] for feed in compared(installation, hub, **asked))
    return found


def repaired(installation: Installation, hub: str = "a", **asked: Any) -> tuple[Found, Outcome]:
    for feed in compared(installation, hub, **asked):
        outcome = repair(feed, installation.wiring(), consumer_group="$Default")
        (found,) = [read(audit) for audit in feed.audits()]
    return found, outcome


def entry_of(event: StoredEvent) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(event.body)
    return found


def named(events: Sequence[StoredEvent]) -> set[tuple[str, str, str]]:
    """Give location, time as written, and id of people counter events."""
    return {
        (str(event.properties["location"]), entry_of(event)["time"], str(event.message_id))
        for event in events
    }


def names(findings: Sequence[Finding]) -> set[tuple[str, str | None, str]]:
    return {(found.location, found.written, found.id) for found in findings}


def nth(*numbers: int) -> Callable[[StoredEvent], bool]:
    """Choose events by their number in the order they are gone through."""
    count = iter(range(1_000_000))
    return lambda _: next(count) in numbers


def at(event: StoredEvent) -> datetime:
    return parse_time(entry_of(event)["time"])


def of_mill(event: StoredEvent) -> bool:
    return event.properties["location"] == MILL


def is_people(event: StoredEvent) -> bool:
    return "hour" not in event.properties


def test_a_site_that_works_is_found_well_whatever_is_yet_to_come(installation: Installation) -> None:
    for feed in (PEOPLE, SNAPSHOTS):
        installation.run(feed)
    delivered = len([event for event in installation.a.received() if is_people(event)])
    installation.clock.move(minutes=30)

    people, snapshots = audit(installation), audit(installation, feed=SNAPSHOTS)

    assert (people.audit.ok, snapshots.audit.ok) == (True, True)
    assert (people.audit.published, people.audit.delivered) == (len(installation.shown(BEGUN)), delivered)
    assert people.causes == {"behind": people.audit.published - delivered}
    assert snapshots.counts()[1:] == (0, 0, 0)
    assert set(snapshots.causes) <= {"behind"}
    assert [audit.audit.locations for audit in (people, snapshots)] == [2, 2]


@pytest.mark.parametrize(
    ("feed", "minutes", "to_come"),
    [
        (PEOPLE, 34, TO_COME),
        (PEOPLE, 35, OVERDUE),
        (SNAPSHOTS, 124, TO_COME),
        (SNAPSHOTS, 125, OVERDUE),
    ],
)
def test_what_two_runs_that_were_due_did_not_bring_is_overdue_as_status_has_it(
    installation: Installation, feed: str, minutes: int, to_come: str
) -> None:
    installation.run(feed)
    installation.clock.move(minutes=minutes)

    found = audit(installation, feed=feed)

    settings, state = installation.settings(), installation.state(feed)
    health = judge(settings.feeds[feed], settings, Kept(state), installation.clock.now)
    assert set(found.audit.to_come) == {to_come}
    assert health.verdict == {TO_COME: "healthy", OVERDUE: "stopped"}[to_come]
    assert found.audit.ok == health.ok


# --- missing: why -----------------------------------------------------------------------------------


def test_readings_that_a_hub_acknowledged_and_does_not_hold_are_lost_each_by_name(
    installation: Installation,
) -> None:
    installation.run()
    before = installation.a.received()
    installation.a.discard(nth(3, 150, 151))

    found = audit(installation)

    gone = [event for event in before if event not in installation.a.received()]
    assert names(found.missing) == named(gone)
    assert (found.audit.ok, found.causes, found.audit.wrong) == (False, {"lost": 3}, 3)
    assert found.counts() == (3, 0, 0, 0)
    hours = {
        (found.location, parse_time(str(found.written)).replace(minute=0, second=0, microsecond=0))
        for found in found.missing
    }
    assert {(hour.location, hour.hour) for hour in found.audit.hours if hour.missing} == hours


def test_a_reading_that_came_after_the_look_back_is_late(installation: Installation, estate: Estate) -> None:
    entry = estate.add_people(MILL, None, START - 3 * HOUR, visible_from=START + 20 * MINUTE)
    installation.run()
    installation.clock.move(minutes=30)
    installation.run()

    found = audit(installation)

    assert [(late.location, late.written, late.cause) for late in found.missing] == [
        (MILL, entry["time"], "late")
    ]
    assert not found.audit.ok


def test_what_a_failing_hub_lacks_is_behind_and_wrong_and_the_other_hub_is_well(
    installation: Installation,
) -> None:
    installation.run()
    installation.clock.move(minutes=30)
    installation.b.refuse_attach()
    installation.run()
    new = len(installation.shown(START))

    first, second = audit(installation, "a"), audit(installation, "b")

    assert first.audit.ok
    assert (second.audit.ok, second.causes) == (False, {"behind": new})
    assert (first.audit.to_come, second.audit.to_come) == ({}, {"stuck": new})
    assert {(name, failing.where) for name, failing in second.audit.stuck.items()} == {
        (MILL, "hub"),
        (QUAY, "hub"),
    }
    assert all(missing.stuck and missing.due for missing in second.missing)


def test_what_no_hub_could_take_is_in_quarantine(installation: Installation, estate: Estate) -> None:
    estate.add_people(MILL, None, START - 3 * HOUR, note="x" * 1_100_000)
    estate.add_people(MILL, None, START - 4 * HOUR, without=["time"])
    installation.run()

    found = audit(installation)

    assert found.causes == {"quarantined": 2}
    assert {missing.written for missing in found.missing} == {format_time(START - 3 * HOUR), None}


def test_what_the_hub_may_have_lost_to_its_retention_is_told_apart_from_what_it_lost_since(
    installation: Installation,
) -> None:
    installation.run()
    until = BEGUN + 5 * HOUR
    expired = installation.a.discard(lambda event: at(event) < until)
    installation.a.discard(nth(100, 101))

    found = audit(installation)

    assert found.causes == {"retention": expired, "lost": 2}
    assert found.audit.readable_from is not None
    assert not any(missing.is_mendable for missing in found.missing if missing.cause == "retention")


def test_what_is_from_before_the_start_was_never_promised(installation: Installation) -> None:
    installation.run()

    found = audit(installation, since=BEGUN - 2 * HOUR)

    assert (found.audit.ok, set(found.causes)) == (True, {"before start"})
    assert len(found.missing) == len(installation.shown(BEGUN - 2 * HOUR)) - len(installation.shown(BEGUN))


def test_a_gap_gives_its_cause_to_what_lies_in_it(installation: Installation) -> None:
    installation.run()
    window = Slice(START - 5 * HOUR, START - 4 * HOUR)
    installation.a.discard(lambda event: at(event) in window)
    forget(installation, MILL, window)

    found = audit(installation)

    here, elsewhere = (
        {missing.cause for missing in found.missing if (missing.location == MILL) is here}
        for here in (True, False)
    )
    assert (here, elsewhere) == ({"missed"}, {"lost"})


def forget(installation: Installation, location: str, window: Slice) -> None:
    """Let the state know nothing of a window but that it is a gap."""
    store = open_store(installation.settings().state)
    state = store.load("peoplecounterstate")
    known = state.locations[location]
    checkpoints = {
        hub: replace(
            checkpoint, ids={hour: ids for hour, ids in checkpoint.ids.items() if hour not in window}
        )
        for hub, checkpoint in known.checkpoints.items()
    }
    gap = Gap(window, "missed", START)
    locations = {**state.locations, location: replace(known, checkpoints=checkpoints, gaps=(gap,))}
    store.save("peoplecounterstate", replace(state, locations=locations), [location])


# --- repeated, changed, unknown ---------------------------------------------------------------------


def test_repeats_are_named_once_with_how_often_they_came(installation: Installation) -> None:
    installation.run()
    installation.a.repeat(nth(10, 20))
    installation.a.repeat(nth(20))

    found = audit(installation)

    first, second = installation.a.received()[10], installation.a.received()[20]
    assert names(found.repeated) == named([first, second])
    assert {repeat.id: repeat.times for repeat in found.repeated} == {
        str(first.message_id): 2,
        str(second.message_id): 3,
    }
    assert (found.counts(), found.audit.ok) == ((0, 2, 0, 0), False)


@pytest.mark.parametrize(
    "how",
    ["altered at the hub", "altered in a copy that came later", "corrected after the look-back"],
)
def test_a_reading_of_which_a_consumer_has_another_content_is_changed_and_nothing_else(
    installation: Installation, estate: Estate, how: str
) -> None:
    installation.run()
    event = installation.a.received()[40]
    entry, is_it = entry_of(event), nth(40)
    if how == "altered at the hub":
        assert installation.a.rewrite(is_it, b'"traffic":', b'"tr4ffic":') == 1
    elif how == "altered in a copy that came later":
        installation.a.repeat(is_it)
        installation.a.rewrite(nth(len(installation.a.received()) - 1), b'"traffic":', b'"tr4ffic":')
    else:
        name, tags = str(event.properties["location"]), entry["_location_tags"]
        estate.correct(name, tags, entry["time"], at=START + MINUTE, change={"in": 999})
        installation.clock.move(minutes=2)

    found = audit(installation)

    assert {(changed.location, changed.written) for changed in found.changed} == {
        (event.properties["location"], entry["time"])
    }
    assert (found.counts()[1:], found.audit.ok) == ((0, 1, 0), False)
    assert set(found.causes) <= {"behind"}
    assert (found.changed[0].id == event.message_id) is (how != "corrected after the look-back")


def test_a_correction_that_was_delivered_leaves_an_older_version_which_is_no_fault(
    installation: Installation, estate: Estate
) -> None:
    entry = estate.add_people(MILL, None, START - 10 * MINUTE)
    tags = estate.people(MILL, START - HOUR, START, now=START)
    (group,) = [tags for tags, entries in tags.items() if entry in entries]
    installation.run()
    estate.correct(MILL, group, entry["time"], at=START + MINUTE, change={"in": 999})
    installation.clock.move(minutes=15)
    installation.run()

    found = audit(installation)

    assert (found.audit.ok, found.audit.superseded, found.counts()) == (True, 1, (0, 0, 0, 0))


def test_what_nobody_published_is_unknown_with_its_time_as_the_hub_has_it(installation: Installation) -> None:
    installation.run()
    installation.a.repeat(nth(7))
    copied = installation.a.received()[7]
    time = entry_of(copied)["time"]
    invented = f"{time[:17]}59.987Z"
    last = len(installation.a.received()) - 1
    installation.a.rewrite(nth(last), f'"time":"{time}"'.encode(), f'"time":"{invented}"'.encode())

    found = audit(installation)

    assert names(found.unknown) == {(copied.properties["location"], invented, copied.message_id)}
    assert (found.counts(), found.audit.ok) == ((0, 0, 0, 1), False)


def test_an_event_that_cannot_be_read_is_unknown_by_its_message_id(installation: Installation) -> None:
    installation.run()
    installation.a.repeat(nth(7))
    installation.a.rewrite(nth(len(installation.a.received()) - 1), b'{"recType":', b'["recType":')

    found = audit(installation)

    assert [(unknown.written, unknown.id) for unknown in found.unknown] == [
        (None, installation.a.received()[7].message_id)
    ]
    assert found.counts() == (0, 0, 0, 1)


def test_events_of_others_are_counted_and_are_no_fault(installation: Installation) -> None:
    installation.run()
    installation.run(SNAPSHOTS)
    of_mill = [event for event in installation.a.received() if event.properties["location"] == MILL]
    installation.a.repeat(lambda event: event in of_mill[:3])
    count = len(installation.a.received())
    installation.a.rewrite(nth(count - 1), b"microshare-forwarder", b"microshare-foreigner")
    installation.a.rewrite(nth(count - 2), b"Mill & Lane", b"Mill & Lake")
    installation.a.rewrite(nth(count - 3), b"peoplecounter.unpacked", b"peoplecounter.another ")

    found = audit(installation)

    assert (found.audit.ok, found.audit.foreign, found.counts()) == (True, 2, (0, 0, 0, 0))


def test_an_entry_with_names_that_events_use_is_delivered(installation: Installation, estate: Estate) -> None:
    estate.add_people(MILL, None, START - 3 * HOUR, recType="of.its.own", _location_tags=["elsewhere"])
    installation.run()

    found = audit(installation)

    assert (found.audit.ok, found.counts()) == (True, (0, 0, 0, 0))


# --- snapshots --------------------------------------------------------------------------------------


def test_of_snapshots_each_reading_is_told_though_events_hold_many(installation: Installation) -> None:
    installation.run(SNAPSHOTS)
    lost, altered, again = installation.a.received()[2:5]
    installation.a.repeat(nth(4))
    installation.a.rewrite(nth(3), b'"avg":', b'"avq":')
    installation.a.discard(nth(2))

    found = audit(installation, feed=SNAPSHOTS)

    assert names(found.missing) == readings_of(lost)
    assert names(found.repeated) == readings_of(again)
    assert {(changed.location, changed.written) for changed in found.changed} == {
        (location, time) for location, time, _ in readings_of(altered)
    }
    assert found.counts() == (*(len(readings_of(event)) for event in (lost, again, altered)), 0)


def readings_of(event: StoredEvent) -> set[tuple[str, str | None, str]]:
    """Give location, time as written, and id of the readings in a snapshot event."""
    location = str(event.properties["location"])
    readings = hourly_snapshot.FEED.readings_in(location, event.body)
    return {(location, reading.entry["time"], reading.id) for reading in readings}


@pytest.mark.parametrize("late", ["reading", "hour"])
def test_hours_that_are_sent_whole_again_are_no_repeats_unless_the_same_came_twice(
    installation: Installation, estate: Estate, late: str
) -> None:
    installation.overrides["late"] = late
    installation.run(SNAPSHOTS)
    hour = START - 4 * HOUR
    estate.add_snapshot(MILL, [MILL, "9", "Late Room"], hour, visible_from=START + MINUTE)
    installation.clock.move(minutes=60)
    installation.run(SNAPSHOTS)
    healthy = audit(installation, feed=SNAPSHOTS)
    healthy_hour = estate.snapshots(MILL, hour, hour + HOUR, now=installation.clock.now)
    (update,) = [
        event
        for event in installation.a.received()
        if event.properties["hour"] == format_time(hour) and event.properties.get("update")
    ]
    installation.a.repeat(lambda event: event == update)

    found = audit(installation, feed=SNAPSHOTS)

    assert healthy.audit.ok
    assert len(readings_of(update)) == {"reading": 1, "hour": len(healthy_hour)}[late]
    assert names(found.repeated) == readings_of(update)
    assert {repeat.times for repeat in found.repeated} == {2}


# --- what cannot be compared ------------------------------------------------------------------------


def test_a_window_without_readings_is_not_wrong_and_says_that_nothing_was_compared(
    installation: Installation, estate: Estate
) -> None:
    silent = Slice(START - 3 * HOUR, START - 2 * HOUR)
    estate.hide(QUAY, silent.start, silent.end, feed="people")
    estate.hide(MILL, silent.start, silent.start + HOUR / 2, feed="people")
    installation.run()

    half = audit(installation, since=silent.start, until=silent.end)
    nothing = audit(installation, since=silent.start, until=silent.start + HOUR / 2)

    assert (half.audit.ok, half.audit.without_readings) == (True, [QUAY])
    assert half.audit.compared == half.audit.published > 0
    assert (nothing.audit.ok, nothing.audit.compared, nothing.audit.without_readings) == (
        True,
        0,
        [MILL, QUAY],
    )


def test_a_hub_that_cannot_be_read_is_named_and_the_other_is_compared(installation: Installation) -> None:
    installation.run()
    installation.b.refuse_attach(links=["receive"])

    first, second = (read(audit) for feed in compared(installation, "a", "b") for audit in feed.audits())

    assert first.audit.ok
    assert not second.audit.ok
    assert "use one with the Listen right" in str(second.audit.error)


def test_no_port_is_advised_for_a_hub_that_does_not_answer_where_another_is_read(
    installation: Installation,
) -> None:
    installation.run()
    installation.b.go_down()

    def error(*hubs: str) -> str:
        [*_, last] = (read(audit) for feed in compared(installation, *hubs) for audit in feed.audits())
        return str(last.audit.error)

    assert "other hubs are reached" in error("a", "b")
    assert "port 443" not in error("a", "b")
    assert "port 443" in error("b")


def test_a_location_that_the_source_does_not_answer_for_is_named_and_left_out(
    installation: Installation,
) -> None:
    installation.run()
    installation.source.faults.status(500, location=MILL)

    found = audit(installation)

    assert list(found.audit.failures) == [MILL]
    assert (found.audit.ok, found.counts()) == (False, (0, 0, 0, 0))
    assert {hour.location for hour in found.audit.hours} == {
        name for name, *_ in installation.shown(BEGUN)
    } - {MILL}


def test_what_a_view_cannot_show_of_a_millisecond_is_not_taken_for_unknown(
    installation: Installation, estate: Estate
) -> None:
    installation.overrides["record_limit"] = 20
    for _ in range(19):
        estate.add_people(MILL, None, START - 3 * HOUR)
    installation.run()
    # The view gives the newest 19 of them from now on, and does not say so.
    for _ in range(5):
        estate.add_people(MILL, None, START - 3 * HOUR, visible_from=START + MINUTE)
    installation.clock.move(minutes=5)
    installation.source.faults.cap(19, location=MILL)

    found = audit(installation)

    assert found.unknown == []
    assert any("all that it can give" in text for text in found.audit.warnings)


def test_only_the_named_locations_are_asked_for_and_a_name_that_is_none_is_refused(
    installation: Installation,
) -> None:
    installation.run()
    installation.a.discard(lambda event: event.properties["location"] == QUAY)
    before = len(installation.source.queries())

    found = audit(installation, locations=[MILL])
    with pytest.raises(UnknownLocation) as refused:
        audit(installation, locations=["Nowhere"])

    assert (found.audit.ok, found.audit.locations) == (True, 1)
    assert {query.location for query in installation.source.queries()[before:]} == {MILL}
    assert MILL in refused.value.known


def test_a_window_that_is_yet_to_come_by_the_apis_clock_is_refused_and_not_found_well(
    installation: Installation,
) -> None:
    installation.run()
    installation.host_clock = Clock(START + 5 * HOUR)

    with pytest.raises(ForwarderError, match="choose an earlier --from"):
        audit(installation, since=START + HOUR, until=START + 5 * HOUR)


def test_an_audit_changes_nothing_and_needs_no_lock(installation: Installation) -> None:
    installation.run()
    store = open_store(installation.settings().state)
    path = installation.folder / "state" / "peoplecounterstate.json"
    before, count = path.read_bytes(), len(installation.a.received())

    with store.lock("peoplecounterstate", "a run"):
        found = audit(installation)

    assert found.audit.ok
    assert (path.read_bytes(), len(installation.a.received())) == (before, count)


# --- repair -----------------------------------------------------------------------------------------


def test_a_repair_sends_what_is_missing_with_the_same_ids_and_no_run_sends_it_again(
    installation: Installation,
) -> None:
    installation.run()
    before = installation.a.received()
    installation.a.discard(nth(3, 150, 151, 152))
    gone = [event for event in before if event not in installation.a.received()]
    left = len(installation.a.received())
    positions = [installation.position(name, "a") for name in installation.state().locations]

    found, outcome = repaired(installation)

    sent = installation.a.received()[left:]
    lacked = [reading for arrival in arrivals(gone) for reading in arrival.readings]
    assert breaches(lacked, arrivals(sent)) == []
    assert named(sent) == named(gone)
    assert (outcome.errors, outcome.sent.total(), found.audit.repaired, found.audit.ok) == ([], 4, 4, True)
    assert [installation.position(name, "a") for name in installation.state().locations] == positions
    installation.clock.move(minutes=15)
    installation.run()
    assert audit(installation).audit.ok


def always_with(event: StoredEvent) -> Callable[[bytes], bytes]:
    """Give what adds the reading of an event to an answer that lacks it."""
    entry = entry_of(event)
    tags = entry.pop("_location_tags")
    entry.pop("recType")

    def rewrite(body: bytes) -> bytes:
        answer = json.loads(body)
        if entry not in [line for found in answer["objs"] for line in found["data"]["line"]]:
            answer["objs"].append({"data": {"_id": {"tags": tags}, "line": [entry]}})
            for count in ("currentCount", "totalCount"):
                answer["meta"][count] += 1
        return json.dumps(answer).encode()

    return rewrite


def test_a_repair_counts_once_what_a_view_shows_whatever_it_is_asked(installation: Installation) -> None:
    installation.environ["START_FROM"] = "72h"
    installation.run()
    at_mill = sorted((found for found in installation.a.received() if of_mill(found)), key=at)
    old, new = at_mill[3], at_mill[-3]
    installation.a.discard(lambda event: event in (old, new))
    installation.source.faults.rewrite_body(always_with(old), feed="people", location=MILL)

    found, outcome = repaired(installation, since=START - 72 * HOUR)

    assert at(new) - at(old) > 48 * HOUR
    assert (outcome.errors, outcome.sent.total(), found.audit.repaired) == ([], 2, 2)
    sent = [
        event for event in installation.a.received() if event.message_id in (old.message_id, new.message_id)
    ]
    assert Counter(event.message_id for event in sent) == Counter([old.message_id, new.message_id])


def test_what_was_published_late_and_repaired_is_not_sent_again_by_a_longer_look_back(
    installation: Installation, estate: Estate
) -> None:
    estate.add_people(MILL, None, START - 3 * HOUR, visible_from=START + 20 * MINUTE)
    installation.run()
    installation.clock.move(minutes=30)
    installation.run()

    found, outcome = repaired(installation)

    assert (found.causes, outcome.sent.total(), found.audit.ok) == ({"late": 1}, 1, True)
    installation.overrides["look_back"] = 6 * HOUR
    installation.clock.move(minutes=15)
    installation.run()
    assert audit(installation).counts() == (0, 0, 0, 0)


def test_an_hour_of_snapshots_is_completed_by_an_update_or_sent_whole(
    installation: Installation, estate: Estate
) -> None:
    installation.run(SNAPSHOTS)
    hour = START - 10 * HOUR
    estate.add_snapshot(MILL, [MILL, "9", "Late Room"], hour, visible_from=START + MINUTE)
    lost = installation.a.received()[1]
    installation.a.discard(nth(1))
    installation.clock.move(minutes=60)
    count = len(installation.a.received())

    found, _ = repaired(installation, feed=SNAPSHOTS)

    sent = {event.properties["hour"]: event for event in installation.a.received()[count:]}
    late = sent.pop(format_time(hour))
    (again,) = sent.values()
    assert found.causes.keys() >= {"late", "lost"}
    assert [(obj["data"]["_id"]["tags"]) for obj in entry_of(late)["objs"]] == [[MILL, "9", "Late Room"]]
    assert late.properties["update"] is True
    assert (again.body, again.message_id, again.properties) == (lost.body, lost.message_id, lost.properties)
    assert audit(installation, feed=SNAPSHOTS).audit.ok


def test_two_repairs_of_the_same_send_it_once(installation: Installation) -> None:
    installation.run()
    installation.a.discard(nth(3, 150))
    count = len(installation.a.received())
    one, two = compared(installation), compared(installation)
    first, second = next(one), next(two)

    outcomes = [repair(feed, installation.wiring(), consumer_group="$Default") for feed in (first, second)]

    assert [outcome.sent.total() for outcome in outcomes] == [2, 0]
    assert len(installation.a.received()) == count + 2


def test_a_gap_is_closed_for_the_hubs_in_which_nothing_of_it_is_missing_any_more(
    installation: Installation,
) -> None:
    installation.run()
    window = Slice(START - 5 * HOUR, START - 4 * HOUR)
    for hub in (installation.a, installation.b):
        hub.discard(lambda event: at(event) in window)
    forget(installation, MILL, window)

    for feed in compared(installation, "a"):
        plan = plan_repair(feed)
    _, outcome = repaired(installation, "a")

    (gap,) = installation.state().locations[MILL].gaps
    assert (plan.gaps, outcome.gaps) == (1, 1)
    assert (gap.window, gap.hubs) == (window, (installation.key("b"),))
    repaired(installation, "b")
    assert installation.state().locations[MILL].gaps == ()


def test_a_gap_that_reaches_out_of_the_window_stays(installation: Installation) -> None:
    installation.run()
    window = Slice(START - 5 * HOUR, START - 4 * HOUR)
    forget(installation, MILL, window)

    _, outcome = repaired(installation, until=window.end - MINUTE)

    assert (outcome.gaps, len(installation.state().locations[MILL].gaps)) == (0, 1)


def test_what_is_yet_to_come_or_was_never_promised_is_not_sent(installation: Installation) -> None:
    installation.run()
    count = len(installation.a.received())
    installation.clock.move(minutes=30)

    found, outcome = repaired(installation, since=BEGUN - HOUR)

    assert set(found.causes) == {"behind", "before start"}
    assert (outcome.sent.total(), len(installation.a.received())) == (0, count)


def test_a_hub_that_fails_in_a_repair_is_named_and_the_other_is_repaired(installation: Installation) -> None:
    installation.run()
    for hub in (installation.a, installation.b):
        hub.discard(nth(3, 150))
    installation.b.refuse_attach()
    count = len(installation.a.received())

    for feed in compared(installation, "a", "b"):
        outcome = repair(feed, installation.wiring(), consumer_group="$Default")
        well = [audit.ok for audit in feed.audits()]

    assert well == [True, False]
    assert len(installation.a.received()) == count + 2
    assert len(outcome.errors) == 1


class LanesThatEnd:
    """Lanes of hubs that connect, take nothing, and end as soon as room is asked for, the last one first."""

    def __init__(self, hubs: Sequence[HubSettings], tell: Callable[[News], None]) -> None:
        self.left = [hub.key for hub in hubs]
        self.tell = tell

    def start(self) -> None:
        for hub in self.left:
            self.tell(Opened(hub, 1_000_000))

    def has_room(self, _hub: str) -> bool:
        while self.left:
            hub = self.left.pop()
            self.tell(LaneClosed(hub, HubUnreachable(f"{hub} is gone")))
        return False

    def put(self, hub: str, _delivery: Delivery) -> None:
        raise AssertionError(f"{hub} is gone, and was sent to")

    def stop_location(self, location: str) -> None: ...
    def close(self) -> None: ...


@pytest.mark.timeout(60)
def test_hubs_that_go_while_a_repair_waits_for_room_are_named_and_it_ends(installation: Installation) -> None:
    installation.run()
    for hub in (installation.a, installation.b):
        hub.discard(nth(3))
    wiring = replace(
        installation.wiring(), make_lanes=lambda hubs, _budget, tell, _may_send: LanesThatEnd(hubs, tell)
    )

    for feed in compared(installation, "a", "b"):
        outcome = repair(feed, wiring, consumer_group="$Default")

    assert outcome.errors == [f"{installation.key(hub)} is gone" for hub in ("b", "a")]
    assert outcome.sent.total() == 0


# --- at size ----------------------------------------------------------------------------------------


@pytest.fixture
def large(days: int, tmp_path: Path) -> Iterator[Installation]:
    """An installation with one hub that holds the people counts of so many days, some 1,900 a day."""
    clock = Clock(START)
    with MicroshareEmulator(clock=clock) as source, EventHubsEmulator(["a"]) as hubs:
        environ = {"EVENT_HUB_CONNECTION_STRINGS": "[]", "START_FROM": f"{days}d"}
        installation = Installation(source, hubs, clock, tmp_path, environ)
        while installation.run(budget=Budget(timedelta(minutes=10))).left:
            pass
        yield installation


@pytest.mark.timeout(900)
@pytest.mark.parametrize(
    ("days", "at_least"),
    [
        pytest.param(4, 7_000, id="7,000 readings"),
        pytest.param(54, 100_000, id="100,000 readings", marks=pytest.mark.long),
    ],
)
def test_in_a_large_hub_every_planted_fault_is_named_and_nothing_else(
    large: Installation, days: int, at_least: int
) -> None:
    hub = large.a
    events = hub.received()
    chosen = random.Random(5).sample(events, 58)
    # The first and the last reading of all are lost too.
    lost = [events[0], events[-1], *chosen[:23]]
    again, altered = chosen[23:48], chosen[48:]
    assert hub.repeat(is_one_of(again)) == 25
    assert hub.rewrite(is_one_of(altered), b'"traffic":', b'"tr4ffic":') == 10
    assert hub.discard(is_one_of(lost)) == 25

    found = audit(large, since=START - timedelta(days=days))

    assert len(events) > at_least
    assert names(found.missing) == named(lost)
    assert names(found.repeated) == named(again)
    assert names(found.changed) == named(altered)
    assert found.counts() == (25, 25, 10, 0)
    assert found.audit.published == len(events)
    assert found.audit.delivered == len(events) - 35
    assert found.audit.failures == {}


def is_one_of(events: Sequence[StoredEvent]) -> Callable[[StoredEvent], bool]:
    places = {(event.partition_id, event.sequence_number) for event in events}
    return lambda event: (event.partition_id, event.sequence_number) in places
