"""The listener of a queue as the Functions host has one, against Azurite's queues."""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable
from datetime import timedelta

import pytest

from tests.environments.queues import Listener, Queues

SHORT = timedelta(seconds=1)


@pytest.fixture
def name(queues: Queues) -> str:
    """Give a queue that no other test uses."""
    name = f"test-{uuid.uuid4().hex}"
    queues.make(name)
    return name


def until(holds: Callable[[], bool]) -> None:
    """Wait for what the service does by its own clock."""
    ends = time.monotonic() + 20
    while not holds():
        assert time.monotonic() < ends, "it did not come to that"


def test_messages_are_run_one_by_one_as_they_were_put_and_deleted(queues: Queues, name: str) -> None:
    for text in ("one", "two – é", "three"):
        queues.put(name, text)
    ran: list[str] = []
    listener = Listener(queues, name, ran.append)

    assert [listener.take() for _ in range(4)] == [True, True, True, False]
    assert (ran, queues.waiting(name)) == (["one", "two – é", "three"], 0)


def test_what_raises_is_poison_and_is_not_run_again(queues: Queues, name: str) -> None:
    queues.put(name, "one")
    listener = Listener(queues, name, _raises)

    assert [listener.take(), listener.take()] == [True, False]
    assert (queues.waiting(name), queues.waiting(f"{name}-poison")) == (0, 1)


def test_what_raises_comes_again_at_once_where_that_is_allowed(queues: Queues, name: str) -> None:
    queues.put(name, "one")
    listener = Listener(queues, name, _raises, most=2)

    assert [listener.take() for _ in range(3)] == [True, True, False]
    assert queues.waiting(f"{name}-poison") == 1


def test_the_message_of_a_killed_instance_is_poison_when_it_comes_again(queues: Queues, name: str) -> None:
    queues.put(name, "one")
    assert queues.receive(name, SHORT) is not None, "an instance that is killed now"
    ran: list[str] = []
    listener = Listener(queues, name, ran.append)

    at_once = listener.take()
    until(listener.take)

    assert (at_once, ran) == (False, [])
    assert (queues.waiting(name), queues.waiting(f"{name}-poison")) == (0, 1)


def test_a_message_is_hidden_as_long_as_it_is_worked_on(queues: Queues, name: str) -> None:
    queues.put(name, "one")
    seen: list[bool] = []

    def works_on(_: str) -> None:
        ends = time.monotonic() + 2.5 * SHORT.total_seconds()
        while time.monotonic() < ends:
            seen.append(queues.receive(name, SHORT) is not None)

    assert Listener(queues, name, works_on, visibility=SHORT).take()
    assert (any(seen), queues.waiting(name)) == (False, 0)


def _raises(_: str) -> None:
    raise RuntimeError("a bug")
