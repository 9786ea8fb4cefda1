"""What may be said of a secret setting: that it is set, and where a connection string leads; never a key."""

from __future__ import annotations

from app.base.text import counted
from app.settings.connection_strings import (
    DEVELOPMENT_STORAGE,
    hub_address,
    insights_connection,
    insights_url,
    policy_of,
    table_connection,
    table_url,
)
from app.settings.document import Keys
from app.settings.json_texts import json_array
from app.settings.network import read_proxy, shown_proxy

_SET = "set"
_UNREAD = "set, and cannot be read"


def summary_of(keys: Keys, value: object) -> str:
    """Say of a secret that is set what people may know of it."""
    try:
        if keys[:2] == ("event_hubs", "others"):
            entries = json_array(value, secret=True) if isinstance(value, str) else value
            return counted(len(entries), "hub") if isinstance(entries, list) else _UNREAD
        return _of_text(keys, value) if isinstance(value, str) else _UNREAD
    except ValueError:
        return _UNREAD


def proxy_summary(url: str) -> str:
    """Say where a proxy is, without its user and password."""
    try:
        return shown_proxy(read_proxy(url))
    except ValueError:
        return _UNREAD


def signs_in_with(connection_string: str | None) -> str:
    """Say with what one signs in at a hub; without a connection string it is an identity."""
    if connection_string is None:
        return "an identity"
    policy = policy_of(connection_string)
    return f"key of policy {policy}" if policy else "a signature"


def _of_text(keys: Keys, value: str) -> str:
    if keys == ("event_hubs", "primary"):
        return f"{hub_address(value).key}, {signs_in_with(value)}"
    if keys == ("telemetry", "connection_string"):
        return insights_url(insights_connection(value))
    if keys == ("state", "connection_string"):
        connection = table_connection(value)
        if connection is None:
            return f"{_SET}, without an account and its key"
        return connection if connection == DEVELOPMENT_STORAGE else table_url(connection)
    return _SET
