"""The promise: nothing is lost, invented, repeated without a reason, or out of order, hub by hub.

Readings that were published and events that arrived go in, what is wrong comes out, a sentence each. Tests
take a hub's events apart with `arrival_of` and judge them with `breaches`; those that know of each single
run, and so of the reason for each repeat, use the judgements that it is made of.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from app.base.instants import parse_time

# What an event of people counts has besides the reading's own fields.
_OF_EVENT = ("recType", "_location_tags")


@dataclass(frozen=True, slots=True, order=True)
class Reading:
    """A reading as it was published; a correction is another one. `content` is the JSON of tags and entry."""

    location: str
    rec_type: str
    content: str

    def __str__(self) -> str:
        tags, entry = json.loads(self.content)
        return f"{self.location} {tags} at {entry.get('time')}, record {entry.get('record')}"

    @property
    def entry(self) -> Any:
        return json.loads(self.content)[1]

    @property
    def key(self) -> tuple[str, ...]:
        """What its versions have in common."""
        tags, entry = json.loads(self.content)
        told_by = entry.get("record") or [entry.get(name) for name in ("time", "category", "metric")]
        return self.location, self.rec_type, json.dumps(tags), json.dumps(told_by)


@dataclass(frozen=True, slots=True)
class Arrival:
    """An event as a hub has it, with the readings that it carries."""

    message_id: str
    location: str
    time: datetime
    readings: tuple[Reading, ...]
    body: bytes = b""

    def __str__(self) -> str:
        return f"{self.location} {self.time:%Y-%m-%d %H:%M:%S}, message id {self.message_id}"


@dataclass(frozen=True, slots=True)
class Repeat:
    """A reading that came though the hub had it: since when, and under which message id at `first`."""

    reading: Reading
    arrival: Arrival
    first: str
    had_before: bool

    def __str__(self) -> str:
        return f"{self.reading}, message id {self.arrival.message_id}"


def reading_of(location: str, rec_type: str, tags: Sequence[str], entry: Mapping[str, Any]) -> Reading:
    return Reading(location, rec_type, json.dumps([list(tags), entry], sort_keys=True))


def arrival_of(message_id: str | None, properties: Mapping[str, object], body: bytes) -> Arrival:
    """Take an event apart: one reading of people counts, or a location's snapshots of an hour."""
    told, location = json.loads(body), str(properties["location"])
    # Whatever the form of its body.
    told = told["data"] if "specversion" in told else told
    told.pop("_forwarder", None)
    if "objs" in told:
        found = [(obj["data"]["_id"]["tags"], entry) for obj in told["objs"] for entry in obj["data"]["line"]]
        time = str(properties["hour"])
    else:
        entry = {name: value for name, value in told.items() if name not in _OF_EVENT}
        found, time = [(told["_location_tags"], entry)], str(told["time"])
    readings = tuple(reading_of(location, told["recType"], tags, entry) for tags, entry in found)
    return Arrival(str(message_id), location, parse_time(time), readings, body)


def breaches(
    owed: Iterable[Reading],
    arrived: Sequence[Arrival],
    *,
    also: Iterable[Reading] = (),
    withheld: Collection[Reading] = (),
    late: Collection[Reading] = (),
    repeats: int = 0,
) -> list[str]:
    """Say everything that is wrong at a hub, in the order in which it matters.

    It may have `also` what was published once, before it was corrected for one; what is `late` behind later
    readings; so many events twice, under their message ids; and nothing of what is `withheld` from it.
    """
    due, at_hub = set(owed), {reading for arrival in arrived for reading in arrival.readings}
    again = list(repeated(arrived))
    as_first = [repeat for repeat in again if repeat.arrival.message_id == repeat.first]
    events = list({id(repeat.arrival): repeat for repeat in as_first}.values())
    return [
        *lost(due - set(withheld), at_hub),
        *invented({*due, *also, *withheld}, at_hub),
        *(f"arrived, though it is withheld: {reading}" for reading in sorted(at_hub & set(withheld))),
        *(f"repeated without a reason: {repeat}" for repeat in events[repeats:]),
        *(under_another_id(repeat) for repeat in again if repeat not in as_first),
        *altered(arrived),
        *out_of_order(arrived, late=late),
    ]


def lost(owed: Iterable[Reading], at_hub: Iterable[Reading]) -> list[str]:
    return [f"lost: {reading}" for reading in sorted(set(owed).difference(at_hub))]


def invented(published: Iterable[Reading], at_hub: Iterable[Reading]) -> list[str]:
    strangers = set(at_hub).difference(published)
    return [f"arrived, but was never published: {reading}" for reading in sorted(strangers)]


def not_merged(arrived: Iterable[Arrival], kept: Iterable[Reading]) -> list[str]:
    """Say what is wrong in a consumer's table: of each reading it has the version that arrived last, once."""
    last = {reading.key: reading for arrival in arrived for reading in arrival.readings}
    due, rows = Counter(last.values()), Counter(kept)
    return [
        *(f"not in the consumer's table: {reading}" for reading in sorted(due - rows)),
        *(f"too much in the consumer's table: {reading}" for reading in sorted(rows - due)),
    ]


def repeated(arrived: Iterable[Arrival], had: Mapping[Reading, str] = {}) -> Iterator[Repeat]:
    """Give each reading that came twice, or that the hub `had` before, with its message id then."""
    first: dict[Reading, str] = {}
    for arrival in arrived:
        for reading in arrival.readings:
            known = first.get(reading) or had.get(reading)
            if known is not None:
                yield Repeat(reading, arrival, known, had_before=reading not in first)
            first.setdefault(reading, arrival.message_id)


def under_another_id(repeat: Repeat) -> str:
    return f"repeated under another message id than {repeat.first}: {repeat}"


def altered(arrived: Iterable[Arrival]) -> list[str]:
    """Say which events came again under their message ids, and not as they were."""
    bodies: dict[str, bytes] = {}
    return [
        f"came with other content under the same message id: {arrival}"
        for arrival in arrived
        if bodies.setdefault(arrival.message_id, arrival.body) != arrival.body
    ]


def out_of_order(arrived: Iterable[Arrival], *, late: Collection[Reading] = ()) -> list[str]:
    """Say what came behind something later of its location; what repeats or is late is not asked."""
    newest: dict[str, datetime] = {}
    seen, not_asked, wrong = set[Reading](), set(late), []
    for arrival in arrived:
        fresh = not seen.issuperset(arrival.readings)
        seen.update(arrival.readings)
        if not fresh or not not_asked.isdisjoint(arrival.readings):
            continue
        if arrival.time < newest.get(arrival.location, arrival.time):
            wrong.append(f"arrived behind a later one: {arrival}")
        newest[arrival.location] = max(arrival.time, newest.get(arrival.location, arrival.time))
    return wrong
