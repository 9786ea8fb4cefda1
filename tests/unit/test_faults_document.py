from __future__ import annotations

from tests.faults.document import listed
from tests.faults.matrix import CASES


def test_the_document_lists_exactly_the_cases_there_are() -> None:
    assert listed() == [(case.id, case.name) for case in CASES]


def test_no_two_cases_have_one_name() -> None:
    assert len({case.title for case in CASES}) == len(CASES)
