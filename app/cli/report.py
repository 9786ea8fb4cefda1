"""`report`: one page of a window, for people who would rather look than read."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from pathlib import Path

import click

from app.audit.auditor import Asked, compared_feeds
from app.base.errors import ClocksDiffer, SourceError, StateError
from app.base.instants import MILLISECOND, floor_to, parse_time, utc_now
from app.base.readings import JsonObject, QuarantinedReading, Slice
from app.base.text import moment
from app.cli import COMMANDS
from app.cli.choices import (
    consumer_group_option,
    feeds_option,
    feeds_to,
    find_hubs,
    hubs_option,
    since_option,
    until_option,
    window_until_now,
)
from app.cli.output import Output
from app.cli.progress import ProgressBars
from app.cli.session import ALL_WELL, FOUND_WANTING, begin, complain
from app.cli.state_edit import write_new
from app.feeds.feed import load_feed
from app.health.feed_health import HISTORY, Kept, damaged_json, judge
from app.page.comparison import Comparison, compared
from app.page.findings import FeedFindings, Findings, Hub
from app.page.view import WELL, View, make_view
from app.settings.schema import FeedSettings, HubSettings, Settings
from app.state.opening import open_store
from app.state.store import MendableStore
from app.wiring import wire

_DAY = timedelta(days=1)


@click.command("report", short_help=COMMANDS["report"])
@feeds_option
@since_option
@until_option
@hubs_option
@consumer_group_option
@click.option(
    "--output",
    metavar="FILE",
    required=True,
    type=click.Path(dir_okay=False, path_type=Path),
    help="Write the page here, in the place of what is there.",
)
def command(
    feeds: tuple[str, ...],
    since: str | None,
    until: str | None,
    hubs: tuple[str, ...],
    consumer_group: str,
    output: Path,
) -> int:
    """Write one page of a window: what was published, what every hub has, and how the runs fared.

    It asks the source for the window again and reads the hubs, as `audit` does, and takes the rest
    from what is kept of the runs. The page is one file that opens offline. What cannot be reached is
    named on it, and the rest is shown. Ends with 1 where something is, or where anything is wrong.

    T is an ISO time (UTC unless it names a zone), or a duration back from now like 30d or 6h. It
    needs keys with the Listen right, and leaves nothing behind in the hubs.

    \b
    python -m app report --output report.html
    python -m app report --from 7d --feed people-counter --output week.html
    """  # noqa: D301 - \b keeps click from filling the lines after it
    settings, now = begin(), floor_to(utc_now(), MILLISECOND)
    desk = _Desk(
        settings,
        open_store(settings.state),
        window_until_now(since, until, now),
        now,
        find_hubs(settings, hubs),
        only_these=bool(hubs),
    )
    _probe(output)
    on = feeds_to("report on", settings, feeds)
    # Unless they are named, one that is off has its place on the page too.
    shown = on if feeds else list(settings.feeds.values())
    view = make_view(_gather(desk, shown, consumer_group))
    _write(output, view)
    _tell(view, output)
    return ALL_WELL if view.verdict.state == WELL else FOUND_WANTING


@dataclass(frozen=True, slots=True)
class _Desk:
    """What the steps of the command share: the window, and the hubs that are read."""

    settings: Settings
    store: MendableStore
    window: Slice
    now: datetime
    hubs: Sequence[HubSettings]
    only_these: bool


# --- gathering --------------------------------------------------------------------------------------


@dataclass(slots=True)
class _Feed:
    """A feed while it is gathered."""

    settings: FeedSettings
    findings: FeedFindings
    can_be_compared: bool = True
    problems: list[str] = field(default_factory=list)
    comparisons: dict[str, Comparison] = field(default_factory=dict)


def _gather(desk: _Desk, feeds: Sequence[FeedSettings], consumer_group: str) -> Findings:
    """Read what is kept of every feed, then compare the source with the hubs."""
    gathered = [_kept(desk, feed) for feed in feeds]
    _compare(desk, [feed for feed in gathered if feed.can_be_compared], consumer_group)
    return Findings(
        desk.now,
        desk.window,
        [replace(feed.findings, comparisons=feed.comparisons, problems=feed.problems) for feed in gathered],
    )


def _kept(desk: _Desk, feed: FeedSettings) -> _Feed:
    """Read a feed's state, history and quarantine; what cannot be read becomes a problem."""
    module = load_feed(feed.name)
    findings = FeedFindings(feed.name, module.title, look_back=feed.look_back, off=not feed.view_id)
    gathered = _Feed(feed, findings)
    if findings.off:
        gathered.can_be_compared = False
        return gathered
    name, problems = module.state_name, gathered.problems
    runs: list[JsonObject] = []
    status: JsonObject
    try:
        state = desk.store.load(name)
        runs += desk.store.history(name, min(desk.window.start, desk.now - HISTORY))
    except StateError as error:
        problems.append(str(error))
        gathered.can_be_compared = False
        status = damaged_json(feed, str(error))
        quarantined: list[QuarantinedReading] = []
    else:
        quarantined = _quarantined(desk.store, name, feed.name, problems)
        lately = [run for run in runs if parse_time(run["started"]) >= desk.now - HISTORY]
        status = judge(feed, desk.settings, Kept(state, lately, len(quarantined)), desk.now)
    gathered.findings = replace(
        findings,
        hubs=_hubs(desk, status),
        status=status,
        runs=[run for run in runs if parse_time(run["started"]) in desk.window],
        quarantined=quarantined,
    )
    return gathered


def _hubs(desk: _Desk, status: JsonObject) -> list[Hub]:
    """Give the hubs to show: those that are read, and, unless these were named, all others there are."""
    shown = desk.hubs if desk.only_these else desk.settings.hubs
    hubs = [Hub(hub.key, hub.name, paused=not hub.enabled) for hub in shown]
    if desk.only_these:
        return hubs
    known = {hub.key for hub in hubs}
    left: Mapping[str, JsonObject] = status.get("hubs", {})
    return [*hubs, *(Hub(key, hub["name"], removed=True) for key, hub in left.items() if key not in known)]


def _quarantined(store: MendableStore, name: str, feed: str, problems: list[str]) -> list[QuarantinedReading]:
    """Give what is in quarantine, without the readings themselves, which may be large."""
    found: list[QuarantinedReading] = []
    try:
        found += (replace(item, text=b"") for _, item in store.quarantined(name, feed))
    except StateError as error:
        problems.append(str(error))
    return found


def _compare(desk: _Desk, feeds: Sequence[_Feed], consumer_group: str) -> None:
    """Compare the feeds with the hubs; where that ends early, those that lack a comparison say why."""
    if not feeds:
        return
    by_name = {feed.settings.name: feed for feed in feeds}
    asked = [Asked(name, desk.window) for name in by_name]
    with ProgressBars(Output(), in_lines=True) as bars:
        compared_with = compared_feeds(
            asked,
            desk.hubs,
            wire(desk.settings),
            consumer_group=consumer_group,
            progress=bars.show,
        )
        try:
            for feed in compared_with:
                comparisons = {audit.hub: compared(audit) for audit in feed.audits()}
                by_name[feed.settings.name].comparisons |= comparisons
        except (ClocksDiffer, SourceError, StateError) as error:
            for lacking in (feed for feed in feeds if not feed.comparisons):
                lacking.problems.append(str(error))


# --- writing ----------------------------------------------------------------------------------------


def _beside(output: Path) -> Path:
    return output.with_name(f".{output.name}.{os.getpid()}")


def _probe(output: Path) -> None:
    """Find out that the page can be written, before the work is done. Raises StateError."""
    write_new(_beside(output), b"")
    _beside(output).unlink()


def _write(output: Path, view: View) -> None:
    """Write the page for its owner alone, whole or not at all. Raises StateError where it cannot be."""
    from app.page.render import render

    beside = _beside(output)
    try:
        write_new(beside, render(view).encode())
        beside.replace(output)
    finally:
        beside.unlink(missing_ok=True)


def _tell(view: View, output: Path) -> None:
    out = Output()
    window = f"from {moment(view.window.start)} to {moment(view.window.end)}"
    out.show(f"{view.verdict.headline}: {window}, {view.verdict.sentence}.")
    out.show(*view.verdict.lacking)
    for problem in view.problems:
        complain(problem)
    out.show(f"written to {output}")
