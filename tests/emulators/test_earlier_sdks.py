"""The emulated hubs, as earlier versions of azure-eventhub see them: both from the first that is named."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from emulators.eventhubs import EventHubsEmulator
from tests.environments.earlier_sdk import EarlierSdkMissing, install, running

ROOT = Path(__file__).parents[2]
VERSIONS = ("5.12.0", "5.13.0", "5.14.0")

pytestmark = pytest.mark.long


@pytest.fixture(scope="module", params=VERSIONS)
def version(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module")
def folder(version: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("azure-eventhub")
    try:
        install(version, made)
    except EarlierSdkMissing as missing:
        if os.environ.get("CI") == "true":
            raise
        pytest.skip(str(missing))
    return made


@pytest.mark.parametrize("kind", ["blocking", "asynchronous"])
def test_it_sends_receives_connects_again_and_closes(version: str, folder: Path, kind: str) -> None:
    with EventHubsEmulator(["one"]) as emulator:
        hub = emulator.hub("one")
        with running(folder, kind, emulator.connection_string("one")) as client:
            before = client.told()
            hub.go_down()
            hub.come_up()
            client.say("go on")
            heard = client.told()["heard"]
            status = client.ended()

    assert before == {"version": version}
    assert set(heard) == {"before", "after"}
    assert [stored.body for stored in hub.received()] == [b"before", b"after"]
    assert status == 0


def test_the_stand_in_itself_runs_on_its_codec(folder: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "tests/emulators/test_ends.py"],
        cwd=ROOT,
        env=os.environ | {"PYTHONPATH": str(folder)},
        capture_output=True,
        text=True,
        timeout=200,
        check=False,
    )

    assert done.returncode == 0, done.stdout[-2_000:]
