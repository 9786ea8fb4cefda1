"""Every table of every command at the widths of terminals: what a row is about is always there, whole."""

from __future__ import annotations

import ast
import json
import re
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from app.base.checkpoints import Checkpoint, Discovery, FeedState, HubRecord, LocationState, Place
from app.base.program import APP_ROOT
from app.base.readings import QuarantinedReading
from app.cli.output import Output
from app.cli.run import show
from app.run.report import HubReport, Report
from app.settings.loading import load_settings
from app.state.document import encode, whole_document
from app.state.json_file import JsonFileStore
from tests.commands import FALSE_KEY, Call

HOUR = timedelta(hours=1)
NOW = datetime.now(UTC).replace(microsecond=0)
LOCATIONS = ["Main Building (East Wing)", "Example Beacon House", "Mill & Lane", "Quay+One", "50% Annex"]
HUBS = {"acme-facilities": "facilities", "analytics-of-north": "analytics", "primary": "counts"}
KEYS = [f"example.servicebus.windows.net/{entity}" for entity in HUBS.values()]
NAME = "peoplecounterstate"
READING_IDS = ["Zk1f3Qm0aB9xY7Lw", "-Zk1f3Qm0aB9xY7L"]
FILE = "exported.json"

CHANGED = [*LOCATIONS, *HUBS]
COMMANDS = {
    "config": ("config show", ["largest_answer_bytes", "location_names", *HUBS, *KEYS]),
    "status": ("status", HUBS),
    "status of all": ("status --all", CHANGED),
    "skip": ("state skip people-counter --to 0s --yes", CHANGED),
    "reset": ("state reset people-counter --yes", CHANGED),
    "reset of a hub": ("state reset people-counter --hub analytics-of-north --to 9h --yes", LOCATIONS),
    "import": (f"state import people-counter {FILE} --yes", CHANGED),
    "move": ("state move people-counter --from Quay+One --to Quay --yes", ["Quay", *HUBS]),
    "quarantine": ("quarantine list", [*READING_IDS, *LOCATIONS[:2], *HUBS]),
    "discard": ("quarantine replay --all --discard --yes", [*READING_IDS, *LOCATIONS[:2], *HUBS]),
}


def _hub(entity: str, name: str) -> dict[str, str]:
    return {
        "name": name,
        "connection_string": "Endpoint=sb://example.servicebus.windows.net/;SharedAccessKeyName=sender;"
        f"SharedAccessKey={FALSE_KEY};EntityPath={entity}",
    }


def _state(behind: timedelta) -> FeedState:
    """Give a state in which each hub of each location is somewhere else."""
    ids = {NOW.replace(minute=0, second=0) - 40 * HOUR: frozenset({"AAAAAAAAAAAAAAAA"})}
    places = tuple(Place(name, "com.example.NORTH", 4) for name in [*LOCATIONS, "Quay"])

    def at(hub: int, location: int) -> Checkpoint:
        position = NOW - behind - (hub + 3 * location) * HOUR
        return Checkpoint(position, position - 48 * HOUR, ids)

    locations = {
        name: LocationState(
            NOW,
            checkpoints={key: at(hub, location) for hub, key in enumerate(KEYS)},
            hubs={key: HubRecord(5, 5, last_success=NOW) for key in KEYS},
        )
        for location, name in enumerate(LOCATIONS)
    }
    return FeedState(locations, Discovery(NOW, places), last_run={"run": "r1", "ok": True})


@pytest.fixture
def installation(store: JsonFileStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """Give what changes the environment, of an installation in trouble."""
    hubs = [_hub(entity, name) for name, entity in HUBS.items()]
    monkeypatch.setenv("EVENT_HUB_CONNECTION_STRING", "")
    monkeypatch.setenv("EVENT_HUB_CONNECTION_STRINGS", json.dumps(hubs))
    monkeypatch.setenv("TTY_COMPATIBLE", "1")
    monkeypatch.chdir(tmp_path)
    store.save(NAME, _state(10 * HOUR), LOCATIONS)
    Path(FILE).write_bytes(encode(whole_document(NAME, _state(12 * HOUR))))
    for reading_id, location in zip(READING_IDS, LOCATIONS, strict=False):
        reason = "it is larger than a message of the hub (262,144 bytes)"
        store.quarantine(
            NAME, QuarantinedReading("people_counter", location, tuple(KEYS), reading_id, reason, NOW, b"{}")
        )
    return monkeypatch


def _plain(shown: str) -> str:
    return re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", shown)


def _missing(keys: object, shown: str) -> list[str]:
    """Give the keys that do not stand there, word by word: a key may fold between its words."""
    there = {word.rstrip(",") for word in _plain(shown).split()}
    return [word for key in keys for word in key.split() if word not in there]  # type: ignore[attr-defined]


@pytest.mark.parametrize("width", [60, 80, 120])
@pytest.mark.parametrize(("command", "keys"), COMMANDS.values(), ids=COMMANDS)
def test_what_a_row_is_about_is_there_at_any_width(
    command: str, keys: list[str], width: int, installation: pytest.MonkeyPatch, call: Call
) -> None:
    installation.setenv("COLUMNS", str(width))

    ended = call(*command.split(" "))

    assert _missing(keys, ended.out) == []
    assert max(map(len, _plain(ended.out).splitlines())) <= width


@pytest.mark.parametrize("width", [60, 80, 120])
def test_what_a_run_gave_each_hub_is_there_at_any_width(
    width: int, installation: pytest.MonkeyPatch, capfdbinary: pytest.CaptureFixture[bytes]
) -> None:
    installation.setenv("COLUMNS", str(width))
    hubs = {key: HubReport(1_204, 1_204, 17, delivered_until=NOW, behind_s=900.0) for key in KEYS}

    show(Report("r1", "people_counter", NOW, NOW, 8.3, 6, 6, 12, hubs), load_settings(), Output())

    shown = capfdbinary.readouterr().out.decode()
    assert _missing([*HUBS, "1,204"], shown) == []


def test_every_table_says_what_its_rows_are_about() -> None:
    without = []
    for path in sorted((APP_ROOT / "app" / "cli").glob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.List | ast.Tuple) and re.search(r"\bColumn\(", text := ast.unparse(node)):
                # What begins with the columns of another table has the key of that one.
                is_whole = isinstance(node.elts[0], ast.Call)
                if is_whole and "key=True" not in text:
                    without.append(f"{path.name}:{node.lineno}")

    assert without == []
