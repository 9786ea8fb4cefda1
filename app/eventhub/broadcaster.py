"""Lanes: every hub is sent to on its own, first in, first out, bounded in bytes.

All lanes are tasks of one event loop in a thread of its own, because the SDK's
calls can only be cancelled there. What becomes of each delivery is told through
`tell`, from that thread, in the order in which it happened.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace

from app.base.budget import Budget
from app.base.errors import BatchRejected, HubBusy, HubError, HubUnreachable, MessageTooLarge
from app.eventhub.batches import Batch
from app.eventhub.connecting import load_sdk
from app.eventhub.deliveries import Delivered, Delivery, Dropped, LaneClosed, News, Opened, Rejected
from app.eventhub.hub import Hub
from app.network.addresses import EveryAddressLoop
from app.settings.schema import HubSettings

# A busy hub asks for at least 4 s (Event Hubs quotas documentation); a run has few minutes in all.
_SHORTEST_BUSY_WAIT_S = 4.0
_LONGEST_BUSY_WAIT_S = 30.0
# A hub that is busy so often in a row has no room in this run; it holds up nobody but itself.
_BUSY_IN_A_ROW = 3
# One location may have a batch that a hub takes amiss; where several do, the hub is the common cause.
_REFUSED_LOCATIONS_IN_A_ROW = 3
# A first connection looks up a name, shakes hands over TLS and asks for a token.
_OPEN_TIMEOUT_S = 30.0
# How long before the run's hard end a call is given up, so that its failure is still in the report.
_TELLING_S = 1.0
# The pause between batches after a busy answer, halved by each acknowledgement.
_SLOWEST_PACE_S = 2.0
_PACE_FORGOTTEN_S = 0.05


class Broadcaster:
    """The lanes of a run. `start` opens all hubs at once; `close` ends everything within seconds.

    `may_send` is asked before every batch and gives the reason why nothing may be sent, or None.
    `make_hub` makes what a lane sends by, `sleep` waits between its calls, in seconds; `make_loop` makes the
    event loop that all of them share.
    """

    def __init__(
        self,
        hubs: Sequence[HubSettings],
        budget: Budget,
        tell: Callable[[News], None],
        may_send: Callable[[], str | None],
        *,
        send_timeout_s: float,
        lane_bytes: int,
        make_hub: Callable[[HubSettings], Hub] = Hub,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
        make_loop: Callable[[], asyncio.AbstractEventLoop] = EveryAddressLoop,
    ) -> None:
        self._loop = make_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="lanes", daemon=True)
        self._lanes = {
            hub.key: _Lane(
                hub,
                make_hub(hub),
                budget,
                tell,
                send_timeout_s=send_timeout_s,
                may_send=may_send,
                sleep=sleep,
            )
            for hub in hubs
        }
        self._lane_bytes = lane_bytes
        self._tasks: list[asyncio.Task[None]] = []

    def start(self) -> None:
        # Not in the lanes' thread: the run would load what asks the source beside it, and the hubs wait
        # for both. To connect is mostly to wait, which leaves the processor to that.
        load_sdk()
        self._thread.start()
        self._loop.call_soon_threadsafe(self._start_lanes)

    def has_room(self, hub: str) -> bool:
        """Whether a lane takes another slice; one slice may exceed the bound."""
        return self._lanes[hub].queued_bytes < self._lane_bytes

    def put(self, hub: str, delivery: Delivery) -> None:
        """Append to a hub's lane; never blocks. A closed lane drops it."""
        lane = self._lanes[hub]
        if delivery.batch is not None:
            delivery = replace(delivery, batch=delivery.batch.without_events())
        lane.count(delivery, 1)
        self._loop.call_soon_threadsafe(lane.queue.put_nowait, delivery)

    def stop_location(self, location: str) -> None:
        """Send nothing more of a location to any hub; what is on its way may still arrive.

        Once closed there is nothing left to stop: the last save of a run may find a location lost.
        """
        if self._loop.is_closed():
            return
        for lane in self._lanes.values():
            self._loop.call_soon_threadsafe(lane.stop_location, location)

    def close(self) -> None:
        """Cancel what is still under way and close the connections; nothing is sent afterwards."""
        if not self._thread.is_alive():
            return
        asyncio.run_coroutine_threadsafe(self._cancel_lanes(), self._loop).result()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def _start_lanes(self) -> None:
        self._tasks = [self._loop.create_task(lane.run()) for lane in self._lanes.values()]

    async def _cancel_lanes(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)


class _Lane:
    def __init__(
        self,
        settings: HubSettings,
        hub: Hub,
        budget: Budget,
        tell: Callable[[News], None],
        *,
        send_timeout_s: float,
        may_send: Callable[[], str | None],
        sleep: Callable[[float], Awaitable[None]],
    ) -> None:
        self.queue: asyncio.Queue[Delivery] = asyncio.Queue()
        self.queued_bytes = 0
        self._counting = threading.Lock()
        self._hub = hub
        self._key = settings.key
        self._name = settings.name
        self._budget = budget
        self._tell = tell
        self._send_timeout_s = send_timeout_s
        self._may_send = may_send
        self._sleep = sleep
        self._pace_s = 0.0
        self._busy_wait_s = _SHORTEST_BUSY_WAIT_S
        self._slowest_send_s = self._last_send_s = 0.0
        self._stopped_locations: set[str] = set()
        self._refused_in_a_row = 0

    def count(self, delivery: Delivery, sign: int) -> None:
        """Add a delivery to what the lane holds, or take it off. From any thread."""
        if delivery.batch is not None:
            with self._counting:
                self.queued_bytes += sign * delivery.batch.size_bytes

    def stop_location(self, location: str) -> None:
        self._stopped_locations.add(location)

    async def run(self) -> None:
        """Send what comes until the hub fails or the run's time is over."""
        error: HubError | None = None
        try:
            largest = await self._hub.open(self._deadline(_OPEN_TIMEOUT_S))
            self._tell(Opened(self._key, largest))
            while await self._deliver(await self.queue.get()):
                pass
        except HubError as failure:
            error = failure
        except asyncio.CancelledError:
            return
        except Exception as failure:  # noqa: BLE001 - a lane that ends in silence would hold the run up
            error = HubUnreachable(f"hub {self._name}: unexpected {type(failure).__name__}: {failure}")
        finally:
            await self._hub.close()
        self._tell(LaneClosed(self._key, error))

    async def _deliver(self, delivery: Delivery) -> bool:
        """Do one delivery. False where the run leaves no time for it."""
        if delivery.location in self._stopped_locations:
            self.count(delivery, -1)
            self._tell(Dropped(self._key, delivery))
            return True
        maybe_twice = False
        if delivery.batch is not None:
            if not self._has_time():
                return False
            try:
                maybe_twice = await self._send_paced(delivery.batch)
            except (BatchRejected, MessageTooLarge) as error:
                self._refuse(delivery, error)
                return True
            finally:
                self.count(delivery, -1)
            self._refused_in_a_row = 0
        took_s = 0.0 if delivery.batch is None else self._last_send_s
        self._tell(Delivered(self._key, delivery, maybe_twice, took_s))
        return True

    def _refuse(self, delivery: Delivery, error: HubError) -> None:
        self._tell(Rejected(self._key, delivery, error))
        self.stop_location(delivery.location)
        self._refused_in_a_row += 1
        if self._refused_in_a_row >= _REFUSED_LOCATIONS_IN_A_ROW:
            raise error

    async def _send_paced(self, batch: Batch) -> bool:
        """Send, and send again while the hub is busy, at a lower rate; give whether it may be there twice."""
        for _ in range(_BUSY_IN_A_ROW - 1):
            await self._sleep(self._pace_s)
            try:
                maybe_twice = await self._send(batch)
            except HubBusy as busy:
                await self._wait_out(busy)
            else:
                self._speed_up()
                return maybe_twice
        maybe_twice = await self._send(batch)
        self._speed_up()
        return maybe_twice

    def _speed_up(self) -> None:
        self._pace_s = self._pace_s / 2 if self._pace_s > _PACE_FORGOTTEN_S else 0.0
        self._busy_wait_s = max(_SHORTEST_BUSY_WAIT_S, self._busy_wait_s / 2)

    async def _wait_out(self, busy: HubBusy) -> None:
        if self._busy_wait_s >= self._budget.remaining():
            raise busy
        await self._sleep(self._busy_wait_s)
        self._busy_wait_s = min(_LONGEST_BUSY_WAIT_S, self._busy_wait_s * 2)
        self._pace_s = _SLOWEST_PACE_S

    async def _send(self, batch: Batch) -> bool:
        reason = self._may_send()
        if reason is not None:
            raise HubUnreachable(f"hub {self._name}: nothing more is sent: {reason}")
        started = self._budget.elapsed()
        maybe_twice = await self._hub.send(batch, self._deadline(self._send_timeout_s))
        self._last_send_s = self._budget.elapsed() - started
        self._slowest_send_s = max(self._slowest_send_s, self._last_send_s)
        return maybe_twice

    def _deadline(self, limit_s: float) -> float:
        """Give a call's limit, kept so far from the run's hard end that its failure is still told."""
        return max(_TELLING_S, min(limit_s, self._budget.remaining() - _TELLING_S))

    def _has_time(self) -> bool:
        """Whether a batch can be expected to be acknowledged before the run's hard end."""
        if self._budget.stopped:
            return False
        return self._budget.left() > 0 or self._budget.remaining() > self._slowest_send_s * 1.5
