"""systemd itself, as the first process of namespaces of its own, with all that it does for a unit.

It has the machine's network, so that what it runs finds the emulators, and a copy of its files in memory.
Who may not make namespaces gets LiveSystemdMissing.
"""

from __future__ import annotations

import os
import select
import shutil
import signal
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

_BOOT = Path(__file__).with_suffix(".sh")
_NAMESPACES = ("--mount", "--pid", "--uts", "--ipc", "--cgroup")
_CGROUPS = [Path("/sys/fs/cgroup/unified"), Path("/sys/fs/cgroup")]


class LiveSystemdMissing(Exception):
    """systemd cannot be run here; the text says why."""


@dataclass(frozen=True, slots=True)
class LiveSystemd:
    """A running systemd. `folder` is /srv/lab inside."""

    folder: Path
    pid: int

    def call(self, *command: str | Path, fails: bool = False, text: str = "") -> str:
        """Do something as root inside; give what it says. Fails where it fails, unless told that it does."""
        inside = ["nsenter", f"--target={self.pid}", *_NAMESPACES, "--"]
        done = subprocess.run(
            [*inside, *command],
            input=text,
            capture_output=True,
            text=True,
            check=False,
            timeout=120,
            cwd="/",
            env={"PATH": "/usr/sbin:/usr/bin:/sbin:/bin"},
        )
        assert (done.returncode != 0) is fails, f"{command}: {done.stdout}{done.stderr}{self.journal()}"
        return done.stdout

    def write(self, path: str, text: str, mode: str = "0644", group: str = "root") -> None:
        """Write a file inside, and the folders that it lies in."""
        self.call("install", "-D", "-m", mode, "-g", group, "/dev/stdin", path, text=text)

    def show(self, unit: str, name: str) -> str:
        """Give a property of a unit."""
        return self.call("systemctl", "show", f"--property={name}", "--value", unit).strip()

    def journal(self, *words: str) -> str:
        """Give what the journal has, of all or by what journalctl is asked."""
        inside = ["nsenter", f"--target={self.pid}", *_NAMESPACES, "--"]
        asked = [*inside, "journalctl", "--no-pager", "--quiet", *words]
        subprocess.run([*inside, "journalctl", "--sync"], capture_output=True, check=False)
        return subprocess.run(asked, capture_output=True, text=True, check=False).stdout


@contextmanager
def running_systemd(
    folder: Path, units: Sequence[Path], binds: Mapping[Path, str] = {}
) -> Iterator[LiveSystemd]:
    """Run systemd with these units, until the context ends; with it ends all that it started.

    `binds` are folders of the machine, and where they are to be seen inside.
    """
    group = _usable() / f"lab-{os.getpid()}-{folder.parent.name}"
    for name in ("system", "root"):
        (folder / name).mkdir(parents=True)
    for unit in units:
        shutil.copyfile(unit, folder / "system" / unit.name)
    (folder / "binds").write_text("".join(f"{path} {inside}\n" for path, inside in binds.items()))
    ready = folder / "ready"
    os.mkfifo(ready)
    group.mkdir()
    # It enters its group before it makes the namespaces, whose root that group then is.
    enter = 'echo $$ >"$1/cgroup.procs"; shift; exec "$@"'
    unshare: list[str | Path] = ["unshare", *_NAMESPACES, "--fork", "--kill-child=KILL", _BOOT, folder]
    with (folder / "console").open("w") as console:
        process = subprocess.Popen(
            ["sh", "-c", enter, "sh", group, *unshare],
            stdin=subprocess.DEVNULL,
            stdout=console,
            stderr=console,
        )
    try:
        _wait_for(ready, process)
        yield LiveSystemd(folder, first_process(process))
    finally:
        # With the first process of its namespace each other ends, before anybody is told that it has ended.
        os.kill(first_process(process) or process.pid, signal.SIGKILL)
        process.wait(10)
        for below in sorted((path for path in group.rglob("*") if path.is_dir()), reverse=True):
            below.rmdir()
        group.rmdir()


def first_process(unshare: subprocess.Popen[Any]) -> int:
    """Give the process that `unshare` waits for; 0 where there is none."""
    try:
        children = Path(f"/proc/{unshare.pid}/task/{unshare.pid}/children").read_text().split()
    except FileNotFoundError:
        return 0
    return int(children[0]) if children else 0


def _wait_for(ready: Path, process: subprocess.Popen[bytes]) -> None:
    """Wait until the pipe was written to. Fails where the process ends before, or half a minute goes by."""
    # For both ends, so that it can be opened while nobody writes.
    told = os.open(ready, os.O_RDWR)
    try:
        for _ in range(60):
            if select.select([told], [], [], 0.5)[0]:
                return
            if process.poll() is not None:
                break
    finally:
        os.close(told)
    raise AssertionError(f"systemd did not start: {(ready.parent / 'console').read_text()}")


def _usable() -> Path:
    """Give where control groups are made. Raises LiveSystemdMissing."""
    for program in ("unshare", "nsenter", "setpriv", "/lib/systemd/systemd"):
        if shutil.which(program) is None:
            raise LiveSystemdMissing(f"{program} is not installed")
    trial = ["unshare", *_NAMESPACES, "--fork", "mount", "--make-rprivate", "/"]
    if os.geteuid() != 0 or subprocess.run(trial, capture_output=True, check=False).returncode != 0:
        raise LiveSystemdMissing("needs root, who may make namespaces")
    for found in _CGROUPS:
        if (found / "cgroup.procs").exists() and os.access(found, os.W_OK):
            return found
    raise LiveSystemdMissing("there is no folder of control groups, version 2, that can be written")
