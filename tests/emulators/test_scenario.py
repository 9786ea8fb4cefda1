"""The scenario leaves what it says: each trouble can be found with the commands, and comes again the same."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from dotenv import dotenv_values

from app.base.program import APP_ROOT
from emulators.scenario import LENGTH, TROUBLES, main, scenario

# Some 20 s of work, on a machine that may have other tests to do.
pytestmark = pytest.mark.timeout(600)

BEGIN = datetime(2026, 3, 2, 12, 0, tzinfo=UTC)
END = BEGIN + LENGTH + timedelta(minutes=20)


class Shown:
    """A scenario that another process shows, as somebody in a second terminal sees it."""

    def __init__(self, folder: Path, said: str) -> None:
        self.said = said
        settings = {name: value or "" for name, value in dotenv_values(folder / ".env").items()}
        self.environ = {"PATH": os.environ["PATH"], **settings}
        self.folder = folder

    def call(self, *words: str) -> list[dict[str, Any]]:
        command = [sys.executable, "-m", "tools.command_outputs", "--call", *words, "--json"]
        done = subprocess.run(
            command, cwd=APP_ROOT, env=self.environ, capture_output=True, text=True, check=False
        )
        assert done.returncode in (0, 1), done.stderr
        return [json.loads(line) for line in done.stdout.splitlines()]

    def reports(self, feed: str = "people_counter") -> list[dict[str, Any]]:
        days = sorted((self.folder / "state" / "history").glob("*.jsonl"))
        found = [json.loads(line) for day in days for line in day.read_text().splitlines()]
        return [report for report in found if report["feed"] == feed]


def hour(number: float) -> str:
    return f"{BEGIN + timedelta(hours=number):%Y-%m-%dT%H:%M}"


def between(reports: list[dict[str, Any]], first: float, last: float) -> list[dict[str, Any]]:
    return [report for report in reports if hour(first) <= report["started"] < hour(last)]


@pytest.fixture(scope="module")
def shown(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shown]:
    folder = tmp_path_factory.mktemp("scenario")
    options = ["--folder", str(folder), "--end", END.isoformat(), "--still"]
    process = subprocess.Popen(
        [sys.executable, "-m", "emulators.scenario", *options],
        cwd=APP_ROOT,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    lines = []
    for line in process.stdout:
        lines.append(line)
        if line.startswith("Ctrl-C"):
            break
    try:
        yield Shown(folder, "".join(lines))
    finally:
        process.send_signal(signal.SIGINT)
        assert process.wait(timeout=30) == 0


Check = Callable[[Shown], None]
CHECKS: list[Check] = []


def of_the_scenario(check: Check) -> Check:
    CHECKS.append(check)
    return check


@of_the_scenario
def it_says_what_went_wrong_and_how_to_look_at_it(shown: Shown) -> None:
    assert [trouble.what for trouble in TROUBLES if trouble.what not in shown.said] == []
    assert f"set -a; . {shown.folder}/.env; set +a" in shown.said
    assert "-m app status" in shown.said


@of_the_scenario
def runs_go_by_their_timers_but_while_none_fires(shown: Shown) -> None:
    reports = shown.reports()

    assert len(between(reports, 0.1, 39.1)) == 39 * 4
    assert between(reports, 39.1, 44.1) == []
    assert reports[-1]["started"] == hour(50.25) + ":00.000Z"


@of_the_scenario
def a_hub_is_down_for_six_hours_and_catches_up(shown: Shown) -> None:
    backup = [
        (report["started"], hub["error"], hub["behind_s"])
        for report in shown.reports()
        for key, hub in report["hubs"].items()
        if key.endswith("people-backup")
    ]
    failed = [started for started, error, _ in backup if error]

    assert (len(failed), failed[0][:16], failed[-1][:16]) == (24, hour(28.25), hour(34))
    assert next(behind for started, _, behind in backup if started > failed[-1]) == 0


@of_the_scenario
def a_location_fails_to_the_end_and_nothing_else_does(shown: Shown) -> None:
    failed = [
        (failure["location"], failure["hub"])
        for report in between(shown.reports(), 34.1, 60)
        for failure in report["failures"]
    ]

    assert set(failed) == {("Quay+One", None)}
    assert between(shown.reports(), 34.1, 45.1)[-1]["ok"]
    assert not shown.reports("hourly_snapshot")[-1]["ok"]


@of_the_scenario
def status_tells_of_the_rename_the_gap_and_what_was_set_aside(shown: Shown) -> None:
    people, snapshots = shown.call("status")

    assert {drift["kind"] for drift in people["drift"]} >= {"renamed"}
    assert {drift["kind"] for drift in snapshots["drift"]} == {"renamed"}
    assert [(gap["location"], gap["cause"]) for gap in people["gaps"]] == [("Tour Été", "missed")]
    assert {name["location"] for name in people["locations"]} >= {"Mill & Lane", "Mill Works"}


@of_the_scenario
def the_timeless_reading_is_set_aside_for_all_hubs_the_large_one_for_the_small(shown: Shown) -> None:
    set_aside = Counter(
        (item["location"], hub.rpartition("/")[2])
        for item in shown.call("quarantine", "list")
        for hub in item["hubs"]
    )

    assert set_aside == Counter(
        [
            ("50% Annex", "people-small"),
            *(("Example Beacon House", f"people-{name}") for name in ("live", "backup", "small")),
        ]
    )


@of_the_scenario
def runs_warn_of_what_nearly_came_too_late_and_of_what_the_source_forgot(shown: Shown) -> None:
    reports = shown.reports()
    warned = " ".join(warning for report in reports for warning in report["warnings"])
    drifts = [drift["kind"] for report in reports for drift in report["drift"]]

    assert "Tour Été: 1 reading came so late" in warned
    assert "Example Beacon House: 4 readings that the source showed before did not come back" in warned
    assert {"silent", "speaks again"} <= set(drifts)
    assert [len(changed["ids"]) for report in reports for changed in report["changed"]] == [1]


@of_the_scenario
def an_audit_finds_the_lost_the_late_the_repeated_and_the_forgotten(shown: Shown) -> None:
    audits = shown.call(
        "audit", "--feed", "people-counter", "--from", hour(24), "--to", f"{hour(50)}", "--json"
    )
    found = {audit["hub"].rpartition("/")[2]: audit for audit in audits}
    causes = {
        name: {(one["location"], one["cause"]) for one in audit["missing"] if one["cause"] != "behind"}
        for name, audit in found.items()
    }
    by_all = {("50% Annex", "late"), ("Example Beacon House", "quarantined")}

    assert causes == {
        "people-live": by_all | {("Tour Été", "lost")},
        "people-backup": by_all,
        "people-small": by_all | {("50% Annex", "quarantined")},
    }
    assert [len(found[name]["repeated"]) for name in ("people-live", "people-backup", "people-small")] == [
        0,
        0,
        1,
    ]
    assert [one["location"] for one in found["people-small"]["repeated"]] == ["50% Annex"]
    assert {one["location"] for one in found["people-live"]["unknown"]} == {"Example Beacon House"}


@of_the_scenario
def the_outputs_in_the_documents_are_those_of_the_commands(shown: Shown) -> None:
    compare_outputs(shown)


def compare_outputs(shown: Shown, *more: str) -> None:
    command = [sys.executable, "-m", "tools.command_outputs", "--compare", str(shown.folder), *more]
    compared = subprocess.run(command, cwd=APP_ROOT, capture_output=True, text=True, check=False)

    assert f"{compared.stdout}{compared.stderr}" == ""


def test_the_scenario_is_what_it_says_it_is(shown: Shown) -> None:
    # One test: each process that ran one of several would make a scenario of its own, for a minute.
    failed = []
    for check in CHECKS:
        try:
            check(shown)
        except AssertionError as error:
            failed.append(f"{check.__name__}: {error}")

    assert failed == []


@pytest.mark.long
def test_what_reads_hubs_prints_what_the_documents_show(shown: Shown) -> None:
    compare_outputs(shown, "--slow")


@pytest.mark.parametrize("hours", [2, pytest.param(LENGTH // timedelta(hours=1), marks=pytest.mark.long)])
def test_the_same_times_and_ports_give_the_same_state_to_the_byte(tmp_path: Path, hours: int) -> None:
    folder = tmp_path / "scenario"
    end = BEGIN + timedelta(hours=hours, minutes=7)
    with scenario(folder, BEGIN, end) as installation:
        ports = int(installation.source.url.rpartition(":")[2]), installation.hubs.port
    first = files_of(folder)
    with scenario(folder, BEGIN, end, 1, *ports):
        second = files_of(folder)

    assert {name.split("/")[0] for name in first} >= {
        "history",
        "peoplecounterstate.json",
        "snapshotstate.json",
    }
    assert first == second


def files_of(folder: Path) -> dict[str, bytes]:
    state = folder / "state"
    return {str(path.relative_to(state)): path.read_bytes() for path in state.rglob("*") if path.is_file()}


def test_another_seed_gives_other_readings(tmp_path: Path) -> None:
    end = BEGIN + timedelta(minutes=16)
    bodies = []
    for seed in (1, 2):
        with scenario(tmp_path / str(seed), BEGIN, end, seed) as installation:
            bodies.append([event.body for event in installation.hub("people-live").received()])

    assert bodies[0] != bodies[1]


def test_a_folder_that_holds_something_else_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "state").mkdir()
    (tmp_path / "state" / "kept.json").touch()

    ended = CliRunner().invoke(main, ["--folder", str(tmp_path), "--once"])

    assert ended.exit_code == 1
    assert "holds something else than a scenario" in ended.output
    assert (tmp_path / "state" / "kept.json").exists()


@pytest.mark.parametrize("end", ["soon", "2999-01-01T00:00Z"], ids=["no time", "a time to come"])
def test_an_end_that_is_no_time_of_the_past_is_refused(tmp_path: Path, end: str) -> None:
    ended = CliRunner().invoke(main, ["--folder", str(tmp_path), "--end", end])

    assert ended.exit_code == 2
    assert list(tmp_path.iterdir()) == []
