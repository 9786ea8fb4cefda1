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
from tests.crashes.ground import LOCKED, START, Ground
from tests.crashes.torture import Torture

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="runs are forked, which Windows cannot")


@pytest.fixture(params=["json", "table"])
def ground(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Ground]:
    port = request.getfixturevalue("azurite_port") if request.param == "table" else None
    with Ground(tmp_path, azurite_port=port, locations=1) as ground:
        yield ground


def tally_of(ground: Ground, situation: Situation, *, every: int = 1, offset: int = 0) -> Tally:
    tally = Tally()
    for death in enumerate_deaths(ground, situation, every=every, offset=offset):
        tally.add(death)
    return tally


@pytest.mark.parametrize("part", range(4), ids=lambda part: f"part {part + 1} of 4")
def test_a_run_that_dies_at_a_boundary_is_made_good_by_the_next(ground: Ground, part: int) -> None:
    tally = tally_of(ground, "slow run", every=32, offset=part * 8)

    assert tally.violations == []
    assert tally.kinds.total() >= 2


@pytest.mark.parametrize("situation", ["first run", "takeover run", "recovery run"])
def test_so_is_one_that_dies_in_another_situation(ground: Ground, situation: Situation) -> None:
    tally = tally_of(ground, situation, every=29, offset=6)

    assert tally.violations == []
    assert tally.kinds.total() >= 2


def test_so_is_one_of_snapshots(tmp_path: Path) -> None:
    with Ground(tmp_path, "hourly_snapshot", locations=1) as ground:
        tally = tally_of(ground, "later run", every=12, offset=5)

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
    with Ground(tmp_path, azurite_port=port, locations=1) as ground:
        found = list(sweep(ground, failure, every=5 if failure.store == "table" else 11, first=3))

    assert [text for _, findings, _ in found for text in findings.violations] == []
    assert len(found) >= 2


def test_a_killed_run_keeps_its_lease_for_a_minute_and_is_made_good_then(
    tmp_path: Path, azurite_port: int
) -> None:
    with Ground(tmp_path, azurite_port=azurite_port, locations=1) as ground:
        ground.publish()
        killed = ground.run(die_at="batch to be sent", nth=2)
        wrong = ground.judge(killed).violations
        refused = ground.run(at_once=True)
        wrong += ground.judge(refused).violations
        later = ground.run()
        wrong += ground.judge_complete(later).violations

    assert (killed.ended.status, refused.ended.status, later.ended.status) == (-9, LOCKED, 0)
    assert wrong == []


@pytest.mark.parametrize("store", ["json", "table"])
def test_nothing_is_lost_over_kills_at_random_moments(
    tmp_path: Path, request: pytest.FixtureRequest, store: str
) -> None:
    port = request.getfixturevalue("azurite_port") if store == "table" else None
    with Ground(tmp_path, azurite_port=port, message_bytes=3000) as ground:
        score = Torture(ground, seed="7", real_every=6).go_on(18)

    assert score.violations == []
    assert score.lost == 0
    assert score.kills >= 7
    assert score.commands == 3


def test_the_oracle_sees_what_is_lost(tmp_path: Path) -> None:
    with Ground(tmp_path, locations=1) as ground:
        ground.publish()
        before = ground.judge_complete(ground.run()).violations
        ground.publish()
        name = ground.names[0]
        # Far outside the look-back, so that no run can find it.
        ground.plant(name, START - timedelta(hours=4), visible_from=ground.now)

        found = ground.judge_complete(ground.run()).violations

    assert before == []
    assert [text[:26] for text in found] == ["lost at hub a: Mill & Lane", "lost at hub b: Mill & Lane"]


def test_the_oracle_sees_what_repeats_without_a_reason(tmp_path: Path) -> None:
    with Ground(tmp_path, locations=1) as ground:
        ground.publish(flawed=False)
        before = ground.judge_complete(ground.run()).violations
        # As if it had never run, although the save was completed.
        shutil.rmtree(ground.environ["STATE_DIR"])

        found = ground.judge(ground.run()).violations

    assert before == []
    assert len(found) == 10
    assert all(text.startswith("repeated without a reason") for text in found)
