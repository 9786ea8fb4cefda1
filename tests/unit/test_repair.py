"""What a repair sends, and notes in the state: no socket, and lanes that do at once what they are told."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from app.audit.comparison_file import ComparisonFile
from app.audit.findings import Finding
from app.audit.repair import Outcome, Plan, plan_repair, repair
from app.base.budget import Budget
from app.base.checkpoints import Checkpoint, FeedState, Gap, LocationState
from app.base.errors import BatchRejected, HubUnreachable, LockHeld, SourceUnavailable, StateError
from app.base.instants import format_time
from app.base.readings import DashboardAnswer, Reading, Slice
from app.eventhub.deliveries import Delivered, Delivery, Dropped, LaneClosed, News, Opened, Rejected
from app.feeds.feed import load_feed, read_answer
from app.run.fetching import Fetched
from app.run.ports import Wiring
from app.settings.schema import HubSettings
from app.state.json_file import JsonFileStore
from tests.unit.a_run import DAY, FEED, HOUR, HUBS, MILL, MINUTE, NOON, QUAY, A, B, settings

PEOPLE = load_feed("people_counter")
NAME = PEOPLE.state_name
LOST = HubUnreachable("hub a: lost")
NOTHING = FeedState()


def published(location: str, *times: datetime, pad: int = 0) -> list[Reading]:
    lines = [{"time": format_time(time), "record": f"{location} {time}", "pad": "x" * pad} for time in times]
    answer = DashboardAnswer(({"data": {"_id": {"tags": [location, "Door"]}, "line": lines}},))
    return read_answer(PEOPLE.rec_type, location, answer)


class Source:
    """Shows readings; gives no more than `widest` at a time, and fails for locations in `failing`."""

    def __init__(self, readings: Mapping[str, Sequence[Reading]], widest: timedelta) -> None:
        self._readings = readings
        self._widest = widest
        self.failing: set[str] = set()
        self.hidden: list[Slice] = []
        self.asked: list[Slice] = []

    def fetch(self, location: str, window: Slice, _: datetime) -> Fetched:
        self.asked.append(window)
        if location in self.failing:
            raise SourceUnavailable(f"{location}: no answer")
        part = Slice(window.start, min(window.end, window.start + self._widest))
        found = [each for each in self._readings[location] if each.time is not None and each.time in part]
        return Fetched(part, found, len(found))

    def shows_all_of(self, _: str, window: Slice) -> bool:
        return window not in self.hidden


@dataclass
class Contents:
    """What came to a hub since it was compared; or why it cannot be asked again."""

    came: set[str] | HubUnreachable = field(default_factory=set)

    def came_since(self, _: object) -> set[str]:
        if isinstance(self.came, HubUnreachable):
            raise self.came
        return self.came


class Compared:
    """A comparison as an audit leaves it: `lacks` are the readings that each hub has not got."""

    def __init__(
        self,
        file: ComparisonFile,
        lacks: Mapping[str, Sequence[Reading]],
        cause: str,
        readings: Mapping[str, Sequence[Reading]],
        widest: timedelta,
    ) -> None:
        self.feed, self.settings = PEOPLE, FEED
        self.hubs: Sequence[HubSettings] = HUBS
        self.compared_hubs = HUBS
        self.locations = (MILL, QUAY)
        self.state = NOTHING
        self.source = Source(readings, widest)
        self.contents = {hub.key: Contents() for hub in HUBS}
        self.file = file
        for hub, found in lacks.items():
            for each in found:
                place = str(each.data["_id"]["tags"][0])
                assert each.time is not None
                file.find(hub, Finding("missing", place, each.time, "as written", each.id, cause=cause))

    def repaired(self, hub: str, location: str, sent: Sequence[tuple[datetime, str]]) -> None:
        self.file.repaired(hub, location, sent)

    def missing(self, hub: str) -> set[str]:
        """Give the ids that a hub has yet to get."""
        return {found.id for found in self.file.findings(hub, "missing") if not found.repaired}


class Inbox:
    """News that is there. Lanes here have told all, so that to wait for more would be to wait for ever."""

    def __init__(self) -> None:
        self._news: deque[News] = deque()

    def put(self, item: News) -> None:
        self._news.append(item)

    def empty(self) -> bool:
        return not self._news

    def get(self, *, timeout: float | None = None) -> News:
        assert self._news, f"waits for news that never come, for {timeout or 'ever'}"
        return self._news.popleft()


class Lanes:
    """Lanes that do at once what they are given; a hub's `answers` say what becomes of its batches.

    Hubs in `absent` cannot be opened. A lane is full when it holds `room` batches, until that is asked.
    """

    def __init__(
        self,
        answers: Mapping[str, Sequence[Exception | None]] = {},
        *,
        absent: Sequence[str] = (),
        room: int = 99,
    ) -> None:
        self._absent = absent
        self._answers = {key: deque(found) for key, found in answers.items()}
        self._room = room
        self._closed: set[str] = set()
        self.sent: dict[str, list[str]] = {A: [], B: []}
        self.fullest = 0
        self.is_closed = False
        self.why_not: Callable[[], str | None] = lambda: None
        self.tell: Callable[[News], None] = lambda _: None
        self._hubs: Sequence[HubSettings] = ()
        self._held: dict[str, int] = {A: 0, B: 0}

    def made(
        self,
        hubs: Sequence[HubSettings],
        _: Budget,
        tell: Callable[[News], None],
        may_send: Callable[[], str | None],
    ) -> Lanes:
        self._hubs, self.tell, self.why_not = hubs, tell, may_send
        return self

    def start(self) -> None:
        for hub in self._hubs:
            gone = hub.key in self._absent
            self.tell(LaneClosed(hub.key, LOST) if gone else Opened(hub.key, 100_000))

    def has_room(self, hub: str) -> bool:
        has_room = self._held[hub] < self._room
        self._held[hub] = 0
        return has_room

    def put(self, hub: str, delivery: Delivery) -> None:
        if hub in self._closed:
            return
        self._held[hub] += 1
        self.fullest = max(self.fullest, self._held[hub])
        answer = self._next(hub)
        if (reason := self.why_not()) is not None:
            answer = HubUnreachable(reason)
        if isinstance(answer, HubUnreachable):
            self._closed.add(hub)
            self.tell(LaneClosed(hub, answer))
        elif isinstance(answer, BatchRejected):
            self.tell(Rejected(hub, delivery, answer))
        elif answer is not None:
            self.tell(Dropped(hub, delivery))
        else:
            self.sent[hub] += [found.message_id for found in delivery.batch.events] if delivery.batch else []
            self.tell(Delivered(hub, delivery))

    def _next(self, hub: str) -> Exception | None:
        return self._answers[hub].popleft() if self._answers.get(hub) else None

    def stop_location(self, location: str) -> None:
        raise AssertionError(f"a repair stops no location, and it stopped {location}")

    def close(self) -> None:
        self.is_closed = True


MORNING = [NOON - 5 * HOUR, NOON - 4 * HOUR, NOON - HOUR]
SHOWN = {MILL: published(MILL, *MORNING), QUAY: published(QUAY, *MORNING)}


@dataclass
class Site:
    """A state, what a comparison found, and lanes: all that a repair works on."""

    folder: Path
    file: ComparisonFile
    lanes: Lanes = field(default_factory=Lanes)

    @property
    def store(self) -> JsonFileStore:
        return JsonFileStore(self.folder)

    def saved(self, state: FeedState) -> FeedState:
        self.store.save(NAME, state, state.locations)
        return state

    def compared(
        self,
        lacks: Mapping[str, Sequence[Reading]],
        *,
        cause: str = "lost",
        readings: Mapping[str, Sequence[Reading]] = SHOWN,
        widest: timedelta = DAY,
    ) -> Compared:
        compared = Compared(self.file, lacks, cause, readings, widest)
        compared.state = self.store.load(NAME)
        return compared

    def repair(self, compared: Compared, store: JsonFileStore | None = None) -> Outcome:
        wiring = Wiring(
            settings(),
            store or self.store,
            make_client=None,  # type: ignore[arg-type]  # the comparison has asked already
            make_lanes=self.lanes.made,
            now=lambda: NOON,
            make_inbox=Inbox,
        )
        return repair(compared, wiring, consumer_group="$Default")  # type: ignore[arg-type]  # see Compared

    def load(self) -> FeedState:
        return self.store.load(NAME)


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    with ComparisonFile((MILL, QUAY), (A, B)) as file:
        yield Site(tmp_path, file)


def at_noon(*gaps: Gap, hubs: Sequence[str] = (A, B)) -> FeedState:
    """Give a state in which hubs have both locations up to noon, ids known from two days before on."""
    known = Checkpoint(NOON, NOON - 2 * DAY)
    location = LocationState(checkpoints=dict.fromkeys(hubs, known))
    return FeedState({MILL: replace(location, gaps=gaps), QUAY: location})


def ids(readings: Sequence[Reading]) -> list[str]:
    return [found.id for found in readings]


# --- what is sent -----------------------------------------------------------------------------------


def test_each_hub_gets_what_it_lacks_by_time_and_nothing_else(site: Site) -> None:
    site.saved(at_noon())
    compared = site.compared({A: SHOWN[MILL], B: [SHOWN[MILL][1], SHOWN[QUAY][2]]})

    outcome = site.repair(compared)

    assert site.lanes.sent == {A: ids(SHOWN[MILL]), B: ids([SHOWN[MILL][1], SHOWN[QUAY][2]])}
    assert (outcome.sent, outcome.errors, site.lanes.is_closed) == ({A: 3, B: 2}, [], True)
    assert (compared.missing(A), compared.missing(B)) == (set(), set())


def test_what_was_sent_is_remembered_at_its_hub_and_positions_stay(site: Site) -> None:
    site.saved(at_noon())

    site.repair(site.compared({A: SHOWN[MILL][:2]}))

    first, second = (site.load().locations[MILL].checkpoints[hub] for hub in (A, B))
    assert (first.delivered_until, first.known_from) == (NOON, NOON - 2 * DAY)
    assert first.ids == {
        MORNING[0]: frozenset([SHOWN[MILL][0].id]),
        MORNING[1]: frozenset([SHOWN[MILL][1].id]),
    }
    assert second.ids == {}


def test_what_came_to_a_hub_since_it_was_compared_is_not_sent_again(site: Site) -> None:
    site.saved(at_noon())
    compared = site.compared({A: SHOWN[MILL], B: SHOWN[MILL]})
    compared.contents[A].came = {SHOWN[MILL][0].id, SHOWN[MILL][2].id}

    site.repair(compared)

    assert site.lanes.sent == {A: [SHOWN[MILL][1].id], B: ids(SHOWN[MILL])}


@pytest.mark.parametrize("cause", ["behind", "quarantined", "retention", "before start"])
def test_what_a_run_brings_or_sending_does_not_mend_is_not_sent(site: Site, cause: str) -> None:
    compared = site.compared({A: SHOWN[MILL]}, cause=cause)

    outcome = site.repair(compared)

    assert plan_repair(compared) == Plan({A: {}, B: {}}, 0)  # type: ignore[arg-type]  # see Compared
    assert (site.lanes.sent, outcome) == ({A: [], B: []}, Outcome())
    assert not site.lanes.is_closed


def test_a_reading_that_two_hubs_get_is_one_reading_of_a_plan(site: Site) -> None:
    site.saved(at_noon())

    plan = plan_repair(site.compared({A: SHOWN[MILL][:2], B: SHOWN[MILL][:1]}))  # type: ignore[arg-type]

    assert plan == Plan({A: {"lost": 2}, B: {"lost": 1}}, gaps=0, distinct=2)


def test_a_plan_says_what_a_repair_then_does(site: Site) -> None:
    gap = Gap(Slice(NOON - 6 * HOUR, NOON), "missed", NOON)
    site.saved(at_noon(gap))
    compared = site.compared({A: SHOWN[MILL], B: SHOWN[QUAY][:1]})

    plan = plan_repair(compared)  # type: ignore[arg-type]  # see Compared
    outcome = site.repair(compared)

    assert plan == Plan({A: {"lost": 3}, B: {"lost": 1}}, gaps=1, distinct=4)
    assert (outcome.sent, outcome.gaps) == ({A: 3, B: 1}, 1)


# --- what is asked ----------------------------------------------------------------------------------


def test_the_hours_of_what_any_hub_lacks_are_asked_for_those_that_follow_one_another_at_once(
    site: Site,
) -> None:
    compared = site.compared({A: SHOWN[MILL][:1], B: SHOWN[MILL][1:]})

    site.repair(compared)

    assert compared.source.asked == [Slice(NOON - 5 * HOUR, NOON - 3 * HOUR), Slice(NOON - HOUR, NOON)]
    assert site.lanes.sent == {A: ids(SHOWN[MILL][:1]), B: ids(SHOWN[MILL][1:])}


def test_a_window_is_no_longer_than_a_day(site: Site) -> None:
    times = [NOON - DAY - HOUR + n * HOUR for n in range(25)]
    readings = {MILL: published(MILL, *times), QUAY: []}
    compared = site.compared({A: readings[MILL]}, readings=readings)

    site.repair(compared)

    assert compared.source.asked == [
        Slice(NOON - DAY - HOUR, NOON - HOUR),
        Slice(NOON - HOUR, NOON),
    ]
    assert site.lanes.sent[A] == ids(readings[MILL])


def test_where_an_answer_ends_before_its_window_what_is_left_is_asked_for(site: Site) -> None:
    times = [NOON - 3 * HOUR + n * 30 * MINUTE for n in range(6)]
    readings = {MILL: published(MILL, *times), QUAY: []}

    outcome = site.repair(site.compared({A: readings[MILL]}, readings=readings, widest=45 * MINUTE))

    assert site.lanes.sent[A] == ids(readings[MILL])
    assert outcome.sent == {A: 6}


def test_a_location_that_cannot_be_asked_is_named_and_the_next_is_repaired(site: Site) -> None:
    compared = site.compared({A: [*SHOWN[MILL], *SHOWN[QUAY]]})
    compared.source.failing = {MILL}

    outcome = site.repair(compared)

    assert outcome.errors == [f"{MILL}: no answer"]
    assert site.lanes.sent[A] == ids(SHOWN[QUAY])


# --- hubs that fail ---------------------------------------------------------------------------------


def test_a_hub_that_cannot_be_read_again_gets_nothing_for_nobody_knows_what_came(site: Site) -> None:
    compared = site.compared({A: SHOWN[MILL], B: SHOWN[MILL]})
    compared.contents[A].came = LOST

    outcome = site.repair(compared)

    assert site.lanes.sent == {A: [], B: ids(SHOWN[MILL])}
    assert outcome.errors == [str(LOST)]


def test_a_hub_that_goes_is_named_its_acknowledged_readings_count_and_the_other_gets_all(site: Site) -> None:
    site.saved(at_noon())
    site.lanes = Lanes({A: [None, LOST]})
    compared = site.compared({A: [*SHOWN[MILL], *SHOWN[QUAY]], B: SHOWN[QUAY]}, widest=HOUR)

    outcome = site.repair(compared)

    assert site.lanes.sent == {A: ids(SHOWN[MILL][:1]), B: ids(SHOWN[QUAY])}
    assert (outcome.sent, outcome.errors) == ({A: 1, B: 3}, [str(LOST)])
    assert site.load().locations[MILL].checkpoints[A].knows(SHOWN[MILL][0].id)
    assert compared.missing(A) == {*ids(SHOWN[MILL][1:]), *ids(SHOWN[QUAY])}


def test_hubs_none_of_which_can_be_opened_end_a_repair(site: Site) -> None:
    site.lanes = Lanes(absent=[A, B])

    outcome = site.repair(site.compared({A: SHOWN[MILL], B: SHOWN[MILL]}))

    assert outcome.errors == [str(LOST)] * 2
    assert (site.lanes.sent, site.lanes.is_closed) == ({A: [], B: []}, True)


@pytest.mark.parametrize(
    "answer", [BatchRejected("rejected"), ValueError("dropped")], ids=["rejected", "dropped"]
)
def test_a_batch_that_a_hub_does_not_take_is_no_reading_sent(site: Site, answer: Exception) -> None:
    site.saved(at_noon())
    site.lanes = Lanes({A: [answer, None, None]})
    compared = site.compared({A: SHOWN[MILL]}, widest=HOUR)

    outcome = site.repair(compared)

    assert outcome.sent == {A: 2}
    assert compared.missing(A) == {SHOWN[MILL][0].id}
    assert not site.load().locations[MILL].checkpoints[A].knows(SHOWN[MILL][0].id)


def test_a_lane_that_is_full_is_waited_for(site: Site) -> None:
    site.lanes = Lanes(room=1)

    outcome = site.repair(site.compared({A: SHOWN[MILL]}, widest=HOUR))

    assert (outcome.sent, site.lanes.fullest) == ({A: 3}, 1)


def test_a_reading_that_fits_no_message_is_set_aside_and_named(site: Site) -> None:
    readings = {MILL: published(MILL, NOON - HOUR, pad=200_000), QUAY: []}

    outcome = site.repair(site.compared({A: readings[MILL]}, readings=readings))

    ((_, kept),) = site.store.quarantined(NAME, "people_counter")
    assert (kept.id, kept.hubs, outcome.sent) == (readings[MILL][0].id, [A], {})
    assert len(outcome.errors) == 1


# --- the state --------------------------------------------------------------------------------------


def test_a_gap_is_closed_for_the_hubs_that_lack_nothing_of_it_any_more(site: Site) -> None:
    gap = Gap(Slice(NOON - 6 * HOUR, NOON), "missed", NOON)
    site.saved(at_noon(gap))
    site.lanes = Lanes({A: [LOST]})

    outcome = site.repair(site.compared({A: SHOWN[MILL], B: SHOWN[MILL]}))

    assert (outcome.gaps, site.load().locations[MILL].gaps) == (1, (replace(gap, hubs=(A,)),))


def test_a_gap_of_which_the_source_does_not_show_all_stays(site: Site) -> None:
    gap = Gap(Slice(NOON - 6 * HOUR, NOON), "saturated", NOON)
    site.saved(at_noon(gap))
    compared = site.compared({A: SHOWN[MILL]})
    compared.source.hidden = [gap.window]

    outcome = site.repair(compared)

    assert (outcome.gaps, site.load().locations[MILL].gaps) == (0, (gap,))


def test_a_run_between_the_comparison_and_the_repair_keeps_what_it_saved(site: Site) -> None:
    site.saved(at_noon())
    compared = site.compared({A: SHOWN[MILL][:1]})
    later = Checkpoint(NOON + HOUR, NOON - DAY)
    site.saved(FeedState({MILL: LocationState(checkpoints={A: later, B: later})}, last_run={"ok": True}))

    site.repair(compared)

    after = site.load()
    assert {hub: found.delivered_until for hub, found in after.locations[MILL].checkpoints.items()} == {
        A: NOON + HOUR,
        B: NOON + HOUR,
    }
    assert after.locations[MILL].checkpoints[A].knows(SHOWN[MILL][0].id)
    assert after.last_run == {"ok": True}


def test_a_repair_beside_a_run_does_nothing(site: Site) -> None:
    site.saved(at_noon())

    with site.store.lock(NAME, "a run"), pytest.raises(LockHeld):
        site.repair(site.compared({A: SHOWN[MILL]}))

    assert site.lanes.sent[A] == []


class LosesItsLock(JsonFileStore):
    """A store whose lock is somebody else's once `after` was asked for it so often."""

    def __init__(self, folder: Path, after: int) -> None:
        super().__init__(folder)
        self.left = after

    def held(self) -> bool:
        self.left -= 1
        return self.left >= 0

    @contextmanager
    def lock(self, *_: object) -> Iterator[Any]:
        yield self


def test_a_repair_that_lost_its_lock_sends_nothing_more_and_notes_nothing(site: Site) -> None:
    before = site.saved(at_noon())

    outcome = site.repair(site.compared({A: SHOWN[MILL]}, widest=HOUR), LosesItsLock(site.folder, 1))

    assert site.lanes.sent[A] == ids(SHOWN[MILL][:1])
    assert outcome.errors[0] == "the run lock was lost"
    assert "the run lock was lost; what was sent is not noted" in outcome.errors[1]
    assert site.load() == before


class CannotSave(JsonFileStore):
    """A store that is full when a repair comes to its end."""

    def save(self, *_: object) -> None:
        raise StateError("state: the disk is full")


def test_a_state_that_cannot_be_saved_is_told_and_no_gap_counts_as_closed(site: Site) -> None:
    site.saved(at_noon(Gap(Slice(NOON - 6 * HOUR, NOON), "missed", NOON)))

    outcome = site.repair(site.compared({A: SHOWN[MILL]}), CannotSave(site.folder))

    assert (outcome.sent, outcome.gaps) == ({A: 3}, 0)
    assert outcome.errors == [
        "state: the disk is full; what was sent is not noted in the state: do this again to close the gaps"
    ]
