"""The tables of docs/scaling.md, made of what was measured and of what `check --sizing` reckons with it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

from app.health.measured import Measured
from app.health.sizing import Need, assumed, dollars_a_month, need_of, together, units_a_month
from benchmarks import pages

SIZES = (100, 1_000, 10_000, 50_000)
ANSWERS_S = (0.2, 0.5)

Row = Callable[[Need, Need, Need], float]
NEEDS: Mapping[str, Row] = {
    "API calls of a tick of people counts": lambda people, _, __: people.calls_a_tick,
    "API calls a day": lambda _, __, both: both.calls_a_day,
    "questions at once, people counts": lambda people, _, __: people.questions_at_once,
    "questions at once at the full hour": lambda _, __, both: both.questions_at_once,
    "shards of each feed": lambda people, _, __: people.shards,
    "events a day": lambda _, __, both: both.events_a_day,
    "events a second at the full hour": lambda _, __, both: both.events_a_second,
    "KB a second at the full hour": lambda _, __, both: both.bytes_a_second / 1e3,
    "throughput units": lambda _, __, both: both.units,
    "table transactions a day, at most": lambda _, __, both: both.transactions_a_day,
    "rows a second, read and written": lambda people, _, __: people.rows_a_second,
    "MiB of memory a run": lambda people, _, __: people.memory_mib,
    "hours of the processor a day": lambda _, __, both: both.cpu_s_a_day / 3_600,
    "dollars a month, at the prices below": lambda _, __, both: dollars_a_month(both),
}


def with_tables(page: str, measured: Measured) -> str:
    """Give the page with its tables as they are to be, each between its marks."""
    return pages.with_tables(
        page, {"measured": _costs(measured), "needs": _needs(measured), "money": _money(measured)}
    )


def _costs(measured: Measured) -> Iterator[str]:
    """Say what a run takes, and what one location, one reading and one second more of it."""
    a_location = (
        measured.bytes_a_location + 10 * measured.bytes_a_sensor + 40 * measured.bytes_a_reading_an_hour
    ) / 1_024
    times = measured.memory_times_state
    yield "| | processor | memory | table transactions |"
    yield "|---|---|---|---|"
    yield (
        f"| a run | {measured.cpu_s_a_run:.2f} s | {measured.memory_mib_a_run:,.0f} MiB | "
        f"{measured.transactions_a_run:.0f} |"
    )
    yield f"| a second of it | | | {measured.transactions_a_second:.1f} |"
    yield (
        f"| a location that it asks for | {measured.cpu_ms_a_location:.1f} ms | "
        f"{times:.1f} x {a_location:.1f} KiB | {measured.transactions_a_location:.2f}, in 8 shards or more "
        f"{measured.transactions_a_location_by_key:.2f} |"
    )
    yield (
        f"| a location of the list, of all shards | | {measured.memory_bytes_a_place:,.0f} bytes, and "
        f"{measured.memory_bytes_a_device:,.0f} a device | |"
    )
    yield f"| a reading that it is shown | {measured.cpu_ms_a_reading_read:.3f} ms | | |"
    yield f"| a reading that it sends | {measured.cpu_ms_a_reading_sent:.3f} ms | | |"


def _needs(measured: Measured) -> Iterator[str]:
    yield f"| locations | {' | '.join(f'{size:,}' for size in SIZES)} |"
    yield "|---|" + "---|" * len(SIZES)
    for name, of in NEEDS.items():
        cells = []
        for size in SIZES:
            values = [_written(of(*_need(size, answer_s, measured))) for answer_s in ANSWERS_S]
            cells.append(" / ".join(dict.fromkeys(values)))
        yield f"| {name} | {' | '.join(cells)} |"


def _money(measured: Measured) -> Iterator[str]:
    yield f"| price | unit | dollars | {' | '.join(f'{size:,}' for size in SIZES)} |"
    yield "|---|---|---|" + "---|" * len(SIZES)
    columns = [units_a_month(_need(size, ANSWERS_S[-1], measured)[2]) for size in SIZES]
    for price in columns[0]:
        units = " | ".join(_written(column[price]) for column in columns)
        yield f"| {price.name} | {price.unit} | {price.shown} | {units} |"


def _need(locations: int, answer_s: float, measured: Measured) -> tuple[Need, Need, Need]:
    """Give what people counts need, what snapshots, and both together."""
    people, snapshots = (
        need_of(assumed(locations, answer_s, hourly=hourly), measured) for hourly in (False, True)
    )
    return people, snapshots, together([people, snapshots])


def _written(value: float) -> str:
    return f"{value:,.2f}" if value < 1 else f"{value:,.0f}"
