"""A hub's calls by an SDK that does what a test says: deadlines, cancellations, lost acknowledgements."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any

import pytest

from app.base.errors import HubUnreachable
from app.eventhub.batches import Batch
from app.eventhub.hub import Hub
from app.settings.schema import HubSettings

SETTINGS = HubSettings("h.example.test/e", "eu", "h.example.test", "e")
BATCH = Batch((), 0, encoded=None)  # type: ignore[arg-type]  # nothing encodes it here
# Seconds: long enough for a call that answers at once, short enough to wait for one that never does.
SOON = 0.05


class Client:
    """The SDK's producer: takes a batch at once, or never; it may swallow being cancelled, and reconnect."""

    def __init__(self, *, stalls: bool = False, swallows: int = 0, reconnects: bool = False) -> None:
        self._stalls = stalls
        self._swallows = swallows
        self._reconnects = reconnects
        self._producers = {"": SimpleNamespace(_handler=SimpleNamespace(_link=object()))}
        self._over = asyncio.Event()
        self.cancelled = 0
        self.closed = 0

    async def send_batch(self, *_: Any, **__: Any) -> None:
        if self._reconnects:
            self._producers[""]._handler._link = object()
        while self._stalls and not self._over.is_set():
            try:
                await self._over.wait()
            except asyncio.CancelledError:
                self.cancelled += 1
                if self.cancelled > self._swallows:
                    raise

    async def close(self) -> None:
        self.closed += 1
        self._over.set()


def hub(client: Client) -> Hub:
    found = Hub(SETTINGS)
    found._client, found._closing = client, (client.close,)
    return found


@pytest.mark.parametrize("reconnects", [False, True], ids=["over the same link", "over a new one"])
def test_a_batch_that_went_over_a_new_link_may_be_there_twice(reconnects: bool) -> None:
    assert asyncio.run(hub(Client(reconnects=reconnects)).send(BATCH, 60)) is reconnects


@pytest.mark.parametrize("swallows", [0, 1], ids=["at once", "when it is asked again"])
def test_a_call_past_its_deadline_is_ended_so_that_it_cannot_send_later(swallows: int) -> None:
    client = Client(stalls=True, swallows=swallows)

    with pytest.raises(HubUnreachable, match="no answer to send within 0 s; the connection was closed"):
        asyncio.run(hub(client).send(BATCH, SOON))

    assert (client.cancelled, client.closed) == (swallows + 1, 1)


def test_a_call_that_is_cancelled_with_its_run_is_ended_and_its_connection_closed() -> None:
    client = Client(stalls=True)

    async def cancelled() -> bool:
        task = asyncio.ensure_future(hub(client).send(BATCH, 60))
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        task.cancel()
        await asyncio.wait({task})
        return task.cancelled()

    assert asyncio.run(cancelled())
    assert (client.cancelled, client.closed) == (1, 1)
