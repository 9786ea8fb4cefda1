"""The run lock as a lease on a row of a table, which ends by itself with its owner."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

from azure.core import MatchConditions
from azure.core.exceptions import (
    AzureError,
    HttpResponseError,
    ResourceNotFoundError,
)
from azure.data.tables import (
    TableClient,
    TableEntity,
)

from app.state.table_calls import etag_of, lost_race, put_row

_LEASE: Final = timedelta(seconds=60)
_LEASE_MARGIN: Final = timedelta(seconds=5)
_RENEW_EVERY_S: Final = 20.0
_RENEW_AGAIN_S: Final = 2.0
# A renewal has no time for the SDK's patience: a lost one is tried again by the loop.
_RENEWAL: Final[Mapping[str, Any]] = {"retry_total": 0, "connection_timeout": 5, "read_timeout": 10}
LOCK: Final = "lock"


class TableRunLock:
    """A lease on a feed: held while its last renewal began less than 55 s ago, by either clock.

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
        condition = MatchConditions.IfNotModified
        self._table.delete_entity(LOCK, LOCK, etag=self._etag, match_condition=condition, **_RENEWAL)

    def _find_again(self) -> None:
        """Learn whether the row is another's, or ours after a renewal whose answer was lost."""
        try:
            found = self._table.get_entity(LOCK, LOCK, **_RENEWAL)
        except ResourceNotFoundError:
            self._lost = True
        except AzureError:
            return
        else:
            self._lost = found.get("nonce") != self._row["nonce"]
            self._etag = etag_of(found)


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


def is_expired(row: TableEntity, service_time: datetime | None) -> bool:
    """Whether the service's own clock is past the lease that was last written."""
    written = row.metadata["timestamp"]
    if written is None or service_time is None:
        return False
    return service_time - written > _LEASE + _LEASE_MARGIN


def owner_in(row: Mapping[str, Any]) -> str:
    return f"{row.get('owner')} on {row.get('host')}, process {row.get('pid')}, since {row.get('since')}"
