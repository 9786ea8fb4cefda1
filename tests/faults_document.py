"""docs/faults.md: the results of killed runs, each between markers of its name."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from app.config import APP_ROOT

DOCUMENT = APP_ROOT / "docs" / "faults.md"


def write(name: str, section: str) -> None:
    """Put the section in place of the one between its markers; everything else stays."""
    begin, end = f"<!-- {name} -->", f"<!-- /{name} -->"
    text = DOCUMENT.read_text(encoding="utf-8")
    between = re.compile(f"{re.escape(begin)}.*?{re.escape(end)}", re.DOTALL)
    assert between.search(text), f"docs/faults.md: no markers {begin}"
    DOCUMENT.write_text(between.sub(lambda _: f"{begin}\n\n{section}\n\n{end}", text), encoding="utf-8")


def table(head: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    lines = [head, ("---",) * len(head), *rows]
    return "\n".join(f"| {' | '.join(map(str, line))} |" for line in lines)
