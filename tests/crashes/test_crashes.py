"""Killed runs, and runs that are told failures: the next ordinary run makes it good. The short forms.

All boundaries of all situations, and all failures: `make crashes`; random kills for as long as one
likes: `make torture N=1000`.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from tests.crashes.enumeration import Situation, Tally, enumerate_deaths
from tests.crashes.failing import Failure, sweep
from tests.crashes.torture import Torture
from tests.environments.killable import LOCKED, START, KillableInstallation

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="runs are forked, which Windows cannot")


@pytest.fixture(params=["json", "table"])
def killable(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[KillableInstallation]:
    port = request.getfixturevalue("azurite_port") if request.param == "table" else None
    with KillableInstallation(tmp_path, azurite_port=port, locations=1) as killable:
        yield killable


def tally_of(
    killable: KillableInstallation, situation: Situation, *, every: int = 1, offset: int = 0
) -> Tally:
    tally = Tally()
    for death in enumerate_deaths(killable, situation, every=every, offset=offset):
        tally.add(death)
    return tally


def test_a_run_that_dies_at_a_boundary_is_made_good_by_the_next(killable: KillableInstallation) -> None:
    tally = tally_of(killable, "slow run", every=8)

    assert tally.violations == []
    assert tally.kinds.total() >= 8


@pytest.mark.parametrize("situation", ["first run", "takeover run", "recovery run"])
def test_so_is_one_that_dies_in_another_situation(
    killable: KillableInstallation, situation: Situation
) -> None:
    tally = tally_of(killable, situation, every=29, offset=6)

    assert tally.violations == []
    assert tally.kinds.total() >= 2


def test_so_is_one_of_snapshots(tmp_path: Path) -> None:
    with KillableInstallation(tmp_path, "hourly_snapshot", locations=1) as killable:
        tally = tally_of(killable, "later run", every=12, offset=5)

    assert tally.violations == []
    assert tally.kinds.total() >= 4


@pytest.mark.parametrize(
    "failure",
    [
        Failure("json", "ENOSPC", keeps=True),
        Failure("json", "EIO"),
        Failure("table", "BUSY", keeps=True),
        Failure("table", "LOST_ANSWER"),
    ],
    ids=lambda failure: failure.title,
)
def test_a_run_whose_store_fails_is_made_good_by_the_next(
    tmp_path: Path, request: pytest.FixtureRequest, failure: Failure
) -> None:
    port = request.getfixturevalue("azurite_port") if failure.store == "table" else None
    with KillableInstallation(tmp_path, azurite_port=port, locations=1) as killable:
        found = list(sweep(killable, failure, every=5 if failure.store == "table" else 11, first=3))

    assert [text for _, findings, _ in found for text in findings.violations] == []
    assert len(found) >= 2


def test_a_killed_run_keeps_its_lease_for_a_minute_and_is_made_good_then(
    tmp_path: Path, azurite_port: int
) -> None:
    with KillableInstallation(tmp_path, azurite_port=azurite_port, locations=1) as killable:
        killable.publish()
        killed = killable.run(die_at="batch to be sent", nth=2)
        wrong = killable.judge(killed).violations
        refused = killable.run(at_once=True)
        wrong += killable.judge(refused).violations
        later = killable.run()
        wrong += killable.judge_complete(later).violations

    assert (killed.ended.status, refused.ended.status, later.ended.status) == (-9, LOCKED, 0)
    assert wrong == []


@pytest.mark.parametrize("store", ["json", "table"])
def test_nothing_is_lost_over_kills_at_random_moments(
    tmp_path: Path, request: pytest.FixtureRequest, store: str
) -> None:
    port = request.getfixturevalue("azurite_port") if store == "table" else None
    with KillableInstallation(tmp_path, azurite_port=port, message_bytes=3000) as killable:
        score = Torture(killable, seed="7", real_every=6).go_on(24)

    assert score.violations == []
    assert score.lost == 0
    # A moment is a share of what runs took before, so that how many meet a run depends on the machine.
    assert score.kills >= 7
    assert score.commands == 4


def test_the_oracle_sees_what_is_lost(tmp_path: Path) -> None:
    with KillableInstallation(tmp_path, locations=1) as killable:
        killable.publish()
        before = killable.judge_complete(killable.run()).violations
        killable.publish()
        name = killable.names[0]
        # Far outside the look-back, so that no run can find it.
        killable.plant(name, START - timedelta(hours=4), visible_from=killable.now)

        found = killable.judge_complete(killable.run()).violations

    assert before == []
    assert [text[:24] for text in found] == ["hub a: lost: Mill & Lane", "hub b: lost: Mill & Lane"]


def test_the_oracle_sees_what_repeats_without_a_reason(tmp_path: Path) -> None:
    with KillableInstallation(tmp_path, locations=1) as killable:
        killable.publish(flawed=False)
        before = killable.judge_complete(killable.run()).violations
        # As if it had never run, although the save was completed.
        shutil.rmtree(killable.environ["STATE_DIR"])

        found = killable.judge(killable.run()).violations

    assert before == []
    assert len(found) == 10
    assert all(": repeated without a reason: " in text for text in found)
