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
from app.audit.summary import COLUMNS
from app.base.instants import HOUR, MINUTE
from app.base.readings import JsonObject, Slice
from app.base.redaction import register_secret
from app.health.records import Condition, FeedHealth, HubHealth, Kind, LocationHealth, Trouble
from app.page.coverage import MOST_CELLS, MOST_ROWS, Cell
from app.page.gathered import Gathered, GatheredFeed
from app.page.render import render
from app.page.told import TroubleRow
from app.page.verdict import Verdict
from app.page.view import MOST_LISTED, FeedView, Share, Unread, make_view
from app.quality.lateness import DelayCount
from app.run.report import NO_STATE
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


def feed_of(found: GatheredFeed) -> FeedView:
    return make_view(Gathered(MADE, DAY, [found])).feeds[0]


def cells_of(found: FeedView) -> Iterator[tuple[str, str, Cell]]:
    """Give each cell with its location and the label of its column."""
    assert found.heatmap is not None
    for row in found.heatmap.rows:
        for column, cell in zip(found.heatmap.columns, row.cells, strict=True):
            yield row.location, column.label, cell


def verdict(*feeds: GatheredFeed) -> Verdict:
    return make_view(Gathered(MADE, DAY, feeds)).verdict


def marked(found: FeedView) -> dict[tuple[str, str], tuple[str, str, str]]:
    """Give the cells that are not complete, by location and column."""
    return {
        (location, label): (cell.state, cell.mark, cell.text)
        for location, label, cell in cells_of(found)
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

    where = "(30 in Quay+One, 7 in Mill & Lane)"
    assert verdict(a_feed(audits=[Audited(LIVE).audit(), backup.audit()])) == Verdict(
        "wrong",
        "37 readings missing",
        "1,920 readings were published",
        [
            f"people-counter: 37 readings missing, each counted once: 37 at people-backup {where}.",
            "people-counter at people-live: all 1,920.",
            "people-counter at people-backup: 1,883 of 1,920; 37 missing.",
        ],
    )


def test_what_a_run_still_brings_is_no_fault() -> None:
    backup = Audited(BACKUP).lacks("Quay+One", DAY.end - HOUR, 4, "behind", due=False)

    assert verdict(a_feed(audits=[Audited(LIVE).audit(), backup.audit()])) == Verdict(
        "well",
        "Every reading that is due arrived",
        "1,920 readings were published",
        [
            "people-counter at people-live: all 1,920.",
            "people-counter at people-backup: 1,916 of 1,920; 4 still to come.",
        ],
    )


def test_a_feed_that_fails_now_is_named_though_every_reading_of_the_window_arrived() -> None:
    stopped = Trouble(Kind.STOPPED, "the last run was 2 h ago", None, grave=True)

    found = verdict(a_feed(health=a_health(verdict=Condition.STOPPED, troubles=[stopped])))

    assert (found.state, found.headline) == ("wrong", "Every reading arrived; people-counter has stopped")


def test_what_a_hub_should_have_by_now_is_overdue() -> None:
    backup = Audited(BACKUP).lacks("Quay+One", DAY.end - 5 * HOUR, 80, "behind")

    found = verdict(a_feed(audits=[Audited(LIVE).audit(), backup.audit()]))

    assert (found.state, found.headline) == ("wrong", "80 readings overdue")


def test_what_a_hub_has_otherwise_than_published_is_told() -> None:
    backup = (
        Audited(BACKUP).has("repeated", "Quay+One", DAY.start, 2).has("changed", "Quay+One", DAY.start, 1)
    )

    found = verdict(a_feed(audits=[backup.audit()]))

    assert found.headline == "1 reading with other content"
    assert found.lacking == [
        "people-counter at people-backup: 1,919 of 1,920; 1 with other content, 2 more than once."
    ]


def test_a_reading_that_two_hubs_lack_is_one_reading() -> None:
    """It is counted once, and named with both; where a hub alone lacks one that is said as that."""
    live = Audited(LIVE).lacks("Quay+One", DAY.start, 3, "late")
    backup = Audited(BACKUP).lacks("Quay+One", DAY.start, 5, "late").lacks("Tour Été", DAY.start, 1, "lost")

    found = make_view(Gathered(MADE, DAY, [a_feed(audits=[live.audit(), backup.audit()])]))

    assert found.verdict.headline == "6 readings missing"
    assert found.verdict.lacking[0] == (
        "people-counter: 6 readings missing, each counted once: 3 at people-live and people-backup, "
        "3 at people-backup (5 in Quay+One, 1 in Tour Été)."
    )
    assert [row[:4] for row in found.feeds[0].differences.rows] == [
        ("Tour Été", 1, "missing: acknowledged by the hub, and not there", "people-backup"),
        ("Quay+One", 3, "missing: published after the look-back", "people-live, people-backup"),
        ("Quay+One", 2, "missing: published after the look-back", "people-backup"),
    ]


def test_the_numbers_of_a_row_add_up_to_what_was_published() -> None:
    """What is from before a hub's start has a column; what is there more than once is delivered, too."""
    live = Audited(LIVE).lacks("Quay+One", DAY.start, 16, "before start", due=False)
    live.lacks("Quay+One", DAY.start + HOUR, 2, "lost").lacks(
        "Tour Été", DAY.end - HOUR, 4, "behind", due=False
    )
    live.lacks("Tour Été", DAY.start, 3, "retention").has("changed", "Mill & Lane", DAY.start, 1)
    live.has("repeated", "Mill & Lane", DAY.start + HOUR, 2).has("unknown", "50% Annex", DAY.start, 5)

    found = feed(audits=[live.audit()])

    hours = found.hubs[0].hours
    assert hours is not None
    shown = {column.head: getattr(hours, column.name) for column in found.columns}
    assert shown == {
        "Published": 1_920,
        "Delivered": 1_894,
        "Missing": 2,
        "Expired": 3,
        "Other content": 1,
        "To come": 4,
        "Before start": 16,
        "More than once": 2,
        "Not published": 5,
    }
    assert sum([*shown.values()][1:7]) == shown["Published"]
    assert found.sum == (
        "Published is delivered + missing + expired + other content + to come + before start; what is more "
        "than once and not published is counted separately."
    )


def test_the_columns_are_those_of_an_audit() -> None:
    audited = Audited(LIVE)
    for cause in ("lost", "retention", "behind", "before start"):
        audited.lacks("Quay+One", DAY.start, 1, cause)
    audited.lacks("Quay+One", DAY.start, 1, "quarantined", due=False)
    for heading in ("changed", "repeated", "unknown"):
        audited.has(heading, "Tour Été", DAY.start, 1)

    found = feed(audits=[audited.audit()])

    assert [column.head.lower() for column in found.columns] == ["published", *COLUMNS]


def test_a_window_without_readings_proves_nothing() -> None:
    found = verdict(a_feed(audits=[Audited(LIVE, locations=()).audit()]))

    assert (found.state, found.headline) == ("nothing", "Nothing to compare: no readings in this window")


REFUSED = "hub people-backup: unauthorized-access: no such token here; use a key with the Listen right"


def without_backup(*more: HubAudit, **fields: Any) -> GatheredFeed:
    """Give a feed of which the second hub could not be read."""
    refused = HubAudit("people_counter", BACKUP, DAY, error=REFUSED)
    return a_feed(audits=[*(more or [Audited(LIVE).audit()]), refused], **fields)


def test_a_hub_that_could_not_be_read_is_named_and_the_others_are_compared() -> None:
    people = without_backup()
    snapshots = replace(people, name="hourly-snapshot", health=a_health(feed="hourly_snapshot"))

    found = make_view(Gathered(MADE, DAY, [people, snapshots]))

    assert found.verdict == Verdict(
        "wrong",
        "Hub people-backup could not be compared",
        "3,840 of 3,840 published readings that could be compared are at people-live",
    )
    assert list(found.unread) == [
        Unread(
            "people-counter and hourly-snapshot: hub people-backup could not be compared: refuses the "
            "credentials",
            "use a key with the Listen right",
            [REFUSED],
        )
    ]
    assert [(row.health.name, row.hours is not None, row.why) for row in found.feeds[0].hubs] == [
        ("people-live", True, "not compared"),
        ("people-backup", False, "not compared: it could not be read"),
    ]


def test_an_hour_of_which_a_hub_could_not_be_read_is_not_compared() -> None:
    """It is no hour in which all is well; where another hub lacks readings, that is worse."""
    live = Audited(LIVE, silent={"Tour Été": Slice(DAY.start, DAY.start + HOUR)})
    live.lacks("Quay+One", DAY.start, 2, "lost")

    found = feed_of(without_backup(live.audit()))

    assert found.heatmap is not None
    cells = {row.location: row.cells for row in found.heatmap.rows}
    assert {cell.state for cell in cells["Mill & Lane"]} == {"unread"}
    assert cells["Mill & Lane"][0].text == (
        "16 published; at people-live; not compared: people-backup could not be read"
    )
    assert [cells[name][0].state for name in ("Quay+One", "Tour Été")] == ["missing", "silent"]
    assert ("unread", "/", "not compared: people-backup could not be read") in found.heatmap.legend


@pytest.mark.parametrize(
    "made",
    [
        without_backup(),
        a_feed(
            audits=[
                Audited(hub, locations=LOCATIONS[1:]).audit(failures={LOCATIONS[0]: "microshare: 500"})
                for hub in (LIVE, BACKUP)
            ]
        ),
        a_feed(
            audits=[Audited(LIVE).audit()],
            health=a_health(
                hubs={
                    LIVE: HubHealth("people-live", Condition.HEALTHY),
                    BACKUP: HubHealth("people-backup", Condition.PAUSED),
                }
            ),
        ),
        a_feed(audits=[Audited(LIVE).audit()], hubs={LIVE: "people-live"}, all_hubs=False),
        a_feed(audits=[Audited(hub, Slice(DAY.start, DAY.end - 2 * HOUR)).audit() for hub in (LIVE, BACKUP)]),
    ],
    ids=[
        "a hub that fails",
        "a location that fails",
        "a hub that is paused",
        "a hub alone",
        "hours not asked",
    ],
)
def test_a_page_that_is_not_of_every_hub_location_and_hour_says_so_nowhere(made: GatheredFeed) -> None:
    assert "at every hub" not in render(make_view(Gathered(MADE, DAY, [made])))


def test_a_page_of_all_that_there_is_says_so() -> None:
    assert "published as usual, at every hub" in render(make_view(Gathered(MADE, DAY, [a_feed()])))


def test_a_paused_hub_is_named_and_is_no_fault() -> None:
    hubs = {
        LIVE: HubHealth("people-live", Condition.HEALTHY),
        BACKUP: HubHealth("people-backup", Condition.PAUSED),
    }

    found = make_view(
        Gathered(MADE, DAY, [a_feed(audits=[Audited(LIVE).audit()], health=a_health(hubs=hubs))])
    )

    assert found.verdict == Verdict(
        "well",
        "Every reading arrived",
        "1,920 of 1,920 published readings are at people-live",
        aside=("hub people-backup: it is paused",),
    )
    assert {cell.text for _, _, cell in cells_of(found.feeds[0])} == {
        "16 published; at people-live; not compared: people-backup is paused"
    }


def test_hours_for_which_the_source_was_not_asked_are_not_compared() -> None:
    """An audit ends where the earlier of two clocks stands: what comes after is not known to be silent."""
    short = Slice(DAY.start, DAY.end - 2 * HOUR)

    found = feed(audits=[Audited(hub, short).audit() for hub in (LIVE, BACKUP)])

    assert {
        (label, cell.state, cell.text) for _, label, cell in cells_of(found) if cell.state != "complete"
    } == {(label, "unread", "not compared: the source was not asked for this time") for label in ("10", "11")}


def test_locations_that_could_not_be_asked_for_are_named_once_for_all_hubs() -> None:
    errors = {
        name: f"microshare: query of view 0a for {name!r}, 2026-03-01T12:00:00.000Z to "
        "2026-03-01T23:59:59.999Z: 502; the next run tries again"
        for name in LOCATIONS[1:]
    }
    failed = [Audited(hub, locations=LOCATIONS[:1]).audit(failures=errors) for hub in (LIVE, BACKUP)]

    found = make_view(Gathered(MADE, DAY, [a_feed(audits=failed)]))

    names = "Example Beacon House, Mill & Lane and 2 more"
    assert [(unread.said, unread.do) for unread in found.unread] == [
        (
            f"people-counter: {names} could not be compared: the API answers with 502",
            "the next run tries again",
        )
    ]
    assert found.verdict.headline == f"{names} could not be compared"
    heatmap = found.feeds[0].heatmap
    assert heatmap is not None
    assert [(row.location, row.published, row.state) for row in heatmap.rows] == [
        ("50% Annex", 384, "complete"),
        *((name, None, "unread") for name in LOCATIONS[1:]),
    ]
    assert heatmap.rows[1].cells[0].text == "not compared: the source could not be asked for it"


def test_where_nothing_could_be_compared_the_runs_and_the_state_are_still_shown() -> None:
    problem = "microshare: login refused for user x; check MICROSHARE_PASSWORD"

    found = make_view(Gathered(MADE, DAY, [a_feed(audits=[], problems=[problem], runs=runs())]))

    assert found.verdict.headline == "Nothing could be compared"
    assert list(found.unread) == [
        Unread("people-counter: the API refuses the login", "check MICROSHARE_PASSWORD", [problem])
    ]
    assert found.feeds[0].heatmap is None
    assert found.feeds[0].timeline is not None
    assert [row.health.verdict for row in found.feeds[0].hubs] == ["healthy", "healthy"]


def test_a_feed_without_a_view_is_off_and_says_nothing_of_readings() -> None:
    off = FeedHealth("hourly_snapshot", MADE, Condition.OFF, "it has no view id")

    found = make_view(Gathered(MADE, DAY, [a_feed(), GatheredFeed("hourly-snapshot", off)]))

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
            "×",
            "16 published; people-live lacks 16 from before its start",
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
        ("Quay+One", "12"): ("fewer", "-", "12 published, usually 16; at people-live"),
        ("Tour Été", "12"): ("silent", "·", "nothing published, usually 16"),
        ("Tour Été", "13"): ("silent", "·", "nothing published, usually 16"),
    }
    assert found.heatmap is not None
    assert [(row.location, row.published) for row in found.heatmap.rows[3:]] == [
        ("Quay+One", 380),
        ("Tour Été", 352),
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
        (MOST_ROWS + 1, timedelta(days=30), timedelta(days=1)),
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
    assert sum(row.published or 0 for row in heatmap.rows) == len(heatmap.rows) * 16 * (window // HOUR)
    assert heatmap.left_out == max(0, locations - MOST_ROWS)


def test_of_too_many_locations_the_worst_are_shown() -> None:
    names = [f"Example House {number:03}" for number in range(MOST_ROWS + 1)]
    audited = Audited(LIVE, Slice(DAY.start, DAY.start + HOUR), names).lacks(names[-1], DAY.start, 1, "late")

    found = feed(health=a_health(locations=[]), audits=[audited.audit()])

    assert found.heatmap is not None
    assert [row.location for row in found.heatmap.rows] == [names[-1], *names[: MOST_ROWS - 1]]


def test_a_column_of_days_is_named_by_its_month() -> None:
    whole = Slice(DAY.end - timedelta(days=30), DAY.end)
    # One more than half days would fit for.
    names = [f"Example House {number:03}" for number in range(MOST_CELLS // 60 + 1)]

    found = make_view(Gathered(MADE, whole, [a_feed(audits=[Audited(LIVE, whole, names).audit()])]))

    heatmap = found.feeds[0].heatmap
    assert heatmap is not None
    assert heatmap.groups == [("January 2026", 1), ("February 2026", 28), ("March 2026", 2)]
    assert [column.label for column in heatmap.columns[:3]] == ["31", "1", "2"]


# --- lists ------------------------------------------------------------------------------------------


def test_a_reading_without_a_time_is_listed_as_that_and_not_at_the_hour_it_was_found_in() -> None:
    lacking = Audited(LIVE).lacks(LOCATIONS[0], DAY.start, 2, "quarantined")
    lacking.missing[1] = replace(lacking.missing[1], written=None)

    rows = feed(audits=[lacking.audit()]).differences.rows

    assert [(row[1], row[4]) for row in rows] == [(1, Slice(DAY.start, DAY.start)), (1, "no time")]


def test_differences_are_listed_with_their_cause_faults_first() -> None:
    backup = Audited(BACKUP).lacks("Quay+One", DAY.start, 2, "late").lacks("Tour Été", DAY.start, 5, "lost")
    for name in LOCATIONS:
        backup.lacks(name, DAY.end - HOUR, 9, "behind", due=False)

    assert feed(audits=[backup.audit()]).differences.rows == [
        (
            "Tour Été",
            5,
            "missing: acknowledged by the hub, and not there",
            "people-backup",
            Slice(DAY.start, DAY.start + timedelta(minutes=4)),
        ),
        (
            "Quay+One",
            2,
            "missing: published after the look-back",
            "people-backup",
            Slice(DAY.start, DAY.start + timedelta(minutes=1)),
        ),
        (
            "50% Annex, Example Beacon House and 3 more",
            45,
            "to come: the next run brings them",
            "people-backup",
            Slice(DAY.end - HOUR, DAY.end - HOUR + timedelta(minutes=8)),
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
    assert [(told.said, told.do, told.grave, told.first) for told in found.now] == [
        (
            "hub people-backup: no connection",
            "check the network; where only port 443 is open, set EVENT_HUB_TRANSPORT=websockets",
            True,
            DAY.end - 3 * HOUR,
        ),
        ("Tour Été was silent for 3 h, longer than ever before", None, False, DAY.start + 2 * HOUR),
    ]


def test_a_day_costs_what_the_runs_of_the_window_say_together_as_in_status() -> None:
    of_a_day: list[JsonObject] = [{"api_calls": calls, "hubs": {}} for calls in (700, 100, 400, 9_000)]
    # The last was called by hand, a minute after the one before.
    begins = [DAY.start + minutes * MINUTE for minutes in (0, 15, 30, 31)]
    runs = [a_run(at, {}, per_day=each) for at, each in zip(begins, of_a_day, strict=True)]

    calls = round((100 * 15 + 400 * 15 + 9_000) / 31)
    assert feed(runs=runs).notes[-1] == f"A day costs about {calls} API calls."
    assert not any("A day costs" in note for note in feed(runs=runs[:1]).notes)


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
        ("up to 15 min", [Share(0, 0.0), Share(8, 80.0)]),
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


DOWN = "hub people-backup: no connection: connection refused; check the network"


def test_what_runs_said_is_told_once_with_how_often() -> None:
    found = feed(runs=runs())

    assert (list(found.now), list(found.earlier)) == (
        [],
        [
            TroubleRow(
                "hub people-backup: no connection",
                "check the network",
                DOWN,
                True,
                12,
                DAY.start + 13 * HOUR,
                DAY.start + 15.75 * HOUR,
            )
        ],
    )


def test_what_is_wrong_now_is_told_once_with_how_many_runs_said_so() -> None:
    """Whatever the errors of single runs say beside their cause: windows and times are each one's own."""
    started = [DAY.start + number * HOUR for number in range(3)]
    errors = [
        f"microshare: query of view 0a for 'Quay+One', 2026-03-01T0{at}:00:00.000Z to "
        "2026-03-02T12:00:00.000Z: 500; the next run tries again"
        for at in range(3)
    ]
    failing = Trouble(
        Kind.LOCATION,
        errors[-1].partition("; ")[0],
        "the next run tries again",
        None,
        ["Quay+One"],
        DAY.start,
        grave=True,
        cause="the API answers with 500",
    )
    failures = [[{"location": "Quay+One", "hub": None, "error": error}] for error in errors]

    found = feed(
        health=a_health(troubles=[failing]),
        runs=[a_run(at, {}, failures=each) for at, each in zip(started, failures, strict=True)],
    )

    assert [(told.said, told.runs, told.first) for told in found.now] == [
        ("Quay+One: the API answers with 500", 3, DAY.start)
    ]
    assert list(found.earlier) == []


def test_warnings_that_differ_in_numbers_and_location_are_one() -> None:
    def warned(at: int, text: str) -> JsonObject:
        return a_run(DAY.start + at * HOUR, {}, warnings=[text])

    texts = ["Quay+One: 4 readings are late", "Tour Été: 5 readings are late", "Tour Été: 1 reading is late"]

    found = feed(runs=[warned(at, text) for at, text in enumerate(texts)]).earlier

    assert [(told.said, told.runs) for told in found] == [
        ("Tour Été: 1 reading is late", 1),
        ("Quay+One, Tour Été: 5 readings are late", 2),
    ]


def test_how_an_installation_began_is_no_trouble_that_is_over() -> None:
    begun = a_run(DAY.start, {}, warnings=[f"{NO_STATE}/var/state: a new installation, begins at midnight"])

    assert list(feed(runs=[begun]).earlier) == []


def test_what_follows_from_a_trouble_is_told_with_it() -> None:
    def behind(hub: str, name: str) -> Trouble:
        return Trouble(Kind.BEHIND, f"{name} is 5 h behind at 1 of 5 locations", "wait", hub, ["Quay+One"])

    failing = Trouble(
        Kind.LOCATION,
        "500",
        None,
        None,
        ["Quay+One"],
        DAY.start,
        grave=True,
        cause="the API answers with 500",
    )
    elsewhere = replace(behind(BACKUP, "people-backup"), locations=["Tour Été"])

    found = feed(health=a_health(troubles=[failing, behind(LIVE, "people-live"), elsewhere])).now

    assert [told.said for told in found] == [
        "Quay+One: the API answers with 500; so people-live is behind",
        "Tour Été: people-backup is 5 h behind at 1 of 5 locations",
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
    failures = [{"location": None, "hub": LIVE, "error": text}]
    warned = a_run(DAY.start, {LIVE: {}}, warnings=[f"odd, {text}"], failures=failures)

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
    for state in ("complete", "fewer", "unread", "silent", "waiting", "excused", "differs", "missing"):
        yield f"on-{state}", state, 4.5
    yield from ((mark, "bg", 3.0) for mark in ("complete", "waiting", "missing", "bar", "lag", "edge"))


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize(("front", "ground", "least"), [*pairs()])
def test_colours_tell_apart_in_both_themes(theme: str, front: str, ground: str, least: float) -> None:
    found = colours(theme)

    assert contrast(found[front], found[ground]) >= least
