"""The wheel, unpacked as pip unpacks it: what stands in it, and where its command looks for settings."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest
from packaging.requirements import Requirement

from app.base.program import APP_ROOT
from tests.environments.dialogue import Dialogue
from tests.environments.vm import build_wheel

ENVIRONMENT = """\
MICROSHARE_USERNAME=svc@example.test
MICROSHARE_PASSWORD=canary-password
MICROSHARE_IDENTITY=com.example.NORTH
MICROSHARE_PC_DEVICE_CLUSTER_ID=aaaaaaaaaaaaaaaaaaaaaa01
MICROSHARE_PC_DASHBOARD_VIEW_ID=ffffffffffffffffffffff0a
EVENT_HUB_CONNECTION_STRING='Endpoint=sb://a.example.test/;SharedAccessKeyName=send;SharedAccessKey=Y2FuYXJ5;EntityPath=c'
STATE_STORE=json
"""


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_wheel(APP_ROOT, tmp_path_factory.mktemp("dist"))


@pytest.fixture(scope="module")
def site_packages(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("site-packages")
    zipfile.ZipFile(wheel).extractall(folder)
    return folder


@pytest.fixture
def home(tmp_path: Path) -> Path:
    (tmp_path / "home").mkdir()
    return tmp_path / "home"


_PROGRAM = (
    "import sys, microshare_forwarder; sys.argv[0] = 'microshare-forwarder'; microshare_forwarder.main()"
)


def call(site_packages: Path, home: Path, *words: str, **environ: str) -> subprocess.CompletedProcess[str]:
    """Call the command in an empty folder, with a home of its own."""
    plain = {"PATH": os.environ["PATH"], "HOME": str(home), "PYTHONPATH": str(site_packages)}
    return subprocess.run(
        [sys.executable, "-c", _PROGRAM, *words],
        cwd=home,
        env=plain | environ,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


def keep(folder: Path, name: str, content: str) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / name).write_text(content)
    (folder / name).chmod(0o600)
    return folder / name


def test_its_command_is_called_as_it_is_and_tells_its_version(site_packages: Path, home: Path) -> None:
    version = tomllib.loads((APP_ROOT / "pyproject.toml").read_text())["project"]["version"]
    [entry_points] = site_packages.glob("*.dist-info/entry_points.txt")

    told = call(site_packages, home, "--version")

    assert "microshare-forwarder = microshare_forwarder:main" in entry_points.read_text()
    assert (told.returncode, told.stdout) == (0, f"microshare-forwarder {version}\n")


@pytest.mark.parametrize(
    "words", [("--help",), ("status", "--help"), ("state", "skip", "--help")], ids=" ".join
)
def test_its_help_calls_it_by_its_name(site_packages: Path, home: Path, words: tuple[str, ...]) -> None:
    told = call(site_packages, home, *words)

    assert told.returncode == 0
    assert "python -m app" not in told.stdout
    assert "Usage: microshare-forwarder" in told.stdout


def test_nothing_of_it_stands_among_other_packages(site_packages: Path) -> None:
    assert {path.name.partition("-")[0] for path in site_packages.iterdir()} == {"microshare_forwarder"}


def test_it_holds_what_a_functions_app_is_published_of_but_for_the_function(wheel: Path) -> None:
    names = zipfile.ZipFile(wheel).namelist()
    packed = {name.partition("/")[2] for name in names if ".dist-info/" not in name}
    in_tree = {
        str(path.relative_to(APP_ROOT))
        for path in (APP_ROOT / "app").rglob("*")
        if path.is_file() and path.suffix in (".py", ".html", ".css", ".js")
    }

    beside = {"__init__.py", "__main__.py", "config.yaml", "docs/config.schema.json"}
    listed = {"requirements.txt", "requirements-telemetry.txt"}
    assert packed == in_tree | beside | listed


def listed_in(file: str) -> set[str]:
    """Give what such a file asks for, in the form of a wheel's own list."""
    lines = re.findall(r"(?m)^([A-Za-z][^#\n]*)$", (APP_ROOT / file).read_text())
    return {str(Requirement(line)).lower() for line in lines}


def test_it_needs_what_requirements_txt_lists_and_for_telemetry_what_is_beside(site_packages: Path) -> None:
    [metadata] = site_packages.glob("*.dist-info/METADATA")
    lines = re.findall(r"(?m)^Requires-Dist: (.*)$", metadata.read_text())
    needed = {str(Requirement(line)).lower() for line in lines}

    for_telemetry = {f"{line}; extra == 'telemetry'" for line in listed_in("requirements-telemetry.txt")}
    assert {line.replace('"', "'") for line in needed} == {
        line.replace('"', "'") for line in listed_in("requirements.txt") | for_telemetry
    }


def test_what_builds_it_is_pinned_for_developers_as_for_pip() -> None:
    builds = tomllib.loads((APP_ROOT / "pyproject.toml").read_text())["build-system"]["requires"]

    assert set(builds) <= set((APP_ROOT / "requirements-dev.txt").read_text().splitlines())


def test_it_reads_variables_from_the_users_folder_and_settings_that_came_with_it(
    site_packages: Path, home: Path
) -> None:
    env = keep(home / ".config" / "microshare-forwarder", "env", ENVIRONMENT)

    told = call(site_packages, home, "check", "--offline", "--json")

    assert told.returncode == 0, told.stdout + told.stderr
    assert f'"{env}"' in told.stdout
    assert f'"{site_packages}/microshare_forwarder/config.yaml"' in told.stdout


def test_a_settings_file_of_the_user_goes_before_the_one_that_came_with_it(
    site_packages: Path, home: Path
) -> None:
    folder = home / "elsewhere" / "microshare-forwarder"
    keep(folder, "env", ENVIRONMENT)
    config = keep(folder, "config.yaml", (APP_ROOT / "config.yaml").read_text())

    told = call(site_packages, home, "check", "--offline", "--json", XDG_CONFIG_HOME=str(folder.parent))

    assert told.returncode == 0, told.stdout + told.stderr
    assert f'"files":["{config}","{folder / "env"}"]' in told.stdout.replace(" ", "")


def test_no_variables_are_read_beside_the_package_or_where_it_is_called(
    site_packages: Path, home: Path
) -> None:
    beside = keep(site_packages / "microshare_forwarder", ".env", ENVIRONMENT)
    keep(home, ".env", ENVIRONMENT)

    told = call(site_packages, home, "check", "--offline")
    beside.unlink()

    assert told.returncode == 2
    assert "MICROSHARE_USERNAME: not set" in told.stderr + told.stdout


@pytest.mark.parametrize(
    "words", [["--config", "F", "check", "--offline"], ["check", "--offline", "--config", "F"]]
)
def test_a_settings_file_can_be_named_before_and_after_the_command(
    site_packages: Path, home: Path, words: list[str]
) -> None:
    config = keep(home / "mine", "settings.yaml", (APP_ROOT / "config.yaml").read_text())
    keep(home / "mine", ".env", ENVIRONMENT)
    named = [str(config) if word == "F" else word for word in words]

    told = call(site_packages, home, *named, "--json", FORWARDER_CONFIG="/nowhere/config.yaml")

    assert told.returncode == 0, told.stdout + told.stderr
    assert str(config) in told.stdout


def test_a_settings_file_that_is_not_there_is_refused_with_its_name(site_packages: Path, home: Path) -> None:
    told = call(site_packages, home, "check", "--config", "missing.yaml")

    assert told.returncode == 2
    assert "missing.yaml" in told.stderr


@pytest.mark.parametrize(
    ("words", "completions"),
    [
        (["sta"], ["status", "state"]),
        (["run", "p"], ["people-counter"]),
        (["run", "a"], ["all"]),
        (["state", "show", ""], ["people-counter", "hourly-snapshot"]),
        (["audit", "--feed", "h"], ["hourly-snapshot"]),
        (["tail", "--js"], ["--json"]),
        (["state", "show", "--v"], ["--verbose"]),
    ],
    ids=" ".join,
)
def test_a_shell_completes_commands_options_and_feeds(
    site_packages: Path, home: Path, words: list[str], completions: list[str]
) -> None:
    asked = {
        "_MICROSHARE_FORWARDER_COMPLETE": "bash_complete",
        "COMP_WORDS": " ".join(["microshare-forwarder", *words]),
        "COMP_CWORD": str(len(words)),
    }

    told = call(site_packages, home, **asked)

    assert [line.partition(",")[2] for line in told.stdout.splitlines()] == completions


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_it_writes_what_a_shell_reads_to_complete_it(site_packages: Path, home: Path, shell: str) -> None:
    told = call(site_packages, home, "completion", shell)

    assert (told.returncode, told.stderr) == (0, "")
    assert f"_MICROSHARE_FORWARDER_COMPLETE={shell}_complete" in told.stdout


def test_it_writes_settings_to_the_users_folder_and_reads_them_there(site_packages: Path, home: Path) -> None:
    env = home / ".config" / "microshare-forwarder" / "env"
    environ = {"PATH": os.environ["PATH"], "HOME": str(home), "PYTHONPATH": str(site_packages)}
    talk = Dialogue(["init", "--offline"], environ, home, _PROGRAM)

    talk.answer(f"The settings are written to [{env}]", "")
    talk.answer("Is Microshare at", "")
    talk.answer("Login of the web page", "")
    talk.answer("User name", "svc@example.test")
    talk.interrupt("Password")

    assert talk.end() == 130
    assert "`microshare-forwarder init` goes on from there" in talk.shown
    shown = call(site_packages, home, "config", "show", "--json")
    assert f'"env_file":"{env}"' in shown.stdout.replace(" ", "")
    assert "svc@example.test" in shown.stdout


def test_its_settings_file_names_a_schema_that_came_with_it(site_packages: Path, home: Path) -> None:
    config = site_packages / "microshare_forwarder" / "config.yaml"
    named = config.read_text().splitlines()[0].partition("$schema=")[2]

    printed = call(site_packages, home, "config", "schema")

    assert printed.stdout == (config.parent / named).read_text()
