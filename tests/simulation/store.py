"""The simulated state store: documents in memory, versions, locks, faults, and restores."""

from __future__ import annotations

from collections import deque
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any

from app.base.checkpoints import Discovery, FeedState, LocationState
from app.base.errors import LockHeld, StateConflict, StateError, StateTooLarge
from app.base.readings import JsonObject, QuarantinedReading
from app.base.shards import WHOLE, Shard
from app.state.document import decode, encode, feed_document, feed_from, location_document, location_from
from app.state.shard_records import of_shard, replaced_by, together
from app.state.store import RunLock
from tests.simulation.comparison import judge_comparison, judge_seals
from tests.simulation.oracle import Oracle
from tests.simulation.process import Process

_LEASE_S = 60.0


@dataclass(frozen=True, slots=True)
class Saved:
    """The state after a save; `number` counts the saves of the world.

    `records` are what runs said of the feed, by their shards. `begins` are the first checkpoints, by
    location and hub, that hold with it.
    """

    number: int
    records: Mapping[Shard, FeedState]
    locations: Mapping[str, LocationState]
    begins: Mapping[tuple[str, str], datetime]


@dataclass(slots=True)
class _Lease:
    token: int
    until_ms: int


@dataclass(slots=True)
class Disk:
    """What outlives a process: the state, its older copies, and who holds the locks.

    `leased` says how a lock is kept: a lease that outlives its owner and can be lost, as in a
    table, or an operating system's lock that goes with its owner.
    """

    leased: bool
    now: Saved = field(default_factory=lambda: Saved(0, {}, {}, {}))
    versions: dict[str, int] = field(default_factory=dict)
    older: deque[Saved] = field(default_factory=lambda: deque(maxlen=40))
    leases: dict[Shard, _Lease] = field(default_factory=dict)
    tokens: int = 0
    _read: dict[str, LocationState] = field(default_factory=dict)

    def restore(self, saved: Saved) -> None:
        """Put an older copy in place, as a person would who restores a backup."""
        self.now = replace(saved, number=self.now.number + 1)
        self.versions = dict.fromkeys(saved.locations, self.now.number)

    def lose_lock(self, shard: Shard) -> None:
        self.leases.pop(shard, None)

    def holds_lock(self, process: Process) -> bool:
        lease = self.leases.get(process.shard)
        return lease is not None and lease.token == process.lock_token

    def taken(self, process: Process) -> bool:
        """Whether the process may have the lock; what ran out of others is ended, as in a table."""
        for shard, lease in list(self.leases.items()):
            if shard.of == process.shard.of and shard != process.shard:
                continue
            if not self.leased or process.clock.ms < lease.until_ms:
                return False
            del self.leases[shard]
        return True

    def read_back(self, oracle: Oracle, shard: Shard) -> FeedState:
        """Give the state as its documents say: what was written since the last time is read from them."""
        locations = dict(self.now.locations)
        for name, written in locations.items():
            if self._read.get(name) is not written:
                read = location_from(decode(encode(location_document(written))))
                oracle.require(read == written, "a document is read as it was written", name, written, read)
                self._read[name] = locations[name] = read
        records = {}
        for said_by, record in self.now.records.items():
            document = decode(encode(feed_document(replace(record, locations=locations))))
            records[said_by] = feed_from(document, {})
        self.now = replace(self.now, records=records, locations=locations)
        feed = together(records) if shard.is_whole or not records else of_shard(records, shard)
        return replace(
            feed, locations={name: found for name, found in locations.items() if shard.holds(name)}
        )


@dataclass(slots=True)
class StoreFaults:
    """How a store fails in one run: the share of saves that fail, and in which way."""

    load: bool = False
    save: float = 0.0
    kinds: tuple[str, ...] = ()
    quarantine: float = 0.0


class SimulatedStore:
    """One process's way to the state."""

    def __init__(self, disk: Disk, process: Process, faults: StoreFaults, largest: Mapping[str, int]) -> None:
        self.place = "memory"
        self._disk = disk
        self._process = process
        self._faults = faults
        self._largest = largest
        self._known: dict[str, int] = {}
        self._started = process.clock.now()

    def load(self, name: str, shard: Shard = WHOLE) -> FeedState:  # noqa: ARG002 - a world has one feed
        self._process.effect("load")
        if self._faults.load:
            self._count("load fails")
            raise StateError("memory: cannot be reached; try again")
        self._known = dict(self._disk.versions)
        self._started = self._process.clock.now()
        return self._disk.read_back(self._process.oracle, shard)

    def save(
        self,
        name: str,  # noqa: ARG002
        state: FeedState,
        changed: Collection[str],
        shard: Shard = WHOLE,
    ) -> None:
        process = self._process
        process.effect("save", sorted(changed))
        process.clock.sleep(process.rng.choice((0.001, 0.02, 0.4)))
        kind = ""
        if self._faults.save and process.rng.random() < self._faults.save:
            kind = process.rng.choice(self._faults.kinds)
            self._count(f"save {kind}")
        if kind == "fails":
            process.save_failed = True
            process.causes.add("save failed")
            raise StateError("memory: cannot be written; try again")
        lost = self._conflicts(changed)
        kept = [location for location in sorted(changed) if location not in lost]
        if kind in ("torn", "unknown"):
            kept = [location for location in kept if process.rng.random() < 0.6]
        self._write(state, kept, shard, is_known=kind != "unknown")
        if kind in ("torn", "unknown"):
            process.save_failed = True
            process.causes.add("save failed")
            raise StateError("memory: lost in the middle of a save; try again")
        # Between the writing and our knowing of it, a process can die too.
        process.effect("saved", kept)
        process.save_failed = False
        if kind == "too large":
            process.save_failed = True
            process.causes.add("save failed")
            raise StateTooLarge("memory: the feed's own document does not fit", [])
        if lost:
            process.causes.add("conflict")
            self._count("save conflicts")
            raise StateConflict(f"memory: {', '.join(lost)}: changed by another run", lost)

    @contextmanager
    def lock(self, name: str, owner: str, shard: Shard = WHOLE) -> Iterator[RunLock]:  # noqa: ARG002
        disk, process = self._disk, self._process
        process.effect("lock")
        if not disk.taken(process):
            self._count("lock held")
            raise LockHeld("memory: another run holds the lock")
        disk.tokens += 1
        process.lock_token = disk.tokens
        # A living owner renews its lease; what is left of it when it dies is drawn here.
        disk.leases[shard] = _Lease(disk.tokens, process.clock.ms + 10**9)
        try:
            yield _Held(disk, process)
        finally:
            if disk.holds_lock(process):
                if process.alive or not disk.leased:
                    del disk.leases[shard]
                else:
                    disk.leases[shard].until_ms = process.clock.ms + round(_LEASE_S * 1000)

    def quarantine(self, name: str, item: QuarantinedReading) -> str:  # noqa: ARG002
        self._process.effect("quarantine", item.location, item.id)
        if self._faults.quarantine and self._process.rng.random() < self._faults.quarantine:
            self._count("quarantine fails")
            raise StateError("memory: cannot be written; try again")
        self._process.oracle.quarantine(item, self._largest)
        return "memory"

    def keep_report(self, name: str, report: JsonObject) -> None:
        """Keep nothing: no promise rests on the history."""

    def probe(self) -> None:
        """Nothing to try."""

    def outline(self, name: str) -> FeedState:
        raise NotImplementedError("no run plans")

    def keep_discovery(self, name: str, discovery: Discovery) -> None:
        raise NotImplementedError("no run plans")

    def set_aside(self, name: str) -> list[str]:
        raise NotImplementedError("no run mends")

    def remove(self, name: str) -> None:
        raise NotImplementedError("no run mends")

    def history(self, name: str, since: datetime) -> Iterator[dict[str, Any]]:
        raise NotImplementedError("no run asks")

    def quarantined(
        self,
        name: str,  # noqa: ARG002
        feed: str,  # noqa: ARG002
        reading_id: str | None = None,  # noqa: ARG002
    ) -> Iterator[tuple[str, QuarantinedReading]]:
        """Give none: so all is set aside as if for the first time, and the oracle sees each."""
        return iter(())

    def release(self, name: str, feed: str, key: str) -> str:
        raise NotImplementedError("no run mends")

    def _conflicts(self, changed: Collection[str]) -> list[str]:
        return [name for name in sorted(changed) if self._disk.versions.get(name) != self._known.get(name)]

    def _write(self, state: FeedState, names: list[str], shard: Shard, *, is_known: bool) -> None:
        disk, process = self._disk, self._process
        now = process.clock.now()
        number = disk.now.number + 1
        locations = dict(disk.now.locations)
        for name in names:
            process.oracle.require(shard.holds(name), "a shard writes its own locations only", shard, name)
            given, before = state.locations[name], locations.get(name, LocationState())
            self._judge(name, given, before, now)
            locations[name] = given
            disk.versions[name] = number
            if is_known:
                self._known[name] = number
            for hub, serials in process.handed.pop(name, {}).items():
                process.oracle.settle(hub, serials, number)
        disk.older.append(disk.now)
        records = {**disk.now.records, shard: replace(state, locations={})}
        for other in replaced_by(shard, disk.now.records) if disk.holds_lock(process) else ():
            del records[other]
        disk.now = Saved(number, records, locations, dict(process.oracle.begins))
        process.oracle.counts["saves"] += 1

    def _judge(self, name: str, given: LocationState, before: LocationState, now: datetime) -> None:
        oracle = self._process.oracle
        oracle.judge_save(name, given, before, started=self._started, now=now)
        building = oracle.source.buildings[name]
        judge_seals(oracle, building, given, before)
        oracle.catch_up(now)
        judge_comparison(oracle, building, given, before, self._process)

    def _count(self, what: str) -> None:
        self._process.oracle.counts[f"fault: {what}"] += 1


class _Held:
    def __init__(self, disk: Disk, process: Process) -> None:
        self._disk = disk
        self._process = process

    def held(self) -> bool:
        return self._disk.holds_lock(self._process)
