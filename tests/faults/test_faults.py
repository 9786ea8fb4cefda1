"""Every case of the fault matrix, against the whole forwarder with two hubs."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest
from azure.data.tables import TableServiceClient

from tests.azurite import connection_string
from tests.faults import invariants
from tests.faults.case import Case
from tests.faults.matrix import CASES, SHORT
from tests.faults.scene import staged


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
    with staged(case, tmp_path, monkeypatch) as scene:
        if case.table:
            port = request.getfixturevalue("azurite_port")
            tables = TableServiceClient.from_connection_string(connection_string(port))
            for table in tables.list_tables():
                tables.delete_table(table.name)
            scene.use_table(port)
        case.begins(scene)
        if not case.new:
            healthy = scene.run_once()
            assert healthy.status == 0, healthy.text
            scene.pass_time(minutes=15)
        scene.begin_fault()
        case.inject(scene)

        outcome = case.act(scene)

        invariants.check_fault(scene, outcome)
        case.check(scene)
        scene.heal()
        case.heals(scene)
        scene.pass_time(minutes=15)
        invariants.check_healed(scene, scene.run_once())
        invariants.check_hubs(scene)
        invariants.check_secrets(scene, caplog.text)
    lines = [found.getMessage() for found in caplog.records if found.name == "forwarder"]
    invariants.check_log("\n".join(lines))
