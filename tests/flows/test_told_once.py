"""A trouble that lasts is one line in the log where it begins, and one where it is over."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from app.base.log import LOGGER_NAME, configure_logging
from emulators.estate import Building, Estate
from emulators.eventhubs import EventHubsEmulator
from emulators.microshare import MicroshareEmulator
from tests.environments.installation import Clock, Installation
from tests.flows.test_stores import table_environment

TOLD = ("hub.failing", "hub.recovered", "location.failing", "location.recovered")


class Lines:
    """What runs say of troubles: event, location and hub of each line, run after run."""

    def __init__(self, log: pytest.LogCaptureFixture, installation: Installation, clock: Clock) -> None:
        self._log = log
        self._installation = installation
        self._clock = clock

    def of_runs(self, count: int = 1) -> list[list[tuple[str, str | None, str | None]]]:
        """Run the feed `count` times, 15 minutes apart, each in a process that knows nothing."""
        return [self._of_run() for _ in range(count)]

    def _of_run(self) -> list[tuple[str, str | None, str | None]]:
        self._log.clear()
        self._clock.move(minutes=15)
        self._installation.restart()
        self._installation.run()
        ours = [record for record in self._log.records if record.name == LOGGER_NAME]
        said: list[dict[str, Any]] = [json.loads(record.getMessage()) for record in ours]
        return [
            (line["event"], line.get("location"), line.get("hub")) for line in said if line["event"] in TOLD
        ]


@pytest.fixture
def lines(caplog: pytest.LogCaptureFixture, installation: Installation, clock: Clock) -> Lines:
    configure_logging("INFO", to_stderr=False)
    caplog.set_level(logging.INFO, LOGGER_NAME)
    return Lines(caplog, installation, clock)


@pytest.fixture
def installation(request: pytest.FixtureRequest, tmp_path: Path, clock: Clock) -> Iterator[Installation]:
    """Two buildings and two hubs, the state in files unless asked otherwise; one run is done."""
    environ = {}
    if getattr(request, "param", "json") == "table":
        environ = table_environment(request.getfixturevalue("azurite_port"))
    estate = Estate(buildings=(Building("Quay+One"), Building("Mill & Lane")))
    with MicroshareEmulator(estate, clock=clock) as source, EventHubsEmulator(["a", "b"]) as hubs:
        installation = Installation(source, hubs, clock, tmp_path, environ)
        assert installation.run().ok
        yield installation


@pytest.mark.parametrize("installation", ["json", "table"], indirect=True)
def test_a_hub_that_is_down_for_many_runs(installation: Installation, lines: Lines) -> None:
    installation.b.refuse_attach()
    while_down = lines.of_runs(2)
    installation.b.clear_faults()

    assert while_down == [[("hub.failing", None, installation.key("b"))], []]
    assert lines.of_runs(2) == [[("hub.recovered", None, installation.key("b"))], []]


def test_a_location_whose_query_fails_for_many_runs(installation: Installation, lines: Lines) -> None:
    installation.source.faults.status(404, location="Mill & Lane")
    while_failing = lines.of_runs(2)
    installation.source.faults.clear()

    assert while_failing == [[("location.failing", "Mill & Lane", None)], []]
    assert lines.of_runs(2) == [[("location.recovered", "Mill & Lane", None)], []]


def test_a_location_of_which_a_hub_takes_nothing_for_many_runs(
    installation: Installation, lines: Lines
) -> None:
    installation.source.faults.status(404, location="Quay+One")
    lines.of_runs()
    installation.b.reject("amqp:not-allowed")
    while_rejected = lines.of_runs(2)
    installation.b.clear_faults()

    assert while_rejected == [[("location.failing", "Mill & Lane", installation.key("b"))], []]
    assert lines.of_runs(2) == [[("location.recovered", "Mill & Lane", installation.key("b"))], []]


def test_a_hub_that_fails_after_it_refused_a_location(installation: Installation, lines: Lines) -> None:
    installation.source.faults.status(404, location="Quay+One")
    installation.b.reject("amqp:not-allowed")
    lines.of_runs()
    installation.b.refuse_attach()
    while_down = lines.of_runs(2)
    installation.b.clear_faults()
    installation.source.faults.clear()

    assert while_down == [[("hub.failing", None, installation.key("b"))], []]
    assert lines.of_runs(2) == [
        [("hub.recovered", None, installation.key("b")), ("location.recovered", "Quay+One", None)],
        [],
    ]


def test_a_hub_that_fails_while_there_is_no_location_to_ask_for(
    installation: Installation, lines: Lines, clock: Clock
) -> None:
    identity = installation.environ["MICROSHARE_IDENTITY"]
    installation.environ["MICROSHARE_IDENTITY"] = "com.example.NOBODY"
    clock.move(hours=49)
    installation.b.refuse_attach()
    while_down = lines.of_runs(2)
    installation.b.clear_faults()
    installation.environ["MICROSHARE_IDENTITY"] = identity

    assert while_down == [[("hub.failing", None, installation.key("b"))], []]
    assert lines.of_runs(2) == [[("hub.recovered", None, installation.key("b"))], []]


def test_a_hub_that_is_back_while_a_location_still_cannot_be_asked(
    installation: Installation, lines: Lines
) -> None:
    installation.b.refuse_attach()
    lines.of_runs()
    installation.source.faults.status(404, location="Mill & Lane")
    installation.b.clear_faults()

    assert lines.of_runs(2) == [
        [("location.failing", "Mill & Lane", None), ("hub.recovered", None, installation.key("b"))],
        [],
    ]


def test_a_dry_run_says_of_nothing_that_it_is_over(
    installation: Installation, lines: Lines, caplog: pytest.LogCaptureFixture
) -> None:
    installation.b.refuse_attach()
    lines.of_runs()
    installation.b.clear_faults()
    caplog.clear()

    installation.run(dry_run=True)

    assert "hub.recovered" not in caplog.text
    assert lines.of_runs() == [[("hub.recovered", None, installation.key("b"))]]


def test_runs_that_fail_in_a_row_report_since_when(installation: Installation, clock: Clock) -> None:
    installation.b.refuse_attach()
    clock.move(minutes=15)
    began = clock.now
    first = installation.run()
    clock.move(minutes=15)
    second = installation.run()
    installation.b.clear_faults()
    clock.move(minutes=15)

    assert [first.failing_since, second.failing_since, installation.run().failing_since] == [
        began,
        began,
        None,
    ]
