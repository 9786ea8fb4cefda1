"""`make demo`: an example estate's readings into two hubs, with a failure on the way, and an account.

The forwarder is the real command line in processes of its own; this only plays the
world around it, and compares what the source published with what each hub holds. At the end
a consumer, a process too, reads one of them.
"""

from __future__ import annotations

import io
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import click
import yaml
from rich.console import Console
from rich.table import Table

from deploy.consumers.python.ask import bar_in
from emulators.counts import Count, read_counts
from emulators.estate import DEFAULT, Building, EmulatedFeed, Estate
from emulators.eventhubs import EmulatedHub, EventHubsEmulator
from emulators.microshare import MicroshareEmulator
from emulators.microshare_answers import FIELD_SLOTS, line_entry
from emulators.next_steps import ROOT, from_here, python
from emulators.visitors import read_hub, visitors_chart, visitors_in

HUBS = ("people-live", "people-backup")
# What a process needs to start and to write text, on Linux, macOS and Windows.
OF_THE_SYSTEM = ("PATH", "HOME", "LANG", "LC_ALL", "TMPDIR", "TEMP", "TMP", "SYSTEMROOT")
# What the source publishes only after the first run.
HELD_BACK = timedelta(minutes=50)

console = Console(width=100, highlight=False)


class World:
    """The source's clock stands still during the demo, so that both sides can be compared exactly."""

    def __init__(self, counts: Sequence[Count] | None) -> None:
        self.now = datetime.now(UTC).replace(microsecond=0)
        # Real counts are worth a week: it also shows a catch-up in slices.
        self.span = timedelta(days=7) if counts else timedelta(days=1)
        self.start = self.now - self.span
        self._behind = HELD_BACK
        estate = Estate(buildings=_with_one_door() if counts else DEFAULT, counts=counts)
        self.source = MicroshareEmulator(estate, clock=lambda: self.now - self._behind)
        self.source.skew = HELD_BACK
        self.hubs = EventHubsEmulator(HUBS)

    def publish_the_rest(self) -> None:
        self._behind = self.source.skew = timedelta(0)

    def environment(self, folder: Path) -> dict[str, str]:
        """Give the forwarder's whole environment, with settings in `folder`.

        Of the caller's own there is what a process needs to start, and of config.yaml its feeds: no
        proxy, no `.env` beside it, no hub or telemetry of a real installation.
        """
        settings = folder / "config.yaml"
        settings.write_text(json.dumps(_config()), encoding="utf-8")
        return (
            {name: os.environ[name] for name in OF_THE_SYSTEM if name in os.environ}
            | self.source.environment()
            | {
                "EVENT_HUB_CONNECTION_STRING": self.hubs.connection_string(HUBS[0]),
                "EVENT_HUB_CONNECTION_STRINGS": json.dumps([self.hubs.connection_string(HUBS[1])]),
                "STATE_STORE": "json",
                "STATE_DIR": str(folder / "state"),
                "START_FROM": self.start.isoformat(),
                "FORWARDER_CONFIG": str(settings),
                "LOG_LEVEL": "CRITICAL",
            }
        )

    def asked(self) -> Iterator[tuple[EmulatedFeed, set[str]]]:
        """Give each feed whose view was asked, with the sub-documents that it was asked for."""
        for feed in self.source.estate.feeds.values():
            queries = [asked.query for asked in self.source.queries() if asked.query["id"] == [feed.view_id]]
            if queries:
                yield feed, {name for query in queries for slot in FIELD_SLOTS for name in query[slot]}

    def published(self, feed: EmulatedFeed, named: Collection[str]) -> Counter[Arrived]:
        """Give what the source published of a feed, as its view shows it."""
        return Counter(
            arrived(feed.rec_type, location, tags, line_entry(feed, entry, named))
            for location, tags, _, entry in self.source.estate.expected(
                feed.name, self.start, self.now, self.now
            )
        )


def _with_one_door() -> list[Building]:
    """Give the buildings, the first one with the door alone that counts what is in a file."""
    return [replace(DEFAULT[0], groups=DEFAULT[0].groups[:1]), *DEFAULT[1:]]


def _config() -> dict[str, Any]:
    """Give config.yaml with its feeds, and of the rest only what takes the demo's variables."""
    written = yaml.safe_load((ROOT / "config.yaml").read_text(encoding="utf-8-sig"))
    names = ("username", "password", "auth", "api_key", "app_url", "auth_url", "api_url", "identity")
    return {
        "microshare": {name: f"${{MICROSHARE_{name.upper()}}}" for name in names},
        "feeds": written["feeds"],
        "event_hubs": {
            "primary": "${EVENT_HUB_CONNECTION_STRING}",
            "others": "${EVENT_HUB_CONNECTION_STRINGS}",
        },
        "state": {"store": "${STATE_STORE}", "directory": "${STATE_DIR}"},
        "run": {"start_from": "${START_FROM}"},
        "log_level": "${LOG_LEVEL}",
    }


@dataclass(frozen=True, slots=True)
class Arrived:
    """One reading at a hub: its recType, location, tags and content."""

    rec_type: str
    location: str
    tags: tuple[str, ...]
    content: str


def run_all(environment: Mapping[str, str]) -> tuple[int, list[dict[str, Any]]]:
    """Run every feed as a timer would; give the exit status and the reports."""
    return call(environment, "run", "all", "--json")


def call(environment: Mapping[str, str], *command: str) -> tuple[int, list[dict[str, Any]]]:
    done = subprocess.run(
        [sys.executable, "-m", "app", *command],
        cwd=ROOT,
        env=dict(environment),
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode not in (0, 1):
        raise SystemExit(f"python -m app {' '.join(command)} ended with {done.returncode}:\n{done.stderr}")
    return done.returncode, [json.loads(line) for line in done.stdout.splitlines()]


def arrived_at(hub: EmulatedHub) -> list[Arrived]:
    """Give every reading that a hub holds, events with several of them taken apart."""
    found = []
    for event in hub.received():
        body = json.loads(event.body)
        rec_type, location = str(event.properties["recType"]), str(event.properties["location"])
        if "objs" in body:
            for obj in body["objs"]:
                tags = tuple(obj["data"]["_id"]["tags"])
                found += [arrived(rec_type, location, tags, line) for line in obj["data"]["line"]]
        else:
            tags = tuple(body.pop("_location_tags"))
            body.pop("recType")
            found.append(arrived(rec_type, location, tags, body))
    return found


def arrived(rec_type: str, location: str, tags: tuple[str, ...], content: Mapping[str, Any]) -> Arrived:
    return Arrived(rec_type, location, tags, json.dumps(content, sort_keys=True))


def shown(feed: str) -> str:
    """Give a feed's name as the command line writes it."""
    return feed.replace("_", "-")


def describe_runs(title: str, reports: Sequence[Mapping[str, Any]]) -> None:
    console.print(f"\n[bold]{title}[/bold]")
    for report in reports:
        if "hubs" not in report:
            console.print(f"  {shown(report['feed']):15} {report.get('error') or 'off: it has no view id'}")
        for key, hub in report.get("hubs", {}).items():
            name = key.rpartition("/")[2]
            said = "[red]down: left alone[/red]" if hub["error"] else "ok"
            got = f"{hub['readings']:>6,} readings  {hub['events']:>6,} events"
            known = f"{hub['duplicates']:>4,} known already"
            console.print(f"  {shown(report['feed']):15} {name:13} {got}  {known}  {said}")


def compare(world: World) -> bool:
    """Print what arrived, by feed and location, beside what was published. Whether both agree everywhere."""
    table = Table(title="What arrived, by location", title_justify="left", header_style="bold")
    for heading in ("feed", "location"):
        table.add_column(heading)
    for heading in ("published", *HUBS):
        table.add_column(heading, justify="right")
    agree = True
    held = {hub: Counter(arrived_at(world.hubs.hub(hub))) for hub in HUBS}
    for feed, named in world.asked():
        published = at_location(world.published(feed, named), feed.rec_type)
        there = {hub: at_location(found, feed.rec_type) for hub, found in held.items()}
        for location, here in sorted(published.items()):
            cells = []
            for hub in HUBS:
                has = there[hub].get(location, Counter())
                agree = agree and has == here
                cells.append(f"{has.total():,} {'=' if has == here else '[red]differs[/red]'}")
            table.add_row(shown(feed.name), location, f"{here.total():,}", *cells)
        agree = agree and bool(published)
    console.print()
    console.print(table)
    return agree


def at_location(readings: Counter[Arrived], rec_type: str) -> dict[str, Counter[Arrived]]:
    """Give the readings of a recType by their location."""
    found: dict[str, Counter[Arrived]] = {}
    for reading, times in readings.items():
        if reading.rec_type == rec_type:
            found.setdefault(reading.location, Counter())[reading] = times
    return found


def show_samples(world: World) -> None:
    events = world.hubs.hub(HUBS[0]).received()
    for rec_type in dict.fromkeys(event.properties["recType"] for event in events):
        event = next(event for event in events if event.properties["recType"] == rec_type)
        console.print(f"\n[bold]A sample event[/bold], message id {event.message_id}, properties:")
        console.print(f"  {json.dumps(event.properties, ensure_ascii=False)}", markup=False)
        body = event.body.decode()
        console.print(f"  {body[:420]}{' …' if len(body) > 420 else ''}", markup=False)


def show_positions(environment: Mapping[str, str]) -> None:
    _, feeds = call(environment, "status", "--json")
    console.print("\n[bold]Positions[/bold] (everything before them is done)")
    for feed in feeds:
        for key, hub in feed.get("hubs", {}).items():
            console.print(f"  {shown(feed['feed']):16} {key.rpartition('/')[2]:14} {hub['delivered_until']}")


def show_visitors(table: Path, environment: Mapping[str, str], counts: Path | None) -> None:
    """Let a consumer make a table of the first hub, and show what it says of who came."""
    console.print(
        f"\n[bold]5. A consumer makes a table of {HUBS[0]}, and is asked who came on the last day[/bold]"
    )
    read_hub(table, environment)
    replayed = DEFAULT[0].name if counts else None
    console.out("\n".join(visitors_chart(visitors_in(table), first=replayed, bar=bar_in(console.encoding))))
    if counts:
        console.out(f"\n{replayed} has the counts of {counts.name}.")
    console.out("\nHow to make such a table of your hubs:\n  docs/consuming.md")


@click.command()
@click.option(
    "--counts",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="CSV with time,in,out: real counts, replayed as those of the first building, which has one door.",
)
def demo(counts: Path | None) -> None:
    """Forward an example estate into two hubs; break one, let it catch up, and read it with a consumer."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        # A name may have letters that the terminal has not.
        sys.stdout.reconfigure(errors="backslashreplace")
    try:
        rows = read_counts(counts) if counts else None
    except (OSError, ValueError) as error:
        raise click.BadParameter(str(error), param_hint="--counts") from None
    folder = Path(tempfile.mkdtemp(prefix="microshare-demo-"))
    try:
        world = World(rows)
        with world.source, world.hubs:
            environment = world.environment(folder)
            if not play(world, environment):
                console.print("\n[red]Source and hubs differ.[/red]")
                sys.exit(1)
            console.print("\n[green]Source and hubs agree, reading by reading.[/green]")
            show_visitors(folder / "readings.db", environment, counts)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    # Not by the console, which would break a long path in two.
    click.echo("\nThe same world, to try the commands on by hand; it prints which:")
    click.echo(f"  {from_here(f'{python()} -m emulators --env-file ~/demo.env')}")
    click.echo(f"\nWhat else there is:\n  {from_here(f'{python()} -m app --help')}")
    click.echo("\nYour own account and hubs: README.md, Install")


def play(world: World, environment: Mapping[str, str]) -> bool:
    """Act the story; whether every step went as it should."""
    console.print("Two Event Hubs and a Microshare account, all on this machine; nothing leaves it.")
    backup = world.hubs.hub(HUBS[1])
    first, reports = run_all(environment)
    describe_runs(f"1. The first run brings the last {world.span.days * 24} hours to both hubs", reports)

    world.publish_the_rest()
    backup.go_down()
    broken, reports = run_all(environment)
    describe_runs("2. More was published, and one hub is down", reports)

    backup.come_up()
    caught_up, reports = run_all(environment)
    describe_runs("3. It is back, and catches up alone", reports)

    again, reports = run_all(environment)
    describe_runs("4. Another run repeats nothing", reports)
    repeated = sum(hub["events"] for report in reports for hub in report.get("hubs", {}).values())

    agree = compare(world)
    show_samples(world)
    show_positions(environment)
    return agree and (first, broken, caught_up, again, repeated) == (0, 1, 0, 0, 0)


if __name__ == "__main__":
    demo()
