"""Every part goes the way that the settings name, and how long each step of it takes is told."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Literal

import pytest
from azure.eventhub.exceptions import EventHubError

from app.base.errors import ForwarderError, HubUnreachable, StateError
from app.eventhub.connecting import bypassed_proxy, hub_proxy, hub_url
from app.eventhub.hub import translate
from app.microshare.http import Http
from app.network.probing import walk
from app.settings.network import read_proxy
from app.settings.schema import DIRECT, HubSettings, NetworkSettings, StateSettings, TelemetrySettings
from app.state.opening import open_store
from app.telemetry.azure_monitor import send
from app.telemetry.run_telemetry import Span
from tests.environments.identities import IdentityEndpoint
from tests.environments.proxies import RefusingProxy
from tests.environments.tls import Authority, TlsFront
from tests.unit.sdk_errors import within

SIGNED_IN = "Proxy-Authorization: Basic dXMgZXI6cEBzcw=="
KEY = "SharedAccessKeyName=n;SharedAccessKey=obviously-false;EntityPath=e"


def by_proxy(port: int) -> NetworkSettings:
    return NetworkSettings(https_proxy=read_proxy(f"http://us%20er:p%40ss@127.0.0.1:{port}"))


class AnsweringServer(ThreadingHTTPServer):
    """A server on loopback that has one answer to all."""

    def __init__(self) -> None:
        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                self.send_response(200)
                self.send_header("Content-Length", "2")
                self.end_headers()
                self.wfile.write(b"{}")

            def log_message(self, *_: object) -> None:
                pass

        super().__init__(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.serve_forever, daemon=True).start()


@pytest.fixture
def proxy(monkeypatch: pytest.MonkeyPatch) -> Iterator[RefusingProxy]:
    """A proxy; that of the environment is another one, and nobody is to ask it."""
    for name in ("HTTPS_PROXY", "https_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    made = RefusingProxy()
    yield made
    made.close()


def ask_api(network: NetworkSettings) -> None:
    http = Http(largest_body=1_000, network=network)
    http.send("GET", "https://api.example.test/path", seconds=20, remaining=lambda: 20)


def ask_tables(network: NetworkSettings) -> None:
    account = "DefaultEndpointsProtocol=https;AccountName=account;AccountKey=ZmFsc2U="
    connection = f"{account};EndpointSuffix=example.test"
    open_store(StateSettings("table", "/nowhere", connection, network=network)).load("peoplecounterstate")


def tell_azure_monitor(network: NetworkSettings, *, by_identity: bool = False) -> str:
    key = "InstrumentationKey=00000000-0000-0000-0000-000000000000;IngestionEndpoint=https://in.example.test"
    run = Span("run", datetime(2026, 3, 2, tzinfo=UTC), 1.0)
    return send(TelemetrySettings(key, "role", network, by_identity), run, (), ()) or ""


def told_azure_monitor(network: NetworkSettings) -> None:
    raise ForwarderError(tell_azure_monitor(network))


PARTS: dict[str, tuple[Callable[[NetworkSettings], None], str]] = {
    "the API": (ask_api, "api.example.test:443"),
    "tables": (ask_tables, "account.table.example.test:443"),
    "telemetry": (told_azure_monitor, "in.example.test:443"),
}


@pytest.mark.parametrize("part", PARTS)
def test_a_part_asks_the_proxy_of_the_settings_and_no_other(part: str, proxy: RefusingProxy) -> None:
    ask, host = PARTS[part]

    with pytest.raises(ForwarderError) as failed:
        ask(by_proxy(proxy.port))

    assert proxy.asked
    assert all(asked.startswith(f"CONNECT {host} ") and SIGNED_IN in asked for asked in proxy.asked)
    assert "p@ss" not in str(failed.value)


def test_tables_that_are_not_reached_through_a_proxy_name_it() -> None:
    """As the API does; the SDK's own text names neither it nor its port."""
    network = by_proxy(1)

    with pytest.raises(StateError, match=r"not reached through the proxy http://127\.0\.0\.1:1 .*that proxy"):
        ask_tables(network)


NOWHERE = NetworkSettings(https_proxy=read_proxy("http://us%20er:p%40ss@nowhere.invalid:3128"))
NO_HOST = r"there is no such host: [^)]+"


@pytest.mark.parametrize(
    ("ask", "network", "said"),
    [
        (ask_api, DIRECT, rf"api\.example\.test failed \({NO_HOST}\); check MICROSHARE_API_URL"),
        (
            ask_api,
            NOWHERE,
            rf"through the proxy http://nowhere\.invalid:3128 failed \({NO_HOST}\); check HTTPS_",
        ),
        (
            ask_tables,
            DIRECT,
            rf"not reached \({NO_HOST}\); check the name of the account in AzureWebJobsStorage",
        ),
        (
            ask_tables,
            NOWHERE,
            rf"through the proxy http://nowhere\.invalid:3128 \({NO_HOST}\); check HTTPS_PROXY",
        ),
    ],
    ids=["the API", "the API by a proxy", "tables", "tables by a proxy"],
)
def test_a_host_that_does_not_exist_is_said_with_what_names_it(
    ask: Callable[[NetworkSettings], None], network: NetworkSettings, said: str
) -> None:
    with pytest.raises(ForwarderError, match=said) as failed:
        ask(network)

    assert "p@ss" not in str(failed.value)
    assert "443" not in str(failed.value)


@pytest.mark.parametrize(
    ("transport", "network", "said"),
    [
        (
            "amqp",
            DIRECT,
            ": there is no host h.example.test (Name or service not known); check its namespace",
        ),
        (
            "websockets",
            DIRECT,
            ": there is no host h.example.test (Name or service not known); check its name",
        ),
        (
            "websockets",
            NOWHERE,
            " through the proxy http://nowhere.invalid:3128: there is no host nowhere.invalid (Name or",
        ),
    ],
    ids=["amqp", "websockets", "by a proxy"],
)
def test_a_hub_whose_host_does_not_exist_is_not_told_of_ports(
    transport: Literal["amqp", "websockets"], network: NetworkSettings, said: str
) -> None:
    hub = HubSettings("h.example.test/e", "eu", "h.example.test", "e", transport=transport, network=network)
    error = within(EventHubError("failed"), socket.gaierror(socket.EAI_NONAME, "Name or service not known"))

    told = translate(hub, error)

    assert str(told).startswith(f"hub eu: no connection{said}")
    assert "443" not in str(told)
    assert isinstance(told, HubUnreachable)
    assert told.where_others_are_reached() is told


def test_a_name_server_that_does_not_answer_is_a_matter_of_the_network() -> None:
    error = within(EventHubError("failed"), socket.gaierror(socket.EAI_AGAIN, "Temporary failure"))

    told = str(translate(HubSettings("h.example.test/e", "eu", "h.example.test", "e"), error))

    assert "there is no host" not in told
    assert "check the network" in told


def test_telemetry_is_signed_by_the_identity_that_is_named_for_it(
    proxy: RefusingProxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    with IdentityEndpoint("obviously-false-token") as endpoint:
        for name, value in endpoint.environ.items():
            monkeypatch.setenv(name, value)
        network = replace(by_proxy(proxy.port), in_azure=True, client_id="client-2")

        tell_azure_monitor(network, by_identity=True)

    assert set(endpoint.asked) == {"client-2"}


def test_what_answers_behind_a_proxy_is_heard(tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    with AnsweringServer() as server:
        front = TlsFront(server.server_port, authority.sign(host="api.example.test"), as_proxy=True).start()
        network = replace(by_proxy(front.port), ca_file=str(authority.file))
        http = Http(largest_body=1_000, network=network)
        try:
            answer = http.send("GET", "https://api.example.test/path", seconds=20, remaining=lambda: 20)
        finally:
            http.close()
            front.stop()

    assert (answer.status, answer.body) == (200, b"{}")
    assert SIGNED_IN in front.asked[0]


def test_a_proxy_that_refuses_is_named_without_its_password(proxy: RefusingProxy) -> None:
    with pytest.raises(ForwarderError) as failed:
        ask_api(by_proxy(proxy.port))

    said = str(failed.value)
    assert f"api.example.test through the proxy http://127.0.0.1:{proxy.port} failed" in said
    assert "407 Proxy Authentication Required" in said


# --- hubs -------------------------------------------------------------------------------------------


def hub(host: str, transport: str = "amqp", *, emulated: bool = False) -> HubSettings:
    string = f"Endpoint=sb://{host};{KEY}" + (";UseDevelopmentEmulator=true" if emulated else "")
    made = HubSettings(f"{host}/e", "eu", host, "e", string, network=by_proxy(3128))
    return replace(made, transport="websockets") if transport == "websockets" else made


@pytest.mark.parametrize(
    ("settings", "url"),
    [
        (hub("a.servicebus.windows.net"), "amqps://a.servicebus.windows.net"),
        (hub("a.servicebus.windows.net:5671"), "amqps://a.servicebus.windows.net"),
        (hub("a.servicebus.windows.net", "websockets"), "wss://a.servicebus.windows.net"),
        (hub("127.0.0.1:5672", emulated=True), "amqp://127.0.0.1:5672"),
    ],
    ids=["AMQP", "a port, which the SDK does not heed", "WebSockets", "an emulator"],
)
def test_a_hub_is_looked_for_where_the_sdk_does(settings: HubSettings, url: str) -> None:
    assert hub_url(settings) == url


def test_amqp_over_tcp_goes_past_a_proxy_and_a_failure_says_so() -> None:
    plain, web = hub("a.servicebus.windows.net"), hub("a.servicebus.windows.net", "websockets")
    excepted = replace(plain, network=replace(plain.network, no_proxy=("servicebus.windows.net",)))
    proxy = plain.network.https_proxy

    assert [(hub_proxy(one), bypassed_proxy(one)) for one in (plain, web, excepted)] == [
        (None, proxy),
        (proxy, None),
        (None, None),
    ]
    refused = OSError(111, "refused")
    assert "to go through the proxy, set EVENT_HUB_TRANSPORT=websockets" in str(translate(plain, refused))
    assert "through the proxy http://127.0.0.1:3128" in str(translate(web, refused))
    assert "proxy" not in str(translate(excepted, refused))


# --- how long it takes ------------------------------------------------------------------------------


@pytest.fixture
def tls(tmp_path: Path) -> Iterator[tuple[TlsFront, Authority]]:
    authority = Authority(tmp_path)
    front = TlsFront(1, authority.sign()).start()
    yield front, authority
    front.stop()


def test_each_step_of_a_direct_way_is_timed(tls: tuple[TlsFront, Authority]) -> None:
    front, authority = tls

    way = walk(NetworkSettings(ca_file=str(authority.file)), f"https://127.0.0.1:{front.port}", 10)
    unknown = walk(NetworkSettings(), f"https://127.0.0.1:{front.port}", 10)

    assert list(way.steps) == list(unknown.steps) == ["dns", "tcp", "tls"]
    assert (way.proxy, way.authorities, way.transport, way.stopped) == (
        None,
        str(authority.file),
        "https",
        None,
    )
    assert way.said().startswith("direct, dns ")
    assert way.as_json()["host"] == f"127.0.0.1:{front.port}"


def test_a_way_through_a_proxy_has_its_step_and_says_where_it_ends(proxy: RefusingProxy) -> None:
    way = walk(by_proxy(proxy.port), "wss://hubs.example.test", 10)

    assert list(way.steps) == ["dns", "tcp", "proxy"]
    assert (way.host, way.transport) == ("hubs.example.test:443", "websockets")
    assert (way.proxy, way.stopped) == (f"http://127.0.0.1:{proxy.port}", "the proxy answers 407")
    assert SIGNED_IN in proxy.asked[0]
    assert "p@ss" not in way.said() + str(way.as_json())


def test_amqp_over_tcp_is_walked_past_the_proxy(proxy: RefusingProxy) -> None:
    way = walk(by_proxy(proxy.port), "amqp://127.0.0.1:1", 10)

    assert (way.proxy, list(way.steps), way.stopped) == (None, ["dns", "tcp"], "Connection refused")
    assert proxy.asked == []
