"""What fails is left alone, named, and caught up with; everything else goes on."""

from __future__ import annotations

import errno
import json
import os
import time
from collections.abc import Collection
from datetime import timedelta
from pathlib import Path

import pytest

from app.base.budget import Budget
from app.base.checkpoints import FeedState
from app.base.errors import LockHeld, StateError, StateTooLarge
from app.base.instants import parse_time
from app.base.log import configure_logging
from app.base.readings import QuarantinedReading
from app.state.json_file import JsonFileStore
from app.wiring import wire
from emulators.estate import DEFAULT, Building, Estate
from emulators.eventhubs import EventHubsEmulator, HubSpec
from emulators.microshare import MicroshareEmulator
from tests.site import START, Clock, Site, bodies, is_ordered, same

DAY = timedelta(hours=24)


def test_a_hub_that_refuses_for_two_runs_catches_up_alone_and_in_order(site: Site, clock: Clock) -> None:
    site.run()
    site.b.refuse_attach()
    failed = []
    for _ in range(2):
        clock.move(minutes=15)
        failed.append(site.run())
    assert same(bodies(site.a.received()), site.published(START - DAY))
    site.b.clear_faults()
    clock.move(minutes=15)
    to_a = len(site.a.received())

    recovered = site.run()

    assert [report.ok for report in (*failed, recovered)] == [False, False, True]
    assert {failure.hub for report in failed for failure in report.failures} == {site.key("b")}
    assert len(site.a.received()) - to_a < 30
    for hub in (site.a, site.b):
        assert same(bodies(hub.received()), site.published(START - DAY))
        assert is_ordered(hub)


def test_a_hub_that_caught_up_shares_the_fetch_again(site: Site, clock: Clock) -> None:
    site.run()
    site.b.refuse_attach()
    clock.move(hours=3)
    site.run()
    site.b.clear_faults()
    clock.move(minutes=15)
    site.run()
    queries = len(site.source.queries())
    clock.move(minutes=15)

    site.run()

    assert len(site.source.queries()) - queries == 5


def test_a_location_whose_query_fails_is_named_and_its_position_stays(site: Site, clock: Clock) -> None:
    site.run()
    clock.move(minutes=15)
    site.source.faults.status(404, location="Mill & Lane")

    report = site.run()

    assert [failure.location for failure in report.failures] == ["Mill & Lane"]
    assert "404" in report.failures[0].error
    assert site.position("Mill & Lane", "a") == START
    assert site.position("Quay+One", "a") == clock.now
    site.source.faults.clear()
    assert site.run().ok
    assert same(bodies(site.a.received()), site.published(START - DAY))


def test_a_token_revoked_in_the_middle_of_a_run_costs_one_more_login(site: Site) -> None:
    site.source.faults.revoke_after(2)

    report = site.run()

    assert report.ok, report.failures
    assert site.source.logins == 2
    assert same(bodies(site.a.received()), site.published(START - DAY))


def test_a_refused_login_is_tried_once_and_changes_nothing(site: Site) -> None:
    site.source.faults.refuse_login()

    report = site.run()

    assert site.source.login_attempts == 1
    assert "MICROSHARE_PASSWORD" in report.failures[0].error
    assert site.a.received() == []
    assert site.state().locations == {}


def test_a_killed_process_goes_on_where_it_was(site: Site, clock: Clock) -> None:
    site.run()
    site.restart()
    clock.move(minutes=30)

    site.run()

    assert same(bodies(site.a.received()), site.published(START - DAY))


def test_a_slow_hub_holds_nobody_back(site: Site) -> None:
    site.b.delay(5.0)

    report = site.run(budget=Budget(timedelta(seconds=9), grace=timedelta(seconds=8)))

    assert same(bodies(site.a.received()), site.published(START - DAY))
    assert report.left > 0
    assert 0 < len(site.b.received()) < len(site.a.received())
    site.b.clear_faults()
    assert site.run().ok
    assert same(bodies(site.b.received()), site.published(START - DAY))
    assert is_ordered(site.b)


@pytest.mark.parametrize("stage", ["connect", "cbs", "attach", "outcome"])
def test_a_stalled_hub_ends_inside_the_budget_and_what_it_holds_never_arrives(
    tmp_path: Path, clock: Clock, estate: Estate, stage: str
) -> None:
    hubs = EventHubsEmulator([HubSpec("a", own_port=True), HubSpec("b", own_port=True)])
    with MicroshareEmulator(estate, clock=clock) as source, hubs:
        site = Site(source, hubs, clock, tmp_path)
        site.b.stall(stage)  # type: ignore[arg-type]  # one of its stages
        began = time.monotonic()

        report = site.run(budget=Budget(timedelta(seconds=10), grace=timedelta(seconds=3)))

        assert time.monotonic() - began < 20
        assert same(bodies(site.a.received()), site.published(START - DAY))
        assert [failure.hub for failure in report.failures] == [site.key("b")]
        site.b.thaw()
        assert site.b.received() == []
        site.b.clear_faults()
        assert site.run().ok
        assert same(bodies(site.b.received()), site.published(START - DAY))


def test_a_busy_hub_is_waited_for(site: Site) -> None:
    site.b.throttle(2)  # one answer and the SDK's own repeat

    report = site.run()

    assert site.b.fired["throttle"] == 2
    assert report.ok, report.failures
    assert same(bodies(site.b.received()), site.published(START - DAY))
    assert is_ordered(site.b)


def test_a_lost_acknowledgement_repeats_at_most_that_batch_with_the_same_ids(site: Site) -> None:
    site.b.drop_after_store(1)

    site.run()
    site.run()

    events = site.b.received()
    ids = [event.message_id for event in events]
    assert site.b.fired["drop_after_store"] == 1
    assert {event.message_id for event in site.a.received()} == set(ids)
    repeated = {event.message_id for event in events if ids.count(event.message_id) > 1}
    assert 0 < len(repeated) <= 4 * 96


@pytest.mark.parametrize("fault", ["detach", "drop_before_store"])
def test_a_broken_link_is_opened_again(site: Site, fault: str) -> None:
    getattr(site.b, fault)(1)

    report = site.run()

    assert site.b.fired[fault] == 1
    assert report.ok, report.failures
    assert same(bodies(site.b.received()), site.published(START - DAY))


def test_a_rejected_batch_stops_that_location_only(site: Site) -> None:
    site.b.reject("amqp:not-allowed", times=2)

    report = site.run()

    assert [failure.hub for failure in report.failures] == [site.key("b")]
    stopped = report.failures[0].location
    assert stopped is not None
    assert len({event.properties["location"] for event in site.b.received()}) == 4
    assert site.position(stopped, "b") == START - DAY
    assert site.run().ok
    assert same(bodies(site.b.received()), site.published(START - DAY))


def test_a_hub_that_rejects_three_locations_in_a_row_is_left_alone(site: Site) -> None:
    site.b.reject("amqp:not-allowed")

    report = site.run()

    assert report.hubs[site.key("b")].error is not None
    assert site.b.attempts <= 2 * 3
    assert same(bodies(site.a.received()), site.published(START - DAY))


def test_a_hub_that_rejects_three_locations_among_others_goes_on(site: Site) -> None:
    site.overrides |= {"concurrency": 1, "start_from": timedelta(hours=1)}
    # Two refused, one taken, one refused, one taken; the SDK tries each refused batch once more by itself.
    for refused in (2, 1):
        site.b.reject("amqp:not-allowed", times=2 * refused)
        site.b.accept(times=1)

    report = site.run()

    assert [failure.hub for failure in report.failures] == [site.key("b")] * 3
    assert report.hubs[site.key("b")].error is None
    assert len({event.properties["location"] for event in site.b.received()}) == 2


def test_a_reading_no_hub_can_take_is_quarantined_once_and_blocks_nothing(site: Site, tmp_path: Path) -> None:
    name = site.estate.listed(site.clock.now)[0].name
    site.estate.add_people(name, None, START - timedelta(hours=1), note="x" * 1_100_000)
    timeless = site.estate.add_people(name, None, START - timedelta(hours=1), without=["time"])

    first, second = site.run(), site.run()

    assert first.ok, first.failures
    assert len(first.quarantined) == 2
    assert {hub for reading in first.quarantined for hub in reading.hubs} == {site.key("a"), site.key("b")}
    assert second.quarantined == ()
    kept = [file.read_text() for file in (tmp_path / "state" / "quarantine").rglob("*.json")]
    assert any(timeless["record"] in text for text in kept)
    assert any("x" * 1_100_000 in text for text in kept)
    assert len(site.a.received()) == len(site.published(START - DAY)) - 2


def test_a_hub_with_smaller_messages_gets_smaller_batches(
    tmp_path: Path, clock: Clock, estate: Estate
) -> None:
    name = estate.listed(clock.now)[0].name
    large = estate.add_people(name, None, START - timedelta(hours=1), note="x" * 300_000)
    hubs = EventHubsEmulator(["a", HubSpec("b", max_message_bytes=262_144)])
    with MicroshareEmulator(estate, clock=clock) as source, hubs:
        site = Site(source, hubs, clock, tmp_path)

        report = site.run()

        assert report.ok, report.failures
        assert same(bodies(site.a.received()), site.published(START - DAY))
        assert [reading.hubs for reading in report.quarantined] == [(site.key("b"),)]
        without = [body for body in site.published(START - DAY) if body["record"] != large["record"]]
        assert same(bodies(site.b.received()), without)


class FullQuarantine(JsonFileStore):
    """A store that has no room for readings that are set aside."""

    def quarantine(self, name: str, item: QuarantinedReading) -> str:
        raise StateError(f"state: {name}: no room for {item.id}; free space on that disk")


def test_no_position_moves_past_a_reading_that_could_not_be_set_aside(site: Site) -> None:
    name, other = [found.name for found in site.estate.listed(site.clock.now)][:2]
    site.estate.add_people(name, None, START - timedelta(hours=1), without=["time"])

    report = site.run(store=FullQuarantine(site.settings().state.directory))

    assert {(failure.location, failure.hub) for failure in report.failures} == {
        (name, site.key("a")),
        (name, site.key("b")),
    }
    assert (site.position(name, "a"), site.position(other, "a")) == (START - DAY, START)
    healed = site.run()
    assert (healed.ok, len(healed.quarantined), site.position(name, "a")) == (True, 1, START)


class NarrowStore(JsonFileStore):
    """A store whose row for the whole feed is too small, from one of its saves on."""

    def __init__(self, directory: str, fits: int) -> None:
        super().__init__(directory)
        self._fits = fits
        self.refused = 0

    def save(self, name: str, state: FeedState, changed: Collection[str]) -> None:
        if self._fits <= 0:
            self.refused += 1
            raise StateTooLarge("state: what discovery found needs too much; narrow MICROSHARE_IDENTITY", [])
        self._fits -= 1
        super().save(name, state, changed)


@pytest.mark.parametrize("fits", [0, 1, 2], ids=["the first", "the second", "the third, if there is one"])
def test_a_run_of_which_a_save_did_not_fit_is_never_well(site: Site, fits: int) -> None:
    site.run()
    site.clock.move(hours=2)
    store = NarrowStore(site.settings().state.directory, fits)
    before = len(site.a.received())

    report = site.run(store=store)

    assert report.ok == (store.refused == 0)
    assert [failure.error for failure in report.failures if "narrow MICROSHARE" in failure.error] != [] or (
        report.ok
    )
    # A run saves before it sends anything; how much it has sent by a later save, the machine's pace says.
    assert fits > 0 or len(site.a.received()) == before
    assert site.run().ok
    assert {event.message_id for event in site.a.received()} == {
        event.message_id for event in site.b.received()
    }


def test_nothing_is_sent_while_the_state_cannot_be_saved(site: Site, tmp_path: Path) -> None:
    (tmp_path / "state").write_text("a file stands where the folder should be")

    report = site.run()

    assert not report.ok
    assert str(tmp_path / "state") in report.failures[0].error
    assert site.a.received() == []


def test_a_full_disk_is_no_hubs_fault(
    site: Site, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    configure_logging("INFO", to_stderr=False)

    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)

    report = site.run()

    assert "free space" in report.failures[0].error
    assert "hub.failing" not in caplog.text


def test_two_runs_of_a_feed_never_work_at_once(site: Site) -> None:
    store = wire(site.settings()).store
    with store.lock("peoplecounterstate", owner="another run"), pytest.raises(LockHeld, match="another run"):
        site.run()

    assert site.run().ok


def test_a_run_that_is_told_to_stop_keeps_what_it_did(site: Site) -> None:
    budget = Budget(timedelta(minutes=4))
    budget.stop()

    report = site.run(budget=budget)

    assert report.ok
    assert report.left == 5
    assert site.run().ok
    assert same(bodies(site.a.received()), site.published(START - DAY))


def test_a_paused_hub_keeps_its_place_and_catches_up(site: Site, clock: Clock) -> None:

    site.run()
    connection_string = site.hubs.connection_string("b")
    paused = [{"connection_string": connection_string, "enabled": False}]
    site.environ["EVENT_HUB_CONNECTION_STRINGS"] = json.dumps(paused)
    clock.move(hours=2)
    while_paused = site.run()
    sent = len(site.b.received())
    site.environ["EVENT_HUB_CONNECTION_STRINGS"] = json.dumps([connection_string])

    site.run()

    assert while_paused.hubs[site.key("b")].paused
    assert while_paused.hubs[site.key("b")].behind_s == 7200
    assert len(site.b.received()) > sent
    assert same(bodies(site.b.received()), site.published(START - DAY))


def test_the_earlier_forwarders_position_is_taken_over_once(site: Site, tmp_path: Path, clock: Clock) -> None:
    (tmp_path / "state").mkdir()
    earlier = '{"last_fetch_timestamp": "2026-03-02T06:00:00", "total_events_sent": 42}'
    (tmp_path / "state" / "peoplecounterstate.json").write_text(earlier)

    report = site.run()

    since = START - timedelta(hours=6)
    assert any("earlier forwarder" in warning for warning in report.warnings)
    assert same(bodies(site.a.received()), site.published(since))
    assert site.state().total_events() == 42 + 2 * len(site.published(since))
    clock.move(minutes=15)
    assert site.run().warnings == ()


def test_a_new_hub_begins_at_start_from(site: Site, clock: Clock) -> None:
    both = site.environ.pop("EVENT_HUB_CONNECTION_STRINGS")
    site.run()
    clock.move(hours=30)
    site.run()
    site.environ["EVENT_HUB_CONNECTION_STRINGS"] = both

    site.run()

    assert same(bodies(site.b.received()), site.published(clock.now - DAY))
    assert same(bodies(site.a.received()), site.published(START - DAY))


def test_a_backlog_of_days_is_caught_up_in_bounded_slices(site: Site, clock: Clock) -> None:
    site.run()
    clock.move(days=4)

    report = site.run()

    assert report.ok, report.failures
    assert same(bodies(site.a.received()), site.published(START - DAY))
    assert is_ordered(site.a)
    widths = [
        parse_time(request.query["to"][0]) - parse_time(request.query["from"][0])
        for request in site.source.queries()
    ]
    assert max(widths) <= DAY + timedelta(seconds=1)


def test_a_name_in_two_organisations_is_refused_in_every_run_unless_it_is_configured(
    tmp_path: Path, clock: Clock
) -> None:
    estate = Estate(buildings=(*DEFAULT, Building("Tour Été", cluster=2)))
    with MicroshareEmulator(estate, clock=clock) as source, EventHubsEmulator(["a", "b"]) as hubs:
        site = Site(source, hubs, clock, tmp_path)
        clusters = [*source.cluster_ids, source.foreign_cluster_id]
        site.environ["MICROSHARE_PC_DEVICE_CLUSTER_ID"] = json.dumps(clusters)

        refused = [site.run(), site.run()]
        site.environ["MICROSHARE_LOCATIONS"] = '["Tour Été"]'
        configured = site.run()

    assert [[failure.location for failure in report.failures] for report in refused] == [["Tour Été"]] * 2
    assert [report.locations for report in (*refused, configured)] == [4, 4, 5]
    assert configured.ok


def test_a_source_that_never_answers_is_named(site: Site) -> None:
    site.source.faults.slow(60)

    report = site.run(budget=Budget(timedelta(seconds=6), grace=timedelta(seconds=2)))

    assert [failure.location for failure in report.failures] == [None]
    assert report.failures[0].error.startswith("microshare: no query was answered within the run's")
    assert report.left == 5


def test_a_source_that_answers_short_windows_only_is_asked_for_those(site: Site, clock: Clock) -> None:
    site.source.faults.wide_window(hours=2)
    site.run()
    site.source.faults.clear()
    narrow = [
        parse_time(request.query["to"][0]) - parse_time(request.query["from"][0])
        for request in site.source.queries("Quay+One")
    ]

    assert same(bodies(site.a.received()), site.published(START - DAY))
    assert sum(width > timedelta(hours=2) for width in narrow) <= 5
