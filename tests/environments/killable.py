"""Where runs are killed: a source, two hubs, a store, and an oracle that knows what must have arrived.

The emulators live here, the runs elsewhere; nothing that happens to a run happens to them. What every
hub stored is kept with the number of the run that sent it.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Literal, Self

from azure.data.tables import TableServiceClient

from app.base.checkpoints import Checkpoint, FeedState
from app.base.instants import format_time
from app.base.readings import DashboardAnswer
from app.base.readings import Reading as AppReading
from app.feeds.feed import load_feed, read_answer
from app.settings.loading import load_settings
from app.settings.schema import Settings
from app.state.opening import open_store
from emulators.authorities import one_authority
from emulators.estate import Building, Entry, Estate
from emulators.eventhubs import EmulatedHub, EventHubsEmulator, HubSpec, StoredEvent
from emulators.microshare import MicroshareEmulator
from tests.crashes.child import LONGEST_RUN_S, Order, fingerprints
from tests.crashes.forks import ROOT, Ended, Forks, forks
from tests.environments.azurite import Relay, connection_string
from tests.promise import (
    Arrival,
    Reading,
    arrival_of,
    invented,
    lost,
    out_of_order,
    reading_of,
    repeated,
    under_another_id,
)

Feed = Literal["people_counter", "hourly_snapshot"]

START = datetime(2025, 9, 1, 12, 0, tzinfo=UTC)
STATE_NAMES = {"people_counter": "peoplecounterstate", "hourly_snapshot": "snapshotstate"}
HUBS = ("a", "b")
NAMES = ("Mill & Lane", "Quay+One")
MINUTE = timedelta(minutes=1)
DAY = timedelta(days=1)
_SETTLING_S = 0.03
LOCKED = 3
# The lease of a killed run is over then; see docs/operating.md.
LEASE_OVER = timedelta(seconds=66)
# So small that what a step publishes at a location needs two or three batches.
_MESSAGE_BYTES = {"people_counter": 4096, "hourly_snapshot": 1500}


@dataclass(frozen=True, slots=True)
class Sent:
    """What a hub stored, and the number of the run that sent it."""

    hub: str
    run: int
    arrival: Arrival


@dataclass(frozen=True, slots=True)
class Step:
    """A run that was done, and its trace; `after_kill` where it had to cope with another's death."""

    number: int
    ended: Ended
    trace: Sequence[Mapping[str, Any]]
    after_kill: bool

    def boundaries(self) -> Counter[str]:
        return Counter(line["at"] for line in self.trace if "at" in line)

    def failures(self) -> list[str]:
        return [text for line in self.trace for text in line.get("failures", ())]


@dataclass(slots=True)
class Findings:
    """What is wrong, in words, and the repeats that were allowed, by what allows them."""

    violations: list[str] = field(default_factory=list)
    repeats: Counter[str] = field(default_factory=Counter)

    def add(self, other: Findings) -> None:
        self.violations += other.violations
        self.repeats += other.repeats


class Hanging:
    """A run that does nothing, and keeps what it has, until it is told to go on."""

    def __init__(self, trace: Path, ended: Future[Ended]) -> None:
        self._trace = trace
        self._ended = ended
        self.process = 0

    def await_stop(self) -> None:
        until = time.monotonic() + LONGEST_RUN_S
        while not self._is_stopped():
            assert not self._ended.done(), f"it did not come there: {self._trace.read_text()[-500:]}"
            assert time.monotonic() < until, "it neither stopped nor ended"
            time.sleep(_SETTLING_S)

    def _is_stopped(self) -> bool:
        if not self._trace.exists() or not self._trace.read_text().count("\n"):
            return False
        self.process = process_of(self._trace)
        after_name = Path(f"/proc/{self.process}/stat").read_text().rpartition(")")[2]
        return after_name.split()[0] == "T"

    def go_on(self) -> tuple[Ended, list[Mapping[str, Any]]]:
        """Let it run to its end; give that, and its whole trace. Again: the same."""
        if not self._ended.done():
            os.kill(self.process, signal.SIGCONT)
        return self._ended.result(LONGEST_RUN_S), _lines(self._trace)


class KillableInstallation:
    """The outside world of the runs of one feed, while the context lasts. Each run is to be judged.

    `azurite_port` names a table service to keep the state in; without it the state is JSON files.
    `lease_left` says that the last run has not given its lease back; the next one comes when it is over.
    """

    def __init__(
        self,
        folder: Path,
        feed: Feed = "people_counter",
        *,
        azurite_port: int | None = None,
        locations: int = 2,
        message_bytes: int | None = None,
    ) -> None:
        self.folder = folder
        self.feed = feed
        self.now = START
        self.names = NAMES[:locations]
        self.estate = Estate(
            buildings=[Building(name) for name in self.names],
            generated=False,
            people_lag=timedelta(0),
        )
        self.source = MicroshareEmulator(self.estate, clock=lambda: self.now)
        largest = message_bytes or _MESSAGE_BYTES[feed]
        specs = [HubSpec(name, max_message_bytes=largest) for name in HUBS]
        self.hubs = EventHubsEmulator(specs, on_store=self._stored)
        self.arrivals: list[Sent] = []
        self.steps = 0
        self._azurite_port = azurite_port
        self.relay: Relay | None = None
        self._stack = ExitStack()
        self._run = 0
        self._orders = 0
        self._judged = 0
        self._fresh = 0
        self._fatal: tuple[str, int, Path] | None = None
        self.lease_left = False
        self._permitted: set[Reading] = set()
        # What hubs had before the present run: the message id under which a reading first came, and all ids.
        self._first: dict[str, dict[Reading, str]] = {hub: {} for hub in HUBS}
        self._had: dict[tuple[str, str], set[str]] = defaultdict(set)
        self._flawed: list[tuple[datetime, Entry]] = []
        self._known = FeedState()
        self._fired: Counter[str] = Counter()
        self._begins = START - DAY
        self.environ: dict[str, str] = {}

    def __enter__(self) -> Self:
        self._stack.enter_context(self.source)
        self._stack.enter_context(self.hubs)
        if self._azurite_port is not None:
            self.relay = Relay(self._azurite_port)
            self._stack.callback(self.relay.close)
        self.begin_anew()
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def hub(self, name: str) -> EmulatedHub:
        return self.hubs.hub(name)

    def settings(self) -> Settings:
        return load_settings(self.environ, dotenv=self.folder / "none")

    def begin_anew(self, *, earlier: datetime | None = None) -> None:
        """Forget the state and what arrived, as for a new installation; what was published stays.

        With `earlier` it finds the state of the earlier forwarder, with that position.
        """
        self._fresh += 1
        self.arrivals.clear()
        self._first = {hub: {} for hub in HUBS}
        self._had.clear()
        self._permitted.clear()
        self._known = FeedState()
        self.lease_left = False
        self._begins = earlier or self.now - DAY
        self.environ = {
            **self.source.environment(),
            "EVENT_HUB_CONNECTION_STRING": self.hubs.connection_string("a"),
            "EVENT_HUB_CONNECTION_STRINGS": json.dumps([self.hubs.connection_string("b")]),
            "STATE_DIR": str(self.folder / f"state{self._fresh}"),
            "REQUESTS_CA_BUNDLE": str(one_authority()),
            "STATE_STORE": "json",
        }
        if self.relay is not None:
            tables = self._tables()
            for table in tables.list_tables():
                tables.delete_table(table.name)
            self.environ |= {
                "STATE_STORE": "table",
                "AzureWebJobsStorage": connection_string(self.relay.port),
            }
        if earlier is not None:
            self._put_earlier_state({"last_fetch_timestamp": format_time(earlier), "total_events_sent": 1})

    def _put_earlier_state(self, document: Mapping[str, Any]) -> None:
        name = STATE_NAMES[self.feed]
        if self.relay is not None:
            keys = {"PartitionKey": "forwarder", "RowKey": "state"}
            self._tables().create_table(name).create_entity({**keys, **document})
        else:
            folder = Path(self.environ["STATE_DIR"])
            folder.mkdir(mode=0o700)
            (folder / f"{name}.json").write_text(json.dumps(document))
        self._known = self.state()

    # --- the source -------------------------------------------------------------------------------

    def publish(self, *, flawed: bool = True) -> None:
        """Let an hour pass: new readings, one that comes late, a correction, one that cannot be read."""
        before, self.now = self.now, self.now + 61 * MINUTE
        self.steps += 1
        if self.feed == "hourly_snapshot":
            self._publish_snapshots(before)
            return
        for name in self.names:
            for minutes in (5, 20, 35, 50):
                self.plant(name, before + minutes * MINUTE)
            self.plant(name, before - 25 * MINUTE, visible_from=self.now - MINUTE)
            self.correct(name, before - 11 * MINUTE)
        if flawed:
            self.plant(self.names[0], before + 30 * MINUTE, time_as="half past nine")

    def plant(self, name: str, time: datetime, **options: Any) -> None:
        """Publish a people count, at its time unless `visible_from` says otherwise."""
        number = len(self._flawed) + self.steps
        entry = self.estate.add_people(name, None, time, ins=number % 50, **options)
        if "time_as" in options:
            self._flawed.append((time, entry))

    def correct(self, name: str, time: datetime) -> None:
        """Give the people count of that time, if there is one, other content from now on."""
        tags = self.estate.listed(self.now)[self.names.index(name)].groups[0]
        self.estate.correct(name, tags, time, at=self.now, change={"in": 1000 + self.steps})

    def _publish_snapshots(self, before: datetime) -> None:
        hour = before.replace(minute=0, second=0, microsecond=0)
        for building in self.estate.listed(self.now):
            if building.name in self.names:
                for room in building.rooms[:2]:
                    self.estate.add_snapshot(building.name, room, hour, visible_from=before + MINUTE)
                late = hour - timedelta(hours=2)
                self.estate.add_snapshot(building.name, building.rooms[2], late, visible_from=before + MINUTE)

    def shown(self, start: datetime) -> set[Reading]:
        """Give what the source shows now of readings from `start` on, those left out that cannot be sent."""
        if self.feed == "people_counter":
            found = self.estate.expected_people(start, self.now, self.now)
        else:
            found = self.estate.expected_snapshots(start, self.now, self.now)
        flawed = {id(entry) for _, entry in self._flawed}
        rec_type = load_feed(self.feed).rec_type
        return {
            reading_of(name, rec_type, tags, entry)
            for name, tags, _, entry in found
            if id(entry) not in flawed
        }

    # --- runs -------------------------------------------------------------------------------------

    def run(
        self,
        *,
        at_once: bool = False,
        die_when_stored: tuple[str, int] | None = None,
        **options: Any,
    ) -> Step:
        """Do a run at the present instant; with nothing given, an ordinary one, whatever was before it.

        After a kill it comes when the lease of the killed run is over, unless `at_once`. It is killed
        when the hub has stored its nth batch of the run, and has not said so yet, which are named by
        `die_when_stored`; `options` are fields of its `Order`.
        """
        order = self.order(**options)
        after_kill = self._begin_run(at_once=at_once)
        if die_when_stored is not None:
            hub, nth = die_when_stored
            self._fatal = (hub, self.hub(hub).attempts + nth, Path(order.trace))
        ended = forks().run(order)
        self._fatal = None
        self._end_run(ended, after_kill=after_kill)
        return Step(self._run, ended, read_trace(order), after_kill)

    @contextmanager
    def hanging(self, boundary: str, nth: int = 1, **options: Any) -> Iterator[Hanging]:
        """Begin a run that stops at a boundary, as a machine that is suspended; it is not judged."""
        order = self.order(die_at=boundary, nth=nth, stops=True, **options)
        with Forks() as beside, ThreadPoolExecutor(1) as threads:
            hanging = Hanging(Path(order.trace), threads.submit(beside.run, order))
            try:
                hanging.await_stop()
                self._await_what_is_on_the_wire()
                self._take_in(self.arrivals)
                yield hanging
            finally:
                hanging.go_on()
                self._take_in(self.arrivals)

    def state(self) -> FeedState:
        return open_store(self.settings().state).load(STATE_NAMES[self.feed])

    def order(self, **options: Any) -> Order:
        """Give the order for a run at the present instant, with a trace of its own."""
        self._orders += 1
        trace = self.folder / f"trace{self._orders}"
        return Order(self.environ, self.feed, format_time(self.now), str(trace), **options)

    def run_command(self, *, kill_after_s: float | None = None) -> Step:
        """Do a run as a user would, by `python -m app`, start-up included; all it traces is why it failed."""
        environ = {"PATH": os.environ["PATH"], "FORWARDER_CONFIG": str(self._config()), **self.environ}
        after_kill = self._begin_run()
        began = time.monotonic()
        said = self.folder / "said"
        with said.open("wb") as output:
            process = subprocess.Popen(
                [
                    *(sys.executable, "-m", "tests.crashes.command_at", format_time(self.now)),
                    *("run", self.feed.replace("_", "-")),
                ],
                cwd=ROOT,
                env=environ,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
            )
            try:
                status = process.wait(LONGEST_RUN_S if kill_after_s is None else kill_after_s)
            except subprocess.TimeoutExpired:
                process.kill()
                status = process.wait()
        ended = Ended(status, time.monotonic() - began)
        self._end_run(ended, after_kill=after_kill)
        failed = [] if status in (0, -9) else [{"failures": [said.read_text()[-2000:]]}]
        return Step(self._run, ended, failed, after_kill)

    def _config(self) -> Path:
        # A copy, so that no .env of whoever works here stands beside it.
        copy = self.folder / "config.yaml"
        copy.write_bytes((ROOT / "config.yaml").read_bytes())
        return copy

    def _begin_run(self, *, at_once: bool = False) -> bool:
        assert self._judged == self._run, "the run before has not been judged"
        after_kill = self.lease_left
        self._permitted |= self.shown(self.now - 2 * DAY)
        if self.relay is not None:
            self.relay.clock_ahead = LEASE_OVER if after_kill and not at_once else timedelta(0)
        self._run += 1
        self._fired = self._faults_fired()
        return after_kill

    def _end_run(self, ended: Ended, *, after_kill: bool) -> None:
        self.lease_left = ended.was_killed or (after_kill and ended.status == LOCKED)
        self._await_what_is_on_the_wire()
        if self.relay is not None and ended.was_killed:
            # Likewise what it had asked of the table service.
            time.sleep(_SETTLING_S)
            while self.relay.under_way:
                time.sleep(_SETTLING_S)

    def _await_what_is_on_the_wire(self) -> None:
        """Let the hubs store what a process that is dead or stopped has sent to them."""
        for name in HUBS:
            for _ in range(3):
                _ = self.hub(name).attempts

    def _faults_fired(self) -> Counter[str]:
        return Counter({name: self.hub(name).fired["drop_after_store"] for name in HUBS})

    def _stored(self, event: StoredEvent) -> None:
        arrival = arrival_of(event.message_id, event.properties, event.body)
        self.arrivals.append(Sent(event.hub, self._run, arrival))
        if self._fatal is not None:
            hub, attempt, trace = self._fatal
            if event.hub == hub and self.hub(hub).attempts == attempt:
                self._fatal = None
                os.kill(process_of(trace), signal.SIGKILL)

    # --- the oracle -------------------------------------------------------------------------------

    def judge(self, step: Step) -> Findings:
        """Say what is wrong after a run, killed or not, that must never be: all but what is missing.

        - The state can be read, and each location is there as the last completed save had it, or as
          the save that was under way.
        - No hub's checkpoint claims a reading that the hub does not have.
        - A reading repeats only where the state before the run did not know that the hub has it, or where the
          run's own connection was lost after the hub had stored; and under the message id of its first.
        - Within the run and a location readings arrive by time.
        - What arrived was published.
        """
        findings = Findings()
        before = self._known
        self._judged = step.number
        try:
            self._known = self.state()
        except Exception as error:  # noqa: BLE001 - whatever it is, it is a finding
            findings.violations.append(f"the state cannot be read: {error}")
            return findings
        findings.violations += self._of_saves(step, before)
        for hub in HUBS:
            arrived = [one.arrival for one in self._of(step) if one.hub == hub]
            wrong = self._of_repeats(hub, arrived, before, findings.repeats)
            wrong += out_of_order(arrived)
            wrong += invented(self._permitted, (reading for one in arrived for reading in one.readings))
            findings.violations += [f"hub {hub}, run {step.number}: {text}" for text in wrong]
        self._take_in(self._of(step))
        findings.violations += self._of_claims()
        return findings

    def judge_complete(self, step: Step) -> Findings:
        """Say what is wrong after an ordinary run that nothing disturbed: it must have got everything."""
        findings = self.judge(step)
        if step.ended.status != 0:
            why = "; ".join(step.failures()) or "no report"
            findings.violations.append(f"the next ordinary run ended with {step.ended.status}: {why}")
        findings.violations += [*self.lost(), *self._of_quarantine()]
        return findings

    def lost(self) -> list[str]:
        """Name what is published and not at a hub."""
        shown = self.shown(self._begins)
        return [f"hub {hub}: {text}" for hub in HUBS for text in lost(shown, self._first[hub])]

    def _take_in(self, arrivals: Iterable[Sent]) -> None:
        for one in arrivals:
            for reading in one.arrival.readings:
                if reading not in self._first[one.hub]:
                    self._first[one.hub][reading] = one.arrival.message_id
                    self._had[one.hub, reading.location].add(_as_read(reading).id)

    def _of(self, step: Step) -> list[Sent]:
        found = []
        for one in reversed(self.arrivals):
            if one.run != step.number:
                break
            found.append(one)
        return found[::-1]

    def _of_saves(self, step: Step, before: FeedState) -> list[str]:
        """Compare the state with what the trace says was saved, location by location."""
        if not any("process" in line for line in step.trace):
            return []
        allowed = [fingerprints(before)]
        for line in step.trace:
            if line.get("at") == "save begins":
                allowed.append(line["locations"])
            elif line.get("at") == "save completed":
                allowed = allowed[-1:]
        return [
            f"the state of {name} is not what was last saved, nor what was being saved"
            for name, found in fingerprints(self._known).items()
            if found not in {one.get(name) for one in allowed}
        ]

    def _of_claims(self) -> list[str]:
        entities = {hub.key: hub.entity for hub in self.settings().hubs}
        flawed = len(self._flawed)
        claims = []
        for name, location in self._known.locations.items():
            for key, checkpoint in location.checkpoints.items():
                claimed = {found for ids in checkpoint.ids.values() for found in ids}
                # Quarantined readings are done with, though no hub has them.
                excess = len(claimed - self._had[entities[key], name])
                if excess > (flawed if name == self.names[0] else 0):
                    claims.append(f"the state says that {entities[key]} has {excess} readings of {name} more")
        return claims

    def _of_repeats(
        self, hub: str, arrived: Sequence[Arrival], before: FeedState, allowed: Counter[str]
    ) -> list[str]:
        """Count the repeats at a hub for which there is a reason, by it; say which others there are."""
        key = next(found.key for found in self.settings().hubs if found.entity == hub)
        cut = (self._faults_fired() - self._fired)[hub] > 0
        wrong = []
        for repeat in repeated(arrived, self._first[hub]):
            location = before.locations.get(repeat.reading.location)
            checkpoint = location.checkpoints.get(key) if location else None
            if repeat.had_before:
                why = None if _is_known(repeat.reading, checkpoint) else "not in the last completed save"
            else:
                why = "sent again by the SDK" if cut else None
            if why is None:
                wrong.append(f"repeated without a reason: {repeat}")
            elif repeat.arrival.message_id != repeat.first and self.feed == "people_counter":
                wrong.append(under_another_id(repeat))
            else:
                allowed[why] += 1
        return wrong

    def _of_quarantine(self) -> list[str]:
        kept = list(self._quarantined())
        asked = [entry for time, entry in self._flawed if self._begins <= time < self.now]
        return [f"neither forwarded nor in quarantine: {entry}" for entry in asked if entry not in kept]

    def _quarantined(self) -> Iterable[Entry]:
        if self.relay is not None:
            table = self._tables().get_table_client(f"{STATE_NAMES[self.feed]}quarantine")
            documents = [row["doc0"] for row in table.list_entities()] if self._flawed else []
        else:
            folder = Path(self.environ["STATE_DIR"]) / "quarantine"
            documents = [path.read_bytes() for path in folder.rglob("*.json")]
        for document in documents:
            yield json.loads(document)["reading"]["entry"]

    def _tables(self) -> TableServiceClient:
        assert self._azurite_port is not None
        return TableServiceClient.from_connection_string(connection_string(self._azurite_port))


def _as_read(reading: Reading) -> AppReading:
    """Give a reading as the forwarder reads it, with its id."""
    tags, entry = json.loads(reading.content)
    answer = DashboardAnswer(({"data": {"_id": {"tags": tags}, "line": [entry]}},))
    (found,) = read_answer(reading.rec_type, reading.location, answer)
    return found


def _is_known(reading: Reading, checkpoint: Checkpoint | None) -> bool:
    """Whether a checkpoint keeps a reading from being sent: by its id, or because it lies before all ids."""
    found = _as_read(reading)
    assert found.time is not None
    return checkpoint is not None and (checkpoint.knows(found.id) or found.time < checkpoint.known_from)


def read_trace(order: Order) -> list[Mapping[str, Any]]:
    """Give the lines of a trace that has ended, and remove it."""
    lines = _lines(Path(order.trace))
    Path(order.trace).unlink(missing_ok=True)
    return lines


def _lines(trace: Path) -> list[Mapping[str, Any]]:
    return [json.loads(line) for line in trace.read_text().splitlines()] if trace.exists() else []


def process_of(trace: Path) -> int:
    """Give the process id that a trace, ended or not, begins with."""
    with trace.open() as lines:
        return int(json.loads(lines.readline())["process"])
