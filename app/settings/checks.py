"""What sections of the settings must be beside one another, and beside the environment."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from app.base.program import CONFIG_VARIABLE
from app.base.text import shown
from app.settings.connection_strings import (
    DEVELOPMENT_STORAGE,
    insights_connection,
    queue_account,
    table_connection,
)
from app.settings.document import Document, Keys
from app.settings.rules import plain_text
from app.settings.scale_out import CONNECTION
from app.settings.schema import (
    FeedSettings,
    ScaleOutSettings,
    StateSettings,
    TelemetrySettings,
    WrittenScaleOut,
    WrittenState,
    WrittenTelemetry,
)
from app.settings.secret_files import SUFFIX
from app.settings.sources import SET_BY_AZURE

if TYPE_CHECKING:
    from app.settings.problems import Problems

INSIGHTS: Keys = ("telemetry", "connection_string")
_STORAGE: Keys = ("state", "connection_string")
_SCALE_OUT: Keys = ("scale_out", "by")
# How names of ours begin, beside those of feeds (PEOPLE_COUNTER_SCHEDULE).
_FAMILIES = ("MICROSHARE_", "EVENT_HUB", "EVENTHUB", "STATE_", "SCALE_OUT", "FORWARDER_")
# systemd sets it for a unit with StateDirectory=.
_OF_OTHERS = ("STATE_DIRECTORY",)


def find_unknown_variables(
    document: Document, environment: Mapping[str, str], problems: Problems, warnings: list[str]
) -> None:
    """Note names that mean one of ours which is not set; warn of others that begin like ours.

    A short name near to one of ours could be another program's, and is warned of only.
    """
    # Azure's own names (AzureWebJobsStorage__...) are many and near to one another.
    known = sorted(name for name in document.variables | {CONFIG_VARIABLE} if name.isupper())
    of_files = sorted(name + SUFFIX for name in document.secret_variables)
    families = [*_FAMILIES, *(name.removesuffix("SCHEDULE") for name in known if name.endswith("_SCHEDULE"))]
    for name in sorted(environment.keys() - {*known, *of_files, *_OF_OTHERS}):
        upper = name.upper()
        # Who wrote nothing of a file means none.
        possible = [*known, *of_files] if "FILE" in upper else known
        is_ours = upper.startswith(tuple(families))
        meant = difflib.get_close_matches(upper, possible, 1, cutoff=0.9)
        if is_ours and not meant and upper not in families:
            meant = _at_most_three(other for other in possible if other.startswith(upper))
        said = f"{name}: is not a known variable; did you mean {' or '.join(meant)}?"
        if not meant or any(other in environment for other in meant):
            if is_ours:
                warnings.append(
                    f"{name}: is not a known variable, and has no effect; {_advice(upper, possible)}"
                )
        elif meant[0].startswith(("MICROSHARE_", "EVENT_HUB_")) or meant[0].endswith("_SCHEDULE"):
            problems.note(said)
        else:
            warnings.append(said)


def _advice(name: str, known: Sequence[str]) -> str:
    """Say which variable a name that begins like ours could mean, though it may be set already."""
    begun = _at_most_three(other for other in known if other.startswith(name) or name.startswith(other))
    near = begun or difflib.get_close_matches(name, known, 1, cutoff=0.8)
    return f"did you mean {' or '.join(near)}?" if near else "remove it, or see docs/settings.md for its name"


def _at_most_three(names: Iterable[str]) -> list[str]:
    found = list(names)
    return found if len(found) <= 3 else []


def read_feeds(document: Document, problems: Problems) -> dict[str, FeedSettings]:
    """Give the feeds by their names, at least one of which is to be on."""
    entries = document.values.get("feeds", {})
    if not isinstance(entries, dict):
        return {}  # noted with the top level
    feeds = {}
    for name, entry in entries.items():
        if not (name.isidentifier() and name.islower()):
            problems.add(("feeds", name), "is not the name of a feed; write that of its module in app/feeds")
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
    if environ.get(CONNECTION) == "" and (written.account_name or written.table_url):
        warnings.append(
            f"{CONNECTION}: is empty, and the Functions host takes it for a connection string; remove it, so "
            "that the names with __ after it count"
        )
    in_files = StateSettings("json", written.directory)
    if written.store == "json":
        return in_files
    try:
        in_table = _in_table(written)
    except ValueError as error:
        problems.add(_STORAGE, str(error))
        return None
    if in_table is None and any(environ.get(name) for name in SET_BY_AZURE):
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


def read_scale_out(problems: Problems, state: StateSettings | None) -> ScaleOutSettings | None:
    """Say in how many shards feeds are run, and where the queue of these is; None where a feed is run whole.

    The queue is in the storage of the Functions host, as the state's tables are: both are named alike.
    """
    written, of_storage = (
        problems.section(WrittenScaleOut, "scale_out"),
        problems.section(WrittenState, "state"),
    )
    if written is None or written.by == "none":
        return None
    if written.shards is None:
        problems.add(
            ("scale_out", "shards"),
            "not set, and SCALE_OUT is queue; write in how many shards a feed is run, like 8",
        )
        return None
    if state is None or of_storage is None:
        return None  # noted with the state
    if state.store != "table":
        problems.add(
            _SCALE_OUT,
            "is queue, and the state is in files, which the instances that work on a feed do not share; set "
            "STATE_STORE=table",
        )
        return None
    account = f"https://{of_storage.account_name}.queue.core.windows.net" if of_storage.account_name else None
    if connection := state.table_connection_string:
        try:
            queue_account(connection)
        except ValueError as error:
            problems.add(_STORAGE, str(error))
            return None
        return ScaleOutSettings(written.shards, queue_connection_string=connection)
    if endpoint := of_storage.queue_url or account:
        return ScaleOutSettings(written.shards, queue_endpoint=endpoint)
    problems.add(
        _SCALE_OUT,
        "is queue, and nothing says where queues are; set AzureWebJobsStorage__queueServiceUri as well as "
        "AzureWebJobsStorage__tableServiceUri, or AzureWebJobsStorage__accountName",
    )
    return None


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
