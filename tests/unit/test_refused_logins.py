"""What is remembered of a login that the API refuses, and what follows from it."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest
import responses

from app.base.errors import SourceError
from app.base.instants import MINUTE
from app.base.text import times_in
from app.run.refused_logins import STATE_NAME, RefusedLogins
from app.state.json_file import JsonFileStore
from app.state.read_only import ReadOnlyStore
from tests.unit.microshare_fake import NOW, PASSWORD, SETTINGS, Answer, FakeMicroshare, session

REFUSED = Answer(401, body=b"Unauthorized")
FORM = Answer(200, body=b"<form action='/login'></form>")


class Runs:
    """Runs that log in, a quarter of an hour apart, over one store; each in a process of its own."""

    def __init__(self, microshare: FakeMicroshare, folder: Path) -> None:
        self.microshare = microshare
        self.folder = folder
        self.at = NOW

    def log_in(self, answer: Answer, *, at_once: bool = False, dry_run: bool = False, **settings: Any) -> str:
        """Give whether a run `asked` the API, which answers so, or else what it said."""
        self.microshare.logins = [answer]
        asked = self.microshare.login_requests
        store = JsonFileStore(self.folder)
        refusals = RefusedLogins(ReadOnlyStore(store) if dry_run else store, lambda: self.at, at_once=at_once)
        said = ""
        try:
            self.microshare.client(refusals=refusals, **settings).login()
        except SourceError as error:
            said = str(error)
        self.at += 15 * MINUTE
        return "asked" if self.microshare.login_requests > asked else said


@pytest.fixture
def runs(tmp_path: Path) -> Iterator[Runs]:
    with responses.RequestsMock(assert_all_requests_are_fired=False) as mock:
        yield Runs(FakeMicroshare(mock), tmp_path)


@pytest.fixture(scope="module")
def refused_three_times(tmp_path_factory: pytest.TempPathFactory) -> Runs:
    """Made once: what is kept of a login takes long to make, so that it takes long to guess from."""
    with responses.RequestsMock(assert_all_requests_are_fired=False) as mock:
        runs = Runs(FakeMicroshare(mock), tmp_path_factory.mktemp("refused"))
        assert [runs.log_in(REFUSED) for _ in range(3)] == ["asked"] * 3
    return runs


@pytest.fixture
def refused(runs: Runs, refused_three_times: Runs) -> Runs:
    """Give runs of which three were refused."""
    shutil.copytree(refused_three_times.folder, runs.folder, dirs_exist_ok=True)
    runs.at = refused_three_times.at
    return runs


def test_a_login_refused_in_three_runs_in_a_row_is_tried_hourly(runs: Runs) -> None:
    tried = [runs.log_in(REFUSED) == "asked" for _ in range(11)]

    # At 10:00, 10:15 and 10:30; then at 11:30 and 12:30.
    assert tried == [True, True, True, False, False, False, True, False, False, False, True]


def test_a_run_that_does_not_try_says_since_when_and_what_to_do(refused: Runs) -> None:
    assert refused.log_in(REFUSED) == (
        "microshare: login refused for user svc-forwarder 3 times in a row, last at 2025-11-12 10:30:00 UTC; "
        "check MICROSHARE_USERNAME and MICROSHARE_PASSWORD: the login is tried hourly now, so that the "
        "account is not locked; what is changed there, and `python -m app check`, is tried at once"
    )


def test_the_error_is_in_utc_as_it_is_kept_whatever_zone_people_read_in(runs: Runs) -> None:
    with times_in(ZoneInfo("Asia/Kolkata")):
        for _ in range(3):
            runs.log_in(REFUSED)

        assert "last at 2025-11-12 10:30:00 UTC" in runs.log_in(REFUSED)


@pytest.mark.parametrize(
    ("answer", "auth"),
    [
        (REFUSED, "web"),
        (Answer(403, body=b"Forbidden"), "web"),
        (Answer(401, json={"error": "invalid_client"}), "oauth2"),
        (Answer(400, json={"error": "invalid_grant"}), "oauth2"),
    ],
    ids=["401", "403", "401 to a grant", "invalid_grant"],
)
def test_what_is_no_mistake_counts(runs: Runs, answer: Answer, auth: str) -> None:
    assert [runs.log_in(answer, auth=auth) == "asked" for _ in range(4)] == [True, True, True, False]


@pytest.mark.parametrize(
    ("answer", "auth"),
    [
        (FORM, "web"),
        (Answer(401, body=b"<html><form action='/login'></form></html>"), "web"),
        (Answer(303, body=b"", headers={"Location": "/login"}), "web"),
        (Answer(302, body=b"", headers={"Location": "https://portal.example.test/"}), "web"),
        (Answer(403, body=b"\xef\xbb\xbf <!DOCTYPE html><title>Blocked</title>"), "web"),
        (Answer(404, body=b""), "web"),
        (Answer(503, body=b"down"), "web"),
        (Answer(400, json={"error": "invalid_request"}), "oauth2"),
        (Answer(200, json={"token": "x"}), "oauth2"),
    ],
    ids=[
        "a form",
        "a page of 401",
        "bare 303",
        "a portal",
        "a firewall's page",
        "404",
        "503",
        "another error",
        "no token",
    ],
)
def test_what_could_be_a_mistake_never_keeps_a_login_from_being_tried(
    runs: Runs, answer: Answer, auth: str
) -> None:
    assert [runs.log_in(answer, auth=auth) for _ in range(5)] == ["asked"] * 5


def test_what_is_changed_is_tried_at_once_and_counted_anew(refused: Runs) -> None:
    assert [refused.log_in(REFUSED, password="another-false-one") for _ in range(3)] == ["asked"] * 3
    assert refused.log_in(REFUSED, password="another-false-one") != "asked"
    assert refused.log_in(REFUSED, username="svc-other") == "asked"


def test_a_check_tries_at_once_and_where_it_gets_in_runs_go_on(runs: Runs) -> None:
    for _ in range(4):
        runs.log_in(REFUSED)

    assert runs.log_in(REFUSED, at_once=True) == "asked"
    assert runs.log_in(REFUSED) != "asked"
    assert runs.log_in(session("t"), at_once=True) == "asked"
    assert [runs.log_in(REFUSED) == "asked" for _ in range(4)] == [True, True, True, False]


def test_refusals_count_in_a_row(runs: Runs) -> None:
    answers = [REFUSED, REFUSED, session("t"), REFUSED, REFUSED, FORM, session("t"), REFUSED]

    assert [runs.log_in(answer) for answer in answers] == ["asked"] * len(answers)


def test_a_clock_that_was_set_back_keeps_nobody_waiting(refused: Runs) -> None:
    refused.at -= timedelta(days=1)

    assert refused.log_in(REFUSED) == "asked"


def test_what_is_kept_names_no_secret_and_no_two_are_alike(runs: Runs, tmp_path: Path) -> None:
    runs.log_in(REFUSED)
    [first] = [path.read_text() for path in tmp_path.glob("*.json")]
    runs.log_in(session("t"))
    runs.log_in(REFUSED)
    [second] = [path.read_text() for path in tmp_path.glob("*.json")]

    assert PASSWORD not in first
    assert SETTINGS.username not in first
    assert len({line for text in (first, second) for line in text.splitlines() if "digest" in line}) == 2


@pytest.mark.parametrize("content", ["", "{}", "[", '{"version": 99}', "\x00"])
def test_what_cannot_be_read_keeps_nobody_from_logging_in(
    refused: Runs, tmp_path: Path, content: str
) -> None:
    [kept] = tmp_path.glob("*.json")
    kept.write_text(content)

    assert refused.log_in(REFUSED) == "asked"


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("key", "no hexadecimal"),
        ("key", 7),
        ("digest", None),
        ("digest", "ä" * 64),
        ("times", "often"),
        ("times", None),
        ("last", 7),
        ("last", "yesterday"),
    ],
)
def test_a_record_that_holds_anything_keeps_nobody_from_logging_in(
    refused: Runs, tmp_path: Path, name: str, value: object
) -> None:
    store = JsonFileStore(tmp_path)
    kept = store.load(STATE_NAME)
    [(field, entry)] = (kept.last_run or {}).items()
    store.save(STATE_NAME, replace(kept, last_run={field: {**entry, name: value}}), ())

    assert refused.log_in(REFUSED) == "asked"


def test_a_dry_run_waits_too_and_writes_nothing(runs: Runs, tmp_path: Path) -> None:
    assert [runs.log_in(REFUSED, dry_run=True) for _ in range(4)] == ["asked"] * 4
    assert list(tmp_path.iterdir()) == []
    for _ in range(3):
        runs.log_in(REFUSED)
    assert runs.log_in(REFUSED, dry_run=True) != "asked"


def test_a_store_that_cannot_be_used_is_the_run_s_own_trouble(runs: Runs, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    runs.folder = tmp_path / "file"

    assert [runs.log_in(REFUSED) for _ in range(4)] == ["asked"] * 4
