"""`python -m emulators.scenario`: two days of trouble, made in less than a minute, to try every command on.

Three hubs and five buildings, and 50 hours of runs in which outages, a stop, a rename, and readings
that are late, lost, repeated, too large or without a time happen at known hours. Then the
stand-ins stay, so that commands can ask them.
"""

from __future__ import annotations

import json
import logging
import shutil
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from operator import itemgetter
from pathlib import Path

import click

from emulators.__main__ import LOOPBACK, write_env_file
from emulators.estate import PEOPLE, Estate, ms_of
from emulators.eventhubs import EmulatedHub, EventHubsEmulator, HubSpec, StoredEvent
from emulators.history import Clock, Runs, runs
from emulators.microshare import MicroshareEmulator
from emulators.next_steps import ROOT, in_another_terminal

LENGTH = timedelta(hours=50)
HOUR = timedelta(hours=1)
PRIMARY, BACKUP, SMALL = "people-live", "people-backup", "people-small"
# What the Basic tier of Event Hubs takes; the others take four times as much.
SMALL_BYTES = 262_144
# What marks a folder as one that may be overwritten.
ACCOUNT = "scenario.txt"
COMMANDS = (
    "status",
    "report --output report.html",
    "audit",
    "check",
    "locations",
    "state show people-counter",
    "quarantine list",
    "tail --count 5",
    "backfill people-counter --from 1d --to 0s --only-missing",
    "run all",
)


class Installation:
    """What trouble works on: source, hubs, their clock, and whether the timers fire."""

    def __init__(self, seed: int, begin: datetime, microshare_port: int, eventhubs_port: int) -> None:
        self.clock = Clock(begin)
        self.source = MicroshareEmulator(Estate(seed), port=microshare_port, clock=self.clock)
        hubs = [HubSpec(PRIMARY), HubSpec(BACKUP), HubSpec(SMALL, max_message_bytes=SMALL_BYTES)]
        self.hubs = EventHubsEmulator(hubs, port=eventhubs_port, now_ms=lambda: ms_of(self.clock()))
        self.timers_fire = True

    @property
    def at(self) -> datetime:
        return self.clock()

    @property
    def estate(self) -> Estate:
        return self.source.estate

    def hub(self, name: str) -> EmulatedHub:
        return self.hubs.hub(name)

    def newest(self, hub: str, location: str) -> StoredEvent:
        """Give the people count of a location that came to a hub last."""
        return [
            event
            for event in self.hub(hub).received()
            if (event.properties["location"], event.properties["recType"]) == (location, PEOPLE.rec_type)
        ][-1]

    def environment(self, folder: Path) -> dict[str, str]:
        others = [
            {"name": name, "connection_string": self.hubs.connection_string(name)} for name in (BACKUP, SMALL)
        ]
        return {
            "FORWARDER_CONFIG": str(folder / "config.yaml"),
            **self.source.environment(),
            "EVENT_HUB_CONNECTION_STRING": self.hubs.connection_string(PRIMARY),
            "EVENT_HUB_CONNECTION_STRINGS": json.dumps(others),
            "NO_PROXY": LOOPBACK,
            "STATE_STORE": "json",
            "STATE_DIR": str(folder / "state"),
            "TELEMETRY": "none",
        }


@dataclass(frozen=True, slots=True)
class Trouble:
    """Something that goes wrong, `begins` hours after the beginning; `undo` ends it at `ends`."""

    begins: float
    ends: float | None
    what: str
    do: Callable[[Installation], None]
    undo: Callable[[Installation], None] = lambda _: None

    def told(self, begin: datetime) -> str:
        first = f"{begin + self.begins * HOUR:%m-%d %H:%M}"
        last = "" if self.ends is None else f"{begin + self.ends * HOUR:%m-%d %H:%M}"
        return f"  {first} {'to' if last else '  '} {last:11}  {self.what}"


def _publish_late(location: str, by: timedelta) -> Callable[[Installation], None]:
    def do(installation: Installation) -> None:
        installation.estate.add_people(location, None, installation.at, visible_from=installation.at + by)

    return do


def _fall_silent(installation: Installation) -> None:
    installation.estate.silence("Tour Été", installation.at, installation.at + 3 * HOUR, feed="people")


def _correct(installation: Installation) -> None:
    event = installation.newest(PRIMARY, "Tour Été")
    reading = json.loads(event.body)
    change = {"in": reading["change"]["in"] + 7}
    installation.estate.correct(
        "Tour Été", reading["_location_tags"], reading["time"], at=installation.at, change=change
    )


def _forget(installation: Installation) -> None:
    installation.estate.hide("Example Beacon House", installation.at - HOUR, installation.at, feed="people")


def _lose(installation: Installation) -> None:
    lost = installation.newest(PRIMARY, "Tour Été")
    installation.hub(PRIMARY).discard(lost.__eq__)


def _repeat(installation: Installation) -> None:
    repeated = installation.newest(SMALL, "50% Annex")
    installation.hub(SMALL).repeat(repeated.__eq__)


def _rename(installation: Installation) -> None:
    installation.estate.rename("Mill & Lane", "Mill Works", at=installation.at)


def _omit_time(installation: Installation) -> None:
    installation.estate.add_people("Example Beacon House", None, installation.at, without=["time"])


def _grow(installation: Installation) -> None:
    installation.estate.add_people("50% Annex", None, installation.at, note="x" * SMALL_BYTES)


def _stop_timers(installation: Installation) -> None:
    installation.timers_fire = False


def _start_timers(installation: Installation) -> None:
    installation.timers_fire = True


def _fail(installation: Installation) -> None:
    installation.source.faults.status(500, location="Quay+One")


TROUBLES = (
    Trouble(
        8.1, 12.1, "a reading of Tour Été is published 4 hours late", _publish_late("Tour Été", 4 * HOUR)
    ),
    Trouble(20.6, None, "a reading of Tour Été is corrected after delivery", _correct),
    Trouble(27.4, None, "a reading of Tour Été is lost at the primary after it was acknowledged", _lose),
    Trouble(27.9, None, f"a reading of 50% Annex is stored twice at {SMALL}", _repeat),
    Trouble(
        28.1,
        34.1,
        f"{BACKUP} is down",
        lambda installation: installation.hub(BACKUP).go_down(),
        lambda installation: installation.hub(BACKUP).come_up(),
    ),
    Trouble(29.1, 32.1, "Tour Été is silent, and then publishes everything at once", _fall_silent),
    Trouble(33.4, None, "the source forgets what Example Beacon House counted in the hour before", _forget),
    Trouble(
        34.6, 37.6, "a reading of 50% Annex is published 3 hours late", _publish_late("50% Annex", 3 * HOUR)
    ),
    Trouble(35.1, None, "Mill & Lane is renamed Mill Works", _rename),
    Trouble(36.1, None, "a reading of Example Beacon House has no time", _omit_time),
    Trouble(36.6, None, f"a reading of 50% Annex is too large for {SMALL}", _grow),
    Trouble(37.1, 38.1, "a reading of Tour Été is published an hour late", _publish_late("Tour Été", HOUR)),
    Trouble(39.1, 44.1, "no timer fires", _stop_timers, _start_timers),
    Trouble(45.1, None, "the API answers 500 for Quay+One, to the end", _fail),
)


@contextmanager
def scenario(
    folder: Path,
    begin: datetime,
    end: datetime,
    seed: int = 1,
    microshare_port: int = 0,
    eventhubs_port: int = 0,
) -> Iterator[Installation]:
    """Make a scenario in a folder of its own; while the context lasts its source and hubs answer.

    With the same times, seed, folder and ports the state is the same to the byte.
    """
    prepare(folder)
    installation = Installation(seed, begin, microshare_port, eventhubs_port)
    with installation.hubs, installation.source:
        environment = installation.environment(folder)
        write_env_file(folder / ".env", environment)
        with runs(environment, installation.clock) as those:
            make_history(installation, those, begin, end)
        (folder / ACCOUNT).write_text(account(begin, end), encoding="utf-8")
        yield installation


def make_history(installation: Installation, runs: Runs, begin: datetime, end: datetime) -> None:
    """Let the time from `begin` to `end` pass: trouble, and runs whenever their timers fire."""
    steps: list[tuple[datetime, Callable[[Installation], None]]] = []
    for trouble in TROUBLES:
        steps.append((begin + trouble.begins * HOUR, trouble.do))
        if trouble.ends is not None:
            steps.append((begin + trouble.ends * HOUR, trouble.undo))
    steps += ((at, _fire(runs, feed)) for at, feed in runs.due(begin, end))
    steps = sorted((step for step in steps if step[0] <= end), key=itemgetter(0))
    with click.progressbar(steps, label="making the history", file=sys.stderr) as bar:
        for at, act in bar:
            installation.clock.set(at)
            act(installation)


def _fire(runs: Runs, feed: str) -> Callable[[Installation], None]:
    def act(installation: Installation) -> None:
        if installation.timers_fire:
            runs.run(feed)

    return act


def instant(text: str) -> datetime:
    """Read an ISO time, in UTC unless it has a zone."""
    try:
        read = datetime.fromisoformat(text)
    except ValueError:
        raise click.BadParameter(f"{text!r} is not an ISO time; write 2026-03-02T12:00Z") from None
    read = read.astimezone(UTC) if read.tzinfo else read.replace(tzinfo=UTC)
    if read > datetime.now(UTC):
        raise click.BadParameter(f"{text!r} is still to come")
    return read


def prepare(folder: Path) -> None:
    """Make the folder, or empty it of an earlier scenario. Raises ClickException where it is somebody's."""
    if folder.exists() and any(folder.iterdir()) and not (folder / ACCOUNT).exists():
        raise click.ClickException(f"{folder}: holds something else than a scenario; name another --folder")
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    (folder / ACCOUNT).touch()
    shutil.rmtree(folder / "state", ignore_errors=True)
    shutil.copy(ROOT / "config.yaml", folder)


@click.command()
@click.option(
    "--folder",
    type=click.Path(file_okay=False, path_type=Path),
    default=Path(".scenario"),
    show_default=True,
    help="Where settings and state are left; an earlier scenario in it is replaced.",
)
@click.option("--end", type=instant, metavar="TIME", help="When the hours end; now, if left out.")
@click.option("--seed", default=1, show_default=True, help="Another seed, other readings.")
@click.option("--microshare-port", default=0, help="Port of the Microshare API; any free one if left out.")
@click.option("--eventhubs-port", default=0, help="Port of Event Hubs; any free one if left out.")
@click.option("--once", is_flag=True, help="End when the files are there; then nobody answers commands.")
@click.option("--still", is_flag=True, help="Stop the clock of the stand-ins at the end, for tools.")
def main(
    folder: Path,
    end: datetime | None,
    seed: int,
    microshare_port: int,
    eventhubs_port: int,
    once: bool,
    still: bool,
) -> None:
    """Make two days of trouble, and stay so that commands can look at them, until SIGINT or SIGTERM.

    No run begins by itself after them. With the same end, seed, folder and ports the state is the same
    to the byte.
    """
    folder = folder.resolve()
    end = end or datetime.now(UTC)
    # On the hour, so that trouble meets the timers in one way whenever it ends.
    begin = (end - LENGTH).replace(minute=0, second=0, microsecond=0)
    started = time.monotonic()
    try:
        with scenario(folder, begin, end, seed, microshare_port, eventhubs_port) as installation:
            click.echo(f"{account(begin, end)}\nMade in {time.monotonic() - started:.0f} s, in {folder}")
            if still:
                installation.clock.set(end)
            else:
                installation.clock.release()
            if not once:
                stay(folder)
    except OSError as error:
        raise click.ClickException(f"cannot start: {error}") from error


def account(begin: datetime, end: datetime) -> str:
    """Say what went wrong, and when."""
    title = f"{begin:%Y-%m-%d %H:%M} to {end:%m-%d %H:%M} UTC: runs of two feeds into three hubs, and"
    return "\n".join((title, *(trouble.told(begin) for trouble in TROUBLES), ""))


def stay(folder: Path) -> None:
    """Answer commands until a signal comes."""
    # It warns of each packet for a client that has left, as `tail --count` does.
    logging.getLogger("asyncio").setLevel(logging.ERROR)
    ended = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: ended.set())
    lines = "".join(f"\n  {line}" for line in in_another_terminal(folder / ".env", COMMANDS))
    click.echo(f"\nIn another terminal:{lines}\n\nCtrl-C ends it.")
    ended.wait()


if __name__ == "__main__":
    main(prog_name="python -m emulators.scenario")
