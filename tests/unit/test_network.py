"""The one way to the network: which proxy, whose authority, what identity, and which of several addresses."""

from __future__ import annotations

import asyncio
import gc
import os
import socket
import ssl
import sys
import time
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from types import FrameType
from typing import Any

import certifi
import pytest

from app.base.errors import SettingsError
from app.base.program import APP_ROOT
from app.base.redaction import redact
from app.network.addresses import EveryAddressLoop, connect_to_any
from app.network.authorities import no_authorities, trusting
from app.network.identity import async_credential, credential
from app.network.proxies import azure_options, proxies_of, proxy_for, proxy_url
from app.settings.loading import load_settings
from app.settings.network import read_proxy, shown_proxy
from app.settings.schema import NetworkSettings, Proxy, Settings

NEEDED = {
    "MICROSHARE_USERNAME": "svc",
    "MICROSHARE_PASSWORD": "obviously-false",
    "MICROSHARE_IDENTITY": "com.example",
    "MICROSHARE_PC_DEVICE_CLUSTER_ID": "cluster",
    "MICROSHARE_PC_DASHBOARD_VIEW_ID": "view",
    "EVENT_HUB_CONNECTION_STRING": "Endpoint=sb://a.servicebus.windows.net/;SharedAccessKeyName=send;"
    "SharedAccessKey=obviously-false;EntityPath=counts",
    "TELEMETRY": "azure-monitor",
    "APPLICATIONINSIGHTS_CONNECTION_STRING": "InstrumentationKey=00000000-0000-0000-0000-000000000000",
}
ONE = Proxy("http", "proxy.example.test", 3128)
OTHER = Proxy("http", "other.example.test", 3128)
BOTH = NetworkSettings(https_proxy=ONE, http_proxy=OTHER)


def loaded(environ: Mapping[str, str], dotenv: Path = Path("none")) -> Settings:
    return load_settings({**NEEDED, **environ}, config_file=APP_ROOT / "config.yaml", dotenv=dotenv)


# --- what the environment says ----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("environ", "https", "http"),
    [
        ({}, None, None),
        ({"HTTPS_PROXY": "http://proxy.example.test:3128"}, ONE, None),
        ({"https_proxy": "proxy.example.test:3128", "HTTPS_PROXY": "http://other.example.test"}, ONE, None),
        ({"HTTP_PROXY": "http://proxy.example.test:3128/"}, None, ONE),
        ({"ALL_PROXY": "http://proxy.example.test:3128"}, ONE, ONE),
        (
            {"ALL_PROXY": "http://proxy.example.test:3128", "HTTP_PROXY": "other.example.test:3128"},
            ONE,
            OTHER,
        ),
        (
            {
                "ALL_PROXY": "socks5://proxy.example.test:1080",
                "HTTPS_PROXY": "http://proxy.example.test:3128",
                "HTTP_PROXY": "other.example.test:3128",
            },
            ONE,
            OTHER,
        ),
        ({"HTTPS_PROXY": " "}, None, None),
    ],
    ids=[
        "none",
        "for TLS",
        "small letters first",
        "without TLS",
        "for all",
        "for all but one",
        "for all else, and there is nothing else",
        "blank",
    ],
)
def test_the_proxies_are_those_of_the_environment(
    environ: dict[str, str], https: Proxy | None, http: Proxy | None
) -> None:
    network = loaded(environ).microshare.network

    assert (network.https_proxy, network.http_proxy) == (https, http)


def test_every_part_takes_the_same_way(tmp_path: Path) -> None:
    (tmp_path / ".env").write_text(
        "HTTPS_PROXY=http://proxy.example.test:3128\nNO_PROXY='a.example.test, b.example.test'\n"
        f"SSL_CERT_FILE={certifi.where()}\nAZURE_CLIENT_ID=client-1\n"
    )

    settings = loaded({}, tmp_path / ".env")

    expected = NetworkSettings(
        https_proxy=ONE,
        no_proxy=("a.example.test", "b.example.test"),
        ca_file=certifi.where(),
        client_id="client-1",
    )
    assert settings.telemetry is not None
    parts: list[Any] = [settings.microshare, *settings.hubs, settings.state, settings.telemetry]
    assert [part.network for part in parts] == [expected] * 4


@pytest.mark.parametrize(
    ("text", "proxy"),
    [
        (
            "http://user:false-word@proxy.example.test:3128",
            Proxy("http", "proxy.example.test", 3128, "user", "false-word"),
        ),
        ("https://proxy.example.test", Proxy("https", "proxy.example.test", 443)),
        ("HTTP://proxy.example.test", Proxy("http", "proxy.example.test", 80)),
        ("http://[::1]:3128", Proxy("http", "::1", 3128)),
        ("http://user:p%40ss@proxy.example.test:1", Proxy("http", "proxy.example.test", 1, "user", "p@ss")),
        (
            "http://user:a/b#c?d[e@f@proxy.example.test:1",
            Proxy("http", "proxy.example.test", 1, "user", "a/b#c?d[e@f"),
        ),
    ],
    ids=["password", "over TLS", "large letters", "IPv6", "percent", "whatever is in the password"],
)
def test_a_proxy_is_read_and_written_with_its_password(text: str, proxy: Proxy) -> None:
    found = read_proxy(text)

    assert (found, found.password) == (proxy, proxy.password)
    assert read_proxy(proxy_url(proxy)) == proxy
    assert proxy.password not in shown_proxy(found) or not proxy.password


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (
            "http://user:s3cr3t-of-proxy@proxy.example.test:99999",
            "no port between 1 and 65535 after the proxy's host 'proxy.example.test'",
        ),
        ("http://user:s3cr3t-of-proxy@proxy.example.test:s3cr3t", "no port between 1 and 65535"),
        ("http://user:s3cr3t-of-proxy@", "no host"),
        ("http://user:s3cr3t-of-proxy@[proxy.example.test", "no host"),
        ("http://user:s3cr3t-of-proxy@proxy..example.test:3128", "no host"),
        ("socks5://user:s3cr3t-of-proxy@proxy.example.test", "of the kind 'socks5'"),
    ],
)
@pytest.mark.parametrize("variable", ["HTTPS_PROXY", "HTTP_PROXY", "ALL_PROXY"])
def test_a_proxy_that_is_none_is_refused_without_its_password(variable: str, text: str, said: str) -> None:
    with pytest.raises(SettingsError) as refused:
        loaded({variable: text})

    assert said in str(refused.value)
    assert f"{variable}: " in str(refused.value)
    assert "s3cr3t" not in str(refused.value)
    assert "s3cr3t" not in redact(text.replace(":s3cr3t", "") if text.endswith(":s3cr3t") else text)


@pytest.mark.parametrize("variable", ["REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "SSL_CERT_FILE"])
def test_the_authorities_count_where_a_config_file_says_nothing_of_them(
    tmp_path: Path, variable: str
) -> None:
    lines = (APP_ROOT / "config.yaml").read_text().splitlines()
    own = tmp_path / "config.yaml"
    own.write_text("\n".join(line for line in lines if not line.startswith("ca_file:")))

    settings = load_settings({**NEEDED, variable: certifi.where()}, config_file=own, dotenv=tmp_path / "none")

    assert settings.microshare.network.ca_file == certifi.where()


def test_a_file_of_authorities_that_is_none_is_named(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="SSL_CERT_FILE: '/nowhere' is not a file"):
        loaded({"SSL_CERT_FILE": "/nowhere"})
    # In the form of Windows, DER, or with a line of it lost.
    (tmp_path / "ca.cer").write_bytes(bytes(range(256)))
    whole = Path(certifi.where()).read_text().partition("-----END")[0].splitlines(keepends=True)
    (tmp_path / "ca.pem").write_text("".join(whole[:-2]) + "-----END CERTIFICATE-----\n")
    for name in ("ca.cer", "ca.pem"):
        with pytest.raises(SettingsError, match=r"SSL_CERT_FILE: .* holds no certificates that can be read"):
            loaded({"SSL_CERT_FILE": str(tmp_path / name)})


# --- whom a proxy stands before ---------------------------------------------------------------------


@pytest.mark.parametrize(
    ("url", "no_proxy", "proxy"),
    [
        ("https://api.example.test/path", (), ONE),
        ("wss://api.example.test", (), ONE),
        ("http://api.example.test", (), OTHER),
        ("https://api.example.test", ("*",), None),
        ("https://api.example.test", ("example.test",), None),
        ("https://api.example.test", (".example.test",), None),
        ("https://API.example.test", ("*.Example.test",), None),
        ("https://example.test", (".example.test",), None),
        ("https://api-example.test", ("example.test",), ONE),
        ("https://api.example.test", ("api.example.test:443",), None),
        ("https://api.example.test:8443", ("api.example.test:443",), ONE),
        ("https://10.1.2.3", ("10.0.0.0/8",), None),
        ("https://11.1.2.3", ("10.0.0.0/8",), ONE),
        ("https://127.0.0.1:8080", ("127.0.0.1",), None),
        ("https://[::1]:8080", ("::1",), None),
        ("https://[fd00::5]", ("[fd00::]/8", "fd00::/8"), None),
        ("https://api.example.test", ("10.0.0.0/8", "", "elsewhere.test"), ONE),
    ],
)  # fmt: skip
def test_no_proxy_means_hosts_domains_ports_and_nets(
    url: str, no_proxy: tuple[str, ...], proxy: Proxy | None
) -> None:
    network = NetworkSettings(https_proxy=ONE, http_proxy=OTHER, no_proxy=no_proxy)

    assert proxy_for(network, url) == proxy


def test_clients_of_azure_look_at_nothing_but_the_settings() -> None:
    secret = Proxy("http", "proxy.example.test", 3128, "us er", "p/w")
    network = NetworkSettings(https_proxy=secret, ca_file="/x.pem")

    assert azure_options(network, "https://account.example.test") == {
        "use_env_settings": False,
        "proxies": {"https": "http://us%20er:p%2Fw@proxy.example.test:3128"},
        "connection_verify": "/x.pem",
    }
    assert azure_options(NetworkSettings(), "https://account.example.test") == {
        "use_env_settings": False,
        "proxies": {},
    }
    assert proxies_of(BOTH, "http://127.0.0.1:10002/x") == {"http": "http://other.example.test:3128"}


# --- authorities ------------------------------------------------------------------------------------


def test_authorities_are_read_once_and_again_when_their_file_is_another(tmp_path: Path) -> None:
    file = tmp_path / "ca.pem"
    one, other = ssl.create_default_context(cafile=certifi.where()).get_ca_certs(binary_form=True)[:2]
    file.write_text(ssl.DER_cert_to_PEM_cert(one))
    first = trusting(str(file))

    assert trusting(str(file)) is first
    assert first.get_ca_certs(binary_form=True) == [one]
    file.write_text(ssl.DER_cert_to_PEM_cert(other))
    os.utime(file, (0, 0))
    assert trusting(str(file)).get_ca_certs(binary_form=True) == [other]
    file.unlink()
    with pytest.raises(FileNotFoundError):
        trusting(str(file))


@pytest.mark.parametrize("make", [partial(trusting, None), no_authorities], ids=["public", "none"])
def test_certificates_and_hosts_are_always_verified(make: Callable[[], ssl.SSLContext]) -> None:
    context = make()

    assert (context.verify_mode, context.check_hostname) == (ssl.CERT_REQUIRED, True)
    assert bool(context.get_ca_certs()) == (make is not no_authorities)


# --- identities -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("environ", "in_azure"),
    [
        ({}, False),
        ({"WEBSITE_SITE_NAME": "example"}, True),
        ({"IDENTITY_ENDPOINT": "http://127.0.0.1:41741/msi/token"}, True),
    ],
    ids=["a machine", "an app", "a container"],
)
@pytest.mark.parametrize("make", [credential, async_credential], ids=["waiting", "asyncio"])
def test_in_the_cloud_a_managed_identity_alone_signs_in(
    make: Callable[[NetworkSettings], Any], environ: dict[str, str], in_azure: bool
) -> None:
    made = make(loaded({**environ, "AZURE_CLIENT_ID": "client-1"}).hubs[0].network)

    assert type(made).__name__ == ("ManagedIdentityCredential" if in_azure else "DefaultAzureCredential")


@pytest.mark.parametrize(
    ("environ", "hub", "table"),
    [
        ({"AzureWebJobsStorage__clientId": "storage"}, "storage", "storage"),
        ({"AZURE_CLIENT_ID": "all"}, "all", "all"),
        ({"AZURE_CLIENT_ID": "all", "AzureWebJobsStorage__clientId": "storage"}, "all", "storage"),
        ({}, None, None),
    ],
    ids=["of the storage", "of all", "both", "none"],
)
def test_one_identity_counts_for_all_unless_the_storage_has_its_own(
    environ: dict[str, str], hub: str | None, table: str | None
) -> None:
    settings = loaded({"AzureWebJobsStorage__accountName": "examplestate", **environ})

    assert (settings.hubs[0].network.client_id, settings.state.network.client_id) == (hub, table)


@pytest.mark.parametrize(
    ("written", "signs_in", "client_id"),
    [
        ("", False, "all"),
        ("Authorization=AAD", True, "all"),
        ("ClientId=own;Authorization=AAD", True, "own"),
        ("authorization=aad;clientid=own;", True, "own"),
        ("nonsense", False, "all"),
    ],
)
def test_telemetry_is_signed_where_azure_says_so(written: str, signs_in: bool, client_id: str) -> None:
    said = {"APPLICATIONINSIGHTS_AUTHENTICATION_STRING": written, "AZURE_CLIENT_ID": "all"}

    telemetry = loaded(said).telemetry

    assert telemetry is not None
    assert (telemetry.by_identity, telemetry.network.client_id) == (signs_in, client_id)


NAMESPACES = {
    "example.servicebus.windows.net": True,
    "example": True,
    "example.servicebus.chinacloudapi.cn": True,
    "example.servicebus.usgovcloudapi.net": True,
    "example.servicebus.windows.net.example.test": False,
    "exampleservicebus.windows.net": False,
    "example.test": False,
}


@pytest.mark.parametrize(("namespace", "taken"), NAMESPACES.items())
def test_a_token_goes_to_event_hubs_only(namespace: str, taken: bool) -> None:
    others = f'[{{"namespace":"{namespace}","event_hub":"e"}}]'
    if taken:
        assert len(loaded({"EVENT_HUB_CONNECTION_STRINGS": others}).hubs) == 2
        return
    with pytest.raises(SettingsError, match="is not a host of Event Hubs"):
        loaded({"EVENT_HUB_CONNECTION_STRINGS": others})


@pytest.mark.parametrize("suffixes", ["[example.test]", "[.example.test, other.test]", "example.test"])
def test_a_domain_that_is_trusted_may_have_it_too(tmp_path: Path, suffixes: str) -> None:
    config = (
        (APP_ROOT / "config.yaml")
        .read_text()
        .replace("trusted_suffixes: []", f"trusted_suffixes: {suffixes}")
    )
    (tmp_path / "config.yaml").write_text(config)
    environ = {
        **NEEDED,
        "EVENT_HUB_CONNECTION_STRINGS": '[{"namespace":"hubs.example.test","event_hub":"e"}]',
    }

    settings = load_settings(environ, config_file=tmp_path / "config.yaml", dotenv=tmp_path / "none")

    assert settings.hubs[1].host == "hubs.example.test"


def test_a_connection_string_is_taken_as_it_is() -> None:
    string = NEEDED["EVENT_HUB_CONNECTION_STRING"].replace("a.servicebus.windows.net", "hubs.example.test")

    assert loaded({"EVENT_HUB_CONNECTION_STRING": string}).hubs[0].host == "hubs.example.test"


# --- names with several addresses -------------------------------------------------------------------


@pytest.fixture
def deaf() -> Iterator[Callable[[], Any]]:
    """Gives addresses that answer nothing: the queue of each is full, so that it drops what comes."""
    with ExitStack() as stack:

        def address() -> Any:
            listening = stack.enter_context(socket.socket())
            listening.bind(("127.0.0.1", 0))
            listening.listen(0)
            for _ in range(4):
                filling = stack.enter_context(socket.socket())
                filling.setblocking(False)
                filling.connect_ex(listening.getsockname())
            return _as_found(listening)

        yield address


@pytest.fixture
def answering() -> Iterator[Any]:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        yield _as_found(listening)


def _as_found(listening: socket.socket) -> Any:
    return socket.AF_INET, socket.SOCK_STREAM, 0, "", listening.getsockname()


def _closed() -> Any:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        return _as_found(listening)


def within(seconds: float) -> Callable[[], float]:
    end = time.monotonic() + seconds
    return lambda: end - time.monotonic()


def test_an_address_that_drops_packets_does_not_use_up_the_time(
    deaf: Callable[[], Any], answering: Any
) -> None:
    left = within(30)

    with connect_to_any([deaf(), deaf(), answering], left) as found:
        assert found.getpeername() == answering[4]
    assert left() > 15


def test_an_address_that_refuses_is_passed_over(answering: Any) -> None:
    with connect_to_any([_closed(), answering], within(30)) as found:
        assert found.getpeername() == answering[4]


def test_where_all_refuse_the_first_says_why() -> None:
    with pytest.raises(ConnectionRefusedError):
        connect_to_any([_closed(), _closed()], within(30))


def test_a_loop_of_the_hubs_clients_does_the_same(deaf: Callable[[], Any], answering: Any) -> None:
    found = [deaf(), deaf(), answering]

    class Naming(EveryAddressLoop):
        async def getaddrinfo(self, *_: Any, **__: Any) -> Any:
            return found

    async def connected() -> Any:
        _, writer = await asyncio.wait_for(asyncio.open_connection("hubs.example.test", 5671), 30)
        try:
            return writer.get_extra_info("peername")
        finally:
            writer.close()

    with asyncio.Runner(loop_factory=Naming) as runner:
        assert runner.run(connected()) == answering[4]


def test_where_none_answers_the_time_is_over(deaf: Callable[[], Any]) -> None:
    with pytest.raises(TimeoutError):
        connect_to_any([deaf(), deaf()], within(0.6))


def test_an_event_loop_whose_making_is_interrupted_is_left_without_a_complaint(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Ctrl-C comes at any moment: here at each line that makes a loop, one after the other."""
    complaints: list[str] = []
    monkeypatch.setattr(sys, "unraisablehook", lambda found: complaints.append(repr(found.exc_value)))
    line = 0
    gc.disable()  # it would take away what is left of one while the next is made
    with warnings.catch_warnings(action="ignore"):
        while _made_until(line := line + 1) is None:
            pass
        gc.enable()
        gc.collect()

    assert line > 20
    assert complaints == []


def _made_until(line: int) -> bool | None:
    """Make a loop; give None where that was interrupted when so many lines had begun."""
    left = line

    def count(_frame: FrameType, event: str, _found: object) -> Any:
        nonlocal left
        left -= event == "line"
        if left < 0:
            raise KeyboardInterrupt
        return count

    before = sys.gettrace()
    sys.settrace(count)
    try:
        loop = EveryAddressLoop()
    except KeyboardInterrupt:
        return None
    finally:
        sys.settrace(before)
    loop.close()
    return True
