"""Simulated lanes: they keep the broadcaster's contract, and fail in every way that hubs do."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta

from app.base.budget import Budget
from app.base.errors import BatchRejected, HubBusy, HubError, HubRefused, HubUnreachable
from app.base.wire_forms import WireForm
from app.eventhub.deliveries import Delivered, Delivery, Dropped, LaneClosed, News, Opened, Rejected
from app.settings.schema import HubSettings
from emulators.amqp import Message, decode_event
from tests.simulation.process import Process

_SEND_TIMEOUT_S = 60.0
_REFUSED_IN_A_ROW = 3
# What a hub that is well takes for a batch, at most.
_BRISK_S = 0.2
# The API's Date header is cut to the second.
_DATE_RESOLUTION = timedelta(seconds=1)


@dataclass(slots=True)
class HubWeather:
    """How a hub fares in one run.

    `opening` is ok, down, refused or silent. At send number `fails_at` it does `fault`; `rejects`
    names a location whose batches it never takes. `largest` is the largest message it takes, in bytes.
    """

    largest: int = 1_000_000
    latency_s: float = 0.02
    opening: str = "ok"
    fails_at: int = 0
    fault: str = ""
    rejects: str = ""

    def is_calm(self) -> bool:
        return self.opening == "ok" and not self.fault and not self.rejects and self.latency_s <= _BRISK_S


@dataclass(slots=True)
class _Lane:
    key: str
    form: WireForm
    weather: HubWeather
    queue: deque[Delivery] = field(default_factory=deque)
    queued_bytes: int = 0
    is_open: bool = False
    is_closed: bool = False
    is_busy: bool = False
    sends: int = 0
    refused_in_a_row: int = 0
    stopped: set[str] = field(default_factory=set)
    in_flight: Delivery | None = None


class SimulatedLanes:
    """The lanes of one process."""

    def __init__(
        self,
        process: Process,
        weather: Mapping[str, HubWeather],
        lane_bytes: int,
        hubs: Sequence[HubSettings],
        budget: Budget,
        tell: Callable[[News], None],
        may_send: Callable[[], str | None],
        holds_lock: Callable[[], bool],
    ) -> None:
        self._process = process
        self._budget = budget
        self._tell = tell
        self._may_send = may_send
        self._holds_lock = holds_lock
        self._lane_bytes = lane_bytes
        self._lanes = {hub.key: _Lane(hub.key, hub.form, weather[hub.key]) for hub in hubs}
        self._is_closed = False
        process.on_death = self._cut
        process.on_lost_lease = self._note_lost_lease

    # --- what the forwarder asks ----------------------------------------------------------------------

    def start(self) -> None:
        self._process.effect("start lanes")
        for lane in self._lanes.values():
            self._open(lane)

    def has_room(self, hub: str) -> bool:
        has_room = self._lanes[hub].queued_bytes < self._lane_bytes
        self._process.lane_was_full |= not has_room
        return has_room

    def put(self, hub: str, delivery: Delivery) -> None:
        self._process.effect("put", hub, delivery.location)
        self._process.oracle.require(not self._is_closed, "nothing is put into a closed lane", hub)
        latest = self._process.earlier_clock() + _DATE_RESOLUTION
        self._process.oracle.require(
            delivery.closes is None or delivery.closes <= latest,
            "no slice ends after the earlier of the host's clock and the API's",
            delivery.location,
            delivery.closes,
            latest,
        )
        lane = self._lanes[hub]
        if delivery.batch is not None:
            lane.queued_bytes += delivery.batch.size_bytes
        lane.queue.append(delivery)
        self._pump(lane)

    def stop_location(self, location: str) -> None:
        for lane in self._lanes.values():
            lane.stopped.add(location)

    def close(self) -> None:
        self._process.effect("close lanes")
        self._cut()
        self._is_closed = True
        for lane in self._lanes.values():
            lane.is_closed = True

    def _note_lost_lease(self) -> None:
        """Excuse what is under way or acknowledged, since another run is about to do it too."""
        for lane in self._lanes.values():
            if lane.in_flight is not None:
                self._excuse_in_flight(lane, "lease lost")

    # --- what the hubs do -----------------------------------------------------------------------------

    def _open(self, lane: _Lane) -> None:
        match lane.weather.opening:
            case "ok":
                self._process.after(self._process.rng.choice((0.05, 0.3, 2.0)), lambda: self._opened(lane))
            case "down":
                error = HubUnreachable(f"hub {lane.key}: no connection")
                self._process.after(0.2, lambda: self._close_lane(lane, error))
            case "refused":
                refusal = HubRefused(f"hub {lane.key}: unauthorized")
                self._process.after(0.2, lambda: self._close_lane(lane, refusal))
            case _:
                silent_s = min(30.0, max(1.0, self._budget.remaining() - 1))
                timeout = HubUnreachable(f"hub {lane.key}: no answer to open")
                self._process.after(silent_s, lambda: self._close_lane(lane, timeout))

    def _opened(self, lane: _Lane) -> None:
        if not lane.is_closed:
            lane.is_open = True
            self._tell(Opened(lane.key, lane.weather.largest))
            self._pump(lane)

    def _pump(self, lane: _Lane) -> None:
        if lane.is_open and not lane.is_closed and not lane.is_busy and lane.queue:
            lane.is_busy = True
            self._process.after(0.001, lambda: self._next(lane))

    def _next(self, lane: _Lane) -> None:
        lane.is_busy = False
        if lane.is_closed or not lane.queue:
            return
        delivery = lane.queue.popleft()
        if delivery.location in lane.stopped:
            self._take_off(lane, delivery)
            self._tell(Dropped(lane.key, delivery))
        elif delivery.batch is None:
            self._tell(Delivered(lane.key, delivery))
        elif not self._has_time():
            self._close_lane(lane, None)
        elif (reason := self._may_send()) is not None:
            self._close_lane(lane, HubUnreachable(f"hub {lane.key}: nothing more is sent: {reason}"))
        else:
            self._send(lane, delivery)
            return
        self._pump(lane)

    def _has_time(self) -> bool:
        return not self._budget.stopped and (self._budget.left() > 0 or self._budget.remaining() > 5)

    def _send(self, lane: _Lane, delivery: Delivery) -> None:
        process = self._process
        process.oracle.require(self._holds_lock(), "nothing is sent without the run lock", lane.key)
        process.oracle.require(not process.save_failed, "nothing is sent after a failed save", lane.key)
        size, largest = delivery.batch.size_bytes if delivery.batch else 0, lane.weather.largest
        process.oracle.require(
            size <= largest, "no batch is larger than its hub takes", lane.key, size, largest
        )
        lane.is_busy = True
        lane.in_flight = delivery
        process.effect("send", lane.key, delivery.location, delivery.closes)
        lane.sends += 1
        fault = lane.weather.fault if lane.sends == lane.weather.fails_at else ""
        if delivery.location == lane.weather.rejects:
            fault = "rejects"
        if fault:
            process.oracle.counts[f"fault: hub {fault}"] += 1
        limit_s = max(1.0, min(_SEND_TIMEOUT_S, self._budget.remaining() - 1))
        seconds = {"stalls": limit_s, "stalls and stores": limit_s, "busy": 4.0, "busy for long": 12.0}
        process.after(seconds.get(fault, lane.weather.latency_s), lambda: self._sent(lane, delivery, fault))

    def _sent(self, lane: _Lane, delivery: Delivery, fault: str) -> None:
        if lane.is_closed:
            return
        self._process.effect("sent", lane.key, delivery.location, fault)
        if fault in ("", "stores twice", "stores and cuts", "stalls and stores", "busy"):
            self._store(lane, delivery)
        if fault == "stores twice":
            self._excuse_in_flight(lane, "the SDK repeats")
            self._store(lane, delivery)
        lane.in_flight = None
        lane.is_busy = False
        if fault in ("", "stores twice", "busy"):
            # Between the hub's storing and our knowing of it, a process can die too.
            self._process.effect("acknowledged", lane.key)
            lane.refused_in_a_row = 0
            self._take_off(lane, delivery)
            self._tell(Delivered(lane.key, delivery))
            self._pump(lane)
        elif fault == "rejects":
            self._reject(lane, delivery)
        else:
            kind = HubBusy if fault == "busy for long" else HubUnreachable
            self._process.causes.add(f"hub {fault}")
            self._close_lane(lane, kind(f"hub {lane.key}: {fault}"))

    def _reject(self, lane: _Lane, delivery: Delivery) -> None:
        error = BatchRejected(f"hub {lane.key}: batch rejected")
        self._take_off(lane, delivery)
        self._tell(Rejected(lane.key, delivery, error))
        lane.stopped.add(delivery.location)
        lane.refused_in_a_row += 1
        if lane.refused_in_a_row >= _REFUSED_IN_A_ROW:
            self._close_lane(lane, error)
        else:
            self._pump(lane)

    def _store(self, lane: _Lane, delivery: Delivery) -> None:
        process = self._process
        overtaken = not self._holds_lock()
        serials: set[int] = set()
        now = process.clock.now()
        for event in _events_of(delivery):
            serials.update(
                process.oracle.store(lane.key, event, lane.form, now, process, overtaken=overtaken)
            )
        process.stored.setdefault(lane.key, set()).update(serials)
        process.inbox.note_stored(delivery, serials)

    def _excuse_in_flight(self, lane: _Lane, cause: str) -> None:
        if lane.in_flight is not None:
            events = _events_of(lane.in_flight)
            self._process.oracle.excuse_events(lane.key, events, lane.form, cause)

    def _close_lane(self, lane: _Lane, error: HubError | None) -> None:
        if not lane.is_closed:
            lane.is_closed = True
            self._tell(LaneClosed(lane.key, error))

    def _take_off(self, lane: _Lane, delivery: Delivery) -> None:
        if delivery.batch is not None:
            lane.queued_bytes -= delivery.batch.size_bytes

    def _cut(self) -> None:
        """End what is under way: whether the hub has stored it, nobody knows."""
        for lane in self._lanes.values():
            delivery, lane.in_flight = lane.in_flight, None
            if delivery is None or lane.is_closed:
                continue
            self._process.causes.add("cut off")
            self._process.oracle.counts["fault: cut off in the middle of a send"] += 1
            stores = lane.weather.fault != "rejects" and delivery.location != lane.weather.rejects
            if stores and self._process.rng.random() < 0.5:
                self._store(lane, delivery)


def _events_of(delivery: Delivery) -> list[Message]:
    """Give the events of a delivery as its hub reads them."""
    return (
        [decode_event(bytes(event)) for event in delivery.batch.encoded._message.data]
        if delivery.batch
        else []
    )
