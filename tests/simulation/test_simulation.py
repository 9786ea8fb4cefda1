"""A short form of the simulation; `python -m tests.simulation` goes on as long as it is told to."""

from __future__ import annotations

import itertools
import os
import subprocess
import sys
from collections import Counter

import pytest

from tests.environments.simulated import SimulatedFeed, simulate
from tools.planted_breaks import ROOT

_PARTS = 8
_SHARED_OUT_WORLDS = 12
_WORLDS_A_PART = 10
# What must have happened somewhere in a part, or it shows little
_MUST_FIRE = {
    "comparisons",
    "fault: kill",
    "fault: lease lost",
    "fault: load fails",
    "fault: location broken",
    "fault: lock held",
    "fault: pages drift",
    "fault: save fails",
    "fault: save unknown",
    "fault: window too wide",
    "hubs given another form",
    "hubs that were well in a run",
    "messages stored, cloudevents",
    "messages stored, plain",
    "messages stored, with_ids",
    "repeats",
    "runs that were well",
    "second runners",
}
# And what in worlds of which the feed is run in shards.
_MUST_FIRE_IN_SHARDS = {
    "another number of shards",
    "fault: kill",
    "fault: lease lost",
    "runs of two shards at a time",
    "second runners of another number",
}


@pytest.mark.timeout(300)
@pytest.mark.parametrize("part", range(_PARTS))
def test_no_invariant_breaks_whatever_goes_wrong(part: int) -> None:
    counts: Counter[str] = Counter()
    first = part * _WORLDS_A_PART

    for seed in range(first, first + _WORLDS_A_PART):
        counts += simulate(seed).counts

    assert {name for name in _MUST_FIRE if not counts[name]} == set()
    assert any(name.startswith("fault: query ") for name in counts)


@pytest.mark.timeout(300)
def test_no_invariant_breaks_where_a_feed_is_run_in_shards() -> None:
    shared_out = (seed for seed in itertools.count(1_000) if SimulatedFeed(seed).is_shared_out)
    counts: Counter[str] = Counter()

    for seed in itertools.islice(shared_out, _SHARED_OUT_WORLDS):
        counts += simulate(seed).counts

    assert {name for name in _MUST_FIRE_IN_SHARDS if not counts[name]} == set()


def test_a_seed_is_the_same_world_in_every_process() -> None:
    assert _told_of_seed("4", hashes="1") == _told_of_seed("4", hashes="2")


def _told_of_seed(seed: str, *, hashes: str) -> list[str]:
    """Give what the command says of a seed, the time it took apart; `hashes` orders its sets."""
    command = [sys.executable, "-m", "tests.simulation", "--seed", seed]
    environment = {**os.environ, "PYTHONHASHSEED": hashes}
    found = subprocess.run(
        command, cwd=ROOT, env=environment, capture_output=True, text=True, check=True, timeout=100
    )
    first, *counts = found.stdout.splitlines()
    return [first.partition(", in ")[0], *counts]
