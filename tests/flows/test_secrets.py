"""No secret in any log, report, state file or exception text of a run, whatever goes wrong."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from emulators.eventhubs import EventHubsEmulator
from emulators.microshare import MicroshareEmulator
from tests.canaries import API_KEY, HUB_KEY, PASSWORD, forms, shown_in
from tests.environments.installation import Clock, Installation, small_estate


@pytest.fixture
def canaries(tmp_path: Path, clock: Clock) -> Iterator[Installation]:
    source = MicroshareEmulator(small_estate(), clock=clock, password=PASSWORD, api_key=API_KEY)
    with source, EventHubsEmulator(["a", "b"], key=HUB_KEY) as hubs:
        yield Installation(source, hubs, clock, tmp_path)


def echo_request(installation: Installation) -> None:
    """Let the API repeat in an error what it was sent, as error pages do."""
    token = next(iter(installation.source._tokens))
    told = " ".join(form for secret in (PASSWORD, API_KEY, token) for form in sorted(forms(secret)))
    installation.source.faults.status(500, json.dumps({"error": f"{told} password={PASSWORD}"}))


@pytest.mark.parametrize(
    "fault",
    [
        "nothing",
        "login refused",
        "login form",
        "token revoked",
        "error body",
        "hub refuses",
        "hub token",
        "wrong key",
    ],
)
def test_no_secret_is_shown_or_stored(
    canaries: Installation, clock: Clock, tmp_path: Path, caplog: pytest.LogCaptureFixture, fault: str
) -> None:
    caplog.set_level(logging.DEBUG)
    installation = canaries
    if fault == "error body":
        installation.run()
        clock.move(minutes=15)
    wrong_key = installation.hubs.connection_string("b", key="canary-wrong-hub-key")
    break_it: dict[str, Callable[[], None]] = {
        "nothing": lambda: None,
        "login refused": installation.source.faults.refuse_login,
        "login form": lambda: installation.source.faults.refuse_login("form"),
        "token revoked": lambda: installation.source.faults.revoke_after(1),
        "error body": lambda: echo_request(installation),
        "hub refuses": installation.b.refuse_attach,
        "hub token": installation.b.refuse_token,
        "wrong key": lambda: installation.environ.update(EVENT_HUB_CONNECTION_STRINGS=f'["{wrong_key}"]'),
    }
    break_it[fault]()

    report = installation.run()

    assert report.ok == (fault in ("nothing", "token revoked"))
    shown = str(report.as_json()) + caplog.text
    shown += "".join(file.read_text() for file in (tmp_path / "state").rglob("*") if file.is_file())
    secrets = [PASSWORD, HUB_KEY, API_KEY, "canary-wrong-hub-key", *installation.source._tokens]
    assert shown_in(shown, secrets) == []
