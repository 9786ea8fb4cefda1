"""The page as a browser shows it: offline, in both themes, on a phone, on paper, by keyboard and ear."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import timedelta
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Page

from app.base.readings import Slice
from app.health.past_runs import past_run
from app.page.comparison import compared
from app.page.gathered import Gathered
from tests.findings import BACKUP, DAY, LIVE, MADE, Audited, a_feed, a_health, runs, troubled, well

Show = Callable[..., Page]

_AXE = Path(__file__).parents[2] / "node_modules" / "axe-core" / "axe.min.js"
_RULES = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]
# Those that a theme can break, which changes colours alone.
_RULES_OF_COLOURS = ["color-contrast", "link-in-text-block"]
_CELLS = "#people_counter table.heat td.c"


def many(locations: int = 100) -> Gathered:
    """Give a week of locations with long names, one of which lacks readings."""
    week = Slice(DAY.end - timedelta(days=7), DAY.end)
    names = [f"Example House of a Very Long Name {number:03}" for number in range(locations)]
    backup = Audited(BACKUP, week, names).lacks(names[-1], DAY.start, 3, "late")
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


def violations(page: Page, axe: str, rules: Sequence[str] = _RULES) -> list[str]:
    # The page's own policy refuses foreign scripts, which a test may be.
    page.evaluate(axe)
    found: dict[str, Any] = page.evaluate("rules => axe.run({runOnly: rules})", rules)
    return [
        f"{violation['id']}: {node['html'][:120]}"
        for violation in found["violations"]
        for node in violation["nodes"]
    ]


@pytest.mark.parametrize("made", [well, partial(many, 2)], ids=["all well", "a week"])
def test_nothing_keeps_anybody_from_reading_it(show: Show, axe: str, made: Callable[[], Gathered]) -> None:
    assert violations(show(made()), axe) == []


@pytest.mark.parametrize("width", [1280, 375], ids=["at a terminal", "on a phone"])
def test_nothing_keeps_anybody_from_reading_of_trouble_in_the_light_or_dark(
    show: Show, axe: str, width: int
) -> None:
    page = show(troubled(), width=width)
    in_the_light = page.evaluate("getComputedStyle(document.body).backgroundColor")

    assert violations(page, axe) == []

    page.emulate_media(color_scheme="dark")

    assert page.evaluate("getComputedStyle(document.body).backgroundColor") != in_the_light
    assert violations(page, axe, _RULES_OF_COLOURS) == []


@pytest.mark.parametrize("made", [well, troubled, many])
def test_the_page_itself_never_scrolls_sideways(show: Show, made: Callable[[], Gathered]) -> None:
    page = show(made(), width=375)

    for width in (375, 768, 1280):
        page.set_viewport_size({"width": width, "height": 800})

        assert page.evaluate("document.documentElement.scrollWidth") == width
        assert page.evaluate("document.body.scrollWidth") <= width


def test_the_first_screen_answers_in_words(show: Show) -> None:
    page = show(troubled(), width=375, height=740)

    assert page.get_by_role("heading", level=2).first.inner_text() == (
        "16 readings missing; people-counter is failing"
    )
    box = page.locator(".verdict p").first.bounding_box()
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
    page.locator(f"{_CELLS}[tabindex='0']").focus()

    for key in ("Control+Home", "ArrowDown", "ArrowDown", "ArrowDown", *["ArrowRight"] * 4):
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
    page = show(many(1), width=375)
    page.locator(_CELLS).first.focus()
    page.keyboard.press("End")
    between = """() => document.activeElement.getBoundingClientRect().left
        - document.activeElement.parentNode.cells[0].getBoundingClientRect().right"""

    for _ in range(40):
        page.keyboard.press("ArrowLeft")

        assert page.evaluate(between) >= -1


def test_the_first_tab_leads_past_the_head_to_the_report(show: Show) -> None:
    page = show(well())

    page.keyboard.press("Tab")

    link = page.locator(":focus")
    assert link.inner_text() == "Skip to the report"
    box = link.bounding_box()
    assert box is not None
    assert box["x"] >= 0


def test_a_heatmap_opens_at_its_newest_end_and_shows_that_there_is_more(show: Show) -> None:
    page = show(many(8))
    edge = page.locator(".edge", has=page.locator("table.heat"))
    scroll = edge.locator(".scroll")

    left = "each => each.scrollWidth - each.clientWidth - each.scrollLeft"
    assert scroll.evaluate(left) <= 1
    assert edge.get_attribute("class") == "edge more-before"
    assert page.get_by_text("There is more to the left").is_visible()

    scroll.evaluate("each => { each.scrollLeft = 0 }")
    page.wait_for_function("document.querySelector('.edge:has(.heat)').matches('.more-after')")

    assert edge.get_attribute("class") == "edge more-after"
    assert page.get_by_text("There is more to the left").is_hidden()


def test_a_heatmap_that_fits_has_no_sign_of_more(show: Show) -> None:
    page = show(well())

    assert page.locator(".edge", has=page.locator("table.heat")).get_attribute("class") == "edge"


def test_whoever_has_no_pointer_is_told_to_tap(show: Show) -> None:
    detail = show(well(), width=390).locator(".detail")
    assert detail.inner_text() == "Tap a cell to read it here."

    detail = show(well(), width=1280).locator(".detail")
    assert detail.inner_text() == "Point at a cell, or go there with the arrow keys, to read it here."


def test_a_week_of_two_feeds_is_not_long(show: Show) -> None:
    """Both feeds with trouble, some locations, and each list with something in it."""
    week = Slice(DAY.end - timedelta(days=7), DAY.end)
    feeds = [replace(feed, runs=[past_run(run) for run in runs(week)]) for feed in troubled().feeds]
    of_week = [
        {audit.hub: compared(audit) for audit in (Audited(hub, week).audit() for hub in (LIVE, BACKUP))}
        for _ in feeds
    ]
    page = show(
        Gathered(
            MADE,
            week,
            [replace(feed, comparisons=each) for feed, each in zip(feeds, of_week, strict=True)],
        )
    )

    assert page.locator(_CELLS).count() == 5 * 168
    assert page.evaluate("document.documentElement.scrollHeight") < 6_000


def test_on_paper_is_what_was_opened_and_no_more(show: Show) -> None:
    page = show(troubled())
    opened = page.get_by_text("The numbers of each location")
    folded = page.get_by_text("The numbers of these charts")
    opened.first.click()

    page.emulate_media(media="print")

    assert (opened.first.is_visible(), folded.first.is_visible()) == (True, False)
    assert page.get_by_role("region", name="What the hubs have of people-counter by location").is_visible()


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

    rows = page.get_by_role("region", name="Hubs of people-counter over time").locator("tbody tr")

    assert rows.count() == 24 * 4
    assert rows.nth(0).inner_text().split() == [
        "2026-03-01", "12:00",
        *("1", "20", "60", "0", "s", "2026-03-01", "12:00"),
        *("1", "20", "60", "0", "s", "2026-03-01", "12:00"),
    ]  # fmt: skip
