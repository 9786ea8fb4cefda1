"""`runs`: what the history holds of each feed's runs, a line a run."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import click

from app.base.instants import utc_now
from app.base.readings import JsonObject
from app.base.text import counted, dashed, minute, span
from app.cli import COMMANDS
from app.cli.choices import FeedName, find_feed
from app.cli.output import text
from app.cli.session import ALL_WELL, Session, json_option
from app.feeds.feed import load_feed
from app.health.past_runs import PastRun, past_run
from app.run.brief import outcome_in_brief
from app.settings.schema import FeedSettings
from app.state.document import HISTORY_KEPT
from app.state.store import MendableStore

# A store gives runs from an instant on: the last few are looked for in a day first, which is fast.
_LOOKED_BACK = (timedelta(days=1), timedelta(days=7), HISTORY_KEPT)


@dataclass(frozen=True, slots=True)
class _Found:
    """A run's report as it was kept, and what is read of it."""

    feed: str
    report: JsonObject
    run: PastRun


@click.command("runs", short_help=COMMANDS["runs"])
@click.argument("feed", metavar="[FEED]", type=FeedName(), required=False)
@click.option(
    "--last",
    metavar="N",
    type=click.IntRange(min=1),
    default=20,
    show_default=True,
    help="How many runs, the newest; of each feed where none is named.",
)
@json_option
def command(feed: str | None, last: int, as_json: bool) -> int:
    """List the runs that the history holds, the newest last: how each ended, and what every hub got.

    Times are in UTC, or in --tz. On a terminal a line is cut where that ends.
    The history goes back 30 days. Runs that were killed have said nothing and are not in it; those by
    hand are, dry runs and backfills are not. With --json the reports as `run --json` gave them, one a line.

    \b
    python -m app runs
    python -m app runs people-counter --json | jq 'select(.ok|not)'
    """  # noqa: D301 - \b keeps click from filling the lines after it
    session = Session.begin(as_json=as_json)
    feeds = [find_feed(session.settings, feed)] if feed else list(session.settings.feeds.values())
    for number, each in enumerate(feeds):
        found = _last_runs(each, session.store, last)
        if as_json:
            for one in found:
                session.out.write_object(one.report)
            continue
        session.out.show(*[""][:number], text(_headline(each, found, last), "bold"))
        for one in found:
            session.out.show_line(_line(one.run, session.settings.hub_names))
    return ALL_WELL


def _last_runs(feed: FeedSettings, store: MendableStore, last: int) -> Sequence[_Found]:
    """Give the newest runs that the history holds, in the order in which they began."""
    name, now = load_feed(feed.name).state_name, utc_now()
    found: deque[_Found] = deque(maxlen=last)
    for back in _LOOKED_BACK:
        found = deque(_read(feed.name, store.history(name, now - back)), maxlen=last)
        if len(found) == last:
            break
    return list(found)


def _read(feed: str, reports: Iterator[dict[str, Any]]) -> Iterator[_Found]:
    """Read reports; one that is none of a run is left out, as everywhere."""
    for report in reports:
        try:
            yield _Found(feed, report, past_run(report))
        except ValueError:
            continue


# --- for people -------------------------------------------------------------------------------------


def _headline(feed: FeedSettings, found: Sequence[_Found], last: int) -> str:
    name = dashed(feed.name)
    if not found:
        return f"{name}: the history holds no run of the last {HISTORY_KEPT.days} days"
    failed = sum(not one.run.ok for one in found)
    all_of_them = "all the history holds" if len(found) < last else "the newest"
    return f"{name}: {counted(len(found), 'run')}, {failed:,} failed ({all_of_them})"


def _line(run: PastRun, names: Mapping[str, str]) -> str:
    ended = "ok" if run.ok else "FAILED"
    return f"{minute(run.started)}  {ended:6}  {span(run.took_s):>6}  {outcome_in_brief(run, names)}"
