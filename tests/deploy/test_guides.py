"""The guides, as somebody follows them: what a page says to type is run, from the page, in its order.

A block that is not run says why, in a comment of the page's source right before it: `<!-- not run: why -->`.
What touches the machine itself works below a folder (`Vm`). Nobody answers `init`: its answers are there.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from dotenv import dotenv_values

from app.base.program import APP_ROOT
from tests.commands import Ended, ended
from tests.environments.azurite import AzuriteMissing, connection_string, running_azurite
from tests.environments.vm import NAME, Vm, copy_tree

pytestmark = pytest.mark.deploy

# Of each guide the sections that tests below follow; none named: all of it. Of the last three nothing can be.
FOLLOWED: Mapping[str, Sequence[str]] = {
    "README.md": ("A first session", "Run it by itself, on a VM"),
    "docs/install-vm.md": (),
    "docs/network.md": (),
    "docs/key-rotation.md": (),
    "docs/runbook.md": (),
    "docs/costs.md": (),
    "docs/migrate.md": (
        "From the earlier forwarder",
        "Compare before the switch",
        "From a VM to the cloud",
        "Back to a VM",
    ),
    "docs/install-container.md": ("",),
    "docs/install-azure.md": ("",),
    "docs/security.md": ("",),
}

_BLOCK = re.compile(r"(?ms)^(?: *<!-- not run: ([^\n]+?) -->\n)?( *)```sh\n(.*?)^ *```$")


@dataclass(frozen=True, slots=True)
class Block:
    """What is typed at one place of a page, and why that is not run here, if it is not."""

    place: str
    text: str
    why_not: str | None


def blocks_of(page: str, *sections: str) -> list[Block]:
    """Give the blocks of a page, or of sections of it by their headings."""
    text = (APP_ROOT / page).read_text()
    found = []
    for match in _BLOCK.finditer(text):
        before = text[: match.start()]
        heading = re.findall(r"(?m)^## (.+)$", before)[-1:]
        if not sections or not {*sections}.isdisjoint(heading):
            typed = re.sub(rf"(?m)^{match[2]}", "", match[3])
            found.append(Block(f"{page}:{before.count(chr(10)) + 1}", typed, match[1]))
    return found


class Follower:
    """Somebody with sudo on a VM, who has the tree."""

    def __init__(self, folder: Path, wheelhouse: Path) -> None:
        self.vm = Vm(folder / "root")
        self.tree = folder / "tree"
        copy_tree(self.tree)
        (self.tree / ".venv").symlink_to(sys.prefix)
        self.meant: dict[str, str] = {}
        self._places = self.vm.root / "tmp", self.vm.root / "var/backups"
        as_account = f"HOME={self.vm.state} STATE_DIR={self.vm.state} XDG_CONFIG_HOME={self.vm.root}/etc"
        self.vm.put(NAME, f'exec {self.vm.base}/current/bin/{NAME} "$@"')
        self.vm.put("chown", "exit 0")
        self.vm.put("journalctl", "exit 0")
        # The newer tree that `git pull` gives.
        self.vm.put("git", "exec sed -i 's/^version = .*/version = \"99.0\"/' pyproject.toml")
        self.vm.put("sudo", _SUDO.format(vm=self.vm, as_account=as_account, wheelhouse=wheelhouse))

    def begin(self, settings: Mapping[str, str]) -> None:
        """Forget settings and state of what was followed before; answer `init` with `settings`."""
        for folder in (self.vm.settings.parent, self.vm.state, *self._places):
            shutil.rmtree(folder, ignore_errors=True)
        for folder in self._places:
            folder.mkdir(parents=True)
        self.meant = {"tar -C / ": f"tar -C {self.vm.root} "}
        self.answers = env_text(settings)
        (self.vm.root / "answers").write_text(self.answers)

    def type(self, block: Block) -> None:
        """Run what a block says; fails with the block's place, and with what was said."""
        done = self.run(block.text)
        assert done.status == 0, f"{block.place}\n{block.text}\n{done.out}\n{done.err}"

    def run(self, text: str) -> Ended:
        text = re.sub(r"(?m)^\S*python -m app init\b", "true", text)
        text = re.sub(r"(?<![\w/.])(?=/(?:etc|opt|tmp|var/lib|var/backups)/)", str(self.vm.root), text)
        for name, meaning in self.meant.items():
            text = text.replace(name, meaning)
        environ = {
            **{name: os.environ[name] for name in ("LANG", "TMPDIR") if name in os.environ},
            "HOME": str(self.vm.root),
            "PATH": f"{self.vm.bin}:{os.environ['PATH']}",
        }
        return ended(["bash", "-euo", "pipefail", "-c", text], self.tree, environ, 240)


# The account is whoever runs this. install.sh is told where its root is, and needs no registry.
_SUDO = """\
account=
while :; do case "$1" in -u) account=$2; shift 2 ;; -*) shift ;; *) break ;; esac; done
case "$1" in
  */install.sh)
    script=$1; shift
    case " $* " in *" --rollback "* | *" --uninstall "*) ;; *) set -- --wheelhouse {wheelhouse} "$@" ;; esac
    SYSTEMCTL={vm.bin}/systemctl exec "$script" --root {vm.root} "$@" ;;
esac
if [ "$1 $2" = "microshare-forwarder init" ]; then exec cp {vm.root}/answers {vm.settings}; fi
if [ -n "$account" ]; then export {as_account}; fi
exec "$@"
"""


def env_text(settings: Mapping[str, str]) -> str:
    return "".join(f"{name}='{value}'\n" for name, value in settings.items())


@contextmanager
def world(folder: Path) -> Iterator[dict[str, str]]:
    """Give the settings of a Microshare and two hubs of this machine, without a place for the state."""
    file = folder / "world.env"
    command = [sys.executable, "-m", "emulators", "--env-file", str(file)]
    with subprocess.Popen(command, cwd=APP_ROOT, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert any("Ctrl-C ends it" in line for line in process.stdout)
        settings = {name: value or "" for name, value in dotenv_values(file).items()}
        yield {name: value for name, value in settings.items() if not name.startswith("STATE_")}
        process.send_signal(signal.SIGTERM)


@pytest.fixture(scope="module")
def follower(tmp_path_factory: pytest.TempPathFactory, wheelhouse: Path) -> Follower:
    return Follower(tmp_path_factory.mktemp("vm"), wheelhouse)


@pytest.fixture
def settings(tmp_path: Path, follower: Follower) -> Iterator[dict[str, str]]:
    with world(tmp_path) as found:
        follower.begin(found)
        yield found


def installed(follower: Follower) -> None:
    """Be where the README's block ends."""
    for block in blocks_of("README.md", "Run it by itself, on a VM"):
        follower.type(block)


def follow(follower: Follower, page: str, *sections: str) -> None:
    for block in blocks_of(page, *sections):
        if block.why_not is None:
            follower.type(block)


def audited(follower: Follower) -> str:
    """Give the verdict of an audit that finds nothing wrong."""
    done = follower.run(f"sudo -u {NAME} {NAME} audit --from 6h")
    assert done.status == 0, done.out + done.err
    return done.out


@pytest.mark.parametrize("page", FOLLOWED)
def test_a_block_that_nobody_follows_says_why(page: str) -> None:
    followed = blocks_of(page, *FOLLOWED[page])

    assert [block.place for block in blocks_of(page) if block.why_not is None and block not in followed] == []


def test_the_first_session_of_the_readme_ends_in_a_page(follower: Follower, settings: dict[str, str]) -> None:
    (follower.tree / ".env").write_text(env_text(settings | {"STATE_DIR": str(follower.vm.root / "tmp/s")}))

    follow(follower, "README.md", "A first session")

    assert [*follower.tree.glob("report*.html")] != []


@pytest.mark.usefixtures("settings")
def test_the_block_of_the_readme_ends_with_readings_in_the_hubs_and_timers_on(follower: Follower) -> None:
    installed(follower)

    assert "are at both hubs" in audited(follower)
    [enabled] = [call for call in follower.vm.calls if "enable" in call]
    for timer in enabled.split()[3:]:
        assert (follower.vm.units / timer).is_file()


@pytest.mark.usefixtures("settings")
@pytest.mark.parametrize(
    "page", ["docs/network.md", "docs/key-rotation.md", "docs/runbook.md", "docs/costs.md"]
)
def test_a_page_for_an_installation_can_be_followed(follower: Follower, page: str) -> None:
    installed(follower)

    follow(follower, page)


def test_an_earlier_forwarder_is_taken_over(follower: Follower, settings: dict[str, str]) -> None:
    earlier = follower.vm.root / "opt" / "earlier-forwarder"
    earlier.mkdir(parents=True, exist_ok=True)
    (earlier / ".env").write_text(env_text(settings))
    position = (datetime.now(UTC) - timedelta(hours=2)).isoformat()
    for name in ("peoplecounterstate.json", "snapshotstate.json"):
        (earlier / name).write_text(json.dumps({"last_fetch_timestamp": position}))

    follow(follower, "docs/migrate.md", "From the earlier forwarder")

    shown = follower.run(f"sudo -u {NAME} {NAME} state show people-counter")
    assert "taken over by the next run" in shown.out


def test_two_installations_are_compared_by_one_audit(follower: Follower, settings: dict[str, str]) -> None:
    clients = json.loads(settings["EVENT_HUB_CONNECTION_STRINGS"])[0]
    follower.begin(settings | {"EVENT_HUB_CONNECTION_STRINGS": "[]"})
    installed(follower)
    other = settings | {
        "EVENT_HUB_CONNECTION_STRING": clients,
        "EVENT_HUB_CONNECTION_STRINGS": "[]",
        "STATE_DIR": str(follower.vm.root / "tmp" / "other"),
    }
    (follower.tree / ".env").write_text(env_text(other))
    assert follower.run(".venv/bin/python -m app run all").status == 0
    follower.meant["CLIENTS-HUB"] = clients

    follow(follower, "docs/migrate.md", "Compare before the switch")


def test_a_state_goes_to_the_cloud_and_back_and_nothing_comes_twice(
    follower: Follower, settings: dict[str, str], tmp_path: Path
) -> None:
    try:
        with running_azurite(tmp_path) as port:
            cloud = settings | {"STATE_STORE": "table", "AzureWebJobsStorage": connection_string(port)}
            (follower.tree / ".env").write_text(env_text(cloud))
            installed(follower)
            follow(follower, "docs/migrate.md", "From a VM to the cloud")
            assert follower.run(".venv/bin/python -m app run all").status == 0
            follow(follower, "docs/migrate.md", "Back to a VM")
    except AzuriteMissing as error:
        pytest.skip(str(error))

    assert follower.run(f"sudo -u {NAME} {NAME} run all").status == 0
    assert "nothing is wrong" in audited(follower)


@pytest.mark.usefixtures("settings")
def test_the_guide_for_a_vm_leads_from_nothing_to_readings_and_back_to_nothing(follower: Follower) -> None:
    *all_but_removal, removal = [
        block
        for block in blocks_of("docs/install-vm.md", *FOLLOWED["docs/install-vm.md"])
        if not block.why_not
    ]
    for block in all_but_removal:
        follower.type(block)

    assert follower.vm.releases > {"99.0"}
    assert follower.vm.in_use != "99.0"
    assert "are at both hubs" in audited(follower)

    follower.type(removal)

    assert not follower.vm.base.exists()
    assert follower.vm.settings.exists()
    assert [*follower.vm.units.glob("*.timer")] == []
