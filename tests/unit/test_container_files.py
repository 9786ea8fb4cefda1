"""The Dockerfile, and the files by which engines run the image: what can be seen without one."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import click
import pytest
import yaml

from app.base.budget import GRACE
from app.base.program import APP_ROOT
from app.base.text import dashed
from app.base.version import VERSION
from app.cli import commands
from app.settings.document import fill_in
from app.settings.yaml_file import read_yaml
from tests.commands import FEEDS
from tests.environments.dockerfile import Dockerfile
from tools.bicep import parse

CONTAINER = APP_ROOT / "deploy" / "container"
BIN = Path(sys.executable).parent
SETTINGS = fill_in(read_yaml(APP_ROOT / "config.yaml"), {})
IMAGE = f"microshare-forwarder:{VERSION}"


@pytest.fixture(scope="module")
def dockerfile() -> Dockerfile:
    return Dockerfile.read(APP_ROOT / "Dockerfile")


@pytest.fixture(scope="module")
def service() -> dict[str, Any]:
    service: dict[str, Any] = yaml.safe_load((CONTAINER / "compose.yaml").read_text())["services"][
        "forwarder"
    ]
    return service


@pytest.fixture(scope="module")
def cron_job() -> dict[str, Any]:
    documents = yaml.safe_load_all((CONTAINER / "kubernetes" / "cronjob.yaml").read_text())
    return next(each["spec"] for each in documents if each["kind"] == "CronJob")


@pytest.fixture(scope="module")
def pod(cron_job: dict[str, Any]) -> dict[str, Any]:
    pod: dict[str, Any] = cron_job["jobTemplate"]["spec"]["template"]["spec"]
    return pod


def are_understood(words: list[str]) -> bool:
    """Whether the command line takes these words; raises what click says where it does not."""
    command = commands.get_command(click.Context(commands), words[0])
    assert command is not None
    with command.make_context(words[0], words[1:]):
        return True


# --- the image ---------------------------------------------------------------------------------------


def test_the_dockerfile_has_no_faults_that_hadolint_knows() -> None:
    done = subprocess.run(
        [BIN / "hadolint", APP_ROOT / "Dockerfile"], capture_output=True, text=True, check=False
    )

    assert (done.returncode, done.stdout + done.stderr) == (0, "")


def test_the_image_serves_as_an_account_without_rights_and_says_whether_it_is_well(
    dockerfile: Dockerfile,
) -> None:
    assert dockerfile.entry == ["microshare-forwarder"]
    assert dockerfile.words == ["serve"]
    assert dockerfile.user == "65532:65532"
    assert dockerfile.health[:2] == ["microshare-forwarder", "status"]
    assert are_understood(dockerfile.words)
    assert are_understood(dockerfile.health[1:])


def test_the_image_is_of_this_version(dockerfile: Dockerfile) -> None:
    assert dockerfile.labels["org.opencontainers.image.version"] == VERSION


def test_no_secret_can_be_given_to_the_build(dockerfile: Dockerfile) -> None:
    assert dockerfile.arguments.keys() == {"PYTHON_IMAGE", "LOCK"}
    assert not dockerfile.variables.keys() & SETTINGS.secret_variables


# --- compose -----------------------------------------------------------------------------------------


def test_the_compose_file_is_as_its_specification_wants_it() -> None:
    check: list[str | Path] = [
        BIN / "check-jsonschema",
        "--builtin-schema",
        "vendor.compose-spec",
        CONTAINER / "compose.yaml",
    ]
    done = subprocess.run(check, capture_output=True, text=True, check=False)

    assert done.returncode == 0, done.stdout


def test_the_service_has_no_rights_beyond_its_state(service: dict[str, Any], dockerfile: Dockerfile) -> None:
    assert (service["image"], service["user"]) == (IMAGE, dockerfile.user)
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert [mount for mount in service["volumes"] if not mount.endswith(":ro")] == [
        f"state:{dockerfile.volume}"
    ]
    assert not {"ports", "privileged", "network_mode", "environment", "cap_add"} & service.keys()


def test_the_service_finds_settings_and_secrets_where_the_command_looks(
    service: dict[str, Any], dockerfile: Dockerfile
) -> None:
    assert {mount.split(":")[1] for mount in service["volumes"]} == {
        dockerfile.volume,
        "/etc/microshare-forwarder",
        dockerfile.variables["CREDENTIALS_DIRECTORY"],
    }


def test_a_run_that_is_stopped_has_the_time_to_end(service: dict[str, Any], pod: dict[str, Any]) -> None:
    least = GRACE.total_seconds() + 10

    assert int(service["stop_grace_period"].removesuffix("s")) >= least
    assert pod["terminationGracePeriodSeconds"] >= least


# --- Kubernetes --------------------------------------------------------------------------------------


def test_the_cron_job_runs_each_feed_by_its_shortest_schedule_one_at_a_time(
    cron_job: dict[str, Any], pod: dict[str, Any]
) -> None:
    [container] = pod["containers"]
    job = cron_job["jobTemplate"]["spec"]

    assert (cron_job["schedule"], cron_job["timeZone"]) == ("*/15 * * * *", "Etc/UTC")
    assert cron_job["concurrencyPolicy"] == "Forbid"
    assert (job["backoffLimit"], pod["restartPolicy"]) == (0, "Never")
    # A run ends 4.5 minutes after its start at the latest; all of them, before the next time.
    assert len(FEEDS) * 270 < job["activeDeadlineSeconds"] < 900
    assert container["image"] == IMAGE
    assert are_understood(container["args"])


def test_the_pod_keeps_to_the_restricted_profile(pod: dict[str, Any]) -> None:
    [container] = pod["containers"]

    assert pod["securityContext"]["runAsNonRoot"] is True
    assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert container["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    assert {kind for volume in pod["volumes"] for kind in volume if kind != "name"} <= {
        "persistentVolumeClaim",
        "configMap",
        "secret",
        "emptyDir",
    }
    assert pod["automountServiceAccountToken"] is False


def test_the_pods_account_may_read_its_secrets_and_nobody_else_may(
    pod: dict[str, Any], dockerfile: Dockerfile
) -> None:
    [container] = pod["containers"]
    places = {mount["name"]: mount["mountPath"] for mount in container["volumeMounts"]}
    modes = {each["name"]: each.get("secret", each.get("configMap")) for each in pod["volumes"]}

    assert places.keys() == modes.keys()
    assert places["state"] == dockerfile.volume
    assert places["settings"] == "/etc/microshare-forwarder"
    assert {"name": "CREDENTIALS_DIRECTORY", "value": places["secrets"]} in container["env"]
    assert pod["securityContext"]["fsGroup"] == pod["securityContext"]["runAsGroup"] == 65532
    assert [modes[name]["defaultMode"] for name in ("settings", "secrets")] == [0o440, 0o440]


# --- Container Apps ----------------------------------------------------------------------------------


def test_the_jobs_run_each_feed_at_the_times_of_its_schedule() -> None:
    feeds = parse(CONTAINER / "container-apps-job.bicep").of("parameters")["feeds"]["default"]
    schedules = {
        dashed(name): re.sub(r"^\$\{\w+:-(.*)\}$", r"\1", feed["schedule"]) for name, feed in FEEDS.items()
    }

    assert {f"0 {when}": name for name, when in unquoted(feeds).items()} == {
        when: name for name, when in schedules.items()
    }


def test_the_jobs_name_secrets_and_variables_that_there_are() -> None:
    file = parse(CONTAINER / "container-apps-job.bicep")
    secrets = file.of("parameters")["secrets"]["default"]
    variables = unquoted(file.of("variables")["ofState"]["value"])

    assert unquoted(secrets).keys() <= SETTINGS.secret_variables
    assert variables.keys() - SETTINGS.variables - {"AZURE_CLIENT_ID", "CREDENTIALS_DIRECTORY"} == set()


def unquoted(written: dict[str, Any]) -> dict[str, Any]:
    return {
        name.strip("'"): value.strip("'") if isinstance(value, str) else value
        for name, value in written.items()
    }
