"""Pages of docs/ in which tables are written between marks."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping


def with_tables(page: str, tables: Mapping[str, Iterable[str]]) -> str:
    """Give the page with the lines of each table between the marks of its name."""
    for name, lines in tables.items():
        begin, end = f"<!-- {name}: made by make bench -->", f"<!-- /{name} -->"
        table = "\n".join([begin, "", *lines, "", end])
        page = re.sub(f"{begin}.*?{end}", lambda _, table=table: table, page, flags=re.DOTALL)  # type: ignore[misc]
    return page
