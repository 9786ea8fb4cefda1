"""What a case works on: a small installation with canary secrets, an oracle, proofs that faults fired."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
import zlib
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from app.base.budget import Budget
from app.base.checkpoints import Gap
from app.base.program import APP_ROOT
from app.cli.session import explain
from app.microshare.client import MicroshareClient
from app.run.forwarder import run_forwarder
from app.run.refused_logins import RefusedLogins
from app.run.report import Report, RunFailed
from app.settings.schema import Settings
from app.wiring import wire
from emulators.estate import PEOPLE, SNAPSHOTS, Building, Entry, Estate
from emulators.eventhubs import EmulatedHub, EventHubsEmulator
from emulators.microshare import MicroshareEmulator
from emulators.stored_events import StoredEvent
from tests.canaries import API_KEY, HUB_KEY, PASSWORD
from tests.environments.azurite import Relay, connection_string
from tests.environments.installation import Clock, Installation, arrivals
from tests.environments.tls import TlsFront
from tests.promise import Arrival, Reading, reading_of

if TYPE_CHECKING:
    from tests.faults.case import Case

STEP = timedelta(minutes=5)
HISTORY = timedelta(hours=2)
LONG_AGO = timedelta(days=60)


def building(name: str, **options: Any) -> Building:
    """Give a building with two doors and two rooms, so that an answer has two objects."""
    doors = ((name, "0", "Main Entrance"), (name, "1", "Patio"))
    rooms = ((name, "Floor-01", "Room-01"), (name, "Floor-02", "Room-02"))
    return Building(name, groups=doors, rooms=rooms, **options)


MILL = building("Mill & Lane")
TOUR = building("Tour Été", cluster=1)


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a run or a command ended: its exit status, and everything that it said."""

    status: int
    text: str
    report: Report | None = None


class RunningClock(Clock):
    """The host's clock, for processes that have no other. It cannot be moved."""

    def __init__(self) -> None:
        self._from = datetime.now(UTC)

    @property
    def now(self) -> datetime:  # type: ignore[override]  # cannot be set
        return datetime.now(UTC)

    def move(self, **by: float) -> None:
        """Let time pass by itself."""


Act = Callable[["FaultyInstallation"], Outcome]


def _other_body(case: Case) -> str:
    """Give the form of hub `b`, always the same one in a case."""
    return ("with_ids", "cloudevents")[zlib.crc32(case.title.encode()) % 2]


class FaultyInstallation(Installation):
    """The installation of one case. Hub `a` and hub `b` are services of their own, so that one can be gone.

    Waits that the API asks for, or that follow its errors, are noted in `waits` and cut short;
    one that the run's budget does not allow is refused as ever. `fired` counts the faults that
    cases make themselves, and `proofs` hold what shows that a fault was there.
    """

    def __init__(self, case: Case, folder: Path, patch: pytest.MonkeyPatch, stack: ExitStack) -> None:
        clock = RunningClock() if case.live else Clock(case.at)
        estate = Estate(
            buildings=case.buildings,
            generated=False,
            people_lag=timedelta(0),
            snapshot_lag=timedelta(0),
        )
        # A live API is a second ahead: its date, in whole seconds, may be that of the run before.
        api_clock = (lambda: clock.now + timedelta(seconds=1)) if case.live else clock
        source = MicroshareEmulator(estate, clock=api_clock, password=PASSWORD, api_key=API_KEY)
        stack.enter_context(source)
        hubs = stack.enter_context(EventHubsEmulator([case.hubs[0]], key=HUB_KEY))
        super().__init__(source, hubs, clock, folder)
        self.other = stack.enter_context(EventHubsEmulator([case.hubs[1]], key=HUB_KEY))
        hours = int(case.start_from.total_seconds() // 3600)
        # Whatever goes wrong, it must not matter in which form a hub gets its events; `a` has the plain one.
        self.environ |= {
            "EVENT_HUB_CONNECTION_STRING": hubs.connection_string("a"),
            "EVENT_HUB_CONNECTION_STRINGS": json.dumps(
                [{"connection_string": self.other.connection_string("b"), "body": _other_body(case)}]
            ),
            "START_FROM": f"{hours}h",
            "PATH": os.environ["PATH"],
            "FORWARDER_CONFIG": str(folder / "config.yaml"),
            **case.environ,
        }
        shutil.copy(APP_ROOT / "config.yaml", folder)
        self.case = case
        self.patch = patch
        self.stack = stack
        self.state_dir = folder / "state"
        self.relay: Relay | None = None
        self.fronts: dict[str, TlsFront] = {}
        self.fired: Counter[str] = Counter()
        self.proofs: list[tuple[str, Callable[[], bool]]] = []
        self.waits: list[float] = []
        self.outcomes: list[Outcome] = []
        self.late: list[Entry] = []
        self.unsendable: dict[str, list[Entry]] = {"a": [], "b": []}
        self.repeats = 0
        self.issued: set[Reading] = set()
        self.secrets = {PASSWORD, API_KEY, HUB_KEY}
        self.began = clock.now
        self._undo: list[Callable[[], None]] = []
        self._planted_until = clock.now - HISTORY
        self._before: tuple[dict[str, str], int] = ({}, 0)
        self._marks: Counter[str] = Counter()

    # --- the places --------------------------------------------------------------------------------

    @property
    def b(self) -> EmulatedHub:
        return self.other.hub("b")

    @property
    def report(self) -> Report:
        report = self.outcomes[-1].report
        assert report is not None, self.outcomes[-1].text
        return report

    @property
    def quarantine(self) -> list[Path]:
        return sorted((self.state_dir / "quarantine").rglob("*.json"))

    def state_file(self) -> Path:
        return self.state_dir / "peoplecounterstate.json"

    def use_table(self, port: int) -> None:
        """Keep the state in tables, through a relay that can break."""
        self.relay = Relay(port)
        text = connection_string(self.relay.port)
        self.environ |= {"STATE_STORE": "table", "AzureWebJobsStorage": text}

    # --- readings ----------------------------------------------------------------------------------

    def plant(self, name: str, when: datetime, **how: Any) -> Entry:
        """Plant one reading of a building's first door."""
        return self.estate.add_people(name, None, when, **how)

    def plant_until(self, end: datetime, step: timedelta = STEP) -> None:
        """Plant what happens anyway: a reading of each door or room, so far apart, up to `end`."""
        names = [found for found in self.estate.listed(end) if found.cluster != 2]
        while self._planted_until + step <= end:
            self._planted_until += step
            for found in names:
                self._plant_one(found, self._planted_until)

    def _plant_one(self, found: Building, when: datetime) -> None:
        if self.case.feed == "hourly_snapshot":
            for room in found.rooms:
                self.estate.add_snapshot(found.name, room, when)
        else:
            for door in found.groups:
                self.estate.add_people(found.name, door, when)

    def pass_time(self, **by: float) -> None:
        """Let time pass, with readings in it."""
        if self.case.live:
            for found in self.estate.listed(self.clock.now):
                if found.cluster != 2:
                    self._plant_one(found, self.clock.now - timedelta(seconds=3))
            return
        self.clock.move(**by)
        self.plant_until(self.clock.now)

    def pass_quiet_time(self, **by: float) -> None:
        """Let time pass in which there is a reading only every two hours."""
        self.clock.move(**by)
        self.plant_until(self.clock.now, timedelta(hours=2))

    def skip_time(self, **by: float) -> None:
        """Let time pass in which nothing happens."""
        self.clock.move(**by)
        self._planted_until = self.clock.now

    def gaps(self, location: str) -> tuple[Gap, ...]:
        return self.state().locations[location].gaps

    def shown_now(self) -> set[Reading]:
        """Give what the source shows at this instant."""
        now = self.clock.now
        start = now - LONG_AGO
        if self.case.feed == "hourly_snapshot":
            rec_type, found = SNAPSHOTS.rec_type, self.estate.expected_snapshots(start, now, now)
        else:
            rec_type, found = PEOPLE.rec_type, self.estate.expected_people(start, now, now)
        return {reading_of(name, rec_type, tags, entry) for name, tags, _, entry in found}

    def set_aside(self, entry: Entry, *hubs: str) -> None:
        """Expect this entry to be at none of the hubs: it cannot be sent, or is not to be."""
        for hub in hubs or ("a", "b"):
            self.unsendable[hub].append(entry)

    def comes_late(self, entry: Entry) -> Entry:
        """Expect this entry behind later ones."""
        self.late.append(entry)
        return entry

    def observe(self) -> None:
        self.issued |= self.shown_now()

    def events(self, hub: str) -> list[StoredEvent]:
        """Give a hub's events in order."""
        return (self.a if hub == "a" else self.b).received()

    def arrived(self, hub: str) -> list[Arrival]:
        """Give a hub's events in order, taken apart."""
        return arrivals(self.events(hub))

    def entries(self, hub: str) -> list[Entry]:
        """Give the entries a hub has, in order."""
        return [reading.entry for event in self.arrived(hub) for reading in event.readings]

    def count(self, entry: Entry, hub: str = "a") -> int:
        """Count how often a hub has the reading of that record, corrected or not."""
        return sum(found.get("record") == entry["record"] for found in self.entries(hub))

    # --- faults ------------------------------------------------------------------------------------

    def after(self, undo: Callable[[], object]) -> None:
        """Have this done when the case heals."""
        self._undo.append(lambda: (undo(), None)[1])

    def proof(self, what: str, holds: Callable[[], bool]) -> None:
        """Say what shows that the fault was there; it is looked at after the run."""
        self.proofs.append((what, holds))

    def begin_fault(self) -> None:
        self._before = (dict(self.environ), self._fired_so_far())
        for name in ("logins", "attempts", "queries", "a", "b", "a.tries", "b.tries"):
            self._marks[name] = self._measure(name)

    def since(self, name: str) -> int:
        """Count logins, attempts, queries, events at a or b, or transfers (a.tries) under the fault."""
        return self._measure(name) - self._marks[name]

    def _measure(self, name: str) -> int:
        counts: dict[str, Callable[[], int]] = {
            "logins": lambda: self.source.logins,
            "attempts": lambda: self.source.login_attempts,
            "queries": lambda: len(self.source.queries()),
            "a": lambda: len(self.a.received()),
            "b": lambda: len(self.b.received()),
            "a.tries": lambda: self.a.attempts,
            "b.tries": lambda: self.b.attempts,
        }
        return counts[name]()

    def _fired_so_far(self) -> int:
        emulated = (self.source.faults.fired, self.a.fired, self.b.fired, self.fired)
        relayed = len(self.relay.fired) if self.relay else 0
        return sum(sum(found.values()) for found in emulated) + relayed

    def unproven(self) -> list[str]:
        """Give what does not show that the fault was there; nothing where it was."""
        missing = [what for what, holds in self.proofs if not holds()]
        if not self.proofs and self._fired_so_far() <= self._before[1]:
            missing.append("no fault fired")
        return missing

    def heal(self) -> None:
        """Switch every fault off, and put settings and clocks back."""
        self.source.faults.clear()
        self.source.intercept = None
        self.patch.undo()
        for undo in reversed(self._undo):
            undo()
        self._undo.clear()
        self.a.clear_faults()
        self.b.clear_faults()
        if self.relay:
            self.relay.forget_orders()
            self.relay.clock_ahead = timedelta(0)
        self.environ = dict(self._before[0])
        self.overrides.clear()
        self.host_clock = self.clock
        self.restart()

    def break_call(self, module: Any, name: str, error: OSError) -> None:
        """Let every call of a function of the operating system fail."""

        def failing(*_: Any, **__: Any) -> Any:
            self.fired[name] += 1
            raise error

        self.patch.setattr(module, name, failing)

    def break_nth_call(self, nth: int, module: Any, names: Sequence[str], error: OSError) -> Counter[str]:
        """Let the n-th of all calls of these functions fail, once; give where they are counted."""
        counted = Counter[str]()

        def counting(real: Callable[..., Any]) -> Callable[..., Any]:
            def call(*args: Any, **options: Any) -> Any:
                counted["made"] += 1
                if counted["made"] == nth:
                    self.fired["a call failed"] += 1
                    raise error
                return real(*args, **options)

            return call

        for name in names:
            self.patch.setattr(module, name, counting(getattr(module, name)))
        return counted

    # --- runs --------------------------------------------------------------------------------------

    def settings(self) -> Settings:
        settings = super().settings()
        source = settings.microshare
        said = {key: value for key, value in self.overrides.items() if hasattr(source, key)}
        return replace(settings, microshare=replace(source, **said))

    def run_once(self, feed: str = "", *, budget: Budget | None = None, dry_run: bool = False) -> Outcome:
        """Run the feed in this process, as a timer would; give how it ended."""
        self.observe()
        outcome = self._outcome(feed or self.case.feed, budget, dry_run=dry_run)
        self.secrets |= set(self.source._tokens)
        self.outcomes.append(outcome)
        return outcome

    def _outcome(self, feed: str, budget: Budget | None, *, dry_run: bool) -> Outcome:
        try:
            wiring = wire(self.settings(), dry_run=dry_run)
            microshare = wiring.settings.microshare

            def make_client(budget: Budget) -> MicroshareClient:
                def wait(seconds: float) -> None:
                    self.waits.append(seconds)
                    budget.sleep(seconds if seconds > budget.left() else min(seconds, 0.02))

                return MicroshareClient(
                    microshare,
                    budget,
                    tokens=self.tokens,
                    now=self.host_clock,
                    wait=wait,
                    refusals=RefusedLogins(wiring.store, self.host_clock),
                )

            wiring = replace(wiring, make_client=make_client, now=self.host_clock)
            budget = budget or Budget(timedelta(seconds=40), grace=timedelta(seconds=5))
            report = run_forwarder(feed, wiring, budget=budget)
        except RunFailed as failed:
            text = f"{failed}\n{json.dumps(failed.report.as_json(), ensure_ascii=False)}"
            return Outcome(1, text, failed.report)
        except Exception as error:  # noqa: BLE001 - judged as the command line judges it
            explained = explain(error)
            return Outcome(explained.status, explained.text)
        return Outcome(0, json.dumps(report.as_json(), ensure_ascii=False), report)

    def start(self, *words: str, **options: Any) -> subprocess.Popen[str]:
        """Start the command line in a process of its own."""
        self.observe()
        return subprocess.Popen(
            [sys.executable, "-m", "app", *words],
            cwd=APP_ROOT,
            env=self.environ,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            encoding="utf-8",
            **options,
        )

    def finish(self, process: subprocess.Popen[str]) -> Outcome:
        out, err = process.communicate(timeout=240)
        assert "Traceback" not in err, err
        self.observe()
        self.secrets |= set(self.source._tokens)
        self.outcomes.append(Outcome(process.returncode, out + err))
        return self.outcomes[-1]

    def command(self, *words: str, **options: Any) -> Outcome:
        return self.finish(self.start(*words, **options))

    def stored_texts(self) -> str:
        """Give every file and row that was kept."""
        texts = [path.read_text("utf-8", "replace") for path in self.state_dir.rglob("*") if path.is_file()]
        if self.relay:
            from azure.data.tables import TableServiceClient

            service = TableServiceClient.from_connection_string(self.environ["AzureWebJobsStorage"])
            for table in service.list_tables():
                rows = service.get_table_client(table.name).list_entities()
                texts += [str(dict(row)) for row in rows]
        return "\n".join(texts)


@contextmanager
def staged(case: Case, folder: Path, patch: pytest.MonkeyPatch) -> Iterator[FaultyInstallation]:
    """Give the faulty of a case, with two hours of readings."""
    with ExitStack() as stack:
        faulty = FaultyInstallation(case, folder, patch, stack)
        faulty.plant_until(faulty.clock.now - timedelta(seconds=5))
        yield faulty
        if faulty.relay:
            faulty.relay.close()


# --- runs under a fault -------------------------------------------------------------------------------


def run_once(faulty: FaultyInstallation) -> Outcome:
    return faulty.run_once()


def run_within(seconds: float, grace: float = 3.0) -> Act:
    """Give a run whose budget is so many seconds."""
    return lambda faulty: faulty.run_once(
        budget=Budget(timedelta(seconds=seconds), grace=timedelta(seconds=grace))
    )


def runs(times: int, *, minutes: float = 15) -> Act:
    """Give several runs, so far apart; the last one's end counts."""

    def act(faulty: FaultyInstallation) -> Outcome:
        for _ in range(times - 1):
            faulty.run_once()
            faulty.pass_time(minutes=minutes)
        return faulty.run_once()

    return act


def run_command(*words: str) -> Act:
    return lambda faulty: faulty.command(*words)


RUN = ("run", "people-counter", "--json")


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])
