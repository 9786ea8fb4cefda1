"""What must hold whatever happens, judged from what the hubs stored and what was saved."""

from __future__ import annotations

import json
from collections import Counter, deque
from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta
from typing import Any

from app.eventhub.broadcaster import Delivery
from app.instants import hour_of
from app.model import Event, LocationState, QuarantinedReading
from tests.simulation.source import DAY, LARGE_BYTES, REC_TYPES, Source, Version

_Pair = tuple[str, str]


class Broken(BaseException):
    """An invariant does not hold. No Exception: the code under test must not catch it."""

    def __init__(self, invariant: str, detail: str) -> None:
        super().__init__(f"{invariant}: {detail}")
        self.invariant = invariant
        self.detail = detail


class Oracle:
    """The truth about one world: who has what, what may repeat, and what is still due."""

    def __init__(self, source: Source, feed: str, look_back: timedelta, start_from: timedelta) -> None:
        self._source = source
        self._rec_type = REC_TYPES[feed]
        self._start_from = start_from
        self._reach = max(DAY, look_back)
        self._by_serial = {version.serial: version for version in source.by_publication}
        self._coming = deque(source.by_publication)
        self._visible: dict[str, list[Version]] = {name: [] for name in source.buildings}
        self._message_ids: dict[frozenset[int], str] = {}
        self._newest: dict[_Pair, tuple[datetime, Version]] = {}
        self._furthest: dict[_Pair, datetime] = {}
        self._excused: set[tuple[str, int]] = set()
        self.first: Broken | None = None
        self.counts: Counter[str] = Counter()
        self.begins: dict[_Pair, datetime] = {}
        self.stored_at: dict[str, Counter[int]] = {}
        self.quarantined: dict[str, set[int]] = {}
        self.settled: dict[str, dict[int, int]] = {}
        self.due: dict[_Pair, dict[int, Version]] = {}

    def broken(self, invariant: str, detail: str) -> Broken:
        failure = Broken(invariant, detail)
        self.first = self.first or failure
        return failure

    def require(self, holds: bool, invariant: str, detail: str) -> None:
        if not holds:
            raise self.broken(invariant, detail)

    def add_hub(self, hub: str) -> None:
        self.stored_at.setdefault(hub, Counter())
        self.quarantined.setdefault(hub, set())
        self.settled.setdefault(hub, {})

    # --- what becomes due ---------------------------------------------------------------------------

    def publish(self, version: Version) -> None:
        """Take in a reading that was made up while the world went on."""
        self._by_serial[version.serial] = version
        self._show(version)

    def catch_up(self, now: datetime) -> None:
        """Make due what was published until now."""
        while self._coming and self._coming[0].shown <= now:
            self._show(self._coming.popleft())

    def _show(self, version: Version) -> None:
        self._visible[version.building].append(version)
        for (building, hub), begin in self.begins.items():
            if building == version.building:
                if version.replaces is not None:
                    self.due[building, hub].pop(version.replaces.serial, None)
                self._make_due(building, hub, begin, version)

    def _make_due(self, building: str, hub: str, begin: datetime, version: Version) -> None:
        is_due = version.promised and version.time >= begin and version.shown < version.replaced
        if is_due and not self._has(hub, version.serial):
            self.due[building, hub][version.serial] = version

    def _has(self, hub: str, serial: int) -> bool:
        return self.stored_at[hub][serial] > 0 or serial in self.quarantined[hub]

    def _begin(self, building: str, hub: str, begin: datetime, now: datetime) -> None:
        self.catch_up(now)
        self.require(
            begin <= now - self._start_from,
            "a first checkpoint lies START_FROM back",
            f"{building} at {hub}: {begin} at {now}",
        )
        self.begins[building, hub] = begin
        self.due[building, hub] = {}
        for version in self._visible[building]:
            if version.is_shown(now):
                self._make_due(building, hub, begin, version)
        self.counts["first checkpoints"] += 1

    def forget_begins(self, kept: set[_Pair]) -> None:
        """Follow a restore of a state that is older than some first checkpoints."""
        for pair in self.begins.keys() - kept:
            del self.begins[pair], self.due[pair]

    # --- what arrives -------------------------------------------------------------------------------

    def store(self, hub: str, event: Event, now: datetime, *, overtaken: bool = False) -> list[int]:
        """Judge an event that a hub stores; give the readings in it.

        `overtaken` says that the lease was lost while it was on its way: another run may have been quicker.
        """
        self.catch_up(now)
        versions = self._versions_in(event)
        early = [version for version in versions if version.shown > now]
        self.require(not early, "nothing arrives before it is published", _named(early))
        for version in versions:
            self._arrive(hub, version, overtaken=overtaken)
        serials = frozenset(version.serial for version in versions)
        known = self._message_ids.setdefault(serials, event.message_id)
        self.require(known == event.message_id, "a repeat has the same message id", f"{event.message_id}")
        return [version.serial for version in versions]

    def _arrive(self, hub: str, version: Version, *, overtaken: bool) -> None:
        pair = (version.building, hub)
        where = f"reading {version.serial} of {version.building} at {hub}"
        self.require(pair in self.begins, "a first checkpoint is saved before anything is sent of it", where)
        self.require(version.time >= self.begins[pair], "nothing from before known_from is delivered", where)
        self.require(
            overtaken or version.serial not in self.settled[hub],
            "what was acknowledged and saved is not sent again",
            where,
        )
        times = self.stored_at[hub]
        times[version.serial] += 1
        self.counts["events stored"] += 1
        if times[version.serial] > 1:
            self.counts["repeats"] += 1
            self.require(
                (hub, version.serial) in self._excused, "a repeat has a cause that the world noted", where
            )
        else:
            self._judge_order(pair, version)
        self.due[pair].pop(version.serial, None)

    def _judge_order(self, pair: _Pair, version: Version) -> None:
        time, newest = self._newest.get(pair, (version.time, version))
        ordered = (
            version.time >= time
            or not version.promised
            or version.saturated
            or version.shown > newest.shown
            or version.shown >= version.replaced
        )
        self.require(
            ordered,
            "readings of a location arrive by time at a hub, late-published ones apart",
            f"{version.serial} ({version.time}) after {newest.serial} ({time}) at {pair}",
        )
        if version.time >= time:
            self._newest[pair] = (version.time, version)

    def _versions_in(self, event: Event) -> list[Version]:
        body = json.loads(event.body)
        if "objs" in body:
            return [
                self._match(
                    entry, {"_id": {"tags": obj["data"]["_id"]["tags"]}, "line": [entry]}, obj["data"]
                )
                for obj in body["objs"]
                for entry in obj["data"]["line"]
            ]
        version = self._by_serial.get(body.get("serial", 0))
        whole = version and {
            **version.entry,
            "recType": self._rec_type,
            "_location_tags": list(version.tags),
        }
        if version is None or body != whole:
            raise self.broken("what arrives is what was published", f"{event.body[:300]!r}")
        return [version]

    def _match(
        self, entry: Mapping[str, Any], expected: Mapping[str, Any], data: Mapping[str, Any]
    ) -> Version:
        version = self._by_serial.get(entry.get("serial", 0))
        tags = tuple(data["_id"]["tags"])
        if version is None or entry != version.entry or tags != version.tags or set(data) != set(expected):
            raise self.broken("what arrives is what was published", f"{dict(entry)} of {tags}")
        return version

    def excuse(self, hub: str, serials: Iterable[int], cause: str) -> None:
        """Note why these readings may come once more."""
        self._excused |= {(hub, serial) for serial in serials}
        self.counts[f"excused: {cause}"] += 1

    def excuse_events(self, hub: str, delivery: Delivery, cause: str) -> None:
        """Note why the readings of a delivery may come once more."""
        events = delivery.batch.events if delivery.batch else ()
        self.excuse(hub, [found.serial for event in events for found in self._versions_in(event)], cause)

    def quarantine(self, item: QuarantinedReading, largest: Mapping[str, int]) -> None:
        version = self._by_serial[json.loads(item.text)["entry"]["serial"]]
        self.counts["quarantined"] += 1
        for hub in item.hubs:
            fits = not version.flawed and (not version.large or largest[hub] > LARGE_BYTES * 2)
            self.require(
                not fits, "only what a hub cannot take is quarantined", f"reading {version.serial} for {hub}"
            )
            self.quarantined[hub].add(version.serial)
            self.due.get((version.building, hub), {}).pop(version.serial, None)

    # --- what is saved ------------------------------------------------------------------------------

    def judge_save(
        self, building: str, saved: LocationState, before: LocationState, *, started: datetime, now: datetime
    ) -> None:
        """Judge the checkpoints of a location that a run, begun at `started`, saves."""
        for hub, checkpoint in saved.checkpoints.items():
            pair, where = (building, hub), f"{building} at {hub}: {checkpoint.delivered_until}"
            self.add_hub(hub)
            if pair not in self.begins:
                self._begin(building, hub, checkpoint.known_from, now)
            furthest = max(self._furthest.get(pair, checkpoint.delivered_until), checkpoint.delivered_until)
            self._furthest[pair] = furthest
            allowed = max(self.begins[pair], hour_of(furthest - self._reach))
            self.require(
                checkpoint.known_from <= allowed,
                "known_from rises only by pruning",
                f"{where}, {checkpoint.known_from} after {allowed}",
            )
            self.require(
                checkpoint.delivered_until <= now, "no position passes the horizon", f"{where} at {now}"
            )
            earlier = before.checkpoints.get(hub)
            if earlier is None or checkpoint.delivered_until > earlier.delivered_until:
                self._judge_position(pair, checkpoint.delivered_until, started)

    def _judge_position(self, pair: _Pair, position: datetime, started: datetime) -> None:
        passed = [
            version
            for version in self.due[pair].values()
            if version.time < position and version.shown <= started and version.replaced > started
        ]
        passed = [version for version in passed if not version.saturated]
        self.require(
            not passed,
            "a position never moves past what its hub has not got",
            f"{pair} at {position}: {_named(passed)}",
        )

    def settle(self, hub: str, serials: Iterable[int], number: int) -> None:
        for serial in serials:
            self.settled[hub].setdefault(serial, number)

    def restore(self, number: int) -> None:
        """Follow a restore of the state as it was at save `number`: what came later may repeat."""
        for hub, settled in self.settled.items():
            lost = [serial for serial, saved in settled.items() if saved > number]
            for serial in lost:
                del settled[serial]
            if lost:
                self.excuse(hub, lost, "restore")

    # --- at the end ---------------------------------------------------------------------------------

    def missing(
        self, buildings: Iterable[str], hubs: Iterable[str], *, shown: datetime, until: datetime
    ) -> list[Version]:
        """Give what these hubs lack of what was shown at `shown` and lies before `until`."""
        wanted = set(hubs)
        names = set(buildings)
        return [
            version
            for (building, hub), due in self.due.items()
            if building in names and hub in wanted
            for version in due.values()
            if version.shown <= shown < version.replaced and version.time < until and not version.saturated
        ]

    def judge_gaps(self, locations: Mapping[str, LocationState]) -> None:
        """Every reading that a full millisecond kept from a hub lies in a gap that is named."""
        for (building, hub), due in self.due.items():
            gaps = locations[building].gaps if building in locations else ()
            unnamed = [
                version
                for version in due.values()
                if version.saturated and not any(version.time in gap.window for gap in gaps)
            ]
            self.require(
                not unnamed,
                "what a full view hides is named as a gap",
                f"{building} at {hub}: {_named(unnamed)}",
            )


def _named(versions: Iterable[Version]) -> str:
    return ", ".join(
        f"reading {version.serial} (time {version.time}, shown {version.shown})"
        for version in list(versions)[:3]
    )


named = _named
