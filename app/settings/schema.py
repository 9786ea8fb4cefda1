"""The settings: each with its default and with the rule for what may be written. Frozen.

A section whose class says so is read from config.yaml as it stands here; the rules in its types are
applied by `problems.py`. The other classes are what `loading.py` makes of what is written.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Annotated, Any, Literal

from app.base.instants import DAY, HOUR
from app.base.shards import MOST_SHARDS
from app.base.wire_forms import PLAIN, Body, PropertyValue, WireForm
from app.settings import rules
from app.settings.rules import Checks, Reads, between, needed, texts, whole

Text = Annotated[str, Reads(rules.plain_text)]
Word = Annotated[str, Reads(rules.word)]
Url = Annotated[str, Reads(rules.base_url)]
Names = Annotated[Mapping[str, str], Reads(rules.names)]
Given = Annotated[str | None, Reads(rules.plain_text)]
GivenBody = Annotated[Body | None, Reads(rules.lower)]
GivenProperties = Annotated[Mapping[str, PropertyValue] | None, Reads(rules.static_properties)]
Transport = Annotated[Literal["amqp", "websockets"], Reads(rules.lower)]

# For a field that is checked beside others even where it is not written.
_CHECKED = {"checked": True}


@dataclass(frozen=True, slots=True)
class Written:
    """A section of config.yaml. A key that is none of its fields is refused."""


@dataclass(frozen=True, slots=True)
class Proxy:
    """A proxy for HTTP, which takes CONNECT; `scheme` is how it is spoken to itself, http or https."""

    scheme: str
    host: str
    port: int
    user: str = field(default="", repr=False)
    password: str = field(default="", repr=False)


@dataclass(frozen=True, slots=True)
class NetworkSettings:
    """The one way to the network that all parts take: the API, hubs, tables and telemetry.

    `https_proxy` stands before what is reached over TLS, `http_proxy` before the rest, and neither
    before a host of `no_proxy`. `ca_file` names the certificate authorities that are trusted, None the
    public ones. `client_id` is that of a user-assigned identity; `in_azure` says that this host has a
    managed identity, and nobody else's login counts.
    """

    https_proxy: Proxy | None = None
    http_proxy: Proxy | None = None
    no_proxy: tuple[str, ...] = ()
    ca_file: str | None = None
    client_id: str | None = None
    in_azure: bool = False


DIRECT = NetworkSettings()


@dataclass(frozen=True, slots=True, kw_only=True)
class MicroshareSettings(Written):
    """How to reach and question the Microshare API.

    `oauth2_form` is where the password grant has its parameters: the body, or the URL.
    URLs have no trailing slash and may carry a path prefix. `identity` lists the organisations
    whose clusters count, each whole or its trailing dot-segments, case ignored; after `=` exactly one.
    """

    username: Annotated[Text, needed("write the user name of the Microshare account")]
    password: Annotated[Text, needed("write the password of the Microshare account")] = field(repr=False)
    auth: Annotated[Literal["web", "oauth2"], Reads(rules.lower)] = "web"
    oauth2_form: Annotated[Literal["body", "query"], Reads(rules.lower)] = "body"
    api_key: Annotated[Text, Checks(rules.key_for_oauth2)] = field(default="", repr=False, metadata=_CHECKED)
    app_url: Url = "https://app.microshare.io"
    auth_url: Url = "https://auth.microshare.io"
    api_url: Url = "https://api.microshare.io"
    identity: Annotated[
        tuple[str, ...],
        texts("an organisation", one=True),
        needed("write the organisation whose clusters count, like com.example.NORTH"),
        Checks(rules.whole_segments),
    ]
    timeout: Annotated[timedelta, between("1s", "10m")] = timedelta(seconds=60)
    attempts: Annotated[int, whole(1, 10)] = 4
    largest_answer_bytes: Annotated[int, whole(65_536, 2**30)] = 3 * 1024 * 1024
    network: Annotated[NetworkSettings, rules.UNWRITTEN] = DIRECT


@dataclass(frozen=True, slots=True, kw_only=True)
class FeedSettings(Written):
    """One feed: what to ask of which view, and how far to read.

    `name` is the module in `app/feeds`; an empty `view_id` means that the feed is off.
    `parameters` are further placeholders of the view (category, metric). `location_names` maps
    a discovered location to its name in this feed; other names lose `location_prefix`. `ping_url` is
    where a monitor is told of each run, a secret.
    """

    name: Annotated[str, rules.UNWRITTEN] = ""
    view_id: Word = ""
    schedule: Annotated[str, Reads(rules.schedule), needed("write six fields, like '0 */15 * * * *'")]
    data_context: Annotated[
        tuple[str, ...], texts("a tag", one=True), Checks(rules.context_of_a_feed_that_is_on)
    ] = field(default=(), metadata=_CHECKED)
    parameters: Annotated[Names, Checks(rules.further_parameters_only)] = field(default_factory=dict)
    locations: Annotated[tuple[str, ...], texts("a location", one=False)] = ()
    cluster_ids: Annotated[
        tuple[Word, ...], texts("a cluster id", one=True), Checks(rules.somewhere_to_ask)
    ] = field(default=(), metadata=_CHECKED)
    location_prefix: str = ""
    location_names: Annotated[Names, Reads(rules.names_in_view)] = field(default_factory=dict)
    look_back: Annotated[timedelta, between("0s", "7d")] = HOUR
    settle: Annotated[timedelta, between("0s", "24h")] = timedelta(0)
    slice_length: Annotated[timedelta, between("1m", "24h")] = DAY
    record_limit: Annotated[int, whole(10, 1_000_000)] = 999
    late: Annotated[Literal["reading", "hour"], Reads(rules.lower)] = "reading"
    ping_url: Annotated[str, Reads(rules.secret_url)] = field(default="", repr=False)


@dataclass(frozen=True, slots=True)
class HubSettings:
    """One Event Hub. `key` is `host[:port]/entity`; no connection string means managed identity.

    `name` is what people call it; the key where they gave none. `form` is how events go there.
    """

    key: str
    name: str
    host: str
    entity: str
    connection_string: str | None = field(default=None, repr=False)
    enabled: bool = True
    transport: Literal["amqp", "websockets"] = "amqp"
    network: NetworkSettings = DIRECT
    form: WireForm = PLAIN


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
    network: NetworkSettings = DIRECT


@dataclass(frozen=True, slots=True)
class RunSettings(Written):
    """The limits of one run. `start_from` is a duration back from now, or an instant."""

    start_from: Annotated[timedelta | datetime, Reads(rules.start)] = DAY
    budget: Annotated[timedelta, between("10s", "1h")] = timedelta(minutes=4)
    concurrency: Annotated[int, whole(1, 32)] = 4
    send_timeout: Annotated[timedelta, between("1s", "10m")] = timedelta(seconds=60)
    lane_bytes: Annotated[int, whole(2**20, 2**28)] = 8 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class ScaleOutSettings:
    """Each feed is run in so many shards, which Azure takes from a storage queue.

    The queue is reached by a connection string, or else at the endpoint with managed identity.
    """

    shards: int
    queue_connection_string: str | None = field(default=None, repr=False)
    queue_endpoint: str | None = None
    network: NetworkSettings = DIRECT


@dataclass(frozen=True, slots=True)
class TelemetrySettings:
    """Where traces and metrics of runs go; `role` is what Application Insights calls the sender.

    `by_identity`: the identity signs in there, the instrumentation key alone is not enough.
    """

    connection_string: str = field(repr=False)
    role: str
    network: NetworkSettings = DIRECT
    by_identity: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class LogSettings(Written):
    """How log lines are written."""

    log_level: Annotated[Literal["DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL"], Reads(rules.upper)] = (
        "INFO"
    )
    log_format: Annotated[Literal["json", "text"], Reads(rules.lower)] = "json"


@dataclass(frozen=True, slots=True)
class Settings(LogSettings):
    """Everything a run needs. `warnings` are doubtful but usable settings, to be shown with each run.

    Without `telemetry` a run tells of itself in its log lines only. Without `scale_out` a timer runs its
    feed itself, as a whole.
    """

    microshare: MicroshareSettings
    feeds: Mapping[str, FeedSettings]
    hubs: tuple[HubSettings, ...]
    state: StateSettings
    run: RunSettings
    telemetry: TelemetrySettings | None = None
    scale_out: ScaleOutSettings | None = None
    warnings: tuple[str, ...] = ()

    @property
    def hub_names(self) -> Mapping[str, str]:
        """Give what people call the hubs, by their keys."""
        return {hub.key: hub.name for hub in self.hubs}


# --- sections that are written otherwise than they are used ------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class WrittenForm(Written):
    """How events go to a hub, as far as it is written."""

    body: GivenBody = None
    properties: GivenProperties = None


@dataclass(frozen=True, slots=True, kw_only=True)
class WrittenHub(WrittenForm):
    """A hub that is written as an object."""

    name: Given = None
    connection_string: Given = field(default=None, repr=False)
    namespace: Given = None
    event_hub: Given = None
    enabled: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class WrittenHubs(Written):
    """`event_hubs:` of config.yaml; the hubs themselves are read entry by entry."""

    primary: Any = field(default="", repr=False)
    others: Any = field(default=(), repr=False)
    names: Names = field(default_factory=dict)
    bodies: Annotated[Mapping[str, Any], Reads(rules.mapping)] = field(default_factory=dict)
    transport: Transport = "amqp"
    trusted_suffixes: Annotated[tuple[str, ...], texts("a suffix of host names", one=True)] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class WrittenState(Written):
    """`state:` of config.yaml."""

    store: Annotated[Literal["auto", "json", "table"], Reads(rules.lower)] = "auto"
    directory: Annotated[Text, needed("write it")] = "/var/lib/microshare-forwarder"
    connection_string: Text = field(default="", repr=False)
    account_name: Annotated[str, Reads(rules.account_name)] = ""
    table_url: Annotated[str, Reads(rules.url_or_nothing)] = ""
    queue_url: Annotated[str, Reads(rules.url_or_nothing)] = ""
    client_id: Word = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class WrittenScaleOut(Written):
    """`scale_out:` of config.yaml."""

    by: Annotated[Literal["none", "queue"], Reads(rules.lower)] = "none"
    shards: Annotated[int | None, whole(2, MOST_SHARDS)] = None


@dataclass(frozen=True, slots=True, kw_only=True)
class WrittenTelemetry(Written):
    """`telemetry:` of config.yaml; the connection string is read only where it is used."""

    export: Annotated[Literal["none", "azure-monitor"], Reads(rules.lower)] = "none"
    connection_string: Any = field(default="", repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class WrittenFile(LogSettings):
    """The top level of config.yaml, its sections unread."""

    microshare: dict[str, Any] = field(default_factory=dict, repr=False)
    feeds: dict[str, Any] = field(default_factory=dict)
    event_hubs: dict[str, Any] = field(default_factory=dict, repr=False)
    state: dict[str, Any] = field(default_factory=dict, repr=False)
    run: dict[str, Any] = field(default_factory=dict)
    scale_out: dict[str, Any] = field(default_factory=dict)
    telemetry: dict[str, Any] = field(default_factory=dict, repr=False)
    ca_file: Annotated[str | None, Reads(rules.authorities)] = None
