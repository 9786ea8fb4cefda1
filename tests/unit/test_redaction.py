from __future__ import annotations

import json
import logging
import time
from collections.abc import Callable, Iterator

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from app.base.errors import ForwarderError
from app.base.escapes import unescape
from app.base.log import configure_logging, get_log
from app.base.redaction import redact, redact_json, register_secret
from tests.canaries import FORMS, percent, registry_of

SECRET = 'fälse[secret] "with" <#signs>\'&+%/\\😀'


@pytest.fixture(autouse=True, scope="module")
def known() -> Iterator[None]:
    with registry_of([SECRET]):
        yield


@pytest.mark.parametrize("write", FORMS.values(), ids=FORMS.keys())
def test_a_registered_secret_is_masked_in_every_form(write: Callable[[str], str]) -> None:
    told = redact(f"before ({write(SECRET)}) after")

    # Of a backslash at an end, what escapes it may be left.
    assert told.replace("\\", "") == "before (***) after"


def test_a_percent_sign_before_a_secret_in_percent_hides_nothing_of_it() -> None:
    secret = "CAFE-obviously-false"
    register_secret(secret)

    # Undone once too often, the sign and the first two letters would be an escape themselves.
    assert redact(f"%255Bdone%{percent(secret)}%41") == "%255Bdone%***%41"


@given(
    secret=st.text(st.characters(codec="utf-8", exclude_categories=["Cc", "Zs", "Zl", "Zp"]), min_size=8),
    write=st.sampled_from(list(FORMS.values())),
)
def test_any_secret_is_masked_in_any_form(secret: str, write: Callable[[str], str]) -> None:
    # One that is hardly more than backslashes says too little once they are undone.
    assume(len(unescape(secret)) >= 4)
    register_secret(secret, place="drawn")

    told = redact(f"({write(secret)})")

    assert "***" in told
    assert write(secret) not in told


@given(st.text(st.sampled_from('%&#x;"\\u0025amp{}:=@/ bearer?')))
def test_any_text_can_be_redacted_and_again_without_change(text: str) -> None:
    once = redact(text)

    assert redact(once) == once


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (
            "Endpoint=sb://x/;SharedAccessKey=FALSE+/key==;EntityPath=e",
            "Endpoint=sb://x/;SharedAccessKey=***;",
        ),
        ("AccountKey=FALSEKEYFALSEKEY==;", "AccountKey=***;"),
        ("https://x.example.test/?sv=1&sig=FALSE%2Bsig&se=2", "https://x.example.test/?sv=1&sig=***&se=2"),
        ("SharedAccessSignature sr=x&sig=FALSE%3d&se=1", "SharedAccessSignature sr=x&sig=***&se=1"),
        ("SharedAccessSignature=FALSE;x", "SharedAccessSignature=***;x"),
        ("Authorization: Bearer FALSETOKENFALSETOKEN", "Authorization: Bearer ***"),
        ("authorization: Basic RkFMU0U6RkFMU0U=", "authorization: Basic ***"),
        ('{"Authorization": "Basic RkFMU0U6"}', '{"Authorization": "***"}'),
        ("sent Basic RkFMU0U6RkFMU0U= to it", "sent Basic *** to it"),
        ("X-Api-Key: FALSE1", "X-Api-Key: ***"),
        ('{"access_token": "FALSE TOKEN"}', '{"access_token": "***"}'),
        ('{"id_token":"FALSE"}', '{"id_token":"***"}'),
        ('{"IDToken":"FALSE"}', '{"IDToken":"***"}'),
        ("SASToken=FALSE", "SASToken=***"),
        ("APIkey=FALSE", "APIkey=***"),
        ("Proxy-Authorization: NTLM TlRMFALSE", "Proxy-Authorization: NTLM ***"),
        ("refresh_token=FALSE", "refresh_token=***"),
        ("client_secret=FALSE&x=1", "client_secret=***&x=1"),
        ("clientSecret: 'FALSE one'", "clientSecret: '***'"),
        ('{\\"client_secret\\":\\"FALSE\\"}', '{\\"client_secret\\":\\"***\\"}'),
        ("{&quot;client_secret&quot;:&quot;FALSE&quot;}", "{&quot;client_secret&quot;:&quot;***&quot;}"),
        ("client_secret%3DFALSE%26x", "client_secret%3D***%26x"),
        ('{"client_secret":["FALSE", "FALSE"],"x":1}', '{"client_secret":[***],"x":1}'),
        ("api_key=FALSE", "api_key=***"),
        ("apikey=FALSE", "apikey=***"),
        ("?token=FALSE&x=1", "?token=***&x=1"),
        ("username=a&password=FALSE&x=1", "username=a&password=***&x=1"),
        ("Cookie: PLAY_SESSION=eyFALSE.eyFALSETOKEN.x", "Cookie: ***"),
        ("it was eyJGQUxTRSI6MX0.eyJGQUxTRSI6MX0.FALSE-_ then", "it was *** then"),
        ("http://user:FALSE@host.example.test:99999", "http://***@host.example.test:99999"),
        ("http://user:FA/LSE@host.example.test/x", "http://***@host.example.test/x"),
        ("http://user:FA#LSE?[@host.example.test", "http://***@host.example.test"),
        ("http://user:FA@LSE@host.example.test", "http://***@host.example.test"),
        ("https://FALSE@host.example.test/x", "https://***@host.example.test/x"),
    ],
)
def test_what_is_shaped_like_a_secret_is_masked_though_nobody_registered_it(text: str, told: str) -> None:
    assert redact(text).startswith(told)


@pytest.mark.parametrize(
    "harmless",
    [
        "",
        "ab",
        "the password is refused; check MICROSHARE_PASSWORD",
        "MICROSHARE_PASSWORD: not set; write the password of the account",
        "MICROSHARE_API_KEY: is wrapped in quotes; remove them",
        "ExpiredToken: The token is expired",
        "it answers with Basic authentication only",
        "https://api.example.test/share/?mail=someone@example.test",
        "redirect to api.example.test refused (302)",
        "feeds.people_counter.settle: '5' has no unit; write 5m or 300s",
        '{"token": null, "position": 3}',
    ],
)
def test_ordinary_texts_stay_as_they_are(harmless: str) -> None:
    register_secret("ab")

    assert redact(harmless) == harmless


def test_an_error_never_holds_a_secret() -> None:
    error = ForwarderError(f"the server said {SECRET}")

    assert str(error) == "the server said ***"
    assert SECRET not in repr(error)


def test_a_secret_that_is_a_word_is_masked_where_it_stands_alone_and_in_no_name() -> None:
    register_secret("turnstile")

    assert redact("refused turnstile, user:turnstile@host") == "refused ***, user:***@host"
    assert redact("turnstile_counter turnstiles") == "turnstile_counter turnstiles"
    assert redact_json({"turnstile": "turnstile", "n": [3, None]}) == {"turnstile": "***", "n": [3, None]}


def test_a_secret_that_is_a_number_leaves_times_as_they_are() -> None:
    register_secret("2031")

    assert redact("sent 2031 at 2031-01-02T03:04:05Z") == "sent *** at 2031-01-02T03:04:05Z"


def test_what_stands_under_a_telling_name_is_masked_whole() -> None:
    assert redact_json({"client_secret": ["two words", 5]}) == {"client_secret": ["***", 5]}
    assert redact_json({"client_secret": "two words", "sig": "", "token": None}) == {
        "client_secret": "***",
        "sig": "",
        "token": None,
    }


@pytest.mark.parametrize("secret", ['"behind_s":', '": ', '{"event"', "}, {", '\\"', "run.finished"])
def test_nothing_of_a_secret_can_change_what_a_log_line_is(
    caplog: pytest.LogCaptureFixture, secret: str
) -> None:
    register_secret(secret, place="session")
    configure_logging("INFO", to_stderr=False)

    get_log(run="r1", feed="people_counter").info(
        "run.finished", behind_s=3, error=f"said {secret}!", ok=True
    )

    [line] = caplog.records
    assert json.loads(line.getMessage()) == {
        "event": "run.finished",
        "run": "r1",
        "feed": "people_counter",
        "behind_s": 3,
        "error": f"said {secret}!" if len(secret) < 4 else "said ***!",
        "ok": True,
    }


def test_what_other_libraries_log_is_redacted(capsys: pytest.CaptureFixture[str]) -> None:
    root = logging.getLogger()
    before, root.handlers = root.handlers, []
    try:
        configure_logging("INFO", to_stderr=True)
        logging.getLogger("some.library").error("it said %s", SECRET)
    finally:
        root.handlers = before

    assert capsys.readouterr().err.endswith(" ERROR   it said ***\n")


def test_of_a_place_the_newest_few_secrets_are_known() -> None:
    tokens = [f"renewed-{number:04}-token" for number in range(1_000)]
    for token in tokens:
        register_secret(token, place="session of a test")

    assert redact(tokens[-1]) == redact(tokens[-2]) == "***"
    assert redact(tokens[0]) == tokens[0]


def test_a_token_of_any_length_costs_a_line_next_to_nothing() -> None:
    token = "t0" * 200_000
    register_secret(token, place="long session")
    began = time.monotonic()

    for _ in range(1_000):
        redact("hub eu: no connection; check the network")

    assert redact(f"a {token} b") == "a *** b"
    assert time.monotonic() - began < 5


@pytest.mark.parametrize(
    "piece",
    [
        "&amp;",
        "amp;",
        "%25",
        "\\",
        '"',
        "http://a:",
        "password=",
        'password="',
        "password: ",
        "&#0",
        "Basic a",
        "eyJ",
        "eyJaaaaa.",
        "\\u00e4",
        "%C3",
        "ä%41",
        "YWJj",
    ],
)
def test_redacting_takes_time_in_proportion_to_the_text(piece: str) -> None:
    began = time.monotonic()

    redact(piece * (200_000 // len(piece)))

    # A tenth of a second, where it would be hours if each character meant a look at all others.
    assert time.monotonic() - began < 10
