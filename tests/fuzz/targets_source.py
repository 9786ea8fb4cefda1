"""Readers of what Microshare answers: dashboards, discovery, logins."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Literal

import responses
from hypothesis import strategies as st
from requests.structures import CaseInsensitiveDict

from app.base import exact_json
from app.base.checkpoints import Checkpoint
from app.base.errors import AuthError, SourceError
from app.base.readings import DashboardAnswer, QuarantinedReading, Reading, Slice
from app.base.redaction import redact
from app.feeds.feed import Feed, count_lines, read_answer
from app.feeds.hourly_snapshot import FEED as SNAPSHOTS
from app.feeds.people_counter import FEED as PEOPLE
from app.feeds.quarantine import NotForwardable, event_again, quarantine_text
from app.microshare import auth
from app.microshare.client import MicroshareClient
from app.microshare.http import HttpAnswer
from app.microshare.retries import PassingTrouble
from app.settings.schema import FeedSettings
from app.state.document import quarantine_document, quarantined_from
from tests.canaries import API_KEY, PASSWORD
from tests.fuzz.generators import CANARIES, changed_bytes, json_texts
from tests.fuzz.oracle import Broken, holds, outcome, registry_of_its_own, shows_no_secret
from tests.fuzz.target import Target
from tests.unit.microshare_fake import NOW, SETTINGS, Answer, FakeMicroshare, jwt

LOCATION = "Example Beacon House"
FEEDS: tuple[Feed, ...] = (PEOPLE, SNAPSHOTS)
WINDOW = Slice(datetime(2026, 3, 2, 9, tzinfo=UTC), datetime(2026, 3, 2, 11, tzinfo=UTC))
FEED_SETTINGS = FeedSettings(
    name="people_counter", view_id="ffffffffffffffffffffff0a", schedule="0 */15 * * * *"
)
_SETTINGS = replace(SETTINGS, password=PASSWORD, api_key=API_KEY)

# --- dashboard answers ------------------------------------------------------------------------------

_PEOPLE_ENTRY = {
    "time": "2026-03-02T10:00:00.000Z",
    "record": "65f0c1a2b3c4d5e6f7a8b9c0",
    "daily_total": {"in": 12, "out": 9.5},
    "meta": {"iot": {"serial": "00-11"}, "global": [{"a": None}]},
    "change": {"in": 1},
}
_SNAPSHOT_ENTRY = {
    "time": "2026-03-02T10:00:00.000Z",
    "category": "space",
    "metric": "occupancy",
    "current": {"avg": 0.25, "max": 1, "count": 4},
}
_OBJECT = {
    "data": {"_id": {"tags": [LOCATION, "Level 2", "Door 3"]}, "line": [_PEOPLE_ENTRY, _SNAPSHOT_ENTRY]}
}
_META = {"currentPage": 1, "totalPages": 1, "perPage": 999, "totalCount": 2}
_ANSWER = {"meta": _META, "objs": [_OBJECT, {"data": {"_id": {"tags": ["a"]}, "line": []}}]}
# Nothing that is drawn has these tags.
_GOOD_ENTRIES = [
    json.dumps({"time": f"2026-03-02T10:{minute}:00.000Z", "sum": 2}).encode() for minute in (10, 20)
]


def _good_object(number: int, between: bytes = b"") -> bytes:
    lines = b",".join(filter(None, [_GOOD_ENTRIES[0], between, _GOOD_ENTRIES[1]]))
    return b'{"data":{"_id":{"tags":["good %d"]},"line":[%s]}}' % (number, lines)


def _answer(*objs: bytes) -> bytes:
    stated = b'{"currentPage":1,"totalPages":1,"perPage":999,"totalCount":%d}' % len(objs)
    return b'{"meta":%s,"objs":[%s]}' % (stated, b",".join(objs))


_GOOD = {(f"good {number}",): 2 for number in (1, 2)}


def check_dashboard(case: bytes) -> None:
    """Take a case for a whole answer, for an object of one, and for a line of an object."""
    with registry_of_its_own(), _client() as (client, answered):
        answered(case)
        _read_dashboard(client)
        if not _is_json(case):
            return
        answered(_answer(_good_object(1), case, _good_object(2)))
        _all_good(_read_dashboard(client), {("good 1",): 2, ("good 2",): 2})
        answered(_answer(_good_object(1, between=case), _good_object(2)))
        _all_good(_read_dashboard(client), {("good 1",): 2, ("good 2",): 2})


def _all_good(found: list[Reading] | None, expected: dict[tuple[str, ...], int]) -> None:
    if found is None:
        raise Broken("an answer with good readings is refused as a whole")
    for tags, times in expected.items():
        came = [reading for reading in found if reading.tags == tags and reading.flaw is None]
        if len({reading.time for reading in came}) < times:
            raise Broken(f"of {times} good readings of {tags} only {came} came out")


def _read_dashboard(client: MicroshareClient) -> list[Reading] | None:
    """Go the whole way of an answer, up to events and quarantine; None where it is refused."""
    query = PEOPLE.query(FEED_SETTINGS, LOCATION, WINDOW)
    asked = outcome(lambda: client.query_dashboard(query), SourceError)
    if asked.value is None:
        return None
    shows_no_secret(map(redact, asked.value.warnings))
    found = outcome(lambda: _readings(asked.value or DashboardAnswer(())), SourceError)
    return found.value


def _readings(answer: DashboardAnswer) -> list[Reading]:
    count_lines(answer)
    for feed in FEEDS:
        readings = read_answer(feed.rec_type, LOCATION, answer)
        clean = [reading for reading in readings if reading.flaw is None]
        start = Checkpoint(WINDOW.start, WINDOW.start)
        for event in feed.events(LOCATION, clean, clean, start, FEED_SETTINGS):
            exact_json.loads(event.body)
            back = {reading.id for reading in feed.readings_in(LOCATION, event.body)}
            holds([feed.held_as(LOCATION, reading) for reading in event.readings], back, "reading back")
        for reading in readings:
            if reading.flaw is not None:
                shows_no_secret([redact(reading.flaw)])
                _set_aside(feed, reading)
    return readings


def _set_aside(feed: Feed, reading: Reading) -> None:
    """Put a reading into quarantine and take it out again."""
    item = QuarantinedReading(
        "people_counter", LOCATION, ["h/e"], reading.id, reading.flaw or "", NOW, quarantine_text(reading)
    )
    again = quarantined_from(quarantine_document(item))
    if (again.id, again.reason) != (item.id, item.reason):
        raise Broken(f"{item} comes back from quarantine as {again}")
    outcome(lambda: event_again(feed, again, FEED_SETTINGS), NotForwardable)


@contextmanager
def _client() -> Iterator[tuple[MicroshareClient, Callable[[bytes], None]]]:
    """Give a client, and what sets the body of all answers to it."""
    with responses.RequestsMock(assert_all_requests_are_fired=False) as mock:
        fake = FakeMicroshare(mock)

        def answered(body: bytes) -> None:
            fake.answers = [Answer(body=body)]

        client = fake.client(password=PASSWORD, api_key=API_KEY, attempts=1)
        yield client, answered
        client.close()


def _is_json(case: bytes) -> bool:
    """Whether a case is one JSON value, by a parser that is not the one under test; NaN counts."""
    try:
        json.loads(case.decode())
    except (ValueError, RecursionError):
        return False
    return True


# --- discovery --------------------------------------------------------------------------------------

_DEVICE = {
    "id": "00-11-22-33",
    "guid": "8a4f",
    "status": "pending",
    "readAuth": PASSWORD,
    "meta": {"location": [LOCATION, "Level 2"], "AppKey": API_KEY},
}
_CLUSTER = {
    "id": "aaaaaaaaaaaaaaaaaaaaaa01",
    "name": "Doors",
    "owner": {"org": "com.example.NORTH", "user": "svc"},
    "data": {"devices": [_DEVICE, {**_DEVICE, "guid": "8a50", "meta": {"location": None}}]},
}
_CLUSTERS = {"meta": _META, "objs": [_CLUSTER]}


def _good_cluster(number: int, between: bytes = b"") -> bytes:
    devices = [
        json.dumps({"guid": f"g{number}-{n}", "meta": {"location": [f"Good House {number}"]}}).encode()
        for n in (1, 2)
    ]
    inner = b",".join(filter(None, [devices[0], between, devices[1]]))
    return b'{"name":"good","owner":{"org":"com.example.NORTH"},"data":{"devices":[%s]}}' % inner


def check_discovery(case: bytes) -> None:
    """Take a case for a whole answer, for a cluster of one, and for a device of a cluster."""
    with registry_of_its_own(), _client() as (client, answered):
        answered(case)
        _discovered(client)
        if not _is_json(case):
            return
        answered(_answer(_good_cluster(1), case, _good_cluster(2)))
        holds(["Good House 1", "Good House 2"], _discovered(client) or [], "clusters")
        answered(_answer(_good_cluster(1, between=case), _good_cluster(2)))
        holds(["Good House 1", "Good House 2"], _discovered(client) or [], "devices")


def _discovered(client: MicroshareClient) -> list[str] | None:
    found = outcome(lambda: client.discover_locations(["aaaaaaaaaaaaaaaaaaaaaa01"]), SourceError).value
    if found is None:
        return None
    shows_no_secret(map(redact, found.warnings))
    return [place.name for place in found.places]


# --- logins -----------------------------------------------------------------------------------------

_TOKEN = "0f3c9a52-6f1e-4d7b-9f55-0a4c2f7f1e11"
_CLAIMS = {
    "data": {"access_token": _TOKEN, "refresh_token": "0f3c-refresh", "username": "svc"},
    "exp": 1763114400,
    "nbf": 1762941600,
}
_GRANT = {
    "access_token": _TOKEN,
    "refresh_token": "0f3c-refresh",
    "expires_in": 172800,
    "token_type": "Bearer",
}
_HEADERS = [
    "Date: Wed, 12 Nov 2025 10:00:00 GMT",
    "Age: 7",
    "Retry-After: 120",
    "Location: https://app.example.test/composer",
    "Content-Type: application/json; charset=utf-8",
    "Set-Cookie: lang=en; Path=/; Secure; Partitioned; foo",
    "Set-Cookie: PLAY_LANG=; Max-Age=0; Expires=Thu, 01 Jan 1970 00:00:00 GMT",
]


def check_login(case: bytes) -> None:
    """Take a case for an answer to both forms of login: its status, headers, and body, as on the wire."""
    answer = _parsed(case)
    hows: tuple[Literal["web", "oauth2"], ...] = ("web", "oauth2")
    for how in hows:
        with registry_of_its_own():
            accepted = _logged_in(how, answer)
            if how == "web" and answer.status == 303 and accepted is None:
                _beside_a_good_cookie(answer)


def _logged_in(how: Literal["web", "oauth2"], answer: HttpAnswer) -> auth.Accepted | None:
    settings = replace(_SETTINGS, auth=how)

    def send(url: str, form: Mapping[str, str] | None) -> HttpAnswer:
        return answer

    accepted = outcome(lambda: auth.log_in(settings, send, lambda: NOW), AuthError, PassingTrouble).value
    if accepted is None:
        return None
    value = accepted.token.value
    if not NOW - timedelta(days=3650) < accepted.token.renew_at:
        raise Broken(f"a token that is old as it comes: {accepted.token}")
    try:
        f"Bearer {value}".encode("latin-1")
    except UnicodeEncodeError:
        raise Broken(f"a token that no header can hold: {value!r}") from None
    if len(value) >= 8 and value in redact(f"it is {value}."):
        raise Broken(f"a token that can be shown: {value!r}")
    return accepted


def _beside_a_good_cookie(answer: HttpAnswer) -> None:
    """State that odd cookies, and odd attributes, do not hide the session that is there."""
    others = [cookie for cookie in answer.set_cookies if "PLAY_SESSION" not in cookie]
    attributes = "".join(f"; {cookie.partition(';')[2].strip()}" for cookie in others)
    session = f"PLAY_SESSION={jwt(_CLAIMS)}; Path=/{attributes}"
    found = _logged_in("web", replace(answer, status=303, set_cookies=(*others, session)))
    if found is None or found.token.value != _TOKEN:
        raise Broken(f"the session is not found beside {others}")


def _parsed(case: bytes) -> HttpAnswer:
    """Read a case as an HTTP answer; what a client would not let through is left out."""
    head, _, body = case.partition(b"\r\n\r\n")
    first, *lines = head.decode("latin-1").split("\r\n")
    status = first.split(" ")[1] if first.count(" ") else ""
    headers: dict[str, str] = {}
    cookies: list[str] = []
    for line in lines:
        name, _, value = line.partition(":")
        if name.strip().lower() == "set-cookie":
            cookies.append(value.strip())
        elif name:
            headers[name.strip()] = value.strip()
    number = int(status) if status.isascii() and status.isdecimal() and len(status) == 3 else 303
    return HttpAnswer(number, CaseInsensitiveDict(headers), body, tuple(cookies))


@st.composite
def _answers_to_logins(draw: st.DrawFn) -> bytes:
    status = draw(st.sampled_from([303, 303, 303, 200, 200, 400, 401, 403, 404, 408, 415, 429, 500, 503]))
    lines = [f"HTTP/1.1 {status} -".encode(), *(line.encode() for line in draw(_header_lines))]
    if draw(st.booleans()):
        payload = base64.urlsafe_b64encode(draw(json_texts(_CLAIMS))).rstrip(b"=")
        parts = draw(st.sampled_from([[b"eyJ", payload, b"sig"], [payload], [b"", payload], [payload] * 5]))
        lines.append(b"Set-Cookie: PLAY_SESSION=" + b".".join(parts) + draw(st.sampled_from(_ATTRIBUTES)))
    body = draw(json_texts(_GRANT, {"error": "invalid_grant", "error_description": PASSWORD}) | _pages)
    return b"\r\n".join(lines) + b"\r\n\r\n" + body


_ATTRIBUTES = [
    b"; Path=/; HTTPOnly; SameSite=Lax",
    b"; Path=/; Secure; Partitioned",
    b"; foo",
    b";;; = ; =x",
    b"; Expires=Thu, 01-Jan-70",
    b' "',
    b"",
]
_pages = st.sampled_from(
    [b"", b"<html><title>503 Service Unavailable</title>", b"<form>\xff", b"\xff\xfe"]
    + [f"<p>you sent {form}</p>".encode() for form in CANARIES]
)
_header_lines = st.lists(
    st.sampled_from(_HEADERS)
    | st.builds(
        lambda name, value: f"{name}: {value}",
        st.sampled_from(["Date", "Age", "Retry-After", "Location", "Content-Type", "Set-Cookie"]),
        st.text(st.characters(max_codepoint=255, exclude_characters="\r\n\0"), max_size=12)
        | st.sampled_from(["9" * 5000, "-1", "1e9", "Wed, 99 Foo 99999999 25:00:00 GMT", "//[", *CANARIES]),
    ),
    max_size=4,
)

TARGETS = (
    Target(
        "dashboard",
        "dashboard answers",
        json_texts(_ANSWER, _OBJECT, _PEOPLE_ENTRY, _SNAPSHOT_ENTRY)
        | changed_bytes(st.sampled_from([json.dumps(_ANSWER).encode(), _answer(_good_object(1))])),
        check_dashboard,
    ),
    Target(
        "discovery",
        "discovery answers",
        json_texts(_CLUSTERS, _CLUSTER, _DEVICE) | changed_bytes(st.just(json.dumps(_CLUSTERS).encode())),
        check_discovery,
    ),
    Target(
        "login",
        "login answers, cookies, tokens",
        _answers_to_logins() | changed_bytes(_answers_to_logins()),
        check_login,
    ),
)
