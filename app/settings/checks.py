"""What sections of the settings must be beside one another, and beside the environment."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from app.base.text import shown
from app.settings.connection_strings import DEVELOPMENT_STORAGE, insights_connection, table_connection
from app.settings.document import Document, Keys
from app.settings.rules import plain_text
from app.settings.schema import FeedSettings, StateSettings, TelemetrySettings, WrittenState, WrittenTelemetry

if TYPE_CHECKING:
    from app.settings.problems import Problems

INSIGHTS: Keys = ("telemetry", "connection_string")
_STORAGE: Keys = ("state", "connection_string")
# Set in an app that runs in Azure, and not by `func start`.
_SET_BY_AZURE = ("WEBSITE_INSTANCE_ID", "WEBSITE_SITE_NAME")


def find_misspelt_variables(
    document: Document, environment: Mapping[str, str], problems: Problems, warnings: list[str]
) -> None:
    """Note names that are nearly one of ours which is not set; short ones could be another program's."""
    # Azure's own names (AzureWebJobsStorage__...) are many and near to one another.
    known = {name for name in document.variables | {"FORWARDER_CONFIG"} if name.isupper()}
    for name in sorted(environment.keys() - known):
        near = difflib.get_close_matches(name.upper(), known, 1, cutoff=0.9)
        if not near or near[0] in environment:
            continue
        message = f"{name}: is no known variable; did you mean {near[0]}?"
        if near[0].startswith(("MICROSHARE_", "EVENT_HUB_")) or near[0].endswith("_SCHEDULE"):
            problems.note(message)
        else:
            warnings.append(message)


def read_feeds(document: Document, problems: Problems) -> dict[str, FeedSettings]:
    """Give the feeds by their names, at least one of which is to be on."""
    entries = document.values.get("feeds", {})
    if not isinstance(entries, dict):
        return {}  # noted with the top level
    feeds = {}
    for name, entry in entries.items():
        if not (name.isidentifier() and name.islower()):
            problems.add(("feeds", name), "is no name of a feed; write that of its module in app/feeds")
        feed = problems.check(FeedSettings, entry, ("feeds", name))
        if feed is not None:
            feeds[name] = replace(feed, name=name)
    if not any(isinstance(entry, dict) and entry.get("view_id") for entry in entries.values()):
        views = [document.name(("feeds", name, "view_id")) for name in entries]
        problems.note(f"feeds: all are off; set {' or '.join(views) or 'one up'}")
    return feeds


def read_state(problems: Problems, environ: Mapping[str, str], warnings: list[str]) -> StateSettings | None:
    """Say which store keeps the state, which follows from the storage where nothing else is asked for."""
    written = problems.section(WrittenState, "state")
    if written is None:
        return None
    if not Path(written.directory).is_absolute():
        warnings.append(
            f"STATE_DIR: {shown(written.directory)} depends on the folder a run starts in; "
            "write the whole path"
        )
    in_files = StateSettings("json", written.directory)
    if written.store == "json":
        return in_files
    try:
        in_table = _in_table(written)
    except ValueError as error:
        problems.add(_STORAGE, str(error))
        return None
    if in_table is None and any(environ.get(name) for name in _SET_BY_AZURE):
        warnings.append(
            "STATE_STORE: the state is a file, and files are lost when Azure moves the app; set "
            "AzureWebJobsStorage__accountName or a connection string with AccountKey, or STATE_STORE=table"
        )
    return in_table or in_files


def _in_table(written: WrittenState) -> StateSettings | None:
    """Say how the table is reached; None where there is none, unless it was asked for. Raises ValueError."""
    table = StateSettings("table", written.directory)
    connection = table_connection(written.connection_string) if written.connection_string else None
    if connection is not None and connection != DEVELOPMENT_STORAGE:
        return replace(table, table_connection_string=connection)
    account = f"https://{written.account_name}.table.core.windows.net" if written.account_name else None
    if endpoint := written.table_url or account:
        return replace(table, table_endpoint=endpoint, client_id=written.client_id or None)
    if written.store == "auto":
        return None
    if connection is None:
        raise ValueError(
            "names no account with its key, and STATE_STORE is table; write a connection string with "
            "AccountName and AccountKey, or set AzureWebJobsStorage__accountName"
        )
    return replace(table, table_connection_string=connection)


def read_telemetry(problems: Problems, environ: Mapping[str, str]) -> TelemetrySettings | None:
    """Say where telemetry goes; None where it goes nowhere."""
    written = problems.section(WrittenTelemetry, "telemetry")
    if written is None or written.export == "none":
        return None
    if not written.connection_string:
        problems.add(
            INSIGHTS,
            "not set, and TELEMETRY is azure-monitor; copy the connection string of Application Insights, "
            "which begins with InstrumentationKey=, or write none there",
        )
        return None
    try:
        connection_string = insights_connection(plain_text(written.connection_string))
    except ValueError as error:
        problems.add(INSIGHTS, str(error))
        return None
    # The name under which the host's own telemetry of the app comes, too.
    return TelemetrySettings(connection_string, environ.get("WEBSITE_SITE_NAME") or "microshare-forwarder")
