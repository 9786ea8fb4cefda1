"""A hub that is reached over WebSockets, through a proxy and by its own authority: to send, and to read."""

from __future__ import annotations

import asyncio
import base64
import gc
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from app.base.errors import HubUnreachable
from app.eventhub.hub import Hub
from app.eventhub.reader import HubReader
from app.eventhub.received import Received
from app.settings.network import read_proxy
from app.settings.schema import HubSettings, NetworkSettings
from emulators.eventhubs import EventHubsEmulator
from emulators.foreign_events import data, message
from tests.environments.identities import IdentityEndpoint
from tests.environments.proxies import RefusingProxy
from tests.environments.terminal import Terminal
from tests.environments.tls import Authority, TlsFront
from tests.environments.websockets import WebSocketFront

HOST = "hubs.example.test"
TOKEN = "obviously-false-token"


class Way:
    """A hub behind TLS and WebSockets, which a proxy alone can reach; its name is nowhere else."""

    def __init__(self, hubs: EventHubsEmulator, proxy: TlsFront, authority: Authority) -> None:
        self.hub = hubs.hub("hub")
        self.proxy = proxy
        self.authority = authority
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


async def opened(settings: HubSettings, *, within_s: float = 20) -> int:
    hub = Hub(settings)
    try:
        return await hub.open(within_s)
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


# --- where a hub is not reached -------------------------------------------------------------------------


def closed_port(_: Authority) -> Iterator[int]:
    with socket.create_server(("127.0.0.1", 0)) as found:
        port = int(found.getsockname()[1])
    yield port


def silent_port(_: Authority) -> Iterator[int]:
    """A port where connections are taken, and nothing is ever answered."""
    with socket.create_server(("127.0.0.1", 0)) as found:
        yield int(found.getsockname()[1])


def refusing_port(_: Authority) -> Iterator[int]:
    proxy = RefusingProxy()
    yield proxy.port
    proxy.close()


def silent_hub(authority: Authority) -> Iterator[int]:
    """The port of a proxy behind which a WebSocket is taken, and nothing is ever said in it."""
    with contextmanager(silent_port)(authority) as port:
        front = WebSocketFront(port).start()
        proxy = TlsFront(front.port, authority.sign(host=HOST), as_proxy=True).start()
        yield proxy.port
        assert front.met == 1
        proxy.stop()
        front.stop()


@pytest.mark.parametrize("ports", [refusing_port, closed_port, silent_port, silent_hub])
def test_a_hub_that_is_not_reached_leaves_nothing_open(
    ports: Callable[[Authority], Iterator[int]], way: Way, caplog: pytest.LogCaptureFixture
) -> None:
    with contextmanager(ports)(way.authority) as port:
        network = replace(way.settings.network, https_proxy=read_proxy(f"http://127.0.0.1:{port}"))
        with pytest.raises(HubUnreachable, match=f"through the proxy http://127.0.0.1:{port}"):
            asyncio.run(opened(replace(way.settings, network=network), within_s=3))
        gc.collect()

    assert [record.getMessage() for record in caplog.records if record.name == "asyncio"] == []


@pytest.mark.parametrize("words", [("run", "people-counter"), ("check",), ("tail",)], ids=" ".join)
def test_a_command_says_of_a_proxy_that_refuses_it_what_is_ours_to_say(
    words: tuple[str, ...], terminal: Terminal
) -> None:
    proxy = RefusingProxy()
    hub = f"Endpoint=sb://{HOST}/;SharedAccessKeyName=send;SharedAccessKey=b2J2aW91c2x5IGZhbHNl;EntityPath=c"

    ended = terminal.call(
        *words,
        HTTPS_PROXY=f"http://127.0.0.1:{proxy.port}",
        EVENT_HUB_TRANSPORT="websockets",
        EVENT_HUB_CONNECTION_STRING=hub,
        EVENT_HUB_CONNECTION_STRINGS="[]",
    )
    proxy.close()

    ours = ('{"event": ', "hub primary: no connection through the proxy ")
    assert [line for line in ended.err.splitlines() if not line.startswith(ours)] == []
    assert "407" in ended.out + ended.err
    assert ended.status == 1
