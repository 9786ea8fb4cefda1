"""The storage queue from which shards are run, as far as `check` asks for it: over REST, signed here.

The Functions host puts messages there and takes them. A package of the queues' SDK would be deployed for
these few requests alone.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import uuid
from collections.abc import Mapping
from datetime import datetime
from email.utils import format_datetime
from typing import Any, Final
from urllib.parse import parse_qsl, urlsplit

from azure.core.exceptions import AzureError, HttpResponseError
from azure.core.pipeline.transport import RequestsTransport
from azure.core.rest import HttpRequest, HttpResponse

from app.base.errors import StateError
from app.base.instants import utc_now
from app.network.identity import credential
from app.network.proxies import azure_options, by_proxy
from app.settings.connection_strings import QueueAccount, queue_account
from app.settings.schema import ScaleOutSettings
from app.state.table_calls import explanation

_VERSION: Final = "2021-12-02"
_AUDIENCE: Final = "https://storage.azure.com/.default"
_SIGNED: Final = (
    "Content-Encoding",
    "Content-Language",
    "Content-Length",
    "Content-MD5",
    "Content-Type",
    "Date",
    "If-Modified-Since",
    "If-Match",
    "If-None-Match",
    "If-Unmodified-Since",
    "Range",
)
_CONNECT_S: Final = 10
_READ_S: Final = 20
_NOT_FOUND: Final = 404
_FIRST_REFUSAL: Final = 400


class QueueService:
    """The queues of one storage account. What cannot be done there is a StateError that says what to do."""

    def __init__(self, settings: ScaleOutSettings) -> None:
        connection = settings.queue_connection_string
        self._account = queue_account(connection) if connection else None
        self.url = self._account.url if self._account else settings.queue_endpoint or ""
        self._network = settings.network
        self._way = azure_options(settings.network, self.url)

    def probe(self) -> None:
        """Make a queue of another name, put a message there, and remove both, as the host would have to."""
        name = f"forwarder-check-{uuid.uuid4().hex[:12]}"
        self.ask("PUT", name)
        try:
            self.put(name, "check")
        finally:
            self.ask("DELETE", name)

    def put(self, name: str, text: str) -> None:
        """Put a message on a queue, encoded as the host reads it."""
        encoded = base64.b64encode(text.encode()).decode()
        body = f"<QueueMessage><MessageText>{encoded}</MessageText></QueueMessage>"
        self.ask("POST", f"{name}/messages", body)

    def waiting(self, name: str) -> int:
        """Say how many messages are in a queue, about; none where there is no such queue."""
        answer = self.ask("GET", f"{name}?comp=metadata", may_be_missing=True)
        return int(answer.headers.get("x-ms-approximate-messages-count", 0))

    def ask(self, method: str, path: str, body: str = "", *, may_be_missing: bool = False) -> HttpResponse:
        """Make one request; give its answer, of 404 only where what it names `may_be_missing`."""
        request = HttpRequest(method, f"{self.url}/{path}", content=body or None)
        try:
            request.headers.update(self._signed(request, body, utc_now()))
            way: dict[str, Any] = {"connection_timeout": _CONNECT_S, "read_timeout": _READ_S, **self._way}
            with RequestsTransport(**way) as transport:
                answer: HttpResponse = transport.send(request, proxies=self._way["proxies"])
                answer.read()
            is_missing = answer.status_code == _NOT_FOUND and may_be_missing
            if answer.status_code >= _FIRST_REFUSAL and not is_missing:
                raise _Refused(answer)
        except AzureError as error:
            place = urlsplit(self.url)
            said = explanation(error, by_proxy(self._network, self.url), of="Queue")
            raise StateError(f"queues at {place.netloc}{place.path}: {said}") from error
        return answer

    def _signed(self, request: HttpRequest, body: str, now: datetime) -> Mapping[str, str]:
        """Give the headers that say who asks: a signature by the account's key, or an identity's token."""
        headers = {
            "x-ms-date": format_datetime(now, usegmt=True),
            "x-ms-version": _VERSION,
            "Content-Type": "application/xml",
            "Content-Length": str(len(body.encode())),
        }
        if self._account is None:
            token = credential(self._network).get_token(_AUDIENCE).token
            return headers | {"Authorization": f"Bearer {token}"}
        text = _to_be_signed(request.method, request.url, headers, self._account)
        digest = hmac.new(base64.b64decode(self._account.key), text.encode(), hashlib.sha256).digest()
        signature = base64.b64encode(digest).decode()
        return headers | {"Authorization": f"SharedKey {self._account.name}:{signature}"}


def _to_be_signed(method: str, url: str, headers: Mapping[str, str], account: QueueAccount) -> str:
    """Write a request as "Authorize with Shared Key" of Azure Storage's REST interface has it."""
    parts = urlsplit(url)
    # An empty body has no length there.
    given = {name: value for name, value in headers.items() if value != "0"}
    own = sorted(name for name in headers if name.startswith("x-ms-"))
    asked = sorted(parse_qsl(parts.query))
    return "\n".join(
        [
            method,
            *(given.get(name, "") for name in _SIGNED),
            *(f"{name}:{headers[name]}" for name in own),
            f"/{account.name}{parts.path}",
            *(f"{name}:{value}" for name, value in asked),
        ]
    )


class _Refused(HttpResponseError):
    """An answer that is none to what was asked."""

    def __init__(self, answer: Any) -> None:
        super().__init__(response=answer)
        self.error_code = answer.headers.get("x-ms-error-code")
