"""A stand-in for the endpoint at which Application Insights takes telemetry, on loopback."""

from __future__ import annotations

import gzip
import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self

FALSE_KEY = "0bad0bad-0000-4000-8000-0000000fa15e"


class Ingestion:
    """Takes envelopes at /v2.1/track; a context manager.

    `status` is what it answers with; while `stalled` it answers nothing. `paths` are all requests'.
    """

    def __init__(self) -> None:
        self.status = 200
        self.stalled = False
        self.paths: list[str] = []
        self.envelopes: list[dict[str, Any]] = []
        self._go_on = threading.Event()

    def __enter__(self) -> Self:
        ingestion = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                ingestion._take(self)

            def log_message(self, *_: Any) -> None:
                """Say nothing."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._go_on.set()
        self._server.shutdown()
        self._server.server_close()

    @property
    def connection_string(self) -> str:
        return (
            f"InstrumentationKey={FALSE_KEY};IngestionEndpoint=http://127.0.0.1:{self._server.server_port}/"
        )

    def data(self, kind: str) -> list[dict[str, Any]]:
        """Give what the envelopes of a kind (MetricData, RemoteDependencyData) hold, with their tags."""
        return [
            envelope["data"]["baseData"] | {"tags": envelope["tags"]}
            for envelope in self.envelopes
            if envelope["data"]["baseType"] == kind
        ]

    def metrics(self) -> dict[tuple[str, str | None, str | None], float]:
        """Give the value of each metric by its name, feed and hub."""
        return {
            (metric["name"], data["properties"].get("feed"), data["properties"].get("hub")): metric["value"]
            for data in self.data("MetricData")
            for metric in data["metrics"]
        }

    def _take(self, request: BaseHTTPRequestHandler) -> None:
        self.paths.append(request.path)
        body = request.rfile.read(int(request.headers["Content-Length"]))
        if request.headers.get("Content-Encoding") == "gzip":
            body = gzip.decompress(body)
        if self.stalled:
            self._go_on.wait()
        envelopes = json.loads(body)
        accepted = len(envelopes) if self.status == 200 else 0
        if accepted:
            self.envelopes += envelopes
        answer = json.dumps({"itemsReceived": len(envelopes), "itemsAccepted": accepted, "errors": []})
        request.send_response(self.status)
        request.send_header("Content-Type", "application/json")
        request.send_header("Content-Length", str(len(answer)))
        request.end_headers()
        request.wfile.write(answer.encode())
