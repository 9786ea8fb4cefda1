"""What a run notices beside delivering, by a horizon that a test gives."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta

import pytest

from app.base.checkpoints import Checkpoint, Discovery, FeedState, Gap, LocationState, Place, Sensor
from app.base.errors import SourceUnavailable
from app.base.readings import Reading, Slice, ids_by_hour
from app.quality.hourly_digests import seal
from app.run.fetching import Fetched
from app.run.ledger import Ledger
from app.run.observer import Observer
from app.run.planning import Limits
from app.run.report import Report
from app.settings.schema import FeedSettings
from tests.unit.a_run import DAY, FEED, HOUR, MILL, MINUTE, NOON, QUAY, A, B, draft, reading

QUARTER = Slice(NOON - HOUR, NOON)


class Run:
    """A run up to noon, and what it has noticed."""

    def __init__(
        self,
        locations: Mapping[str, LocationState],
        *,
        feed: FeedSettings = FEED,
        is_live: bool = True,
        listed: Sequence[str] = (MILL, QUAY),
    ) -> None:
        found = Discovery(NOON, tuple(Place(name, "com.example", 1) for name in listed))
        self.ledger = Ledger(FeedState(locations, discovery=found), Limits.of(feed))
        self.draft = draft(feed)
        self.observer = Observer(self.ledger, self.draft, feed, is_live=is_live)

    def fetched(self, *readings: Reading, name: str = MILL, **told: object) -> Report:
        """Take in an answer to the last hour; give what is told so far."""
        found = Fetched(QUARTER, readings, len(readings), **told)  # type: ignore[arg-type]  # as in Fetched
        (group,) = self.ledger.groups(name, [A, B])
        self.observer.fetched(group, found, NOON)
        return self.told()

    def told(self) -> Report:
        return self.draft.finish(failing_since=None, took_s=1.0, until=NOON)


def had(*readings: Reading, until: datetime = NOON - 15 * MINUTE, **of_location: object) -> LocationState:
    """Give a location of which both hubs have these readings."""
    pairs = [(found.time or until, found.id) for found in readings]
    newest = max((found.time for found in readings if found.time), default=None)
    checkpoint = Checkpoint(until, NOON - 2 * DAY, ids_by_hour(pairs), newest)
    return LocationState(newest=newest, checkpoints={A: checkpoint, B: checkpoint}, **of_location)  # type: ignore[arg-type]


EARLIER = reading("earlier", NOON - 20 * MINUTE)


# --- answers ----------------------------------------------------------------------------------------


def test_an_answer_as_it_should_be_tells_nothing() -> None:
    report = Run({MILL: had(EARLIER)}).fetched(EARLIER, reading("new", NOON - MINUTE))

    assert (report.warnings, report.gaps, report.changed) == ((), (), [])


def test_what_did_not_come_back_and_what_an_answer_says_of_itself_is_warned_of_once() -> None:
    run = Run({MILL: had(EARLIER)})

    run.fetched(warnings=("odd",), absent=2)
    report = run.fetched(warnings=("odd",))

    assert report.warnings[0] == "odd"
    assert [text.split(",")[0] for text in report.warnings[1:]] == [
        f"{MILL}: 2 readings that the source showed before did not come back"
    ]


@pytest.mark.parametrize(
    ("time", "told"),
    [
        (QUARTER.start - HOUR, False),
        (QUARTER.start - HOUR - MINUTE, True),
        (NOON + 59 * MINUTE, False),
        (NOON + HOUR, True),
        (None, False),
    ],
    ids=["an hour before", "longer before", "within an hour after", "an hour after", "without a time"],
)
def test_a_reading_more_than_an_hour_outside_of_what_was_asked_is_warned_of(
    time: datetime | None, told: bool
) -> None:
    report = Run({MILL: had(EARLIER)}).fetched(EARLIER, reading("odd", time))

    assert any("far outside the window asked" in text for text in report.warnings) == told


def test_a_full_millisecond_is_a_gap_that_is_told_and_kept_once() -> None:
    run = Run({MILL: had(EARLIER)})
    millisecond = Slice(NOON - MINUTE, NOON - MINUTE + timedelta(milliseconds=1))

    run.fetched(saturated=millisecond)
    report = run.fetched(saturated=millisecond)

    assert report.gaps == ((MILL, Gap(millisecond, "saturated", NOON)),)
    assert run.ledger.location(MILL).gaps == (Gap(millisecond, "saturated", NOON),)


def test_a_reading_with_another_content_is_told_with_both_ids_and_an_unchanged_one_is_not() -> None:
    first, second = reading("one/1", NOON - 20 * MINUTE), reading("one/2", NOON - 20 * MINUTE)
    run = Run({MILL: had(first)})

    report = run.fetched(second, reading("other", NOON - 20 * MINUTE))

    (changed,) = report.changed
    assert (changed.location, changed.hour, changed.ids) == (MILL, NOON - HOUR, ((first.id, second.id),))


# --- how late the source is -------------------------------------------------------------------------


def lateness(run: Run, *readings: Reading) -> tuple[int, float]:
    found = run.fetched(*readings).lateness
    return (found.readings, found.max_s) if found else (0, 0.0)


NEW = reading("new", NOON - 10 * MINUTE)


def test_lateness_is_from_a_reading_s_time_to_when_it_was_shown_of_what_no_hub_has_had() -> None:
    settled = replace(FEED, settle=2 * MINUTE)
    corrected = reading(f"{EARLIER.id[:8]}/2", EARLIER.time)

    assert lateness(Run({MILL: had(EARLIER)}, feed=settled), EARLIER, corrected, NEW) == (1, 720.0)


@pytest.mark.parametrize(
    ("location", "is_live"),
    [
        (had(EARLIER, until=NOON - 91 * MINUTE), True),
        (had(EARLIER), False),
    ],
    ids=["after a long pause", "in a backfill"],
)
def test_lateness_is_not_measured_where_a_run_does_not_follow_on_another(
    location: LocationState, is_live: bool
) -> None:
    assert lateness(Run({MILL: location}, is_live=is_live), EARLIER, NEW) == (0, 0.0)


def test_lateness_is_not_measured_for_a_hub_s_first_slice() -> None:
    run = Run({})
    for hub in (A, B):
        run.ledger.begin(MILL, hub, NOON - 15 * MINUTE, NOON)

    assert lateness(run, NEW) == (0, 0.0)


@pytest.mark.parametrize(
    ("minutes", "told"), [(59, True), (46, True), (44, False)], ids=["at the end", "in it", "before it"]
)
def test_a_reading_in_the_last_quarter_of_the_look_back_says_that_it_is_too_short(
    minutes: int, told: bool
) -> None:
    newest = reading("newest", NOON - 15 * MINUTE)
    late = reading("late", NOON - 15 * MINUTE - minutes * MINUTE)

    report = Run({MILL: had(newest)}).fetched(newest, late)

    assert any("write feeds.people_counter.look_back: 2h" in text for text in report.warnings) == told


# --- proof ------------------------------------------------------------------------------------------


def sealed(readings: Sequence[Reading], *hubs: str, hour: datetime = NOON - 2 * DAY) -> LocationState:
    return had(EARLIER, seals={hub: {hour: seal(found.id for found in readings)} for hub in hubs})


OLD = [reading(f"old{n}", NOON - 2 * DAY + n * MINUTE) for n in range(3)]


def test_locations_are_compared_once_a_day_the_longest_waiting_first() -> None:
    run = Run(
        {
            "never": sealed(OLD, A, hour=NOON - 2 * DAY),
            "yesterday": replace(sealed(OLD, A), compared=NOON - DAY),
            "long ago": replace(sealed(OLD, A), compared=NOON - 3 * DAY),
            "lately": replace(sealed(OLD, A), compared=NOON - DAY + MINUTE),
            "nothing kept": had(EARLIER),
        }
    )

    due = run.observer.due(run.ledger.locations(), [A, B], NOON)

    assert due == ["never", "long ago", "yesterday"]


def test_an_hour_that_differs_is_asked_for_once_more_and_no_gap_where_it_is_whole_then() -> None:
    run, asked = Run({MILL: sealed(OLD, A, B)}), []

    def shown(window: Slice) -> Sequence[Reading]:
        asked.append(window)
        return OLD[:2] if len(asked) == 1 else OLD

    run.observer.compare(MILL, [A, B], shown, NOON)

    hour = Slice(NOON - 2 * DAY, NOON - 2 * DAY + HOUR)
    assert asked == [hour, hour]
    assert (run.told().gaps, run.ledger.location(MILL).compared) == ((), NOON)
    compared = run.told().compared
    assert compared is not None
    assert (compared.hours, compared.differ) == (1, 0)


def test_an_hour_that_a_hub_got_less_of_than_there_is_becomes_a_gap_of_that_hub_once() -> None:
    less = replace(sealed(OLD, A), seals={A: sealed(OLD, A).seals[A], B: sealed(OLD[:2], B).seals[B]})
    run = Run({MILL: less})

    for _ in range(2):
        run.observer.compare(MILL, [A, B], lambda _: OLD, NOON)

    gap = Gap(Slice(NOON - 2 * DAY, NOON - 2 * DAY + HOUR), "missed", NOON, (B,))
    assert run.told().gaps == ((MILL, gap),)
    assert run.ledger.location(MILL).gaps == (gap,)


def test_a_comparison_that_the_source_does_not_answer_leaves_its_location_as_it_was() -> None:
    run = Run({MILL: sealed(OLD, A)})

    def shown(_: Slice) -> Sequence[Reading]:
        raise SourceUnavailable("no answer")

    with pytest.raises(SourceUnavailable):
        run.observer.compare(MILL, [A], shown, NOON)

    assert (run.ledger.location(MILL), run.ledger.changed, run.told().compared) == (
        sealed(OLD, A),
        set(),
        None,
    )


# --- drift ------------------------------------------------------------------------------------------


QUIET = had(reading("last", NOON - 9 * HOUR), sensors={("Door",): Sensor(NOON - 9 * HOUR)})


def settled(run: Run, *answered: str) -> list[tuple[str, str | None]]:
    run.observer.settle(answered, NOON)
    return [(drift.kind, drift.location) for drift in run.told().drift]


def test_a_silence_is_told_in_the_first_run_that_finds_it_and_again_when_it_is_over() -> None:
    first = Run({MILL: QUIET})
    began = settled(first, MILL)
    state = first.ledger.state()
    second = Run(state.locations)
    second.ledger.update(drift=state.drift)
    lasts = settled(second, MILL)
    third = Run({MILL: replace(QUIET, newest=NOON, sensors={("Door",): Sensor(NOON)})})
    third.ledger.update(drift=second.ledger.state().drift)

    assert (began, lasts) == ([("silent", MILL)], [])
    assert settled(third, MILL) == [("speaks again", MILL)]
    assert third.ledger.state().drift == ()


@pytest.mark.parametrize(
    ("answered", "listed", "is_live"),
    [((), (MILL,), True), ((MILL,), (QUAY,), True), ((MILL,), (MILL,), False)],
    ids=["its query failed", "it is no longer listed", "a backfill"],
)
def test_a_location_is_not_called_silent_where_that_is_not_known(
    answered: Sequence[str], listed: Sequence[str], is_live: bool
) -> None:
    assert settled(Run({MILL: QUIET}, listed=listed, is_live=is_live), *answered) == []


def test_a_configured_location_can_be_silent_though_discovery_does_not_list_it() -> None:
    run = Run({MILL: QUIET}, feed=replace(FEED, locations=(MILL,)), listed=())

    assert settled(run, MILL) == [("silent", MILL)]


def test_a_new_key_of_the_readings_is_told_in_one_run() -> None:
    told = []
    state = FeedState({MILL: had(EARLIER)})
    for number, keys in enumerate(({"people": 1}, {"people": 1, "battery": 1}, {"people": 1})):
        run = Run(state.locations)
        run.ledger.update(keys=state.keys, drift=state.drift)
        run.fetched(reading(f"new{number}", NOON - MINUTE, **keys))
        told.append([kind for kind, _ in settled(run, MILL)])
        state = run.ledger.state()

    assert told == [[], ["keys appeared"], []]
