"""Lanes by a clock that their own waits move, to hubs that answer as they are told: no socket, no waiting."""

from __future__ import annotations

import asyncio
import queue
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import timedelta
from typing import Any, TypeVar

import pytest

from app.base.budget import GRACE, Budget
from app.base.errors import BatchRejected, HubBusy, HubError, HubRefused, HubUnreachable
from app.base.readings import Event
from app.eventhub.batches import Batch
from app.eventhub.broadcaster import Broadcaster
from app.eventhub.deliveries import Delivered, Delivery, LaneClosed, News, Opened
from app.eventhub.hub import Hub
from app.settings.schema import HubSettings

A, B = "a.example.test/counts", "b.example.test/counts"
BUSY, REJECTED, LOST = HubBusy("busy"), BatchRejected("rejected"), HubUnreachable("lost")
NEVER = "never"
LARGEST = 1_048_576
Answers = Sequence[HubError | float | str]
N = TypeVar("N", bound=News)


class Clock:
    """Seconds that waiting and sending move, and nothing else."""

    def __init__(self) -> None:
        self.seconds = 0.0
        self.waited: list[float] = []

    def monotonic(self) -> float:
        return self.seconds

    async def sleep(self, seconds: float) -> None:
        self.waited.append(seconds)
        self.seconds += seconds
        await asyncio.sleep(0)


class ScriptedHub(Hub):
    """Takes what it is sent, unless the next of its `answers` is an error, seconds to take, or NEVER."""

    def __init__(self, settings: HubSettings, clock: Clock, answers: Answers) -> None:
        super().__init__(settings)
        self._clock = clock
        self.answers = deque(answers)
        self.tried: list[str] = []
        self.deadlines: list[float] = []
        self.opens: HubError | None = None
        self.is_open = False

    async def open(self, deadline_s: float) -> int:
        self.deadlines.append(deadline_s)
        if self.opens is not None:
            raise self.opens
        self.is_open = True
        return LARGEST

    async def send(self, batch: Batch, deadline_s: float) -> bool:
        self.tried.append(str(batch.encoded))
        self.deadlines.append(deadline_s)
        answer = self.answers.popleft() if self.answers else 0.0
        if isinstance(answer, Exception):
            raise answer
        if answer == NEVER:
            await asyncio.Event().wait()
        self._clock.seconds += float(answer)
        return False

    async def close(self) -> None:
        self.is_open = False


class Sending:
    """Lanes to some hubs, and what is told of them, in order."""

    def __init__(
        self,
        answers: Mapping[str, Answers],
        *,
        budget: timedelta = timedelta(minutes=4),
        grace: timedelta = GRACE,
        may_send: Callable[[], str | None] = lambda: None,
        lane_bytes: int = 1_000,
    ) -> None:
        self.clock = Clock()
        self.budget = Budget(budget, grace=grace, monotonic=self.clock.monotonic)
        self.news: queue.SimpleQueue[News] = queue.SimpleQueue()
        self.hubs: dict[str, ScriptedHub] = {}
        self.lanes = Broadcaster(
            [HubSettings(key, key, key.split("/")[0], "counts") for key in answers],
            self.budget,
            self.news.put,
            may_send,
            send_timeout_s=60.0,
            lane_bytes=lane_bytes,
            make_hub=lambda settings: self._made(settings, answers[settings.key]),
            sleep=self.clock.sleep,
        )

    def _made(self, settings: HubSettings, answers: Answers) -> ScriptedHub:
        return self.hubs.setdefault(settings.key, ScriptedHub(settings, self.clock, answers))

    def put(self, hub: str, *names: str) -> None:
        """Put batches of 100 bytes into a lane; `Mill 1` is of the location Mill."""
        for name in names:
            event = Event(name, name.split()[0], b"{}", {}, ())
            batch = Batch((event,), 100, event.message_id)  # type: ignore[arg-type]  # nobody encodes it here
            self.lanes.put(hub, Delivery(event.location, batch, {}))

    def until(self, kind: type[N], *, times: int = 1) -> N:
        """Take news in until the last of `times` of a kind."""
        while True:
            found = self.news.get(timeout=30)
            if isinstance(found, kind):
                times -= 1
                if not times:
                    return found

    def told(self, count: int) -> list[tuple[str, str]]:
        """Give the next news but `Opened`, each as its kind and what it is about."""
        found: list[tuple[str, str]] = []
        while len(found) < count:
            news = self.news.get(timeout=30)
            if isinstance(news, LaneClosed):
                found.append(("LaneClosed", str(news.error or "")))
            elif not isinstance(news, Opened):
                batch = news.delivery.batch
                found.append((type(news).__name__, str(batch.encoded) if batch else "mark"))
        return found


@pytest.fixture
def sending() -> Iterator[Callable[..., Sending]]:
    begun: list[Sending] = []

    def begin(answers: Mapping[str, Answers], **options: Any) -> Sending:
        begun.append(Sending(answers, **options))
        return begun[-1]

    yield begin
    for each in begun:
        each.lanes.close()


Begin = Callable[..., Sending]


def test_a_lane_delivers_in_order_what_it_was_given_and_a_mark_in_its_place(sending: Begin) -> None:
    found = sending({A: []})
    found.put(A, "Mill 1", "Quay 1")
    found.lanes.put(A, Delivery("Quay", None, {}))
    found.put(A, "Mill 2")
    found.lanes.start()

    assert found.told(4) == [
        ("Delivered", "Mill 1"),
        ("Delivered", "Quay 1"),
        ("Delivered", "mark"),
        ("Delivered", "Mill 2"),
    ]


# --- a busy hub -------------------------------------------------------------------------------------


def test_a_busy_hub_gets_the_same_batch_again_and_then_the_others_at_a_pace_that_rises(
    sending: Begin,
) -> None:
    found = sending({A: [BUSY, BUSY]})
    found.put(A, *(f"Mill {number}" for number in range(9)))
    found.lanes.start()

    found.until(Delivered, times=9)

    assert found.hubs[A].tried[:4] == ["Mill 0", "Mill 0", "Mill 0", "Mill 1"]
    # Two waits, each before the pause of the slowest pace; the third try follows the second wait at once.
    assert found.clock.waited == [0, 4, 2, 8, 1, 0.5, 0.25, 0.125, 0.0625, 0.03125, 0, 0]


def test_a_hub_that_is_busy_three_times_in_a_row_is_left_alone_and_holds_up_nobody_else(
    sending: Begin,
) -> None:
    found = sending({A: [BUSY] * 3, B: []})
    found.put(A, "Mill 1")
    found.lanes.start()
    closed = found.until(LaneClosed)
    found.put(B, "Mill 1")

    assert (closed.hub, closed.error) == (A, BUSY)
    assert found.told(1) == [("Delivered", "Mill 1")]
    assert not found.hubs[A].is_open


def test_busy_answers_with_acknowledgements_between_them_never_close_a_lane_and_are_waited_out_longer(
    sending: Begin,
) -> None:
    found = sending({A: [BUSY, BUSY, 0.0, BUSY, BUSY, 0.0, BUSY, 0.0]})
    found.put(A, "Mill 1", "Mill 2", "Mill 3")
    found.lanes.start()

    assert found.told(3) == [("Delivered", "Mill 1"), ("Delivered", "Mill 2"), ("Delivered", "Mill 3")]
    # Doubled by each busy answer, halved by each acknowledgement, 30 s at most.
    assert [waited for waited in found.clock.waited if waited >= 4] == [4, 8, 8, 16, 15]


def test_a_busy_hub_is_not_waited_for_past_the_end_of_the_run(sending: Begin) -> None:
    found = sending({A: [BUSY, BUSY]}, budget=timedelta(0), grace=timedelta(seconds=10))
    found.put(A, "Mill 1")
    found.lanes.start()

    assert found.told(1) == [("LaneClosed", "busy")]
    # The second wait would be one of 8 s, of which 4 are left.
    assert found.clock.waited == [0, 4, 2]


# --- what a hub refuses -----------------------------------------------------------------------------


def test_a_rejected_batch_stops_its_location_for_that_hub_alone(sending: Begin) -> None:
    found = sending({A: [REJECTED], B: []})
    for hub in (A, B):
        found.put(hub, "Mill 1", "Quay 1", "Mill 2")
    found.lanes.start()

    told = found.told(6)

    assert sorted(told) == sorted(
        [("Rejected", "Mill 1"), ("Delivered", "Quay 1"), ("Dropped", "Mill 2")]
        + [("Delivered", name) for name in ("Mill 1", "Quay 1", "Mill 2")]
    )
    assert (found.hubs[A].tried, found.hubs[B].tried) == (
        ["Mill 1", "Quay 1"],
        ["Mill 1", "Quay 1", "Mill 2"],
    )


def test_three_locations_refused_in_a_row_are_the_hub_s_fault(sending: Begin) -> None:
    found = sending({A: [REJECTED] * 3})
    found.put(A, "Mill 1", "Quay 1", "Annex 1", "Tower 1")
    found.lanes.start()

    assert found.told(4) == [
        ("Rejected", "Mill 1"),
        ("Rejected", "Quay 1"),
        ("Rejected", "Annex 1"),
        ("LaneClosed", "rejected"),
    ]


def test_refused_locations_among_good_ones_are_their_own_fault(sending: Begin) -> None:
    found = sending({A: [REJECTED, REJECTED, 0.0, REJECTED, 0.0]})
    found.put(A, "Mill 1", "Quay 1", "Annex 1", "Tower 1", "House 1")
    found.lanes.start()

    assert [kind for kind, _ in found.told(5)] == [
        "Rejected",
        "Rejected",
        "Delivered",
        "Rejected",
        "Delivered",
    ]


@pytest.mark.parametrize(
    "failure",
    [LOST, HubRefused("unauthorized-access"), ValueError("what the SDK never raised before")],
    ids=["lost", "refused", "unexpected"],
)
def test_a_hub_that_fails_is_told_with_why_its_connection_closed_and_the_others_go_on(
    sending: Begin, failure: HubError
) -> None:
    found = sending({A: [failure], B: []})
    found.put(A, "Mill 1", "Mill 2")
    found.lanes.start()
    closed = found.until(LaneClosed)
    found.put(B, "Mill 1")

    assert str(failure) in str(closed.error)
    assert isinstance(closed.error, HubError)
    assert (found.hubs[A].tried, found.hubs[A].is_open) == (["Mill 1"], False)
    assert found.told(1) == [("Delivered", "Mill 1")]


def test_a_hub_that_cannot_be_opened_is_told_and_sent_nothing(sending: Begin) -> None:
    found = sending({A: []})
    found.hubs[A].opens = LOST
    found.put(A, "Mill 1")
    found.lanes.start()

    assert found.told(1) == [("LaneClosed", "lost")]
    assert found.hubs[A].tried == []


# --- what a run allows ------------------------------------------------------------------------------


def test_nothing_is_sent_from_the_moment_that_nothing_may_be(sending: Begin) -> None:
    reasons = deque([None, "the run lock was lost"])
    found = sending({A: []}, may_send=reasons.popleft)
    found.put(A, "Mill 1", "Mill 2")
    found.lanes.start()

    assert found.told(2) == [
        ("Delivered", "Mill 1"),
        ("LaneClosed", f"hub {A}: nothing more is sent: the run lock was lost"),
    ]
    assert found.hubs[A].tried == ["Mill 1"]


def test_a_stopped_location_is_dropped_from_every_lane_and_the_others_are_sent(sending: Begin) -> None:
    found = sending({A: [], B: []})
    for hub in (A, B):
        found.put(hub, "Mill 1", "Quay 1")
    found.lanes.stop_location("Mill")
    # In the order of the calls: a lane that has not begun has it before it sends.
    found.lanes.start()

    assert sorted(found.told(4)) == [("Delivered", "Quay 1")] * 2 + [("Dropped", "Mill 1")] * 2


def test_a_lane_has_room_again_for_what_was_acknowledged_refused_or_dropped(sending: Begin) -> None:
    found = sending({A: [0.0, REJECTED]}, lane_bytes=100)
    found.put(A, "Quay 1", "Mill 1", "Mill 2")
    before = found.lanes.has_room(A)
    found.lanes.start()

    told = found.told(3)

    assert [kind for kind, _ in told] == ["Delivered", "Rejected", "Dropped"]
    assert (before, found.lanes.has_room(A)) == (False, True)


def test_after_the_budget_a_batch_is_begun_only_where_the_slowest_so_far_would_still_fit(
    sending: Begin,
) -> None:
    # 10 s of budget and 30 s to finish: after 12 s and 2 s there are 26 left, after 12 s more 14.
    found = sending({A: [12.0, 2.0, 12.0, 12.0]}, budget=timedelta(seconds=10))
    found.put(A, *(f"Mill {number}" for number in range(4)))
    found.lanes.start()

    assert found.told(4) == [
        ("Delivered", "Mill 0"),
        ("Delivered", "Mill 1"),
        ("Delivered", "Mill 2"),
        ("LaneClosed", ""),
    ]


def test_a_run_that_is_told_to_stop_begins_no_batch_and_still_passes_marks(sending: Begin) -> None:
    found = sending({A: []})
    found.budget.stop()
    found.lanes.put(A, Delivery("Mill", None, {}))
    found.put(A, "Mill 1")
    found.lanes.start()

    assert found.told(2) == [("Delivered", "mark"), ("LaneClosed", "")]


def test_a_call_is_given_up_a_second_before_the_hard_end_so_that_its_failure_is_still_told(
    sending: Begin,
) -> None:
    # 10 s of budget and 30 s to finish: 40 s in all, of which the first batch takes 5.
    found = sending({A: [5.0]}, budget=timedelta(seconds=10))
    found.put(A, "Mill 1", "Mill 2")
    found.lanes.start()
    found.told(2)

    assert found.hubs[A].deadlines == [30, 39, 34]


def test_closing_ends_what_is_under_way_and_nothing_is_told_or_sent_afterwards(sending: Begin) -> None:
    found = sending({A: [NEVER], B: []})
    found.put(A, "Mill 1", "Mill 2")
    found.put(B, "Mill 1")
    found.lanes.start()
    found.told(1)

    found.lanes.close()
    found.lanes.stop_location("Mill")
    found.lanes.close()

    assert (found.hubs[A].is_open, found.hubs[B].is_open) == (False, False)
    assert [news for news in iter_now(found.news) if not isinstance(news, Opened)] == []
    assert "Mill 2" not in found.hubs[A].tried


def iter_now(news: queue.SimpleQueue[News]) -> Iterator[News]:
    while not news.empty():
        yield news.get()
