"""Calls over real sockets on loopback: deadlines, broken and oversized bodies, redirects, TLS."""

from __future__ import annotations

import gzip
import logging
import socket
import ssl
import struct
import threading
import time
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from app.base.errors import BadResponse, SourceRefused
from app.microshare.http import Http
from app.microshare.retries import PassingTrouble
from app.settings.schema import NetworkSettings
from tests.environments.tls import Authority

LARGEST = 1_000_000
BODY = b'{"objs": [1, 2, 3]}'
ENOUGH = 10.0
SHORT = 0.4
# What waits for more than its deadline waits for ever: a busy machine has all this time.
SOON = 15


class Wire:
    """The server's side of one connection."""

    def __init__(self, connection: socket.socket, over: threading.Event) -> None:
        self._connection = connection
        self._over = over

    def read_request(self) -> str:
        """Give the head of the next request; empty when the client is gone."""
        found = b""
        while b"\r\n\r\n" not in found:
            piece = self._connection.recv(4096)
            if not piece:
                return ""
            found += piece
        head, _, body = found.partition(b"\r\n\r\n")
        fields = dict(line.split(": ", 1) for line in head.decode().split("\r\n")[1:])
        while len(body) < int(fields.get("Content-Length", 0)):
            body += self._connection.recv(4096)
        return head.decode()

    def write(self, data: bytes) -> None:
        self._connection.sendall(data)

    def answer(self, body: bytes = BODY, status: str = "200 OK", **fields: str | int) -> None:
        named = {"Content-Length": len(body)} | {
            name.replace("_", "-"): text for name, text in fields.items()
        }
        head = "".join(f"{name}: {text}\r\n" for name, text in named.items() if text != "")
        self.write(f"HTTP/1.1 {status}\r\n{head}\r\n".encode() + body)

    def drip(self, data: bytes) -> None:
        """Send for ever, a byte at a time, each soon enough for any limit on a single wait."""
        while not self._over.is_set():
            for byte in data:
                self.write(bytes([byte]))
                if self._over.wait(0.02):
                    return

    def stall(self) -> None:
        self._over.wait()

    def reset(self) -> None:
        self._connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self._connection.close()


Behaviour = Callable[[Wire], None]


class Server:
    """Runs a behaviour for each connection; `requests` are the heads read so far."""

    def __init__(self, behave: Behaviour, context: ssl.SSLContext | None = None) -> None:
        self._behave = behave
        self._context = context
        self._over = threading.Event()
        self.connections = 0
        self._listening = socket.create_server(("127.0.0.1", 0))
        scheme = "https" if context else "http"
        self.url = f"{scheme}://127.0.0.1:{self._listening.getsockname()[1]}/path"
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        self._over.set()
        self._listening.close()

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._listening.accept()
            except OSError:
                return
            self.connections += 1
            threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        try:
            if self._context:
                connection = self._context.wrap_socket(connection, server_side=True)
            self._behave(Wire(connection, self._over))
        except OSError:
            pass  # the client has gone, which is what some tests want
        finally:
            connection.close()


Serve = Callable[..., Server]


@pytest.fixture
def serve() -> Iterator[Serve]:
    servers: list[Server] = []

    def start(behave: Behaviour, context: ssl.SSLContext | None = None) -> Server:
        servers.append(Server(behave, context))
        return servers[-1]

    yield start
    for server in servers:
        server.close()


@pytest.fixture
def http() -> Iterator[Http]:
    client = Http(largest_body=LARGEST)
    yield client
    client.close()


def get(http: Http, url: str, *, seconds: float = ENOUGH, **what: Any) -> bytes:
    return http.send("GET", url, seconds=seconds, remaining=lambda: ENOUGH, **what).body


def head(**fields: str) -> bytes:
    named = "".join(f"{name.replace('_', '-')}: {text}\r\n" for name, text in fields.items())
    return f"HTTP/1.1 200 OK\r\n{named}\r\n".encode()


def after_request(act: Behaviour) -> Behaviour:
    def behave(wire: Wire) -> None:
        wire.read_request()
        act(wire)

    return behave


@pytest.mark.parametrize(
    "address", ["http://127.0.0.1:99999/x", "http://[127.0.0.1/x", "http://127.0.0.1:canary/x"]
)
def test_a_url_that_cannot_be_read_is_refused_without_a_word_of_it(http: Http, address: str) -> None:
    with pytest.raises(SourceRefused) as caught:
        get(http, address)

    assert "can be made (" in str(caught.value)
    assert "/x" not in str(caught.value)


# --- the deadline -----------------------------------------------------------------------------------


def dripping_body(wire: Wire) -> None:
    wire.write(head(Content_Length="900000"))
    wire.drip(b"[1, ")


def dripping_chunk_size(wire: Wire) -> None:
    wire.write(head(Transfer_Encoding="chunked"))
    wire.drip(b"0")


def dripping_headers(wire: Wire) -> None:
    wire.write(b"HTTP/1.1 200 OK\r\n")
    wire.drip(b"X-Slow: yes\r\n")


def endless_continue(wire: Wire) -> None:
    wire.drip(b"HTTP/1.1 100 Continue\r\n\r\n")


def silence_in_the_body(wire: Wire) -> None:
    wire.write(head(Content_Length="100") + b"[1, ")
    wire.stall()


@pytest.mark.parametrize(
    "slow",
    [
        Wire.stall,
        dripping_headers,
        endless_continue,
        dripping_body,
        dripping_chunk_size,
        silence_in_the_body,
    ],
    ids=["silence", "headers drip", "100 without end", "body drips", "chunk size drips", "body stalls"],
)
@pytest.mark.parametrize("secure", [False, True], ids=["http", "https"])
def test_a_call_ends_at_its_deadline_whatever_it_waits_for(
    serve: Serve, trusting: Http, server_side: ssl.SSLContext, slow: Behaviour, secure: bool
) -> None:
    server = serve(after_request(slow), server_side if secure else None)
    began = time.monotonic()

    with pytest.raises(PassingTrouble) as caught:
        get(trusting, server.url, seconds=SHORT)

    assert time.monotonic() - began < SOON
    assert (caught.value.timed_out, str(caught.value)) == (
        True,
        f"no complete answer from {server.url.split('/')[2]} within 0.4 s",
    )


def test_a_tls_handshake_ends_at_the_deadline(serve: Serve, http: Http) -> None:
    server = serve(Wire.stall)
    began = time.monotonic()

    with pytest.raises(PassingTrouble) as caught:
        get(http, server.url.replace("http:", "https:"), seconds=SHORT)

    assert time.monotonic() - began < SOON
    assert not caught.value.timed_out, "nothing was asked yet, so the question was not too much"


def test_a_connection_used_before_has_the_deadline_of_the_new_call(serve: Serve, http: Http) -> None:
    def behave(wire: Wire) -> None:
        wire.read_request()
        wire.answer()
        wire.read_request()
        dripping_headers(wire)

    server = serve(behave)
    get(http, server.url)

    with pytest.raises(PassingTrouble) as caught:
        get(http, server.url, seconds=SHORT)

    assert (caught.value.timed_out, server.connections) == (True, 1)


def test_a_run_told_to_stop_ends_a_call_under_way(serve: Serve, http: Http) -> None:
    asked = threading.Event()

    def behave(wire: Wire) -> None:
        wire.read_request()
        asked.set()
        dripping_body(wire)

    server = serve(behave)
    began = time.monotonic()

    with pytest.raises(PassingTrouble):
        http.send("GET", server.url, seconds=60, remaining=lambda: 0.0 if asked.is_set() else 60.0)

    assert time.monotonic() - began < SOON


def test_calls_go_on_after_one_that_was_cut(serve: Serve, http: Http) -> None:
    behaviours: Iterator[Behaviour] = iter([dripping_body, Wire.answer])
    server = serve(after_request(lambda wire: next(behaviours)(wire)))

    with pytest.raises(PassingTrouble):
        get(http, server.url, seconds=SHORT)

    assert get(http, server.url) == BODY


# --- bodies -----------------------------------------------------------------------------------------


def chunked(*pieces: bytes, end: bytes = b"0\r\n\r\n") -> bytes:
    return b"".join(b"%x\r\n%s\r\n" % (len(piece), piece) for piece in pieces) + end


def packed(body: bytes) -> bytes:
    return head(Content_Encoding="gzip", Connection="close") + body


@pytest.mark.parametrize(
    "answer",
    [
        head(Content_Length=str(len(BODY))) + BODY,
        head(Transfer_Encoding="chunked") + chunked(BODY[:5], BODY[5:]),
        head(Connection="close") + BODY,
        head(Content_Encoding="gzip", Connection="close") + gzip.compress(BODY),
        head(Content_Encoding="GZIP", Transfer_Encoding="chunked") + chunked(gzip.compress(BODY)),
        head(Content_Encoding="identity", Content_Length=str(len(BODY))) + BODY,
        packed(gzip.compress(BODY[:7]) + gzip.compress(BODY[7:])),
        packed(gzip.compress(b"") * 50 + gzip.compress(BODY) + gzip.compress(b"")),
        packed(gzip.compress(BODY) + b"\0" * 70_000),
        packed(gzip.compress(BODY[:7]) + b"\0" * 100 + gzip.compress(BODY[7:])),
        head(Content_Encoding="gzip", Transfer_Encoding="chunked")
        + chunked(*(bytes([byte]) for byte in gzip.compress(BODY[:7]) + gzip.compress(BODY[7:]) + b"\0\0")),
    ],
    ids=[
        "with a length",
        "chunked",
        "until the end",
        "gzip",
        "gzip in chunks",
        "identity",
        "gzip of two members",
        "gzip of empty members too",
        "gzip and zeros",
        "gzip and zeros between members",
        "gzip of two members and zeros, byte by byte",
    ],
)
def test_a_complete_body_is_read_as_it_is(serve: Serve, http: Http, answer: bytes) -> None:
    server = serve(after_request(lambda wire: wire.write(answer)))

    assert get(http, server.url) == BODY


@pytest.mark.parametrize(
    "broken",
    [
        lambda wire: wire.reset(),
        lambda _: None,
        lambda wire: wire.write(b"not HTTP at all\r\n\r\n"),
        lambda wire: wire.write(head(Content_Length="500") + BODY),
        lambda wire: (wire.write(head(Content_Length="500") + BODY), wire.reset()),
        lambda wire: wire.write(head(Transfer_Encoding="chunked") + chunked(BODY, end=b"")),
        lambda wire: wire.write(head(Transfer_Encoding="chunked") + b"zz\r\n" + BODY),
        lambda wire: wire.answer(gzip.compress(BODY)[:-9], Content_Encoding="gzip"),
        lambda wire: wire.answer(gzip.compress(BODY)[:12] + b"\0" * 40, Content_Encoding="gzip"),
        lambda wire: wire.answer(gzip.compress(BODY) + b"more", Content_Encoding="gzip"),
        lambda wire: wire.answer(gzip.compress(BODY) + b"\0more", Content_Encoding="gzip"),
        lambda wire: wire.answer(gzip.compress(BODY) + gzip.compress(BODY)[:-9], Content_Encoding="gzip"),
        lambda wire: wire.answer(b"\0" + gzip.compress(BODY), Content_Encoding="gzip"),
        lambda wire: wire.answer(BODY, Content_Encoding="gzip"),
    ],
    ids=[
        "reset",
        "closed without a word",
        "no HTTP",
        "shorter than its length",
        "reset in the body",
        "chunks without end",
        "a chunk without size",
        "gzip that ends early",
        "gzip that is damaged",
        "gzip with something after it",
        "gzip with zeros and something after it",
        "gzip whose second member ends early",
        "gzip with a zero before it",
        "gzip that is none",
    ],
)
def test_a_broken_answer_is_passing_trouble_and_never_shorter_data(
    serve: Serve, http: Http, broken: Behaviour
) -> None:
    server = serve(after_request(broken))

    with pytest.raises(PassingTrouble) as caught:
        get(http, server.url)

    assert not caught.value.timed_out


def test_a_refused_connection_is_passing_trouble_that_names_host_and_reason(http: Http) -> None:
    with socket.create_server(("127.0.0.1", 0)) as closed:
        host = f"127.0.0.1:{closed.getsockname()[1]}"

    with pytest.raises(PassingTrouble) as caught:
        get(http, f"http://{host}/path")

    assert str(caught.value) == (
        f"connection to {host} failed (ConnectionRefusedError: [Errno 111] Connection refused); if it lasts, "
        "check the port of that URL"
    )


def too_long_a_length(wire: Wire) -> None:
    wire.write(head(Content_Length="1000001"))
    wire.stall()


def an_absurd_length(wire: Wire) -> None:
    wire.write(head(Content_Length="9" * 5_000))
    wire.stall()


def endless_chunks(wire: Wire) -> None:
    wire.write(head(Transfer_Encoding="chunked"))
    while True:
        wire.write(chunked(b"[" * 50_000, end=b""))


def gzip_bomb(wire: Wire) -> None:
    wire.answer(gzip.compress(bytes(200_000_000), compresslevel=1), Content_Encoding="gzip")


def endless_nothing(wire: Wire) -> None:
    wire.write(head(Content_Encoding="gzip", Transfer_Encoding="chunked"))
    while True:
        wire.write(chunked(gzip.compress(b"") * 2_000, end=b""))


@pytest.mark.parametrize(
    "large",
    [too_long_a_length, an_absurd_length, endless_chunks, gzip_bomb, endless_nothing],
    ids=["said beforehand", "an absurd length", "without a length", "gzip bomb", "gzip of nothing"],
)
def test_a_body_over_the_limit_is_refused(serve: Serve, http: Http, large: Behaviour) -> None:
    server = serve(after_request(large))

    with pytest.raises(BadResponse) as caught:
        get(http, f"{server.url}?id=1")

    assert str(caught.value) == (
        f"microshare: the answer of {server.url} is over 1,000,000 bytes; ask for less at a time"
    )


def test_a_body_of_exactly_the_limit_is_read(serve: Serve, http: Http) -> None:
    body = b"x" * LARGEST
    server = serve(after_request(lambda wire: wire.answer(gzip.compress(body), Content_Encoding="gzip")))

    assert get(http, server.url) == body


def test_an_encoding_that_was_not_asked_for_is_refused(serve: Serve, http: Http) -> None:
    server = serve(after_request(lambda wire: wire.answer(Content_Encoding="br")))

    with pytest.raises(BadResponse) as caught:
        get(http, server.url)

    assert str(caught.value) == (
        f"microshare: {server.url} answers in the encoding 'br', which was not asked for; "
        f"check the proxies between this host and the API"
    )


# --- what is sent, and where ------------------------------------------------------------------------


def recording(heads: list[str], **fields: str) -> Behaviour:
    def behave(wire: Wire) -> None:
        while request := wire.read_request():
            heads.append(request)
            wire.answer(BODY, "200 OK", **fields)

    return behave


def fields_of(request: str) -> dict[str, str]:
    return dict(line.split(": ", 1) for line in request.split("\r\n")[1:])


def test_a_call_says_who_asks_and_what_it_takes(serve: Serve, http: Http) -> None:
    heads: list[str] = []
    server = serve(recording(heads))

    get(http, f"{server.url}/?loc1=Caf%C3%A9+1%2B1&from=10:00", token="token-1")

    (request,) = heads
    assert request.split("\r\n")[0] == "GET /path/?loc1=Caf%C3%A9+1%2B1&from=10:00 HTTP/1.1"
    assert fields_of(request) == {
        "Host": server.url.split("/")[2],
        "User-Agent": "microshare-forwarder",
        "Accept": "application/json",
        "Accept-Encoding": "gzip",
        "Connection": "keep-alive",
        "Authorization": "Bearer token-1",
    }


def test_a_netrc_never_speaks_for_us(
    serve: Serve, http: Http, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    netrc = tmp_path / "netrc"
    netrc.write_text("machine 127.0.0.1 login someone password else-false\n")
    monkeypatch.setenv("NETRC", str(netrc))
    heads: list[str] = []
    server = serve(recording(heads))

    get(http, server.url, token="token-1")
    http.send("POST", server.url, seconds=ENOUGH, remaining=lambda: ENOUGH, form={"username": "svc"})

    assert [fields_of(request).get("Authorization") for request in heads] == ["Bearer token-1", None]


def test_cookies_are_given_to_the_caller_and_never_sent_back(serve: Serve, http: Http) -> None:
    heads: list[str] = []
    server = serve(recording(heads, Set_Cookie="PLAY_SESSION=false-session; Path=/"))

    answers = [http.send("GET", server.url, seconds=ENOUGH, remaining=lambda: ENOUGH) for _ in range(2)]

    assert [answer.set_cookies for answer in answers] == [("PLAY_SESSION=false-session; Path=/",)] * 2
    assert ["Cookie" in fields_of(request) for request in heads] == [False, False]


@pytest.mark.parametrize(
    "status", ["301 Moved", "302 Found", "303 See Other", "307 Temporary", "308 Permanent"]
)
@pytest.mark.parametrize("target", ["same", "http://elsewhere.test/", "http://[bad"])
def test_a_redirect_is_handed_back_not_followed(serve: Serve, http: Http, status: str, target: str) -> None:
    heads: list[str] = []

    def behave(wire: Wire) -> None:
        while request := wire.read_request():
            heads.append(request)
            wire.answer(b"moved", status, Location=server.url if target == "same" else target)

    server = serve(behave)

    answer = http.send("GET", server.url, seconds=ENOUGH, remaining=lambda: ENOUGH, token="token-1")

    assert (answer.status, answer.body, len(heads)) == (int(status[:3]), b"moved", 1)


def test_the_body_of_a_redirect_is_limited_too(serve: Serve, http: Http) -> None:
    server = serve(
        after_request(lambda wire: wire.answer(b"x" * (LARGEST + 1), "302 Found", Location="/other"))
    )

    with pytest.raises(BadResponse):
        get(http, server.url)


def test_each_thread_has_a_connection_of_its_own(serve: Serve, http: Http) -> None:
    server = serve(recording([]))
    together = threading.Barrier(3)

    def work() -> None:
        for _ in range(3):
            together.wait()
            get(http, server.url)

    workers = [threading.Thread(target=work) for _ in range(3)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()

    assert server.connections == 3


def test_no_credential_in_a_url_is_shown_or_logged(
    serve: Serve, http: Http, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    server = serve(after_request(lambda wire: wire.write(b"HTTP/1.1 200 OK\r\nbroken header\r\n\r\n")))
    with socket.create_server(("127.0.0.1", 0)) as closed:
        dead = f"http://127.0.0.1:{closed.getsockname()[1]}/path?who=canary-false"

    get(http, f"{server.url}?who=canary-false")
    with pytest.raises(PassingTrouble) as caught:
        get(http, dead)

    shown = "".join(traceback.format_exception(caught.value))
    assert "ConnectionRefusedError" in shown
    assert "canary" not in shown + caplog.text


# --- TLS --------------------------------------------------------------------------------------------


@pytest.fixture(scope="session")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("tls"))


@pytest.fixture
def server_side(authority: Authority) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(authority.sign())
    return context


@pytest.fixture
def trusting(authority: Authority) -> Iterator[Http]:
    client = Http(largest_body=LARGEST, network=NetworkSettings(ca_file=str(authority.file)))
    yield client
    client.close()


def test_a_certificate_of_a_configured_authority_is_accepted(
    serve: Serve, trusting: Http, server_side: ssl.SSLContext
) -> None:
    server = serve(after_request(Wire.answer), server_side)

    assert get(trusting, server.url) == BODY


def test_an_untrusted_certificate_is_refused_and_the_setting_named(
    serve: Serve, http: Http, server_side: ssl.SSLContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("REQUESTS_CA_BUNDLE", raising=False)
    heads: list[str] = []
    server = serve(recording(heads), server_side)

    with pytest.raises(SourceRefused) as caught:
        get(http, server.url, token="token-1")

    assert str(caught.value) == (
        f"microshare: the certificate of {server.url.split('/')[2]} is not trusted (unable to "
        "get local issuer certificate); if a proxy inspects TLS here, name its authority's file in "
        "REQUESTS_CA_BUNDLE"
    )
    assert heads == []


def test_a_certificate_of_another_host_is_refused(
    serve: Serve, trusting: Http, server_side: ssl.SSLContext
) -> None:
    server = serve(after_request(Wire.answer), server_side)

    with pytest.raises(SourceRefused):
        get(trusting, server.url.replace("127.0.0.1", "localhost"), token="token-1")
