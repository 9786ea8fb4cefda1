"""A further feed is one module, one timer function and one entry in config.yaml; after that all know it."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest

from app.base.instants import parse_time
from emulators.estate import FEEDS, Estate
from emulators.eventhubs import EventHubsEmulator, StoredEvent
from emulators.microshare import MicroshareEmulator
from emulators.microshare_answers import line_entry
from tests.environments import third_feed
from tests.environments.indexing import indexed
from tests.environments.installation import arrivals
from tests.environments.terminal import Terminal
from tests.promise import breaches, reading_of
from tests.runtime.host import timer_bindings

FEED = third_feed.module().FEED


@dataclass(frozen=True, slots=True)
class Ran:
    """A tree with the third feed, in which all feeds were run once, at an instant; what each hub had then."""

    terminal: Terminal
    at: datetime
    received: Sequence[Sequence[StoredEvent]]


@pytest.fixture(scope="module")
def ran(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ran]:
    at = datetime.now(UTC).replace(microsecond=0)
    # The source stands still for the run, so that it is known what was published then, and goes on after it.
    clocks = [lambda: at, lambda: datetime.now(UTC)]
    folder = tmp_path_factory.mktemp("tree")
    estate = Estate(feeds=(*FEEDS, third_feed.DESKS))
    with (
        MicroshareEmulator(estate, clock=lambda: clocks[0]()) as source,
        EventHubsEmulator(["a", "b"]) as hubs,
    ):
        terminal = Terminal(source, hubs, folder)
        third_feed.add_to(folder)
        terminal.environ["START_FROM"] = "3h"
        ended = terminal.call_in_folder("-m", "app", "run", "all", "--json")
        assert ended.status == 0, ended.err
        del clocks[0]
        yield Ran(terminal, at, [list(hub.received()) for hub in (terminal.a, terminal.b)])


@pytest.fixture
def terminal(ran: Ran) -> Terminal:
    return ran.terminal


def test_what_its_view_shows_is_at_every_hub(ran: Ran) -> None:
    terminal = ran.terminal
    named = set(FEED.placeholders.values())
    shown = terminal.source.estate.expected("desks", ran.at - timedelta(hours=3), ran.at, ran.at)
    published = [
        reading_of(location, FEED.rec_type, tags, line_entry(third_feed.DESKS, entry, named))
        for location, tags, _, entry in shown
    ]

    assert all({"presence", "battery"} <= reading.entry.keys() for reading in published)
    for received in ran.received:
        events = [event for event in received if event.properties["recType"] == FEED.rec_type]
        assert breaches(published, arrivals(events)) == []
    assert (terminal.folder / "state" / f"{FEED.state_name}.json").exists()


@pytest.mark.parametrize(
    "words",
    [
        ("check",),
        ("run", "example-desks"),
        ("status",),
        ("audit", "--feed", "example-desks", "--from", "2h"),
        ("backfill", "example-desks", "--from", "2h", "--to", "1h", "--only-missing", "--yes"),
        ("state", "show", "example-desks"),
        ("quarantine", "list"),
    ],
    ids=lambda words: words[0],
)
def test_a_command_knows_it(terminal: Terminal, words: tuple[str, ...]) -> None:
    ended = terminal.call_in_folder("-m", "app", *words, "--json")

    assert ended.status == 0, ended.out + ended.err
    told = " ".join(json.dumps(found) for found in ended.objects)
    assert "example_desks" in told or "example-desks" in told or words[0] == "quarantine"


def test_the_page_shows_it(terminal: Terminal) -> None:
    page = terminal.folder / "page.html"

    ended = terminal.call_in_folder("-m", "app", "report", "--from", "2h", "--output", str(page))

    assert ended.status == 0, ended.err
    assert "example-desks" in page.read_text()


def test_locations_are_asked_for_it(terminal: Terminal) -> None:
    ended = terminal.call_in_folder("-m", "app", "locations", "--json")

    assert {"example_desks"} <= {feed for found in ended.objects for feed in found["feeds"]}


def test_the_functions_host_finds_its_timer(terminal: Terminal) -> None:
    found = indexed(terminal.folder, {"EXAMPLE_DESKS_SCHEDULE": "0 */5 * * * *"})

    assert found["example_desks_forwarder"] == timer_bindings("0 */5 * * * *")
    assert len(found) == 3


def test_the_demo_compares_it_and_sees_nothing_of_the_world_around_it(terminal: Terminal) -> None:
    """A feed that is off is no offence; nor are a proxy, or the `.env`, hubs and telemetry of a real one.

    Its terminal shows plain characters only.
    """
    lifts = third_feed.MODULE.replace("desks", "lifts")
    (terminal.folder / "app" / "feeds" / "example_lifts.py").write_text(lifts)
    config = terminal.folder / "config.yaml"
    off = third_feed.ENTRY.replace("desks", "lifts").replace("DESKS", "LIFTS")
    with_both = config.read_text().replace("\nevent_hubs:", f"\n{off}event_hubs:", 1)
    real = with_both.replace("  names: {}\n", "  names: {real.example.test/counts: real}\n", 1)
    config.write_text(real.replace("export: ${TELEMETRY:-none}", "export: azure-monitor", 1))
    env_file = terminal.folder / ".env"
    env_file.write_text(
        "EVENT_HUB_TRANSPORT=websockets\nMICROSHARE_IDENTITY=com.real.EAST\nTELEMETRY: broken\n"
    )
    nowhere = "http://127.0.0.1:9"
    terminal.environ |= {"HTTP_PROXY": nowhere, "http_proxy": nowhere, "ALL_PROXY": nowhere}
    terminal.environ |= {"REQUESTS_CA_BUNDLE": "/nowhere/authorities.pem", "LOG_FORMAT": "no format"}
    terminal.environ["PYTHONIOENCODING"] = "ascii"

    ended = terminal.call_in_folder("-m", "emulators.demo")

    assert ended.status == 0, ended.out + ended.err
    assert "Source and hubs agree" in ended.out
    assert "| desks" in ended.out
    assert "example-lifts   off: it has no view id" in ended.out
    visitors = came_at_the_source(position_of_people(ended.out))
    assert chart_of(ended.out, "building") == dict(by_building(visitors))
    (most, _), *_ = by_building(visitors).most_common()
    assert chart_of(ended.out, most) == {
        hour: came for (name, hour), came in visitors.items() if name == most
    }


def position_of_people(said: str) -> datetime:
    """Give the instant up to which the demo says that people counts are done."""
    found = re.search(r"people-counter +people-live +(\S+Z)$", said, re.MULTILINE)
    assert found
    return parse_time(found[1])


def came_at_the_source(until: datetime) -> Counter[tuple[str, str]]:
    """Count who came in the last 24 hours of the clock, by building and hour on its clocks; no zeros."""
    shown = Estate().expected_people(until - timedelta(days=1), until, until)
    readings = [(name, parse_time(str(time)), entry) for name, _, time, entry in shown]
    newest = max(time for _, time, _ in readings)
    first = newest.replace(minute=0, second=0, microsecond=0) - timedelta(hours=23)
    came: Counter[tuple[str, str]] = Counter()
    for name, time, entry in readings:
        if time >= first:
            hour = time.astimezone(ZoneInfo(entry["meta"]["timezone"]))
            came[plain(name), f"{hour:%Y-%m-%d %H:00}"] += entry["change"]["in"]
    return +came


def plain(name: str) -> str:
    return name.encode("ascii", "backslashreplace").decode()


def by_building(visitors: Mapping[tuple[str, str], int]) -> Counter[str]:
    found: Counter[str] = Counter()
    for (name, _), came in visitors.items():
        found[name] += came
    return found


def chart_of(said: str, heading: str) -> dict[str, int]:
    """Give the numbers of the demo's chart that has this heading; each line is to fit a terminal."""
    below = re.split(rf"(?m)^{re.escape(heading)} +visitors$\n", said)[1]
    lines = below.partition("\n\n")[0].splitlines()
    assert max(map(len, lines)) <= 80
    rows = [re.fullmatch(r"(.+?) {2,}([\d,]+)(?: +#+)?", line) for line in lines]
    return {row[1]: int(row[2].replace(",", "")) for row in rows if row}
