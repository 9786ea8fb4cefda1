"""What the JSON store alone promises: files a person can read, crashes, damage, full disks, rights."""

from __future__ import annotations

import errno
import json
import os
import resource
import stat
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from app.base.checkpoints import Checkpoint, FeedState, LocationState, Takeover
from app.base.errors import LockHeld, LockLost, StateDamaged, StateError
from app.base.readings import QuarantinedReading
from app.state.json_file import JsonFileStore

NAME = "peoplecounterstate"
NOON = datetime(2026, 3, 2, 12, tzinfo=UTC)
HUB = "alpha.example.test/counts"
READING = QuarantinedReading("people_counter", "A", [HUB], "AAAAAAAAAAAAAAAA", "no time", NOON, b"{}")
ROOT = Path(__file__).parents[2]


def state(hours: int = 0) -> FeedState:
    checkpoint = Checkpoint(
        NOON + timedelta(hours=hours), NOON, {NOON: frozenset({"AAAAAAAAAAAAAAAA", "BBBBBBBBBBBBBBBB"})}
    )
    return FeedState({"Étage 3": LocationState(checkpoints={HUB: checkpoint})})


def save(folder: Path, *states: FeedState) -> JsonFileStore:
    store = JsonFileStore(folder)
    for each in states:
        store.save(NAME, each, each.locations.keys())
    return store


def names_in(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


# --- files ------------------------------------------------------------------------------------------


def test_a_missing_folder_is_made_for_us_alone(tmp_path: Path) -> None:
    folder = tmp_path / "deep" / "state"
    save(folder, state(), state())

    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in (folder, *folder.iterdir())}

    assert modes == {"state": 0o700, f"{NAME}.json": 0o600, f"{NAME}.json.bak": 0o600}


def test_a_file_put_there_by_hand_is_for_us_alone_from_the_next_save_on(tmp_path: Path) -> None:
    store = save(tmp_path, state())
    (tmp_path / f"{NAME}.json").chmod(0o644)

    store.save(NAME, state(1), state().locations.keys())

    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in tmp_path.iterdir()}
    assert modes == {f"{NAME}.json": 0o600, f"{NAME}.json.bak": 0o600}


def test_the_file_can_be_read_by_a_person(tmp_path: Path) -> None:
    save(tmp_path, state())

    text = (tmp_path / f"{NAME}.json").read_text(encoding="utf-8")

    assert '"Étage 3": {' in text
    assert '"2026-03-02T12": "AAAAAAAAAAAAAAAABBBBBBBBBBBBBBBB"' in text
    assert '"last_fetch_timestamp": "2026-03-02T12:00:00.000Z"' in text
    assert max(map(len, text.splitlines())) < 120


def test_the_backup_is_the_save_before(tmp_path: Path) -> None:
    save(tmp_path, state(1), state(2), state(3))
    (tmp_path / f"{NAME}.json.bak").rename(tmp_path / "restored.json")

    assert JsonFileStore(tmp_path).load("restored") == state(2)


def test_the_place_is_the_folder(tmp_path: Path) -> None:
    assert JsonFileStore(tmp_path).place == str(tmp_path)


def test_reading_makes_nothing(tmp_path: Path) -> None:
    JsonFileStore(tmp_path / "state").load(NAME)

    assert names_in(tmp_path) == []


def test_a_lock_file_alone_means_nothing(tmp_path: Path) -> None:
    (tmp_path / f"{NAME}.lock").touch()
    owner = {"owner": "run-gone", "host": "h", "pid": 1, "since": "s"}
    (tmp_path / f"{NAME}.lock.owner").write_text(json.dumps(owner))
    store = JsonFileStore(tmp_path)

    with store.lock(NAME, "run-one") as lock:
        assert (store.load(NAME), lock.held()) == (FeedState(), True)


def test_what_a_killed_save_left_means_nothing_and_is_removed_by_the_next_run(tmp_path: Path) -> None:
    store = save(tmp_path, state())
    (tmp_path / f"{NAME}.json.x1.tmp").write_text('{"version": 1, "lo')
    (tmp_path / f"{NAME}.lock.owner.x2.tmp").write_text('{"owner": "run-g')

    loaded = store.load(NAME)
    with store.lock(NAME, "run-one"):
        pass

    assert (loaded, names_in(tmp_path)) == (state(), [f"{NAME}.json", f"{NAME}.lock"])


def test_a_byte_order_mark_is_skipped(tmp_path: Path) -> None:
    store = save(tmp_path, state())
    path = tmp_path / f"{NAME}.json"
    path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes())

    assert store.load(NAME) == state()


# --- the lock, across processes ---------------------------------------------------------------------

HOLDER = """
import sys
from app.state.json_file import JsonFileStore
with JsonFileStore(sys.argv[1]).lock(sys.argv[2], "run-elsewhere"):
    print("held", flush=True)
    sys.stdin.read()
"""


@contextmanager
def held_by_another_process(folder: Path) -> Iterator[subprocess.Popen[str]]:
    process = subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(folder), NAME],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
    )
    assert process.stdout is not None
    assert process.stdin is not None
    with process:
        assert process.stdout.readline() == "held\n"
        yield process
        process.stdin.close()


def test_a_run_in_another_process_holds_the_lock_and_is_named(tmp_path: Path) -> None:
    with (
        held_by_another_process(tmp_path) as process,
        pytest.raises(LockHeld, match=f"run-elsewhere on .*, process {process.pid}, since 20"),
        JsonFileStore(tmp_path).lock(NAME, "run-one"),
    ):
        pytest.fail("two runs at once")


def test_the_lock_of_a_killed_process_is_free_at_once(tmp_path: Path) -> None:
    with held_by_another_process(tmp_path) as process:
        process.kill()
        process.wait()

        with JsonFileStore(tmp_path).lock(NAME, "run-one") as lock:
            assert lock.held()


def test_a_lock_whose_file_was_removed_is_held_no_more(tmp_path: Path) -> None:
    with JsonFileStore(tmp_path).lock(NAME, "run-one") as lock:
        (tmp_path / f"{NAME}.lock").unlink()
        with JsonFileStore(tmp_path).lock(NAME, "run-two") as other:
            assert (lock.held(), other.held()) == (False, True)


def test_a_run_whose_lock_file_was_removed_does_not_save_over_another(tmp_path: Path) -> None:
    first, second = JsonFileStore(tmp_path), JsonFileStore(tmp_path)
    with first.lock(NAME, "run-one"):
        (tmp_path / f"{NAME}.lock").unlink()
        with second.lock(NAME, "run-two"):
            second.save(NAME, state(2), [])

        with pytest.raises(LockLost, match=rf"{NAME}\.json: the run lock was lost; nothing was saved"):
            first.save(NAME, state(1), [])

    assert first.load(NAME) == state(2)


# --- the earlier forwarder --------------------------------------------------------------------------


def test_a_state_json_serves_the_feed_that_has_no_file_and_stays_as_it_was(tmp_path: Path) -> None:
    earlier = tmp_path / "state.json"
    earlier.write_text('{"last_fetch_time": "2026-03-01T10:15:00", "total_snapshots_sent": 7}')
    store = save(tmp_path, state())
    expected = FeedState(takeover=Takeover(datetime(2026, 3, 1, 10, 15, tzinfo=UTC), str(earlier), 7, 0))

    taken = store.load("snapshotstate")
    store.save("snapshotstate", taken, [])

    assert (taken, store.load(NAME), store.load("snapshotstate")) == (expected, state(), expected)
    assert names_in(tmp_path) == [f"{NAME}.json", "snapshotstate.json", "state.json"]
    assert "total_snapshots_sent" in earlier.read_text()


@pytest.mark.parametrize("text", ["", "{}", "[1]", "not json"])
def test_a_state_json_that_is_none_of_the_earlier_forwarders_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "state.json").write_text(text)

    with pytest.raises(StateDamaged, match=r"state\.json"):
        JsonFileStore(tmp_path).load(NAME)


# --- damage -----------------------------------------------------------------------------------------


def edited(change: Callable[[dict[str, Any]], object]) -> Callable[[bytes], bytes]:
    def damage(content: bytes) -> bytes:
        document = json.loads(content)
        change(document)
        return json.dumps(document).encode()

    return damage


def group(document: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = document["locations"]["Étage 3"]["groups"][0]
    return found


DAMAGE: dict[str, Callable[[bytes], bytes]] = {
    "empty": lambda _: b"",
    "zeros after a power cut": lambda content: bytes(len(content)),
    "cut short": lambda content: content[:-20],
    "another file after it": lambda content: content + content,
    "no UTF-8": lambda content: content.replace("É".encode(), b"\xc9"),
    "a list": lambda _: b"[]",
    "null": lambda _: b"null",
    "an empty object": lambda _: b"{}",
    "another program's": lambda _: b'{"name": "x", "dependencies": {}}',
    "a key twice": lambda content: content.replace(b'"error": null', b'"error": null, "error": null', 1),
    "nested too deeply": lambda _: b"[" * 200_000,
    "a newer version": edited(lambda document: document.update(version=2)),
    "a version in words": edited(lambda document: document.update(version="1")),
    "no locations": edited(lambda document: document.pop("locations")),
    "locations in a list": edited(lambda document: document.update(locations=[])),
    "a location that is none": edited(lambda document: document["locations"].update(B=None)),
    "no groups": edited(lambda document: document["locations"]["Étage 3"].pop("groups")),
    "no position": edited(lambda document: group(document).pop("delivered_until")),
    "a position that is no time": edited(lambda document: group(document).update(delivered_until="noon")),
    "a position that is a number": edited(lambda document: group(document).update(known_from=5)),
    "ids cut short": edited(lambda document: group(document)["ids"].update({"2026-03-02T12": "AAAA"})),
    "ids of another alphabet": edited(
        lambda document: group(document)["ids"].update({"2026-03-02T12": "A" * 15 + "/"})
    ),
    "ids of no hour": edited(lambda document: group(document)["ids"].update({"x": "A" * 16})),
    "a hub in two groups": edited(
        lambda document: document["locations"]["Étage 3"]["groups"].append(group(document))
    ),
    "hubs in one text": edited(lambda document: group(document).update(hubs="alpha")),
}


@pytest.mark.parametrize("damage", DAMAGE.values(), ids=DAMAGE.keys())
def test_a_damaged_file_is_refused_with_advice_and_left_alone(
    tmp_path: Path, damage: Callable[[bytes], bytes]
) -> None:
    store = save(tmp_path, state(), state(1))
    path = tmp_path / f"{NAME}.json"
    path.write_bytes(damage(path.read_bytes()))
    damaged = path.read_bytes()

    with pytest.raises(StateDamaged, match=rf"{NAME}\.json: .*{NAME}\.json\.bak.*START_FROM") as refused:
        store.load(NAME)

    assert "\n" not in str(refused.value)
    assert path.read_bytes() == damaged


def test_a_missing_file_beside_its_backup_is_refused_with_advice(tmp_path: Path) -> None:
    store = save(tmp_path, state(), state(1))
    (tmp_path / f"{NAME}.json").unlink()

    with pytest.raises(StateDamaged, match=rf"is gone.*{NAME}\.json\.bak.*START_FROM"):
        store.load(NAME)


def test_both_files_away_is_a_new_beginning(tmp_path: Path) -> None:
    store = save(tmp_path, state(), state(1))
    for path in tmp_path.iterdir():
        path.unlink()

    assert store.load(NAME) == FeedState()


def test_the_backup_can_be_restored_as_the_advice_says(tmp_path: Path) -> None:
    store = save(tmp_path, state(), state(1))
    (tmp_path / f"{NAME}.json").write_bytes(b"")
    (tmp_path / f"{NAME}.json").write_bytes((tmp_path / f"{NAME}.json.bak").read_bytes())

    assert store.load(NAME) == state()


# --- what the operating system refuses --------------------------------------------------------------


class Killed(BaseException):
    """Stands for the end of the process: nothing is tidied up after it."""


class FailingCalls:
    """Makes the n-th call to the operating system within one folder fail.

    An audit hook of Python sees each call before it is made, and cannot be removed: it is one for
    all tests, and sleeps unless it is armed.
    """

    def __init__(self) -> None:
        self.folder: str | None = None
        self.left = 0
        self.fault: BaseException = Killed()
        sys.addaudithook(self._see)

    @contextmanager
    def armed(self, folder: Path, call: int, fault: BaseException) -> Iterator[None]:
        self.folder, self.left, self.fault = str(folder), call, fault
        try:
            yield
        finally:
            self.folder = None

    def _see(self, event: str, args: tuple[Any, ...]) -> None:
        if self.folder is None or event not in ("open", "os.rename", "os.link", "os.remove", "os.mkdir"):
            return
        if any(str(arg).startswith(self.folder) for arg in args):
            self.left -= 1
            if self.left == 0:
                raise self.fault


@pytest.fixture(scope="session")
def failing_calls() -> FailingCalls:
    return FailingCalls()


@pytest.mark.parametrize(
    ("fault", "raised"),
    [
        pytest.param(OSError(errno.ENOSPC, "No space left on device"), StateError, id="disk full"),
        pytest.param(OSError(errno.EIO, "Input/output error"), StateError, id="disk broken"),
        pytest.param(Killed(), Killed, id="killed"),
    ],
)
def test_a_save_that_fails_at_any_call_leaves_the_old_state_or_the_new_one(
    tmp_path: Path, failing_calls: FailingCalls, fault: BaseException, raised: type[BaseException]
) -> None:
    store = save(tmp_path, state(1), state(2))
    found = []
    for call in range(1, 100):
        with failing_calls.armed(tmp_path, call, fault):
            try:
                save(tmp_path, state(3))
            except raised:
                found.append(store.load(NAME))
            else:
                break
        save(tmp_path, state(1), state(2))

    assert len(found) >= 5
    assert all(each in (state(2), state(3)) for each in found)
    assert (found[0], store.load(NAME)) == (state(2), state(3))
    with store.lock(NAME, "run-one"):
        pass
    assert names_in(tmp_path) == [f"{NAME}.json", f"{NAME}.json.bak", f"{NAME}.lock"]


@contextmanager
def largest_file(size: int) -> Iterator[None]:
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_a_save_that_is_cut_in_the_middle_of_the_file_leaves_the_old_state(tmp_path: Path) -> None:
    store = save(tmp_path, state(1), state(2))

    with largest_file(100), pytest.raises(StateError, match=f"{NAME}.json: File too large"):
        save(tmp_path, state(3))

    assert (store.load(NAME), names_in(tmp_path)) == (state(2), [f"{NAME}.json", f"{NAME}.json.bak"])


def test_a_full_disk_is_named_with_what_to_do(tmp_path: Path, failing_calls: FailingCalls) -> None:
    full = OSError(errno.ENOSPC, "No space left on device")

    with failing_calls.armed(tmp_path, 1, full), pytest.raises(StateError) as refused:
        save(tmp_path, state())

    expected = f"state: {tmp_path}/{NAME}.json: No space left on device; free space on that disk"
    assert str(refused.value) == expected


def test_where_links_are_refused_the_backup_is_copied(tmp_path: Path, failing_calls: FailingCalls) -> None:
    save(tmp_path, state(1), state(2))
    backup, before = tmp_path / f"{NAME}.json.bak", (tmp_path / f"{NAME}.json").stat()
    refused = OSError(errno.EPERM, "Operation not permitted")

    # Whatever comes before the link fails the save; the link does not.
    for call in range(1, 10):
        with failing_calls.armed(tmp_path, call, refused), suppress(StateError):
            save(tmp_path, state(3))
            break

    found = backup.stat()
    assert (found.st_ino != before.st_ino, stat.S_IMODE(found.st_mode)) == (True, 0o600)
    assert json.loads(backup.read_text())["last_fetch_timestamp"] == "2026-03-02T14:00:00.000Z"
    assert JsonFileStore(tmp_path).load(NAME) == state(3)


USES: dict[str, Callable[[JsonFileStore], object]] = {
    "save": lambda store: store.save(NAME, state(), []),
    "lock": lambda store: store.lock(NAME, "run-one").__enter__(),
    "probe": lambda store: store.probe(),
    "quarantine": lambda store: store.quarantine(NAME, READING),
}


@pytest.mark.parametrize("use", USES.values(), ids=USES.keys())
@pytest.mark.parametrize("place", ["a file", "below a file", "where nothing can be made"])
def test_a_folder_that_cannot_be_is_refused_with_advice(
    tmp_path: Path, place: str, use: Callable[[JsonFileStore], object]
) -> None:
    file = tmp_path / "file"
    file.touch()
    folders = {
        "a file": file,
        "below a file": file / "state",
        "where nothing can be made": Path("/proc/state"),
    }

    with pytest.raises(StateError, match=rf"state: {folders[place]}.*; set STATE_DIR"):
        use(JsonFileStore(folders[place]))


def test_nothing_that_the_store_makes_can_be_read_by_others(tmp_path: Path) -> None:
    made: dict[str, int] = {}
    before = os.umask(0)  # what keeps others out is the store's own doing
    try:
        store = save(tmp_path / "a folder" / "state", state(), state(1))
        with store.lock(NAME, "run-one"):
            store.keep_report(NAME, {"started": "2026-03-02T12:00:00.000Z"})
            for hub in (HUB, "beta.example.test/counts"):
                store.quarantine(NAME, replace(READING, hubs=[hub]))
            key, _ = next(iter(store.quarantined(NAME, "people_counter")))
            store.release(NAME, "people_counter", key)
            store.probe()
            made |= rights_in(tmp_path)
            store.set_aside(NAME)
        made |= rights_in(tmp_path)
    finally:
        os.umask(before)

    assert {name for name, rights in made.items() if rights & 0o077} == set()
    assert len(made) >= 14


def rights_in(folder: Path) -> dict[str, int]:
    """Give the rights of all that is in a folder, by its path there."""
    return {str(path.relative_to(folder)): stat.S_IMODE(path.stat().st_mode) for path in folder.rglob("*")}


def test_a_folder_below_a_file_cannot_be_read(tmp_path: Path) -> None:
    (tmp_path / "file").touch()

    with pytest.raises(StateError, match="Not a directory"):
        JsonFileStore(tmp_path / "file" / "state").load(NAME)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_folder_that_is_not_ours_to_write_is_refused_with_advice(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)

    with pytest.raises(StateError, match="Permission denied; give the account that runs this the folder"):
        JsonFileStore(tmp_path).probe()


# --- quarantine -------------------------------------------------------------------------------------


def test_a_quarantined_reading_is_a_file_for_us_alone(tmp_path: Path) -> None:
    store = JsonFileStore(tmp_path / "state")

    found = Path(store.quarantine(NAME, READING))

    folders = [found.parent, found.parent.parent, found.parent.parent.parent]
    assert [stat.S_IMODE(path.stat().st_mode) for path in (found, *folders)] == [0o600, 0o700, 0o700, 0o700]
    assert found.parent == tmp_path / "state" / "quarantine" / "people_counter"
    assert found.name.startswith("AAAAAAAAAAAAAAAA-")


def test_what_a_killed_write_left_in_quarantine_is_removed_when_its_reading_comes_again(
    tmp_path: Path,
) -> None:
    found = Path(JsonFileStore(tmp_path).quarantine(NAME, READING))
    found.rename(found.with_name(f"{found.name}.x1.tmp"))

    JsonFileStore(tmp_path).quarantine(NAME, READING)

    assert names_in(found.parent) == [found.name]


def test_an_id_from_outside_cannot_leave_the_folder(tmp_path: Path) -> None:
    found = Path(JsonFileStore(tmp_path).quarantine(NAME, replace(READING, id="../../../etc/x\0")))

    assert found.parent == tmp_path / "quarantine" / "people_counter"


def test_a_quarantined_reading_keeps_its_numbers_exact(tmp_path: Path) -> None:
    reading = replace(READING, text=b'{"a":5.10,"b":123456789012345678901234567890,"c":1e400}')

    found = Path(JsonFileStore(tmp_path).quarantine(NAME, reading)).read_text()

    assert [number in found for number in ("5.10", "123456789012345678901234567890", "1E+400")] == [True] * 3


def test_a_reading_that_is_no_json_is_quarantined_as_text(tmp_path: Path) -> None:
    reading = replace(READING, text=b'{"a": \xff')

    found = Path(JsonFileStore(tmp_path).quarantine(NAME, reading)).read_text()

    assert json.loads(found)["reading"] == '{"a": \\xff'


def test_a_line_that_a_death_tore_costs_the_history_that_report_only(tmp_path: Path) -> None:
    store = JsonFileStore(tmp_path)
    reports = [{"run": f"r{n}", "started": f"2026-03-02T12:0{n}:00.000Z"} for n in range(3)]
    for report in reports[:2]:
        store.keep_report(NAME, report)
    file = tmp_path / "history" / f"{NAME}-2026-03-02.jsonl"
    file.write_bytes(file.read_bytes()[:-9])

    store.keep_report(NAME, reports[2])

    assert list(store.history(NAME, datetime(2026, 3, 1, tzinfo=UTC))) == [reports[0], reports[2]]
    assert stat.S_IMODE(file.stat().st_mode) == 0o600


@pytest.mark.parametrize("reading_id", [None, READING.id], ids=["of all readings", "of one reading"])
def test_a_folder_that_cannot_be_listed_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, reading_id: str | None
) -> None:
    store = save(tmp_path, state())
    store.quarantine(NAME, READING)
    (tmp_path / "history").mkdir()
    monkeypatch.setattr(os, "scandir", unreadable)

    with pytest.raises(StateError, match=r"^state: .*/quarantine/people_counter: .*; "):
        list(store.quarantined(NAME, "people_counter", reading_id))
    with pytest.raises(StateError, match=r"^state: .*/history: .*; "):
        list(store.history(NAME, NOON))


def unreadable(*_: object) -> Any:
    raise OSError(errno.EIO, os.strerror(errno.EIO))
