from __future__ import annotations

from datetime import timedelta

import pytest

from app.base.budget import Budget
from app.base.errors import Interrupted


class Monotonic:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def monotonic() -> Monotonic:
    return Monotonic()


@pytest.fixture
def budget(monotonic: Monotonic) -> Budget:
    return Budget(timedelta(minutes=4), monotonic=monotonic)


def test_a_budget_leaves_time_to_open_slices_and_a_little_more_to_end(
    budget: Budget, monotonic: Monotonic
) -> None:
    monotonic.now += 180

    assert (budget.left(), budget.remaining(), budget.used()) == (60, 90, 0.75)


def test_after_its_hard_end_nothing_is_left(budget: Budget, monotonic: Monotonic) -> None:
    monotonic.now += 1000

    assert (budget.left(), budget.remaining(), budget.used()) == (0, 0, 1)


def test_stopping_ends_it_as_if_its_time_were_used_now(budget: Budget, monotonic: Monotonic) -> None:
    monotonic.now += 10
    budget.stop()

    assert (budget.stopped, budget.left(), budget.remaining()) == (True, 0, 30)


def test_a_wait_longer_than_the_budget_is_not_begun(budget: Budget) -> None:
    with pytest.raises(Interrupted, match="a wait of 86400 s"):
        budget.sleep(86_400)


def test_a_wait_ends_when_the_run_is_told_to_stop(budget: Budget) -> None:
    budget.stop()

    with pytest.raises(Interrupted):
        budget.sleep(0)
