"""What source and hubs have of a feed's window, kept in a file while they are compared.

The file is a private temporary one of SQLite's, which nobody else can open and which is gone with
its connection: memory does not grow with the number of readings. Used from one thread only.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Collection, Iterable, Iterator, Sequence
from contextlib import closing, contextmanager
from datetime import datetime, timedelta
from typing import Any, Self, get_args

from app.audit.findings import Finding, Heading, HeldReading, Published
from app.base.errors import ForwarderError
from app.base.instants import EPOCH

# Nobody reads the file but this process, and nobody after it: nothing needs to survive a crash.
_PRAGMAS = "PRAGMA journal_mode = OFF; PRAGMA synchronous = OFF; PRAGMA cache_size = -16384;"
_SCHEMA = """
CREATE TABLE published (
    place INTEGER, us INTEGER, slot BLOB, id TEXT, held_as TEXT, written TEXT,
    PRIMARY KEY (place, us, slot, id)
) WITHOUT ROWID;
CREATE TABLE held (
    hub INTEGER, place INTEGER, us INTEGER, slot BLOB, id TEXT, written TEXT, times INTEGER,
    first INTEGER, last INTEGER, enqueued INTEGER, message_id TEXT,
    PRIMARY KEY (hub, place, us, slot, id)
) WITHOUT ROWID;
CREATE TABLE found (
    number INTEGER PRIMARY KEY, hub INTEGER, heading INTEGER, place INTEGER, us INTEGER, written TEXT,
    id TEXT, times INTEGER, held TEXT, cause TEXT, due INTEGER, enqueued INTEGER, repaired INTEGER,
    stuck INTEGER
);
CREATE INDEX found_by ON found (hub, heading, place, us);
CREATE TABLE seen (hub INTEGER, event BLOB, PRIMARY KEY (hub, event)) WITHOUT ROWID;
"""
# An event that comes again adds to what is there; the order of arrival tells which version is newest.
_HOLD = """
INSERT INTO held VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11) ON CONFLICT DO UPDATE SET
    times = times + ?12, first = min(first, excluded.first), last = max(last, excluded.last),
    enqueued = min(enqueued, excluded.enqueued), message_id = coalesce(message_id, excluded.message_id)
"""
_PUBLISH = "INSERT OR IGNORE INTO published VALUES (?, ?, ?, ?, ?, ?)"
_PUBLISHED = "SELECT place, us, slot, id, held_as, written FROM published ORDER BY place, us, slot"
_HELD = """
SELECT place, us, slot, id, written, times, first, last, enqueued, message_id FROM held
WHERE hub = ? ORDER BY place, us, slot
"""
_FIND = "INSERT INTO found VALUES (NULL, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
_FOUND = "place, us, written, id, times, held, cause, due, enqueued, repaired, stuck FROM found"
_AT_ONCE = 1_000
_HEADINGS: tuple[Heading, ...] = get_args(Heading)
_MICROSECOND = timedelta(microseconds=1)


class ComparisonFile:
    """Readings of `places` (locations) and `hubs` (keys), each by its place in these sequences.

    `places` are sorted. A context manager; what it gave is no longer to be had after it.
    Every method raises ForwarderError where the file cannot be written.
    """

    def __init__(self, places: Sequence[str], hubs: Sequence[str]) -> None:
        self._places = places
        self._hubs = hubs
        self._place_of = {name: number for number, name in enumerate(places)}
        self._hub_of = {key: number for number, key in enumerate(hubs)}
        self._waiting: dict[str, list[Sequence[Any]]] = {}
        # No name: a private file that is removed as it is opened.
        self._file = sqlite3.connect("", isolation_level=None)
        # One transaction to the end, which nobody wants to be kept.
        self._file.executescript(f"{_PRAGMAS} {_SCHEMA} BEGIN;")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def publish(self, reading: Published) -> None:
        """Note what the source shows; once more changes nothing."""
        self._add(_PUBLISH, (*self._key(reading), reading.held_as, reading.written))

    def hold(self, hub: str, reading: HeldReading, *, repeats: bool = True) -> None:
        """Note what a hub holds; once more adds one to its `times`, unless it is none that `repeats`."""
        came = reading.times, reading.first, reading.last, _us(reading.enqueued), reading.message_id
        self._add(_HOLD, (self._hub_of[hub], *self._key(reading), reading.written, *came, int(repeats)))

    def is_new(self, hub: str, event: bytes) -> bool:
        """Note an event by a digest; whether it came for the first time."""
        with _explained():
            row = (self._hub_of[hub], event)
            return self._file.execute("INSERT OR IGNORE INTO seen VALUES (?, ?)", row).rowcount > 0

    def published(self) -> Iterator[Published]:
        """Give what the source shows, sorted by location, time and slot."""
        for place, us, slot, *told in self._rows(_PUBLISHED):
            yield Published(self._places[place], slot, _instant(us), *told)

    def held(self, hub: str) -> Iterator[HeldReading]:
        """Give what a hub holds, sorted in the same way."""
        for place, us, slot, *told, enqueued, message_id in self._rows(_HELD, self._hub_of[hub]):
            told += _instant_or_none(enqueued), message_id
            yield HeldReading(self._places[place], slot, _instant(us), *told)

    def find(self, hub: str, finding: Finding) -> None:
        """Keep a finding of the comparison with a hub."""
        under = self._hub_of[hub], _HEADINGS.index(finding.heading), self._place_of[finding.location]
        held = finding.times, finding.held
        why = finding.cause, finding.due, _us(finding.enqueued), finding.repaired, finding.stuck
        self._add(_FIND, (*under, _us(finding.time), finding.written, finding.id, *held, *why))

    def findings(self, hub: str, heading: Heading) -> Collection[Finding]:
        """Give what stands under a heading, sorted by location and time, as it is whenever it is read."""
        return _Findings(self, hub, heading)

    def by_reading(self) -> Iterator[tuple[str, Finding]]:
        """Give all findings with their hubs, by location and time; those of a reading follow one another."""
        unknown = _HEADINGS.index("unknown")
        asked = f"SELECT hub, heading, {_FOUND} ORDER BY place, us, heading = {unknown}, id, hub, number"
        for hub, heading, *row in self._rows(asked):
            yield self._hubs[hub], self._finding(_HEADINGS[heading], row)

    def missing_at(self, hub: str, location: str) -> list[Finding]:
        """Give what a hub lacks of one location, by time."""
        return list(self._found(hub, "missing", self._place_of[location]))

    def repaired(self, hub: str, location: str, sent: Iterable[tuple[datetime, str]]) -> None:
        """Note that missing readings, told by time and id, have been sent."""
        of = self._hub_of[hub], _HEADINGS.index("missing"), self._place_of[location]
        self._write_all()
        with _explained():
            self._file.executemany(
                "UPDATE found SET repaired = 1 "
                "WHERE hub = ? AND heading = ? AND place = ? AND us = ? AND id = ?",
                [(*of, _us(time), reading_id) for time, reading_id in sent],
            )

    def count(self, hub: str, heading: Heading) -> int:
        asked = "SELECT count(*) FROM found WHERE hub = ? AND heading = ?"
        return int(next(self._rows(asked, self._hub_of[hub], _HEADINGS.index(heading)))[0])

    def _found(self, hub: str, heading: Heading, place: int | None = None) -> Iterator[Finding]:
        asked = (
            f"SELECT {_FOUND} "
            "WHERE hub = ? AND heading = ? AND place >= ? AND place <= ? ORDER BY place, us, number"
        )
        places = (0, len(self._places)) if place is None else (place, place)
        for row in self._rows(asked, self._hub_of[hub], _HEADINGS.index(heading), *places):
            yield self._finding(heading, row)

    def _finding(self, heading: Heading, row: Sequence[Any]) -> Finding:
        place, us, *told, due, enqueued, repaired, stuck = row
        told += bool(due), _instant_or_none(enqueued), bool(repaired), bool(stuck)
        return Finding(heading, self._places[place], _instant(us), *told)

    def _key(self, reading: Published | HeldReading) -> tuple[int, int | None, bytes, str]:
        return self._place_of[reading.location], _us(reading.time), reading.slot, reading.id

    def _add(self, statement: str, row: Sequence[Any]) -> None:
        waiting = self._waiting.setdefault(statement, [])
        waiting.append(row)
        if len(waiting) >= _AT_ONCE:
            self._write(statement)

    def _write(self, statement: str) -> None:
        rows = self._waiting.pop(statement)
        with _explained():
            self._file.executemany(statement, rows)

    def _write_all(self) -> None:
        for statement in list(self._waiting):
            self._write(statement)

    def _rows(self, asked: str, *values: object) -> Iterator[Sequence[Any]]:
        self._write_all()
        with _explained(), closing(self._file.execute(asked, values)) as rows:
            yield from rows


class _Findings(Collection[Finding]):
    """Findings that are read from the file whenever they are gone through."""

    def __init__(self, file: ComparisonFile, hub: str, heading: Heading) -> None:
        self._file = file
        self._hub = hub
        self._heading = heading

    def __iter__(self) -> Iterator[Finding]:
        return self._file._found(self._hub, self._heading)  # noqa: SLF001 - one thing in two classes

    def __len__(self) -> int:
        return self._file.count(self._hub, self._heading)

    def __contains__(self, finding: object) -> bool:
        return any(found == finding for found in self)


def _us(instant: datetime | None) -> int | None:
    return None if instant is None else (instant - EPOCH) // _MICROSECOND


def _instant(us: int) -> datetime:
    return EPOCH + timedelta(microseconds=us)


def _instant_or_none(us: int | None) -> datetime | None:
    return None if us is None else _instant(us)


@contextmanager
def _explained() -> Iterator[None]:
    try:
        yield
    except sqlite3.Error as error:
        raise ForwarderError(
            f"audit: the temporary file that readings are compared in cannot be used: {error}; free space in "
            "the folder for temporary files, or name another one in TMPDIR, and try again"
        ) from error
