"""`status`: is each feed healthy; what is behind, by how much, since when, why, and what to do."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from datetime import timedelta
from itertools import islice
from typing import TYPE_CHECKING, Any

import click

from app.base.collector import uncollected
from app.base.errors import StateError
from app.base.instants import MILLISECOND, floor_to, read_duration, utc_now
from app.base.text import dashed, moment
from app.cli import COMMANDS
from app.cli.choices import find_feed
from app.cli.common_options import chosen, verbose_option
from app.cli.output import Output, text
from app.cli.session import ALL_WELL, SOMETHING_WRONG, begin, json_option
from app.cli.status_screen import Room, brief, screen, whole
from app.feeds.feed import load_feed
from app.health.facts import HISTORY, Kept
from app.health.feed_health import judge, off, unreadable
from app.health.records import FeedHealth
from app.health.ticks import past_ticks
from app.settings.schema import FeedSettings, Settings
from app.state.opening import open_store
from app.state.store import MendableStore

if TYPE_CHECKING:
    from rich.console import RenderableType

# Readings in quarantine are read whole, so they are counted up to here.
_COUNTED_AT_MOST = 100
# Positions change with runs, minutes apart; soon enough to watch one, and little work for the store.
_REFRESH_S = 5.0


class _Limits(click.ParamType[dict[str, timedelta]]):
    """A duration as in the settings, for all feeds, or FEED=DURATION."""

    name = "duration"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> dict[str, timedelta]:
        feed, _, written = str(value).rpartition("=")
        try:
            return {dashed(feed.lower()): read_duration(written)}
        except ValueError as error:
            self.fail(str(error), param, ctx)


@click.command("status", short_help=COMMANDS["status"])
@click.option(
    "--max-behind",
    "limits",
    metavar="[FEED=]DURATION",
    type=_Limits(),
    multiple=True,
    help="End with 1 where anything lags by more, like 35m; may be given for each feed.",
)
@click.option("--all", "everything", is_flag=True, help="Show all troubles, hubs and locations.")
@click.option("--brief", "briefly", is_flag=True, help="Show one line a feed.")
@verbose_option
@click.option(
    "--watch",
    metavar="[SECONDS]",
    type=click.FloatRange(min=1),
    is_flag=False,
    flag_value=_REFRESH_S,
    help=f"Look again and again, every {_REFRESH_S:.0f} seconds unless told, until Ctrl-C.",
)
@click.option(
    "--format",
    "wanted",
    type=click.Choice(["text", "json", "prometheus"]),
    default="text",
    show_default=True,
    help="How it is written: prometheus is for node_exporter's textfile collector, json is --json.",
)
@json_option
def command(
    limits: Sequence[Mapping[str, timedelta]],
    everything: bool,
    briefly: bool,
    watch: float | None,
    wanted: str,
    as_json: bool,
) -> int:
    """Say of each feed whether it is healthy, what is behind or failing, since when, and what to do.

    A verdict for each feed comes first, then the worst that a screen has room for: that of the
    terminal, or 24 lines.

    Reads what is kept of the runs, also while one is under way, and changes nothing. Nothing is
    asked of Microshare or of hubs. A feed is behind where two runs that were due did not bring it on.

    Ends with 1 where the last run failed, a hub or location fails, runs have stopped, or the state
    cannot be read; with --max-behind also where a location lags by more at a hub that is on. Lag
    grows from one run to the next, so the limit should be two schedule periods and five minutes.

    \b
    python -m app status
    python -m app status --max-behind 35m \\
        --max-behind hourly-snapshot=125m
    python -m app status --watch
    python -m app status --format prometheus
    """  # noqa: D301 - \b keeps click from filling the lines after it
    if everything and briefly:
        raise click.UsageError("--all and --brief exclude one another; give one of them")
    as_json = as_json or wanted == "json"
    as_metrics = wanted == "prometheus"
    if as_metrics and (as_json or watch is not None or everything or briefly):
        raise click.UsageError(
            "--format prometheus writes everything, once; leave --json, --watch and the like out"
        )
    settings = begin(as_json=as_json or as_metrics)
    out = Output(as_json=as_json)
    screens = Screens(out, everything=everything, briefly=briefly, verbose=chosen().verbose)
    if watch is not None and not as_json and not out.is_terminal:
        raise click.UsageError("--watch renews a terminal's screen, and there is none; add --json")
    store = open_store(settings.state)
    by_feed = {feed: limit for given in limits for feed, limit in given.items()}
    for feed in by_feed.keys() - {""}:
        find_feed(settings, feed)

    def look() -> list[FeedHealth]:
        return [
            _look(feed, settings, store, by_feed.get(dashed(feed.name), by_feed.get("")))
            for feed in settings.feeds.values()
        ]

    if watch is not None:
        with suppress(KeyboardInterrupt):
            _watch(look, watch, screens)
        return ALL_WELL
    found = look()
    if as_metrics:
        _write_metrics(found, out)
    else:
        screens.tell(found)
    return ALL_WELL if all(feed.ok for feed in found) else SOMETHING_WRONG


def _write_metrics(found: Sequence[FeedHealth], out: Output) -> None:
    # Its client is for this alone.
    from app.health.prometheus import as_metrics

    out.write_document(as_metrics(found, utc_now()))


def _look(
    feed: FeedSettings, settings: Settings, store: MendableStore, max_behind: timedelta | None
) -> FeedHealth:
    """Say how one feed fares now."""
    # To the millisecond, as all instants are written.
    now = floor_to(utc_now(), MILLISECOND)
    if not feed.view_id:
        return off(feed, now)
    name = load_feed(feed.name).state_name
    try:
        with uncollected():
            state = store.load(name)
            runs = list(past_ticks(store.history(name, now - HISTORY), feed.schedule))
    except StateError as error:
        return unreadable(feed, now, str(error))
    quarantined = _count_quarantined(store, name, feed.name)
    kept = Kept(state, runs, quarantined, counted_all=quarantined < _COUNTED_AT_MOST)
    return judge(feed, settings, kept, now, max_behind)


def _count_quarantined(store: MendableStore, name: str, feed: str) -> int:
    count = 0
    # What cannot be read is for `quarantine list` to say.
    with suppress(StateError):
        for _ in islice(store.quarantined(name, feed), _COUNTED_AT_MOST):
            count += 1
    return count


class Screens:
    """Shows what was found, as much of it as was asked for."""

    def __init__(self, out: Output, *, everything: bool, briefly: bool, verbose: bool) -> None:
        self.out = out
        self._everything = everything
        self._briefly = briefly
        self._verbose = verbose

    def tell(self, found: Sequence[FeedHealth]) -> None:
        if self.out.as_json:
            for feed in found:
                self.out.write_object(feed.as_json())
        elif self._briefly:
            for line in brief(found):
                self.out.show_line(line)
        else:
            self.out.show(*self.parts(found))

    def parts(self, found: Sequence[FeedHealth], lines_taken: int = 0) -> Iterator[RenderableType]:
        """Give what is shown, in the room that is left where `lines_taken` are another's."""
        if self._briefly:
            return iter(brief(found))
        if self._everything:
            return whole(found, verbose=self._verbose)
        columns, lines = self.out.room()
        return screen(found, Room(columns, lines - lines_taken, self.out.lines_of), verbose=self._verbose)


def _watch(look: Callable[[], list[FeedHealth]], every_s: float, screens: Screens) -> None:
    """Look and tell again and again. On a terminal the last that was seen stays when it ends."""
    out = screens.out
    if out.as_json:
        while not out.reader_gone:
            screens.tell(look())
            time.sleep(every_s)
        return
    found: list[FeedHealth] = []
    try:
        with out.renewed() as renew:
            while True:
                found = look()
                head = f"{moment(utc_now())}, again every {every_s:g} s; Ctrl-C ends"
                renew(text(head, "dim"), *screens.parts(found, lines_taken=1))
                time.sleep(every_s)
    finally:
        screens.tell(found)
