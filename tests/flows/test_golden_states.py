"""What an older version wrote is read, and runs go on from it: nothing is sent twice, nothing is lost."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from azure.data.tables import EdmType, EntityProperty, TableServiceClient

from app.base.instants import EPOCH
from app.base.packed_ids import ID_LENGTH
from app.base.readings import QuarantinedReading
from app.state.document import whole_document
from app.state.store import MendableStore
from app.wiring import wire
from emulators.eventhubs import EventHubsEmulator
from emulators.microshare import MicroshareEmulator
from tests.environments.azurite import connection_string
from tests.environments.installation import Clock, Installation
from tests.flows.test_stores import table_environment
from tests.golden import scenario

GOLDEN = Path(__file__).parents[1] / "golden"
VERSIONS = sorted(folder.name for folder in GOLDEN.iterdir() if (folder / "delivered.json").is_file())
FEEDS = {"people_counter": "peoplecounterstate", "hourly_snapshot": "snapshotstate"}


@pytest.fixture(params=VERSIONS)
def golden(request: pytest.FixtureRequest) -> Path:
    folder: Path = GOLDEN / request.param
    return folder


@pytest.fixture(params=["json", "table"])
def updated(request: pytest.FixtureRequest, tmp_path: Path, golden: Path) -> Iterator[Installation]:
    """Give an installation of today on what the older version left 15 minutes ago."""
    environ = {"START_FROM": "6h"}
    if request.param == "table":
        environ |= table_environment(request.getfixturevalue("azurite_port"))
    clock = Clock(scenario.LAST_RUN + 15 * scenario.MINUTE)
    with (
        MicroshareEmulator(scenario.make_estate(), clock=clock) as source,
        EventHubsEmulator(["a", "b"]) as hubs,
    ):
        installation = Installation(source, hubs, clock, tmp_path, environ)
        host = installation.key("a").rpartition("/")[0]
        if request.param == "table":
            put_rows(golden, host, request.getfixturevalue("azurite_port"))
        else:
            put_files(golden, host, tmp_path / "state")
        yield installation


def put_files(golden: Path, host: str, folder: Path) -> None:
    for path in (golden / "files").rglob("*.json*"):
        place = folder / path.relative_to(golden / "files")
        place.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        place.write_text(path.read_text().replace(scenario.HOST, host))


def put_rows(golden: Path, host: str, port: int) -> None:
    tables = TableServiceClient.from_connection_string(connection_string(port))
    rows = json.loads((golden / "tables.json").read_text().replace(scenario.HOST, host))
    for name, found in rows.items():
        table = tables.create_table_if_not_exists(name)
        for row in found:
            table.create_entity({key: as_stored(value) for key, value in row.items()})


def as_stored(value: Any) -> Any:
    match value:
        case {"text": text}:
            return text.encode()
        case {"base64": text}:
            return base64.b64decode(text)
        case {"int64": number}:
            return EntityProperty(number, EdmType.INT64)
    return value


def delivered(golden: Path, hub: str) -> set[str]:
    found: dict[str, list[str]] = json.loads((golden / "delivered.json").read_text())
    return set(found[hub])


def is_kept(found: Any, written: Any) -> bool:
    """Whether all that was written is in what was found, which may have more fields."""
    if isinstance(written, Mapping) and isinstance(found, Mapping):
        return all(is_kept(found.get(key), value) for key, value in written.items())
    return bool(found == written)


def written_in_files(golden: Path, name: str) -> dict[str, Any]:
    document: dict[str, Any] = json.loads((golden / "files" / f"{name}.json").read_text())
    return with_ids_counted(document)


def written_in_tables(golden: Path, name: str) -> dict[str, Any]:
    """Give the same of a table's rows; the ids of a location stand beside its document."""
    documents = {
        row["RowKey"]: json.loads(row["doc0"]["text"])
        for row in json.loads((golden / "tables.json").read_text())[name]
    }
    feed = documents.pop("feed")
    locations = {found.pop("name"): found for found in documents.values() if found.pop("version")}
    return {**feed, "locations": locations}


def with_ids_counted(document: dict[str, Any]) -> dict[str, Any]:
    for location in document["locations"].values():
        for group in location["groups"]:
            group["ids"] = {hour: len(ids) // ID_LENGTH for hour, ids in group["ids"].items()}
    return document


def quarantined(store: MendableStore) -> list[QuarantinedReading]:
    return [item for _, item in store.quarantined("peoplecounterstate", "people_counter")]


def test_all_that_an_older_version_wrote_is_read(updated: Installation, golden: Path) -> None:
    store, host = wire(updated.settings()).store, updated.key("a").rpartition("/")[0]
    written_there = written_in_tables if updated.environ.get("STATE_STORE") == "table" else written_in_files
    for name in FEEDS.values():
        state = store.load(name)
        found = json.dumps(with_ids_counted(whole_document(name, state))).replace(host, scenario.HOST)

        assert is_kept(json.loads(found), written_there(golden, name))
        assert state.last_run_ended() == scenario.LAST_RUN
        assert len(list(store.history(name, EPOCH))) == 8
    people = store.load("peoplecounterstate").locations.values()
    assert [gap.cause for found in people for gap in found.gaps] == ["left behind"]
    assert {(item.location, item.reason) for item in quarantined(store)} == {
        ("Example Beacon House", "it has no time")
    }
    assert any(found.seals for found in people)


def test_runs_go_on_from_what_an_older_version_wrote(updated: Installation, golden: Path) -> None:
    before = quarantined(wire(updated.settings()).store)

    reports = [updated.run(feed) for feed in FEEDS]

    assert [(report.ok, report.left) for report in reports] == [(True, 0), (True, 0)]
    for hub, emulated in (("a", updated.a), ("b", updated.b)):
        had, came = delivered(golden, hub), scenario.received(emulated.received())
        assert len(came) == len(set(came)) > 0
        assert had & set(came) == set()
        assert had | set(came) == scenario.published(updated.estate, updated.clock.now, hub)
    assert quarantined(wire(updated.settings()).store) == before


def test_runs_without_shards_write_the_rows_that_they_always_wrote(
    tmp_path: Path, golden: Path, azurite_port: int
) -> None:
    environ = {"START_FROM": "6h", **table_environment(azurite_port)}
    clock = Clock(scenario.LAST_RUN + 15 * scenario.MINUTE)
    with (
        MicroshareEmulator(scenario.make_estate(), clock=clock) as source,
        EventHubsEmulator(["a", "b"]) as hubs,
    ):
        installation = Installation(source, hubs, clock, tmp_path, environ)
        put_rows(golden, installation.key("a").rpartition("/")[0], azurite_port)
        assert installation.run().ok

    tables = TableServiceClient.from_connection_string(connection_string(azurite_port))
    found = list(tables.get_table_client("peoplecounterstate").list_entities())
    written = json.loads((golden / "tables.json").read_text())["peoplecounterstate"]
    assert shapes_of(found) == shapes_of(written)


def shapes_of(rows: Iterable[Mapping[str, Any]]) -> dict[tuple[str, str], set[str]]:
    return {(row["PartitionKey"], row["RowKey"]): set(row) for row in rows}
