"""Receiving from a hub, beside what only a hub can show: whoever waits for a call gets an end of it."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any

import pytest

from app.eventhub.receiving import in_thread
from app.network.addresses import EveryAddressLoop


async def answered() -> str:
    return "two partitions"


async def failed() -> str:
    raise OSError("reset by peer")


async def given_up() -> str:
    raise asyncio.CancelledError


async def ended_within_by_the_library() -> str:
    call = asyncio.ensure_future(asyncio.sleep(60, "never"))
    asyncio.get_running_loop().call_soon(call.cancel)
    return await call


def outcome_of(call: Coroutine[Any, Any, str]) -> str:
    # Bounded, so that a call that is never told of fails here.
    return in_thread(call, EveryAddressLoop()).result(timeout=30)


def test_a_call_in_a_thread_gives_what_it_came_to() -> None:
    assert outcome_of(answered()) == "two partitions"

    with pytest.raises(OSError, match="reset by peer"):
        outcome_of(failed())


@pytest.mark.parametrize("call", [given_up, ended_within_by_the_library])
def test_a_call_that_is_cancelled_from_within_is_one_that_failed(call: Any) -> None:
    with pytest.raises(EOFError, match="gave the call up"):
        outcome_of(call())
