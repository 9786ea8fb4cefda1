"""What `check` says where nothing is asked of anybody, and of what this machine has."""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from itertools import pairwise
from pathlib import Path

import pytest

from app.base.instants import parse_time
from app.base.program import APP_ROOT
from app.base.text import dashed
from app.base.version import VERSION
from app.cli.check_host import (
    disk_findings,
    encoding_finding,
    host_file_problems,
    mount_type,
    packages_finding,
    python_finding,
)
from app.cli.check_results import CheckResult, CheckResults, doubt, fault
from app.cli.output import Output
from app.eventhub.encoding import COMPARED_WITH
from app.network.probing import Way
from app.settings.connection_strings import signature_end
from app.state.json_file import JsonFileStore
from tests.commands import FEEDS, Call


def test_as_json_each_refused_setting_comes_with_what_to_do(call: Call) -> None:
    ended = call("check", "--offline", "--json", MICROSHARE_PASSWORD="", MICROSHARE_IDENTITY="")

    assert ended.status == 2
    assert sorted((found["check"], found["ok"], found["said"]) for found in ended.objects) == [
        ("settings", False, "MICROSHARE_IDENTITY: not set"),
        ("settings", False, "MICROSHARE_PASSWORD: not set"),
    ]
    assert all(found["do"].startswith("write ") for found in ended.objects)


def test_offline_it_looks_at_what_this_machine_has(call: Call, store: JsonFileStore) -> None:
    ended = call("check", "--offline", "--json")

    findings = [found for found in ended.objects if not found["warning"]]
    assert ended.status == 0
    assert [found["check"] for found in findings] == [
        "settings",
        *(dashed(feed) for feed in FEEDS if feed != "people_counter"),
        "versions",
        "schedule of people-counter",
        "state",
        "state of people-counter",
    ]
    settings, off, *_, versions, _, state, of_feed = findings
    [config_file] = settings["files"]
    assert settings["said"] == f"1 feed on, 1 hub, as {config_file} and the environment say"
    assert Path(config_file).name == "config.yaml"
    assert off["said"] == "off: it has no view id, so its timer does nothing"
    assert versions["versions"]["forwarder"] == VERSION
    assert state["said"].startswith(f"{store.place} can be written")
    assert of_feed["said"] == (
        "nothing was forwarded yet; the first run begins at START_FROM, its run lock is free"
    )
    assert {found["do"] for found in findings} == {None}


def test_a_run_under_way_is_told_with_its_owner(call: Call, store: JsonFileStore) -> None:
    with store.lock("peoplecounterstate", "another-run"):
        ended = call("check", "--offline", "--json")

    assert ended.status == 0
    assert "a run is under way now" in ended.objects[-1]["said"]
    assert "another-run" in ended.objects[-1]["said"]


def test_a_state_folder_that_cannot_be_made_is_found(call: Call, tmp_path: Path) -> None:
    (tmp_path / "file").touch()

    ended = call("check", "--offline", "--json", STATE_DIR=str(tmp_path / "file" / "state"))

    assert ended.status == 1
    assert [found["check"] for found in ended.objects if not found["ok"]] == ["state"]
    assert ended.objects[-1]["do"] == "set STATE_DIR to a folder; a file is in its way"


def test_people_see_what_is_doubtful_and_what_to_do(call: Call) -> None:
    shown = call("check", "--offline", PEOPLE_COUNTER_SCHEDULE="*/20 * * * * *").out

    assert "warn    schedule   people-counter: it fires every 20 s, and a run may take 4 min" in shown
    assert "do: lower run.budget, or let it fire less often" in shown
    assert re.search(r"\n\n\d checks passed, \d with a warning\n$", shown)


FOUND = (
    CheckResult("settings", True, "2 feeds on"),
    doubt("settings", "one is doubtful; look at it"),
    CheckResult("hourly-snapshot", True, "off"),
    fault("view of people-counter", "404; check the id"),
    CheckResult("locations of people-counter", True, "all give readings"),
    fault("hub main of all", "no connection; check the network"),
)
WAY = Way("h.example.test:5671", "amqp", None, "public", steps={"dns": 0.012}, stopped="no answer")


def test_each_finding_has_one_shape_with_what_to_do_and_the_way_under_it(
    capfdbinary: pytest.CaptureFixture[bytes],
) -> None:
    findings = CheckResults(Output())
    for found in FOUND:
        findings.tell(found)
    findings.tell(fault("hub b\x1b[2J", "no connection; check the network"))
    findings.tell(replace(CheckResult("telemetry", True, "goes to it"), ways=[WAY]))

    assert capfdbinary.readouterr().out.decode().splitlines() == [
        "ok      settings   2 feeds on",
        "warn    settings   one is doubtful",
        "                   do: look at it",
        "ok      feed       hourly-snapshot: off",
        "FAILED  view       people-counter: 404",
        "                   do: check the id",
        "ok      locations  people-counter: all give readings",
        "FAILED  hub        main of all: no connection",
        "                   do: check the network",
        r"FAILED  hub        b\x1b[2J: no connection",
        "                   do: check the network",
        "ok      telemetry  goes to it",
        "                   way: direct, dns 12 ms: no answer",
    ]


@pytest.mark.parametrize(
    ("found", "said"),
    [
        (FOUND[:1], "1 check passed"),
        (FOUND[:3], "2 checks passed, 1 with a warning"),
        (FOUND[2:], "2 of 4 checks failed"),
        (FOUND, "2 of 5 checks failed, 1 with a warning"),
        ((FOUND[3], replace(FOUND[3], ok=True)), "1 of 1 check failed"),
    ],
    ids=["one", "a warning counts as passed", "failures", "all", "one that failed and also found something"],
)
def test_the_last_line_counts_checks_however_much_was_found_of_each(
    found: Sequence[CheckResult], said: str
) -> None:
    findings = CheckResults(Output(as_json=True))
    for one in found:
        findings.tell(one)

    assert findings.summary() == said
    assert findings.ok is ("failed" not in said)


# --- schedules --------------------------------------------------------------------------------------


def test_the_next_five_times_of_a_schedule_are_told(call: Call) -> None:
    ended = call("check", "--offline", "--json", PEOPLE_COUNTER_SCHEDULE="0 30 2 * * *")

    [found] = [found for found in ended.objects if found["check"] == "schedule of people-counter"]
    times = [parse_time(at) for at in found["next"]]
    assert found["ok"]
    assert [later - at for at, later in pairwise(times)] == [timedelta(days=1)] * 4
    assert {(at.hour, at.minute) for at in times} == {(2, 30)}
    assert datetime.now(UTC) < times[0] <= datetime.now(UTC) + timedelta(days=1)
    assert f"next {times[0]:%Y-%m-%d %H:%M}" in found["said"]


def test_a_schedule_that_never_fires_is_wrong(call: Call) -> None:
    ended = call("check", "--offline", "--json", PEOPLE_COUNTER_SCHEDULE="0 0 0 31 2 *")

    [found] = [found for found in ended.objects if not found["ok"]]
    assert (ended.status, found["check"]) == (1, "schedule of people-counter")
    assert "never fires" in found["said"]


# --- settings of two places -------------------------------------------------------------------------


def test_files_that_settings_are_read_from_are_named_and_what_the_environment_covers(
    call: Call, tmp_path: Path
) -> None:
    env_file = tmp_path / ".env"
    env_file.write_text(
        "MICROSHARE_USERNAME=file@example.test\nMICROSHARE_PASSWORD=canary-file\nSTART_FROM=36h\n"
    )

    ended = call("check", "--offline", "--json")

    read, covered = (found for found in ended.objects if found["check"] == "settings")
    assert ended.status == 0
    assert read["files"] == [str(tmp_path / "config.yaml"), str(env_file)]
    assert covered["warning"]
    assert covered["said"] == (
        f"MICROSHARE_PASSWORD, MICROSHARE_USERNAME: the environment has another value than {env_file}, and "
        "it counts"
    )
    assert "canary-file" not in ended.out


def test_other_values_in_local_settings_are_named_and_not_shown(call: Call, tmp_path: Path) -> None:
    values = {
        "FUNCTIONS_WORKER_RUNTIME": "python",
        "AzureWebJobsStorage": "UseDevelopmentStorage=true",
        "MICROSHARE_IDENTITY": "com.example.NORTH",
        "MICROSHARE_PASSWORD": "obviously-false-other",
        "MICROSHARE_API_KEY": "",
        "START_FROM": "3d",
    }
    (tmp_path / "local.settings.json").write_text(json.dumps({"IsEncrypted": False, "Values": values}))

    ended = call("check", "--offline", "--json")

    [said] = [found["said"] for found in ended.objects if "local.settings.json" in found["said"]]
    assert said.endswith("has other values of MICROSHARE_PASSWORD, START_FROM")
    assert ended.status == 0
    assert "obviously-false-other" not in ended.out


@pytest.mark.parametrize(
    "written", ["", "[]", '{"Values": []}', '{"IsEncrypted": true, "Values": {"START_FROM": "x"}}']
)
def test_local_settings_that_cannot_be_compared_are_let_be(call: Call, tmp_path: Path, written: str) -> None:
    (tmp_path / "local.settings.json").write_text(written)

    ended = call("check", "--offline")

    assert (ended.status, "local.settings.json" in ended.out) == (0, False)


def test_one_view_for_two_feeds_is_doubtful(call: Call) -> None:
    ended = call(
        "check",
        "--offline",
        "--json",
        MICROSHARE_SNAPSHOT_DASHBOARD_VIEW_ID="ffffffffffffffffffffff0a",
        MICROSHARE_SNAPSHOT_DATA_CONTEXT='["room"]',
    )

    assert [found["do"] for found in ended.objects if found["warning"] and found["check"] == "settings"] == [
        "correct one of them: a view serves one feed"
    ]


# --- versions ---------------------------------------------------------------------------------------


def test_the_project_has_one_version() -> None:
    project = tomllib.loads((APP_ROOT / "pyproject.toml").read_text())["project"]

    assert project["version"] == VERSION


NONE_OF_OURS = "is not one that this is made for (3.11, 3.12, 3.13)"


@pytest.mark.parametrize(
    ("running", "today", "ok", "said"),
    [
        ((3, 12), date(2026, 11, 27), True, None),
        ((3, 11), date(2027, 9, 1), True, "Python 3.11 gets security fixes until 2027-10-31 only"),
        ((3, 11), date(2027, 11, 1), False, "Python 3.11 gets no security fixes since 2027-10-31"),
        (
            (3, 10),
            date(2026, 11, 27),
            False,
            "Python 3.10 is not one that this is made for (3.11, 3.12, 3.13)",
        ),
        (
            (3, 14),
            date(2026, 11, 27),
            False,
            "Python 3.14 is not one that this is made for (3.11, 3.12, 3.13)",
        ),
    ],
    ids=["supported", "not for long", "no more", "too old", "too new"],
)
def test_a_python_is_judged_by_its_support(
    running: tuple[int, int], today: date, ok: bool, said: str | None
) -> None:
    found = python_finding(running, today)

    if said is None:
        assert found is None
    else:
        assert found is not None
        assert (found.ok, found.said) == (ok, said)
        assert found.do


@pytest.mark.parametrize(
    ("installed", "ok", "said"),
    [
        ({"one": "1.0", "two": "2.0"}, None, None),
        ({"one": "1.1", "two": "2.0"}, None, None),
        ({"one": "1.0", "two": "2.1"}, True, "installed in place of what is pinned: two 2.1 for 2.0"),
        ({"one": None, "two": "2.0"}, False, "not installed: one"),
    ],
    ids=["as pinned", "pinned for another Python", "another", "missing"],
)
def test_packages_are_compared_with_what_is_pinned(
    installed: dict[str, str | None], ok: bool | None, said: str | None
) -> None:
    found = packages_finding(installed, {"one": frozenset({"1.0", "1.1"}), "two": frozenset({"2.0"})})

    assert (found and found.ok, found and found.said) == (ok, said)


def test_another_sdk_than_is_known_is_said_to_be_slower() -> None:
    found = encoding_finding("5.99.0")

    assert found is not None
    assert (found.ok, found.warning) == (True, True)
    assert "azure-eventhub 5.99.0 itself" in found.said
    assert encoding_finding(COMPARED_WITH) is None


# --- the disk ---------------------------------------------------------------------------------------

MOUNTS = """\
22 1 8:1 / / rw,relatime - ext4 /dev/sda1 rw
30 22 0:25 / /run rw - tmpfs tmpfs rw
41 22 0:40 / /mnt/share rw - nfs4 server:/export rw
42 41 8:2 / /mnt/share/local\\040disk rw - xfs /dev/sdb1 rw
43 22 0:41 / /mnt/été rw shared:9 - fuse.sshfs host: rw
"""


@pytest.mark.parametrize(
    ("path", "kind"),
    [
        ("/var/lib/state", "ext4"),
        ("/run/state", "tmpfs"),
        ("/running", "ext4"),
        ("/mnt/share/state", "nfs4"),
        ("/mnt/share/local disk/state", "xfs"),
        ("/mnt/été", "fuse.sshfs"),
    ],
)
def test_the_file_system_of_a_folder_is_that_of_the_nearest_mount(path: str, kind: str) -> None:
    assert mount_type(Path(path), MOUNTS) == kind


@pytest.mark.parametrize(
    ("kind", "free_mb", "said"),
    [
        ("ext4", 10_000, []),
        (None, 10_000, []),
        ("fuseblk", 10_000, []),
        ("nfs4", 10_000, ["network"]),
        ("cifs", 10_000, ["network"]),
        ("fuse.sshfs", 10_000, ["network"]),
        ("tmpfs", 10_000, ["in memory"]),
        ("ext4", 5, ["5 MB left"]),
    ],
)
def test_a_disk_that_may_lose_the_state_is_doubtful(kind: str | None, free_mb: int, said: list[str]) -> None:
    found = list(disk_findings(Path("/state"), kind, free_mb * 1_000_000))

    assert len(found) == len(said)
    assert all(word in one.said and one.warning and one.do for word, one in zip(said, found, strict=True))


# --- keys of hubs -----------------------------------------------------------------------------------


def test_the_end_of_a_signature_is_read_from_its_connection_string() -> None:
    signature = "SharedAccessSignature sr=sb%3A%2F%2Fexample.test&sig=false&se=1772452800&skn=sender"

    assert signature_end(f"Endpoint=sb://example.test/;SharedAccessSignature={signature};EntityPath=a") == (
        parse_time("2026-03-02T12:00:00Z")
    )
    assert signature_end("Endpoint=sb://example.test/;SharedAccessKeyName=a;SharedAccessKey=b") is None


# --- shards from a queue ----------------------------------------------------------------------------

AS_DELIVERED = json.loads((APP_ROOT / "host.json").read_text())


def with_queues(**changes: object) -> dict[str, object]:
    """Give the host.json that is delivered with other settings of queues; None takes one out."""
    queues = {**AS_DELIVERED["extensions"]["queues"], **changes}
    return {
        **AS_DELIVERED,
        "extensions": {"queues": {name: value for name, value in queues.items() if value is not None}},
    }


@pytest.mark.parametrize(
    ("host", "said"),
    [
        (AS_DELIVERED, []),
        (with_queues(messageEncoding="base64"), []),
        (with_queues(batchSize=16), ["16 as extensions.queues.batchSize, which is to be 1"]),
        (with_queues(batchSize=True), ["True as extensions.queues.batchSize, which is to be 1"]),
        (
            with_queues(newBatchThreshold=None),
            ["lacks extensions.queues.newBatchThreshold, which is to be 0"],
        ),
        (with_queues(maxDequeueCount=5), ["5 as extensions.queues.maxDequeueCount, which is to be 1"]),
        (with_queues(messageEncoding="none"), ["messageEncoding, which is to be base64"]),
        ({**AS_DELIVERED, "extensionBundle": {}}, ["lacks extensionBundle.id"]),
        ({"version": "2.0"}, ["extensionBundle.id", "batchSize", "newBatchThreshold", "maxDequeueCount"]),
        ([], ["extensionBundle.id", "batchSize", "newBatchThreshold", "maxDequeueCount"]),
    ],
)
def test_host_json_is_to_let_an_instance_take_one_shard_at_a_time(host: object, said: list[str]) -> None:
    problems = list(host_file_problems(host))

    assert len(problems) == len(said)
    assert all(words in problem for words, problem in zip(said, problems, strict=True))


def test_offline_a_queue_of_shards_is_told_and_not_asked(call: Call) -> None:
    table = "DefaultEndpointsProtocol=https;AccountName=examplestate;AccountKey=YWJj"
    ended = call(
        "check", "--offline", "--json", AzureWebJobsStorage=table, SCALE_OUT="queue", SCALE_OUT_SHARDS="8"
    )

    assert [(found["ok"], found["said"]) for found in ended.objects if found["check"] == "queue"] == [
        (True, "by host.json an instance takes one shard at a time, and none again"),
        (True, "forwarder-shards, for 8 shards a feed; it is not asked with --offline"),
    ]
