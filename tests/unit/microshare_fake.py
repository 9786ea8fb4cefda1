"""A scripted Microshare for unit tests: it answers what it is told, and keeps what it was asked."""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import requests
import responses

from app.base.budget import Budget
from app.microshare.auth import LoginRefusals, TokenCache
from app.microshare.client import MicroshareClient
from app.settings.schema import MicroshareSettings

APP, AUTH, API = "https://app.example.test", "https://auth.example.test", "https://api.example.test"
PASSWORD = "not-a-real-password"
API_KEY = "NOT-A-REAL-KEY"
NOW = datetime(2025, 11, 12, 10, 0, tzinfo=UTC)
HTTP_NOW = "Wed, 12 Nov 2025 10:00:00 GMT"

SETTINGS = MicroshareSettings(
    app_url=APP,
    auth_url=AUTH,
    api_url=API,
    auth="web",
    username="svc-forwarder",
    password=PASSWORD,
    api_key=API_KEY,
    identity=("NORTH",),
)


@dataclass(frozen=True)
class Answer:
    """What the fake answers: `json` (or raw `body`), as JSON unless `headers` say otherwise.

    Each of `cookies` is a Set-Cookie of its own.
    """

    status: int = 200
    json: Any = None
    body: bytes | None = None
    headers: Mapping[str, str] = field(default_factory=dict)
    cookies: Sequence[str] = ()

    def triple(self) -> tuple[int, list[tuple[str, str]], bytes]:
        body = self.body if self.body is not None else json.dumps(self.json).encode()
        headers = {"Content-Type": "application/json", "Date": HTTP_NOW, **self.headers}
        return self.status, [*headers.items(), *(("Set-Cookie", cookie) for cookie in self.cookies)], body


def page(objs: list[Any], **meta: Any) -> Answer:
    """One page of an answer; all of it unless `meta` states more."""
    stated = {"currentPage": 1, "totalPages": 1, "perPage": 999, "totalCount": len(objs)} | meta
    return Answer(json={"meta": stated, "objs": objs})


def jwt(payload: Mapping[str, Any]) -> str:
    parts = ({"alg": "HS256"}, payload)
    encoded = [base64.urlsafe_b64encode(json.dumps(part).encode()).decode().rstrip("=") for part in parts]
    return ".".join([*encoded, "unchecked"])


def session(token: str, expires: datetime = NOW + timedelta(hours=48)) -> Answer:
    """A web login that succeeds."""
    value = jwt({"data": {"access_token": token}, "exp": int(expires.timestamp())})
    cookie = f"PLAY_SESSION={value}; Path=/; HTTPOnly; SameSite=Lax"
    return Answer(303, body=b"", headers={"Location": "/composer", "Set-Cookie": cookie})


class Clock:
    """A clock that waiting moves."""

    def __init__(self) -> None:
        self.seconds = 1000.0
        self.waited: list[float] = []

    def monotonic(self) -> float:
        return self.seconds

    def now(self) -> datetime:
        return NOW + timedelta(seconds=self.seconds - 1000)

    def wait(self, seconds: float) -> None:
        self.waited.append(seconds)
        self.seconds += seconds


class FakeMicroshare:
    """Logins and everything else are scripted apart; the last answer of each stays.

    `on_answer` takes the place of the script where an answer depends on its request.
    """

    def __init__(self, mock: responses.RequestsMock) -> None:
        self.logins: list[Answer | Exception] = [session("token-1"), session("token-2"), session("token-3")]
        self.answers: list[Answer | Exception] = [page([])]
        self.clock = Clock()
        self.requests: list[requests.PreparedRequest] = []
        self.on_answer: Callable[[requests.PreparedRequest], Answer] | None = None
        self._login_requests = 0
        mock.add_callback("POST", re.compile(f"({APP}|{AUTH})/.*"), callback=self._log_in)  # type: ignore[arg-type]  # it takes pairs too
        mock.add_callback("GET", re.compile(f"{API}/.*"), callback=self._answer)  # type: ignore[arg-type]  # it takes pairs too

    @property
    def login_requests(self) -> int:
        return self._login_requests

    @property
    def asked(self) -> list[str]:
        """Path and query of each request but logins, as on the wire."""
        return [str(request.url).removeprefix(API) for request in self.requests if request.method == "GET"]

    @property
    def pages_asked(self) -> list[str]:
        return [dict(parse_qsl(urlsplit(url).query)).get("page", "1") for url in self.asked]

    @property
    def tokens_used(self) -> list[str]:
        return [str(request.headers["Authorization"]) for request in self.requests if request.method == "GET"]

    def client(
        self,
        *,
        tokens: TokenCache | None = None,
        budget: Budget | None = None,
        wait: Callable[[float], None] | None = None,
        own_wait: bool = True,
        jitter: Callable[[], float] = lambda: 0.5,
        refusals: LoginRefusals | None = None,
        **settings: Any,
    ) -> MicroshareClient:
        return MicroshareClient(
            replace(SETTINGS, **settings),
            budget or Budget(timedelta(minutes=4), monotonic=self.clock.monotonic),
            tokens=tokens,
            now=self.clock.now,
            monotonic=self.clock.monotonic,
            jitter=jitter,
            wait=wait or (self.clock.wait if own_wait else None),
            refusals=refusals,
        )

    def _log_in(self, request: requests.PreparedRequest) -> tuple[int, list[tuple[str, str]], bytes]:
        self._login_requests += 1
        self.requests.append(request)
        return _next(self.logins)

    def _answer(self, request: requests.PreparedRequest) -> tuple[int, list[tuple[str, str]], bytes]:
        self.requests.append(request)
        return self.on_answer(request).triple() if self.on_answer else _next(self.answers)


def _next(script: list[Answer | Exception]) -> tuple[int, list[tuple[str, str]], bytes]:
    answer = script.pop(0) if len(script) > 1 else script[0]
    if isinstance(answer, Exception):
        raise answer
    return answer.triple()
