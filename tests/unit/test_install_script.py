"""deploy/vm/install.sh where nothing needs to be installed: what it looks at, says and refuses."""

from __future__ import annotations

import hashlib
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from app.base.program import APP_ROOT
from app.base.version import VERSION
from tests.environments.vm import INSTALL, Vm, small_wheel

UBUNTU_22 = 'PRETTY_NAME="Ubuntu 22.04.5 LTS"\nID=ubuntu\nVERSION_ID="22.04"\n'
PYTHONS = ("python3", "python3.11", "python3.12", "python3.13")


@pytest.fixture
def vm(tmp_path: Path) -> Vm:
    return Vm(tmp_path / "root")


def of_minor(minor: int, path: Path | None = None, *, venv: bool = True) -> str:
    """Give a program that answers as a Python of that version at `path`, with its venv module or without."""
    return f"""case "$2" in
*version_info*) echo "{minor} {path or f"/usr/bin/python3.{minor}"}" ;;
*ensurepip*) exit {0 if venv else 1} ;;
esac"""


@pytest.mark.parametrize("script", sorted((APP_ROOT / "deploy").rglob("*.sh")), ids=lambda path: path.name)
def test_shellcheck_has_nothing_to_say(script: Path) -> None:
    checker = shutil.which("shellcheck", path=str(Path(sys.executable).parent))
    assert checker is not None

    checked = subprocess.run([checker, script], capture_output=True, text=True, check=False)

    assert (checked.returncode, checked.stdout) == (0, "")


def test_a_dry_run_names_each_step_and_changes_nothing(vm: Vm, tmp_path: Path) -> None:
    before = vm.snapshot()

    shown = vm.install("--dry-run", "--wheel", small_wheel(tmp_path, "2.0"))

    assert shown.status == 0, shown.err
    assert vm.snapshot() == before
    for place in ("account microshare-forwarder", vm.base / "releases/2.0", vm.base / "current", vm.settings):
        assert f"- {place}: " in shown.out


def test_a_dry_run_from_the_tree_says_which_version_it_is(vm: Vm) -> None:
    assert f"microshare-forwarder {VERSION} from {APP_ROOT}" in vm.install("--dry-run").out


def test_packages_are_held_to_the_lock_of_the_tree_that_has_the_wheels_version(
    vm: Vm, tmp_path: Path
) -> None:
    of_this_version, of_another = small_wheel(tmp_path, VERSION), small_wheel(tmp_path, "2.0")

    said = [vm.install("--dry-run", "--wheel", wheel).out for wheel in (of_this_version, of_another)]

    assert f", by the hashes in {APP_ROOT}/requirements.lock, " in said[0]
    assert ", without hashes of packages, " in said[1]


def test_the_lock_next_to_a_wheel_goes_before_that_of_the_tree(vm: Vm, tmp_path: Path) -> None:
    wheel = small_wheel(tmp_path, VERSION)
    (tmp_path / "requirements.lock").touch()

    said = vm.install("--dry-run", "--wheel", wheel).out

    assert f", by the hashes in {tmp_path}/requirements.lock, " in said


def test_a_wheel_that_has_another_hash_than_was_given_is_refused(vm: Vm, tmp_path: Path) -> None:
    wheel = small_wheel(tmp_path, "2.0")
    own = hashlib.sha256(wheel.read_bytes()).hexdigest()

    taken = vm.install("--dry-run", "--wheel", wheel, "--sha256", own.upper())
    refused = vm.install("--dry-run", "--wheel", wheel, "--sha256", "0" * 64)

    assert taken.status == 0, taken.err
    assert refused.status == 1
    assert f"its hash is {own}, not {'0' * 64}; fetch the wheel again" in refused.err


@pytest.mark.parametrize(
    "line", ["TELEMETRY=azure-monitor", "export TELEMETRY='azure-monitor'", "# TELEMETRY=azure-monitor"]
)
def test_packages_for_telemetry_are_installed_where_the_settings_want_them(vm: Vm, line: str) -> None:
    vm.settings.parent.mkdir()
    vm.settings.write_text(f"{line}\n")

    said = vm.install("--dry-run").out

    assert ("with packages for telemetry" in said) == (not line.startswith("#"))


def test_a_python_that_is_too_old_is_named_with_the_way_to_another(tmp_path: Path) -> None:
    vm = Vm(tmp_path / "root", UBUNTU_22)
    for name in PYTHONS:
        vm.put(name, of_minor(10) if name == "python3" else "exit 127")

    refused = vm.install("--dry-run")

    assert refused.status == 1
    assert "/usr/bin/python3.10 is 3.10" in refused.err
    assert "sudo apt-get install python3.11 python3.11-venv" in refused.err
    assert "--python PATH" in refused.err


def test_a_newer_python_beside_the_systems_own_is_found(vm: Vm) -> None:
    for name in PYTHONS:
        vm.put(name, "exit 127")
    vm.put("python3", of_minor(14))
    vm.put("python3.12", of_minor(12, vm.put("a-python", of_minor(12))))

    shown = vm.install("--dry-run")

    assert shown.status == 0, shown.err
    assert f"with {vm.bin}/a-python (Python 3.12)" in shown.out


def test_a_python_without_venv_is_named_with_its_package(vm: Vm) -> None:
    for name in PYTHONS:
        vm.put(name, "exit 127")
    vm.put("python3", of_minor(11, vm.put("a-python", of_minor(11, venv=False))))

    refused = vm.install("--dry-run")

    assert refused.status == 1
    assert "sudo apt-get install python3.11-venv" in refused.err


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--python", "/nowhere/python3"], "--python /nowhere/python3: it does not run"),
        (["--wheel", "/nowhere.whl"], "--wheel /nowhere.whl: it is not a file"),
        (["--wheelhouse", "/nowhere"], "--wheelhouse /nowhere: it is not a folder"),
        (["--take-over", "/nowhere"], "--take-over /nowhere: it is not a folder"),
        (["--rollback"], "no release is in use; install one first"),
    ],
    ids=lambda value: value[0] if isinstance(value, list) else "",
)
def test_what_is_missing_is_named_with_its_place(vm: Vm, words: list[str], said: str) -> None:
    refused = vm.install("--dry-run", *words)

    assert refused.status == 1
    assert said in refused.err


@pytest.mark.parametrize(
    "words", [["--wheels"], ["--wheel"], ["--purge"], ["--state", "/x"], ["--sha256", "0"]], ids=" ".join
)
def test_an_option_that_is_wrong_ends_with_2(vm: Vm, words: list[str]) -> None:
    before = vm.snapshot()

    refused = vm.install(*words)

    assert refused.status == 2
    assert words[0] in refused.err
    assert "--help" in refused.err
    assert vm.snapshot() == before


def test_the_guide_shows_the_options_as_the_help_does() -> None:
    told = subprocess.run([INSTALL, "--help"], capture_output=True, text=True, check=True).stdout
    [options] = re.findall(r"(?ms)^  --dry-run.*?\n\n", told)

    assert max(map(len, told.splitlines())) <= 80
    assert f"```\n{options.strip(chr(10))}\n```\n" in (APP_ROOT / "docs" / "install-vm.md").read_text()


def test_its_help_names_every_option() -> None:
    text = INSTALL.read_text().split("while [ $# -gt 0 ]")[1].split("esac")[0]
    options = {
        word.strip("|") for line in text.splitlines() for word in line.split() if word.startswith("--")
    }
    told = subprocess.run([INSTALL, "--help"], capture_output=True, text=True, check=True).stdout

    assert {option.rstrip(")") for option in options} - {"--help"} <= set(told.replace(",", " ").split())
