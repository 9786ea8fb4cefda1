"""A hub that is reached over WebSockets, through a proxy and by its own authority: to send, and to read."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from app.eventhub.hub import Hub
from app.eventhub.reader import HubReader
from app.eventhub.received import Received
from app.settings.network import read_proxy
from app.settings.schema import HubSettings, NetworkSettings
from emulators.eventhubs import EventHubsEmulator
from emulators.foreign_events import data, message
from tests.environments.identities import IdentityEndpoint
from tests.environments.tls import Authority, TlsFront
from tests.environments.websockets import WebSocketFront

HOST = "hubs.example.test"
TOKEN = "obviously-false-token"


class Way:
    """A hub behind TLS and WebSockets, which a proxy alone can reach; its name is nowhere else."""

    def __init__(self, hubs: EventHubsEmulator, proxy: TlsFront, authority: Authority) -> None:
        self.hub = hubs.hub("hub")
        self.proxy = proxy
        plain = hubs.connection_string("hub").replace(";UseDevelopmentEmulator=true", "")
        self.settings = HubSettings(
            f"{HOST}/hub",
            "hub",
            HOST,
            "hub",
            plain.replace(f"127.0.0.1:{hubs.port}", HOST),
            transport="websockets",
            network=NetworkSettings(
                https_proxy=read_proxy(f"http://us%20er:p%40ss@127.0.0.1:{proxy.port}"),
                ca_file=str(authority.file),
            ),
        )


@pytest.fixture
def way(tmp_path: Path) -> Iterator[Way]:
    authority = Authority(tmp_path)
    with EventHubsEmulator(["hub"], identity_token=TOKEN) as hubs:
        front = WebSocketFront(hubs.port).start()
        proxy = TlsFront(front.port, authority.sign(host=HOST), as_proxy=True).start()
        yield Way(hubs, proxy, authority)
        proxy.stop()
        front.stop()


async def opened(settings: HubSettings) -> int:
    hub = Hub(settings)
    try:
        return await hub.open(20)
    finally:
        await hub.close()


def test_a_hub_is_sent_to_through_the_proxy_with_its_password(way: Way) -> None:
    assert asyncio.run(opened(way.settings)) > 0

    signed_in = base64.b64encode(b"us er:p@ss").decode()
    assert way.hub.connections == 1
    assert all(asked.startswith(f"CONNECT {HOST}:443 ") for asked in way.proxy.asked)
    assert all(f"Proxy-Authorization: Basic {signed_in}" in asked for asked in way.proxy.asked)


def test_a_hub_is_read_through_the_proxy(way: Way) -> None:
    for number in range(20):
        way.hub.put(message(data(b"%d" % number)), partition_key=str(number))
    taken: list[Received] = []
    reader = HubReader(way.settings, "$Default")

    reader.open(latest=False)
    reader.read_held(taken.append)

    assert sorted(int(event.body) for event in taken) == list(range(20))
    assert way.proxy.trusted > 0


@pytest.fixture
def identities(monkeypatch: pytest.MonkeyPatch) -> Iterator[IdentityEndpoint]:
    """The endpoint of this host, as Azure names it; the proxies of the environment do not reach it."""
    with IdentityEndpoint(TOKEN) as endpoint:
        for name, value in endpoint.environ.items():
            monkeypatch.setenv(name, value)
        for name in ("HTTP_PROXY", "http_proxy", "HTTPS_PROXY"):
            monkeypatch.setenv(name, "http://127.0.0.1:1")
        yield endpoint


def test_a_user_assigned_identity_sends_and_reads_with_a_token_of_its_own(
    way: Way, identities: IdentityEndpoint
) -> None:
    way.hub.put(message(data(b"{}")))
    network = replace(way.settings.network, client_id="client-1", in_azure=True)
    settings = replace(way.settings, connection_string=None, network=network)
    taken: list[Received] = []
    reader = HubReader(settings, "$Default")

    assert asyncio.run(opened(settings)) > 0
    reader.open(latest=False)
    reader.read_held(taken.append)

    assert len(taken) == 1
    assert set(identities.asked) == {"client-1"}


@pytest.mark.parametrize("no_proxy", [(), (HOST,)], ids=["another transport", "an exception"])
def test_what_goes_past_the_proxy_goes_to_the_hub_itself(way: Way, no_proxy: tuple[str, ...]) -> None:
    network = replace(way.settings.network, no_proxy=no_proxy)
    transport = way.settings.transport if no_proxy else "amqp"
    reader = HubReader(replace(way.settings, network=network, transport=transport), "$Default", answer_s=5)

    with pytest.raises(Exception, match="hub hub: no"):
        reader.open(latest=False)

    assert way.proxy.met == 0
