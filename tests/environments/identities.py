"""What an app in Azure asks for a token of its managed identity, on loopback as there."""

from __future__ import annotations

import json
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit


class IdentityEndpoint(ThreadingHTTPServer):
    """Gives everybody the same token; `asked` has the client ids, and `environ` what Azure sets."""

    def __init__(self, token: str) -> None:
        self.asked: list[str] = []
        asked = self.asked

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                asked.extend(parse_qs(urlsplit(self.path).query).get("client_id", ["none"]))
                told = {"access_token": token, "expires_on": str(int(time.time()) + 3_600)}
                body = json.dumps({**told, "resource": "r", "token_type": "Bearer"}).encode()
                self.send_response(200)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: object) -> None:
                pass

        super().__init__(("127.0.0.1", 0), Handler)
        url = f"http://127.0.0.1:{self.server_port}/msi/token"
        self.environ = {"IDENTITY_ENDPOINT": url, "IDENTITY_HEADER": "obviously-false"}
        threading.Thread(target=self.serve_forever, daemon=True).start()

    def server_close(self) -> None:
        self.shutdown()
        super().server_close()
