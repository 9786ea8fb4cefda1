"""What stands by hand for each feed of config.yaml, and says what is missing where one was added.

Its timer function is looked for in test_function_app.py, its variables in test_docs.py.
"""

from __future__ import annotations

import json
import re

import pytest
import yaml

from app.base.text import dashed
from app.feeds.feed import load_feed
from app.run.feed_checks import check_feeds
from app.settings.loading import APP_ROOT, load_settings
from tests.commands import ENVIRONMENT

DEPLOY = APP_ROOT / "deploy"
FEEDS = yaml.safe_load((APP_ROOT / "config.yaml").read_text())["feeds"]
every_feed = pytest.mark.parametrize("feed", FEEDS)


def variables_of(feed: str) -> set[str]:
    """Give the variables that stand in a feed's entry of config.yaml."""
    return set(re.findall(r"\$\{(\w+)", json.dumps(FEEDS[feed])))


@every_feed
def test_its_module_is_there_and_fits_the_others(feed: str) -> None:
    assert load_feed(feed).title
    settings = load_settings(ENVIRONMENT, dotenv=APP_ROOT / "none")

    assert check_feeds(settings).warnings == settings.warnings


@every_feed
def test_systemd_has_a_timer_that_the_readme_there_enables(feed: str) -> None:
    timer = DEPLOY / "systemd" / f"microshare-forwarder@{dashed(feed)}.timer"

    assert "OnCalendar=" in timer.read_text()
    assert (DEPLOY / "systemd" / "README.md").read_text().count(timer.name) == 2


@every_feed
@pytest.mark.parametrize("query", ["no-data", "failing"])
def test_alerts_expect_it(feed: str, query: str) -> None:
    asked = (DEPLOY / "azure" / "queries" / f"{query}.kql").read_text()

    assert re.search(rf'(?m)^    "{feed}", \d+h,?$', asked)


@pytest.mark.parametrize("query", ["no-data", "failing"])
def test_alerts_expect_no_feed_that_is_not_there(query: str) -> None:
    asked = (DEPLOY / "azure" / "queries" / f"{query}.kql").read_text()

    assert re.findall(r'(?m)^    "(\w+)", ', asked) == list(FEEDS)


@every_feed
@pytest.mark.parametrize("example", [".env.example", "local.settings.json.example"])
def test_the_examples_of_settings_name_its_variables(feed: str, example: str) -> None:
    text = (APP_ROOT / example).read_text()
    named = (
        set(json.loads(text)["Values"]) if example.endswith(".json.example") else re.findall(r"(\w+)=", text)
    )

    assert variables_of(feed) - set(named) == set()
    assert any(name.endswith("_VIEW_ID") for name in variables_of(feed))
