"""D: the state. Disks that fail, files that are damaged, tables that race, runs beside one another."""

from __future__ import annotations

import ctypes
import errno
import itertools
import json
import os
import resource
import shutil
import stat
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import replace
from datetime import timedelta

from azure.data.tables import TableServiceClient, UpdateMode

from app.base.checkpoints import LocationState
from app.base.instants import HOUR
from app.state.table_rows import row_key
from app.wiring import wire
from emulators.microshare import Request, Response
from tests.environments.azurite import Fault
from tests.environments.faulty import RUN, FaultyInstallation, Outcome, run_command
from tests.faults.case import Case
from tests.faults.cases_source import M, T, all_moved, all_of, nothing_moved

NAME = "peoplecounterstate"
INTACT = "the old state is whole, sending stops, the error says what to do; repeats are bounded"
DAMAGED = "refused with advice, never read as empty; nothing is asked or sent"
# Linux capabilities that let root pass by the rights of files.
_PAST_RIGHTS = (1, 2, 3)
_DROP_FROM_BOUNDS = 24


def failing(module: object, name: str, code: int) -> Callable[[FaultyInstallation], None]:
    """Let a call of the operating system fail from its first time on."""

    def inject(faulty: FaultyInstallation) -> None:
        before = faulty.state_file().read_bytes()
        faulty.break_call(module, name, OSError(code, os.strerror(code)))
        faulty.proof("a call failed", lambda: faulty.fired[name] > 0)
        faulty.proof("the old state is whole", lambda: faulty.state_file().read_bytes() == before)
        # Each door's three readings of a quarter of an hour, at two buildings.
        faulty.repeats = 12

    return inject


def each_call_in_turn(faulty: FaultyInstallation) -> Outcome:
    """Let each call that writes fail once, a run each, until a run makes no more of them."""
    for nth in itertools.count(1):
        sent = faulty.since("a")
        broken = OSError(errno.EIO, os.strerror(errno.EIO))
        counted = faulty.break_nth_call(nth, os, ("fsync", "replace", "link"), broken)
        outcome = faulty.run_once()
        faulty.patch.undo()
        if counted["made"] < nth:
            return outcome
        assert outcome.status in (0, 1), outcome.text
        faulty.repeats += faulty.since("a") - sent
        faulty.pass_time(minutes=5)
    raise AssertionError("a count that ended")


def many_calls(faulty: FaultyInstallation) -> None:
    faulty.proof("several calls failed", lambda: faulty.fired["a call failed"] >= 5)


def no_room_for_files(faulty: FaultyInstallation) -> Outcome:
    """Run with a limit on the size of files that the state is over."""
    before = faulty.state_file().read_bytes()
    # Python would leave a cut .pyc in the tree: it does not look at how much of one was written.
    faulty.environ["PYTHONDONTWRITEBYTECODE"] = "1"
    process = faulty.start(*RUN)
    resource.prlimit(process.pid, resource.RLIMIT_FSIZE, (300, 300))
    outcome = faulty.finish(process)
    assert faulty.state_file().read_bytes() == before
    faulty.fired["file too large"] += "File too large" in outcome.text
    return outcome


def will_repeat(faulty: FaultyInstallation) -> None:
    faulty.repeats = 8


def damaged(make: Callable[[bytes], bytes]) -> Callable[[FaultyInstallation], None]:
    def inject(faulty: FaultyInstallation) -> None:
        whole = faulty.state_file().read_bytes()
        broken = make(whole)
        faulty.state_file().write_bytes(broken)
        faulty.proof("it was left as it was", lambda: faulty.state_file().read_bytes() == broken)
        faulty.proof("nothing was asked or sent", lambda: _nothing_done(faulty))
        faulty.repeats = len(faulty.a.received())  # the backup is older

    return inject


def damaged_row(faulty: FaultyInstallation) -> None:
    """Cut short what the table has of one location."""
    table = tables_of(faulty).get_table_client(NAME)
    whole = table.get_entity("location", row_key(M))
    table.update_entity(dict(whole) | {"doc0": whole["doc0"][:40]}, mode=UpdateMode.REPLACE)
    faulty.after(lambda: table.update_entity(dict(whole), mode=UpdateMode.REPLACE))
    faulty.proof("nothing was asked or sent", lambda: _nothing_done(faulty))


def tables_of(faulty: FaultyInstallation) -> TableServiceClient:
    return TableServiceClient.from_connection_string(faulty.environ["AzureWebJobsStorage"])


def _nothing_done(faulty: FaultyInstallation) -> bool:
    return (faulty.since("queries"), faulty.since("a"), faulty.since("b")) == (0, 0, 0)


def restore_backup(faulty: FaultyInstallation) -> None:
    """Go on from the save before, which the message offers."""
    assert f"{faulty.state_file()}.bak" in faulty.outcomes[-1].text
    shutil.copy(f"{faulty.state_file()}.bak", faulty.state_file())


def with_version(version: object) -> Callable[[bytes], bytes]:
    return lambda whole: json.dumps({**json.loads(whole), "version": version}).encode()


def no_folder(faulty: FaultyInstallation) -> None:
    assert not faulty.state_dir.exists()
    faulty.proof("it was made, for us alone", lambda: stat.S_IMODE(faulty.state_dir.stat().st_mode) == 0o700)


def file_in_the_way(faulty: FaultyInstallation) -> None:
    faulty.state_dir.rename(faulty.folder / "away")
    faulty.state_dir.write_text("a file stands where the folder should be")

    def back() -> None:
        faulty.state_dir.unlink()
        (faulty.folder / "away").rename(faulty.state_dir)

    faulty.after(back)
    faulty.proof("nothing was sent", lambda: (faulty.since("a"), faulty.since("b")) == (0, 0))


def check_and_run(faulty: FaultyInstallation, **options: object) -> Outcome:
    """Let `check` find it too; the run's end counts."""
    checking = faulty.start("check", "--json", **options)
    outcome = faulty.command(*RUN, **options)
    found = faulty.finish(checking)
    assert found.status == 1
    findings = [json.loads(line) for line in found.text.splitlines() if '"check":"state' in line]
    assert any(finding["ok"] is False and finding["do"] for finding in findings), findings
    return outcome


def read_only(faulty: FaultyInstallation) -> None:
    faulty.state_dir.chmod(0o500)
    faulty.after(lambda: faulty.state_dir.chmod(0o700))
    faulty.proof("nothing was sent", lambda: (faulty.since("a"), faulty.since("b")) == (0, 0))


def without_privileges(faulty: FaultyInstallation) -> Outcome:
    """Run as one whom the rights of files concern, even where this is root."""
    libc = ctypes.CDLL(None)

    def drop() -> None:
        for capability in _PAST_RIGHTS:
            libc.prctl(_DROP_FROM_BOUNDS, capability, 0, 0, 0)

    return check_and_run(faulty, preexec_fn=drop)


# What Python runs before anything else, as on a file system that knows no locks.
_WITHOUT_LOCKS = """
import errno, fcntl, os

def flock(*_):
    raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

fcntl.flock = flock
"""


def no_locks(faulty: FaultyInstallation) -> None:
    folder = faulty.folder / "without-locks"
    folder.mkdir()
    (folder / "sitecustomize.py").write_text(_WITHOUT_LOCKS)
    faulty.environ["PYTHONPATH"] = str(folder)
    faulty.proof("nothing was sent", lambda: (faulty.since("a"), faulty.since("b")) == (0, 0))


def another_writer(when: str) -> Callable[[FaultyInstallation], None]:
    """Let another run write a location while this one asks for its `devices`, or makes its `query`."""

    def inject(faulty: FaultyInstallation) -> None:
        def meddle(request: Request) -> Response | None:
            # A query for another location would leave this one's time to be delivered and saved before.
            of_location = request.kind == "devices" or request.first("loc1") == M
            if request.kind == when and of_location and not faulty.fired["changed meanwhile"]:
                faulty.fired["changed meanwhile"] += 1
                store = wire(faulty.settings()).store
                state = store.load(NAME)
                changed = replace(state.locations.get(M, LocationState()), newest=faulty.clock.now)
                store.save(NAME, replace(state, locations={**state.locations, M: changed}), [M])
            return None

        faulty.source.intercept = meddle
        faulty.repeats = 6 if when == "query" else 0

    return inject


def one_location_lost(faulty: FaultyInstallation) -> None:
    assert {failure.location for failure in faulty.report.failures} == {M}
    assert faulty.position(T, "a") == faulty.clock.now
    held = faulty.state().locations[M].checkpoints.get(faulty.key("a"))
    assert held is None or held.delivered_until < faulty.clock.now


def relay_fault(fault: Fault, times: int, *methods: str) -> Callable[[FaultyInstallation], None]:
    def inject(faulty: FaultyInstallation) -> None:
        assert faulty.relay is not None
        for method in methods:
            faulty.relay.order(fault, method, times=times)

    return inject


def no_save(faulty: FaultyInstallation) -> None:
    """Let the table refuse every write of a location, the lock's own not."""
    assert faulty.relay is not None
    for method in ("PUT", "PATCH", "POST"):
        faulty.relay.order(Fault.BUSY, method, "PartitionKey='location'", times=200)
    faulty.relay.order(Fault.BUSY, "POST", "$batch", times=200)
    # Each door's three readings of a quarter of an hour, at two buildings.
    faulty.repeats = 12


def table_is_well(faulty: FaultyInstallation) -> None:
    assert faulty.relay is not None
    faulty.relay.forget_orders()


def lock_held(faulty: FaultyInstallation) -> None:
    """Let another run of the feed be under way."""
    stack = ExitStack()
    stack.enter_context(wire(faulty.settings()).store.lock(NAME, owner="another-run"))
    faulty.after(stack.close)
    faulty.proof("nothing was asked or sent", lambda: _nothing_done(faulty))


def stale_lock_file(faulty: FaultyInstallation) -> None:
    (faulty.state_dir / f"{NAME}.lock").write_text("")
    (faulty.state_dir / f"{NAME}.lock.owner").write_text('{"owner": "killed", "host": "gone", "pid": 1}')
    faulty.proof("the lock file is there", lambda: (faulty.state_dir / f"{NAME}.lock").exists())


def stale_lease(faulty: FaultyInstallation) -> None:
    """Let a run have died with its lease, more than a minute ago."""
    stack = ExitStack()
    stack.enter_context(wire(faulty.settings()).store.lock(NAME, owner="killed-run"))
    faulty.after(stack.close)
    assert faulty.run_once().status == 3
    assert faulty.relay is not None
    faulty.relay.clock_ahead = timedelta(seconds=70)
    faulty.fired["lease ran out"] += 1


def give_ids(faulty: FaultyInstallation, an_hour: int) -> None:
    """Give one location so many more ids in each of the 23 hours before."""
    store = wire(faulty.settings()).store
    state = store.load(NAME)
    hours = [faulty.clock.now.replace(minute=0) - number * HOUR for number in range(1, 24)]
    more = {
        hour: frozenset(f"{at:04}{number:012}" for number in range(an_hour)) for at, hour in enumerate(hours)
    }
    held = {
        hub: replace(
            found,
            known_from=min(hours),
            ids={**found.ids, **{hour: found.ids.get(hour, frozenset()) | ids for hour, ids in more.items()}},
        )
        for hub, found in state.locations[M].checkpoints.items()
    }
    changed = replace(state.locations[M], checkpoints=held)
    store.save(NAME, replace(state, locations={**state.locations, M: changed}), [M])


def many_ids(faulty: FaultyInstallation) -> None:
    """Let a location have more ids than a property of 64 KiB takes, but no more than a row does."""
    give_ids(faulty, 900)
    properties = tables_of(faulty).get_table_client(NAME).get_entity("location", row_key(M))
    faulty.proof("ids take several properties", lambda: {"ids0", "ids1", "ids2", "ids3"} <= set(properties))


def two_groups_of_many_ids(faulty: FaultyInstallation) -> None:
    """Let a location have as many ids as fit a row once, and the hubs part, so that they are kept twice."""
    give_ids(faulty, 1_950)
    faulty.b.go_down()
    faulty.repeats = 6
    faulty.proof("it did not fit any more", lambda: "1 MiB" in faulty.outcomes[-1].text)


def one_location_too_large(faulty: FaultyInstallation) -> None:
    failed = {(failure.location, failure.hub) for failure in faulty.report.failures}
    assert failed == {(M, None), (None, faulty.key("b"))}
    assert faulty.position(T, "a") == faulty.clock.now
    assert faulty.position(M, "a") < faulty.clock.now


def tag_of_a_megabyte(faulty: FaultyInstallation) -> None:
    """Let a device have a tag that fits no message, and no row."""
    when = faulty.clock.now - timedelta(minutes=3)
    faulty.set_aside(faulty.estate.add_people(M, [M, "x" * 1_200_000], when))
    faulty.proof("it was set aside", lambda: "larger than a message" in faulty.outcomes[-1].text)


def many_lists_of_tags(faulty: FaultyInstallation) -> None:
    """Let a location show more tags within minutes than a row takes, each list of them new."""
    begun = faulty.clock.now - timedelta(minutes=13)
    for number in range(900):
        faulty.estate.add_people(M, [M, f"{number} {'x' * 1_300}"], begun + timedelta(seconds=number / 2))
    faulty.proof("they were kept shorter", lambda: len(faulty.state().locations[M].sensors) > 900)


EARLIER = {"last_fetch_timestamp": "2026-03-02T11:30:00", "total_events_sent": 42}


# What still older ones wrote, for whichever feed they served.
OLDER = {"last_fetch_time": "2026-03-02T11:30:00", "total_snapshots_sent": 42}


def earlier_state(
    document: Mapping[str, object], file: str, *, kept_as: str = ""
) -> Callable[[FaultyInstallation], None]:
    def inject(faulty: FaultyInstallation) -> None:
        faulty.state_dir.mkdir(mode=0o700)
        (faulty.state_dir / file).write_text(json.dumps(document))
        kept = faulty.state_dir / (kept_as or file)
        faulty.proof("it was kept as it was", lambda: json.loads(kept.read_text()) == document)
        begins_there(faulty)

    return inject


def earlier_row(faulty: FaultyInstallation) -> None:
    table = tables_of(faulty).create_table_if_not_exists(NAME)
    table.create_entity({"PartitionKey": "forwarder", "RowKey": "state", **EARLIER})

    def kept() -> bool:
        row = table.get_entity("forwarder", "state")
        return {name: row[name] for name in EARLIER} == EARLIER

    faulty.proof("it was kept as it was", kept)
    begins_there(faulty)


def begins_there(faulty: FaultyInstallation) -> None:
    """Expect nothing from before the earlier forwarder's position."""
    faulty.proof("its position counts", lambda: "2026-03-02T11:30:00" in faulty.outcomes[-1].text)
    for reading in faulty.shown_now():
        if reading.entry["time"] < "2026-03-02T11:30:00":
            faulty.set_aside(reading.entry)


def counted_on(faulty: FaultyInstallation) -> None:
    all_moved(faulty)
    assert faulty.state().total_events() == 42 + faulty.since("a") + faulty.since("b")


def deleted(faulty: FaultyInstallation) -> None:
    faulty.state_file().unlink()
    faulty.repeats = len(faulty.a.received())
    faulty.proof("nothing was asked or sent", lambda: _nothing_done(faulty))


def deleted_altogether(faulty: FaultyInstallation) -> None:
    shutil.rmtree(faulty.state_dir)
    faulty.repeats = len(faulty.a.received())
    faulty.proof("it began anew", lambda: faulty.since("a") > faulty.repeats)


def older_restored(faulty: FaultyInstallation) -> Outcome:
    older = faulty.state_file().read_bytes()
    faulty.run_once()
    faulty.pass_time(hours=1)
    faulty.run_once()
    faulty.state_file().write_bytes(older)
    faulty.repeats = faulty.since("a")
    faulty.fired["older state restored"] += 1
    return faulty.run_once()


def audited(faulty: FaultyInstallation) -> Outcome:
    """Give what `audit` says of what an older state, once restored, made the run send again."""
    assert older_restored(faulty).status == 0
    return faulty.command("audit", "--feed", "people-counter", "--from", "170m", "--json")


def named_as_repeated(faulty: FaultyInstallation) -> None:
    found = [json.loads(line) for line in faulty.outcomes[-1].text.splitlines() if line.startswith('{"feed"')]
    assert [len(told["repeated"]) for told in found] == [faulty.repeats, faulty.repeats]
    assert all(told["missing"] == told["changed"] == told["unknown"] == [] for told in found)


def came_again(faulty: FaultyInstallation) -> None:
    all_moved(faulty)
    assert faulty.since("a") == 2 * faulty.repeats


def days_of_ids(faulty: FaultyInstallation) -> Outcome:
    for _ in range(3):
        faulty.skip_time(hours=20)
        faulty.pass_time(hours=1)
        outcome = faulty.run_once()
    return outcome


def few_ids_kept(faulty: FaultyInstallation) -> None:
    all_moved(faulty)
    held = faulty.state().locations[M].checkpoints[faulty.key("a")]
    assert all(faulty.clock.now - hour <= timedelta(hours=25) for hour in held.ids)
    assert held.known_from > faulty.began
    sent = [event for event in faulty.arrived("a") if event.location == M]
    assert sum(map(len, held.ids.values())) < len(sent)
    faulty.fired["ids dropped"] += 1


CASES = (
    Case("D1", "disk full", INTACT, failing(os, "fsync", errno.ENOSPC), 1, ("free space",)),
    Case("D1", "quota used up", INTACT, failing(os, "fsync", errno.EDQUOT), 1, ("quota",)),
    Case("D1", "rename that fails", INTACT, failing(os, "replace", errno.EIO), 1, ("check that disk",)),
    Case(
        "D1",
        "each call that writes fails once",
        "in whichever run and call: no exception, nothing lost, repeats bounded",
        many_calls,
        act=each_call_in_turn,
        check=all_moved,
        slow=True,
    ),
    Case(
        "D1",
        "file size limit of the account",
        INTACT,
        will_repeat,
        1,
        ("file too large",),
        act=no_room_for_files,
        live=True,
    ),
    *(
        Case("D2", name, DAMAGED, damaged(make), 1, ("cannot be read as state", ".bak"), heals=restore_backup)
        for name, make in {
            "state cut short": lambda whole: whole[: len(whole) // 2],
            "state corrupt": lambda whole: b"\x00\xff" + whole[2:],
            "state empty": lambda _: b"",
            "state of a newer version": with_version(99),
            "foreign JSON in place of the state": lambda _: b'{"hello": [1, 2]}',
        }.items()
    ),
    Case(
        "D2",
        "row of a table cut short",
        "refused with advice, never read as empty; nothing is asked or sent",
        damaged_row,
        1,
        ("cannot be read as state", "`state import`", "`state reset`"),
        table=True,
    ),
    Case("D3", "state folder missing", "made, for this account alone", no_folder, new=True, check=all_moved),
    Case(
        "D4",
        "row changed by another run meanwhile",
        "that location stops for this run, others go on",
        another_writer("query"),
        1,
        (M,),
        one_location_lost,
        table=True,
    ),
    Case(
        "D4",
        "row made by another run meanwhile",
        "that location stops for this run, others go on",
        another_writer("devices"),
        1,
        (M,),
        one_location_lost,
        table=True,
        new=True,
    ),
    Case(
        "D4",
        "answer lost after a stored write",
        "read again before going on; nothing repeats",
        relay_fault(Fault.LOST_ANSWER, 1, "PUT", "PATCH", "POST"),
        check=all_moved,
        table=True,
    ),
    Case(
        "D4",
        "table busy for a moment",
        "tried again",
        relay_fault(Fault.BUSY, 1, "PUT", "POST", "GET"),
        check=all_moved,
        table=True,
    ),
    Case(
        "D4",
        "table that fails with 500 for a moment",
        "tried again",
        relay_fault(Fault.BROKEN, 1, "PUT", "POST", "GET"),
        check=all_moved,
        table=True,
    ),
    Case(
        "D4",
        "table busy for good",
        "the run is refused, with what was said; nothing is asked or sent",
        relay_fault(Fault.BUSY, 200, "GET", "PUT", "PATCH", "POST"),
        1,
        ("throttled", "the next run tries again"),
        all_of(table_is_well, nothing_moved),
        table=True,
        slow=True,
    ),
    Case(
        "D4",
        "table busy from the first save of a run on",
        "the old state is whole, sending stops; repeats are bounded",
        no_save,
        1,
        ("throttled", "the next run tries again"),
        table_is_well,
        table=True,
        slow=True,
    ),
    Case(
        "D5",
        "run beside another",
        "leaves at once with a message",
        lock_held,
        3,
        ("another run works", "another-run"),
    ),
    Case(
        "D5",
        "command beside another run",
        "leaves at once with status 3",
        lock_held,
        3,
        ("another run works",),
        act=run_command(*RUN),
        live=True,
    ),
    Case(
        "D5",
        "run beside another host's, on tables",
        "leaves at once with a message",
        lock_held,
        3,
        ("another run works",),
        table=True,
    ),
    Case(
        "D5",
        "lock file left by a killed run",
        "means nothing: the run works",
        stale_lock_file,
        check=all_moved,
    ),
    Case(
        "D5",
        "lease left by a killed run",
        "taken over once it ran out",
        stale_lease,
        check=all_moved,
        table=True,
    ),
    Case(
        "D6",
        "state of the earlier forwarder",
        "taken over once, kept as it was, said in the report",
        earlier_state(EARLIER, f"{NAME}.json", kept_as=f"{NAME}.json.earlier"),
        says=("earlier forwarder",),
        check=counted_on,
        new=True,
    ),
    Case(
        "D6",
        "state.json of a still older one, with other names",
        "taken over once, kept as it was, said in the report",
        earlier_state(OLDER, "state.json"),
        says=("earlier forwarder",),
        check=counted_on,
        new=True,
    ),
    Case(
        "D6",
        "row of the earlier forwarder in a table",
        "taken over once, kept as it was, said in the report",
        earlier_row,
        says=("earlier forwarder",),
        check=counted_on,
        new=True,
        table=True,
    ),
    Case(
        "D7",
        "state deleted, its backup still there",
        "refused with advice",
        deleted,
        1,
        (".bak", "gone"),
        heals=restore_backup,
    ),
    Case(
        "D7",
        "state deleted with all beside it",
        "a new installation, and the report says so",
        deleted_altogether,
        says=("new installation",),
        check=all_moved,
    ),
    Case(
        "D7",
        "older state restored",
        "what came since is sent again, with the same ids",
        lambda _: None,
        act=older_restored,
        check=came_again,
    ),
    Case(
        "D7",
        "older state restored, looked at by audit",
        "`audit` names what repeats, and nothing else",
        lambda _: None,
        1,
        check=named_as_repeated,
        act=audited,
        live=True,
    ),
    Case(
        "D8",
        "days of ids",
        "kept for a day before the position, then dropped",
        lambda faulty: faulty.proof("ids were dropped", lambda: len(faulty.outcomes) > 3),
        act=days_of_ids,
        check=few_ids_kept,
    ),
    Case(
        "D8",
        "more ids than a property of a table takes",
        "packed into several",
        many_ids,
        check=all_moved,
        table=True,
    ),
    Case(
        "D8",
        "more ids than a row of a table takes",
        "refused before it is written, with what to do; others go on",
        two_groups_of_many_ids,
        1,
        ("shorten the look-back, or resume or remove hubs",),
        one_location_too_large,
        table=True,
        slow=True,
    ),
    Case(
        "D8",
        "tag larger than a row of a table",
        "its reading is set aside, the sensor is kept as a hash; nothing repeats",
        tag_of_a_megabyte,
        check=all_moved,
        table=True,
    ),
    Case(
        "D8",
        "more lists of tags at a location than a row of a table takes",
        "kept as hashes; nothing repeats",
        many_lists_of_tags,
        check=all_moved,
        table=True,
        slow=True,
    ),
    Case(
        "D9",
        "file where the state folder should be",
        "found by check, and by a run before its first send",
        file_in_the_way,
        1,
        ("set STATE_DIR to a folder",),
        act=check_and_run,
        live=True,
    ),
    Case(
        "D9",
        "state folder that is read-only",
        "found by check, and by a run before its first send",
        read_only,
        1,
        ("permission denied", "STATE_DIR"),
        act=without_privileges,
        live=True,
    ),
    Case(
        "D9",
        "state folder on a share without locks",
        "found by check, and by a run before its first send",
        no_locks,
        1,
        ("local disk",),
        act=check_and_run,
        live=True,
    ),
)
