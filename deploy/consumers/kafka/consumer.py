"""Reads a hub as a Kafka topic, and gives the readings of each event, a line of JSON each.

    NAMESPACE=… EVENT_HUB=… EVENT_HUB_CONNECTION_STRING=… python consumer.py

readings.py of ../functions stands next to it. Offsets are committed after the lines are written: what is read
again after a crash comes a second time, and a merge by the rules drops it.
"""

from __future__ import annotations

import json
import os
import signal
import sys
from datetime import UTC, datetime

from confluent_kafka import Consumer, KafkaException, Message
from readings import rows_of

SETTINGS = {
    "bootstrap.servers": f"{os.environ['NAMESPACE']}.servicebus.windows.net:9093",
    "security.protocol": "SASL_SSL",
    "sasl.mechanism": "PLAIN",
    # This very text; the connection string is the password.
    "sasl.username": "$ConnectionString",
    "sasl.password": os.environ["EVENT_HUB_CONNECTION_STRING"],
    # One that nobody else reads with. The service makes it.
    "group.id": os.environ.get("GROUP", "readings"),
    "auto.offset.reset": "earliest",
    "enable.auto.commit": False,
    # What the service asks of clients: https://learn.microsoft.com/azure/event-hubs/apache-kafka-configurations
    "session.timeout.ms": 30000,
    "metadata.max.age.ms": 180000,
    "socket.keepalive.enable": True,
}


def lines_of(message: Message) -> list[str]:
    """Give the readings of a message as JSON, with when the hub stored it, and where in its partition."""
    stored = {
        "enqueued": datetime.fromtimestamp(message.timestamp()[1] / 1000, UTC).isoformat(),
        "sequence": message.offset(),
    }
    return [json.dumps(row | stored) for row in rows_of(message.value() or b"null")]


def main() -> None:
    stopped: list[int] = []
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stopped.append(1))
    consumer = Consumer(SETTINGS)
    consumer.subscribe([os.environ["EVENT_HUB"]])
    try:
        while not stopped:
            message = consumer.poll(1)
            if message is None:
                continue
            if error := message.error():
                raise KafkaException(error)
            try:
                lines = lines_of(message)
            except ValueError as wrong:
                where = f"partition {message.partition()}, offset {message.offset()}"
                print(f"{where}: cannot be read, {wrong!r}", file=sys.stderr)
                lines = []
            print(*lines, sep="\n", end="\n" if lines else "", flush=True)
            consumer.commit(message, asynchronous=False)
    finally:
        consumer.close()


if __name__ == "__main__":
    main()
