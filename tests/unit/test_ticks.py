"""Ticks: runs of shards that were begun together are one run of the feed, and say no less."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.base.checkpoints import Drift, Gap
from app.base.instants import MINUTE, format_time, parse_time
from app.base.program import APP_ROOT
from app.base.readings import JsonObject, Slice
from app.base.shards import WHOLE, Shard
from app.health.past_runs import PastRun, past_run, past_runs
from app.health.ticks import past_ticks, ticks
from app.quality.bounds import SATURATED
from app.quality.lateness import DelayCount, Lateness
from app.run.report import Changed, Compared, Failure, HubReport, Quarantined, Report

NOON = datetime(2026, 3, 2, 12, 0, tzinfo=UTC)
SECOND = timedelta(seconds=1)
QUARTERS = "0 */15 * * * *"
HALVES = (Shard(0, 2), Shard(1, 2))
HUB = "example.test/a"
GOLDEN = APP_ROOT / "tests" / "golden" / "1.0.0" / "files" / "history"


def run(shard: Shard, began: datetime = NOON, tick: str | None = None, **fields: Any) -> Report:
    return Report(
        run=f"{shard} {began:%d %H:%M:%S}",
        feed="people_counter",
        started=began,
        until=fields.pop("until", began),
        took_s=fields.pop("took_s", 4.0),
        locations=fields.pop("locations", 3),
        slices=3,
        api_calls=5,
        hubs=fields.pop("hubs", {HUB: HubReport(events=16, readings=16)}),
        shard=shard,
        tick=tick,
        **fields,
    )


def kept(*runs: Report) -> list[JsonObject]:
    """Give reports as a history gives them, in the order in which they began."""
    return [json.loads(json.dumps(each.as_json())) for each in sorted(runs, key=lambda each: each.started)]


def told(*runs: Report, schedule: str = QUARTERS) -> list[list[str]]:
    """Give which runs are of one tick, tick by tick, by their shards and minutes."""
    return [
        [f"{shard} {part['started'][11:16]}" for shard, part in tick.parts.items()]
        for tick in ticks(kept(*runs), schedule)
    ]


def a_day_of(shards: Sequence[Shard], *, but: Sequence[tuple[int, Shard]] = ()) -> list[JsonObject]:
    """Give the reports of 96 ticks; `but` names runs that are not there."""
    return kept(
        *(
            run(shard, NOON + number * 15 * MINUTE + shard.index * SECOND)
            for number in range(96)
            for shard in shards
            if (number, shard) not in but
        )
    )


def one(*runs: Report) -> JsonObject:
    [tick] = ticks(kept(*runs), QUARTERS)
    return tick.report


# --- without shards ---------------------------------------------------------------------------------


def test_a_history_without_shards_is_read_as_it_is() -> None:
    files = sorted(GOLDEN.rglob("*"))
    reports = [json.loads(line) for file in files if file.is_file() for line in file.read_text().splitlines()]
    odd: list[JsonObject] = [{"started": "yesterday"}, {"run": 3, "weather": "fair"}]

    found = [tick.report for tick in ticks([*reports, *odd], QUARTERS)]

    assert len(reports) > 0
    assert list(past_ticks(reports, QUARTERS)) == list(past_runs(reports))
    assert all(found[at] is report for at, report in enumerate([*reports, *odd]))
    assert all(tick.missing == [] for tick in ticks(reports, QUARTERS))


# --- which runs are of one tick ---------------------------------------------------------------------


def test_runs_of_shards_that_were_begun_together_are_one_tick() -> None:
    later = NOON + 15 * MINUTE

    found = told(run(HALVES[1], NOON), run(HALVES[0], NOON + 2 * SECOND), run(HALVES[0], later))

    assert found == [["1/2 12:00", "2/2 12:00"], ["1/2 12:15"]]


def test_timers_may_be_apart_by_less_than_the_schedule_s_period() -> None:
    apart = [run(shard, NOON + shard.index * 14 * MINUTE) for shard in HALVES]
    after = [run(shard, NOON + (15 + shard.index * 14) * MINUTE) for shard in HALVES]

    assert told(*apart, *after) == [["1/2 12:00", "2/2 12:14"], ["1/2 12:15", "2/2 12:29"]]


def test_a_clock_that_is_a_little_ahead_makes_no_other_tick() -> None:
    early = [run(HALVES[1], NOON + number * 15 * MINUTE - SECOND) for number in range(3)]
    exact = [run(HALVES[0], NOON + number * 15 * MINUTE) for number in range(3)]

    assert [len(parts) for parts in told(*early, *exact)] == [2, 2, 2]


def test_a_run_that_is_missing_does_not_put_those_after_it_into_other_ticks() -> None:
    runs = [run(shard, NOON + number * 15 * MINUTE) for number in range(4) for shard in HALVES]

    assert [len(parts) for parts in told(*runs[:1], *runs[2:])] == [1, 2, 2, 2]


def test_a_tick_has_one_run_of_each_shard() -> None:
    by_hand = run(HALVES[0], NOON + 5 * MINUTE)

    found = told(*(run(shard) for shard in HALVES), by_hand)

    assert found == [["1/2 12:00", "2/2 12:00"], ["1/2 12:05"]]


def test_runs_of_another_number_of_shards_and_of_the_whole_feed_are_other_ticks() -> None:
    found = told(
        run(WHOLE), run(HALVES[0], NOON + SECOND), run(Shard(1, 3), NOON + 2 * SECOND), run(WHOLE, NOON)
    )

    assert found == [["1/1 12:00"], ["1/1 12:00"], ["1/2 12:00"], ["2/3 12:00"]]


def test_an_id_of_the_tick_goes_before_times() -> None:
    runs = [
        run(HALVES[0], NOON, tick="a"),
        run(HALVES[0], NOON + 15 * MINUTE, tick="b"),
        run(HALVES[1], NOON + 16 * MINUTE, tick="a"),
        run(HALVES[1], NOON + 17 * MINUTE, tick="b"),
    ]

    assert told(*runs) == [["1/2 12:00", "2/2 12:16"], ["1/2 12:15", "2/2 12:17"]]


@given(
    st.lists(
        st.tuples(
            st.integers(0, 3 * 3_600),
            st.integers(0, 3),
            st.sampled_from([1, 2, 4]),
            st.sampled_from([None, "a", "b"]),
        ),
        max_size=30,
    )
)
def test_each_run_is_in_one_tick_and_a_tick_has_no_shard_twice(
    drawn: list[tuple[int, int, int, str | None]],
) -> None:
    reports = kept(*(run(Shard(index % of, of), NOON + s * SECOND, tick) for s, index, of, tick in drawn))

    found = ticks(reports, QUARTERS)

    parts = [part for tick in found for part in tick.parts.values()]
    assert sorted(map(id, parts)) == sorted(map(id, reports))
    for tick in found:
        [of] = {shard.of for shard in tick.parts}
        assert {*tick.parts} | {*tick.missing} == {Shard(index, of) for index in range(of)}
        assert not {*tick.parts} & {*tick.missing}
        began = [parse_time(part["started"]) for part in tick.parts.values()]
        named = {part.get("tick") for part in tick.parts.values()}
        assert len(named) == 1
        assert named != {None} or max(began) - min(began) < 15 * MINUTE
        assert sum(past_run(part).hubs[HUB].readings for part in tick.parts.values()) == (
            past_run(tick.report).hubs[HUB].readings
        )
    begins = [past_run(tick.report).started for tick in found]
    assert all(before <= after for before, after in pairwise(begins))


@pytest.mark.parametrize(
    "odd",
    [
        {"shard": 2},
        {"shard": {"index": 3, "of": 2}},
        {"shard": {"index": "1", "of": 2}},
        {"shard": {"index": 1.0, "of": 2.0}},
        {"shard": {}},
        {"started": "yesterday"},
        {"started": "0001-01-01T00:00:00.000Z"},
        {"hubs": []},
    ],
    ids=str,
)
def test_what_is_no_report_of_a_shard_hides_none_of_those_beside_it(odd: dict[str, Any]) -> None:
    first, second = kept(*(run(shard) for shard in HALVES))

    found = list(past_ticks([{**first, **odd}, first, second], QUARTERS))

    assert found[-1].hubs[HUB].readings == 32
    assert found[-1].ok


def test_what_a_report_says_in_other_kinds_of_values_is_left_out() -> None:
    odd = {"until": 7, "locations": "many", "drift": {}, "failing_since": [], "tick": 3}
    first, second = kept(*(run(shard) for shard in HALVES))

    [tick] = ticks([first, {**second, **odd}], QUARTERS)

    assert tick.report["locations"] == 3
    assert tick.report["until"] == format_time(NOON)
    assert tick.report["drift"] == []


# --- what a tick says -------------------------------------------------------------------------------


def test_numbers_are_added_and_times_are_those_of_the_whole() -> None:
    first = HubReport(16, 17, 3, 1, 400, NOON, 5.0, quarantined=1)
    second = HubReport(10, 10, 2, 0, 300, NOON - MINUTE, 65.0, "down")
    report = one(
        run(
            HALVES[0],
            NOON + 3 * SECOND,
            hubs={HUB: first},
            took_s=9.0,
            left=1,
            left_s=10.0,
            left_longest_s=10.0,
            forecast_s=20.0,
            apart_s=900.0,
        ),
        run(
            HALVES[1],
            hubs={HUB: second},
            took_s=4.5,
            left=2,
            left_s=30.0,
            left_longest_s=25.0,
            forecast_s=50.0,
            failing_since=NOON,
            apart_s=900.0,
            interrupted=True,
        ),
    )

    assert report["hubs"][HUB] == {
        "events": 26,
        "readings": 27,
        "duplicates": 5,
        "maybe_twice": 1,
        "bytes": 700,
        "delivered_until": format_time(NOON - MINUTE),
        "behind_s": 65.0,
        "error": "down",
        "paused": False,
        "quarantined": 1,
    }
    assert (report["started"], report["until"]) == (format_time(NOON), format_time(NOON))
    assert (report["took_s"], report["failing_since"]) == (9.0, format_time(NOON))
    assert (report["locations"], report["slices"], report["api_calls"], report["left"]) == (6, 6, 10, 3)
    assert (report["left_s"], report["left_longest_s"], report["forecast_s"]) == (40.0, 25.0, 50.0)
    assert report["per_day"]["api_calls"] == 960
    assert report["per_day"]["hubs"][HUB]["events"] == 26 * 96
    assert (report["interrupted"], report["shards"], report["missing"]) == (True, 2, [])
    assert report["run"] == "1/2 02 12:00:03"
    assert "shard" not in report


def test_what_parts_noticed_is_joined_and_what_all_say_is_said_once() -> None:
    everywhere = Failure(None, HUB, "down")
    drift = Drift("gone", None, "keys", NOON)
    gap = Gap(Slice(NOON - MINUTE, NOON), SATURATED, NOON, (HUB,))
    parts = [
        run(
            shard,
            warnings=["of all", f"of {shard}"],
            failures=[everywhere, Failure(f"House {shard}", None, "404")],
            drift=[drift],
            changed=[Changed(f"House {shard}", NOON)],
            quarantined=[Quarantined(f"House {shard}", (HUB,), "id", "too large", "nowhere")],
            gaps=[(f"House {shard}", gap)],
            compared=Compared(1, 24, shard.index),
        )
        for shard in HALVES
    ]

    found = past_run(one(*parts))

    assert not found.ok
    assert list(found.warnings) == ["of all", "of 1/2", "of 2/2"]
    assert [failure.location for failure in found.failures] == [None, "House 1/2", "House 2/2"]
    assert [len(found.changed), len(found.quarantined), len(found.gaps)] == [2, 2, 2]
    assert found.compared == Compared(2, 48, 1)
    assert len(one(*parts)["drift"]) == 1


def test_no_forecast_where_a_shard_made_no_progress() -> None:
    going, stuck = run(HALVES[0], left=1, forecast_s=20.0), run(HALVES[1], left=2)

    assert one(going, stuck)["forecast_s"] is None
    assert one(going, replace(stuck, left=0))["forecast_s"] == 20.0


def test_no_figures_of_a_day_where_a_shard_has_none_or_is_missing() -> None:
    apart = [run(shard, apart_s=900.0) for shard in HALVES]

    assert one(apart[0], run(HALVES[1]))["per_day"] is None
    assert one(apart[0])["per_day"] is None


def test_lateness_is_that_of_all_readings() -> None:
    punctual = Lateness(30, 100.0, 200.0, 300.0, (DelayCount(300, 30),))
    late = Lateness(10, 500.0, 800.0, 700_000.0, (DelayCount(300, 4), DelayCount(None, 6)))

    found = past_run(one(run(HALVES[0], lateness=punctual), run(HALVES[1], lateness=late)))

    expected = (DelayCount(300, 34), DelayCount(None, 6))
    assert found.lateness == Lateness(40, 200.0, 800.0, 700_000.0, expected)


def test_a_hub_is_paused_where_all_shards_say_so() -> None:
    paused = {HUB: HubReport(paused=True)}

    assert one(*(run(shard, hubs=paused) for shard in HALVES))["hubs"][HUB]["paused"]
    assert not one(run(HALVES[0], hubs=paused), run(HALVES[1]))["hubs"][HUB]["paused"]


# --- whether it is ok -------------------------------------------------------------------------------


def read(reports: Sequence[JsonObject]) -> list[PastRun]:
    return list(past_ticks(reports, QUARTERS))


def test_a_tick_is_ok_where_all_its_shards_are() -> None:
    down = run(HALVES[1], failures=[Failure(None, None, "down")])

    assert past_run(one(*(run(shard) for shard in HALVES))).ok
    assert not past_run(one(run(HALVES[0]), down)).ok


def test_a_tick_with_a_shard_missing_is_not_ok_and_says_which() -> None:
    found = read(a_day_of(HALVES, but=[(40, HALVES[1])]))

    assert [number for number, each in enumerate(found) if not each.ok] == [40]
    [warning] = found[40].warnings
    assert "the history has no run of 2/2; look at the timer" in warning
    assert found[40].hubs[HUB].readings == 16


@pytest.mark.parametrize("number", [0, 94, 95])
def test_what_may_be_under_way_or_lies_before_what_was_read_is_not_missed(number: int) -> None:
    reports = a_day_of(HALVES, but=[(number, HALVES[0])])

    assert all(each.ok and not each.warnings for each in read(reports))
    assert ticks(reports, QUARTERS)[number].report["missing"] == [1]


def test_nothing_is_missed_of_a_shard_that_was_run_by_hand() -> None:
    by_hand = run(HALVES[0], NOON + 125 * MINUTE)
    day = a_day_of(HALVES)

    found = read(sorted([*day, *kept(by_hand)], key=lambda report: report["started"]))

    assert len(found) == 97
    assert all(each.ok and not each.warnings for each in found)
