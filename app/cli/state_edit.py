"""One feed's state on the bench: what the `state` commands share."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import click

from app.base.checkpoints import FeedState
from app.base.errors import LockLost, StateDamaged, StateError
from app.base.instants import MILLISECOND, floor_to, parse_time, utc_now
from app.base.readings import Slice
from app.base.text import counted, dashed, moment, printable, span
from app.cli.output import Column, Output, table, text
from app.cli.session import begin, find_feed
from app.feeds.feed import load_feed
from app.settings.schema import FeedSettings, Settings
from app.state import document as documents
from app.state.edits import Effect, Part, changed, effects
from app.state.opening import open_store
from app.state.store import MendableStore, RunLock


@dataclass(frozen=True, slots=True)
class Bench:
    """One feed's state on the bench, with what is needed to work on it. `name` is its state name."""

    settings: Settings
    feed: FeedSettings
    name: str
    store: MendableStore
    out: Output
    now: datetime

    @classmethod
    def begin(cls, feed: str, *, as_json: bool = False) -> Bench:
        """Read the settings, and find the feed. Nothing is opened or locked yet."""
        settings = begin(as_json=as_json)
        found = find_feed(settings, feed)
        name = load_feed(found.name).state_name
        now = floor_to(utc_now(), MILLISECOND)
        return cls(settings, found, name, open_store(settings.state), Output(as_json=as_json), now)

    @property
    def start(self) -> datetime:
        """Give where a hub without a position would begin now."""
        start = self.settings.run.start_from
        return start if isinstance(start, datetime) else self.now - start

    @contextmanager
    def locked(self, owner: str) -> Iterator[RunLock]:
        """Hold the feed's run lock. Raises LockHeld."""
        with self.store.lock(self.name, owner) as lock:
            yield lock

    def instant(self, written: str) -> datetime:
        """Read --to. Raises UsageError for what is no time, or lies after the horizon."""
        from app.settings.rules import duration

        try:
            back = duration(written)
        except (ValueError, OverflowError):
            back = None
        try:
            found = parse_time(written) if back is None else self.now - back
        except (ValueError, OverflowError):
            raise click.UsageError(
                f"--to {printable(written)!r} is no time; write 2026-03-02T12:00:00Z, or how far back: 6h"
            ) from None
        horizon = self.now - self.feed.settle
        if found > horizon and back is None:
            raise click.UsageError(
                f"--to {moment(found)} lies in the future; write {moment(horizon)} or before"
            )
        return floor_to(min(found, horizon), MILLISECOND)

    def part(self, state: FeedState, location: str | None, hub: str | None) -> Part:
        """Give what --location and --hub mean. Raises UsageError, listing what there is."""
        if location is not None and location not in state.locations:
            known = "".join(f"\n  {printable(name)}" for name in sorted(state.locations)) or " none"
            raise click.UsageError(f"{printable(location)!r} is no location of this state; there are:{known}")
        return Part(location, None if hub is None else self._hub_key(state, hub))

    def _hub_key(self, state: FeedState, wanted: str) -> str:
        """Give the key of a hub that the settings, or only the state, know."""
        keys = {hub.name.lower(): hub.key for hub in self.settings.hubs}
        keys |= {hub.key.lower(): hub.key for hub in self.settings.hubs}
        for location in state.locations.values():
            keys |= {key.lower(): key for key in (*location.checkpoints, *location.hubs)}
        if wanted.lower() not in keys:
            known = "".join(f"\n  {key}" for key in sorted(set(keys.values())))
            raise click.UsageError(f"{printable(wanted)!r} is none of the hubs; there are:{known}")
        return keys[wanted.lower()]

    def require_positions(self, state: FeedState, part: Part, *, but_takeover: bool = False) -> None:
        """Raise UsageError where there is no position to change."""
        if part.checkpoints(state) or but_takeover:
            return
        if state.takeover is not None and state.takeover.at is None:
            raise click.UsageError(
                "there is no position yet: the next run takes over the earlier forwarder's; `state reset` of "
                "the whole feed leaves that, to begin at START_FROM"
            )
        raise click.UsageError(
            "there is no position of that yet; it begins at START_FROM, so set that instead"
        )

    def require_known(self, state: FeedState, name: str) -> None:
        """Raise UsageError where discovery, the settings and the state know no location of that name."""
        listed = {place.name for place in state.discovery.places} if state.discovery else set()
        known = listed | state.locations.keys() | {*self.feed.locations}
        if name not in known:
            names = "".join(f"\n  {printable(found)}" for found in sorted(known))
            raise click.UsageError(f"{printable(name)!r} is no location that is known; there are:{names}")

    def names(self, hubs: Sequence[str]) -> str:
        known = {hub.key: hub.name for hub in self.settings.hubs}
        return ", ".join(known.get(key, key) for key in hubs)

    def tell(
        self, before: FeedState, after: FeedState, *, never: str = "nothing of it is read again"
    ) -> None:
        """Say what the change means: what is sent again, with which ids, and what never."""
        found = effects(before, after, self.start)
        if found:
            columns = [
                Column("location"),
                Column("hubs"),
                Column("done until (UTC)", whole=True),
                Column("becomes", whole=True),
                Column("sent again", whole=True),
                Column("never sent", whole=True),
                Column("readings, about", number=True),
            ]
            self.out.show(table(columns, [self._row(effect) for effect in found]))
        if any(effect.again for effect in found):
            self.out.show("sent again: all that the source still shows of it, with the same message ids")
        if any(effect.never for effect in found):
            self.out.show(f"never sent: {never}")
        if any(effect.after is None for effect in found):
            self.out.show(f"START_FROM: where the next run begins, {moment(self.start)} if it ran now")
        if before.takeover and before.takeover.at is None and before.takeover != after.takeover:
            position, source = moment(before.takeover.position), before.takeover.source
            self.out.show(f"the earlier forwarder's position {position} from {source} is not taken over")

    def _row(self, effect: Effect) -> list[object]:
        return [
            effect.location,
            self.names(effect.hubs),
            moment(effect.before),
            "START_FROM" if effect.after is None else moment(effect.after),
            _stretch(effect.again),
            _stretch(effect.never),
            effect.readings,
        ]

    def save(self, lock: RunLock, before: FeedState, after: FeedState, backup: Path | None) -> None:
        """Write an export of what there was, then the state as it is to be."""
        if before != FeedState():
            kept = backup or self._backup_path()
            write_new(kept, exported(self.name, before))
            self.out.show(f"what there was is kept in {kept}")
        self._require(lock)
        self.store.save(self.name, after, changed(before, after))
        self.out.show(text(f"{dashed(self.feed.name)}: done, {summed_up(after)}", "bold"))

    def set_aside(self, lock: RunLock) -> None:
        self._require(lock)
        for place in self.store.set_aside(self.name):
            self.out.show(f"what there was is kept: {place}")

    def _require(self, lock: RunLock) -> None:
        if not lock.held():
            raise LockLost(f"state: {self.name}: the run lock was lost; nothing was done, try again")

    def _backup_path(self) -> Path:
        name = f"{self.name}.{documents.file_stamp(utc_now())}.json"
        if self.settings.state.store == "table":
            return Path(name)
        return Path(self.settings.state.directory) / "backups" / name


def loaded(bench: Bench) -> tuple[FeedState, StateDamaged | None]:
    """Give the state there is, or an empty one and what is wrong with it."""
    try:
        return bench.store.load(bench.name), None
    except StateDamaged as error:
        return FeedState(), error


def exported(name: str, state: FeedState) -> bytes:
    return documents.encode(documents.whole_document(name, state), indent=1) + b"\n"


def imported(file: Path, bench: Bench) -> FeedState:
    """Read an exported state of the feed. Raises StateDamaged for anything else."""
    try:
        content = file.read_bytes()
    except OSError as error:
        raise StateError(f"{file}: {error.strerror or error}; name a file that can be read") from error
    try:
        document = documents.decode(content)
        if "version" not in document:
            return FeedState(takeover=documents.takeover_from(document, str(file.absolute())))
        if document.get("name", bench.name) != bench.name:
            raise ValueError(f"it is the state {document['name']!r}, and this feed's is {bench.name!r}")
        return documents.whole_from(document)
    except ValueError as error:
        raise StateDamaged(
            f"{file}: cannot be imported: {error}; nothing was done, name a file of `state export`"
        ) from error


def write_new(path: Path, content: bytes) -> None:
    """Write a file that is not there yet, for its owner alone. Raises StateError."""
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        raise StateError(
            f"{path}: {error.strerror or error}; nothing was changed, name another file"
        ) from error


def summed_up(state: FeedState) -> str:
    ids = sum(
        len(found)
        for location in state.locations.values()
        for checkpoint in location.checkpoints.values()
        for found in checkpoint.ids.values()
    )
    least = state.least_position()
    done = "no position yet" if least is None else f"done until {moment(least)} everywhere"
    return f"{counted(len(state.locations), 'location')}, {done}, {counted(ids, 'id')}"


def _stretch(window: Slice | None) -> str | None:
    if window is None:
        return None
    how_long = span((window.end - window.start).total_seconds())
    return f"{moment(window.start)} to {moment(window.end)} ({how_long})"
