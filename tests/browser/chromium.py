"""A headless browser for tests: Debian's Chromium, which nothing here downloads."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager

from playwright.sync_api import Browser, sync_playwright

_NAMES = ("chromium", "chromium-browser", "google-chrome")
# It runs as root in CI, and says nothing to the network.
_OPTIONS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)


class BrowserMissing(Exception):
    """There is no browser here; the text says what to do."""


@contextmanager
def running_browser() -> Iterator[Browser]:
    """Run a browser until the context ends: what CHROMIUM names (`none`: no one), or else what is found."""
    named = os.environ.get("CHROMIUM")
    program = next(filter(None, map(shutil.which, [named] if named else _NAMES)), None)
    if program is None:
        raise BrowserMissing("no browser was found; install it with `apt-get install chromium`")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program, args=_OPTIONS)
        try:
            yield browser
        finally:
            browser.close()
