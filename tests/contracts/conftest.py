"""The places that a state store can be opened at: a folder, and tables of Azurite."""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Protocol

import pytest
from azure.data.tables import TableServiceClient

from app.settings.schema import StateSettings
from app.state.azure_table import AzureTableStore
from app.state.json_file import JsonFileStore
from app.state.store import MendableStore
from tests.environments.azurite import Relay, connection_string


class StatePlace(Protocol):
    """Where a state is kept. Every store that is opened there sees the same state."""

    def open(self) -> MendableStore: ...

    def put_earlier_state(self, name: str, document: dict[str, Any]) -> None:
        """Put a state of the earlier forwarder there."""

    def earlier_state(self, name: str) -> object:
        """Give what is there of the earlier forwarder's state, to see that it is kept."""

    def quarantined(self, name: str) -> list[dict[str, Any]]:
        """Read every quarantined reading as a person would, in the order of their ids."""

    def stored(self, name: str) -> object:
        """Give all that is stored under the name and beside it: equal only where nothing was written."""

    def lose_lock(self, name: str) -> None:
        """Take the lock from whoever holds it, as somebody would who takes that run for dead."""


class FolderPlace:
    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def open(self) -> MendableStore:
        return JsonFileStore(self.folder)

    def put_earlier_state(self, name: str, document: dict[str, Any]) -> None:
        self.folder.mkdir(mode=0o700)
        (self.folder / f"{name}.json").write_text(json.dumps(document))

    def earlier_state(self, name: str) -> object:
        kept = self.folder / f"{name}.json.earlier"
        return json.loads((kept if kept.exists() else self.folder / f"{name}.json").read_text())

    def quarantined(self, name: str) -> list[dict[str, Any]]:  # noqa: ARG002 - one folder for all
        files = (self.folder / "quarantine").rglob("*.json")
        return sorted((json.loads(file.read_text()) for file in files), key=lambda found: found["id"])

    def stored(self, name: str) -> object:  # noqa: ARG002 - one folder for all
        found = sorted(self.folder.rglob("*"))
        return [(path, path.stat().st_mtime_ns, path.is_file() and path.read_bytes()) for path in found]

    def lose_lock(self, name: str) -> None:
        (self.folder / f"{name}.lock").unlink()


class TablePlace:
    def __init__(self, port: int) -> None:
        self.connection_string = connection_string(port)
        self.tables = TableServiceClient.from_connection_string(self.connection_string)

    def open(self) -> MendableStore:
        return AzureTableStore.connect(
            StateSettings("table", "", table_connection_string=self.connection_string)
        )

    def put_earlier_state(self, name: str, document: dict[str, Any]) -> None:
        keys = {"PartitionKey": "forwarder", "RowKey": "state"}
        self.tables.create_table(name).create_entity(keys | document)

    def earlier_state(self, name: str) -> object:
        found = dict(self.tables.get_table_client(name).get_entity("forwarder", "state"))
        return {key: value for key, value in found.items() if key not in ("PartitionKey", "RowKey")}

    def quarantined(self, name: str) -> list[dict[str, Any]]:
        found: dict[str, bytes] = {}
        for row in self.tables.get_table_client(f"{name}quarantine").list_entities():
            pieces = sorted((key for key in row if key.startswith("doc")), key=lambda key: int(key[3:]))
            content = b"".join(row[key] for key in pieces)
            found[row["PartitionKey"]] = found.get(row["PartitionKey"], b"") + content
        return sorted((json.loads(content) for content in found.values()), key=lambda item: item["id"])

    def stored(self, name: str) -> object:
        names = sorted(table.name for table in self.tables.list_tables() if table.name.startswith(name))
        rows = {found: list(self.tables.get_table_client(found).list_entities()) for found in names}
        return {found: [(row, row.metadata["etag"]) for row in kept] for found, kept in rows.items()}

    def lose_lock(self, name: str) -> None:
        self.tables.get_table_client(name).delete_entity("lock", "lock")


@pytest.fixture
def relay(azurite_port: int) -> Iterator[Relay]:
    relay = Relay(azurite_port)
    yield relay
    relay.close()


@pytest.fixture
def name() -> str:
    """Give a state name that no other test uses: the tests of a session share one Azurite."""
    return f"state{uuid.uuid4().hex}"


@pytest.fixture(params=["json", "table"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> StatePlace:
    if request.param == "json":
        return FolderPlace(tmp_path / "state")
    return TablePlace(request.getfixturevalue("azurite_port"))
