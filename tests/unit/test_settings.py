from __future__ import annotations

import base64
import json
import os
import re
import stat
from collections.abc import Callable, Mapping
from copy import deepcopy
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import quote

import certifi
import pytest
import yaml

from app.base.errors import SettingsError
from app.base.program import APP_ROOT
from app.base.redaction import redact
from app.base.wire_forms import WireForm
from app.settings.loading import load_settings
from app.settings.schedules import schedule
from app.settings.schema import (
    FeedSettings,
    HubSettings,
    MicroshareSettings,
    RunSettings,
    ScaleOutSettings,
    Settings,
    StateSettings,
)
from tests.commands import FEEDS, variables_of

HUB_A = "Endpoint=sb://a.example.test/;SharedAccessKeyName=send;SharedAccessKey=canary-hub-key-a=;EntityPath=counts"
HUB_B = "Endpoint=sb://b.example.test/;SharedAccessKeyName=send;SharedAccessKey=canary-hub-key-b=;EntityPath=counts"
AZURITE_KEY = "Q2FuYXJ5QWNjb3VudEtleQ=="
INSIGHTS_KEY = "0bad0bad-0000-4000-8000-0000000fa15e"
INSIGHTS = f"InstrumentationKey={INSIGHTS_KEY};IngestionEndpoint=https://insights.example.test/"
STORAGE = f"DefaultEndpointsProtocol=https;AccountName=examplestate;AccountKey={AZURITE_KEY}"
AZURITE = (
    f"AccountName=devstoreaccount1;AccountKey={AZURITE_KEY};"
    "TableEndpoint=http://127.0.0.1:10002/devstoreaccount1"
)
MINIMAL = {
    "MICROSHARE_USERNAME": "svc@example.test",
    "MICROSHARE_PASSWORD": "canary-password",
    "MICROSHARE_IDENTITY": "com.example.NORTH",
    "MICROSHARE_PC_DEVICE_CLUSTER_ID": "aaaaaaaaaaaaaaaaaaaaaa01",
    "MICROSHARE_PC_DASHBOARD_VIEW_ID": "ffffffffffffffffffffff0a",
    "EVENT_HUB_CONNECTION_STRING": HUB_A,
}
SNAPSHOT = {
    "MICROSHARE_SNAPSHOT_DASHBOARD_VIEW_ID": "ffffffffffffffffffffff0b",
    "MICROSHARE_SNAPSHOT_DATA_CONTEXT": '["room"]',
}
# The feeds whose settings are followed here; what further ones have beside theirs stands in their entries.
FOLLOWED = ("people_counter", "hourly_snapshot")
OF_FURTHER_FEEDS = {name for feed in FEEDS if feed not in FOLLOWED for name in variables_of(feed)}
# Every variable that the documentation lists.
DOCUMENTED = [
    "MICROSHARE_USERNAME",
    "MICROSHARE_PASSWORD",
    "MICROSHARE_API_KEY",
    "MICROSHARE_AUTH",
    "MICROSHARE_APP_URL",
    "MICROSHARE_AUTH_URL",
    "MICROSHARE_API_URL",
    "MICROSHARE_IDENTITY",
    "MICROSHARE_PC_DEVICE_CLUSTER_ID",
    "MICROSHARE_PC_DASHBOARD_VIEW_ID",
    "MICROSHARE_PC_DATA_CONTEXT",
    "MICROSHARE_SNAPSHOT_DASHBOARD_VIEW_ID",
    "MICROSHARE_SNAPSHOT_DATA_CONTEXT",
    "MICROSHARE_SNAPSHOT_CATEGORY",
    "MICROSHARE_SNAPSHOT_METRIC",
    "MICROSHARE_DATA_CONTEXT",
    "MICROSHARE_LOCATIONS",
    "MICROSHARE_LOCATION_PREFIX",
    "EVENT_HUB_CONNECTION_STRING",
    "EVENT_HUB_CONNECTION_STRINGS",
    "EVENT_HUB_TRANSPORT",
    "STATE_STORE",
    "STATE_DIR",
    "START_FROM",
    "PEOPLE_COUNTER_SCHEDULE",
    "HOURLY_SNAPSHOT_SCHEDULE",
    "PEOPLE_COUNTER_PING_URL",
    "HOURLY_SNAPSHOT_PING_URL",
    "REQUESTS_CA_BUNDLE",
    "LOG_LEVEL",
    "LOG_FORMAT",
    "TELEMETRY",
    "APPLICATIONINSIGHTS_CONNECTION_STRING",
    "AzureWebJobsStorage",
    "AzureWebJobsStorage__accountName",
    "AzureWebJobsStorage__tableServiceUri",
    "AzureWebJobsStorage__queueServiceUri",
    "AzureWebJobsStorage__clientId",
    "SCALE_OUT",
    "SCALE_OUT_SHARDS",
]

SHIPPED = yaml.safe_load((APP_ROOT / "config.yaml").read_text())
# The one in C takes a tenth of the time.
Dumper = getattr(yaml, "CSafeDumper", yaml.SafeDumper)

Load = Callable[..., Settings]
Problems = Callable[..., list[str]]


@pytest.fixture
def load(tmp_path: Path) -> Load:
    """Load the shipped config.yaml, the followed feeds of it, with the minimal environment, as changed."""

    def load(
        environ: Mapping[str, str] | None = None, config: Mapping[str, Any] | None = None, dotenv: str = ""
    ) -> Settings:
        written = deepcopy(SHIPPED)
        written["feeds"] = {name: written["feeds"][name] for name in FOLLOWED}
        for dotted, value in (config or {}).items():
            *sections, key = dotted.split("/")
            section = written
            for name in sections:
                section = section.setdefault(name, {})
            section[key] = value
        config_file = tmp_path / "config.yaml"
        config_file.write_text(yaml.dump(written, Dumper=Dumper, allow_unicode=True, sort_keys=False))
        (tmp_path / ".env").write_bytes(dotenv.encode())
        return load_settings(MINIMAL | dict(environ or {}), config_file=config_file)

    return load


@pytest.fixture
def problems(load: Load) -> Problems:
    """Give what is refused, an empty list where nothing is."""

    def problems(
        environ: Mapping[str, str] | None = None, config: Mapping[str, Any] | None = None, dotenv: str = ""
    ) -> list[str]:
        try:
            load(environ, config, dotenv)
        except SettingsError as error:
            return list(error.problems)
        return []

    return problems


def hubs_of(settings: Settings) -> list[tuple[str, str, bool]]:
    return [(hub.key, hub.name, hub.enabled) for hub in settings.hubs]


# --- what is read ---------------------------------------------------------------------------------


def test_a_minimal_environment_gives_all_defaults(load: Load) -> None:
    people = FeedSettings(
        name="people_counter",
        view_id="ffffffffffffffffffffff0a",
        data_context=("people",),
        schedule="0 */15 * * * *",
        look_back=timedelta(hours=1),
        cluster_ids=("aaaaaaaaaaaaaaaaaaaaaa01",),
    )
    snapshot = FeedSettings(
        name="hourly_snapshot",
        view_id="",
        data_context=(),
        schedule="0 0 * * * *",
        look_back=timedelta(hours=6),
        parameters={"category": "space", "metric": "occupancy"},
        cluster_ids=("aaaaaaaaaaaaaaaaaaaaaa01",),
    )

    settings = load()

    assert settings == Settings(
        microshare=MicroshareSettings(
            app_url="https://app.microshare.io",
            auth_url="https://auth.microshare.io",
            api_url="https://api.microshare.io",
            auth="web",
            username="svc@example.test",
            password="canary-password",
            api_key="",
            identity=("com.example.NORTH",),
        ),
        feeds={"people_counter": people, "hourly_snapshot": snapshot},
        hubs=(HubSettings("a.example.test/counts", "primary", "a.example.test", "counts", HUB_A),),
        state=StateSettings("json", "/var/lib/microshare-forwarder"),
        run=RunSettings(),
    )


EFFECTS: dict[str, tuple[str, Callable[[Settings], object], object]] = {
    "MICROSHARE_USERNAME": ("other@example.test", lambda s: s.microshare.username, "other@example.test"),
    "MICROSHARE_PASSWORD": ("canary-other", lambda s: s.microshare.password, "canary-other"),
    "MICROSHARE_API_KEY": ("canary-api-key", lambda s: s.microshare.api_key, "canary-api-key"),
    "MICROSHARE_AUTH": ("OAuth2", lambda s: s.microshare.auth, "oauth2"),
    "MICROSHARE_APP_URL": ("https://x.test/app/", lambda s: s.microshare.app_url, "https://x.test/app"),
    "MICROSHARE_AUTH_URL": ("http://127.0.0.1:81", lambda s: s.microshare.auth_url, "http://127.0.0.1:81"),
    "MICROSHARE_API_URL": ("http://[::1]:81/api", lambda s: s.microshare.api_url, "http://[::1]:81/api"),
    "MICROSHARE_IDENTITY": ('["NORTH","=a.SOUTH"]', lambda s: s.microshare.identity, ("NORTH", "=a.SOUTH")),
    "MICROSHARE_PC_DEVICE_CLUSTER_ID": (
        '["c1","c2"]',
        lambda s: [feed.cluster_ids for feed in s.feeds.values()],
        [("c1", "c2"), ("c1", "c2")],
    ),
    "MICROSHARE_PC_DASHBOARD_VIEW_ID": ("v", lambda s: s.feeds["people_counter"].view_id, "v"),
    "MICROSHARE_PC_DATA_CONTEXT": (
        '["people","door"]',
        lambda s: s.feeds["people_counter"].data_context,
        ("people", "door"),
    ),
    "MICROSHARE_SNAPSHOT_DASHBOARD_VIEW_ID": ("v2", lambda s: s.feeds["hourly_snapshot"].view_id, "v2"),
    "MICROSHARE_SNAPSHOT_DATA_CONTEXT": (
        "room",
        lambda s: s.feeds["hourly_snapshot"].data_context,
        ("room",),
    ),
    "MICROSHARE_SNAPSHOT_CATEGORY": (
        "device",
        lambda s: s.feeds["hourly_snapshot"].parameters,
        {"category": "device", "metric": "occupancy"},
    ),
    "MICROSHARE_SNAPSHOT_METRIC": (
        "rssi",
        lambda s: s.feeds["hourly_snapshot"].parameters,
        {"category": "space", "metric": "rssi"},
    ),
    "MICROSHARE_DATA_CONTEXT": (
        "shared",
        lambda s: [feed.data_context for feed in s.feeds.values()],
        [("shared",), ("shared",)],
    ),
    "MICROSHARE_LOCATIONS": (
        '["Beacon House","Été"]',
        lambda s: [feed.locations for feed in s.feeds.values()],
        [("Beacon House", "Été"), ("Beacon House", "Été")],
    ),
    "MICROSHARE_LOCATION_PREFIX": (
        "Example ",
        lambda s: [feed.location_prefix for feed in s.feeds.values()],
        ["", "Example "],
    ),
    "EVENT_HUB_CONNECTION_STRING": (
        HUB_B,
        lambda s: s.hubs,
        (HubSettings("b.example.test/counts", "primary", "b.example.test", "counts", HUB_B),),
    ),
    "EVENT_HUB_CONNECTION_STRINGS": (
        json.dumps([HUB_B]),
        hubs_of,
        [
            ("a.example.test/counts", "primary", True),
            ("b.example.test/counts", "b.example.test/counts", True),
        ],
    ),
    "EVENT_HUB_TRANSPORT": ("websockets", lambda s: s.hubs[0].transport, "websockets"),
    "STATE_STORE": ("json", lambda s: s.state.store, "json"),
    "STATE_DIR": ("/srv/state", lambda s: s.state.directory, "/srv/state"),
    "START_FROM": ("2d", lambda s: s.run.start_from, timedelta(days=2)),
    "PEOPLE_COUNTER_SCHEDULE": ("0 1 * * * *", lambda s: s.feeds["people_counter"].schedule, "0 1 * * * *"),
    "HOURLY_SNAPSHOT_SCHEDULE": ("0 2 * * * *", lambda s: s.feeds["hourly_snapshot"].schedule, "0 2 * * * *"),
    "PEOPLE_COUNTER_PING_URL": (
        "https://hc.example.test/canary-id/",
        lambda s: [feed.ping_url for feed in s.feeds.values()],
        ["https://hc.example.test/canary-id", ""],
    ),
    "HOURLY_SNAPSHOT_PING_URL": (
        "http://127.0.0.1:8000/canary-id",
        lambda s: [feed.ping_url for feed in s.feeds.values()],
        ["", "http://127.0.0.1:8000/canary-id"],
    ),
    "REQUESTS_CA_BUNDLE": (
        certifi.where(),
        lambda s: {part.network.ca_file for part in (s.microshare, s.hubs[0], s.state)},
        {certifi.where()},
    ),
    "LOG_LEVEL": ("debug", lambda s: s.log_level, "DEBUG"),
    "LOG_FORMAT": ("Text", lambda s: s.log_format, "text"),
    "TELEMETRY": ("none", lambda s: s.telemetry, None),
    "APPLICATIONINSIGHTS_CONNECTION_STRING": (
        INSIGHTS.upper(),
        lambda s: s.telemetry and s.telemetry.connection_string.lower(),
        INSIGHTS.lower(),
    ),
    "AzureWebJobsStorage": (STORAGE, lambda s: s.state.table_connection_string, STORAGE),
    "AzureWebJobsStorage__accountName": (
        "examplestate",
        lambda s: s.state.table_endpoint,
        "https://examplestate.table.core.windows.net",
    ),
    "AzureWebJobsStorage__tableServiceUri": (
        "https://examplestate.table.core.windows.net/",
        lambda s: s.state.table_endpoint,
        "https://examplestate.table.core.windows.net",
    ),
    "AzureWebJobsStorage__queueServiceUri": (
        "https://examplestate.queue.core.windows.net/",
        lambda s: s.scale_out and s.scale_out.queue_endpoint,
        "https://examplestate.queue.core.windows.net",
    ),
    "SCALE_OUT": ("None", lambda s: s.scale_out, None),
    "SCALE_OUT_SHARDS": ("16", lambda s: s.scale_out and s.scale_out.shards, 16),
}
# What others of them need beside themselves.
NEEDED = {
    "AzureWebJobsStorage__queueServiceUri": {
        "SCALE_OUT": "queue",
        "SCALE_OUT_SHARDS": "8",
        "AzureWebJobsStorage__tableServiceUri": "https://examplestate.table.core.windows.net",
    },
    "SCALE_OUT": {"SCALE_OUT_SHARDS": "8", "AzureWebJobsStorage": STORAGE},
    "SCALE_OUT_SHARDS": {"SCALE_OUT": "queue", "AzureWebJobsStorage": STORAGE},
}


@pytest.mark.parametrize("variable", EFFECTS)
def test_a_documented_variable_has_its_effect(load: Load, variable: str) -> None:
    value, effect, expected = EFFECTS[variable]
    needed = {
        "MICROSHARE_API_KEY": "canary-key",
        "MICROSHARE_SNAPSHOT_DATA_CONTEXT": "own",
        "TELEMETRY": "azure-monitor",
        "APPLICATIONINSIGHTS_CONNECTION_STRING": INSIGHTS,
    } | NEEDED.get(variable, {})
    if variable == "MICROSHARE_DATA_CONTEXT":
        del needed["MICROSHARE_SNAPSHOT_DATA_CONTEXT"]

    assert effect(load(needed | {variable: value})) == expected


def test_the_effect_of_every_documented_variable_is_tested() -> None:
    assert {*EFFECTS, "AzureWebJobsStorage__clientId"} == set(DOCUMENTED)


def test_every_documented_variable_stands_in_config_yaml_and_no_other() -> None:
    in_file = set(re.findall(r"\$\{(\w+)", (APP_ROOT / "config.yaml").read_text())) - {"NAME"}

    assert in_file == {*DOCUMENTED, *OF_FURTHER_FEEDS}


def test_the_example_env_file_names_every_documented_variable() -> None:
    named = set(re.findall(r"(?m)^#?([A-Za-z_]+)=", (APP_ROOT / ".env.example").read_text()))

    assert named == {*DOCUMENTED, *OF_FURTHER_FEEDS, "FORWARDER_CONFIG"}


def test_the_example_local_settings_are_texts_the_host_can_read() -> None:
    example = json.loads((APP_ROOT / "local.settings.json.example").read_text())

    assert example["IsEncrypted"] is False
    assert {type(value) for value in example["Values"].values()} == {str}
    assert {
        name for name in {*DOCUMENTED, *OF_FURTHER_FEEDS} if not name.startswith("AzureWebJobsStorage__")
    } <= set(example["Values"])
    assert example["Values"]["FUNCTIONS_WORKER_RUNTIME"] == "python"
    assert example["Values"]["AzureWebJobsStorage"] == "UseDevelopmentStorage=true"


@pytest.mark.parametrize("example", [".env.example", "local.settings.json.example"])
def test_an_example_file_left_as_it_is_is_refused_placeholder_by_placeholder(
    example: str, tmp_path: Path
) -> None:
    environ = {}
    if example.endswith(".json.example"):
        environ = json.loads((APP_ROOT / example).read_text())["Values"]
        dotenv = tmp_path / "none"
    else:
        dotenv = APP_ROOT / example

    with pytest.raises(SettingsError) as refused:
        load_settings(environ, dotenv=dotenv)

    named = {problem.partition(":")[0] for problem in refused.value.problems}
    assert set(MINIMAL) <= named
    assert all("placeholder" in problem for problem in refused.value.problems)


@pytest.mark.parametrize(
    "password",
    [
        "[canary",
        "{canary",
        "canary#1",
        "canary $HOME",
        "canary${HOME}",
        "canary&%40",
        '["canary"]',
        "12345678",
    ],
    ids=["bracket", "brace", "hash", "dollar", "dollar brace", "percent", "json", "digits"],
)
def test_a_password_is_taken_literally(load: Load, password: str) -> None:
    in_environment = load({"MICROSHARE_PASSWORD": password})
    in_file = load({"MICROSHARE_PASSWORD": ""}, dotenv=f"MICROSHARE_PASSWORD='{password}'\n")

    assert [in_environment.microshare.password, in_file.microshare.password] == [password, password]


def test_the_environment_wins_over_the_env_file_unless_it_is_empty(load: Load) -> None:
    dotenv = "\ufeffMICROSHARE_USERNAME=file@example.test\nLOG_LEVEL=ERROR\nSTART_FROM=2h\n"

    settings = load({"LOG_LEVEL": "DEBUG", "START_FROM": ""}, dotenv=dotenv)

    assert settings.microshare.username == "svc@example.test"
    assert (settings.log_level, settings.run.start_from) == ("DEBUG", timedelta(hours=2))


def test_reading_settings_leaves_the_environment_as_it_was(load: Load) -> None:
    before = dict(os.environ)

    load(dotenv="MICROSHARE_API_KEY=canary-from-file\n")

    assert dict(os.environ) == before


def test_forwarder_config_names_another_file_with_its_own_env_file(tmp_path: Path) -> None:
    other = tmp_path / "other.yaml"
    other.write_text((APP_ROOT / "config.yaml").read_text().replace("concurrency: 4", "concurrency: 7"))
    (tmp_path / ".env").write_text("LOG_LEVEL=ERROR\n")

    settings = load_settings(MINIMAL | {"FORWARDER_CONFIG": str(other)})

    assert (settings.run.concurrency, settings.log_level) == (7, "ERROR")


def test_numbers_and_durations_of_config_yaml_reach_the_settings(load: Load) -> None:
    settings = load(
        config={
            "microshare/timeout": "90s",
            "microshare/attempts": 2,
            "microshare/largest_answer_bytes": 1_000_000,
            "run/budget": "8m",
            "run/concurrency": "2",
            "run/send_timeout": "20s",
            "run/lane_bytes": 2_000_000,
            "feeds/hourly_snapshot/settle": "5m",
            "feeds/hourly_snapshot/slice_length": "6h",
            "feeds/hourly_snapshot/record_limit": 500,
            "feeds/hourly_snapshot/look_back": "2d",
            "feeds/hourly_snapshot/late": "hour",
            "feeds/hourly_snapshot/location_names": {"Example Été": "Été"},
        }
    )

    assert settings.run == RunSettings(
        budget=timedelta(minutes=8), concurrency=2, send_timeout=timedelta(seconds=20), lane_bytes=2_000_000
    )
    assert settings.microshare.timeout == timedelta(seconds=90)
    assert (settings.microshare.attempts, settings.microshare.largest_answer_bytes) == (2, 1_000_000)
    assert settings.feeds["hourly_snapshot"] == FeedSettings(
        name="hourly_snapshot",
        view_id="",
        data_context=(),
        schedule="0 0 * * * *",
        look_back=timedelta(days=2),
        parameters={"category": "space", "metric": "occupancy"},
        cluster_ids=("aaaaaaaaaaaaaaaaaaaaaa01",),
        location_names={"Example Été": "Été"},
        settle=timedelta(minutes=5),
        slice_length=timedelta(hours=6),
        record_limit=500,
        late="hour",
    )


def test_a_third_feed_is_one_entry(load: Load) -> None:
    entry = {
        "schedule": "${ROOM_MOTION_SCHEDULE:-0 */5 * * * *}",
        "view_id": "${ROOM_MOTION_VIEW_ID:-v3}",
        "data_context": ["room", "motion"],
        "cluster_ids": "${MICROSHARE_PC_DEVICE_CLUSTER_ID:-}",
    }

    settings = load({"ROOM_MOTION_SCHEDULE": "30 * * * * *"}, {"feeds/room_motion": entry})

    assert settings.feeds["room_motion"] == FeedSettings(
        name="room_motion",
        view_id="v3",
        data_context=("room", "motion"),
        schedule="30 * * * * *",
        look_back=timedelta(hours=1),
        cluster_ids=("aaaaaaaaaaaaaaaaaaaaaa01",),
    )


def test_a_feeds_own_data_context_goes_before_the_shared_one(load: Load) -> None:
    settings = load(SNAPSHOT | {"MICROSHARE_DATA_CONTEXT": "shared"})

    assert [feed.data_context for feed in settings.feeds.values()] == [("shared",), ("room",)]


def test_locations_alone_are_enough_to_ask_for(load: Load) -> None:
    settings = load({"MICROSHARE_PC_DEVICE_CLUSTER_ID": "", "MICROSHARE_LOCATIONS": '["Beacon House"]'})

    assert settings.feeds["people_counter"].locations == ("Beacon House",)


@pytest.mark.parametrize(
    ("written", "start"),
    [
        ("36h", timedelta(hours=36)),
        ("0s", timedelta(0)),
        ("2026-03-01T10:00:00", datetime(2026, 3, 1, 10, tzinfo=UTC)),
        ("2026-03-01T10:00:00+02:00", datetime(2026, 3, 1, 8, tzinfo=UTC)),
        ("2026-03-01", datetime(2026, 3, 1, tzinfo=UTC)),
    ],
    ids=["duration", "now", "no zone is UTC", "zone", "date"],
)
def test_start_from_is_a_duration_or_a_time(load: Load, written: str, start: timedelta | datetime) -> None:
    assert load({"START_FROM": written}).run.start_from == start


# --- hubs -----------------------------------------------------------------------------------------


def test_hubs_are_read_in_every_form(load: Load) -> None:
    emulator = (
        "Endpoint=sb://LOCALHOST:5672;SharedAccessKeyName=x;SharedAccessKey=canary-em;EntityPath=e;"
        "UseDevelopmentEmulator=true;"
    )
    signature = (
        "Endpoint=sb://s.example.test;EntityPath=e;"
        "SharedAccessSignature=SharedAccessSignature sr=x&sig=canary-sig&se=9"
    )
    others = [
        HUB_B,
        {"name": "local", "connection_string": emulator},
        {"name": "managed", "namespace": "Example", "event_hub": "Counts"},
        {"namespace": "x.servicebus.chinacloudapi.cn", "event_hub": "e", "enabled": False},
        signature,
    ]

    settings = load({"EVENT_HUB_CONNECTION_STRINGS": json.dumps(others)})

    assert settings.hubs == (
        HubSettings("a.example.test/counts", "primary", "a.example.test", "counts", HUB_A),
        HubSettings("b.example.test/counts", "b.example.test/counts", "b.example.test", "counts", HUB_B),
        HubSettings("localhost:5672/e", "local", "localhost:5672", "e", emulator),
        HubSettings(
            "example.servicebus.windows.net/Counts", "managed", "example.servicebus.windows.net", "Counts"
        ),
        HubSettings(
            "x.servicebus.chinacloudapi.cn/e",
            "x.servicebus.chinacloudapi.cn/e",
            "x.servicebus.chinacloudapi.cn",
            "e",
            enabled=False,
        ),
        HubSettings("s.example.test/e", "s.example.test/e", "s.example.test", "e", signature),
    )


@pytest.mark.parametrize(
    "entry",
    [
        {"connection_string": HUB_A.replace("a.example.test", "A.Example.test"), "enabled": False},
        {"name": "primary", "connection_string": HUB_A, "enabled": False},
        {"namespace": "a.example.test", "event_hub": "COUNTS", "enabled": False},
    ],
    ids=["other case", "named primary", "by namespace"],
)
def test_listing_the_primary_as_not_enabled_pauses_it(load: Load, entry: dict[str, object]) -> None:
    settings = load({"EVENT_HUB_CONNECTION_STRINGS": json.dumps([entry])})

    assert hubs_of(settings) == [("a.example.test/counts", "primary", False)]


def test_hubs_may_all_be_paused_and_there_may_be_no_primary(load: Load) -> None:
    others = json.dumps([{"name": "only", "connection_string": HUB_B, "enabled": False}])

    settings = load({"EVENT_HUB_CONNECTION_STRING": "", "EVENT_HUB_CONNECTION_STRINGS": others})

    assert hubs_of(settings) == [("b.example.test/counts", "only", False)]


def hub_at(host: str, entity: str, name: str = "") -> dict[str, str]:
    named = {"name": name} if name else {}
    return {**named, "connection_string": HUB_B.replace("b.example", host).replace("=counts", f"={entity}")}


@pytest.mark.parametrize(
    ("others", "names"),
    [
        ([hub_at("b", "Facilities")], ["Facilities"]),
        ([hub_at("b", "counts")], ["b.test/counts"]),
        ([hub_at("b", "people"), hub_at("c", "PEOPLE")], ["b.test/people", "c.test/PEOPLE"]),
        ([hub_at("b", "people"), hub_at("c", "rooms", "People")], ["b.test/people", "People"]),
        ([hub_at("b", "primary")], ["b.test/primary"]),
        ([hub_at("b", "same", "same")], ["same"]),
    ],
    ids=["its own", "of the primary", "of two", "a name of another", "the name of the primary", "its name"],
)
def test_a_hub_without_a_name_is_called_by_its_entity_where_nothing_else_is(
    load: Load, others: list[dict[str, str]], names: list[str]
) -> None:
    settings = load({"EVENT_HUB_CONNECTION_STRINGS": json.dumps(others)})

    assert [hub.name for hub in settings.hubs] == ["primary", *names]


def test_config_yaml_names_a_hub_that_was_given_without_a_name(load: Load) -> None:
    settings = load(
        {"EVENT_HUB_CONNECTION_STRINGS": json.dumps([HUB_B])},
        {"event_hubs/names": {"B.example.test/counts": "client"}},
    )

    assert [hub.name for hub in settings.hubs] == ["primary", "client"]


SECOND = {"name": "second", "connection_string": HUB_B}
FORM = {"body": "cloudevents", "properties": {"tenant": "north", "Table": "readings", "n": 1, "on": True}}


def forms_of(settings: Settings) -> list[WireForm]:
    return [hub.form for hub in settings.hubs]


def test_hubs_have_the_form_that_is_written_for_their_name_or_key(load: Load) -> None:
    bodies = {"Primary": {"body": "With_IDs"}, "B.example.test/counts": FORM}

    settings = load({"EVENT_HUB_CONNECTION_STRINGS": json.dumps([SECOND])}, {"event_hubs/bodies": bodies})

    properties = (("Table", "readings"), ("n", 1), ("on", True), ("tenant", "north"))
    assert forms_of(settings) == [WireForm("with_ids"), WireForm("cloudevents", properties)]


@pytest.mark.parametrize(
    ("own", "form"),
    [
        ({"body": "plain"}, WireForm("plain", (("Table", "readings"),))),
        ({"properties": {"tenant": "north"}}, WireForm("with_ids", (("tenant", "north"),))),
        ({"properties": {}}, WireForm("with_ids")),
        (FORM, WireForm("cloudevents", tuple(sorted(FORM["properties"].items())))),  # type: ignore[attr-defined]
    ],
    ids=["its body", "its properties", "no properties", "both"],
)
def test_what_the_entry_of_a_hub_says_of_its_form_wins(
    load: Load, own: dict[str, object], form: WireForm
) -> None:
    settings = load(
        {"EVENT_HUB_CONNECTION_STRINGS": json.dumps([SECOND | own])},
        {"event_hubs/bodies": {"second": {"body": "with_ids", "properties": {"Table": "readings"}}}},
    )

    assert forms_of(settings) == [WireForm(), form]


@pytest.mark.parametrize(
    ("bodies", "problem"),
    [
        (
            {"third": {"body": "plain"}},
            "event_hubs.bodies.third: is not one of the hubs (primary, second); correct",
        ),
        (
            {"primary": {"body": "xml"}},
            "event_hubs.bodies.primary.body: 'xml' is not known; write plain, with_ids or",
        ),
        (
            {"primary": {"boddy": "plain"}},
            "event_hubs.bodies.primary.boddy: is not a known key; did you mean body?",
        ),
        ({"primary": "plain"}, "event_hubs.bodies.primary: "),
        (
            {"primary": {}, "a.example.test/counts": {}},
            "event_hubs.bodies.a.example.test/counts: is the hub a.example.test/counts, which",
        ),
        ("plain", "event_hubs.bodies: is not a mapping; write"),
        ({"primary": {"properties": ["Table"]}}, "event_hubs.bodies.primary.properties: is not a mapping"),
    ],
    ids=[
        "unknown hub",
        "unknown form",
        "unknown key",
        "no mapping",
        "one hub twice",
        "all no mapping",
        "a list",
    ],
)
def test_a_form_that_cannot_be_is_refused(problems: Problems, bodies: object, problem: str) -> None:
    (found,) = problems({"EVENT_HUB_CONNECTION_STRINGS": json.dumps([SECOND])}, {"event_hubs/bodies": bodies})

    assert found.startswith(problem)


@pytest.mark.parametrize(
    ("properties", "problem"),
    [
        *(
            ({name: "x"}, f"{name} is written by the forwarder itself; remove it")
            for name in ("recType", "location", "source", "hour", "update", "part", "parts")
        ),
        ({"Table": ["a"]}, "the value of 'Table' cannot be sent; write a text"),
        ({"Table": {"a": 1}}, "the value of 'Table' cannot be sent"),
        ({"n": 2**31}, "the value of 'n' cannot be sent"),
        ({"n": float("nan")}, "the value of 'n' cannot be sent"),
        ({"Table": "canary\n"}, "the value of 'Table' cannot be sent"),
        ({"Table": "long " * 206}, "the value of 'Table' cannot be sent"),
        ({"x" * 129: 1}, "is not a name; write 1 to 128 printable characters"),
        ({f"p{n}": n for n in range(21)}, "has 21 properties; write at most 20"),
    ],
    ids=lambda value: value[:30] if isinstance(value, str) else None,
)
def test_a_property_that_cannot_be_sent_or_is_ours_is_refused(
    problems: Problems, properties: dict[str, object], problem: str
) -> None:
    by_name = problems(config={"event_hubs/bodies": {"primary": {"properties": properties}}})
    own = problems({"EVENT_HUB_CONNECTION_STRINGS": json.dumps([SECOND | {"properties": properties}])})

    assert len(by_name) == len(own) == 1
    assert by_name[0].startswith("event_hubs.bodies.primary.properties: ")
    assert own[0].startswith("EVENT_HUB_CONNECTION_STRINGS[0].properties: ")
    assert problem in by_name[0]
    assert problem in own[0]
    assert "canary" not in by_name[0] + own[0]


def test_a_form_in_the_entry_of_a_hub_is_not_shown_where_it_is_wrong(problems: Problems) -> None:
    (found,) = problems({"EVENT_HUB_CONNECTION_STRINGS": json.dumps([SECOND | {"body": "canary"}])})

    assert found == "EVENT_HUB_CONNECTION_STRINGS[0].body: is not known; write plain, with_ids or cloudevents"


# --- state ----------------------------------------------------------------------------------------

DIRECTORY = "/var/lib/microshare-forwarder"
ACCOUNT = "https://examplestate.table.core.windows.net"


@pytest.mark.parametrize(
    ("environ", "state"),
    [
        ({}, StateSettings("json", DIRECTORY)),
        ({"AzureWebJobsStorage": "UseDevelopmentStorage=true"}, StateSettings("json", DIRECTORY)),
        ({"AzureWebJobsStorage": STORAGE}, StateSettings("table", DIRECTORY, STORAGE)),
        (
            {"AzureWebJobsStorage": AZURITE},
            StateSettings(
                "table",
                DIRECTORY,
                AZURITE,
            ),
        ),
        (
            {"AzureWebJobsStorage": "BlobEndpoint=https://x.test;SharedAccessSignature=sig=canary"},
            StateSettings("json", DIRECTORY),
        ),
        ({"AzureWebJobsStorage": STORAGE, "STATE_STORE": "json"}, StateSettings("json", DIRECTORY)),
        (
            {"AzureWebJobsStorage": "UseDevelopmentStorage=true", "STATE_STORE": "table"},
            StateSettings("table", DIRECTORY, "UseDevelopmentStorage=true"),
        ),
        (
            {
                "AzureWebJobsStorage__accountName": "examplestate",
                "AzureWebJobsStorage__credential": "managedidentity",
            },
            StateSettings("table", DIRECTORY, None, ACCOUNT),
        ),
        (
            {
                "AzureWebJobsStorage__tableServiceUri": f"{ACCOUNT}/",
                "AzureWebJobsStorage__clientId": "client-1",
            },
            StateSettings("table", DIRECTORY, None, ACCOUNT, "client-1"),
        ),
    ],
    ids=[
        "no storage",
        "development storage",
        "account and key",
        "Azurite written out",
        "a signature without key",
        "json asked for",
        "table asked for with development storage",
        "identity by account name",
        "user-assigned identity by table service",
    ],
)
def test_the_state_store_follows_the_storage(
    load: Load, environ: dict[str, str], state: StateSettings
) -> None:
    settings = load(environ)

    assert (replace(settings.state, network=state.network), settings.warnings) == (state, ())


@pytest.mark.parametrize("state_store", ["auto", "json"])
def test_an_empty_storage_beside_an_identity_s_is_warned_of(load: Load, state_store: str) -> None:
    by_identity = {"AzureWebJobsStorage__accountName": "examplestate", "STATE_STORE": state_store}

    [warning] = load(by_identity | {"AzureWebJobsStorage": ""}).warnings

    assert warning.startswith("AzureWebJobsStorage: is empty, and the Functions host")
    assert load({"AzureWebJobsStorage": ""}).warnings == ()


QUEUE = {"SCALE_OUT": "queue", "SCALE_OUT_SHARDS": "8"}


def test_feeds_are_run_as_a_whole_unless_shards_are_asked_for(load: Load) -> None:
    assert load({"AzureWebJobsStorage": STORAGE}).scale_out is None


@pytest.mark.parametrize(
    ("storage", "scale_out"),
    [
        ({"AzureWebJobsStorage": STORAGE}, ScaleOutSettings(8, STORAGE)),
        (
            {"AzureWebJobsStorage": "UseDevelopmentStorage=true", "STATE_STORE": "table"},
            ScaleOutSettings(8, "UseDevelopmentStorage=true"),
        ),
        (
            {"AzureWebJobsStorage__accountName": "examplestate"},
            ScaleOutSettings(8, None, "https://examplestate.queue.core.windows.net"),
        ),
        (
            {
                "AzureWebJobsStorage__accountName": "examplestate",
                "AzureWebJobsStorage__queueServiceUri": "https://queues.example.test/",
            },
            ScaleOutSettings(8, None, "https://queues.example.test"),
        ),
    ],
    ids=["account and key", "development storage", "identity by account name", "identity by queue service"],
)
def test_the_queue_of_shards_is_in_the_storage_that_has_the_state(
    load: Load, storage: dict[str, str], scale_out: ScaleOutSettings
) -> None:
    found = load(QUEUE | storage).scale_out

    assert found is not None
    assert replace(found, network=scale_out.network) == scale_out


def test_the_identity_of_the_storage_signs_in_at_the_queue(load: Load) -> None:
    found = load(
        QUEUE
        | {"AzureWebJobsStorage__accountName": "examplestate", "AzureWebJobsStorage__clientId": "client-1"}
    ).scale_out

    assert found is not None
    assert found.network.client_id == "client-1"


@pytest.mark.parametrize(
    ("environ", "words"),
    [
        (QUEUE, "SCALE_OUT: is queue, and the state is in files | STATE_STORE=table"),
        (QUEUE | {"STATE_STORE": "json", "AzureWebJobsStorage": STORAGE}, "SCALE_OUT: is queue | files"),
        ({"SCALE_OUT": "queue", "AzureWebJobsStorage": STORAGE}, "SCALE_OUT_SHARDS: not set | like 8"),
        ({"SCALE_OUT": "queue"}, "SCALE_OUT_SHARDS: not set"),
        (QUEUE | {"SCALE_OUT_SHARDS": "1"}, "SCALE_OUT_SHARDS: '1' is out of range; write 2 to 256"),
        (QUEUE | {"SCALE_OUT_SHARDS": "257"}, "SCALE_OUT_SHARDS: '257' is out of range; write 2 to 256"),
        (QUEUE | {"SCALE_OUT_SHARDS": "many"}, "SCALE_OUT_SHARDS: 'many' is not a whole number | 2 to 256"),
        ({"SCALE_OUT": "shards"}, "SCALE_OUT: 'shards' is not known; write none or queue"),
        (
            QUEUE | {"AzureWebJobsStorage__tableServiceUri": "https://examplestate.table.core.windows.net"},
            "SCALE_OUT: is queue, and nothing says where queues are | AzureWebJobsStorage__queueServiceUri",
        ),
        (
            QUEUE | {"AzureWebJobsStorage": f"{STORAGE};QueueEndpoint=http://queues.example.test"},
            "AzureWebJobsStorage: has a QueueEndpoint that is not an https URL",
        ),
    ],
    ids=[
        "no storage",
        "state in files",
        "no number",
        "no number, and no storage",
        "one shard",
        "too many shards",
        "no number at all",
        "another way",
        "tables alone",
        "unencrypted queues",
    ],
)
def test_shards_that_cannot_be_run_from_a_queue_are_refused(
    problems: Problems, environ: dict[str, str], words: str
) -> None:
    found = problems(environ)

    assert len(found) == 1, found
    assert all(word in found[0] for word in words.split(" | "))


def test_state_in_files_is_a_warning_in_azure_unless_it_was_asked_for(load: Load) -> None:
    in_azure = {"WEBSITE_SITE_NAME": "example", "AzureWebJobsStorage__credential": "managedidentity"}

    [warning] = load(in_azure).warnings

    assert "STATE_STORE" in warning
    assert "AzureWebJobsStorage__accountName" in warning
    assert load(in_azure | {"STATE_STORE": "json"}).warnings == ()


@pytest.mark.parametrize(
    "set_by_azure",
    [
        INSIGHTS,
        "@Microsoft.KeyVault(SecretUri=https://x.example.test/s)",
        "InstrumentationKey=<key>;X=https://x",
        "x",
    ],
    ids=["whole", "unresolved", "placeholder", "broken"],
)
def test_what_azure_sets_by_itself_turns_no_telemetry_on(load: Load, set_by_azure: str) -> None:
    assert load({"APPLICATIONINSIGHTS_CONNECTION_STRING": set_by_azure}).telemetry is None


def test_telemetry_goes_under_the_name_of_the_app_in_azure(load: Load) -> None:
    on = {"TELEMETRY": "azure-monitor", "APPLICATIONINSIGHTS_CONNECTION_STRING": INSIGHTS}

    here, in_azure = load(on).telemetry, load(on | {"WEBSITE_SITE_NAME": "example-app"}).telemetry

    assert here is not None
    assert in_azure is not None
    assert (here.role, in_azure.role) == ("microshare-forwarder", "example-app")


@pytest.mark.parametrize(
    ("connection_string", "words"),
    [
        ("", "not set | InstrumentationKey="),
        ("InstrumentationKey=1234", "InstrumentationKey | whole connection string"),
        ("IngestionEndpoint=https://x.example.test/", "InstrumentationKey | whole connection string"),
        (f"InstrumentationKey={INSIGHTS_KEY};IngestionEndpoint=http://x.example.test/", "https://"),
        (f"InstrumentationKey={INSIGHTS_KEY};IngestionEndpoint=http://x.example.test:8080/", "https://"),
        (f"InstrumentationKey={INSIGHTS_KEY};IngestionEndpoint=https://[", "IngestionEndpoint | https://"),
        (f"InstrumentationKey={INSIGHTS_KEY};LiveEndpoint=https://", "LiveEndpoint | and a host"),
        (f"InstrumentationKey={INSIGHTS_KEY};IngestEndpoint=https://x.example.test/", "IngestionEndpoint"),
        ("InstrumentationKey=<key>;IngestionEndpoint=https://<region>.example.test/", "placeholder"),
    ],
    ids=[
        "none",
        "no UUID",
        "no key",
        "not encrypted",
        "not encrypted, with a port",
        "half a bracket",
        "no host",
        "misspelt",
        "placeholder",
    ],
)
def test_telemetry_that_is_on_needs_a_connection_string(
    problems: Problems, connection_string: str, words: str
) -> None:
    found = problems(
        {"TELEMETRY": "azure-monitor", "APPLICATIONINSIGHTS_CONNECTION_STRING": connection_string}
    )

    assert len(found) == 1, found
    assert found[0].startswith("APPLICATIONINSIGHTS_CONNECTION_STRING: ")
    assert [word for word in words.split(" | ") if word not in found[0]] == []
    assert INSIGHTS_KEY not in found[0]


# --- what is refused ------------------------------------------------------------------------------

SIGNED = "Endpoint=sb://a.example.test/;SharedAccessKeyName=send;SharedAccessKey=canary-hub-key-a"
# The variable, its value, and what the message must hold, with " | " between.
BAD_VARIABLES: dict[str, tuple[str, str, str]] = {
    "no user name": ("MICROSHARE_USERNAME", "", "MICROSHARE_USERNAME: not set | write"),
    "no password": ("MICROSHARE_PASSWORD", "", "MICROSHARE_PASSWORD: not set | write"),
    "password with newline": (
        "MICROSHARE_PASSWORD",
        "canary-password\n",
        "MICROSHARE_PASSWORD: ends with a newline",
    ),
    "password with space": (
        "MICROSHARE_PASSWORD",
        " canary-password",
        "MICROSHARE_PASSWORD: begins or ends | space",
    ),
    "password with BOM": (
        "MICROSHARE_PASSWORD",
        "\ufeffcanary-password",
        "MICROSHARE_PASSWORD: begins | byte order",
    ),
    "password with tab": ("MICROSHARE_PASSWORD", "canary\tpassword", "MICROSHARE_PASSWORD: holds | control"),
    "password not UTF-8": ("MICROSHARE_PASSWORD", "canary\udcff", "MICROSHARE_PASSWORD: holds bytes | UTF-8"),
    "password placeholder": (
        "MICROSHARE_PASSWORD",
        "<your password>",
        "MICROSHARE_PASSWORD: is still a placeholder",
    ),
    "password to change": ("MICROSHARE_PASSWORD", "ChangeMe", "MICROSHARE_PASSWORD: is still a placeholder"),
    "unexpanded variable": (
        "MICROSHARE_USERNAME",
        "${USER_NAME}",
        "MICROSHARE_USERNAME: '${USER_NAME}' is still",
    ),
    "key vault reference": (
        "MICROSHARE_PASSWORD",
        "@Microsoft.KeyVault(SecretUri=https://v.example.test/secrets/x)",
        "MICROSHARE_PASSWORD: is a Key Vault reference | identity may read",
    ),
    "user in quotes": (
        "MICROSHARE_USERNAME",
        '"svc@example.test"',
        "MICROSHARE_USERNAME: | wrapped in quotes",
    ),
    "no file of authorities": (
        "REQUESTS_CA_BUNDLE",
        "/nowhere/authorities.pem",
        "REQUESTS_CA_BUNDLE: '/nowhere/authorities.pem' is not a file | write",
    ),
    "authorities in no certificates": (
        "REQUESTS_CA_BUNDLE",
        __file__,
        "REQUESTS_CA_BUNDLE: | holds no certificates that can be read (NO_CERTIFICATE_OR_CRL_FOUND); write",
    ),
    "unknown auth": ("MICROSHARE_AUTH", "basic", "MICROSHARE_AUTH: 'basic' | web or oauth2"),
    "oauth2 without key": ("MICROSHARE_AUTH", "oauth2", "MICROSHARE_API_KEY: not set | oauth2"),
    "http URL": (
        "MICROSHARE_API_URL",
        "http://api.example.test",
        "MICROSHARE_API_URL: | http://api.example.test | https://",
    ),
    "http URL with a port": (
        "MICROSHARE_API_URL",
        "http://api.example.test:8080",
        "MICROSHARE_API_URL: | http://api.example.test:8080 | https://",
    ),
    "http login with a port and a path": (
        "MICROSHARE_APP_URL",
        "http://app.example.test:80/microshare",
        "MICROSHARE_APP_URL: | not encrypted | https://",
    ),
    "http to a look-alike with a port": (
        "MICROSHARE_AUTH_URL",
        "http://localhost.example.test:8080",
        "MICROSHARE_AUTH_URL: | not encrypted",
    ),
    "http to a look-alike": (
        "MICROSHARE_API_URL",
        "http://127.0.0.1.example.test",
        "MICROSHARE_API_URL: | not encrypted",
    ),
    "no URL": ("MICROSHARE_API_URL", "api.example.test", "MICROSHARE_API_URL: 'api.example.test' | https://"),
    "URL with query": (
        "MICROSHARE_API_URL",
        "https://api.example.test/a?x=1",
        "MICROSHARE_API_URL: | https://api.example.test/a; | remove",
    ),
    "URL with fragment": (
        "MICROSHARE_APP_URL",
        "https://app.example.test/#/x",
        "MICROSHARE_APP_URL: | remove",
    ),
    "URL with user": (
        "MICROSHARE_APP_URL",
        "https://u:canary-user@app.example.test",
        "MICROSHARE_APP_URL: holds a user",
    ),
    "URL with port 99999": (
        "MICROSHARE_APP_URL",
        "https://app.example.test:99999",
        "MICROSHARE_APP_URL: | not a URL",
    ),
    "URL with newline": (
        "MICROSHARE_APP_URL",
        "https://app.example.test\n",
        "MICROSHARE_APP_URL: ends with a newline",
    ),
    "URL placeholder": (
        "MICROSHARE_APP_URL",
        "https://<tenant>.microshare.io",
        "MICROSHARE_APP_URL: | placeholder",
    ),
    "no identity": ("MICROSHARE_IDENTITY", "", "MICROSHARE_IDENTITY: not set | com.example.NORTH"),
    "empty list of identities": ("MICROSHARE_IDENTITY", "[]", "MICROSHARE_IDENTITY: not set"),
    "identity of dots": ("MICROSHARE_IDENTITY", ".NORTH", "MICROSHARE_IDENTITY: '.NORTH'"),
    "exact identity without a name": (
        "MICROSHARE_IDENTITY",
        "=",
        "MICROSHARE_IDENTITY: '=' is not an organisation",
    ),
    "exact identity with a space": (
        "MICROSHARE_IDENTITY",
        "= com.example.NORTH",
        "MICROSHARE_IDENTITY: '= com.example.NORTH' is not an organisation | =com.example.NORTH",
    ),
    "wildcard identity": ("MICROSHARE_IDENTITY", "*", "MICROSHARE_IDENTITY: '*'"),
    "context without quotes": (
        "MICROSHARE_PC_DATA_CONTEXT",
        "[a,b]",
        "MICROSHARE_PC_DATA_CONTEXT: '[a,b]' | eaten by a shell | write '[\"a\",\"b\"]' in single quotes",
    ),
    "context in single quotes": (
        "MICROSHARE_PC_DATA_CONTEXT",
        "['people']",
        "MICROSHARE_PC_DATA_CONTEXT: | '[\"people\"]'",
    ),
    "context with comma": (
        "MICROSHARE_PC_DATA_CONTEXT",
        "a,b",
        "MICROSHARE_PC_DATA_CONTEXT: 'a,b' | '[\"a\",\"b\"]'",
    ),
    "context with escaped quotes": (
        "MICROSHARE_PC_DATA_CONTEXT",
        r"[\"people\"]",
        """MICROSHARE_PC_DATA_CONTEXT: | has its quotes escaped once too often; write '["people"]'""",
    ),
    "context with quotes escaped twice": (
        "MICROSHARE_PC_DATA_CONTEXT",
        r"[\\\"people\\\",\\\"door\\\"]",
        """has its quotes escaped once too often; write '["people","door"]'""",
    ),
    "context in JSON": (
        "MICROSHARE_PC_DATA_CONTEXT",
        r'"[\"people\"]"',
        """is wrapped in quotes; write ["people"]""",
    ),
    "escaped context in escaped quotes": (
        "MICROSHARE_PC_DATA_CONTEXT",
        r"\"[\\\"people\\\"]\"",
        "MICROSHARE_PC_DATA_CONTEXT: | is wrapped in quotes",
    ),
    "context with typographic quotes": (
        "MICROSHARE_PC_DATA_CONTEXT",
        "[“people”]",
        """has typographic quotes; write '["people"]'""",
    ),
    "context with a semicolon behind it": (
        "MICROSHARE_PC_DATA_CONTEXT",
        '["people"];',
        """has more than the array in it; write '["people"]'""",
    ),
    "context with a comma at its end": (
        "MICROSHARE_PC_DATA_CONTEXT",
        '["people",]',
        """has a comma before its end; write '["people"]'""",
    ),
    "context as a browser shows it": (
        "MICROSHARE_PC_DATA_CONTEXT",
        "%5B%22people%22%2c%22front+door%22%5D",
        """is written as in a URL; write '["people","front door"]'""",
    ),
    "context with quotes of HTML": (
        "MICROSHARE_PC_DATA_CONTEXT",
        "[&quot;people&#34;,&#x22;door&quot;]",
        """has its quotes written as in HTML; write '["people","door"]'""",
    ),
    "context with back-quotes": (
        "MICROSHARE_PC_DATA_CONTEXT",
        "[`people`]",
        """has back-quotes where JSON has double quotes; write '["people"]'""",
    ),
    "context whose comma is lost": (
        "MICROSHARE_PC_DATA_CONTEXT",
        '["people" "door"]',
        """lacks a comma between its texts; write '["people","door"]'""",
    ),
    "context that lacks its brackets": (
        "MICROSHARE_PC_DATA_CONTEXT",
        '"people","door"',
        """is not a JSON array; write '["people","door"]'""",
    ),
    "a tag with quotes in it": (
        "MICROSHARE_PC_DATA_CONTEXT",
        r'["\"people\""]',
        "entry 0 is '\"people\"', which holds a double quote | write a tag without",
    ),
    "a bare tag in escaped quotes": (
        "MICROSHARE_PC_DATA_CONTEXT",
        r"\"people\"",
        "is wrapped in quotes; write people",
    ),
    "identity with escaped quotes": (
        "MICROSHARE_IDENTITY",
        r"[\"com.example.NORTH\"]",
        """escaped once too often; write '["com.example.NORTH"]'""",
    ),
    "clusters with escaped quotes": (
        "MICROSHARE_PC_DEVICE_CLUSTER_ID",
        r"[\"a1\",\"a2\"]",
        """escaped once too often; write '["a1","a2"]'""",
    ),
    "locations with escaped quotes": (
        "MICROSHARE_LOCATIONS",
        r"[\"Beacon House\"]",
        """escaped once too often; write '["Beacon House"]'""",
    ),
    "hubs with escaped quotes": (
        "EVENT_HUB_CONNECTION_STRINGS",
        json.dumps([HUB_B]).replace('"', r"\""),
        """EVENT_HUB_CONNECTION_STRINGS: has its quotes escaped once too often; write '["...","..."]'""",
    ),
    "a hub with a key twice": (
        "EVENT_HUB_CONNECTION_STRINGS",
        '[{"namespace":"x","event_hub":"e","namespace":"y"}]',
        "EVENT_HUB_CONNECTION_STRINGS: holds 'namespace' twice in one object",
    ),
    "context of numbers": ("MICROSHARE_PC_DATA_CONTEXT", "[5]", "MICROSHARE_PC_DATA_CONTEXT: entry 0 is 5"),
    "empty context": ("MICROSHARE_PC_DATA_CONTEXT", "[]", "MICROSHARE_PC_DATA_CONTEXT: not set"),
    "context with empty tag": (
        "MICROSHARE_PC_DATA_CONTEXT",
        '["a",""]',
        "MICROSHARE_PC_DATA_CONTEXT: entry 1 is ''",
    ),
    "context is an object": (
        "MICROSHARE_PC_DATA_CONTEXT",
        '{"a":1}',
        "MICROSHARE_PC_DATA_CONTEXT: | not a JSON array",
    ),
    "shared context broken": ("MICROSHARE_DATA_CONTEXT", "[a]", "MICROSHARE_DATA_CONTEXT: '[a]' | shell"),
    "snapshots without context": (
        "MICROSHARE_SNAPSHOT_DASHBOARD_VIEW_ID",
        "v",
        "MICROSHARE_SNAPSHOT_DATA_CONTEXT: not set | JSON array",
    ),
    "view id with slash": (
        "MICROSHARE_PC_DASHBOARD_VIEW_ID",
        "share/v",
        "MICROSHARE_PC_DASHBOARD_VIEW_ID: 'share/v'",
    ),
    "no feed on": (
        "MICROSHARE_PC_DASHBOARD_VIEW_ID",
        "",
        "feeds: all are off | MICROSHARE_SNAPSHOT_DASHBOARD_VIEW_ID",
    ),
    "nowhere to ask": (
        "MICROSHARE_PC_DEVICE_CLUSTER_ID",
        "",
        "MICROSHARE_PC_DEVICE_CLUSTER_ID: not set | MICROSHARE_LOCATIONS",
    ),
    "cluster with space": (
        "MICROSHARE_PC_DEVICE_CLUSTER_ID",
        "a b",
        "MICROSHARE_PC_DEVICE_CLUSTER_ID | 'a b'",
    ),
    "cluster list with slash": (
        "MICROSHARE_PC_DEVICE_CLUSTER_ID",
        '["a","b/c"]',
        "MICROSHARE_PC_DEVICE_CLUSTER_ID[1]: 'b/c'",
    ),
    "a bare location": (
        "MICROSHARE_LOCATIONS",
        "Beacon House",
        "MICROSHARE_LOCATIONS: 'Beacon House' | '[\"Beacon House\"]'",
    ),
    "locations in a shell's quotes": (
        "MICROSHARE_LOCATIONS",
        """'["a"]'""",
        "MICROSHARE_LOCATIONS: | wrapped in quotes",
    ),
    "location that a view would evaluate": (
        "MICROSHARE_LOCATIONS",
        '["Mill","Lane ${x}"]',
        "MICROSHARE_LOCATIONS: entry 1 is 'Lane ${x}', which holds $ or @ next to a brace",
    ),
    "location with newline": ("MICROSHARE_LOCATIONS", '["a\\nb"]', "MICROSHARE_LOCATIONS: entry 0"),
    "no hub": (
        "EVENT_HUB_CONNECTION_STRING",
        "",
        "EVENT_HUB_CONNECTION_STRING: not set | EVENT_HUB_CONNECTION_STRINGS",
    ),
    "no entity": (
        "EVENT_HUB_CONNECTION_STRING",
        SIGNED,
        "EVENT_HUB_CONNECTION_STRING: has no EntityPath | append",
    ),
    "no hub key": (
        "EVENT_HUB_CONNECTION_STRING",
        "Endpoint=sb://a.test/;SharedAccessKeyName=x;EntityPath=e",
        "has no SharedAccessKey;",
    ),
    "no key name": (
        "EVENT_HUB_CONNECTION_STRING",
        "Endpoint=sb://a.test/;SharedAccessKey=canary-k;EntityPath=e",
        "has no SharedAccessKeyName",
    ),
    "no endpoint": (
        "EVENT_HUB_CONNECTION_STRING",
        "SharedAccessKeyName=x;SharedAccessKey=canary-k;EntityPath=e",
        "has no Endpoint",
    ),
    "https endpoint": (
        "EVENT_HUB_CONNECTION_STRING",
        HUB_A.replace("sb://", "https://"),
        "no usable Endpoint | sb://",
    ),
    "misspelt key": (
        "EVENT_HUB_CONNECTION_STRING",
        f"{SIGNED};EntityPaht=e",
        "'entitypaht' | did you mean EntityPath?",
    ),
    "a key twice": ("EVENT_HUB_CONNECTION_STRING", f"{HUB_A};EntityPath=e", "EntityPath twice"),
    "empty entity": ("EVENT_HUB_CONNECTION_STRING", f"{SIGNED};EntityPath=", "nothing after EntityPath="),
    "entity with slash": ("EVENT_HUB_CONNECTION_STRING", f"{SIGNED};EntityPath=a/b", "EntityPath 'a/b'"),
    "not a connection string": (
        "EVENT_HUB_CONNECTION_STRING",
        "canary-hub-key",
        "EVENT_HUB_CONNECTION_STRING: is not a connection string",
    ),
    "cut connection string": (
        "EVENT_HUB_CONNECTION_STRING",
        "Endpoint=sb://a.example.test/",
        "EVENT_HUB_CONNECTION_STRING: has no SharedAccessKeyName",
    ),
    "hub with newline": (
        "EVENT_HUB_CONNECTION_STRING",
        f"{HUB_A}\n",
        "EVENT_HUB_CONNECTION_STRING: ends with a newline",
    ),
    "hub placeholder": (
        "EVENT_HUB_CONNECTION_STRING",
        f"{SIGNED};EntityPath=<hub>",
        "EVENT_HUB_CONNECTION_STRING: is still a placeholder",
    ),
    "emulator elsewhere": (
        "EVENT_HUB_CONNECTION_STRING",
        f"{HUB_A};UseDevelopmentEmulator=true",
        "a.example.test | unencrypted",
    ),
    "emulator perhaps": (
        "EVENT_HUB_CONNECTION_STRING",
        f"{HUB_A};UseDevelopmentEmulator=True",
        "UseDevelopmentEmulator | true nor false",
    ),
    "hubs not an array": (
        "EVENT_HUB_CONNECTION_STRINGS",
        HUB_B,
        "EVENT_HUB_CONNECTION_STRINGS: is not a JSON array",
    ),
    "hubs without quotes": (
        "EVENT_HUB_CONNECTION_STRINGS",
        f"[{HUB_B}]",
        "EVENT_HUB_CONNECTION_STRINGS: had its quotes eaten by a shell",
    ),
    "hub is a number": (
        "EVENT_HUB_CONNECTION_STRINGS",
        "[5]",
        "EVENT_HUB_CONNECTION_STRINGS[0]: is a number",
    ),
    "hub is null": ("EVENT_HUB_CONNECTION_STRINGS", "[null]", "EVENT_HUB_CONNECTION_STRINGS[0]: is null"),
    "hub is empty": (
        "EVENT_HUB_CONNECTION_STRINGS",
        '[""]',
        "EVENT_HUB_CONNECTION_STRINGS[0]: is not a connection string",
    ),
    "hub with unknown key": (
        "EVENT_HUB_CONNECTION_STRINGS",
        '[{"conection_string":"x"}]',
        "EVENT_HUB_CONNECTION_STRINGS[0].conection_string: | did you mean connection_string?",
    ),
    "hub half named": (
        "EVENT_HUB_CONNECTION_STRINGS",
        '[{"namespace":"x"}]',
        "EVENT_HUB_CONNECTION_STRINGS[0]: | namespace and event_hub",
    ),
    "hub twice described": (
        "EVENT_HUB_CONNECTION_STRINGS",
        json.dumps([{"connection_string": HUB_B, "namespace": "x"}]),
        "EVENT_HUB_CONNECTION_STRINGS[0]: | keep one",
    ),
    "namespace is a URL": (
        "EVENT_HUB_CONNECTION_STRINGS",
        '[{"namespace":"https://x","event_hub":"e"}]',
        "EVENT_HUB_CONNECTION_STRINGS[0]: | 'https://x'",
    ),
    "enabled perhaps": (
        "EVENT_HUB_CONNECTION_STRINGS",
        '[{"namespace":"x","event_hub":"e","enabled":"perhaps"}]',
        "EVENT_HUB_CONNECTION_STRINGS[0].enabled: | true nor false",
    ),
    "primary twice": (
        "EVENT_HUB_CONNECTION_STRINGS",
        json.dumps([HUB_A.replace("a.ex", "A.EX")]),
        "EVENT_HUB_CONNECTION_STRINGS[0]: is the same hub as EVENT_HUB_CONNECTION_STRING (a.example.test",
    ),
    "other twice": (
        "EVENT_HUB_CONNECTION_STRINGS",
        json.dumps([HUB_B, {"connection_string": HUB_B, "enabled": False}]),
        "EVENT_HUB_CONNECTION_STRINGS[1]: is the same hub as EVENT_HUB_CONNECTION_STRINGS[0]",
    ),
    "a name twice": (
        "EVENT_HUB_CONNECTION_STRINGS",
        json.dumps([{"name": "primary", "connection_string": HUB_B}]),
        "2 hubs are called 'primary'",
    ),
    "unknown transport": (
        "EVENT_HUB_TRANSPORT",
        "https",
        "EVENT_HUB_TRANSPORT: 'https' | amqp or websockets",
    ),
    "unknown store": ("STATE_STORE", "tables", "STATE_STORE: 'tables' | auto, json or table"),
    "table without storage": ("STATE_STORE", "table", "AzureWebJobsStorage: | AccountName and AccountKey"),
    "broken storage": (
        "AzureWebJobsStorage",
        "AccountName",
        "AzureWebJobsStorage: is not a connection string",
    ),
    "unencrypted storage": (
        "AzureWebJobsStorage",
        STORAGE.replace("https", "http"),
        "AzureWebJobsStorage: | https",
    ),
    "unencrypted table": (
        "AzureWebJobsStorage",
        f"{STORAGE};TableEndpoint=http://t.example.test",
        "AzureWebJobsStorage: | https",
    ),
    "account key that is cut": (
        "AzureWebJobsStorage",
        "AccountName=examplestate;AccountKey=abc",
        "AzureWebJobsStorage: has an AccountKey that is not base64 | whole connection string",
    ),
    "account that is no name": (
        "AzureWebJobsStorage",
        STORAGE.replace("examplestate", "example state"),
        "AzureWebJobsStorage: has an AccountName or EndpointSuffix that makes no host name",
    ),
    "misspelt account key": (
        "AzureWebJobsStorage",
        STORAGE.replace("AccountKey", "AcountKey"),
        "AzureWebJobsStorage: holds the unknown key 'acountkey'; did you mean AccountKey?",
    ),
    "table without a host": (
        "AzureWebJobsStorage",
        f"{STORAGE};TableEndpoint=https://",
        "AzureWebJobsStorage: has a TableEndpoint | a host",
    ),
    "table with half a bracket": (
        "AzureWebJobsStorage",
        f"{STORAGE};TableEndpoint=https://[",
        "AzureWebJobsStorage: has a TableEndpoint | a host",
    ),
    "hub with two dots": (
        "EVENT_HUB_CONNECTION_STRING",
        HUB_A.replace("a.example", "a..example"),
        "EVENT_HUB_CONNECTION_STRING: has no usable Endpoint",
    ),
    "API with two dots": (
        "MICROSHARE_API_URL",
        "https://api..example.test",
        "MICROSHARE_API_URL: 'https://api..example.test' is not a URL",
    ),
    "unresolved storage": (
        "AzureWebJobsStorage",
        "@Microsoft.KeyVault(VaultName=v;SecretName=s)",
        "AzureWebJobsStorage: is a Key Vault reference",
    ),
    "no account name": (
        "AzureWebJobsStorage__accountName",
        "Not_One",
        "AzureWebJobsStorage__accountName: 'Not_One'",
    ),
    "http table service with a port": (
        "AzureWebJobsStorage__tableServiceUri",
        "http://t.example.test:10002",
        "AzureWebJobsStorage__tableServiceUri: | https",
    ),
    "unencrypted table with a port": (
        "AzureWebJobsStorage",
        f"{STORAGE};TableEndpoint=http://t.example.test:10002",
        "AzureWebJobsStorage: | https",
    ),
    "http table service": (
        "AzureWebJobsStorage__tableServiceUri",
        "http://t.example.test",
        "AzureWebJobsStorage__tableServiceUri: | https",
    ),
    "start without unit": ("START_FROM", "5", "START_FROM: '5' has no unit | 5m or 300s"),
    "start in words": ("START_FROM", "yesterday", "START_FROM: 'yesterday' | 24h | 2026-03-01T00:00:00Z"),
    "start no such day": (
        "START_FROM",
        "2026-02-30T00:00:00Z",
        "START_FROM: '2026-02-30T00:00:00Z' | 2026-03-01T00:00:00Z",
    ),
    "start in the future": ("START_FROM", "2999-01-01T00:00:00Z", "START_FROM: 2999-01-01 | future"),
    "start long ago": ("START_FROM", "1970-01-01", "START_FROM: 1970-01-01 | later"),
    "start too long": ("START_FROM", "9999999d", "START_FROM: '9999999d' | 3650d"),
    "five fields": (
        "PEOPLE_COUNTER_SCHEDULE",
        "*/15 * * * *",
        "PEOPLE_COUNTER_SCHEDULE: '*/15 * * * *' has 5 fields | six",
    ),
    "minute 60": (
        "HOURLY_SNAPSHOT_SCHEDULE",
        "0 60 * * * *",
        "HOURLY_SNAPSHOT_SCHEDULE: | '60' is not a valid minute",
    ),
    "a named schedule": (
        "HOURLY_SNAPSHOT_SCHEDULE",
        "%HOURLY%",
        "HOURLY_SNAPSHOT_SCHEDULE: '%HOURLY%' | six fields",
    ),
    "unknown format": ("LOG_FORMAT", "xml", "LOG_FORMAT: 'xml' | json or text"),
    "unknown exporter": ("TELEMETRY", "otlp", "TELEMETRY: 'otlp' | none or azure-monitor"),
    "unknown level": ("LOG_LEVEL", "LOUD", "LOG_LEVEL: 'LOUD' | DEBUG, INFO"),
    "misspelt name": (
        "MICROSHARE_API_KYE",
        "canary-api-key",
        "MICROSHARE_API_KYE: | did you mean MICROSHARE_API_KEY?",
    ),
    "name in small letters": (
        "microshare_api_key",
        "canary-api-key",
        "microshare_api_key: | did you mean MICROSHARE_API_KEY?",
    ),
    "the beginning of a name": (
        "MICROSHARE_API",
        "canary-api-key",
        "MICROSHARE_API: is not a known variable; did you mean MICROSHARE_API_KEY or MICROSHARE_API_URL?",
    ),
    "misspelt schedule": ("PEOPLE_COUNTERS_SCHEDULE", "0 0 * * * *", "did you mean PEOPLE_COUNTER_SCHEDULE?"),
}


@pytest.mark.parametrize(("variable", "value", "words"), BAD_VARIABLES.values(), ids=BAD_VARIABLES)
def test_a_bad_variable_is_named_with_what_to_write(
    problems: Problems, variable: str, value: str, words: str
) -> None:
    found = problems({variable: value})

    assert len(found) == 1, found
    assert [word for word in words.split(" | ") if word not in found[0]] == [], found


# The key with / for dots, its value, and what the message must hold.
BAD_KEYS: dict[str, tuple[str, Any, str]] = {
    "no unit": ("run/budget", "5", "run.budget: '5' has no unit | 5m or 300s"),
    "a bare number": ("run/budget", 5, "run.budget: '5' has no unit"),
    "negative": ("feeds/people_counter/settle", "-5m", "feeds.people_counter.settle: '-5m'"),
    "budget too long": ("run/budget", "2h", "run.budget: '2h' | 10s to 1h"),
    "look-back too long": (
        "feeds/people_counter/look_back",
        "8d",
        "feeds.people_counter.look_back: '8d' | 0s to 7d",
    ),
    "slice too short": ("feeds/people_counter/slice_length", "30s", "slice_length: '30s' | 1m to 24h"),
    "no concurrency": ("run/concurrency", 0, "run.concurrency: 0 | 1 to 32"),
    "concurrency is true": ("run/concurrency", True, "run.concurrency: True is not a whole number"),
    "eleven attempts": ("microshare/attempts", 11, "microshare.attempts: 11 | 1 to 10"),
    "record limit of 9": ("feeds/people_counter/record_limit", 9, "record_limit: 9 | 10 to"),
    "unknown key": ("feeds/people_counter/setle", "5m", "feeds.people_counter.setle: | did you mean settle?"),
    "a name inside a feed": ("feeds/people_counter/name", "x", "people_counter.name: is not a known key"),
    "authorities in a section": (
        "microshare/ca_file",
        "/x",
        "microshare.ca_file: is not a known key; remove",
    ),
    "unknown section": ("feedz", {}, "feedz: is not a known key; did you mean feeds?"),
    "section is a list": ("run", [], "run: is a list"),
    "domains are a number": ("event_hubs/trusted_suffixes", -1, "event_hubs.trusted_suffixes: is a number"),
    "authorities of a name without end": ("ca_file", "b" * 5_000, "ca_file: 'bbbb | is not a file; write"),
    "user is a number": ("microshare/username", 12345, "microshare.username: is a number | quotes"),
    "late at will": ("feeds/hourly_snapshot/late", "day", "late: 'day' | reading or hour"),
    "own parameter": ("feeds/hourly_snapshot/parameters", {"from": "x"}, "parameters: from is written"),
    "name of nothing": ("feeds/hourly_snapshot/location_names", {"a": ""}, "location_names: 'a'"),
    "name that a view would evaluate": (
        "feeds/hourly_snapshot/location_names",
        {"a": 'b"'},
        "location_names: 'a' | holds a double quote",
    ),
    "name of an unknown hub": (
        "event_hubs/names",
        {"x/y": "z"},
        "event_hubs.names.x/y: | a.example.test/counts",
    ),
    "feed with a dash": ("feeds/room-motion", {"schedule": "0 0 * * * *"}, "feeds.room-motion: | module"),
    "feed without schedule": ("feeds/room_motion", {}, "feeds.room_motion.schedule: not set"),
    "not closed": ("log_level", "${LOG_LEVEL", "log_level: '${LOG_LEVEL' is not closed"),
    "no variable": ("log_level", "${log-level}", "log_level: '${log-level}' names no variable"),
}


@pytest.mark.parametrize(("key", "value", "words"), BAD_KEYS.values(), ids=BAD_KEYS)
def test_a_bad_key_of_config_yaml_is_named_with_what_to_write(
    problems: Problems, key: str, value: Any, words: str
) -> None:
    found = problems(config={key: value})

    assert len(found) == 1, found
    assert [word for word in words.split(" | ") if word not in found[0]] == [], found


_DOUBLED = "".join(
    f"c{n}: &c{n} [{alias}, {alias}]\n" for n in range(13) for alias in [f"*c{n - 1}" if n else "*b"]
)
_ONE_IN_ANOTHER = "".join(f"c{n}: &c{n} [{f'*c{n - 1}' if n else '*a'}]\n" for n in range(30))


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("run: [", "line 2"),
        ("run:\n  budget: 4m\n  budget: 5m\n", "line 3: 'budget' is here twice"),
        ("- a\n", "holds no settings"),
        ("", "holds no settings"),
        ("a: !!python/object:os.system x\n", "line 1"),
        ("a: 2026-02-30\n", "is not YAML"),
        ("a: !!bool x\n", "is not YAML"),
        ("microshare: &m\n  username: *m\n", "line 2: *m is within what it stands for"),
        ("x: [" + "y, " * 9_999 + "y]\n", "over 10,000 values"),
        ("a: &a [1]\nb: &b [*a, *a]\n" + _DOUBLED, "line 12: over 10,000 values"),
        ("a:\n b: " + "[" * 19 + "]" * 19, "line 2: nested over 20 levels"),
        ("a: &a [1]\n" + _ONE_IN_ANOTHER, "line 19: nested over 20 levels"),
        ("x: " + "[" * 100_000, "line 1: nested over 20 levels"),
    ],
    ids=[
        *("not closed", "a key twice", "a list", "empty", "a python object", "no such day", "no such truth"),
        *(
            "an alias of itself",
            "many values",
            "many by aliases",
            "deep",
            "deep by aliases",
            "endlessly deep",
        ),
    ],
)
def test_a_file_that_is_no_settings_file_is_refused_with_its_place(
    tmp_path: Path, content: str, words: str
) -> None:
    config_file = tmp_path / "config.yaml"
    config_file.write_text(content)

    with pytest.raises(SettingsError, match=re.escape(words)) as refused:
        load_settings(MINIMAL, config_file=config_file)

    assert str(config_file) in str(refused.value)


def test_a_missing_settings_file_is_named() -> None:
    with pytest.raises(SettingsError, match=r"FORWARDER_CONFIG: '/nowhere/x\.yaml' is not a file"):
        load_settings({"FORWARDER_CONFIG": "/nowhere/x.yaml"})


def test_a_problem_is_told_under_the_file_that_its_value_is_in(load: Load, tmp_path: Path) -> None:
    dotenv = "MICROSHARE_PASSWORD='#{PASSWORD}#'\nMICROSHARE_IDENTITY=com.example.NORTH\nSTART_FROM=1h\n"

    with pytest.raises(SettingsError) as refused:
        load(
            {"MICROSHARE_PASSWORD": "", "START_FROM": "__START__", "MICROSHARE_USERNAME": ""},
            {"log_level": "${LOG_LEVEL"},
            dotenv,
        )

    heads = re.split(r"(?m)^(?=\S)", str(refused.value))[1:]
    assert {head.splitlines()[0]: re.findall(r"(?m)^  - (\w+):", head) for head in heads} == {
        f"{tmp_path / '.env'}: 1 problem": ["MICROSHARE_PASSWORD"],
        "the environment: 1 problem": ["START_FROM"],
        "config.yaml: 2 problems": ["log_level", "MICROSHARE_USERNAME"],
    }


def test_all_problems_are_told_at_once(problems: Problems) -> None:
    found = problems(
        {
            "MICROSHARE_PASSWORD": "",
            "MICROSHARE_API_URL": "http://api.example.test",
            "MICROSHARE_DATA_CONTEXT": "[a]",
            "MICROSHARE_LOCATIONS": "[b]",
            "EVENT_HUB_CONNECTION_STRING": SIGNED,
            "EVENT_HUB_CONNECTION_STRINGS": '[{"name":"x"},{"nmae":"y"}]',
            "STATE_STORE": "table",
            "START_FROM": "5",
            "LOG_LEVEL": "LOUD",
        },
        {"run/concurrency": 99, "feeds/hourly_snapshot/look_back": "1w", "other": 1},
    )

    assert sorted(problem.split(": ")[0] for problem in found) == [
        "AzureWebJobsStorage",
        "EVENT_HUB_CONNECTION_STRING",
        "EVENT_HUB_CONNECTION_STRINGS[0]",
        "EVENT_HUB_CONNECTION_STRINGS[1].nmae",
        "LOG_LEVEL",
        "MICROSHARE_API_URL",
        "MICROSHARE_DATA_CONTEXT",
        "MICROSHARE_LOCATIONS",
        "MICROSHARE_PASSWORD",
        "START_FROM",
        "feeds.hourly_snapshot.look_back",
        "other",
        "run.concurrency",
    ]


@pytest.mark.parametrize(
    ("left", "tool"),
    [
        ("$(MicrosharePassword)", "Azure Pipelines"),
        ("${{ secrets.PASSWORD }}", "GitHub Actions"),
        ("${MICROSHARE_PASSWORD}", "docker compose"),
        ("#{MicrosharePassword}#", "Replace Tokens"),
        ("#{MicrosharePassword}", "Octopus Deploy"),
        ("{{password}}", "Ansible"),
        ("{{ .Values.password }}", "Helm"),
        ("<%= password %>", "ERB"),
        ("__MicrosharePassword__", "Replace Tokens"),
        ("%MICROSHARE_PASSWORD%", "Windows"),
        ("[parameters('password')]", "ARM template"),
        ("@Microsoft.KeyVault(VaultName=v;SecretName=s)", "Key Vault"),
        ("@Microsoft.AppConfiguration(Endpoint=https://c.example.test; Key=p)", "App Configuration"),
    ],
)
@pytest.mark.parametrize("variable", ["MICROSHARE_PASSWORD", "MICROSHARE_API_KEY", "MICROSHARE_USERNAME"])
def test_what_a_tool_should_have_replaced_is_refused_with_its_name(
    problems: Problems, variable: str, left: str, tool: str
) -> None:
    [problem] = problems({variable: left})

    assert problem.startswith(f"{variable}: ")
    assert "; " in problem
    assert tool in problem


@pytest.mark.parametrize(
    "key",
    ["$(HubKey)", "#{HubKey}#", "{{ hub_key }}", "__HubKey__", "%HUB_KEY%", "${HUB_KEY}", "<key>"],
)
def test_what_a_tool_should_have_replaced_is_seen_inside_a_connection_string(
    problems: Problems, key: str
) -> None:
    connection_string = f"Endpoint=sb://a.test/;SharedAccessKeyName=x;SharedAccessKey={key};EntityPath=e"

    [alone] = problems({"EVENT_HUB_CONNECTION_STRING": connection_string})
    [listed] = problems({"EVENT_HUB_CONNECTION_STRINGS": json.dumps([connection_string])})

    assert alone.startswith("EVENT_HUB_CONNECTION_STRING: is still a placeholder")
    assert listed.startswith("EVENT_HUB_CONNECTION_STRINGS: is still a placeholder")


@pytest.mark.parametrize("placeholder", ["<its password>", "<your password>", "<password>", "your-api-key"])
def test_the_words_of_an_example_are_no_password(problems: Problems, placeholder: str) -> None:
    [problem] = problems({"MICROSHARE_PASSWORD": placeholder})

    assert problem == "MICROSHARE_PASSWORD: is still a placeholder; write the real value, or remove it"


@pytest.mark.parametrize(
    "password",
    [
        "<Summer2024>",
        "<canary>",
        "your_canary7",
        "$(canary",
        "a$(b)",
        "100%canary%",
        "{{canary",
        "__canary",
        "#{",
        '["canary://<x>"',
    ],
)
def test_a_password_that_only_looks_like_a_placeholder_is_taken(load: Load, password: str) -> None:
    assert load({"MICROSHARE_PASSWORD": password}).microshare.password == password


def test_quotes_that_a_view_wants_around_a_parameter_are_written_in_yaml(load: Load) -> None:
    owner = {"ownerOrg": '"^com[.]example[.]NORTH$"'}

    settings = load(config={"feeds/hourly_snapshot/parameters": owner})

    assert settings.feeds["hourly_snapshot"].parameters == owner


def test_a_password_in_quotes_is_used_with_a_warning(load: Load) -> None:
    settings = load({"MICROSHARE_PASSWORD": '"canary-quoted"'})

    assert settings.microshare.password == '"canary-quoted"'
    assert [warning.partition(",")[0] for warning in settings.warnings] == [
        "MICROSHARE_PASSWORD: is wrapped in quotes"
    ]


def test_a_short_name_near_to_one_of_ours_could_be_another_programs_so_it_is_a_warning(load: Load) -> None:
    [warning] = load({"LOGLEVEL": "debug"}).warnings

    assert warning == "LOGLEVEL: is not a known variable; did you mean LOG_LEVEL?"


def test_a_relative_state_folder_is_a_warning(load: Load) -> None:
    [warning] = load({"STATE_DIR": "state"}).warnings

    assert warning.startswith("STATE_DIR: 'state' depends on the folder")


@pytest.mark.parametrize(
    ("name", "advice"),
    [
        ("MICROSHARE_USER", "did you mean MICROSHARE_USERNAME?"),
        ("MICROSHARE_PASSWORD_OLD", "did you mean MICROSHARE_PASSWORD?"),
        ("EVENT_HUB_CONNECTION_STRING_OF_A_SECOND", "did you mean EVENT_HUB_CONNECTION_STRING?"),
        ("EVENT_HUB_NAMESPACE", "remove it, or see docs/settings.md for its name"),
        ("STATE_FOLDER", "remove it, or see docs/settings.md for its name"),
        ("PEOPLE_COUNTER_VIEW", "remove it, or see docs/settings.md for its name"),
    ],
)
def test_a_name_that_begins_like_ours_and_is_none_is_a_warning(load: Load, name: str, advice: str) -> None:
    [warning] = load({name: "canary-value"}).warnings

    assert warning == f"{name}: is not a known variable, and has no effect; {advice}"


def test_the_beginning_of_a_name_that_is_needed_is_told_beside_it(problems: Problems) -> None:
    found = problems({"MICROSHARE_USERNAME": "", "MICROSHARE_USER": "svc@example.test"})

    assert "MICROSHARE_USER: is not a known variable; did you mean MICROSHARE_USERNAME?" in found
    assert [problem.partition(";")[0] for problem in found][-1] == "MICROSHARE_USERNAME: not set"


def test_what_systemd_sets_for_a_unit_with_a_state_folder_is_no_name_of_ours(load: Load) -> None:
    assert load({"STATE_DIRECTORY": "/var/lib/microshare-forwarder"}).warnings == ()


def test_other_programs_variables_are_left_alone(problems: Problems) -> None:
    strangers = {
        "AzureWebJobsStorage__blobServiceUri": "https://x.example.test",
        "AzureWebJobsStorage__queueServiceUri": "https://x.example.test",
        "STATE_DIRECTORY": "/x",
        "EVENT_HUB_NAMESPACE": "x",
        "MICROSHARE_TOKEN_FILE": "/x",
        "PATH": "/bin",
    }

    assert problems(strangers) == []


def test_a_name_near_to_one_that_is_set_is_left_alone(problems: Problems) -> None:
    assert problems({"MICROSHARE_PASSWORDS": "x", "MICROSHARE_USERNAME_": "y"}) == []


# --- secrets --------------------------------------------------------------------------------------


def forms(secret: str) -> list[str]:
    return [secret, quote(secret, safe=""), base64.b64encode(secret.encode()).decode().rstrip("=")]


def test_no_secret_is_in_a_refusal(problems: Problems) -> None:
    secrets = [
        "canary+pass/word",
        "canary+api/key",
        "canary+hub/one=",
        "canary+hub/two=",
        "canary+account/key=",
    ]
    password, api_key, one, two, account = secrets
    hub = "Endpoint=sb://x.test/;SharedAccessKeyName=n;SharedAccessKey={};EntityPath={}"

    found = problems(
        {
            "MICROSHARE_PASSWORD": f"{password}\n",
            "MICROSHARE_API_KEY": f"{api_key} ",
            # Secrets in the wrong place are known by what they are.
            "MICROSHARE_USERNAME": f"{password}\t",
            "MICROSHARE_PC_DASHBOARD_VIEW_ID": f"{password}/{api_key}",
            "MICROSHARE_AUTH": hub.format(one, "e"),
            "MICROSHARE_LOCATIONS": f"[{quote(password, safe='')}]",
            "START_FROM": base64.b64encode(password.encode()).decode(),
            "EVENT_HUB_CONNECTION_STRING": hub.format(one, "a/b"),
            "EVENT_HUB_CONNECTION_STRINGS": f"[{hub.format(two, 'e')}]",
            "AzureWebJobsStorage": f"AccountName=x;AccountKey={account};DefaultEndpointsProtocol=http",
        }
    )

    text = "\n".join(found)
    assert len(found) == 10, text
    assert [form for secret in secrets for form in forms(secret) if form in text] == []


def test_secrets_are_masked_everywhere_once_settings_were_read(load: Load) -> None:
    settings = load(
        {
            "MICROSHARE_API_KEY": "canary-masked-api-key",
            "EVENT_HUB_CONNECTION_STRINGS": json.dumps([{"connection_string": HUB_B}]),
            "AzureWebJobsStorage": STORAGE,
            "TELEMETRY": "azure-monitor",
            "APPLICATIONINSIGHTS_CONNECTION_STRING": INSIGHTS,
        }
    )
    secrets = [
        "canary-password",
        "canary-masked-api-key",
        "canary-hub-key-a=",
        "canary-hub-key-b=",
        AZURITE_KEY,
        HUB_B,
        INSIGHTS_KEY,
    ]

    shown = [redact(f"x {form} x") for secret in secrets for form in forms(secret)]

    assert [text for text in shown if "***" not in text] == []
    assert [secret for secret in secrets if secret in repr(settings)] == []


# --- schedules ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "written",
    [
        "0 */15 * * * *",
        "0 0 0-6,18-23 * * MON-FRI",
        "30 5/15 * 1,15 jan-jun *",
        "*/10 * * * * 0",
        "0 0 12 31 DEC 6",
    ],
    ids=["steps", "lists and ranges", "names", "seconds", "ends"],
)
def test_a_schedule_the_host_can_read_is_taken(load: Load, written: str) -> None:
    assert load({"PEOPLE_COUNTER_SCHEDULE": written}).feeds["people_counter"].schedule == written
    assert schedule("people_counter", {"PEOPLE_COUNTER_SCHEDULE": written}) == written


BAD_SCHEDULES = {
    "empty field": "0 0 * * *",
    "time span": "01:00:00",
    "seven fields": "0 0 * * * * *",
    "second 60": "60 * * * * *",
    "hour 24": "0 0 24 * * *",
    "day 0": "0 0 0 0 * *",
    "month 13": "0 0 0 * 13 *",
    "weekday 7": "0 0 0 * * 7",
    "backward range": "0 30-10 * * * *",
    "step of 0": "0 */0 * * * *",
    "unknown name": "0 0 0 * * MOO",
    "question mark": "0 0 0 ? * *",
    "dangling comma": "0 1, * * * *",
}


@pytest.mark.parametrize("written", BAD_SCHEDULES.values(), ids=BAD_SCHEDULES)
def test_a_bad_schedule_is_refused_by_a_run_while_its_timer_keeps_the_default(
    problems: Problems, written: str
) -> None:
    [problem] = problems({"PEOPLE_COUNTER_SCHEDULE": written})

    assert problem.startswith(f"PEOPLE_COUNTER_SCHEDULE: '{written}'")
    assert schedule("people_counter", {"PEOPLE_COUNTER_SCHEDULE": written}) == "0 */15 * * * *"


def test_a_timer_has_a_schedule_whatever_the_settings_are(tmp_path: Path) -> None:
    damaged = tmp_path / "config.yaml"
    damaged.write_text("feeds: [")

    found = [
        schedule("hourly_snapshot", {}),
        schedule("hourly_snapshot", {"FORWARDER_CONFIG": str(damaged)}),
        schedule("hourly_snapshot", {"FORWARDER_CONFIG": "/nowhere/config.yaml"}),
        schedule("unknown", {}),
    ]

    assert found == ["0 0 * * * *"] * 4


def test_a_timer_reads_the_env_file_too(tmp_path: Path) -> None:
    config_file = tmp_path / "config.yaml"
    config_file.write_text((APP_ROOT / "config.yaml").read_text())
    (tmp_path / ".env").write_text("PEOPLE_COUNTER_SCHEDULE='0 7 * * * *'\n")

    assert schedule("people_counter", {"FORWARDER_CONFIG": str(config_file)}) == "0 7 * * * *"


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_an_unreadable_env_file_is_named(tmp_path: Path) -> None:
    dotenv = tmp_path / ".env"
    dotenv.write_text("LOG_LEVEL=INFO\n")
    dotenv.chmod(stat.S_IWUSR)

    with pytest.raises(SettingsError, match="cannot be read"):
        load_settings(MINIMAL, dotenv=dotenv)


def test_an_env_file_that_is_no_utf_8_is_named(tmp_path: Path) -> None:
    dotenv = tmp_path / ".env"
    dotenv.write_bytes(b"MICROSHARE_PASSWORD=caf\xe9\n")

    with pytest.raises(SettingsError, match="it is not UTF-8"):
        load_settings(MINIMAL, dotenv=dotenv)
