"""Causes in our words: made of the texts that the parts of a run raise, each by its own door."""

from __future__ import annotations

import asyncio
import errno
import os
import socket
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import requests
import responses
from azure.core.exceptions import ClientAuthenticationError, HttpResponseError, ServiceRequestError
from azure.eventhub.exceptions import ConnectError, ConnectionLostError, EventDataSendError
from hypothesis import example, given
from hypothesis import strategies as st

from app.base.causes import advice, short_cause, without_quotes
from app.base.clocks import Clocks
from app.base.errors import ForwarderError
from app.base.files import STATE_ADVICE, explained
from app.base.readings import DashboardAnswer, DashboardQuery, Slice
from app.eventhub.hub import Hub, translate
from app.feeds.feed import read_answer
from app.microshare.http import Http
from app.quality.bounds import error_kept
from app.run.availability import never_connected
from app.settings.schema import HubSettings
from app.state.json_file import JsonFileStore
from app.state.table_calls import Tables
from app.state.table_rows import too_large
from tests.unit.a_run import HOUR, NOON
from tests.unit.microshare_fake import NOW, Answer, FakeMicroshare, page
from tests.unit.sdk_errors import sdk_error

HUB = HubSettings("h.example.test/e", "eu", "h.example.test", "e")
PAGE = b"<html><head><title>Bad Gateway</title></head><body>nginx</body></html>"
QUERY = DashboardQuery(
    "view-1", "io.example.counts", ("people",), "Mill: Quay", Slice(NOW - HOUR, NOW), {"field1": "change"}
)


def told(value: object) -> str:
    """Name a case by its cause."""
    return value if isinstance(value, str) else ""


def raised(call: Callable[[], object]) -> str:
    """Give the text of the error that a call ends with, as a state keeps it."""
    with pytest.raises(ForwarderError) as caught:
        call()
    return error_kept(str(caught.value))


# --- hubs -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("error", "cause"),
    [
        (OSError(111, "refused"), "no connection"),
        (sdk_error(ConnectionLostError, "amqp:link:detach-forced"), "no connection"),
        (socket.gaierror(-2, "Name or service not known"), "its host does not exist"),
        (sdk_error(EventDataSendError, "com.microsoft:server-busy"), "asks for a pause too often"),
        (sdk_error(ConnectError, "amqp:unauthorized-access"), "refuses the credentials"),
        (ClientAuthenticationError("no identity"), "refuses the credentials"),
        (sdk_error(ConnectionLostError, "amqp:not-found"), "does not exist"),
        (sdk_error(ConnectError, "com.microsoft:entity-disabled"), "is disabled"),
        (sdk_error(EventDataSendError, "amqp:link:message-size-exceeded"), "refuses a message as too large"),
        (sdk_error(EventDataSendError, "amqp:not-allowed"), "refuses a batch"),
        (TypeError("'NoneType' object is not iterable"), "the client of the hub failed"),
    ],
    ids=told,
)
@pytest.mark.parametrize("name", ["eu", "h.example.test:5671/e"])
def test_what_a_hub_ends_with_is_told_without_the_sdk(error: Exception, cause: str, name: str) -> None:
    hub = HubSettings(HUB.key, name, HUB.host, HUB.entity)

    assert short_cause(str(translate(hub, error))) == cause


def test_a_hub_that_says_nothing_has_no_connection() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        host = f"127.0.0.1:{silent.getsockname()[1]}"
        written = f"Endpoint=sb://{host};SharedAccessKeyName=n;SharedAccessKey=a;UseDevelopmentEmulator=true"
        hub = Hub(HubSettings(f"{host}/e", "eu", host, "e", written))

        assert short_cause(raised(lambda: asyncio.run(hub.open(0.05)))) == "no connection"


def test_a_hub_that_never_connected_in_a_run_has_no_connection() -> None:
    assert short_cause(str(never_connected("eu", 240))) == "no connection"


# --- the API ----------------------------------------------------------------------------------------


@pytest.fixture
def microshare() -> Iterator[FakeMicroshare]:
    with responses.RequestsMock(assert_all_requests_are_fired=False) as mock:
        yield FakeMicroshare(mock)


def refused_name() -> requests.ConnectionError:
    error = requests.ConnectionError("https://api.example.test/?password=obviously-false")
    error.__cause__ = socket.gaierror(-2, "Name or service not known")
    return error


@pytest.mark.parametrize(
    ("answer", "cause"),
    [
        (Answer(500, body=PAGE), "the API answers with 500"),
        (Answer(503, json={"error": "state: no connection"}), "the API answers with 503"),
        (Answer(504), "the API answers with 504"),
        (Answer(400, body=b"Bad Request"), "the API answers with 400"),
        (Answer(429), "the API asks for a pause too often"),
        (Answer(403, body=b"no"), "the account may not read this"),
        (Answer(404, body=b"no"), "the view or cluster does not exist"),
        (Answer(401, body=b"no"), "the API refuses the login's token"),
        (Answer(302, headers={"Location": "https://elsewhere.example.test/"}), "the API redirects elsewhere"),
        (
            Answer(503, body=b"[Error: unresolvable property or identifier: x]"),
            "the view refuses its parameters",
        ),
        (Answer(body=b""), "the API's answer is empty"),
        (Answer(body=PAGE), "the API's answer is not JSON"),
        (Answer(body=b"[]"), "the API's answer is not JSON"),
        (Answer(json={"error": "of its own"}), "the API's answer holds no list of readings"),
        (page([], totalCount=7), "the account may not read this"),
        (page([{}] * 9, totalPages=3, totalCount=27), "the API's pages do not fit"),
        (requests.ConnectionError("reset"), "no connection to the API"),
        (requests.ConnectTimeout("late"), "no connection to the API"),
        (requests.ReadTimeout("late"), "no answer of the API in time"),
        (refused_name(), "the API's host does not exist"),
    ],
    ids=told,
)
def test_what_a_query_ends_with_is_told_without_what_came(
    microshare: FakeMicroshare, answer: Answer | Exception, cause: str
) -> None:
    microshare.answers = [answer]

    assert short_cause(raised(lambda: microshare.client().query_dashboard(QUERY))) == cause


@pytest.mark.parametrize(
    ("answer", "cause"),
    [
        (Answer(401, body=b"no"), "the API refuses the login"),
        (Answer(404, body=PAGE), "the API refuses the login"),
        (Answer(502, body=PAGE), "the API answers with 502"),
        (Answer(429), "the API asks for a pause too often"),
        (requests.ConnectionError("reset"), "no connection to the API"),
    ],
    ids=told,
)
def test_what_a_login_ends_with_is_told_without_what_came(
    microshare: FakeMicroshare, answer: Answer | Exception, cause: str
) -> None:
    microshare.logins = [answer]

    assert short_cause(raised(microshare.client().login)) == cause


def test_what_discovery_ends_with_is_told_without_what_came(microshare: FakeMicroshare) -> None:
    microshare.answers = [Answer(404)]

    assert short_cause(raised(lambda: microshare.client().discover_locations(["cluster-1"]))) == (
        "the view or cluster does not exist"
    )


def test_an_api_that_nobody_listens_for_has_no_connection() -> None:
    http = Http(largest_body=1)

    with pytest.raises(ForwarderError) as caught:
        http.send("GET", "http://127.0.0.1:9/path", seconds=9, remaining=lambda: 9)

    assert short_cause(f"microshare: {caught.value}") == "no connection to the API"


# --- the state, and all else ------------------------------------------------------------------------


def refusing(error: Exception) -> str:
    """Give the text of what the tables' service refuses."""

    def open_table(_: str) -> Any:
        return SimpleNamespace(url="https://account.table.example.test/counts")

    def refused() -> None:
        with Tables(open_table).explained("counts"):
            raise error

    return raised(refused)


def answered(status: int) -> HttpResponseError:
    error = HttpResponseError("said the service: at length")
    error.status_code, error.reason = status, "Reason"
    return error


@pytest.mark.parametrize(
    ("error", "cause"),
    [
        (answered(403), "the table store refuses the credentials"),
        (ClientAuthenticationError("none"), "the table store refuses the credentials"),
        (answered(503), "the table store is unavailable"),
        (answered(400), "the table store refuses"),
        (ServiceRequestError("Name or service not known"), "no connection to the table store"),
    ],
    ids=told,
)
def test_what_the_table_store_refuses_is_told_without_the_sdk(error: Exception, cause: str) -> None:
    assert short_cause(refusing(error)) == cause


@pytest.mark.parametrize(
    ("code", "cause"),
    [
        (errno.ENOSPC, "the disk of the state is full"),
        (errno.EACCES, "the state's folder is not allowed to this account"),
        (errno.EROFS, "the disk of the state is read-only"),
        (errno.EIO, "could not be saved"),
    ],
    ids=told,
)
def test_what_the_disk_refuses_is_told_without_its_place(code: int, cause: str) -> None:
    def refused() -> None:
        with explained("state: /var/lib/a: b/counts.json", STATE_ADVICE, "look at it"):
            raise OSError(code, os.strerror(code))

    assert short_cause(raised(refused)) == cause


def test_a_state_that_cannot_be_read_is_told_as_that(tmp_path: Path) -> None:
    (tmp_path / "counts.json").write_text("{")

    assert short_cause(raised(lambda: JsonFileStore(tmp_path).load("counts"))) == "the state cannot be read"


def test_a_state_that_is_locked_is_told_as_that(tmp_path: Path) -> None:
    def twice() -> None:
        with JsonFileStore(tmp_path).lock("counts", "one"), JsonFileStore(tmp_path).lock("counts", "two"):
            pass

    assert short_cause(raised(twice)) == "another run works on this feed"


def test_a_state_that_does_not_fit_is_told_as_that() -> None:
    assert short_cause(str(too_large("Mill: Quay", 2_000_000, 1))) == "too large to be saved"


def test_clocks_that_differ_are_told_as_that() -> None:
    apart = Clocks(NOON, NOON - timedelta(days=1))

    assert short_cause(raised(apart.require_agreement)) == "this host's clock and the API's differ"


def test_all_of_the_advice_on_clocks_is_given() -> None:
    error = raised(Clocks(NOON, NOON - timedelta(days=1)).require_agreement)

    said = advice(error)

    assert said is not None
    assert "timedatectl" in said
    assert "or see what answers in the API's place (a proxy, a cache), or ask Microshare" in said
    assert advice(f"during the run, {error}") == said


def test_an_answer_of_another_view_is_told_as_that() -> None:
    error = raised(lambda: read_answer("counts", "Mill: Quay", DashboardAnswer(({"other": "view"},))))

    assert short_cause(error) == "the API's answer is not that of a dashboard view"


def test_an_error_within_another_is_the_cause() -> None:
    inner = str(too_large("Mill", 2_000_000, 1))

    assert short_cause(f"a reading could not be quarantined: {inner}") == "too large to be saved"
    assert short_cause(f"hub eu: nothing more is sent: {inner}") == "too large to be saved"


def test_a_run_that_asked_for_nothing_is_told_by_its_time() -> None:
    error = "no location was asked for within the run's 240 s, so long did its state, the login and the list"

    assert short_cause(error) == "its time was over before it asked"


# --- what is not known ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("error", "cause"),
    [
        ("hub eu: something of an earlier version: its details; do this", "something of an earlier version"),
        ("microshare: a new thing (503, <html><body>page); wait", "a new thing (503"),
        ("it has no time", "it has no time"),
        ("", "an unknown error"),
        ("<html>", "an unknown error"),
    ],
)
def test_an_unknown_error_is_told_by_its_own_beginning(error: str, cause: str) -> None:
    assert short_cause(error) == cause


@given(
    st.sampled_from(["", "hub eu: ", "microshare: ", "microshare: login: ", "state: ", "location a: "]),
    st.text() | st.text("<hub: ;,503 \x1b\n"),
)
@example("hub eu: no connection: ", "\x1b[2J<html>" * 999)
def test_whatever_came_a_cause_is_short_and_shows_nothing_of_a_page(place: str, text: str) -> None:
    cause = short_cause(place + text)

    assert 0 < len(cause) <= 60
    assert cause.isprintable()
    assert "<" not in cause


NO_HOST = "there is no such host: Name does not resolve"
GIVEN_UP = "given up after 3 attempts, the next run tries again"
BY = "through the proxy http://nowhere.invalid:3128"


@pytest.mark.parametrize(
    ("error", "cause", "do"),
    [
        (
            f"microshare: login: connection to api.x failed ({NO_HOST}); check that URL; {GIVEN_UP}",
            "the API's host does not exist",
            f"check that URL; {GIVEN_UP}",
        ),
        (
            f"microshare: login: connection to api.x {BY} failed ({NO_HOST}); check HTTPS_PROXY",
            "the proxy's host does not exist",
            "check HTTPS_PROXY",
        ),
        (
            f"hub eu: no connection {BY}: there is no host nowhere.invalid (x); check HTTPS_PROXY",
            "its proxy's host does not exist",
            "check HTTPS_PROXY",
        ),
        (
            f"state: table a at b: not reached ({NO_HOST}); check the name of the account",
            "the table store's host does not exist",
            "check the name of the account",
        ),
        (
            f"state: table a at b: not reached {BY} ({NO_HOST}); check HTTPS_PROXY",
            "the proxy's host does not exist",
            "check HTTPS_PROXY",
        ),
    ],
    ids=["the API", "the API by a proxy", "a hub by a proxy", "tables", "tables by a proxy"],
)
def test_a_host_that_does_not_exist_is_told_by_what_names_it(error: str, cause: str, do: str) -> None:
    assert (short_cause(error), advice(error)) == (cause, do)


# --- what to do -------------------------------------------------------------------------------------

PLACE = "microshare: query of view v for 'Q; a', 2026-01-01T00:00:00.000Z to 2026-01-01T01:00:00.000Z"


@pytest.mark.parametrize(
    ("error", "do"),
    [
        (
            translate(HUB, sdk_error(ConnectError, "amqp:unauthorized-access")),
            "grant the Send right, or renew the key",
        ),
        (
            translate(HUB, OSError(111, "refused; call the vendor")),
            "check the network; where only port 443 is open, set EVENT_HUB_TRANSPORT=websockets",
        ),
        (
            translate(HUB, socket.gaierror(-2, "Name or service not known")),
            "check the namespace that it is given with",
        ),
        (translate(HUB, sdk_error(EventDataSendError, "com.microsoft:server-busy")), None),
        (translate(HUB, ValueError("size; check <this>")), None),
        (
            f'{PLACE}: 502, "one; two"; given up after 4 attempts, the next run tries again',
            "the next run tries again",
        ),
        (
            f'{PLACE}: 404, a page, "a; b"; view v does not exist: check the id',
            "view v does not exist: check the id",
        ),
        (
            f'{PLACE}: the view refuses its parameters (503, "a; b"); sent id=v&x=1; compare them',
            "compare them",
        ),
        ("it has no time", None),
        ("something; <html>", None),
    ],
    ids=str,
)
def test_what_to_do_is_told_without_what_came(error: object, do: str | None) -> None:
    assert advice(str(error)) == do


def test_a_warning_tells_the_cause_in_place_of_the_error() -> None:
    assert without_quotes(f'discovery failed: {PLACE}: 502, "<html>"; given up') == (
        "discovery failed (the API answers with 502)"
    )
    assert without_quotes(f"{PLACE.removeprefix('microshare: ')}: JSON that is sent as text/html") == (
        "a query for Q; a: JSON that is sent as text/html"
    )
    quoted = PLACE.removeprefix("microshare: ").replace("'", '"')
    assert without_quotes(f"{quoted}: odd") == "a query for Q; a: odd"
    assert without_quotes("Mill: 3 readings came late; do this") == "Mill: 3 readings came late; do this"
