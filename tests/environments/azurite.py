"""Azurite, the real storage emulator, for tests; and a relay before it that can make faults."""

from __future__ import annotations

import http.client
import os
import re
import shutil
import socket
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from email.utils import format_datetime, parsedate_to_datetime
from enum import Enum
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Literal

ROOT = Path(__file__).parents[2]

# Azurite's documented account and key: the same everywhere, and no secret.
ACCOUNT = "devstoreaccount1"
ACCOUNT_KEY = "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw=="

Service = Literal["table", "queue"]


class AzuriteMissing(Exception):
    """Azurite cannot be started here; the text says what to do."""


def connection_string(port: int, *, key: str = ACCOUNT_KEY, queue_port: int | None = None) -> str:
    queues = f"QueueEndpoint=http://127.0.0.1:{queue_port}/{ACCOUNT};" if queue_port else ""
    return (
        f"DefaultEndpointsProtocol=http;AccountName={ACCOUNT};AccountKey={key};"
        f"TableEndpoint=http://127.0.0.1:{port}/{ACCOUNT};{queues}"
    )


@contextmanager
def running_azurite(folder: Path, service: Service = "table") -> Iterator[int]:
    """Run Azurite's table service, or that of queues, with its files in `folder`; give its port.

    The program is the one that the environment names as AZURITE, or else the one of `npm install`.
    """
    port = free_port()
    options = [f"--{service}Host", "127.0.0.1", f"--{service}Port", str(port), "--location", str(folder)]
    process = subprocess.Popen(
        [*_program(service), *options, "--silent", "--skipApiVersionCheck", "--disableTelemetry"],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        cwd=folder,
    )
    assert process.stdout is not None
    try:
        said = []
        for line in process.stdout:
            said.append(line)
            if "successfully" in line:
                break
        else:
            raise AzuriteMissing(f"azurite ended at once: {''.join(said)[-500:]}")
        yield port
    finally:
        process.terminate()
        process.wait(10)
        process.stdout.close()


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


def _program(service: Service) -> list[str]:
    node = shutil.which("node")
    named = os.environ.get("AZURITE")
    program = Path(named) if named else ROOT / "node_modules" / ".bin" / "azurite-table"
    program = program.with_name(program.name.replace("table", service))
    if node is None:
        raise AzuriteMissing("azurite needs node, which is not on the PATH")
    if not program.exists():
        raise AzuriteMissing(f"azurite is not at {program}; run npm install --no-package-lock")
    return [node, str(program.resolve())]


class Fault(Enum):
    """What the relay does to a request."""

    LOST_ANSWER = "stored, but the connection is cut before the answer"
    CUT = "cut before anything was stored"
    BUSY = "503 ServerBusy, nothing stored"
    BROKEN = "500 InternalError, nothing stored"


_REFUSALS = {Fault.BUSY: (503, "ServerBusy"), Fault.BROKEN: (500, "InternalError")}


_LOCATION_ROW = re.compile('"PartitionKey": ?"location",[^{}]*?"RowKey": ?"([^"]+)"')


class _Server(ThreadingHTTPServer):
    def handle_error(self, request: object, client_address: object) -> None:
        """Say nothing of clients that went away, or were killed."""
        if not isinstance(sys.exception(), ConnectionError):
            super().handle_error(request, client_address)  # type: ignore[arg-type]  # passed on as it came


class Relay:
    """Passes requests on to Azurite, except for those that a fault was ordered for.

    `clock_ahead` moves the service's clock, as its Date header shows it. `fired` holds the faults
    that were made, so that a test can see that they were.
    """

    def __init__(self, azurite_port: int) -> None:
        self.clock_ahead = timedelta(0)
        self.fired: list[Fault] = []
        self.under_way = 0
        # Of each request its method and path.
        self.requests: list[tuple[str, str]] = []
        # How often each row of a location was sent to be written, by its key.
        self.location_writes: Counter[str] = Counter()
        self._orders: list[tuple[str, str, Fault]] = []
        self._from_on: tuple[Fault, int, bool] | None = None
        self._lock = threading.Lock()
        relay = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def handle_any(self) -> None:
                length = int(self.headers.get("Content-Length", 0))
                body = self.rfile.read(length)
                if len(body) < length:
                    # Its client was killed in between; the service would wait for the rest.
                    self.close_connection = True
                    return
                relay.location_writes.update(_LOCATION_ROW.findall(body.decode("utf-8", "replace")))
                relay._count(1)
                try:
                    self._pass_on(body)
                finally:
                    relay._count(-1)

            def _pass_on(self, body: bytes) -> None:
                fault = relay._fault_for(self.command, self.path)
                if fault is Fault.CUT:
                    self.close_connection = True
                    return
                if fault in _REFUSALS:
                    status, code = _REFUSALS[fault]
                    self._answer(status, {"x-ms-error-code": code}, b"")
                    return
                upstream = http.client.HTTPConnection("127.0.0.1", azurite_port, timeout=20)
                upstream.request(self.command, self.path, body, dict(self.headers.items()))
                answer = upstream.getresponse()
                content = answer.read()
                upstream.close()
                if fault is Fault.LOST_ANSWER:
                    self.close_connection = True
                    return
                headers = {name.lower(): value for name, value in answer.getheaders()}
                shown = parsedate_to_datetime(headers["date"]) + relay.clock_ahead
                self._answer(answer.status, headers | {"date": format_datetime(shown, usegmt=True)}, content)

            do_GET = do_PUT = do_POST = do_DELETE = do_PATCH = handle_any  # noqa: N815 - the base class's names

            def _answer(self, status: int, headers: dict[str, str], content: bytes) -> None:
                self.send_response_only(status)
                for name, value in headers.items():
                    if name.lower() not in (
                        "transfer-encoding",
                        "connection",
                        "keep-alive",
                        "content-length",
                    ):
                        self.send_header(name, value)
                self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                self.wfile.write(content)

            def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class's name
                """Say nothing."""

        self._server = _Server(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.port = int(self._server.server_address[1])
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02})
        self._thread.start()

    def order(self, fault: Fault, method: str, path_part: str = "", *, times: int = 1) -> None:
        """Make the fault for the next `times` requests of that method with that text in their path."""
        with self._lock:
            self._orders += [(method, path_part, fault)] * times

    def order_from(self, fault: Fault, nth: int, *, keeps: bool = False) -> None:
        """Make the fault for the nth request from now on, whatever it is; with `keeps` for all after it."""
        with self._lock:
            self._from_on = fault, len(self.requests) + nth, keeps

    def forget_orders(self) -> None:
        with self._lock:
            self._orders.clear()
            self._from_on = None

    def close(self) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    def _count(self, by: int) -> None:
        with self._lock:
            self.under_way += by

    def _fault_for(self, method: str, path: str) -> Fault | None:
        with self._lock:
            self.requests.append((method, path))
            if self._from_on is not None:
                fault, first, keeps = self._from_on
                nth = len(self.requests)
                if nth == first or (keeps and nth > first):
                    self.fired.append(fault)
                    return fault
            for order in self._orders:
                wanted, path_part, fault = order
                if wanted == method and path_part in path:
                    self._orders.remove(order)
                    self.fired.append(fault)
                    return fault
        return None
