"""The reader of HTTP itself: whatever bytes a server, or what stands between, answers with."""

from __future__ import annotations

import contextlib
import functools
import gzip
import queue
import socket
import threading
import zlib

from hypothesis import strategies as st

from app.base.errors import SourceError
from app.microshare.http import Http, HttpAnswer
from tests.fuzz.generators import CANARIES, changed_bytes
from tests.fuzz.oracle import Broken, outcome, registry_of_its_own
from tests.fuzz.target import Target

_LARGEST = 64 * 1024
# None is come near to: a server that has said all closes.
_PATIENCE_S = 20.0


class _Server:
    """Answers each connection on loopback with what is `next`, whatever it was asked, and closes it."""

    def __init__(self) -> None:
        self.next: queue.Queue[bytes] = queue.Queue()
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._listening.getsockname()[1]}/"
        threading.Thread(target=self._serve, name="fuzz-server", daemon=True).start()

    def _serve(self) -> None:
        while True:
            connection, _ = self._listening.accept()
            connection.settimeout(_PATIENCE_S)
            threading.Thread(target=self._answer, args=[connection], name="fuzz-answer", daemon=True).start()

    def _answer(self, connection: socket.socket) -> None:
        with connection, contextlib.suppress(OSError):
            connection.recv(65_536)
            connection.sendall(self.next.get())
            connection.shutdown(socket.SHUT_WR)
            # Until the client has gone: closing with something unread would take back what was sent.
            while connection.recv(65_536):
                pass


@functools.cache
def _server() -> _Server:
    return _Server()


def check_wire(case: bytes) -> None:
    """Take a case for all that comes back over a connection."""
    server = _server()
    http = Http(largest_body=_LARGEST)
    with registry_of_its_own():
        server.next.put(case)
        try:
            found = outcome(
                lambda: http.send("GET", server.url, seconds=_PATIENCE_S, remaining=lambda: _PATIENCE_S),
                SourceError,
            )
        finally:
            http.close()
    if found.value is not None:
        _is_whole(found.value, case)


def _is_whole(answer: HttpAnswer, case: bytes) -> None:
    if len(answer.body) > _LARGEST:
        raise Broken(f"a body of {len(answer.body)} bytes")
    # Of what was not coded in any way, and has a length, nothing is missing and nothing is added.
    declared = answer.headers.get("Content-Length", "")
    plain = not {"Content-Encoding", "Transfer-Encoding"} & {name.title() for name in answer.headers}
    # RFC 9110, 6.4.1: these end with their headers, whatever length they declare.
    bodiless = answer.status < 200 or answer.status in (204, 304)
    counted = plain and declared.isascii() and declared.isdecimal() and not bodiless
    if counted and (len(answer.body) != int(declared) or answer.body not in case):
        raise Broken(f"{len(answer.body)} of {declared} bytes")


_BODY = b'{"meta":{},"objs":[]}'
_TWO = gzip.compress(_BODY[:9]) + gzip.compress(_BODY[9:])
_CODED = [
    gzip.compress(_BODY),
    _TWO,
    gzip.compress(_BODY) + b"\0" * 40,
    gzip.compress(_BODY)[:-3],
    gzip.compress(bytes(10_000_000)),
    gzip.compress(b"") * 2_000,
    zlib.compress(_BODY),
    b"\x1f\x8b",
    b"",
    _BODY,
]
_LINES = [
    *(
        b"Content-Encoding: gzip",
        b"Content-Encoding: gzip, gzip",
        b"Content-Encoding: br",
        b"Content-Encoding: \xff",
    ),
    *(
        b"Transfer-Encoding: chunked",
        b"Transfer-Encoding: gzip, chunked",
        b"Content-Length: 21",
        b"Content-Length: -1",
    ),
    *(b"Content-Length: 99999999999999999999", b"Content-Length: 21, 21", b"Content-Length: \xb2"),
    *(b"Connection: close", b"Location: //[", b"Location: http://\xff/", b"Set-Cookie: a=b; Partitioned"),
    *(b" folded", b"no colon", b": no name", b"A" * 70_000 + b": b", b"X: " + b"y" * 70_000, b"\0: \0"),
    *(f"X: {form}".encode() for form in CANARIES),
]


@st.composite
def _answers(draw: st.DrawFn) -> bytes:
    first = draw(
        st.sampled_from(
            [
                b"HTTP/1.1 200 OK",
                b"HTTP/1.1 200",
                b"HTTP/1.1 099 x",
                b"HTTP/1.1 100 Continue",
                b"HTTP/1.1 204 x",
                b"HTTP/1.1 303 \xff",
                b"HTTP/2 200",
                b"HTTP/1.0 503 x",
                b"ICY 200 OK",
                b"<html>",
                b"\x16\x03\x01",
                b"",
            ]
        )
    )
    lines = [first, *draw(st.lists(st.sampled_from(_LINES), max_size=4))]
    body = draw(st.sampled_from(_CODED))
    if b"Transfer-Encoding: chunked" in lines and draw(st.booleans()):
        body = b"%x\r\n%s\r\n0\r\n%s\r\n" % (len(body), body, draw(st.sampled_from([b"", b"A: b\r\n"])))
    elif draw(st.booleans()):
        lines.append(b"Content-Length: %d" % len(body))
    ends = draw(st.sampled_from([b"\r\n", b"\r\n", b"\n"]))
    # The same once more may follow an interim answer.
    return (
        ends.join([*lines, b"", b""]) + body + draw(st.sampled_from([b"", b"", b"HTTP/1.1 200 OK\r\n\r\n"]))
    )


TARGETS = (Target("wire", "HTTP answers, byte for byte", _answers() | changed_bytes(_answers()), check_wire),)
