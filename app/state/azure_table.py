"""The table store: one Azure Storage table a feed, one row a location.

    location / <escaped name>   `doc0..` the location's document as JSON, `ids0..` its ids, 12 bytes each
    feed / feed                 `doc0..` what is said of the whole feed; its totals also as plain columns
    lock / lock                 the lease of the run that works on the feed
    forwarder / state           the earlier forwarder's position; read, never written

Beside it `<name>history` with the reports of runs, a partition a day, `<name>quarantine`,
`<name>replayed` with what is dealt with, and `<name>damaged<time>` with a state that was set aside.

Long values are cut into binary properties: the service takes 64 KiB a property and
1 MiB a row, and counts a text twice. Rows of locations are written on condition that they
are as they were loaded, or as this store last wrote them.

Import this module only where a table is configured: its SDK is slow to load.
"""

from __future__ import annotations

import itertools
import os
import re
import socket
import threading
import time
import uuid
from collections.abc import Callable, Collection, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from datetime import datetime
from email.utils import parsedate_to_datetime
from functools import partial
from typing import Any, Final, TypeVar
from urllib.parse import urlsplit

from azure.core import MatchConditions
from azure.core.exceptions import (
    AzureError,
    HttpResponseError,
    ResourceExistsError,
    ResourceNotFoundError,
)
from azure.core.pipeline.transport import RequestsTransport
from azure.data.tables import (
    TableClient,
    TableEntity,
    UpdateMode,
)

from app.base.checkpoints import FeedState, LocationState, Takeover
from app.base.errors import LockHeld, StateConflict, StateDamaged, StateError, StateTooLarge
from app.base.instants import format_time, parse_time, utc_now
from app.base.readings import JsonObject, QuarantinedReading
from app.settings.schema import StateSettings
from app.state.document import (
    decode,
    feed_from,
    file_stamp,
    history_document,
    oldest_kept,
    quarantine_document,
    quarantine_key,
    takeover_from,
)
from app.state.table_calls import etag_of, explanation, is_ambiguous, lost_race, put_row
from app.state.table_lease import (
    _LEASE,
    _LEASE_MARGIN,
    _RENEWAL,
    LOCK,
    HostClocks,
    TableRunLock,
    is_expired,
    owner_in,
)
from app.state.table_rows import (
    FEED,
    LOCATION,
    _too_large,
    cut,
    feed_row,
    joined,
    location_from_row,
    location_row,
    name_beside,
    plain,
    quarantine_rows,
    quarantined_from_rows,
    row_key,
)

# Seconds. A stalled service fails an operation, its repeats by the SDK included, after `_OPERATION_S`.
_CONNECT_S: Final = 10
_READ_S: Final = 20
_OPERATION_S: Final = 30
_LONGEST_WAIT_S: Final = 10.0
_REPEATS: Final = 2

_WRITERS: Final = 8


_MEND: Final = "`state import` a copy of yours; `state reset` moves it aside to begin anew at START_FROM"

_EARLIER: Final = ("forwarder", "state")
_PROBE_TABLE: Final = "forwardercheck"

_Result = TypeVar("_Result")


class AzureTableStore:
    """A `MendableStore` in the tables of one storage account. Tables are made where they are missing.

    One instance serves one run at a time: it remembers what each row was like. `open_table` makes the
    client of a table. `monotonic` and `now` are the clocks by which a run doubts its own lease;
    another's lease is judged by the service's clock alone.
    """

    def __init__(
        self,
        open_table: Callable[[str], TableClient],
        *,
        monotonic: Callable[[], float] = time.monotonic,
        now: Callable[[], datetime] = utc_now,
    ) -> None:
        self._open_table = open_table
        self._opening = threading.Lock()
        self._tables: dict[str, TableClient] = {}
        self._clocks = HostClocks(monotonic, now)
        endpoint = urlsplit(self._table(_PROBE_TABLE).url)
        self._host = f"{endpoint.netloc}{endpoint.path}".rstrip("/")
        self.place = f"tables at {self._host}"
        # Says of a row whether this store wrote it, when the answer to the write was lost.
        self._writer = uuid.uuid4().hex
        self._writes = itertools.count(1)
        self._etags: dict[str, dict[str, str]] = {}

    @classmethod
    def connect(cls, settings: StateSettings) -> AzureTableStore:
        """Make a store from settings; nothing is asked of the service yet.

        With a connection string, or else with managed identity at the endpoint. Raises StateError
        where neither can be used.
        """
        options: dict[str, Any] = {
            "transport": _PatientTransport(
                connection_timeout=_CONNECT_S,
                read_timeout=_READ_S,
                connection_verify=settings.ca_file or True,
            ),
            "retry_total": _REPEATS,
            "retry_backoff_factor": 0.5,
            "timeout": _OPERATION_S,
            "permit_redirects": False,
        }
        try:
            if settings.table_connection_string:
                connection = settings.table_connection_string
                return cls(partial(TableClient.from_connection_string, connection, **options))
            # Slow to load, and needed with managed identity only.
            from azure.identity import DefaultAzureCredential

            credential = DefaultAzureCredential(managed_identity_client_id=settings.client_id)
            endpoint = settings.table_endpoint or ""
            return cls(partial(TableClient, endpoint, credential=credential, **options))
        except (ValueError, AttributeError, TypeError):
            # The SDK's own text may quote the connection string.
            raise StateError(
                "state: AzureWebJobsStorage names no table service that can be used; write the storage "
                "account's connection string with AccountName and AccountKey, or for managed identity "
                "AzureWebJobsStorage__accountName"
            ) from None

    # --- the document -----------------------------------------------------------------------------

    def load(self, name: str) -> FeedState:
        etags: dict[str, str] = {}
        locations: dict[str, LocationState] = {}
        feed: TableEntity | None = None
        earlier: TableEntity | None = None
        with self._explained(name):
            for row in self._rows(name):
                keys = row["PartitionKey"], row["RowKey"]
                if keys[0] == LOCATION:
                    with self._refused(name, row):
                        location, state = location_from_row(row)
                    etags[location], locations[location] = etag_of(row), state
                elif keys == (FEED, FEED):
                    feed = row
                elif keys == _EARLIER:
                    earlier = row
        self._etags[name] = etags
        if feed is not None:
            with self._refused(name, feed):
                return feed_from(decode(joined(feed, "doc")), locations)
        return FeedState(locations, takeover=self._takeover_from(name, earlier))

    def save(self, name: str, state: FeedState, changed: Collection[str]) -> None:
        # Locations go first: the feed's row says that a takeover is done, which each of them must know.
        failures: dict[str, StateError] = {}
        if changed:
            failures = self._save_locations(name, state.locations, sorted(changed))
        with self._explained(name):
            self._in_table(name, lambda table: table.upsert_entity(feed_row(state), mode=UpdateMode.REPLACE))
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

    def _save_locations(
        self, name: str, locations: Mapping[str, LocationState], changed: Collection[str]
    ) -> dict[str, StateError]:
        """Write each location; give those that conflict or do not fit. The first other error ends it."""
        stopped = threading.Event()

        def save(location: str) -> StateError | None:
            if stopped.is_set():
                return None
            try:
                with self._explained(name):
                    self._save_location(name, location, locations.get(location))
            except (StateConflict, StateTooLarge) as error:
                return error
            except BaseException:
                stopped.set()
                raise
            return None

        with ThreadPoolExecutor(_WRITERS, thread_name_prefix="state") as writers:
            outcomes = list(writers.map(save, changed))
        return {
            location: error for location, error in zip(changed, outcomes, strict=True) if error is not None
        }

    def _save_location(self, name: str, location: str, state: LocationState | None) -> None:
        etags = self._etags.setdefault(name, {})
        etag = etags.get(location)
        if state is not None:
            row = location_row(location, state)
            try:
                etags[location] = self._write(name, location, row, etag)
            except HttpResponseError as error:
                if "TooLarge" not in str(error):
                    raise
                size = sum(len(value) for value in row.values() if isinstance(value, bytes))
                raise _too_large(location, size) from error
        elif etag is not None:
            self._remove(name, location, etag)
            del etags[location]

    def _write(self, name: str, location: str, row: dict[str, Any], etag: str | None) -> str:
        """Write the row if it still is as `etag` says (None: if there is none); give its new ETag.

        Where the answer was lost, or a repeat by the SDK met its own first try, the row itself
        says who wrote it last. Raises StateConflict where that was somebody else.
        """
        row["writer"] = f"{self._writer}.{next(self._writes)}"
        failure: AzureError | None = None
        for _ in range(_REPEATS):
            try:
                return self._in_table(name, lambda table: put_row(table, row, etag))  # noqa: B023 - used at once
            except AzureError as error:
                if not (lost_race(error) or is_ambiguous(error)):
                    raise
                failure = error
            found = self._found(name, row)
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

    def _remove(self, name: str, location: str, etag: str) -> None:
        table = self._table(name)
        keys = LOCATION, row_key(location)
        try:
            table.delete_entity(*keys, etag=etag, match_condition=MatchConditions.IfNotModified)
        except HttpResponseError as error:
            if not lost_race(error):
                raise
            raise self._conflict(name, location) from error

    def _conflict(self, name: str, location: str) -> StateConflict:
        return StateConflict(f"state: {name}: another run changed {location!r}", [location])

    def _takeover_from(self, name: str, row: TableEntity | None) -> Takeover | None:
        if row is None:
            return None
        with self._refused(name, row):
            document = {key: plain(value) for key, value in row.items()}
            return takeover_from(document, f"table {name} at {self._host}, row forwarder/state")

    # --- the lock ---------------------------------------------------------------------------------

    @contextmanager
    def lock(self, name: str, owner: str) -> Iterator[TableRunLock]:
        """Hold the feed's lease, renewed by a thread of its own for as long as the run lives."""
        with self._explained(name):
            lease = self._take_lease(name, owner)
        stopped = threading.Event()
        keeper = threading.Thread(target=lease.keep, args=(stopped,), name=f"lease-{name}", daemon=True)
        keeper.start()
        try:
            yield lease
        finally:
            stopped.set()
            keeper.join(_RENEWAL["connection_timeout"] + _RENEWAL["read_timeout"])
            lease.release()

    def _take_lease(self, name: str, owner: str) -> TableRunLock:
        nonce = uuid.uuid4().hex
        row = {
            "PartitionKey": LOCK,
            "RowKey": LOCK,
            "owner": owner,
            "nonce": nonce,
            "host": socket.gethostname(),
            "pid": os.getpid(),
            "since": format_time(self._clocks.now()),
        }
        found: TableEntity | None = None
        failure: AzureError | None = None
        for _ in range(_REPEATS + 1):
            etag = None if found is None else etag_of(found)
            began = self._clocks.read()
            try:
                taken = self._in_table(name, lambda table: put_row(table, row, etag))  # noqa: B023 - used at once
                return TableRunLock(self._table(name), row, taken, began, self._clocks)
            except AzureError as error:
                if not (lost_race(error) or is_ambiguous(error)):
                    raise
                failure = error
            found, service_time = self._found_with_time(name, row)
            # A row with our own nonce is a write of ours whose answer was lost: it is written again,
            # so that the lease counts from a time that is known.
            if found is not None and found.get("nonce") != nonce and not is_expired(found, service_time):
                raise LockHeld(
                    f"state: {name}: another run works on this feed ({owner_in(found)}); nothing was done, "
                    f"try again when it has ended; a run that was killed keeps its lease for "
                    f"{(_LEASE + _LEASE_MARGIN).total_seconds():.0f} s"
                )
        raise failure or AssertionError("a loop that did not run")

    # --- beside the state -------------------------------------------------------------------------

    def quarantine(self, name: str, item: QuarantinedReading) -> str:
        table_name = name_beside(name, "quarantine")
        key = quarantine_key(item)
        rows = quarantine_rows(key, quarantine_document(item))
        with self._explained(table_name):
            # The first row names the number of parts, so it is written when they are all there.
            for row in reversed(rows):
                self._in_table(table_name, lambda table: table.upsert_entity(row, mode=UpdateMode.REPLACE))  # noqa: B023
        return f"table {table_name} at {self._host}, partition {key}"

    def keep_report(self, name: str, report: JsonObject) -> None:
        table_name = name_beside(name, "history")
        began = parse_time(report["started"])
        row = {
            "PartitionKey": _day(began),
            "RowKey": f"{file_stamp(began)}-{uuid.uuid4().hex[:12]}",
        } | cut("doc", history_document(report))
        with self._explained(table_name):
            self._in_table(table_name, lambda table: table.create_entity(row))
            oldest = oldest_kept(report)
            for old in (
                self._rows(table_name, f"PartitionKey lt '{_day(oldest)}'", keys_only=True) if oldest else ()
            ):
                with suppress(ResourceNotFoundError):
                    self._table(table_name).delete_entity(old)

    def history(self, name: str, since: datetime) -> Iterator[dict[str, Any]]:
        table_name = name_beside(name, "history")
        with self._explained(table_name):
            for row in self._rows(table_name, f"PartitionKey ge '{_day(since)}'"):
                with suppress(ValueError, KeyError, TypeError):
                    report = decode(joined(row, "doc"))
                    if parse_time(report["started"]) >= since:
                        yield report

    def set_aside(self, name: str) -> list[str]:
        stamp = re.sub("[^0-9]", "", file_stamp(self._clocks.now()))
        aside = name_beside(name, f"damaged{stamp}")
        with self._explained(name):
            rows = [row for row in self._rows(name) if row["PartitionKey"] != LOCK]
            for row in rows:
                self._move(name, row, aside)
        self._etags.pop(name, None)
        return [f"table {aside} at {self._host}"] if rows else []

    def remove(self, name: str) -> None:
        with self._explained(name):
            # The service goes on deleting for a minute or so, and refuses the name meanwhile.
            self._table(name).delete_table()
        self._etags.pop(name, None)

    def quarantined(self, name: str, feed: str) -> Iterator[tuple[str, QuarantinedReading]]:
        table_name = name_beside(name, "quarantine")
        damaged = None
        with self._explained(table_name):
            for key, found in itertools.groupby(self._rows(table_name), lambda row: str(row["PartitionKey"])):
                rows = list(found)
                try:
                    with self._refused(table_name, rows[0], "repair it, or delete the partition"):
                        item = quarantined_from_rows(rows)
                except StateDamaged as error:
                    damaged = damaged or error
                    continue
                if item.feed == feed:
                    yield key, item
        if damaged is not None:
            raise damaged

    def release(self, name: str, feed: str, key: str) -> str:  # noqa: ARG002 - the key says which
        table_name, replayed = name_beside(name, "quarantine"), name_beside(name, "replayed")
        with self._explained(table_name):
            rows = [row for row in self._rows(table_name) if row["PartitionKey"] == key]
            if not rows:
                raise StateError(
                    f"state: table {table_name} at {self._host}: no reading {key}; see `quarantine list`"
                )
            # The first row says that a reading is there, so it comes last here and goes first there.
            for row in reversed(rows):
                self._copy(row, replayed)
            for row in rows:
                self._table(table_name).delete_entity(row)
        return f"table {replayed} at {self._host}, partition {key}"

    def probe(self) -> None:
        row = {"PartitionKey": "check", "RowKey": uuid.uuid4().hex}
        with self._explained(_PROBE_TABLE):
            self._in_table(_PROBE_TABLE, lambda table: table.create_entity(row))
            self._table(_PROBE_TABLE).delete_entity(row["PartitionKey"], row["RowKey"])

    def _move(self, name: str, row: TableEntity, other: str) -> None:
        self._copy(row, other)
        table = self._table(name)
        condition = MatchConditions.IfNotModified
        table.delete_entity(row, etag=etag_of(row), match_condition=condition)

    def _copy(self, row: TableEntity, other: str) -> None:
        self._in_table(other, lambda table: table.upsert_entity(row, mode=UpdateMode.REPLACE))

    # --- the service ------------------------------------------------------------------------------

    def _table(self, name: str) -> TableClient:
        """Give the client of a table, which any thread may use.

        Not TableServiceClient.get_table_client: the clients that it makes share parts of their way to
        the service (azure-data-tables 12.7), and making one breaks what others ask at that moment.
        """
        with self._opening:
            if name not in self._tables:
                self._tables[name] = self._open_table(name)
            return self._tables[name]

    def _in_table(self, name: str, write: Callable[[TableClient], _Result]) -> _Result:
        """Do `write`; where the table is missing, make it first."""
        table = self._table(name)
        try:
            return write(table)
        except ResourceNotFoundError:
            with suppress(ResourceExistsError):
                table.create_table()
            return write(table)

    def _rows(self, name: str, condition: str = "", *, keys_only: bool = False) -> Iterator[TableEntity]:
        """Give the rows of a table in the order of their keys; none where there is no table."""
        table = self._table(name)
        select = ["PartitionKey", "RowKey"] if keys_only else None
        try:
            if condition:
                yield from table.query_entities(condition, select=select)
            else:
                yield from table.list_entities()
        except ResourceNotFoundError:
            return

    def _found(self, name: str, row: Mapping[str, Any]) -> TableEntity | None:
        return self._found_with_time(name, row)[0]

    def _found_with_time(
        self, name: str, row: Mapping[str, Any]
    ) -> tuple[TableEntity | None, datetime | None]:
        """Give the row as it is stored now, and the service's clock at that time."""
        times: list[str] = []
        try:
            found = self._table(name).get_entity(
                row["PartitionKey"],
                row["RowKey"],
                raw_response_hook=lambda response: times.append(
                    response.http_response.headers.get("Date", "")
                ),
            )
        except ResourceNotFoundError:
            return None, None
        with suppress(ValueError, IndexError):
            return found, parsedate_to_datetime(times[-1])
        return found, None

    @contextmanager
    def _refused(
        self,
        name: str,
        row: Mapping[str, Any],
        advice: str = _MEND,
    ) -> Iterator[None]:
        try:
            yield
        except ValueError as error:
            keys = f"{row['PartitionKey']}/{row['RowKey']}"
            raise StateDamaged(
                f"state: table {name} at {self._host}, row {keys}: cannot be read as state: {error}; {advice}"
            ) from error

    @contextmanager
    def _explained(self, name: str) -> Iterator[None]:
        """Turn what the service or the way to it refuses into a StateError that says what to do."""
        try:
            yield
        except AzureError as error:
            raise StateError(f"state: table {name} at {self._host}: {explanation(error)}") from error


class _PatientTransport(RequestsTransport):  # type: ignore[misc]  # the SDK exports it untyped
    """The SDK's transport, but no wait that the service asks for may outlast a run."""

    def sleep(self, duration: float) -> None:
        super().sleep(min(duration, _LONGEST_WAIT_S))


def _day(instant: datetime) -> str:
    return format_time(instant)[:10]


def _named(locations: Collection[str]) -> str:
    return ", ".join(repr(location) for location in locations)
