"""The least programs that a forwarder is measured against: the SDKs, and nothing around them.

    python -m benchmarks.least send FILE CONNECTION_STRING...

`send` sends events, ready in a file, to each hub, encoding them for each, as its documentation shows.
"""

from __future__ import annotations

import pickle
import sys
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


if __name__ == "__main__":
    {"send": send}[sys.argv[1]](*sys.argv[2:])
