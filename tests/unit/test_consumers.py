"""The consumers to copy: what of them is seen without the services that they run in."""

from __future__ import annotations

import re

import pytest

from app.base.program import APP_ROOT
from app.feeds.feed import load_feed
from app.feeds.flat import FlatFeed
from app.feeds.hourly_snapshot import FEED as SNAPSHOT

CONSUMERS = APP_ROOT / "deploy" / "consumers"
KUSTO = CONSUMERS / "data-explorer"
TABLES = (KUSTO / "tables.kql").read_text("utf-8")
QUERIES = {path.name: path.read_text("utf-8") for path in sorted((KUSTO / "queries").glob("*.kql"))}
# What each function of tables.kql gives a row of.
GIVEN = {
    name: set(re.findall(r"(\w+)(?= =|,|$)", re.sub(r"\([^()]*(?:\([^()]*\)[^()]*)*\)", "", projected)))
    for name, projected in re.findall(r"(\w+)\(\) \{[^}]*\| project ([^\n]*)\n\}", TABLES)
}


def strangers(query: str) -> set[str]:
    """Give the names with a capital that a query asks for, and neither its functions nor itself give."""
    text = re.sub(r"//.*", "", query)
    names = set(re.findall(r"\b[A-Z]\w+", text))
    asked = names & GIVEN.keys()
    return names - asked - set().union(*(GIVEN[name] for name in asked)) - set(re.findall(r"(\w+) = ", text))


@pytest.mark.parametrize("name", QUERIES)
def test_a_query_of_data_explorer_asks_for_what_there_is(name: str) -> None:
    assert strangers(QUERIES[name]) == set()


def test_a_name_that_nobody_gives_is_found() -> None:
    assert strangers("People\n| where Tme > ago(1d)") == {"Tme"}


def test_every_query_of_data_explorer_is_on_its_page() -> None:
    page = (KUSTO / "README.md").read_text("utf-8")

    assert len(QUERIES) == 10
    assert [name for name in QUERIES if f"`{name}`" not in page] == []


def test_data_explorer_knows_the_feeds_by_their_record_types() -> None:
    people = load_feed("people_counter")

    assert isinstance(people, FlatFeed)
    assert set(re.findall(r"RecType == '([^']+)'", TABLES)) == {people.rec_type, SNAPSHOT.rec_type}


def test_every_page_of_a_consumer_is_listed() -> None:
    pages = {path.parent.name for path in CONSUMERS.glob("*/README.md")}
    listed = set(re.findall(r"\]\(([\w-]+)/README\.md\)", (CONSUMERS / "README.md").read_text("utf-8")))

    assert pages - {"python"} == listed - {"python"}
