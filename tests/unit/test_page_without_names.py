"""A page that names no building, and one of some hubs only: what must not be on it is nowhere on it."""

from __future__ import annotations

from dataclasses import replace
from html import unescape
from typing import Any
from urllib.parse import quote_plus

import pytest

from app.base.checkpoints import Drift
from app.base.instants import HOUR
from app.health.records import Condition, HubHealth, Kind, LocationHealth, Trouble
from app.page.chosen import of_hubs
from app.page.gathered import Gathered, GatheredFeed
from app.page.render import render
from app.page.view import make_view
from app.page.without_names import without_names
from tests.findings import (
    BACKUP,
    DAY,
    HUBS,
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
)

# Parts of the names of all buildings, none of which another word of the page has.
PARTS = ("Annex", "Beacon", "Mill", "Lane", "Quay", "Tour", "Été")


def shown(found: Gathered) -> str:
    """Give the page as text, whatever it stands in: titles, tooltips, attributes."""
    return unescape(render(make_view(found)))


def names_in(page: str) -> list[str]:
    return [part for part in PARTS if part.lower() in page.lower()]


def gathered(**fields: Any) -> Gathered:
    return Gathered(MADE, DAY, [a_feed(**fields)], organisations=["com.example.NORTH"])


def test_the_names_that_are_looked_for_are_on_a_page_with_names() -> None:
    assert names_in(shown(troubled())) == list(PARTS)


def test_a_page_without_names_has_none_anywhere() -> None:
    page = shown(without_names(replace(troubled(), organisations=["com.example.NORTH"]), {}))

    assert names_in(page) == []
    assert "NORTH" not in page
    assert all(f"Building {number}" in page for number in range(1, 6))


def test_a_building_has_one_number_on_the_whole_page() -> None:
    """Rows, differences, gaps and quarantine can be told to be of one building, as with its name."""
    found = make_view(without_names(troubled(), {})).feeds[0]

    assert found.heatmap is not None
    missing = [row.location for row in found.heatmap.rows if row.state == "missing"]
    assert missing == ["Building 3", "Building 4"]
    assert [row[0] for row in found.gaps.rows] == ["Building 4"]
    assert [row[1] for row in found.quarantine.rows] == ["Building 3"]
    assert [row[:2] for row in found.differences.rows[:2]] == [("Building 3", 2), ("Building 4", 14)]


@pytest.mark.parametrize(
    "written",
    [
        "Quay+One",
        "quay+one",
        "'Quay+One'",
        '\\"Quay+One\\"',
        quote_plus("Quay+One"),
        "data_Quay+One_2",
        "Tour \\u00c9t\\u00e9",
        "Tour%20%C3%89t%C3%A9",
    ],
)
def test_a_name_is_replaced_however_it_is_written(written: str) -> None:
    troubles = [Trouble(Kind.STOPPED, f"it stopped at {written}", f"look at {written}", grave=True)]
    problem = f"state: {written} cannot be read as state; move {written} away"
    failures = [{"location": "Quay+One", "hub": LIVE, "error": f"odd thing {written}: no"}]

    page = shown(
        without_names(
            gathered(
                health=a_health(troubles=troubles),
                problems=[problem],
                runs=[a_run(DAY.start, {LIVE: a_hub(DAY.start)}, failures=failures)],
            ),
            {},
        )
    )

    assert names_in(page) == []
    assert written not in page


def test_no_text_of_a_server_is_on_a_page_without_names() -> None:
    """It may hold a name that is not known to be one, like that of a building which was never forwarded."""
    error = "microshare: 500: the view of Wharf House failed; the next run tries again"
    said = "the view of Wharf House failed"
    failing = Trouble(Kind.LOCATION, said, "wait", None, ["Quay+One"], grave=True, cause="it failed")
    found = gathered(
        audits=[Audited(LIVE).audit(failures={"Quay+One": error})],
        health=a_health(troubles=[failing]),
        runs=[
            a_run(
                DAY.start,
                {LIVE: a_hub(DAY.start)},
                failures=[{"location": "Tour Été", "hub": None, "error": error}],
            )
        ],
    )

    assert "Wharf House" in shown(found)
    assert "Wharf House" not in shown(without_names(found, {}))


def test_warnings_are_left_out_of_a_page_without_names() -> None:
    """They name what is at the source by whatever name it has there, sensors and devices among it."""
    health = a_health(
        troubles=[
            Trouble(Kind.WARNING, "Wharf House: a new location", None),
            Trouble(Kind.DRIFT, "Quay+One: sensor Wharf House / 2 is silent", None, locations=["Quay+One"]),
        ],
        drift=[Drift("silent", "Quay+One", "Quay+One: sensor Wharf House / 2 is silent", DAY.start)],
    )
    warned = [a_run(DAY.start, {LIVE: a_hub(DAY.start)}, warnings=["Wharf House: a new location"])]
    audit = Audited(LIVE).audit(warnings=["Wharf House belongs to two organisations"])

    found = gathered(audits=[audit], health=health, runs=warned)

    assert "Wharf House" in shown(found)
    assert "Wharf House" not in shown(without_names(found, {}))


def test_the_name_that_a_view_has_for_a_building_is_one_of_its_names() -> None:
    problem = "state: the answer for 'Kai 1' cannot be read as state"

    page = shown(without_names(gathered(problems=[problem]), {"Kai 1": "Quay+One"}))

    assert "Kai 1" not in page


def test_a_building_that_is_called_as_a_feed_or_a_hub_changes_no_more_than_its_name() -> None:
    """What belongs together still does: figures stand beside their hub, and links lead to their feed."""
    health = a_health(locations=[LocationHealth("people-live", Condition.HEALTHY, asked=True)])
    found = a_feed(health=health, audits=[Audited(LIVE, locations=["people-live", "people-counter"]).audit()])

    page = make_view(without_names(Gathered(MADE, DAY, [found]), {})).feeds[0]

    assert (page.name, page.place) == ("people-counter", "people_counter")
    assert page.hubs[0].hours is not None


# --- some hubs only ---------------------------------------------------------------------------------


def of_live(found: GatheredFeed) -> str:
    """Give the page of the first hub alone; what was compared is of that hub then."""
    alone = {LIVE: HUBS[LIVE]}
    only = replace(found, hubs=alone, comparisons={LIVE: found.comparisons[LIVE]})
    return shown(Gathered(MADE, DAY, [of_hubs(only, HUBS)]))


def test_a_page_of_one_hub_tells_nothing_of_another() -> None:
    found = troubled().feeds[0]
    warned = a_run(DAY.start, {LIVE: a_hub(DAY.start)}, warnings=["people-backup: sent twice"])
    differences = a_feed(audits=[Audited(LIVE).audit()]).differences
    health = replace(
        found.health,
        hubs={key: HubHealth(name, Condition.HEALTHY) for key, name in HUBS.items()},
        troubles=[*found.health.troubles, Trouble(Kind.BEHIND, "people-backup is 3 h behind", None, BACKUP)],
    )

    of_both = a_feed(
        runs=[*runs(), warned], health=health, quarantined=found.quarantined, differences=differences
    )

    page = of_live(of_both)

    assert "people-live" in page
    assert "people-backup" not in page
    assert BACKUP not in page
    assert "people-counter is failing" not in page
    assert "at every hub" not in page


def test_a_page_of_one_hub_tells_what_concerns_all() -> None:
    stopped = Trouble(Kind.STOPPED, "the last run was 2 h ago", None, grave=True)

    page = of_live(a_feed(health=a_health(verdict=Condition.STOPPED, troubles=[stopped])))

    assert "people-counter has stopped" in page


def test_all_hubs_by_their_names_are_no_choice() -> None:
    found = of_hubs(a_feed(), HUBS)

    assert found.all_hubs
    assert LOCATIONS[0] in shown(Gathered(MADE, DAY, [found]))
    assert len(found.health.hubs) == 2


def test_a_gap_at_two_hubs_is_one_of_the_chosen_hub() -> None:
    location, gap = troubled().feeds[0].health.gaps[0]
    health = a_health(gaps=[(location, replace(gap, hubs=(LIVE, BACKUP)))])
    both = a_feed(health=health, hubs={LIVE: HUBS[LIVE]})

    kept = of_hubs(both, HUBS).health.gaps

    assert [(name, gap.hubs, gap.window.end - gap.window.start) for name, gap in kept] == [
        (location, (LIVE,), HOUR)
    ]
