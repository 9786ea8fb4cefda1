"""State and quarantine changed by hand, and what the runs after it send."""

from __future__ import annotations

import json
import os
import pty
import shutil
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from app.base.instants import MILLISECOND, format_time, parse_time
from app.base.program import APP_ROOT
from app.base.readings import Slice
from app.cli import main
from emulators.estate import Estate
from emulators.eventhubs import EmulatedHub, EventHubsEmulator, HubSpec
from emulators.microshare import MicroshareEmulator
from tests.canaries import API_KEY, HUB_KEY, PASSWORD, shown_in
from tests.commands import Call, Ended
from tests.environments.azurite import connection_string
from tests.environments.installation import START, Clock, Installation, arrivals, bodies
from tests.flows.test_secrets import echo_request
from tests.flows.test_stores import table_environment
from tests.promise import breaches

DAY = timedelta(hours=24)
HOUR = timedelta(hours=1)
NAME = "peoplecounterstate"


@pytest.fixture
def call(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfdbinary: pytest.CaptureFixture[bytes]) -> Call:
    """Call a command of an installation in this process; its words come after it."""
    shutil.copy(APP_ROOT / "config.yaml", tmp_path)
    monkeypatch.chdir(tmp_path)

    def call(installation: Installation, *words: str) -> Ended:
        with monkeypatch.context() as patch:
            for name in os.environ:
                if name.startswith(("MICROSHARE_", "EVENT_HUB_", "AzureWebJobs", "STATE_", "LOG_LEVEL")):
                    patch.delenv(name)
            for name, value in {
                **installation.environ,
                "FORWARDER_CONFIG": str(tmp_path / "config.yaml"),
            }.items():
                patch.setenv(name, value)
            capfdbinary.readouterr()
            with pytest.raises(SystemExit) as ended:
                main(list(words))
        sys.stdout.flush()
        out, err = capfdbinary.readouterr()
        return Ended(int(ended.value.code or 0), out.decode(), err.decode())

    return call


def message_ids(hub: EmulatedHub) -> Counter[str | None]:
    return Counter(event.message_id for event in hub.received())


def times(hub: EmulatedHub, location: str) -> list[Any]:
    return [
        parse_time(json.loads(event.body)["time"])
        for event in hub.received()
        if event.properties["location"] == location
    ]


def first_location(installation: Installation) -> str:
    return installation.estate.listed(installation.clock.now)[0].name


# --- moving -----------------------------------------------------------------------------------------


def test_a_state_moves_from_files_to_tables_and_back_without_loss_or_repeat(
    installation: Installation, clock: Clock, call: Call, tmp_path: Path, azurite_port: int
) -> None:
    installation.run()
    clock.move(minutes=15)
    installation.b.refuse_attach()
    installation.run()
    installation.b.clear_faults()
    in_files, sent = installation.state(), (message_ids(installation.a), message_ids(installation.b))
    out, back = tmp_path / "out.json", tmp_path / "back.json"
    tables = table_environment(azurite_port)

    ended = [call(installation, "state", "export", "people-counter", "--output", str(out))]
    installation.environ |= tables
    ended.append(call(installation, "state", "import", "people-counter", str(out), "--yes"))
    in_tables = installation.state()
    ended.append(call(installation, "state", "export", "people-counter", "--output", str(back)))
    installation.environ |= {"STATE_STORE": "json", "STATE_DIR": str(tmp_path / "elsewhere")}
    ended.append(call(installation, "state", "import", "people-counter", str(back), "--yes"))

    assert [each.status for each in ended] == [0, 0, 0, 0]
    assert in_files == in_tables == installation.state()
    assert out.read_bytes() == back.read_bytes()
    report = installation.run()
    published = len(installation.published(START - DAY))
    assert report.ok
    assert report.hubs[installation.key("a")].events == 0
    assert message_ids(installation.a) == sent[0]
    assert (message_ids(installation.b).total(), len(message_ids(installation.b))) == (published, published)


def test_an_import_removes_from_tables_what_the_file_does_not_hold(
    installation: Installation, call: Call, tmp_path: Path, azurite_port: int
) -> None:
    installation.environ |= table_environment(azurite_port)
    installation.run()
    before = installation.state()
    name = first_location(installation)
    export = tmp_path / "export.json"
    assert call(installation, "state", "export", "people-counter", "--output", str(export)).status == 0
    document = json.loads(export.read_text())
    del document["locations"][name]
    smaller = tmp_path / "smaller.json"
    smaller.write_text(json.dumps(document))

    ended = call(installation, "state", "import", "people-counter", str(smaller), "--yes")

    assert ended.status == 0
    assert f"forgotten: {name}" in ended.out
    assert installation.state().locations.keys() == before.locations.keys() - {name}
    [backup] = tmp_path.glob(f"{NAME}.*.json")
    assert call(installation, "state", "import", "people-counter", str(backup), "--yes").status == 0
    assert installation.state() == before


def test_a_damaged_table_is_moved_aside_and_brought_back_from_an_export(
    installation: Installation, call: Call, tmp_path: Path, azurite_port: int
) -> None:
    from azure.data.tables import TableServiceClient

    installation.environ |= table_environment(azurite_port)
    installation.run()
    before = installation.state()
    export = tmp_path / "export.json"
    assert call(installation, "state", "export", "people-counter", "--output", str(export)).status == 0
    tables = TableServiceClient.from_connection_string(connection_string(azurite_port))
    row = next(iter(tables.get_table_client(NAME).query_entities("PartitionKey eq 'location'")))
    tables.get_table_client(NAME).update_entity({**row, "doc0": b"{"})

    shown = call(installation, "state", "show", "people-counter")
    ended = call(installation, "state", "import", "people-counter", str(export), "--yes")

    assert (shown.status, ended.status) == (1, 0)
    assert "`state import` a copy of yours" in shown.err
    assert installation.state() == before
    [aside] = [table.name for table in tables.list_tables() if "damaged" in table.name]
    assert any(found["doc0"] == b"{" for found in tables.get_table_client(aside).list_entities())
    assert installation.run().ok
    assert set(message_ids(installation.a).values()) == {1}


# --- skip and reset ---------------------------------------------------------------------------------


def test_what_was_skipped_is_never_sent_however_far_back_a_run_reads(
    installation: Installation, clock: Clock, call: Call
) -> None:
    installation.run()
    installation.b.refuse_attach()
    clock.move(hours=3)
    installation.run()
    installation.b.clear_faults()
    to = START + 2 * HOUR

    ended = call(
        installation,
        "state",
        "skip",
        "people-counter",
        "--hub",
        installation.key("b"),
        "--to",
        format_time(to),
        "--yes",
    )
    installation.overrides["look_back"] = 7 * DAY
    clock.move(minutes=15)
    first, second = installation.run(), installation.run()

    assert (ended.status, first.ok, second.ok) == (0, True, True)
    assert installation.breaches(installation.a, START - DAY) == []
    skipped = Slice(START, to)
    left = [one for one in installation.published(START - DAY) if parse_time(one.entry["time"]) in skipped]
    assert installation.breaches(installation.b, START - DAY, withheld=left) == []
    assert {
        (gap.window, gap.cause, gap.hubs)
        for location in installation.state().locations.values()
        for gap in location.gaps
    } == {(skipped, "left behind", (installation.key("b"),))}


def test_a_renamed_building_goes_on_from_where_its_earlier_name_stopped(
    installation: Installation, clock: Clock, call: Call
) -> None:
    old = first_location(installation)
    installation.run()
    clock.move(minutes=40)
    installation.estate.rename(old, "Mill House", at=clock.now - timedelta(minutes=5))
    newest = max(times(installation.a, old))
    installation.environ["START_FROM"] = "1m"
    clock.move(minutes=70)
    installation.b.refuse_attach()
    installation.a.refuse_attach()
    installation.run()
    installation.a.clear_faults()
    installation.b.clear_faults()

    unknown = call(
        installation, "state", "move", "people-counter", "--from", old, "--to", "Mil House", "--yes"
    )
    ended = call(
        installation, "state", "move", "people-counter", "--from", old, "--to", "Mill House", "--yes"
    )
    again = call(
        installation, "state", "move", "people-counter", "--from", old, "--to", "Mill House", "--yes"
    )

    assert (unknown.status, ended.status, again.status) == (2, 0, 0)
    assert "'Mil House' is not a known location" in unknown.err
    # Its position had gone on while the source had nothing more of it.
    assert installation.position("Mill House", "a") == newest + MILLISECOND
    assert "nothing to move" in again.out
    installation.run()
    assert times(installation.a, "Mill House") != []
    assert min(times(installation.a, "Mill House")) > newest
    assert installation.breaches(installation.a, START - timedelta(hours=24)) == []


def test_a_reset_to_a_time_sends_everything_since_again_with_the_same_ids(
    installation: Installation, clock: Clock, call: Call
) -> None:
    installation.run()
    sent, name, to = message_ids(installation.a), first_location(installation), START - 2 * HOUR
    before = times(installation.a, name)

    ended = call(
        installation,
        *("state", "reset", "people-counter", "--location", name, "--hub", installation.key("a")),
        *("--to", format_time(to), "--yes"),
    )
    report = installation.run()

    again = [instant for instant in before if instant >= to]
    assert (ended.status, report.ok) == (0, True)
    assert len(again) > 0
    assert sorted(times(installation.a, name)) == sorted([*before, *again])
    assert message_ids(installation.a).keys() == sent.keys()
    assert set(message_ids(installation.b).values()) == {1}


def test_a_reset_hub_begins_at_start_from(installation: Installation, clock: Clock, call: Call) -> None:
    installation.run()
    before = len(installation.a.received())
    installation.environ["START_FROM"] = format_time(START - HOUR)

    ended = call(installation, "state", "reset", "people-counter", "--hub", installation.key("a"), "--yes")
    report = installation.run()

    at_a = arrivals(installation.a.received())
    assert (ended.status, report.ok) == (0, True)
    assert breaches(installation.published(START - DAY), at_a[:before]) == []
    assert breaches(installation.published(START - HOUR), at_a[before:]) == []
    assert set(message_ids(installation.b).values()) == {1}


def test_after_a_damaged_file_the_backup_is_imported_and_the_next_run_completes(
    installation: Installation, clock: Clock, call: Call, tmp_path: Path
) -> None:
    installation.run()
    clock.move(minutes=15)
    installation.run()
    path = tmp_path / "state" / f"{NAME}.json"
    path.write_bytes(path.read_bytes()[:100])
    stopped = installation.run()

    ended = call(installation, "state", "import", "people-counter", f"{path}.bak", "--yes")
    clock.move(minutes=15)
    report = installation.run()

    assert (stopped.ok, ended.status, report.ok) == (False, 0, True)
    assert "`state import`" in stopped.failures[0].error
    for hub in (installation.a, installation.b):
        assert len(message_ids(hub)) == len(installation.published(START - DAY))


def test_a_reset_of_a_damaged_state_lets_the_next_run_begin_anew(
    installation: Installation, call: Call, tmp_path: Path
) -> None:
    installation.run()
    (tmp_path / "state" / f"{NAME}.json").unlink()

    ended = call(installation, "state", "reset", "people-counter", "--yes")
    report = installation.run()

    assert (ended.status, report.ok) == (0, True)
    assert "a new installation, begins at" in str(report.warnings)


def test_a_change_is_asked_for_at_a_terminal_and_a_no_changes_nothing(installation: Installation) -> None:
    installation.run()
    before = installation.state()
    environ = {**installation.environ, "PATH": os.environ["PATH"]}
    statuses = []
    for answer in (b"n\n", b"y\n"):
        master, terminal = pty.openpty()
        os.write(master, answer)
        ended = subprocess.run(
            [sys.executable, "-m", "app", "state", "reset", "people-counter"],
            cwd=APP_ROOT,
            env=environ,
            stdin=terminal,
            capture_output=True,
            text=True,
            check=False,
        )
        os.close(master)
        os.close(terminal)
        statuses.append((ended.returncode, installation.state() == before))

    assert statuses == [(1, True), (0, False)]


# --- quarantine -------------------------------------------------------------------------------------


@dataclass(slots=True)
class Tiers:
    """An installation whose second hub takes small messages, until it is enlarged."""

    installation: Installation

    def enlarge(self) -> None:
        self.installation.hubs.stop()
        self.installation.hubs = EventHubsEmulator(["a", "b"], port=self.installation.hubs.port).start()


@pytest.fixture(params=["json", "table"])
def tiers(request: pytest.FixtureRequest, tmp_path: Path, clock: Clock, estate: Estate) -> Iterator[Tiers]:
    environ = {}
    if request.param == "table":
        environ = table_environment(request.getfixturevalue("azurite_port"))
    hubs = EventHubsEmulator(["a", HubSpec("b", max_message_bytes=262_144)])
    with MicroshareEmulator(estate, clock=clock) as source, hubs:
        tiers = Tiers(Installation(source, hubs, clock, tmp_path, environ))
        yield tiers
        tiers.installation.hubs.stop()


def test_a_reading_is_replayed_to_the_hub_that_could_not_take_it(tiers: Tiers, call: Call) -> None:
    installation = tiers.installation
    large = installation.estate.add_people(
        first_location(installation), None, START - HOUR, note="x" * 300_000, exact=1.5
    )
    [kept] = installation.run().quarantined
    [at_a] = [
        event for event in installation.a.received() if json.loads(event.body)["record"] == large["record"]
    ]

    too_early = call(installation, "quarantine", "replay", kept.id, "--yes")
    still = call(installation, "quarantine", "list", "--json").objects
    tiers.enlarge()
    ended = call(installation, "quarantine", "replay", kept.id, "--yes")

    assert (too_early.status, [found["id"] for found in still], ended.status) == (1, [kept.id], 0)
    assert "it is larger than a message of the hub (262,144 bytes)" in too_early.out
    [at_b] = installation.b.received()
    assert (at_b.message_id, at_b.partition_key, at_b.properties) == (
        at_a.message_id,
        at_a.partition_key,
        at_a.properties,
    )
    assert json.loads(at_b.body) == json.loads(at_a.body)
    assert installation.a.received() == []
    assert call(installation, "quarantine", "list", "--json").out == ""
    assert installation.run().hubs[installation.key("b")].events == 0


@pytest.mark.parametrize("tiers", ["json"], indirect=True)
def test_a_reading_is_replayed_in_the_form_of_its_hub(tiers: Tiers, call: Call) -> None:
    installation = tiers.installation
    second = {"connection_string": installation.hubs.connection_string("b"), "body": "cloudevents"}
    installation.environ["EVENT_HUB_CONNECTION_STRINGS"] = json.dumps([second])
    installation.estate.add_people(
        first_location(installation), None, START - HOUR, note="x" * 300_000, exact=1.5
    )
    [kept] = installation.run().quarantined
    [at_a] = [event for event in installation.a.received() if event.message_id == kept.id]

    too_early = call(installation, "quarantine", "replay", kept.id, "--yes")
    tiers.enlarge()
    ended = call(installation, "quarantine", "replay", kept.id, "--yes")

    assert (too_early.status, ended.status) == (1, 0)
    assert "it is, with `body: cloudevents`, larger than a message of the hub (262,144 bytes)" in " ".join(
        too_early.out.split()
    )
    [at_b] = installation.b.received()
    assert (at_b.message_id, at_b.partition_key, at_b.properties) == (
        at_a.message_id,
        at_a.partition_key,
        at_a.properties,
    )
    assert at_b.content_type == "application/cloudevents+json"
    assert json.loads(at_b.body)["data"] == json.loads(at_a.body)
    assert installation.run().hubs[installation.key("b")].events == 0


def test_a_replay_that_one_hub_refuses_stays_for_that_hub_alone(
    tmp_path: Path, clock: Clock, estate: Estate, call: Call
) -> None:
    hubs = EventHubsEmulator([HubSpec(name, max_message_bytes=262_144) for name in ("a", "b")])
    with MicroshareEmulator(estate, clock=clock) as source, hubs:
        tiers = Tiers(Installation(source, hubs, clock, tmp_path))
        installation = tiers.installation
        large = installation.estate.add_people(
            first_location(installation), None, START - HOUR, note="x" * 300_000
        )
        [kept] = installation.run().quarantined
        tiers.enlarge()
        installation.b.refuse_attach()

        refused = call(installation, "quarantine", "replay", "--all", "--yes")
        left = call(installation, "quarantine", "list", "--json").objects
        not_there = call(
            installation, "quarantine", "replay", "--all", "--hub", installation.key("a"), "--yes"
        )
        installation.b.clear_faults()
        taken = call(installation, "quarantine", "replay", "--all", "--yes")
        installation.hubs.stop()

    assert (refused.status, not_there.status, taken.status) == (1, 0, 0)
    assert f"{kept.id}: stays for b: " in refused.out
    assert [found["hubs"] for found in left] == [[installation.key("b")]]
    assert "nothing is kept for that hub" in not_there.out
    for hub in (installation.a, installation.b):
        assert [body["record"] for body in bodies(hub.received())] == [large["record"]]


def test_a_snapshot_is_replayed_as_an_update_of_its_hour(tiers: Tiers, call: Call) -> None:
    installation = tiers.installation
    name = first_location(installation)
    installation.estate.add_snapshot(name, None, START - 8 * HOUR, note="x" * 300_000)
    [kept] = installation.run("hourly_snapshot").quarantined
    tiers.enlarge()

    ended = call(installation, "quarantine", "replay", kept.id, "--yes")

    [event] = installation.b.received()
    assert ended.status == 0
    assert (event.properties["update"], event.properties["hour"]) == (True, format_time(START - 8 * HOUR))
    [obj] = json.loads(event.body)["objs"]
    assert len(obj["data"]["line"]) == 1
    assert obj["data"]["_id"]["tags"]


# --- secrets ----------------------------------------------------------------------------------------


def test_no_secret_is_shown_or_kept_by_any_of_them(
    tmp_path: Path, clock: Clock, estate: Estate, call: Call
) -> None:
    source = MicroshareEmulator(estate, clock=clock, password=PASSWORD, api_key=API_KEY)
    hubs = EventHubsEmulator(["a", HubSpec("b", max_message_bytes=262_144)], key=HUB_KEY)
    with source, hubs:
        installation = Installation(source, hubs, clock, tmp_path)
        installation.estate.add_people(first_location(installation), None, START - HOUR, note="x" * 300_000)
        installation.run()
        clock.move(minutes=15)
        echo_request(installation)
        installation.b.refuse_attach()
        assert not installation.run().ok
        export = tmp_path / "state" / "export.json"
        commands: list[tuple[str, ...]] = [
            ("state", "show", "people-counter"),
            ("state", "show", "people-counter", "--json"),
            ("state", "export", "people-counter"),
            ("state", "export", "people-counter", "--output", str(export)),
            ("state", "skip", "people-counter", "--to", "0s", "--yes"),
            ("state", "import", "people-counter", str(export), "--yes"),
            ("state", "reset", "people-counter", "--yes"),
            ("quarantine", "list"),
            ("quarantine", "list", "--json"),
            ("quarantine", "replay", "--all", "--yes"),
        ]
        ended = {words: call(installation, *words) for words in commands}
        [kept] = ended["quarantine", "list", "--json"].objects
        ended["quarantine", "show"] = call(installation, "quarantine", "show", kept["id"])
        secrets = [PASSWORD, HUB_KEY, API_KEY, *source._tokens]

    assert [found.status for found in ended.values()] == [0] * 9 + [1, 0]
    shown = "".join(found.out + found.err for found in ended.values())
    shown += "".join(file.read_text() for file in (tmp_path / "state").rglob("*") if file.is_file())
    assert shown_in(shown, secrets) == []
    assert "500" in ended["state", "show", "people-counter"].out
