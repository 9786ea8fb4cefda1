"""Feeds that cannot stand beside one another are refused, with what to write, before anything is done."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import ModuleType

import pytest

from app.base.checkpoints import FeedState
from app.base.errors import SettingsError
from app.feeds.flat import FlatFeed
from app.run.feed_checks import check_feeds
from app.settings.schema import FeedSettings, MicroshareSettings, RunSettings, Settings, StateSettings
from app.state.json_file import JsonFileStore
from tests.unit.microshare_fake import SETTINGS as MICROSHARE

Define = Callable[..., None]


@pytest.fixture
def define(monkeypatch: pytest.MonkeyPatch) -> Define:
    """Give what defines a feed's module, with a recType and a state name of its own unless told."""

    def define_one(name: str, **parts: str) -> None:
        named = {"rec_type": f"io.example.{name}", "state_name": name.replace("_", "") + "state"} | parts
        module = ModuleType(f"app.feeds.{name}")
        module.FEED = FlatFeed(**named)  # type: ignore[attr-defined, arg-type]
        monkeypatch.setitem(sys.modules, f"app.feeds.{name}", module)

    return define_one


def settings(*feeds: str, directory: str = "nowhere", store: str = "json") -> Settings:
    microshare: MicroshareSettings = MICROSHARE
    of = FeedSettings(view_id="view", data_context=("people",), schedule="")
    return Settings(
        microshare,
        {name: replace(of, name=name) for name in feeds},
        (),
        StateSettings(store, directory),  # type: ignore[arg-type]  # one of two words
        RunSettings(),
    )


def problems(*feeds: str, directory: str = "nowhere", store: str = "json") -> tuple[str, ...]:
    with pytest.raises(SettingsError) as refused:
        check_feeds(settings(*feeds, directory=directory, store=store))
    return refused.value.problems


def test_feeds_with_names_of_their_own_are_well(define: Define) -> None:
    define("doors")
    define("lifts")

    asked = settings("people_counter", "hourly_snapshot", "doors", "lifts")

    assert check_feeds(asked) == asked


def test_a_setting_that_means_nothing_to_its_feed_is_warned_of_and_does_nothing() -> None:
    asked = settings("people_counter", "hourly_snapshot")
    late = {name: replace(feed, late="hour") for name, feed in asked.feeds.items()}

    checked = check_feeds(replace(asked, feeds=late))

    assert {name: feed.late for name, feed in checked.feeds.items()} == {
        "people_counter": "reading",
        "hourly_snapshot": "hour",
    }
    (warning,) = checked.warnings
    assert warning.startswith("feeds.people_counter.late: 'hour' means nothing to this feed and is ignored; ")


@pytest.mark.parametrize(
    ("of_lifts", "words"),
    [
        ({"state_name": "doorsstate"}, "both have the state name 'doorsstate'"),
        ({"state_name": "DoorsState"}, "both have the state name 'doorsstate'"),
        ({"rec_type": "io.example.doors"}, "both have the recType 'io.example.doors'"),
        ({"state_name": "doorsstatehistory"}, "'doorsstate' and 'doorsstatehistory' would share a table"),
        ({"state_name": "doorsstateQuarantine"}, "would share a table"),
    ],
    ids=["one state", "one but for letter case", "one recType", "a history's table", "a quarantine's table"],
)
@pytest.mark.parametrize("store", ["json", "table"])
def test_two_feeds_that_share_what_must_be_their_own_are_both_named(
    define: Define, of_lifts: dict[str, str], words: str, store: str
) -> None:
    define("doors")
    define("lifts", **of_lifts)

    (problem,) = problems("doors", "lifts", store=store)

    assert problem.startswith("feeds.doors and feeds.lifts: ")
    assert words in problem
    assert problem.endswith("in app/feeds/doors.py and app/feeds/lifts.py")


def test_a_copied_feed_with_two_forgotten_lines_is_told_of_both(define: Define) -> None:
    define(
        "doors", rec_type="io.microshare.peoplecounter.unpacked.event.agg", state_name="peoplecounterstate"
    )

    found = problems("people_counter", "doors")

    assert ["state name" in found[0], "recType" in found[1], len(found)] == [True, True, 2]


@pytest.mark.parametrize(
    ("name", "better"),
    [
        ("occupancy_state", "occupancystate"),
        ("2doors", "doors"),
        ("ab", "doorsstate"),
        ("", "doorsstate"),
        ("türen", "tren"),
        ("d" * 64, "d" * 53),
        ("../doors", "doors"),
        ("state", "doorsstate"),
        ("Probe", "doorsstate"),
        ("tables", "doorsstate"),
    ],
)
@pytest.mark.parametrize("store", ["json", "table"])
def test_a_state_name_that_has_no_place_is_refused_with_one_that_has(
    define: Define, name: str, better: str, store: str
) -> None:
    define("doors", state_name=name)

    (problem,) = problems("doors", store=store)

    assert problem.startswith(f"feeds.doors: its state name is {name!r}; ")
    assert f"write state_name {better!r} in app/feeds/doors.py" in problem
    define("doors", state_name=better)
    check_feeds(settings("doors"))


@pytest.mark.parametrize("name", ["abc", "A1b", "d" * 63])
def test_every_name_that_a_table_takes_is_taken(define: Define, name: str) -> None:
    define("doors", state_name=name)

    check_feeds(settings("doors"))


def test_the_commands_that_are_told_give_a_state_its_new_name(define: Define, tmp_path: Path) -> None:
    folder = tmp_path / "state of 'doors'"
    store = JsonFileStore(folder)
    for run in ("one", "two"):
        store.save("occupancy_state", FeedState(last_run={"run": run}), [])
    for day in ("2026-03-02", "2026-03-03"):
        store.keep_report("occupancy_state", {"started": f"{day}T10:00:00.000Z", "until": None})
    define("doors", state_name="occupancy_state")

    (problem,) = problems("doors", directory=str(folder))
    commands = [line.strip() for line in problem.splitlines()[1:]]
    subprocess.run(["sh", "-ec", "\n".join(commands)], check=True)

    assert store.load("occupancystate") == FeedState(last_run={"run": "two"})
    assert sorted(path.name for path in folder.rglob("*") if path.is_file()) == [
        "occupancystate-2026-03-02.jsonl",
        "occupancystate-2026-03-03.jsonl",
        "occupancystate.json",
        "occupancystate.json.bak",
    ]


def test_where_there_is_nothing_to_rename_no_command_is_told(define: Define, tmp_path: Path) -> None:
    define("doors", state_name="occupancy_state")

    (problem,) = problems("doors", directory=str(tmp_path))

    assert "mv " not in problem


def test_a_feed_without_a_module_is_left_to_whoever_asks_for_it() -> None:
    check_feeds(settings("people_counter", "nothing_of_the_kind"))
