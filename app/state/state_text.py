"""The text of a whole state, read in parts: a large one takes half of the time so, and of the memory.

Nearly all of it are ids, and most of the rest are sensors. These are taken out of the text, and each is read
as what it has to be; what is left is read as any JSON. Each of them being JSON by itself, the whole is JSON
if what is left is, with a mark where one was that nothing else can be. What has another form than that in
which it is written, or is damaged, is read at once: that says what is wrong with it.
"""

from __future__ import annotations

import re
import secrets
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any, BinaryIO, TypedDict

from app.base import fast_json
from app.base.checkpoints import Sensor
from app.base.packed_ids import ID_CHARACTERS, ID_LENGTH, PackedIds
from app.quality.bounds import sensor_of
from app.state.document import decode, duration, hour_from
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


class _Sensor(TypedDict):
    """A sensor in the document, its time read; another form of it is left to `parse_time`."""

    tags: tuple[str, ...]
    last: datetime
    longest_s: float


_texts_of = fast_json.reader_of(dict[str, str])
_sensors_of = fast_json.reader_of(list[_Sensor])


def document_in(file: BinaryIO) -> dict[str, Any]:
    """Read the document of a whole state, as `decode` does; its ids and sensors may be `Ready`.

    Raises ValueError where it is not one JSON object.
    """
    try:
        return _read_in_parts(file)
    except (ValueError, LookupError, TypeError, AttributeError, OverflowError):
        # Whether anything is wrong with it, and what, is found where it is read at once.
        file.seek(0)
        return decode(file.read())


def _read_in_parts(file: BinaryIO) -> dict[str, Any]:
    parts = _Parts()
    left = b""
    # As much again as is left over, or a text without ids would be looked through again and again.
    while block := file.read(_BLOCK + len(left)):
        left = parts.taken_out(left + block, *_IDS, _ids_from)
    without_ids = parts.text(left)
    left = parts.taken_out(without_ids, *_SENSORS, _sensors_from)
    document = decode(parts.text(left))
    for location in document["locations"].values():
        parts.put_back(location, "sensors")
        for group in location["groups"]:
            parts.put_back(group, "ids")
    parts.require_none()
    return document


class _Parts:
    """Values that were taken out of a text, and what stands for them in it."""

    def __init__(self) -> None:
        self._mark = secrets.token_hex()
        self._values: dict[str, Ready] = {}
        self._texts: list[bytes] = []

    def taken_out(self, text: bytes, begins: bytes, ends: bytes, read: Callable[[bytes], Any]) -> bytes:
        """Take the values out of a text that begin and end so; give what follows the last of them."""
        at = 0
        while (found := text.find(begins, at)) >= 0:
            start = found + begins.index(b" ") + 1
            last = text.find(ends, start)
            if last < 0:
                break
            end = last + len(ends)
            mark = f"{self._mark} {len(self._values)}"
            self._values[mark] = Ready(read(text[start:end]))
            self._texts += (text[at:start], f'"{mark}"'.encode())
            at = end
        return text[at:]

    def text(self, end: bytes) -> bytes:
        """Give the text that ends so, with marks for the values that were taken out."""
        text = b"".join((*self._texts, end))
        self._texts = []
        return text

    def put_back(self, document: dict[str, Any], name: str) -> None:
        value = document.get(name)
        if isinstance(value, str):
            document[name] = self._values.pop(value)

    def require_none(self) -> None:
        """Raise Unsure if a value was not put back, and so stood where none is known."""
        if self._values:
            raise fast_json.Unsure("ids or sensors of nobody")


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
    if fast_json.names_in(text) != 3 * len(sensors) or _BELOW_MICROSECONDS.search(text):
        raise fast_json.Unsure("a name twice, or less than a microsecond")
    if not {found["last"].tzinfo for found in sensors} <= {UTC}:
        raise fast_json.Unsure("another zone")
    return {
        sensor_of(found["tags"]): Sensor(found["last"], duration(found["longest_s"])) for found in sensors
    }
