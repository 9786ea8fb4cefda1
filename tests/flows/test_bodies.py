"""Hubs whose events have a form of their own: they get, prove and repair what every other hub does."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import timedelta
from typing import Any

import pytest

from app.audit.repair import repair
from app.base.instants import floor_to, format_time, utc_now
from app.base.wire_forms import OUR_PROPERTIES
from emulators.eventhubs import EmulatedHub, EventHubsEmulator, HubSpec, StoredEvent
from emulators.microshare import MicroshareEmulator
from tests.environments.installation import START, Clock, Installation, arrivals
from tests.environments.terminal import Terminal
from tests.flows.test_audit import audit, compared, nth

HOUR = timedelta(hours=1)
DAY = timedelta(hours=24)
PEOPLE, SNAPSHOTS = "people_counter", "hourly_snapshot"
FORMS = ("plain", "with_ids", "cloudevents")
PROPERTIES = {"Table": "readings", "tenant": 7}

both_feeds = pytest.mark.parametrize("feed", [PEOPLE, SNAPSHOTS])
every_form = pytest.mark.parametrize("body", FORMS)


def give_form(installation: Installation, body: str, properties: Mapping[str, Any] = PROPERTIES) -> None:
    """Give the second hub a form; the first one has plain bodies."""
    entry = {
        "connection_string": installation.hubs.connection_string("b"),
        "body": body,
        "properties": dict(properties),
    }
    installation.environ["EVENT_HUB_CONNECTION_STRINGS"] = json.dumps([entry])


def ids(hub: EmulatedHub) -> list[tuple[str | None, str | None]]:
    return [(event.message_id, event.partition_key) for event in hub.received()]


def ours(event: StoredEvent) -> dict[str, object]:
    return {name: value for name, value in event.properties.items() if name in OUR_PROPERTIES}


@both_feeds
@every_form
def test_a_hub_of_any_form_gets_the_same_events_and_is_found_well(
    installation: Installation, feed: str, body: str
) -> None:
    give_form(installation, body)

    installation.run(feed)

    plain, formed = installation.a.received(), installation.b.received()
    assert sorted(ids(installation.a)) == sorted(ids(installation.b))
    assert {event.message_id: ours(event) for event in plain} == {
        event.message_id: ours(event) for event in formed
    }
    assert all(PROPERTIES.items() <= event.properties.items() for event in formed)
    assert not any(PROPERTIES.keys() & event.properties.keys() for event in plain)
    found = audit(installation, "b", feed=feed, since=START - DAY)
    assert (found.audit.ok, found.counts()) == (True, (0, 0, 0, 0))
    assert found.audit.delivered == found.audit.published > 0
    if feed == PEOPLE:
        assert installation.breaches(installation.b, START - DAY) == []


@both_feeds
@pytest.mark.parametrize("later", FORMS)
@every_form
def test_a_hub_whose_form_is_changed_gets_nothing_again(
    installation: Installation, clock: Clock, feed: str, body: str, later: str
) -> None:
    give_form(installation, body)
    installation.run(feed)
    before = len(installation.b.received())
    give_form(installation, later, {"tenant": "another"})

    again = installation.run(feed)
    clock.move(hours=2)
    installation.run(feed)

    assert again.hubs[installation.key("b")].events == 0
    after = installation.b.received()[before:]
    assert {event.properties["tenant"] for event in after} == {"another"}
    assert sorted(ids(installation.a)) == sorted(ids(installation.b))
    found = audit(installation, "b", feed=feed, since=START - DAY)
    assert (found.audit.ok, found.counts()) == (True, (0, 0, 0, 0))


@both_feeds
@every_form
def test_what_a_hub_lost_is_sent_again_in_the_form_it_has_now(
    installation: Installation, feed: str, body: str
) -> None:
    give_form(installation, "plain")
    installation.run(feed)
    whole = sorted(ids(installation.b))
    installation.b.discard(nth(1, 5))
    kept = len(installation.b.received())
    give_form(installation, body)

    for found in compared(installation, "b", feed=feed, since=START - DAY):
        outcome = repair(found, installation.wiring(), consumer_group="$Default")

    sent = installation.b.received()[kept:]
    assert outcome.errors == []
    assert sorted({len(sent), *(event.properties["tenant"] for event in sent)}, key=str) == [2, 7]
    assert sorted(ids(installation.b)) == whole
    assert {event.content_type for event in sent} == {
        "application/cloudevents+json" if body == "cloudevents" else "application/json"
    }
    after = audit(installation, "b", feed=feed, since=START - DAY)
    assert (after.audit.ok, after.counts()) == (True, (0, 0, 0, 0))
    assert installation.run(feed).hubs[installation.key("b")].events == 0


def test_a_snapshot_that_is_split_has_the_same_parts_in_all_forms(
    tmp_path: Any, clock: Clock, estate: Any
) -> None:
    hubs = EventHubsEmulator([HubSpec(name, max_message_bytes=1_750) for name in ("a", "b")])
    with MicroshareEmulator(estate, clock=clock) as source, hubs:
        installation = Installation(source, hubs, clock, tmp_path)
        give_form(installation, "with_ids")

        report = installation.run(SNAPSHOTS)

        parts = [event.properties.get("parts") for event in installation.a.received()]
        assert report.quarantined == ()
        assert any(parts)
        assert sorted(ids(installation.a)) == sorted(ids(installation.b))
        assert audit(installation, "b", feed=SNAPSHOTS, since=START - DAY).audit.ok


# --- commands ---------------------------------------------------------------------------------------


@pytest.fixture
def formed(terminal: Terminal, request: pytest.FixtureRequest) -> Terminal:
    entry = terminal.second(terminal.hubs.connection_string("b"))
    form = {"body": request.param, "properties": {"tenant": 7}}
    terminal.environ["EVENT_HUB_CONNECTION_STRINGS"] = json.dumps([entry | form])
    return terminal


commands = pytest.mark.parametrize("formed", ["with_ids", "cloudevents"], indirect=True)


@commands
def test_a_backfill_of_what_is_missing_knows_what_a_hub_of_any_form_holds(formed: Terminal) -> None:
    formed.call("run", "all")
    held = len(formed.b.received())
    end = floor_to(utc_now() - HOUR, HOUR)
    of_window = [one for one in arrivals(formed.b.received()) if end - 20 * HOUR <= one.time < end]
    gone = of_window[len(of_window) // 2].message_id
    assert formed.b.discard(lambda event: event.message_id == gone) == 1
    window = ("--from", format_time(end - 20 * HOUR), "--to", format_time(end), "--only-missing")
    told = ("--hub", "second", "--yes", "--json")

    ended = [formed.call("backfill", feed, *window, *told) for feed in ("people-counter", "hourly-snapshot")]

    assert [found.status for found in ended] == [0, 0]
    assert sum(found.objects[0]["hubs"][formed.key("b")]["events"] for found in ended) == 1
    assert len(formed.b.received()) == held


@pytest.mark.parametrize("formed", FORMS, indirect=True)
def test_tail_validates_events_of_any_form_and_says_which_one_does_not_fit(formed: Terminal) -> None:
    formed.call("run", "all")
    count = len(formed.b.received())
    formed.call("send-test", "--hub", "second")
    words = ("tail", "--hub", "second", "--validate", "--count", str(count + 1))

    well = formed.call(*words)
    assert formed.b.rewrite(nth(1), b'"_location_tags":', b'"_another_name_":') == 1
    broken = formed.call(*words)
    as_json = formed.call(*words, "--json")

    told = {line.split()[0] for line in well.out.splitlines()}
    assert (well.status, told, well.out.count("test event 1")) == (0, {"fits", "-"}, 1)
    assert f"{count} events checked: {count} fit, 0 wrong; 1 of others or tests" in well.err
    assert (broken.status, as_json.status) == (1, 1)
    assert f"{count} events checked: {count - 1} fit, 1 wrong" in broken.err
    (wrong,) = [found for found in as_json.objects if found["fits"] is False]
    (flaw,) = wrong["flaws"]
    assert flaw["seen"] == "without _location_tags"
    assert wrong["schema"].startswith("urn:microshare-forwarder:event:1:people_counter:")
    assert f"      {flaw['place']} is without _location_tags; must have it\n" in broken.out
    (of_test,) = [found for found in as_json.objects if found["fits"] is None]
    assert (of_test["properties"]["recType"], of_test["schema"], of_test["flaws"]) == ("test", None, [])


@commands
def test_tail_reads_readings_and_test_events_of_any_form(formed: Terminal) -> None:
    formed.call("run", "people-counter")
    count = len(formed.b.received())
    formed.call("send-test", "--hub", "second")

    read = formed.call("tail", "--hub", "second", "--count", str(count + 1))
    as_json = formed.call("tail", "--hub", "second", "--count", str(count + 1), "--json").objects

    assert (read.status, len(read.out.splitlines())) == (0, count + 1)
    assert "cannot be read" not in read.out
    assert "another sender" not in read.out
    assert read.out.count("test event 1") == 1
    (sent,) = [event for event in as_json if event["properties"]["recType"] == "test"]
    assert sent["properties"]["tenant"] == 7
    assert ("_forwarder" in sent["body"]) != ("specversion" in sent["body"])
