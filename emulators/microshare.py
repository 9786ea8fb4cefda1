"""A stand-in for the Microshare API, as strict as the real one: logins, device clusters, dashboards.

One process serves the three base URLs (app, auth and api) on one port of loopback. It checks what
the platform checks, in its order: the Bearer token, then paths and rights, then the view's template,
then it gives data. `Faults` makes it go wrong on demand, and counts how often each fault fired.
"""

from __future__ import annotations

import json
import re
import secrets
import threading
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, Literal, Self, Unpack
from urllib.parse import unquote

from emulators.estate import (
    ALL_CLUSTERS,
    EPOCH,
    FOREIGN_CLUSTER,
    PEOPLE,
    SNAPSHOTS,
    EmulatedFeed,
    Entry,
    Estate,
    Stored,
    Tags,
    ms_of,
)
from emulators.microshare_answers import (
    CLUSTER_IDS,
    CLUSTER_NAMES,
    DENIED,
    FIELD_SLOTS,
    NOT_FOUND,
    OWN_ORG,
    PACKED_REC_TYPE,
    VIEW_REC_TYPE,
    Refusal,
    cluster_of,
    derived,
    line_entry,
    login_form,
    org_of,
    owner_of,
    read_form,
    refused_login,
    template_error,
    unix,
    with_session,
)
from emulators.microshare_faults import Asked, Faults, Where
from emulators.microshare_http import (
    JsonObject,
    RecordedRequest,
    Request,
    Response,
    Server,
    Wire,
    exact_time,
    positive_number,
)

__all__ = [
    "PACKED_REC_TYPE",
    "VIEW_REC_TYPE",
    "Faults",
    "MicroshareEmulator",
    "RecordedRequest",
    "Refusal",
    "Request",
    "Response",
    "Wire",
    "fault_names",
    "switch_on",
]


CONTROL_PATH = "/_control"


def utcnow() -> datetime:
    """Give the instant of the host's clock."""
    return datetime.now(UTC)


class MicroshareEmulator:
    """The Microshare API on a loopback port, while the context lasts; every method is thread-safe.

    `clock` rules visibility, token expiry and the `Date` header, to which `skew` is added.
    `record_cap` is how many line entries a view takes in, the newest; `per_page_max` how many objs
    a page holds at most. `prefix` is a path that all three base URLs begin with. With `empty_groups`
    a group without entries has an empty line rather than no object; `login_refusal` is how wrong
    credentials are answered. `intercept` may answer any request in place of everything else.
    `further_faults` are what the control address can switch beside its own.
    """

    def __init__(
        self,
        estate: Estate | None = None,
        *,
        host: str = "127.0.0.1",
        port: int = 0,
        clock: Callable[[], datetime] = utcnow,
        username: str = "svc@example.test",
        password: str = "example-password",
        api_key: str = "AAAAAAAA-0000-0000-0000-00000000000A",
        record_cap: int = 999,
        per_page_max: int = 999,
        token_ttl: timedelta = timedelta(hours=48),
        prefix: str = "",
    ) -> None:
        self.estate = Estate() if estate is None else estate
        self.clock = clock
        self.skew = timedelta(0)
        self.username, self.password, self.api_key = username, password, api_key
        self.record_cap, self.per_page_max, self.token_ttl = record_cap, per_page_max, token_ttl
        self.prefix = prefix.rstrip("/")
        self.empty_groups = False
        self.login_refusal: Refusal = "401"
        self.identity = OWN_ORG
        self.people_view_id, self.snapshot_view_id = PEOPLE.view_id, SNAPSHOTS.view_id
        self.cluster_ids = CLUSTER_IDS[:FOREIGN_CLUSTER]
        self.foreign_cluster_id = CLUSTER_IDS[FOREIGN_CLUSTER]
        self.faults = Faults(self.revoke_tokens, self._feed_of)
        self.intercept: Callable[[Request], Response | None] | None = None
        self.further_faults: dict[str, Callable[..., None]] = {}
        self.logins = 0
        self.login_attempts = 0
        self.most_in_flight = 0
        self._in_flight = 0
        self._requests: list[RecordedRequest] = []
        self._tokens: dict[str, tuple[datetime, str]] = {}
        self._lock = threading.RLock()
        self._address = (host, port)
        self._server: Server | None = None

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.stop()

    def start(self) -> Self:
        """Listen, and answer in threads of its own until `stop`."""
        self._server = Server(self._address, self)
        self._address = (self._address[0], self._server.server_port)
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()
        return self

    def stop(self) -> None:
        """Close the port and every connection. A later `start` takes the same port."""
        if self._server is not None:
            self._server.stop()
            self._server = None

    @property
    def url(self) -> str:
        """Give the base URL, the same for app, auth and api."""
        return f"http://{self._address[0]}:{self._address[1]}{self.prefix}"

    def environment(self, auth: Literal["web", "oauth2"] = "web") -> dict[str, str]:
        """Give the variables that point a forwarder at this emulator."""
        variables = {
            "MICROSHARE_USERNAME": self.username,
            "MICROSHARE_PASSWORD": self.password,
            "MICROSHARE_API_KEY": self.api_key,
            "MICROSHARE_AUTH": auth,
            "MICROSHARE_APP_URL": self.url,
            "MICROSHARE_AUTH_URL": self.url,
            "MICROSHARE_API_URL": self.url,
            "MICROSHARE_IDENTITY": self.identity,
            "MICROSHARE_PC_DEVICE_CLUSTER_ID": json.dumps(self.cluster_ids),
        }
        for feed in self.estate.feeds.values():
            variables |= feed.variables
        prefix = self.estate.snapshot_prefix().rstrip()
        return variables | ({"MICROSHARE_LOCATION_PREFIX": prefix} if prefix else {})

    @property
    def requests(self) -> list[RecordedRequest]:
        """Give every request so far, in the order of its answer."""
        with self._lock:
            return list(self._requests)

    def queries(self, location: str | None = None) -> list[RecordedRequest]:
        """Give the dashboard queries so far, of one loc1 or of all."""
        return [
            request
            for request in self.requests
            if request.kind == "query" and location in (None, request.location)
        ]

    def revoke_tokens(self) -> None:
        """Let every token issued so far be refused."""
        with self._lock:
            self._tokens.clear()

    def now(self) -> datetime:
        return self.clock()

    def answer(self, request: Request) -> Response:
        """Give the answer to a request: the fault's, or the true one, as faults change it."""
        if request.kind == "login":
            with self._lock:
                self.login_attempts += 1
        if request.path == CONTROL_PATH:
            return _control(self, request)
        instead = self.intercept(request) if self.intercept else None
        instead = instead or self.faults.run("instead", request)
        answer: Response = self.faults.run("answer", request, instead or self._route(request))
        return answer

    def record(self, request: Request, status: int) -> None:
        if request.path == CONTROL_PATH:
            return
        query = {name: values for name, values in request.query.items() if name != "password"}
        told = RecordedRequest(request.method, request.path, query, status, request.at, request.kind)
        with self._lock:
            self._requests.append(told)

    def entered(self, by: int) -> None:
        """Count the requests that are being answered."""
        with self._lock:
            self._in_flight += by
            self.most_in_flight = max(self.most_in_flight, self._in_flight)

    # Logins.

    def _route(self, request: Request) -> Response:
        if request.path == "/login":
            return self._web_login(request) if request.method == "POST" else login_form(200)
        if request.path == "/oauth2/token":
            return self._oauth2_login(request) if request.method == "POST" else Response.text(405, "")
        routes = {"query": self._query, "devices": self._devices, "views": self._views}
        if request.kind not in routes:
            return Response.html(404, "Not found")
        if not self._may_read(request):
            return Response.text(401, "")
        if request.method != "GET":
            return Response.text(405, "")
        return routes[request.kind](request)

    def _web_login(self, request: Request) -> Response:
        form = read_form(request)
        if not (form.get("csrfToken") and self._knows(form)):
            return refused_login(request, self.login_refusal)
        issued = self.clock()
        expires = issued + self.token_ttl
        data = {
            "access_token": self._issue("ALL:ALL", issued),
            "refresh_token": secrets.token_hex(16),
            "expires_at": str(ms_of(expires)),
        }
        return with_session({"data": data, "exp": unix(expires), "nbf": unix(issued), "iat": unix(issued)})

    def _oauth2_login(self, request: Request) -> Response:
        form = {name: values[0] for name, values in request.query.items()} | read_form(request)
        granted = form.get("grant_type") == "password" and form.get("client_id") == self.api_key
        if not (granted and self._knows(form)):
            return refused_login(request, self.login_refusal)
        scope = form.get("scope", "ALL:ALL")
        return Response.json(
            {
                "access_token": self._issue(scope, self.clock()),
                "extended": {
                    "email": self.username,
                    "altid": "AAAAAAAA-0000-0000-0000-000000000001",
                    "fullname": "Service Account",
                    "alias": None,
                    "appid": self.api_key,
                    "identity": form.get("identity", "exampledefau"),
                    "identityname": "Example Default",
                    "orgdomain": "example.test",
                    "roles": [],
                    "authtype": 1,
                    "isadmin": False,
                    "identityhost": None,
                    "scope": scope,
                    "token_type": "Bearer",
                    "tokendata": {"ip": "192.0.2.10", "id": "cccccccc-0000-0000-0000-000000000003"},
                    "sessionkey": "0f" * 16,
                },
                "refresh_token": secrets.token_hex(16),
            }
        )

    def _knows(self, form: Mapping[str, str]) -> bool:
        return (form.get("username"), form.get("password")) == (self.username, self.password)

    def _issue(self, scope: str, at: datetime) -> str:
        token = secrets.token_hex(32)
        with self._lock:
            self._tokens[token] = (at + self.token_ttl, scope)
            self.logins += 1
        return token

    def _may_read(self, request: Request) -> bool:
        scheme, _, token = request.headers.get("authorization", "").partition(" ")
        with self._lock:
            expires, scope = self._tokens.get(token, (EPOCH, ""))
        allowed = set(re.split(r"[\s,]+", scope))
        rights = {"SHARE:READ", "SHARE:QUERY", "SHARE:EXECUTE"}
        return scheme == "Bearer" and request.at < expires and ("ALL:ALL" in allowed or rights <= allowed)

    # Dashboard queries.

    def _query(self, request: Request) -> Response:
        if request.path != f"/share/{VIEW_REC_TYPE}/" or "id" not in request.query:
            return Response.text(403, DENIED)
        feed = self._feed_of(request)
        if feed is None:
            return Response.text(404, NOT_FOUND)
        broken = template_error(feed, request)
        if broken is not None:
            return Response.text(503, broken)
        return self._paged(request, self._objs(feed, request))

    def _objs(self, feed: EmulatedFeed, request: Request) -> list[JsonObject]:
        lines: dict[Tags, list[Entry]] = {}
        if self.empty_groups:
            lines = {tags: [] for tags in self._groups_of(feed, request.first("loc1"))}
        slots = {request.first(slot) for slot in FIELD_SLOTS}
        for stored in self._matching(feed, request):
            lines.setdefault(stored.tags, []).append(line_entry(feed, stored.entry, slots))
        return [derived(feed, tags, line, request.at) for tags, line in sorted(lines.items())]

    def _matching(self, feed: EmulatedFeed, request: Request) -> list[Stored]:
        """Give the newest records that match, as the platform cuts a view without a limit of its own."""
        start, end = (exact_time(request.first(name)) for name in ("from", "to"))
        if start is None or end is None or request.first("recType") != feed.rec_type:
            return []  # ends are compared as texts: one in another form matches nothing
        context = set(map(str, json.loads(request.first("dataContext") or "[]")))
        clusters = ALL_CLUSTERS
        if "ownerOrg" in feed.placeholders:
            pattern = json.loads(request.first("ownerOrg") or '""')
            clusters = frozenset(number for number in ALL_CLUSTERS if re.search(pattern, org_of(number)))
        found = self.estate.readings(
            feed.name, request.first("loc1") or "", ms_of(start), ms_of(end), request.at, clusters
        )
        asked = [
            stored
            for stored in found
            if context
            and context <= set(stored.context)
            and all(stored.entry.get(name) == request.first(name) for name in feed.matched)
        ]
        cap: int = self.faults.run("cap", request, self.record_cap)
        return asked[-cap:]

    def _groups_of(self, feed: EmulatedFeed, name: str | None) -> list[Tags]:
        return [
            tags
            for building in self.estate.listed(self.clock())
            if name == feed.called(building)
            for tags in feed.places(building)
        ]

    def _feed_of(self, request: Request) -> EmulatedFeed | None:
        """Give the feed whose view a request asks."""
        asked = request.first("id")
        return next((feed for feed in self.estate.feeds.values() if feed.view_id == asked), None)

    # Device clusters and views.

    def _devices(self, request: Request) -> Response:
        rec_type, *rest = [unquote(part) for part in request.path.split("/")[2:]]
        known = rec_type in (PACKED_REC_TYPE, "*")
        if rest and rest[0] == "tags":
            numbers = []  # no cluster here has tags
        elif rest and rest[0]:
            if not known or rest[0] not in CLUSTER_IDS:
                return Response.text(404, NOT_FOUND)
            numbers = [CLUSTER_IDS.index(rest[0])]
            numbers = self.faults.run("clusters", request, numbers)
        else:
            widely = request.first("discover") == "true"
            numbers = [one for one in sorted(ALL_CLUSTERS) if known and (widely or one != FOREIGN_CLUSTER)]
        searched = request.first("search") or ""
        numbers = [one for one in numbers if searched.lower() in CLUSTER_NAMES[one].lower()]
        listed = self.estate.listed(request.at)
        details = request.first("details") == "true"
        return self._paged(request, [cluster_of(number, listed, details=details) for number in numbers])

    def _views(self, request: Request) -> Response:
        parts = [unquote(part) for part in request.path.split("/")[2:] if part]
        feeds = [feed for feed in self.estate.feeds.values() if parts[:1] in ([VIEW_REC_TYPE], ["*"], [])]
        if len(parts) > 1:
            feeds = [feed for feed in feeds if feed.view_id == parts[1]]
            if not feeds:
                return Response.text(404, NOT_FOUND)
        described = [
            {
                "_id": feed.view_id,
                "id": feed.view_id,
                "name": feed.view_name,
                "recType": VIEW_REC_TYPE,
                "tags": [],
                "owner": owner_of(0),
            }
            for feed in feeds
        ]
        return self._paged(request, described)

    def _paged(self, request: Request, objs: list[JsonObject]) -> Response:
        number, size = (
            positive_number(request.first("page"), 1),
            positive_number(request.first("perPage"), self.per_page_max),
        )
        if not number or not size:
            return Response.text(400, "page and perPage must be numbers from 1 on")
        asked: Asked = self.faults.run("page", request, Asked(number, min(size, self.per_page_max)))
        total = len(objs)
        objs = self.faults.run("objs", request, objs)
        # A fault that repeats objects is counted by the platform too; one that loses them is not.
        total = max(total, len(objs))
        page = objs[(asked.number - 1) * asked.per_page : asked.number * asked.per_page]
        meta = {
            "currentCount": len(page),
            "currentPage": asked.number,
            "perPage": asked.per_page,
            "source": "db",
            "totalCount": total,
            "totalPages": max(1, -(-total // asked.per_page)),
        }
        payload = {"meta": meta | dict(asked.says), "objs": page}
        return Response.json(self.faults.run("payload", request, payload))


BY_NAME = tuple(
    name
    for name, member in vars(Faults).items()
    if not name.startswith("_") and callable(member) and name not in ("clear", "armed", "run", "rewrite_body")
)


def _by_hand(emulator: MicroshareEmulator) -> dict[str, Callable[..., None]]:
    """Give what can be switched on by name, with JSON options."""
    faults = emulator.faults
    named: dict[str, Callable[..., None]] = {
        name.replace("_", "-"): getattr(faults, name) for name in BY_NAME
    }

    def silent(minutes: float | None = None) -> None:
        """Publish nothing from now on, for so many minutes or for ever."""
        now = emulator.clock()
        until = None if minutes is None else now + timedelta(minutes=minutes)
        for building in emulator.estate.listed(now):
            emulator.estate.silence(building.name, now, until)

    def query_503(**where: Unpack[Where]) -> None:
        """Answer queries with 503."""
        faults.status(503, **where)

    def revoke_tokens() -> None:
        """Let every token issued so far be refused."""
        emulator.revoke_tokens()

    own: dict[str, Callable[..., None]] = {
        "silent": silent,
        "query-503": query_503,
        "revoke-tokens": revoke_tokens,
    }
    return named | own | emulator.further_faults


def fault_names() -> dict[str, str]:
    """Give the faults that can be switched on by name, and what each does."""
    unstarted = _by_hand(MicroshareEmulator(Estate(buildings=(), generated=False)))
    return {name: _does(act) for name, act in unstarted.items()}


def _does(act: Callable[..., None]) -> str:
    return " ".join((act.__doc__ or "").partition("\n\n")[0].split())


def switch_on(emulator: MicroshareEmulator, name: str, **options: Any) -> None:
    """Switch a fault on by name. Raises ValueError where there is no such fault or option."""
    acts = _by_hand(emulator)
    if name not in acts:
        raise ValueError(f"there is no fault {name!r}; there are {', '.join(sorted(acts))}")
    try:
        acts[name](**options)
    except TypeError as error:
        raise ValueError(f"fault {name}: {error}") from error


def _control(emulator: MicroshareEmulator, request: Request) -> Response:
    """List faults; on POST, switch one on, or off with {"clear": name or true}."""
    if request.method == "POST":
        try:
            asked = json.loads(request.body)
            if "clear" in asked:
                name = asked["clear"]
                emulator.faults.clear(name.replace("-", "_") if isinstance(name, str) else None)
            else:
                switch_on(emulator, asked.pop("fault"), **asked)
        except (ValueError, KeyError, AttributeError, TypeError) as error:
            return Response.text(400, f"{type(error).__name__}: {error}")
    return Response.json(
        {
            "armed": emulator.faults.armed(),
            "fired": dict(emulator.faults.fired),
            "faults": {name: _does(act) for name, act in _by_hand(emulator).items()},
        }
    )
