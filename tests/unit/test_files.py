"""How files are written: in what order, over what, through which links, and whose they are then."""

from __future__ import annotations

import errno
import os
import re
import stat
import tempfile
import threading
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from app.base.checkpoints import FeedState, LocationState
from app.base.errors import StateDamaged, StateError
from app.base.files import FileRefused, Files, FileSystem, explained
from app.base.readings import QuarantinedReading
from app.state.document import quarantine_key
from app.state.json_file import JsonFileStore

NOON = datetime(2026, 3, 2, 12, tzinfo=UTC)
NAME = "peoplecounterstate"
SERVICE = 54321
REPORT = {"run": "r1", "started": "2026-03-02T12:00:00.000Z"}
READING = QuarantinedReading("people_counter", "Mill", ["hub"], "AAAAAAAAAAAAAAAA", "no time", NOON, b"{}")

as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")


class Noting(FileSystem):
    """Does what is asked, and notes it. Numbers of temporary files are left out."""

    def __init__(self) -> None:
        self.done: list[tuple[str, str]] = []
        self._names: dict[int, str] = {}

    def create(self, path: Path) -> int:
        descriptor = super().create(path)
        self._names[descriptor] = self._note("create", path)
        return descriptor

    def open(self, path: Path, flags: int) -> int:
        descriptor = super().open(path, flags)
        self._names[descriptor] = path.name
        return descriptor

    def write(self, descriptor: int, content: bytes) -> None:
        # In how many parts is nothing of the order.
        if self.done[-1:] != [done := ("write", self._names[descriptor])]:
            self.done.append(done)
        super().write(descriptor, content)

    def flush(self, descriptor: int) -> None:
        self.done.append(("flush", self._names[descriptor]))
        super().flush(descriptor)

    def flush_folder(self, folder: Path) -> None:
        self._note("flush folder", folder)
        super().flush_folder(folder)

    def link(self, path: Path, other: Path) -> None:
        self._note("link", other)
        super().link(path, other)

    def rename(self, path: Path, to: Path) -> None:
        self._note("rename to", to)
        super().rename(path, to)

    def _note(self, done: str, path: Path) -> str:
        name = re.sub(r"\.[0-9a-f]{8}\.tmp$", ".tmp", path.name)
        self.done.append((done, name))
        return name


class AnotherAccount(FileSystem):
    """Runs as an account that is not the one of the tests."""

    def account(self) -> int:
        return SERVICE


class RootThatCannotGive(FileSystem):
    """Root of a host whose share takes it for nobody."""

    def account(self) -> int:
        return 0

    def give(self, made: int | Path, owner: int, group: int) -> None:  # noqa: ARG002 - whatever it is
        raise PermissionError(errno.EPERM, os.strerror(errno.EPERM))


class FullDiskOfWindows(FileSystem):
    """Takes no byte, and removes no file that is open."""

    def __init__(self) -> None:
        self._made: dict[Path, int] = {}

    def create(self, path: Path) -> int:
        self._made[path] = super().create(path)
        return self._made[path]

    def write(self, descriptor: int, content: bytes) -> None:  # noqa: ARG002 - whatever it is
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    def remove(self, path: Path) -> None:
        with suppress(OSError):
            os.fstat(self._made[path])
            raise AssertionError("the file is still open")
        super().remove(path)


def owned(folder: Path, mode: int = 0o700, owner: int = SERVICE) -> Path:
    folder.mkdir()
    os.chown(folder, owner, owner)
    folder.chmod(mode)
    return folder


def owners(folder: Path) -> dict[str, int]:
    return {str(path.relative_to(folder)): path.lstat().st_uid for path in folder.rglob("*")}


def test_what_could_not_be_written_is_closed_before_it_is_removed(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="No space left"):
        Files(FullDiskOfWindows()).write(tmp_path / "a.json", b"{}")

    assert list(tmp_path.iterdir()) == []


# --- the order --------------------------------------------------------------------------------------


def test_a_file_is_written_flushed_and_renamed_and_then_its_folder_is_flushed(tmp_path: Path) -> None:
    system = Noting()

    Files(system).write(tmp_path / "a.json", b"{}")

    assert system.done == [
        ("create", "a.json.tmp"),
        ("write", "a.json.tmp"),
        ("flush", "a.json.tmp"),
        ("rename to", "a.json"),
        ("flush folder", tmp_path.name),
    ]


def test_a_save_keeps_the_one_before_under_another_name_before_the_new_one_comes(
    tmp_path: Path,
) -> None:
    system = Noting()
    store = JsonFileStore(tmp_path, files=Files(system))
    store.save(NAME, FeedState(), [])
    system.done.clear()

    store.save(NAME, FeedState({"Mill": LocationState()}), ["Mill"])

    assert system.done == [
        ("create", f"{NAME}.json.tmp"),
        ("write", f"{NAME}.json.tmp"),
        ("flush", f"{NAME}.json.tmp"),
        ("link", f"{NAME}.json.bak.tmp"),
        ("rename to", f"{NAME}.json.bak"),
        ("rename to", f"{NAME}.json"),
        ("flush folder", tmp_path.name),
    ]


def test_a_line_is_flushed_and_the_folder_of_a_new_file_too(tmp_path: Path) -> None:
    system = Noting()
    files = Files(system)

    files.append_line(tmp_path / "day.jsonl", b"one")
    first, system.done = system.done, []
    files.append_line(tmp_path / "day.jsonl", b"two")

    assert first[-3:] == [("write", "day.jsonl"), ("flush", "day.jsonl"), ("flush folder", tmp_path.name)]
    assert system.done == [("write", "day.jsonl"), ("flush", "day.jsonl")]
    assert (tmp_path / "day.jsonl").read_bytes() == b"one\ntwo\n"


def test_a_new_folder_is_flushed_into_the_one_above(tmp_path: Path) -> None:
    system = Noting()

    Files(system).make_folder(tmp_path / "a" / "b")

    assert system.done == [("flush folder", tmp_path.name), ("flush folder", "a")]
    assert stat.S_IMODE((tmp_path / "a").stat().st_mode) == 0o700


def test_the_longest_name_that_a_file_may_have_can_be_written(tmp_path: Path) -> None:
    longest = tmp_path / f"{'é' * 125}.json"

    Files().write(longest, b"{}")

    assert [path.name for path in tmp_path.iterdir()] == [longest.name]


# --- what is not an ordinary file -----------------------------------------------------------------------


def test_what_is_put_out_to_a_pipe_goes_into_it_and_the_pipe_stays(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    read: list[bytes] = []
    reader = threading.Thread(target=lambda: read.append(pipe.read_bytes()))

    Files().try_output(pipe)
    reader.start()
    Files().output(pipe, b"x" * 200_000, over=True)
    reader.join(20)

    assert read == [b"x" * 200_000]
    assert stat.S_ISFIFO(pipe.lstat().st_mode)


@pytest.mark.parametrize("over", [True, False], ids=["a page", "an export"])
def test_what_is_put_out_to_a_device_goes_into_it_and_the_device_stays(tmp_path: Path, over: bool) -> None:
    master, terminal = os.openpty()
    device = Path(os.ttyname(terminal))
    link = tmp_path / "link"
    link.symlink_to(device)
    before = device.lstat()

    for path in (device, link):
        Files().output(path, b"one line\n", over=over)

    with os.fdopen(os.dup(master), "rb", buffering=0) as screen:
        assert b"".join(screen.read(1) for _ in range(20)) == b"one line\r\none line\r\n"
    after = device.lstat()
    assert (after.st_ino, after.st_mode, after.st_rdev) == (before.st_ino, before.st_mode, before.st_rdev)
    assert link.is_symlink()
    os.close(master)
    os.close(terminal)


@pytest.mark.parametrize("path", ["/dev/fd/{}", "/proc/self/fd/{}"])
def test_what_is_put_out_to_a_descriptor_goes_on_where_that_stands(tmp_path: Path, path: str) -> None:
    with (tmp_path / "out").open("wb", buffering=0) as file:
        file.write(b"before ")
        Files().output(Path(path.format(file.fileno())), b"after", over=True)

    assert (tmp_path / "out").read_bytes() == b"before after"


def test_state_is_never_put_in_the_place_of_what_is_no_ordinary_file(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / f"{NAME}.json.bak")
    store = JsonFileStore(tmp_path)
    store.save(NAME, FeedState(), [])

    with pytest.raises(StateError, match=r"its .*\.bak: is not an ordinary file, .*; move .*bak away"):
        store.save(NAME, FeedState(), [])

    assert stat.S_ISFIFO((tmp_path / f"{NAME}.json.bak").lstat().st_mode)
    assert sorted(path.name for path in tmp_path.iterdir()) == [f"{NAME}.json", f"{NAME}.json.bak"]


def test_a_folder_in_the_place_of_a_backup_is_what_the_error_says_to_remove(tmp_path: Path) -> None:
    (tmp_path / f"{NAME}.json.bak").mkdir()

    with pytest.raises(
        StateError, match=r"\.bak: Is a directory; remove the folder that is in the way of a file"
    ):
        save_twice(JsonFileStore(tmp_path))


def test_a_folder_is_named_as_one_and_left(tmp_path: Path) -> None:
    with (
        pytest.raises(StateError, match=r"page: Is a directory; name another file"),
        explained("page", {}, "name another file"),
    ):
        Files().try_output(tmp_path)

    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(("mode", "then"), [(0o600, 0o600), (0o640, 0o640), (0o660, 0o640), (0o644, 0o600)])
def test_a_group_that_may_read_a_file_may_read_what_replaces_it_where_that_is_wanted(
    tmp_path: Path, mode: int, then: int
) -> None:
    path = tmp_path / "env"
    path.touch()
    path.chmod(mode)
    group = path.stat().st_gid

    Files().output(path, b"new", over=True, for_its_group=True)
    assert (stat.S_IMODE(path.stat().st_mode), path.stat().st_gid) == (then, group)

    Files().output(path, b"newer", over=True)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_a_new_file_is_never_put_in_the_place_of_one_that_is_there(tmp_path: Path) -> None:
    there = tmp_path / "export.json"
    there.write_bytes(b"kept")

    with pytest.raises(FileExistsError):
        Files().output(there, b"new", over=False)

    assert there.read_bytes() == b"kept"


# --- links ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("exists", [True, False], ids=["leads to a file", "leads to nothing yet"])
def test_a_link_in_a_folder_of_ours_is_written_through(tmp_path: Path, exists: bool) -> None:
    (tmp_path / "data").mkdir()
    target, link = tmp_path / "data" / "page.html", tmp_path / "page.html"
    if exists:
        target.write_bytes(b"before")
    link.symlink_to(Path("data") / "page.html")

    Files().try_output(link)
    Files().output(link, b"after", over=True)

    assert (link.is_symlink(), target.read_bytes()) == (True, b"after")


def test_a_state_that_is_a_link_stays_one_and_so_does_its_backup(tmp_path: Path) -> None:
    elsewhere, folder = tmp_path / "elsewhere", tmp_path / "state"
    elsewhere.mkdir()
    store = JsonFileStore(folder)
    store.save(NAME, FeedState(), [])
    (folder / f"{NAME}.json").rename(elsewhere / "state.json")
    (folder / f"{NAME}.json").symlink_to(elsewhere / "state.json")

    store.save(NAME, FeedState({"Mill": LocationState()}), ["Mill"])

    assert (folder / f"{NAME}.json").is_symlink()
    assert JsonFileStore(folder).load(NAME) == FeedState({"Mill": LocationState()})
    assert b"Mill" not in (folder / f"{NAME}.json.bak").read_bytes()


@pytest.mark.parametrize("mode", [0o777, 0o1777, 0o770], ids=["all", "all, sticky", "a group"])
def test_a_link_in_a_folder_that_others_can_write_is_not_followed(tmp_path: Path, mode: int) -> None:
    victim, shared = tmp_path / "victim", tmp_path / "shared"
    victim.write_bytes(b"kept")
    victim.chmod(0o644)
    shared.mkdir()
    shared.chmod(mode)
    (shared / "page.html").symlink_to(victim)

    for over in (True, False):
        with pytest.raises(FileRefused, match="is a link, in a folder that others can write"):
            Files().output(shared / "page.html", b"new", over=over)

    assert (victim.read_bytes(), stat.S_IMODE(victim.stat().st_mode)) == (b"kept", 0o644)
    assert [path.name for path in shared.iterdir()] == ["page.html"]


def test_a_link_in_a_folder_of_another_account_is_not_followed(tmp_path: Path) -> None:
    if os.geteuid() == 0:
        os.chown(tmp_path, SERVICE + 1, SERVICE + 1)
    (tmp_path / "victim").write_bytes(b"kept")
    (tmp_path / "link").symlink_to(tmp_path / "victim")

    with pytest.raises(FileRefused, match="is a link, in a folder"):
        Files(AnotherAccount()).output(tmp_path / "link", b"new", over=True)

    assert (tmp_path / "victim").read_bytes() == b"kept"


def history(store: JsonFileStore) -> None:
    store.keep_report(NAME, REPORT)


def quarantine(store: JsonFileStore) -> None:
    store.quarantine(NAME, READING)


def save_twice(store: JsonFileStore) -> None:
    store.save(NAME, FeedState(), [])
    store.save(NAME, FeedState(), [])


@pytest.mark.parametrize(
    ("link", "act", "mode"),
    [
        ("history", history, 0o777),
        (f"history/{NAME}-2026-03-02.jsonl", history, 0o777),
        (f"history/{NAME}-2026-03-02.jsonl", history, 0o700),
        ("quarantine", quarantine, 0o777),
        ("quarantine/people_counter", quarantine, 0o777),
        (f"quarantine/people_counter/{quarantine_key(READING)}.json", quarantine, 0o700),
        (f"{NAME}.json", save_twice, 0o777),
        (f"{NAME}.json.bak", save_twice, 0o777),
        (f"{NAME}.json.bak", save_twice, 0o700),
    ],
)
def test_links_that_do_not_belong_into_the_state_folder_are_refused_and_what_they_lead_to_stays(
    tmp_path: Path, link: str, act: Callable[[JsonFileStore], None], mode: int
) -> None:
    victim, folder = tmp_path / "victim", tmp_path / "state"
    is_folder = not Path(link).suffix
    victim.mkdir() if is_folder else victim.write_bytes(b"kept")
    victim.chmod(0o755)
    path = folder / link
    path.parent.mkdir(parents=True)
    for shared in (folder, path.parent):
        shared.chmod(mode)
    path.symlink_to(victim)

    with pytest.raises(
        StateError, match=r"is a link, .*not followed; (name what it leads to|remove the link )"
    ):
        act(JsonFileStore(folder))

    assert stat.S_IMODE(victim.stat().st_mode) == 0o755
    assert list(victim.iterdir()) == [] if is_folder else victim.read_bytes() == b"kept"


def test_a_backup_that_is_a_link_is_what_the_error_says_to_remove(tmp_path: Path) -> None:
    (tmp_path / f"{NAME}.json.bak").symlink_to(tmp_path / "victim")

    with pytest.raises(
        StateError, match=rf"its {NAME}\.json\.bak: is a link, .*; remove the link {NAME}\.json\.bak$"
    ):
        save_twice(JsonFileStore(tmp_path))


def test_a_lock_that_is_a_link_is_refused_and_what_it_leads_to_stays(tmp_path: Path) -> None:
    victim = tmp_path / "victim"
    victim.write_bytes(b"kept")
    victim.chmod(0o644)
    (tmp_path / "state").mkdir()
    (tmp_path / "state" / f"{NAME}.lock").symlink_to(victim)

    with (
        pytest.raises(StateError, match="remove the link that is in its way"),
        JsonFileStore(tmp_path / "state").lock(NAME, "run"),
    ):
        pass

    assert (victim.read_bytes(), stat.S_IMODE(victim.stat().st_mode)) == (b"kept", 0o644)


def test_links_that_lead_in_a_circle_are_an_error(tmp_path: Path) -> None:
    (tmp_path / "a").symlink_to(tmp_path / "b")
    (tmp_path / "b").symlink_to(tmp_path / "a")

    with pytest.raises(OSError, match=os.strerror(errno.ELOOP)):
        Files().output(tmp_path / "a", b"x", over=True)


# --- whose files they are ---------------------------------------------------------------------------


@as_root
def test_all_that_root_makes_in_a_services_folder_is_the_services(tmp_path: Path) -> None:
    folder = owned(tmp_path / "state")
    store = JsonFileStore(folder)

    with store.lock(NAME, "run"):
        assert owners(folder).keys() == {f"{NAME}.lock", f"{NAME}.lock.owner"}
        assert set(owners(folder).values()) == {SERVICE}
        save_twice(store)
        history(store)
        quarantine(store)
        (_, key) = (None, next(iter(store.quarantined(NAME, "people_counter")))[0])
        store.release(NAME, "people_counter", key)
    store.probe()

    assert set(owners(folder).values()) == {SERVICE}
    assert len(owners(folder)) == 9
    modes = {stat.S_IMODE(path.stat().st_mode) for path in folder.rglob("*")}
    assert modes == {0o600, 0o700}


@as_root
def test_a_service_goes_on_after_root_has_run_in_its_folder() -> None:
    # Folders of tests are root's own alone.
    with tempfile.TemporaryDirectory() as above:
        Path(above).chmod(0o755)
        folder = owned(Path(above) / "state")
        by_root, of_the_service = JsonFileStore(folder), JsonFileStore(folder)
        by_root.probe()
        with by_root.lock(NAME, "run"):
            save_twice(by_root)
            history(by_root)

        os.seteuid(SERVICE)
        try:
            with of_the_service.lock(NAME, "run"):
                assert of_the_service.load(NAME) == FeedState()
                save_twice(of_the_service)
                history(of_the_service)
                quarantine(of_the_service)
        finally:
            os.seteuid(0)

        assert set(owners(folder).values()) == {SERVICE}


@as_root
def test_a_state_of_roots_in_a_services_folder_is_the_services_from_the_next_save_on(tmp_path: Path) -> None:
    folder = owned(tmp_path / "state")
    (folder / f"{NAME}.json").write_bytes(b"")
    JsonFileStore(folder).save(NAME, FeedState(), [])

    assert (folder / f"{NAME}.json").stat().st_uid == SERVICE


@as_root
def test_a_folder_that_root_makes_below_a_services_is_the_services(tmp_path: Path) -> None:
    Files().make_folder(owned(tmp_path / "home") / "a" / "b")

    assert owners(tmp_path / "home") == {"a": SERVICE, "a/b": SERVICE}


def test_in_a_folder_of_roots_own_nothing_is_given_away(tmp_path: Path) -> None:
    JsonFileStore(tmp_path / "state").save(NAME, FeedState(), [])

    assert set(owners(tmp_path).values()) == {os.geteuid()}


@as_root
def test_root_that_cannot_give_its_files_away_is_told_and_leaves_nothing_behind(tmp_path: Path) -> None:
    folder = owned(tmp_path / "state")
    store = JsonFileStore(folder, files=Files(RootThatCannotGive()))
    told = r"root cannot give what it makes there to the folder's owner, uid 54321; run this as uid 54321"

    for attempt in (save_twice, history, quarantine, JsonFileStore.probe):
        with pytest.raises(StateError, match=told):
            attempt(store)
    with pytest.raises(StateError, match=told), store.lock(NAME, "run"):
        pass

    assert owners(folder) == {}


# --- names that are read ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    "feed", ["../../x", "/etc/cron.d", "", "People", "people counter", "hourly_snapshot"]
)
def test_a_quarantined_reading_that_names_another_place_is_refused_where_it_is_read(
    tmp_path: Path, feed: str
) -> None:
    store = JsonFileStore(tmp_path)
    place = Path(store.quarantine(NAME, READING))
    store.quarantine(NAME, replace(READING, id="BBBBBBBBBBBBBBBB"))
    place.write_text(place.read_text().replace('"people_counter"', f'"{feed}"'))

    found = store.quarantined(NAME, "people_counter")

    assert next(found)[1].id == "BBBBBBBBBBBBBBBB"
    with pytest.raises(StateDamaged, match=re.escape(f"state: {place}: cannot be read as state")):
        next(found)
