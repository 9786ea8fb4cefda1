from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
BASE = {
    "certificates",
    "clocks",
    "model",
    "instants",
    "wording",
    "strict_json",
    "budget",
    "errors",
    "redaction",
    "log",
    "settings",
    "version",
}
# From the bottom up: a module may import what stands in its own line or above.
LAYERS = [
    BASE,
    {
        "planning",
        "feeds",
        "microshare",
        "eventhub",
        "state",
        "schedule",
        "report",
        "lateness",
        "outages",
        "fetching",
        "ncrontab",
        "proof",
        "drift",
    },
    {"ledger", "delivery", "locations", "audit", "tally", "observer"},
    {"forwarder"},
    {
        "connection_strings",
        "feed_checks",
        "config_text",
        "config_rules",
        "config",
        "wiring",
        "backfill",
        "page",
        "telemetry",
        "azure_monitor",
        "auditor",
        "repair",
    },
    {"timer", "cli", "__main__"},
]
# Parts of the second layer that must not know one another.
APART = {"feeds", "microshare", "state", "planning"}
SDKS = {
    "requests": "app/microshare/http.py",
    "tenacity": "app/microshare/retries.py",
    "filelock": "app/state/json_file.py",
    "pydantic": "app/config_rules.py",
    "yaml": "app/config_text.py",
    "dotenv": "app/config_text.py",
    "simplejson": "app/strict_json.py",
    "azure.data": "app/state/azure_table.py",
    "jinja2": "app/page/render.py",
    "azure.monitor": "app/azure_monitor.py",
    "opentelemetry": "app/azure_monitor.py",
}


def sources() -> list[Path]:
    return sorted((ROOT / "app").rglob("*.py"))


def imports(file: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module
            if node.module == "app":
                yield from (f"app.{alias.name}" for alias in node.names)


def part_of(name: str) -> str:
    return name.split(".")[1]


def layer_of(part: str) -> int:
    return next(at for at, layer in enumerate(LAYERS) if part in layer)


@pytest.mark.parametrize("file", sources(), ids=lambda file: str(file.relative_to(ROOT / "app")))
def test_imports_point_down(file: Path) -> None:
    if file == ROOT / "app" / "__init__.py":
        return
    part = file.relative_to(ROOT / "app").parts[0].removesuffix(".py")
    imported = {part_of(name) for name in imports(file) if name.startswith("app.")} - {part}

    assert {name for name in imported if layer_of(name) > layer_of(part)} == set()
    if part in APART:
        assert imported & APART == set()


@pytest.mark.parametrize(("sdk", "place"), SDKS.items())
def test_each_library_is_imported_in_one_place(sdk: str, place: str) -> None:
    found = {
        str(file.relative_to(ROOT))
        for file in sources()
        for name in imports(file)
        if name == sdk or name.startswith(f"{sdk}.")
    }

    assert found == {place}


def test_only_the_hub_package_knows_event_hubs() -> None:
    found = {
        file.relative_to(ROOT).parts[1]
        for file in sources()
        for name in imports(file)
        if name.startswith("azure.eventhub")
    }

    assert found == {"eventhub"}


def test_emulators_know_nothing_of_the_app() -> None:
    found = {
        name
        for file in (ROOT / "emulators").glob("*.py")
        for name in imports(file)
        if name == "app" or name.startswith("app.")
    }

    assert found == set()


def test_the_environment_is_read_in_one_place() -> None:
    found = {
        str(file.relative_to(ROOT))
        for file in sources()
        if re.search(r"os\.environ(?!\.setdefault)|os\.getenv", file.read_text())
    }

    assert found == {"app/config.py"}
