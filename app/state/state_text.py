"""The text of a whole state, written and read in parts: a large one takes half of the time and memory so.

Nearly all of it are ids, and most of the rest are sensors. Ids are put into the text as they are. To read it,
both are taken out of the text, and each is read as what it has to be; what is left is read as any JSON. Each
of them being JSON by itself, the whole is JSON if what is left is, with a mark where one was that nothing
else can be. What has another form than that in which it is written, or is damaged, is left where it is, and
what is wrong with it, if anything is, is said of the whole.
"""

from __future__ import annotations

import itertools
import re
import secrets
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import Any, BinaryIO, TypedDict

from app.base import fast_json
from app.base.checkpoints import FeedState, Sensor
from app.base.packed_ids import ID_CHARACTERS, ID_LENGTH, PackedIds
from app.quality.bounds import sensor_of
from app.state.document import decode, duration, encode, feed_document, hour_from, location_document
from app.state.records import Ready

# Of what is read at a time: a processor has that much near at hand while it looks through it.
_BLOCK = 256 * 1024
# How these begin, and end in a text that was written here: there are no braces in ids, no line ends in tags.
_IDS = (b'"ids": {', b"}")
_SENSORS = (b'"sensors": [\n', b"\n   ]")
# Ids by their hours, without all characters of ids: texts that are empty now, and what is between them.
_EMPTY_TEXTS = re.compile(rb'[{},:\s]*(?:""[{},:\s]+)*')
# What is below a microsecond msgspec rounds, and `parse_time` leaves out.
_BELOW_MICROSECONDS = re.compile(rb"\.[0-9]{7}")
# Texts of this size are put together where a processor has them near at hand; of twenty, in twice the time.
_LOCATIONS_A_PART = 4


class _Sensor(TypedDict):
    """A sensor in the document, its time read; another form of it is left to `parse_time`."""

    tags: tuple[str, ...]
    last: datetime
    longest_s: float


_texts_of = fast_json.reader_of(dict[str, str])
_sensors_of = fast_json.reader_of(list[_Sensor])


def whole_text(name: str, state: FeedState) -> Iterator[bytes]:
    """Write `whole_document` as JSON for people to read, in parts, so that no more than one is held."""
    head = _indented({"name": name, **feed_document(state), "locations": {}})
    mark = secrets.token_hex()
    locations = sorted(state.locations.items())
    for at in range(0, len(locations), _LOCATIONS_A_PART):
        some = {key: location_document(location) for key, location in locations[at : at + _LOCATIONS_A_PART]}
        ids = [_ids_replaced(group, mark) for location in some.values() for group in location["groups"]]
        text = _indented({"locations": some}).removeprefix(b'{\n "locations": {').removesuffix(b"\n }\n}")
        yield b"," if at else head.removesuffix(b"}\n}")
        between = text.split(f'"{mark}"'.encode())
        yield b"".join(itertools.chain.from_iterable(zip(between, [*ids, b""], strict=True)))
    yield b"\n }\n}" if locations else head


def _ids_replaced(group: dict[str, Any], mark: str) -> bytes:
    """Give the text of a group's ids, a mark being in their place from now on."""
    ids, group["ids"] = group["ids"], mark
    # Their characters stand for themselves in JSON.
    parts = [part for hour, text in ids.items() for part in ('",\n      "', hour, '": "', text)]
    return "".join(('{\n      "', *parts[1:], '"\n     }')).encode() if ids else b"{}"


def _indented(document: Any) -> bytes:
    try:
        return fast_json.dumps_indented(document)
    except fast_json.Unsure:
        return encode(document, indent=1)


def document_in(file: BinaryIO) -> dict[str, Any]:
    """Read the document of a whole state, as `decode` does; its ids and sensors may be `Ready`.

    Raises ValueError where it is not one JSON object.
    """
    try:
        return _read_in_parts(file)
    except (ValueError, LookupError, TypeError, AttributeError):
        # Whether anything is wrong with it, and what, is found where it is read at once.
        file.seek(0)
        return decode(file.read())


def _read_in_parts(file: BinaryIO) -> dict[str, Any]:
    parts = _Parts()
    left = b""
    # As much again as is left over, or a text without ids would be looked through again and again.
    while block := file.read(_BLOCK + len(left)):
        *found, left = _taken_apart(left + block, *_IDS)
        for before, ids in zip(found[::2], found[1::2], strict=True):
            parts.add(before)
            parts.add_read(_ids_from, ids)
    parts.add(left)
    return parts.document()


def _taken_apart(text: bytes, begins: bytes, ends: bytes) -> list[bytes]:
    """Give what is before a value that begins and ends so, that value, and so on; last what is after them."""
    pieces: list[bytes] = []
    at = 0
    while (found := text.find(begins, at)) >= 0 and (last := text.find(ends, found)) >= 0:
        start, end = found + begins.index(b" ") + 1, last + len(ends)
        pieces += (text[at:start], text[start:end])
        at = end
    return [*pieces, text[at:]]


class _Parts:
    """A text of which values have been read, and what stands for them in it."""

    def __init__(self) -> None:
        self._texts: list[bytes] = []
        self._mark = secrets.token_hex()
        self._values: dict[str, Ready] = {}

    def add(self, text: bytes) -> None:
        """Add what is before ids or after them; there may be sensors in it."""
        *found, left = _taken_apart(text, *_SENSORS)
        for before, sensors in zip(found[::2], found[1::2], strict=True):
            self._texts.append(before)
            self.add_read(_sensors_from, sensors)
        self._texts.append(left)

    def add_read(self, read: Callable[[bytes], Any], text: bytes) -> None:
        """Add what is read of a text; the text itself where it has another form than it is written in."""
        try:
            value = Ready(read(text))
        except (ValueError, OverflowError):
            self._texts.append(text)
            return
        mark = f"{self._mark} {len(self._values)}"
        self._values[mark] = value
        self._texts.append(f'"{mark}"'.encode())

    def document(self) -> dict[str, Any]:
        """Read the text, and put back what was read of it. Raises ValueError and others."""
        document = decode(b"".join(self._texts))
        for location in document["locations"].values():
            self._put_back(location, "sensors")
            for group in location["groups"]:
                self._put_back(group, "ids")
        if self._values:
            raise fast_json.Unsure("ids or sensors that are of no hub or location")
        return document

    def _put_back(self, document: dict[str, Any], name: str) -> None:
        value = document.get(name)
        if isinstance(value, str):
            document[name] = self._values.pop(value)


def _ids_from(text: bytes) -> dict[datetime, PackedIds]:
    ids = _texts_of(text)
    between = text.translate(None, ID_CHARACTERS)
    # With a colon each, no hour is there twice.
    if between.count(b":") != len(ids) or not _EMPTY_TEXTS.fullmatch(between):
        raise fast_json.Unsure("an hour twice, or what is in no id")
    if any(len(each) % ID_LENGTH for each in ids.values()):
        raise fast_json.Unsure("part of an id")
    return {hour_from(hour): PackedIds(each) for hour, each in ids.items()}


def _sensors_from(text: bytes) -> dict[tuple[str, ...], Sensor]:
    sensors = _sensors_of(text)
    # Each has three names, a time and its tags, of two quotes each; with a name that is twice it has more.
    if text.count(b'"') != sum([8 + 2 * len(found["tags"]) for found in sensors]):
        raise fast_json.Unsure("a name twice, or a quote in a tag")
    if _BELOW_MICROSECONDS.search(text):
        raise fast_json.Unsure("less than a microsecond")
    if not {found["last"].tzinfo for found in sensors} <= {UTC}:
        raise fast_json.Unsure("another zone")
    return {
        sensor_of(found["tags"]): Sensor(found["last"], duration(found["longest_s"])) for found in sensors
    }
