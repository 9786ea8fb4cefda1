"""A monitor that hears of runs, as healthchecks.io does: real HTTP on loopback, what it hears is kept."""

from __future__ import annotations

import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Self

# Obviously false, and shaped as theirs are.
CHECK = "0bad0bad-canary-4000-8000-00000000f00d"


class Monitor:
    """`heard` are the requests so far, each as its method and what follows the check's own path."""

    def __init__(self) -> None:
        self.heard: list[str] = []
        self.status = 200
        self.body = b""
        # While it is not set, nobody is answered.
        self.answers = threading.Event()
        self.answers.set()
        monitor = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                monitor.heard.append(f"GET {self.path.removeprefix('/' + CHECK)}".rstrip())
                monitor.answers.wait()
                self.send_response(monitor.status)
                self.send_header("Content-Length", str(len(monitor.body)))
                self.end_headers()
                self.wfile.write(monitor.body)

            def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class's name
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_port}/{CHECK}"

    def __enter__(self) -> Self:
        threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True).start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.answers.set()
        self._server.shutdown()
        self._server.server_close()
