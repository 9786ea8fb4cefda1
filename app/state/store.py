"""The protocol that every state store keeps."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager
from datetime import datetime
from typing import Any, Protocol, TypeVar

from app.base.checkpoints import Discovery, FeedState
from app.base.errors import StateDamaged
from app.base.readings import JsonObject, QuarantinedReading
from app.base.shards import WHOLE, Shard

_Found = TypeVar("_Found")


class RunLock(Protocol):
    """The right to be the only run of a feed, or of one of its shards."""

    def held(self) -> bool:
        """Whether sending is still covered; False from the moment the lock could be another's."""


class StateStore(Protocol):
    """What the forwarder asks of a store. `name` is a feed's state name, `peoplecounterstate`.

    `place` says where the state is, for messages; it never holds a secret. `shard` is the part of the
    feed that a run forwards; one that is not the whole raises StateError in a store that one host has.
    Every method raises StateError, or a narrower one named here, and nothing else.
    """

    place: str

    def load(self, name: str, shard: Shard = WHOLE) -> FeedState:
        """Give the saved state; an empty one if there never was any, the earlier forwarder's as a Takeover.

        The whole feed's is put together of what its shards keep. A shard's has the locations that it
        holds, and no others.

        Raises StateDamaged for anything that is there and cannot be read, or is gone beside its backup.
        """

    def save(self, name: str, state: FeedState, changed: Collection[str], shard: Shard = WHOLE) -> None:
        """Make the `changed` locations, and what is said of the feed, durable before returning.

        What a shard says of the feed is kept beside what the others say.

        A changed location that `state` does not hold is removed; one that is not named may or may
        not be written. Raises StateConflict with the locations that another run changed since
        `load` (the others are saved), StateTooLarge with those that do not fit (the others are
        saved). After any other StateError each location is whole, as it was or as it was to be.
        """

    def lock(self, name: str, owner: str, shard: Shard = WHOLE) -> AbstractContextManager[RunLock]:
        """Hold the feed's run lock, or raise LockHeld at once, naming the owner where it is known.

        Shards of one number run beside one another; any other two runs of a feed exclude each other.
        """

    def quarantine(self, name: str, item: QuarantinedReading) -> str:
        """Write the reading in full, durably; give the place where it can be found.

        Writing the same id for the same hubs again replaces the first.
        """

    def quarantined(
        self, name: str, feed: str, reading_id: str | None = None
    ) -> Iterator[tuple[str, QuarantinedReading]]:
        """Give each reading in quarantine, or those of an id, with its key, in the order of the keys.

        `feed` is the feed's name, `people_counter`. Raises StateDamaged, after all that can be read,
        where some cannot.
        """

    def keep_report(self, name: str, report: JsonObject) -> None:
        """Add a run's report to the feed's history, durably; what began over 30 days before `until` goes.

        `report` is what `Report.as_json` gives. Its long lists are cut, see `history_document`. One
        without `until` removes nothing: such a run may not have known what time it is.
        """

    def probe(self) -> None:
        """Write something of another name and remove it, as a run would have to."""


class MendableStore(StateStore, Protocol):
    """A store with what its keeper asks of it besides. None of it deletes what cannot be had again.

    `feed` is the feed's name, `people_counter`. Change things only while the feed's lock is held.
    """

    def outline(self, name: str) -> FeedState:
        """Give what `load` gives of the whole feed, each location as its outline, for who plans all of them.

        It is not to be saved.
        """

    def keep_discovery(self, name: str, discovery: Discovery) -> None:
        """Make what discovery found durable, whoever runs meanwhile; what else is said of the feed stays.

        It is for whoever plans the runs of a feed's shards, and holds no lock.
        """

    def set_aside(self, name: str) -> Sequence[str]:
        """Move what is stored of the state, whole or damaged, aside; give the places where it is now.

        What `load` gives from then on is an empty state. Quarantine and the lock stay.
        """

    def remove(self, name: str) -> None:
        """Remove for good a state that has served its purpose, its lock too; quarantine stays.

        Only for states that can be had again, a backfill's. Nothing happens where there is none.
        """

    def history(self, name: str, since: datetime) -> Iterator[dict[str, Any]]:
        """Give the reports of the runs that began at `since` or later, in the order they began.

        One that cannot be read is left out: a history is no state, and proves nothing.
        """

    def release(self, name: str, feed: str, key: str) -> str:
        """Move a reading out of quarantine, to those that are dealt with; give its place there.

        Raises StateError where no reading is kept under the key.
        """


def all_but_damaged(reads: Iterable[Callable[[], _Found]]) -> Iterator[_Found]:
    """Give what can be read. Raises the first StateDamaged after it."""
    damaged = None
    for read in reads:
        try:
            found = read()
        except StateDamaged as error:
            damaged = damaged or error
        else:
            yield found
    if damaged is not None:
        raise damaged
