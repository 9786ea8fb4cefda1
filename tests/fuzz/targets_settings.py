"""Readers of what people write: `.env`, config.yaml, connection strings, a CSV file of counts."""

from __future__ import annotations

import json
import re
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import yaml
from azure.eventhub import EventHubProducerClient
from hypothesis import strategies as st

from app.base.errors import SettingsError, StateError
from app.base.program import APP_ROOT
from app.settings.connection_strings import signature_end
from app.settings.env_file import read_env_file
from app.settings.loading import load_settings
from app.settings.schedules import schedule
from app.settings.schema import Settings
from app.state.azure_table import AzureTableStore
from emulators.counts import read_counts
from tests.canaries import HUB_KEY, PASSWORD
from tests.commands import ENVIRONMENT, FEEDS
from tests.fuzz.generators import CANARIES, TEXTS, changed_bytes, documents, written
from tests.fuzz.oracle import Broken, holds, outcome, registry_of_its_own, said_by, shows_no_secret
from tests.fuzz.target import Target

# Nothing that is registered before the settings are read: it is for them to know that it is secret.
_SECRET_KEY = "b2YgYSBmdXp6ZWQgaHVi"
_SECRETS = (_SECRET_KEY,)
_HUB = f"Endpoint=sb://hubs.example.test/;SharedAccessKeyName=send;SharedAccessKey={_SECRET_KEY};EntityPath=counts"
_SIGNED = (
    "Endpoint=sb://hubs.example.test/;SharedAccessSignature=SharedAccessSignature "
    f"sr=sb%3a%2f%2fhubs&sig={_SECRET_KEY}&se=1772446000&skn=send;EntityPath=counts"
)
_STORAGE = (
    f"DefaultEndpointsProtocol=https;AccountName=examplestate;AccountKey={_SECRET_KEY};"
    "EndpointSuffix=core.windows.net"
)
_INSIGHTS = (
    "InstrumentationKey=0bad0bad-0000-4000-8000-0000000fa15e;IngestionEndpoint=https://insights.example.test/"
)
_CONFIG = (APP_ROOT / "config.yaml").read_bytes()


@contextmanager
def _folder() -> Iterator[Path]:
    with registry_of_its_own(secrets=()), tempfile.TemporaryDirectory(prefix="fuzz-") as folder:
        yield Path(folder)


def _loaded(environ: Mapping[str, str], config: Path) -> Settings | None:
    """Give settings that are used as a run uses them; None where they are refused."""
    found = outcome(lambda: load_settings(environ, config_file=config), SettingsError, secrets=_SECRETS)
    if found.error is not None:
        shows_no_secret(said_by(found.error), _SECRETS)
        return None
    settings = found.result()
    shows_no_secret([*settings.warnings, repr(settings)], _SECRETS)
    for hub in settings.hubs:
        if hub.connection_string is not None:
            # What is accepted is what the SDK reads; nothing is asked of anybody.
            EventHubProducerClient.from_connection_string(hub.connection_string)
            signature_end(hub.connection_string)
    if settings.state.table_connection_string is not None:
        outcome(lambda: AzureTableStore.connect(settings.state), StateError)
    return settings


# --- .env -------------------------------------------------------------------------------------------

_ENV = "".join(f"{name}='{value}'\n" for name, value in ENVIRONMENT.items())
_GOOD_LINES = ("GOOD_1='one'", "GOOD_2=two")


def check_env(case: bytes) -> None:
    """Take a case for lines of a `.env` file, between two that are good."""
    with _folder() as folder:
        path = folder / ".env"
        path.write_bytes(b"\n".join([_GOOD_LINES[0].encode(), case, _GOOD_LINES[1].encode(), b""]))
        found = outcome(lambda: read_env_file(path), SettingsError, secrets=_SECRETS)
        if found.value is not None:
            # A case may set them again.
            holds(["GOOD_1", "GOOD_2"], list(found.value), "variables")
            (folder / "config.yaml").write_bytes(_CONFIG)
            _loaded({}, folder / "config.yaml")


_env_values = st.sampled_from([*TEXTS, *CANARIES, _HUB, _STORAGE, '["people"]', "a#b", "${HOME}", "x y"])
_env_lines = st.builds(
    lambda name, between, quote, value, end: f"{name}{between}{quote}{value}{end}",
    st.sampled_from(
        [*ENVIRONMENT, "export A", "MICROSHARE_USER", "# A", "", "1A", "Ü", "GOOD_1", "LOG_LEVEL"]
    ),
    st.sampled_from(["=", "=", "=", ": ", " = ", "", "=="]),
    st.sampled_from(["'", '"', "", "`", "“"]),
    _env_values,
    st.sampled_from(["'", '"', "", "';", "' # why", "\\'", "\\"]),
)
_env_files = st.lists(_env_lines | st.sampled_from(_ENV.splitlines()), max_size=6).map(
    lambda lines: "\n".join(lines).encode("utf-8", "surrogatepass")
)

# --- config.yaml ------------------------------------------------------------------------------------


def check_config(case: bytes) -> None:
    """Take a case for a settings file."""
    with _folder() as folder:
        config = folder / "config.yaml"
        config.write_bytes(case)
        environ = {**ENVIRONMENT, "FORWARDER_CONFIG": str(config)}
        _loaded(environ, config)
        for feed in FEEDS:
            if not re.fullmatch(r"\S+( \S+){5}", outcome(lambda feed=feed: schedule(feed, environ)).result()):  # type: ignore[misc]
                raise Broken("a schedule that is none")


_PARSED: dict[str, Any] = yaml.safe_load(_CONFIG)
_WRITTEN = {
    **_PARSED,
    "microshare": {**_PARSED["microshare"], "username": "svc", "password": PASSWORD, "identity": ["NORTH"]},
    "event_hubs": {
        **_PARSED["event_hubs"],
        "primary": _HUB,
        "others": [
            {"name": "second", "connection_string": _HUB.replace("counts", "other"), "enabled": False},
            {"name": "third", "namespace": "example", "event_hub": "counts"},
        ],
        "names": {"hubs.example.test/counts": "first"},
    },
}
_YAML_LINES = [
    "a: &a [x, x]\nb: &b [*a, *a]\nc: &c [*b, *b]\nd: &d [*c, *c]\n",
    "microshare: &m\n  username: *m\n",
    "feeds: {<<: {a: 1}}\n",
    "run: {budget: 2026-02-30}\n",
    "run: {budget: 1:30}\n",
    "? [a, b]\n: c\n",
    "- a\n",
    "%YAML 9.9\n---\n",
    "--- a\n--- b\n",
    "x: !!python/object:os.system {}\n",
    "x: !!binary '%%'\n",
    "x: !!int 0x\n",
    "x: !!float .\n",
    "x: !!timestamp 9999-99-99\n",
    "\tx: y\n",
    "x: '${A:-${A:-${A:-a}}}'\n",
    "x: " + "${A:-" * 3_000 + "}" * 3_000 + "\n",
    "x: " + "[" * 3_000 + "\n",
    "x: " + "{a: " * 3_000 + "}" * 3_000 + "\n",
    "".join(
        f"l{level}: &l{level} [{', '.join([f'*l{level - 1}'] * 9) if level else 'x'}]\n"
        for level in range(12)
    ),
]
# JSON is YAML, but for what no JSON parser would take.
_config_documents = documents(_WRITTEN, _PARSED).map(written)
_config_lines = st.tuples(
    st.sampled_from([b"", _CONFIG]), st.lists(st.sampled_from(_YAML_LINES), max_size=3)
).map(lambda parts: parts[0] + "".join(parts[1]).encode())

# --- connection strings -----------------------------------------------------------------------------


def check_connection(case: bytes) -> None:
    """Take a case for each connection string, and for a hub among good ones."""
    text = case.decode("utf-8", "surrogateescape")
    if "\0" in text:
        return  # no environment holds it
    listed = json.dumps([_HUB, text, {"name": "z", "connection_string": text}])
    with _folder() as folder:
        (folder / "config.yaml").write_bytes(_CONFIG)
        config = folder / "config.yaml"
        everywhere = {
            "EVENT_HUB_CONNECTION_STRING": text,
            "EVENT_HUB_CONNECTION_STRINGS": listed,
            "AzureWebJobsStorage": text,
            "APPLICATIONINSIGHTS_CONNECTION_STRING": text,
        }
        _loaded({**ENVIRONMENT, **everywhere, "STATE_STORE": "table", "TELEMETRY": "azure-monitor"}, config)
        # Each alone, where others do not keep it from being used.
        name = {"E": "EVENT_HUB_CONNECTION_STRING", "I": "APPLICATIONINSIGHTS_CONNECTION_STRING"}.get(
            text[:1]
        )
        _loaded({**ENVIRONMENT, name or "AzureWebJobsStorage": text, "TELEMETRY": "azure-monitor"}, config)


@st.composite
def _connection_strings(draw: st.DrawFn) -> bytes:
    parts = draw(st.sampled_from([_HUB, _SIGNED, _STORAGE, _INSIGHTS])).split(";")
    for _ in range(draw(st.integers(0, 3))):
        at = draw(st.integers(0, len(parts) - 1))
        name, _, value = parts[at].partition("=")
        parts[at] = draw(
            st.sampled_from(
                [
                    "",
                    name,
                    f"{name}=",
                    f"{name.upper()}={value}",
                    f"{name} = {value}",
                    f"{value}={name}",
                    f"{name}={value};{name}={value}",
                    f"{name}=abc",
                    f"{name}={'x' * 300}",
                    f"{name}=sb://[::1/",
                    f"{name}=sb://user:{HUB_KEY}@hubs.example.test:99999/",
                    f"{name}=http://127.0.0.1:10002/devstoreaccount1",
                    f"{name}={{{value}}}",
                    f"{name}=\u00e9\ud800{value}",
                    "UseDevelopmentStorage=true",
                    "UseDevelopmentEmulator=true",
                    f"BlobEndpoint=https://x/;{value}",
                ]
            )
        )
    return ";".join(parts).encode("utf-8", "surrogatepass")


# --- counts -----------------------------------------------------------------------------------------

_COUNTS = b"time,in,out\n2026-03-02T08:00:00Z,5,3\n2026-03-02T08:15:00+01:00,7,\n2026-03-02T08:30:00Z,0,12\n"


def check_counts(case: bytes) -> None:
    """Take a case for a file of counts."""
    with _folder() as folder:
        path = folder / "counts.csv"
        path.write_bytes(case)
        found = outcome(lambda: read_counts(path), ValueError)
        if found.error is not None:
            if type(found.error) is not ValueError or str(path) not in str(found.error):
                raise Broken(f"an error that does not say where: {found.error!r}")
            return
        for time, came, left in found.result():
            if type(came) is not int or type(left) is not int:
                raise Broken(f"counts that are none: {came!r}, {left!r}")
            time.isoformat()


_cells = st.sampled_from(
    [
        "2026-03-02T08:00:00Z",
        "2026-03-02 08:00",
        "02/03/2026 08:00",
        "5",
        "5.0",
        "1,5",
        "-1",
        "",
        "total",
        "1e3",
        "٣",
        "9" * 5_000,
        '"',
        '"a\nb"',
        "NaN",
        "é",
    ]
)
_csv_files = st.tuples(
    st.sampled_from(
        ["time,in,out", "time;in;out", "Time,In,Out", "time,in", "time,in,out,in", "", "\ufefftime,in,out"]
    ),
    st.lists(st.lists(_cells, max_size=4), max_size=5),
    st.sampled_from([",", ";", "\t"]),
    st.sampled_from(["\n", "\r\n", "\r"]),
    st.sampled_from(["utf-8", "utf-16", "latin-1"]),
).map(
    lambda drawn: (
        drawn[3].join([drawn[0], *(drawn[2].join(row) for row in drawn[1])]).encode(drawn[4], "replace")
    )
)

TARGETS = (
    Target("env", "`.env` files", _env_files | changed_bytes(st.just(_ENV.encode())), check_env),
    Target(
        "config",
        "config.yaml",
        _config_documents | _config_lines | changed_bytes(st.just(_CONFIG)),
        check_config,
    ),
    Target(
        "connection",
        "connection strings",
        _connection_strings()
        | changed_bytes(
            st.sampled_from([_HUB.encode(), _SIGNED.encode(), _STORAGE.encode(), _INSIGHTS.encode()])
        ),
        check_connection,
    ),
    Target("counts", "files of counts (CSV)", _csv_files | changed_bytes(st.just(_COUNTS)), check_counts),
)
