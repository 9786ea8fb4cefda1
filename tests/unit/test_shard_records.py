"""One feed of what its shards say, and what a shard goes on from; the tables are not asked."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from app.base.checkpoints import Discovery, Drift, FeedState, LocationState, Place, SeenKey, Takeover
from app.base.instants import format_time
from app.base.readings import JsonObject
from app.base.shards import WHOLE, Shard
from app.quality.bounds import KEYS_KEPT
from app.state.shard_records import as_listed, of_shard, replaced_by, together

NOON = datetime(2026, 3, 2, 12, tzinfo=UTC)
MINUTE = timedelta(minutes=1)
FIRST, SECOND = Shard(0, 2), Shard(1, 2)
THIRDS = tuple(Shard(index, 3) for index in range(3))
# Which of two shards holds them.
HELD = {"Beacon House": FIRST, "Quay Two": SECOND}
FOUND = Takeover(NOON, "an earlier place", 7, 1)
DONE = replace(FOUND, at=NOON)


def ran(minutes: int, **said: Any) -> JsonObject:
    started = NOON + minutes * MINUTE
    whole = {"started": format_time(started), "ended": format_time(started + MINUTE), "ok": True}
    return whole | said


def record(minutes: int = 0, **said: Any) -> FeedState:
    return FeedState(last_run=ran(minutes), **said)


def silent(location: str) -> Drift:
    return Drift("silent", location, f"{location}: silent", NOON)


def run_of(records: dict[Shard, FeedState]) -> JsonObject:
    found = together(records).last_run
    assert found is not None
    return found


# --- one run ----------------------------------------------------------------------------------------


def test_without_shards_a_record_is_read_as_it_is() -> None:
    whole = FeedState(last_run={"a later version": "says more"}, drift=(silent("Beacon House"),))

    assert together({WHOLE: whole}) == whole
    assert together({}) == FeedState()


def test_the_runs_of_shards_are_one_begun_with_the_first_and_ended_with_the_last() -> None:
    found = run_of({FIRST: record(2), SECOND: record(1)})

    assert (found["started"], found["ended"]) == (ran(1)["started"], ran(2)["ended"])
    assert (found["ok"], found["error"], found["failing_since"]) == (True, None, None)


def test_a_feed_is_well_only_if_each_shard_is() -> None:
    failed = ran(
        0, ok=False, error="b: refused", failing_since=format_time(NOON - MINUTE), hubs_failing=["b"]
    )
    later = ran(1, ok=False, error="a: refused", failing_since=format_time(NOON), hubs_failing=["a"])

    found = run_of({FIRST: FeedState(last_run=failed), SECOND: record(9)})
    both = run_of({FIRST: FeedState(last_run=failed), SECOND: FeedState(last_run=later)})

    assert (found["ok"], found["error"], found["hubs_failing"]) == (False, "b: refused", ["b"])
    assert (both["failing_since"], both["hubs_failing"]) == (format_time(NOON - MINUTE), ["a", "b"])


def test_the_number_of_shards_whose_newest_run_is_newest_counts() -> None:
    halves = {FIRST: record(5), SECOND: record(1)}
    before = {shard: FeedState(last_run=ran(4, ok=False)) for shard in THIRDS}

    assert run_of(halves | before)["ok"]
    assert not run_of(halves | before | {THIRDS[0]: FeedState(last_run=ran(6, ok=False))})["ok"]


def test_what_the_whole_feed_s_record_repeats_is_older_than_what_it_repeats() -> None:
    halves = {FIRST: record(1), SECOND: FeedState(last_run=ran(1, ok=False))}

    assert not run_of({**halves, WHOLE: record(1)})["ok"]
    assert run_of({**halves, WHOLE: record(2)})["ok"]


# --- what was noticed -------------------------------------------------------------------------------


def test_what_shards_noticed_is_joined_each_once() -> None:
    appeared = Drift("keys appeared", None, "new field 'note' in readings", NOON)
    drifts = (silent("Beacon House"), appeared), (silent("Quay Two"), replace(appeared, since=NOON + MINUTE))

    found = together({FIRST: record(drift=drifts[0]), SECOND: record(drift=drifts[1])}).drift

    assert [(drift.kind, drift.location) for drift in found] == [
        ("silent", "Beacon House"),
        ("keys appeared", None),
        ("silent", "Quay Two"),
    ]


def test_what_was_told_before_is_known_until_each_new_shard_has_a_record() -> None:
    old = {WHOLE: record(0, drift=(silent("Quay Two"),))}
    begun = {FIRST: record(1)}

    assert together(old | begun).drift == (silent("Quay Two"),)
    assert together(old | begun | {SECOND: record(1)}).drift == ()


def test_a_key_counts_as_it_was_seen_last_by_any_shard() -> None:
    known = {"in": SeenKey(NOON, vanished=True), "out": SeenKey(NOON, vanished=True)}
    records = {FIRST: record(keys=known), SECOND: record(keys={"in": SeenKey(NOON + 60 * MINUTE)})}

    assert together(records).keys == {"in": SeenKey(NOON + 60 * MINUTE), "out": SeenKey(NOON, vanished=True)}


def test_no_more_keys_are_kept_of_all_shards_than_of_one() -> None:
    old = {f"old {number:03}": SeenKey(NOON) for number in range(KEYS_KEPT)}
    new = {f"new {number:03}": SeenKey(NOON + 60 * MINUTE) for number in range(KEYS_KEPT)}

    assert together({FIRST: record(keys=old), SECOND: record(keys=new)}).keys == new


def test_no_more_is_told_of_all_shards_than_of_one() -> None:
    drifts = [tuple(silent(f"{name} {number}") for number in range(150)) for name in HELD]

    assert len(together({FIRST: record(drift=drifts[0]), SECOND: record(drift=drifts[1])}).drift) == 200


# --- the earlier forwarder's position -----------------------------------------------------------------


@pytest.mark.parametrize(
    ("records", "expected"),
    [
        ({FIRST: record(takeover=DONE)}, FOUND),
        ({FIRST: record(takeover=DONE), WHOLE: record(takeover=DONE)}, DONE),
        ({FIRST: record(takeover=DONE), SECOND: record(takeover=DONE)}, DONE),
        ({FIRST: record(takeover=DONE), SECOND: record(takeover=FOUND)}, FOUND),
        ({FIRST: record(takeover=DONE), WHOLE: record(takeover=FOUND)}, FOUND),
        ({FIRST: record(), SECOND: record()}, None),
    ],
    ids=["one of two", "before there were shards", "both", "one is behind", "only planned", "there is none"],
)
def test_a_takeover_is_done_when_each_shard_has_done_it(
    records: dict[Shard, FeedState], expected: Takeover | None
) -> None:
    assert together({WHOLE: record(-1)} | records if WHOLE in records else records).takeover == expected


# --- what a shard goes on from ------------------------------------------------------------------------


def test_a_new_shard_knows_what_was_told_of_its_locations_and_no_others() -> None:
    whole = FeedState(
        last_run=ran(0, failing_since=format_time(NOON), hubs_failing=["a"]),
        drift=tuple(silent(name) for name in HELD),
    )

    for shard in (FIRST, SECOND):
        found = of_shard({WHOLE: whole}, shard)

        assert found.last_run == whole.last_run
        assert [HELD[drift.location or ""] for drift in found.drift] == [shard]


def test_a_shard_goes_on_from_its_own_record() -> None:
    records = {FIRST: record(1, drift=(silent("Beacon House"),)), SECOND: record(9)}

    found = of_shard(records, FIRST)

    assert (found.last_run, found.drift) == (ran(1), (silent("Beacon House"),))


def test_a_shard_knows_the_newest_list_and_its_own() -> None:
    own, other = (Discovery(NOON + minutes * MINUTE, (Place("Quay", "org", 1),)) for minutes in (0, 5))

    found = of_shard({FIRST: record(discovery=own), SECOND: record(discovery=other)}, FIRST)

    assert (found.discovery, found.latest_discovery) == (own, other)


def test_locations_are_as_listed_as_the_newest_list_says() -> None:
    discovery = Discovery(NOON, (Place("Quay", "org", 1), Place("Shared", "org", 1)), collisions=("Shared",))
    state = FeedState({name: LocationState() for name in ("Quay", "Shared", "Shed")}, discovery)

    listed = {name: found.last_listed for name, found in as_listed(state).items()}

    assert listed == {"Quay": NOON, "Shared": None, "Shed": None}


# --- which records are read no more -------------------------------------------------------------------


@pytest.mark.parametrize(
    ("shard", "known", "replaced"),
    [
        (THIRDS[0], [FIRST, SECOND], []),
        (THIRDS[2], [FIRST, SECOND, THIRDS[0]], []),
        (THIRDS[2], [WHOLE, FIRST, SECOND, THIRDS[0], THIRDS[1]], [FIRST, SECOND]),
        (WHOLE, [FIRST, THIRDS[2]], [FIRST, THIRDS[2]]),
        (FIRST, [WHOLE, FIRST, SECOND], []),
    ],
    ids=["the first of three", "the second of three", "the last of three", "the whole feed", "nothing new"],
)
def test_records_of_another_number_are_read_until_each_new_shard_has_one(
    shard: Shard, known: list[Shard], replaced: list[Shard]
) -> None:
    assert replaced_by(shard, known) == replaced
