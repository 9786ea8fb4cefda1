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
from tests.flows.test_stores import table_environment
from tests.site import Clock, Site

TOLD = ("hub.failing", "hub.recovered", "location.failing", "location.recovered")


class Lines:
    """What runs say of troubles: event, location and hub of each line, run after run."""

    def __init__(self, log: pytest.LogCaptureFixture, site: Site, clock: Clock) -> None:
        self._log = log
        self._site = site
        self._clock = clock

    def of_runs(self, count: int = 1) -> list[list[tuple[str, str | None, str | None]]]:
        """Run the feed `count` times, 15 minutes apart, each in a process that knows nothing."""
        return [self._of_run() for _ in range(count)]

    def _of_run(self) -> list[tuple[str, str | None, str | None]]:
        self._log.clear()
        self._clock.move(minutes=15)
        self._site.restart()
        self._site.run()
        ours = [record for record in self._log.records if record.name == LOGGER_NAME]
        said: list[dict[str, Any]] = [json.loads(record.getMessage()) for record in ours]
        return [
            (line["event"], line.get("location"), line.get("hub")) for line in said if line["event"] in TOLD
        ]


@pytest.fixture
def lines(caplog: pytest.LogCaptureFixture, site: Site, clock: Clock) -> Lines:
    configure_logging("INFO", to_stderr=False)
    caplog.set_level(logging.INFO, LOGGER_NAME)
    return Lines(caplog, site, clock)


@pytest.fixture
def site(request: pytest.FixtureRequest, tmp_path: Path, clock: Clock) -> Iterator[Site]:
    """A site with two buildings and two hubs, its state in files unless asked otherwise; one run is done."""
    environ = {}
    if getattr(request, "param", "json") == "table":
        environ = table_environment(request.getfixturevalue("azurite_port"))
    estate = Estate(buildings=(Building("Quay+One"), Building("Mill & Lane")))
    with MicroshareEmulator(estate, clock=clock) as source, EventHubsEmulator(["a", "b"]) as hubs:
        site = Site(source, hubs, clock, tmp_path, environ)
        assert site.run().ok
        yield site


@pytest.mark.parametrize("site", ["json", "table"], indirect=True)
def test_a_hub_that_is_down_for_many_runs(site: Site, lines: Lines) -> None:
    site.b.refuse_attach()
    while_down = lines.of_runs(3)
    site.b.clear_faults()

    assert while_down == [[("hub.failing", None, site.key("b"))], [], []]
    assert lines.of_runs(2) == [[("hub.recovered", None, site.key("b"))], []]


def test_a_location_whose_query_fails_for_many_runs(site: Site, lines: Lines) -> None:
    site.source.faults.status(404, location="Mill & Lane")
    while_failing = lines.of_runs(3)
    site.source.faults.clear()

    assert while_failing == [[("location.failing", "Mill & Lane", None)], [], []]
    assert lines.of_runs(2) == [[("location.recovered", "Mill & Lane", None)], []]


def test_a_location_of_which_a_hub_takes_nothing_for_many_runs(site: Site, lines: Lines) -> None:
    site.source.faults.status(404, location="Quay+One")
    lines.of_runs()
    site.b.reject("amqp:not-allowed")
    while_rejected = lines.of_runs(3)
    site.b.clear_faults()

    assert while_rejected == [[("location.failing", "Mill & Lane", site.key("b"))], [], []]
    assert lines.of_runs(2) == [[("location.recovered", "Mill & Lane", site.key("b"))], []]


def test_a_hub_that_fails_after_it_refused_a_location(site: Site, lines: Lines) -> None:
    site.source.faults.status(404, location="Quay+One")
    site.b.reject("amqp:not-allowed")
    lines.of_runs()
    site.b.refuse_attach()
    while_down = lines.of_runs(2)
    site.b.clear_faults()
    site.source.faults.clear()

    assert while_down == [[("hub.failing", None, site.key("b"))], []]
    assert lines.of_runs(2) == [
        [("hub.recovered", None, site.key("b")), ("location.recovered", "Quay+One", None)],
        [],
    ]


def test_a_hub_that_fails_while_there_is_no_location_to_ask_for(
    site: Site, lines: Lines, clock: Clock
) -> None:
    identity = site.environ["MICROSHARE_IDENTITY"]
    site.environ["MICROSHARE_IDENTITY"] = "com.example.NOBODY"
    clock.move(hours=49)
    site.b.refuse_attach()
    while_down = lines.of_runs(3)
    site.b.clear_faults()
    site.environ["MICROSHARE_IDENTITY"] = identity

    assert while_down == [[("hub.failing", None, site.key("b"))], [], []]
    assert lines.of_runs(2) == [[("hub.recovered", None, site.key("b"))], []]


def test_a_hub_that_is_back_while_a_location_still_cannot_be_asked(site: Site, lines: Lines) -> None:
    site.b.refuse_attach()
    lines.of_runs()
    site.source.faults.status(404, location="Mill & Lane")
    site.b.clear_faults()

    assert lines.of_runs(3) == [
        [("location.failing", "Mill & Lane", None), ("hub.recovered", None, site.key("b"))],
        [],
        [],
    ]


def test_a_dry_run_says_of_nothing_that_it_is_over(
    site: Site, lines: Lines, caplog: pytest.LogCaptureFixture
) -> None:
    site.b.refuse_attach()
    lines.of_runs()
    site.b.clear_faults()
    caplog.clear()

    site.run(dry_run=True)

    assert "hub.recovered" not in caplog.text
    assert lines.of_runs() == [[("hub.recovered", None, site.key("b"))]]


def test_runs_that_fail_in_a_row_report_since_when(site: Site, clock: Clock) -> None:
    site.b.refuse_attach()
    clock.move(minutes=15)
    began = clock.now
    first = site.run()
    clock.move(minutes=15)
    second = site.run()
    site.b.clear_faults()
    clock.move(minutes=15)

    assert [first.failing_since, second.failing_since, site.run().failing_since] == [began, began, None]
