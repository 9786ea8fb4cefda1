"""The rooms of app/ and who may use whom; each library in its one place."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
# From the top down, as a reading flows: a room uses rooms of the rows below its own, and no other.
# What stands in one row does not know one another; modules within a folder may.
ROWS = (
    ("__main__",),
    ("cli", "timer"),
    ("page", "wiring"),
    ("audit", "health", "telemetry"),
    ("run",),
    ("microshare", "feeds", "eventhub", "state"),
    ("network",),
    ("settings", "quality"),
    ("base",),
)
AT_THE_ROOT = {"__init__.py", "__main__.py", "timer.py", "wiring.py"}
SDKS = {
    "requests": "app/microshare/http.py",
    "filelock": "app/state/json_file.py",
    "yaml": "app/settings/yaml_file.py",
    "dotenv": "app/settings/env_file.py",
    "msgspec": "app/base/fast_json.py",
    "simplejson": "app/base/exact_json.py",
    "azure.eventhub._pyamqp": "app/eventhub/encoding.py",
    "jinja2": "app/page/render.py",
    "jsonschema": "app/feeds/validation.py",
    "azure.identity": "app/network/identity.py",
    "azure.monitor": "app/telemetry/azure_monitor.py",
    "opentelemetry": "app/telemetry/azure_monitor.py",
}


def sources() -> list[Path]:
    return sorted((ROOT / "app").rglob("*.py"))


@cache
def imports(file: Path) -> frozenset[str]:
    """Give the modules that a file imports, at whatever place in it."""
    return frozenset(_imports(ast.parse(file.read_text())))


def _imports(tree: ast.Module) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def room_of(module: str) -> str:
    return module.split(".")[1]


def row_of(room: str) -> int:
    return next(at for at, row in enumerate(ROWS) if room in row)


@pytest.mark.parametrize("file", sources(), ids=lambda file: str(file.relative_to(ROOT / "app")))
def test_imports_point_down(file: Path) -> None:
    if file == ROOT / "app" / "__init__.py":
        return
    room = file.relative_to(ROOT / "app").parts[0].removesuffix(".py")
    used = {room_of(name) for name in imports(file) if name.startswith("app.")} - {room}

    assert {name for name in used if row_of(name) <= row_of(room)} == set()


def test_the_root_holds_what_puts_the_rooms_together_and_nothing_else() -> None:
    assert {path.name for path in (ROOT / "app").glob("*.py")} == AT_THE_ROOT


def test_no_modules_import_one_another_in_a_circle() -> None:
    names = {".".join(path.relative_to(ROOT).with_suffix("").parts): path for path in sources()}
    modules = {name.removesuffix(".__init__"): path for name, path in names.items()}
    arrows = {name: set(imports(path)) & modules.keys() - {name} for name, path in modules.items()}

    assert circles_in(arrows) == []


def circles_in(arrows: Mapping[str, set[str]]) -> list[str]:
    """Give what is left when whatever uses nothing that is left has been taken away, again and again."""
    left = dict(arrows)
    while free := [name for name, used in left.items() if not used & left.keys()]:
        for name in free:
            del left[name]
    return sorted(left)


@pytest.mark.parametrize(("sdk", "place"), SDKS.items())
def test_each_library_is_imported_in_one_place(sdk: str, place: str) -> None:
    assert importers_of(sdk) == {place}


def test_the_tables_are_known_to_their_store_and_its_parts_only() -> None:
    parts = ("azure_table", "place_lists", "table_calls", "table_lease", "table_rows")

    assert importers_of("azure.data") == {f"app/state/{part}.py" for part in parts}


def importers_of(library: str) -> set[str]:
    return {
        str(file.relative_to(ROOT))
        for file in sources()
        for name in imports(file)
        if name == library or name.startswith(f"{library}.")
    }


def test_only_the_hub_package_knows_event_hubs() -> None:
    found = {
        file.relative_to(ROOT).parts[1]
        for file in sources()
        for name in imports(file)
        if name.startswith("azure.eventhub")
    }

    assert found == {"eventhub"}


def test_the_emulators_know_nothing_of_the_app_but_the_one_module_that_runs_it() -> None:
    found = {
        file.name
        for file in (ROOT / "emulators").glob("*.py")
        for name in imports(file)
        if name == "app" or name.startswith("app.")
    }

    assert found == {"history.py"}


def test_the_environment_is_read_in_one_place() -> None:
    found = {
        str(file.relative_to(ROOT))
        for file in sources()
        if re.search(r"os\.environ(?!\.setdefault)|os\.getenv", file.read_text())
    }

    assert found == {"app/settings/places.py"}
