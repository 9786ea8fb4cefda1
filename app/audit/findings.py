"""What an audit finds: the readings of both sides, each under its heading, and what comes of it for a hub.

`app.audit.auditor.compared_feeds` asks both sides and gives a `HubAudit` for each feed and hub; the command
`audit` prints it, and a page can be made of it: `hours` are the counts by location and hour, `delays`
how long after its time the hub got each reading.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal

from app.base.readings import Slice
from app.quality.lateness import DelayCount

Heading = Literal["delivered", "missing", "repeated", "changed", "unknown", "superseded"]

LATE = "late"
BEHIND = "behind"
LOST = "lost"
QUARANTINED = "quarantined"
RETENTION = "retention"
BEFORE_START = "before start"
UNEXPLAINED = "unexplained"

# What sending once more mends. `behind` comes by itself, and what is in quarantine has a command of its own.
_NOT_MENDED = frozenset({BEHIND, QUARANTINED, RETENTION, BEFORE_START})


@dataclass(frozen=True, slots=True)
class Published:
    """A reading that the source shows.

    `held_as` is the id that the content of its event has at a hub, which differs from `id` where the
    entry has a field of a name that events use. `written` is its time as the source wrote it; None
    where it has none that can be read: it stands at the start of the slice that it came with then.
    """

    location: str
    slot: bytes
    time: datetime
    id: str
    held_as: str
    written: str | None


@dataclass(frozen=True, slots=True)
class HeldReading:
    """A reading that a hub holds, in one of its versions. `id` is what its content gives.

    `first` and `last` order its arrivals in the hub; `times` counts them, those that are by
    configuration (`late: hour`) left out. `message_id` is its event's, where that is not the id.
    """

    location: str
    slot: bytes
    time: datetime
    id: str
    written: str | None
    times: int
    first: int
    last: int
    enqueued: datetime | None = None
    message_id: str | None = None


@dataclass(frozen=True, slots=True)
class Finding:
    """One reading under its heading.

    `written` is its time as the source wrote it, of unknown ones as the hub has it, None where it
    cannot be read. `id` is the published reading's; of an unknown one the message id of a single
    reading's event, else what its content gives. `held` is the id of what a hub holds in place of a
    changed one. A missing one has a `cause`, and is `due` where a hub should have it by now; a run would
    bring one that is `stuck`, but its location or hub fails.
    """

    heading: Heading
    location: str
    time: datetime
    written: str | None
    id: str
    times: int = 1
    held: str | None = None
    cause: str | None = None
    due: bool = True
    enqueued: datetime | None = None
    repaired: bool = False
    stuck: bool = False

    @property
    def is_wrong(self) -> bool:
        """Whether it speaks against the promise, as it stands now."""
        return self.due and not self.repaired and self.heading not in ("delivered", "superseded")

    @property
    def is_mendable(self) -> bool:
        """Whether sending it once more mends it."""
        return self.heading == "missing" and self.cause not in _NOT_MENDED


@dataclass(frozen=True, slots=True)
class Failing:
    """What keeps readings of a location from a hub: the `location` fails, or the `hub` there; with what."""

    where: Literal["location", "hub"]
    error: str


@dataclass(frozen=True, slots=True)
class HourCount:
    """The readings of one location and hour. `delivered` are published ones that the hub holds as they are.

    So published = delivered + missing + changed; repeated ones are delivered too.
    """

    location: str
    hour: datetime
    published: int = 0
    delivered: int = 0
    missing: int = 0
    repeated: int = 0
    changed: int = 0
    unknown: int = 0


@dataclass(frozen=True, slots=True)
class HubAudit:
    """What came of comparing one feed with one hub.

    Each finding stands under one heading only. The collections are read where they are needed, and
    are at hand until the next audit is asked for. `superseded` counts versions that the hub holds
    beside a newer one, `foreign` events that are not of this feed and forwarder or its locations.
    `readable_from` is the time from which nothing was lost to the hub's retention (None: ever).
    `failures` are locations that could not be compared, and why; with an `error` the hub could not
    be, and nothing else is said. `max_delay_s` is the longest that a delivered reading took. `wrong`
    counts what speaks against the promise, `repaired` what of it has been sent since. `to_come` divides
    what is `behind` as `app.audit.summary` does; `stuck` says, by location, what keeps readings from the
    hub that a run would bring. `compared` counts the readings of either side: without any, nothing is
    proved; `without_readings` are locations that were asked for, of which neither side has one.
    """

    feed: str
    hub: str
    window: Slice
    published: int = 0
    delivered: int = 0
    missing: Collection[Finding] = ()
    repeated: Collection[Finding] = ()
    changed: Collection[Finding] = ()
    unknown: Collection[Finding] = ()
    wrong: int = 0
    repaired: int = 0
    superseded: int = 0
    foreign: int = 0
    locations: int = 0
    readable_from: datetime | None = None
    hours: Sequence[HourCount] = ()
    delays: Sequence[DelayCount] = ()
    max_delay_s: float | None = None
    causes: Mapping[str, int] = field(default_factory=dict)
    to_come: Mapping[str, int] = field(default_factory=dict)
    stuck: Mapping[str, Failing] = field(default_factory=dict)
    compared: int = 0
    without_readings: Sequence[str] = ()
    failures: Mapping[str, str] = field(default_factory=dict)
    warnings: Sequence[str] = ()
    error: str | None = None

    @property
    def ok(self) -> bool:
        """Whether all of it could be compared, and nothing is wrong."""
        return self.wrong <= self.repaired and not self.failures and self.error is None
