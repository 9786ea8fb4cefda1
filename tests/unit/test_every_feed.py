"""What stands by hand for each feed of config.yaml, and says what is missing where one was added.

Its timer function is looked for in test_function_app.py, its variables in test_docs.py and test_settings.py,
and what it must keep to in contracts/test_feeds.py.
"""

from __future__ import annotations

import re

import pytest

from app.base.program import APP_ROOT
from app.base.text import dashed
from app.feeds.feed import load_feed
from app.run.feed_checks import check_feeds
from app.settings.loading import load_settings
from tests.commands import ENVIRONMENT, FEEDS

DEPLOY = APP_ROOT / "deploy"
every_feed = pytest.mark.parametrize("feed", FEEDS)


@every_feed
def test_its_module_is_there_and_fits_the_others(feed: str) -> None:
    assert load_feed(feed).rec_type
    settings = load_settings(ENVIRONMENT, dotenv=APP_ROOT / "none")

    assert check_feeds(settings).warnings == settings.warnings


@every_feed
def test_systemd_has_a_timer_that_the_guide_turns_on(feed: str) -> None:
    timer = DEPLOY / "vm" / "units" / f"microshare-forwarder@{dashed(feed)}.timer"

    assert "OnCalendar=" in timer.read_text()
    guide = (APP_ROOT / "docs" / "install-vm.md").read_text()
    assert timer.name in guide.split("systemctl enable --now")[1].split("```")[0]


@every_feed
@pytest.mark.parametrize("query", ["no-data", "failing"])
def test_alerts_expect_it(feed: str, query: str) -> None:
    asked = (DEPLOY / "azure" / "queries" / f"{query}.kql").read_text()

    assert re.search(rf'(?m)^    "{feed}", \d+h,?$', asked)


@pytest.mark.parametrize("query", ["no-data", "failing"])
def test_alerts_expect_no_feed_that_is_not_there(query: str) -> None:
    asked = (DEPLOY / "azure" / "queries" / f"{query}.kql").read_text()

    assert re.findall(r'(?m)^    "(\w+)", ', asked) == list(FEEDS)
