"""A client of the azure-eventhub that is found first; run as a process of its own by `earlier_sdk.py`.

It sends and hears an event, says so, waits for a line, sends and hears another one, and closes. The
connection string is the first line that it reads.
"""

from __future__ import annotations

import asyncio
import json
import sys
import threading
import time
from typing import Any

from azure.eventhub import EventData, EventHubConsumerClient, EventHubProducerClient, _version, aio

PROMPT: dict[str, Any] = {"retry_total": 5, "retry_backoff_factor": 0.05}
# A consumer that is closed ends when it has balanced once more.
BALANCING: dict[str, Any] = {"load_balancing_interval": 0.2}
EARLIEST = "-1"


def blocking(hub: str) -> list[str]:
    heard: list[str] = []
    producer = EventHubProducerClient.from_connection_string(hub, **PROMPT)
    consumer = EventHubConsumerClient.from_connection_string(hub, "$Default", **PROMPT, **BALANCING)
    receiving = threading.Thread(
        target=consumer.receive,
        args=(lambda _, event: heard.append(event.body_as_str()),),
        kwargs={"starting_position": EARLIEST},
    )
    receiving.start()

    def exchange(body: str) -> None:
        batch = producer.create_batch(partition_key="k")
        batch.add(EventData(body))
        producer.send_batch(batch)
        while body not in heard:
            time.sleep(0.01)

    with producer, consumer:
        exchange("before")
        wait_for_a_line()
        exchange("after")
    receiving.join()
    return heard


async def asynchronous(hub: str) -> list[str]:
    heard: list[str] = []
    producer = aio.EventHubProducerClient.from_connection_string(hub, **PROMPT)
    consumer = aio.EventHubConsumerClient.from_connection_string(hub, "$Default", **PROMPT, **BALANCING)

    async def on_event(_: object, event: EventData | None) -> None:
        if event is not None:
            heard.append(event.body_as_str())

    async def exchange(body: str) -> None:
        batch = await producer.create_batch(partition_key="k")
        batch.add(EventData(body))
        await producer.send_batch(batch)
        while body not in heard:
            await asyncio.sleep(0.01)

    async with producer, consumer:
        receiving = asyncio.create_task(consumer.receive(on_event, starting_position=EARLIEST))
        await exchange("before")
        await asyncio.to_thread(wait_for_a_line)
        await exchange("after")
    await receiving
    return heard


def wait_for_a_line() -> None:
    print(json.dumps({"version": _version.VERSION}), flush=True)
    sys.stdin.readline()


if __name__ == "__main__":
    text = sys.stdin.readline().strip()
    both = blocking(text) if sys.argv[1] == "blocking" else asyncio.run(asynchronous(text))
    print(json.dumps({"heard": both}), flush=True)
