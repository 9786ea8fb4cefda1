"""The table store: one Azure Storage table a feed, one row a location.

    location / <escaped name>   `doc0..` the location's document as JSON, `ids0..` its ids, 12 bytes each
    feed / feed                 `doc0..` what is said of the whole feed; its totals also as plain columns
    feed / 2-of-8               the same, as a shard says it; see `shard_records`
    places / <hash>-0000        a list of locations that is too long for these; see `place_lists`
    lock / lock, lock / 2-of-8  the lease of the run that works on the feed, or on a shard of it
    forwarder / state           the earlier forwarder's position; read, never written

Beside it `<name>history` with the reports of runs, a partition a day, `<name>quarantine`,
`<name>replayed` with what is dealt with, and `<name>damaged<time>` with a state that was set aside.

Long values are cut into binary properties: the service takes 64 KiB a property and
1 MiB a row, and counts a text twice. Rows of locations are written on condition that they
are as they were loaded, or as this store last wrote them, many in one transaction.

Import this module only where a table is configured: its SDK is slow to load.
"""

from __future__ import annotations

import itertools
import re
import threading
import time
import uuid
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import replace
from datetime import datetime
from functools import partial
from typing import Any, Final

from azure.core.exceptions import AzureError, HttpResponseError, ResourceNotFoundError
from azure.core.pipeline.transport import RequestsTransport
from azure.data.tables import TableClient, TableEntity

from app.base.checkpoints import Discovery, FeedState, LocationState, Takeover
from app.base.errors import StateConflict, StateError, StateTooLarge
from app.base.instants import format_time, parse_time, utc_now
from app.base.readings import JsonObject, QuarantinedReading
from app.base.shards import WHOLE, Shard
from app.network.identity import credential
from app.network.proxies import azure_options, by_proxy
from app.settings.connection_strings import table_url
from app.settings.schema import StateSettings
from app.state import document as documents
from app.state import table_rows
from app.state.place_lists import PLACES, Listed, PlaceLists
from app.state.shard_records import as_listed, of_shard, replaced_by, together
from app.state.store import all_but_damaged
from app.state.table_calls import Tables, delete_row, etag_of, is_ambiguous, lost_race
from app.state.table_lease import HostClocks, TableRunLock, held_lease

# Seconds. A stalled service fails an operation, its repeats by the SDK included, after `_OPERATION_S`.
_CONNECT_S: Final = 10
_READ_S: Final = 20
_OPERATION_S: Final = 30
_LONGEST_WAIT_S: Final = 10.0
_REPEATS: Final = 2
_TRIES: Final = 5

# Rows are saved side by side, since each waits for the service; more would meet its limits for a table.
_WRITERS: Final = 8
_READERS: Final = 8
# To ask for a row by its key takes about as long as to list so many rows with what is in them.
_SHARDS_BY_KEY: Final = 8
# A transaction takes so many rows, and 4 MiB with what is said of each.
_ROWS_AT_ONCE: Final = 100
_BYTES_AT_ONCE: Final = 3_500_000
_FEWEST_AT_ONCE: Final = 2

_EARLIER: Final = ("forwarder", "state")
_PROBE_TABLE: Final = "forwardercheck"


class AzureTableStore:
    """A `MendableStore` in the tables of one storage account. Tables are made where they are missing.

    One instance serves one run at a time: it remembers what each row was like. `open_table` makes the
    client of a table. `monotonic` and `now` are the clocks by which a run doubts its own lease;
    another's lease is judged by the service's clock alone. `by` says for messages what stands on the way.
    """

    def __init__(
        self,
        open_table: Callable[[str], TableClient],
        *,
        monotonic: Callable[[], float] = time.monotonic,
        now: Callable[[], datetime] = utc_now,
        by: str = "",
    ) -> None:
        self._tables = Tables(open_table, by)
        self._lists = PlaceLists(self._tables)
        self._clocks = HostClocks(monotonic, now)
        self.place = f"tables at {self._tables.host(_PROBE_TABLE)}"
        # Says of a row whether this store wrote it, when the answer to the write was lost.
        self._writer = uuid.uuid4().hex
        self._writes = itertools.count(1)
        self._etags: dict[str, dict[str, str]] = {}
        self._records: dict[str, dict[Shard, str]] = {}
        self._leases: dict[tuple[str, Shard], TableRunLock] = {}

    @classmethod
    def connect(cls, settings: StateSettings) -> AzureTableStore:
        """Make a store from settings; nothing is asked of the service yet.

        With a connection string, or else with managed identity at the endpoint. Raises StateError
        where neither can be used.
        """
        try:
            connection = settings.table_connection_string
            url = settings.table_endpoint or table_url(connection or "")
            way, by = azure_options(settings.network, url), by_proxy(settings.network, url)
            options: dict[str, Any] = {
                "transport": _PatientTransport(connection_timeout=_CONNECT_S, read_timeout=_READ_S, **way),
                "proxies": way["proxies"],
                "retry_total": _REPEATS,
                "retry_backoff_factor": 0.5,
                "timeout": _OPERATION_S,
                "permit_redirects": False,
            }
            if connection:
                return cls(partial(TableClient.from_connection_string, connection, **options), by=by)
            endpoint, signs_in = settings.table_endpoint or "", credential(settings.network)
            return cls(partial(TableClient, endpoint, credential=signs_in, **options), by=by)
        except (ValueError, AttributeError, TypeError):
            # The SDK's own text may quote the connection string.
            raise StateError(
                "state: AzureWebJobsStorage names no table service that can be used; write the storage "
                "account's connection string with AccountName and AccountKey, or for managed identity "
                "AzureWebJobsStorage__accountName"
            ) from None

    # --- the document -----------------------------------------------------------------------------

    def load(self, name: str, shard: Shard = WHOLE) -> FeedState:
        return self._load(name, shard, lambda found: found)

    def outline(self, name: str) -> FeedState:
        return self._load(name, WHOLE, LocationState.outline)

    def _load(self, name: str, shard: Shard, kept: Callable[[LocationState], LocationState]) -> FeedState:
        """Give the state with what is `kept` of each location, so that no more is ever held."""
        etags: dict[str, str] = {}
        locations: dict[str, LocationState] = {}
        records: dict[Shard, FeedState] = {}
        written: dict[Shard, str] = {}
        named: dict[Shard, Listed] = {}
        earlier: TableEntity | None = None
        with self._tables.explained(name):
            for row in self._rows_for(name, shard):
                keys = row["PartitionKey"], row["RowKey"]
                if keys[0] == table_rows.LOCATION:
                    if not _may_hold(shard, keys[1]):
                        continue
                    with self._tables.refused(name, row):
                        location, state = table_rows.location_from_row(row)
                    if shard.holds(location):
                        etags[location], locations[location] = etag_of(row), kept(state)
                elif keys[0] == table_rows.FEED:
                    said_by = table_rows.shard_in(keys[1], table_rows.FEED)
                    if said_by is not None:
                        records[said_by], listed = self._record_in(name, row)
                        written[said_by] = etag_of(row)
                        named |= {} if listed is None else {said_by: listed}
                elif keys == _EARLIER:
                    earlier = row
            records = self._lists.filled(name, records, named, shard)
        self._etags[name], self._records[name] = etags, written
        if not records:
            return FeedState(locations, takeover=self._takeover_from(name, earlier))
        if not shard.is_whole:
            return replace(of_shard(records, shard), locations=locations)
        feed = replace(together(records), locations=locations)
        return feed if records.keys() == {WHOLE} else replace(feed, locations=as_listed(feed))

    def _rows_for(self, name: str, shard: Shard) -> Iterator[TableEntity]:
        """Give what is said of the feed, and the rows of locations: all, or those that a shard may hold.

        One of many shards lists keys alone, a thousand in an answer, for ids take nearly all of the
        space, and asks for its rows one by one.
        """
        if shard.of < _SHARDS_BY_KEY:
            yield from self._tables.rows(name, f"PartitionKey ne '{PLACES}'")
            return
        for partition in (table_rows.FEED, _EARLIER[0]):
            yield from self._tables.rows(name, f"PartitionKey eq '{partition}'")
        listed = self._tables.rows(name, f"PartitionKey eq '{table_rows.LOCATION}'", keys_only=True)
        held = [row for row in listed if _may_hold(shard, row["RowKey"])]
        with ThreadPoolExecutor(_READERS, thread_name_prefix="state") as readers:
            found = readers.map(lambda row: self._tables.found(name, row)[0], held)
            yield from (row for row in found if row is not None)

    def _record_in(self, name: str, row: TableEntity) -> tuple[FeedState, Listed | None]:
        with self._tables.refused(name, row):
            document = documents.decode(table_rows.joined(row, "doc"))
            return documents.feed_from(document, {}), Listed.named_in(document)

    def save(self, name: str, state: FeedState, changed: Collection[str], shard: Shard = WHOLE) -> None:
        # Locations go first: the feed's row says that a takeover is done, which each of them must know.
        failures: dict[str, StateError] = {}
        if changed:
            failures = self._save_locations(name, state.locations, sorted(changed))
        with self._tables.explained(name):
            self._put_feed(name, state, shard)
            self._remove_replaced_records(name, shard)
            self._lists.remove_others(name)
        lost = [location for location, error in failures.items() if isinstance(error, StateConflict)]
        texts = [str(error) for error in failures.values() if isinstance(error, StateTooLarge)]
        if lost:
            conflict = (
                f"state: {name}: another run changed {_named(lost)}; these locations stop for this run, "
                "the next one goes on from there"
            )
            raise StateConflict("; ".join([conflict, *texts]), list(failures))
        if failures:
            raise StateTooLarge("; ".join(texts), list(failures))

    def _put_feed(self, name: str, state: FeedState, shard: Shard) -> None:
        found = state.discovery
        without_list = replace(found, places=(), collisions=()) if found else None
        document = documents.feed_document(replace(state, discovery=without_list))
        row = table_rows.feed_row(self._lists.written(name, document, found), shard)
        try:
            self._tables.put(name, row)
        except HttpResponseError as error:
            if "TooLarge" not in str(error):
                raise
            raise table_rows.feed_too_large(len(table_rows.joined(row, "doc"))) from error

    def _remove_replaced_records(self, name: str, shard: Shard) -> None:
        """Remove what is read no more, while this store holds the lock: none of those others then can.

        What cannot be removed stays until a later run.
        """
        lease = self._leases.get((name, shard))
        if lease is None or not lease.held():
            return
        records = self._records.get(name, {})
        for other in replaced_by(shard, records):
            row = {"PartitionKey": table_rows.FEED, "RowKey": table_rows.shard_key(other, table_rows.FEED)}
            with suppress(AzureError):
                delete_row(self._tables.client(name), row, records.pop(other))

    def keep_discovery(self, name: str, discovery: Discovery) -> None:
        feed = {"PartitionKey": table_rows.FEED, "RowKey": table_rows.FEED}
        with self._tables.explained(name):
            for left in reversed(range(_TRIES)):
                found, _ = self._tables.found(name, feed)
                known = self._with_discovery(name, found, discovery)
                try:
                    self._tables.put_if(name, known, etag_of(found) if found else None)
                except AzureError as error:
                    # A run wrote the row meanwhile, or did not: its own half must not be undone by ours.
                    if not left or not (lost_race(error) or is_ambiguous(error)):
                        raise
                else:
                    self._lists.remove_others(name)
                    return

    def _with_discovery(self, name: str, found: TableEntity | None, discovery: Discovery) -> dict[str, Any]:
        if found is None:
            earlier, _ = self._tables.found(
                name, dict(zip(("PartitionKey", "RowKey"), _EARLIER, strict=True))
            )
            state = FeedState(takeover=self._takeover_from(name, earlier))
            return table_rows.feed_row(self._lists.written(name, documents.feed_document(state), discovery))
        with self._tables.refused(name, found):
            document = documents.decode(table_rows.joined(found, "doc"))
            documents.check_version(document)
        return table_rows.with_document(found, self._lists.written(name, document, discovery))

    def _save_locations(
        self, name: str, locations: Mapping[str, LocationState], changed: Sequence[str]
    ) -> dict[str, StateError]:
        """Write each location; give those that conflict or do not fit. The first other error ends it."""
        stopped = threading.Event()

        def save(some: Sequence[str]) -> dict[str, StateError]:
            failures: dict[str, StateError] = {}
            try:
                with self._tables.explained(name):
                    for location in self._save_together(name, locations, some, stopped):
                        if stopped.is_set():
                            break
                        try:
                            self._save_location(name, location, locations.get(location))
                        except (StateConflict, StateTooLarge) as error:
                            failures[location] = error
            except BaseException:
                stopped.set()
                raise
            return failures

        parts = [changed[at : at + _ROWS_AT_ONCE] for at in range(0, len(changed), _ROWS_AT_ONCE)]
        with ThreadPoolExecutor(_WRITERS, thread_name_prefix="state") as writers:
            outcomes = list(writers.map(save, parts))
        return dict(sorted(failure for failures in outcomes for failure in failures.items()))

    def _save_together(
        self,
        name: str,
        locations: Mapping[str, LocationState],
        some: Sequence[str],
        stopped: threading.Event,
    ) -> Iterator[str]:
        """Write locations in transactions, as many in each as fit; give those that are yet to be saved."""
        rows: dict[str, dict[str, Any]] = {}
        size = 0
        for location in some:
            try:
                row = table_rows.location_row(location, locations[location])
            except (KeyError, StateTooLarge):
                # One that is to be removed, or refused.
                yield location
                continue
            more = table_rows.sent_bytes(row)
            if size + more > _BYTES_AT_ONCE:
                yield from self._write_together(name, rows)
                rows, size = {}, 0
            if stopped.is_set():
                return
            rows[location] = row
            size += more
        yield from self._write_together(name, rows)

    def _write_together(self, name: str, rows: Mapping[str, dict[str, Any]]) -> Iterable[str]:
        """Write rows in one transaction; give their locations where it was refused, or may have been.

        Then each finds out alone: all are stored, or none is.
        """
        if len(rows) < _FEWEST_AT_ONCE:
            return rows
        etags = self._etags.setdefault(name, {})
        for row in rows.values():
            row["writer"] = self._next_writer()
        try:
            written = self._tables.put_all_if(name, [(row, etags.get(key)) for key, row in rows.items()])
        except AzureError as error:
            if lost_race(error) or is_ambiguous(error) or "TooLarge" in str(error):
                return rows
            raise
        etags |= zip(rows, written, strict=True)
        return ()

    def _save_location(self, name: str, location: str, state: LocationState | None) -> None:
        etags = self._etags.setdefault(name, {})
        etag = etags.get(location)
        if state is not None:
            row = table_rows.location_row(location, state)
            try:
                etags[location] = self._write(name, location, row, etag)
            except HttpResponseError as error:
                if "TooLarge" not in str(error):
                    raise
                ids, others = (len(table_rows.joined(row, name)) for name in ("ids", "doc"))
                raise table_rows.too_large(location, ids, others) from error
        elif etag is not None:
            self._remove(name, location, etag)
            del etags[location]

    def _write(self, name: str, location: str, row: dict[str, Any], etag: str | None) -> str:
        """Write the row if it still is as `etag` says (None: if there is none); give its new ETag.

        Where the answer was lost, or a repeat by the SDK met its own first try, the row itself
        says who wrote it last. Raises StateConflict where that was somebody else.
        """
        row["writer"] = self._next_writer()
        failure: AzureError | None = None
        for _ in range(_REPEATS):
            try:
                return self._tables.put_if(name, row, etag)
            except AzureError as error:
                if not (lost_race(error) or is_ambiguous(error)):
                    raise
                failure = error
            found, _ = self._tables.found(name, row)
            if found is not None and found.get("writer") == row["writer"]:
                return etag_of(found)
            if found is None and etag is not None:
                raise self._conflict(name, location)
            if found is not None and etag_of(found) != etag:
                if not str(found.get("writer")).startswith(self._writer):
                    raise self._conflict(name, location)
                # A write of ours that counted as failed was stored after all.
                etag = etag_of(found)
        raise failure or AssertionError("a loop that did not run")

    def _next_writer(self) -> str:
        return f"{self._writer}.{next(self._writes)}"

    def _remove(self, name: str, location: str, etag: str) -> None:
        row = {"PartitionKey": table_rows.LOCATION, "RowKey": table_rows.row_key(location)}
        try:
            delete_row(self._tables.client(name), row, etag)
        except HttpResponseError as error:
            if not lost_race(error):
                raise
            raise self._conflict(name, location) from error

    def _conflict(self, name: str, location: str) -> StateConflict:
        return StateConflict(f"state: {name}: another run changed {location!r}", [location])

    def _takeover_from(self, name: str, row: TableEntity | None) -> Takeover | None:
        if row is None:
            return None
        with self._tables.refused(name, row):
            document = {key: table_rows.plain(value) for key, value in row.items()}
            return documents.takeover_from(document, f"{self._tables.place(name)}, row forwarder/state")

    @contextmanager
    def lock(self, name: str, owner: str, shard: Shard = WHOLE) -> Iterator[TableRunLock]:
        with held_lease(self._tables, name, owner, self._clocks, shard) as lease:
            self._leases[name, shard] = lease
            try:
                yield lease
            finally:
                del self._leases[name, shard]

    # --- beside the state -------------------------------------------------------------------------

    def quarantine(self, name: str, item: QuarantinedReading) -> str:
        table_name = table_rows.name_beside(name, "quarantine")
        key = documents.quarantine_key(item)
        rows = table_rows.part_rows(key, documents.quarantine_document(item))
        with self._tables.explained(table_name):
            # The first row names the number of parts, so it is written when they are all there.
            for row in reversed(rows):
                self._tables.put(table_name, row)
        return f"{self._tables.place(table_name)}, partition {key}"

    def keep_report(self, name: str, report: JsonObject) -> None:
        table_name = table_rows.name_beside(name, "history")
        began = parse_time(report["started"])
        row = {
            "PartitionKey": _day(began),
            "RowKey": f"{documents.file_stamp(began)}-{uuid.uuid4().hex[:12]}",
        } | table_rows.cut("doc", documents.history_document(report))
        with self._tables.explained(table_name):
            self._tables.put_if(table_name, row, None)
            oldest = documents.oldest_kept(report)
            if oldest is not None:
                before = f"PartitionKey lt '{_day(oldest)}'"
                for old in self._tables.rows(table_name, before, keys_only=True):
                    with suppress(ResourceNotFoundError):
                        self._tables.client(table_name).delete_entity(old)

    def history(self, name: str, since: datetime) -> Iterator[dict[str, Any]]:
        table_name = table_rows.name_beside(name, "history")
        with self._tables.explained(table_name):
            for row in self._tables.rows(table_name, f"PartitionKey ge '{_day(since)}'"):
                with suppress(ValueError):  # a row that is torn
                    yield from documents.reports_since([table_rows.joined(row, "doc")], since)

    def set_aside(self, name: str) -> list[str]:
        stamp = re.sub("[^0-9]", "", documents.file_stamp(self._clocks.now()))
        aside = table_rows.name_beside(name, f"damaged{stamp}")
        with self._tables.explained(name):
            rows = [row for row in self._tables.rows(name) if row["PartitionKey"] != table_rows.LOCK]
            for row in rows:
                self._tables.put(aside, row)
                delete_row(self._tables.client(name), row, etag_of(row))
        self._etags.pop(name, None)
        self._lists.forget(name)
        return [self._tables.place(aside)] if rows else []

    def remove(self, name: str) -> None:
        with self._tables.explained(name):
            # The service goes on deleting for a minute or so, and refuses the name meanwhile.
            self._tables.client(name).delete_table()
        self._etags.pop(name, None)
        self._lists.forget(name)

    def quarantined(
        self, name: str, feed: str, reading_id: str | None = None
    ) -> Iterator[tuple[str, QuarantinedReading]]:
        table_name = table_rows.name_beside(name, "quarantine")
        of_id = ""
        if reading_id is not None:
            begins = documents.quarantine_key_begins(reading_id)
            # It ends with `-`, and what follows is a hash in hexadecimal.
            of_id = f"PartitionKey ge '{begins}' and PartitionKey lt '{begins}g'"
        with self._tables.explained(table_name):
            partitions = itertools.groupby(
                self._tables.rows(table_name, of_id), lambda row: str(row["PartitionKey"])
            )
            reads = (partial(self._quarantined, table_name, key, list(rows)) for key, rows in partitions)
            yield from (
                (key, item)
                for key, item in all_but_damaged(reads)
                if item.feed == feed and reading_id in (None, item.id)
            )

    def _quarantined(
        self, table_name: str, key: str, rows: list[TableEntity]
    ) -> tuple[str, QuarantinedReading]:
        with self._tables.refused(table_name, rows[0], "repair it, or delete the partition"):
            return key, table_rows.quarantined_from_rows(rows)

    def release(self, name: str, feed: str, key: str) -> str:  # noqa: ARG002 - the key says which
        table_name = table_rows.name_beside(name, "quarantine")
        replayed = table_rows.name_beside(name, "replayed")
        with self._tables.explained(table_name):
            rows = [row for row in self._tables.rows(table_name) if row["PartitionKey"] == key]
            if not rows:
                place = self._tables.place(table_name)
                raise StateError(f"state: {place}: no reading {key}; see `quarantine list`")
            # The first row says that a reading is there, so it comes last here and goes first there.
            for row in reversed(rows):
                self._tables.put(replayed, row)
            for row in rows:
                self._tables.client(table_name).delete_entity(row)
        return f"{self._tables.place(replayed)}, partition {key}"

    def probe(self) -> None:
        row = {"PartitionKey": "check", "RowKey": uuid.uuid4().hex}
        with self._tables.explained(_PROBE_TABLE):
            self._tables.put_if(_PROBE_TABLE, row, None)
            self._tables.client(_PROBE_TABLE).delete_entity(row)


class _PatientTransport(RequestsTransport):  # type: ignore[misc]  # the SDK exports it untyped
    """The SDK's transport, but no wait that the service asks for may outlast a run."""

    def sleep(self, duration: float) -> None:
        super().sleep(min(duration, _LONGEST_WAIT_S))


def _may_hold(shard: Shard, key: str) -> bool:
    """Whether a shard may hold the location with this key: most keys tell their name without being read."""
    location = table_rows.name_in(key)
    return location is None or shard.holds(location)


def _day(instant: datetime) -> str:
    return format_time(instant)[:10]


def _named(locations: Collection[str]) -> str:
    return ", ".join(repr(location) for location in locations)
