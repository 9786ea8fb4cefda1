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
from tests.azurite import Fault
from tests.faults.case import Case
from tests.faults.cases_source import M, T, all_moved, all_of, nothing_moved
from tests.faults.scene import RUN, Outcome, Scene, run_command

NAME = "peoplecounterstate"
INTACT = "the old state is whole, sending stops, the error says what to do; repeats are bounded"
DAMAGED = "refused with advice, never read as empty; nothing is asked or sent"
# Linux capabilities that let root pass by the rights of files.
_PAST_RIGHTS = (1, 2, 3)
_DROP_FROM_BOUNDS = 24


def failing(module: object, name: str, code: int) -> Callable[[Scene], None]:
    """Let a call of the operating system fail from its first time on."""

    def inject(scene: Scene) -> None:
        before = scene.state_file().read_bytes()
        scene.break_call(module, name, OSError(code, os.strerror(code)))
        scene.proof("a call failed", lambda: scene.fired[name] > 0)
        scene.proof("the old state is whole", lambda: scene.state_file().read_bytes() == before)
        # Each door's three readings of a quarter of an hour, at two buildings.
        scene.repeats = 12

    return inject


def each_call_in_turn(scene: Scene) -> Outcome:
    """Let each call that writes fail once, a run each, until a run makes no more of them."""
    for nth in itertools.count(1):
        sent = scene.since("a")
        broken = OSError(errno.EIO, os.strerror(errno.EIO))
        counted = scene.break_nth_call(nth, os, ("fsync", "replace", "link"), broken)
        outcome = scene.run_once()
        scene.patch.undo()
        if counted["made"] < nth:
            return outcome
        assert outcome.status in (0, 1), outcome.text
        scene.repeats += scene.since("a") - sent
        scene.pass_time(minutes=5)
    raise AssertionError("a count that ended")


def many_calls(scene: Scene) -> None:
    scene.proof("several calls failed", lambda: scene.fired["a call failed"] >= 5)


def no_room_for_files(scene: Scene) -> Outcome:
    """Run with a limit on the size of files that the state is over."""
    before = scene.state_file().read_bytes()
    process = scene.start(*RUN)
    resource.prlimit(process.pid, resource.RLIMIT_FSIZE, (300, 300))
    outcome = scene.finish(process)
    assert scene.state_file().read_bytes() == before
    scene.fired["file too large"] += "File too large" in outcome.text
    return outcome


def will_repeat(scene: Scene) -> None:
    scene.repeats = 8


def damaged(make: Callable[[bytes], bytes]) -> Callable[[Scene], None]:
    def inject(scene: Scene) -> None:
        whole = scene.state_file().read_bytes()
        broken = make(whole)
        scene.state_file().write_bytes(broken)
        scene.proof("it was left as it was", lambda: scene.state_file().read_bytes() == broken)
        scene.proof("nothing was asked or sent", lambda: _nothing_done(scene))
        scene.repeats = len(scene.a.received())  # the backup is older

    return inject


def damaged_row(scene: Scene) -> None:
    """Cut short what the table has of one location."""
    table = tables_of(scene).get_table_client(NAME)
    whole = table.get_entity("location", row_key(M))
    table.update_entity(dict(whole) | {"doc0": whole["doc0"][:40]}, mode=UpdateMode.REPLACE)
    scene.after(lambda: table.update_entity(dict(whole), mode=UpdateMode.REPLACE))
    scene.proof("nothing was asked or sent", lambda: _nothing_done(scene))


def tables_of(scene: Scene) -> TableServiceClient:
    return TableServiceClient.from_connection_string(scene.environ["AzureWebJobsStorage"])


def _nothing_done(scene: Scene) -> bool:
    return (scene.since("queries"), scene.since("a"), scene.since("b")) == (0, 0, 0)


def restore_backup(scene: Scene) -> None:
    """Go on from the save before, which the message offers."""
    assert f"{scene.state_file()}.bak" in scene.outcomes[-1].text
    shutil.copy(f"{scene.state_file()}.bak", scene.state_file())


def with_version(version: object) -> Callable[[bytes], bytes]:
    return lambda whole: json.dumps({**json.loads(whole), "version": version}).encode()


def no_folder(scene: Scene) -> None:
    assert not scene.state_dir.exists()
    scene.proof("it was made, for us alone", lambda: stat.S_IMODE(scene.state_dir.stat().st_mode) == 0o700)


def file_in_the_way(scene: Scene) -> None:
    scene.state_dir.rename(scene.folder / "away")
    scene.state_dir.write_text("a file stands where the folder should be")

    def back() -> None:
        scene.state_dir.unlink()
        (scene.folder / "away").rename(scene.state_dir)

    scene.after(back)
    scene.proof("nothing was sent", lambda: (scene.since("a"), scene.since("b")) == (0, 0))


def check_and_run(scene: Scene, **options: object) -> Outcome:
    """Let `check` find it too; the run's end counts."""
    checking = scene.start("check", "--json", **options)
    outcome = scene.command(*RUN, **options)
    found = scene.finish(checking)
    assert found.status == 1
    findings = [json.loads(line) for line in found.text.splitlines() if '"check":"state' in line]
    assert any(finding["ok"] is False and finding["do"] for finding in findings), findings
    return outcome


def read_only(scene: Scene) -> None:
    scene.state_dir.chmod(0o500)
    scene.after(lambda: scene.state_dir.chmod(0o700))
    scene.proof("nothing was sent", lambda: (scene.since("a"), scene.since("b")) == (0, 0))


def without_privileges(scene: Scene) -> Outcome:
    """Run as one whom the rights of files concern, even where this is root."""
    libc = ctypes.CDLL(None)

    def drop() -> None:
        for capability in _PAST_RIGHTS:
            libc.prctl(_DROP_FROM_BOUNDS, capability, 0, 0, 0)

    return check_and_run(scene, preexec_fn=drop)


# What Python runs before anything else, as on a file system that knows no locks.
_WITHOUT_LOCKS = """
import errno, fcntl, os

def flock(*_):
    raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

fcntl.flock = flock
"""


def no_locks(scene: Scene) -> None:
    folder = scene.folder / "without-locks"
    folder.mkdir()
    (folder / "sitecustomize.py").write_text(_WITHOUT_LOCKS)
    scene.environ["PYTHONPATH"] = str(folder)
    scene.proof("nothing was sent", lambda: (scene.since("a"), scene.since("b")) == (0, 0))


def another_writer(when: str) -> Callable[[Scene], None]:
    """Let another run write a location while this one asks for its `devices`, or makes a `query`."""

    def inject(scene: Scene) -> None:
        def meddle(request: Request) -> Response | None:
            if request.kind == when and not scene.fired["changed meanwhile"]:
                scene.fired["changed meanwhile"] += 1
                store = wire(scene.settings()).store
                state = store.load(NAME)
                changed = replace(state.locations.get(M, LocationState()), newest=scene.clock.now)
                store.save(NAME, replace(state, locations={**state.locations, M: changed}), [M])
            return None

        scene.source.intercept = meddle
        scene.repeats = 6 if when == "query" else 0

    return inject


def one_location_lost(scene: Scene) -> None:
    assert {failure.location for failure in scene.report.failures} == {M}
    assert scene.position(T, "a") == scene.clock.now
    held = scene.state().locations[M].checkpoints.get(scene.key("a"))
    assert held is None or held.delivered_until < scene.clock.now


def relay_fault(fault: Fault, times: int, *methods: str) -> Callable[[Scene], None]:
    def inject(scene: Scene) -> None:
        assert scene.relay is not None
        for method in methods:
            scene.relay.order(fault, method, times=times)

    return inject


def no_save(scene: Scene) -> None:
    """Let the table refuse every write of a location, the lock's own not."""
    assert scene.relay is not None
    for method in ("PUT", "PATCH", "POST"):
        scene.relay.order(Fault.BUSY, method, "PartitionKey='location'", times=200)
    # Each door's three readings of a quarter of an hour, at two buildings.
    scene.repeats = 12


def table_is_well(scene: Scene) -> None:
    assert scene.relay is not None
    scene.relay.forget_orders()


def lock_held(scene: Scene) -> None:
    """Let another run of the feed be under way."""
    stack = ExitStack()
    stack.enter_context(wire(scene.settings()).store.lock(NAME, owner="another-run"))
    scene.after(stack.close)
    scene.proof("nothing was asked or sent", lambda: _nothing_done(scene))


def stale_lock_file(scene: Scene) -> None:
    (scene.state_dir / f"{NAME}.lock").write_text("")
    (scene.state_dir / f"{NAME}.lock.owner").write_text('{"owner": "killed", "host": "gone", "pid": 1}')
    scene.proof("the lock file is there", lambda: (scene.state_dir / f"{NAME}.lock").exists())


def stale_lease(scene: Scene) -> None:
    """Let a run have died with its lease, more than a minute ago."""
    stack = ExitStack()
    stack.enter_context(wire(scene.settings()).store.lock(NAME, owner="killed-run"))
    scene.after(stack.close)
    assert scene.run_once().status == 3
    assert scene.relay is not None
    scene.relay.clock_ahead = timedelta(seconds=70)
    scene.fired["lease ran out"] += 1


def give_ids(scene: Scene, an_hour: int) -> None:
    """Give one location so many more ids in each of the 23 hours before."""
    store = wire(scene.settings()).store
    state = store.load(NAME)
    hours = [scene.clock.now.replace(minute=0) - number * HOUR for number in range(1, 24)]
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


def many_ids(scene: Scene) -> None:
    """Let a location have more ids than a property of 64 KiB takes, but no more than a row does."""
    give_ids(scene, 900)
    properties = tables_of(scene).get_table_client(NAME).get_entity("location", row_key(M))
    scene.proof("ids take several properties", lambda: {"ids0", "ids1", "ids2", "ids3"} <= set(properties))


def two_groups_of_many_ids(scene: Scene) -> None:
    """Let a location have as many ids as fit a row once, and the hubs part, so that they are kept twice."""
    give_ids(scene, 1_950)
    scene.b.go_down()
    scene.repeats = 6
    scene.proof("it did not fit any more", lambda: "1 MiB" in scene.outcomes[-1].text)


def one_location_too_large(scene: Scene) -> None:
    failed = {(failure.location, failure.hub) for failure in scene.report.failures}
    assert failed == {(M, None), (None, scene.key("b"))}
    assert scene.position(T, "a") == scene.clock.now
    assert scene.position(M, "a") < scene.clock.now


EARLIER = {"last_fetch_timestamp": "2026-03-02T11:30:00", "total_events_sent": 42}


# What still older ones wrote, for whichever feed they served.
OLDER = {"last_fetch_time": "2026-03-02T11:30:00", "total_snapshots_sent": 42}


def earlier_state(document: Mapping[str, object], file: str, *, kept_as: str = "") -> Callable[[Scene], None]:
    def inject(scene: Scene) -> None:
        scene.state_dir.mkdir(mode=0o700)
        (scene.state_dir / file).write_text(json.dumps(document))
        kept = scene.state_dir / (kept_as or file)
        scene.proof("it was kept as it was", lambda: json.loads(kept.read_text()) == document)
        begins_there(scene)

    return inject


def earlier_row(scene: Scene) -> None:
    table = tables_of(scene).create_table_if_not_exists(NAME)
    table.create_entity({"PartitionKey": "forwarder", "RowKey": "state", **EARLIER})

    def kept() -> bool:
        row = table.get_entity("forwarder", "state")
        return {name: row[name] for name in EARLIER} == EARLIER

    scene.proof("it was kept as it was", kept)
    begins_there(scene)


def begins_there(scene: Scene) -> None:
    """Expect nothing from before the earlier forwarder's position."""
    scene.proof("its position counts", lambda: "2026-03-02T11:30:00" in scene.outcomes[-1].text)
    for text in scene.shown_now():
        entry = json.loads(text)[2]
        if entry["time"] < "2026-03-02T11:30:00":
            scene.set_aside(entry)


def counted_on(scene: Scene) -> None:
    all_moved(scene)
    assert scene.state().total_events() == 42 + scene.since("a") + scene.since("b")


def deleted(scene: Scene) -> None:
    scene.state_file().unlink()
    scene.repeats = len(scene.a.received())
    scene.proof("nothing was asked or sent", lambda: _nothing_done(scene))


def deleted_altogether(scene: Scene) -> None:
    shutil.rmtree(scene.state_dir)
    scene.repeats = len(scene.a.received())
    scene.proof("it began anew", lambda: scene.since("a") > scene.repeats)


def older_restored(scene: Scene) -> Outcome:
    older = scene.state_file().read_bytes()
    scene.run_once()
    scene.pass_time(hours=1)
    scene.run_once()
    scene.state_file().write_bytes(older)
    scene.repeats = scene.since("a")
    scene.fired["older state restored"] += 1
    return scene.run_once()


def audited(scene: Scene) -> Outcome:
    """Give what `audit` says of what an older state, once restored, made the run send again."""
    assert older_restored(scene).status == 0
    return scene.command("audit", "--feed", "people-counter", "--from", "170m", "--json")


def named_as_repeated(scene: Scene) -> None:
    found = [json.loads(line) for line in scene.outcomes[-1].text.splitlines() if line.startswith('{"feed"')]
    assert [len(told["repeated"]) for told in found] == [scene.repeats, scene.repeats]
    assert all(told["missing"] == told["changed"] == told["unknown"] == [] for told in found)


def came_again(scene: Scene) -> None:
    all_moved(scene)
    assert scene.since("a") == 2 * scene.repeats


def days_of_ids(scene: Scene) -> Outcome:
    for _ in range(3):
        scene.skip_time(hours=20)
        scene.pass_time(hours=1)
        outcome = scene.run_once()
    return outcome


def few_ids_kept(scene: Scene) -> None:
    all_moved(scene)
    held = scene.state().locations[M].checkpoints[scene.key("a")]
    assert all(scene.clock.now - hour <= timedelta(hours=25) for hour in held.ids)
    assert held.known_from > scene.began
    sent = [event for event in scene.arrived("a") if event.location == M]
    assert sum(map(len, held.ids.values())) < len(sent)
    scene.fired["ids dropped"] += 1


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
        lambda scene: scene.proof("ids were dropped", lambda: len(scene.outcomes) > 3),
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
