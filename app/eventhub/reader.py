"""Reads a hub's events, to see what arrived or is missing. The forwarder itself never does."""

from __future__ import annotations

import queue
import time
from collections.abc import Callable, Iterable, Mapping
from datetime import datetime
from typing import Any

from app.base.errors import HubError, HubUnreachable
from app.eventhub.connecting import through
from app.eventhub.hub import refusal, translate
from app.eventhub.received import Received
from app.eventhub.receiving import Receiving, Source
from app.settings.schema import HubSettings

# How long a hub may take to answer, and then to hand out the first of the events it holds.
_ANSWER_S = 12.0
# A connection that lasted this long is opened again where it is lost.
_STEADY_S = 30.0
_ADVICE = {
    "unauthorized-access": "the key or identity may not read here; use one with the Listen right",
    "not-found": "there is no such event hub or consumer group; check EntityPath and --consumer-group",
    "link:stolen": "another reader owns this consumer group; name one of your own with --consumer-group",
    "quota-exceeded": "the consumer group has too many readers; name one of your own with --consumer-group",
}


class _NothingCame(HubUnreachable):
    """The hub is known to hold events, and hands none out."""


class HubReader:
    """Reads one hub through one consumer group, and leaves nothing behind in it.

    Methods raise HubError, at the latest when a hub that owes an answer has been silent for `answer_s`.
    `receive` begins to receive, from after a number or time of each partition on.
    """

    def __init__(
        self,
        settings: HubSettings,
        consumer_group: str,
        *,
        answer_s: float = _ANSWER_S,
        monotonic: Callable[[], float] = time.monotonic,
        receive: Callable[[Source, Mapping[str, int | datetime]], Receiving] = Receiving,
    ) -> None:
        self._settings = settings
        self._monotonic = monotonic
        self._receive = receive
        self._source = Source(settings, consumer_group)
        self._answer_s = answer_s
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
        try:
            found = self._source.partitions(self._answer_s)
        except TimeoutError as error:
            raise self._silent("no answer") from error
        except Exception as error:  # the SDK raises its own, OSError, ValueError and azure.core's
            raise self._explained(error) from error
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
        until = None if seconds is None else self._monotonic() + seconds
        while True:
            began = self._monotonic()
            try:
                return self._read_until_lost(take, until)
            except HubUnreachable:
                if self._monotonic() - began < _STEADY_S:
                    raise

    def _read_until_lost(self, take: Callable[[Received], bool], until: float | None) -> None:
        receiving = self._receive(self._source, self._after)
        try:
            while (received := self._next(receiving, until)) is not None:
                self._owes_event = False
                if received.sequence is not None:
                    self._after[received.partition] = received.sequence
                if not take(received):
                    return
        finally:
            receiving.close()

    def _next(self, receiving: Receiving, until: float | None) -> Received | None:
        """Wait for the next event; None when the time is up."""
        left = None if until is None else max(0.0, until - self._monotonic())
        patience = self._answer_s if self._owes_event and (left is None or left > self._answer_s) else left
        try:
            received = receiving.next(patience)
        except queue.Empty:
            if patience == left:
                return None
            raise self._silent("it holds events, and none came", _NothingCame) from None
        if isinstance(received, Exception):
            raise self._explained(received) from received
        return received

    def _silent(self, what: str, kind: type[HubUnreachable] = HubUnreachable) -> HubUnreachable:
        where = f"hub {self._settings.name}"
        by = through(self._settings)
        return kind(f"{where}: {what}{by} within {self._answer_s:.0f} s; check the network, try again")

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
