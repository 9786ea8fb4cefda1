"""Two at once: runs that overlap, hang, lose their lock or a location, as processes of their own."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from app.base.instants import format_time
from tests.crashes.forks import ROOT
from tests.crashes.ground import LEASE_OVER, LOCKED, NAMES, STATE_NAMES, Ground, Hanging

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="runs are forked, which Windows cannot")

ACKNOWLEDGED = f"acknowledged: a, {NAMES[0]}"


def ground_of(request: pytest.FixtureRequest, folder: Path, store: str) -> Ground:
    port = request.getfixturevalue("azurite_port") if store == "table" else None
    return Ground(folder, azurite_port=port)


def command(ground: Ground, *words: str) -> subprocess.CompletedProcess[str]:
    """Call a command as somebody would in a shell."""
    (ground.folder / "config.yaml").write_bytes((ROOT / "config.yaml").read_bytes())
    environ = {"PATH": os.environ["PATH"], "FORWARDER_CONFIG": str(ground.folder / "config.yaml")}
    return subprocess.run(
        [sys.executable, "-m", "app", *words],
        cwd=ground.folder,
        env={**environ, "PYTHONPATH": str(ROOT), **ground.environ},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


def failures(trace: list[Mapping[str, object]]) -> str:
    return "\n".join(str(line["failures"]) for line in trace if "failures" in line)


@contextmanager
def hanging_between_batches(ground: Ground, **options: Any) -> Iterator[Hanging]:
    """Stop a run that knows of its first acknowledgement, and has not saved it; no batch is on its way."""
    # By the time that one hub answers the other one has all.
    ground.hub("a").delay(1.0)
    with ground.hanging(ACKNOWLEDGED, **options) as hung:
        ground.hub("a").clear_faults()
        yield hung


@pytest.mark.parametrize("store", ["json", "table"])
def test_what_comes_beside_a_run_leaves_at_once_and_names_it(
    tmp_path: Path, request: pytest.FixtureRequest, store: str
) -> None:
    with ground_of(request, tmp_path, store) as ground:
        ground.publish()
        with ground.hanging("query begins: " + NAMES[0]) as first:
            asked = len(ground.source.requests)
            refused = [
                command(ground, "run", "people-counter"),
                command(ground, "state", "reset", "people-counter", "--yes"),
            ]
            asked_besides = len(ground.source.requests) - asked
            named = {int(found) for each in refused for found in re.findall(r"process (\d+)", each.stderr)}
            process = first.process
            ended, _ = first.go_on()
        after = ground.judge_complete(ground.run())

    assert [each.returncode for each in refused] == [LOCKED, LOCKED]
    assert all("another run works on this feed" in each.stderr for each in refused)
    assert (named, asked_besides) == ({process}, 0)
    assert (ended.status, after.violations) == (0, [])


def test_a_run_that_hung_past_its_lease_sends_nothing_once_another_took_over(
    tmp_path: Path, azurite_port: int
) -> None:
    clock = tmp_path / "lease clock"
    clock.write_text("0")
    with Ground(tmp_path, azurite_port=azurite_port) as ground:
        assert ground.relay is not None
        ground.publish()
        with hanging_between_batches(ground, lease_clock=str(clock)) as hung:
            refused = command(ground, "run", "people-counter")
            ground.relay.clock_ahead = LEASE_OVER
            ground.lease_left = True
            second = ground.judge_complete(ground.run())
            arrived, state = len(ground.arrivals), ground.state()
            # The machine was suspended for as long as the service's clock went on.
            clock.write_text(str(LEASE_OVER.total_seconds()))
            ended, trace = hung.go_on()
            sent_after, state_after = len(ground.arrivals) - arrived, ground.state()
        third = ground.judge_complete(ground.run())
        sent_again = len(ground.arrivals) - arrived

    assert refused.returncode == LOCKED
    assert (second.violations, third.violations) == ([], [])
    assert (ended.status, sent_after, sent_again) == (1, 0, 0)
    assert "the run lock was lost" in failures(trace)
    assert state_after.locations == state.locations


def test_a_run_that_hangs_on_keeps_the_lock_of_its_file_and_loses_nothing(tmp_path: Path) -> None:
    with Ground(tmp_path) as ground:
        ground.publish()
        with hanging_between_batches(ground) as hung:
            refused = command(ground, "run", "people-counter")
            ended, _ = hung.go_on()
        arrived = len(ground.arrivals)
        after = ground.judge_complete(ground.run())

    assert refused.returncode == LOCKED
    assert f"process {hung.process}" in refused.stderr
    assert (ended.status, after.violations, len(ground.arrivals) - arrived) == (0, [], 0)


def test_a_run_whose_lock_file_somebody_removed_sends_nothing_once_another_took_over(tmp_path: Path) -> None:
    with Ground(tmp_path) as ground:
        ground.publish()
        with hanging_between_batches(ground) as hung:
            (Path(ground.environ["STATE_DIR"]) / f"{STATE_NAMES[ground.feed]}.lock").unlink()
            second = ground.judge_complete(ground.run())
            arrived = len(ground.arrivals)
            ended, trace = hung.go_on()
            sent_after = len(ground.arrivals) - arrived
        third = ground.judge_complete(ground.run())
        sent_again = len(ground.arrivals) - arrived

    assert (second.violations, third.violations) == ([], [])
    assert (ended.status, sent_after, sent_again) == (1, 0, 0)
    assert "the run lock was lost" in failures(trace)


def test_a_location_that_somebody_else_changed_stops_and_the_others_go_on(
    tmp_path: Path, azurite_port: int
) -> None:
    lost, other = NAMES
    with Ground(tmp_path, azurite_port=azurite_port) as ground:
        assert ground.relay is not None
        ground.publish()
        before = ground.judge_complete(ground.run())
        ground.publish()
        with ground.hanging(f"query begins: {lost}") as hung:
            ground.relay.clock_ahead = LEASE_OVER
            to = format_time(ground.now - timedelta(hours=1))
            reset = command(
                ground, "state", "reset", "people-counter", "--location", lost, "--to", to, "--yes"
            )
            ground.relay.clock_ahead = timedelta(0)
            changed = ground.state()
            ended, trace = hung.go_on()
            state = ground.state()
        after = ground.judge_complete(ground.run())

    assert (before.violations, reset.returncode, ended.status) == ([], 0, 1)
    assert f"another run changed '{lost}'" in failures(trace)
    assert f"another run changed '{other}'" not in failures(trace)
    assert state.locations[lost] == changed.locations[lost]
    assert {found.delivered_until for found in state.locations[other].checkpoints.values()} == {ground.now}
    assert after.violations == []
