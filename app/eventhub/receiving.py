"""Receives the events of a hub's partitions, in a thread of its own that a deadline or `close` ends.

The SDK's asyncio client is used, as for sending: it can be cancelled, and it is the one whose WebSockets
go through a proxy with what is installed. Its partitions are opened here one by one. What the SDK offers
for all of them at once swallows what a refused link says, and tries again for ever; `receive` of the
synchronous client hands out some five events a second. Both seen with azure-eventhub 5.15.1.
"""

from __future__ import annotations

import asyncio
import contextlib
import queue
import threading
from collections.abc import AsyncIterator, Coroutine, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any, TypeVar

from app.eventhub.connecting import consumer_client
from app.eventhub.deadlines import until
from app.eventhub.decoding import read_every_event
from app.eventhub.received import Received, received
from app.network.addresses import EveryAddressLoop
from app.settings.schema import HubSettings

if TYPE_CHECKING:
    from azure.eventhub import EventData
    from azure.eventhub.aio import EventHubConsumerClient

T = TypeVar("T")

# Events that wait for a slow reader; receiving waits too then.
_WAITING = 1_000
_WAIT_S = 0.01
# What was read is read; the end of a command does not wait for a courtesy.
_CLOSE_S = 1.0
# Events that are asked for at a time, of a partition.
_AT_A_TIME = 300


@dataclass(frozen=True, slots=True)
class Source:
    """A hub, and the consumer group through which it is read."""

    hub: HubSettings
    consumer_group: str

    def partitions(self, seconds: float) -> Sequence[Mapping[str, Any]]:
        """Ask what the hub says of each partition. Raises TimeoutError, or what the SDK raises."""

        async def ask() -> list[Mapping[str, Any]]:
            async with _client(self) as client:
                names = await client.get_partition_ids()
                # Each of these opens a connection of its own.
                return list(await asyncio.gather(*(client.get_partition_properties(one) for one in names)))

        loop = EveryAddressLoop()
        return in_thread(until(seconds, ask()), loop).result()


class Receiving:
    """Events as they come, from each partition in order, after the number or time given for it.

    `next` gives them, or what ended the receiving.
    """

    def __init__(self, source: Source, after: Mapping[str, int | datetime]) -> None:
        read_every_event()
        self._waiting: queue.Queue[Received | Exception] = queue.Queue(_WAITING)
        self._closing = asyncio.Event()
        self._loop = EveryAddressLoop()
        self._ended = in_thread(self._receive(source, dict(after)), self._loop)

    def next(self, seconds: float | None) -> Received | Exception:
        """Wait for the next event. Raises queue.Empty when the time is up."""
        return self._waiting.get(timeout=seconds)

    def close(self) -> None:
        """End the receiving; give up after a moment."""
        with contextlib.suppress(RuntimeError):  # it has ended by itself
            self._loop.call_soon_threadsafe(self._closing.set)
        with contextlib.suppress(Exception):
            self._ended.result(_CLOSE_S)

    async def _receive(self, source: Source, after: Mapping[str, int | datetime]) -> None:
        error: BaseException | None = None
        try:
            async with _client(source) as client:
                group = source.consumer_group
                parts = [self._receive_partition(client, group, name, at) for name, at in after.items()]
                error = await _first_ended([*parts, self._closing.wait()])
        except Exception as failure:  # noqa: BLE001 - handed to whoever waits
            error = failure
        await self._put(error if isinstance(error, Exception) else EOFError("the SDK ended receiving"))

    async def _receive_partition(
        self, client: EventHubConsumerClient, group: str, name: str, position: int | datetime
    ) -> None:
        async def take(events: Sequence[EventData]) -> None:
            for event in events:
                await self._put(received(name, event))

        consumer: Any = client._create_consumer(group, name, position, take)  # type: ignore[arg-type]  # noqa: SLF001
        try:
            # Where a link is refused this raises what it says; `receive` alone would try again for ever.
            await consumer._open()  # noqa: SLF001
            await consumer.receive(batch=True, max_batch_size=_AT_A_TIME)
        finally:
            with contextlib.suppress(Exception):
                await until(_CLOSE_S, consumer.close())

    async def _put(self, found: Received | Exception) -> None:
        while not self._closing.is_set():
            try:
                self._waiting.put_nowait(found)
            except queue.Full:
                await asyncio.sleep(_WAIT_S)
            else:
                return


async def _first_ended(calls: Sequence[Coroutine[Any, Any, Any]]) -> BaseException | None:
    """Await the first of some calls to end, and end the others; give the error it ended with, if any."""
    tasks = [asyncio.ensure_future(call) for call in calls]
    ended, others = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    for task in others:
        task.cancel()
    if others:
        await asyncio.wait(others, timeout=_CLOSE_S)
    return next((error for task in ended if not task.cancelled() and (error := task.exception())), None)


@contextlib.asynccontextmanager
async def _client(source: Source) -> AsyncIterator[EventHubConsumerClient]:
    client, closing = consumer_client(source.hub, source.consumer_group)
    try:
        yield client
    finally:
        for close in closing:
            with contextlib.suppress(Exception):
                await until(_CLOSE_S, close())


def in_thread(call: Coroutine[Any, Any, T], loop: asyncio.AbstractEventLoop) -> Future[T]:
    """Begin a call in a thread and an event loop of its own, which do not keep the process alive."""
    # What the SDK leaves behind of tasks that were cancelled is nobody's concern.
    loop.set_exception_handler(lambda *_: None)
    outcome: Future[T] = Future()

    def work() -> None:
        with asyncio.Runner(loop_factory=lambda: loop) as runner:
            try:
                outcome.set_result(runner.run(call))
            except asyncio.CancelledError:
                # Nobody cancels it from outside: the SDK gave up, and whoever waits would wait for ever.
                outcome.set_exception(EOFError("the SDK gave the call up"))
            except Exception as error:  # noqa: BLE001 - handed to whoever waits
                outcome.set_exception(error)

    threading.Thread(target=work, name="reader", daemon=True).start()
    return outcome
