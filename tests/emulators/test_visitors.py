"""The end of the demo: who came, as a consumer's table says."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from deploy.consumers.python.ask import bar_in
from emulators.demo import World
from emulators.visitors import visitors_chart

ROWS = [
    ("Mill & Lane", "2026-03-02 08:00", 0),
    ("Mill & Lane", "2026-03-02 09:00", 4),
    ("Quay+One", "2026-03-02 03:00", 40),
    ("Quay+One", "2026-03-02 04:00", 20),
    ("Tour Été", "2026-03-02 09:00", 0),
]
BUILDINGS = [
    "building     visitors",
    "Mill & Lane         4  ==",
    f"Quay+One           60  {'=' * 30}",
    "Tour Été            0",
    "",
]


def test_each_building_is_shown_and_the_busiest_by_hour() -> None:
    assert visitors_chart(ROWS, first=None, bar="=") == [
        *BUILDINGS,
        "Quay+One          visitors",
        f"2026-03-02 03:00        40  {'=' * 30}",
        f"2026-03-02 04:00        20  {'=' * 15}",
    ]


def test_a_building_may_be_named_for_its_hours() -> None:
    assert visitors_chart(ROWS, first="Mill & Lane", bar="=") == [
        *BUILDINGS,
        "Mill & Lane       visitors",
        f"2026-03-02 09:00         4  {'=' * 30}",
    ]


def test_where_nobody_came_it_says_so() -> None:
    assert visitors_chart(ROWS, first="Tour Été", bar="=") == [*BUILDINGS, "Nobody came to Tour Été."]
    assert visitors_chart(ROWS[:1], first=None, bar="=") == ["Nobody came on that day: each count is 0."]
    assert visitors_chart([], first=None, bar="=") == ["Nobody came on that day: each count is 0."]


def test_bars_are_plain_characters_where_the_terminal_has_no_blocks() -> None:
    shown = {"utf-8": "█", "cp437": "█", "iso8859-1": "#", "cp1252": "#", "ascii": "#"}

    assert {encoding: bar_in(encoding) for encoding in shown} == shown


def test_with_counts_of_a_file_the_first_building_has_these_alone() -> None:
    now = datetime.now(UTC)
    hours = [(now - timedelta(hours=hour), came, 0) for hour, came in ((3, 5), (2, 0), (1, 7))]
    world = World(hours)

    shown = world.source.estate.expected_people(now - timedelta(hours=4), now, now)

    found = [entry["change"]["in"] for name, _, _, entry in shown if name == "Example Beacon House"]
    assert found == [5, 0, 7]
    assert len({name for name, *_ in shown}) == 5
