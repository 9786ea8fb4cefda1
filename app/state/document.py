"""The state document: what is kept of a feed, as JSON, and how it is read back.

A document a (feed, location), JSON types only:

    {"last_listed", "newest", "error", "since",
     "groups": [{"hubs": [key], "delivered_until", "known_from", "newest", "ids": {hour: joined ids}}],
     "hubs": {key: {"events", "readings", "duplicates", "last_success", "error", "since",
                    "start"}},
     "gaps": [{"from", "to", "cause", "found", "hubs"}],
     "begun", "compared", "seals": [{"hubs": [key], "hours": {hour: seal}}],
     "sensors": [{"tags", "last", "longest_s"}]}

A seal is `readings:keys:contents`, the fingerprints in hexadecimal, no contents where there is no
fingerprint of them; `-` for an hour that cannot be proved. Hubs whose position and ids are
equal share one entry of `groups`, those whose seals are equal one of `seals`. Ids are 16
characters each, sorted and joined into one text an hour; an hour without ids is left out. Times
keep milliseconds. A whole feed is what is said of it, its `name`, and `locations` by their names:
the JSON store's file, and an export. What cannot be read is a ValueError that says which part and
why; a store makes a StateDamaged of it, with its place and advice.
"""

from __future__ import annotations

import functools
import hashlib
import json
import math
import os
import re
import socket
from collections.abc import Iterable, Iterator, Mapping, Set
from contextlib import contextmanager, suppress
from datetime import UTC, datetime, timedelta
from functools import partial
from operator import itemgetter
from typing import Any, TypeVar

from app.base import exact_json, fast_json
from app.base.checkpoints import (
    Checkpoint,
    Discovery,
    Drift,
    FeedState,
    Gap,
    HubRecord,
    LocationState,
    Place,
    Seal,
    Seals,
    SeenKey,
    Sensor,
    Takeover,
)
from app.base.instants import format_time, parse_time
from app.base.packed_ids import ID_LENGTH, PackedIds, are_of_ids
from app.base.readings import JsonObject, QuarantinedReading, Slice
from app.base.shards import WHOLE, Shard
from app.base.text import shown
from app.quality.bounds import OWNER_BYTES, error_kept, sensor_of, shortened
from app.state.records import (
    FLAG,
    INSTANT,
    NUMBER,
    POSITION,
    TEXT,
    Field,
    Record,
    in_reach,
    keyed,
    of_kind,
    several,
    texts_from,
)

VERSION = 1
# How deep is read by the library that is quick.
_DEEPEST = 100
# Stands for the seal of an hour whose ids are no picture of it.
_MARK = "-"
# A month of runs answers what is asked about last week, and of a month's report. A run in which everything
# fails has much to say: its lists are cut where its report would take more than this.
HISTORY_KEPT = timedelta(days=30)
_HISTORY_BYTES = 256 * 1024
# What the earlier forwarder called its one position and its total, the later name first.
_EARLIER_POSITIONS = ("last_fetch_timestamp", "last_fetch_time")
_EARLIER_TOTALS = ("total_events_sent", "total_snapshots_sent")

_Found = TypeVar("_Found")


def ids_text(ids: Set[str]) -> str:
    """Write ids. Raises ValueError for what is none, which could not be read again."""
    return (ids if isinstance(ids, PackedIds) else ids_from("".join(sorted(ids)))).text


def ids_from(text: str) -> PackedIds:
    if len(text) % ID_LENGTH:
        raise ValueError(f"{len(text)} characters of ids, no multiple of {ID_LENGTH}")
    if not are_of_ids(text):
        raise ValueError("ids with characters that no id has")
    return PackedIds(text)


def location_document(location: LocationState) -> dict[str, Any]:
    """Write a location as its JSON document."""
    return _LOCATION.document(location)


def location_from(document: Mapping[str, Any]) -> LocationState:
    """Read a location's document. Raises ValueError, saying which part cannot be read."""
    with _reading("location"):
        location: LocationState = _LOCATION.value(document)
    return location


def feed_document(state: FeedState) -> dict[str, Any]:
    """Write what is said of the whole feed, locations left out."""
    return {
        "version": VERSION,
        "last_fetch_timestamp": _INSTANT_OR_NONE.write(state.least_position()),
        "total_events_sent": state.total_events(),
        "total_duplicates_skipped": state.total_duplicates(),
        **_FEED.document(state),
    }


def with_discovery(document: Mapping[str, Any], discovery: Discovery | None) -> dict[str, Any]:
    """Give what `feed_document` wrote with what discovery found now, and nothing else changed."""
    return {**document, "discovery": _FEED.document(FeedState(discovery=discovery))["discovery"]}


def places_text(discovery: Discovery) -> bytes:
    """Write which locations discovery found; the same list is the same text, whenever it was asked for."""
    return encode(_PLACES.document(discovery))


def places_from(text: bytes, at: datetime, of: str) -> Discovery:
    """Read what `places_text` wrote. Raises ValueError, saying what cannot be read."""
    with _reading("list of locations"):
        found: Discovery = _PLACES.value(decode(text), at=at, of=of)
    return found


def feed_from(document: Mapping[str, Any], locations: Mapping[str, LocationState]) -> FeedState:
    """Read what `feed_document` wrote. Raises ValueError, saying which part cannot be read."""
    check_version(document)
    with _reading("feed"):
        feed: FeedState = _FEED.value(document, locations=locations)
    return feed


def whole_document(name: str, state: FeedState) -> dict[str, Any]:
    """Write the whole state of a feed, `name` being its state name."""
    locations = {key: location_document(location) for key, location in sorted(state.locations.items())}
    return {"name": name, **feed_document(state), "locations": locations}


def whole_from(document: Mapping[str, Any]) -> FeedState:
    """Read what `whole_document` wrote, and use it up. Raises ValueError, saying what cannot be read."""
    check_version(document)
    documents = document.get("locations")
    if not isinstance(documents, dict):
        raise ValueError("lacks its locations")
    locations = {}
    # What has been read of it is needed no more: the document of a large state is as large.
    for key in list(documents):
        try:
            locations[key] = location_from(documents.pop(key))
        except ValueError as error:
            raise ValueError(f"{key!r}: {error}") from error
    return feed_from(document, locations)


def check_version(document: Mapping[str, Any]) -> None:
    """Raise ValueError unless the document is of the version that is read and written here."""
    version = document.get("version")
    if type(version) is not int or version < 1:
        raise ValueError(f"version {version!r} is not one of this forwarder's")
    if version > VERSION:
        raise ValueError(f"version {version} was written by a newer forwarder, this one reads {VERSION}")


def takeover_from(document: Mapping[str, Any], source: str) -> Takeover:
    """Read a state of the earlier forwarder: no version, one position, totals under several names.

    Times without a zone are UTC. Raises ValueError where it has no position.
    """
    position = next((document[name] for name in _EARLIER_POSITIONS if document.get(name)), None)
    if not isinstance(position, str):
        raise ValueError("no version, and no last_fetch_timestamp of the earlier forwarder")
    with _reading("the earlier forwarder's state"):
        sent = next((document[name] for name in _EARLIER_TOTALS if document.get(name)), 0)
        skipped = document.get("total_duplicates_skipped") or 0
        return Takeover(in_reach(parse_time(position)), source, int(sent), int(skipped))


def encode(document: Any, *, indent: int | None = None) -> bytes:
    """Write a document as UTF-8 JSON, readable by a person where `indent` is given."""
    try:
        return json.dumps(document, ensure_ascii=False, allow_nan=False, indent=indent).encode()
    except UnicodeEncodeError:
        # A lone surrogate is legal in JSON only as an escape.
        return json.dumps(document, ensure_ascii=True, allow_nan=False, indent=indent).encode()


def decode(text: bytes) -> dict[str, Any]:
    """Read one JSON object, each key once, a BOM skipped. Raises ValueError for anything else."""
    try:
        document = fast_json.loads(text, deepest=_DEEPEST, floats=True)
    except fast_json.Unsure:
        document = _decode_strictly(text)
    if not isinstance(document, dict):
        raise ValueError(f"a {type(document).__name__}, no object")
    return document


def _decode_strictly(text: bytes) -> Any:
    try:
        return json.loads(
            text.decode("utf-8-sig"),
            object_pairs_hook=_object,
            parse_float=_finite,
            parse_constant=_finite,
        )
    except RecursionError:
        raise ValueError("nested too deeply") from None


def file_stamp(instant: datetime) -> str:
    """Write an instant for the name of a file: `20260302T120000.000Z`."""
    return f"{instant.astimezone(UTC):%Y%m%dT%H%M%S}.{instant.microsecond // 1000:03}Z"


def oldest_kept(report: JsonObject) -> datetime | None:
    """Give when the oldest report began that is kept beside this one; None where all are."""
    until = report.get("until", report["started"])
    return parse_time(until) - HISTORY_KEPT if until else None


def history_document(report: JsonObject) -> bytes:
    """Write a report for the history on one line, its lists cut to 100 entries, or fewer if that is long.

    Where a single entry is too long, its texts and lists are cut too.
    """
    for most in (100, 10, 1):
        cut = {name: value[:most] if isinstance(value, list) else value for name, value in report.items()}
        text = encode(cut)
        if len(text) <= _HISTORY_BYTES:
            return text
    return encode(_cut(cut))


def _cut(value: Any) -> Any:
    match value:
        case str():
            return error_kept(value)
        case list() | tuple():
            return [_cut(member) for member in value[:100]]
        case Mapping():
            return {name: _cut(member) for name, member in value.items()}
    return value


def reports_since(texts: Iterable[bytes], since: datetime) -> Iterator[dict[str, Any]]:
    """Give the reports of a history that can be read, of runs that began at `since` or later."""
    for text in texts:
        with suppress(ValueError, KeyError, TypeError):
            report = decode(text)
            if parse_time(of_kind(str, report["started"])) >= since:
                yield report


def lock_owner(owner: str, now: datetime, shard: Shard = WHOLE) -> dict[str, Any]:
    """Say who holds a run lock, for people to read."""
    said = {"owner": owner, "host": socket.gethostname(), "pid": os.getpid(), "since": format_time(now)}
    return said if shard.is_whole else said | {"shard": str(shard)}


def owner_text(found: Mapping[str, Any]) -> str:
    shard = f", shard {found['shard']}" if "shard" in found else ""
    who = f"{found.get('owner')} on {found.get('host')}, process {found.get('pid')}{shard}"
    return f"{who}, since {found.get('since')}"


def quarantine_key(item: QuarantinedReading) -> str:
    """Name a quarantined reading by its id, and a hash of its feed, location and hubs.

    The name has letters, digits, `_` and `-` only, whatever the id holds. The hash tells the
    names apart where letter case does not.
    """
    whole = json.dumps([item.id, item.feed, item.location, sorted(item.hubs)])
    digest = hashlib.sha256(whole.encode()).hexdigest()[:12]
    return f"{quarantine_key_begins(item.id)}{digest}"


def quarantine_key_begins(reading_id: str) -> str:
    """Give what the keys of a reading of that id begin with; those of others may, too."""
    return f"{re.sub(r'[^A-Za-z0-9_-]', '_', reading_id)[:64]}-"


def quarantine_document(item: QuarantinedReading) -> bytes:
    """Write a quarantined reading for a person to look at, its numbers as exact as they came."""
    document = _QUARANTINED.document(item)
    try:
        reading = exact_json.loads(item.text)
        return exact_json.dumps(document | {"reading": reading}, indent=1)
    except exact_json.NotJson:
        return encode(document | {"reading": item.text.decode("utf-8", "backslashreplace")}, indent=1)


def quarantined_from(text: bytes) -> QuarantinedReading:
    """Read what `quarantine_document` wrote. Raises ValueError, saying what cannot be read."""
    document = exact_json.loads(text)
    with _reading("quarantined reading"):
        item: QuarantinedReading = _QUARANTINED.value(document, text=exact_json.dumps(document["reading"]))
    return item


@contextmanager
def _reading(part: str) -> Iterator[None]:
    """Make one kind of refusal of whatever a document of another shape leads to."""
    try:
        yield
    except KeyError as error:
        raise ValueError(f"{part}: lacks {error}") from error
    except (TypeError, ValueError, AttributeError, OverflowError) as error:
        raise ValueError(f"{part}: {error}") from error


def _finite(text: str) -> float:
    """Read a number; NaN, Infinity and what no float holds (1e400) could not be written again."""
    found = float(text)
    if not math.isfinite(found):
        raise ValueError(f"the number {text[:40]}, which nothing here is")
    return found


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("an object holds a key twice")
    return found


# --- what has a form of its own -----------------------------------------------------------------------


def _alike(found: Mapping[str, _Found]) -> list[tuple[list[str], _Found]]:
    """Give what hubs have, each with the keys of those that have the same, in the order of the keys."""
    groups: list[tuple[list[str], _Found]] = []
    for key, value in sorted(found.items()):
        for hubs, known in groups:
            if known == value:
                hubs.append(key)
                break
        else:
            groups.append(([key], value))
    return groups


def _groups_document(checkpoints: Mapping[str, Checkpoint]) -> list[dict[str, Any]]:
    return [{"hubs": hubs, **_CHECKPOINT.document(known)} for hubs, known in _alike(checkpoints)]


def _checkpoints_from(groups: list[Mapping[str, Any]]) -> dict[str, Checkpoint]:
    checkpoints: dict[str, Checkpoint] = {}
    for group in of_kind(list, groups):
        checkpoint = _CHECKPOINT.value(group)
        for hub in of_kind(list, group["hubs"]):
            if checkpoints.setdefault(of_kind(str, hub), checkpoint) is not checkpoint:
                raise ValueError(f"the hub {hub!r} is in two groups")
    return checkpoints


def _seals_document(seals: Mapping[str, Seals]) -> list[dict[str, Any]]:
    return [
        {"hubs": hubs, "hours": {_hour_text(hour): _seal_text(seal) for hour, seal in sorted(known.items())}}
        for hubs, known in _alike(seals)
    ]


def _seals_from(groups: list[Mapping[str, Any]]) -> dict[str, Seals]:
    seals: dict[str, Seals] = {}
    for group in of_kind(list, groups):
        written = of_kind(dict, group["hours"]).items()
        hours = {hour_from(hour): _seal_from(text) for hour, text in written if not _is_far_mark(hour, text)}
        seals |= {of_kind(str, hub): hours for hub in of_kind(list, group["hubs"])}
    return seals


def _is_far_mark(hour: str, seal: object) -> bool:
    """Whether an hour that is marked is none that is ever compared: a reading may be dated in any year."""
    if seal != _MARK:
        return False
    try:
        hour_from(hour)
    except ValueError:
        # What is no hour at all is damage.
        parse_time(f"{hour}:00Z")
        return True
    return False


def _seal_text(seal: Seal | None) -> str:
    if seal is None:
        return _MARK
    contents = "" if seal.contents is None else f"{seal.contents:x}"
    return f"{seal.readings}:{seal.keys:x}:{contents}"


def _seal_from(text: str) -> Seal | None:
    if text == _MARK:
        return None
    readings, keys, contents = of_kind(str, text).split(":")
    return Seal(int(readings), int(keys, 16), int(contents, 16) if contents else None)


# A large state has a hundred thousand sensors, so these are written and read without a `Record`.
def _sensors_document(sensors: Mapping[tuple[str, ...], Sensor]) -> list[dict[str, Any]]:
    return [
        {"tags": list(tags), "last": format_time(sensor.last), "longest_s": sensor.longest.total_seconds()}
        for tags, sensor in sorted(sensors.items(), key=itemgetter(0))
    ]


def _sensors_from(documents: list[Mapping[str, Any]]) -> dict[tuple[str, ...], Sensor]:
    # Earlier versions kept tags of any length.
    return {
        sensor_of(texts_from(found["tags"])): Sensor(
            INSTANT.read(found["last"]), duration(found["longest_s"])
        )
        for found in of_kind(list, documents)
    }


# Most have reported at the same interval ever since.
@functools.lru_cache(maxsize=1024)
def duration(seconds: float) -> timedelta:
    return timedelta(seconds=seconds)


def _gap_document(gap: Gap) -> dict[str, Any]:
    window = {"from": format_time(gap.window.start), "to": format_time(gap.window.end)}
    return window | _GAP.document(gap)


def _gap_from(document: Mapping[str, Any]) -> Gap:
    window = Slice(parse_time(document["from"]), parse_time(document["to"]))
    gap: Gap = _GAP.value(document, window=window)
    return gap


def _seen_key_text(seen: SeenKey) -> str:
    return ("-" if seen.vanished else "") + _hour_text(seen.last)


def _seen_key_from(text: str) -> SeenKey:
    return SeenKey(hour_from(of_kind(str, text).removeprefix("-")), text.startswith("-"))


def _last_run_from(found: dict[str, Any]) -> dict[str, Any]:
    """Read what a run left of itself, which the next one goes by; a later version may say more."""
    for name, field in _OF_A_RUN.items():
        if name in of_kind(dict, found):
            field.read(found[name])
    return found


# All locations of a state have the same hours.
@functools.lru_cache(maxsize=1024)
def _hour_text(hour: datetime) -> str:
    return hour.strftime("%Y-%m-%dT%H")


@functools.lru_cache(maxsize=1024)
def hour_from(text: str) -> datetime:
    return in_reach(parse_time(f"{text}:00Z"))


def _feed_name(found: Any) -> str:
    name: str = of_kind(str, found)
    # It is a folder's name where readings are kept in files.
    if not (name.isidentifier() and name.islower()):
        raise ValueError(f"{shown(name)} is not the name of a feed")
    return name


# --- records, field by field --------------------------------------------------------------------------

_TEXTS = Field(list, texts_from)
_OWNER = Field(partial(shortened, most_bytes=OWNER_BYTES), TEXT.read)
_ERROR = Field(error_kept, TEXT.read).or_none()
_KEYS = Field(list, lambda found: list(_TEXTS.read(found)))
_INSTANT_OR_NONE = INSTANT.or_none()
_IDS = Field(
    lambda ids: {_hour_text(hour): ids_text(found) for hour, found in sorted(ids.items()) if found},
    lambda found: {hour_from(hour): ids_from(text) for hour, text in found.items()},
)
_SKETCH = Field(lambda sketch: " ".join(sorted(sketch)), lambda text: frozenset(of_kind(str, text).split()))
_CHECKPOINT = Record(
    Checkpoint,
    {"delivered_until": POSITION, "known_from": POSITION, "newest": POSITION.or_none(), "ids": _IDS},
)
_HUB = Record(
    HubRecord,
    {
        "events": NUMBER,
        "readings": NUMBER,
        "duplicates": NUMBER,
        "last_success": _INSTANT_OR_NONE,
        "error": _ERROR,
        "since": _INSTANT_OR_NONE,
        "start": _INSTANT_OR_NONE.or_absent(),
    },
)
_GAP = Record(Gap, {"cause": TEXT, "found": INSTANT, "hubs": _TEXTS})
_LOCATION = Record(
    LocationState,
    {
        "last_listed": _INSTANT_OR_NONE.or_absent(),
        "newest": _INSTANT_OR_NONE.or_absent(),
        "error": _ERROR,
        "since": _INSTANT_OR_NONE.or_absent(),
        "groups": Field(_groups_document, _checkpoints_from, "checkpoints"),
        "hubs": keyed(_HUB.field()),
        "gaps": several(Field(_gap_document, _gap_from)),
        "begun": _INSTANT_OR_NONE.or_absent(),
        "compared": _INSTANT_OR_NONE.or_absent(),
        "seals": Field(_seals_document, _seals_from).or_absent([]),
        "sensors": Field(_sensors_document, _sensors_from).or_absent([]),
    },
)
_PLACE = Record(Place, {"name": TEXT, "owner": _OWNER, "devices": NUMBER, "sketch": _SKETCH.or_absent("")})
_FOUND = {"collisions": _TEXTS, "places": several(_PLACE.field())}
_PLACES = Record(Discovery, _FOUND)
_DISCOVERY = Record(Discovery, {"at": INSTANT, "of": TEXT, **_FOUND})
_TAKEOVER = Record(
    Takeover,
    {"position": POSITION, "source": TEXT, "events": NUMBER, "duplicates": NUMBER, "at": _INSTANT_OR_NONE},
)
_DRIFT = Record(
    Drift, {"kind": TEXT, "location": TEXT.or_none(), "text": TEXT, "since": INSTANT, "sensor": _TEXTS}
)
_OF_A_RUN = {
    "run": TEXT,
    "started": POSITION,
    "ended": POSITION,
    "ok": FLAG,
    "error": TEXT.or_none(),
    "failing_since": POSITION.or_none(),
    "hubs_failing": _TEXTS,
}
_FEED = Record(
    FeedState,
    {
        "discovery": _DISCOVERY.field().or_none(),
        "takeover": _TAKEOVER.field().or_none(),
        "last_run": Field(dict, _last_run_from).or_none(),
        "drift": several(_DRIFT.field()).or_absent([]),
        "keys": keyed(Field(_seen_key_text, _seen_key_from)).or_absent({}),
    },
)
_QUARANTINED = Record(
    QuarantinedReading,
    {
        "feed": Field(str, _feed_name),
        "location": TEXT,
        "hubs": _KEYS,
        "id": TEXT,
        "reason": TEXT,
        "at": INSTANT,
    },
)
