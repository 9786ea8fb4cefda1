"""Killed runs: whatever they were doing, the next ordinary run makes it good. The short forms.

All boundaries of all situations: `python -m tests.crashes.enumeration`; random kills for as long as
one likes: `make torture N=1000`.
"""

from __future__ import annotations

import os
import shutil
from datetime import timedelta
from pathlib import Path

import pytest

from tests.crashes.enumeration import Situation, Tally, enumerate_deaths
from tests.crashes.ground import LOCKED, START, Feed, Ground
from tests.crashes.torture import Torture

PARTS = 6

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="runs are forked, which Windows cannot")


def tally_of(ground: Ground, situation: Situation, *, every: int = 1, offset: int = 0) -> Tally:
    tally = Tally()
    for death in enumerate_deaths(ground, situation, every=every, offset=offset):
        tally.add(death)
    return tally


@pytest.mark.parametrize("part", range(PARTS), ids=lambda part: f"part {part + 1} of {PARTS}")
def test_a_run_that_dies_at_any_boundary_is_made_good_by_the_next(tmp_path: Path, part: int) -> None:
    with Ground(tmp_path, locations=1) as ground:
        tally = tally_of(ground, "slow run", every=PARTS, offset=part)

    assert tally.violations == []
    assert tally.kinds.total() >= 8


@pytest.mark.parametrize(
    ("feed", "situation"),
    [("people_counter", "first run"), ("hourly_snapshot", "later run")],
    ids=["first run", "snapshots"],
)
def test_so_is_one_that_dies_in_another_situation(tmp_path: Path, feed: Feed, situation: Situation) -> None:
    with Ground(tmp_path, feed, locations=1) as ground:
        tally = tally_of(ground, situation, every=9, offset=4)

    assert tally.violations == []
    assert tally.kinds.total() >= 5


def test_so_is_one_that_keeps_its_state_in_tables(tmp_path: Path, azurite_port: int) -> None:
    with Ground(tmp_path, azurite_port=azurite_port, locations=1) as ground:
        tally = tally_of(ground, "slow run", every=12, offset=5)

    assert tally.violations == []
    assert tally.kinds.total() >= 5


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
        score = Torture(ground, seed=7, real_every=6).go_on(18)

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
