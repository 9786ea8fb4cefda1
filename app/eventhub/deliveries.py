"""What a lane is given to do, and what is told of it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from app.base.errors import HubError
from app.base.readings import Ids
from app.eventhub.batches import Batch


@dataclass(frozen=True, slots=True)
class Delivery:
    """One thing for one lane to do: a batch to send, or None to mark a place in the order.

    `ids` are those that the hub has once it is done, by the hour; `closes` is the position that
    it completes, if any; `newest` the time of the newest reading of that slice, and `duplicates`
    the count of what it held that the hub had before. `odd` are hours whose ids are no picture of
    what the source shows of them, since a reading is not remembered under its own hour.
    """

    location: str
    batch: Batch | None
    ids: Ids
    closes: datetime | None = None
    newest: datetime | None = None
    duplicates: int = 0
    odd: tuple[datetime, ...] = ()


@dataclass(frozen=True, slots=True)
class Opened:
    """A hub is connected; it takes messages of up to `largest_bytes`."""

    hub: str
    largest_bytes: int


@dataclass(frozen=True, slots=True)
class Delivered:
    """A delivery is done: its batch acknowledged, or its place in the order reached.

    `maybe_twice`: an acknowledgement was lost on the way, and the hub may have the batch twice. The
    acknowledgement came after `took_s` seconds.
    """

    hub: str
    delivery: Delivery
    maybe_twice: bool = False
    took_s: float = 0.0


@dataclass(frozen=True, slots=True)
class Dropped:
    """A delivery was not done because its location is stopped."""

    hub: str
    delivery: Delivery


@dataclass(frozen=True, slots=True)
class Rejected:
    """The hub refused a batch: its location stops for this hub and run."""

    hub: str
    delivery: Delivery
    error: HubError


@dataclass(frozen=True, slots=True)
class LaneClosed:
    """The hub is left alone for the rest of the run. No error: its time was over."""

    hub: str
    error: HubError | None


News = Opened | Delivered | Dropped | Rejected | LaneClosed
