"""The emulated hubs, as the unchanged SDK sees them."""

from __future__ import annotations

import asyncio
import itertools
import json
import socket
import time
from collections.abc import Awaitable, Callable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest
from azure.core.credentials import AccessToken
from azure.eventhub import EventData, EventDataBatch, EventHubProducerClient
from azure.eventhub.aio import EventHubConsumerClient as AsyncConsumer
from azure.eventhub.aio import EventHubProducerClient as AsyncProducer
from azure.eventhub.exceptions import (
    AuthenticationError,
    ConnectError,
    ConnectionLostError,
    EventDataSendError,
    EventHubError,
)
from click.testing import CliRunner

from emulators.__main__ import main
from emulators.eventhubs import EmulatedHub, EventHubsEmulator, HubSpec, Stage, StoredEvent

ROOT = Path(__file__).parents[2]
_numbers = itertools.count()


@pytest.fixture(scope="module")
def emulator() -> Iterator[EventHubsEmulator]:
    common = [f"hub-{number}" for number in range(80)]
    alone = [HubSpec(f"alone-{number}", own_port=True) for number in range(5)]
    with EventHubsEmulator([*common, *alone, HubSpec("small", max_message_bytes=262_144)]) as running:
        yield running


@pytest.fixture
def fresh(emulator: EventHubsEmulator) -> Callable[[], EmulatedHub]:
    """Gives hubs that no other test has touched."""
    return lambda: emulator.hub(f"hub-{next(_numbers)}")


@pytest.fixture
def hub(fresh: Callable[[], EmulatedHub]) -> EmulatedHub:
    return fresh()


@pytest.fixture
def other(fresh: Callable[[], EmulatedHub]) -> EmulatedHub:
    return fresh()


def event(body: str, **properties: Any) -> EventData:
    made = EventData(body)
    made.message_id = f"id of {body}"
    made.content_type = "application/json"
    for name, value in properties.items():
        made.properties[name] = value
    return made


def bodies(hub: EmulatedHub) -> list[str]:
    return [stored.body.decode() for stored in hub.received()]


def producer_of(emulator: EventHubsEmulator, hub: str, **options: Any) -> AsyncProducer:
    string = emulator.connection_string(hub, key=options.pop("shared_key", None))
    return AsyncProducer.from_connection_string(string, **{"retry_total": 0, **options})


async def send(producer: AsyncProducer, *sent: str, key: str | None = None) -> EventDataBatch:
    batch = await producer.create_batch(partition_key=key)
    for body in sent:
        batch.add(event(body))
    await producer.send_batch(batch)
    return batch


def send_once(emulator: EventHubsEmulator, hub: str, *sent: str, **options: Any) -> None:
    """One producer, one batch, and what the SDK raises."""

    async def act() -> None:
        async with producer_of(emulator, hub, **options) as producer:
            await asyncio.wait_for(send(producer, *sent), 20)

    asyncio.run(act())


async def until(fact: Callable[[], bool]) -> None:
    async with asyncio.timeout(10):
        while not fact():
            await asyncio.sleep(0.01)


async def cancel(task: asyncio.Task[Any]) -> None:
    """Cancel until it holds: with Python 3.11 the SDK's inner `wait_for` now and then swallows one."""
    while not task.done():
        task.cancel()
        await asyncio.wait([task], timeout=0.2)


def send_sync(emulator: EventHubsEmulator, hub: str, events: Sequence[EventData], key: str) -> None:
    with EventHubProducerClient.from_connection_string(emulator.connection_string(hub)) as producer:
        batch = producer.create_batch(partition_key=key)
        for each in events:
            batch.add(each)
        producer.send_batch(batch)


def send_async(emulator: EventHubsEmulator, hub: str, events: Sequence[EventData], key: str) -> None:
    async def act() -> None:
        async with producer_of(emulator, hub) as producer:
            batch = await producer.create_batch(partition_key=key)
            for each in events:
                batch.add(each)
            await producer.send_batch(batch)

    asyncio.run(act())


async def read(
    emulator: EventHubsEmulator,
    hub: str,
    count: int,
    *,
    partition_id: str = "0",
    meanwhile: Callable[[], Awaitable[object]] | None = None,
    **position: Any,
) -> list[EventData]:
    """Read until `count` events have come; what follows at once is in the answer, too."""
    consumer = AsyncConsumer.from_connection_string(
        emulator.connection_string(hub), "$Default", retry_total=0
    )
    heard: list[EventData] = []

    async def on_events(_: object, events: list[EventData]) -> None:
        heard.extend(events)

    async with consumer:
        receiving = asyncio.create_task(
            consumer.receive_batch(on_events, partition_id=partition_id, max_wait_time=0.2, **position)
        )
        while meanwhile is not None and not heard:
            await meanwhile()
        await until(lambda: len(heard) >= count)
        await cancel(receiving)
    return heard


# -- sending


@pytest.mark.parametrize("sending", [send_sync, send_async], ids=["sync", "aio"])
def test_all_that_a_producer_says_of_an_event_is_stored(
    emulator: EventHubsEmulator, hub: EmulatedHub, sending: Callable[..., None]
) -> None:
    began = datetime.now(UTC) - timedelta(milliseconds=1)

    sending(emulator, hub.name, [event('{"é": 1}', recType="x", count=300, flag=True)], "bâtiment A")

    [stored] = hub.received()
    assert stored == StoredEvent(
        hub=hub.name,
        partition_id=stored.partition_id,
        sequence_number=0,
        offset="0",
        enqueued_at=stored.enqueued_at,
        message_id='id of {"é": 1}',
        partition_key="bâtiment A",
        content_type="application/json",
        properties={"recType": "x", "count": 300, "flag": True},
        body='{"é": 1}'.encode(),
        connection=stored.connection,
    )
    assert began <= stored.enqueued_at <= datetime.now(UTC)
    assert (hub.connections, hub.attempts) == (1, 1)


def test_events_are_enqueued_by_the_clock_that_is_handed_in_never_before_the_one_ahead() -> None:
    clock = iter([0, 5_000, 1_000])  # the hub's creation, and two events

    with EventHubsEmulator(["behind"], now_ms=lambda: next(clock)) as emulator:
        send_once(emulator, "behind", "one", "two")

    first, second = (stored.enqueued_at for stored in emulator.hub("behind").received())
    assert (first, second) == (datetime(1970, 1, 1, 0, 0, 5, tzinfo=UTC),) * 2


def test_a_partition_key_keeps_its_partition_and_its_order(
    emulator: EventHubsEmulator, hub: EmulatedHub
) -> None:
    async def act() -> None:
        async with producer_of(emulator, hub.name) as producer:
            for number in range(6):
                await send(producer, f"a{number}", f"a{number}'", key="a")
                await send(producer, f"b{number}", key="b")

    asyncio.run(act())

    received = hub.received()
    of_a = [stored for stored in received if stored.partition_key == "a"]
    assert [stored.body.decode() for stored in of_a] == [
        f"a{n}{mark}" for n in range(6) for mark in ("", "'")
    ]
    for key in "ab":
        assert len({stored.partition_id for stored in received if stored.partition_key == key}) == 1
    for partition_id in "01":
        numbers = [stored.sequence_number for stored in received if stored.partition_id == partition_id]
        assert numbers == list(range(len(numbers)))


def test_batches_without_a_key_take_the_partitions_in_turn(
    emulator: EventHubsEmulator, hub: EmulatedHub
) -> None:
    async def act() -> None:
        async with producer_of(emulator, hub.name) as producer:
            for number in range(4):
                await send(producer, f"{number}")

    asyncio.run(act())

    assert [stored.partition_id for stored in hub.received()] == ["0", "1", "0", "1"]


def test_one_batch_object_can_be_given_to_two_hubs(
    emulator: EventHubsEmulator, hub: EmulatedHub, other: EmulatedHub
) -> None:
    async def act() -> None:
        async with producer_of(emulator, hub.name) as one, producer_of(emulator, other.name) as two:
            batch = await send(one, "x", "y", key="k")
            await two.send_batch(batch)

    asyncio.run(act())

    assert bodies(hub) == bodies(other) == ["x", "y"]


def test_the_size_limit_is_announced_and_enforced(emulator: EventHubsEmulator, hub: EmulatedHub) -> None:
    async def act() -> None:
        async with producer_of(emulator, "small") as small, producer_of(emulator, hub.name) as large:
            batch = await small.create_batch()
            assert batch.max_size_in_bytes == 262_144
            with pytest.raises(ValueError, match="size"):
                batch.add(event("x" * 262_144))
            too_large = await large.create_batch()
            too_large.add(event("x" * 262_144))
            with pytest.raises(EventDataSendError, match="LinkMessageSizeExceeded"):
                await small.send_batch(too_large)

    asyncio.run(act())

    assert emulator.hub("small").received() == []


# -- properties


def test_properties_are_given_as_the_service_gives_them(
    emulator: EventHubsEmulator, hub: EmulatedHub
) -> None:
    send_once(emulator, hub.name, "x", "y")
    last = hub.received()[-1]

    async def act() -> tuple[dict[str, Any], dict[str, Any], dict[str, Any]]:
        async with producer_of(emulator, hub.name) as producer:
            return await asyncio.gather(
                producer.get_eventhub_properties(),
                producer.get_partition_properties("0"),
                producer.get_partition_properties("1"),
            )

    of_hub, filled, empty = asyncio.run(act())

    assert (of_hub["eventhub_name"], of_hub["partition_ids"]) == (hub.name, ["0", "1"])
    assert filled == {
        "eventhub_name": hub.name,
        "id": "0",
        "beginning_sequence_number": 0,
        "last_enqueued_sequence_number": 1,
        "last_enqueued_offset": last.offset,
        "last_enqueued_time_utc": last.enqueued_at,
        "is_empty": False,
    }
    assert (empty["is_empty"], empty["last_enqueued_sequence_number"], empty["last_enqueued_offset"]) == (
        True,
        -1,
        "-1",
    )


# -- receiving


def test_a_consumer_reads_what_was_sent_with_the_annotations_of_the_service(
    emulator: EventHubsEmulator, hub: EmulatedHub
) -> None:
    # With the annotations, more than a frame of the SDK holds: both ways it travels in pieces.
    large = "0123456789abcdef" * 65_525
    send_async(emulator, hub.name, [event("x", number=1), event("y", number=2)], "k")
    send_async(emulator, hub.name, [EventData(large)], "k")
    stored = hub.received()

    heard = asyncio.run(
        read(emulator, hub.name, 3, partition_id=stored[0].partition_id, starting_position="-1")
    )

    assert [
        (each.sequence_number, each.offset, each.enqueued_time, each.partition_key, each.message_id)
        for each in heard
    ] == [(each.sequence_number, each.offset, each.enqueued_at, b"k", each.message_id) for each in stored]
    assert [each.properties for each in heard] == [{b"number": 1}, {b"number": 2}, {}]
    assert [each.body_as_str() for each in heard] == bodies(hub) == ["x", "y", large]


def test_consumers_begin_where_they_ask_to_and_get_all_from_there(
    emulator: EventHubsEmulator, hub: EmulatedHub
) -> None:
    send_once(emulator, hub.name, *(f"{number}" for number in range(100)))
    third = hub.received()[2]
    positions: list[tuple[object, bool, int]] = [
        (third.offset, False, 3),
        (third.offset, True, 2),
        (third.sequence_number, False, 3),
        (third.sequence_number, True, 2),
        (third.enqueued_at - timedelta(seconds=1), True, 0),
    ]

    async def read_from(position: object, inclusive: bool, first: int) -> list[int]:
        options: dict[str, Any] = {"starting_position": position, "starting_position_inclusive": inclusive}
        heard = await read(emulator, hub.name, 100 - first, prefetch=30, **options)
        return [int(each.body_as_str()) for each in heard]

    async def act() -> list[list[int]]:
        return await asyncio.gather(*(read_from(*position) for position in positions))

    assert asyncio.run(act()) == [list(range(first, 100)) for _, _, first in positions]


def test_latest_gives_only_what_comes_after_it(emulator: EventHubsEmulator, hub: EmulatedHub) -> None:
    async def act() -> list[EventData]:
        async with producer_of(emulator, hub.name) as producer:
            await send(producer, "old")
            await send(producer, "of the other partition")

            async def send_more() -> None:
                await send(producer, "new")

            return await read(emulator, hub.name, 1, starting_position="@latest", meanwhile=send_more)

    assert {each.body_as_str() for each in asyncio.run(act())} == {"new"}


def test_a_consumer_with_a_higher_owner_level_takes_the_partition(
    emulator: EventHubsEmulator, hub: EmulatedHub
) -> None:
    errors: list[Exception] = []

    async def note_error(_: object, error: Exception) -> None:
        errors.append(error)

    async def act() -> None:
        async with producer_of(emulator, hub.name) as producer:
            await send(producer, "x")
        first = AsyncConsumer.from_connection_string(
            emulator.connection_string(hub.name), "$Default", retry_total=0
        )
        heard = asyncio.Event()

        async def on_events(*_: object) -> None:
            heard.set()

        async with first:
            receiving = asyncio.create_task(
                first.receive_batch(
                    on_events, partition_id="0", starting_position="-1", owner_level=1, on_error=note_error
                )
            )
            await asyncio.wait_for(heard.wait(), 10)
            await read(emulator, hub.name, 1, starting_position="-1", owner_level=2)
            await until(lambda: bool(errors))
            await cancel(receiving)

    asyncio.run(act())

    assert "amqp:link:stolen" in str(errors[0])


# -- refusals


def test_a_refusal_says_why(emulator: EventHubsEmulator, fresh: Callable[[], EmulatedHub]) -> None:
    reasons = ["amqp:unauthorized-access", "amqp:not-found", "com.microsoft:entity-disabled"]
    links = [fresh() for _ in reasons]
    for hub, reason in zip(links, reasons, strict=True):
        hub.refuse_attach(reason)
    no_token, wrong_key = fresh(), fresh()
    no_token.refuse_token()

    async def refusal(hub: str, **options: Any) -> EventHubError:
        async with producer_of(emulator, hub, **options) as producer:
            with pytest.raises(EventHubError) as raised:
                await send(producer, "x")
        return raised.value

    async def act() -> list[EventHubError]:
        return await asyncio.gather(
            refusal(wrong_key.name, shared_key="another key"),
            refusal(no_token.name),
            refusal("nowhere"),
            *(refusal(hub.name) for hub in links),
        )

    of_key, of_token, of_name, *of_links = asyncio.run(act())

    assert {type(of_key), type(of_token)} == {AuthenticationError}
    assert type(of_name) is ConnectionLostError
    texts = [str(each) for each in (of_key, of_token, of_name, *of_links)]
    for text, reason in zip(texts, ["401", "401", "amqp:not-found", *reasons], strict=True):
        assert reason in text
    assert [hub.received() for hub in (wrong_key, no_token, *links)] == [[]] * 5
    assert no_token.fired.keys() == {"refuse_token"}
    assert links[0].fired.keys() == {"refuse_attach"}


def test_a_refusal_ends_when_faults_are_cleared(emulator: EventHubsEmulator, hub: EmulatedHub) -> None:
    hub.refuse_token()
    hub.refuse_attach()
    hub.throttle(None)
    hub.clear_faults()

    send_once(emulator, hub.name, "x")

    assert (bodies(hub), hub.fired) == (["x"], {})


def test_a_bearer_token_counts_only_where_it_is_the_one_agreed_upon() -> None:
    class Credential:
        def __init__(self, token: str) -> None:
            self.token = token

        async def get_token(self, *_: str, **__: Any) -> AccessToken:
            return AccessToken(self.token, int(time.time()) + 600)

        async def close(self) -> None: ...

    async def act(token: str) -> None:
        where = f"{running.host}:{running.port}"
        credential: Any = Credential(token)
        async with AsyncProducer(where, "hub", credential, use_tls=False, retry_total=0) as producer:
            await send(producer, f"by {token}")

    with EventHubsEmulator(["hub"], identity_token="ours") as running:
        asyncio.run(act("ours"))
        with pytest.raises(AuthenticationError):
            asyncio.run(act("theirs"))
        assert bodies(running.hub("hub")) == ["by ours"]


# -- faults of transfers


def test_each_fault_of_a_transfer_does_what_its_name_says(
    emulator: EventHubsEmulator, fresh: Callable[[], EmulatedHub]
) -> None:
    # The SDK sends once more by itself after a rejection, a lost link, a lost connection.
    cases: dict[str, tuple[list[Callable[[EmulatedHub], None]], str | None, list[str], dict[str, int]]] = {
        "busy once": ([lambda hub: hub.throttle(1)], None, ["x"], {"throttle": 1}),
        "busy": ([lambda hub: hub.throttle(2)], "50002", [], {"throttle": 2}),
        "rejected": ([lambda hub: hub.reject("amqp:not-allowed")], "NotAllowed", [], {"reject": 2}),
        "detached": ([lambda hub: hub.detach(1)], None, ["x"], {"detach": 1}),
        "before": ([lambda hub: hub.drop_before_store(1)], None, ["x"], {"drop_before_store": 1}),
        "after": ([lambda hub: hub.drop_after_store(1)], None, ["x", "x"], {"drop_after_store": 1}),
        "a script": (
            [lambda hub: hub.drop_before_store(1), lambda hub: hub.throttle(1)],
            None,
            ["x"],
            {"drop_before_store": 1, "throttle": 1},
        ),
    }
    hubs = {name: fresh() for name in cases}
    for name, (faults, _, _, _) in cases.items():
        for fault in faults:
            fault(hubs[name])

    async def attempt(name: str, error: str | None) -> None:
        # A detach needs a retry of the SDK; with one, a rejection would come four times.
        async with producer_of(emulator, hubs[name].name, retry_total=0 if error else 1) as producer:
            if error is None:
                await asyncio.wait_for(send(producer, "x"), 20)
            else:
                with pytest.raises(EventDataSendError, match=error):
                    await asyncio.wait_for(send(producer, "x"), 20)

    async def act() -> None:
        await asyncio.gather(*(attempt(name, error) for name, (_, error, _, _) in cases.items()))

    asyncio.run(act())

    assert {name: (bodies(hub), hub.fired) for name, hub in hubs.items()} == {
        name: (stored, fired) for name, (_, _, stored, fired) in cases.items()
    }
    assert {name: hub.attempts for name, hub in hubs.items()} == {
        name: sum(fired.values()) + (1 if error is None else 0)
        for name, (_, error, _, fired) in cases.items()
    }


def test_a_released_transfer_leaves_the_sdk_waiting(emulator: EventHubsEmulator, hub: EmulatedHub) -> None:
    hub.release()

    async def act() -> None:
        producer = producer_of(emulator, hub.name)
        sending = asyncio.create_task(send(producer, "x"))
        await until(lambda: hub.fired["release"] == 1)
        assert await asyncio.wait([sending], timeout=0.3) == (set(), {sending})
        await cancel(sending)
        await asyncio.wait_for(producer.close(), 5)

    asyncio.run(act())

    assert (bodies(hub), hub.attempts) == ([], 1)


def test_a_delay_holds_one_hub_back_and_no_other(
    emulator: EventHubsEmulator, hub: EmulatedHub, other: EmulatedHub
) -> None:
    hub.delay(0.5)
    settled: list[str] = []

    async def act() -> None:
        async with producer_of(emulator, hub.name) as slow, producer_of(emulator, other.name) as quick:
            await asyncio.gather(quick.create_batch(), slow.create_batch())

            async def send_to(producer: AsyncProducer, name: str) -> None:
                await send(producer, "x")
                settled.append(name)

            await asyncio.gather(send_to(slow, hub.name), send_to(quick, other.name))

    asyncio.run(act())

    assert settled == [other.name, hub.name]
    assert (bodies(hub), hub.fired, other.fired) == (["x"], {"delay": 1}, {})


# -- stalls


def test_what_was_cancelled_in_a_stall_never_arrives(emulator: EventHubsEmulator) -> None:
    stages: list[Stage] = ["connect", "cbs", "attach", "outcome"]
    hubs = [emulator.hub(f"alone-{number}") for number in range(len(stages))]

    async def act(hub: EmulatedHub, stage: Stage) -> None:
        hub.stall(stage)
        producer = producer_of(emulator, hub.name)
        sending = asyncio.create_task(send(producer, "cancelled"))
        await until(lambda: hub.fired["stall"] == 1)
        await cancel(sending)
        await asyncio.wait_for(producer.close(), 5)
        hub.thaw()
        async with producer_of(emulator, hub.name) as again:
            await send(again, "later")

    async def act_at_all() -> None:
        await asyncio.gather(*map(act, hubs, stages))

    asyncio.run(act_at_all())

    assert [bodies(hub) for hub in hubs] == [["later"]] * len(stages)


def test_a_stalled_transfer_is_stored_when_its_connection_is_still_open(
    emulator: EventHubsEmulator, hub: EmulatedHub, other: EmulatedHub
) -> None:
    hub.stall("outcome")

    async def act() -> None:
        async with producer_of(emulator, hub.name) as held, producer_of(emulator, other.name) as free:
            sending = asyncio.create_task(send(held, "x"))
            await until(lambda: hub.attempts == 1)
            await send(free, "y")
            assert (bodies(hub), bodies(other)) == ([], ["y"])
            hub.thaw()
            await asyncio.wait_for(sending, 5)

    asyncio.run(act())

    assert (bodies(hub), hub.fired) == (["x"], {"stall": 1})


# -- refused, down, gone


def test_a_hub_that_is_down_drops_its_connections_and_nobody_elses(
    emulator: EventHubsEmulator, hub: EmulatedHub, other: EmulatedHub
) -> None:
    alone = emulator.hub("alone-4")

    async def act(down: EmulatedHub) -> None:
        async with producer_of(emulator, down.name) as producer, producer_of(emulator, other.name) as healthy:
            await send(producer, "before")
            await send(healthy, "a")
            down.go_down()
            with pytest.raises((ConnectError, ConnectionLostError)):
                await asyncio.wait_for(send(producer, "meanwhile"), 20)
            await send(healthy, "b")
            down.come_up()
            await asyncio.wait_for(send(producer, "after"), 20)

    async def act_on_both() -> None:
        await asyncio.gather(act(hub), act(alone))

    asyncio.run(act_on_both())

    assert bodies(hub) == bodies(alone) == ["before", "after"]
    assert sorted(bodies(other)) == ["a", "a", "b", "b"]
    assert other.connections == 2
    assert min(hub.fired["go_down"], alone.fired["go_down"]) >= 2


def test_after_an_idle_close_the_sdk_connects_again(emulator: EventHubsEmulator, hub: EmulatedHub) -> None:
    async def act() -> None:
        async with producer_of(emulator, hub.name, retry_total=1) as producer:
            await send(producer, "x")
            assert hub.disconnect_idle() == 1
            await asyncio.wait_for(send(producer, "y"), 20)

    asyncio.run(act())

    assert (bodies(hub), hub.connections, hub.fired) == (["x", "y"], 2, {"disconnect_idle": 1})


def test_a_silent_connection_is_closed() -> None:
    with EventHubsEmulator(["hub"], idle_timeout_s=0.2) as emulator:
        connection = socket.create_connection((emulator.host, emulator.port), timeout=10)
        with connection:
            while connection.recv(4096):
                pass


def test_a_stopped_emulator_comes_back_with_its_events_at_its_port() -> None:
    with EventHubsEmulator(["hub"]) as emulator:
        port, hub = emulator.port, emulator.hub("hub")
        send_once(emulator, "hub", "x")
        emulator.stop()
        assert bodies(hub) == ["x"]
        with pytest.raises(ConnectError):
            send_once(emulator, "hub", "lost")
        emulator.start()
        send_once(emulator, "hub", "y")

        assert (emulator.port, bodies(hub)) == (port, ["x", "y"])


def test_discarded_events_are_gone(emulator: EventHubsEmulator, hub: EmulatedHub) -> None:
    send_once(emulator, hub.name, *"abc")

    assert hub.discard(lambda stored: stored.body == b"b") == 1

    assert bodies(hub) == ["a", "c"]


def test_each_stored_event_is_announced() -> None:
    announced: list[StoredEvent] = []
    with EventHubsEmulator(["hub"], on_store=announced.append) as emulator:
        send_once(emulator, "hub", "x", "y")

        assert announced == emulator.hub("hub").received()


def test_the_help_says_which_clients_are_tested_and_what_is_left_out() -> None:
    package = json.loads((ROOT / "package.json").read_text())
    javascript = package["devDependencies"]["@azure/event-hubs"].partition(".")[0]
    python = version("azure-eventhub").rpartition(".")[0]

    told = CliRunner().invoke(main, ["--help"]).output

    assert f"azure-eventhub 5.12 to {python} and @azure/event-hubs {javascript} for JavaScript" in told
    assert "\n  Left out:\n" in told
