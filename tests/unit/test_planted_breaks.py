"""The breaks that `make breaks` plants: they fit the code, and some are noticed by their tests at once."""

from __future__ import annotations

import zlib

import pytest

from tests.faults.matrix import CASES
from tools.breaks import BREAKS, PlantedBreak
from tools.planted_breaks import ROOT, check, copies, fits

_SAMPLE = 3


@pytest.mark.parametrize("planted", BREAKS, ids=lambda planted: planted.name)
def test_a_planted_break_still_fits_the_code(planted: PlantedBreak) -> None:
    assert fits(planted)


@pytest.mark.parametrize(
    "planted", [planted for planted in BREAKS if planted.tests], ids=lambda planted: planted.name
)
def test_the_tests_that_must_notice_a_break_are_there(planted: PlantedBreak) -> None:
    for named in planted.tests:
        file, _, test = named.partition("::")
        test, _, case = test.removesuffix("]").partition("[")
        assert not test or f"def {test}(" in (ROOT / file).read_text()
        assert not case or case in {found.title for found in CASES}


def test_no_two_breaks_have_one_name() -> None:
    assert len({planted.name for planted in BREAKS}) == len(BREAKS)


def test_a_few_breaks_are_noticed_by_the_tests_that_are_named_for_them() -> None:
    """Not always the same ones: which they are changes with the list."""
    short = [planted for planted in BREAKS if planted.tests and planted.tests[0].startswith("tests/unit/")]
    sample = sorted(short, key=lambda planted: zlib.crc32(f"{len(BREAKS)} {planted.name}".encode()))[:_SAMPLE]

    with copies(1) as trees:
        found = {planted.name: check(planted, trees).by.partition("[")[0] for planted in sample}

    assert found == {planted.name: planted.tests[0] for planted in sample}
