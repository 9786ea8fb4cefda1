"""The wire of the Microshare stand-in: requests, answers, and how an answer travels or breaks off."""

from __future__ import annotations

import contextlib
import http.server
import json
import re
import socket
import socketserver
import struct
import sys
import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from http import HTTPStatus
from typing import Any, Literal, Protocol
from urllib.parse import parse_qs, urlsplit

JsonObject = dict[str, Any]
Kind = Literal["login", "query", "devices", "views", "other"]
EXACT_TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z")
HTML_PAGE = "<!DOCTYPE html><html><head><title>Example</title></head><body><h1>{}</h1></body></html>"
MEGABYTE = 1024 * 1024


@dataclass(frozen=True, slots=True)
class Request:
    """A request as it arrived; `path` has no prefix, `query` has every value of each name."""

    method: str
    path: str
    query: Mapping[str, list[str]]
    headers: Mapping[str, str] = field(repr=False)
    body: bytes = field(repr=False)
    at: datetime

    def first(self, name: str) -> str | None:
        values = self.query.get(name)
        return values[0] if values else None

    @property
    def kind(self) -> Kind:
        """Say what is asked: a login, a dashboard query, device clusters, or a list of views."""
        if self.path in ("/login", "/oauth2/token"):
            return "login"
        kinds: dict[str, Kind] = {"share": "query", "device": "devices", "view": "views"}
        return kinds.get(self.path.split("/")[1], "other")

    @property
    def window(self) -> timedelta | None:
        """Give the width of the window asked for; None where there is no valid one."""
        ends = [exact_time(self.first(name)) for name in ("from", "to")]
        return None if ends[0] is None or ends[1] is None else ends[1] - ends[0]


@dataclass(frozen=True, slots=True)
class RecordedRequest:
    """A request that was answered with `status`, 0 for a reset connection; it never holds a password."""

    method: str
    path: str
    query: Mapping[str, list[str]]
    status: int
    at: datetime
    kind: Kind = "other"

    @property
    def location(self) -> str | None:
        values = self.query.get("loc1")
        return values[0] if values else None


@dataclass(frozen=True, slots=True)
class Wire:
    """How an answer travels: seconds before it, seconds between its bytes, how it breaks off.

    After `cut_after` bytes of the body the connection is closed; `padding` bytes of white space
    come before the body.
    """

    delay: float = 0.0
    drip: float = 0.0
    cut_after: int | None = None
    reset: bool = False
    padding: int = 0


@dataclass(frozen=True, slots=True)
class Response:
    """An answer, and how it travels."""

    status: int = 200
    body: bytes = field(default=b"", repr=False)
    headers: Mapping[str, str] = field(default_factory=dict)
    content_type: str = "application/json"
    wire: Wire = Wire()

    @classmethod
    def text(cls, status: int, text: str, headers: Mapping[str, str] | None = None) -> Response:
        return cls(status, text.encode(), headers or {}, "text/plain; charset=utf-8")

    @classmethod
    def html(cls, status: int, title: str, headers: Mapping[str, str] | None = None) -> Response:
        return cls(status, HTML_PAGE.format(title).encode(), headers or {}, "text/html; charset=utf-8")

    @classmethod
    def json(cls, content: Any) -> Response:
        try:
            return cls(200, json.dumps(content, ensure_ascii=False, separators=(",", ":")).encode())
        except UnicodeEncodeError:  # a lone surrogate was planted: only an escape can carry it
            return cls(200, json.dumps(content).encode())


def exact_time(text: str | None) -> datetime | None:
    if text is None or not EXACT_TIME.fullmatch(text):
        return None
    try:
        return datetime.fromisoformat(text)
    except ValueError:
        return None


def positive_number(text: str | None, otherwise: int) -> int | None:
    """Give a number from 1 on; None where the text is none."""
    if text is None:
        return otherwise
    return int(text) if text.isascii() and text.isdigit() and int(text) > 0 else None


def phrase(status: int) -> str:
    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return "Unknown"


class Service(Protocol):
    """What answers requests; `skew` is added to the `Date` header only."""

    prefix: str
    skew: timedelta

    def now(self) -> datetime: ...

    def answer(self, request: Request) -> Response: ...

    def record(self, request: Request, status: int) -> None: ...

    def entered(self, by: int) -> None: ...


class Server(socketserver.ThreadingMixIn, http.server.HTTPServer):
    daemon_threads = True
    block_on_close = False
    request_queue_size = 128
    allow_reuse_address = True

    def __init__(self, address: tuple[str, int], service: Service) -> None:
        self.service = service
        self.stopping = threading.Event()
        self._open: set[socket.socket] = set()
        self._guard = threading.Lock()
        super().__init__(address, _Handler)

    def server_bind(self) -> None:
        socketserver.TCPServer.server_bind(self)  # without asking DNS for the host's full name
        self.server_name, self.server_port = str(self.server_address[0]), self.server_address[1]

    def process_request(self, request: Any, client_address: Any) -> None:
        with self._guard:
            self._open.add(request)
        super().process_request(request, client_address)

    def shutdown_request(self, request: Any) -> None:
        with self._guard:
            self._open.discard(request)
        super().shutdown_request(request)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say nothing of clients that went away."""
        if not self.stopping.is_set() and not isinstance(sys.exception(), ConnectionError):
            super().handle_error(request, client_address)

    def stop(self) -> None:
        self.stopping.set()
        self.shutdown()
        self.server_close()
        with self._guard:
            left = list(self._open)
        for connection in left:
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)


class _Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    wbufsize = -1
    server: Server

    def do_GET(self) -> None:
        service = self.server.service
        request = self._request(service)
        service.entered(1)
        try:
            try:
                answer = service.answer(request)
            except Exception as error:  # noqa: BLE001 - whoever asked must see what went wrong in here
                answer = Response.text(500, f"the emulator failed: {type(error).__name__}: {error}")
            service.record(request, answer.status)
            self._send(request, answer)
        except ConnectionError:
            self.close_connection = True
        finally:
            service.entered(-1)

    do_POST = do_PUT = do_DELETE = do_PATCH = do_HEAD = do_GET  # noqa: N815 - the server calls them so

    def log_message(self, *_: Any) -> None:
        """Say nothing: requests are recorded."""

    def _request(self, service: Service) -> Request:
        address = urlsplit(self.path)
        path = address.path
        if service.prefix:
            inside = path.startswith(service.prefix + "/")
            path = path.removeprefix(service.prefix) if inside else "/outside the prefix"
        headers = {name.lower(): value for name, value in self.headers.items()}
        body = self.rfile.read(int(headers.get("content-length") or 0))
        query = parse_qs(address.query, keep_blank_values=True)
        return Request(self.command, path, query, headers, body, service.now())

    def _send(self, request: Request, answer: Response) -> None:
        wire = answer.wire
        if wire.delay:
            self.server.stopping.wait(wire.delay)
        if wire.reset:
            self._reset()
            return
        date = format_datetime((request.at + self.server.service.skew).astimezone(UTC), usegmt=True)
        headers = {
            "Date": date,
            "Content-Type": answer.content_type,
            "Content-Length": str(wire.padding + len(answer.body)),
            **answer.headers,
        }
        head = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
        self.wfile.write(f"HTTP/1.1 {answer.status} {phrase(answer.status)}\r\n{head}\r\n".encode("latin-1"))
        if self.command != "HEAD":
            self._send_body(answer.body, wire)
        self.wfile.flush()

    def _send_body(self, body: bytes, wire: Wire) -> None:
        for sent in range(0, wire.padding, MEGABYTE):
            self.wfile.write(b" " * min(MEGABYTE, wire.padding - sent))
        if wire.cut_after is not None:
            body, self.close_connection = body[: wire.cut_after], True
        if not wire.drip:
            self.wfile.write(body)
            return
        for byte in body:
            self.wfile.write(bytes((byte,)))
            self.wfile.flush()
            if self.server.stopping.wait(wire.drip):
                break

    def _reset(self) -> None:
        """Close with RST: lingering for no time drops what is unsent."""
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.close_connection = True
        self.connection.close()
