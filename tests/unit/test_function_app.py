"""What `function_app` declares, as the host would index it, on whatever Python the tests run."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from pathlib import Path

import pytest

from app.settings.scale_out import QUEUE
from app.settings.schedules import schedule
from tests.commands import FEEDS
from tests.environments.deployment import publish
from tests.environments.indexing import indexed
from tests.runtime.host import queue_bindings, shard_bindings, timer_bindings
from tools.runtime_venv import ROOT


def indexed_with(folder: Path, environ: Mapping[str, str]) -> dict[str, list[dict[str, object]]]:
    """Index the app with the settings of a folder that holds config.yaml alone, unless told otherwise."""
    shutil.copy(ROOT / "config.yaml", folder)
    return indexed(ROOT, {"FORWARDER_CONFIG": str(folder / "config.yaml"), **environ})


@pytest.mark.parametrize(
    ("environ", "people", "snapshot"),
    [
        ({}, "0 */15 * * * *", "0 0 * * * *"),
        (
            {"PEOPLE_COUNTER_SCHEDULE": "30 */5 * * * *", "HOURLY_SNAPSHOT_SCHEDULE": "0 20 */2 * * *"},
            "30 */5 * * * *",
            "0 20 */2 * * *",
        ),
        (
            {"PEOPLE_COUNTER_SCHEDULE": "*/15 * * * *", "HOURLY_SNAPSHOT_SCHEDULE": "hourly"},
            "0 */15 * * * *",
            "0 0 * * * *",
        ),
        ({"FORWARDER_CONFIG": "/nowhere/config.yaml"}, "0 0 * * * *", "0 0 * * * *"),
    ],
    ids=["nothing set", "both set", "both wrong", "no settings file"],
)
def test_the_functions_are_declared_whatever_the_environment_says(
    tmp_path: Path, environ: Mapping[str, str], people: str, snapshot: str
) -> None:
    found = indexed_with(tmp_path, environ)

    assert found["people_counter_forwarder"] == timer_bindings(people)
    assert found["hourly_snapshot_forwarder"] == timer_bindings(snapshot)


def test_every_feed_of_the_config_file_has_its_timer_function_and_no_other_is_there(tmp_path: Path) -> None:
    found = indexed_with(tmp_path, {})

    assert found == {f"{feed}_forwarder": timer_bindings(schedule(feed, {})) for feed in FEEDS}


@pytest.mark.parametrize("number", ["8", "", "9999"], ids=["a number", "no number", "too large a number"])
def test_in_queue_mode_timers_put_messages_on_a_queue_and_a_function_takes_them(
    tmp_path: Path, number: str
) -> None:
    found = indexed_with(tmp_path, {"SCALE_OUT": "queue", "SCALE_OUT_SHARDS": number})

    timers = {f"{feed}_forwarder": queue_bindings(schedule(feed, {}), QUEUE) for feed in FEEDS}
    assert found == timers | {"forward_shard": shard_bindings(QUEUE)}


@pytest.mark.parametrize("written", ["none", "", "queues", "${SCALE_OUT"])
def test_without_queue_mode_no_function_has_a_queue(tmp_path: Path, written: str) -> None:
    found = indexed_with(tmp_path, {"SCALE_OUT": written, "SCALE_OUT_SHARDS": "8"})

    assert found == {f"{feed}_forwarder": timer_bindings(schedule(feed, {})) for feed in FEEDS}


def test_queue_mode_in_the_env_file_counts(tmp_path: Path) -> None:
    (tmp_path / ".env").write_text("SCALE_OUT=queue\n")

    assert "forward_shard" in indexed_with(tmp_path, {})


def test_an_instance_takes_one_shard_at_a_time_and_none_again() -> None:
    queues = json.loads((ROOT / "host.json").read_text())["extensions"]["queues"]

    assert queues == {"batchSize": 1, "newBatchThreshold": 0, "maxDequeueCount": 1}


def test_a_schedule_in_the_env_file_counts(tmp_path: Path) -> None:
    (tmp_path / ".env").write_text("PEOPLE_COUNTER_SCHEDULE=0 */30 * * * *\n")

    assert indexed_with(tmp_path, {})["people_counter_forwarder"] == timer_bindings("0 */30 * * * *")


def test_a_deployment_takes_the_whole_app_and_nothing_of_the_workshop(tmp_path: Path) -> None:
    folder = publish(ROOT, tmp_path / "wwwroot")

    taken = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}
    app = {path.relative_to(ROOT).as_posix() for path in (ROOT / "app").rglob("*.py")}
    needed = {"function_app.py", "host.json", "requirements.txt", "config.yaml"}
    assert app | needed <= taken
    workshop = (
        "tests",
        "emulators",
        "benchmarks",
        "docs",
        "deploy",
        "node_modules",
        ".git",
        ".github",
        ".venv",
    )
    assert [path for path in taken if path.split("/")[0] in workshop] == []
    assert not any(path.split("/")[0].startswith((".env", "local.settings")) for path in taken)
