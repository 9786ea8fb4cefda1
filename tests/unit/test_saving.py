"""When a run's state is saved: at most once a second, and less often where a save takes long."""

from __future__ import annotations

from collections.abc import Collection
from datetime import timedelta
from pathlib import Path

import pytest

from app.base.checkpoints import FeedState
from app.base.log import Log
from app.base.shards import WHOLE, Shard
from app.run.ledger import Ledger
from app.run.planning import Limits
from app.run.saving import Saving
from app.state.json_file import JsonFileStore
from tests.unit.a_run import DAY, HOUR, NOON, A, draft


class SlowStore(JsonFileStore):
    """A store whose saves take some seconds by a clock of its own, and are counted."""

    def __init__(self, folder: Path, save_s: float) -> None:
        super().__init__(folder)
        self.save_s = save_s
        self.now_s = 0.0
        self.saves = 0

    def save(self, name: str, state: FeedState, changed: Collection[str], shard: Shard = WHOLE) -> None:
        super().save(name, state, changed, shard)
        self.now_s += self.save_s
        self.saves += 1


@pytest.mark.parametrize(("save_s", "saves"), [(0.01, 10), (0.5, 2)], ids=["quick", "slow"])
def test_saves_are_a_second_and_ten_times_their_duration_apart(
    tmp_path: Path, save_s: float, saves: int
) -> None:
    store = SlowStore(tmp_path, save_s)
    ledger = Ledger(FeedState(), Limits(HOUR, DAY, 999))
    saving = Saving(store, "state", None, draft(), Log({"run": "r1"}), lambda: store.now_s, lambda _: None)

    for tenth in range(100):
        store.now_s = max(store.now_s, tenth / 10)
        ledger.begin(f"Building {tenth}", A, NOON, NOON + timedelta(seconds=tenth))
        saving.save_if_due(ledger)

    assert store.saves == saves
