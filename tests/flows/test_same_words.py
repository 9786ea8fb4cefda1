"""What goes wrong is told in the same words wherever an operator looks: the log, `status` and the page."""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from app.base.instants import utc_now
from app.base.log import LOGGER_NAME, configure_logging
from emulators.eventhubs import EventHubsEmulator
from emulators.microshare import MicroshareEmulator
from tests.environments.installation import Clock, Installation, small_estate
from tests.environments.terminal import Terminal, words

MINUTE = timedelta(minutes=1)


@pytest.fixture
def clock() -> Clock:
    """A clock of the past: what is shown in the end is shown now, as commands have no other clock."""
    return Clock(utc_now().replace(microsecond=0) - 80 * MINUTE)


@pytest.fixture
def terminal(tmp_path: Path, clock: Clock) -> Iterator[Terminal]:
    with MicroshareEmulator(small_estate(), clock=clock) as source, EventHubsEmulator(["a", "b"]) as hubs:
        yield Terminal(source, hubs, tmp_path)


def last_line(log: pytest.LogCaptureFixture) -> dict[str, Any]:
    lines = [json.loads(record.getMessage()) for record in log.records if record.name == LOGGER_NAME]
    line: dict[str, Any] = next(line for line in reversed(lines) if line["event"] == "run.finished")
    log.clear()
    return line


def test_of_a_hub_a_renamed_location_a_full_view_and_a_short_look_back(
    terminal: Terminal, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    configure_logging("INFO", to_stderr=False)
    caplog.set_level(logging.INFO, LOGGER_NAME)
    installation = Installation(terminal.source, terminal.hubs, clock, terminal.folder, terminal.environ)
    installation.overrides["record_limit"] = 40
    now, estate = clock.now + 80 * MINUTE, installation.estate
    estate.rename("50% Annex", "51% Annex", at=now - 40 * MINUTE)
    for _ in range(45):
        estate.add_people("Mill & Lane", None, now - 20 * MINUTE)
    # One that is 49 minutes older than what the second run finds newest.
    estate.add_people("Quay+One", None, now - 16 * MINUTE)
    estate.add_people("Quay+One", None, now - 65 * MINUTE, visible_from=now - 5 * MINUTE)

    installation.run()
    clock.move(minutes=65)
    installation.run()
    line = last_line(caplog)
    (renamed,) = [found["text"] for found in line["drift"] if found["kind"] == "renamed"]
    (gap,) = line["gaps"]
    clock.move(minutes=15)
    installation.b.refuse_attach()
    installation.run()
    line = last_line(caplog)
    (failure,) = line["failures"]
    (late,) = [text for text in line["warnings"] if "look_back" in text]

    status = terminal.call("status", "--json").objects[0]
    terminal.call("report", "--feed", "people-counter", "--output", str(terminal.folder / "report.html"))

    # On the page, what to do stands apart from what is wrong.
    page = words(terminal.folder / "report.html")
    told = json.dumps(status, ensure_ascii=False)
    for text in (renamed, late, failure["error"].removeprefix("hub second: ")):
        assert [part for part in text.split("; ") if part not in told] == []
        assert [part for part in re.split("; |`", text) if part.strip() not in page] == []
    assert (gap["location"], gap["cause"]) == ("Mill & Lane", "saturated")
    assert [(found["location"], found["cause"]) for found in status["gaps"]] == [("Mill & Lane", "saturated")]
    assert re.search(r"Mill & Lane [\d :-]+ saturated", page)
