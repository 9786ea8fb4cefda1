"""docs/costs.md: its tables are what `check --sizing` reckons, times prices that it says are assumed."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest

from app.base.program import APP_ROOT
from app.health.measured import MEASURED
from app.health.sizing import PRICES_OF, TIME_PRICE, units_a_month
from benchmarks.costs_page import (
    ALERT_RULES,
    DISK,
    EXAMPLE,
    HOST_BYTES,
    LOGGED_BYTES,
    LOGGED_BYTES_A_HUB,
    VM,
    bills_of,
    need_of_both,
    with_tables,
)

PAGE = (APP_ROOT / "docs" / "costs.md").read_text()
WORDS = " ".join(PAGE.split())


def test_the_tables_are_those_of_what_was_measured() -> None:
    """Where they differ, `make bench WRITE=1 ONLY=Scaling` writes them."""
    assert with_tables(PAGE, MEASURED) == PAGE
    assert with_tables(PAGE, replace(MEASURED, transactions_a_run=9e6)) != PAGE


def test_the_example_adds_up() -> None:
    rows = re.findall(r"(?m)^\| ([^|*]+) \| ([\d,.]+) \| ([^|]+) \| ([\d.]+) \| ([\d,.]+) \|$", PAGE)
    [together] = re.findall(r"\*\*together\*\*.*\*\*([\d.]+)\*\*", PAGE)

    dollars = [float(row[4]) for row in rows]
    assert len(rows) == 7
    assert sum(dollars) == pytest.approx(float(together), abs=0.03)
    # Units are rounded as they are shown.
    for row, money in zip(rows, dollars, strict=True):
        assert float(row[1].replace(",", "")) * float(row[3]) == pytest.approx(money, rel=0.02, abs=0.01)


def test_the_formulas_give_the_example_from_the_words_of_check_sizing() -> None:
    need = need_of_both(EXAMPLE, MEASURED)
    sized = {price.name: units for price, units in units_a_month(need).items()}
    bill = bills_of(need)["Functions, instances of 2 GB"]

    seconds = 30 * (need.run_s_a_day + 2 * need.executions_a_day)
    assert bill[TIME_PRICE] == pytest.approx(sized["Functions Flex: execution time"])
    assert bill[TIME_PRICE] == pytest.approx(seconds * 2)
    smaller = bills_of(need)["Functions, instances of 512 MB"]
    assert smaller[TIME_PRICE] == pytest.approx(seconds / 2)
    quoted = set(re.findall(r'"([A-Z][\w ]+: [\w ]+)"', PAGE))
    assert len(quoted) == 4
    assert quoted <= sized.keys()


def test_on_a_vm_the_host_is_paid_for_and_functions_are_not() -> None:
    bill = bills_of(need_of_both(EXAMPLE, MEASURED))["a VM, where one host is enough"]

    assert {VM, DISK} <= bill.keys()
    assert not any(price.name.startswith("Functions") for price in bill)


def test_the_page_says_what_it_assumes() -> None:
    assert PRICES_OF in WORDS
    assert f"executions x ({LOGGED_BYTES / 1e3} KB + {LOGGED_BYTES_A_HUB / 1e3} KB x hubs" in WORDS
    assert f"+ {HOST_BYTES // 1000} KB) / 1,000,000" in WORDS


def test_as_many_rules_are_counted_as_there_are() -> None:
    rules = (APP_ROOT / "deploy" / "azure" / "alerts.bicep").read_text()

    assert len(re.findall(r"loadTextContent\(", rules)) == ALERT_RULES
    assert f"| **Alerts** | {ALERT_RULES} rules |" in PAGE
