"""The short form of fuzzing, and all that was ever found; `make fuzz` goes on with other examples."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import HealthCheck, Phase, given, settings

from tests.fuzz.target import SEEDS, Target
from tests.fuzz.targets import TARGETS

_EXAMPLES = 60


@pytest.mark.parametrize("target", TARGETS, ids=lambda target: target.name)
def test_a_reader_of_the_outside_holds_what_is_promised_whatever_comes(target: Target) -> None:
    @settings(
        max_examples=_EXAMPLES,
        # The same examples each time: what is random belongs into the long form.
        derandomize=True,
        database=None,
        deadline=None,
        phases=[Phase.generate, Phase.shrink],
        suppress_health_check=list(HealthCheck),
    )
    @given(target.cases)
    def holds(case: bytes) -> None:
        target.check(case)

    holds()


@pytest.mark.parametrize(
    ("target", "seed"),
    [
        pytest.param(target, seed, id=f"{target.name}: {seed.name}")
        for target in TARGETS
        for seed in target.seeds()
    ],
)
def test_what_was_found_once_holds(target: Target, seed: Path) -> None:
    target.check(seed.read_bytes())


def test_all_seeds_are_those_of_a_reader() -> None:
    assert {path.name for path in SEEDS.iterdir()} <= {target.name for target in TARGETS}
