"""The SDK's asyncio clients of a hub, for sending and for reading: one way to the hub for both."""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Sequence
from contextlib import suppress
from dataclasses import replace
from typing import Any
from urllib.parse import urlsplit

from app.eventhub.websockets import close_what_fails
from app.network.authorities import no_authorities, trusting
from app.network.identity import async_credential
from app.network.proxies import by_proxy, proxy_for
from app.settings.connection_strings import authority, is_emulated
from app.settings.schema import HubSettings, Proxy

Closing = Sequence[Callable[[], Coroutine[Any, Any, None]]]


def load_sdk() -> None:
    """Load what connects to hubs. Where that fails, it fails again as a hub is opened, and is told there."""
    with suppress(Exception):
        import azure.eventhub.aio  # noqa: F401


def producer_client(settings: HubSettings, **options: Any) -> tuple[Any, Closing]:
    """Give a client that sends, and what closes it and what it needs. Nothing is connected yet."""
    from azure.eventhub.aio import EventHubProducerClient

    return _client(EventHubProducerClient, settings, **options)


def consumer_client(settings: HubSettings, consumer_group: str) -> tuple[Any, Closing]:
    """Give a client that reads, and what closes it and what it needs. Nothing is connected yet."""
    from azure.eventhub.aio import EventHubConsumerClient

    return _client(EventHubConsumerClient, settings, consumer_group=consumer_group, retry_total=0)


def _client(kind: Any, settings: HubSettings, **options: Any) -> tuple[Any, Closing]:
    if settings.transport == "websockets":
        close_what_fails()
    options = _options(settings) | options
    if settings.connection_string is not None:
        client = kind.from_connection_string(settings.connection_string, **options)
        return client, [client.close]
    credential = async_credential(settings.network)
    client = kind(settings.host, credential=credential, **options)
    return client, [client.close, credential.close]


def hub_url(settings: HubSettings) -> str:
    """Give where the SDK looks for a hub: at the transport's own port, unless it is an emulator's."""
    scheme = "ws" if settings.transport == "websockets" else "amqp"
    if is_emulated(settings.connection_string or ""):
        return f"{scheme}://{settings.host}"
    return f"{scheme}s://{authority(urlsplit(f'//{settings.host}').hostname or '', None)}"


def hub_proxy(settings: HubSettings) -> Proxy | None:
    """Give the proxy that a hub is reached through. AMQP over TCP goes through none: proxies carry HTTP."""
    return proxy_for(settings.network, hub_url(settings)) if settings.transport == "websockets" else None


def bypassed_proxy(settings: HubSettings) -> Proxy | None:
    """Give the proxy that would stand before a hub if the transport were WebSockets."""
    other = replace(settings, transport="websockets")
    return None if settings.transport == "websockets" else hub_proxy(other)


def through(settings: HubSettings) -> str:
    """Say for a message what of the way to a hub is out of the ordinary; mostly nothing."""
    return by_proxy(settings.network, hub_url(settings)) if settings.transport == "websockets" else ""


def _options(settings: HubSettings) -> dict[str, Any]:
    from azure.eventhub import TransportType

    transport = TransportType.AmqpOverWebsocket if settings.transport == "websockets" else TransportType.Amqp
    # Else the SDK reads the authorities for each hub and connection, an emulator's without TLS included.
    is_plain = is_emulated(settings.connection_string or "")
    options = {
        "eventhub_name": settings.entity,
        "transport_type": transport,
        "logging_enable": False,
        "ssl_context": no_authorities() if is_plain else trusting(settings.network.ca_file),
    }
    if proxy := hub_proxy(settings):
        # The asyncio client gives host and port, put together, to aiohttp, which needs the scheme too.
        options["http_proxy"] = {
            "proxy_hostname": f"{proxy.scheme}://{authority(proxy.host, None)}",
            "proxy_port": proxy.port,
            "username": proxy.user,
            "password": proxy.password,
        }
    return options
