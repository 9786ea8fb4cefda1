"""The page as a browser shows it: offline, in both themes, on a phone, on paper, by keyboard and ear."""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from datetime import timedelta
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Page

from app.base.readings import Slice
from app.page.gathered import Gathered
from tests.findings import BACKUP, DAY, LIVE, MADE, Audited, a_feed, a_health, runs, troubled, well

Show = Callable[..., Page]

_AXE = Path(__file__).parents[2] / "node_modules" / "axe-core" / "axe.min.js"
_RULES = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]
_CELLS = "#people_counter table.heat td.c"


def many(locations: int = 100) -> Gathered:
    """Give a week of locations with long names, one of which lacks readings."""
    week = Slice(DAY.end - timedelta(days=7), DAY.end)
    names = [f"Example House of a Very Long Name {number:03}" for number in range(locations)]
    backup = Audited(BACKUP, week, names).lacks(names[7], DAY.start, 3, "late")
    return Gathered(
        MADE,
        week,
        [
            a_feed(
                runs=runs(week),
                health=a_health(locations=[]),
                audits=[Audited(LIVE, week, names).audit(), backup.audit()],
            )
        ],
    )


@pytest.fixture(scope="session")
def axe() -> str:
    if not _AXE.exists():
        missing = "axe-core was not found: `make azurite` installs it with npm"
        if os.environ.get("CI") == "true":
            raise FileNotFoundError(missing)
        pytest.skip(missing)
    return _AXE.read_text()


def violations(page: Page, axe: str) -> list[str]:
    # The page's own policy refuses foreign scripts, which a test may be.
    page.evaluate(axe)
    found: dict[str, Any] = page.evaluate("rules => axe.run({runOnly: rules})", _RULES)
    return [
        f"{violation['id']}: {node['html'][:120]}"
        for violation in found["violations"]
        for node in violation["nodes"]
    ]


@pytest.mark.parametrize(
    ("made", "width", "theme"),
    [
        (well, 1280, "light"),
        (troubled, 1280, "light"),
        (troubled, 1280, "dark"),
        (troubled, 375, "light"),
        (troubled, 375, "dark"),
        (partial(many, 8), 1280, "light"),
    ],
    ids=["all well", "at a terminal", "in the dark", "on a phone", "on a phone in the dark", "a week"],
)
def test_nothing_keeps_anybody_from_reading_it(
    show: Show, axe: str, made: Callable[[], Gathered], width: int, theme: str
) -> None:
    page = show(made(), width=width, color_scheme=theme)

    assert violations(page, axe) == []


@pytest.mark.parametrize("made", [well, troubled, many])
@pytest.mark.parametrize("width", [375, 768, 1280])
def test_the_page_itself_never_scrolls_sideways(show: Show, made: Callable[[], Gathered], width: int) -> None:
    page = show(made(), width=width)

    assert page.evaluate("document.documentElement.scrollWidth") == width
    assert page.evaluate("document.body.scrollWidth") <= width


def test_the_first_screen_answers_in_words(show: Show) -> None:
    page = show(troubled(), width=375, height=740)

    assert page.get_by_role("heading", level=2).first.inner_text() == (
        "16 readings missing; people counter is failing"
    )
    box = page.locator(".verdict p").bounding_box()
    assert box is not None
    assert box["y"] + box["height"] < 740


def test_headings_go_down_one_by_one(show: Show) -> None:
    page = show(troubled())
    levels = [
        int(level)
        for level in page.evaluate("[...document.querySelectorAll('h1,h2,h3,h4')].map(h => h.tagName[1])")
    ]

    assert levels[0] == 1
    assert levels.count(1) == 1
    assert all(after - before <= 1 for before, after in pairwise(levels))


def test_it_reads_without_its_script(show: Show) -> None:
    page = show(troubled(), java_script_enabled=False)

    cells = page.locator(_CELLS)
    assert cells.count() == 5 * 24
    assert "lacks 14" in page.locator(f"{_CELLS}.missing").nth(1).inner_text()
    assert page.locator(".detail").first.is_hidden()


def test_arrow_keys_lead_through_the_cells_and_say_each(show: Show) -> None:
    page = show(troubled())
    detail = page.locator("#people_counter .detail")
    page.locator(_CELLS).first.focus()

    for key in ("ArrowDown", "ArrowDown", "ArrowDown", *["ArrowRight"] * 4):
        page.keyboard.press(key)

    assert detail.inner_text() == (
        "Quay+One, 2026-03-01 16:00 to 2026-03-01 17:00: 16 published; people-backup lacks 14"
    )

    page.keyboard.press("Control+End")
    page.keyboard.press("ArrowDown")
    page.keyboard.press("ArrowRight")

    assert detail.inner_text() == (
        "Tour Été, 2026-03-02 11:00 to 2026-03-02 12:00: 16 published; people-backup has yet to get 9"
    )
    assert page.evaluate("document.activeElement.className") == "c waiting"


def test_a_heatmap_is_one_stop_of_the_tab_key(show: Show) -> None:
    page = show(well())

    assert page.locator(f"{_CELLS}[tabindex='0']").count() == 1

    page.locator(_CELLS).nth(30).click()

    assert page.locator(f"{_CELLS}[tabindex='0']").count() == 1
    assert page.evaluate("document.activeElement.tabIndex") == 0


def test_the_cell_that_has_the_focus_is_not_hidden_behind_the_names(show: Show) -> None:
    page = show(many(), width=375)
    page.locator(_CELLS).first.focus()
    page.keyboard.press("End")
    for _ in range(40):
        page.keyboard.press("ArrowLeft")

    cell, name = page.evaluate(
        """() => [document.activeElement, document.activeElement.parentNode.cells[0]]
            .map(each => each.getBoundingClientRect())"""
    )
    assert cell["left"] >= name["right"] - 1


def test_the_first_tab_leads_past_the_head_to_the_report(show: Show) -> None:
    page = show(well())

    page.keyboard.press("Tab")

    link = page.locator(":focus")
    assert link.inner_text() == "Skip to the report"
    box = link.bounding_box()
    assert box is not None
    assert box["x"] >= 0


def test_on_paper_the_whole_heatmap_is_on_the_sheet(show: Show) -> None:
    week = Slice(DAY.end - timedelta(days=7), DAY.end)
    found = a_feed(health=a_health(locations=[]), audits=[Audited(LIVE, week).audit()])
    # An A4 sheet on its side between the margins, in CSS pixels.
    page = show(Gathered(MADE, week, [found]), width=1016, color_scheme="dark")

    page.emulate_media(media="print")

    assert page.evaluate("document.querySelector('table.heat').getBoundingClientRect().right") <= 1016
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
    assert page.locator("nav").is_hidden()


def test_the_page_prints_as_it_is_read(show: Show, tmp_path: Path) -> None:
    page = show(troubled())

    printed = page.pdf(prefer_css_page_size=True)

    sheets = re.findall(rb"/MediaBox \[0 0 ([\d.]+) ([\d.]+)\]", printed)
    assert {(round(float(width)), round(float(height))) for width, height in sheets} == {(842, 595)}
    assert len(sheets) <= 8


def test_charts_have_their_numbers_beside_them(show: Show) -> None:
    page = show(troubled())
    page.get_by_text("The numbers of these charts").first.click()

    rows = page.get_by_role("region", name="Hubs of people counter over time").locator("tbody tr")

    assert rows.count() == 24 * 4
    assert rows.nth(0).inner_text().split() == [
        "2026-03-01", "12:00",
        *("1", "20", "60", "0", "s", "2026-03-01", "12:00"),
        *("1", "20", "60", "0", "s", "2026-03-01", "12:00"),
    ]  # fmt: skip
