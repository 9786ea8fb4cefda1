"""What a run is told: frozen, validated settings. `config.py` makes them; everybody else reads them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Literal


@dataclass(frozen=True, slots=True)
class MicroshareSettings:
    """How to reach and question the Microshare API.

    URLs have no trailing slash and may carry a path prefix; `ca_file` names the certificate
    authorities that are trusted, None the public ones. `identity` lists the organisations
    whose clusters count, each exact or trailing dot-segments, case ignored.
    """

    app_url: str
    auth_url: str
    api_url: str
    auth: Literal["web", "oauth2"]
    username: str
    password: str = field(repr=False)
    api_key: str = field(repr=False)
    identity: tuple[str, ...]
    timeout: timedelta = timedelta(seconds=60)
    attempts: int = 4
    largest_answer_bytes: int = 64 * 1024 * 1024
    ca_file: str | None = None


@dataclass(frozen=True, slots=True)
class FeedSettings:
    """One feed: what to ask of which view, and how far to read.

    `name` is the module in `app/feeds`; an empty `view_id` means that the feed is off.
    `parameters` are further placeholders of the view (category, metric). `location_names` maps
    a discovered location to its name in this feed; other names lose `location_prefix`.
    """

    name: str
    view_id: str
    data_context: tuple[str, ...]
    schedule: str
    look_back: timedelta
    parameters: Mapping[str, str] = field(default_factory=dict)
    cluster_ids: tuple[str, ...] = ()
    locations: tuple[str, ...] = ()
    location_prefix: str = ""
    location_names: Mapping[str, str] = field(default_factory=dict)
    settle: timedelta = timedelta(0)
    slice_length: timedelta = timedelta(hours=24)
    record_limit: int = 999
    late: Literal["reading", "hour"] = "reading"


@dataclass(frozen=True, slots=True)
class HubSettings:
    """One Event Hub. `key` is `host[:port]/entity`; no connection string means managed identity.

    `name` is what people call it; the key where they gave none.
    """

    key: str
    name: str
    host: str
    entity: str
    connection_string: str | None = field(default=None, repr=False)
    enabled: bool = True
    transport: Literal["amqp", "websockets"] = "amqp"
    ca_file: str | None = None


@dataclass(frozen=True, slots=True)
class StateSettings:
    """Which store keeps the state, and where. The table's fields are set for `table` only.

    Either a connection string, or the endpoint with managed identity.
    """

    store: Literal["json", "table"]
    directory: str
    table_connection_string: str | None = field(default=None, repr=False)
    table_endpoint: str | None = None
    client_id: str | None = None
    ca_file: str | None = None


@dataclass(frozen=True, slots=True)
class RunSettings:
    """The limits of one run. `start_from` is a duration back from now, or an instant."""

    start_from: timedelta | datetime = timedelta(hours=24)
    budget: timedelta = timedelta(minutes=4)
    concurrency: int = 4
    send_timeout: timedelta = timedelta(seconds=60)
    lane_bytes: int = 8 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class TelemetrySettings:
    """Where traces and metrics of runs go; `role` is what Application Insights calls the sender."""

    connection_string: str = field(repr=False)
    role: str


@dataclass(frozen=True, slots=True)
class Settings:
    """Everything a run needs. `warnings` are doubtful but usable settings, to be shown with each run.

    Without `telemetry` a run tells of itself in its log lines only.
    """

    microshare: MicroshareSettings
    feeds: Mapping[str, FeedSettings]
    hubs: tuple[HubSettings, ...]
    state: StateSettings
    run: RunSettings
    log_level: str = "INFO"
    log_format: Literal["json", "text"] = "json"
    telemetry: TelemetrySettings | None = None
    warnings: tuple[str, ...] = ()
