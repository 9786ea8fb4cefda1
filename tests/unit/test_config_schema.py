"""The JSON Schema of config.yaml: current, true of what is delivered, and as strict as the settings are."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import pytest
import yaml
from jsonschema import Draft202012Validator

from app.base.errors import SettingsError
from app.base.program import APP_ROOT
from app.settings.document import fill_in
from app.settings.json_schema import config_schema, section_schema
from app.settings.loading import load_settings
from app.settings.rules import Reads
from app.settings.schema import Written
from tests.commands import ENVIRONMENT, Call

CONFIG = APP_ROOT / "config.yaml"
SCHEMA = config_schema(CONFIG)
WRITTEN: Mapping[str, Any] = yaml.safe_load(CONFIG.read_text())
PLACE = "docs/config.schema.json"


def flaws(config: object) -> list[str]:
    return [
        f"{found.json_path}: {found.message}" for found in Draft202012Validator(SCHEMA).iter_errors(config)
    ]


def changed(path: str, value: object) -> dict[str, Any]:
    """Give the delivered settings with one value of their own; None takes the key out."""
    config: dict[str, Any] = deepcopy(dict(WRITTEN))
    *above, last = path.split(".")
    section = config
    for name in above:
        section = section[name]
    if value is None:
        del section[last]
    else:
        section[last] = value
    return config


def accepted(config: Mapping[str, Any], folder: Path) -> bool:
    """Whether the settings themselves take a file."""
    file = folder / "config.yaml"
    file.write_text(yaml.safe_dump(config))
    try:
        load_settings(ENVIRONMENT, config_file=file)
    except SettingsError:
        return False
    return True


def test_it_is_a_schema_and_the_file_in_docs_is_current(call: Call) -> None:
    Draft202012Validator.check_schema(SCHEMA)

    printed = call("config", "schema")

    assert json.loads(printed.out) == SCHEMA
    kept = (APP_ROOT / PLACE).read_text(encoding="utf-8")
    assert kept == printed.out, f"call `python -m app config schema > {PLACE}`"


def test_the_delivered_file_names_it_in_its_first_line_and_fits_it() -> None:
    assert CONFIG.read_text().splitlines()[0] == f"# yaml-language-server: $schema={PLACE}"
    assert flaws(WRITTEN) == []


def test_it_fits_the_delivered_file_with_its_variables_put_in() -> None:
    everything = ENVIRONMENT | {
        "LOG_LEVEL": "debug",
        "STATE_STORE": "Table",
        "START_FROM": "2026-03-01T00:00:00Z",
    }

    assert flaws(fill_in(WRITTEN, everything).values) == []


def keys_of(config: Mapping[str, Any]) -> Iterator[str]:
    for name, section in config.items():
        entries = section.items() if name == "feeds" else [("", section)] if isinstance(section, dict) else []
        for entry, keys in entries:
            yield from (".".join(filter(None, (name, entry, key))) for key in keys)


def test_every_delivered_key_that_has_a_comment_has_a_description() -> None:
    feed = SCHEMA["$defs"]["feed"]["properties"]

    assert SCHEMA["properties"]["run"]["properties"]["budget"]["description"].startswith("When a run stops")
    assert feed["look_back"]["description"].startswith("how far a run reads again")
    assert {name for name in feed if "description" not in feed[name]} == set()


@pytest.mark.parametrize("path", sorted(keys_of(WRITTEN)))
def test_a_value_of_any_key_can_be_a_variable_and_a_misspelt_key_is_refused(path: str) -> None:
    above, _, last = path.rpartition(".")

    assert last in ("parameters", "names", "location_names") or flaws(changed(path, "${ANY_NAME:-}")) == []
    assert flaws(changed(f"{above}.{last}x", "1")) != []


@dataclass(frozen=True, slots=True)
class Value:
    path: str
    value: object


SAME = [
    Value("run.concurrency", 8),
    Value("run.concurrency", "8"),
    Value("run.budget", "90s"),
    Value("run.start_from", "7d"),
    Value("microshare.identity", ["NORTH", "=com.example.SOUTH"]),
    Value("microshare.identity", '["NORTH"]'),
    Value("microshare.auth", "WEB"),
    Value("microshare.app_url", "http://127.0.0.1:8080/prefix"),
    Value("feeds.people_counter.data_context", "people"),
    Value("feeds.people_counter.locations", ["Example Beacon House"]),
    Value("feeds.hourly_snapshot.location_names", {"Example House": "House"}),
    Value("event_hubs.others", [{"namespace": "example", "event_hub": "counts", "enabled": "no"}]),
    Value("event_hubs.others", {"namespace": "example", "event_hub": "others"}),
    Value("event_hubs.bodies", {"primary": {"body": "With_ids", "properties": {"a": "b", "n": 1, "x": 1.5}}}),
    Value("event_hubs.bodies", {"primary": None}),
    Value("log_level", "Warning"),
    Value("run.concurrency", 0),
    Value("run.concurrency", True),
    Value("run.concurrency", "four"),
    Value("run.budget", 90),
    Value("run.budget", "90"),
    Value("run.start_from", "yesterday"),
    Value("microshare.identity", {"north": True}),
    Value("microshare.identity", []),
    Value("microshare.username", ""),
    Value("microshare.username", 7),
    Value("microshare.auth", "basic"),
    Value("microshare.app_url", "app.example.test"),
    Value("microshare.username", None),
    Value("microshare", None),
    Value("feeds", {}),
    Value("feeds.people_counter.schedule", "every hour"),
    Value("feeds.people_counter.view_id", "two words"),
    Value("feeds.people_counter.locations", "Example Beacon House"),
    Value("feeds.people_counter", ["a list"]),
    Value("feeds.hourly_snapshot.location_names", {"Example House": 1}),
    Value("event_hubs.others", [{"namespace": "example", "eventhub": "counts"}]),
    Value("event_hubs.others", [7]),
    Value("event_hubs.others", [{"namespace": "example", "event_hub": "e", "body": "xml"}]),
    Value("event_hubs.bodies", {"primary": {"body": "xml"}}),
    Value("event_hubs.bodies", {"primary": {"properties": {"recType": "x"}}}),
    Value("event_hubs.bodies", {"primary": {"properties": {"a": ["x"]}}}),
    Value("event_hubs.bodies", {"primary": {"properties": {"n": 2**31}}}),
    Value("event_hubs.bodies", "plain"),
    Value("state.store", "redis"),
    Value("state.account_name", "Example"),
    Value("log_level", "LOUD"),
    Value("unknown", "1"),
]


@pytest.mark.parametrize("value", SAME, ids=lambda value: f"{value.path} {value.value!r}"[:60])
def test_it_takes_what_the_settings_take_and_refuses_what_they_refuse(tmp_path: Path, value: Value) -> None:
    config = changed(value.path, value.value)

    assert (flaws(config) == []) == accepted(config, tmp_path)


@dataclass(frozen=True, slots=True, kw_only=True)
class Further(Written):
    """A section with a rule that nobody has described."""

    size: Annotated[int, Reads(len)] = 1


def test_a_rule_whose_form_is_not_known_is_an_error() -> None:
    with pytest.raises(KeyError):
        section_schema("further", Further)
