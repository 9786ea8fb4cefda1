from __future__ import annotations

import re

from tests.faults.matrix import CASES
from tools import faults_document
from tools.breaks import BREAKS


def test_the_document_lists_exactly_the_cases_there_are() -> None:
    listed = re.findall(r"(?m)^\| ([A-G]\d+) \| (.+?) \|", faults_document.read("fault cases"))

    assert listed == [(case.id, case.name) for case in CASES]


def test_no_two_cases_have_one_name() -> None:
    assert len({case.title for case in CASES}) == len(CASES)


def test_the_document_lists_exactly_the_breaks_there_are_each_with_the_file_that_it_breaks() -> None:
    listed = re.findall(r"(?m)^\| (.+) \(`([^`]+)`\) \|", faults_document.read("planted breaks"))

    assert listed == [(planted.name, planted.file) for planted in BREAKS]
