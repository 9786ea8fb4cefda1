"""A short form of the simulation; `python -m tests.simulation` goes on as long as it is told to."""

from __future__ import annotations

from collections import Counter

import pytest

from tests.simulation.mutations import MUTATIONS, Mutation, fits
from tests.simulation.world import simulate

_WORLDS_A_PART = 6
# What must have happened somewhere in the short form, or it shows little.
_MUST_FIRE = {
    "repeats",
    "quarantined",
    "second runners",
    "runs that were well",
    "hubs that were well in a run",
    "fault: kill",
    "fault: save fails",
    "fault: save torn",
    "fault: save unknown",
    "fault: cut off in the middle of a send",
    "fault: window too wide",
    "fault: pages drift",
}


@pytest.mark.parametrize("part", range(8))
def test_no_invariant_breaks_whatever_goes_wrong(part: int) -> None:
    counts: Counter[str] = Counter()
    first = part * _WORLDS_A_PART

    for seed in range(first, first + _WORLDS_A_PART):
        counts += simulate(seed).counts

    assert {name for name in _MUST_FIRE if not counts[name]} == set()


def test_a_seed_is_the_same_world_every_time() -> None:
    assert simulate(4) == simulate(4)


@pytest.mark.parametrize("mutation", MUTATIONS, ids=lambda mutation: mutation.name)
def test_a_planted_break_still_fits_the_code(mutation: Mutation) -> None:
    assert fits(mutation)
