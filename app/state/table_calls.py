"""A row written on condition that it still is as it was read, and what the service's errors mean."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from azure.core import MatchConditions
from azure.core.exceptions import (
    AzureError,
    ClientAuthenticationError,
    HttpResponseError,
    ServiceRequestError,
    ServiceResponseError,
)
from azure.data.tables import (
    TableClient,
    TableEntity,
    UpdateMode,
)


def put_row(table: TableClient, row: Mapping[str, Any], etag: str | None, **options: Any) -> str:
    """Write the row if it still is as `etag` says, or if there is none; give its new ETag."""
    if etag is None:
        return str(table.create_entity(row, **options)["etag"])
    condition = MatchConditions.IfNotModified
    written = table.update_entity(
        row, mode=UpdateMode.REPLACE, etag=etag, match_condition=condition, **options
    )
    return str(written["etag"])


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


def explanation(error: AzureError) -> str:
    status = status_of(error)
    code = getattr(error, "error_code", None)
    said = f"{status} {getattr(code, 'value', code) or getattr(error, 'reason', None) or ''}".strip()
    first_line = str(error.message).split("\n", 1)[0][:300]
    if status in (401, 403):
        return (
            f"access refused ({said}); check the account's key in AzureWebJobsStorage, or give the managed "
            "identity the role Storage Table Data Contributor, and look at the account's firewall"
        )
    if isinstance(error, ClientAuthenticationError):
        return (
            f"no credentials to ask with ({first_line}); check the AccountKey in AzureWebJobsStorage, or "
            "that the managed identity is assigned to this app"
        )
    if "TableBeingDeleted" in said:
        return f"still being removed after the last time ({said}); try again in a minute"
    if status is not None and (status >= 500 or status == 429):
        return f"throttled or out of order ({said}); nothing to do, the next run tries again"
    if status is not None:
        return f"refused ({said}: {first_line}); check that the account of AzureWebJobsStorage has tables"
    return f"not reached ({first_line}); check the name of the account, and the network between"
