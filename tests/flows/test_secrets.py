"""No secret in any log, report, state file or exception text of a run, whatever goes wrong."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from emulators.estate import Estate
from emulators.eventhubs import EventHubsEmulator
from emulators.microshare import MicroshareEmulator
from tests.canaries import API_KEY, HUB_KEY, PASSWORD, shown_in
from tests.site import Clock, Site


@pytest.fixture
def canaries(tmp_path: Path, clock: Clock) -> Iterator[Site]:
    source = MicroshareEmulator(Estate(), clock=clock, password=PASSWORD, api_key=API_KEY)
    with source, EventHubsEmulator(["a", "b"], key=HUB_KEY) as hubs:
        yield Site(source, hubs, clock, tmp_path)


def echo_request(site: Site) -> None:
    """Let the API repeat in an error what it was sent, as error pages do."""
    token = next(iter(site.source._tokens))
    site.source.faults.status(500, f"bad request: Authorization: Bearer {token} password={PASSWORD}")


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
    canaries: Site, clock: Clock, tmp_path: Path, caplog: pytest.LogCaptureFixture, fault: str
) -> None:
    caplog.set_level(logging.DEBUG)
    site = canaries
    if fault == "error body":
        site.run()
        clock.move(minutes=15)
    wrong_key = site.hubs.connection_string("b", key="canary-wrong-hub-key")
    break_it: dict[str, Callable[[], None]] = {
        "nothing": lambda: None,
        "login refused": site.source.faults.refuse_login,
        "login form": lambda: site.source.faults.refuse_login("form"),
        "token revoked": lambda: site.source.faults.revoke_after(1),
        "error body": lambda: echo_request(site),
        "hub refuses": site.b.refuse_attach,
        "hub token": site.b.refuse_token,
        "wrong key": lambda: site.environ.update(EVENT_HUB_CONNECTION_STRINGS=f'["{wrong_key}"]'),
    }
    break_it[fault]()

    report = site.run()

    assert report.ok == (fault in ("nothing", "token revoked"))
    shown = str(report.as_json()) + caplog.text
    shown += "".join(file.read_text() for file in (tmp_path / "state").rglob("*") if file.is_file())
    secrets = [PASSWORD, HUB_KEY, API_KEY, "canary-wrong-hub-key", *site.source._tokens]
    assert shown_in(shown, secrets) == []
