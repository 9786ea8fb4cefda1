"""What `status` shows a person: a verdict, each cause once with what follows from it, on one screen."""

from __future__ import annotations

import os
import pty
import subprocess
import sys
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.base.checkpoints import (
    Checkpoint,
    Discovery,
    Drift,
    FeedState,
    Gap,
    HubRecord,
    LocationState,
    Place,
)
from app.base.instants import format_time, utc_now
from app.base.program import APP_ROOT
from app.base.readings import Slice
from app.cli.output import Output
from app.cli.status_screen import Room, screen, whole
from app.health.facts import Kept
from app.health.feed_health import judge, unreadable
from app.health.past_runs import past_run
from app.health.records import FeedHealth
from app.run.report import NO_STATE
from app.settings.schema import HubSettings, Settings
from app.state.json_file import JsonFileStore
from tests.commands import HUB, Call
from tests.unit import a_run
from tests.unit.a_run import DAY, HOUR, MINUTE, NOON

NOW = NOON + 10 * MINUTE
KEYS = [f"h.example.test/e{number}" for number in range(3)]
NAMES = ["Annex", "Mill", "Quay", "Tour", "Works", "Yard"]
DOWN = "hub {}: no connection: [Errno 111] refused by {}; check the network"
QUERY = "microshare: query of view ffff for {0!r}, 2026-03-02T10:00:00.000Z to 2026-03-02T11:59:59.999Z: "
PAGE = QUERY + '502, a page, "<b>nginx</b>"; given up after 4 attempts, the next run tries again'


def installation(keys: list[str] = KEYS) -> Settings:
    hubs = tuple(HubSettings(key, key.rpartition("/")[2], "h.example.test", "e") for key in keys)
    return replace(a_run.settings(), hubs=hubs)


def location(
    until: datetime = NOON, *, errors: Mapping[str, str] | None = None, keys: list[str] = KEYS, **fields: Any
) -> LocationState:
    """Give a location that hubs have up to `until`, or up to two hours before where they fail."""
    errors = errors or {}
    ends = {key: until - 2 * HOUR if key in errors else until for key in keys}
    return LocationState(
        last_listed=NOON,
        checkpoints={key: Checkpoint(end, end - DAY) for key, end in ends.items()},
        hubs={key: HubRecord(error=error, since=NOON - HOUR) for key, error in errors.items()},
        **fields,
    )


def fares(
    locations: Mapping[str, LocationState],
    *,
    reports: list[dict[str, Any]] | None = None,
    began: datetime = NOON,
    keys: list[str] = KEYS,
    drift: tuple[Drift, ...] = (),
    **of_run: Any,
) -> FeedHealth:
    run = {
        "run": "r1",
        "started": format_time(began),
        "ended": format_time(began + MINUTE),
        "ok": True,
        **of_run,
    }
    places = tuple(Place(name, "com.example.NORTH", 4) for name in locations)
    kept = FeedState(dict(locations), Discovery(NOON, places), last_run=run, drift=drift)
    runs = [past_run({"run": "r1", "started": format_time(began), **each}) for each in reports or []]
    return judge(a_run.FEED, installation(keys), Kept(kept, runs), NOW)


def told(found: FeedHealth) -> list[tuple[str, str | None]]:
    return [(each.said, each.do) for each in found.told]


# --- one cause, told once ---------------------------------------------------------------------------


def test_what_is_behind_for_a_hub_that_fails_is_told_with_it() -> None:
    error = {KEYS[1]: DOWN.format("e1", "10.0.0.1")}

    found = fares({name: location(errors=error) for name in NAMES})

    assert told(found) == [
        ("hub e1: no connection for 1 h 10 min, all 6 locations, 2 h 10 min behind", "check the network")
    ]
    assert found.said == found.told[0].said
    assert [trouble.kind for trouble in found.troubles] == ["hub", "behind"]


def test_what_is_behind_at_all_hubs_for_a_location_that_fails_is_told_with_it() -> None:
    late = location(NOON - 3 * HOUR, error=PAGE.format("Quay"), since=NOON - HOUR)

    found = fares({"Mill": location(), "Quay": late})

    assert told(found) == [
        (
            "Quay: the API answers with 502 for 1 h 10 min, 3 h 10 min behind",
            "ask Microshare about it: it lasts, and each run tries again",
        )
    ]


def test_what_is_behind_for_want_of_time_is_told_by_itself_of_all_hubs_together() -> None:
    locations = {
        "Mill": location(NOON - 5 * HOUR),
        "Quay": location(NOON - 3 * HOUR, error=PAGE.format("Quay"), since=NOON),
    }

    found = fares(locations, reports=[{"left": 1, "forecast_s": 180}])

    assert told(found)[1:] == [
        (
            "hubs e0, e1, e2 are up to 5 h 10 min behind at 1 of 2 locations",
            "it catches up, oldest first, in about 3 min of running time",
        )
    ]


def test_what_is_behind_for_what_fails_is_nowhere_said_to_be_caught_up_with() -> None:
    late = location(NOON - 3 * HOUR, error=PAGE.format("Quay"), since=NOON)

    found = fares({"Quay": late}, reports=[{"left": 1, "forecast_s": 180}])

    assert {each.do for each in found.troubles if each.kind == "behind"} == {
        "it catches up, oldest first, when what fails works again"
    }


def test_nothing_is_said_to_be_behind_where_nothing_runs() -> None:
    found = fares({"Mill": location(NOON - 5 * HOUR)}, began=NOON - 5 * HOUR)

    assert [each.kind for each in found.told] == ["stopped"]
    assert "behind" in [each.kind for each in found.troubles]


def test_hubs_and_locations_that_fail_alike_are_told_together_whatever_the_details() -> None:
    errors = {key: DOWN.format(key[-2:], number) for number, key in enumerate(KEYS[:2])}
    locations = {
        name: location(errors=errors, error=PAGE.format(name) if name in "Quay Tour" else None, since=NOON)
        for name in NAMES
    }

    found = fares(locations)

    assert [said for said, _ in told(found)] == [
        "hubs e0, e1: no connection for 1 h 10 min, all 6 locations, 2 h 10 min behind",
        "Quay, Tour: the API answers with 502 for 10 min, 2 h 10 min behind",
    ]
    assert found.said == f"{found.told[0].said} (and 1 more)"


def test_a_verb_agrees_with_the_number_of_hubs() -> None:
    refused = "hub e: unauthorized-access: the key may not send; grant the Send right (said the SDK)"

    one = fares({"Mill": location(errors={KEYS[0]: refused})})
    two = fares({"Mill": location(errors=dict.fromkeys(KEYS[:2], refused))})

    assert told(one)[0][0].startswith("hub e0: refuses the credentials for ")
    assert told(two)[0][0].startswith("hubs e0, e1: refuse the credentials for ")


def test_a_warning_tells_the_cause_and_a_new_installation_is_none() -> None:
    warning = f"discovery failed, the last known list is used: {PAGE.format('Mill')}"
    new = f"{NO_STATE}/var/state: a new installation, begins at 2026-03-01T00:00:00.000Z"

    found = fares({"Mill": location()}, reports=[{"warnings": [new, warning]}])

    assert told(found) == [
        (
            "discovery failed, the last known list is used (the API answers with 502) (10 min ago)",
            "the next run tries again",
        )
    ]
    assert found.said.endswith("; 1 warning")
    assert list(found.warnings) == [new, warning]
    assert "note: no state at /var/state: a new" in text_of(screen, found)
    assert "no state" not in text_of(screen, fares({"Mill": location()}, reports=[{}]))


# --- on a screen ------------------------------------------------------------------------------------


def room(lines: int = 24) -> Room:
    # What is no terminal has the room of most.
    columns, _ = Output().room()
    return Room(columns, lines, Output().lines_of)


def text_of(shows: Any, *found: FeedHealth, verbose: bool = False, **how: Any) -> str:
    """Give the lines of a screen 80 wide."""
    from rich.console import Console

    console = Console(width=80, color_system=None, force_terminal=True)
    rest = (room(**how),) if shows is screen else ()
    with console.capture() as captured:
        for part in shows(found, *rest, verbose=verbose):
            console.print(part)
    return captured.get()


ERRORS = [
    DOWN.format("e", "10.0.0.1"),
    "hub e: busy: server-busy",
    PAGE.format("Mill"),
    "something new " * 40,
    "<html>" * 99,
]


def wide(number: int) -> str:
    return f"Building {number:03} of an estate with a long name, 統計" * (1 + number % 3)


@st.composite
def in_trouble(draw: Any) -> FeedHealth:
    """Give how a feed fares with any number of hubs and locations, and any of the troubles."""
    number = draw(st.sampled_from([1, 3, 40]))
    keys = [f"h.example.test/e{at}" for at in range(number)]
    locations = {}
    for at in range(draw(st.sampled_from([1, 6, 12]))):
        errors = {key: draw(st.sampled_from(ERRORS)) for key in keys[: draw(st.integers(0, 3))]}
        gaps = tuple(
            Gap(
                Slice(NOON - HOUR, NOON),
                draw(st.sampled_from(["missed", "saturated"])),
                NOON,
                tuple(keys[:9]),
            )
            for _ in range(draw(st.integers(0, 2)))
        )
        lag = draw(st.sampled_from([timedelta(0), HOUR, 9 * DAY]))
        error = draw(st.none() | st.sampled_from(ERRORS))
        locations[wide(at)] = location(
            NOON - lag, errors=errors, keys=keys, error=error, since=NOON, gaps=gaps
        )
    drift = tuple(
        Drift("new", wide(at), f"{wide(at)}: new; look", NOON) for at in range(draw(st.integers(0, 9)))
    )
    began = NOON - draw(st.sampled_from([timedelta(0), DAY]))
    reports = [{"warnings": draw(st.lists(st.sampled_from(ERRORS), max_size=3, unique=True))}]
    return fares(locations, reports=reports, keys=keys, drift=drift, began=began)


@settings(max_examples=8)
@given(st.lists(in_trouble(), min_size=1, max_size=2), st.sampled_from([24, 40]))
def test_whatever_is_wrong_a_screen_holds_it(found: list[FeedHealth], lines: int) -> None:
    shown = text_of(screen, *found, lines=lines).splitlines()

    assert len(shown) < lines
    assert max(map(len, shown)) <= 80
    assert all(f"people-counter: {feed.verdict}: "[:30] in "\n".join(shown) for feed in found)


def test_forty_hubs_and_three_hundred_locations_in_trouble_fit_a_screen() -> None:
    keys = [f"h.example.test/e{number}" for number in range(40)]
    errors = {key: DOWN.format(key, key) for key in keys[:20]}
    locations = {wide(at): location(errors=errors if at % 2 else {}, keys=keys) for at in range(300)}

    shown = text_of(screen, *[fares(locations, keys=keys)] * 2).splitlines()

    assert len(shown) < 24
    assert shown[0].startswith(
        "people-counter: failing: hubs e0, e1 and 18 more: no connection for 1 h 10 min, "
    )
    assert "more: 36 hubs; --all" in shown[-1]


@pytest.mark.parametrize("shows", [screen, whole])
def test_what_the_verdict_says_is_said_there_alone_and_below_it_what_to_do(shows: Any) -> None:
    errors = {KEYS[0]: DOWN.format("e0", "10.0.0.1")}
    found = fares({"Mill": location(errors=errors), "Quay": location(error=PAGE.format("Quay"), since=NOON)})

    shown = " ".join(text_of(shows, found).split())

    assert shown.count("hub e0: no connection for 1 h 10 min") == 1
    assert "- do: check the network - Quay: the API answers with 502" in shown


def test_a_cause_that_is_cut_in_the_verdict_is_whole_below_it() -> None:
    keys = [f"h.example.test/{letter * 38}" for letter in "abc"]
    errors = {key: DOWN.format(key, "10.0.0.1") for key in keys}
    found = fares({"Mill": location(errors=errors, keys=keys)}, keys=keys)

    verdict, below = text_of(screen, found).split("people-counter: last run")

    assert verdict.rstrip().endswith("…")
    assert f"{found.told[0].said} do: check the network" in " ".join(below.split())


def test_no_trouble_is_shown_in_place_of_a_worse_one() -> None:
    keys = KEYS[:1]
    gap = Gap(Slice(NOON - HOUR, NOON), "missed", NOON)
    drift = Drift("new", None, f"{'many words ' * 30}; look", NOON), Drift("gone", None, "short", NOON)
    found = fares({"Mill": location(keys=keys, gaps=(gap,))}, keys=keys, drift=drift)

    shown = text_of(screen, found, lines=15)

    assert "gap: Mill may have readings missing" in shown
    assert "short" not in shown
    assert "more: 2 troubles; --all shows all" in shown


def test_all_of_it_has_every_trouble_hub_and_location() -> None:
    keys = [f"h.example.test/e{number}" for number in range(9)]
    locations = {name: location(NOON - DAY, keys=keys, error=PAGE.format(name), since=NOON) for name in NAMES}
    drift = tuple(Drift("new", None, f"thing {number}", NOON) for number in range(30))

    shown = text_of(whole, fares(locations, keys=keys, drift=drift))

    assert [name for name in (*NAMES, "e8", "thing 0", "thing 29") if name not in shown] == []
    assert "more:" not in shown


@pytest.mark.parametrize("shows", [screen, whole])
def test_whole_errors_are_shown_where_they_are_asked_for_only(shows: Any) -> None:
    found = fares({"Quay": location(error=PAGE.format("Quay"), since=NOON)})

    assert "nginx" not in text_of(shows, found)
    assert "nginx" in text_of(shows, found, verbose=True)


def test_a_run_that_was_interrupted_is_told_as_that() -> None:
    shown = text_of(screen, fares({"Mill": location()}, reports=[{"interrupted": True}]))

    assert "people-counter: last run interrupted 9 min ago, the next goes on; next due in" in shown
    assert "interrupted" not in text_of(screen, fares({"Mill": location()}, reports=[{}]))


def test_a_feed_whose_state_cannot_be_read_is_told_without_the_text_of_the_system() -> None:
    found = unreadable(a_run.FEED, NOW, "state: /var/a.json: cannot be read as state: <b>; import a copy")

    assert found.said == "the state cannot be read"
    assert "<b>" not in text_of(screen, found)
    assert "do: import a copy" in text_of(screen, found)


# --- the command ------------------------------------------------------------------------------------


@pytest.fixture
def in_need(store: JsonFileStore) -> list[str]:
    """Keep a state in which seventeen locations fail, each with a text of its own; give their names."""
    now = utc_now().replace(microsecond=0)
    checkpoints = {HUB: Checkpoint(now - HOUR, now - DAY)}
    names = [f"Building {number:02}" for number in range(17)]
    locations = {
        name: LocationState(
            last_listed=now,
            checkpoints=checkpoints,
            error=f"microshare: flaw {at}: <b>; look",
            since=now - HOUR,
        )
        for at, name in enumerate(names)
    }
    run = {"run": "r1", "started": format_time(now), "ended": format_time(now), "ok": False}
    places = tuple(Place(name, "com.example.NORTH", 4) for name in names)
    store.save(
        "peoplecounterstate", FeedState(locations, Discovery(now, places), last_run=run), frozenset(names)
    )
    return names


def test_in_a_pipe_status_is_a_screen_as_most_have_it(call: Call, in_need: list[str]) -> None:
    ended = call("status")
    lines = ended.out.splitlines()

    assert ended.status == 1
    assert len(lines) < 24
    assert lines[0].startswith("people-counter: failing: Building 00: flaw 0 for ")
    assert lines[1].startswith("hourly-snapshot: off")
    assert "more: 8 troubles, 1 hub; --all shows all" in lines[-1]
    everything = call("status", "--all").out
    assert all(name in everything for name in in_need)


def test_on_a_terminal_status_is_as_much_as_that_has_lines_for(
    environ: dict[str, str], in_need: list[str]
) -> None:
    assert in_need
    lines = 40
    ours, theirs = pty.openpty()
    size = {"TERM": "xterm", "COLUMNS": "80", "LINES": str(lines)}

    with subprocess.Popen(
        [sys.executable, "-m", "app", "status"], cwd=APP_ROOT, env=environ | size, stdout=theirs
    ):
        os.close(theirs)
        shown = _read(ours)

    assert lines - 4 <= len(shown.splitlines()) < lines


def _read(terminal: int) -> str:
    """Read what a program writes to its terminal until it ends."""
    shown = b""
    with suppress(OSError):  # the other end was closed
        while piece := os.read(terminal, 65_536):
            shown += piece
    os.close(terminal)
    return shown.decode()


def test_a_line_a_feed_where_that_is_all_that_is_asked_for(call: Call, in_need: list[str]) -> None:
    assert in_need
    lines = call("status", "--brief").out.splitlines()

    assert [line.partition(": ")[0] for line in lines] == ["people-counter", "hourly-snapshot"]


def test_all_and_a_line_a_feed_exclude_one_another(call: Call) -> None:
    ended = call("status", "--all", "--brief")

    assert (ended.status, "--all and --brief" in ended.err) == (2, True)
