from __future__ import annotations

from datetime import UTC, datetime, timedelta

from app.base.checkpoints import Checkpoint
from app.base.readings import Slice
from app.run.planning import Group
from app.run.schedule import Schedule, Turn

NOW = datetime(2026, 3, 2, 12, tzinfo=UTC)


def offer(
    schedule: Schedule, location: str, *, hours: float, near: bool = True, failed: bool = False
) -> None:
    position = NOW - timedelta(hours=hours)
    group = Group(location, ("h", "i"), Checkpoint(position, position), position)
    schedule.offer(group, Slice(position, NOW), near=near, failed_before=failed)


def usable(location: str, hub: str) -> bool:
    return True


def taken(schedule: Schedule, turn: Turn = Turn.NEAR_FIRST) -> list[str]:
    order = []
    while task := schedule.take(turn, usable):
        order.append(task.group.location)
    return order


def test_what_is_near_comes_first_then_what_is_behind_the_longest_waiting_first() -> None:
    schedule = Schedule()
    offer(schedule, "behind 2 days", hours=48, near=False)
    offer(schedule, "near, 15 min", hours=0.25)
    offer(schedule, "behind 9 days", hours=216, near=False)
    offer(schedule, "near, 1 h", hours=1)

    assert taken(schedule) == ["near, 1 h", "near, 15 min", "behind 9 days", "behind 2 days"]


def test_late_in_the_budget_what_is_behind_comes_first() -> None:
    schedule = Schedule()
    offer(schedule, "near", hours=1)
    offer(schedule, "behind", hours=48, near=False)

    assert taken(schedule, Turn.BEHIND_FIRST) == ["behind", "near"]


def test_what_is_behind_waits_for_what_is_near_until_it_has_begun() -> None:
    schedule = Schedule()
    for location in ("behind", "also behind"):
        offer(schedule, location, hours=48, near=False)
    offer(schedule, "near", hours=1)

    assert taken(schedule, Turn.NEAR_ALONE) == ["near"]

    begins = schedule.take(Turn.NEAR_FIRST, usable)
    assert begins is not None
    assert taken(schedule, Turn.NEAR_ALONE) == ["also behind"]


def test_locations_that_failed_last_time_wait_for_the_others() -> None:
    schedule = Schedule()
    offer(schedule, "failed", hours=96, failed=True)
    offer(schedule, "behind", hours=48, near=False)
    offer(schedule, "near", hours=1)

    assert taken(schedule) == ["near", "behind", "failed"]


def test_those_behind_are_served_a_slice_each_in_turn() -> None:
    schedule = Schedule()
    order = []
    for location, hours in (("a", 90), ("b", 60), ("c", 30)):
        offer(schedule, location, hours=hours, near=False)
    for _ in range(6):
        task = schedule.take(Turn.NEAR_FIRST, usable)
        assert task is not None
        order.append(task.group.location)
        offer(schedule, task.group.location, hours=89, near=False)

    assert order == ["a", "b", "c", "a", "b", "c"]


def test_a_hub_offered_anew_leaves_its_former_task() -> None:
    schedule = Schedule()
    offer(schedule, "a", hours=5)
    group = Group("a", ("i",), Checkpoint(NOW, NOW), NOW)
    schedule.offer(group, Slice(NOW, NOW + timedelta(hours=1)), near=True, failed_before=False)

    first = schedule.take(Turn.NEAR_FIRST, usable)
    second = schedule.take(Turn.NEAR_FIRST, usable)

    assert first is not None
    assert second is not None
    assert [first.group.hubs, second.group.hubs] == [("h",), ("i",)]


def test_hubs_that_are_not_usable_are_left_out() -> None:
    schedule = Schedule()
    offer(schedule, "a", hours=5)

    task = schedule.take(Turn.NEAR_FIRST, lambda _, hub: hub == "i")

    assert task is not None
    assert task.group.hubs == ("i",)
    assert schedule.take(Turn.NEAR_FIRST, usable) is None


def test_a_task_without_room_is_taken_once_room_came() -> None:
    schedule = Schedule()
    offer(schedule, "a", hours=5)
    task = schedule.take(Turn.NEAR_FIRST, usable)
    assert task is not None
    schedule.wait_for_room(task)

    before = schedule.take(Turn.NEAR_FIRST, usable)
    schedule.room_came()
    after = schedule.take(Turn.NEAR_FIRST, usable)

    assert before is None
    assert after is not None
    assert after.group == task.group
