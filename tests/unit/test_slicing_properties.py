"""What holds of planning, fetching, packing and groups for any rates, sizes and times."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta

from hypothesis import example, given, settings
from hypothesis import strategies as st

from app.base.checkpoints import Checkpoint
from app.base.instants import MILLISECOND, format_time, hour_of
from app.base.readings import DashboardAnswer, Event, Reading, Slice
from app.eventhub.batches import pack
from app.feeds.feed import read_answer
from app.feeds.hourly_snapshot import FEED as SNAPSHOTS
from app.feeds.people_counter import FEED as PEOPLE
from app.run.fetching import Fetched, fetch_slice
from app.run.planning import Group, Limits, group_hubs, halve, plan_slice, read_floor
from app.settings.schema import FeedSettings

START = datetime(2026, 3, 2, tzinfo=UTC)
HOUR = timedelta(hours=1)
SECOND = timedelta(seconds=1)

# A busy machine is no reason to fail.
bounded = settings(max_examples=60)

instants = st.integers(0, 10 * 24 * 3_600_000).map(lambda ms: START + timedelta(milliseconds=ms))
limits = st.builds(
    Limits,
    look_back=st.sampled_from([HOUR, 6 * HOUR, 30 * HOUR]),
    slice_length=st.sampled_from([HOUR, 24 * HOUR]),
    record_limit=st.sampled_from([10, 100, 999]),
)
hourly_counts = st.lists(st.integers(0, 40), max_size=30)


@st.composite
def checkpoints(draw: st.DrawFn) -> Checkpoint:
    position = draw(instants)
    known_from = position - draw(st.integers(0, 30)) * HOUR
    ids = {
        hour_of(position) - n * HOUR: frozenset(f"{n:04d}-{k:011d}" for k in range(count))
        for n, count in enumerate(draw(hourly_counts))
        if count
    }
    return Checkpoint(position, known_from, ids)


@bounded
@given(checkpoints(), limits, st.integers(1, 6 * 24 * 60))
def test_slices_cover_all_from_the_floor_to_the_horizon_without_a_hole(
    checkpoint: Checkpoint, bounds: Limits, minutes: int
) -> None:
    horizon = checkpoint.delivered_until + timedelta(minutes=minutes)
    floor = read_floor(checkpoint, bounds)
    group = Group("A", ("h",), checkpoint, floor)
    edges = [floor]

    for _ in range(20_000):
        window = plan_slice(group, horizon, bounds)
        if window is None:
            break
        assert window.start == edges[-1] < window.end <= horizon
        edges.append(window.end)
        after = group.checkpoint.done_until(window.end, reach=bounds.reach)
        group = Group("A", ("h",), after, window.end)

    assert edges[-1] == horizon


@bounded
@given(checkpoints(), limits)
def test_the_floor_lies_between_known_from_and_the_look_back(checkpoint: Checkpoint, bounds: Limits) -> None:
    floor = read_floor(checkpoint, bounds)

    assert checkpoint.known_from <= floor
    assert floor <= max(checkpoint.delivered_until - bounds.look_back, checkpoint.known_from)
    assert floor >= checkpoint.delivered_until - bounds.reach


@bounded
@given(instants, st.integers(1, 10**9))
def test_halving_ends_at_a_millisecond(start: datetime, length_ms: int) -> None:
    window = Slice(start, start + length_ms * MILLISECOND)

    for _ in range(64):
        half = halve(window)
        assert half.start == window.start
        assert half.end <= window.end
        if half == window:
            break
        window = half

    assert window.end - window.start == MILLISECOND


class CappedView:
    """A view that shows the newest readings of a window only, and does not say so."""

    def __init__(self, times: Sequence[datetime], limit: int) -> None:
        self._times = sorted(times)
        self._limit = limit
        self.asked: list[Slice] = []

    def ask(self, window: Slice) -> DashboardAnswer:
        self.asked.append(window)
        found = [(n, time) for n, time in enumerate(self._times) if time in window][-self._limit :]
        lines = [{"time": format_time(time), "record": f"r{n}"} for n, time in found]
        return DashboardAnswer(({"data": {"_id": {"tags": ["A"]}, "line": lines}},))


def read(answer: DashboardAnswer) -> list[Reading]:
    return read_answer("r", "A", answer)


# Few distinct times, so that many readings share a millisecond.
crowded = st.lists(
    st.sampled_from([0, 1, 2, 500, 999, 1_000, 1_001, 60_000, 600_000, 3_599_999]), max_size=60
).map(lambda offsets: [START + offset * MILLISECOND for offset in offsets])


@given(crowded, st.integers(3, 20))
@bounded
def test_every_reading_of_a_capped_view_is_had_or_its_millisecond_is_named(
    times: list[datetime], limit: int
) -> None:
    view = CappedView(times, limit)
    window = Slice(START, START + HOUR)
    done: list[Fetched] = []
    earliest = START - HOUR

    while window.start < window.end:
        fetched = fetch_slice(view.ask, read, window, earliest, limit)
        done.append(fetched)
        assert fetched.window.start == window.start < fetched.window.end <= window.end
        earliest = fetched.saturated.end if fetched.saturated else earliest
        window = Slice(fetched.window.end, window.end)

    had = {reading.entry["record"] for part in done for reading in part.readings}
    named = [part.saturated for part in done if part.saturated is not None]
    hidden = [
        time
        for n, time in enumerate(sorted(times))
        if f"r{n}" not in had and not any(time in millisecond for millisecond in named)
    ]
    assert hidden == []


# Around the beginning of a slice, the second before it that is asked again included.
near_the_start = st.lists(
    st.sampled_from([-1_000, -999, -500, -1, 0, 1, 500, 60_000]), min_size=1, max_size=60
).map(lambda offsets: [START + offset * MILLISECOND for offset in offsets])


@bounded
@given(near_the_start, st.sampled_from([4, 20]), st.booleans())
@example([START - 500 * MILLISECOND] * 20, 20, False)
def test_a_fetch_always_ends_after_its_slice_begins(
    times: list[datetime], limit: int, is_first: bool
) -> None:
    view = CappedView(times, limit)
    window = Slice(START, START + HOUR)

    for _ in range(40):
        fetched = fetch_slice(view.ask, read, window, START if is_first else START - HOUR, limit)

        assert fetched.window.start == window.start < fetched.window.end <= window.end
        assert all(asked.end > asked.start for asked in view.asked)
        if fetched.window.end == window.end:
            return
        window = Slice(fetched.window.end, window.end)

    raise AssertionError(f"{window} is not done after 40 fetches")


def events_of(sizes: Sequence[int]) -> list[Event]:
    lines = [
        {"time": format_time(START + n * SECOND), "record": f"r{n}", "note": "x" * size}
        for n, size in enumerate(sizes)
    ]
    answer = DashboardAnswer(({"data": {"_id": {"tags": ["A"]}, "line": lines}},))
    readings = read_answer(PEOPLE.rec_type, "A", answer)
    return PEOPLE.events("A", readings, readings, Checkpoint(START, START), feed_settings("people_counter"))


def feed_settings(name: str) -> FeedSettings:
    return FeedSettings(name=name, view_id="view", data_context=("x",), schedule="0 * * * * *")


@given(st.lists(st.integers(0, 3_000), max_size=25), st.integers(600, 5_000))
@bounded
def test_packing_keeps_every_reading_in_order_and_within_the_limit(sizes: list[int], largest: int) -> None:
    events = events_of(sizes)

    packed = pack(events, largest, PEOPLE.parts)

    sent = [event.message_id for batch in packed.batches for event in batch.events]
    set_aside = {reading.id for reading in packed.oversize}
    assert sent == [event.message_id for event in events if event.message_id not in set_aside]
    assert all(batch.size_bytes <= largest for batch in packed.batches)
    assert all(batch.events for batch in packed.batches)


def hour_of_snapshots(sizes: Sequence[int]) -> tuple[list[Reading], list[Event]]:
    lines = [
        {"time": format_time(START), "category": "space", "metric": f"m{n}", "note": "x" * size}
        for n, size in enumerate(sizes)
    ]
    answer = DashboardAnswer(({"data": {"_id": {"tags": ["A"]}, "line": lines}},))
    readings = read_answer(SNAPSHOTS.rec_type, "A", answer)
    return readings, events_of_snapshots(readings)


def events_of_snapshots(readings: Sequence[Reading]) -> list[Event]:
    return SNAPSHOTS.events(
        "A", readings, readings, Checkpoint(START, START), feed_settings("hourly_snapshot")
    )


@given(st.lists(st.integers(0, 900), min_size=1, max_size=20), st.integers(900, 6_000))
# Two of these make a part that fits, and with its number does not.
@example([400] * 4, 1_440)
@bounded
def test_a_snapshot_is_split_into_parts_that_hold_each_reading_once(sizes: list[int], largest: int) -> None:
    readings, events = hour_of_snapshots(sizes)

    packed = pack(events, largest, SNAPSHOTS.parts)

    sent = [reading.id for batch in packed.batches for event in batch.events for reading in event.readings]
    assert sorted([*sent, *(reading.id for reading in packed.oversize)]) == sorted(
        reading.id for reading in readings
    )
    assert len(sent) == len(set(sent))
    assert all(batch.size_bytes <= largest for batch in packed.batches)
    # A part has its number besides, which takes some bytes of what a reading alone would fit into.
    small = largest - 100
    assert not any(pack(events_of_snapshots([found]), small, no_parts).batches for found in packed.oversize)


def no_parts(event: Event, _: Callable[[Event], bool]) -> tuple[list[Event], list[Reading]]:
    return [], list(event.readings)


@bounded
@given(st.lists(checkpoints(), min_size=1, max_size=4), st.integers(0, 5))
def test_groups_hold_every_hub_once_and_only_equals_together(found: list[Checkpoint], copies: int) -> None:
    every = [*found, *found[:copies]]
    by_hub = {f"hub-{n}": checkpoint for n, checkpoint in enumerate(every)}
    cursors = {hub: checkpoint.delivered_until for hub, checkpoint in by_hub.items()}

    groups = group_hubs("A", by_hub, cursors)

    assert sorted(hub for group in groups for hub in group.hubs) == sorted(by_hub)
    assert all(by_hub[hub] == group.checkpoint for group in groups for hub in group.hubs)
    distinct = [group.checkpoint for group in groups]
    assert all(distinct.count(checkpoint) == 1 for checkpoint in distinct)
