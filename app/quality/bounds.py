"""How much is kept of what comes from outside, and what stands for what is longer or more. Pure.

A row of the table store takes 1 MiB. Ids need most of it, so whatever else is kept of a location, or of a
feed, has a bound of its own: no device, key or gap is ever the reason that a state cannot be saved.
"""

from __future__ import annotations

import heapq
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from hashlib import sha256
from itertools import pairwise
from typing import Final

from app.base.checkpoints import Gap, Seals, Sensor
from app.base.readings import Slice

# With their tags a third of a row. Buildings have some dozens of sensors.
SENSORS_KEPT: Final = 1_000
TAGS_BYTES: Final = 256
# A key is a dotted path; those of the known views are shorter than 40 characters.
KEYS_KEPT: Final = 300
KEY_BYTES: Final = 128
# Some 40 KB. Gaps are few where anybody looks; a source that is cut in every hour makes 24 a day.
GAPS_KEPT: Final = 200
# A hub's seals are those of two days; beyond that stand marks of hours that are yet to come.
MARKS_KEPT: Final = 400
# An organisation is a dotted name of a few dozen characters.
OWNER_BYTES: Final = 256
# An error says what was seen and what to do in a few hundred characters, unless it quotes what came.
ERROR_CHARACTERS: Final = 2_000

_DIGEST_CHARACTERS: Final = 16
# Why a gap is there: what a person did on purpose is never put together with anything else.
LEFT_BEHIND: Final = "left behind"
# A view gives no more of one millisecond than it gave.
SATURATED: Final = "saturated"


def shortened(text: str, most_bytes: int) -> str:
    """Give the text, or where its JSON takes more than that, its beginning and a hash of it all.

    The same text always gives the same.
    """
    if _size(text) <= most_bytes:
        return text
    digest = sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:_DIGEST_CHARACTERS]
    start = text[:most_bytes]
    while _size(f"{start}…#{digest}") > most_bytes:
        start = start[: len(start) * 3 // 4]
    return f"{start}…#{digest}"


def sensor_of(tags: tuple[str, ...]) -> tuple[str, ...]:
    """Give what stands for a sensor: its tags, or where these are too long, one text made of them."""
    joined = "".join(tags)
    # Nearly all are short and plain, and a state has thousands: JSON doubles a plain letter at most.
    if 2 * len(joined) + 4 * len(tags) <= TAGS_BYTES and joined.isascii() and joined.isprintable():
        return tags
    if len(joined) <= TAGS_BYTES and _size(tags) <= TAGS_BYTES:
        return tags
    return (shortened(" / ".join(tags), TAGS_BYTES),)


def newest_sensors(sensors: Mapping[tuple[str, ...], Sensor]) -> Mapping[tuple[str, ...], Sensor]:
    """Give the sensors that showed a reading last, as many as are kept."""
    if len(sensors) <= SENSORS_KEPT:
        return sensors
    kept = heapq.nlargest(SENSORS_KEPT, sensors.items(), key=lambda found: (found[1].last, found[0]))
    return dict(kept)


def marks_kept(seals: Seals, since: datetime) -> Seals:
    """Give a hub's seals without marks of hours that are too old to be compared, or too far ahead."""
    hours = sorted(hour for hour in seals if hour >= since)
    return {hour: seals[hour] for hour in hours[:MARKS_KEPT]}


def gaps_kept(gaps: Sequence[Gap]) -> tuple[Gap, ...]:
    """Give the gaps, those that lie nearest to one another made one where they are too many.

    What is made one covers both, and what lies between: nothing that may be lacking is forgotten. Only
    gaps of one cause are put together, and none that a person left behind.
    """
    surplus = len(gaps) - GAPS_KEPT
    if surplus <= 0:
        return tuple(gaps)
    made = [gap for gap in gaps if gap.cause == LEFT_BEHIND]
    found = sorted(
        (gap for gap in gaps if gap.cause != LEFT_BEHIND), key=lambda gap: (gap.cause, gap.window.start)
    )
    apart = [
        (other.window.start - gap.window.end, at)
        for at, (gap, other) in enumerate(pairwise(found), start=1)
        if gap.cause == other.cause
    ]
    joined = {at for _, at in heapq.nsmallest(surplus, apart)}
    kept: list[Gap] = []
    for at, gap in enumerate(found):
        if at in joined:
            kept[-1] = _one_of(kept[-1], gap)
        else:
            kept.append(gap)
    return (*made, *kept)


def _one_of(gap: Gap, other: Gap) -> Gap:
    window = Slice(gap.window.start, max(gap.window.end, other.window.end))
    # No hubs means all of them.
    hubs = tuple(sorted({*gap.hubs, *other.hubs})) if gap.hubs and other.hubs else ()
    return replace(gap, window=window, found=min(gap.found, other.found), hubs=hubs)


def error_kept(error: str) -> str:
    """Give an error's text; of one that quotes too much the beginning, and the end, where the advice is."""
    if len(error) <= ERROR_CHARACTERS:
        return error
    half = ERROR_CHARACTERS // 2
    return f"{error[: half - 1]}…{error[-half:]}"


def _size(found: str | Iterable[str]) -> int:
    """Give what it takes as JSON in ASCII, the longer of the two ways in which a state may be written."""
    return len(json.dumps(found))
