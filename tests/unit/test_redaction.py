from __future__ import annotations

import base64
from urllib.parse import quote, quote_plus

import pytest

from app.base.errors import ForwarderError
from app.base.redaction import redact, register_secret

SECRET = 'false[secret] "with" #signs&+%'
register_secret(SECRET)


@pytest.mark.parametrize(
    "written",
    [
        SECRET,
        quote(SECRET, safe=""),
        quote_plus(SECRET),
        base64.b64encode(SECRET.encode()).decode(),
        SECRET.replace('"', '\\"'),
    ],
    ids=["plain", "percent-encoded", "form-encoded", "base64", "in JSON"],
)
def test_a_registered_secret_is_masked_in_every_form(written: str) -> None:
    assert redact(f"before {written} after") == "before *** after"


@pytest.mark.parametrize(
    "text",
    [
        "Endpoint=sb://x/;SharedAccessKey=FALSEKEYFALSEKEY;EntityPath=e",
        "AccountKey=FALSEKEYFALSEKEY==;",
        "Authorization: Bearer FALSETOKENFALSETOKEN",
        '{"access_token": "FALSETOKENFALSETOKEN"}',
        "username=a&password=FALSETOKENFALSETOKEN&x=1",
        "Cookie: PLAY_SESSION=eyFALSE.eyFALSETOKEN.x",
    ],
)
def test_what_is_shaped_like_a_secret_is_masked_though_nobody_registered_it(text: str) -> None:
    assert "FALSE" not in redact(text)


def test_an_error_never_holds_a_secret() -> None:
    error = ForwarderError(f"the server said {SECRET}")

    assert str(error) == "the server said ***"
    assert SECRET not in repr(error)


@pytest.mark.parametrize("harmless", ["", "ab", "the password is refused; check MICROSHARE_PASSWORD"])
def test_ordinary_texts_stay_as_they_are(harmless: str) -> None:
    register_secret("ab")

    assert redact(harmless) == harmless
