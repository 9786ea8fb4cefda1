"""What a feed needs at its size, and which switch to turn: figures that say where they are from. Pure.

What is counted (calls, transactions) is an upper bound where a run decides, as it does when to save.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from itertools import islice, pairwise
from typing import Final

from app.base.checkpoints import FeedState, LocationState
from app.base.instants import DAY, HOUR
from app.base.shards import MOST_SHARDS
from app.base.text import counted
from app.health.measured import MEASURED, Measured
from app.health.past_runs import PastRun
from app.health.trend import per_day_of
from app.run.report import UNIT_BYTES, UNIT_EVENTS
from app.settings.ncrontab import times_after
from app.settings.schema import FeedSettings, Settings

ASSUMED: Final = "assumed"
SETTINGS: Final = "settings"
STATE: Final = "state"
# A busy API's answer, and what a location is like whose state tells nothing yet.
ANSWER_S: Final = 0.5
SENSORS, READINGS_A_SENSOR = 10, 4.0
PEOPLE_BYTES, SNAPSHOT_BYTES = 500.0, 2_000.0
# A login or a question for the clock, and another in spare time, for each run.
_CALLS_A_RUN: Final = 2
# A run that asked fewer questions a worker took most of its time for other things.
_QUESTIONS_THAT_MEASURE: Final = 20
LAST_RUNS: Final = 20

# Rows of a table in an answer.
_ROWS_IN_AN_ANSWER: Final = 1_000
# From so many shards on, each asks for its rows one by one.
_SHARDS_BY_KEY: Final = 8
# Of so many of its devices a location has hashes in the list.
_DEVICES: Final = 16
_MEBIBYTE: Final = 2**20
# Up to where files were found to serve well, and what was measured of one run.
FILES_SERVE, A_RUN_SERVES = 500, 2_000
# Questions at once that one run asks before a second one is better.
CONCURRENCY_FIRST: Final = 8
_MOST_CONCURRENCY: Final = 32
# Flex Consumption bills an instance's whole memory while something runs: that of infra/main.bicep.
INSTANCE_GB: Final = 2.0
# How long a new instance takes to begin, of which the execution is billed: assumed.
_START_S: Final = 2.0
_DAYS, _HOURS = 30, 730
_DAY_S: Final = 86_400


@dataclass(frozen=True, slots=True)
class Figure:
    """A number, and where it is from."""

    value: float
    origin: str


@dataclass(frozen=True, slots=True)
class Load:
    """What a feed has to do, and with what. `time_s` is what a run has: its budget, or its period if shorter.

    Sensors, devices, readings and events are those of one location on the average, events those that one hub
    gets in a day; `answer_s` is how long the API takes for one question.
    """

    feed: str
    locations: Figure
    devices: Figure
    sensors: Figure
    readings_an_hour: Figure
    hubs: Figure
    runs_a_day: Figure
    look_back_h: Figure
    time_s: Figure
    concurrency: Figure
    shards: Figure
    calls_a_location: Figure
    answer_s: Figure
    events: Figure
    bytes_an_event: Figure
    in_files: bool = False
    by_queue: bool = False

    def figures(self) -> Mapping[str, Figure]:
        return {name: value for name in self.__slots__ if isinstance(value := getattr(self, name), Figure)}


@dataclass(frozen=True, slots=True)
class Need:
    """What one feed needs, or several together. What is a second is that of a tick, when all happens."""

    calls_a_tick: int
    calls_a_day: int
    questions_at_once: int
    shards: int
    events_a_day: int
    events_a_second: float
    bytes_a_second: float
    transactions_a_day: int
    rows_a_second: float
    memory_mib: int
    cpu_s_a_day: float
    run_s_a_day: float
    executions_a_day: int

    @property
    def units(self) -> int:
        """Throughput units, where all hubs are in one namespace."""
        taken = max(self.events_a_second / UNIT_EVENTS, self.bytes_a_second / UNIT_BYTES)
        return max(1, math.ceil(taken - 1e-9))


def need_of(load: Load, measured: Measured = MEASURED) -> Need:
    """Reckon what a feed needs so that each of its runs ends in time."""
    locations, runs = load.locations.value, load.runs_a_day.value
    at_once = _questions_at_once(load)
    shards = max(1, math.ceil(at_once / _asked_by_a_run(load, at_once)), math.ceil(locations / A_RUN_SERVES))
    calls = math.ceil(locations * load.calls_a_location.value) + _CALLS_A_RUN * shards
    run_s = calls * load.answer_s.value / load.concurrency.value
    events = locations * load.events.value * load.hubs.value
    a_second = events / runs / load.time_s.value
    return Need(
        calls_a_tick=calls,
        calls_a_day=round(calls * runs),
        questions_at_once=at_once,
        shards=shards,
        events_a_day=round(events),
        events_a_second=a_second,
        bytes_a_second=a_second * load.bytes_an_event.value,
        transactions_a_day=0 if load.in_files else round(_transactions(load, shards, run_s, measured) * runs),
        rows_a_second=0.0 if load.in_files else 2 * locations / load.time_s.value,
        memory_mib=round(_memory_mib(load, 1 if load.in_files else shards, measured)),
        cpu_s_a_day=_cpu_s_a_day(load, shards, measured),
        run_s_a_day=run_s * runs,
        executions_a_day=round((1 if shards == 1 else 1 + shards) * runs),
    )


def together(needs: Sequence[Need]) -> Need:
    """Give what feeds need that run at the same times: what each needs, added; of memory the most."""
    return Need(
        *(
            max(getattr(need, name) for need in needs)
            if name == "memory_mib"
            else sum(getattr(need, name) for need in needs)
            for name in Need.__slots__
        )
    )


def state_mib(load: Load, measured: Measured = MEASURED) -> float:
    """Give how large the state is, as files have it."""
    a_location = (
        measured.bytes_a_location
        + measured.bytes_a_sensor * load.sensors.value
        + measured.bytes_a_reading_an_hour * load.readings_an_hour.value
    )
    return load.locations.value * a_location / _MEBIBYTE


def _memory_mib(load: Load, shards: int, measured: Measured) -> float:
    """Give what a run takes: of the state its part, of the list of locations all, of a shard too."""
    a_place = measured.memory_bytes_a_place + measured.memory_bytes_a_device * min(
        _DEVICES, load.devices.value
    )
    of_list = load.locations.value * a_place / _MEBIBYTE
    return (
        measured.memory_mib_a_run + of_list + measured.memory_times_state * state_mib(load, measured) / shards
    )


def _cpu_s_a_day(load: Load, shards: int, measured: Measured) -> float:
    """Give the seconds of the processor that were measured of one; each reading is sent once, to one hub."""
    runs, an_hour = load.runs_a_day.value, load.readings_an_hour.value
    window_h = load.look_back_h.value + 24 / runs
    a_location_ms = runs * measured.cpu_ms_a_location + an_hour * (
        runs * window_h * measured.cpu_ms_a_reading_read + 24 * measured.cpu_ms_a_reading_sent
    )
    return runs * shards * measured.cpu_s_a_run + load.locations.value * a_location_ms / 1_000


def _questions_at_once(load: Load) -> int:
    calls = load.locations.value * load.calls_a_location.value + _CALLS_A_RUN
    return max(1, math.ceil(calls * load.answer_s.value / load.time_s.value))


def _asked_by_a_run(load: Load, at_once: int) -> int:
    """Give how many questions one run is to ask at once: as set, or some more where that is too few."""
    concurrency = int(load.concurrency.value)
    return concurrency if at_once <= concurrency else max(concurrency, CONCURRENCY_FIRST)


def _transactions(load: Load, shards: int, run_s: float, measured: Measured) -> float:
    """Give what a tick asks of the tables, a transaction of many rows as one.

    `run_s` are the seconds that its shards take, added up: each saves a second apart at most. Each reads the
    pages of all locations' rows, or of their keys, and so does who plans them.
    """
    locations, pages = load.locations.value, math.ceil(load.locations.value / _ROWS_IN_AN_ANSWER)
    by_key = shards >= _SHARDS_BY_KEY
    a_location = measured.transactions_a_location_by_key if by_key else measured.transactions_a_location
    of_runs = shards * (measured.transactions_a_run + pages) + run_s * measured.transactions_a_second
    return of_runs + locations * a_location + (0 if shards == 1 else pages + 2)


# --- which switch to turn ---------------------------------------------------------------------------


def advice(load: Load) -> Iterator[str]:
    """Say what to do, the first first; nothing where all that is set is enough."""
    need, locations = need_of(load), int(load.locations.value)
    if load.in_files and (locations > FILES_SERVE or need.shards > 1):
        yield (
            f"set STATE_STORE=table: each save writes the whole file, some {state_mib(load):,.0f} MiB for "
            f"{counted(locations, 'location')}, and shards share the table only"
        )
    at_once, shards = need.questions_at_once, int(load.shards.value)
    asked = int(load.concurrency.value) * shards
    why = f"{at_once:,} questions at once let a tick end in {load.time_s.value:,.0f} s, and {asked} are set"
    if need.shards > shards and (at_once > asked or locations > A_RUN_SERVES * shards):
        how = (
            f"set SCALE_OUT_SHARDS={min(MOST_SHARDS, need.shards)}"
            if load.by_queue
            else f"run it in {need.shards} shards in all, by --shard on hosts or SCALE_OUT=queue in Azure"
        )
        each = f"a run serves {A_RUN_SERVES:,} locations"
        yield f"{how}, with run.concurrency {_asked_by_a_run(load, at_once)}: {why}, and {each}"
    elif at_once > asked:
        yield f"set run.concurrency to {min(_MOST_CONCURRENCY, math.ceil(at_once / shards))}: {why}"


def advice_for_all(need: Need) -> Iterator[str]:
    """Say what to do about what feeds share."""
    if need.units > 1:
        yield (
            f"give the namespace {need.units} throughput units, or let it inflate by itself: a tick has "
            f"{need.events_a_second:,.0f} events and {need.bytes_a_second / 1e6:,.1f} MB a second"
        )


def enough_for(load: Load) -> int:
    """Give how many locations what is set is enough for, each like those that there are."""
    asked = load.concurrency.value * load.shards.value
    answered = asked * load.time_s.value / load.answer_s.value - _CALLS_A_RUN
    bounds = [
        answered / load.calls_a_location.value if load.calls_a_location.value else math.inf,
        A_RUN_SERVES * load.shards.value,
        FILES_SERVE if load.in_files else math.inf,
    ]
    return max(0, int(min(bounds)))


# --- money ------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Price:
    """What a unit costs, in US dollars; an assumption."""

    name: str
    unit: str
    dollars: float

    @property
    def shown(self) -> str:
        return f"{self.dollars:.6f}".rstrip("0")


PRICES_OF: Final = "assumed: US East, pay as you go, US dollars of January 2025, not looked up since"
UNIT_PRICE = Price("Event Hubs Standard: throughput unit", "hour", 0.03)
EVENTS_PRICE = Price("Event Hubs Standard: ingress events", "million", 0.028)
TABLE_PRICE = Price("Table storage: transactions", "10,000", 0.00036)
TIME_PRICE = Price("Functions Flex: execution time", "GB-second", 0.000026)
EXECUTIONS_PRICE = Price("Functions Flex: executions", "million", 0.40)


def units_a_month(need: Need) -> Mapping[Price, float]:
    """Give how many units of each price a month of 30 days takes; without what is free, and without hosts."""
    running_s = need.run_s_a_day + need.executions_a_day * _START_S
    return {
        UNIT_PRICE: float(need.units * _HOURS),
        EVENTS_PRICE: need.events_a_day * _DAYS / 1e6,
        TABLE_PRICE: need.transactions_a_day * _DAYS / 1e4,
        TIME_PRICE: running_s * _DAYS * INSTANCE_GB,
        EXECUTIONS_PRICE: need.executions_a_day * _DAYS / 1e6,
    }


def dollars_a_month(need: Need) -> float:
    return sum(price.dollars * units for price, units in units_a_month(need).items())


# --- figures ----------------------------------------------------------------------------------------


def assumed(locations: int, answer_s: float, *, hourly: bool) -> Load:
    """Give a feed of so many locations on the table with one hub, as the docs have it: all assumed."""

    def figure(value: float) -> Figure:
        return Figure(value, ASSUMED)

    readings = SENSORS * READINGS_A_SENSOR
    return Load(
        feed="hourly_snapshot" if hourly else "people_counter",
        locations=figure(locations),
        devices=figure(SENSORS),
        sensors=figure(SENSORS),
        readings_an_hour=figure(SENSORS if hourly else readings),
        hubs=figure(1),
        runs_a_day=figure(24 if hourly else 96),
        look_back_h=figure(6 if hourly else 1),
        time_s=figure(240.0),
        concurrency=figure(4),
        shards=figure(1),
        calls_a_location=figure(1.0),
        answer_s=figure(answer_s),
        events=figure(24.0 if hourly else readings * 24),
        bytes_an_event=figure(SNAPSHOT_BYTES if hourly else PEOPLE_BYTES),
    )


def load_of(
    feed: FeedSettings,
    settings: Settings,
    state: FeedState,
    runs: Sequence[PastRun],
    now: datetime,
    *,
    hourly: bool,
) -> Load:
    """Give what a feed of an installation has to do: from settings, its state, and its last runs.

    `runs` are those of some days, ticks told as one. What they do not tell is assumed, and says so.
    """
    located = [found for found in state.locations.values() if not state.is_gone(found)]
    times = list(islice(times_after(feed.schedule, now), 2))
    period_s = min((later - at).total_seconds() for at, later in pairwise(times)) if times[1:] else _DAY_S
    begins = assumed(len(located), ANSWER_S, hourly=hourly)
    load = replace(
        begins,
        feed=feed.name,
        locations=Figure(len(located), STATE),
        hubs=Figure(sum(hub.enabled for hub in settings.hubs), SETTINGS),
        runs_a_day=Figure(_runs_a_day(feed.schedule, now), SETTINGS),
        look_back_h=Figure(feed.look_back / HOUR, SETTINGS),
        time_s=Figure(min(settings.run.budget.total_seconds(), period_s), SETTINGS),
        concurrency=Figure(settings.run.concurrency, SETTINGS),
        shards=_shards(settings, runs),
        in_files=settings.state.store == "json",
        by_queue=settings.scale_out is not None,
    )
    return _as_measured(_as_kept(load, state, located, hourly=hourly), runs)


def _runs_a_day(schedule: str, now: datetime) -> int:
    times = islice(times_after(schedule, now), _DAY_S)
    return max(1, sum(1 for _ in _until(times, now + DAY)))


def _until(times: Iterable[datetime], end: datetime) -> Iterator[datetime]:
    for at in times:
        if at > end:
            return
        yield at


def _shards(settings: Settings, runs: Sequence[PastRun]) -> Figure:
    if settings.scale_out is not None:
        return Figure(settings.scale_out.shards, SETTINGS)
    return Figure(runs[-1].shards, "the last run") if runs else Figure(1, SETTINGS)


def _as_kept(load: Load, state: FeedState, located: Sequence[LocationState], *, hourly: bool) -> Load:
    """Replace what is assumed of a location by what the state shows."""
    devices = [place.devices for place in state.discovery.places] if state.discovery else []
    sensors = [len(found.sensors) for found in located if found.sensors]
    readings = [rate for found in located if (rate := _readings_an_hour(found)) is not None]
    if devices:
        load = replace(load, devices=Figure(_mean(devices), STATE))
    if sensors:
        load = replace(load, sensors=Figure(_mean(sensors), STATE))
    if readings:
        an_hour = Figure(_mean(readings), "ids in the state")
        load = replace(load, readings_an_hour=an_hour)
        if not hourly:
            load = replace(load, events=Figure(an_hour.value * 24, an_hour.origin))
    return load


def _readings_an_hour(location: LocationState) -> float | None:
    """Give how many ids a location has in an hour, at the hub that has most; None where none is kept."""
    return max(
        (
            sum(map(len, found.ids.values())) / len(found.ids)
            for found in location.checkpoints.values()
            if found.ids
        ),
        default=None,
    )


def _as_measured(load: Load, runs: Sequence[PastRun]) -> Load:
    """Replace what is assumed by what the last runs took, those that had nothing to catch up."""
    steady = [run for run in runs if run.ok and not run.left and run.locations > 0][-LAST_RUNS:]
    if not steady:
        return load
    origin = f"measured in the last {counted(len(steady), 'run')}"
    asked = sum(run.api_calls for run in steady)
    of_locations = sum(max(0, run.api_calls - _CALLS_A_RUN * run.shards) for run in steady)
    if of_locations:
        calls = max(1.0, of_locations / sum(run.locations for run in steady))
        load = replace(load, calls_a_location=Figure(calls, origin))
    workers = sum(load.concurrency.value * run.shards for run in steady)
    if asked >= _QUESTIONS_THAT_MEASURE * workers:
        waited = sum(run.took_s * load.concurrency.value * run.shards for run in steady)
        load = replace(load, answer_s=Figure(waited / asked, f"at most, {origin}"))
    day = per_day_of(runs, steady[0].started)
    hubs = [hub for hub in day["hubs"].values() if hub["events"]] if day else []
    if hubs and load.locations.value:
        events = max(hub["events"] for hub in hubs)
        size = sum(hub["bytes"] for hub in hubs) / sum(hub["events"] for hub in hubs)
        load = replace(
            load,
            events=Figure(events / load.locations.value, origin),
            bytes_an_event=Figure(size, origin),
        )
    return load


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)
