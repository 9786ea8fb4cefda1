"""install.sh on whole systems of its guide: their Python, useradd, runuser and pip, below a folder (chroot).

By `make deploy-systems`: each is fetched by debootstrap, which takes minutes. No systemd runs there.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from app.base.program import APP_ROOT
from tests.commands import Ended
from tests.environments.vm import NAME, copy_tree

pytestmark = [pytest.mark.systems, pytest.mark.timeout(1800)]

CERTIFICATES = Path("/etc/ssl/certs/ca-certificates.crt")


@dataclass(frozen=True, slots=True)
class Release:
    """A release of a distribution: where debootstrap finds it, and what its guide has installed."""

    suite: str
    python: str
    packages: tuple[str, ...] = ("python3", "python3-venv")
    ubuntu: bool = False

    @property
    def archive(self) -> str:
        return "https://archive.ubuntu.com/ubuntu" if self.ubuntu else "http://deb.debian.org/debian"

    def fetch(self, folder: Path) -> None:
        command = ["debootstrap", "--variant=minbase", "--include=ca-certificates"]
        # Debian's debootstrap has neither Ubuntu's keys nor its newer names; TLS says whose it is.
        command += ["--no-check-gpg"] if self.ubuntu else []
        command += [self.suite, str(folder), self.archive]
        command += ["/usr/share/debootstrap/scripts/gutsy"] if self.ubuntu else []
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)

    @property
    def sources(self) -> str:
        """What apt reads, with the updates that a machine in use has."""
        components = "main universe" if self.ubuntu else "main"
        suites = (self.suite, f"{self.suite}-updates")
        return "".join(f"deb {self.archive} {suite} {components}\n" for suite in suites)


RELEASES = {
    "debian-12": Release("bookworm", "3.11"),
    "ubuntu-24.04": Release("noble", "3.12", ubuntu=True),
    "ubuntu-22.04": Release("jammy", "3.11", ("python3", "python3.11", "python3.11-venv"), ubuntu=True),
}


class System:
    """A system below a folder, which shares this machine's network."""

    def __init__(self, release: Release, folder: Path) -> None:
        self.release = release
        self.folder = folder
        release.fetch(folder)
        copy_tree(folder / "srv/tree")
        shutil.copy("/etc/resolv.conf", folder / "etc/resolv.conf")
        # Where a proxy of this machine's network has an authority of its own.
        shutil.copy(CERTIFICATES, folder / "etc/ssl/certs/ca-certificates.crt")
        self.settings = folder / "etc" / NAME / "env"
        (folder / "etc/apt/sources.list").write_text(release.sources)
        apt = ["apt-get", "--yes", "--quiet", "--no-install-recommends"]
        for words in (["update"], ["install", *release.packages]):
            done = self.call(*apt, *words)
            assert done.status == 0, done.err

    def call(self, *words: str) -> Ended:
        """Call a command as root, as sudo does."""
        path = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
        environ = ["env", "-i", f"PATH={path}", f"PIP_CERT={CERTIFICATES}", "PIP_DEFAULT_TIMEOUT=180"]
        environ += ["DEBIAN_FRONTEND=noninteractive"]
        # What is mounted is so for this command alone.
        inside = ["unshare", "--mount", "sh", "-c", 'mount -t proc proc "$0/proc" && exec chroot "$0" "$@"']
        command = [*inside, str(self.folder), *environ, *words]
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=900)
        return Ended(done.returncode, done.stdout, done.stderr)

    def as_account(self, *words: str) -> Ended:
        return self.call("runuser", "-u", NAME, "--", NAME, *words)


@pytest.fixture(params=RELEASES)
def system(request: pytest.FixtureRequest, tmp_path: Path) -> System:
    if os.getuid() != 0 or shutil.which("debootstrap") is None:
        pytest.skip("it needs root and debootstrap: sudo apt-get install debootstrap")
    return System(RELEASES[request.param], tmp_path / "system")


@pytest.fixture
def world(tmp_path: Path) -> Iterator[str]:
    """Give the settings of a Microshare and two hubs of this machine."""
    file = tmp_path / "world"
    command = [sys.executable, "-m", "emulators", "--env-file", str(file)]
    with subprocess.Popen(command, cwd=APP_ROOT, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert any("Ctrl-C ends it" in line for line in process.stdout)
        yield "".join(line for line in file.read_text().splitlines(keepends=True) if "STATE_" not in line)
        process.send_signal(signal.SIGTERM)


def test_a_system_is_installed_on_and_delivers_and_is_left_as_it_was(system: System, world: str) -> None:
    accounts = (system.folder / "etc/passwd").read_text()

    installed = system.call("/srv/tree/deploy/vm/install.sh")
    assert installed.status == 0, installed.err
    assert f"(Python {system.release.python})" in installed.out
    system.settings.write_text(world)
    assert system.settings.stat().st_mode & 0o777 == 0o640

    checked = system.as_account("check")
    assert checked.status == 0, checked.out
    assert system.as_account("run", "all").status == 0
    assert "are at both hubs" in system.as_account("audit", "--from", "6h").out

    again = system.call("/srv/tree/deploy/vm/install.sh")
    assert "Nothing was to be done." in again.out

    removed = system.call(f"/opt/{NAME}/current/install.sh", "--uninstall", "--purge", "--yes")
    assert removed.status == 0, removed.err
    assert (system.folder / "etc/passwd").read_text() == accounts
    assert not (system.folder / "opt" / NAME).exists()
    assert not system.settings.parent.exists()
