"""What must hold whatever happens, judged from what the hubs stored and what was saved."""

from __future__ import annotations

import json
from collections import Counter, deque
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Protocol

from app.base.checkpoints import LocationState
from app.base.instants import format_time, hour_of
from app.base.readings import QuarantinedReading, Slice
from app.base.wire_forms import WireForm
from app.settings.schema import FeedSettings
from emulators.amqp import Message
from tests.simulation.source import DAY, LARGE_BYTES, REC_TYPES, Source, Version

_Pair = tuple[str, str]


class Broken(BaseException):
    """An invariant does not hold. No Exception: the code under test must not catch it."""

    def __init__(self, invariant: str, detail: str) -> None:
        super().__init__(f"{invariant}: {detail}")
        self.invariant = invariant
        self.detail = detail


class Sender(Protocol):
    """What is asked of a run that sends: when it began, and whether what it was answered was stale."""

    started: datetime
    had_stale_answers: bool


@dataclass(frozen=True, slots=True)
class _Newest:
    """The newest reading that a hub has of a location, and when the run began that sent it."""

    version: Version
    sent_by_run_of: datetime


class Oracle:
    """The truth about one world: who has what, what may repeat, and what is still due."""

    def __init__(self, source: Source, feed: FeedSettings, start_from: timedelta) -> None:
        self.source = source
        self._rec_type = REC_TYPES[feed.name]
        self._sends_whole_hours = feed.name == "hourly_snapshot" and feed.late == "hour"
        self._start_from = start_from
        self._reach = max(DAY, feed.look_back)
        self._by_serial = {version.serial: version for version in source.by_publication}
        self._coming = deque(source.by_publication)
        self._visible: dict[str, list[Version]] = {name: [] for name in source.buildings}
        self._message_ids: dict[frozenset[int], str] = {}
        self._newest: dict[_Pair, _Newest] = {}
        self._furthest: dict[_Pair, datetime] = {}
        self._excused: set[tuple[str, int]] = set()
        self._found_out: set[tuple[str, int]] = set()
        # What hubs have of each hour of a building, where an event stands for an hour.
        self._hours: dict[tuple[str, str, datetime], set[int]] = {}
        self.first: Broken | None = None
        self.counts: Counter[str] = Counter()
        self.begins: dict[_Pair, datetime] = {}
        self.stored_at: dict[str, Counter[int]] = {}
        self.quarantined: dict[str, set[int]] = {}
        self.settled: dict[str, dict[int, int]] = {}
        self.due: dict[_Pair, dict[int, Version]] = {}

    def broken(self, invariant: str, *about: object) -> Broken:
        failure = Broken(invariant, " ".join(map(_told, about)))
        self.first = self.first or failure
        return failure

    def require(self, holds: bool, invariant: str, *about: object) -> None:
        """Raise Broken, which tells what it is `about`, where the invariant does not hold."""
        if not holds:
            raise self.broken(invariant, *about)

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
        if is_due and not self.has(hub, version.serial):
            self.due[building, hub][version.serial] = version

    def shown_of(self, building: str) -> Sequence[Version]:
        """Give what the source has shown of a building until now."""
        return self._visible[building]

    def is_known_everywhere(self, version: Version) -> bool:
        """Whether the state says of every hub that it has the reading."""
        return all(
            self.is_known(hub, version) for building, hub in self.begins if building == version.building
        )

    def is_known(self, hub: str, version: Version) -> bool:
        """Whether the state says that the hub has the reading: it may have it, and nobody know."""
        return version.serial in self.settled[hub] or version.serial in self.quarantined[hub]

    def has(self, hub: str, serial: int) -> bool:
        """Whether the hub got the reading, or could not take it and it is in quarantine."""
        return self.stored_at[hub][serial] > 0 or serial in self.quarantined[hub]

    def _begin(self, building: str, hub: str, begin: datetime, now: datetime) -> None:
        self.catch_up(now)
        self.require(
            begin <= now - self._start_from,
            "a first checkpoint lies START_FROM back",
            building,
            hub,
            begin,
            now,
        )
        self._make_all_due(building, hub, begin, now)
        self.counts["first checkpoints"] += 1

    def _make_all_due(self, building: str, hub: str, begin: datetime, now: datetime) -> None:
        self.begins[building, hub] = begin
        self.due[building, hub] = {}
        for version in self._visible[building]:
            if version.is_shown(now):
                self._make_due(building, hub, begin, version)

    def _restore_begins(self, begins: Mapping[_Pair, datetime], now: datetime) -> None:
        """Follow a restore of a state with other first checkpoints, or without some."""
        for pair, begin in list(self.begins.items()):
            if begins.get(pair) != begin:
                del self.begins[pair], self.due[pair]
                self._newest.pop(pair, None)
        for (building, hub), begin in begins.items():
            if (building, hub) not in self.begins:
                self._make_all_due(building, hub, begin, now)

    # --- what arrives -------------------------------------------------------------------------------

    def store(
        self,
        hub: str,
        event: Message,
        form: WireForm,
        now: datetime,
        run: Sender,
        *,
        overtaken: bool = False,
    ) -> list[int]:
        """Judge an event that a hub of this form stores from a run; give the readings in it.

        `overtaken` says that the lease was lost while it was on its way: another run may have been quicker.
        """
        self.catch_up(now)
        versions = self._versions_in(event, form)
        early = [version for version in versions if version.shown > now]
        self.require(not early, "nothing arrives before it is published", *early)
        again: set[int] = set()
        if "hour" in event.properties:
            again = self._judge_hour(hub, event, versions, run, overtaken=overtaken)
        # In an event that stands for an hour, readings lie by their tags.
        for version in sorted(versions, key=lambda version: version.time):
            if version.serial not in again:
                self._arrive(hub, version, run.started, overtaken=overtaken)
        serials = frozenset(version.serial for version in versions)
        known = self._message_ids.setdefault(serials, str(event.message_id))
        self.require(known == event.message_id, "a repeat has the same message id", event.message_id)
        self.counts[f"messages stored, {form.body}"] += 1
        return [version.serial for version in versions]

    def _judge_hour(
        self, hub: str, event: Message, versions: Sequence[Version], run: Sender, *, overtaken: bool
    ) -> set[int]:
        """Judge an event that stands for an hour; give what comes again since the hour is sent whole."""
        first = versions[0]
        hour = (hub, first.building, hour_of(first.time))
        had, is_update = self._hours.setdefault(hour, set()), "update" in event.properties
        # What is set aside counts; without a time, or in every answer, it is remembered under any hour.
        is_sure = not any(
            version.flawed or version.stray or version.serial in self.quarantined[hub]
            for version in self._visible[first.building]
        )
        self.require(
            bool(had) or not is_update or not is_sure,
            "what a hub gets first of an hour is no update",
            first,
            hub,
        )
        is_known = any(serial in self.settled[hub] for serial in had)
        self.require(
            is_update or not is_known or not is_sure or overtaken or "part" in event.properties,
            "an update of an hour says so",
            first,
            hub,
        )
        again: set[int] = set()
        if self._sends_whole_hours and (is_update or not is_sure):
            again = {version.serial for version in versions if version.serial in had}
            # What a view shows outside of what it was asked comes without the rest of its hour.
            is_asked_for = not any(version.stray for version in versions)
            if is_update and is_asked_for and "part" not in event.properties and not run.had_stale_answers:
                self._judge_whole(hour, versions, run)
        had |= {version.serial for version in versions}
        return again

    def _judge_whole(self, hour: tuple[str, str, datetime], versions: Sequence[Version], run: Sender) -> None:
        hub, building, begin = hour
        sent = {version.serial for version in versions}
        lacking = [
            version
            for version in self._visible[building]
            if hour_of(version.time) == begin
            and version.shown <= run.started < version.replaced
            and version.serial not in sent
            and version.serial not in self.quarantined[hub]
            and not (version.saturated or version.stray)
        ]
        self.require(not lacking, "an hour that is sent again is whole", hub, *lacking[:3])

    def _arrive(self, hub: str, version: Version, started: datetime, *, overtaken: bool) -> None:
        pair = (version.building, hub)
        self.require(
            pair in self.begins, "a first checkpoint is saved before anything is sent of it", version, hub
        )
        self.require(
            version.time >= self.begins[pair] or version.stray,
            "nothing from before known_from is delivered",
            version,
            hub,
        )
        times = self.stored_at[hub]
        is_known = version.serial in self.settled[hub]
        # Until a view shows it outside of what was asked, nothing tells it apart: its id goes with its hour.
        is_found_out = version.stray and is_known and (hub, version.serial) not in self._found_out
        if is_found_out:
            self._found_out.add((hub, version.serial))
        self.require(
            overtaken or is_found_out or not is_known,
            "what was acknowledged and saved is not sent again",
            version,
            hub,
        )
        times[version.serial] += 1
        self.counts["events stored"] += 1
        if times[version.serial] > 1:
            self.counts["repeats"] += 1
            self.require(
                is_found_out or (hub, version.serial) in self._excused,
                "a repeat has a cause that the world noted",
                version,
                hub,
            )
        else:
            self._judge_order(pair, version, started, overtaken=overtaken)
        self.due[pair].pop(version.serial, None)

    def _judge_order(self, pair: _Pair, version: Version, started: datetime, *, overtaken: bool) -> None:
        """Judge the first arrival of a reading.

        One that comes after a newer one was published late: when the run that sent the newer one
        began, the source did not show it.
        """
        if version.stray:
            return
        newest = self._newest.get(pair)
        if newest is None or version.time >= newest.version.time:
            self._newest[pair] = _Newest(version, started)
            return
        self.require(
            version.shown > newest.sent_by_run_of
            or not version.promised
            or version.saturated
            or version.shown >= version.replaced
            or overtaken,
            "readings of a location arrive by time at a hub, late-published ones apart",
            pair,
            version,
            newest.version,
            newest.sent_by_run_of,
        )

    def _plain(self, event: Message, form: WireForm) -> Any:
        """Give what an event would say in a hub without a form of its own; it goes in that of its hub."""
        said = json.loads(event.body)
        is_cloudevent = event.content_type == "application/cloudevents+json"
        ours = said if is_cloudevent else said.pop("_forwarder", None)
        body = "cloudevents" if is_cloudevent else "plain" if ours is None else "with_ids"
        beside = {name: event.properties.get(name) for name, _ in form.properties}
        self.require(
            (body, beside) == (form.body, dict(form.properties)),
            "an event goes to a hub in its form",
            body,
            beside,
            form,
        )
        self.require(
            ours is None or ours["id"] == event.message_id, "a body says the id of its message", event.body
        )
        return said["data"] if is_cloudevent else said

    def _versions_in(self, event: Message, form: WireForm) -> list[Version]:
        body = self._plain(event, form)
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
            raise self.broken("what arrives is what was published", event.body[:300])
        return [version]

    def _match(
        self, entry: Mapping[str, Any], expected: Mapping[str, Any], data: Mapping[str, Any]
    ) -> Version:
        version = self._by_serial.get(entry.get("serial", 0))
        tags = tuple(data["_id"]["tags"])
        if version is None or entry != version.entry or tags != version.tags or set(data) != set(expected):
            raise self.broken("what arrives is what was published", dict(entry), tags)
        return version

    def excuse(self, hub: str, serials: Iterable[int], cause: str) -> None:
        """Note why these readings may come once more."""
        self._excused |= {(hub, serial) for serial in serials}
        self.counts[f"excused: {cause}"] += 1

    def excuse_events(self, hub: str, events: Iterable[Message], form: WireForm, cause: str) -> None:
        """Note why the readings of events may come once more."""
        found = [version.serial for event in events for version in self._versions_in(event, form)]
        self.excuse(hub, found, cause)

    def quarantine(self, item: QuarantinedReading, largest: Mapping[str, int]) -> None:
        version = self._by_serial[json.loads(item.text)["entry"]["serial"]]
        self.counts["quarantined"] += 1
        for hub in item.hubs:
            fits = not version.flawed and (not version.large or largest[hub] > LARGE_BYTES * 2)
            self.require(not fits, "only what a hub cannot take is quarantined", version, hub)
            self.quarantined[hub].add(version.serial)
            self.due.get((version.building, hub), {}).pop(version.serial, None)

    # --- what is saved ------------------------------------------------------------------------------

    def judge_save(
        self, building: str, saved: LocationState, before: LocationState, *, started: datetime, now: datetime
    ) -> None:
        """Judge the checkpoints of a location that a run, begun at `started`, saves."""
        for hub, checkpoint in saved.checkpoints.items():
            pair, position = (building, hub), checkpoint.delivered_until
            self.add_hub(hub)
            if pair not in self.begins:
                self._begin(building, hub, checkpoint.known_from, now)
            furthest = max(self._furthest.get(pair, position), position)
            self._furthest[pair] = furthest
            allowed = max(self.begins[pair], hour_of(furthest - self._reach))
            self.require(
                checkpoint.known_from <= allowed,
                "known_from rises only by pruning",
                pair,
                checkpoint.known_from,
                allowed,
            )
            self.require(position <= now, "no position passes the horizon", pair, position, now)
            earlier = before.checkpoints.get(hub)
            if earlier is not None:
                self.require(
                    checkpoint.known_from >= earlier.known_from,
                    "known_from never goes down",
                    pair,
                    checkpoint.known_from,
                    earlier.known_from,
                )
                self.require(
                    position >= earlier.delivered_until,
                    "a position never goes back",
                    pair,
                    position,
                    earlier.delivered_until,
                )
            if earlier is None or position > earlier.delivered_until:
                self._judge_position(pair, position, started)

    def _judge_position(self, pair: _Pair, position: datetime, started: datetime) -> None:
        passed = [
            version
            for version in self.due[pair].values()
            if version.time < position and version.shown <= started < version.replaced
            if not version.saturated
        ]
        self.require(
            not passed, "a position never moves past what its hub has not got", pair, position, *passed
        )

    def settle(self, hub: str, serials: Iterable[int], number: int) -> None:
        for serial in serials:
            self.settled[hub].setdefault(serial, number)

    def restore(self, number: int, begins: Mapping[_Pair, datetime], now: datetime) -> None:
        """Follow a restore of the state as it was at save `number`: what came later may repeat."""
        self.catch_up(now)
        self._restore_begins(begins, now)
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

    def judge_gaps(self, locations: Mapping[str, LocationState], asked: Collection[str]) -> None:
        """Every reading that a full millisecond kept from a hub lies in a gap that is named.

        Of what was published after a building was asked for the last time, nobody could know.
        """
        for (building, hub), due in self.due.items():
            if building not in asked:
                continue
            gaps = locations[building].gaps if building in locations else ()
            unnamed = [
                version
                for version in due.values()
                if version.saturated and not any(version.time in gap.window for gap in gaps)
            ]
            self.require(not unnamed, "what a full view hides is named as a gap", building, hub, *unnamed)


def _told(about: object) -> str:
    """Write something that a broken invariant is about; only then, for it takes time."""
    match about:
        case Version():
            times = f"time {format_time(about.time)}, shown {format_time(about.shown)}"
            return f"reading {about.serial} of {about.building} ({times})"
        case datetime():
            return format_time(about)
        case Slice():
            return f"{format_time(about.start)}/{format_time(about.end)}"
        case _:
            return str(about)
