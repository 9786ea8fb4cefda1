"""What fails is left alone, named, and caught up with; everything else goes on."""

from __future__ import annotations

import errno
import json
import os
import time
from collections.abc import Collection, Sequence
from datetime import timedelta
from pathlib import Path

import pytest

from app.base.budget import Budget
from app.base.checkpoints import FeedState
from app.base.errors import LockHeld, StateError, StateTooLarge
from app.base.instants import parse_time
from app.base.log import configure_logging
from app.base.readings import QuarantinedReading
from app.base.shards import WHOLE, Shard
from app.state.json_file import JsonFileStore
from app.wiring import wire
from emulators.estate import DEFAULT, Building, Estate
from emulators.eventhubs import EventHubsEmulator, HubSpec, Stage
from emulators.microshare import MicroshareEmulator
from emulators.microshare_faults import Target
from tests.environments.installation import START, Clock, Installation

DAY = timedelta(hours=24)


def test_a_hub_that_refuses_for_two_runs_catches_up_alone_and_in_order(
    installation: Installation, clock: Clock
) -> None:
    installation.run()
    installation.b.refuse_attach()
    failed = []
    for _ in range(2):
        clock.move(minutes=15)
        failed.append(installation.run())
    assert installation.breaches(installation.a, START - DAY) == []
    installation.b.clear_faults()
    clock.move(minutes=15)
    to_a = len(installation.a.received())

    recovered = installation.run()

    assert [report.ok for report in (*failed, recovered)] == [False, False, True]
    assert {failure.hub for report in failed for failure in report.failures} == {installation.key("b")}
    assert len(installation.a.received()) - to_a < 30
    for hub in (installation.a, installation.b):
        assert installation.breaches(hub, START - DAY) == []


def test_a_hub_that_caught_up_shares_the_fetch_again(installation: Installation, clock: Clock) -> None:
    installation.run()
    installation.b.refuse_attach()
    clock.move(hours=3)
    installation.run()
    installation.b.clear_faults()
    clock.move(minutes=15)
    installation.run()
    queries = len(installation.source.queries())
    clock.move(minutes=15)

    installation.run()

    assert len(installation.source.queries()) - queries == 5


def test_a_location_whose_query_fails_is_named_and_its_position_stays(
    installation: Installation, clock: Clock
) -> None:
    installation.run()
    clock.move(minutes=15)
    installation.source.faults.status(404, location="Mill & Lane")

    report = installation.run()

    assert [failure.location for failure in report.failures] == ["Mill & Lane"]
    assert "404" in report.failures[0].error
    assert installation.position("Mill & Lane", "a") == START
    assert installation.position("Quay+One", "a") == clock.now
    installation.source.faults.clear()
    assert installation.run().ok
    assert installation.breaches(installation.a, START - DAY) == []


def test_a_token_revoked_in_the_middle_of_a_run_costs_one_more_login(installation: Installation) -> None:
    installation.source.faults.revoke_after(2)

    report = installation.run()

    assert report.ok, report.failures
    assert installation.source.logins == 2
    assert installation.breaches(installation.a, START - DAY) == []


def test_a_refused_login_is_tried_once_and_changes_nothing(installation: Installation) -> None:
    installation.source.faults.refuse_login()

    report = installation.run()

    assert installation.source.login_attempts == 1
    assert "MICROSHARE_PASSWORD" in report.failures[0].error
    assert installation.a.received() == []
    assert installation.state().locations == {}


def test_a_killed_process_goes_on_where_it_was(installation: Installation, clock: Clock) -> None:
    installation.run()
    installation.restart()
    clock.move(minutes=30)

    installation.run()

    assert installation.breaches(installation.a, START - DAY) == []


def test_a_slow_hub_holds_nobody_back(installation: Installation) -> None:
    installation.b.delay(5.0)

    report = installation.run(budget=Budget(timedelta(seconds=9), grace=timedelta(seconds=8)))

    assert installation.breaches(installation.a, START - DAY) == []
    assert report.left > 0
    assert 0 < len(installation.b.received()) < len(installation.a.received())
    installation.b.clear_faults()
    assert installation.run().ok
    assert installation.breaches(installation.b, START - DAY) == []


@pytest.mark.parametrize(
    "stages", [("connect", "cbs", "attach"), ("outcome",)], ids=["before they are open", "at a batch"]
)
def test_hubs_that_stall_end_inside_the_budget_and_what_they_hold_never_arrives(
    tmp_path: Path, clock: Clock, estate: Estate, stages: Sequence[Stage]
) -> None:
    hubs = EventHubsEmulator([HubSpec(name, own_port=True) for name in ("a", *stages)])
    with MicroshareEmulator(estate, clock=clock) as source, hubs:
        others = json.dumps([hubs.connection_string(stage) for stage in stages])
        installation = Installation(source, hubs, clock, tmp_path, {"EVENT_HUB_CONNECTION_STRINGS": others})
        for stage in stages:
            hubs.hub(stage).stall(stage)
        began = time.monotonic()

        report = installation.run(budget=Budget(timedelta(seconds=10), grace=timedelta(seconds=3)))

        # By itself the SDK would wait for a minute and more.
        assert time.monotonic() - began < 40
        assert installation.breaches(installation.a, START - DAY) == []
        assert {failure.hub for failure in report.failures} == {installation.key(stage) for stage in stages}
        for stage in stages:
            hubs.hub(stage).thaw()
        assert [hubs.hub(stage).received() for stage in stages] == [[]] * len(stages)
        for stage in stages:
            hubs.hub(stage).clear_faults()
        assert installation.run().ok
        assert [installation.breaches(hubs.hub(stage), START - DAY) for stage in stages] == [[]] * len(stages)


def test_a_busy_hub_is_waited_for(installation: Installation) -> None:
    installation.b.throttle(2)  # one answer and the SDK's own repeat

    report = installation.run()

    assert installation.b.fired["throttle"] == 2
    assert report.ok, report.failures
    assert installation.breaches(installation.b, START - DAY) == []


def test_a_lost_acknowledgement_repeats_at_most_that_batch_with_the_same_ids(
    installation: Installation,
) -> None:
    installation.b.drop_after_store(1)

    installation.run()
    installation.run()

    events = installation.b.received()
    ids = [event.message_id for event in events]
    assert installation.b.fired["drop_after_store"] == 1
    assert {event.message_id for event in installation.a.received()} == set(ids)
    repeated = {event.message_id for event in events if ids.count(event.message_id) > 1}
    assert 0 < len(repeated) <= 4 * 96


@pytest.mark.parametrize("fault", ["detach", "drop_before_store"])
def test_a_broken_link_is_opened_again(installation: Installation, fault: str) -> None:
    getattr(installation.b, fault)(1)

    report = installation.run()

    assert installation.b.fired[fault] == 1
    assert report.ok, report.failures
    assert installation.breaches(installation.b, START - DAY) == []


def test_a_rejected_batch_stops_that_location_only(installation: Installation) -> None:
    installation.b.reject("amqp:not-allowed", times=2)

    report = installation.run()

    assert [failure.hub for failure in report.failures] == [installation.key("b")]
    stopped = report.failures[0].location
    assert stopped is not None
    assert len({event.properties["location"] for event in installation.b.received()}) == 4
    assert installation.position(stopped, "b") == START - DAY
    assert installation.run().ok
    assert installation.breaches(installation.b, START - DAY) == []


def test_a_hub_that_rejects_three_locations_in_a_row_is_left_alone(installation: Installation) -> None:
    installation.b.reject("amqp:not-allowed")

    report = installation.run()

    assert report.hubs[installation.key("b")].error is not None
    assert installation.b.attempts <= 2 * 3
    assert installation.breaches(installation.a, START - DAY) == []


def test_a_hub_that_rejects_three_locations_among_others_goes_on(installation: Installation) -> None:
    installation.overrides |= {"concurrency": 1, "start_from": timedelta(hours=1)}
    # Two refused, one taken, one refused, one taken; the SDK tries each refused batch once more by itself.
    for refused in (2, 1):
        installation.b.reject("amqp:not-allowed", times=2 * refused)
        installation.b.accept(times=1)

    report = installation.run()

    assert [failure.hub for failure in report.failures] == [installation.key("b")] * 3
    assert report.hubs[installation.key("b")].error is None
    assert len({event.properties["location"] for event in installation.b.received()}) == 2


def test_a_reading_no_hub_can_take_is_quarantined_once_and_blocks_nothing(
    installation: Installation, tmp_path: Path
) -> None:
    name = installation.estate.listed(installation.clock.now)[0].name
    installation.estate.add_people(name, None, START - timedelta(hours=1), note="x" * 1_100_000)
    timeless = installation.estate.add_people(name, None, START - timedelta(hours=1), without=["time"])

    first, second = installation.run(), installation.run()

    assert first.ok, first.failures
    assert len(first.quarantined) == 2
    assert {hub for reading in first.quarantined for hub in reading.hubs} == {
        installation.key("a"),
        installation.key("b"),
    }
    assert second.quarantined == ()
    kept = [file.read_text() for file in (tmp_path / "state" / "quarantine").rglob("*.json")]
    assert any(timeless["record"] in text for text in kept)
    assert any("x" * 1_100_000 in text for text in kept)
    assert len(installation.a.received()) == len(installation.published(START - DAY)) - 2


def test_a_hub_with_smaller_messages_gets_smaller_batches(
    tmp_path: Path, clock: Clock, estate: Estate
) -> None:
    name = estate.listed(clock.now)[0].name
    large = estate.add_people(name, None, START - timedelta(hours=1), note="x" * 300_000)
    hubs = EventHubsEmulator(["a", HubSpec("b", max_message_bytes=262_144)])
    with MicroshareEmulator(estate, clock=clock) as source, hubs:
        installation = Installation(source, hubs, clock, tmp_path)

        report = installation.run()

        assert report.ok, report.failures
        assert installation.breaches(installation.a, START - DAY) == []
        assert [reading.hubs for reading in report.quarantined] == [(installation.key("b"),)]
        too_large = [one for one in installation.published(START - DAY) if one.entry == large]
        assert len(too_large) == 1
        assert installation.breaches(installation.b, START - DAY, withheld=too_large) == []


class FullQuarantine(JsonFileStore):
    """A store that has no room for readings that are set aside."""

    def quarantine(self, name: str, item: QuarantinedReading) -> str:
        raise StateError(f"state: {name}: no room for {item.id}; free space on that disk")


def test_no_position_moves_past_a_reading_that_could_not_be_set_aside(installation: Installation) -> None:
    name, other = [found.name for found in installation.estate.listed(installation.clock.now)][:2]
    installation.estate.add_people(name, None, START - timedelta(hours=1), without=["time"])

    report = installation.run(store=FullQuarantine(installation.settings().state.directory))

    assert {(failure.location, failure.hub) for failure in report.failures} == {
        (name, installation.key("a")),
        (name, installation.key("b")),
    }
    assert (installation.position(name, "a"), installation.position(other, "a")) == (START - DAY, START)
    healed = installation.run()
    assert (healed.ok, len(healed.quarantined), installation.position(name, "a")) == (True, 1, START)


class NarrowStore(JsonFileStore):
    """A store whose row for the whole feed is too small, from one of its saves on."""

    def __init__(self, directory: str, fits: int) -> None:
        super().__init__(directory)
        self._fits = fits
        self.refused = 0

    def save(self, name: str, state: FeedState, changed: Collection[str], shard: Shard = WHOLE) -> None:
        if self._fits <= 0:
            self.refused += 1
            raise StateTooLarge("state: what discovery found needs too much; narrow MICROSHARE_IDENTITY", [])
        self._fits -= 1
        super().save(name, state, changed, shard)


@pytest.mark.parametrize("fits", [0, 1, 2], ids=["the first", "the second", "the third, if there is one"])
def test_a_run_of_which_a_save_did_not_fit_is_never_well(installation: Installation, fits: int) -> None:
    installation.run()
    installation.clock.move(hours=2)
    store = NarrowStore(installation.settings().state.directory, fits)
    before = len(installation.a.received())

    report = installation.run(store=store)

    assert report.ok == (store.refused == 0)
    assert [failure.error for failure in report.failures if "narrow MICROSHARE" in failure.error] != [] or (
        report.ok
    )
    # A run saves before it sends anything; how much it has sent by a later save, the machine's pace says.
    assert fits > 0 or len(installation.a.received()) == before
    assert installation.run().ok
    assert {event.message_id for event in installation.a.received()} == {
        event.message_id for event in installation.b.received()
    }


def test_nothing_is_sent_while_the_state_cannot_be_saved(installation: Installation, tmp_path: Path) -> None:
    (tmp_path / "state").write_text("a file stands where the folder should be")

    report = installation.run()

    assert not report.ok
    assert str(tmp_path / "state") in report.failures[0].error
    assert installation.a.received() == []


def test_a_full_disk_is_no_hubs_fault(
    installation: Installation, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    configure_logging("INFO", to_stderr=False)

    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)

    report = installation.run()

    assert "free space" in report.failures[0].error
    assert "hub.failing" not in caplog.text


def test_two_runs_of_a_feed_never_work_at_once(installation: Installation) -> None:
    store = wire(installation.settings()).store
    with store.lock("peoplecounterstate", owner="another run"), pytest.raises(LockHeld, match="another run"):
        installation.run()

    assert installation.run().ok


def test_a_run_that_is_told_to_stop_keeps_what_it_did(installation: Installation) -> None:
    budget = Budget(timedelta(minutes=4))
    budget.stop()

    report = installation.run(budget=budget)

    assert report.ok
    assert report.left == 5
    assert installation.run().ok
    assert installation.breaches(installation.a, START - DAY) == []


def test_a_paused_hub_keeps_its_place_and_catches_up(installation: Installation, clock: Clock) -> None:

    installation.run()
    connection_string = installation.hubs.connection_string("b")
    paused = [{"connection_string": connection_string, "enabled": False}]
    installation.environ["EVENT_HUB_CONNECTION_STRINGS"] = json.dumps(paused)
    clock.move(hours=2)
    while_paused = installation.run()
    sent = len(installation.b.received())
    installation.environ["EVENT_HUB_CONNECTION_STRINGS"] = json.dumps([connection_string])

    installation.run()

    assert while_paused.hubs[installation.key("b")].paused
    assert while_paused.hubs[installation.key("b")].behind_s == 7200
    assert len(installation.b.received()) > sent
    assert installation.breaches(installation.b, START - DAY) == []


def test_the_earlier_forwarders_position_is_taken_over_once(
    installation: Installation, tmp_path: Path, clock: Clock
) -> None:
    (tmp_path / "state").mkdir()
    earlier = '{"last_fetch_timestamp": "2026-03-02T06:00:00", "total_events_sent": 42}'
    (tmp_path / "state" / "peoplecounterstate.json").write_text(earlier)

    report = installation.run()

    since = START - timedelta(hours=6)
    assert any("earlier forwarder" in warning for warning in report.warnings)
    assert installation.breaches(installation.a, since) == []
    assert installation.state().total_events() == 42 + 2 * len(installation.published(since))
    clock.move(minutes=15)
    assert installation.run().warnings == ()


def test_a_new_hub_begins_at_start_from(installation: Installation, clock: Clock) -> None:
    both = installation.environ.pop("EVENT_HUB_CONNECTION_STRINGS")
    installation.run()
    clock.move(hours=30)
    installation.run()
    installation.environ["EVENT_HUB_CONNECTION_STRINGS"] = both

    installation.run()

    assert installation.breaches(installation.b, clock.now - DAY) == []
    assert installation.breaches(installation.a, START - DAY) == []


def test_a_backlog_of_days_is_caught_up_in_bounded_slices(installation: Installation, clock: Clock) -> None:
    installation.run()
    clock.move(days=4)

    report = installation.run()

    assert report.ok, report.failures
    assert installation.breaches(installation.a, START - DAY) == []
    widths = [
        parse_time(request.query["to"][0]) - parse_time(request.query["from"][0])
        for request in installation.source.queries()
    ]
    assert max(widths) <= DAY + timedelta(seconds=1)


def test_a_name_in_two_organisations_is_refused_in_every_run_unless_it_is_configured(
    tmp_path: Path, clock: Clock
) -> None:
    estate = Estate(buildings=(*DEFAULT, Building("Tour Été", cluster=2)))
    with MicroshareEmulator(estate, clock=clock) as source, EventHubsEmulator(["a", "b"]) as hubs:
        installation = Installation(source, hubs, clock, tmp_path)
        clusters = [*source.cluster_ids, source.foreign_cluster_id]
        installation.environ["MICROSHARE_PC_DEVICE_CLUSTER_ID"] = json.dumps(clusters)

        refused = [installation.run(), installation.run()]
        installation.environ["MICROSHARE_LOCATIONS"] = '["Tour Été"]'
        configured = installation.run()

    assert [[failure.location for failure in report.failures] for report in refused] == [["Tour Été"]] * 2
    assert [report.locations for report in (*refused, configured)] == [4, 4, 5]
    assert configured.ok


def test_a_source_that_never_answers_is_named(installation: Installation) -> None:
    installation.source.faults.slow(60)

    # Long enough for the hubs of a busy machine to connect: one that did not would be told instead.
    report = installation.run(budget=Budget(timedelta(seconds=16), grace=timedelta(seconds=2)))

    assert [failure.location for failure in report.failures] == [None]
    assert report.failures[0].error.startswith("microshare: no query was answered within the run's")
    assert report.left == 5


@pytest.mark.parametrize(
    ("step", "takes_s", "grace_s"),
    [
        pytest.param("login", 60, 0.5, id="a login that is not answered"),
        pytest.param("devices", 60, 0.5, id="a list of locations that is not answered"),
        # Long enough for the hubs of a busy machine to connect.
        pytest.param("devices", 4, 30, id="a list of locations that takes the whole budget"),
    ],
)
def test_a_run_whose_time_is_over_before_it_asks_for_a_location_is_not_well(
    installation: Installation, step: Target, takes_s: float, grace_s: float
) -> None:
    installation.source.faults.slow(takes_s, on=step)

    report = installation.run(budget=Budget(timedelta(seconds=1), grace=timedelta(seconds=grace_s)))

    assert [(failure.location, failure.hub) for failure in report.failures] == [(None, None)]
    assert report.failures[0].error.startswith("no location was asked for within the run's")
    assert "run.budget" in report.failures[0].error


def test_a_source_that_answers_short_windows_only_is_asked_for_those(
    installation: Installation, clock: Clock
) -> None:
    installation.source.faults.wide_window(hours=2)
    installation.run()
    installation.source.faults.clear()
    narrow = [
        parse_time(request.query["to"][0]) - parse_time(request.query["from"][0])
        for request in installation.source.queries("Quay+One")
    ]

    assert installation.breaches(installation.a, START - DAY) == []
    assert sum(width > timedelta(hours=2) for width in narrow) <= 5
