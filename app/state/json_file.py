"""The JSON store: one file a feed in one folder, readable by a person.

    <folder>/<name>.json                  the state
    <folder>/<name>.json.bak              the state before the last completed save
    <folder>/<name>.json.earlier          the earlier forwarder's file, as it was before the first save
    <folder>/<name>.lock, .lock.owner     the run lock, and who took it last; alone they mean nothing
    <folder>/<name>.json.damaged-<time>   what was set aside, and .json.bak.damaged-<time> its backup
    <folder>/history/<name>-<day>.jsonl   the reports of that day's runs, one a line
    <folder>/quarantine/<feed>/<id>.json  readings that a hub cannot take; those dealt with in replayed/

`app/base/files.py` says how each is written: at each instant there is a whole state under the name
or, for the state before, under its backup's.
"""

from __future__ import annotations

import bisect
import glob
import itertools
import json
import os
import shlex
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import replace
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Any, BinaryIO

import filelock

from app.base.checkpoints import Discovery, FeedState
from app.base.collector import uncollected
from app.base.errors import LockHeld, LockLost, StateDamaged, StateError
from app.base.files import FILES, STATE_ADVICE, Files, explained
from app.base.instants import format_time, parse_time, utc_now
from app.base.readings import JsonObject, QuarantinedReading
from app.base.shards import WHOLE, Shard
from app.state import document as documents
from app.state.state_text import document_in, whole_text
from app.state.store import RunLock, all_but_damaged

# What the earlier forwarder wrote for whichever feed it served.
_EARLIER_FILE = "state.json"
# What is read of so large a file takes longer to look through than all else that a process has.
_MUCH_BYTES = 32 * 1024**2


class JsonFileStore:
    """A `MendableStore` in a folder, which is made where it is missing (mode 0700; files 0600).

    Every save writes the whole feed, so `changed` makes no difference; no location is ever in
    conflict or too large. An instance whose lock was taken from it raises LockLost instead, as it would
    write over all that another run did. Meant for some 500 locations.
    """

    def __init__(
        self, directory: str | Path, *, now: Callable[[], datetime] = utc_now, files: Files = FILES
    ) -> None:
        self._directory = Path(directory)
        self._now = now
        self._files = files
        self._locks: dict[str, _FileRunLock] = {}
        # Folders of quarantine from which what a killed run left is removed.
        self._swept: set[Path] = set()
        # Names in folders of quarantine, sorted: an answer may hold thousands of readings to look up.
        self._names: dict[Path, list[str]] = {}
        self.place = str(self._directory)

    def load(self, name: str, shard: Shard = WHOLE) -> FeedState:
        self._require_whole(shard)
        path = self._state_path(name)
        with _explained(path):
            file = _opened(path)
            if file is None:
                if _backup_of(path).exists():
                    raise StateDamaged(
                        f"state: {path}: the file is gone, its backup is still there; {_advice(path)}"
                    )
                return self._state_of_the_earlier_file()
            much = os.fstat(file.fileno()).st_size > _MUCH_BYTES
            with file, _refused(path, _advice(path)), uncollected(much=much):
                document = document_in(file)
                if "version" not in document:
                    return FeedState(takeover=documents.takeover_from(document, str(path)))
                return documents.whole_from(document)

    def outline(self, name: str) -> FeedState:
        state = self.load(name)
        outlines = {location: found.outline() for location, found in state.locations.items()}
        return replace(state, locations=outlines)

    def save(
        self,
        name: str,
        state: FeedState,
        changed: Collection[str],  # noqa: ARG002 - see the class
        shard: Shard = WHOLE,
    ) -> None:
        self._require_whole(shard)
        path = self._state_path(name)
        lock = self._locks.get(name)
        if lock is not None and not lock.held():
            raise LockLost(
                f"state: {path}: the run lock was lost; nothing was saved, the next run goes on without it"
            )
        with _explained(path):
            self._files.make_folder(self._directory)
            target = self._files.ordinary(path)
            with self._files.beside(target, whole_text(name, state)) as beside:
                if state.takeover is not None and state.takeover.source == str(path):
                    self._keep_earlier(path, target)
                if target.exists():
                    self._files.keep_as(target, _backup_of(path))
                self._files.replace(beside, target)
            self._files.flush_folder(target.parent)
            if target.parent != self._directory:
                self._files.flush_folder(self._directory)

    def keep_discovery(self, name: str, discovery: Discovery) -> None:
        self.save(name, replace(self.load(name), discovery=discovery), ())

    @contextmanager
    def lock(self, name: str, owner: str, shard: Shard = WHOLE) -> Iterator[RunLock]:
        """Hold the feed's file lock, which the operating system drops when the process ends."""
        self._require_whole(shard)
        path = self._directory / f"{name}.lock"
        sidecar = path.with_name(f"{path.name}.owner")
        # Not thread-local: the lanes ask `held` from threads of their own.
        lock = filelock.FileLock(path, timeout=0, mode=0o600, thread_local=False, fallback_to_soft=False)
        with _explained(path):
            self._files.make_folder(self._directory)
            # The lock opens what is there: root's would be nobody else's.
            self._files.touch(path)
            try:
                lock.acquire()
            except filelock.Timeout:
                raise LockHeld(
                    f"state: {path}: another run works on this feed ({_owner_in(sidecar)}); "
                    "try again when it has ended: nothing was done"
                ) from None
        held = self._locks[name] = _FileRunLock(lock, path)
        try:
            self._remove_leftovers(name)
            # The text is for people and no proof of anything, so a run goes on without it.
            with suppress(OSError):
                self._files.write(sidecar, documents.encode(documents.lock_owner(owner, self._now())))
            yield held
        finally:
            del self._locks[name]
            with suppress(OSError):
                if held.held():
                    sidecar.unlink(missing_ok=True)
            with suppress(OSError):
                lock.release()

    def quarantine(self, name: str, item: QuarantinedReading) -> str:  # noqa: ARG002 - the item names its feed
        folder = self._quarantine_of(item.feed)
        path = folder / f"{documents.quarantine_key(item)}.json"
        with _explained(path):
            self._files.make_folder_within(self._directory, folder)
            if folder not in self._swept:
                # A run that was killed in the middle of it; its reading comes again with the next one. Once,
                # since each look goes through the whole folder, and an answer may hold thousands of such.
                self._files.remove_all_unfinished(folder)
                self._swept.add(folder)
            self._files.write(path, documents.quarantine_document(item))
        names = self._names.get(folder)
        if names is not None and path.name not in _beginning(path.name, names):
            bisect.insort(names, path.name)
        return str(path)

    def keep_report(self, name: str, report: JsonObject) -> None:
        began = parse_time(report["started"])
        path = self._history_path(name, began)
        with _explained(path):
            self._files.make_folder_within(self._directory, path.parent)
            is_new = not path.exists()
            self._files.append_line(path, documents.history_document(report))
            if is_new:
                self._forget_reports(name, report)

    def _forget_reports(self, name: str, report: JsonObject) -> None:
        oldest = documents.oldest_kept(report)
        if oldest is not None:
            first = self._history_path(name, oldest).name
            for found in self._history_files(name):
                if found.name < first:
                    found.unlink()

    def history(self, name: str, since: datetime) -> Iterator[dict[str, Any]]:
        oldest = self._history_path(name, since).name
        for path in self._history_files(name):
            if path.name < oldest:
                continue
            with _explained(path):
                lines = path.read_bytes().splitlines()
            reports = documents.reports_since(lines, since)
            yield from sorted(reports, key=lambda report: str(report["started"]))

    def set_aside(self, name: str) -> list[str]:
        path = self._state_path(name)
        stamp = documents.file_stamp(self._now())
        with _explained(path):
            found = [part for part in (path, _backup_of(path)) if part.exists()]
            # The earlier forwarder's file is read only where neither is there.
            found = found or [part for part in [self._directory / _EARLIER_FILE] if part.exists()]
            moved = []
            for part in found:
                aside = _free(part.with_name(f"{part.name}.damaged-{stamp}"))
                part.rename(aside)
                moved.append(str(aside))
            if moved:
                self._files.flush_folder(self._directory)
        return moved

    def remove(self, name: str) -> None:
        path = self._state_path(name)
        lock = self._directory / f"{name}.lock"
        # The backup goes first: alone it would be taken for the rest of a damaged state.
        found = [_backup_of(path), path, lock, lock.with_name(f"{lock.name}.owner")]
        with _explained(path):
            if any(part.exists() for part in found):
                for part in found:
                    part.unlink(missing_ok=True)
                self._files.flush_folder(self._directory)

    def quarantined(
        self,
        name: str,  # noqa: ARG002
        feed: str,
        reading_id: str | None = None,
    ) -> Iterator[tuple[str, QuarantinedReading]]:
        paths = self._kept_of(feed, reading_id)
        found = all_but_damaged(partial(_quarantined_in, path, feed) for path in paths)
        return (kept for kept in found if reading_id in (None, kept[1].id))

    def _kept_of(self, feed: str, reading_id: str | None) -> list[Path]:
        """Give the files of quarantine; for an id, of those that were there at the first look for one."""
        folder = self._quarantine_of(feed)
        if reading_id is None:
            return _listed(folder, "*.json")
        if folder not in self._names:
            self._names[folder] = [path.name for path in _listed(folder, "*.json")]
        begins = documents.quarantine_key_begins(reading_id)
        paths = [folder / name for name in _beginning(begins, self._names[folder])]
        # A replay may have taken some away since.
        return [path for path in paths if path.exists()]

    def release(self, name: str, feed: str, key: str) -> str:  # noqa: ARG002
        path = self._quarantine_of(feed) / f"{key}.json"
        with _explained(path):
            if not path.exists():
                raise StateError(f"state: {path}: no such reading in quarantine; see `quarantine list`")
            folder = path.parent / "replayed"
            self._files.make_folder_within(self._directory, folder)
            self._files.replace(path, folder / path.name)
            self._files.flush_folder(folder)
            self._files.flush_folder(path.parent)
        return str(folder / path.name)

    def probe(self) -> None:
        path = self._directory / "probe.json"
        with _explained(path):
            self._files.make_folder(self._directory)
            self._files.write(path, documents.encode({"probed": format_time(self._now())}))
            path.unlink()
            self._files.flush_folder(self._directory)

    def _require_whole(self, shard: Shard) -> None:
        if not shard.is_whole:
            raise StateError(
                f"state: {self._directory}: shard {shard} of a feed needs the table store, which hosts "
                "share; set STATE_STORE=table, or run the feed without shards"
            )

    def _state_path(self, name: str) -> Path:
        return self._directory / f"{name}.json"

    def _history_path(self, name: str, began: datetime) -> Path:
        return self._directory / "history" / f"{name}-{format_time(began)[:10]}.jsonl"

    def _history_files(self, name: str) -> list[Path]:
        return _listed(self._directory / "history", f"{name}-????-??-??.jsonl")

    def _quarantine_of(self, feed: str) -> Path:
        return self._directory / "quarantine" / feed

    def _state_of_the_earlier_file(self) -> FeedState:
        path = self._directory / _EARLIER_FILE
        text = _content(path)
        if text is None:
            return FeedState()
        with _refused(path, f"repair it, or move it away to begin at START_FROM: {path}"):
            return FeedState(takeover=documents.takeover_from(documents.decode(text), str(path)))

    def _remove_leftovers(self, name: str) -> None:
        """Remove what a run that was killed while it saved has left; only a holder of the lock may."""
        with suppress(OSError):
            for written in (f"{name}.json", f"{name}.lock.owner"):
                self._files.remove_unfinished(self._directory / written)

    def _keep_earlier(self, path: Path, target: Path) -> None:
        """Keep the earlier forwarder's file for good: the backup is overwritten by the save after this."""
        kept = path.with_name(f"{path.name}.earlier")
        text = None if kept.exists() else _content(target)
        with suppress(ValueError):
            if text is not None and "version" not in documents.decode(text):
                self._files.keep_as(target, kept)


class _FileRunLock:
    """A run lock that is held while the lock file under its name is the one that was locked."""

    def __init__(self, lock: filelock.BaseFileLock, path: Path) -> None:
        self._lock = lock
        self._path = path
        self._identity = _identity(path)

    def held(self) -> bool:
        # Somebody who removed the file lets another run lock a new one.
        return self._lock.is_locked and self._identity is not None and _identity(self._path) == self._identity


def files_of(directory: str | Path, name: str) -> list[Path]:
    """Give the files that hold a state and its history: what a feed under another name would not find."""
    folder = Path(directory)
    states = [folder / f"{name}.{suffix}" for suffix in ("json", "json.bak", "json.earlier")]
    days = sorted((folder / "history").glob(f"{glob.escape(name)}-????-??-??.jsonl"))
    return [*(path for path in states if path.exists()), *days]


def renaming_commands(directory: str | Path, name: str, other: str) -> list[str]:
    """Give the shell commands that give a feed's files another name; none overwrites a file."""
    folder = Path(directory)
    paths = files_of(directory, name)
    moves = [(path, path.with_name(other + path.name.removeprefix(name))) for path in paths]
    days = [path for path in paths if path.parent != folder]
    commands = [shlex.join(["mv", "-n", str(path), str(to)]) for path, to in moves if path.parent == folder]
    if days:
        start = shlex.quote(str(folder / "history" / f"{name}-"))
        to = shlex.quote(str(folder / "history" / f"{other}-"))
        commands.append(f'for day in {start}*.jsonl; do mv -n "$day" {to}"${{day#{start}}}"; done')
    return commands


def _advice(path: Path) -> str:
    backup = _backup_of(path)
    begin = "`state reset` moves it aside to start over at START_FROM"
    if backup.exists():
        return f"to go on from the save before, `state import` {backup}; {begin}"
    return f"`state import` a copy of yours; {begin}"


def _backup_of(path: Path) -> Path:
    return path.with_name(f"{path.name}.bak")


def _free(path: Path) -> Path:
    """Give the path, or one like it that nothing has: what was set aside is never overwritten."""
    return next(
        found
        for number in itertools.count()
        if not (found := path.with_name(f"{path.name}-{number}") if number else path).exists()
    )


def _content(path: Path) -> bytes | None:
    file = _opened(path)
    if file is None:
        return None
    with file:
        return file.read()


def _opened(path: Path) -> BinaryIO | None:
    try:
        return path.open("rb")
    except FileNotFoundError:
        return None


def _identity(path: Path) -> tuple[int, int] | None:
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_dev, found.st_ino


def _owner_in(sidecar: Path) -> str:
    try:
        return documents.owner_text(documents.decode(sidecar.read_bytes()))
    except (OSError, ValueError):
        return "it has not said which"


def _beginning(begins: str, names: Sequence[str]) -> Sequence[str]:
    """Give those of sorted names that begin so."""
    at = bisect.bisect_left(names, begins)
    return [*itertools.takewhile(lambda name: name.startswith(begins), itertools.islice(names, at, None))]


def _quarantined_in(path: Path, feed: str) -> tuple[str, QuarantinedReading]:
    with _explained(path), _refused(path, "repair it, or move it away"):
        item = documents.quarantined_from(path.read_bytes())
        if item.feed != feed:
            raise ValueError(f"it says that it is of the feed {item.feed}, and is among those of {feed}")
        return path.stem, item


@contextmanager
def _refused(path: Path, advice: str) -> Iterator[None]:
    try:
        yield
    except ValueError as error:
        broken = isinstance(error, json.JSONDecodeError | UnicodeDecodeError)
        reason = f"empty, cut short or no JSON ({error})" if broken else str(error)
        raise StateDamaged(f"state: {path}: cannot be read as state: {reason}; {advice}") from error


def _listed(folder: Path, pattern: str) -> list[Path]:
    """Give the files of a folder, by name; none where there is no folder. Raises StateError."""
    with _explained(folder):
        return sorted(folder.glob(pattern))


def _explained(path: Path) -> AbstractContextManager[None]:
    """Turn what the operating system refuses into a StateError that says what to do."""
    return explained(f"state: {path}", STATE_ADVICE, "check that disk")
