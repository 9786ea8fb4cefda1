"""Every case of the fault matrix, against the whole forwarder with two hubs."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest
from azure.data.tables import TableServiceClient

from tests.environments.azurite import connection_string
from tests.environments.faulty import staged
from tests.faults import invariants
from tests.faults.case import Case
from tests.faults.matrix import CASES, SHORT


def _parameter(case: Case) -> object:
    marks = [pytest.mark.xfail(strict=True, reason=case.known)] if case.known else []
    if case not in SHORT:
        marks.append(pytest.mark.long)
    return pytest.param(case, id=case.title, marks=marks)


@pytest.mark.timeout(400)
@pytest.mark.parametrize("case", [_parameter(case) for case in CASES])
def test_what_goes_wrong_is_survived(
    case: Case,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    request: pytest.FixtureRequest,
) -> None:
    caplog.set_level(logging.DEBUG)
    # As a process of its own has it: what the SDK tells of frames and errors is nobody's log.
    caplog.set_level(logging.CRITICAL, logger="azure.eventhub")
    with staged(case, tmp_path, monkeypatch) as faulty:
        if case.table:
            port = request.getfixturevalue("azurite_port")
            tables = TableServiceClient.from_connection_string(connection_string(port))
            for table in tables.list_tables():
                tables.delete_table(table.name)
            faulty.use_table(port)
        case.begins(faulty)
        if not case.new:
            healthy = faulty.run_once()
            assert healthy.status == 0, healthy.text
            faulty.pass_time(minutes=15)
        faulty.begin_fault()
        case.inject(faulty)

        outcome = case.act(faulty)

        invariants.check_fault(faulty, outcome)
        case.check(faulty)
        faulty.heal()
        case.heals(faulty)
        faulty.pass_time(minutes=15)
        invariants.check_healed(faulty, faulty.run_once())
        invariants.check_hubs(faulty)
        invariants.check_secrets(faulty, caplog.text)
    lines = [found.getMessage() for found in caplog.records if found.name == "forwarder"]
    invariants.check_log("\n".join(lines))
