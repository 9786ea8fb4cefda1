"""The image of the Dockerfile, built by hand and run as it says: without rights, up to readings in a hub."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from app.base.program import APP_ROOT
from app.settings.env_file import quoted
from emulators.eventhubs import EventHubsEmulator
from emulators.microshare import MicroshareEmulator
from tests.environments.container import CannotMount, Image, build
from tests.environments.installation import small_estate
from tests.environments.live_systemd import first_process
from tests.environments.terminal import finish, read_until

pytestmark = pytest.mark.deploy

ACCOUNT = 65532
# As in compose.yaml, before a container is killed.
GRACE_S = 45


@pytest.fixture(scope="module")
def image(wheelhouse: Path) -> Iterator[Image]:
    # Below a folder that the image's account may enter.
    folder = Path(tempfile.mkdtemp(prefix="image-"))
    folder.chmod(0o755)
    try:
        yield build(APP_ROOT, folder, wheelhouse)
    except CannotMount:
        pytest.skip("needs root, and to be allowed to mount")
    finally:
        shutil.rmtree(folder)


@pytest.fixture
def hubs() -> Iterator[EventHubsEmulator]:
    with EventHubsEmulator(["a", "b"]) as hubs:
        yield hubs


@pytest.fixture
def source() -> Iterator[MicroshareEmulator]:
    with MicroshareEmulator(small_estate()) as source:
        yield source


def put(path: Path, text: str) -> None:
    """Write a file for the image's account alone."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    path.chmod(0o400)
    os.chown(path, ACCOUNT, ACCOUNT)


def test_the_image_has_the_application_its_packages_and_nothing_else_of_the_tree(image: Image) -> None:
    files = image.files()
    program = [file.partition("site-packages/")[2] for file in files if "/microshare_forwarder/" in file]

    assert "microshare_forwarder/app/cli/serve.py" in program
    assert "microshare_forwarder/config.yaml" in program
    assert [file for file in files if not file.startswith(("opt/microshare-forwarder/", "etc/ssl/"))] == []
    assert [
        file for file in files if "/tests/canaries" in file or file.endswith((".env", "/pip/__main__.py"))
    ] == []
    uncompiled = [
        file
        for file in program
        if file.endswith(".py")
        and not any(file.split("/")[-1][:-3] + "." in other for other in program if "__pycache__" in other)
    ]
    assert uncompiled == []


def test_it_forwards_by_itself_is_healthy_and_ends_in_order(
    image: Image, source: MicroshareEmulator, hubs: EventHubsEmulator
) -> None:
    settings = {
        **source.environment(),
        "EVENT_HUB_CONNECTION_STRING": hubs.connection_string("a"),
        "EVENT_HUB_CONNECTION_STRINGS": json.dumps([hubs.connection_string("b")]),
    }
    secrets = ("MICROSHARE_PASSWORD", "EVENT_HUB_CONNECTION_STRING")
    for name in secrets:
        put(image.root / "run" / "secrets" / name, f"{settings.pop(name)}\n")
    env = "".join(f"{name}={quoted(value)}\n" for name, value in settings.items())
    put(image.root / "etc" / "microshare-forwarder" / "env", env)
    before = image.files()

    served = image.start()
    told = read_until('"event": "run.finished"', served, times=2)
    healthy = image.call(image.dockerfile.health)
    asked = time.monotonic()
    served.send_signal(signal.SIGTERM)
    ended = finish(served)

    assert told.count('"ok": true') == 2, told
    assert len(hubs.hub("a").received()) == len(hubs.hub("b").received()) > 0
    assert healthy.status == 0, healthy
    assert (ended.status, ended.out) == (0, "")
    assert time.monotonic() - asked < GRACE_S
    assert image.files() == before

    # Another container, on the same volume.
    sent = len(hubs.hub("a").received())
    again = image.call([*image.dockerfile.entry, "run", "all", "--json"])
    assert (again.status, [report["ok"] for report in again.objects]) == (0, [True, True])
    assert all(hub["duplicates"] for report in again.objects for hub in report["hubs"].values())
    assert len(hubs.hub("a").received()) - sent < sent


def test_what_is_not_its_own_it_can_neither_change_nor_read(image: Image) -> None:
    put(image.root / "run" / "secrets" / "of-root", "obviously-false")
    os.chown(image.root / "run" / "secrets" / "of-root", 0, 0)

    def can(command: str) -> bool:
        return image.call(["sh", "-c", command]).status == 0

    assert can("id -u | grep -qx 65532 && id -G | grep -qx 65532")
    assert [
        command for command in ("touch /x", "touch /opt/x", "cat /run/secrets/of-root") if can(command)
    ] == []
    assert can(f"touch /tmp/x {image.dockerfile.volume}/x")


def test_a_container_whose_settings_are_refused_ends_with_2(image: Image) -> None:
    (image.root / "etc" / "microshare-forwarder" / "env").unlink(missing_ok=True)

    ended = image.call([*image.dockerfile.entry, *image.dockerfile.words])

    assert (ended.status, ended.out) == (2, "")
    assert "MICROSHARE_USERNAME" in ended.err


# Stands for the first package that a command loads: it is never done with that.
_LOADING = "import signal\nprint('loading', flush=True)\nwhile True:\n    signal.pause()\n"
_OF_THE_WHEEL = "import microshare_forwarder; microshare_forwarder.main()"


@pytest.mark.parametrize("words", [("-m", "app"), ("-c", _OF_THE_WHEEL)], ids=["the tree's", "the wheel's"])
def test_the_first_process_of_a_container_ends_at_once_while_it_loads(
    words: tuple[str, ...], tmp_path: Path
) -> None:
    (tmp_path / "click.py").write_text(_LOADING)
    shutil.copytree(APP_ROOT / "deploy" / "wheel", tmp_path / "microshare_forwarder")
    (tmp_path / "microshare_forwarder" / "app").symlink_to(APP_ROOT / "app")
    if subprocess.run(["unshare", "--pid", "--fork", "true"], check=False, capture_output=True).returncode:
        pytest.skip("needs root, and to be allowed a namespace of its own")
    command = ["unshare", "--pid", "--fork", "--kill-child=KILL", sys.executable, *words, "serve"]
    environ = os.environ | {"PYTHONPATH": str(tmp_path)}

    with subprocess.Popen(command, cwd=APP_ROOT, env=environ, stdout=subprocess.PIPE, text=True) as container:
        try:
            assert container.stdout is not None
            assert container.stdout.readline() == "loading\n"
            os.kill(first_process(container), signal.SIGTERM)
            status = container.wait(20)
        finally:
            container.kill()

    assert status == 128 + signal.SIGTERM
