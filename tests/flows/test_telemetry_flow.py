"""Telemetry as somebody turns it on: a command of its own, against the emulators and a stand-in."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator

import pytest

from app.base.program import APP_ROOT
from tests.environments.ingestion import FALSE_KEY, Ingestion
from tests.environments.terminal import Terminal


@pytest.fixture
def ingestion() -> Iterator[Ingestion]:
    with Ingestion() as found:
        yield found


@pytest.fixture
def terminal(terminal: Terminal, ingestion: Ingestion) -> Terminal:
    """A terminal in an environment like Azure's: the connection string is always set."""
    terminal.environ["APPLICATIONINSIGHTS_CONNECTION_STRING"] = ingestion.connection_string
    return terminal


def test_a_run_that_is_watched_sends_what_its_report_says_and_what_took_it_long(
    terminal: Terminal, ingestion: Ingestion
) -> None:
    ended = terminal.call("run", "people-counter", "--json", TELEMETRY="azure-monitor")

    [report] = ended.objects
    metrics = ingestion.metrics()
    assert ended.status == 0, ended.err
    assert "telemetry.failed" not in ended.err
    for key, hub in report["hubs"].items():
        for name in ("readings", "events", "bytes", "duplicates", "behind_s"):
            assert metrics[f"forwarder.{name}", "people_counter", key] == hub[name]
    assert metrics["forwarder.api_calls", "people_counter", None] == report["api_calls"]
    spans = ingestion.data("RemoteDependencyData")
    assert {span["name"] for span in spans} == {"run people_counter", "query", "deliver"}
    [run] = [span["properties"] for span in spans if span["name"].startswith("run")]
    assert (run["run"], run["ok"]) == (report["run"], "True")
    of_queries = [span["properties"]["location"] for span in spans if span["name"] == "query"]
    of_deliveries = {span["properties"]["hub"] for span in spans if span["name"] == "deliver"}
    assert len(of_queries) == report["slices"]
    assert of_deliveries == set(report["hubs"])
    assert all(span["success"] for span in spans)
    assert FALSE_KEY not in ended.out + ended.err


def test_a_run_ends_as_ever_where_nobody_takes_its_telemetry(
    terminal: Terminal, ingestion: Ingestion
) -> None:
    ingestion.status = 400

    ended = terminal.call("run", "people-counter", "--json", TELEMETRY="azure-monitor")

    assert (ended.status, ended.objects[0]["ok"]) == (0, True)
    assert sum("telemetry.failed" in line for line in ended.err.splitlines()) == 1
    assert FALSE_KEY not in ended.err


# Python reads a file of this name before it does anything else.
_SITE = """\
import sys
from importlib.abc import MetaPathFinder

class Lacking(MetaPathFinder):
    def find_spec(self, name, path, target=None):
        if name.startswith("azure.monitor"):
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)

sys.meta_path.insert(0, Lacking())
"""
WHAT_TO_DO = f"{sys.executable} -m pip install -r {APP_ROOT / 'requirements-telemetry.txt'}"


def without_the_exporter(terminal: Terminal, *words: str) -> subprocess.CompletedProcess[str]:
    """Call a command, telemetry on, where the exporter is not installed."""
    (terminal.folder / "site").mkdir(exist_ok=True)
    (terminal.folder / "site" / "sitecustomize.py").write_text(_SITE)
    lacking = {"TELEMETRY": "azure-monitor", "PYTHONPATH": str(terminal.folder / "site")}
    return subprocess.run(
        [sys.executable, "-m", "app", *words],
        cwd=APP_ROOT,
        env=terminal.environ | lacking,
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )


def test_without_the_exporter_a_run_delivers_and_says_once_what_to_install(
    terminal: Terminal, ingestion: Ingestion
) -> None:
    ended = without_the_exporter(terminal, "run", "people-counter", "--json")

    report = json.loads(ended.stdout)
    assert (ended.returncode, report["ok"], report["failures"]) == (0, True, [])
    assert all(hub["events"] for hub in report["hubs"].values())
    [line] = [line for line in map(json.loads, ended.stderr.splitlines()) if "telemetry" in line["event"]]
    assert (line["event"], line["run"]) == ("telemetry.failed", report["run"])
    assert "azure.monitor.opentelemetry.exporter is not installed" in line["error"]
    assert WHAT_TO_DO in line["error"]
    assert ingestion.paths == []


@pytest.mark.parametrize("words", [("check",), ("check", "--offline")], ids=" ".join)
def test_without_the_exporter_check_warns_and_says_what_to_install(
    terminal: Terminal, words: tuple[str, ...]
) -> None:
    ended = without_the_exporter(terminal, *words, "--json")

    [told] = [told for told in map(json.loads, ended.stdout.splitlines()) if told["check"] == "telemetry"]
    assert (ended.returncode, told["ok"]) == (0, True)
    assert WHAT_TO_DO in str(told)


def test_without_the_switch_nothing_is_sent_and_nothing_of_it_is_loaded(
    terminal: Terminal, ingestion: Ingestion
) -> None:
    ended = subprocess.run(
        [sys.executable, "-X", "importtime", "-m", "app", "run", "people-counter", "--json"],
        cwd=APP_ROOT,
        env=terminal.environ,
        capture_output=True,
        text=True,
        timeout=100,
        check=True,
    )

    loaded = [line.split("|")[-1].strip() for line in ended.stderr.splitlines() if "import time:" in line]
    assert "app.run.forwarder" in loaded
    watchers = (
        "opentelemetry",
        "azure.monitor",
        "app.telemetry.run_telemetry",
        "app.telemetry.azure_monitor",
    )
    assert [name for name in loaded if name.startswith(watchers)] == []
    assert ingestion.paths == []


def test_a_dry_run_sends_nothing(terminal: Terminal, ingestion: Ingestion) -> None:
    ended = terminal.call("run", "people-counter", "--dry-run", "--json", TELEMETRY="azure-monitor")

    assert ended.status == 0
    assert ingestion.paths == []
