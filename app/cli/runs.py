"""`runs`: what the history holds of each feed's runs, a line a run."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta

import click

from app.base.instants import utc_now
from app.base.readings import JsonObject
from app.base.shards import WHOLE
from app.base.text import counted, dashed, minute, named, span
from app.cli import COMMANDS
from app.cli.choices import FeedName, find_feed
from app.cli.output import text
from app.cli.session import ALL_WELL, Session, json_option
from app.feeds.feed import load_feed
from app.health.past_runs import PastRun, past_run
from app.health.ticks import Tick, ticks
from app.run.brief import outcome_in_brief
from app.settings.schema import FeedSettings
from app.state.document import HISTORY_KEPT
from app.state.store import MendableStore

# A store gives runs from an instant on: the last few are looked for in a day first, which is fast.
_LOOKED_BACK = (timedelta(days=1), timedelta(days=7), HISTORY_KEPT)


@dataclass(frozen=True, slots=True)
class _Found:
    """A run, or those of a tick told as one: its report, and what is read of it."""

    tick: Tick
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
@click.option(
    "--shards", "by_shard", is_flag=True, help="Show each shard's run too, where a feed is run in shards."
)
@json_option
def command(feed: str | None, last: int, by_shard: bool, as_json: bool) -> int:
    """List the runs that the history holds, the newest last: how each ended, and what every hub got.

    Runs of a feed's shards that were begun together count as one, which is ok if all of them are.

    Times are in UTC, or in --tz. On a terminal a line is cut where that ends.
    The history goes back 30 days. Runs that were killed have said nothing and are not in it; those by
    hand are, dry runs and backfills are not. With --json the reports as `run --json` gave them, one a line;
    those of shards put together, with --shards each by itself.

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
                for report in one.tick.parts.values() if by_shard else [one.report]:
                    session.out.write_object(report)
            continue
        session.out.show(*[""][:number], text(_headline(each, found, last), "bold"))
        for one in found:
            session.out.show_line(_line(one, session.settings.hub_names))
            for line in _parts(one.tick, session.settings.hub_names) if by_shard else ():
                session.out.show_line(line)
    return ALL_WELL


def _last_runs(feed: FeedSettings, store: MendableStore, last: int) -> Sequence[_Found]:
    """Give the newest runs that the history holds, in the order in which they began."""
    name, now = load_feed(feed.name).state_name, utc_now()
    found: deque[_Found] = deque(maxlen=last)
    for back in _LOOKED_BACK:
        found = deque(_read(ticks(store.history(name, now - back), feed.schedule)), maxlen=last)
        if len(found) == last:
            break
    return list(found)


def _read(found: Iterable[Tick]) -> Iterator[_Found]:
    """Read reports; one that is none of a run is left out, as everywhere."""
    for tick in found:
        report = tick.report
        try:
            yield _Found(tick, report, past_run(report))
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


def _line(found: _Found, names: Mapping[str, str]) -> str:
    began = minute(found.run.started)
    missing = [str(shard) for shard in found.tick.missing]
    # First, since a line may be cut.
    lacks = f"no run of shard {named(missing)}; " if missing else ""
    return f"{began}  {_ended(found.run)}  {lacks}{outcome_in_brief(found.run, names)}"


def _parts(tick: Tick, names: Mapping[str, str]) -> Iterator[str]:
    """Give a line for each shard, below the tick's; a run of the whole feed has none."""
    if WHOLE in tick.parts:
        return
    for shard in sorted([*tick.parts, *tick.missing]):
        begins, said = f"{f'shard {shard}':>16}", "no run"
        if shard in tick.parts:
            run = past_run(tick.parts[shard])
            said = f"{_ended(run)}  {outcome_in_brief(run, names)}"
        yield f"{begins}  {said}"


def _ended(run: PastRun) -> str:
    ended = "ok" if run.ok else "FAILED"
    return f"{ended:6}  {span(run.took_s):>6}"
