"""The one way in which files are written: whole or not at all, for their owner alone, over files only.

What is kept is written beside its place, flushed to disk and renamed, and the folder is flushed after
it. That is done to ordinary files only: into a device or a pipe is written, and a link is followed where
nobody else could have put it there. A file that root makes in somebody's folder belongs to that folder's
owner, whose service could not use it otherwise.

Errors are OSErrors; `explained` makes of them what a user is told.
"""

from __future__ import annotations

import errno
import glob
import os
import re
import secrets
import stat
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

from app.base.errors import StateError

STANDARD_OUTPUT: Final = 1
_LONGEST_CHAIN: Final = 40  # as Linux follows links
_WRITABLE_BY_OTHERS: Final = stat.S_IWGRP | stat.S_IWOTH
# A name may take 255 bytes, and what stands beside it a few more.
_NAME_BYTES: Final = 200
# Opening one of these anew would begin at the start of the file that it stands for.
_DESCRIPTOR: Final = re.compile(r"/(?:dev|proc/self)/fd/(\d+)")
_DESCRIPTORS: Final = {"-": STANDARD_OUTPUT, "/dev/stdout": STANDARD_OUTPUT, "/dev/stderr": 2}
# Windows knows no links that O_NOFOLLOW would refuse, and would change line ends.
_AS_IT_IS: Final = getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_BINARY", 0)


class FileRefused(OSError):
    """What is not done to a file, though the operating system might; `advice` says what to do instead."""

    def __init__(self, said: str, advice: str, path: Path | None = None) -> None:
        super().__init__(errno.EPERM, said, *([] if path is None else [str(path)]))
        self.advice = advice


class FileSystem:
    """What is asked of the operating system while something is written; a test hands in one that notes it."""

    def create(self, path: Path) -> int:
        """Make a file that is not there yet, for its owner alone; give its descriptor."""
        return os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | _AS_IT_IS, 0o600)

    def open(self, path: Path, flags: int) -> int:
        return os.open(path, flags | _AS_IT_IS)

    def make_folder(self, folder: Path) -> None:
        folder.mkdir(mode=0o700, exist_ok=True)

    def write(self, descriptor: int, content: bytes) -> None:
        left = memoryview(content)
        while left:
            left = left[os.write(descriptor, left) :]

    def flush(self, descriptor: int) -> None:
        os.fsync(descriptor)

    def flush_folder(self, folder: Path) -> None:
        """Make the names in a folder durable."""
        if os.name == "nt":  # Windows opens no folders, and writes renames through
            return
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        except OSError as error:
            # Some network file systems refuse to flush a folder; they have written it already.
            if error.errno != errno.EINVAL:
                raise
        finally:
            os.close(descriptor)

    def link(self, path: Path, other: Path) -> None:
        os.link(path, other)

    def rename(self, path: Path, to: Path) -> None:
        """Give a file a name, in the place of whatever has it."""
        path.replace(to)

    def remove(self, path: Path) -> None:
        path.unlink(missing_ok=True)

    def give(self, made: int | Path, owner: int, group: int) -> None:
        """Give what was made just now to another account."""
        os.chown(made, owner, group)

    def let_read(self, path: Path, group: int) -> None:
        """Let a group read a file of this account."""
        os.chown(path, -1, group)
        path.chmod(0o640)

    def account(self) -> int:
        """Give the number of the account that this runs as; root's is 0, and -1 where there are none."""
        return os.geteuid() if hasattr(os, "geteuid") else -1


class Files:
    """Writes files. Every method raises OSError, FileRefused among it."""

    def __init__(self, system: FileSystem | None = None) -> None:
        self._system = system or FileSystem()

    def make_folder(self, folder: Path) -> None:
        """Make a folder, and those above it that are missing, for its owner alone."""
        if folder.is_dir():
            return
        if not folder.parent.exists():
            self.make_folder(folder.parent)
        self._system.make_folder(folder)
        try:
            self._give_away(folder, folder.parent)
        except OSError:
            with suppress(OSError):
                folder.rmdir()
            raise
        self._system.flush_folder(folder.parent)

    def make_folder_within(self, root: Path, folder: Path) -> None:
        """Make a folder below `root`; on the way from there no link is followed that others can make."""
        self.make_folder(root)
        for part in folder.relative_to(root).parts:
            root = root / part
            self.followed(root)
            self.make_folder(root)

    def write(self, path: Path, content: bytes, *, for_its_group: bool = False) -> None:
        """Write an ordinary file, whole and durable, in the place of the one that is there; no link.

        Where that one's group may read it and `for_its_group` says so, it may read this one, too.
        """
        self._require_plain(path)
        group = _group_that_reads(path) if for_its_group else None
        with self.beside(path, content) as beside:
            if group is not None:
                self._system.let_read(beside, group)
            self._system.rename(beside, path)
        self._system.flush_folder(path.parent)

    def write_new(self, path: Path, content: bytes) -> None:
        """Write a file that is not there yet, whole and durable. Raises FileExistsError where it is."""
        target = self.followed(path)
        self._write_at(target, content)
        self._system.flush_folder(target.parent)

    @contextmanager
    def beside(self, path: Path, content: bytes | Iterable[bytes]) -> Iterator[Path]:
        """Give a file beside `path`, with the content on disk; it is removed unless it was renamed."""
        beside = _beside(path)
        self._write_at(beside, content)
        with self._removed_where_refused(beside):
            yield beside

    def replace(self, beside: Path, path: Path) -> None:
        """Let what stands beside a file take its place."""
        self._system.rename(beside, path)

    def flush_folder(self, folder: Path) -> None:
        self._system.flush_folder(folder)

    def remove_unfinished(self, path: Path) -> None:
        """Remove what a process that was killed while it wrote this file has left beside it."""
        for beside in path.parent.glob(f"{glob.escape(_beginning(path))}.*.tmp"):
            beside.unlink(missing_ok=True)

    def remove_all_unfinished(self, folder: Path) -> None:
        """Remove what such a process has left in a folder of which nobody else writes files now."""
        for beside in folder.glob("*.tmp"):
            beside.unlink(missing_ok=True)

    def keep_as(self, path: Path, other: Path) -> None:
        """Let an ordinary file have another name too, in the place of the file that has it; no link."""
        self._require_plain(other)
        beside = _beside(other)
        with self._removed_where_refused(beside):
            try:
                self._system.link(path, beside)
            except OSError as error:
                if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EIO):
                    raise
                # Links are refused by some network and FAT file systems.
                self._write_at(beside, path.read_bytes())
            # A file that was put there by hand may be readable by others.
            with suppress(PermissionError):
                self._make_private(beside)
            self._system.rename(beside, other)

    def append_line(self, path: Path, line: bytes) -> None:
        """Add a line, durably, to what is no link; what a death has left of one becomes a line of its own."""
        self._require_plain(path)
        is_new = self.touch(path)
        descriptor = self._system.open(path, os.O_RDWR | os.O_APPEND)
        try:
            is_torn = False
            if os.lseek(descriptor, 0, os.SEEK_END) > 0:
                os.lseek(descriptor, -1, os.SEEK_END)
                is_torn = os.read(descriptor, 1) != b"\n"
            self._system.write(descriptor, (b"\n" if is_torn else b"") + line + b"\n")
            self._system.flush(descriptor)
        finally:
            os.close(descriptor)
        if is_new:
            self._system.flush_folder(path.parent)

    def touch(self, path: Path) -> bool:
        """Make an empty file where there is none; whether it was made."""
        try:
            self._write_at(path, b"")
        except FileExistsError:
            return False
        return True

    # --- what a user names --------------------------------------------------------------------------

    def output(self, path: Path, content: bytes, *, over: bool, for_its_group: bool = False) -> None:
        """Write where a user said: `-`, a device, a pipe, or a file, which may be there only if `over`.

        Over a file that its group may read see `write`.
        """
        descriptor = own_descriptor(path)
        if descriptor is not None:
            self._system.write(descriptor, content)
            return
        target = self.followed(path)
        if _is_special(target):
            self._write_into(target, content)
            return
        self.make_folder(target.parent)
        if over:
            self.write(target, content, for_its_group=for_its_group)
        else:
            self.write_new(target, content)

    def try_output(self, path: Path) -> None:
        """Find out that `output` over what is there can be done, before the work for it is; leave nothing."""
        if own_descriptor(path) is not None:
            return
        target = self.followed(path)
        if _is_special(target):
            if not os.access(target, os.W_OK):
                raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
            return
        self.make_folder(target.parent)
        self.ordinary(target)
        with self.beside(target, b"") as beside:
            self._system.remove(beside)

    # --- what a path stands for ---------------------------------------------------------------------

    def followed(self, path: Path) -> Path:
        """Give the path that links lead to. Raises FileRefused for one that others can put there."""
        for _ in range(_LONGEST_CHAIN):
            if not path.is_symlink() or own_descriptor(path) is not None:
                return path
            if not self._is_ours_alone(path.parent):
                raise FileRefused(
                    "is a link, in a folder that others can write, so it is not followed",
                    "name what it leads to, or put a file in its place",
                )
            path = path.parent / path.readlink()
        raise OSError(errno.ELOOP, os.strerror(errno.ELOOP))

    def ordinary(self, path: Path) -> Path:
        """Give the path of the ordinary file that is to be written; none may be there yet."""
        target = self.followed(path)
        if target.is_dir():
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
        if _is_special(target):
            raise FileRefused(
                "is not an ordinary file, so nothing is put in its place", f"move {path.name} away"
            )
        return target

    def _require_plain(self, path: Path) -> None:
        """Raise what `ordinary` does, and FileRefused for a link: what only this names needs none."""
        if path.is_symlink():
            # Where a message is cut short to a cause, the advice stands without what it is about.
            raise FileRefused(
                "is a link, and none belongs there, so it is not followed",
                f"remove the link {path.name}",
                path,
            )
        try:
            self.ordinary(path)
        except OSError as error:
            error.filename = str(path)
            raise

    def _is_ours_alone(self, folder: Path) -> bool:
        if self._system.account() < 0:  # rights that are not of this kind
            return True
        found = folder.stat()
        return found.st_uid in (0, self._system.account()) and not found.st_mode & _WRITABLE_BY_OTHERS

    # --- the parts of writing -----------------------------------------------------------------------

    def _write_at(self, path: Path, content: bytes | Iterable[bytes]) -> None:
        """Write a file that is not there yet, and flush it. Leaves nothing where that fails."""
        descriptor = self._system.create(path)
        # Closed before it is removed: Windows removes no file that is open.
        with self._removed_where_refused(path):
            try:
                self._give_away(path, path.parent, descriptor)
                for part in [content] if isinstance(content, bytes) else content:
                    if part:
                        self._system.write(descriptor, part)
                self._system.flush(descriptor)
            finally:
                os.close(descriptor)

    @contextmanager
    def _removed_where_refused(self, path: Path) -> Iterator[None]:
        """Leave nothing at a path where what is done with it raises an OSError."""
        try:
            yield
        except OSError:
            with suppress(OSError):
                self._system.remove(path)
            raise

    def _write_into(self, path: Path, content: bytes) -> None:
        descriptor = self._system.open(path, os.O_WRONLY | getattr(os, "O_NOCTTY", 0))
        try:
            self._system.write(descriptor, content)
        finally:
            os.close(descriptor)

    def _give_away(self, made: Path, folder: Path, descriptor: int | None = None) -> None:
        """Give what root made in somebody's folder to its owner. Raises FileRefused where it cannot."""
        if self._system.account() != 0:
            return
        found = folder.stat()
        if found.st_uid == 0:
            return
        try:
            self._system.give(made if descriptor is None else descriptor, found.st_uid, found.st_gid)
        except OSError as error:
            raise FileRefused(
                f"root cannot give what it makes there to the folder's owner, {owner_name(found.st_uid)}",
                f"run this as {owner_name(found.st_uid)}; nothing was left behind",
            ) from error

    def _make_private(self, path: Path) -> None:
        descriptor = self._system.open(path, os.O_RDONLY)
        try:
            if hasattr(os, "fchmod") and stat.S_IMODE(os.fstat(descriptor).st_mode) != 0o600:
                os.fchmod(descriptor, 0o600)
        finally:
            os.close(descriptor)


FILES: Final = Files()

_NOT_OURS = "give the account that runs this the folder and its files, or set STATE_DIR to a folder it owns"
STATE_ADVICE: Final[Mapping[int, str]] = {
    errno.ENOSPC: "free space on that disk",
    errno.EDQUOT: "free space, or have the quota raised",
    errno.EROFS: "set STATE_DIR to a folder that can be written",
    errno.EACCES: _NOT_OURS,
    errno.EPERM: _NOT_OURS,
    errno.ENOTDIR: "set STATE_DIR to a folder; a file is in its way",
    errno.EEXIST: "set STATE_DIR to a folder; a file is in its way",
    errno.ENOENT: "set STATE_DIR to a folder that can be made",
    errno.ELOOP: "remove the link that is in its way",
    errno.EISDIR: "remove the folder that is in the way of a file",
    errno.ENOLCK: "set STATE_DIR to a folder on a local disk; this file system has no locks",
    errno.ENOSYS: "set STATE_DIR to a folder on a local disk; this file system has no locks",
}


@contextmanager
def explained(place: str, advice: Mapping[int, str], otherwise: str) -> Iterator[None]:
    """Turn what the operating system refuses into a StateError that names the place and what to do."""
    try:
        yield
    except OSError as error:
        do = error.advice if isinstance(error, FileRefused) else advice.get(error.errno or 0, otherwise)
        raise StateError(f"{place}{_file_of(error, place)}: {error.strerror or error}; {do}") from error


def _file_of(error: OSError, place: str) -> str:
    """Name the file that an error is about where it is another than the place says: its backup."""
    # Of a rename it is what was to be replaced; what is renamed is our own.
    name = Path(os.fsdecode(error.filename2 or error.filename or "")).name
    return "" if name in place or name.endswith(".tmp") else f", its {name}"


def is_file(path: Path) -> bool:
    """Whether an ordinary file is there; what cannot even be looked at (a name of 5,000 letters) is none."""
    # Path.is_file raises for most of what os.path.isfile says False to.
    return os.path.isfile(path)  # noqa: PTH113


def own_descriptor(path: Path) -> int | None:
    """Give the descriptor of this process that a path stands for: `-` is standard output."""
    found = _DESCRIPTOR.fullmatch(str(path))
    return int(found[1]) if found else _DESCRIPTORS.get(str(path))


def owner_name(owner: int) -> str:
    """Name an account for people."""
    with suppress(ImportError, KeyError):
        import pwd

        return pwd.getpwuid(owner).pw_name
    return f"uid {owner}"


def _group_that_reads(path: Path) -> int | None:
    """Give the group that may read a file; None where there is no file, or it may not, or everybody may."""
    try:
        found = path.stat()
    except FileNotFoundError:
        return None
    return found.st_gid if found.st_mode & (stat.S_IRGRP | stat.S_IROTH) == stat.S_IRGRP else None


def _is_special(path: Path) -> bool:
    """Whether something is there that is neither an ordinary file nor a folder."""
    try:
        mode = path.lstat().st_mode
    except (FileNotFoundError, NotADirectoryError):
        return False
    return not (stat.S_ISREG(mode) or stat.S_ISDIR(mode))


def _beside(path: Path) -> Path:
    """Give a name of its own beside a path, for what is not finished."""
    return path.with_name(f"{_beginning(path)}.{secrets.token_hex(4)}.tmp")


def _beginning(path: Path) -> str:
    return os.fsdecode(os.fsencode(path.name)[:_NAME_BYTES])
