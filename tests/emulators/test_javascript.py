"""The emulated hubs, as Microsoft's client for JavaScript sees them."""

from __future__ import annotations

import itertools
import os
from collections.abc import Iterator
from typing import Any

import pytest

from emulators.eventhubs import EmulatedHub, EventHubsEmulator
from tests.environments.javascript import JavaScriptClient, JavaScriptMissing, running_javascript

EARLIEST = {"offset": "-1"}
_numbers = itertools.count()


@pytest.fixture(scope="module")
def emulator() -> Iterator[EventHubsEmulator]:
    with EventHubsEmulator([f"hub-{number}" for number in range(40)]) as running:
        yield running


@pytest.fixture
def hub(emulator: EventHubsEmulator) -> EmulatedHub:
    return emulator.hub(f"hub-{next(_numbers)}")


@pytest.fixture
def text(emulator: EventHubsEmulator, hub: EmulatedHub) -> str:
    return emulator.connection_string(hub.name)


@pytest.fixture
def javascript() -> Iterator[JavaScriptClient]:
    try:
        with running_javascript() as client:
            yield client
    except JavaScriptMissing as missing:
        if os.environ.get("CI") == "true":
            raise
        pytest.skip(str(missing))


def _event(body: object, **said: object) -> dict[str, Any]:
    return {"body": body, **said}


def _send(javascript: JavaScriptClient, text: str, *bodies: object, **to: object) -> None:
    """Send with a producer of its own, which is closed."""
    javascript.ask("producer", name="for one batch", hub=text)
    sent = javascript.ask("send", client="for one batch", events=[_event(body) for body in bodies], to=to)
    assert sent == {"fit": [True] * len(bodies)}
    assert javascript.ask("close", names=["for one batch"]) == {"for one batch": "closed"}


def _bodies(heard: dict[str, Any]) -> list[object]:
    return [event["body"] for event in heard["events"]]


# -- sending and receiving


def test_all_that_a_producer_says_of_an_event_is_stored(
    javascript: JavaScriptClient, hub: EmulatedHub, text: str
) -> None:
    javascript.ask("producer", name="p", hub=text)
    event = _event(
        {"é": 1}, messageId="m", contentType="application/json", properties={"recType": "x", "count": 300}
    )

    sent = javascript.ask("send", client="p", events=[event], to={"partitionKey": "bâtiment A"})

    [stored] = hub.received()
    assert sent == {"fit": [True]}
    assert (stored.body, stored.message_id, stored.content_type) == (
        '{"é":1}'.encode(),
        "m",
        "application/json",
    )
    assert (stored.partition_key, stored.properties) == ("bâtiment A", {"recType": "x", "count": 300})


def test_a_batch_takes_what_fits_and_goes_to_the_partition_that_is_named(
    javascript: JavaScriptClient, hub: EmulatedHub, text: str
) -> None:
    javascript.ask("producer", name="p", hub=text)
    events = [_event("a"), _event("x" * 2_000), _event("b")]

    sent = javascript.ask("send", client="p", events=events, to={"partitionId": "1"}, limit=1_000)

    assert sent == {"fit": [True, False, True]}
    assert [(stored.partition_id, stored.body) for stored in hub.received()] == [("1", b'"a"'), ("1", b'"b"')]


def test_the_size_limit_is_announced(javascript: JavaScriptClient, text: str) -> None:
    javascript.ask("producer", name="p", hub=text)

    assert javascript.ask("createBatch", client="p") == {"limit": 1_048_576}


def test_properties_are_as_the_service_gives_them(
    javascript: JavaScriptClient, hub: EmulatedHub, text: str
) -> None:
    _send(javascript, text, "one", "two", partitionId="1")
    javascript.ask("consumer", name="c", hub=text)

    told = javascript.ask("properties", client="c")

    empty, filled = told["partitions"]
    assert told["name"] == hub.name
    assert (empty["partitionId"], empty["isEmpty"], empty["lastEnqueuedSequenceNumber"]) == ("0", True, -1)
    assert (filled["partitionId"], filled["isEmpty"], filled["lastEnqueuedSequenceNumber"]) == ("1", False, 1)


def test_a_subscription_gets_all_partitions_with_the_annotations_of_the_service(
    javascript: JavaScriptClient, hub: EmulatedHub, text: str
) -> None:
    _send(javascript, text, {"n": 0}, {"n": 1}, partitionId="0")
    _send(javascript, text, {"n": 2}, partitionKey="k")
    javascript.ask("consumer", name="c", hub=text)

    javascript.ask("subscribe", name="s", client="c", **{"from": EARLIEST})
    heard = javascript.ask("heard", name="s", count=3)

    told = [
        (
            event["partition"],
            event["sequenceNumber"],
            event["offset"],
            event.get("partitionKey"),
            event["body"],
        )
        for event in heard["events"]
    ]
    stored = [
        (event.partition_id, event.sequence_number, event.offset, event.partition_key, {"n": number})
        for number, event in enumerate(hub.received())
    ]
    assert (sorted(told, key=str), heard["errors"]) == (sorted(stored, key=str), [])


@pytest.mark.parametrize(
    ("position", "bodies"),
    [
        (EARLIEST, ["a", "b", "c"]),
        ({"sequenceNumber": 1, "isInclusive": True}, ["b", "c"]),
        ({"sequenceNumber": 1, "isInclusive": False}, ["c"]),
        ({"enqueuedOn": 0}, ["a", "b", "c"]),
    ],
    ids=str,
)
def test_a_subscription_begins_where_it_asks_to(
    javascript: JavaScriptClient, text: str, position: dict[str, object], bodies: list[str]
) -> None:
    _send(javascript, text, "a", "b", "c", partitionId="0")
    javascript.ask("consumer", name="c", hub=text)

    javascript.ask("subscribe", name="s", client="c", partition="0", **{"from": position})
    before = javascript.ask("heard", name="s", count=len(bodies))
    _send(javascript, text, "new", partitionId="0")
    heard = javascript.ask("heard", name="s", count=len(bodies) + 1)

    assert (_bodies(before), _bodies(heard)) == (bodies, [*bodies, "new"])


def test_a_subscription_from_the_latest_gets_only_what_comes_after_it(
    javascript: JavaScriptClient, text: str
) -> None:
    _send(javascript, text, "before", partitionId="0")
    javascript.ask("consumer", name="c", hub=text)

    javascript.ask("subscribe", name="s", client="c", partition="0", **{"from": {"offset": "@latest"}})
    heard: list[object] = []
    while not heard:  # its link is attached some time after that
        _send(javascript, text, "new", partitionId="0")
        heard = _bodies(javascript.ask("heard", name="s"))

    assert set(heard) == {"new"}


# -- closing


def _open(javascript: JavaScriptClient, hub: EmulatedHub, text: str, kind: str) -> list[str]:
    """Open a client and use it for one thing; gives the names that are to be closed."""
    match kind:
        case "a producer that did nothing":
            javascript.ask("producer", name="p", hub=text)
            return ["p"]
        case "a producer that made a batch":
            javascript.ask("producer", name="p", hub=text)
            assert javascript.ask("createBatch", client="p")["limit"]
            return ["p"]
        case "a producer that sent":
            javascript.ask("producer", name="p", hub=text)
            assert javascript.ask("send", client="p", events=[_event(1)]) == {"fit": [True]}
            return ["p"]
        case "a producer that asked for properties":
            javascript.ask("producer", name="p", hub=text)
            assert javascript.ask("properties", client="p")["partitions"]
            return ["p"]
        case "a buffered producer":
            javascript.ask("buffered", name="b", hub=text)
            assert javascript.ask("enqueue", client="b", events=[_event(1)]) == {}
            return ["b"]
        case "a consumer that did nothing":
            javascript.ask("consumer", name="c", hub=text)
            return ["c"]
        case "a consumer that asked for properties":
            javascript.ask("consumer", name="c", hub=text)
            assert javascript.ask("properties", client="c")["partitions"]
            return ["c"]
    javascript.ask("consumer", name="c", hub=text)
    javascript.ask("subscribe", name="s", client="c", **{"from": EARLIEST})
    _send(javascript, text, "heard")
    assert "heard" in _bodies(javascript.ask("heard", name="s", count=len(hub.received())))
    return {"a subscription": ["s"], "a consumer that subscribed": ["c"]}.get(kind, ["s", "c"])


KINDS = (
    "a producer that did nothing",
    "a producer that made a batch",
    "a producer that sent",
    "a producer that asked for properties",
    "a buffered producer",
    "a consumer that did nothing",
    "a consumer that asked for properties",
    "a consumer that subscribed",
    "a subscription and its consumer",
)


@pytest.mark.parametrize("kind", KINDS)
def test_closing_returns_and_leaves_nothing_open(
    javascript: JavaScriptClient, hub: EmulatedHub, text: str, kind: str
) -> None:
    names = _open(javascript, hub, text, kind)

    assert javascript.ask("close", names=names) == dict.fromkeys(names, "closed")
    assert javascript.ask("sockets") == {"open": 0}


def test_a_subscription_is_closed_alone_and_another_one_follows_on_its_client(
    javascript: JavaScriptClient, hub: EmulatedHub, text: str
) -> None:
    [subscription] = _open(javascript, hub, text, "a subscription")

    assert javascript.ask("close", names=[subscription]) == {"s": "closed"}
    javascript.ask("subscribe", name="s2", client="c", **{"from": EARLIEST})

    assert _bodies(javascript.ask("heard", name="s2", count=1)) == ["heard"]
    assert javascript.ask("close", names=["s2", "c"]) == {"s2": "closed", "c": "closed"}
    assert javascript.ask("sockets") == {"open": 0}


def test_what_is_closed_together_is_closed(javascript: JavaScriptClient, hub: EmulatedHub, text: str) -> None:
    names = [
        *_open(javascript, hub, text, "a producer that sent"),
        *_open(javascript, hub, text, "a buffered producer"),
        *_open(javascript, hub, text, "a subscription and its consumer"),
    ]

    assert javascript.ask("close", names=names) == dict.fromkeys(names, "closed")
    assert javascript.ask("sockets") == {"open": 0}


# -- what the service ends


@pytest.mark.parametrize("how", ["dropped", "closed as idle", "stopped and started"])
def test_after_the_service_ended_connections_both_go_on(javascript: JavaScriptClient, how: str) -> None:
    with EventHubsEmulator(["one"]) as emulator:
        hub, text = emulator.hub("one"), emulator.connection_string("one")
        javascript.ask("producer", name="p", hub=text)
        javascript.ask("consumer", name="c", hub=text)
        javascript.ask("subscribe", name="s", client="c", **{"from": EARLIEST})
        javascript.ask("send", client="p", events=[_event("before")])
        assert _bodies(javascript.ask("heard", name="s", count=1)) == ["before"]

        match how:
            case "dropped":
                hub.go_down()
                hub.come_up()
            case "closed as idle":
                assert hub.disconnect_idle() == 2
            case _:
                emulator.stop()
                emulator.start()

        # The client fails a send that comes while the end of its earlier connection does.
        _send(javascript, text, "meanwhile")
        javascript.ask("heard", name="s", count=2)
        assert javascript.ask("send", client="p", events=[_event("after")]) == {"fit": [True]}
        heard = _bodies(javascript.ask("heard", name="s", count=3))
        assert sorted(map(str, heard)) == ["after", "before", "meanwhile"]
        closed = javascript.ask("close", names=["p", "s", "c"])
    assert closed == {"p": "closed", "s": "closed", "c": "closed"}
    assert javascript.ask("sockets") == {"open": 0}


def test_a_link_that_the_service_detached_is_attached_again(
    javascript: JavaScriptClient, hub: EmulatedHub, text: str
) -> None:
    # It notices only when it has waited for the outcome in vain.
    javascript.ask("producer", name="p", hub=text, timeoutInMs=2_000)
    hub.detach(times=1)

    sent = javascript.ask("send", client="p", events=[_event("x")])

    assert (sent, [stored.body for stored in hub.received()]) == ({"fit": [True]}, [b'"x"'])
    assert (hub.fired["detach"], javascript.ask("close", names=["p"])) == (1, {"p": "closed"})
    assert javascript.ask("sockets") == {"open": 0}


def test_a_refused_link_says_why_and_its_client_can_be_closed(
    javascript: JavaScriptClient, emulator: EventHubsEmulator
) -> None:
    javascript.ask("producer", name="p", hub=emulator.connection_string("no-such-hub"))

    refused = javascript.ask("createBatch", client="p")

    assert refused == {"failed": "MessagingEntityNotFoundError"}
    assert javascript.ask("close", names=["p"]) == {"p": "closed"}
    assert javascript.ask("sockets") == {"open": 0}


def test_a_higher_owner_level_takes_the_partition_and_both_can_be_closed(
    javascript: JavaScriptClient, text: str
) -> None:
    javascript.ask("consumer", name="c", hub=text)
    javascript.ask("subscribe", name="lower", client="c", partition="0", level=1, **{"from": EARLIEST})
    _send(javascript, text, "first", partitionId="0")
    assert _bodies(javascript.ask("heard", name="lower", count=1)) == ["first"]
    javascript.ask("consumer", name="c2", hub=text)

    javascript.ask("subscribe", name="higher", client="c2", partition="0", level=2, **{"from": EARLIEST})

    assert javascript.ask("heard", name="lower", errors=1)["errors"] == ["ReceiverDisconnectedError"]
    assert _bodies(javascript.ask("heard", name="higher", count=1)) == ["first"]
    names = ["lower", "higher", "c", "c2"]
    assert javascript.ask("close", names=names) == dict.fromkeys(names, "closed")
    assert javascript.ask("sockets") == {"open": 0}
