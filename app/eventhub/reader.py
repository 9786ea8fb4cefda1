"""Reads a hub's events, to see what arrived or is missing. The forwarder itself never does.

The SDK's synchronous client is used, in threads that a deadline abandons: its asyncio client
swallows what a refused receive link says, and tries again for ever. `receive_batch`, because
`receive` hands out about five events a second over several partitions. Both seen with
azure-eventhub 5.15.1.
"""

from __future__ import annotations

import contextlib
import queue
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import Future
from dataclasses import dataclass, field
from datetime import datetime
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

from app.base.errors import HubError, HubUnreachable
from app.eventhub.hub import client_options, refusal, translate
from app.settings.schema import HubSettings

if TYPE_CHECKING:
    from azure.eventhub import EventData

T = TypeVar("T")

# How long a hub may take to answer, and then to hand out the first of the events it holds.
_ANSWER_S = 12.0
# What was read is read; the end of a command does not wait for a courtesy.
_CLOSE_S = 1.0
# A connection that lasted this long is opened again where it is lost.
_STEADY_S = 30.0
# Events that wait for a slow reader; the SDK's thread waits too then.
_WAITING = 1_000
_ADVICE = {
    "unauthorized-access": "the key or identity may not read here; use one with the Listen right",
    "not-found": "there is no such event hub or consumer group; check EntityPath and --consumer-group",
    "link:stolen": "another reader owns this consumer group; name one of your own with --consumer-group",
    "quota-exceeded": "the consumer group has too many readers; name one of your own with --consumer-group",
}


@dataclass(frozen=True, slots=True)
class Received:
    """One event as a hub holds it. `sequence` counts within the partition."""

    partition: str
    sequence: int | None
    offset: str | None
    enqueued: datetime | None
    message_id: str | None
    partition_key: str | None
    content_type: str | None
    properties: Mapping[str, Any]
    body: bytes = field(repr=False)


class _NothingCame(HubUnreachable):
    """The hub is known to hold events, and hands none out."""


class HubReader:
    """Reads one hub through one consumer group, and leaves nothing behind in it.

    Methods raise HubError, at the latest when a hub that owes an answer has been silent for `answer_s`.
    """

    def __init__(self, settings: HubSettings, consumer_group: str, *, answer_s: float = _ANSWER_S) -> None:
        self._settings = settings
        self._answer_s = answer_s
        self._group = consumer_group
        # The sequence number, or the time, after which each partition is read on.
        self._after: dict[str, int | datetime] = {}
        # Whether the hub has yet to hand out the first of the events it is known to hold.
        self._owes_event = False
        self._found: dict[str, Mapping[str, Any]] = {}
        self._since: datetime | None = None
        # When the newest event came that the hub held as it was opened; None where it never had any.
        self.newest: datetime | None = None
        self.kept_since: dict[str, datetime] = {}
        # By partition: the last event that came, and the one that the hub says is its last.
        self.withheld: dict[str, tuple[int, int]] = {}

    def open(self, *, latest: bool, since: datetime | None = None) -> int:
        """Find the partitions, and where to begin: at what comes after now, or at what is oldest.

        With `since`, what is oldest of what was enqueued after it. Gives how many partitions there are.
        """
        client = self._consumer()
        until = time.monotonic() + self._answer_s
        try:
            partitions = _begun(client.get_partition_ids).result(self._answer_s)
            # Each of these opens a connection of its own.
            asked = [_begun(partial(client.get_partition_properties, name)) for name in partitions]
            found = [properties.result(until - time.monotonic()) for properties in asked]
        except TimeoutError as error:
            raise self._silent("no answer") from error
        except Exception as error:  # the SDK raises its own, OSError, ValueError and azure.core's
            raise self._explained(error) from error
        finally:
            _close(client)
        for known in found:
            oldest = -1 if since is None else since
            self._after[known["id"]] = known["last_enqueued_sequence_number"] if latest else oldest
        self._found, self._since = {known["id"]: known for known in found}, since
        came = [known["last_enqueued_time_utc"] for known in found if not known["is_empty"]]
        self.newest = max(came, default=None)
        self._owes_event = not latest and any(map(self._holds_some, found))
        return len(found)

    def _holds_some(self, known: Mapping[str, Any]) -> bool:
        return not known["is_empty"] and self._went_on(known)

    def _went_on(self, known: Mapping[str, Any]) -> bool:
        """Whether anything was enqueued since the time that reading begins at."""
        last: datetime = known["last_enqueued_time_utc"]
        return self._since is None or last > self._since

    def read_held(
        self,
        take: Callable[[Received], None],
        progress: Callable[[int, int], None] | None = None,
    ) -> datetime | None:
        """Hand everything to `take` that the hub held when it was opened, and end.

        Gives the time from which on nothing was lost to the hub's retention; None where nothing ever
        was; `kept_since` has it by partition, `withheld` what the hub says to hold and hands out to
        nobody. `progress` is told how many events were read, and of how many that are known of.
        Raises HubUnreachable where the hub holds back all that it has.
        """
        held = _Held(known for known in self._found.values() if self._holds_some(known))
        # Of a partition that begins with its first event nothing was lost.
        self.kept_since = {
            name: known["last_enqueued_time_utc"]
            for name, known in self._found.items()
            if known["beginning_sequence_number"] > 0 and known["is_empty"] and self._went_on(known)
        }

        def take_held(event: Received) -> bool:
            self._note_beginning(event)
            if held.has(event):
                take(event)
            if progress is not None:
                progress(held.count, held.known())
            self._owes_event = bool(held.last)
            return self._owes_event

        if held.last:
            try:
                self.read(take_held)
            except _NothingCame:
                self._read_again(take_held, held.last)
        return max(self.kept_since.values(), default=None)

    def _note_beginning(self, event: Received) -> None:
        """Note since when a partition keeps its events, where this is the oldest that it kept of more."""
        begins = self._found[event.partition]["beginning_sequence_number"]
        if event.enqueued is not None and event.sequence == begins > 0:
            self.kept_since[event.partition] = event.enqueued

    def _read_again(self, take: Callable[[Received], bool], last: Mapping[str, int]) -> None:
        """Try once more where events are owed, from the last ones that came.

        A hub that hands those out again, and nothing after them, has no more: what it says to hold
        was taken away. Raises HubUnreachable where it hands out nothing.
        """
        came = {name: after for name in last if isinstance(after := self._after[name], int)}
        spoke: set[str] = set()

        def take_new(event: Received) -> bool:
            spoke.add(event.partition)
            if event.sequence is not None and event.sequence <= came.get(event.partition, -1):
                self._owes_event = True
                return True
            return take(event)

        self._after |= {name: max(-1, came.get(name, -1) - 1) for name in last}
        self._owes_event = True
        try:
            self.read(take_new)
        except _NothingCame:
            if not spoke.issuperset(last):
                raise
            self.withheld = {name: (int(came.get(name, -1)), end) for name, end in last.items()}

    def read(self, take: Callable[[Received], bool], seconds: float | None = None) -> None:
        """Hand every event to `take`, those of a partition in order, until it gives False or time is up.

        `seconds` without an end where None. A lost connection is opened again, and reading goes on
        after the last event handed out.
        """
        until = None if seconds is None else time.monotonic() + seconds
        while True:
            began = time.monotonic()
            try:
                return self._read_until_lost(take, until)
            except HubUnreachable:
                if time.monotonic() - began < _STEADY_S:
                    raise

    def _read_until_lost(self, take: Callable[[Received], bool], until: float | None) -> None:
        waiting: queue.Queue[Received | Exception] = queue.Queue(_WAITING)

        def on_batch(context: Any, events: list[EventData]) -> None:
            for event in events:
                waiting.put(_received(context.partition_id, event))

        def on_error(_context: Any, error: Exception) -> None:
            waiting.put(error)

        def on_end(ended: Future[None]) -> None:
            error = ended.exception()
            waiting.put(error if isinstance(error, Exception) else EOFError("the SDK ended receiving"))

        client = self._consumer()
        receiving = _begun(
            lambda: client.receive_batch(on_batch, on_error=on_error, starting_position=dict(self._after))
        )
        receiving.add_done_callback(on_end)
        try:
            while (received := self._next(waiting, until)) is not None:
                self._owes_event = False
                if received.sequence is not None:
                    self._after[received.partition] = received.sequence
                if not take(received):
                    return
        finally:
            _close(client)

    def _next(self, waiting: queue.Queue[Received | Exception], until: float | None) -> Received | None:
        """Wait for the next event; None when the time is up."""
        left = None if until is None else max(0.0, until - time.monotonic())
        patience = self._answer_s if self._owes_event and (left is None or left > self._answer_s) else left
        try:
            received = waiting.get(timeout=patience)
        except queue.Empty:
            if patience == left:
                return None
            raise self._silent("it holds events, and none came", _NothingCame) from None
        if isinstance(received, Exception):
            raise self._explained(received) from received
        return received

    def _consumer(self) -> Any:
        from azure.eventhub import EventHubConsumerClient

        options = client_options(self._settings) | {"consumer_group": self._group, "retry_total": 0}
        if self._settings.connection_string is not None:
            return EventHubConsumerClient.from_connection_string(self._settings.connection_string, **options)
        from azure.identity import DefaultAzureCredential

        return EventHubConsumerClient(self._settings.host, credential=DefaultAzureCredential(), **options)

    def _silent(self, what: str, kind: type[HubUnreachable] = HubUnreachable) -> HubUnreachable:
        where = f"hub {self._settings.name}"
        return kind(f"{where}: {what} within {self._answer_s:.0f} s; check the network, try again")

    def _explained(self, error: Exception) -> HubError:
        return refusal(self._settings, error, _ADVICE) or translate(self._settings, error)


class _Held:
    """What is to come yet of what a hub held when it was opened: `last` of each partition that owes some."""

    def __init__(self, partitions: Iterable[Mapping[str, Any]]) -> None:
        self.last: dict[str, int] = {
            known["id"]: known["last_enqueued_sequence_number"] for known in partitions
        }
        self.count = 0
        self._ends, self._first = dict(self.last), dict[str, int]()

    def has(self, event: Received) -> bool:
        """Whether the event was held, and counts; the last of a partition leaves nothing to come of it."""
        last = self.last.get(event.partition)
        if event.sequence is None or last is None:
            return False
        if event.sequence >= last:
            del self.last[event.partition]
        if event.sequence > last:
            return False
        self._first.setdefault(event.partition, event.sequence)
        self.count += 1
        return True

    def known(self) -> int:
        """Give how many events there are, of the partitions that have begun to come."""
        return sum(self._ends[name] - first + 1 for name, first in self._first.items())


def _begun(call: Callable[[], T]) -> Future[T]:
    """Begin a call that may never end, in a thread that does not keep the process alive."""
    outcome: Future[T] = Future()

    def work() -> None:
        try:
            outcome.set_result(call())
        except Exception as error:  # noqa: BLE001 - handed to whoever waits
            outcome.set_exception(error)

    threading.Thread(target=work, name="reader", daemon=True).start()
    return outcome


def _close(client: Any) -> None:
    with contextlib.suppress(Exception):
        _begun(client.close).result(_CLOSE_S)


def _received(partition: str, event: EventData) -> Received:
    return Received(
        partition=partition,
        sequence=event.sequence_number,
        offset=event.offset,
        enqueued=event.enqueued_time,
        message_id=_plain(event.message_id),
        partition_key=_plain(event.partition_key),
        content_type=_plain(event.content_type),
        properties={str(_plain(name)): _plain(value) for name, value in (event.properties or {}).items()},
        body=_body(event),
    )


def _body(event: EventData) -> bytes:
    body: Any = event.body
    if isinstance(body, bytes | str):
        return body.encode() if isinstance(body, str) else body
    return b"".join(part if isinstance(part, bytes) else str(part).encode() for part in body)


def _plain(value: Any) -> Any:
    """Give an AMQP value as one that JSON has."""
    if isinstance(value, bytes):
        return value.decode("utf-8", "backslashreplace")
    return value if value is None or isinstance(value, bool | int | str) else str(value)
