"""The login in both forms, how it fails, and the token that a process keeps."""

from __future__ import annotations

import base64
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import pytest
import requests
import responses

from app.base.budget import Budget
from app.base.errors import AuthError, Interrupted, SourceUnavailable
from app.base.redaction import redact
from app.microshare.auth import Token, TokenCache
from tests.unit.microshare_fake import (
    API_KEY,
    APP,
    AUTH,
    NOW,
    PASSWORD,
    SETTINGS,
    Answer,
    FakeMicroshare,
    jwt,
    session,
)

ACCOUNT = "MICROSHARE_USERNAME and MICROSHARE_PASSWORD"
NO_TOKEN = "303 with a PLAY_SESSION cookie that holds no access token"
SESSION = jwt({"data": {"access_token": "token-1"}})
GOOD_COOKIE = f"PLAY_SESSION={SESSION}; Path=/; HTTPOnly"
FORM_PAGE = b"<html><form action='/login'></form></html>"


@pytest.fixture
def microshare() -> Iterator[FakeMicroshare]:
    with responses.RequestsMock(assert_all_requests_are_fired=False) as mock:
        yield FakeMicroshare(mock)


def cookie_answer(cookie: str) -> Answer:
    return Answer(303, body=b"", headers={"Location": "/", "Set-Cookie": cookie})


def carrying(data: dict[str, str]) -> Answer:
    return cookie_answer(f"PLAY_SESSION={jwt({'data': data})}; Path=/")


def test_the_web_login_posts_the_form_of_the_login_page(microshare: FakeMicroshare) -> None:
    microshare.client(password="p+a s&s=#1é").login()

    (request,) = microshare.requests
    assert (request.method, request.url, parse_qsl(str(request.body)), request.headers["Content-Type"]) == (
        "POST",
        f"{APP}/login",
        [("csrfToken", "forwarder"), ("username", "svc-forwarder"), ("password", "p+a s&s=#1é")],
        "application/x-www-form-urlencoded",
    )
    assert "Authorization" not in request.headers


@pytest.mark.parametrize(
    "cookie",
    [
        f"PLAY_SESSION={SESSION}; Path=/; HTTPOnly; SameSite=Lax",
        f'PLAY_SESSION="{SESSION}"; Path=/',
        f"PLAY_SESSION={SESSION.replace('.', '%2E')}; Path=/",
        f"PLAY_SESSION={SESSION}; Path=/; Secure; Domain=elsewhere.test",
        f"PLAY_SESSION={SESSION}; Expires=Thu, 01 Jan 1970 00:00:00 GMT",
        f"PLAY_SESSION={SESSION.rpartition('.')[0]}; Path=/",
        f"PLAY_SESSION={jwt({'data': {'access_token': 'token-1'}, 'pad': '?>?>~~'})}; Path=/",
        f"PLAY_SESSION={jwt({'data': {'access_token': 'token-1'}, 'exp': 'soon'})}; Path=/",
        f"PLAY_SESSION={SESSION}; Path=/; Secure; Partitioned",
        f"PLAY_SESSION={SESSION}; foo; =; ;; Priority=High; SameSite=None; a b c=d; Expires=\x01; é",
        f"PLAY_SESSION={SESSION}",
        f"PLAY_SESSION={SESSION};Path=/",
        f" PLAY_SESSION = {SESSION} ; Path=/",
    ],
    ids=[
        "as Play writes it",
        "quoted",
        "URL-escaped",
        "for another domain",
        "expired by this host's clock",
        "two parts",
        "the URL-safe alphabet",
        "no readable end",
        "Partitioned",
        "attributes that nobody knows",
        "no attributes",
        "no spaces",
        "spaces",
    ],
)
def test_the_token_is_read_from_the_session_cookie(microshare: FakeMicroshare, cookie: str) -> None:
    microshare.logins = [cookie_answer(cookie)]
    tokens = TokenCache()

    microshare.client(tokens=tokens).login()

    assert kept(tokens) == "token-1"


@pytest.mark.parametrize(
    "cookies",
    [
        ["LANG=en; Path=/", GOOD_COOKIE],
        [GOOD_COOKIE, "LANG=en; Path=/"],
        ["PLAY_SESSION=; Max-Age=0; Path=/old", GOOD_COOKIE],
        [GOOD_COOKIE, "PLAY_SESSION=; Max-Age=0; Path=/old"],
        ["PLAY_SESSION=deleted; Path=/", GOOD_COOKIE],
        [GOOD_COOKIE, "PLAY_SESSION=deleted; Path=/"],
        [f"PLAY_SESSION={jwt({'data': {'access_token': 'before'}})}; Path=/", GOOD_COOKIE],
        ["no cookie at all", "=", ";", GOOD_COOKIE],
    ],
    ids=[
        "another before it",
        "another after it",
        "an empty one before it",
        "an empty one after it",
        "one without a token before it",
        "one without a token after it",
        "the one before it",
        "what is none",
    ],
)
def test_every_cookie_is_looked_at_and_the_last_session_counts(
    microshare: FakeMicroshare, cookies: list[str]
) -> None:
    microshare.logins = [Answer(303, body=b"", cookies=cookies)]
    tokens = TokenCache()

    microshare.client(tokens=tokens).login()

    assert kept(tokens) == "token-1"


@pytest.mark.parametrize(
    "exp",
    ["1e1000000", "-1e1000000", "1e99999999999999999999", "9" * 5_000, "1e300", "true", "null", "[]", '"x"'],
)
def test_an_end_without_reason_is_none(microshare: FakeMicroshare, exp: str) -> None:
    begun = time.process_time()
    payload = f'{{"data":{{"access_token":"t"}},"exp":{exp}}}'.encode()
    session = f"x.{base64.urlsafe_b64encode(payload).decode().rstrip('=')}.x"
    microshare.logins = [cookie_answer(f"PLAY_SESSION={session}; Path=/")]
    tokens = TokenCache()

    microshare.client(tokens=tokens).login()

    assert kept_token(tokens) == Token("t", NOW + timedelta(hours=48, minutes=-5))
    # A number of a million digits took half a minute to be written out, while every worker waited.
    assert time.process_time() - begun < 5


@pytest.mark.parametrize("length", range(1, 9))
def test_a_session_of_any_length_is_decoded(microshare: FakeMicroshare, length: int) -> None:
    tokens = TokenCache()
    value = jwt({"data": {"access_token": "token-1"}, "pad": "x" * length})
    microshare.logins = [cookie_answer(f"PLAY_SESSION={value}; Path=/")]

    microshare.client(tokens=tokens).login()

    assert kept(tokens) == "token-1"


@pytest.mark.parametrize(
    ("rejection", "seen", "check"),
    [
        (Answer(401, body=b"<html>Unauthorized</html>"), "401", ACCOUNT),
        (Answer(200, body=FORM_PAGE), "200, a form", ACCOUNT),
        (
            Answer(303, body=b"", headers={"Location": "/login"}),
            "303 without a PLAY_SESSION cookie",
            ACCOUNT,
        ),
        (carrying({"flash": "no"}), NO_TOKEN, ACCOUNT),
        (cookie_answer("PLAY_SESSION=no-jwt; Path=/"), NO_TOKEN, ACCOUNT),
        (carrying({"access_token": "two\nlines"}), NO_TOKEN, ACCOUNT),
        (
            Answer(302, body=b"", headers={"Location": "https://elsewhere.test/login?x=1"}),
            "302, redirect to elsewhere.test",
            "MICROSHARE_APP_URL",
        ),
        (Answer(404, body=b""), "404", "MICROSHARE_APP_URL"),
    ],
    ids=[
        "401 page",
        "200 form",
        "303 without cookie",
        "cookie without token",
        "cookie that is no JWT",
        "token with a line break",
        "redirect elsewhere",
        "no login page",
    ],
)
def test_a_rejected_login_is_an_auth_error_and_never_tried_again(
    microshare: FakeMicroshare, rejection: Answer, seen: str, check: str
) -> None:
    microshare.logins = [rejection]
    client = microshare.client()

    for _ in range(2):
        with pytest.raises(AuthError) as caught:
            client.login()

        assert str(caught.value) == (
            f"microshare: login refused for user svc-forwarder ({seen}); check {check}"
        )
    assert (microshare.login_requests, client.api_calls) == (1, 1)


def test_passing_trouble_at_login_is_tried_three_times(microshare: FakeMicroshare) -> None:
    microshare.logins = [Answer(503, body=b"<html>\nbusy</html>")]
    client = microshare.client()

    with pytest.raises(SourceUnavailable) as caught:
        client.login()

    assert str(caught.value) == (
        "microshare: login: 503, a page; given up after 3 attempts, the next run tries again"
    )
    assert (microshare.clock.waited, microshare.login_requests) == ([1.0, 2.0], 3)


def test_a_login_goes_on_after_passing_trouble(microshare: FakeMicroshare) -> None:
    microshare.logins = [Answer(502), requests.ConnectionError("reset"), session("token-1")]
    tokens = TokenCache()

    microshare.client(tokens=tokens).login()

    assert (kept(tokens), microshare.clock.waited) == ("token-1", [1.0, 2.0])


def test_a_login_waits_as_long_as_it_is_asked_to(microshare: FakeMicroshare) -> None:
    microshare.logins = [Answer(429, headers={"Retry-After": "17"}), session("token-1")]

    microshare.client().login()

    assert microshare.clock.waited == [17.0]


def test_a_login_is_not_waited_for_longer_than_the_run(microshare: FakeMicroshare) -> None:
    microshare.logins = [Answer(429, headers={"Retry-After": "86400"})]

    with pytest.raises(Interrupted):
        microshare.client(own_wait=False).login()

    assert microshare.login_requests == 1


def test_a_run_without_time_left_asks_nothing(microshare: FakeMicroshare) -> None:
    over = Budget(timedelta(0), grace=timedelta(0), monotonic=microshare.clock.monotonic)

    with pytest.raises(Interrupted):
        microshare.client(budget=over).login()

    assert microshare.requests == []


# --- OAuth2 -----------------------------------------------------------------------------------------

GRANT = [
    ("username", "svc-forwarder"),
    ("password", PASSWORD),
    ("client_id", API_KEY),
    ("grant_type", "password"),
    ("scope", "ALL:ALL"),
]


def test_the_password_grant_is_asked_in_the_body(microshare: FakeMicroshare) -> None:
    microshare.logins = [Answer(json={"access_token": "token-1", "expires_in": 3600})]
    tokens = TokenCache()

    microshare.client(auth="oauth2", tokens=tokens).login()

    (request,) = microshare.requests
    assert (request.url, parse_qsl(str(request.body))) == (f"{AUTH}/oauth2/token", GRANT)
    assert kept(tokens, auth="oauth2") == "token-1"


@pytest.mark.parametrize("status", [400, 415])
def test_a_password_goes_into_no_url_unless_the_settings_say_so(
    microshare: FakeMicroshare, status: int
) -> None:
    microshare.logins = [Answer(status, body=b"unsupported"), Answer(json={"access_token": "token-1"})]

    with pytest.raises(AuthError) as caught:
        microshare.client(auth="oauth2").login()

    assert str(caught.value) == (
        f"microshare: login refused for user svc-forwarder ({status}, to a form in the body); if this API "
        "takes it in the URL only, write microshare.oauth2_form: query in config.yaml, and know that access "
        "logs on the way keep the password then"
    )
    (request,) = microshare.requests
    assert (request.url, parse_qsl(str(request.body))) == (f"{AUTH}/oauth2/token", GRANT)


def test_where_the_settings_say_so_the_grant_is_asked_in_the_query_alone(microshare: FakeMicroshare) -> None:
    microshare.logins = [Answer(json={"access_token": "token-1"})]

    microshare.client(auth="oauth2", oauth2_form="query").login()

    (request,) = microshare.requests
    assert (urlsplit(str(request.url)).path, parse_qsl(urlsplit(str(request.url)).query), request.body) == (
        "/oauth2/token",
        GRANT,
        None,
    )


@pytest.mark.parametrize(
    ("answers", "seen"),
    [
        ([Answer(401)], "401"),
        ([Answer(403)], "403"),
        ([Answer(400, json={"error": "invalid_grant"})], "400"),
        ([Answer(200, json={"token": "x"})], "200 without an access token"),
        ([Answer(200, body=b"<html>")], "200 without an access token"),
    ],
    ids=["401", "403", "the grant refused with 400", "no token", "no JSON"],
)
def test_a_rejected_grant_names_the_api_key_too(
    microshare: FakeMicroshare, answers: list[Answer | Exception], seen: str
) -> None:
    microshare.logins = list(answers)

    with pytest.raises(AuthError) as caught:
        microshare.client(auth="oauth2").login()

    assert str(caught.value) == (
        f"microshare: login refused for user svc-forwarder ({seen}); "
        "check MICROSHARE_USERNAME, MICROSHARE_PASSWORD and MICROSHARE_API_KEY"
    )
    assert microshare.login_requests == len(answers)


# --- the token --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("login", "auth", "renew_at"),
    [
        (session("t", NOW + timedelta(hours=1)), "web", NOW + timedelta(minutes=55)),
        (session("t", NOW + timedelta(minutes=4)), "web", NOW + timedelta(minutes=2)),
        (session("t", NOW - timedelta(days=1)), "web", NOW + timedelta(hours=48, minutes=-5)),
        (Answer(json={"access_token": "t"}), "oauth2", NOW + timedelta(hours=48, minutes=-5)),
        (Answer(json={"access_token": "t", "expires_in": 600}), "oauth2", NOW + timedelta(minutes=5)),
        (
            Answer(json={"access_token": "t", "expires_in": "x"}),
            "oauth2",
            NOW + timedelta(hours=48, minutes=-5),
        ),
        (Answer(json={"access_token": "t", "expires_in": "600"}), "oauth2", NOW + timedelta(minutes=5)),
        (Answer(json={"access_token": "t", "expires_in": 600.7}), "oauth2", NOW + timedelta(minutes=5)),
        (
            Answer(json={"access_token": "t", "expires_in": True}),
            "oauth2",
            NOW + timedelta(hours=48, minutes=-5),
        ),
        (
            Answer(body=b'{"access_token":"t","expires_in":1e1000000}'),
            "oauth2",
            NOW + timedelta(hours=48, minutes=-5),
        ),
    ],
    ids=[
        "an hour",
        "under the margin",
        "an end in the past",
        "no end said",
        "ten minutes",
        "no number",
        "a number as text",
        "a number with a fraction",
        "a truth",
        "a number of a million digits",
    ],
)
def test_a_token_is_renewed_ahead_of_its_end(
    microshare: FakeMicroshare, login: Answer, auth: str, renew_at: datetime
) -> None:
    tokens = TokenCache()
    microshare.logins = [login]

    microshare.client(tokens=tokens, auth=auth).login()

    assert kept_token(tokens, auth=auth) == Token("t", renew_at)


def test_the_end_of_a_token_is_measured_by_the_clock_of_the_api(microshare: FakeMicroshare) -> None:
    """A host whose clock is three hours ahead neither logs in for each call nor keeps a dead token."""
    tokens = TokenCache()
    microshare.clock.seconds += 3 * 3600
    microshare.logins = [session("t", NOW + timedelta(hours=1))]

    microshare.client(tokens=tokens).login()

    assert kept_token(tokens) == Token("t", NOW + timedelta(minutes=55))


def test_a_token_lasts_from_run_to_run_until_it_should_be_renewed(microshare: FakeMicroshare) -> None:
    tokens = TokenCache()
    microshare.logins = [session("token-1", NOW + timedelta(hours=1)), session("token-2")]

    logins = []
    for minutes in (0, 54, 2):
        microshare.clock.seconds += minutes * 60
        microshare.client(tokens=tokens).login()
        logins.append(microshare.login_requests)

    assert (logins, kept(tokens)) == ([1, 1, 2], "token-2")


def test_other_credentials_have_a_token_of_their_own(microshare: FakeMicroshare) -> None:
    tokens = TokenCache()

    microshare.client(tokens=tokens).login()
    microshare.client(tokens=tokens, username="svc-other").login()

    assert (kept(tokens), kept(tokens, username="svc-other")) == ("token-1", "token-2")


def test_threads_that_need_a_token_at_once_share_one_login(microshare: FakeMicroshare) -> None:
    client = microshare.client()
    together = threading.Barrier(8)

    def work() -> None:
        together.wait()
        client.login()

    workers = [threading.Thread(target=work) for _ in range(8)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()

    assert microshare.login_requests == 1


def test_what_a_login_gives_is_masked_wherever_it_is_shown(microshare: FakeMicroshare) -> None:
    value = jwt({"data": {"access_token": "canary-access-token", "refresh_token": "canary-refresh-token"}})
    microshare.logins = [cookie_answer(f"PLAY_SESSION={value}; Path=/")]
    tokens = TokenCache()

    microshare.client(tokens=tokens).login()

    shown = f"canary-access-token {value} canary-refresh-token {PASSWORD}"
    assert redact(shown) == "*** *** *** ***"
    assert "canary" not in repr(kept_token(tokens))


def kept(tokens: TokenCache, **settings: Any) -> str:
    return kept_token(tokens, **settings).value


def kept_token(tokens: TokenCache, **settings: Any) -> Token:
    def never() -> Token:
        raise AssertionError("no token is kept")

    return tokens.obtain(replace(SETTINGS, **settings), lambda _: True, never)
