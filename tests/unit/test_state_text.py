"""The text of a whole state: read in parts it gives what it gives when it is read at once."""

from __future__ import annotations

import io
import json
import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.base.checkpoints import Checkpoint, FeedState, HubRecord, LocationState, Seal, Sensor
from app.state.document import decode, whole_from
from app.state.records import Ready
from app.state.state_text import document_in, whole_text

NOON = datetime(2026, 3, 2, 12, tzinfo=UTC)
HOUR = timedelta(hours=1)
HUBS = ("alpha.example.test/counts", "beta.example.test/counts")
IDS = {
    NOON - HOUR: frozenset({"AAAAAAAAAAAAAAAA", "BBBBBBBBBBBBBBB-"}),
    NOON: frozenset({"CCCCCCCCCCCCCCC_"}),
}


def location(number: int) -> LocationState:
    checkpoints = [Checkpoint(NOON, NOON - HOUR, IDS), Checkpoint(NOON - HOUR, NOON - HOUR)]
    return LocationState(
        newest=NOON,
        checkpoints=dict(zip(HUBS, checkpoints, strict=True)),
        hubs=dict.fromkeys(HUBS, HubRecord(1, 2, 3, NOON)),
        error='a "quote": {}, ] a \\, a line\nend, é',
        seals={HUBS[0]: {NOON - HOUR: Seal(3, 0xAB, 0xCD)}},
        sensors={
            (f"Bänk {number}", tag): Sensor(NOON + timedelta(milliseconds=1), timedelta(seconds=0.125))
            for tag in ("1", "2")
        },
    )


STATE = FeedState({f"Bänk {number}": location(number) for number in range(5)} | {"New": LocationState()})
TEXT = b"".join(whole_text("peoplecounterstate", STATE))


class InSmallParts(io.BytesIO):
    """A file that gives no more than some bytes at a time."""

    def __init__(self, content: bytes, most: int) -> None:
        super().__init__(content)
        self._most = most

    def read(self, size: int | None = -1) -> bytes:
        return super().read(size if size is None or size < 0 else min(size, self._most))


def in_parts(text: bytes) -> FeedState | str:
    return outcome(lambda: whole_from(document_in(io.BytesIO(text))))


def at_once(text: bytes) -> FeedState | str:
    return outcome(lambda: whole_from(decode(text)))


def outcome(read: Callable[[], FeedState]) -> FeedState | str:
    try:
        return read()
    except ValueError as error:
        return str(error)


@pytest.mark.parametrize("most", [1, 7, 64, 1000, 2**20])
def test_ids_and_sensors_are_read_by_themselves_wherever_one_read_of_the_file_ends(most: int) -> None:
    document = document_in(InSmallParts(TEXT, most))

    found = document["locations"]["Bänk 1"]
    parts = [found["sensors"], *(group["ids"] for group in found["groups"])]
    assert [part for part in parts if not isinstance(part, Ready)] == []
    assert whole_from(document) == STATE


def with_tabs(text: bytes) -> bytes:
    return json.dumps(json.loads(text), indent="\t").encode()


def test_what_has_another_form_is_read_where_it_is_and_the_rest_by_itself() -> None:
    text = TEXT.replace(b'"1"', b'"1\\""', 1).replace(b'T12": "C', b'T1\\u0032": "C', 1)

    document = document_in(io.BytesIO(text))

    read = [
        [isinstance(part, Ready) for part in (found["sensors"], *(group["ids"] for group in found["groups"]))]
        for found in document["locations"].values()
    ]
    assert whole_from(document) == at_once(text)
    assert read[:2] == [[False, False, True], [True, True, True]]


FORMS: dict[str, Callable[[bytes], bytes]] = {
    "compact": lambda text: json.dumps(json.loads(text), separators=(",", ":")).encode(),
    "on one line": lambda text: json.dumps(json.loads(text)).encode(),
    "indented by two, as jq does": lambda text: json.dumps(json.loads(text), indent=2).encode(),
    "indented by tabs": with_tabs,
    "sorted": lambda text: json.dumps(json.loads(text), indent=1, sort_keys=True).encode(),
    "ends of lines as Windows has them": lambda text: text.replace(b"\n", b"\r\n"),
    "a byte order mark": lambda text: b"\xef\xbb\xbf" + text,
    "a space before each colon": lambda text: re.sub(rb'(?m)(^ *"[^"]*"):', rb"\1 :", text),
    "a line end before each colon": lambda text: re.sub(rb'(?m)(^ *"[^"]*"):', rb"\1\n:", text),
    "escapes in a group's name": lambda text: text.replace(b'"ids', b'"\\u0069ds'),
    "escapes in a location's name": lambda text: text.replace(b'"sensors', b'"s\\u0065nsors'),
    "escapes in hours": lambda text: text.replace(b'"2026-03-02T12": "C', b'"2026-03-02T1\\u0032": "C'),
    "escapes in names of a sensor": lambda text: text.replace(b'"tags', b'"t\\u0061gs'),
    "a colon in a tag": lambda text: text.replace(b'     "1"', b'     "1\\":"'),
    "a line end in a tag": lambda text: text.replace(b'     "1"', b'     "1\\n   ]"'),
    "names of a later version": lambda text: text.replace(b'"last"', b'"more": {"ids": {}}, "last"'),
    "ids in what a run left": lambda text: text.replace(b'"last_run": null', b'"last_run": {"ids": {}}'),
    "a location called ids": lambda text: text.replace('"Bänk 1": {'.encode(), b'"ids": {'),
    "a location called sensors": lambda text: text.replace('"Bänk 1": {'.encode(), b'"sensors": {'),
    "a hub called ids": lambda text: text.replace(b'"alpha.example.test/counts"', b'"ids"'),
}  # fmt: skip


@pytest.mark.parametrize("form", FORMS.values(), ids=FORMS.keys())
def test_a_text_of_another_form_is_read(form: Callable[[bytes], bytes]) -> None:
    text = form(TEXT)

    found = in_parts(text)

    assert text != TEXT
    assert isinstance(found, FeedState)
    assert found == at_once(text)


def twice(begins: str) -> Callable[[bytes], bytes]:
    """Give what writes the first line that begins so twice, or the value on several lines that it begins."""

    def damage(text: bytes) -> bytes:
        match = re.search(
            rf"^( *){re.escape(begins)}(?:.*[^\[{{]|.*[\[{{]\n(?:\1 .*\n)*\1[\]}}],?)$",
            text.decode(),
            re.MULTILINE,
        )
        assert match is not None
        found = match[0].removesuffix(",")
        return text.decode().replace(match[0], f"{found},\n{match[0]}", 1).encode()

    return damage


DAMAGE: dict[str, Callable[[bytes], bytes]] = {
    **{
        f"{begins} twice": twice(begins)
        for begins in (
            *('"version"', '"locations"', '"Bänk 0"', '"groups"', '"hubs"', '"alpha.example.test/counts"'),
            *('"delivered_until"', '"ids"', '"2026-03-02T11"', '"2026-03-02T12"', '"events"'),
            *('"seals"', '"hours"', '"sensors"', '"tags"', '"last"', '"longest_s"'),
        )
    },
    "an hour twice, of no ids": lambda text: text.replace(b'T11": "A', b'T12": "", "2026-03-02T11": "A', 1),
    "an hour twice, once in escapes": lambda text: text.replace(
        b'T11": "A', b'T1\\u0032": "", "2026-03-02T11": "A', 1
    ),
    "a sensor's name twice, once apart from its colon": lambda text: text.replace(
        b'"last":', b'"last" : "2026-03-02T12:00:00.000Z", "last":', 1
    ),
    "a space in an id": lambda text: text.replace(b"BBBBBBB", b"BBBB BB", 1),
    "an escape in an id": lambda text: text.replace(b"BBBBBBBB", b"BB\\u00e4B", 1),
    "part of an id": lambda text: text.replace(b"BBBBBBB", b"BBBBBB", 1),
    "ids in a list": lambda text: text.replace(b'"CCCCCCCCCCCCCCC_"', b'["CCCCCCCCCCCCCCC_"]', 1),
    "ids that are a text": lambda text: text.replace(b'"ids": {}', b'"ids": "0"', 1),
    "no ids": lambda text: text.replace(b'"ids": {}', b'"ids": null', 1),
    "a comma too many after ids": lambda text: text.replace(b'B-"', b'B-",', 1),
    "a comma too many after sensors": lambda text: text.replace(b"}\n   ]", b"},\n   ]"),
    "cut short in ids": lambda text: text[: text.index(b"BBB")],
    "cut short in a sensor": lambda text: text[: text.rindex(b"longest_s")],
    "cut short at its end": lambda text: text[:-1],
    "more after its end": lambda text: text + TEXT,
    "locations in a list": lambda text: text[: text.index(b'"locations"')] + b'"locations": []}',
    "no groups": lambda text: text.replace(b'"groups": []', b'"groups": null', 1),
    "no locations": lambda text: text.replace(b'"locations"', b'"location"', 1),
    "no UTF-8 in a tag": lambda text: text.replace('     "Bänk'.encode(), b'     "B\xe4nk', 1),
    "half a surrogate pair in a hub": lambda text: text.replace(b'"since": null', b'"since": "\\ud800"', 1),
}  # fmt: skip


@pytest.mark.parametrize("damage", DAMAGE.values(), ids=DAMAGE.keys())
def test_a_damaged_text_is_refused_as_it_is_when_it_is_read_at_once(damage: Callable[[bytes], bytes]) -> None:
    text = damage(TEXT)

    found = in_parts(text)

    assert text != TEXT
    assert isinstance(found, str)
    assert found == at_once(text)


ODD_VALUES: dict[str, list[Any]] = {
    "last": [
        *("2026-03-02T12:00:00Z", "2026-03-02T12:00:00.1Z", "2026-03-02T12:00:00.1234567Z", "2026-03-02"),
        *("2026-03-02T12:00:00", "2026-03-02T12:00:60Z", "2026-03-02T12:00:00+01:00", "2026-03-02 12:00:00Z"),
        *("2026-03-02t12:00:00z", "0001-01-01T00:00:00+14:00", "2026-03-02T12:00:00.0000009+00:00", "noon"),
        *("2026-W10-1T12:00:00Z", "9999-12-31T23:59:59.999999Z", "2026-02-30T12:00:00Z", 5, None),
    ],
    "longest_s": [0, 900, -1, 1e-7, 0.1234567, 1e13, 1e300, 2**70, True, None, "5", []],
    "tags": [[], ["a"] * 200, ["é" * 200], ["a" * 300], ["\n", "\x7f"], [5], [None], "a", None, {}],
}


@pytest.mark.parametrize(
    ("name", "value"), [(name, value) for name, values in ODD_VALUES.items() for value in values], ids=repr
)
def test_a_sensor_is_read_as_it_is_when_the_text_is_read_at_once(name: str, value: Any) -> None:
    document = json.loads(TEXT)
    document["locations"]["Bänk 1"]["sensors"][1][name] = value
    text = json.dumps(document, indent=1, ensure_ascii=False).encode()

    found = in_parts(text)

    assert found == at_once(text)
    if isinstance(found, FeedState):
        sensors = found.locations["Bänk 1"].sensors.values()
        assert {sensor.last.tzinfo for sensor in sensors} == {UTC}


@given(st.data())
def test_whatever_is_changed_in_a_text_it_gives_what_it_gives_at_once(data: st.DataObject) -> None:
    start = data.draw(st.integers(0, len(TEXT)))
    length = data.draw(st.integers(0, 40))
    pieces = [
        b'"',
        b"\\",
        b"}",
        b"{",
        b"]",
        b",",
        b"\n",
        b'"ids": {',
        b'"sensors": [\n',
        b"\n   ]",
        b"0",
        b"\xff",
    ]
    other = data.draw(st.lists(st.sampled_from(pieces) | st.binary(max_size=3), max_size=4))
    text = TEXT[:start] + b"".join(other) + TEXT[start + length :]

    assert in_parts(text) == at_once(text)
