"""Real runs in processes of their own, which die where they are told to.

    python -m tests.crashes.child

reads orders from standard input, one JSON object a line, and answers each with the exit status of
the run (-9: killed). This process imports what a run needs and does nothing else, so that a run
costs a fork, not a start of Python; it has one thread, as a process that forks must.

A run is the real one: `app.wiring.wire` and `run_forwarder`, real SDKs, real files, real sockets. What it
is about to do, or has just been told, is a *boundary*; each is written to the trace as it is reached,
and at the one that the order names the process sends itself SIGKILL, so nothing is tidied up, or SIGSTOP.

Boundaries are seen without changing what is run: at the ports that `Wiring` has anyway, and through
Python's audit events for what the operating system is asked (files, locks, HTTP). Only `fsync` has
no audit event and is wrapped. A file operation that is to fail does so there, too.
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
import re
import signal
import sys
import threading
import time
import traceback
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from datetime import datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any, NoReturn

import azure.eventhub.aio  # noqa: F401 - slow to load, so loaded before forking
import requests  # noqa: F401 - as above
from azure.data.tables import TableClient

import app.feeds.hourly_snapshot
import app.feeds.people_counter
import app.settings.problems  # as above
import app.state.json_file  # noqa: F401 - as above
from app.base.budget import Budget
from app.base.checkpoints import FeedState
from app.base.errors import LockHeld, StateError
from app.base.instants import format_time, parse_time, utc_now
from app.base.readings import DashboardAnswer, DashboardQuery, JsonObject, QuarantinedReading
from app.base.shards import WHOLE, Shard
from app.eventhub.deliveries import Delivered, News, Opened
from app.microshare.auth import TokenCache
from app.microshare.client import MicroshareClient
from app.microshare.discovery import Found
from app.run.forwarder import run_forwarder
from app.run.ports import Lanes, Wiring
from app.run.report import Report, RunFailed
from app.settings.loading import load_settings
from app.settings.schema import HubSettings, Settings
from app.state.azure_table import AzureTableStore
from app.state.document import encode, location_document
from app.state.store import MendableStore, RunLock
from app.wiring import wire
from tests.environments.polling import poll_quickly

# A run that takes longer hangs: the emulators answer at once, and the slowest fault costs seconds.
LONGEST_RUN_S = 200.0
CRASHED = 70
_POLL_S = 0.002
_WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT
_OPERATIONS = ("open", "os.rename", "os.link", "os.remove", "os.mkdir", "os.chmod", "os.scandir")
# Errors of what takes room; any other meets a reading, too.
_OF_WRITING = ("ENOSPC", "EDQUOT", "EROFS")
_TEMPORARY = re.compile(r"\.[^./]+\.tmp$")
# Quarantined readings are named by their content, histories by their day: both are new in every run.
_NEW = re.compile(r"(quarantine/\w+/|quarantine\(PartitionKey='|history/\w+-|history\(PartitionKey=')[^.']+")


@dataclass(frozen=True, slots=True)
class Order:
    """A run to do. `now` is its clock, which stands still; `trace` the file to write boundaries to.

    It dies at the `nth` time that the boundary `die_at` is reached, or with `stops` is stopped there
    until it is told to go on; or it is killed from outside `kill_after_s` after the fork. With none of
    these it is an ordinary run. With `saves_often` a save is due after each acknowledgement, as in a
    run whose batches take long. `lease_clock` names a file that holds by how many seconds the clocks
    are ahead by which it doubts its lease, so that it can have been stopped for minutes.

    From its `fails_from`th file operation in the state's folder on it is told the error `fails_with`,
    ENOSPC for one; that once, or with `keeps_failing` each time. `shard` is what it runs.
    """

    environ: Mapping[str, str]
    feed: str
    now: str
    trace: str
    die_at: str | None = None
    nth: int = 1
    kill_after_s: float | None = None
    saves_often: bool = False
    stops: bool = False
    lease_clock: str | None = None
    fails_with: str | None = None
    fails_from: int = 1
    keeps_failing: bool = False
    shard: str = "1/1"


class Trace:
    """Writes each boundary as it is reached, and ends the run at the one that was ordered."""

    def __init__(self, order: Order) -> None:
        self._descriptor = os.open(order.trace, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        self._order = order
        folder = order.environ.get("STATE_DIR")
        self._folder = None if folder is None else f"{folder}/"
        self._counts: Counter[str] = Counter()
        self._began = time.monotonic()
        self._lock = threading.RLock()
        self._operations = 0
        self.tell({"process": os.getpid()})

    def reached(self, boundary: str, **facts: object) -> None:
        """Note a boundary; any thread may. Does not return from the one to die at."""
        with self._lock:
            self._counts[boundary] += 1
            self.tell({"at": boundary, "s": round(time.monotonic() - self._began, 3), **facts})
            if boundary == self._order.die_at and self._counts[boundary] == self._order.nth:
                # To this thread, so that it goes no further; both signals are for the whole process.
                ending = signal.SIGSTOP if self._order.stops else signal.SIGKILL
                signal.pthread_kill(threading.get_ident(), ending)

    def tell(self, line: Mapping[str, object]) -> None:
        os.write(self._descriptor, json.dumps(line).encode() + b"\n")

    def watch_system(self) -> None:
        """See what the operating system is asked for, from now on. Cannot be undone."""
        fsync = os.fsync

        def traced_fsync(fd: Any) -> None:
            self.reached("fsync a file or folder")
            self._fail_if_ordered("fsync", writes=True)
            fsync(fd)

        os.fsync = traced_fsync
        sys.addaudithook(self._audit)
        if self._order.fails_with is not None:
            sys.addaudithook(self._audit_to_fail)

    def _audit(self, event: str, args: tuple[Any, ...]) -> None:
        match event, args:
            case "open", (str() as path, _, int() as flags) if flags & _WRITING:
                self._file("open", path)
            case "os.rename" | "os.link", (_, target, *_):
                self._file(event.removeprefix("os."), str(target))
            case "os.remove" | "os.mkdir", (path, *_):
                self._file(event.removeprefix("os."), str(path))
            case "fcntl.flock", (_, int() as operation):
                import fcntl

                self.reached("file lock released" if operation & fcntl.LOCK_UN else "file lock asked for")
            case "http.client.send", (_, bytes() as data):
                self._http(data)

    def _audit_to_fail(self, event: str, args: tuple[Any, ...]) -> None:
        if event == "fcntl.flock":
            self._fail_if_ordered(event, writes=False)
        elif event in _OPERATIONS and any(self._is_in_folder(arg) for arg in args):
            flags = args[2] if event == "open" else _WRITING
            self._fail_if_ordered(event, writes=bool(flags & _WRITING))

    def _fail_if_ordered(self, operation: str, *, writes: bool) -> None:
        name = self._order.fails_with
        if name is None or not (writes or name not in _OF_WRITING):
            return
        with self._lock:
            self._operations += 1
            after = self._operations - self._order.fails_from
            if after == 0 or (after > 0 and self._order.keeps_failing):
                self.tell({"failed": operation})
                code = getattr(errno, name)
                raise OSError(code, os.strerror(code))

    def _is_in_folder(self, path: object) -> bool:
        text = os.fspath(path) if isinstance(path, str | os.PathLike) else ""
        return self._folder is not None and f"{text}/".startswith(self._folder)

    def _file(self, doing: str, path: str) -> None:
        if self._folder is not None and self._is_in_folder(path):
            name = _TEMPORARY.sub(".*.tmp", os.path.relpath(path, self._folder))
            self.reached(_anonymous(f"{doing} {name}"))

    def _http(self, data: bytes) -> None:
        words = data[:2000].split(b" ", 2)
        if words[0] in (b"GET", b"POST", b"PUT", b"PATCH", b"DELETE", b"MERGE") and len(words) == 3:
            path = words[1].decode("latin-1").partition("?")[0]
            self.reached(_anonymous(f"request {words[0].decode()} {path}"))
        else:
            self.reached("request body")


def _anonymous(boundary: str) -> str:
    return _NEW.sub(r"\1*", boundary)


class _SaveClock:
    """The clock by which saves are apart: it stands still, but for a leap at each acknowledgement.

    A save that a leap falls into seems to have taken long, and puts the next one off by ten times that:
    each leap is long enough for that, too.
    """

    def __init__(self) -> None:
        self._now = 1.0

    def __call__(self) -> float:
        return self._now

    def leap(self) -> None:
        self._now = min(self._now * 100, 1e300)


class _TracedStore:
    """A store whose operations are boundaries; says what was saved, as a hash a location."""

    def __init__(self, store: MendableStore, trace: Trace) -> None:
        self._store = store
        self._trace = trace
        self.place = store.place
        self.set_aside, self.remove, self.release = store.set_aside, store.remove, store.release
        self.history, self.quarantined = store.history, store.quarantined
        self.keep_discovery, self.outline = store.keep_discovery, store.outline

    def load(self, name: str, shard: Shard = WHOLE) -> FeedState:
        self._trace.reached("state asked for")
        state = self._store.load(name, shard)
        self._trace.reached("state loaded")
        return state

    def save(self, name: str, state: FeedState, changed: Collection[str], shard: Shard = WHOLE) -> None:
        self._trace.reached("save begins", locations=fingerprints(state))
        try:
            self._store.save(name, state, changed, shard)
        except StateError:
            self._trace.reached("save failed")
            raise
        self._trace.reached("save completed")

    @contextmanager
    def lock(self, name: str, owner: str, shard: Shard = WHOLE) -> Iterator[RunLock]:
        self._trace.reached("run lock asked for")
        with self._store.lock(name, owner, shard) as lock:
            self._trace.reached("run lock taken")
            yield lock
            self._trace.reached("run lock to be released")
        self._trace.reached("run lock released")

    def quarantine(self, name: str, item: QuarantinedReading) -> str:
        self._trace.reached("quarantine begins")
        place = self._store.quarantine(name, item)
        self._trace.reached("quarantine completed")
        return place

    def keep_report(self, name: str, report: JsonObject) -> None:
        self._trace.reached("report to be kept")
        self._store.keep_report(name, report)
        self._trace.reached("report kept")

    def probe(self) -> None:
        self._store.probe()


class _TracedClient(MicroshareClient):
    """A client whose questions are boundaries, before and after."""

    trace: Trace

    def login(self) -> None:
        self.trace.reached("login begins")
        super().login()
        self.trace.reached("logged in")

    def discover_locations(self, cluster_ids: Sequence[str]) -> Found:
        self.trace.reached("discovery begins")
        found = super().discover_locations(cluster_ids)
        self.trace.reached("discovery answered")
        return found

    def query_dashboard(self, query: DashboardQuery) -> DashboardAnswer:
        self.trace.reached(f"query begins: {query.loc1}")
        answer = super().query_dashboard(query)
        self.trace.reached(f"query answered: {query.loc1}")
        return answer


def fingerprints(state: FeedState) -> dict[str, str]:
    """Give a hash of what is said of each location, the same before and after it was stored."""
    return {
        name: hashlib.sha256(encode(location_document(location))).hexdigest()[:16]
        for name, location in state.locations.items()
    }


def traced(
    settings: Settings,
    now: Callable[[], datetime],
    trace: Trace,
    save_clock: _SaveClock | None,
    other_store: MendableStore | None = None,
) -> Wiring:
    """Give the wiring of an ordinary run whose boundaries are traced."""
    ordinary = wire(settings)

    def make_client(budget: Budget) -> MicroshareClient:
        client = _TracedClient(settings.microshare, budget, tokens=TokenCache(), now=now)
        client.trace = trace
        return client

    def make_lanes(
        hubs: Sequence[HubSettings],
        budget: Budget,
        tell: Callable[[News], None],
        may_send: Callable[[], str | None],
    ) -> Lanes:
        names = {hub.key: hub.entity for hub in hubs}

        def told(news: News) -> None:
            match news:
                case Opened(hub, _):
                    trace.reached(f"hub connected: {names[hub]}")
                case Delivered(hub, delivery) if delivery.batch is not None:
                    ids = sorted(reading_id for ids in delivery.ids.values() for reading_id in ids)
                    trace.reached(f"acknowledged: {names[hub]}, {delivery.location}", hub=names[hub], ids=ids)
                    if save_clock is not None:
                        save_clock.leap()
                case Delivered(hub, delivery):
                    trace.reached(f"slice without a batch: {names[hub]}, {delivery.location}")
            tell(news)

        def asked() -> str | None:
            # Asked right before each batch.
            trace.reached("batch to be sent")
            return may_send()

        trace.reached("hubs to be connected")
        return ordinary.make_lanes(hubs, budget, told, asked)

    store = _TracedStore(other_store or ordinary.store, trace)
    wiring = replace(ordinary, store=store, make_client=make_client, make_lanes=make_lanes, now=now)
    return wiring if save_clock is None else replace(wiring, monotonic=save_clock)


def _store_by_clock(settings: Settings, clock: Path) -> AzureTableStore:
    """Give a table store whose host's clocks are ahead by the seconds that are written in a file."""
    connection = settings.state.table_connection_string or ""

    def ahead_s() -> float:
        return float(clock.read_text())

    return AzureTableStore(
        partial(TableClient.from_connection_string, connection),
        monotonic=lambda: time.monotonic() + ahead_s(),
        now=lambda: utc_now() + timedelta(seconds=ahead_s()),
    )


def run(order: Order) -> int:
    """Do the run; give its exit status, as the command line has it."""
    now = parse_time(order.now)
    trace = Trace(order)
    trace.reached("run begins")
    settings = load_settings(order.environ, dotenv=Path(os.devnull))
    store = _store_by_clock(settings, Path(order.lease_clock)) if order.lease_clock is not None else None
    wiring = traced(settings, lambda: now, trace, _SaveClock() if order.saves_often else None, store)
    trace.watch_system()
    try:
        report = run_forwarder(order.feed, wiring, shard=Shard.parse(order.shard))
    except RunFailed as failed:
        return _tell(trace, failed.report)
    except LockHeld:
        return 3
    return _tell(trace, report)


def _tell(trace: Trace, report: Report) -> int:
    trace.reached("run ended")
    failures = [f"{failure.location}, {failure.hub}: {failure.error}" for failure in report.failures]
    trace.tell({"ended": format_time(report.started), "ok": report.ok, "failures": failures})
    return 0 if report.ok else 1


def _do(order: Order) -> NoReturn:
    nowhere = os.open(os.devnull, os.O_RDWR)
    for descriptor in (0, 1, 2):
        os.dup2(nowhere, descriptor)
    # os._exit, or the copies of what this process was forked from would be flushed twice.
    status = CRASHED
    try:
        status = run(order)
    except BaseException:  # noqa: BLE001 - told by the trace and the status
        with Path(order.trace).open("a") as trace:
            trace.write(json.dumps({"failures": [traceback.format_exc()]}) + "\n")
    finally:
        os._exit(status)


def _status_of(pid: int, kill_after_s: float | None) -> int:
    """Wait for a run, and kill it when its time is over; not reaped before, its id stays its own."""
    limit_s = LONGEST_RUN_S if kill_after_s is None else kill_after_s
    until = time.monotonic() + limit_s
    while True:
        found, status = os.waitpid(pid, os.WNOHANG)
        if found:
            return os.waitstatus_to_exitcode(status)
        left = until - time.monotonic()
        if left <= 0:
            os.kill(pid, signal.SIGKILL)
            return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
        time.sleep(min(_POLL_S, left))


def main() -> None:
    poll_quickly()
    for line in sys.stdin:
        order = Order(**json.loads(line))
        began = time.monotonic()
        pid = os.fork()
        if pid == 0:
            _do(order)
        status = _status_of(pid, order.kill_after_s)
        sys.stdout.write(json.dumps({"status": status, "took_s": time.monotonic() - began}) + "\n")
        sys.stdout.flush()


def as_line(order: Order) -> str:
    return json.dumps(asdict(order)) + "\n"


if __name__ == "__main__":
    main()
