"""What `function_app` declares, as the host would index it, on whatever Python the tests run."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest

from tests.runtime.host import publish, timer_bindings
from tools.runtime_venv import ROOT

_TELL_BINDINGS = """
import json, sys
import function_app
sys.stdout.write(json.dumps({
    function.get_function_name(): [json.loads(binding) for binding in function.get_raw_bindings()]
    for function in function_app.app.get_functions()
}))
"""


def indexed(folder: Path, environ: Mapping[str, str]) -> dict[str, list[dict[str, object]]]:
    """Import function_app in a process that has `environ` alone; give the bindings of each function."""
    shutil.copy(ROOT / "config.yaml", folder)
    told = subprocess.run(
        [sys.executable, "-c", _TELL_BINDINGS],
        cwd=ROOT,
        env={"FORWARDER_CONFIG": str(folder / "config.yaml"), **environ},
        stdout=subprocess.PIPE,
        check=True,
        timeout=60,
    )
    bindings: dict[str, list[dict[str, object]]] = json.loads(told.stdout)
    return bindings


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
def test_both_functions_are_declared_whatever_the_environment_says(
    tmp_path: Path, environ: Mapping[str, str], people: str, snapshot: str
) -> None:
    assert indexed(tmp_path, environ) == {
        "people_counter_forwarder": timer_bindings(people),
        "hourly_snapshot_forwarder": timer_bindings(snapshot),
    }


def test_a_schedule_in_the_env_file_counts(tmp_path: Path) -> None:
    (tmp_path / ".env").write_text("PEOPLE_COUNTER_SCHEDULE=0 */30 * * * *\n")

    assert indexed(tmp_path, {})["people_counter_forwarder"] == timer_bindings("0 */30 * * * *")


def test_a_deployment_takes_the_whole_app_and_nothing_of_the_workshop(tmp_path: Path) -> None:
    folder = publish(tmp_path / "wwwroot")

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
