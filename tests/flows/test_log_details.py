"""What LOG_LEVEL=DEBUG shows of a run besides: each request, batch and save, and never a body."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest

from app.base.instants import MILLISECOND, format_time
from app.base.log import LOGGER_NAME, configure_logging
from emulators.estate import PEOPLE
from tests.environments.installation import START, Installation, bodies

BACK = timedelta(hours=2)
DETAILS = ("request.made", "batch.delivered", "state.saved")


@pytest.fixture
def log(caplog: pytest.LogCaptureFixture, installation: Installation) -> Iterator[pytest.LogCaptureFixture]:
    installation.environ["START_FROM"] = "2h"
    configure_logging("DEBUG", to_stderr=False)
    yield caplog
    configure_logging("INFO", to_stderr=False)


def said(log: pytest.LogCaptureFixture, event: str) -> list[dict[str, Any]]:
    lines = [json.loads(record.getMessage()) for record in log.records if record.name == LOGGER_NAME]
    return [line for line in lines if line["event"] == event]


def test_each_request_says_what_was_asked_for_and_what_came(
    installation: Installation, log: pytest.LogCaptureFixture
) -> None:
    report = installation.run()

    login, *others = said(log, "request.made")
    discovered, queries = others[:2], others[2:]
    assert len(queries) + 3 == report.api_calls
    assert (login["login"], login["status"]) == ("web", 303)
    assert [(line["cluster"], line["status"]) for line in discovered] == [
        (cluster, 200) for cluster in installation.settings().feeds["people_counter"].cluster_ids
    ]
    assert {(line["view"], line["status"], line["run"]) for line in queries} == {
        (PEOPLE.view_id, 200, report.run)
    }
    assert sorted(line["location"] for line in queries) == sorted(installation.state().locations)
    assert {(line["from"], line["to"]) for line in queries} == {
        (format_time(START - BACK), format_time(START - MILLISECOND))
    }
    assert sum(line["readings"] for line in queries) == len(installation.published(START - BACK)) > 0
    assert all(type(line["ms"]) is int and line["ms"] >= 0 for line in (login, *others))
    assert {record.threadName for record in log.records if record.name == LOGGER_NAME} == {"MainThread"}


def test_each_batch_and_each_save_is_told_and_no_body_or_secret(
    installation: Installation, log: pytest.LogCaptureFixture
) -> None:
    report = installation.run()

    batches, saves = said(log, "batch.delivered"), said(log, "state.saved")
    for key, hub in report.hubs.items():
        of_hub = [line for line in batches if line["hub"] == key]
        assert sum(line["readings"] for line in of_hub) == hub.readings > 0
        assert sum(line["bytes"] for line in of_hub) == hub.bytes
        assert all(line["ms"] >= 0 and line["location"] for line in of_hub)
    assert saves[0]["locations"] == report.locations
    assert all(line["ms"] >= 0 for line in saves)
    told = json.dumps([*said(log, "request.made"), *batches, *saves])
    secrets = (installation.settings().microshare.password, "SharedAccessKey")
    names = {name for body in bodies(installation.a.received()) for name in body}
    assert [text for text in (*secrets, *names - {"time"}) if text in told] == []


def test_a_request_that_fails_is_told_with_its_status_or_why_there_is_none(
    installation: Installation, log: pytest.LogCaptureFixture
) -> None:
    installation.overrides["attempts"] = 1
    installation.source.faults.status(503, times=1, location="Quay+One")
    installation.source.faults.reset(times=1, location="Tour Été")

    installation.run()

    queries = {line["location"]: line for line in said(log, "request.made") if "view" in line}
    assert queries["Quay+One"]["status"] == 503
    assert "readings" not in queries["Quay+One"]
    assert "status" not in queries["Tour Été"]
    assert "connection to 127.0.0.1" in queries["Tour Été"]["error"]


def test_at_other_levels_nothing_of_it_is_told(
    installation: Installation, log: pytest.LogCaptureFixture
) -> None:
    configure_logging("INFO", to_stderr=False)

    installation.run()

    assert said(log, "run.finished")
    assert [line for event in DETAILS for line in said(log, event)] == []
