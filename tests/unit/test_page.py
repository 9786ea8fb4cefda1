"""The page as data and as text, made of invented findings."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from html import unescape
from pathlib import Path
from typing import Any

import pytest

from app.audit.findings import HubAudit
from app.base.instants import HOUR
from app.base.readings import Slice
from app.base.redaction import register_secret
from app.health.records import Condition, FeedHealth, Kind, LocationHealth, Trouble
from app.page.coverage import MOST_CELLS, MOST_ROWS
from app.page.gathered import Gathered, GatheredFeed
from app.page.render import render
from app.page.view import MOST_LISTED, FeedView, Share, Verdict, make_view
from app.quality.lateness import DelayCount
from tests.canaries import PASSWORD, forms, shown_in
from tests.findings import (
    BACKUP,
    DAY,
    LIVE,
    LOCATIONS,
    MADE,
    Audited,
    a_feed,
    a_health,
    a_hub,
    a_run,
    runs,
    troubled,
    well,
)

STYLE = (Path(__file__).parents[2] / "app/page/templates/page.css").read_text()


def feed(**fields: Any) -> FeedView:
    return make_view(Gathered(MADE, DAY, [a_feed(**fields)])).feeds[0]


def verdict(*feeds: GatheredFeed) -> Verdict:
    return make_view(Gathered(MADE, DAY, feeds)).verdict


def marked(found: FeedView) -> dict[tuple[str, str], tuple[str, str, str]]:
    """Give the cells that are not complete, by location and column."""
    assert found.heatmap is not None
    return {
        (row.location, column.label): (cell.state, cell.mark, cell.text)
        for row in found.heatmap.rows
        for column, cell in zip(found.heatmap.columns, row.cells, strict=True)
        if cell.state != "complete"
    }


# --- the first screen -------------------------------------------------------------------------------


def test_the_first_screen_says_that_every_reading_arrived() -> None:
    assert make_view(well()).verdict == Verdict(
        "well", "Every reading arrived", "1,920 of 1,920 published readings are at every hub"
    )


def test_the_first_screen_says_how_many_are_missing_at_which_hub_and_where() -> None:
    backup = (
        Audited(BACKUP).lacks("Quay+One", DAY.start, 30, "late").lacks("Mill & Lane", DAY.start, 7, "lost")
    )

    assert verdict(a_feed(audits=[Audited(LIVE).audit(), backup.audit()])) == Verdict(
        "wanting",
        "37 readings missing",
        "1,920 readings were published",
        [
            "people counter, people-live: all 1,920.",
            "people counter, people-backup: 1,883 of 1,920; 37 missing (30 in Quay+One, 7 in Mill & Lane).",
        ],
    )


def test_what_a_run_still_brings_is_no_fault() -> None:
    backup = Audited(BACKUP).lacks("Quay+One", DAY.end - HOUR, 4, "behind", due=False)

    assert verdict(a_feed(audits=[Audited(LIVE).audit(), backup.audit()])) == Verdict(
        "well",
        "Every reading that is due arrived",
        "1,920 readings were published",
        [
            "people counter, people-live: all 1,920.",
            "people counter, people-backup: 1,916 of 1,920; 4 still to come with a run.",
        ],
    )


def test_a_feed_that_fails_now_is_named_though_every_reading_of_the_window_arrived() -> None:
    stopped = Trouble(Kind.STOPPED, "the last run was 2 h ago", None, grave=True)

    found = verdict(a_feed(health=a_health(verdict=Condition.STOPPED, troubles=[stopped])))

    assert (found.state, found.headline) == ("wanting", "Every reading arrived; people counter has stopped")


def test_what_a_hub_should_have_by_now_is_overdue() -> None:
    backup = Audited(BACKUP).lacks("Quay+One", DAY.end - 5 * HOUR, 80, "behind")

    found = verdict(a_feed(audits=[Audited(LIVE).audit(), backup.audit()]))

    assert (found.state, found.headline) == ("wanting", "80 readings overdue")


def test_what_a_hub_has_otherwise_than_published_is_told() -> None:
    backup = (
        Audited(BACKUP).has("repeated", "Quay+One", DAY.start, 2).has("changed", "Quay+One", DAY.start, 1)
    )

    found = verdict(a_feed(audits=[backup.audit()]))

    assert found.headline == "3 readings not as published"
    assert found.lacking == [
        "people counter, people-backup: 1,919 of 1,920; 1 with other content, 2 more than once."
    ]


def test_a_hub_that_could_not_be_read_is_named_and_the_others_are_compared() -> None:
    error = "hub people-backup: the key may not read here; use another"
    refused = HubAudit("people_counter", BACKUP, DAY, error=error)
    people = a_feed(audits=[Audited(LIVE).audit(), refused])
    snapshots = replace(people, title="hourly snapshot", health=a_health(feed="hourly_snapshot"))

    found = make_view(Gathered(MADE, DAY, [people, snapshots]))

    assert found.verdict == Verdict(
        "wanting",
        "Not everything could be compared",
        "3,840 of 3,840 published readings are at every hub that could be compared",
    )
    said = "hub people-backup could not be compared: the key may not read here; use another"
    assert found.problems == [f"people counter and hourly snapshot: {said}"]
    assert [(row.health.name, row.hours is not None) for row in found.feeds[0].hubs] == [
        ("people-live", True),
        ("people-backup", False),
    ]


def test_locations_that_could_not_be_asked_for_are_named_once_for_all_hubs() -> None:
    error = "microshare: 502 for 1 minute; the next run tries again"
    failed = [
        Audited(hub, locations=LOCATIONS[:1]).audit(failures=dict.fromkeys(LOCATIONS[1:], error))
        for hub in (LIVE, BACKUP)
    ]

    found = make_view(Gathered(MADE, DAY, [a_feed(audits=failed)]))

    assert found.problems == [
        f"people counter: Example Beacon House, Mill & Lane and 2 more could not be compared: {error}"
    ]
    heatmap = found.feeds[0].heatmap
    assert heatmap is not None
    assert [row.location for row in heatmap.rows] == ["50% Annex"]


def test_where_nothing_could_be_compared_the_runs_and_the_state_are_still_shown() -> None:
    problem = "microshare: login refused; check MICROSHARE_PASSWORD"

    found = make_view(Gathered(MADE, DAY, [a_feed(audits=[], problems=[problem], runs=runs())]))

    assert found.verdict.headline == "Nothing could be compared"
    assert found.problems == [f"people counter: {problem}"]
    assert found.feeds[0].heatmap is None
    assert found.feeds[0].timeline is not None
    assert [row.health.verdict for row in found.feeds[0].hubs] == ["healthy", "healthy"]


def test_a_feed_without_a_view_is_off_and_says_nothing_of_readings() -> None:
    off = FeedHealth("hourly_snapshot", MADE, Condition.OFF, "it has no view id")

    found = make_view(Gathered(MADE, DAY, [a_feed(), GatheredFeed("hourly snapshot", off)]))

    assert found.verdict.headline == "Every reading arrived"
    assert (found.feeds[1].off, found.feeds[1].said) == (True, "it has no view id")


# --- coverage ---------------------------------------------------------------------------------------


def test_a_cell_says_of_the_worst_hub_how_many_it_lacks() -> None:
    backup = Audited(BACKUP).lacks("Quay+One", DAY.start + 2 * HOUR, 3, "late")
    backup.lacks("Quay+One", DAY.end - HOUR, 9, "behind", due=False)
    live = Audited(LIVE).has("repeated", "Tour Été", DAY.start, 2).has("unknown", "50% Annex", DAY.start, 1)
    live.lacks("Mill & Lane", DAY.start, 16, "before start", due=False)

    assert marked(feed(audits=[live.audit(), backup.audit()])) == {
        ("50% Annex", "12"): (
            "differs",
            "1",
            "16 published; people-live has 1 that the source does not show",
        ),
        ("Mill & Lane", "12"): (
            "excused",
            "16",
            "16 published; people-live does not hold 16 from before its start or retention",
        ),
        ("Quay+One", "11"): ("waiting", "9", "16 published; people-backup has yet to get 9"),
        ("Quay+One", "14"): ("missing", "3", "16 published; people-backup lacks 3"),
        ("Tour Été", "12"): ("differs", "2", "16 published; people-live has 2 more than once"),
    }


def test_an_hour_is_held_against_what_the_location_publishes_as_a_rule() -> None:
    quiet = Audited(LIVE, silent={"Tour Été": Slice(DAY.start, DAY.start + 2 * HOUR)}).audit()
    halved = replace(
        quiet,
        hours=[
            replace(hour, published=12, delivered=12)
            if (hour.location, hour.hour) == ("Quay+One", DAY.start)
            else hour
            for hour in quiet.hours
        ],
    )

    found = feed(audits=[halved])

    assert marked(found) == {
        ("Quay+One", "12"): ("fewer", "-", "12 published, usually 16; at every hub"),
        ("Tour Été", "12"): ("silent", "·", "nothing published, usually 16"),
        ("Tour Été", "13"): ("silent", "·", "nothing published, usually 16"),
    }
    assert found.heatmap is not None
    assert [(row.location, row.usual, row.published, row.delivered) for row in found.heatmap.rows[3:]] == [
        ("Quay+One", 384, 380, 380),
        ("Tour Été", 384, 352, 352),
    ]


def test_an_hour_that_falls_a_little_short_is_as_usual() -> None:
    usual = Audited(LIVE, locations=("Tour Été",)).audit()
    short = replace(usual, hours=[replace(usual.hours[0], published=15, delivered=15), *usual.hours[1:]])

    assert marked(feed(audits=[short], health=a_health(locations=[]))) == {}


def test_a_location_that_is_asked_for_and_never_published_has_a_row() -> None:
    health = a_health(locations=[LocationHealth("Example Shed", Condition.HEALTHY, asked=True)])

    found = feed(audits=[Audited(LIVE, locations=()).audit()], health=health)

    assert set(marked(found).values()) == {("silent", "·", "nothing published")}


def test_an_hour_that_the_window_cuts_is_held_against_nothing() -> None:
    window = Slice(DAY.start, DAY.start + 2.5 * HOUR)
    audit = Audited(LIVE, window, locations=("Tour Été",)).audit()
    cut = replace(audit.hours[-1], hour=DAY.start + 2 * HOUR, published=4, delivered=4)

    found = make_view(
        Gathered(MADE, window, [a_feed(audits=[replace(audit, hours=[*audit.hours, cut])])])
    ).feeds[0]

    assert ("Tour Été", "14") not in marked(found)


@pytest.mark.parametrize(
    ("locations", "window", "step"),
    [
        (5, timedelta(hours=24), timedelta(hours=1)),
        (5, timedelta(days=7), timedelta(hours=1)),
        (100, timedelta(days=7), timedelta(hours=3)),
        (5, timedelta(days=30), timedelta(hours=6)),
        (MOST_ROWS + 50, timedelta(days=30), timedelta(days=1)),
    ],
    ids=["a day", "a week", "many locations", "a month", "more locations than fit"],
)
def test_hours_are_put_together_where_they_would_not_fit(
    locations: int, window: timedelta, step: timedelta
) -> None:
    names = [f"Example House {number:03}" for number in range(locations)]
    whole = Slice(DAY.end - window, DAY.end)
    audit = Audited(LIVE, whole, names).audit()

    found = make_view(Gathered(MADE, whole, [a_feed(health=a_health(locations=[]), audits=[audit])]))

    heatmap = found.feeds[0].heatmap
    assert heatmap is not None
    assert heatmap.step == step
    assert len(heatmap.rows) * len(heatmap.columns) <= MOST_CELLS
    assert sum(row.published for row in heatmap.rows) == len(heatmap.rows) * 16 * (window // HOUR)
    assert heatmap.left_out == max(0, locations - MOST_ROWS)


def test_of_too_many_locations_the_worst_are_shown() -> None:
    names = [f"Example House {number:03}" for number in range(MOST_ROWS + 1)]
    audited = Audited(LIVE, Slice(DAY.start, DAY.start + HOUR), names).lacks(names[-1], DAY.start, 1, "late")

    found = feed(health=a_health(locations=[]), audits=[audited.audit()])

    assert found.heatmap is not None
    assert [row.location for row in found.heatmap.rows] == [names[-1], *names[: MOST_ROWS - 1]]


def test_a_column_of_days_is_named_by_its_month() -> None:
    whole = Slice(DAY.end - timedelta(days=30), DAY.end)
    names = [f"Example House {number:03}" for number in range(MOST_ROWS)]

    found = make_view(Gathered(MADE, whole, [a_feed(audits=[Audited(LIVE, whole, names).audit()])]))

    heatmap = found.feeds[0].heatmap
    assert heatmap is not None
    assert heatmap.groups == [("January 2026", 1), ("February 2026", 28), ("March 2026", 2)]
    assert [column.label for column in heatmap.columns[:3]] == ["31", "1", "2"]


# --- lists ------------------------------------------------------------------------------------------


def test_differences_are_listed_with_their_cause_faults_first() -> None:
    backup = Audited(BACKUP).lacks("Quay+One", DAY.start, 2, "late").lacks("Tour Été", DAY.start, 5, "lost")
    for name in LOCATIONS:
        backup.lacks(name, DAY.end - HOUR, 9, "behind", due=False)

    assert feed(audits=[backup.audit()]).differences.rows == [
        (
            "people-backup",
            "Tour Été",
            5,
            "missing: the hub acknowledged them, and does not hold them",
            DAY.start,
            DAY.start + timedelta(minutes=4),
        ),
        (
            "people-backup",
            "Quay+One",
            2,
            "missing: published after the look-back had passed",
            DAY.start,
            DAY.start + timedelta(minutes=1),
        ),
        (
            "people-backup",
            "50% Annex, Example Beacon House and 3 more",
            45,
            "to come: a run is going to bring them",
            DAY.end - HOUR,
            DAY.end - HOUR + timedelta(minutes=8),
        ),
    ]


def test_long_lists_end_and_say_how_much_they_leave_out() -> None:
    audited = Audited(LIVE)
    for number in range(MOST_LISTED + 3):
        audited.lacks(f"Example House {number:03}", DAY.start, 1, "late")

    found = feed(audits=[audited.audit()]).differences

    assert (len(found.rows), found.more) == (MOST_LISTED, 3)


def test_gaps_quarantine_and_what_is_wrong_are_those_of_the_status() -> None:
    found = make_view(troubled()).feeds[0]

    assert found.gaps.rows == [
        (
            "Quay+One",
            DAY.start + 4 * HOUR,
            DAY.start + 5 * HOUR,
            "missed",
            "people-backup",
            DAY.start + 20 * HOUR,
        )
    ]
    assert [row[:4] for row in found.quarantine.rows] == [
        ("bm90IGEgcmVhZGlu", "Mill & Lane", "people-backup", "1,310,720 bytes, over the hub's 1,048,576")
    ]
    assert list(found.troubles) == [
        Trouble(
            Kind.HUB,
            "50% Annex, Example Beacon House and 3 more: hub people-backup: connection refused",
            "allow outgoing traffic on port 5671, or set EVENT_HUB_TRANSPORT=websockets",
            BACKUP,
            LOCATIONS,
            DAY.end - 3 * HOUR,
            grave=True,
        ),
        Trouble(
            Kind.DRIFT,
            "Tour Été was silent for 3 h, longer than ever before",
            None,
            locations=["Tour Été"],
            since=DAY.start + 2 * HOUR,
        ),
    ]


def test_what_changed_after_delivery_is_listed_with_both_ids() -> None:
    change = {
        "location": "Quay+One",
        "hour": "2026-03-02T08:00:00.000Z",
        "readings": 1,
        "ids": [["AAAAAAAAAAAAAAAA", "AAAAAAAABBBBBBBB"]],
    }

    found = feed(runs=[a_run(DAY.start, {}, changed=[change])])

    assert found.changed.rows == [
        ("Quay+One", DAY.start + 20 * HOUR, 1, "AAAAAAAAAAAAAAAA → AAAAAAAABBBBBBBB")
    ]


# --- delays and runs --------------------------------------------------------------------------------


def test_delays_stand_side_by_side_up_to_the_longest_class_that_any_hub_needs() -> None:
    quick = Audited(LIVE).audit(delays=[DelayCount(60, 10), DelayCount(300, 5)], max_delay_s=200.0)
    slow = Audited(BACKUP).audit(delays=[DelayCount(60, 0), DelayCount(900, 8)], max_delay_s=871.0)

    found = feed(audits=[quick, slow]).delays

    assert found is not None
    assert (found.heads, found.longest) == (["people-live", "people-backup"], ["3 min", "14 min"])
    assert found.rows == [
        ("up to 1 min", [Share(10, 100.0), Share(0, 0.0)]),
        ("up to 5 min", [Share(5, 50.0), Share(0, 0.0)]),
        ("up to 15 min", [Share(0, 0.0), Share(8, 100.0)]),
    ]


def test_the_lateness_of_all_runs_is_added_up() -> None:
    told = {
        "readings": 5,
        "median_s": 200.0,
        "p95_s": 900.0,
        "max_s": 901.0,
        "delays": [{"up_to_s": 300, "readings": 5}],
    }
    later = {**told, "readings": 3, "max_s": 4_000.0, "delays": [{"up_to_s": None, "readings": 3}]}

    found = feed(runs=[a_run(DAY.start, {}, lateness=each) for each in (told, told, None, later)]).lateness

    assert found is not None
    assert [(label, share.count) for label, (share,) in found.rows if share.count] == [
        ("up to 5 min", 10),
        ("more than 7 d", 3),
    ]
    assert found.longest == ["1 h 6 min"]


def test_a_hub_that_was_down_shows_in_its_line_alone() -> None:
    line = feed(runs=runs()).timeline

    assert line is not None
    live, backup = line.hubs
    assert (line.runs, line.failed, line.step) == (88, 12, timedelta(minutes=15))
    assert [(hub.total.readings, hub.total.failed, hub.total.behind_s) for hub in line.hubs] == [
        (1_760, 0, 0.0),
        (1_520, 12, 10_800.0),
    ]
    assert (live.lag.bars, len(backup.lag.bars), len(backup.traffic.failed)) == ([], 12, 12)
    assert backup.lag.top == "3 h"


def test_a_stretch_without_runs_is_told() -> None:
    line = feed(runs=runs()).timeline

    assert line is not None
    assert line.idle == [Slice(DAY.start + 16.75 * HOUR, DAY.start + 19 * HOUR)]


def test_a_forwarder_that_stopped_is_idle_up_to_the_end() -> None:
    line = feed(runs=runs()[:20]).timeline

    assert line is not None
    assert line.idle == [Slice(DAY.start + 4.75 * HOUR, DAY.end)]


def test_runs_of_a_month_become_a_bounded_number_of_bars() -> None:
    month = Slice(DAY.end - timedelta(days=30), DAY.end)

    found = make_view(Gathered(MADE, month, [a_feed(runs=runs(month))])).feeds[0].timeline

    assert found is not None
    assert (found.step, len(found.starts)) == (timedelta(hours=12), 60)
    assert sum(each.readings for each in found.hubs[0].sums) == found.hubs[0].total.readings


def test_a_hub_that_a_run_did_not_know_yet_is_not_counted_in_it() -> None:
    line = feed(runs=[a_run(DAY.start, {LIVE: a_hub(DAY.start)})]).timeline

    assert line is not None
    assert [hub.total.runs for hub in line.hubs] == [1, 0]


def test_what_runs_said_is_told_once_with_how_often() -> None:
    said = feed(runs=runs()).failures

    assert [(told.text, told.runs, told.first, told.last) for told in said] == [
        (
            "hub people-backup: connection refused; allow outgoing traffic on port 5671",
            12,
            DAY.start + 13 * HOUR,
            DAY.start + 15.75 * HOUR,
        )
    ]


# --- the text ---------------------------------------------------------------------------------------


def test_what_comes_from_outside_is_text_and_no_markup() -> None:
    name = "<script>alert(1)</script>"
    health = a_health(said=name, locations=[LocationHealth(name, Condition.HEALTHY, asked=True)])
    hubs = {LIVE: '"><img src=x onerror=alert(1)>'}

    html = render(
        make_view(Gathered(MADE, DAY, [a_feed(hubs=hubs, health=health, audits=[Audited(LIVE).audit()])]))
    )

    assert name not in html
    assert "<img" not in html
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in html


@pytest.mark.parametrize(
    "said",
    ["{}: failed", "failed; look at {}", "failed; `python -m app status {}`", "`{}` failed"],
    ids=["what is wrong", "what to do", "what to type", "what was typed"],
)
def test_what_comes_from_outside_is_text_wherever_a_sentence_has_it(said: str) -> None:
    text = said.format("<img src=x onerror=alert(1)>")
    wrong, _, advice = text.partition("; ")
    trouble = Trouble(Kind.HUB, wrong, advice or text)
    warned = a_run(DAY.start, {LIVE: {}}, warnings=[text])

    found = a_feed(problems=[text], health=a_health(troubles=[trouble], said=text), runs=[warned])
    html = render(make_view(Gathered(MADE, DAY, [found])))

    assert "<img" not in html
    assert html.count("&lt;img src=x onerror=alert(1)&gt;") >= 4


def test_no_secret_and_no_control_character_is_shown() -> None:
    register_secret("obviously-false-page-secret")
    said = "failed with obviously-false-page-secret\x00\x1b[31m\u202e\ud800"

    html = render(make_view(Gathered(MADE, DAY, [a_feed(problems=[said], health=a_health(said=said))])))

    assert "obviously-false-page-secret" not in html
    assert r"\x00\x1b[31m\u202e\ud800" in html
    assert html.encode()


def test_no_secret_is_shown_in_any_form() -> None:
    register_secret(PASSWORD)
    said = f"it said {' '.join(sorted(forms(PASSWORD)))}"

    page = render(make_view(Gathered(MADE, DAY, [a_feed(problems=[said], health=a_health(said=said))])))

    assert "it said ***" in page
    assert shown_in(f"{page} {unescape(page)}", [PASSWORD]) == []


def test_the_page_names_no_other_address() -> None:
    assert re.findall(r"(?i)https?:|//[a-z]|@import|url\((?!#hatch)", render(make_view(troubled()))) == []


def test_the_numbers_of_a_page_with_many_locations_stay_bounded() -> None:
    week = Slice(DAY.end - timedelta(days=7), DAY.end)
    names = [f"Example House {number:03}" for number in range(100)]
    found = a_feed(runs=runs(week), audits=[Audited(LIVE, week, names).audit()])

    assert len(render(make_view(Gathered(MADE, week, [found])))) < 600_000


# --- colours ----------------------------------------------------------------------------------------


def colours(theme: str) -> dict[str, str]:
    """Give the style's variables as they hold in a theme."""
    light, _, dark = STYLE.partition("prefers-color-scheme: dark")
    found = dict(re.findall(r"--([\w-]+): (#\w{6})", light))
    return found if theme == "light" else found | dict(re.findall(r"--([\w-]+): (#\w{6})", dark))


def luminance(colour: str) -> float:
    """Give the relative luminance of WCAG 2."""
    parts = [int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5)]
    linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(one: str, other: str) -> float:
    dark, light = sorted((luminance(one), luminance(other)))
    return (light + 0.05) / (dark + 0.05)


def pairs() -> Iterator[tuple[str, str, float]]:
    """Give what stands on what, and the least contrast that WCAG 2.2 AA asks for: text 4.5, graphics 3."""
    yield from ((text, ground, 4.5) for text in ("ink", "soft", "link", "bad") for ground in ("bg", "panel"))
    for state in ("complete", "fewer", "silent", "waiting", "excused", "differs", "missing"):
        yield f"on-{state}", state, 4.5
    yield from ((mark, "bg", 3.0) for mark in ("complete", "waiting", "missing", "bar", "lag", "edge"))


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize(("front", "ground", "least"), [*pairs()])
def test_colours_tell_apart_in_both_themes(theme: str, front: str, ground: str, least: float) -> None:
    found = colours(theme)

    assert contrast(found[front], found[ground]) >= least
