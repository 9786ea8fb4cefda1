"""The reader of what hubs hold: events of this forwarder among those of any other sender."""

from __future__ import annotations

import contextlib
import importlib
import io
import struct
from collections.abc import Sequence

from azure.eventhub import EventData
from hypothesis import strategies as st

from app.audit.comparison_file import ComparisonFile
from app.audit.hub_contents import HubContents
from app.base.checkpoints import Checkpoint
from app.base.instants import utc_now
from app.base.readings import DashboardAnswer, Event
from app.cli.event_lines import EventLines
from app.cli.output import Output
from app.cli.tail import _event_json
from app.eventhub.decoding import read_every_event
from app.eventhub.received import Received, received
from app.feeds.feed import read_answer
from app.feeds.hourly_snapshot import FEED as SNAPSHOT
from app.feeds.people_counter import FEED as PEOPLE
from app.run.backfill import Held
from emulators.amqp import Malformed, long_value, string_value, timestamp_value, with_annotations
from tests.fuzz.generators import CANARIES, changed_bytes, json_texts
from tests.fuzz.oracle import Broken, holds, outcome, registry_of_its_own, shows_no_secret
from tests.fuzz.target import Target
from tests.fuzz.targets_source import FEED_SETTINGS, LOCATION, WINDOW

HUB = "hubs.example.test/counts"
_ENQUEUED_MS = 1_772_446_000_000

# --- events as they are on the wire (AMQP 1.0, parts 1.6 and 3.2) -----------------------------------------

_FIXED = {
    **dict.fromkeys([0x40, 0x41, 0x42, 0x43, 0x44, 0x45], 0),
    **dict.fromkeys([0x50, 0x51, 0x52, 0x53, 0x54, 0x55, 0x56], 1),
    **dict.fromkeys([0x60, 0x61], 2),
    **dict.fromkeys([0x70, 0x71, 0x72, 0x73, 0x74], 4),
    **dict.fromkeys([0x80, 0x81, 0x82, 0x83, 0x84], 8),
    **dict.fromkeys([0x94, 0x98], 16),
}
_TEXT, _SYMBOL, _BINARY = 0xB1, 0xB3, 0xB0
_LIST, _MAP = 0xD0, 0xD1


def sized(constructor: int, content: bytes) -> bytes:
    return bytes([constructor]) + struct.pack(">I", len(content)) + content


def compound(constructor: int, members: Sequence[bytes]) -> bytes:
    return sized(constructor, struct.pack(">I", len(members)) + b"".join(members))


def section(code: int, value: bytes) -> bytes:
    return b"\x00\x53" + bytes([code]) + value


def nested(levels: int) -> bytes:
    """Give a list in a list, so many times."""
    value = b"\x45"
    for _ in range(levels):
        value = compound(_LIST, [value])
    return value


_fixed_values = st.sampled_from(sorted(_FIXED)).flatmap(
    lambda code: st.binary(min_size=_FIXED[code], max_size=_FIXED[code]).map(
        lambda content: bytes([code]) + content
    )
)
_sized_values = st.builds(
    sized,
    st.sampled_from([_TEXT, _SYMBOL, _BINARY]),
    st.binary(max_size=12)
    | st.sampled_from([*(form.encode() for form in CANARIES), b"\xff", b"\xed\xa0\x80", LOCATION.encode()]),
)
_NESTED = [nested(3), nested(60), nested(400), nested(1_200)]
values = st.recursive(
    _fixed_values | _sized_values | st.sampled_from(_NESTED),
    lambda inner: (
        st.builds(compound, st.just(_LIST), st.lists(inner, max_size=3))
        | st.lists(st.tuples(inner, inner), max_size=3).map(
            lambda pairs: compound(_MAP, [member for pair in pairs for member in pair])
        )
        | st.builds(lambda descriptor, value: b"\x00" + descriptor + value, inner, inner)
    ),
    max_leaves=6,
)


def text(content: str | bytes) -> bytes:
    return sized(_TEXT, content.encode() if isinstance(content, str) else content)


def _event() -> Event:
    line = {"time": "2026-03-02T10:00:00.000Z", "record": "65f0c1a2b3c4d5e6f7a8b9c0", "sum": 2}
    answer = DashboardAnswer(({"data": {"_id": {"tags": [LOCATION, "Door 3"]}, "line": [line]}},))
    found = read_answer(PEOPLE.rec_type, LOCATION, answer)
    start = Checkpoint(WINDOW.start, WINDOW.start)
    return PEOPLE.events(LOCATION, found, found, start, FEED_SETTINGS)[0]


_OURS = _event()


def _encoded(event: Event) -> bytes:
    properties = [part for name, value in event.properties.items() for part in (text(name), text(str(value)))]
    said = [text(event.message_id), *[b"\x40"] * 5, sized(_SYMBOL, b"application/json")]
    return (
        section(0x73, compound(_LIST, said))
        + section(0x74, compound(_MAP, properties))
        + section(0x75, sized(_BINARY, event.body))
    )


@st.composite
def _messages(draw: st.DrawFn) -> bytes:
    """Give a message: ours with an odd part, or another sender's."""
    parts: list[bytes] = []
    if draw(st.booleans()):
        parts.append(section(draw(st.sampled_from([0x70, 0x71])), draw(values)))
    if draw(st.booleans()):
        pairs = draw(st.lists(st.tuples(values, values), max_size=3))
        parts.append(section(0x72, compound(_MAP, [member for pair in pairs for member in pair])))
    said = [draw(st.just(text(_OURS.message_id)) | values) for _ in range(draw(st.integers(0, 13)))]
    parts.append(section(0x73, compound(_LIST, said)))
    named = dict(_OURS.properties) if draw(st.booleans()) else {"kind": "of another sender"}
    pairs = [(text(name), draw(st.just(text(str(value))) | values)) for name, value in named.items()]
    pairs += draw(st.lists(st.tuples(values, values), max_size=2))
    parts.append(section(0x74, compound(_MAP, [member for pair in pairs for member in pair])))
    body: bytes = draw(_bodies)
    return b"".join(parts) + body


_bodies = st.one_of(
    json_texts(
        {"recType": PEOPLE.rec_type, "_location_tags": ["a"], "time": "2026-03-02T10:00:00Z", "sum": 2}
    ).map(lambda body: section(0x75, sized(_BINARY, body))),
    st.lists(values, max_size=3).map(lambda parts: b"".join(section(0x75, part) for part in parts)),
    st.lists(values, max_size=3).map(lambda parts: b"".join(section(0x76, part) for part in parts)),
    values.map(lambda value: section(0x77, value)),
    st.tuples(values, values).map(lambda two: section(0x77, two[0]) + section(0x75, two[1])),
    st.just(b""),
)


# --- what is to hold --------------------------------------------------------------------------------


def check_event(case: bytes) -> None:
    """Read a case, an encoded message, between two events of ours, as each command does that reads hubs."""
    with registry_of_its_own(), ComparisonFile([LOCATION], [HUB]) as file:
        encoded = [_handed_out(message, at) for at, message in enumerate([_GOOD, case, _GOOD], 1)]
        events = [_received(message) for message in encoded if message is not None]
        contents = HubContents(HUB, PEOPLE, WINDOW, {LOCATION: LOCATION}, False, file)
        held = Held(PEOPLE, WINDOW, [LOCATION])
        for event in events:
            _is_shown(event)
            outcome(lambda event=event: contents.take(event))  # type: ignore[misc]
            outcome(lambda event=event: held.take(event))  # type: ignore[misc]
        found = [reading for reading in file.held(HUB) if reading.id == _OURS.message_id]
        # An event that cannot be read may have the id of one that can.
        if max((reading.times for reading in found), default=0) < 2:
            raise Broken("of two events of ours one did not come out")
        holds(
            [_OURS.message_id], [each for ids in held.ids(LOCATION).values() for each in ids], "what is held"
        )


def _received(encoded: bytes) -> Received:
    read_every_event()
    # As the SDK's client decodes what comes, and hands it out.
    decode = importlib.import_module("azure.eventhub._pyamqp.aio._receiver_async").decode_payload
    event = EventData._from_message(decode(memoryview(encoded)))
    return outcome(lambda: received("0", event)).result()


def _handed_out(message: bytes, sequence: int) -> bytes | None:
    """Give a message with what the service says of it; None where it would have taken none such."""
    said = {
        "x-opt-sequence-number": long_value(sequence),
        "x-opt-offset": string_value(str(100 * sequence)),
        "x-opt-enqueued-time": timestamp_value(_ENQUEUED_MS),
    }
    try:
        return with_annotations(message, said)
    except (Malformed, IndexError, RecursionError, struct.error):
        return None


def _is_shown(event: Received) -> None:
    shown = io.TextIOWrapper(io.BytesIO(), encoding="utf-8")
    with contextlib.redirect_stdout(shown):
        outcome(lambda: Output().show_line(EventLines([PEOPLE, SNAPSHOT], utc_now()).line(event)))
        outcome(lambda: Output(as_json=True).write_object(_event_json(event)))
    shown.seek(0)
    shows_no_secret([shown.read()])


_GOOD = _encoded(_OURS)

TARGETS = (
    Target(
        "event",
        "events of hubs, every form of body",
        _messages() | changed_bytes(st.just(_GOOD)),
        check_event,
    ),
)
