"""The list of the locations that discovery found, where it is too long for the record that it belongs to.

    places / <hash of the list>-0000   `doc0..` a part of the list as JSON

A record names its list by the hash, so that shards which know of the same one share its rows, and that a list
of which a part is missing is told from a whole one. Such a list counts as not known: it can be had again, by
asking for it. Rows are written before the record that names them. Who writes another list removes those that
no record names, if they are an hour old: so long a record of them may be on its way.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any, Final

from azure.core.exceptions import AzureError
from azure.data.tables import TableEntity

from app.base.checkpoints import Discovery, FeedState
from app.base.instants import format_time, parse_time
from app.base.shards import Shard
from app.state import document as documents
from app.state import table_rows
from app.state.records import of_kind
from app.state.table_calls import Tables, delete_row, etag_of

PLACES: Final = "places"
# What a record holds itself, of some 250 locations: each save of a run writes the record again, and
# each of its shards reads those of all.
_IN_THE_RECORD: Final = 64 * 1024
_ON_ITS_WAY: Final = timedelta(hours=1)
_NAMED_AS: Final = "listed"


@dataclass(frozen=True, slots=True)
class Listed:
    """What a record says of a list that is in rows of its own: its key, and what else a Discovery has."""

    at: datetime
    of: str
    key: str

    def noted_in(self, document: Mapping[str, Any]) -> dict[str, Any]:
        """Give a record's document that names the list. Who does not know of such rows reads of no list."""
        named = {"at": format_time(self.at), "of": self.of, "list": self.key}
        return {**document, "discovery": None, _NAMED_AS: named}

    @classmethod
    def named_in(cls, document: Mapping[str, Any]) -> Listed | None:
        """Read which list a record's document names. Raises ValueError where that cannot be read."""
        named = document.get(_NAMED_AS)
        # An earlier version puts its list beside the name of ours.
        if named is None or document.get("discovery") is not None:
            return None
        try:
            at, of, key = (of_kind(str, named[name]) for name in ("at", "of", "list"))
        except (KeyError, TypeError) as error:
            raise ValueError(f"{_NAMED_AS}: {error}") from error
        return cls(parse_time(at), of, key)


class PlaceLists:
    """The lists in a store's tables. What the service refuses is the SDK's AzureError."""

    def __init__(self, tables: Tables) -> None:
        self._tables = tables
        # What was read or written here, so that a list is not encoded again with each save.
        self._known: dict[str, list[tuple[Discovery, Listed]]] = {}
        self._is_new: set[str] = set()

    def written(self, name: str, document: Mapping[str, Any], discovery: Discovery | None) -> dict[str, Any]:
        """Give a record's document with the list in it, or else with its name, its rows being written."""
        document = {key: value for key, value in document.items() if key != _NAMED_AS}
        listed = self._listed(name, discovery) if discovery is not None else None
        return listed.noted_in(document) if listed else documents.with_discovery(document, discovery)

    def _listed(self, name: str, discovery: Discovery) -> Listed | None:
        known = self._known.setdefault(name, [])
        for found, listed in known:
            if found is discovery:
                return listed
        content = documents.places_text(discovery)
        if len(content) <= _IN_THE_RECORD:
            return None
        listed = Listed(discovery.at, discovery.of, _key_of(content))
        if listed.key not in {other.key for _, other in known}:
            for row in table_rows.part_rows(PLACES, content, key=f"{listed.key}-"):
                self._tables.put(name, row)
            self._is_new.add(name)
        known.append((discovery, listed))
        return listed

    def filled(
        self, name: str, records: Mapping[Shard, FeedState], named: Mapping[Shard, Listed], shard: Shard
    ) -> dict[Shard, FeedState]:
        """Give records with the lists that count for who loads a shard: its own, and the newest of all."""
        self._known[name] = []
        found = dict(records)
        by_key: dict[str, Discovery | None] = {}

        def fill(which: Shard) -> None:
            listed = named[which]
            if listed.key not in by_key:
                by_key[listed.key] = self._read(name, listed)
            places = by_key[listed.key]
            if places is not None:
                discovery = replace(places, at=listed.at, of=listed.of)
                self._known[name].append((discovery, listed))
                found[which] = replace(found[which], discovery=discovery)

        if shard in named:
            fill(shard)
        for other in sorted(named, key=lambda each: named[each].at, reverse=True):
            ats = [record.discovery.at for record in found.values() if record.discovery is not None]
            if ats and max(ats) >= named[other].at:
                break
            fill(other)
        return found

    def _read(self, name: str, listed: Listed) -> Discovery | None:
        """Read a list; None where its rows are not all there, or are not what was written."""
        # `.` follows on `-`.
        of_it = f"PartitionKey eq '{PLACES}' and RowKey ge '{listed.key}-' and RowKey lt '{listed.key}.'"
        with suppress(ValueError):
            content = b"".join(table_rows.joined(row, "doc") for row in self._tables.rows(name, of_it))
            if _key_of(content) == listed.key:
                return documents.places_from(content, listed.at, listed.of)
        return None

    def remove_others(self, name: str) -> None:
        """Where a list was written since the last call, remove those that no record names any more.

        What cannot be removed, or is too new for that, stays until there is another list.
        """
        if name not in self._is_new:
            return
        self._is_new.discard(name)
        with suppress(AzureError, ValueError):
            rows = list(self._tables.rows(name, f"PartitionKey eq '{PLACES}'", keys_only=True))
            records = self._tables.rows(name, f"PartitionKey eq '{table_rows.FEED}'")
            named = {listed.key for row in records if (listed := _named_in_row(row)) is not None}
            # By the service's clock: ours was written just now.
            now = max(map(_written_at, rows))
            for row in rows:
                is_named = str(row["RowKey"]).partition("-")[0] in named
                if not is_named and now - _written_at(row) > _ON_ITS_WAY:
                    delete_row(self._tables.client(name), row, etag_of(row))

    def forget(self, name: str) -> None:
        """Take nothing for written any more."""
        self._known.pop(name, None)


def _named_in_row(row: TableEntity) -> Listed | None:
    return Listed.named_in(documents.decode(table_rows.joined(row, "doc")))


def _written_at(row: TableEntity) -> datetime:
    written = row.metadata["timestamp"]
    if written is None:
        raise ValueError("a row without its time")
    return written


def _key_of(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()[:32]
