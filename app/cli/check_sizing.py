"""`check --sizing`: what the feeds of this installation need at their size, and which switch to turn."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Final

from app.base.instants import utc_now
from app.base.text import dashed
from app.cli.output import Output, hanging, text
from app.cli.tables import Column, table
from app.feeds.feed import load_feed
from app.feeds.hourly_snapshot import HourlyFeed
from app.health.sizing import (
    PRICES_OF,
    Load,
    Need,
    advice,
    advice_for_all,
    dollars_a_month,
    enough_for,
    load_of,
    need_of,
    together,
    units_a_month,
)
from app.health.ticks import past_ticks
from app.settings.schema import Settings
from app.state.store import MendableStore

if TYPE_CHECKING:
    from rich.table import Table

# Two days show a run a day and more, and are quick to read.
_HISTORY: Final = timedelta(days=2)
_FIGURES: Final = {
    "locations": "locations",
    "devices": "devices a location",
    "sensors": "sensors a location",
    "readings_an_hour": "readings a location and hour",
    "hubs": "hubs that are on",
    "runs_a_day": "runs a day",
    "look_back_h": "hours of look-back",
    "time_s": "seconds that a run has",
    "concurrency": "run.concurrency",
    "shards": "shards",
    "calls_a_location": "API calls a location and run",
    "answer_s": "seconds an answer",
    "events": "events a location, day and hub",
    "bytes_an_event": "bytes an event",
}
_NEEDS: Final[Mapping[str, Callable[[Need], float]]] = {
    "API calls a tick": lambda need: need.calls_a_tick,
    "API calls a day": lambda need: need.calls_a_day,
    "questions at once": lambda need: need.questions_at_once,
    "shards, runs side by side": lambda need: need.shards,
    "events a day, all hubs": lambda need: need.events_a_day,
    "events a second of a tick": lambda need: need.events_a_second,
    "throughput units": lambda need: need.units,
    "table transactions a day": lambda need: need.transactions_a_day,
    "MiB of memory a run": lambda need: need.memory_mib,
    "seconds of the processor a day": lambda need: need.cpu_s_a_day,
    "US dollars a month": dollars_a_month,
}


def show_sizing(settings: Settings, store: MendableStore, out: Output) -> None:
    """Show what each feed that is on needs, and all of them. Only the state is asked. Raises StateError."""
    loads = [_load(name, settings, store) for name, feed in settings.feeds.items() if feed.view_id]
    if not loads:
        if not out.as_json:
            out.show("no feed is on: none has a view id")
        return
    needs = {load.feed: need_of(load) for load in loads}
    both = together(list(needs.values()))
    if out.as_json:
        for load in loads:
            out.write_object(_feed_as_json(load, needs[load.feed]))
        out.write_object(_all_as_json(both))
        return
    for load in loads:
        _show(load, out)
    _show_needs({**{dashed(name): need for name, need in needs.items()}, "all": both}, out)
    _show_prices(both, out)
    out.show(*_advised(advice_for_all(both)))


def _load(name: str, settings: Settings, store: MendableStore) -> Load:
    feed, found, now = settings.feeds[name], load_feed(name), utc_now()
    runs = list(past_ticks(store.history(found.state_name, now - _HISTORY), feed.schedule))
    state = store.load(found.state_name)
    return load_of(feed, settings, state, runs, now, hourly=isinstance(found, HourlyFeed))


def _feed_as_json(load: Load, need: Need) -> dict[str, Any]:
    given = {name: asdict(figure) for name, figure in load.figures().items()}
    return {
        "sizing": load.feed,
        "given": given,
        "needs": _as_json(need),
        "enough_for": enough_for(load),
        "advice": list(advice(load)),
    }


def _all_as_json(need: Need) -> dict[str, Any]:
    prices = [asdict(price) | {"units": round(units, 3)} for price, units in units_a_month(need).items()]
    return {
        "sizing": None,
        "needs": _as_json(need),
        "prices": prices,
        "prices_of": PRICES_OF,
        "advice": list(advice_for_all(need)),
    }


def _as_json(need: Need) -> dict[str, Any]:
    return asdict(need) | {"units": need.units, "dollars_a_month": round(dollars_a_month(need), 2)}


# --- for people -------------------------------------------------------------------------------------


def _show(load: Load, out: Output) -> None:
    columns = [Column("figure", key=True), Column("value", number=True), Column("from")]
    rows = [
        [_FIGURES[name], _written(figure.value), figure.origin] for name, figure in load.figures().items()
    ]
    out.show(text(dashed(load.feed), "bold"), table(columns, rows), *_advised(advice(load)))
    out.show(f"what is set is enough for some {enough_for(load):,} locations like these", "")


def _show_needs(needs: Mapping[str, Need], out: Output) -> None:
    columns = [Column("needed", key=True), *(Column(name, number=True) for name in needs)]
    rows = [[name, *(_written(of(need)) for need in needs.values())] for name, of in _NEEDS.items()]
    out.show(table(columns, rows), "")


def _show_prices(need: Need, out: Output) -> None:
    columns = [
        Column("a month of 30 days", key=True),
        Column("units", number=True),
        Column("unit"),
        Column("price", number=True),
        Column("dollars", number=True),
    ]
    rows = [
        [price.name, f"{units:,.2f}", price.unit, price.shown, f"{units * price.dollars:,.2f}"]
        for price, units in units_a_month(need).items()
    ]
    out.show(table(columns, rows), f"prices are {PRICES_OF}; put your own in their place")


def _written(value: float) -> str:
    return f"{value:,.0f}" if value == int(value) or value >= 1_000 else f"{value:,.2f}"


def _advised(said: Iterable[str]) -> list[Table]:
    return [hanging("do:", each, style="bold", width=3) for each in said]
