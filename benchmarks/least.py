"""The least programs that a forwarder is measured against: the SDKs, and nothing around them.

    python -m benchmarks.least send FILE CONNECTION_STRING...
    python -m benchmarks.least forward STATE CONNECTION_STRING LOGIN FORM URL...
    python -m benchmarks.least forward_with_libraries STATE CONNECTION_STRING LOGIN FORM URL...

`send` sends events, ready in a file, to each hub, encoding them for each, as its documentation shows.
`forward` logs in with a form, asks those URLs, sends the readings in the answers, and writes a state.
`forward_with_libraries` does so by the asyncio client, with the libraries of a command line loaded: those for
its words, settings, JSON and lock.
"""

from __future__ import annotations

import json
import pickle
import sys
from collections.abc import Callable, Mapping, Sequence
from itertools import groupby
from operator import itemgetter
from pathlib import Path


def send(path: str, *connection_strings: str) -> None:
    from azure.eventhub import EventData, EventHubProducerClient

    events = pickle.loads(Path(path).read_bytes())
    for connection_string in connection_strings:
        with EventHubProducerClient.from_connection_string(connection_string) as producer:
            for key, group in groupby(events, itemgetter(0)):
                batch = producer.create_batch(partition_key=key)
                for _, message_id, content_type, body, properties in group:
                    event = EventData(body)
                    event.message_id = message_id
                    event.content_type = content_type
                    event.properties = properties
                    try:
                        batch.add(event)
                    except ValueError:
                        producer.send_batch(batch)
                        batch = producer.create_batch(partition_key=key)
                        batch.add(event)
                producer.send_batch(batch)


def forward(state: str, connection_string: str, login: str, form: str, *urls: str) -> None:
    from azure.eventhub import EventData, EventHubProducerClient

    readings = asked(login, form, urls)
    with EventHubProducerClient.from_connection_string(connection_string) as producer:
        batch = producer.create_batch(partition_key="key")
        for reading in readings:
            batch.add(EventData(json.dumps(reading)))
        producer.send_batch(batch)
    Path(state).write_text(json.dumps({"sent": len(readings)}), encoding="utf-8")


def forward_with_libraries(state: str, connection_string: str, login: str, form: str, *urls: str) -> None:
    import asyncio

    import click  # noqa: F401 - it is to be loaded
    import filelock  # noqa: F401
    import msgspec  # noqa: F401
    import simplejson  # noqa: F401
    import yaml  # noqa: F401
    from azure.eventhub import EventData
    from azure.eventhub.aio import EventHubProducerClient

    readings = asked(login, form, urls)

    async def deliver() -> None:
        async with EventHubProducerClient.from_connection_string(connection_string) as producer:
            batch = await producer.create_batch(partition_key="key")
            for reading in readings:
                batch.add(EventData(json.dumps(reading)))
            await producer.send_batch(batch)

    asyncio.run(deliver())
    Path(state).write_text(json.dumps({"sent": len(readings)}), encoding="utf-8")


def asked(login: str, form: str, urls: Sequence[str]) -> list[object]:
    """Log in, and give the readings that these URLs answer with."""
    import base64

    import requests

    with requests.Session() as session:
        cookie = session.post(login, data=json.loads(form), allow_redirects=False).cookies["PLAY_SESSION"]
        claims = json.loads(base64.urlsafe_b64decode(cookie.split(".")[1] + "=="))
        session.headers["Authorization"] = f"Bearer {claims['data']['access_token']}"
        answers = [session.get(url).json() for url in urls]
    objs = [obj for answer in answers for obj in answer["objs"]]
    return [reading for obj in objs for reading in obj["data"].get("line", ())]


if __name__ == "__main__":
    programs: Mapping[str, Callable[..., None]] = {
        program.__name__: program for program in (send, forward, forward_with_libraries)
    }
    programs[sys.argv[1]](*sys.argv[2:])
