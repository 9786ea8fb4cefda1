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
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

from app.base import exact_json
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
from app.base.readings import Ids, JsonObject, QuarantinedReading, Slice

VERSION = 1
ID_LENGTH = 16
HISTORY_KEPT = timedelta(days=30)
_HISTORY_BYTES = 256 * 1024
# What the earlier forwarder called its one position and its total, the later name first.
_EARLIER_POSITIONS = ("last_fetch_timestamp", "last_fetch_time")
_EARLIER_TOTALS = ("total_events_sent", "total_snapshots_sent")
_ID = re.compile(rf"[A-Za-z0-9_-]{{{ID_LENGTH}}}")


def pack_ids(ids: frozenset[str]) -> str:
    return "".join(sorted(ids))


def unpack_ids(text: str) -> frozenset[str]:
    if len(text) % ID_LENGTH:
        raise ValueError(f"{len(text)} characters of ids, no multiple of {ID_LENGTH}")
    ids = _ID.findall(text)
    if len(ids) * ID_LENGTH != len(text):
        raise ValueError("ids with characters that no id has")
    return frozenset(ids)


def location_document(location: LocationState) -> dict[str, Any]:
    """Write a location as its JSON document."""
    return {
        "last_listed": _time_text(location.last_listed),
        "newest": _time_text(location.newest),
        "error": location.error,
        "since": _time_text(location.since),
        "groups": [_group_document(hubs, checkpoint) for hubs, checkpoint in _groups(location.checkpoints)],
        "hubs": {key: _hub_document(hub) for key, hub in sorted(location.hubs.items())},
        "gaps": [_gap_document(gap) for gap in location.gaps],
        "begun": _time_text(location.begun),
        "compared": _time_text(location.compared),
        "seals": _seals_document(location.seals),
        "sensors": [_sensor_document(tags, sensor) for tags, sensor in sorted(location.sensors.items())],
    }


def location_from(document: Mapping[str, Any]) -> LocationState:
    """Read a location's document. Raises ValueError, saying which part cannot be read."""
    with _reading("location"):
        return LocationState(
            last_listed=_time(document.get("last_listed")),
            newest=_time(document.get("newest")),
            checkpoints=_checkpoints_from(document["groups"]),
            hubs={key: _hub_from(hub) for key, hub in document["hubs"].items()},
            gaps=tuple(_gap_from(gap) for gap in _is(list, document["gaps"])),
            error=_is(str, document["error"], optional=True),
            since=_time(document.get("since")),
            begun=_time(document.get("begun")),
            compared=_time(document.get("compared")),
            seals=_seals_from(document.get("seals", [])),
            sensors=dict(map(_sensor_from, _is(list, document.get("sensors", [])))),
        )


def feed_document(state: FeedState) -> dict[str, Any]:
    """Write what is said of the whole feed, locations left out."""
    return {
        "version": VERSION,
        "last_fetch_timestamp": _time_text(state.least_position()),
        "total_events_sent": state.total_events(),
        "total_duplicates_skipped": state.total_duplicates(),
        "discovery": _discovery_document(state.discovery),
        "takeover": _takeover_document(state.takeover),
        "last_run": state.last_run,
        "drift": [_drift_document(drift) for drift in state.drift],
        "keys": {
            key: ("-" if seen.vanished else "") + _hour_text(seen.last)
            for key, seen in sorted(state.keys.items())
        },
    }


def feed_from(document: Mapping[str, Any], locations: Mapping[str, LocationState]) -> FeedState:
    """Read what `feed_document` wrote. Raises ValueError, saying which part cannot be read."""
    check_version(document)
    with _reading("feed"):
        return FeedState(
            locations=locations,
            discovery=_discovery_from(document["discovery"]),
            takeover=_takeover_from(document["takeover"]),
            last_run=_is(dict, document["last_run"], optional=True),
            drift=tuple(map(_drift_from, _is(list, document.get("drift", [])))),
            keys={key: _seen_key(text) for key, text in document.get("keys", {}).items()},
        )


def whole_document(name: str, state: FeedState) -> dict[str, Any]:
    """Write the whole state of a feed, `name` being its state name."""
    locations = {key: location_document(location) for key, location in sorted(state.locations.items())}
    return {"name": name, **feed_document(state), "locations": locations}


def whole_from(document: Mapping[str, Any]) -> FeedState:
    """Read what `whole_document` wrote. Raises ValueError, saying what cannot be read."""
    check_version(document)
    documents = document.get("locations")
    if not isinstance(documents, dict):
        raise ValueError("lacks its locations")
    locations = {}
    for key, found in documents.items():
        try:
            locations[key] = location_from(found)
        except ValueError as error:
            raise ValueError(f"{key!r}: {error}") from error
    return feed_from(document, locations)


def check_version(document: Mapping[str, Any]) -> None:
    """Raise ValueError unless the document is of the version that is read and written here."""
    version = document.get("version")
    if type(version) is not int or version < 1:
        raise ValueError(f"version {version!r} is none of this forwarder's")
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
        return Takeover(parse_time(position), source, int(sent), int(skipped))


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
        document = json.loads(text.decode("utf-8-sig"), object_pairs_hook=_object)
    except RecursionError:
        raise ValueError("nested too deeply") from None
    if not isinstance(document, dict):
        raise ValueError(f"a {type(document).__name__}, no object")
    return document


def file_stamp(instant: datetime) -> str:
    """Write an instant for the name of a file: `20260302T120000.000Z`."""
    return f"{instant.astimezone(UTC):%Y%m%dT%H%M%S}.{instant.microsecond // 1000:03}Z"


def oldest_kept(report: JsonObject) -> datetime | None:
    """Give when the oldest report began that is kept beside this one; None where all are."""
    until = report.get("until", report["started"])
    return parse_time(until) - HISTORY_KEPT if until else None


def history_document(report: JsonObject) -> bytes:
    """Write a report for the history on one line, its lists cut to 100 entries, or fewer if that is long."""
    for most in (100, 10, 1):
        cut = {name: value[:most] if isinstance(value, list) else value for name, value in report.items()}
        text = encode(cut)
        if len(text) <= _HISTORY_BYTES:
            return text
    return text


def quarantine_key(item: QuarantinedReading) -> str:
    """Name a quarantined reading by its id, and a hash of its feed, location and hubs.

    The name has letters, digits, `_` and `-` only, whatever the id holds. The hash tells the
    names apart where letter case does not.
    """
    whole = json.dumps([item.id, item.feed, item.location, sorted(item.hubs)])
    digest = hashlib.sha256(whole.encode()).hexdigest()[:12]
    return f"{re.sub(r'[^A-Za-z0-9_-]', '_', item.id)[:64]}-{digest}"


def quarantine_document(item: QuarantinedReading) -> bytes:
    """Write a quarantined reading for a person to look at, its numbers as exact as they came."""
    document = {
        "feed": item.feed,
        "location": item.location,
        "hubs": list(item.hubs),
        "id": item.id,
        "reason": item.reason,
        "at": format_time(item.at),
    }
    try:
        reading = exact_json.loads(item.text)
        return exact_json.dumps(document | {"reading": reading}, indent=1)
    except exact_json.NotJson:
        return encode(document | {"reading": item.text.decode("utf-8", "backslashreplace")}, indent=1)


def quarantined_from(text: bytes) -> QuarantinedReading:
    """Read what `quarantine_document` wrote. Raises ValueError, saying what cannot be read."""
    document = exact_json.loads(text)
    with _reading("quarantined reading"):
        return QuarantinedReading(
            feed=_is(str, document["feed"]),
            location=_is(str, document["location"]),
            hubs=[_is(str, hub) for hub in _is(list, document["hubs"])],
            id=_is(str, document["id"]),
            reason=_is(str, document["reason"]),
            at=parse_time(document["at"]),
            text=exact_json.dumps(document["reading"]),
        )


def _groups(checkpoints: Mapping[str, Checkpoint]) -> list[tuple[list[str], Checkpoint]]:
    groups: list[tuple[list[str], Checkpoint]] = []
    for key, checkpoint in sorted(checkpoints.items()):
        for hubs, known in groups:
            if known == checkpoint:
                hubs.append(key)
                break
        else:
            groups.append(([key], checkpoint))
    return groups


def _group_document(hubs: list[str], checkpoint: Checkpoint) -> dict[str, Any]:
    return {
        "hubs": hubs,
        "delivered_until": format_time(checkpoint.delivered_until),
        "known_from": format_time(checkpoint.known_from),
        "newest": _time_text(checkpoint.newest),
        "ids": {_hour_text(hour): pack_ids(ids) for hour, ids in sorted(checkpoint.ids.items()) if ids},
    }


def _checkpoints_from(groups: list[Mapping[str, Any]]) -> dict[str, Checkpoint]:
    checkpoints: dict[str, Checkpoint] = {}
    for group in _is(list, groups):
        ids: Ids = {_hour(hour): unpack_ids(text) for hour, text in group["ids"].items()}
        checkpoint = Checkpoint(
            parse_time(group["delivered_until"]), parse_time(group["known_from"]), ids, _time(group["newest"])
        )
        for hub in _is(list, group["hubs"]):
            if checkpoints.setdefault(_is(str, hub), checkpoint) is not checkpoint:
                raise ValueError(f"the hub {hub!r} is in two groups")
    return checkpoints


def _hub_document(hub: HubRecord) -> dict[str, Any]:
    return {
        "events": hub.events,
        "readings": hub.readings,
        "duplicates": hub.duplicates,
        "last_success": _time_text(hub.last_success),
        "error": hub.error,
        "since": _time_text(hub.since),
        "start": _time_text(hub.start),
    }


def _hub_from(document: Mapping[str, Any]) -> HubRecord:
    return HubRecord(
        _is(int, document["events"]),
        _is(int, document["readings"]),
        _is(int, document["duplicates"]),
        _time(document["last_success"]),
        _is(str, document["error"], optional=True),
        _time(document["since"]),
        _time(document.get("start")),
    )


def _seals_document(seals: Mapping[str, Seals]) -> list[dict[str, Any]]:
    groups: list[tuple[list[str], Seals]] = []
    for key, found in sorted(seals.items()):
        for hubs, known in groups:
            if known == found:
                hubs.append(key)
                break
        else:
            groups.append(([key], found))
    return [
        {"hubs": hubs, "hours": {_hour_text(hour): _seal_text(seal) for hour, seal in sorted(known.items())}}
        for hubs, known in groups
    ]


def _seals_from(groups: list[Mapping[str, Any]]) -> dict[str, Seals]:
    seals: dict[str, Seals] = {}
    for group in _is(list, groups):
        hours = {_hour(hour): _seal_from(text) for hour, text in group["hours"].items()}
        seals |= {_is(str, hub): hours for hub in _is(list, group["hubs"])}
    return seals


def _seal_text(seal: Seal | None) -> str:
    if seal is None:
        return "-"
    contents = "" if seal.contents is None else f"{seal.contents:x}"
    return f"{seal.readings}:{seal.keys:x}:{contents}"


def _seal_from(text: str) -> Seal | None:
    if text == "-":
        return None
    readings, keys, contents = _is(str, text).split(":")
    return Seal(int(readings), int(keys, 16), int(contents, 16) if contents else None)


def _sensor_document(tags: tuple[str, ...], sensor: Sensor) -> dict[str, Any]:
    longest_s = sensor.longest.total_seconds()
    return {"tags": list(tags), "last": format_time(sensor.last), "longest_s": longest_s}


def _sensor_from(document: Mapping[str, Any]) -> tuple[tuple[str, ...], Sensor]:
    longest = timedelta(seconds=document["longest_s"])
    return _texts(document["tags"]), Sensor(parse_time(document["last"]), longest)


def _drift_document(drift: Drift) -> dict[str, Any]:
    return {
        "kind": drift.kind,
        "location": drift.location,
        "text": drift.text,
        "since": format_time(drift.since),
        "sensor": list(drift.sensor),
    }


def _drift_from(document: Mapping[str, Any]) -> Drift:
    return Drift(
        _is(str, document["kind"]),
        _is(str, document["location"], optional=True),
        _is(str, document["text"]),
        parse_time(document["since"]),
        _texts(document["sensor"]),
    )


def _seen_key(text: str) -> SeenKey:
    return SeenKey(_hour(_is(str, text).removeprefix("-")), text.startswith("-"))


def _texts(found: Any) -> tuple[str, ...]:
    return tuple(_is(str, text) for text in _is(list, found))


def _gap_document(gap: Gap) -> dict[str, Any]:
    return {
        "from": format_time(gap.window.start),
        "to": format_time(gap.window.end),
        "cause": gap.cause,
        "found": format_time(gap.found),
        "hubs": list(gap.hubs),
    }


def _gap_from(document: Mapping[str, Any]) -> Gap:
    window = Slice(parse_time(document["from"]), parse_time(document["to"]))
    return Gap(window, _is(str, document["cause"]), parse_time(document["found"]), _texts(document["hubs"]))


def _discovery_document(discovery: Discovery | None) -> dict[str, Any] | None:
    if discovery is None:
        return None
    places = [
        {
            "name": place.name,
            "owner": place.owner,
            "devices": place.devices,
            "sketch": " ".join(sorted(place.sketch)),
        }
        for place in discovery.places
    ]
    return {
        "at": format_time(discovery.at),
        "of": discovery.of,
        "collisions": list(discovery.collisions),
        "places": places,
    }


def _discovery_from(document: Mapping[str, Any] | None) -> Discovery | None:
    if document is None:
        return None
    places = tuple(
        Place(
            _is(str, place["name"]),
            _is(str, place["owner"]),
            _is(int, place["devices"]),
            frozenset(_is(str, place.get("sketch", "")).split()),
        )
        for place in _is(list, document["places"])
    )
    return Discovery(
        parse_time(document["at"]), places, _is(str, document["of"]), _texts(document["collisions"])
    )


def _takeover_document(takeover: Takeover | None) -> dict[str, Any] | None:
    if takeover is None:
        return None
    return {
        "position": format_time(takeover.position),
        "source": takeover.source,
        "events": takeover.events,
        "duplicates": takeover.duplicates,
        "at": _time_text(takeover.at),
    }


def _takeover_from(document: Mapping[str, Any] | None) -> Takeover | None:
    if document is None:
        return None
    return Takeover(
        parse_time(document["position"]),
        _is(str, document["source"]),
        _is(int, document["events"]),
        _is(int, document["duplicates"]),
        _time(document["at"]),
    )


@contextmanager
def _reading(part: str) -> Iterator[None]:
    """Make one kind of refusal of whatever a document of another shape leads to."""
    try:
        yield
    except KeyError as error:
        raise ValueError(f"{part}: lacks {error}") from error
    except (TypeError, ValueError, AttributeError, OverflowError) as error:
        raise ValueError(f"{part}: {error}") from error


def _is(kind: type, value: Any, *, optional: bool = False) -> Any:
    if (optional and value is None) or type(value) is kind:
        return value
    raise TypeError(f"a {type(value).__name__} where a {kind.__name__} belongs")


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("an object holds a key twice")
    return found


def _hour_text(hour: datetime) -> str:
    return hour.strftime("%Y-%m-%dT%H")


# All locations of a state have the same hours.
@functools.lru_cache(maxsize=1024)
def _hour(text: str) -> datetime:
    return parse_time(f"{text}:00Z")


def _time(text: str | None) -> datetime | None:
    return None if text is None else parse_time(text)


def _time_text(instant: datetime | None) -> str | None:
    return None if instant is None else format_time(instant)
