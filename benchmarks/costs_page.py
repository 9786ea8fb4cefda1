"""The tables of docs/costs.md, made of what `check --sizing` reckons, and of prices that are assumed."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Final

from app.health.measured import Measured
from app.health.sizing import (
    A_RUN_SERVES,
    EVENTS_PRICE,
    EXECUTIONS_PRICE,
    INSTANCE_GB,
    TABLE_PRICE,
    TIME_PRICE,
    UNIT_PRICE,
    Need,
    Price,
    assumed,
    need_of,
    together,
    units_a_month,
)
from benchmarks import pages

EXAMPLE, SIZES = 1_000, (100, 1_000, 10_000)
ANSWER_S = 0.5
# What the log of one run without trouble takes, and what each hub adds to it; the flow tests measure it.
LOGGED_BYTES, LOGGED_BYTES_A_HUB = 1_250, 260
# What the Functions host adds for each run: assumed.
HOST_BYTES = 40_000
# The rules of deploy/azure/alerts.bicep.
ALERT_RULES = 6
_DAYS, _HOURS = 30, 730

LOGS: Final = Price("Application Insights: log data", "GB", 2.30)
ALERTS: Final = Price("Azure Monitor: log alert, every 15 minutes", "rule", 0.50)
VM: Final = Price("a VM with Linux, 1 core, 1 GB (B1s)", "hour", 0.0104)
DISK: Final = Price("its disk, 32 GB, standard SSD", "month", 2.40)
NAT: Final = Price("with `privateNetwork`: NAT gateway", "hour", 0.045)
ENDPOINTS: Final = Price("with `privateNetwork`: private endpoint", "hour", 0.01)
PRICES = (
    *(UNIT_PRICE, EVENTS_PRICE, TABLE_PRICE, TIME_PRICE, EXECUTIONS_PRICE, LOGS, ALERTS),
    *(VM, DISK, NAT, ENDPOINTS),
)

Bill = Mapping[Price, float]


def with_tables(page: str, measured: Measured) -> str:
    """Give the page with its tables as they are to be, each between its marks."""
    return pages.with_tables(
        page, {"prices": _prices(), "example": _example(measured), "totals": _totals(measured)}
    )


def bills_of(need: Need) -> Mapping[str, Bill]:
    """Give how many units a month each way to run it takes, for one hub; without what is free."""
    units = units_a_month(need)
    hub = {price: units[price] for price in (UNIT_PRICE, EVENTS_PRICE)}
    shared = hub | {TABLE_PRICE: units[TABLE_PRICE]}
    return {
        "Functions, instances of 2 GB": {**shared, **_of_functions(need, units, 2.0)},
        "Functions, instances of 512 MB": {**shared, **_of_functions(need, units, 0.5)},
        "a VM, where one host is enough": shared | {VM: float(_HOURS), DISK: 1.0},
        "of these, the event hub": hub,
    }


def _of_functions(need: Need, units: Bill, instance_gb: float) -> Bill:
    executions = need.executions_a_day * _DAYS
    logged = executions * (LOGGED_BYTES + LOGGED_BYTES_A_HUB + HOST_BYTES)
    return {
        TIME_PRICE: units[TIME_PRICE] / INSTANCE_GB * instance_gb,
        EXECUTIONS_PRICE: units[EXECUTIONS_PRICE],
        LOGS: logged / 1e9,
        ALERTS: float(ALERT_RULES),
    }


def need_of_both(locations: int, measured: Measured) -> Need:
    """Give what people counts and snapshots of so many locations need, as docs/scaling.md has it."""
    return together(
        [need_of(assumed(locations, ANSWER_S, hourly=hourly), measured) for hourly in (False, True)]
    )


def _prices() -> Iterator[str]:
    yield "| price | unit | dollars |"
    yield "|---|---|---|"
    for price in PRICES:
        yield f"| {price.name} | {price.unit} | {price.shown} |"


def _example(measured: Measured) -> Iterator[str]:
    [bill, *_] = bills_of(need_of_both(EXAMPLE, measured)).values()
    yield "| | units | unit | dollars a unit | dollars a month |"
    yield "|---|---|---|---|---|"
    for price, units in bill.items():
        money = units * price.dollars
        yield f"| {price.name} | {_written(units)} | {price.unit} | {price.shown} | {money:,.2f} |"
    yield f"| **together** | | | | **{_dollars(bill):,.2f}** |"


def _totals(measured: Measured) -> Iterator[str]:
    bills = [bills_of(need_of_both(size, measured)) for size in SIZES]
    yield f"| locations | {' | '.join(f'{size:,}' for size in SIZES)} |"
    yield "|---|" + "---|" * len(SIZES)
    for way in bills[0]:
        cells = (
            f"{_dollars(bill[way]):,.0f}" if VM not in bill[way] or size <= A_RUN_SERVES else "-"
            for size, bill in zip(SIZES, bills, strict=True)
        )
        yield f"| {way} | {' | '.join(cells)} |"


def _dollars(bill: Bill) -> float:
    return sum(price.dollars * units for price, units in bill.items())


def _written(value: float) -> str:
    return f"{value:,.3f}" if value < 1 else f"{value:,.0f}"
