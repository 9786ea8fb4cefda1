"""The login, and the token it gives: kept in memory, shared, and renewed ahead of its end."""

from __future__ import annotations

import base64
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Protocol
from urllib.parse import unquote, urlencode

from app.base import exact_json, extended_json
from app.base.errors import AuthError
from app.base.redaction import register_secret
from app.base.text import printable
from app.microshare.retries import PassingTrouble, asked_pause, told_time
from app.microshare.verdict import quote_body, redirect_target, searchable
from app.settings.schema import MicroshareSettings

if TYPE_CHECKING:
    from app.microshare.http import HttpAnswer

# What the platform documents; said by neither form of login in a way to rely on.
LIFETIME = timedelta(hours=48)
_RENEWED_AHEAD = timedelta(minutes=5)
_COOKIE = "PLAY_SESSION"
# A page of HTML may have white space and a byte order mark before its first tag.
_PAGE_BEGINS_WITHIN = 100
# RFC 6749, section 5.2: errors that another form of the same request would meet again.
_OAUTH2_REFUSALS = frozenset(
    ["invalid_grant", "invalid_client", "unauthorized_client", "invalid_scope", "access_denied"]
)


@dataclass(frozen=True, slots=True)
class Token:
    """A bearer token; `renew_at` is when it should be replaced, by the API's clock."""

    value: str = field(repr=False)
    renew_at: datetime


class LoginRefusals(Protocol):
    """What is known of logins that were refused in earlier runs; see `app.run.refused_logins`."""

    def require_due(self, settings: MicroshareSettings) -> None:
        """Raise AuthError where this login is not to be tried again yet."""

    def refused(self, settings: MicroshareSettings) -> None: ...
    def accepted(self) -> None: ...


class SendForm(Protocol):
    """Posts a form (no form: an empty body) and gives the answer, whatever its status."""

    def __call__(self, url: str, form: Mapping[str, str] | None) -> HttpAnswer: ...


class TokenCache:
    """What a process remembers between runs: a token for each login.

    Thread-safe; logins are made one at a time. Nothing is written anywhere.
    """

    def __init__(self) -> None:
        self._logging_in = threading.Lock()
        self._tokens: dict[tuple[str, ...], Token] = {}

    def obtain(
        self, settings: MicroshareSettings, usable: Callable[[Token], bool], log_in: Callable[[], Token]
    ) -> Token:
        """Give the token that is there if it is `usable`, or else the one that `log_in` gives.

        Whoever comes while a login is under way waits for it and gets its token.
        """
        login = login_of(settings)
        with self._logging_in:
            token = self._tokens.get(login)
            if token is None or not usable(token):
                self._tokens.pop(login, None)
                token = self._tokens[login] = log_in()
            return token

    def drop(self, settings: MicroshareSettings, token: Token) -> None:
        """Forget `token`; another that has taken its place stays."""
        with self._logging_in:
            if self._tokens.get(login_of(settings)) == token:
                del self._tokens[login_of(settings)]


@dataclass(frozen=True, slots=True)
class Accepted:
    """A login that was accepted: its token, and the answer that held it, which is the API's own."""

    token: Token
    answer: HttpAnswer


def log_in(settings: MicroshareSettings, send: SendForm, now: Callable[[], datetime]) -> Accepted:
    """Log in once. `now` gives the API's clock, or the host's before it is known.

    Raises AuthError where the login is rejected, which must not be tried again (`of_credentials`
    where that is the account's fault without doubt), and PassingTrouble where trying again may help.
    """
    if settings.auth == "web":
        return _web_login(settings, send, now)
    return _password_grant(settings, send, now)


# --- web login --------------------------------------------------------------------------------------


def _web_login(settings: MicroshareSettings, send: SendForm, now: Callable[[], datetime]) -> Accepted:
    """Log in as the web page does. The csrf token is not checked by the server, only demanded.

    A login that succeeds is a 303 with a Play session cookie that holds a token; each of
    the three can be missing when it fails.
    """
    form = {"csrfToken": "forwarder", "username": settings.username, "password": settings.password}
    answer = send(f"{settings.app_url}/login", form)
    _check_passing(answer, now())
    if answer.status != 303:
        raise _rejected(settings, answer, "MICROSHARE_APP_URL")
    sessions = _play_sessions(answer)
    if not sessions:
        raise _refused(settings, f"303 without a {_COOKIE} cookie", names_of(settings))
    for session in sessions:
        claims = _claims(session)
        data = claims.get("data")
        held = data if isinstance(data, Mapping) else {}
        value = _token_text(held.get("access_token"))
        if value is not None:
            _register(value, session, held.get("refresh_token"))
            there = told_time(answer.headers) or now()
            return Accepted(_token(value, _instant(claims.get("exp")), there), answer)
    seen = f"303 with a {_COOKIE} cookie that holds no access token"
    raise _refused(settings, seen, names_of(settings))


def _play_sessions(answer: HttpAnswer) -> list[str]:
    """Give the values of the session cookie, the one that was set last first: it stands for those before it.

    Read as RFC 6265, section 5.2, has it: the name and value end with the first semicolon, and no attribute
    after it, known or not, keeps them from being read.
    """
    found: list[str] = []
    for header in reversed(answer.set_cookies):
        name, _, value = header.partition(";")[0].partition("=")
        value = value.strip().strip('"')
        if name.strip() == _COOKIE and value:
            # Some versions of Play write the value URL-escaped; a JWT itself has nothing to escape.
            found.append(unquote(value))
    return found


def _claims(jwt: str) -> Mapping[str, Any]:
    """Read the payload of a JWT: base64url without padding. Its signature cannot be checked here."""
    parts = jwt.split(".")
    if len(parts) < 2:
        return {}
    try:
        return _json_object(base64.urlsafe_b64decode(parts[1] + "=" * (-len(parts[1]) % 4)))
    except ValueError:
        return {}


# --- OAuth2 -----------------------------------------------------------------------------------------


def _password_grant(settings: MicroshareSettings, send: SendForm, now: Callable[[], datetime]) -> Accepted:
    """Ask for a token with a form in the body, which keeps the password out of access logs.

    The documented form, everything in the query, is sent only where the settings ask for it.
    """
    form = {
        "username": settings.username,
        "password": settings.password,
        "client_id": settings.api_key,
        "grant_type": "password",
        "scope": "ALL:ALL",
    }
    url = f"{settings.auth_url}/oauth2/token"
    in_body = settings.oauth2_form == "body"
    answer = send(url, form) if in_body else send(f"{url}?{urlencode(form)}", None)
    _check_passing(answer, now())
    if in_body and (answer.status == 415 or (answer.status == 400 and not _refuses_the_account(answer))):
        raise AuthError(
            f"microshare: login refused for user {printable(settings.username)} ({answer.status}, to a form "
            f"in the body); if this API takes it in the URL only, write microshare.oauth2_form: query in "
            f"config.yaml, and know that access logs on the way keep the password then"
        )
    if answer.status != 200:
        raise _rejected(settings, answer, "MICROSHARE_AUTH_URL")
    found = _json_object(answer.body)
    value = _token_text(found.get("access_token"))
    if value is None:
        raise _refused(settings, "200 without an access token", names_of(settings))
    _register(value, found.get("refresh_token"))
    seconds = extended_json.number(found.get("expires_in"))
    lasts = timedelta(seconds=int(seconds)) if seconds is not None and 0 < seconds < 10**9 else LIFETIME
    there = told_time(answer.headers) or now()
    return Accepted(_token(value, there + lasts, there), answer)


def _refuses_the_account(answer: HttpAnswer) -> bool:
    error = _json_object(answer.body).get("error")
    return isinstance(error, str) and error in _OAUTH2_REFUSALS


def _json_object(text: bytes) -> Mapping[str, Any]:
    try:
        found = exact_json.loads(text)
    except exact_json.NotJson:
        return {}
    return found if isinstance(found, Mapping) else {}


# --- both -------------------------------------------------------------------------------------------


def _check_passing(answer: HttpAnswer, now: datetime) -> None:
    if answer.status == 429:
        raise PassingTrouble("login: 429", busy=True, pause=asked_pause(answer.headers, now))
    if answer.status >= 500 or answer.status == 408:
        raise PassingTrouble(f"login: {answer.status}, {quote_body(answer.body)}")


def _rejected(settings: MicroshareSettings, answer: HttpAnswer, url_name: str) -> AuthError:
    if 300 <= answer.status < 400:
        return _refused(settings, f"{answer.status}, redirect to {redirect_target(answer)}", url_name)
    if answer.status in (404, 405):
        return _refused(settings, str(answer.status), url_name)
    kind = "a form" if "<form" in searchable(answer.body).lower() else None
    seen = f"{answer.status}, {kind}" if kind else str(answer.status)
    return _refused(settings, seen, names_of(settings), of_credentials=_is_no_mistake(answer))


def _is_no_mistake(answer: HttpAnswer) -> bool:
    """Whether it is the API itself that refuses these credentials.

    A page of HTML can be a firewall's or a portal's, whatever its status.
    """
    if answer.status in (401, 403):
        return "<" not in searchable(answer.body)[:_PAGE_BEGINS_WITHIN]
    return _json_object(answer.body).get("error") == "invalid_grant"


def names_of(settings: MicroshareSettings) -> str:
    """Name the settings that a login is made of."""
    if settings.auth == "web":
        return "MICROSHARE_USERNAME and MICROSHARE_PASSWORD"
    return "MICROSHARE_USERNAME, MICROSHARE_PASSWORD and MICROSHARE_API_KEY"


def _refused(
    settings: MicroshareSettings, seen: str, check: str, *, of_credentials: bool = False
) -> AuthError:
    return AuthError(
        f"microshare: login refused for user {printable(settings.username)} ({seen}); check {check}",
        of_credentials=of_credentials,
    )


def _token_text(found: Any) -> str | None:
    """Give a token that can stand in a header; its length and alphabet differ between environments."""
    fits = isinstance(found, str) and found.isascii() and found.isprintable() and " " not in found
    return found if fits and found else None


def _register(*secrets: Any) -> None:
    for at, secret in enumerate(secrets):
        if isinstance(secret, str):
            # Each login of a process brings new ones, for as long as it runs.
            register_secret(secret, place=f"login, {at}")


def _instant(seconds: Any) -> datetime | None:
    """Read a NumericDate (RFC 7519, section 2): seconds since 1970, whole or not; None where it is none."""
    found = extended_json.number(seconds)
    try:
        return None if found is None else datetime.fromtimestamp(int(found), UTC)
    except (ValueError, OverflowError, OSError):
        return None


def _token(value: str, expires: datetime | None, now: datetime) -> Token:
    # An end that is not after the login is a clock gone wrong: the token counts until a 401 ends it.
    lasts = expires - now if expires is not None and expires > now else LIFETIME
    return Token(value, now + lasts - min(_RENEWED_AHEAD, lasts / 2))


def login_of(settings: MicroshareSettings) -> tuple[str, ...]:
    """Give all that makes a login this one and no other: secret."""
    login_url = settings.app_url if settings.auth == "web" else settings.auth_url
    return (settings.auth, login_url, settings.username, settings.password, settings.api_key)
