"""Reading a hub over connections that a test makes and cuts, by a clock that it moves."""

from __future__ import annotations

import queue
from collections import deque
from collections.abc import Mapping, Sequence
from datetime import datetime

import pytest
from azure.eventhub.exceptions import ConnectionLostError, EventHubError

from app.base.errors import HubError, HubRefused, HubUnreachable
from app.eventhub.reader import HubReader
from app.eventhub.received import Received
from app.eventhub.receiving import Source
from app.settings.schema import HubSettings

HUB = HubSettings("h.example.test/e", "eu", "h.example.test", "e")
CUT = ConnectionLostError("the link was detached")


def event(number: int, partition: str = "0") -> Received:
    return Received(partition, number, None, None, f"{partition}/{number}", None, None, {}, b"{}")


class Connections:
    """Connections, one after another. Of each: what comes, how many seconds apart; then it waits for ever."""

    def __init__(self, *connections: Sequence[Received | Exception], apart_s: float = 20.0) -> None:
        self._connections = deque(connections)
        self._apart_s = apart_s
        self._left: deque[Received | Exception] = deque()
        self.seconds = 0.0
        self.after: list[Mapping[str, int | datetime]] = []
        self.closed = 0

    def receive(self, _: Source, after: Mapping[str, int | datetime]) -> Connections:
        self.after.append(dict(after))
        self._left = deque(self._connections.popleft())
        return self

    def next(self, seconds: float | None) -> Received | Exception:
        if not self._left:
            assert seconds is not None, "waits for ever for what does not come"
            self.seconds += seconds
            raise queue.Empty
        self.seconds += self._apart_s
        return self._left.popleft()

    def close(self) -> None:
        self.closed += 1


def reader_of(connections: Connections) -> HubReader:
    return HubReader(
        HUB,
        "$Default",
        monotonic=lambda: connections.seconds,
        receive=connections.receive,  # type: ignore[arg-type]
    )


def read(connections: Connections, *, seconds: float | None = 300) -> list[str | None]:
    """Read for so long; give the message ids of what came."""
    came: list[str | None] = []
    reader = reader_of(connections)

    def take(found: Received) -> bool:
        came.append(found.message_id)
        return True

    try:
        reader.read(take, seconds)
    finally:
        assert connections.closed == len(connections.after)
    return came


def test_a_connection_that_is_cut_is_opened_again_after_the_last_event_of_each_partition() -> None:
    connections = Connections([event(7), event(3, "1"), event(8), CUT], [event(9)])

    assert read(connections) == ["0/7", "1/3", "0/8", "0/9"]
    assert connections.after == [{}, {"0": 8, "1": 3}]


def test_a_connection_that_is_cut_again_and_again_is_opened_as_often() -> None:
    steady: list[Received | Exception] = [event(1), CUT]

    assert read(Connections(steady, steady, steady, []), seconds=1_000) == ["0/1"] * 3


def test_a_connection_that_does_not_last_half_a_minute_is_an_error() -> None:
    with pytest.raises(HubUnreachable, match="the link was detached"):
        read(Connections([event(1), CUT], [], apart_s=14))


@pytest.mark.parametrize(
    ("error", "ours"),
    [
        (EventHubError("amqp:link:stolen"), HubError),
        (EventHubError("amqp:unauthorized-access"), HubRefused),
    ],
    ids=["another reader", "no right"],
)
def test_what_does_not_pass_is_an_error_however_long_the_connection_lasted(
    error: Exception, ours: type[HubError]
) -> None:
    with pytest.raises(ours, match=r"--consumer-group|Listen right"):
        read(Connections([event(1), event(2), error], []))


def test_reading_ends_when_its_time_is_up_or_when_it_is_told_to() -> None:
    connections, came = Connections([event(1), event(2), event(3)]), list[str | None]()
    reader = reader_of(connections)

    def take(found: Received) -> bool:
        came.append(found.message_id)
        return len(came) < 2

    reader.read(take)

    assert came == ["0/1", "0/2"]
    assert read(Connections([event(1)]), seconds=50) == ["0/1"]
