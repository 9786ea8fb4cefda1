"""What runs on GitHub: right by its checkers, bound to commits, with no more rights than it needs."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from app.base.program import APP_ROOT
from tools import locks, package

GITHUB = APP_ROOT / ".github"
WORKFLOWS = sorted((GITHUB / "workflows").glob("*.yml"))
BIN = Path(sys.executable).parent


def checked(*words: str | Path) -> subprocess.CompletedProcess[str]:
    environ = os.environ | {"PATH": f"{BIN}{os.pathsep}{os.environ['PATH']}"}
    return subprocess.run(
        [BIN / words[0], *words[1:]],
        cwd=APP_ROOT,
        env=environ,
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )


def steps(workflow: Path) -> list[dict[str, Any]]:
    jobs = yaml.safe_load(workflow.read_text())["jobs"].values()
    return [step for job in jobs for step in job["steps"]]


@pytest.fixture
def injectable(tmp_path: Path) -> Path:
    """Give a workflow that a name of a branch could turn against us, with an unknown key."""
    text = (GITHUB / "workflows" / "test.yml").read_text()
    text = text.replace("run: make demo", "run: echo ${{ github.head_ref }}; make demo")
    (tmp_path / ".github" / "workflows").mkdir(parents=True)
    path = tmp_path / ".github" / "workflows" / "test.yml"
    path.write_text(text.replace("timeout-minutes:", "timeout-minuets:"))
    return path


def test_actionlint_finds_nothing() -> None:
    found = checked("actionlint", *WORKFLOWS)

    assert (found.returncode, found.stdout) == (0, "")


def test_zizmor_finds_nothing() -> None:
    found = checked("zizmor", "--offline", "--no-progress", GITHUB)

    assert found.returncode == 0, found.stdout


def test_workflows_and_dependabots_file_are_by_githubs_schemas() -> None:
    workflows = checked("check-jsonschema", "--builtin-schema", "vendor.github-workflows", *WORKFLOWS)
    dependabot = checked(
        "check-jsonschema", "--builtin-schema", "vendor.dependabot", GITHUB / "dependabot.yml"
    )

    assert (workflows.returncode, dependabot.returncode) == (0, 0), workflows.stdout + dependabot.stdout


def test_each_checker_finds_what_is_planted_for_it(injectable: Path) -> None:
    lint = checked("actionlint", injectable)
    audit = checked("zizmor", "--offline", "--no-progress", injectable)
    schema = checked("check-jsonschema", "--builtin-schema", "vendor.github-workflows", injectable)

    assert (lint.returncode, schema.returncode) == (1, 1)
    assert audit.returncode > 10
    assert "timeout-minuets" in lint.stdout
    assert "template-injection" in audit.stdout


@pytest.mark.parametrize("workflow", WORKFLOWS, ids=lambda path: path.name)
def test_actions_are_bound_to_a_commit_and_say_of_which_version(workflow: Path) -> None:
    used = re.findall(r"uses: (.*)", workflow.read_text())

    assert used
    assert [
        one for one in used if not re.fullmatch(r"[\w-]+/[\w-]+@[0-9a-f]{40} # v\d+\.\d+\.\d+", one)
    ] == []


def test_an_action_has_one_version_in_all_workflows() -> None:
    used = {one for workflow in WORKFLOWS for one in re.findall(r"uses: (\S+)", workflow.read_text())}

    assert len(used) == len({one.partition("@")[0] for one in used})


@pytest.mark.parametrize("workflow", WORKFLOWS, ids=lambda path: path.name)
def test_a_workflow_has_no_right_that_a_job_does_not_ask_for(workflow: Path) -> None:
    found = yaml.safe_load(workflow.read_text())

    assert found["permissions"] == {}
    writes = {
        (name, right)
        for name, job in found["jobs"].items()
        for right, kind in job["permissions"].items()
        if kind == "write"
    }
    assert writes == {
        "test.yml": set(),
        "release.yml": {("publish", "contents"), ("publish", "id-token"), ("publish", "attestations")},
        "deploy.yml": {("deploy", "id-token")},
    }.get(workflow.name)
    # What may write or sign in runs nothing of the tree, and no package of anybody's.
    for name in {name for name, _ in writes}:
        job = found["jobs"][name]
        assert "environment" in job
        assert not any(
            "make" in step.get("run", "").split() or "checkout" in step.get("uses", "")
            for step in job["steps"]
        )


def test_every_target_that_a_workflow_makes_is_there() -> None:
    targets = set(re.findall(r"(?m)^([a-z][a-z -]*):", (APP_ROOT / "Makefile").read_text()))
    there = {word for line in targets for word in line.split()}
    runs = " ; ".join(step.get("run", "") for workflow in WORKFLOWS for step in steps(workflow))
    made = {
        word for call in re.findall(r"\bmake ([^;\n]*)", runs) for word in call.split() if "=" not in word
    }

    assert {"test", "demo", "deploy-check", "wheel", "package", "sbom"} <= made
    assert made <= there


def test_what_ci_runs_is_run_on_every_python() -> None:
    [test] = [path for path in WORKFLOWS if path.name == "test.yml"]
    job = yaml.safe_load(test.read_text())["jobs"]["test"]
    ci = re.findall(r"(?m)^make (\S+)", (APP_ROOT / ".ci" / "run").read_text())

    assert job["strategy"]["matrix"]["python"] == list(locks.PYTHONS)
    assert re.findall(r"make (\S+)", " ".join(step.get("run", "") for step in job["steps"])) == ci


def test_each_python_that_has_a_package_can_be_deployed() -> None:
    [deploy] = [path for path in WORKFLOWS if path.name == "deploy.yml"]
    # YAML takes the key `on` for a truth.
    inputs = yaml.safe_load(deploy.read_text())[True]["workflow_dispatch"]["inputs"]

    assert inputs["python"]["options"] == list(package.PYTHONS)


def test_no_workflow_keeps_a_secret() -> None:
    texts = [workflow.read_text() for workflow in WORKFLOWS]

    assert [text for text in texts if "secrets." in text] == []
