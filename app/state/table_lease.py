"""The run lock as a lease on a row of a table, which ends by itself with its owner.

Each shard of a feed has a row of its own. A run first takes its own, then looks at all of them: where one
lives of a run without shards, or of shards of another number, it gives its own back. So of two such
runs that begin at the same time at least one sees the other. A lease of theirs that ran out is
removed before the run goes on: who slept through its end cannot renew it then, and knows that it lost it.
"""

from __future__ import annotations

import threading
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

from azure.core.exceptions import AzureError, HttpResponseError, ResourceNotFoundError
from azure.data.tables import TableClient, TableEntity

from app.base.errors import LockHeld
from app.base.shards import WHOLE, Shard
from app.state.document import lock_owner, owner_text
from app.state.table_calls import Tables, delete_row, etag_of, is_ambiguous, lost_race, put_row, status_of
from app.state.table_rows import LOCK, shard_in, shard_key

# Two renewals may fail before a lease ends; whoever holds it stops that much before, by its own clock,
# and a run that was killed holds the next one up for a minute at most.
_LEASE: Final = timedelta(seconds=60)
_LEASE_MARGIN: Final = timedelta(seconds=5)
_RENEW_EVERY_S: Final = 20.0
_RENEW_AGAIN_S: Final = 2.0
_TRIES: Final = 3
_GONE: Final = 404
# A renewal has no time for the SDK's patience: a lost one is tried again by the loop.
_RENEWAL: Final[Mapping[str, Any]] = {"retry_total": 0, "connection_timeout": 5, "read_timeout": 10}


@dataclass(frozen=True, slots=True)
class ClockReading:
    """What both clocks showed at one time."""

    monotonic: float
    wall: datetime


@dataclass(frozen=True, slots=True)
class HostClocks:
    """The clocks by which a run doubts its own lease."""

    monotonic: Callable[[], float]
    now: Callable[[], datetime]

    def read(self) -> ClockReading:
        return ClockReading(self.monotonic(), self.now())

    def since(self, then: ClockReading) -> timedelta:
        """Give the time since then, by whichever clock says more."""
        return max(timedelta(seconds=self.monotonic() - then.monotonic), self.now() - then.wall)


class TableRunLock:
    """A lease on a feed or a shard: held while its last renewal began less than 55 s ago, by either clock.

    The wall clock counts too because the monotonic one stands still in a suspended machine.
    """

    def __init__(
        self, table: TableClient, row: dict[str, Any], etag: str, began: ClockReading, clocks: HostClocks
    ) -> None:
        self._table = table
        self._row = row
        self._etag = etag
        self._began = began
        self._clocks = clocks
        self._lost = False

    def held(self) -> bool:
        return not self._lost and self._clocks.since(self._began) < _LEASE - _LEASE_MARGIN

    def renew(self) -> bool:
        """Renew the lease once; False where it must be tried again soon, or where it is lost for good."""
        began = self._clocks.read()
        try:
            self._etag = put_row(self._table, self._row, self._etag, **_RENEWAL)
        except AzureError as error:
            if lost_race(error):
                self._find_again()
            return False
        self._began = began
        return True

    def keep(self, stopped: threading.Event) -> None:
        """Renew the lease until told to stop, or until it is another's."""
        wait = _RENEW_EVERY_S
        while not (stopped.wait(wait) or self._lost):
            wait = _RENEW_EVERY_S if self.renew() else _RENEW_AGAIN_S

    def release(self) -> None:
        """Give the lease back if it still is ours. Where that fails, it expires by itself."""
        with suppress(AzureError):
            try:
                self._delete()
            except HttpResponseError as error:
                if not lost_race(error):
                    raise
                self._find_again()
                if not self._lost:
                    self._delete()
        self._lost = True

    def _delete(self) -> None:
        delete_row(self._table, self._row, self._etag, **_RENEWAL)

    def _find_again(self) -> None:
        """Learn whether the row is another's, or ours after a renewal whose answer was lost."""
        try:
            found = self._table.get_entity(LOCK, self._row["RowKey"], **_RENEWAL)
        except ResourceNotFoundError:
            self._lost = True
        except AzureError:
            return
        else:
            self._lost = found.get("nonce") != self._row["nonce"]
            # By the ETag of another's row, that would be given back in place of ours.
            if not self._lost:
                self._etag = etag_of(found)


@contextmanager
def held_lease(
    tables: Tables, name: str, owner: str, clocks: HostClocks, shard: Shard = WHOLE
) -> Iterator[TableRunLock]:
    """Hold the lease of the feed, or of a shard, renewed by a thread of its own.

    Raises LockHeld where it is another's, or where runs work on the feed in another division.
    """
    with tables.explained(name):
        lease = _taken(tables, name, owner, clocks, shard)
        try:
            _exclude_other_divisions(tables, name, shard)
        except BaseException:
            lease.release()
            raise
    stopped = threading.Event()
    keeper = threading.Thread(target=lease.keep, args=(stopped,), name=f"lease-{name}", daemon=True)
    keeper.start()
    try:
        yield lease
    finally:
        stopped.set()
        keeper.join(_RENEWAL["connection_timeout"] + _RENEWAL["read_timeout"])
        lease.release()


def _taken(tables: Tables, name: str, owner: str, clocks: HostClocks, shard: Shard) -> TableRunLock:
    nonce = uuid.uuid4().hex
    keys = {"PartitionKey": LOCK, "RowKey": shard_key(shard, LOCK)}
    row = {**keys, "nonce": nonce, **lock_owner(owner, clocks.now(), shard)}
    found: TableEntity | None = None
    failure: AzureError | None = None
    for _ in range(_TRIES):
        began = clocks.read()
        try:
            etag = tables.put_if(name, row, None if found is None else etag_of(found))
            return TableRunLock(tables.client(name), row, etag, began, clocks)
        except AzureError as error:
            if not (lost_race(error) or is_ambiguous(error)):
                raise
            failure = error
        found, service_time = tables.found(name, row)
        # A row with our own nonce is a write of ours whose answer was lost: it is written again,
        # so that the lease counts from a time that is known.
        if found is not None and found.get("nonce") != nonce and not _is_expired(found, service_time):
            raise _held_by(name, found)
    raise failure or AssertionError("a loop that did not run")


def _exclude_other_divisions(tables: Tables, name: str, shard: Shard) -> None:
    """End the leases that ran out of runs that divide the feed otherwise. Raises LockHeld where one lives."""
    for row in tables.rows(name, f"PartitionKey eq '{LOCK}'", keys_only=True):
        other = shard_in(row["RowKey"], LOCK)
        if other is not None and other.of == shard.of:
            continue
        found, service_time = tables.found(name, row)
        if found is None:
            continue
        if not _is_expired(found, service_time):
            raise _held_by(name, found)
        try:
            delete_row(tables.client(name), row, etag_of(found))
        except HttpResponseError as error:
            if not lost_race(error):
                raise
            if status_of(error) != _GONE:
                raise _held_by(name, found) from error


def _held_by(name: str, found: TableEntity) -> LockHeld:
    return LockHeld(
        f"state: {name}: another run works on this feed ({owner_text(found)}); try again when it "
        f"has ended: nothing was done; a run that was killed keeps its lease for "
        f"{(_LEASE + _LEASE_MARGIN).total_seconds():.0f} s"
    )


def _is_expired(row: TableEntity, service_time: datetime | None) -> bool:
    """Whether the service's own clock is past the lease that was last written."""
    written = row.metadata["timestamp"]
    if written is None or service_time is None:
        return False
    return service_time - written > _LEASE + _LEASE_MARGIN
