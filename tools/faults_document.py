"""docs/faults.md: what the long forms of the tests found, each between markers of its name."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from app.base.program import APP_ROOT

DOCUMENT = APP_ROOT / "docs" / "faults.md"


def read(name: str) -> str:
    """Give the section between the markers of a name."""
    found = _between(name).search(DOCUMENT.read_text(encoding="utf-8"))
    assert found, f"docs/faults.md: no markers <!-- {name} -->"
    return found[1]


def write(name: str, section: str) -> None:
    """Put the section in place of the one between its markers; everything else stays."""
    read(name)
    text = DOCUMENT.read_text(encoding="utf-8")
    begin, end = _markers(name)
    whole = f"{begin}\n\n{section}\n\n{end}"
    DOCUMENT.write_text(_between(name).sub(lambda _: whole, text), encoding="utf-8")


def table(head: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """Give a table in Markdown; a bar in a cell would end it, and becomes a slash."""
    lines = [head, ("---",) * len(head), *rows]
    return "\n".join(f"| {' | '.join(str(cell).replace('|', '/') for cell in line)} |" for line in lines)


def rows(section: str) -> list[tuple[str, ...]]:
    """Give the cells of the rows of a section's table, without its head."""
    lines = [line for line in section.splitlines() if line.startswith("| ")]
    return [tuple(line.removeprefix("| ").removesuffix(" |").split(" | ")) for line in lines[2:]]


def _markers(name: str) -> tuple[str, str]:
    return f"<!-- {name} -->", f"<!-- /{name} -->"


def _between(name: str) -> re.Pattern[str]:
    begin, end = _markers(name)
    return re.compile(f"{re.escape(begin)}(.*?){re.escape(end)}", re.DOTALL)
