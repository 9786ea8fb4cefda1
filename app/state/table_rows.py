"""A feed's state as rows of a table, within what the service takes, and back."""

from __future__ import annotations

import base64
import hashlib
import itertools
import re
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Final

from azure.data.tables import EdmType, EntityProperty

from app.base.checkpoints import LocationState
from app.base.errors import StateError, StateTooLarge
from app.base.instants import format_time
from app.base.packed_ids import ID_LENGTH
from app.base.readings import QuarantinedReading
from app.base.shards import WHOLE, Shard
from app.state.document import (
    VERSION,
    check_version,
    decode,
    encode,
    location_document,
    location_from,
    quarantined_from,
)

# Azure Table Storage's limits: 64 KiB a property, 1 MiB a row, 1 KiB (512 characters) a key.
_PROPERTY_BYTES: Final = 64 * 1024
_ROW_BYTES: Final = 1_000_000  # names and the row's own fields need the rest
_KEY_CHARACTERS: Final = 400
_LONGEST_NAME: Final = 63
_NAME_SHOWN: Final = 100
# Azurite counts a row by its base64, so a part of a quarantined reading stays well below the limit.
_PROPERTIES_A_PART: Final = 11
_PACKED_ID_BYTES: Final = ID_LENGTH * 3 // 4
LOCATION: Final = "location"
FEED: Final = "feed"
LOCK: Final = "lock"


def row_key(location: str) -> str:
    """Write a location's name as a key, distinct for distinct names.

    Letters, digits and `-` stand for themselves, every other byte of its UTF-8 as `_` and two
    hexadecimal digits. A key that gets too long ends in `__` and a hash instead.
    """
    raw = location.encode("utf-8", "surrogatepass")
    escaped = re.sub(r"[^A-Za-z0-9-]", lambda found: f"_{ord(found[0]):02X}", raw.decode("latin-1"))
    if len(escaped) <= _KEY_CHARACTERS:
        return escaped
    return f"{escaped[: _KEY_CHARACTERS // 2]}__{hashlib.sha256(raw).hexdigest()}"


def name_in(key: str) -> str | None:
    """Read a location's name from its key; None where the key ends in a hash."""
    if "__" in key:
        return None
    raw = re.sub(r"_([0-9A-F]{2})", lambda found: chr(int(found[1], 16)), key)
    try:
        return raw.encode("latin-1").decode("utf-8", "surrogatepass")
    except ValueError:
        return None


def shard_key(shard: Shard, whole: str) -> str:
    """Write a shard as the key of its row, 2-of-8; the whole feed's is called `whole`."""
    return whole if shard.is_whole else f"{shard.number}-of-{shard.of}"


def shard_in(key: str, whole: str) -> Shard | None:
    """Read what `shard_key` wrote; None for any other key."""
    if key == whole:
        return WHOLE
    try:
        shard = Shard.parse(key.replace("-of-", "/", 1))
    except ValueError:
        return None
    return shard if key == shard_key(shard, whole) else None


def location_row(location: str, state: LocationState) -> dict[str, Any]:
    """Write a location as a row. Raises StateTooLarge where the service would not take it."""
    document = location_document(state)
    packed = bytearray()
    for group in document["groups"]:
        counts = {}
        for hour, text in group["ids"].items():
            ids = base64.urlsafe_b64decode(text)
            if len(ids) * 4 != len(text) * 3:
                raise StateError(f"state: {location!r}: ids that are not this forwarder's")
            packed += ids
            counts[hour] = len(ids) // _PACKED_ID_BYTES
        group["ids"] = counts
    text = encode({"version": VERSION, "name": location, **document})
    if len(text) + len(packed) > _ROW_BYTES:
        raise too_large(location, len(packed), len(text))
    keys = {"PartitionKey": LOCATION, "RowKey": row_key(location)}
    return keys | cut("doc", text) | cut("ids", bytes(packed))


def sent_bytes(row: Mapping[str, Any]) -> int:
    """Give how many bytes a row takes on its way, at most: as base64, with its names and headers."""
    return 4096 + sum(len(value) for value in row.values() if isinstance(value, bytes)) * 7 // 5


def name_beside(name: str, what: str) -> str:
    """Name a table that stands beside a feed's own, in the 63 characters that a name may have."""
    whole = f"{name}{what}"
    if len(whole) <= _LONGEST_NAME:
        return whole
    digest = hashlib.sha256(name.encode()).hexdigest()[:8]
    return f"{name[: _LONGEST_NAME - len(digest) - len(what)]}{digest}{what}"


def too_large(location: str, ids: int, others: int) -> StateTooLarge:
    """Make the error of a location whose ids, and what else is kept of it, take so many bytes."""
    advice = (
        "shorten the look-back, or resume or remove hubs that are far behind the others"
        if ids >= others
        else "remove hubs that are no longer used"
    )
    return StateTooLarge(
        f"state: {location[:_NAME_SHOWN]!r} needs {ids + others:,} bytes, {ids:,} of them ids, more "
        f"than the 1 MiB that a table row takes; {advice}, or set STATE_STORE=json where files last",
        [location],
    )


def location_from_row(row: Mapping[str, Any]) -> tuple[str, LocationState]:
    """Read a location's name and state. Raises ValueError, saying what cannot be read."""
    document = decode(joined(row, "doc"))
    check_version(document)
    location = document.get("name")
    if not isinstance(location, str) or row_key(location) != row["RowKey"]:
        raise ValueError(f"the row of {location!r} under another's key")
    packed = memoryview(joined(row, "ids"))
    try:
        for group in document["groups"]:
            for hour, count in group["ids"].items():
                size = count * _PACKED_ID_BYTES
                group["ids"][hour] = base64.urlsafe_b64encode(packed[:size]).decode()
                if len(packed) < size:
                    raise ValueError("fewer ids than it says")
                packed = packed[size:]
    except (KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"its groups have another shape ({error})") from error
    if packed:
        raise ValueError("more ids than it says")
    return location, location_from(document)


def feed_row(document: Mapping[str, Any], shard: Shard = WHOLE) -> dict[str, Any]:
    """Write what is said of the feed, by a run of all of it or by a shard, as a row of its own.

    Raises StateTooLarge where the service would not take it.
    """
    text = encode(document)
    if len(text) > _ROW_BYTES:
        raise feed_too_large(len(text))
    columns = {
        name: EntityProperty(value, EdmType.INT64) if isinstance(value, int) else value
        for name, value in document.items()
        if name in ("version", "last_fetch_timestamp", "total_events_sent", "total_duplicates_skipped")
        and value is not None
    }
    return {"PartitionKey": FEED, "RowKey": shard_key(shard, FEED)} | columns | cut("doc", text)


def feed_too_large(size: int) -> StateTooLarge:
    """Make the error of a feed's own row, which names no location: nothing was saved of the feed."""
    # What else is in it has bounds of its own.
    return StateTooLarge(
        f"state: what is kept of the feed needs {size:,} bytes, more than the 1 MiB that a table row takes, "
        "most of it what the last run said; remove hubs that are no longer used, or set STATE_STORE=json "
        "where files last",
        [],
    )


def part_rows(partition: str, content: bytes, *, key: str = "") -> list[dict[str, Any]]:
    """Write what a row may be too small for as several of a partition, in the order of their keys."""
    size = _PROPERTIES_A_PART * _PROPERTY_BYTES
    parts = [content[at : at + size] for at in range(0, len(content), size)]
    return [
        {"PartitionKey": partition, "RowKey": f"{key}{number:04}", "parts": len(parts)} | cut("doc", part)
        for number, part in enumerate(parts)
    ]


def quarantined_from_rows(rows: Sequence[Mapping[str, Any]]) -> QuarantinedReading:
    """Read a reading from its rows. Raises ValueError, saying what cannot be read."""
    rows = sorted(rows, key=lambda row: str(row["RowKey"]))
    if rows[0].get("parts") != len(rows):
        raise ValueError(f"{len(rows)} of {rows[0].get('parts')} parts")
    return quarantined_from(b"".join(joined(row, "doc") for row in rows))


def cut(name: str, content: bytes) -> dict[str, bytes]:
    starts = range(0, len(content), _PROPERTY_BYTES)
    return {f"{name}{number}": content[at : at + _PROPERTY_BYTES] for number, at in enumerate(starts)}


def with_document(row: Mapping[str, Any], document: Mapping[str, Any]) -> dict[str, Any]:
    """Give a row with another document in place of its own; all its other columns stay."""
    others = {name: value for name, value in row.items() if not re.fullmatch("doc[0-9]+", name)}
    return others | cut("doc", encode(document))


def joined(row: Mapping[str, Any], name: str) -> bytes:
    content = bytearray()
    for number in itertools.count():
        piece = row.get(f"{name}{number}", b"")
        if not isinstance(piece, bytes):
            raise ValueError(f"{name}{number} is not a binary property")
        if not piece:
            return bytes(content)
        content += piece
    raise AssertionError("a count that ended")


def plain(value: Any) -> Any:
    """Give a property as JSON would: the earlier forwarder's times came as dates or as texts."""
    if isinstance(value, EntityProperty):
        return value.value
    if isinstance(value, datetime):
        return format_time(value if value.tzinfo else value.replace(tzinfo=UTC))
    return value
