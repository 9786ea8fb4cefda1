"""The consumers to copy: what of them is seen without the services that they run in."""

from __future__ import annotations

import inspect
import itertools
import json
import re
import runpy
import sqlite3
import sys
from collections.abc import Iterable
from contextlib import nullcontext
from types import SimpleNamespace
from typing import Any

import azure.functions as func
import pytest

from app.base import extended_json
from app.base.instants import parse_time
from app.base.program import APP_ROOT
from app.base.readings import Event
from app.base.wire_forms import WireForm, message_of
from app.feeds.feed import load_feed
from app.feeds.flat import FlatFeed
from app.feeds.hourly_snapshot import FEED as SNAPSHOT
from deploy.consumers.functions import readings
from deploy.consumers.functions.readings import rows_of
from deploy.consumers.python import consumer
from tests.unit.test_wire_forms import LOCATION, events_of

CONSUMERS = APP_ROOT / "deploy" / "consumers"
KUSTO = CONSUMERS / "data-explorer"
TABLES = (KUSTO / "tables.kql").read_text("utf-8")
QUERIES = {path.name: path.read_text("utf-8") for path in sorted((KUSTO / "queries").glob("*.kql"))}
# What each function of tables.kql gives a row of.
GIVEN = {
    name: set(re.findall(r"(\w+)(?= =|,|$)", re.sub(r"\([^()]*(?:\([^()]*\)[^()]*)*\)", "", projected)))
    for name, projected in re.findall(r"(\w+)\(\) \{[^}]*\| project ([^\n]*)\n\}", TABLES)
}


def strangers(query: str) -> set[str]:
    """Give the names with a capital that a query asks for, and neither its functions nor itself give."""
    text = re.sub(r"//.*", "", query)
    names = set(re.findall(r"\b[A-Z]\w+", text))
    asked = names & GIVEN.keys()
    return names - asked - set().union(*(GIVEN[name] for name in asked)) - set(re.findall(r"(\w+) = ", text))


@pytest.mark.parametrize("name", QUERIES)
def test_a_query_of_data_explorer_asks_for_what_there_is(name: str) -> None:
    assert strangers(QUERIES[name]) == set()


def test_a_name_that_nobody_gives_is_found() -> None:
    assert strangers("People\n| where Tme > ago(1d)") == {"Tme"}


def test_every_query_of_data_explorer_is_on_its_page() -> None:
    page = (KUSTO / "README.md").read_text("utf-8")

    assert len(QUERIES) == 10
    assert [name for name in QUERIES if f"`{name}`" not in page] == []


def test_data_explorer_knows_the_feeds_by_their_record_types() -> None:
    people = load_feed("people_counter")

    assert isinstance(people, FlatFeed)
    assert set(re.findall(r"RecType == '([^']+)'", TABLES)) == {people.rec_type, SNAPSHOT.rec_type}


def test_every_page_of_a_consumer_is_listed() -> None:
    pages = {path.parent.name for path in CONSUMERS.glob("*/README.md")}
    listed = set(re.findall(r"\]\(([\w-]+)/README\.md\)", (CONSUMERS / "README.md").read_text("utf-8")))

    assert pages == listed


# --- the rules of merging ----------------------------------------------------------------------------


def merge_text(name: str) -> str:
    return (CONSUMERS / name).read_text("utf-8")


def names(columns: str) -> list[str]:
    """Give the columns of a list, without their table and in small letters."""
    found = [name.split(".")[-1] for name in re.findall(r"[\w.]+", columns)]
    return [re.sub(r"(?<=[a-z])(?=[A-Z])", "_", name).lower() for name in found]


def upserted(text: str) -> tuple[list[str], list[str]]:
    """Give the key of an upsert, and what the new version has to be greater by than the one that is there."""
    ((key, new, kept),) = re.findall(
        r"ON CONFLICT \(([^)]*)\) DO UPDATE\s+SET [^;]*\sWHERE \((.*?)\) > \((.*?)\)", text
    )
    assert new.replace("excluded.", "readings.") == kept != new
    return names(key), names(new)


# What is one reading, and by what its versions are ordered: the consumer in Python is the one that is proved.
KEY, VERSION = upserted(merge_text("python/merge.sql"))


def test_the_rules_of_the_consumer_in_python_are_the_documented_ones() -> None:
    assert KEY == ["rec_type", "location", "tags", "reading"]
    assert VERSION == ["enqueued", "sequence"]


def test_postgres_takes_the_same_key_and_order_of_versions() -> None:
    assert upserted(merge_text("functions/upsert.sql")) == (KEY, VERSION)


def test_spark_takes_the_same_key_and_order_of_versions_in_a_batch_and_in_the_table() -> None:
    text = merge_text("spark/merge.sql")
    newer = "WHEN MATCHED AND (new.{0} > kept.{0} OR (new.{0} = kept.{0} AND new.{1} > kept.{1})) THEN UPDATE"
    same = " AND ".join(f"kept.{name} = new.{name}" for name in KEY)

    (in_batch,) = re.findall(r"PARTITION BY (.*?) ORDER BY (.*?)\) AS version", text)
    assert in_batch == (", ".join(KEY), ", ".join(f"{name} DESC" for name in VERSION))
    assert "WHERE version = 1\n" in text
    assert f"\nON {same}\n" in text
    assert newer.format(*VERSION) in text


def test_data_explorer_takes_the_same_key_and_order_of_versions() -> None:
    (key,) = re.findall(r"summarize arg_max\(Version,[^)]*\) by ([^\n]*)", TABLES)
    (version,) = re.findall(
        r"extend Version = todecimal\(tolong\(\((\w+) - .*? \+ todecimal\((\w+)\)\n", TABLES
    )

    assert names(key) == KEY
    assert names(", ".join(version)) == VERSION


# --- Functions, into PostgreSQL ----------------------------------------------------------------------

FUNCTIONS = CONSUMERS / "functions"
AT = "2026-03-02T12:14:00.000Z"
PLACE = json.dumps([LOCATION, "0"])


def body(event: Event) -> bytes:
    return message_of(event, WireForm(body="with_ids")).body


def people(**fields: Any) -> bytes:
    (event,) = events_of("people_counter", [{"time": AT, "record": "r1", **fields}])
    return body(event)


def rooms(*lines: dict[str, Any]) -> bytes:
    (event,) = events_of("hourly_snapshot", [{"time": AT, "metric": "occupancy", **line} for line in lines])
    return body(event)


def table(stored: Iterable[tuple[str, int, bytes]]) -> list[tuple[Any, ...]]:
    """Give what is kept of events, each with its enqueued time and sequence number. SQLite takes the texts
    of PostgreSQL as they are, but for the placeholders."""
    database = sqlite3.connect(":memory:")
    database.executescript((FUNCTIONS / "schema.sql").read_text("utf-8"))
    upsert = re.sub(r"%\((\w+)\)s", r":\1", (FUNCTIONS / "upsert.sql").read_text("utf-8"))
    for enqueued, sequence, said in stored:
        for row in rows_of(said):
            database.execute(upsert, row | {"enqueued": enqueued, "sequence": sequence})
    kept = database.execute("SELECT tags, reading, entry FROM readings ORDER BY tags, reading").fetchall()
    database.close()
    return [(tags, reading, json.loads(entry)) for tags, reading, entry in kept]


VERSIONS = [
    ("2026-03-02T12:20:00+00:00", 7, people(change={"in": 1})),
    ("2026-03-02T12:20:00+00:00", 8, people(change={"in": 2})),
    ("2026-03-02T12:21:00+00:00", 3, people(change={"in": 3})),
]


@pytest.mark.parametrize("order", list(itertools.permutations(VERSIONS)))
def test_postgres_keeps_what_the_hub_stored_last_in_whatever_order_it_is_read(
    order: tuple[tuple[str, int, bytes], ...],
) -> None:
    ((tags, _, entry),) = table([*order, *order])

    assert (tags, entry) == (PLACE, {"time": AT, "record": "r1", "change": {"in": 3}})


def test_of_one_moment_the_higher_sequence_number_counts() -> None:
    ((_, _, entry),) = table(reversed(VERSIONS[:2]))

    assert entry["change"] == {"in": 2}


def test_readings_of_a_place_with_other_records_are_others() -> None:
    later = ("2026-03-02T12:20:00+00:00", 9, people(record="r2"))

    assert {entry["record"] for _, _, entry in table([VERSIONS[0], later])} == {"r1", "r2"}


def test_an_update_of_a_snapshot_replaces_its_readings_and_leaves_the_others() -> None:
    first = rooms({"category": "desk", "current": 1}, {"category": "room", "current": 2})
    update = rooms({"category": "room", "current": 5})

    kept = table([("2026-03-02T14:00:00+00:00", 1, first), ("2026-03-02T15:00:00+00:00", 2, update)])

    assert sorted((entry["category"], entry["current"]) for _, _, entry in kept) == [("desk", 1), ("room", 5)]


@pytest.mark.parametrize("said", [b'{"recType":"test"}', b"[]", b'{"_forwarder":{"id":"a"}}'])
def test_what_holds_no_readings_gives_none(said: bytes) -> None:
    assert rows_of(said) == []


# Each way in which the forwarder reads a time of the source.
TIMES_ALIKE = [
    "2026-03-02T13:14:00+01:00",
    "2026-03-02T12:14:00z",
    "20260302T121400Z",
    "2026-03-02T12:14",
    "2026-03-02T12:13:60Z",
    1772453640000,
    {"$date": AT},
    {"$date": 1772453640000},
    {"$date": {"$numberLong": "1772453640000"}},
    {"$numberLong": "1772453640000"},
    {"$numberDecimal": "1772453640000.0"},
]


@pytest.mark.parametrize("time", TIMES_ALIKE, ids=json.dumps)
def test_a_time_is_the_one_that_the_forwarder_reads_however_it_is_written(time: Any) -> None:
    assert extended_json.instant(time) == parse_time(AT)

    ((row),) = rows_of(people(time=time))

    assert row["time"] == "2026-03-02T12:14:00.000+00:00"


def test_a_time_is_read_by_the_same_lines_in_each_consumer_to_copy() -> None:
    assert inspect.getsource(consumer._instant) == inspect.getsource(readings._instant)


OURS: dict[str, Any] = {"recType": "any", "_location_tags": [], "time": AT}
OURS |= {"_forwarder": {"id": "a" * 16, "location": "any"}}


UNREADABLE: dict[str, list[Any]] = {
    "time": [None, [], {}, 10**400, 1e300, "0001-01-01T00:00:00+05:00", {"$date": {"a": "b"}}],
    "recType": [None, {}],
    "_forwarder": [None, [], "any", {"id": 5, "location": "any"}, {"id": "a" * 16, "location": {}}],
}


@pytest.mark.parametrize(
    "said",
    [
        *(b"[" * 100_000, b'{"a":' * 100_000, b"\xff", b"", b'{"_forwarder":{"id":"a"},"objs":[5]}'),
        *(json.dumps(OURS | {name: value}).encode() for name in UNREADABLE for value in UNREADABLE[name]),
    ],
    ids=lambda said: said[:80].decode(errors="replace"),
)
def test_what_cannot_be_read_says_so_in_one_way(said: bytes) -> None:
    with pytest.raises(ValueError, match=r"\w"):
        rows_of(said)


class Postgres:
    """The driver of a database that refuses some rows; `kept` and `unread` are its tables."""

    class DataError(Exception): ...

    class ProgramLimitExceeded(Exception): ...

    class OperationalError(Exception): ...

    errors = SimpleNamespace(ProgramLimitExceeded=ProgramLimitExceeded)

    def __init__(self, error: type[Exception]) -> None:
        self._error = error
        self.kept: list[str] = []
        self.unread: list[bytes] = []

    def connect(self, _: str) -> nullcontext[Postgres]:
        return nullcontext(self)

    transaction = cursor = lambda self: nullcontext(self)

    def executemany(self, _: str, rows: list[dict[str, Any]]) -> None:
        if any(json.loads(row["tags"]) == ["refused"] for row in rows):
            raise self._error
        self.kept += [row["reading"] for row in rows]

    def execute(self, _: str, row: tuple[Any, ...]) -> None:
        self.unread.append(row[2])


def given_to_the_function(bodies: list[bytes], postgres: Postgres, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the function take events, with this driver in place of PostgreSQL's."""
    monkeypatch.setitem(sys.modules, "psycopg", postgres)
    monkeypatch.syspath_prepend(FUNCTIONS)
    monkeypatch.setenv("POSTGRES", "")
    (function,) = runpy.run_path(str(FUNCTIONS / "function_app.py"))["app"].get_functions()
    function.get_user_function()([func.EventHubEvent(body=body) for body in bodies])


GOOD, REFUSED = (json.dumps(OURS | {"_location_tags": [tag]}).encode() for tag in ("good", "refused"))


@pytest.mark.parametrize("error", [Postgres.DataError, Postgres.ProgramLimitExceeded])
def test_what_the_database_would_refuse_again_is_kept_as_it_is_and_holds_nothing_up(
    error: type[Exception], monkeypatch: pytest.MonkeyPatch
) -> None:
    postgres, deep = Postgres(error), b"[" * 100_000

    given_to_the_function([REFUSED, deep, GOOD], postgres, monkeypatch)

    assert postgres.unread == [REFUSED, deep]
    assert postgres.kept == ["a" * 8]


def test_what_ails_the_database_itself_lets_the_host_give_the_events_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    postgres = Postgres(Postgres.OperationalError)

    with pytest.raises(Postgres.OperationalError):
        given_to_the_function([REFUSED], postgres, monkeypatch)

    assert postgres.unread == []
