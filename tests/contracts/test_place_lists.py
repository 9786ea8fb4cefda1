"""A list of locations that is too long for the record of a feed: in rows of its own, whole or not known."""

from __future__ import annotations

from base64 import urlsafe_b64encode
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import partial
from hashlib import sha256
from typing import Any

import pytest
from azure.data.tables import TableClient, TableEntity, TableServiceClient

from app.base.checkpoints import Checkpoint, Discovery, FeedState, LocationState, Place
from app.base.errors import StateError
from app.base.instants import HOUR
from app.base.shards import WHOLE, Shard
from app.settings.schema import StateSettings
from app.state.azure_table import AzureTableStore
from app.state.document import decode, encode, feed_from, with_discovery
from app.state.table_rows import cut, joined
from tests.environments.azurite import Fault, Relay, connection_string

NOON = datetime(2026, 3, 2, 12, tzinfo=UTC)
HUB = "alpha.example.test/counts"
LOCATIONS = {"Beacon House": LocationState(checkpoints={HUB: Checkpoint(NOON, NOON)}, last_listed=NOON)}
EIGHTHS = tuple(Shard(index, 8) for index in range(8))


def listed(count: int, *, devices: int = 10, hours: int = 0, more: tuple[str, ...] = ()) -> Discovery:
    """So many locations, each with hashes of its devices; an entry takes some 260 bytes."""

    def place(name: str) -> Place:
        digests = (sha256(f"{name} {number}".encode()).digest()[:12] for number in range(devices))
        sketch = frozenset(urlsafe_b64encode(digest).decode() for digest in digests)
        return Place(name, "com.example.NORTH", devices, sketch)

    names = (*(f"Example Building {number:05}" for number in range(count)), *more)
    return Discovery(NOON + hours * HOUR, tuple(map(place, names)), "asked with", ("Mill",))


LONG = listed(4_000)
LONGER = listed(4_000, hours=1, more=("Quay",))


def connected(port: int) -> AzureTableStore:
    settings = StateSettings("table", "", table_connection_string=connection_string(port))
    return AzureTableStore.connect(settings)


@pytest.fixture
def table(azurite_port: int, name: str) -> TableClient:
    tables = TableServiceClient.from_connection_string(connection_string(azurite_port))
    return tables.get_table_client(name)


def rows_of_lists(table: TableClient) -> list[str]:
    rows = table.query_entities("PartitionKey eq 'places'", select=["RowKey"])
    return [row["RowKey"] for row in rows]


def of_list(row_key: str) -> str:
    return row_key.partition("-")[0]


def put_record(table: TableClient, document: dict[str, Any]) -> None:
    table.upsert_entity({"PartitionKey": "feed", "RowKey": "feed"} | cut("doc", encode(document)))


def record(table: TableClient) -> dict[str, Any]:
    return decode(joined(table.get_entity("feed", "feed"), "doc"))


# --- any number -------------------------------------------------------------------------------------


def test_the_list_of_fifty_thousand_locations_is_kept_and_read(azurite_port: int, name: str) -> None:
    state = FeedState(LOCATIONS, listed(50_000), last_run={"run": "r1"})

    connected(azurite_port).save(name, state, LOCATIONS)

    assert connected(azurite_port).load(name) == state


@pytest.mark.parametrize("is_there", [False, True], ids=["a new feed", "a feed that was run"])
def test_who_plans_keeps_a_long_list_too(azurite_port: int, name: str, is_there: bool) -> None:
    state = FeedState(LOCATIONS if is_there else {}, last_run={"run": "r1"} if is_there else None)
    if is_there:
        connected(azurite_port).save(name, replace(state, discovery=LONG), LOCATIONS)

    connected(azurite_port).keep_discovery(name, LONGER)

    assert connected(azurite_port).load(name) == replace(state, discovery=LONGER)


def test_a_list_becomes_short_again(azurite_port: int, name: str, table: TableClient) -> None:
    store, short = connected(azurite_port), listed(3, hours=2)
    store.save(name, FeedState(discovery=LONG), ())

    store.save(name, FeedState(discovery=short), ())
    store.keep_discovery(name, short)

    assert connected(azurite_port).load(name).discovery == short
    assert "listed" not in record(table)


def test_a_list_is_written_once_whoever_saves_it_and_however_often(relay: Relay, name: str) -> None:
    port, later = relay.port, replace(LONG, at=NOON + HOUR)
    connected(port).keep_discovery(name, LONG)
    before = len(relay.requests)

    for shard in EIGHTHS[:2]:
        store = connected(port)
        with store.lock(name, f"run of {shard}", shard):
            state = store.load(name, shard)
            known = replace(state, discovery=state.latest_discovery)
            for saved in (known, known, replace(known, discovery=later)):
                store.save(name, saved, (), shard)

    assert [path for method, path in relay.requests[before:] if method == "PUT" and "places" in path] == []
    assert connected(port).load(name).discovery == later


@pytest.mark.parametrize("of", [2, 8], ids=["listed with the others", "each by its key"])
def test_a_shard_has_the_list_that_it_knew_of_and_the_newest(azurite_port: int, name: str, of: int) -> None:
    shard, other = Shard(0, of), Shard(1, of)
    connected(azurite_port).save(name, FeedState(discovery=LONG), (), shard)
    connected(azurite_port).save(name, FeedState(discovery=LONG), (), other)
    connected(azurite_port).keep_discovery(name, LONGER)

    state = connected(azurite_port).load(name, shard)

    assert (state.discovery, state.latest_discovery) == (LONG, LONGER)
    assert connected(azurite_port).load(name).discovery == LONGER


# --- what is not whole ------------------------------------------------------------------------------


@pytest.mark.parametrize("fault", [Fault.CUT, Fault.LOST_ANSWER])
@pytest.mark.parametrize("nth", [1, 2, 3])
def test_a_save_that_ends_in_the_midst_of_a_list_leaves_the_one_before(
    relay: Relay, azurite_port: int, name: str, nth: int, fault: Fault
) -> None:
    connected(azurite_port).save(name, FeedState(LOCATIONS, LONG), LOCATIONS)
    store = connected(relay.port)
    relay.order_from(fault, nth, keeps=True)

    with pytest.raises(StateError):
        store.save(name, FeedState(LOCATIONS, LONGER), ())

    assert relay.fired
    # Of the record's own row the answer may be what was lost.
    may_be = [LONG, LONGER] if (nth, fault) == (3, Fault.LOST_ANSWER) else [LONG]
    found = connected(azurite_port).load(name)
    assert found.locations == LOCATIONS
    assert found.discovery in may_be
    relay.forget_orders()
    store.save(name, FeedState(LOCATIONS, LONGER), ())
    assert connected(azurite_port).load(name).discovery == LONGER


@pytest.mark.parametrize("what", ["a row is missing", "a row is another's", "a row is none"])
def test_a_list_that_is_not_whole_counts_as_not_known(
    azurite_port: int, name: str, table: TableClient, what: str
) -> None:
    state = FeedState(LOCATIONS, LONG, last_run={"run": "r1"})
    connected(azurite_port).save(name, state, LOCATIONS)
    first, second = ({"PartitionKey": "places", "RowKey": key} for key in rows_of_lists(table))
    if what == "a row is missing":
        table.delete_entity(second)
    else:
        table.upsert_entity(second | {"doc0": "text" if what == "a row is none" else b"[]"})

    assert connected(azurite_port).load(name) == replace(state, discovery=None)
    connected(azurite_port).save(name, state, ())
    assert connected(azurite_port).load(name) == state
    assert first


def test_where_the_newest_list_is_not_whole_the_one_before_is_the_newest(
    azurite_port: int, name: str, table: TableClient
) -> None:
    connected(azurite_port).save(name, FeedState(discovery=LONG), (), EIGHTHS[0])
    before = rows_of_lists(table)
    connected(azurite_port).save(name, FeedState(discovery=LONGER), (), EIGHTHS[1])
    table.delete_entity("places", next(key for key in rows_of_lists(table) if key not in before))

    assert connected(azurite_port).load(name).discovery == LONG


# --- other versions ---------------------------------------------------------------------------------


def test_an_earlier_version_reads_of_no_list_and_all_else_of_the_feed(
    azurite_port: int, name: str, table: TableClient
) -> None:
    connected(azurite_port).save(name, FeedState(discovery=LONG, last_run={"run": "r1"}), ())

    # What it reads is in the record, by these names.
    assert feed_from(record(table), {}) == FeedState(last_run={"run": "r1"})


def test_a_list_that_an_earlier_version_wrote_since_counts(
    azurite_port: int, name: str, table: TableClient
) -> None:
    connected(azurite_port).save(name, FeedState(discovery=LONG), ())
    put_record(table, with_discovery(record(table), listed(2_000, hours=2)))

    assert connected(azurite_port).load(name).discovery == listed(2_000, hours=2)


# --- what is removed --------------------------------------------------------------------------------


class _HoursLater(TableClient):
    """A table in which some rows were written two hours ago."""

    def __init__(self, port: int, old: set[str], table: str) -> None:
        made = TableClient.from_connection_string(connection_string(port), table)
        self.__dict__.update(made.__dict__)
        self._old = old

    def query_entities(self, *args: Any, **options: Any) -> Iterator[TableEntity]:  # type: ignore[override]
        for row in super().query_entities(*args, **options):
            if row.get("RowKey") in self._old and row.metadata["timestamp"] is not None:
                row.metadata["timestamp"] -= timedelta(hours=2)
            yield row


def test_lists_that_no_record_names_go_with_the_next_one_after_an_hour(
    azurite_port: int, name: str, table: TableClient
) -> None:
    store = connected(azurite_port)
    store.save(name, FeedState(discovery=LONG), (), EIGHTHS[0])
    kept = set(rows_of_lists(table))
    store.save(name, FeedState(discovery=LONG), (), WHOLE)
    store.save(name, FeedState(discovery=listed(4_001)), (), WHOLE)
    old = set(rows_of_lists(table))
    store.save(name, FeedState(discovery=LONGER), (), WHOLE)
    young = set(rows_of_lists(table)) - old

    assert old > kept
    assert young
    later = AzureTableStore(partial(_HoursLater, azurite_port, old))
    later.save(name, FeedState(discovery=listed(4_002)), (), WHOLE)

    # Named by a shard, or written within the hour.
    assert set(rows_of_lists(table)) & (old | young) == kept | young
    assert connected(azurite_port).load(name).discovery == listed(4_002)


def test_what_is_set_aside_is_without_its_list(azurite_port: int, name: str, table: TableClient) -> None:
    store = connected(azurite_port)
    store.save(name, FeedState(discovery=LONG), ())

    store.set_aside(name)
    store.save(name, FeedState(discovery=LONG), ())

    assert connected(azurite_port).load(name).discovery == LONG
    assert {of_list(key) for key in rows_of_lists(table)} != set()
