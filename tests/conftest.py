"""What tests of several kinds share: a process that waits for little, and Azurite, once a session."""

from __future__ import annotations

import gc
import os
import signal
from collections.abc import Generator, Iterator
from pathlib import Path

import pytest
from hypothesis import settings

from app.base import redaction
from tests.environments.azurite import AzuriteMissing, Service, running_azurite
from tests.environments.polling import poll_quickly
from tests.environments.queues import Queues
from tests.environments.valid_events import check_events_as_they_are_read

# How long an example takes is the machine's, and of its hour: no test goes by it.
settings.register_profile("untimed", deadline=None)
settings.load_profile("untimed")


def pytest_sessionstart() -> None:
    # Commands that tests start hear Ctrl-C: what a shell starts beside itself is told to ignore it.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    poll_quickly()
    check_events_as_they_are_read()


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Generator[None, object, object]:
    """Look for no garbage among modules and tests, which stay: that takes as long as to make them."""
    gc.disable()
    try:
        return (yield)
    finally:
        gc.freeze()
        gc.enable()


@pytest.fixture(autouse=True)
def _secrets_of_one_test() -> Iterator[None]:
    """Look for the secrets that a test makes known in that test only, not for those of all in the last."""
    of_all = redaction._registry
    registry = redaction._Registry()
    registry.known = of_all.known
    registry._by_place = {place: {**of_place} for place, of_place in of_all._by_place.items()}
    redaction._registry = registry
    yield
    redaction._registry = of_all


@pytest.fixture(scope="session")
def azurite_port(tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    yield from _azurite(tmp_path_factory.mktemp("azurite"), "table")


@pytest.fixture(scope="session")
def azurite_queue_port(tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    yield from _azurite(tmp_path_factory.mktemp("azurite"), "queue")


@pytest.fixture
def queues(azurite_queue_port: int) -> Queues:
    return Queues(azurite_queue_port)


def _azurite(folder: Path, service: Service) -> Iterator[int]:
    try:
        with running_azurite(folder, service) as port:
            yield port
    except AzuriteMissing as missing:
        if os.environ.get("CI") == "true":
            raise
        pytest.skip(str(missing))
