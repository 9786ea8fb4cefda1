"""The packages for Azure Functions, unpacked in environments that have nothing else: indexed, and run."""

from __future__ import annotations

import os
import re
import subprocess
import zipfile
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from app.base.instants import HOUR, floor_to, utc_now
from app.base.program import APP_ROOT
from app.settings.schedules import schedule
from tests.commands import FEEDS
from tests.environments.indexing import indexed
from tests.environments.ingestion import Ingestion
from tests.environments.installation import Installation, arrivals, standing_still
from tests.promise import breaches
from tests.runtime.host import FunctionsHost, timer_bindings
from tools.package import PACKAGES, PYTHONS, let_in, make
from tools.runtime_venv import PINS, VERSION, find_python

pytestmark = pytest.mark.deploy

NOW = floor_to(utc_now(), HOUR)
BEGIN = NOW - timedelta(hours=6)
RUNTIME = VERSION
FUNCTIONS = {f"{feed}_forwarder": timer_bindings(schedule(feed, {})) for feed in FEEDS}


@pytest.fixture(scope="module")
def packages(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Give a package for each Python."""
    to = tmp_path_factory.mktemp("packages")
    return {python: make(python, to) for python in PYTHONS}


@pytest.fixture(scope="module")
def unpacked(packages: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folders = {python: tmp_path_factory.mktemp("wwwroot") for python in packages}
    for python, package in packages.items():
        zipfile.ZipFile(package).extractall(folders[python])
    return folders


@pytest.fixture(scope="module")
def runtime(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Give a Python that has Microsoft's runtime and nothing of what the app needs beside."""
    python = find_python(RUNTIME)
    if python is None:
        pytest.skip(f"needs a Python {RUNTIME}")
    folder = tmp_path_factory.mktemp("platform") / "venv"
    subprocess.run([python, "-m", "venv", folder], check=True)
    pip = [str(folder / "bin" / "python"), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    subprocess.run([*pip, *PINS], check=True)
    return folder / "bin" / "python"


@pytest.fixture
def installation(tmp_path: Path) -> Iterator[Installation]:
    with standing_still(NOW, BEGIN, tmp_path) as installation:
        yield installation


def of_package(folder: Path) -> dict[str, str]:
    """Give the environment in which the platform's worker has the packages of an app."""
    return {"PATH": os.environ["PATH"], "PYTHONPATH": str(folder / PACKAGES)}


def python_of(version: str) -> Path:
    python = find_python(version)
    if python is None:
        pytest.skip(f"needs a Python {version}")
    return python


def test_two_made_of_one_tree_are_the_same_and_their_checksum_fits(
    packages: dict[str, Path], tmp_path: Path
) -> None:
    first = packages[RUNTIME]
    again = make(RUNTIME, tmp_path)

    assert again.name == first.name
    assert again.read_bytes() == first.read_bytes()
    subprocess.run(["sha256sum", "--check", "--strict", f"{first.name}.sha256"], cwd=first.parent, check=True)


@pytest.mark.parametrize("python", PYTHONS)
def test_it_holds_what_is_published_and_what_was_built_for_its_python(
    unpacked: dict[str, Path], python: str
) -> None:
    folder = unpacked[python]
    names = [path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()]
    built = [
        found[1] for name in names if (found := re.search(r"\.cpython-(\d+)-x86_64-linux-gnu\.so$", name))
    ]

    assert sorted(name for name in names if not name.startswith(PACKAGES)) == let_in(APP_ROOT)
    assert set(built) == {python.replace(".", "")}
    assert [name for name in names if name.endswith((".pyc", ".pyd", ".dll", ".dylib", ".exe"))] == []


@pytest.mark.parametrize("python", PYTHONS)
def test_its_functions_are_listed_where_nothing_is_installed(unpacked: dict[str, Path], python: str) -> None:
    folder = unpacked[python]

    assert indexed(folder, of_package(folder), python_of(python)) == FUNCTIONS


@pytest.mark.parametrize("python", PYTHONS)
def test_its_commands_deliver_where_nothing_is_installed(
    unpacked: dict[str, Path], python: str, installation: Installation
) -> None:
    environ = of_package(unpacked[python]) | installation.environ | {"TELEMETRY": "azure-monitor"}
    with Ingestion() as ingestion:
        environ["APPLICATIONINSIGHTS_CONNECTION_STRING"] = ingestion.connection_string
        ended = subprocess.run(
            [python_of(python), "-m", "app", "run", "people-counter"],
            cwd=unpacked[python],
            env=environ,
            capture_output=True,
            text=True,
            timeout=100,
            check=False,
        )

    assert ended.returncode == 0, ended.stderr
    assert breaches(installation.published(BEGIN), arrivals(installation.a.received())) == []
    # A beta is not in what is deployed by default.
    assert ended.stderr.count("requirements-telemetry.txt") == 1


def test_microsofts_runtime_runs_it(
    unpacked: dict[str, Path], runtime: Path, installation: Installation
) -> None:
    folder = unpacked[RUNTIME]
    with FunctionsHost(runtime, folder, of_package(folder) | installation.environ) as host:
        assert host.indexing_error is None
        assert host.functions == FUNCTIONS
        [ended] = host.fire("people_counter_forwarder")

    assert (ended.ok, ended.error) == (True, None)
    for hub in (installation.a, installation.b):
        assert breaches(installation.published(BEGIN), arrivals(hub.received())) == []


def test_one_for_another_python_says_so_when_it_is_run(
    unpacked: dict[str, Path], runtime: Path, installation: Installation
) -> None:
    folder = unpacked["3.12"]
    with FunctionsHost(runtime, folder, of_package(folder) | installation.environ) as host:
        [ended] = host.fire("people_counter_forwarder")

    assert not ended.ok
    assert f"are for Python 3.12, and this is {RUNTIME}" in str(ended.error)
    assert any("are for Python 3.12" in line.message and line.level == "CRITICAL" for line in host.log), (
        host.log
    )
