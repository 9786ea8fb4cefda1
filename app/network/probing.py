"""Goes the way to a host step by step, to say how long each takes; nothing is asked at its end."""

from __future__ import annotations

import base64
import socket
import ssl
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

from app.base.unknown_host import why_unknown
from app.network.addresses import connect_to_any
from app.network.proxies import proxy_for
from app.settings.connection_strings import authority
from app.settings.network import shown_proxy
from app.settings.schema import NetworkSettings, Proxy

# For a person who waits: longer than any way takes that can be used.
WAY_S = 5.0
# Where each scheme is at home, and whether it is spoken within TLS.
_SCHEMES = {
    "https": (443, True),
    "http": (80, False),
    "wss": (443, True),
    "ws": (80, False),
    "amqps": (5671, True),
    "amqp": (5672, False),
}
_TRANSPORTS = {"wss": "websockets", "ws": "websockets", "amqps": "amqp", "amqp": "amqp"}
# Which end of a proxy's answer ends its head, and how long one may be.
_END, _LONGEST_HEAD = b"\r\n\r\n", 65_536


@dataclass(slots=True)
class Way:
    """How a host is reached: `steps` in seconds, in their order, and where it ends early why it `stopped`."""

    host: str
    transport: str
    proxy: str | None
    authorities: str
    identity: str | None = None
    steps: dict[str, float] = field(default_factory=dict)
    stopped: str | None = None

    @contextmanager
    def timed(self, step: str) -> Iterator[None]:
        """Note how long a step takes, whatever it comes to."""
        began = time.monotonic()
        try:
            yield
        finally:
            self.steps[step] = time.monotonic() - began

    def said(self) -> str:
        """Say it in one line."""
        steps = ", ".join(f"{name} {seconds * 1000:,.0f} ms" for name, seconds in self.steps.items())
        through = f"by {self.proxy}" if self.proxy else "direct"
        return f"{through}, {steps}" + (f": {self.stopped}" if self.stopped else "")

    def as_json(self) -> dict[str, Any]:
        return {
            "host": self.host,
            "transport": self.transport,
            "proxy": self.proxy,
            "authorities": self.authorities,
            "identity": self.identity,
            "steps_s": {name: round(seconds, 4) for name, seconds in self.steps.items()},
            "stopped": self.stopped,
        }


def walk(network: NetworkSettings, url: str, seconds: float, *, identity: str | None = None) -> Way:
    """Find a host's addresses, connect, through its proxy where there is one, and shake hands over TLS.

    AMQP over TCP goes through no proxy. Ends after `seconds`, but for the resolver's own limits.
    """
    parts = urlsplit(url)
    home, secure = _SCHEMES[parts.scheme]
    host, port = parts.hostname or "", parts.port or home
    transport = _TRANSPORTS.get(parts.scheme, "https" if secure else "http")
    proxy = None if transport == "amqp" else proxy_for(network, url)
    way = Way(
        authority(host, port),
        transport,
        shown_proxy(proxy) if proxy else None,
        network.ca_file or "public",
        identity,
    )
    try:
        _walk(way, network, proxy, (host, port), seconds, secure=secure)
    except (OSError, ValueError) as error:
        way.stopped = _reason(error)
    return way


def _walk(
    way: Way,
    network: NetworkSettings,
    proxy: Proxy | None,
    end: tuple[str, int],
    seconds: float,
    *,
    secure: bool,
) -> None:
    began = time.monotonic()

    def left() -> float:
        return max(0.001, began + seconds - time.monotonic())

    first = (proxy.host, proxy.port) if proxy else end
    with way.timed("dns"):
        addresses = socket.getaddrinfo(*first, type=socket.SOCK_STREAM)
    with way.timed("tcp"):
        sock = connect_to_any(addresses, lambda: began + seconds - time.monotonic())
    with sock:
        sock.settimeout(left())
        if proxy and proxy.scheme == "https":
            # What comes after is within this TLS, and timed with the last step.
            with way.timed("tls to the proxy"):
                _shake_hands(sock, network, proxy.host)
            return
        if proxy and secure:
            with way.timed("proxy"):
                _ask_to_connect(sock, proxy, authority(*end), left)
        if secure:
            with way.timed("tls"):
                _shake_hands(sock, network, end[0])


def _shake_hands(sock: socket.socket, network: NetworkSettings, host: str) -> None:
    context = ssl.create_default_context(cafile=network.ca_file)
    try:
        context.wrap_socket(sock, server_hostname=host).close()
    except ssl.SSLCertVerificationError:
        # Whom the clients trust they find themselves, and say; the handshake went as far.
        return


def _ask_to_connect(sock: socket.socket, proxy: Proxy, host: str, left: Callable[[], float]) -> None:
    signed_in = base64.b64encode(f"{proxy.user}:{proxy.password}".encode()).decode()
    login = f"Proxy-Authorization: Basic {signed_in}\r\n" if proxy.user or proxy.password else ""
    sock.sendall(f"CONNECT {host} HTTP/1.1\r\nHost: {host}\r\n{login}\r\n".encode())
    head = b""
    while _END not in head and len(head) < _LONGEST_HEAD:
        sock.settimeout(left())
        piece = sock.recv(4096)
        if not piece:
            raise ValueError("the proxy closes the connection")
        head += piece
    status = head.split(b" ", 2)[1:2]
    if not status or not status[0].startswith(b"2"):
        code = status[0][:3].decode("ascii", "replace") if status else "no status"
        raise ValueError(f"the proxy answers {code}")


def _reason(error: OSError | ValueError) -> str:
    if isinstance(error, TimeoutError):
        return "no answer"
    if why_unknown(error) is not None:
        return "there is no such host"
    if isinstance(error, socket.gaierror):
        return "the name cannot be looked up"
    return (error.strerror if isinstance(error, OSError) else None) or str(error)
