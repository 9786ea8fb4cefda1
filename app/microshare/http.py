"""HTTP as the source needs it: a total deadline for every call, bounded bodies, nothing followed.

The only module that knows requests (and urllib3 beneath it). TLS certificates are always verified, by the
authorities of the settings where they name some; the settings name the proxy, too.
"""

from __future__ import annotations

import logging
import socket
import ssl
import threading
import time
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from http.client import BadStatusLine, RemoteDisconnected, UnknownProtocol
from http.cookiejar import DefaultCookiePolicy
from types import TracebackType
from typing import Any, Self

import requests
import urllib3
from requests.adapters import HTTPAdapter
from urllib3.connection import HTTPConnection, HTTPSConnection

from app.base.certificates import why_untrusted
from app.base.errors import SourceRefused
from app.base.unknown_host import why_unknown
from app.microshare.bodies import read_body
from app.microshare.retries import PassingTrouble
from app.network.addresses import connected
from app.network.proxies import by_proxy, proxies_of
from app.settings.schema import DIRECT, NetworkSettings

USER_AGENT = "microshare-forwarder"
_CHECK_URLS = "check MICROSHARE_API_URL, MICROSHARE_APP_URL and MICROSHARE_AUTH_URL, whichever names it"
# A run that is told to stop shortens the deadlines of calls under way: looked at this often.
_WATCH_SECONDS = 1.0


@dataclass(frozen=True, slots=True)
class HttpAnswer:
    """A complete answer, which took so many seconds to come.

    `headers` ignore case; `at` is the monotonic second at which they came.
    """

    status: int
    headers: Mapping[str, str] = field(repr=False)
    body: bytes = field(repr=False)
    set_cookies: tuple[str, ...] = field(default=(), repr=False)
    at: float = 0.0
    took_s: float = 0.0


class Http:
    """Calls over HTTP for several threads: each has connections of its own. Close it when done.

    `largest_body` limits a body in bytes, after inflation, where a call does not say otherwise.
    """

    def __init__(
        self,
        *,
        largest_body: int,
        network: NetworkSettings = DIRECT,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._largest_body = largest_body
        self._network = network
        self._monotonic = monotonic
        self._own = threading.local()
        self._lock = threading.Lock()
        self._sessions: list[requests.Session] = []
        # urllib3 logs whole URLs, and one form of the login has the password in its URL.
        logging.getLogger("urllib3").setLevel(logging.ERROR)

    def send(
        self,
        method: str,
        url: str,
        *,
        seconds: float,
        remaining: Callable[[], float],
        largest: int | None = None,
        accept: str = "application/json",
        token: str | None = None,
        form: Mapping[str, str] | None = None,
    ) -> HttpAnswer:
        """Make one call and read its answer in full, whatever its status. Nothing is repeated or followed.

        A body of more than `largest` bytes, after inflation, is refused.
        It ends after `seconds`, or when `remaining()` reaches zero: looking up the host's name,
        which has the resolver's own limits, is all that can outlast that.

        Raises PassingTrouble where the connection or the time did not last for the whole answer,
        BadResponse for one over the size limit, SourceRefused where the certificate is not trusted.
        """
        deadline = time.monotonic() + seconds
        with _Call(lambda: min(deadline - time.monotonic(), remaining())) as call:
            try:
                answer = self._exchange(
                    call,
                    method,
                    url,
                    self._largest_body if largest is None else largest,
                    data=form,
                    headers={"Accept": accept},
                    auth=_Authorization(token),
                )
            except (
                requests.RequestException,
                urllib3.exceptions.HTTPError,
                OSError,
                zlib.error,
                # What takes URLs apart raises it bare: "Invalid IPv6 URL".
                ValueError,
            ) as error:
                failure: Exception | None = error
            else:
                failure = None
        # Raised out here, without the cause: its text can hold a URL with credentials.
        if failure is None and not call.expired:
            return answer
        # Which way it took cannot be said where the URL cannot be read.
        by = "" if isinstance(failure, ValueError) else by_proxy(self._network, url)
        raise _translate(failure, call, url, seconds, by)

    def close(self) -> None:
        with self._lock:
            for session in self._sessions:
                session.close()
            self._sessions.clear()
        self._own = threading.local()

    def _exchange(self, call: _Call, method: str, url: str, largest: int, **asked: Any) -> HttpAnswer:
        began = self._monotonic()
        with self._session().request(
            method,
            url,
            **asked,
            timeout=max(call.left(), 0.001),
            allow_redirects=False,
            stream=True,
            verify=self._network.ca_file or True,
            proxies=proxies_of(self._network, url),
        ) as response:
            at = self._monotonic()
            read = partial(response.raw.read, decode_content=False)
            body = read_body(read, response.headers, response.url.partition("?")[0], largest)
            cookies = tuple(response.raw.headers.getlist("Set-Cookie"))
            took_s = self._monotonic() - began
            return HttpAnswer(response.status_code, response.headers, body, cookies, at, took_s)

    def _session(self) -> requests.Session:
        session: requests.Session | None = getattr(self._own, "session", None)
        if session is None:
            session = self._own.session = _Session()
            with self._lock:
                self._sessions.append(session)
        return session


class _Session(requests.Session):
    """A session that keeps no cookies, so that none goes where it does not belong."""

    def __init__(self) -> None:
        super().__init__()
        # Proxies, authorities and logins that the environment names are none but those of the settings.
        self.trust_env = False
        self.headers["User-Agent"] = USER_AGENT
        self.headers["Accept-Encoding"] = "gzip"
        self.cookies.set_policy(DefaultCookiePolicy(allowed_domains=[]))
        adapter = _WatchedAdapter()
        self.mount("https://", adapter)
        self.mount("http://", adapter)

    def get_redirect_target(self, resp: requests.Response) -> str | None:  # noqa: ARG002 - requests' signature
        # Even unfollowed, requests would read a redirect's body without limit and prepare the next call.
        return None


class _Authorization(requests.auth.AuthBase):
    """Sets the bearer token, or nothing. Having one at all keeps requests from asking a ~/.netrc."""

    def __init__(self, token: str | None) -> None:
        self._token = token

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        if self._token is not None:
            request.headers["Authorization"] = f"Bearer {self._token}"
        return request


def _translate(failure: Exception | None, call: _Call, url: str, seconds: float, by: str) -> Exception:
    """Give what a failure means; `by` says of the way what is out of the ordinary."""
    host = url.split("/")[2]
    root = _root_of(failure)
    late = requests.Timeout | urllib3.exceptions.TimeoutError | TimeoutError
    if call.expired or isinstance(failure, late) or isinstance(root, TimeoutError):
        asked = call.asked or isinstance(failure, requests.ReadTimeout | urllib3.exceptions.ReadTimeoutError)
        did = "no complete answer" if asked else "no connection"
        return PassingTrouble(f"{did} from {host}{by} within {seconds:g} s", timed_out=asked)
    untrusted = why_untrusted(failure)
    if untrusted is not None:
        return SourceRefused(
            f"microshare: the certificate of {host} is not trusted ({untrusted}); if a proxy inspects TLS "
            f"here, name its authority's file in REQUESTS_CA_BUNDLE"
        )
    if isinstance(failure, ValueError):
        # Its text quotes what it could not read, or a part of it: of a proxy's URL the password.
        return SourceRefused(
            f"microshare: no request to {host} can be made ({type(failure).__name__}); check the URLs of the "
            f"API and of the proxy"
        )
    unknown = why_unknown(failure)
    if unknown is not None:
        advice = "check HTTPS_PROXY and HTTP_PROXY" if by else _CHECK_URLS
        return PassingTrouble(f"connection to {host}{by} failed (there is no such host: {unknown}); {advice}")
    # What is no HTTP is not quoted, as a page is not: it may be anything, what was sent among it.
    quotes = isinstance(root, BadStatusLine | UnknownProtocol) and not isinstance(root, RemoteDisconnected)
    said = "what answers there speaks no HTTP" if quotes else f"{type(root).__name__}: {root}"
    return PassingTrouble(f"connection to {host}{by} failed ({said}){_advice(root, by)}")


def _advice(root: BaseException | None, by: str) -> str:
    """Say what to do where an error tells it, behind a semicolon; mostly the next attempt is all there is."""
    if isinstance(root, ConnectionRefusedError):
        return "; if it lasts, check " + ("that the proxy runs" if by else "the port of that URL")
    return "; check that URL, and what inspects TLS on the way" if isinstance(root, ssl.SSLError) else ""


def _root_of(error: BaseException | None) -> BaseException | None:
    """Give what an error began with. The layers above it repeat the URL, credentials included."""
    while error is not None and (cause := error.__cause__ or error.__context__) is not None:
        error = cause
    return error


# --- the watch ------------------------------------------------------------------------------------

# The call under way in this thread: connections are made deep inside urllib3, which passes nothing on.
_this_thread = threading.local()


class _Call:
    """One call on the wire. When `left()` reaches zero its connection is shut, whatever it waits for.

    A time-out of the socket's own only limits the wait for the next byte: a server that sends
    one now and then would never be given up. Shutting the socket ends a TLS handshake, headers
    and body alike.
    """

    def __init__(self, left: Callable[[], float]) -> None:
        self.left = left
        self.asked = False
        self.expired = False
        self._lock = threading.Lock()
        self._wire: socket.socket | None = None
        self._done = threading.Event()

    def __enter__(self) -> Self:
        _this_thread.call = self
        threading.Thread(target=self._watch, name="microshare-deadline", daemon=True).start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._done.set()
        _this_thread.call = None
        with self._lock:
            self._drop()

    def runs_over(self, sock: socket.socket) -> None:
        # A duplicate, because wrapping a socket in TLS takes its descriptor away from it.
        wire = socket.fromfd(sock.fileno(), sock.family, sock.type, sock.proto)
        with self._lock:
            self._drop()
            self._wire = wire
            if self.expired:
                self._shut()

    def _watch(self) -> None:
        while not self._done.wait(max(0.0, min(self.left(), _WATCH_SECONDS))):
            if self.left() <= 0:
                with self._lock:
                    self.expired = True
                    self._shut()
                return

    def _shut(self) -> None:
        if self._wire is not None:
            try:
                self._wire.shutdown(socket.SHUT_RDWR)
            except OSError:
                return  # the other side was faster

    def _drop(self) -> None:
        if self._wire is not None:
            self._wire.close()
            self._wire = None


def _connect(connection: HTTPConnection) -> socket.socket:
    """Open a connection within what is left of the call, all addresses of the host together."""
    call: _Call = _this_thread.call
    host = connection._dns_host  # noqa: SLF001 - what HTTPConnection itself looks up
    sock = connected(host, connection.port, call.left)
    for option in connection.socket_options or ():
        sock.setsockopt(*option)
    sock.settimeout(max(call.left(), 0.001))
    call.runs_over(sock)
    return sock


class _WatchedHTTPConnection(HTTPConnection):
    def _new_conn(self) -> socket.socket:
        return _connect(self)

    def request(self, *args: Any, **kwargs: Any) -> None:
        if self.sock is not None:
            _this_thread.call.runs_over(self.sock)
        super().request(*args, **kwargs)
        _this_thread.call.asked = True


class _WatchedHTTPSConnection(_WatchedHTTPConnection, HTTPSConnection):
    pass


class _WatchedHTTPPool(urllib3.HTTPConnectionPool):
    ConnectionCls = _WatchedHTTPConnection


class _WatchedHTTPSPool(urllib3.HTTPSConnectionPool):
    ConnectionCls = _WatchedHTTPSConnection


class _WatchedAdapter(HTTPAdapter):
    """An adapter whose connections tell the call under way which socket it runs over."""

    def init_poolmanager(self, *args: Any, **kwargs: Any) -> None:
        super().init_poolmanager(*args, **kwargs)
        _watch_pools(self.poolmanager)

    def proxy_manager_for(self, *args: Any, **kwargs: Any) -> urllib3.ProxyManager:
        manager: urllib3.ProxyManager = super().proxy_manager_for(*args, **kwargs)
        _watch_pools(manager)
        return manager


def _watch_pools(manager: urllib3.PoolManager) -> None:
    manager.pool_classes_by_scheme = {"http": _WatchedHTTPPool, "https": _WatchedHTTPSPool}
