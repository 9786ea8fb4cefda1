"""Two at once: runs that overlap, hang, lose their lock or a location, as processes of their own."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from app.base.instants import format_time
from tests.commands import Ended
from tests.crashes.forks import ROOT
from tests.environments.forked import forked_commands
from tests.environments.killable import LEASE_OVER, LOCKED, NAMES, STATE_NAMES, Hanging, KillableInstallation

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="runs are forked, which Windows cannot")

ACKNOWLEDGED = f"acknowledged: a, {NAMES[0]}"


def ground_of(request: pytest.FixtureRequest, folder: Path, store: str) -> KillableInstallation:
    port = request.getfixturevalue("azurite_port") if store == "table" else None
    return KillableInstallation(folder, azurite_port=port)


def command(killable: KillableInstallation, *words: str) -> Ended:
    """Call a command as somebody would in a shell."""
    (killable.folder / "config.yaml").write_bytes((ROOT / "config.yaml").read_bytes())
    environ = {"PATH": os.environ["PATH"], "FORWARDER_CONFIG": str(killable.folder / "config.yaml")}
    return forked_commands().call(words, {**environ, **killable.environ}, killable.folder)


def failures(trace: list[Mapping[str, object]]) -> str:
    return "\n".join(str(line["failures"]) for line in trace if "failures" in line)


@contextmanager
def hanging_between_batches(killable: KillableInstallation, **options: Any) -> Iterator[Hanging]:
    """Stop a run that knows of its first acknowledgement, and has not saved it; no batch is on its way."""
    # By the time that one hub answers the other one has all.
    killable.hub("a").delay(1.0)
    with killable.hanging(ACKNOWLEDGED, **options) as hung:
        killable.hub("a").clear_faults()
        yield hung


@pytest.mark.parametrize("store", ["json", "table"])
def test_what_comes_beside_a_run_leaves_at_once_and_names_it(
    tmp_path: Path, request: pytest.FixtureRequest, store: str
) -> None:
    with ground_of(request, tmp_path, store) as killable:
        killable.publish()
        with killable.hanging("query begins: " + NAMES[0]) as first:
            asked = len(killable.source.requests)
            refused = [
                command(killable, "run", "people-counter"),
                command(killable, "state", "reset", "people-counter", "--yes"),
            ]
            asked_besides = len(killable.source.requests) - asked
            named = {int(found) for each in refused for found in re.findall(r"process (\d+)", each.err)}
            process = first.process
            ended, _ = first.go_on()
        after = killable.judge_complete(killable.run())

    assert [each.status for each in refused] == [LOCKED, LOCKED]
    assert all("another run works on this feed" in each.err for each in refused)
    assert (named, asked_besides) == ({process}, 0)
    assert (ended.status, after.violations) == (0, [])


@pytest.mark.parametrize("shard", ["1/1", "1/2"], ids=["without shards", "of a shard"])
def test_a_run_that_hung_past_its_lease_sends_nothing_once_another_took_over(
    tmp_path: Path, azurite_port: int, shard: str
) -> None:
    clock = tmp_path / "lease clock"
    clock.write_text("0")
    with KillableInstallation(tmp_path, azurite_port=azurite_port) as killable:
        assert killable.relay is not None
        killable.publish()
        with hanging_between_batches(killable, lease_clock=str(clock), shard=shard) as hung:
            refused = command(killable, "run", "people-counter")
            killable.relay.clock_ahead = LEASE_OVER
            killable.lease_left = True
            second = killable.judge_complete(killable.run())
            arrived, state = len(killable.arrivals), killable.state()
            # The machine was suspended for as long as the service's clock went on.
            clock.write_text(str(LEASE_OVER.total_seconds()))
            ended, trace = hung.go_on()
            sent_after, state_after = len(killable.arrivals) - arrived, killable.state()
        third = killable.judge_complete(killable.run())
        sent_again = len(killable.arrivals) - arrived

    assert refused.status == LOCKED
    assert (second.violations, third.violations) == ([], [])
    assert (ended.status, sent_after, sent_again) == (1, 0, 0)
    assert "the run lock was lost" in failures(trace)
    assert state_after.locations == state.locations


def test_shards_that_hang_and_run_at_the_same_time_do_not_touch_one_another(
    tmp_path: Path, azurite_port: int
) -> None:
    with KillableInstallation(tmp_path, azurite_port=azurite_port) as killable:
        killable.publish()
        with hanging_between_batches(killable, shard="1/2") as hung:
            other = killable.run(shard="2/2")
            # What it finds of the other location is of the run that hangs, which is judged at the end.
            killable.judge(other)
            held = killable.state().locations[NAMES[1]]
            ended, _ = hung.go_on()
            after = killable.state().locations
        arrived = len(killable.arrivals)
        whole = killable.judge_complete(killable.run())

    assert (other.ended.status, ended.status, whole.violations) == (0, 0, [])
    assert after[NAMES[1]] == held
    assert len(killable.arrivals) == arrived


def test_a_run_that_hangs_on_keeps_the_lock_of_its_file_and_loses_nothing(tmp_path: Path) -> None:
    with KillableInstallation(tmp_path) as killable:
        killable.publish()
        with hanging_between_batches(killable) as hung:
            refused = command(killable, "run", "people-counter")
            ended, _ = hung.go_on()
        arrived = len(killable.arrivals)
        after = killable.judge_complete(killable.run())

    assert refused.status == LOCKED
    assert f"process {hung.process}" in refused.err
    assert (ended.status, after.violations, len(killable.arrivals) - arrived) == (0, [], 0)


def test_a_run_whose_lock_file_somebody_removed_sends_nothing_once_another_took_over(tmp_path: Path) -> None:
    with KillableInstallation(tmp_path) as killable:
        killable.publish()
        with hanging_between_batches(killable) as hung:
            (Path(killable.environ["STATE_DIR"]) / f"{STATE_NAMES[killable.feed]}.lock").unlink()
            second = killable.judge_complete(killable.run())
            arrived = len(killable.arrivals)
            ended, trace = hung.go_on()
            sent_after = len(killable.arrivals) - arrived
        third = killable.judge_complete(killable.run())
        sent_again = len(killable.arrivals) - arrived

    assert (second.violations, third.violations) == ([], [])
    assert (ended.status, sent_after, sent_again) == (1, 0, 0)
    assert "the run lock was lost" in failures(trace)


def test_a_location_that_somebody_else_changed_stops_and_the_others_go_on(
    tmp_path: Path, azurite_port: int
) -> None:
    lost, other = NAMES
    with KillableInstallation(tmp_path, azurite_port=azurite_port) as killable:
        assert killable.relay is not None
        killable.publish()
        before = killable.judge_complete(killable.run())
        killable.publish()
        with killable.hanging(f"query begins: {lost}") as hung:
            killable.relay.clock_ahead = LEASE_OVER
            to = format_time(killable.now - timedelta(hours=1))
            reset = command(
                killable, "state", "reset", "people-counter", "--location", lost, "--to", to, "--yes"
            )
            killable.relay.clock_ahead = timedelta(0)
            changed = killable.state()
            ended, trace = hung.go_on()
            state = killable.state()
        after = killable.judge_complete(killable.run())

    assert (before.violations, reset.status, ended.status) == ([], 0, 1)
    assert f"another run changed '{lost}'" in failures(trace)
    assert f"another run changed '{other}'" not in failures(trace)
    assert state.locations[lost] == changed.locations[lost]
    assert {found.delivered_until for found in state.locations[other].checkpoints.values()} == {killable.now}
    assert after.violations == []
