"""docs/faults.md: the table of cases that stands between its markers."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from app.config import APP_ROOT
from tests.faults.case import Case

DOCUMENT = APP_ROOT / "docs" / "faults.md"
_BEGIN, _END = "<!-- fault cases -->", "<!-- /fault cases -->"
_SECTION = re.compile(f"{_BEGIN}.*?{_END}", re.DOTALL)


def table(cases: Sequence[Case], results: Mapping[str, str], *, minutes: float) -> str:
    """Give the section of a whole run: how many cases, how they stand, and a row a case."""
    green = sum(results[case.title] == "green" for case in cases)
    rows = [f"| {case.id} | {case.name} | {case.expects} | {results[case.title]} |" for case in cases]
    head = ["| # | situation | right behaviour | result |", "|---|---|---|---|"]
    count = f"{len(cases)} cases, {green} green; the whole run took {minutes:.0f} minutes."
    return "\n".join([_BEGIN, "", count, "", *head, *rows, "", _END])


def write(section: str) -> None:
    """Put the section in place of the one that is there; everything else stays."""
    text = DOCUMENT.read_text(encoding="utf-8")
    DOCUMENT.write_text(_SECTION.sub(lambda _: section, text), encoding="utf-8")


def listed() -> list[tuple[str, str]]:
    """Give the id and the situation of each row."""
    found = _SECTION.search(DOCUMENT.read_text(encoding="utf-8"))
    return re.findall(r"(?m)^\| ([A-G]\d+) \| (.+?) \|", found[0]) if found else []
