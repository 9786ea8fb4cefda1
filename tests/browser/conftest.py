from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Page

from app.page.gathered import Gathered
from app.page.render import render
from app.page.view import make_view
from tests.browser.chromium import BrowserMissing, running_browser

Show = Callable[..., Page]


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    try:
        with running_browser() as found:
            yield found
    except BrowserMissing as missing:
        if os.environ.get("CI") == "true" and os.environ.get("CHROMIUM") != "none":
            raise
        pytest.skip(str(missing))


@pytest.fixture
def show(browser: Browser, tmp_path: Path) -> Iterator[Show]:
    """Give what opens a page from its file; nothing it does may be refused, or ask for anything else."""
    complaints: list[str] = []
    contexts = []

    def open_page(found: Gathered, *, width: int = 1280, height: int = 800, **options: Any) -> Page:
        file = tmp_path / "report.html"
        file.write_text(render(make_view(found)))
        context = browser.new_context(viewport={"width": width, "height": height}, **options)
        contexts.append(context)
        page = context.new_page()
        page.on("console", lambda message: complaints.append(message.text))
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.on("request", lambda request: complaints.append(request.url))
        page.goto(file.as_uri())
        return page

    yield open_page
    for context in contexts:
        context.close()
    assert [text for text in complaints if not text.endswith("/report.html")] == []
