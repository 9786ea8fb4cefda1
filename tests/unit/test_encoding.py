"""What our encoding makes of an event, against what the SDK's documented way makes of it."""

from __future__ import annotations

from typing import Any

import azure.eventhub
import pytest
from azure.eventhub import EventDataBatch
from hypothesis import example, given
from hypothesis import strategies as st

from app.base.wire_forms import Message
from app.eventhub import encoding
from app.eventhub.encoding import Envelope

LARGEST = 1_000_000
TEXTS = st.text(st.characters(codec="utf-8"), max_size=300)
MESSAGES = st.builds(
    Message,
    id=TEXTS,
    content_type=st.sampled_from(["application/json", "application/cloudevents+json"]) | TEXTS,
    body=st.binary(max_size=600),
    properties=st.dictionaries(TEXTS, TEXTS | st.booleans() | st.integers(-(2**31), 2**31 - 1), max_size=4),
)
PLAIN = Message("Ab_-Cd12Ef34Gh56", "application/json", b'{"a":1}', {"recType": "x", "hour": 3, "late": True})


def envelope(key: str, message: Message) -> Envelope:
    return Envelope(key, message.content_type, message.properties)


def both(key: str, messages: list[Message], largest: int = LARGEST) -> tuple[Any, Any]:
    """Give the batches that the two ways fill, after they took the same events."""
    ours, theirs = (EventDataBatch(max_size_in_bytes=largest, partition_key=key) for _ in range(2))
    for message in messages:
        taken = envelope(key, message).add(ours, message)
        assert taken == encoding.add_publicly(theirs, message)
    return ours, theirs


def written(batch: Any) -> tuple[list[bytes], int, int]:
    return [bytes(event) for event in batch._message.data], batch.size_in_bytes, len(batch)


@given(TEXTS.filter(bool), st.lists(MESSAGES, min_size=1, max_size=3))
@example("k", [PLAIN._replace(properties={"a": 1}), PLAIN._replace(properties={"a": True})])
@example("k", [PLAIN._replace(properties={})])
@example("k", [PLAIN._replace(id=""), PLAIN._replace(body=b"")])
def test_an_event_has_the_bytes_that_the_sdk_gives_it(key: str, messages: list[Message]) -> None:
    ours, theirs = both(key, messages)

    assert written(ours) == written(theirs)


@pytest.mark.parametrize("length", [0, 1, 127, 128, 250, 255, 256, 257, 65_535, 65_536, 70_000])
def test_every_way_to_write_a_length_is_the_sdks(length: int) -> None:
    body = PLAIN._replace(body=b"x" * length)
    name = PLAIN._replace(id="m" * length, content_type="c" * (length % 300))

    ours, theirs = both("key", [body, name])

    assert written(ours) == written(theirs)


@pytest.mark.parametrize("largest", range(300, 420))
def test_a_batch_is_full_where_the_sdk_says_so(largest: int) -> None:
    ours, theirs = both("Mill & Lane", [PLAIN, PLAIN, PLAIN._replace(body=b"longer" * 20), PLAIN], largest)

    assert written(ours) == written(theirs)


@pytest.mark.parametrize("length", [0, 100, 255, 256, 300])
def test_an_event_is_said_to_fit_where_an_empty_batch_takes_it(length: int) -> None:
    message = PLAIN._replace(body=b"x" * length)
    sizes = range(100, 700)

    shared = envelope("Mill & Lane", message)

    said = [shared.fits(largest, message) for largest in sizes]

    taken = [shared.add(encoding.empty(largest, "Mill & Lane"), message) for largest in sizes]
    assert said == taken
    assert set(said) == {True, False}


def test_what_is_compared_is_what_is_installed() -> None:
    assert encoding.sdk_version() == encoding.COMPARED_WITH
    assert encoding.is_compared()


def test_another_version_of_the_sdk_encodes_its_events_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(azure.eventhub, "__version__", "5.99.0")
    encoding.is_compared.cache_clear()
    try:
        ours, theirs = both("Mill & Lane", [PLAIN])
        fits = [envelope("Mill & Lane", PLAIN).fits(largest, PLAIN) for largest in (100, 10_000)]
    finally:
        encoding.is_compared.cache_clear()

    assert written(ours) == written(theirs)
    assert fits == [False, True]
    # What only the documented way keeps: the events as they were given to it.
    assert [event.body_as_str() for event in ours._internal_events] == ['{"a":1}']
