"""A VM: installed, upgraded and rolled back in a root of its own, up to readings in a hub."""

from __future__ import annotations

import fcntl
import hashlib
import json
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from app.base.program import APP_ROOT
from app.base.version import VERSION
from tests.environments.vm import INSTALL, NAME, Vm, build_wheel, copy_tree, package_wheel, small_wheel

pytestmark = pytest.mark.deploy


@pytest.fixture
def vm(tmp_path: Path) -> Vm:
    return Vm(tmp_path / "root")


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Give the settings of a Microshare and two hubs of this machine, as a file of variables."""
    file = tmp_path_factory.mktemp("world") / "env"
    command = [sys.executable, "-m", "emulators", "--env-file", str(file)]
    with subprocess.Popen(command, cwd=APP_ROOT, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert any("Ctrl-C ends it" in line for line in process.stdout)
        yield file
        process.send_signal(signal.SIGTERM)


def sent(vm: Vm) -> dict[str, int]:
    """Give how many events each hub has had, as `status` tells."""
    shown = vm.call("status", "--json")
    assert shown.objects, shown.err
    return {
        f"{one['feed']} {hub}": counts["events"]
        for one in shown.objects
        for hub, counts in one["hubs"].items()
    }


def of_version(version: str, folder: Path) -> Path:
    """Build the wheel of this tree as if it had another version."""
    copy_tree(folder / "tree")
    for name in ("pyproject.toml", "app/base/version.py"):
        text = (APP_ROOT / name).read_text()
        assert VERSION in text
        (folder / "tree" / name).write_text(text.replace(VERSION, version))
    return build_wheel(folder / "tree", folder)


def test_it_delivers_and_is_upgraded_and_rolled_back_with_its_state(
    vm: Vm, world: Path, wheelhouse: Path, tmp_path: Path
) -> None:
    installed = vm.install("--wheelhouse", wheelhouse)
    assert installed.status == 0, installed.err
    first = vm.in_use
    assert "init" in installed.out.split("Next:")[1]
    vm.settings.write_text(world.read_text())

    assert vm.call("check").status == 0
    assert vm.call("run", "all").status == 0
    delivered = sent(vm)
    assert min(delivered.values()) > 0

    upgraded = vm.install("--wheelhouse", wheelhouse, "--wheel", of_version("99.1", tmp_path / "new"))
    assert upgraded.status == 0, upgraded.err
    assert vm.call("--version").out == f"{NAME} 99.1\n"
    assert sent(vm) == delivered
    assert vm.call("run", "all").status == 0
    assert vm.settings.read_text() == world.read_text()

    rolled_back = vm.install("--rollback", script=vm.base / "current" / "install.sh")
    assert (rolled_back.status, vm.in_use) == (0, first), rolled_back.err
    assert vm.call("--version").out == f"{NAME} {first}\n"
    assert vm.call("run", "all").status == 0
    assert vm.call("audit", "--from", "6h").status == 0


@pytest.mark.parametrize("place", [".", "state"])
def test_it_goes_on_where_an_earlier_forwarder_stopped(
    vm: Vm, world: Path, wheelhouse: Path, wheel: Path, tmp_path: Path, place: str
) -> None:
    earlier = tmp_path / "earlier"
    (earlier / place).mkdir(parents=True)
    position = datetime.now(UTC).replace(microsecond=0) - timedelta(hours=3)
    (earlier / ".env").write_text(f"{world.read_text()}STATE_DIR='{earlier / place}'\n")
    state = json.dumps({"last_fetch_timestamp": position.isoformat(), "total_events_sent": 7})
    (earlier / place / "peoplecounterstate.json").write_text(state)
    (earlier / "package.json").write_text("{}")
    before = {path: path.read_bytes() for path in earlier.rglob("*") if path.is_file()}

    taken = vm.install("--wheelhouse", wheelhouse, "--wheel", wheel, "--take-over", earlier, "--yes")

    assert taken.status == 0, taken.err
    assert "Stop the earlier forwarder" in taken.out
    assert {path: path.read_bytes() for path in earlier.rglob("*") if path.is_file()} == before
    checked = vm.call("check", "--offline")
    assert f"the earlier forwarder's position {position:%Y-%m-%d %H:%M}" in checked.out
    assert vm.call("run", "all").status == 0
    [people] = [one for one in vm.call("status", "--json").objects if one["feed"] == "people_counter"]
    assert people["takeover"]["at"] is not None
    assert not (vm.state / "package.json").exists()


# --- with a wheel that needs nothing ---------------------------------------------------------------------


def test_what_is_installed_already_is_left_as_it_is(vm: Vm, tmp_path: Path) -> None:
    wheel = small_wheel(tmp_path, "2.0")
    assert vm.install("--wheel", wheel).status == 0
    before, calls = vm.snapshot(), vm.calls

    again = vm.install("--wheel", wheel)

    assert again.status == 0
    assert "Nothing was to be done." in again.out
    assert (vm.snapshot(), vm.calls) == (before, calls)


def test_it_makes_account_folders_units_and_a_command(vm: Vm, tmp_path: Path) -> None:
    assert vm.install("--wheel", small_wheel(tmp_path, "2.0")).status == 0

    assert [call.split()[0] for call in vm.calls] == ["useradd", "systemctl"]
    assert vm.calls[-1] == "systemctl daemon-reload"
    assert (vm.root / "usr/local/bin" / NAME).readlink() == Path(f"/opt/{NAME}/current/bin/{NAME}")
    assert (vm.base / "current").readlink() == Path("releases/2.0")
    assert vm.state.stat().st_mode & 0o777 == 0o700
    assert vm.settings.parent.stat().st_mode & 0o777 == 0o750
    assert vm.settings.stat().st_mode & 0o777 == 0o640
    assert (vm.base / "current/units/on-failure.sh").stat().st_mode & 0o111
    folder = APP_ROOT / "deploy/vm/units"
    of_the_tree = {path.name for path in folder.iterdir() if path.suffix in {".service", ".timer"}}
    assert {path.name for path in vm.units.iterdir()} == of_the_tree


def test_the_same_version_with_other_content_is_a_release_of_its_own(vm: Vm, tmp_path: Path) -> None:
    assert vm.install("--wheel", small_wheel(tmp_path / "a", "2.0")).status == 0
    assert vm.install("--wheel", small_wheel(tmp_path / "b", "2.0", refuses="x")).status == 0

    assert (vm.in_use, vm.releases) == ("2.0.2", {"2.0", "2.0.2"})


@pytest.fixture
def wheels(tmp_path: Path) -> Path:
    """Give a folder with a wheel of the forwarder, the one package that it needs, and their lock."""
    folder = tmp_path / "wheels"
    small_wheel(folder, "2.0", needs="invented-package")
    package = package_wheel(folder, "invented-package", "1.0")
    hashed = hashlib.sha256(package.read_bytes()).hexdigest()
    (folder / "requirements.lock").write_text(f"invented-package==1.0 --hash=sha256:{hashed}\n")
    return folder


def test_packages_are_held_to_the_hashes_of_the_lock_that_lies_with_them(vm: Vm, wheels: Path) -> None:
    assert vm.install("--wheelhouse", wheels).status == 0
    package_wheel(wheels, "invented-package", "1.0", "replaced = True\n")
    small_wheel(wheels, "2.0", needs="invented-package", refuses="x")

    failed = vm.install("--wheelhouse", wheels)

    assert failed.status == 1
    assert "THESE PACKAGES DO NOT MATCH THE HASHES" in failed.err
    assert "2.0 stays in use" in failed.err
    assert vm.releases == {"2.0"}


def test_a_tree_is_installed_anew_where_a_folder_of_wheels_has_another_lock(vm: Vm, tmp_path: Path) -> None:
    tree, folder = tmp_path / "tree", tmp_path / "wheels"
    shutil.copytree(INSTALL.parent, tree / "deploy" / "vm")
    wheel = small_wheel(tree, "2.0")
    (tree / "requirements.lock").touch()
    (tree / "pyproject.toml").write_text(
        '[build-system]\nrequires = []\nbuild-backend = "built"\nbackend-path = ["."]\n\n'
        f'[project]\nname = "{NAME}"\nversion = "2.0"\n'
    )
    (tree / "built.py").write_text(
        "import shutil\n\ndef build_wheel(to, *_):\n"
        f'    shutil.copy("{wheel.name}", to)\n    return "{wheel.name}"\n'
    )
    folder.mkdir()

    for lock in (None, "# a lock\n", "# another one\n", "# another one\n"):
        if lock is not None:
            (folder / "requirements.lock").write_text(lock)
        done = vm.install("--wheelhouse", folder, script=tree / "deploy" / "vm" / INSTALL.name)
        assert done.status == 0, done.err

    assert vm.releases == {"2.0", "2.0.2", "2.0.3"}


def test_a_lock_that_is_of_another_release_installs_nothing(vm: Vm, wheels: Path) -> None:
    small_wheel(wheels, "2.0", needs="another-package")
    package_wheel(wheels, "another-package", "1.0")

    failed = vm.install("--wheelhouse", wheels)

    assert failed.status == 1
    assert f"{wheels}/requirements.lock: it is not the one of {wheels}/" in failed.err
    assert "another-package" in failed.err
    assert vm.releases == set()


def test_without_a_lock_packages_are_taken_as_they_are(vm: Vm, wheels: Path) -> None:
    (wheels / "requirements.lock").unlink()

    installed = vm.install("--wheelhouse", wheels)

    assert installed.status == 0, installed.err
    assert "without hashes of packages" in installed.out


@pytest.mark.parametrize("fault", ["does not run", "refuses the settings", "is no wheel"])
def test_a_release_that_is_not_well_leaves_the_one_in_use(vm: Vm, tmp_path: Path, fault: str) -> None:
    assert vm.install("--wheel", small_wheel(tmp_path, "2.0")).status == 0
    vm.settings.write_text("MICROSHARE_IDENTITY='com.example.NORTH'\n")
    if fault == "does not run":
        broken = small_wheel(tmp_path, "3.0", runs=False)
    elif fault == "refuses the settings":
        broken = small_wheel(tmp_path, "3.0", refuses="NORTH")
    else:
        broken = tmp_path / "microshare_forwarder-3.0-py3-none-any.whl"
        broken.write_bytes(b"cut off")

    failed = vm.install("--wheel", broken)

    assert failed.status == 1
    assert "2.0 stays in use" in failed.err
    assert vm.in_use == "2.0"
    assert vm.call("--version").out == f"{NAME} 2.0\n"
    assert vm.settings.read_text() == "MICROSHARE_IDENTITY='com.example.NORTH'\n"
    assert ("MICROSHARE_IDENTITY: not accepted" in failed.err) == (fault == "refuses the settings")


def test_settings_that_both_releases_refuse_do_not_hold_an_upgrade_up(vm: Vm, tmp_path: Path) -> None:
    assert vm.install("--wheel", small_wheel(tmp_path, "2.0", refuses="NORTH")).status == 0
    vm.settings.write_text("MICROSHARE_IDENTITY='com.example.NORTH'\n")

    upgraded = vm.install("--wheel", small_wheel(tmp_path, "3.0", refuses="NORTH"))

    assert (upgraded.status, vm.in_use) == (0, "3.0")
    assert "MICROSHARE_IDENTITY: not accepted" in upgraded.out


def test_three_releases_are_kept_and_each_can_be_gone_back_to(vm: Vm, tmp_path: Path) -> None:
    for number in range(1, 5):
        assert vm.install("--wheel", small_wheel(tmp_path, f"{number}.0")).status == 0
    assert vm.releases == {"2.0", "3.0", "4.0"}

    assert vm.install("--rollback").status == 0
    assert vm.in_use == "3.0"
    assert vm.install("--rollback").status == 0
    assert vm.in_use == "2.0"
    earliest = vm.install("--rollback")
    assert (earliest.status, vm.in_use) == (1, "2.0")
    assert "4.0 3.0 2.0" in earliest.err
    assert vm.install("--rollback", "4.0").status == 0
    assert vm.in_use == "4.0"
    missing = vm.install("--rollback", "1.0")
    assert (missing.status, vm.in_use) == (1, "4.0")
    assert "1.0: it is not kept" in missing.err


def test_what_an_installation_that_was_killed_left_is_removed_by_the_next(vm: Vm, tmp_path: Path) -> None:
    (vm.base / "releases" / "1.9" / "bin").mkdir(parents=True)

    assert vm.install("--wheel", small_wheel(tmp_path, "2.0")).status == 0

    assert vm.releases == {"2.0"}


def test_timers_are_turned_on_where_that_is_asked_and_check_succeeds(vm: Vm, tmp_path: Path) -> None:
    words = ("--wheel", small_wheel(tmp_path, "2.0", refuses="SOUTH"), "--enable")
    vm.settings.parent.mkdir(parents=True)
    vm.settings.write_text("MICROSHARE_IDENTITY='com.example.SOUTH'\n")

    refused = vm.install(*words)
    assert (refused.status, vm.in_use) == (1, "2.0")
    assert "the timers were not turned on" in refused.out
    assert [call for call in vm.calls if "enable" in call] == []

    vm.settings.write_text("MICROSHARE_IDENTITY='com.example.NORTH'\n")
    assert vm.install(*words).status == 0
    [enabled] = [call for call in vm.calls if "enable --now" in call]
    assert f"{NAME}@people-counter.timer" in enabled
    assert f"{NAME}-status.timer" in enabled


def test_two_installations_at_once_are_one(vm: Vm, tmp_path: Path) -> None:
    vm.base.mkdir(parents=True)
    with (vm.base / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)

        refused = vm.install("--wheel", small_wheel(tmp_path, "2.0"))

    assert refused.status == 1
    assert "another install.sh is at work" in refused.err
    assert not (vm.base / "current").exists()


def test_a_unit_that_was_edited_is_kept_next_to_the_new_one(vm: Vm, tmp_path: Path) -> None:
    wheel = small_wheel(tmp_path, "2.0")
    assert vm.install("--wheel", wheel).status == 0
    unit = vm.units / f"{NAME}@.service"
    shipped = unit.read_text()
    unit.write_text("[Service]\nUser=somebody\n")

    again = vm.install("--wheel", wheel)

    assert again.status == 0
    assert unit.read_text() == shipped
    assert (vm.units / f"{NAME}@.service.before").read_text() == "[Service]\nUser=somebody\n"
    assert f"systemctl edit {NAME}@.service" in again.out


def test_a_removal_keeps_settings_and_state_and_an_installation_goes_on_from_them(
    vm: Vm, tmp_path: Path
) -> None:
    wheel = small_wheel(tmp_path, "2.0")
    assert vm.install("--wheel", wheel).status == 0
    vm.settings.write_text("A='1'\n")
    (vm.state / "peoplecounterstate.json").write_text("{}")

    removed = vm.install("--uninstall", script=vm.base / "current" / "install.sh")

    assert removed.status == 0, removed.err
    assert str(vm.settings.parent) in removed.out
    assert str(vm.state) in removed.out
    assert not vm.base.exists()
    assert list(vm.units.iterdir()) == []
    assert not (vm.root / "usr/local/bin" / NAME).is_symlink()
    assert f"systemctl disable --now {NAME}@people-counter.timer" in vm.calls
    assert vm.install("--wheel", wheel).status == 0
    assert vm.settings.read_text() == "A='1'\n"
    assert (vm.state / "peoplecounterstate.json").read_text() == "{}"


def test_settings_and_state_are_removed_only_where_that_is_said_twice(vm: Vm, tmp_path: Path) -> None:
    vm.put("userdel", f'echo "userdel $*" >>{vm.root}/calls')
    assert vm.install("--wheel", small_wheel(tmp_path, "2.0")).status == 0

    asked = vm.install("--uninstall", "--purge")
    assert (asked.status, vm.in_use) == (1, "2.0")
    assert "--yes" in asked.err

    assert vm.install("--uninstall", "--purge", "--yes").status == 0
    assert not vm.state.exists()
    assert not vm.settings.parent.exists()
    assert vm.calls[-1].startswith("userdel ")


# --- taking over -----------------------------------------------------------------------------------------


@pytest.fixture
def earlier(tmp_path: Path) -> Path:
    folder = tmp_path / "earlier"
    (folder / "state").mkdir(parents=True)
    (folder / ".env").write_text(
        f"MICROSHARE_IDENTITY='com.example.NORTH'\nexport STATE_DIR={folder}/state # here\n"
    )
    (folder / "state" / "peoplecounterstate.json").write_text(
        '{"last_fetch_timestamp": "2026-03-02T12:00:00Z"}'
    )
    return folder


def test_a_takeover_is_shown_and_needs_a_yes(vm: Vm, tmp_path: Path, earlier: Path) -> None:
    asked = vm.install("--wheel", small_wheel(tmp_path, "2.0"), "--take-over", earlier)

    assert asked.status == 1
    assert f"{earlier}/.env, copied to {vm.settings}" in asked.out
    assert f"{earlier}/state/peoplecounterstate.json, copied to {vm.state}" in asked.out
    assert "--yes" in asked.err
    assert not vm.settings.exists()
    assert not (vm.base / "current").exists()


def test_a_takeover_leaves_the_folder_of_the_state_out_of_the_settings(
    vm: Vm, tmp_path: Path, earlier: Path
) -> None:
    taken = vm.install("--wheel", small_wheel(tmp_path, "2.0"), "--take-over", earlier, "--yes")

    assert taken.status == 0, taken.err
    first, second = vm.settings.read_text().splitlines()
    assert first == "MICROSHARE_IDENTITY='com.example.NORTH'"
    assert second.startswith("#")
    assert vm.settings.stat().st_mode & 0o777 == 0o640
    assert [path.name for path in vm.state.glob("*.json")] == ["peoplecounterstate.json"]


def test_a_takeover_overwrites_neither_settings_nor_state(vm: Vm, tmp_path: Path, earlier: Path) -> None:
    wheel = small_wheel(tmp_path, "2.0")
    assert vm.install("--wheel", wheel).status == 0
    vm.settings.write_text("A='1'\n")
    (vm.state / "peoplecounterstate.json").write_text('{"version": 2, "last_fetch_timestamp": null}')

    taken = vm.install("--wheel", wheel, "--take-over", earlier, "--yes")

    assert taken.status == 0
    assert taken.out.count("not taken") == 2
    assert vm.settings.read_text() == "A='1'\n"
    assert (
        vm.state / "peoplecounterstate.json"
    ).read_text() == '{"version": 2, "last_fetch_timestamp": null}'


def test_a_state_that_went_on_is_taken_again_while_nothing_ran_on_the_first_copy(
    vm: Vm, tmp_path: Path, earlier: Path
) -> None:
    words = ("--wheel", small_wheel(tmp_path, "2.0"), "--take-over", earlier, "--yes")
    assert vm.install(*words).status == 0
    went_on = '{"last_fetch_timestamp": "2026-03-02T12:15:00Z"}'
    (earlier / "state" / "peoplecounterstate.json").write_text(went_on)

    assert vm.install(*words).status == 0
    assert (vm.state / "peoplecounterstate.json").read_text() == went_on

    (vm.state / "peoplecounterstate.json").write_text('{"last_fetch_timestamp": "2026-03-02T12:30:00Z"}')
    assert vm.install(*words).status == 0
    assert "12:30" in (vm.state / "peoplecounterstate.json").read_text()


def test_a_takeover_names_what_starts_the_earlier_one(vm: Vm, tmp_path: Path, earlier: Path) -> None:
    vm.units.mkdir(parents=True)
    (vm.units / "old-forwarder.service").write_text(
        f"[Service]\nExecStart={earlier}/.venv/bin/python -m app run\n"
    )

    asked = vm.install("--wheel", small_wheel(tmp_path, "2.0"), "--take-over", earlier)

    assert f"it is named in {vm.units}/old-forwarder.service: turn that off" in asked.out
