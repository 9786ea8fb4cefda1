"""What a feed needs at its size: more never needs less, and docs/scaling.md has the same figures."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields, replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.base.checkpoints import Checkpoint, Discovery, FeedState, LocationState, Place, Sensor
from app.base.instants import HOUR, MINUTE
from app.base.program import APP_ROOT
from app.health.measured import MEASURED, Measured
from app.health.past_runs import PastRun, past_run
from app.health.sizing import (
    ASSUMED,
    PRICES_OF,
    SETTINGS,
    STATE,
    Figure,
    Load,
    Need,
    advice,
    advice_for_all,
    assumed,
    dollars_a_month,
    enough_for,
    load_of,
    need_of,
    together,
    units_a_month,
)
from app.run.report import HubReport, Report
from app.settings.loading import load_settings
from app.settings.schema import ScaleOutSettings, Settings
from benchmarks.scaling_page import with_tables

NOON = datetime(2026, 3, 2, 12, 0, tzinfo=UTC)
HUB = "example.servicebus.windows.net/counts"
SCALING = (APP_ROOT / "docs" / "scaling.md").read_text()

# --- more never needs less ----------------------------------------------------------------------------

COUNTS = st.integers(1, 60_000)
SECONDS = st.floats(0.01, 30, allow_nan=False)


def measures(load: Load) -> dict[str, float]:
    need = need_of(load)
    counted = {name: getattr(need, name) for name in Need.__slots__ if name != "memory_mib"}
    return {**counted, "units": need.units, "calls": need.calls_a_day}


def not_less(more: Load, less: Load) -> None:
    before, after = measures(less), measures(more)
    assert {name: after[name] for name in after if after[name] < before[name] - 1e-6} == {}


@given(COUNTS, COUNTS, SECONDS, st.booleans())
def test_more_locations_never_need_less(one: int, other: int, answer_s: float, hourly: bool) -> None:
    less, more = (assumed(count, answer_s, hourly=hourly) for count in sorted((one, other)))

    not_less(more, less)


@given(COUNTS, SECONDS, SECONDS)
def test_slower_answers_never_need_less(locations: int, one: float, other: float) -> None:
    less, more = (assumed(locations, answer_s, hourly=False) for answer_s in sorted((one, other)))

    not_less(more, less)


@given(
    COUNTS,
    st.sampled_from(["hubs", "calls_a_location", "events", "bytes_an_event", "devices"]),
    st.integers(1, 20),
)
def test_more_of_anything_never_needs_less(locations: int, what: str, times: int) -> None:
    load = assumed(locations, 0.5, hourly=False)
    figure = load.figures()[what]

    more: dict[str, Any] = {what: Figure(figure.value * times, ASSUMED)}
    not_less(replace(load, **more), load)


@given(COUNTS, SECONDS, st.integers(1, 32), st.integers(1, 256), st.booleans())
def test_advice_is_given_just_where_what_is_set_is_not_enough(
    locations: int, answer_s: float, concurrency: int, shards: int, in_files: bool
) -> None:
    load = replace(
        assumed(locations, answer_s, hourly=False),
        concurrency=Figure(concurrency, SETTINGS),
        shards=Figure(shards, SETTINGS),
        in_files=in_files,
    )
    # What a run asks besides makes a question of each shard.
    enough = enough_for(load)

    if locations <= enough:
        assert list(advice(load)) == [] or (in_files and shards > 1)
    elif locations > enough + 2:
        assert list(advice(load)) != []


@given(COUNTS, SECONDS)
def test_each_run_ends_in_time_with_so_many_questions_at_once(locations: int, answer_s: float) -> None:
    load = assumed(locations, answer_s, hourly=False)
    need = need_of(load)

    assert locations * answer_s <= need.questions_at_once * load.time_s.value
    assert locations <= need.shards * 2_000


def test_feeds_that_run_at_the_same_time_are_added_and_their_memory_is_not() -> None:
    people, snapshots = (need_of(assumed(1_000, 0.5, hourly=hourly)) for hourly in (False, True))
    both = together([people, snapshots])

    assert both.calls_a_day == people.calls_a_day + snapshots.calls_a_day
    assert both.questions_at_once == people.questions_at_once + snapshots.questions_at_once
    assert both.memory_mib == max(people.memory_mib, snapshots.memory_mib)


def test_a_throughput_unit_is_a_thousand_events_or_a_megabyte_a_second() -> None:
    need = need_of(assumed(1, 0.5, hourly=False))

    assert [
        replace(need, events_a_second=events, bytes_a_second=size).units
        for events, size in [(0, 0), (1_000, 1_000_000), (1_001, 0), (0, 2_000_001)]
    ] == [1, 1, 2, 3]


def test_money_is_units_times_prices() -> None:
    need = need_of(assumed(1_000, 0.5, hourly=False))
    units = {price.name: count for price, count in units_a_month(need).items()}

    assert units["Event Hubs Standard: throughput unit"] == 730
    assert units["Event Hubs Standard: ingress events"] == pytest.approx(1_000 * 10 * 4 * 24 * 30 / 1e6)
    assert dollars_a_month(need) == pytest.approx(
        sum(price.dollars * count for price, count in units_a_month(need).items())
    )


@pytest.mark.parametrize(
    ("locations", "answer_s", "store", "begins"),
    [
        (400, 0.2, "json", []),
        (501, 0.2, "json", ["set STATE_STORE=table"]),
        (1_900, 0.5, "table", []),
        (1_900, 1.0, "table", ["set run.concurrency to 8"]),
        (3_000, 0.2, "table", ["run it in 2 shards"]),
        (10_000, 0.5, "table", ["run it in 5 shards"]),
        (3_000, 0.2, "queue", ["set SCALE_OUT_SHARDS=2"]),
    ],
)
def test_which_switch_to_turn_at_which_size(
    locations: int, answer_s: float, store: str, begins: Sequence[str]
) -> None:
    load = replace(
        assumed(locations, answer_s, hourly=False), in_files=store == "json", by_queue=store == "queue"
    )

    said = list(advice(load))
    assert [text[: len(begin)] for text, begin in zip(said, begins, strict=True)] == begins


def test_more_than_a_unit_is_to_be_given() -> None:
    [said] = advice_for_all(need_of(assumed(50_000, 0.5, hourly=False)))

    assert said.startswith("give the namespace 3 throughput units")


# --- of an installation ------------------------------------------------------------------------------


@pytest.fixture
def settings(environ: dict[str, str]) -> Settings:
    return load_settings()


def state(locations: int, sensors: int = 3) -> FeedState:
    hours = {NOON - HOUR * back: frozenset(f"{n:016}" for n in range(12)) for back in (1, 2)}
    checkpoint = Checkpoint(NOON, NOON - 25 * HOUR, hours)
    location = LocationState(
        NOON,
        checkpoints={HUB: checkpoint},
        sensors={("Door", str(number)): Sensor(NOON) for number in range(sensors)},
    )
    names = [f"Building {number}" for number in range(locations)]
    places = tuple(Place(name, "com.example.NORTH", 7) for name in names)
    return FeedState(dict.fromkeys(names, location), Discovery(NOON, places))


def runs(count: int, locations: int, **fields: object) -> list[PastRun]:
    """Give runs a quarter of an hour apart, with a question a location and two besides, 0.1 s each."""
    calls = locations + 2
    hub = HubReport(events=locations * 6, readings=locations * 6, bytes=locations * 2_400)
    return [
        past_run(
            Report(
                f"r{number}",
                "people_counter",
                NOON - (count - number) * 15 * MINUTE,
                NOON,
                took_s=calls * 0.1 / 4,
                locations=locations,
                slices=locations,
                api_calls=calls,
                hubs={HUB: hub},
                apart_s=900.0,
                **fields,  # type: ignore[arg-type]
            ).as_json()
        )
        for number in range(count)
    ]


def load(settings: Settings, kept: FeedState, past: Sequence[PastRun] = ()) -> Load:
    return load_of(settings.feeds["people_counter"], settings, kept, past, NOON, hourly=False)


def test_what_nothing_tells_of_is_assumed_and_says_so(settings: Settings) -> None:
    found = load(settings, FeedState()).figures()

    assert {name for name, figure in found.items() if figure.origin == ASSUMED} == {
        "devices", "sensors", "readings_an_hour", "calls_a_location", "answer_s", "events", "bytes_an_event"
    }  # fmt: skip
    assert found["locations"] == Figure(0, STATE)
    assert found["runs_a_day"] == Figure(96, SETTINGS)
    assert found["time_s"] == Figure(240.0, SETTINGS)


def test_the_state_tells_of_locations_sensors_and_readings(settings: Settings) -> None:
    found = load(settings, state(5)).figures()

    assert found["locations"] == Figure(5, STATE)
    assert found["sensors"] == Figure(3, STATE)
    assert found["devices"] == Figure(7, STATE)
    assert found["readings_an_hour"] == Figure(12, "ids in the state")
    assert found["events"] == Figure(12 * 24, "ids in the state")


def test_the_last_runs_tell_what_they_took(settings: Settings) -> None:
    found = load(settings, state(100), runs(30, 100)).figures()

    measured = "measured in the last 20 runs"
    assert found["calls_a_location"] == Figure(1.0, measured)
    assert found["answer_s"].origin == f"at most, {measured}"
    assert found["answer_s"].value == pytest.approx(0.1)
    assert found["events"] == Figure(6 * 96, measured)
    assert found["bytes_an_event"] == Figure(400, measured)


def test_runs_too_short_to_measure_answers_leave_them_assumed(settings: Settings) -> None:
    assert load(settings, state(5), runs(30, 5)).answer_s.origin == ASSUMED


def test_runs_that_catch_up_or_fail_measure_nothing(settings: Settings) -> None:
    assert load(settings, state(100), runs(30, 100, left=1)).answer_s.origin == ASSUMED


def test_shards_are_those_of_the_queue_or_of_the_last_runs(settings: Settings) -> None:
    queue = replace(settings, scale_out=ScaleOutSettings(8))
    of_shards = replace(runs(1, 100)[0], shards=3)

    assert load(settings, state(5)).shards == Figure(1, SETTINGS)
    assert load(settings, state(5), [of_shards]).shards == Figure(3, "the last run")
    assert load(queue, state(5), [of_shards]).shards == Figure(8, SETTINGS)


@pytest.mark.parametrize(
    ("schedule", "a_day"), [("0 */15 * * * *", 96), ("0 0 * * * *", 24), ("0 30 4 * * *", 1)]
)
def test_runs_are_counted_by_the_schedule(settings: Settings, schedule: str, a_day: int) -> None:
    feed = replace(settings.feeds["people_counter"], schedule=schedule)

    assert load_of(feed, settings, FeedState(), [], NOON, hourly=False).runs_a_day.value == a_day


def test_a_period_shorter_than_the_budget_is_what_a_run_has(settings: Settings) -> None:
    feed = replace(settings.feeds["people_counter"], schedule="0 * * * * *")
    found = load_of(feed, settings, FeedState(), [], NOON, hourly=False)

    assert timedelta(seconds=found.time_s.value) == MINUTE


# --- the tables of docs/scaling.md -------------------------------------------------------------------


def test_the_docs_have_the_figures_that_were_measured_and_what_comes_of_them() -> None:
    """Where they differ, `make bench WRITE=1 ONLY=Scaling` measures again and writes both."""
    assert with_tables(SCALING, MEASURED) == SCALING
    assert with_tables(SCALING, replace(MEASURED, memory_mib_a_run=999.0)) != SCALING


@pytest.mark.parametrize("figure", [each.name for each in fields(Measured)])
def test_each_figure_that_was_measured_counts_in_what_is_needed(figure: str) -> None:
    loads = [assumed(locations, 0.5, hourly=False) for locations in (1_000, 50_000)]
    more = replace(MEASURED, **{figure: 2 * getattr(MEASURED, figure) + 1})

    assert [need_of(load, more) for load in loads] != [need_of(load) for load in loads]


def test_the_docs_say_whose_prices_these_are() -> None:
    assert PRICES_OF in " ".join(SCALING.split())
