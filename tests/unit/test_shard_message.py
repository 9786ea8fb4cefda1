"""What is put on the queue of shards, what of a queue is taken, and in which order shards are asked for."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta

import pytest

from app.base.checkpoints import Checkpoint, FeedState, LocationState
from app.base.shards import Shard
from app.run.shard_message import ShardMessage
from app.run.tick import longest_behind_first

NOON = datetime(2026, 3, 2, 12, 0, tzinfo=UTC)
MESSAGE = ShardMessage("people_counter", Shard(1, 8), NOON)
QUARTERLY = "0 */15 * * * *"
HOUR = timedelta(hours=1)


def written(**changes: object) -> str:
    said = {"feed": "people_counter", "shard": 2, "of": 8, "tick": "2026-03-02T12:00:00.000Z", **changes}
    return json.dumps(said)


def test_a_message_says_which_shard_of_which_feed_and_tick_it_is_about() -> None:
    assert MESSAGE.text() == written()
    assert ShardMessage.parse(written()) == MESSAGE


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("", "is not JSON"),
        ("{", "is not JSON"),
        ("[" * 100_000, "is not JSON"),
        ("[]", "is not a JSON object"),
        ('"people_counter"', "is not a JSON object"),
        (written(feed=None), "'feed'"),
        (written(feed=""), "'feed'"),
        (written(shard="2"), "'shard'"),
        (written(shard=True), "'shard'"),
        (written(shard=0), "no shard 0 of 8"),
        (written(shard=9), "no shard 9 of 8"),
        (written(of=1), "'of'"),
        (written(of=257), "257 shards"),
        (written(tick="noon"), "noon"),
        (written(tick=1772452800), "'tick'"),
        (written(tick="9999-12-31T23:59:59.999Z"), "'tick', which is not a time of a timer"),
    ],
)
def test_whatever_else_is_on_a_queue_is_refused_by_name(text: str, problem: str) -> None:
    with pytest.raises(ValueError, match=problem):
        ShardMessage.parse(text)


@pytest.mark.parametrize(
    ("schedule", "minutes", "is_over"),
    [
        (QUARTERLY, 0, False),
        (QUARTERLY, 15, False),
        (QUARTERLY, 15.1, True),
        (QUARTERLY, -3, False),
        ("0 0 * * * *", 59, False),
        ("0 0 * * * *", 61, True),
        # By day every hour, and then not until the morning: the shortest period counts.
        ("0 0 10-14 * * *", 61, True),
        ("0 0 0 1 1 *", 61, False),
    ],
)
def test_a_message_is_over_when_it_is_older_than_the_period_of_its_timer(
    schedule: str, minutes: float, is_over: bool
) -> None:
    assert MESSAGE.is_over(NOON + timedelta(minutes=minutes), schedule) == is_over


def test_a_timer_that_fired_late_has_its_whole_period() -> None:
    late = ShardMessage("people_counter", Shard(1, 8), NOON + timedelta(minutes=14))

    assert not late.is_over(late.tick + timedelta(minutes=14), QUARTERLY)


# --- the order --------------------------------------------------------------------------------------


def state(**behind_h: float) -> FeedState:
    """Give a state in which locations are so many hours behind, at two hubs alike."""
    return FeedState(
        {
            name: LocationState(
                checkpoints={hub: Checkpoint(NOON - hours * HOUR, NOON - 100 * HOUR) for hub in ("a", "b")}
            )
            for name, hours in behind_h.items()
        }
    )


def of(name: str) -> Shard:
    return Shard.of_location(name, 4)


def one_in_each() -> list[str]:
    """Give names of which each is in another of four shards, in the order of these."""
    names: dict[Shard, str] = {}
    for number in range(100):
        names.setdefault(of(f"Hall{number}"), f"Hall{number}")
    return [name for _, name in sorted(names.items())]


def test_each_shard_is_asked_for_once_and_what_is_longest_behind_first() -> None:
    a, b, c, d = one_in_each()

    order = longest_behind_first(state(**{a: 1, b: 3, c: 2, d: 0}), [a, b, c, d], ["a", "b"], 4)

    assert order == [of(b), of(c), of(a), of(d)]


def test_a_shard_with_a_new_location_comes_first_and_an_empty_one_last() -> None:
    a, b, c, _ = one_in_each()

    order = longest_behind_first(state(**{a: 1, b: 30}), [a, b, c], ["a", "b"], 4)

    assert order == [of(c), of(b), of(a), Shard(3, 4)]


def test_the_slowest_hub_counts_and_one_that_is_not_asked_about_does_not() -> None:
    a, b, _, _ = one_in_each()
    known = state(**{a: 1, b: 2})
    positions = {**known.locations[a].checkpoints, "b": Checkpoint(NOON - 9 * HOUR, NOON - 100 * HOUR)}
    known = FeedState({**known.locations, a: LocationState(checkpoints=positions)})

    assert longest_behind_first(known, [a, b], ["a", "b"], 4)[:2] == [of(a), of(b)]
    assert longest_behind_first(known, [a, b], ["a"], 4)[:2] == [of(b), of(a)]
