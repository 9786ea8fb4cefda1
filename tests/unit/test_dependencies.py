"""What is said of the packages that are deployed, and that the list of their licences is of today."""

from __future__ import annotations

import re
from typing import Any

import pytest
from packaging.utils import canonicalize_name

from tools.dependencies import LICENCES, LOCK, verdict
from tools.locks import read_lock

CLEAN = {"name": "click", "version": "8.5.1", "vulns": []}
SKIPPED = {"name": "rich", "skip_reason": "Dependency not found on PyPI"}
FLAW = {"id": "PYSEC-2026-1", "fix_versions": ["2.34.3"], "aliases": [], "description": "…"}
FLAWED = {"name": "requests", "version": "2.34.2", "vulns": [FLAW, FLAW | {"id": "X", "fix_versions": []}]}


@pytest.mark.parametrize(
    ("packages", "status", "lines"),
    [
        pytest.param([CLEAN, CLEAN], 0, ["no known vulnerability in 2 packages"], id="none known"),
        pytest.param(
            [CLEAN, FLAWED, SKIPPED],
            1,
            [
                "requests 2.34.2: PYSEC-2026-1, repaired in 2.34.3",
                "requests 2.34.2: X, repaired in no version yet",
                "2 found; raise the versions in requirements*.txt, and `make lock`",
            ],
            id="some found",
        ),
        pytest.param(
            [CLEAN, SKIPPED],
            2,
            [
                "not known of 1 of 2 packages: Dependency not found on PyPI",
                "no vulnerability was found or ruled out; try again where https://pypi.org can be reached",
            ],
            id="one not looked up",
        ),
    ],
)
def test_a_package_that_was_not_looked_up_is_no_all_clear(
    packages: list[dict[str, Any]], status: int, lines: list[str]
) -> None:
    judged = verdict({"dependencies": packages})

    assert (judged.status, judged.lines) == (status, lines)


def test_an_advisory_service_that_is_not_reached_is_told_apart_from_a_finding() -> None:
    judged = verdict(None, "requests.exceptions.ConnectionError: api.example.test")

    assert judged.status == 2
    assert judged.lines[0] == "not asked: requests.exceptions.ConnectionError: api.example.test"


def test_the_licences_are_of_the_versions_that_are_deployed() -> None:
    rows = re.findall(r"(?m)^\| ([\w.-]+) +\| ([\w.]+) +\| (.+?) +\|$", LICENCES.read_text())
    listed = {str(canonicalize_name(name)): version for name, version, _ in rows}
    # What is locked twice differs by the version of Python; the list is made with one of them.
    locked: dict[str, set[str]] = {}
    for one in read_lock(LOCK.read_text()):
        locked.setdefault(one.name, set()).add(one.version)

    stale = [name for name, versions in locked.items() if listed.get(name) not in versions]
    assert stale == [], "docs/licences.md is stale; run make licences"
    assert all(licence and licence != "UNKNOWN" for *_, licence in rows)
