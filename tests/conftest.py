"""What tests of several kinds share: a process that waits for little, and Azurite, once a session."""

from __future__ import annotations

import gc
import os
import signal
from collections.abc import Generator, Iterator

import pytest

from tests.environments.azurite import AzuriteMissing, running_azurite
from tests.environments.polling import poll_quickly


def pytest_sessionstart() -> None:
    # Commands that tests start hear Ctrl-C: what a shell starts beside itself is told to ignore it.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    poll_quickly()


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Generator[None, object, object]:
    """Look for no garbage among modules and tests, which stay: that takes as long as to make them."""
    gc.disable()
    try:
        return (yield)
    finally:
        gc.freeze()
        gc.enable()


@pytest.fixture(scope="session")
def azurite_port(tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    try:
        with running_azurite(tmp_path_factory.mktemp("azurite")) as port:
            yield port
    except AzuriteMissing as missing:
        if os.environ.get("CI") == "true":
            raise
        pytest.skip(str(missing))
