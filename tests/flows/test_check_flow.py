"""`check` against a source and hubs: what it finds, and what it says to do."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from app.base.instants import parse_time
from app.settings.scale_out import POISON
from emulators.estate import Building, Estate
from emulators.eventhubs import EventHubsEmulator
from emulators.microshare import MicroshareEmulator
from tests.commands import Ended
from tests.environments.azurite import ACCOUNT_KEY, connection_string
from tests.environments.queues import Queues
from tests.environments.terminal import Terminal

PEOPLE_VIEW = "view of people-counter"


def wanting(objects: list[dict[str, Any]]) -> dict[str, dict[str, Any]]:
    return {found["check"]: found for found in objects if not found["ok"]}


def test_it_says_of_each_thing_that_it_is_right(terminal: Terminal) -> None:
    ended = terminal.call("check", "--json")

    well = [found for found in ended.objects if not found["warning"]]
    assert [(found["check"], found["ok"], found["do"]) for found in well] == [
        (check, True, None)
        for check in (
            "settings",
            "versions",
            "schedule of people-counter",
            "schedule of hourly-snapshot",
            "login",
            "clock",
            "discovery",
            PEOPLE_VIEW,
            "locations of people-counter",
            "view of hourly-snapshot",
            "locations of hourly-snapshot",
            "rights",
            "hub primary",
            "hub second",
            "state",
            "state of people-counter",
            "state of hourly-snapshot",
        )
    ]
    by_check = {found["check"]: found for found in ended.objects}
    assert by_check["hub primary"]["partitions"] == 2
    assert abs(by_check["clock"]["skew_s"]) < 60
    assert re.fullmatch(r"\d+\.\d s from the API's, [\d :-]+ UTC", by_check["clock"]["said"])
    ways = {check: found["ways"] for check, found in by_check.items() if "ways" in found}
    assert {check: [list(way["steps_s"]) for way in found] for check, found in ways.items()} == {
        "login": [["dns", "tcp", "login"]],
        "hub primary": [["dns", "tcp", "open"]],
        "hub second": [["dns", "tcp", "open"]],
    }
    assert {(way["proxy"], way["stopped"]) for found in ways.values() for way in found} == {(None, None)}
    assert ended.status == 0
    assert terminal.a.received() == terminal.b.received() == []


def test_the_form_of_a_hubs_events_is_said_where_it_is_not_that_of_the_source(terminal: Terminal) -> None:
    form = {"body": "cloudevents", "properties": {"Table": "readings", "Format": "multijson"}}
    entry = terminal.second(terminal.hubs.connection_string("b"))
    terminal.environ["EVENT_HUB_CONNECTION_STRINGS"] = json.dumps([entry | form])

    for_people = terminal.call("check").out.split("ok      ")
    found = {each["check"]: each for each in terminal.call("check", "--json").objects}

    primary, second = (" ".join(said.split()) for said in for_people if said.startswith("hub "))
    assert "2 partitions; body: cloudevents; properties: Format, Table way: " in second
    assert "2 partitions way: " in primary
    assert {"body": "plain", "properties": {}}.items() <= found["hub primary"].items()
    assert form.items() <= found["hub second"].items()
    assert found["hub second"]["said"].endswith("2 partitions; body: cloudevents; properties: Format, Table")


def test_a_hub_that_is_paused_or_fails_has_its_form_too(terminal: Terminal) -> None:
    entry = terminal.second(terminal.hubs.connection_string("b")) | {"body": "with_ids"}
    paused = json.dumps([entry | {"enabled": False}])
    terminal.b.refuse_attach()

    told = terminal.call("check", "--json", EVENT_HUB_CONNECTION_STRINGS=json.dumps([entry])).objects
    told += terminal.call("check", "--json", EVENT_HUB_CONNECTION_STRINGS=paused).objects

    failed, waiting = (found for found in told if found["check"] == "hub second")
    assert (failed["ok"], failed["body"], waiting["body"]) == (False, "with_ids", "with_ids")
    assert "with_ids" not in failed["said"]
    assert waiting["said"].endswith("catches up later; body: with_ids")


def test_the_way_of_each_target_is_a_line_and_a_proxy_that_amqp_goes_past_is_doubted(
    terminal: Terminal,
) -> None:
    second = "Endpoint=sb://127.0.0.9;SharedAccessKeyName=n;SharedAccessKey=obviously-false;EntityPath=c"

    ended = terminal.call(
        "check",
        HTTPS_PROXY="http://user:of-the-proxy@127.0.0.1:1",
        EVENT_HUB_CONNECTION_STRINGS=json.dumps([second]),
    )

    ways = [line for line in ended.out.splitlines() if line.strip().startswith("way: ")]
    assert len(ways) == 3
    # Under what it is the way to, as all that is said of it.
    assert {line.index("way: direct, dns ") for line in ways} == {len("FAILED  discovery  ")}
    assert "open" in ways[-1]
    assert "Connection refused" in ways[-1]
    # The other hub is reached, so the port of the transport is open.
    assert "do: check its namespace, and that its firewall lets this host in" in ended.out
    # A port of the test may have these digits among its own.
    assert re.search(r"\b443\b", ended.out) is None
    assert ended.out.count("it is reached past the proxy http://127.0.0.1:1") == 1
    assert ended.status == 1
    assert "of-the-proxy" not in ended.out + ended.err


def test_it_goes_on_after_what_it_finds_wanting(terminal: Terminal) -> None:
    terminal.b.refuse_attach()

    ended = terminal.call("check", "--json", MICROSHARE_PASSWORD="obviously-false")

    found = wanting(ended.objects)
    assert found.keys() == {"login", "hub second"}
    assert found["login"]["do"] == "check MICROSHARE_USERNAME and MICROSHARE_PASSWORD"
    assert "grant the Send right" in found["hub second"]["said"] + found["hub second"]["do"]
    assert {"hub primary", "state"} <= {found["check"] for found in ended.objects if found["ok"]}
    assert ended.status == 1
    assert "obviously-false" not in ended.out + ended.err


def test_organisations_that_share_the_identity_and_names_that_a_view_would_evaluate_are_told(
    terminal: Terminal,
) -> None:
    clusters = [*terminal.source.cluster_ids, terminal.source.foreign_cluster_id]
    terminal.source.estate.add(Building("Mill ${ownerOrg}", cluster=2))
    terminal.source.faults.rewrite_body(
        lambda body: body.replace(b'"com.other.SOUTH"', b'"evil.com.example.NORTH"'), on="devices"
    )
    asked = {
        "MICROSHARE_PC_DEVICE_CLUSTER_ID": json.dumps(clusters),
        "MICROSHARE_IDENTITY": "com.example.NORTH",
    }

    ended = terminal.call("check", "--json", **asked)
    exact = terminal.call("check", "--json", **asked | {"MICROSHARE_IDENTITY": "=com.example.NORTH"})

    [warned] = [found for found in ended.objects if found["check"] == "discovery" and found["warning"]]
    assert "com.example.NORTH, evil.com.example.NORTH" in warned["said"]
    assert "=com.example.NORTH" in warned["do"]
    refused = [found for found in ended.objects if not found["ok"]]
    assert [found["check"] for found in refused] == [
        "locations of people-counter",
        "locations of hourly-snapshot",
    ]
    assert {found["do"] for found in refused} == {"rename it in Microshare, or leave it if it is not yours"}
    assert not [query for query in terminal.source.queries() if "ownerOrg}" in str(query.query["loc1"])]
    assert exact.status == 0
    assert [found["said"] for found in exact.objects if found["check"] == "discovery"] == [
        found["said"] for found in terminal.call("check", "--json").objects if found["check"] == "discovery"
    ]


def _gone(terminal: Terminal) -> None:
    terminal.environ["MICROSHARE_PC_DASHBOARD_VIEW_ID"] = "ffffffffffffffffffffffff"


def _of_the_other_feed(terminal: Terminal) -> None:
    terminal.environ["MICROSHARE_PC_DASHBOARD_VIEW_ID"] = terminal.source.snapshot_view_id


def _not_shown(terminal: Terminal) -> None:
    terminal.source.faults.withhold(feed="people")


@pytest.mark.parametrize(
    ("spoil", "said", "do", "rights"),
    [
        (_gone, "404", "check the id, then the account's rights", True),
        (_of_the_other_feed, "the view refuses its parameters (503", "compare them with the view's", False),
        (_not_shown, "none is shown: the account lacks read rights", "have them granted on", True),
    ],
    ids=["gone or not yours", "the other feed's", "rights to its records are missing"],
)
def test_a_view_that_cannot_be_asked_is_found_with_what_to_do(
    terminal: Terminal, spoil: Callable[[Terminal], None], said: str, do: str, rights: bool
) -> None:
    spoil(terminal)

    ended = terminal.call("check", "--json")

    found = wanting(ended.objects)
    view = found.get(PEOPLE_VIEW) or found["locations of people-counter"]
    assert (said in view["said"], do in view["do"]) == (True, True)
    assert ("rights" in found) == rights
    assert ended.status == 1


def test_a_clock_that_is_wrong_is_found(terminal: Terminal) -> None:
    terminal.source.skew = timedelta(minutes=-20)

    clock = wanting(terminal.call("check", "--json").objects)["clock"]

    assert clock["said"].startswith("20 min ahead of the API's: this host says ")
    apart = parse_time(clock["host"]) - parse_time(clock["api"])
    assert abs(apart - timedelta(minutes=20)) < timedelta(minutes=1)
    assert clock["do"].startswith("set this host's clock right")
    assert clock["skew_s"] == pytest.approx(1200, abs=60)


def test_locations_that_give_nothing_are_named_with_the_name_they_were_asked_by(terminal: Terminal) -> None:
    ended = terminal.call(
        "check",
        "--json",
        MICROSHARE_LOCATION_PREFIX="Tour",
        MICROSHARE_LOCATIONS='["Nowhere House"]',
    )

    found = wanting(ended.objects)
    snapshots = found["locations of hourly-snapshot"]
    assert snapshots["locations"] == ["Nowhere House", "Example Beacon House", "Tour Été"]
    assert "'Tour Été' (asked as 'Été')" in snapshots["said"]
    assert "location_prefix (now 'Tour') or location_names of feeds.hourly_snapshot" in snapshots["do"]
    assert found["locations of people-counter"]["locations"] == ["Nowhere House"]
    assert ended.status == 1


def test_where_no_location_gives_anything_the_view_and_its_context_are_doubted(terminal: Terminal) -> None:
    ended = terminal.call("check", "--json", MICROSHARE_SNAPSHOT_DATA_CONTEXT='["attic"]')

    snapshots = wanting(ended.objects)["locations of hourly-snapshot"]
    assert len(snapshots["locations"]) == 5
    assert snapshots["do"].startswith(f"see that {terminal.source.snapshot_view_id} is the view of this feed")
    assert "attic its data context" in snapshots["do"]


def test_at_most_twenty_locations_are_asked_for_the_doubtful_ones_first(tmp_path: Path) -> None:
    names = [f"Building {number:02}" for number in range(24)]
    estate = Estate(buildings=[Building(name) for name in names])
    with MicroshareEmulator(estate) as source, EventHubsEmulator(["a", "b"]) as hubs:
        terminal = Terminal(source, hubs, tmp_path)
        del terminal.environ["MICROSHARE_SNAPSHOT_DASHBOARD_VIEW_ID"]
        named = json.dumps([names[-1], "Nowhere House"])
        few = terminal.call("check", "--json", MICROSHARE_LOCATIONS=named)
        asked = {request.location for request in source.queries()}
        all_asked = terminal.call("check", "--json", "--all-locations")

        assert {names[-1], "Nowhere House"} <= asked
        assert len(asked) == 20
        assert source.most_in_flight <= 4
    assert wanting(few.objects)["locations of people-counter"]["do"].endswith("--all-locations asks for all")
    assert "25 locations asked for" in wanting(all_asked.objects)["locations of people-counter"]["said"]


def test_what_a_feed_has_no_use_for_is_warned_of_by_check_and_by_the_run(terminal: Terminal) -> None:
    config = Path(terminal.environ["FORWARDER_CONFIG"])
    config.write_text(
        config.read_text().replace("    look_back: 1h\n", "    look_back: 1h\n    late: hour\n", 1)
    )

    told = [found for found in terminal.call("check", "--json").objects if found["warning"]]
    (report,) = terminal.call("run", "people-counter", "--json").objects

    assert [(found["check"], found["said"], found["do"]) for found in told] == [
        (
            "settings",
            "feeds.people_counter.late: 'hour' means nothing to this feed and is ignored",
            "remove it, a later version refuses it",
        )
    ]
    assert report["warnings"][0].startswith(told[0]["said"])
    assert report["ok"]


def test_a_view_of_any_feed_is_asked_by_the_names_that_its_entry_has(terminal: Terminal) -> None:
    terminal.source.estate.rename("Mill & Lane", "Lane", at=None)
    config = Path(terminal.environ["FORWARDER_CONFIG"])
    config.write_text(
        config.read_text().replace("    look_back: 1h\n", "    look_back: 1h\n    location_prefix: Old\n", 1)
    )

    (report,) = terminal.call(
        "run", "people-counter", "--json", MICROSHARE_LOCATIONS='["Old Lane"]', START_FROM="3h"
    ).objects

    by_old_name = [event for event in terminal.a.received() if event.properties["location"] == "Old Lane"]
    assert report["ok"]
    assert "Old Lane" not in {query.location for query in terminal.source.queries()}
    assert by_old_name


def test_a_key_with_all_rights_and_a_signature_that_ended_are_found(terminal: Terminal) -> None:
    host = f"127.0.0.1:{terminal.hubs.port}"
    root = re.sub("KeyName=[^;]*", "KeyName=RootManageSharedAccessKey", terminal.hubs.connection_string("a"))
    ended_signature = (
        f"Endpoint=sb://{host};SharedAccessSignature=SharedAccessSignature sr=false&sig=false&se=1772452800"
        "&skn=sender;EntityPath=b;UseDevelopmentEmulator=true"
    )

    ended = terminal.call(
        "check",
        "--json",
        EVENT_HUB_CONNECTION_STRING=root,
        EVENT_HUB_CONNECTION_STRINGS=json.dumps([terminal.second(ended_signature)]),
    )

    told = [(found["check"], found["said"], found["do"]) for found in ended.objects]
    assert (
        "hub primary",
        "its key RootManageSharedAccessKey may manage the whole namespace",
        "make a policy of the event hub with the Send right only, and use its connection string",
    ) in told
    assert (
        "hub second",
        "its SharedAccessSignature ended at 2026-03-02 12:00:00 UTC",
        "make a new one",
    ) in told


def test_a_cluster_that_is_set_is_not_asked_for_where_its_discovery_failed(terminal: Terminal) -> None:
    terminal.source.faults.unauthorized(on="devices")

    found = terminal.call("check", "--json").objects

    [todo] = {one["do"] for one in found if one["check"] == "view of people-counter"}
    assert todo == "see what discovery gives, and put that right, or set MICROSHARE_LOCATIONS"


# --- shards from a queue ----------------------------------------------------------------------------


@pytest.fixture
def by_queue(terminal: Terminal, azurite_port: int, azurite_queue_port: int) -> Terminal:
    storage = connection_string(azurite_port, queue_port=azurite_queue_port)
    terminal.environ |= {"AzureWebJobsStorage": storage, "SCALE_OUT": "queue", "SCALE_OUT_SHARDS": "8"}
    return terminal


def of_queue(ended: Ended) -> list[tuple[bool, bool, str]]:
    """Give what was found of the queue: whether it is well, whether doubtful, and in which words."""
    return [
        (found["ok"], found["warning"], " ".join(filter(None, (found["said"], found["do"]))))
        for found in ended.objects
        if found["check"] == "queue"
    ]


def test_the_queue_of_shards_is_tried_and_nothing_of_that_stays(by_queue: Terminal, queues: Queues) -> None:
    ended = by_queue.call("check", "--json")

    (_, (ok, doubtful, said)) = of_queue(ended)
    assert (ended.status, ok, doubtful) == (0, True, False)
    assert "queues can be made and written there; 0 messages in it" in said
    assert not [name for name in queues.names() if name.startswith("forwarder-check")]


def test_messages_of_killed_instances_are_doubtful(by_queue: Terminal, queues: Queues) -> None:
    queues.make(POISON)
    queues.put(POISON, "{}")
    try:
        found = of_queue(by_queue.call("check", "--json"))
    finally:
        queues.remove(POISON)

    assert [(ok, doubtful) for ok, doubtful, _ in found] == [(True, False), (True, False), (True, True)]
    assert f"1 message in {POISON}" in found[-1][2]


@pytest.mark.parametrize(
    ("key", "port", "said"),
    [
        ("YWJj", None, "access refused (403 AuthenticationFailed) | Storage Queue Data Contributor"),
        (ACCOUNT_KEY, 1, "not reached"),
    ],
    ids=["another key", "no service"],
)
def test_a_queue_service_that_cannot_be_used_is_named_with_what_to_do(
    by_queue: Terminal, azurite_port: int, azurite_queue_port: int, key: str, port: int | None, said: str
) -> None:
    by_queue.environ["AzureWebJobsStorage"] = connection_string(
        azurite_port, key=key, queue_port=port or azurite_queue_port
    )

    ended = by_queue.call("check", "--json")

    ok, _, words = of_queue(ended)[-1]
    assert (ended.status, ok) == (1, False)
    assert all(part in words for part in said.split(" | "))
