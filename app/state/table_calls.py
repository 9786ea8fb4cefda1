"""The tables of a storage account: rows written on condition, and what the service's errors mean."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from datetime import datetime
from email.utils import parsedate_to_datetime
from typing import Any, TypeVar
from urllib.parse import urlsplit

from azure.core import MatchConditions
from azure.core.exceptions import (
    AzureError,
    ClientAuthenticationError,
    HttpResponseError,
    ResourceExistsError,
    ResourceNotFoundError,
    ServiceRequestError,
    ServiceResponseError,
)
from azure.data.tables import TableClient, TableEntity, UpdateMode

from app.base.errors import StateDamaged, StateError
from app.base.text import cut_short
from app.base.unknown_host import why_unknown

_MEND = "`state import` a copy of yours; `state reset` moves it aside to start over at START_FROM"

_AS_IT_WAS = MatchConditions.IfNotModified
_Result = TypeVar("_Result")


class Tables:
    """The tables of one account, each made where it is missing; any thread may use them.

    `host` says where they are, for messages, and `by` what stands on the way there. `open_table` makes the
    client of a table. What the service refuses is the SDK's AzureError, except within `explained`.
    """

    def __init__(self, open_table: Callable[[str], TableClient], by: str = "") -> None:
        self._open_table = open_table
        self._by = by
        self._opening = threading.Lock()
        self._clients: dict[str, TableClient] = {}

    def client(self, name: str) -> TableClient:
        """Give the client of a table.

        Not TableServiceClient.get_table_client: the clients that it makes share parts of their way to
        the service (azure-data-tables 12.7), and making one breaks what others ask at that moment.
        """
        with self._opening:
            if name not in self._clients:
                self._clients[name] = self._open_table(name)
            return self._clients[name]

    def host(self, name: str) -> str:
        """Say where a table's account is."""
        endpoint = urlsplit(self.client(name).url)
        return f"{endpoint.netloc}{endpoint.path}".rstrip("/")

    def place(self, name: str) -> str:
        return f"table {name} at {self.host(name)}"

    def put(self, name: str, row: Mapping[str, Any]) -> None:
        """Write a row, whatever was there."""
        self._written(name, lambda table: table.upsert_entity(row, mode=UpdateMode.REPLACE))

    def put_if(self, name: str, row: Mapping[str, Any], etag: str | None) -> str:
        """Write the row if it still is as `etag` says, or if there is none; give its new ETag."""
        return self._written(name, lambda table: put_row(table, row, etag))

    def put_all_if(self, name: str, rows: Sequence[tuple[Mapping[str, Any], str | None]]) -> list[str]:
        """Write all rows of one partition, or none, each as `put_if` does; give their new ETags."""
        operations: list[Any] = [
            ("create", row)
            if etag is None
            else ("update", row, {"mode": UpdateMode.REPLACE, "etag": etag, "match_condition": _AS_IT_WAS})
            for row, etag in rows
        ]
        written = self._written(name, lambda table: table.submit_transaction(operations))
        return [str(one["etag"]) for one in written]

    def rows(self, name: str, condition: str = "", *, keys_only: bool = False) -> Iterator[TableEntity]:
        """Give the rows of a table in the order of their keys; none where there is no table.

        With `keys_only` there is no more in them than that, and when they were written.
        """
        table = self.client(name)
        select = ["PartitionKey", "RowKey", "Timestamp"] if keys_only else None
        with suppress(ResourceNotFoundError):
            yield from table.query_entities(condition, select=select) if condition else table.list_entities()

    def found(self, name: str, row: Mapping[str, Any]) -> tuple[TableEntity | None, datetime | None]:
        """Give the row as it is stored now, if there is one, and the service's clock at that time."""
        times: list[str] = []
        keys = row["PartitionKey"], row["RowKey"]
        try:
            found = self.client(name).get_entity(
                *keys,
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
    def explained(self, name: str) -> Iterator[None]:
        """Turn what the service or the way to it refuses into a StateError that says what to do."""
        try:
            yield
        except AzureError as error:
            raise StateError(f"state: {self.place(name)}: {explanation(error, self._by)}") from error

    @contextmanager
    def refused(self, name: str, row: Mapping[str, Any], advice: str = _MEND) -> Iterator[None]:
        """Turn what cannot be read of a row into a StateDamaged that names it."""
        try:
            yield
        except ValueError as error:
            where = f"{self.place(name)}, row {row['PartitionKey']}/{row['RowKey']}"
            raise StateDamaged(f"state: {where}: cannot be read as state: {error}; {advice}") from error

    def _written(self, name: str, write: Callable[[TableClient], _Result]) -> _Result:
        """Do `write`; where the table is missing, make it first."""
        table = self.client(name)
        try:
            return write(table)
        except ResourceNotFoundError:
            with suppress(ResourceExistsError):
                table.create_table()
            return write(table)


def put_row(table: TableClient, row: Mapping[str, Any], etag: str | None, **options: Any) -> str:
    """Write the row if it still is as `etag` says, or if there is none; give its new ETag."""
    if etag is None:
        return str(table.create_entity(row, **options)["etag"])
    condition = MatchConditions.IfNotModified
    written = table.update_entity(
        row, mode=UpdateMode.REPLACE, etag=etag, match_condition=condition, **options
    )
    return str(written["etag"])


def delete_row(table: TableClient, row: Mapping[str, Any], etag: str, **options: Any) -> None:
    """Delete the row if it still is as `etag` says."""
    condition = MatchConditions.IfNotModified
    table.delete_entity(row["PartitionKey"], row["RowKey"], etag=etag, match_condition=condition, **options)


def etag_of(row: TableEntity) -> str:
    return str(row.metadata["etag"])


def status_of(error: AzureError) -> int | None:
    return error.status_code if isinstance(error, HttpResponseError) else None


def lost_race(error: AzureError) -> bool:
    return status_of(error) in (404, 409, 412)


def is_ambiguous(error: AzureError) -> bool:
    """Whether the service may have stored what was sent, and only its answer was lost."""
    status = status_of(error)
    return isinstance(error, ServiceRequestError | ServiceResponseError) or (status or 0) >= 500


def explanation(error: AzureError, by: str = "", *, of: str = "Table") -> str:
    """Say what the service, or the way to it, refuses, and what to do; `by` names what stands on that way.

    `of` is what the service is called in Azure, `Table` or `Queue`.
    """
    status = status_of(error)
    code = getattr(error, "error_code", None)
    said = f"{status} {getattr(code, 'value', code) or getattr(error, 'reason', None) or ''}".strip()
    first_line = cut_short(str(error.message).split("\n", 1)[0], 300)
    if status in (401, 403):
        return (
            f"access refused ({said}); check the account's key in AzureWebJobsStorage, or give the managed "
            f"identity the role Storage {of} Data Contributor, and look at the account's firewall"
        )
    if isinstance(error, ClientAuthenticationError):
        return (
            f"no credentials to ask with ({first_line}); check the AccountKey in AzureWebJobsStorage, or "
            "that the managed identity is assigned to this app"
        )
    if "TableBeingDeleted" in said:
        return f"still being removed after the last time ({said}); try again in a minute"
    if status is not None and (status >= 500 or status == 429):
        return f"throttled or unavailable ({said}); the next run tries again"
    if status is not None:
        return (
            f"refused ({said}: {first_line}); check that the account of AzureWebJobsStorage has {of.lower()}s"
        )
    unknown = why_unknown(error)
    if unknown is not None:
        what = "HTTPS_PROXY and HTTP_PROXY" if by else "the name of the account in AzureWebJobsStorage"
        return f"not reached{by} (there is no such host: {unknown}); check {what}"
    between = "that proxy" if by else "the network between"
    return f"not reached{by} ({first_line}); check the name of the account, and {between}"
