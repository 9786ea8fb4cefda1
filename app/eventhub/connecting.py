"""The SDK's asyncio clients of a hub, for sending and for reading: one way to the hub for both."""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Sequence
from typing import Any

from app.settings.schema import HubSettings

Closing = Sequence[Callable[[], Coroutine[Any, Any, None]]]


def producer_client(settings: HubSettings, **options: Any) -> tuple[Any, Closing]:
    """Give a client that sends, and what closes it and what it needs. Nothing is connected yet."""
    from azure.eventhub.aio import EventHubProducerClient

    return _client(EventHubProducerClient, settings, **options)


def consumer_client(settings: HubSettings, consumer_group: str) -> tuple[Any, Closing]:
    """Give a client that reads, and what closes it and what it needs. Nothing is connected yet."""
    from azure.eventhub.aio import EventHubConsumerClient

    return _client(EventHubConsumerClient, settings, consumer_group=consumer_group, retry_total=0)


def _client(kind: Any, settings: HubSettings, **options: Any) -> tuple[Any, Closing]:
    options = _options(settings) | options
    if settings.connection_string is not None:
        client = kind.from_connection_string(settings.connection_string, **options)
        return client, [client.close]
    from azure.identity.aio import DefaultAzureCredential

    credential = DefaultAzureCredential()
    client = kind(settings.host, credential=credential, **options)
    return client, [client.close, credential.close]


def _options(settings: HubSettings) -> dict[str, Any]:
    from azure.eventhub import TransportType

    transport = TransportType.AmqpOverWebsocket if settings.transport == "websockets" else TransportType.Amqp
    options = {"eventhub_name": settings.entity, "transport_type": transport, "logging_enable": False}
    return options if settings.ca_file is None else options | {"connection_verify": settings.ca_file}
