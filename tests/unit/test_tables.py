"""Tables at a width: what becomes shorter, what folds, and that no key is ever cut."""

from __future__ import annotations

import io

import pytest
from rich.console import Console

from app.base.instants import HOUR, parse_time
from app.base.readings import Slice
from app.cli.output import text
from app.cli.tables import Column, FittedTable, table

NOON = parse_time("2026-03-02T12:00:37Z")
COLUMNS = [
    Column("location", key=True),
    Column("hub", key=True),
    Column("done until (UTC)"),
    Column("lost"),
    Column("readings, about", number=True),
    Column("why"),
]
WHY = "the hub refuses the credentials since the key was renewed"


def _row(location: str, hub: str, why: str | None = WHY) -> list[object]:
    return [location, hub, NOON, Slice(NOON - HOUR, NOON), 1_234, why]


ROWS = [_row("Beacon House", "acme-facilities"), _row("Quay One", "primary")]


def _shown(shown: FittedTable, width: int) -> list[str]:
    console = Console(file=io.StringIO(), width=width, color_system=None)
    with console.capture() as captured:
        console.print(shown)
    return [line.rstrip() for line in captured.get().splitlines()]


def test_where_there_is_room_a_row_is_a_line() -> None:
    columns = [COLUMNS[0], COLUMNS[2], COLUMNS[3], COLUMNS[4]]
    row = ["Beacon House", NOON, Slice(NOON - HOUR, NOON), 1_234]

    assert _shown(table(columns, [row]), 200) == [
        "location      done until (UTC)  lost                                  readings, about",
        "Beacon House  2026-03-02 12:00  2026-03-02 11:00 to 2026-03-02 12:00            1,234",
    ]


def test_the_year_goes_first() -> None:
    head, row, _ = _shown(table(COLUMNS, ROWS), 160)

    assert head.split("  ")[0] == "location"
    assert "  03-02 12:00" in row
    assert row.endswith(WHY)


def test_the_year_stays_where_there_are_two_years() -> None:
    rows = [[f"Beacon House {at:%Y}", at] for at in (NOON, NOON.replace(year=2025))]

    shown = _shown(table([Column("location", key=True), Column("done until (UTC)")], rows), 36)

    assert [line.split("  ")[-1] for line in shown if "-02" in line] == [
        "2026-03-02 12:00",
        "2025-03-02 12:00",
    ]


def test_then_heads_fold_then_texts() -> None:
    columns = [*COLUMNS[:3], *COLUMNS[4:]]
    rows = [[*row[:3], *row[4:]] for row in ROWS]

    assert _shown(table(columns, rows), 80) == [
        "                               done until   readings,",
        "location      hub              (UTC)            about  why",
        "Beacon House  acme-facilities  03-02 12:00      1,234  the hub refuses the",
        "                                                       credentials since the key",
        "                                                       was renewed",
        "Quay One      primary          03-02 12:00      1,234  the hub refuses the",
        "                                                       credentials since the key",
        "                                                       was renewed",
    ]


def test_then_a_row_is_a_block_the_keys_first() -> None:
    columns = [COLUMNS[-1], *COLUMNS[:-1]]
    rows = [[None, *_row("Beacon House", "acme-facilities")[:-1]], [WHY, *_row("Quay One", "primary")[:-1]]]

    assert _shown(table(columns, rows), 60) == [
        "location          Beacon House",
        "hub               acme-facilities",
        "done until (UTC)  03-02 12:00",
        "lost              03-02 11:00 to 03-02 12:00",
        "readings, about   1,234",
        "",
        "location          Quay One",
        "hub               primary",
        "why               the hub refuses the credentials since the",
        "                  key was renewed",
        "done until (UTC)  03-02 12:00",
        "lost              03-02 11:00 to 03-02 12:00",
        "readings, about   1,234",
    ]


@pytest.mark.parametrize("width", range(36, 130, 3))
def test_no_word_of_a_key_is_cut_at_any_width(width: int) -> None:
    keys = ["Main Building (East)", "a, b, acme-facilities-2", "Zk1f3Qm0aB9x"]
    columns = [*(Column(f"key {n}", key=True) for n in range(3)), COLUMNS[2], COLUMNS[4], COLUMNS[5]]

    shown = " ".join(_shown(table(columns, [[*keys, NOON, 5, WHY]]), width))

    assert all(word in shown for key in keys for word in key.split())


def test_names_of_a_list_fold_between_words_only() -> None:
    columns = [Column("location", key=True), Column("hubs", key=True)]
    hubs = "primary, analytics, acme-facilities"

    assert _shown(table(columns, [["Beacon House", hubs]]), 40) == [
        "location      hubs",
        "Beacon House  primary, analytics,",
        "              acme-facilities",
    ]


def test_a_cell_cannot_move_the_cursor_and_keeps_its_style() -> None:
    shown = table([Column("hub", key=True), Column("is")], [["b\n[red]\x1b[2J", text("failing", "red")]])

    assert _shown(shown, 40)[1] == "b\\n[red]\\x1b[2J  failing"


def test_an_optional_column_is_there_where_a_row_has_it() -> None:
    columns = [Column("hub", key=True), Column("never sent", optional=True)]

    assert _shown(table(columns, [["a", None]]), 40) == ["hub", "a"]
    assert _shown(table(columns, [["a", None], ["b", "1 h"]]), 40)[1:] == ["a    -", "b    1 h"]


def test_a_table_without_rows_has_its_heads() -> None:
    assert _shown(table(COLUMNS[:2], []), 40) == ["location  hub"]
