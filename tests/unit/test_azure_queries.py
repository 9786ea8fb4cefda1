"""The queries, rules and workbook for Azure: one text each, on fields that are logged."""

from __future__ import annotations

import json
import re
from collections.abc import Collection
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import yaml
from azure.functions.timer import TimerRequest

import function_app
from app.base import log
from app.base.checkpoints import Drift
from app.base.program import APP_ROOT
from app.quality.lateness import Lateness
from app.run.report import Failure, HubReport, Quarantined, Report
from app.settings.scale_out import POISON

AZURE = APP_ROOT / "deploy" / "azure"
QUERIES = {path.stem: path.read_text() for path in sorted((AZURE / "queries").glob("*.kql"))}
RULES = (AZURE / "alerts.bicep").read_text()
WORKBOOK: dict[str, Any] = json.loads((AZURE / "workbook.json").read_text())
NOON = datetime(2026, 3, 2, 12, 0, tzinfo=UTC)
RUN: dict[str, Any] = json.loads(
    json.dumps(
        Report(
            run="r1",
            feed="people_counter",
            started=NOON,
            failing_since=NOON,
            until=NOON,
            took_s=1.0,
            locations=1,
            slices=1,
            api_calls=1,
            hubs={"example.test/a": HubReport(behind_s=0.0)},
            lateness=Lateness(1, 1.0, 1.0, 1.0),
            quarantined=[Quarantined("A", ("example.test/a",), "id", "too large", "nowhere")],
            failures=[Failure("A", "example.test/a", "down")],
            drift=[Drift("gone", "A", "A is gone", NOON - timedelta(hours=1))],
        ).as_json()
    )
)
# What a line of a shard's run has besides.
OF_SHARD = ("shard", "shards")
# What each name in a query stands for.
LOGGED: dict[str, Collection[str]] = {
    "run": {*RUN, *OF_SHARD},
    "hub[1]": RUN["hubs"]["example.test/a"].keys(),
    "run.lateness": RUN["lateness"].keys(),
    "failure": RUN["failures"][0].keys(),
    "reading": RUN["quarantined"][0].keys(),
    "drift": RUN["drift"][0].keys(),
    "line": {*RUN, *OF_SHARD, "event", "feed", "hub", "location", "error", "reason", "problems"},
}


# Of lines that the Functions host writes itself.
OF_THE_HOST = {"poison"}


@pytest.mark.parametrize("name", sorted(QUERIES.keys() - OF_THE_HOST))
def test_a_query_asks_for_fields_that_are_logged(name: str) -> None:
    used = re.findall(
        r"(?<![\w.\]\"])(run\.lateness|run|line|failure|reading|drift|hub\[1\])\.(\w+)", QUERIES[name]
    )

    assert used
    assert [(of, field) for of, field in used if field not in LOGGED[of]] == []


@pytest.mark.parametrize("name", sorted(QUERIES.keys() - OF_THE_HOST))
def test_a_query_looks_for_lines_as_they_begin(name: str) -> None:
    events = re.findall(r"""startswith '\{"event": "([a-z.]+)"'""", QUERIES[name])

    assert events
    assert [event for event in events if event not in str(log.__doc__)] == []


@pytest.mark.parametrize("name", QUERIES)
def test_the_documents_lead_to_a_query(name: str) -> None:
    assert f"(../deploy/azure/queries/{name}.kql)" in (APP_ROOT / "docs" / "logs.md").read_text()


def test_the_workbook_holds_the_queries_as_they_are() -> None:
    asked = {item["name"]: item["content"]["query"] for item in WORKBOOK["items"] if item["type"] == 3}

    assert WORKBOOK["version"] == "Notebook/1.0"
    assert asked == {name: QUERIES[name] for name in asked}
    assert {"health", "lag", "failures", "volume", "quarantine", "drift"} <= asked.keys()


def test_the_rules_are_made_of_the_queries_and_fire_once() -> None:
    loaded = re.findall(r"loadTextContent\('queries/([\w-]+)\.kql'\)", RULES)

    assert set(loaded) == {"no-data", "failing", "behind", "quarantine", "settings", "poison"}
    assert set(loaded) <= QUERIES.keys()
    assert "autoMitigate: true" in RULES


def test_every_query_is_in_the_workbook_or_in_a_rule() -> None:
    in_workbook = {item["name"] for item in WORKBOOK["items"] if item["type"] == 3}
    in_rules = set(re.findall(r"queries/([\w-]+)\.kql", RULES))

    assert in_workbook | in_rules == QUERIES.keys()


@pytest.mark.parametrize("rule", re.findall(r"queries/([\w-]+)\.kql", RULES))
def test_a_rule_is_split_by_columns_of_its_query(rule: str) -> None:
    split = re.search(rf"queries/{rule}\.kql'\)\n.*\n +dimensions: \[(.+)\]", RULES)
    assert split is not None
    columns = QUERIES[rule].split("| project")[-1]

    assert [name for name in re.findall(r"'(\w+)'", split[1]) if not re.search(rf"\b{name}\b", columns)] == []


def test_the_rule_of_killed_instances_looks_at_the_poison_queue_of_ours() -> None:
    assert f"== '{POISON}'" in QUERIES["poison"]


def test_lines_begin_as_the_queries_have_it(caplog: pytest.LogCaptureFixture) -> None:
    log.configure_logging("INFO", to_stderr=False)

    log.get_log(run="r1", feed="people_counter").info("run.finished", ok=True)

    assert caplog.records[0].getMessage().startswith('{"event": "run.finished"')


@pytest.mark.parametrize("name", ["behind", "failing", "health", "lag"])
def test_a_query_that_takes_the_last_run_for_the_feed_s_knows_of_shards(name: str) -> None:
    """What is true of one shard says nothing of the others."""
    last = QUERIES[name]

    assert re.search(r"\((?:run|line)\.shard\)", last)
    assert name == "lag" or re.search(r"max\([^)]+\) by [^|]*\bshards, shard\n", last)


@pytest.mark.parametrize(
    ("without", "said", "level"),
    [
        ("nothing", "the feed has no view id, so it is off", "INFO"),
        ("its entry", "the settings file has no entry feeds.hourly_snapshot, so it is off", "WARNING"),
    ],
)
def test_a_feed_that_is_off_says_so_as_the_rules_have_it(
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    tmp_path: Path,
    without: str,
    said: str,
    level: str,
) -> None:
    config = yaml.safe_load((APP_ROOT / "config.yaml").read_text())
    if without == "its entry":
        del config["feeds"]["hourly_snapshot"]
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(config))
    for name, value in {
        "FORWARDER_CONFIG": str(tmp_path / "config.yaml"),
        "MICROSHARE_USERNAME": "svc@example.test",
        "MICROSHARE_PASSWORD": "obviously-false-password",
        "MICROSHARE_IDENTITY": "com.example.NORTH",
        "MICROSHARE_LOCATIONS": '["Example Shed"]',
        "MICROSHARE_PC_DASHBOARD_VIEW_ID": "ffffffffffffffffffffff0a",
        "EVENT_HUB_CONNECTION_STRING": (
            "Endpoint=sb://a.example.test/;SharedAccessKeyName=x;SharedAccessKey=false-key;EntityPath=e"
        ),
        "STATE_DIR": str(tmp_path),
    }.items():
        monkeypatch.setenv(name, value)

    # A host that tells nothing of the invocation calls a function with its timer alone.
    function_app.hourly_snapshot_forwarder(TimerRequest(past_due=False))

    line = json.loads(caplog.records[-1].getMessage())
    assert (line["event"], line["reason"], caplog.records[-1].levelname) == ("run.skipped", said, level)
    for rule in ("no-data", "failing"):
        [ending] = re.findall(r'reason\) endswith "(.+?)"', QUERIES[rule])
        assert line["reason"].endswith(ending)
