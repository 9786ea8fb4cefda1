"""Readers of what is kept: states, history, quarantine, in files and in tables."""

from __future__ import annotations

import base64
import io
import json
import re
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from azure.data.tables import EdmType, EntityProperty
from hypothesis import strategies as st

from app.base.checkpoints import FeedState
from app.base.errors import StateDamaged, StateError
from app.base.readings import QuarantinedReading
from app.feeds.people_counter import FEED as PEOPLE
from app.feeds.quarantine import NotForwardable, event_again
from app.health.facts import Kept
from app.health.feed_health import judge
from app.health.ticks import past_ticks
from app.run.planning import Limits, group_hubs, plan_slice, read_floor
from app.settings.loading import load_settings
from app.settings.schema import Settings
from app.state.azure_table import AzureTableStore
from app.state.document import decode, encode, whole_document, whole_from
from app.state.json_file import JsonFileStore
from app.state.state_text import document_in
from app.state.store import MendableStore
from app.state.table_rows import location_from_row, location_row
from tests.commands import ENVIRONMENT
from tests.fuzz.generators import changed_bytes, json_texts
from tests.fuzz.oracle import Broken, holds, outcome, registry_of_its_own
from tests.fuzz.target import Target
from tests.fuzz.targets_source import FEED_SETTINGS

NAME = PEOPLE.state_name
FEED = "people_counter"
NOW = datetime(2026, 3, 2, 14, tzinfo=UTC)
_LIMITS = Limits(look_back=timedelta(hours=1), slice_length=timedelta(hours=24), record_limit=999)
# What version 1.0.0 wrote, in small: one building, two hubs, everything that a state can have.
_GOLDEN = Path(__file__).parents[1] / "golden" / "1.0.0"


def _settings() -> Settings:
    return load_settings(ENVIRONMENT, dotenv=Path("none"))


_SETTINGS = _settings()


@contextmanager
def _folder() -> Iterator[Path]:
    with registry_of_its_own(), tempfile.TemporaryDirectory(prefix="fuzz-") as folder:
        yield Path(folder)


# --- states -----------------------------------------------------------------------------------------


def check_state(case: bytes) -> None:
    """Take a case for the file of a state: it is read as a whole, or refused as a whole."""
    with _folder() as folder:
        (folder / f"{NAME}.json").write_bytes(case)
        found = outcome(lambda: JsonFileStore(folder).load(NAME), StateError)
    if found.value is not None:
        _is_of_use(found.value)
    at_once = outcome(lambda: whole_from(decode(case)), ValueError)
    in_parts = outcome(lambda: whole_from(document_in(io.BytesIO(case))), ValueError)
    if at_once.value != in_parts.value or str(at_once.error) != str(in_parts.error):
        raise Broken(f"read at once it is {at_once}, and in parts {in_parts}")


def check_rows(case: bytes) -> None:
    """Take a case for the rows of a state's table, as JSON, `{"text": ...}` being a binary property."""
    rows = _rows(case)
    if rows is None:
        return
    with registry_of_its_own():
        found = outcome(lambda: _tables(rows).load(NAME), StateError)
        if found.value is not None:
            _is_of_use(found.value)


def _is_of_use(state: FeedState) -> None:
    """State that what was read can be written again, shown, and planned with."""
    # Written, its times have milliseconds; from then on it stays as it is.
    once = whole_from(decode(encode(whole_document(NAME, state))))
    again = whole_from(decode(encode(whole_document(NAME, once))))
    if again != once or once.locations.keys() != state.locations.keys():
        raise Broken(f"{state} is written as {once}, and that as {again}")
    for name, location in state.locations.items():
        row = outcome(lambda name=name, location=location: location_row(name, location), StateError)  # type: ignore[misc]
        if row.value is not None and location_from_row(row.value) != (name, once.locations[name]):
            raise Broken(f"{name!r} comes back from its row as another")
        cursors = {hub: read_floor(known, _LIMITS) for hub, known in location.checkpoints.items()}
        for group in group_hubs(name, location.checkpoints, cursors):
            plan_slice(group, NOW, _LIMITS)
    encode(judge(_SETTINGS.feeds[FEED], _SETTINGS, Kept(state), NOW).as_json())


# --- history ----------------------------------------------------------------------------------------

_REPORTS = [
    json.loads(line)
    for path in sorted((_GOLDEN / "files" / "history").glob(f"{NAME}-2026-03-02.jsonl"))
    for line in path.read_text().splitlines()
]
_GOOD_REPORTS = [{**_REPORTS[0], "run": f"good{number}"} for number in (1, 2)]


def check_history(case: bytes) -> None:
    """Take a case for a whole file of reports, and for a line between two good ones."""
    good = [json.dumps(report).encode() for report in _GOOD_REPORTS]
    _read_history(case)
    # A case may hold line ends: then it is several lines.
    runs = _read_history(b"\n".join([good[0], case, good[1], b""]))
    holds([report["run"] for report in _GOOD_REPORTS], runs, "reports")


def _read_history(content: bytes) -> list[str | None]:
    with _folder() as folder:
        path = folder / "history" / f"{NAME}-2026-03-02.jsonl"
        path.parent.mkdir()
        path.write_bytes(content)
        store = JsonFileStore(folder)
        history = store.history(NAME, NOW - timedelta(hours=48))
        read = lambda: list(past_ticks(history, _SETTINGS.feeds[FEED].schedule))  # noqa: E731
        runs = outcome(read, StateError).result()
        encode(judge(_SETTINGS.feeds[FEED], _SETTINGS, Kept(FeedState(), runs), NOW).as_json())
    return [run.run for run in runs]


# --- quarantine -------------------------------------------------------------------------------------

_QUARANTINED = [
    json.loads(path.read_text()) for path in sorted((_GOLDEN / "files" / "quarantine" / FEED).glob("*.json"))
]


def check_quarantine(case: bytes) -> None:
    """Take a case for a file in quarantine, and for its row in a table; others are beside it."""
    good = json.dumps(_QUARANTINED[0]).encode()
    with _folder() as folder:
        place = folder / "state" / "quarantine" / FEED
        place.mkdir(parents=True)
        for name, content in (("a", good), ("b", case), ("c", good)):
            (place / f"{name}.json").write_bytes(content)
        store = JsonFileStore(folder / "state")
        _taken_out(store)
        if outside := [path for path in folder.iterdir() if path.name != "state"]:
            raise Broken(f"written outside of the state's folder: {outside}")
        parts = [
            {"PartitionKey": name, "RowKey": "0000", "parts": 1, "doc0": content}
            for name, content in (("a", good), ("b", case), ("c", good))
        ]
        _taken_out(_tables(parts), release=False)


def _taken_out(store: MendableStore, *, release: bool = True) -> None:
    found: dict[str, QuarantinedReading] = {}

    def read() -> None:
        for key, item in store.quarantined(NAME, FEED):
            found[key] = item  # noqa: PERF403 - those before the error count, too

    outcome(read, StateDamaged)
    holds(["a", "c"], list(found), "quarantined readings")
    for key, item in found.items():
        outcome(lambda item=item: event_again(PEOPLE, item, FEED_SETTINGS), NotForwardable)  # type: ignore[misc]
        # Those beside it are good, and in the place where they belong.
        if release and key == "b":
            outcome(lambda item=item: store.quarantine(NAME, item), StateError)  # type: ignore[misc]
            outcome(lambda key=key, item=item: store.release(NAME, item.feed, key), StateError)  # type: ignore[misc]


# --- tables -----------------------------------------------------------------------------------------


class _Row(dict[str, Any]):
    """A row as the SDK gives it."""

    metadata: Mapping[str, Any] = {"etag": 'W/"1"'}


class _Table:
    """What of the SDK's client reading a table needs, with rows that are there."""

    url = "https://examplestate.table.example.test/rows"

    def __init__(self, rows: Sequence[Mapping[str, Any]]) -> None:
        self._rows = [_Row(row) for row in rows]

    def list_entities(self, **_: Any) -> Iterator[_Row]:
        return iter(self._rows)

    def query_entities(self, _: str, **__: Any) -> Iterator[_Row]:
        return iter(self._rows)


def _tables(rows: Sequence[Mapping[str, Any]]) -> AzureTableStore:
    table: Any = _Table(rows)
    open_table: Callable[[str], Any] = lambda _: table  # noqa: E731
    return AzureTableStore(open_table)


def _rows(case: bytes) -> list[dict[str, Any]] | None:
    """Read rows; None for what no table can hold."""
    try:
        found = json.loads(case)
    except (ValueError, RecursionError):
        return None
    if not isinstance(found, list) or not all(isinstance(row, dict) for row in found):
        return None
    rows = [{name: _stored(value) for name, value in row.items()} for row in found]
    keyed = all(isinstance(row.get(key), str) for row in rows for key in ("PartitionKey", "RowKey"))
    return rows if keyed else None


def _stored(value: Any) -> Any:
    match value:
        case {"text": str(text)}:
            return text.encode("utf-8", "surrogatepass")
        case {"base64": str(text)}:
            written = re.sub(r"[^A-Za-z0-9+/]", "", text)
            return base64.b64decode(written[: len(written) // 4 * 4])
        case {"int64": int(number)}:
            return EntityProperty(number, EdmType.INT64)
        case dict() | list():
            return json.dumps(value)  # a table has no such values
    return value


_TABLES = json.loads((_GOLDEN / "tables.json").read_text())


@st.composite
def _rows_with_odd_documents(draw: st.DrawFn) -> bytes:
    """Give the rows of a state, the document in one of them changed."""
    rows = [dict(row) for row in _TABLES[NAME]]
    at = draw(st.integers(0, len(rows) - 1))
    changed = draw(json_texts(json.loads(rows[at]["doc0"]["text"])))
    rows[at]["doc0"] = {"text": changed.decode("utf-8", "replace")}
    return json.dumps(rows).encode()


_STATE = (_GOLDEN / "files" / f"{NAME}.json").read_bytes()
_SMALL = {
    "name": NAME,
    **{name: value for name, value in json.loads(_STATE).items() if name not in ("locations", "keys")},
    "takeover": {
        "position": "2026-03-02T10:00:00.000Z",
        "source": "forwarder_state.json",
        "events": 7,
        "duplicates": 1,
        "at": None,
    },
    "keys": {"sum": "2026-03-02T13", "change.in": "-2026-03-02T13"},
    "locations": {
        "Tour Été": {
            **json.loads(_STATE)["locations"]["Tour Été"],
            "gaps": [
                {
                    "from": "2026-03-02T10:00:00.000Z",
                    "to": "2026-03-02T11:00:00.000Z",
                    "cause": "saturated",
                    "found": "2026-03-02T11:00:00.000Z",
                    "hubs": ["a"],
                }
            ],
        }
    },
}
_EARLIER = {"last_fetch_timestamp": "2026-03-02T10:00:00", "total_events_sent": 12}

TARGETS = (
    Target(
        "state",
        "states in files",
        json_texts(_SMALL, _SMALL, json.loads(_STATE), _EARLIER) | changed_bytes(st.just(_STATE)),
        check_state,
    ),
    Target("rows", "states in tables", _rows_with_odd_documents() | json_texts(_TABLES[NAME]), check_rows),
    Target(
        "history",
        "histories",
        json_texts(*_REPORTS) | changed_bytes(st.just(json.dumps(_REPORTS[0]).encode())),
        check_history,
    ),
    Target(
        "quarantine",
        "quarantined readings, in files and tables",
        json_texts(*_QUARANTINED) | changed_bytes(st.just(json.dumps(_QUARANTINED[0]).encode())),
        check_quarantine,
    ),
)
