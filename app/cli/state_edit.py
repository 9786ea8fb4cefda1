"""One way to change a feed's state by hand: lock, load, say what it means, ask, export, save."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import click

from app.base.checkpoints import FeedState
from app.base.errors import LockLost, StateDamaged, StateError
from app.base.files import FILES, STATE_ADVICE, explained, own_descriptor
from app.base.instants import MILLISECOND, floor_to, parse_time, read_duration, utc_now
from app.base.text import as_people_write, counted, dashed, moment, printable
from app.cli.choices import find_feed, unknown_name
from app.cli.output import text
from app.cli.session import ALL_WELL, SOMETHING_WRONG, Session, confirmed
from app.cli.state_effects import asked, effects_parts
from app.feeds.feed import load_feed
from app.settings.schema import FeedSettings
from app.state import document as documents
from app.state.edits import Effect, Part, changed, effects
from app.state.state_text import whole_text
from app.state.store import RunLock


@dataclass(frozen=True, slots=True)
class Change:
    """What a state is to become, and what is said and asked before. None: it only goes aside, damaged.

    `said` stands above what the change means, `remarks` below; `never` says why what no hub is sent is
    not sent, and `unsent` what is asked of it. The question says how much is concerned, too.
    """

    after: FeedState | None
    question: str
    never: str = "nothing of it is read again"
    unsent: str = "will never reach"
    said: str = ""
    remarks: Sequence[str] = ()


@dataclass(frozen=True, slots=True)
class StateEdit:
    """One feed's state in a command's hands. `name` is its state name."""

    session: Session
    feed: FeedSettings
    name: str
    now: datetime

    @classmethod
    def begin(cls, feed: str, *, as_json: bool = False) -> StateEdit:
        """Read the settings, and find the feed. Nothing is loaded or locked yet."""
        session = Session.begin(as_json=as_json)
        found = find_feed(session.settings, feed)
        return cls(session, found, load_feed(found.name).state_name, floor_to(utc_now(), MILLISECOND))

    def load(self) -> FeedState:
        return self.session.store.load(self.name)

    def show(self, *parts: str) -> None:
        self.session.out.show(*parts)

    def carry_out(
        self,
        owner: str,
        change: Callable[[FeedState], Change | str],
        *,
        mend: Callable[[StateDamaged], Change] | None = None,
        backup: Path | None,
        yes: bool,
    ) -> int:
        """Do what `change` makes of the state there is, or `mend` of a damaged one; give the exit status.

        A text in place of a change says why nothing is to be done. Raises LockHeld; StateDamaged
        where nothing mends it.
        """
        if backup is not None and own_descriptor(backup) is not None:
            raise click.UsageError(f"--backup {backup} is not a file; name one: what there was is kept in it")
        with self.session.locked([self.name], owner) as [lock]:
            before, damage = FeedState(), None
            try:
                before = self.load()
                found = change(before)
            except StateDamaged as error:
                if mend is None:
                    raise
                damage, found = error, mend(error)
                self.session.out.show(text(str(error), "red"))
            if isinstance(found, str):
                self.show(found)
                return ALL_WELL
            felt = effects(before, before if found.after is None else found.after, self.start)
            self._tell(before, found, felt)
            names = self.session.name_hubs
            if not confirmed(asked(felt, names, never=found.unsent, act=found.question), yes=yes):
                return SOMETHING_WRONG
            if damage is not None:
                self._set_aside(lock)
            if found.after is not None:
                self._save(lock, before, found.after, backup)
        return ALL_WELL

    @property
    def start(self) -> datetime:
        """Give where a hub without a position would begin now."""
        start = self.session.settings.run.start_from
        return start if isinstance(start, datetime) else self.now - start

    def instant(self, written: str) -> datetime:
        """Read --to. Raises UsageError for what is no time, or lies after the horizon."""
        try:
            back = read_duration(written)
        except (ValueError, OverflowError):
            back = None
        try:
            found = parse_time(written, as_people_write) if back is None else self.now - back
        except (ValueError, OverflowError):
            raise click.UsageError(
                f"--to {printable(written)!r} is not a time; write 2026-03-02T12:00:00Z, or how far back: 6h"
            ) from None
        horizon = self.now - self.feed.settle
        if found > horizon and back is None:
            raise click.UsageError(
                f"--to {moment(found)} is in the future; write {moment(horizon)} or before"
            )
        return floor_to(min(found, horizon), MILLISECOND)

    def part(self, state: FeedState, location: str | None, hub: str | None) -> Part:
        """Give what --location and --hub mean. Raises UsageError, listing what there is."""
        if location is not None and location not in state.locations:
            raise unknown_name(location, sorted(state.locations), what="not a location of this state")
        return Part(location, None if hub is None else self._hub_key(state, hub))

    def _hub_key(self, state: FeedState, wanted: str) -> str:
        """Give the key of a hub that the settings, or only the state, know."""
        keys = {hub.name.lower(): hub.key for hub in self.session.settings.hubs}
        keys |= {hub.key.lower(): hub.key for hub in self.session.settings.hubs}
        for location in state.locations.values():
            keys |= {key.lower(): key for key in (*location.checkpoints, *location.hubs)}
        if wanted.lower() not in keys:
            raise unknown_name(wanted, sorted(set(keys.values())), what="not one of the hubs")
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
        raise click.UsageError("there is no position of that yet; set START_FROM instead, where it begins")

    def require_known(self, state: FeedState, name: str) -> None:
        """Raise UsageError where discovery, the settings and the state know no location of that name."""
        listed = {place.name for place in state.discovery.places} if state.discovery else set()
        known = listed | state.locations.keys() | {*self.feed.locations}
        if name not in known:
            raise unknown_name(name, sorted(known), what="not a known location")

    def _tell(self, before: FeedState, change: Change, found: Sequence[Effect]) -> None:
        """Say what the change means: what is sent again, with which ids, and what never."""
        if change.said:
            self.show(change.said)
        if found:
            self.session.out.show(*effects_parts(found, self.session.name_hubs))
        self.show(*self._meaning(before, change, found))
        self.session.out.show(*(text(remark, "yellow") for remark in change.remarks))

    def _meaning(self, before: FeedState, change: Change, found: Sequence[Effect]) -> Iterator[str]:
        if any(effect.again for effect in found):
            yield "sent again: all that the source still shows of it, with the same message ids"
        if any(effect.never for effect in found):
            yield f"never sent: {change.never}"
        if any(effect.more for effect in found):
            yield "sent now: what no hub had a position for, so that it was sent under neither name"
        if any(effect.after is None for effect in found):
            yield f"START_FROM: where the next run begins, {moment(self.start)} if it ran now"
        left = before.takeover
        if change.after and left and left.at is None and left != change.after.takeover:
            position = f"{moment(left.position)} from {left.source}"
            yield f"the earlier forwarder's position {position} is not taken over"

    def _save(self, lock: RunLock, before: FeedState, after: FeedState, backup: Path | None) -> None:
        """Write an export of what there was, then the state as it is to be."""
        if before != FeedState():
            kept = backup or self._backup_path()
            if backup is None and self.session.settings.state.store == "json":
                self._make_backup_folder(kept.parent)
            write_new(kept, exported(self.name, before))
            self.show(f"what there was is kept in {kept}")
        self._require(lock)
        self.session.store.save(self.name, after, changed(before, after))
        self.session.out.show(text(f"{dashed(self.feed.name)}: done, {summed_up(after)}", "bold"))

    def _make_backup_folder(self, folder: Path) -> None:
        with explained(str(folder), STATE_ADVICE, "nothing was changed, name a file with --backup"):
            FILES.make_folder_within(Path(self.session.settings.state.directory), folder)

    def _set_aside(self, lock: RunLock) -> None:
        self._require(lock)
        for place in self.session.store.set_aside(self.name):
            self.show(f"what there was is kept: {place}")

    def _require(self, lock: RunLock) -> None:
        if not lock.held():
            raise LockLost(f"state: {self.name}: the run lock was lost; try again, nothing was done")

    def _backup_path(self) -> Path:
        name = f"{self.name}.{documents.file_stamp(utc_now())}.json"
        if self.session.settings.state.store == "table":
            return Path(name)
        return Path(self.session.settings.state.directory) / "backups" / name


def exported(name: str, state: FeedState) -> bytes:
    return b"".join(whole_text(name, state)) + b"\n"


def imported(file: Path, state_name: str) -> FeedState:
    """Read an exported state of the feed. Raises StateDamaged for anything else."""
    try:
        content = file.read_bytes()
    except OSError as error:
        raise StateError(f"{file}: {error.strerror or error}; name a file that can be read") from error
    try:
        document = documents.decode(content)
        if "version" not in document:
            return FeedState(takeover=documents.takeover_from(document, str(file.absolute())))
        if document.get("name", state_name) != state_name:
            raise ValueError(f"it is the state {document['name']!r}, and this feed's is {state_name!r}")
        return documents.whole_from(document)
    except ValueError as error:
        raise StateDamaged(
            f"{file}: cannot be imported: {error}; name a file of `state export`, nothing was done"
        ) from error


def write_new(path: Path, content: bytes) -> None:
    """Write a file that is not there yet, or into a device or pipe. Raises StateError."""
    with explained(str(path), {}, "nothing was changed, name another file"):
        FILES.output(path, content, over=False)


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
