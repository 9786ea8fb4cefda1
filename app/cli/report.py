"""`report`: one page of a window, for people who would rather look than read."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, suppress
from dataclasses import dataclass, replace
from datetime import datetime
from itertools import count
from pathlib import Path

import click

from app.audit.auditor import Asked, compared_feeds
from app.base.errors import ClocksDiffer, SourceError, StateError
from app.base.files import FILES, STANDARD_OUTPUT, explained, own_descriptor
from app.base.instants import MILLISECOND, floor_to, utc_now
from app.base.readings import QuarantinedReading, Slice
from app.base.text import dashed, moment, write_times_in_utc
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
from app.cli.session import ALL_WELL, SOMETHING_WRONG, begin, complain
from app.feeds.feed import load_feed, name_in_view
from app.health.facts import HISTORY, Kept
from app.health.feed_health import judge, off, unreadable
from app.health.past_runs import PastRun
from app.health.records import FeedHealth
from app.health.ticks import past_ticks
from app.page.chosen import of_hubs
from app.page.comparison import Comparison, Differences, compared, differences
from app.page.gathered import TITLE, Gathered, GatheredFeed
from app.page.verdict import NOTHING, WELL
from app.page.view import View, make_view
from app.page.without_names import without_names
from app.run.ports import Wiring
from app.settings.schema import FeedSettings, HubSettings, Settings
from app.state.store import MendableStore
from app.wiring import wire


@click.command("report", short_help=COMMANDS["report"])
@feeds_option
@since_option
@until_option
@hubs_option
@consumer_group_option
@click.option(
    "--output",
    metavar="FILE",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Write the page here, in the place of the file that is there; - is standard output. Unless given: "
    "report-FEED-DATE.html in the current folder, with a number where that is there.",
)
@click.option("--title", metavar="TEXT", default=TITLE, help="The title of the page.")
@click.option(
    "--without-names",
    "nameless",
    is_flag=True,
    help="Call buildings Building 1, Building 2 and so on, and leave out what may name them.",
)
def command(
    feeds: tuple[str, ...],
    since: str | None,
    until: str | None,
    hubs: tuple[str, ...],
    consumer_group: str,
    output: Path | None,
    title: str,
    nameless: bool,
) -> int:
    """Write one page of a window: what was published, what the hubs have of it, and how the runs went.

    It asks the source for the window again and reads the hubs, as `audit` does, and takes the rest
    from what is kept of the runs. The page is one file that opens offline. What cannot be reached is
    named on it, and the rest is shown. Ends with 1 where something is, or where anything is wrong.

    T is an ISO time (UTC unless it names a zone), or a duration back from now like 30d or 6h. It
    needs keys with the Listen right, and leaves nothing behind in the hubs.

    \b
    python -m app report
    python -m app report --from 7d --output week.html
    python -m app report --hub second --title Deliveries --without-names
    """  # noqa: D301 - \b keeps click from filling the lines after it
    settings, now = begin(), floor_to(utc_now(), MILLISECOND)
    window = window_until_now(since, until, now)
    # From here on all that is written is the page's, whose days are those of UTC.
    write_times_in_utc()
    request = _Request(
        wire(settings),
        window,
        now,
        find_hubs(settings, hubs),
        only_these=bool(hubs),
    )
    on = feeds_to("report on", settings, feeds)
    to = _Target(output, *_names_of_files(on if feeds else [], request.window))
    to.probe()
    # Unless they are named, one that is off has its place on the page too.
    shown = on if feeds else list(settings.feeds.values())
    found = replace(_gather(request, shown, consumer_group), title=title.strip() or TITLE)
    view = make_view(without_names(found, _aliases(found, settings)) if nameless else found)
    _tell(view, to.write(view))
    return ALL_WELL if view.verdict.state in (WELL, NOTHING) else SOMETHING_WRONG


@dataclass(frozen=True, slots=True)
class _Request:
    """What the steps of the command share: the window, and the hubs that are read."""

    wiring: Wiring
    window: Slice
    now: datetime
    hubs: Sequence[HubSettings]
    only_these: bool


# --- gathering --------------------------------------------------------------------------------------


def _gather(request: _Request, feeds: Sequence[FeedSettings], consumer_group: str) -> Gathered:
    """Read what is kept of every feed, then compare the source with the hubs."""
    found = {feed.name: _kept(request, feed) for feed in feeds}
    if any(feed.health.is_known for feed in found.values()):
        found |= _compared(request, found, consumer_group)
    if request.only_these:
        names = request.wiring.settings.hub_names
        found = {name: of_hubs(feed, names) for name, feed in found.items()}
    organisations = [name.removeprefix("=") for name in request.wiring.settings.microshare.identity]
    return Gathered(request.now, request.window, list(found.values()), organisations=organisations)


def _aliases(found: Gathered, settings: Settings) -> dict[str, str]:
    """Give the names that views have for buildings, each with the building's own."""
    aliases: dict[str, str] = {}
    for feed in found.feeds:
        of_feed = settings.feeds[feed.health.feed]
        known = {location.name for location in feed.health.locations} | {*of_feed.location_names}
        aliases |= {name_in_view(name, of_feed): name for name in known}
    return aliases


def _kept(request: _Request, feed: FeedSettings) -> GatheredFeed:
    """Read a feed's state, history and quarantine; what cannot be read becomes a problem."""
    module = load_feed(feed.name)
    if not feed.view_id:
        return GatheredFeed(dashed(feed.name), off(feed, request.now))
    problems: list[str] = []
    runs: list[PastRun] = []
    quarantined: list[QuarantinedReading] = []
    since = request.now - HISTORY
    try:
        state = request.wiring.store.load(module.state_name)
        history = request.wiring.store.history(module.state_name, min(request.window.start, since))
        runs += past_ticks(history, feed.schedule)
    except StateError as error:
        problems.append(str(error))
        health = unreadable(feed, request.now, str(error))
    else:
        quarantined = _quarantined(request.wiring.store, module.state_name, feed.name, problems)
        lately = [run for run in runs if run.started >= since]
        health = judge(feed, request.wiring.settings, Kept(state, lately, len(quarantined)), request.now)
    return GatheredFeed(
        dashed(feed.name),
        health,
        feed.look_back,
        _hubs(request, health),
        [run for run in runs if run.started in request.window],
        quarantined=quarantined,
        problems=problems,
    )


def _hubs(request: _Request, health: FeedHealth) -> dict[str, str]:
    """Give the hubs to show: those that are read, and, unless these were named, all others there are."""
    if request.only_these:
        return {hub.key: hub.name for hub in request.hubs}
    left = {key: hub.name for key, hub in health.hubs.items()}
    return {**request.wiring.settings.hub_names, **left}


def _quarantined(store: MendableStore, name: str, feed: str, problems: list[str]) -> list[QuarantinedReading]:
    """Give what is in quarantine, without the readings themselves, which may be large."""
    found: list[QuarantinedReading] = []
    try:
        found += (replace(item, text=b"") for _, item in store.quarantined(name, feed))
    except StateError as error:
        problems.append(str(error))
    return found


def _compared(
    request: _Request, found: Mapping[str, GatheredFeed], consumer_group: str
) -> dict[str, GatheredFeed]:
    """Compare the feeds with the hubs; where that ends early, those that lack a comparison say why."""
    feeds = {name: feed for name, feed in found.items() if feed.health.is_known}
    comparisons: dict[str, dict[str, Comparison]] = {name: {} for name in feeds}
    differing: dict[str, Differences] = {}
    early: list[str] = []
    if feeds:
        with ProgressBars(Output(), in_lines=True) as bars:
            compared_with = compared_feeds(
                [Asked(name, request.window) for name in feeds],
                request.hubs,
                request.wiring,
                consumer_group=consumer_group,
                progress=bars.show,
            )
            try:
                for feed in compared_with:
                    audits = list(feed.audits())
                    comparisons[feed.settings.name] |= {audit.hub: compared(audit) for audit in audits}
                    differing[feed.settings.name] = differences(audits)
            except (ClocksDiffer, SourceError, StateError) as error:
                early.append(str(error))
    return {
        name: replace(
            feed,
            comparisons=comparisons[name],
            differences=differing.get(name, feed.differences),
            problems=[*feed.problems, *([] if comparisons[name] else early)],
        )
        for name, feed in feeds.items()
    }


# --- writing ----------------------------------------------------------------------------------------


def _names_of_files(feeds: Sequence[FeedSettings], window: Slice) -> tuple[str, str]:
    """Give the beginning of a file's name that tells of which feeds and day it is, and its end."""
    names = "-".join(dashed(feed.name) for feed in feeds) or "all"
    return f"report-{names}-{window.end - MILLISECOND:%Y-%m-%d}", ".html"


@dataclass(frozen=True, slots=True)
class _Target:
    """Where the page goes: where a user said, or else to a name that no file has yet in the current folder.

    What a user named is replaced; what nobody named may be a page of another window or hub, so it stays.
    """

    output: Path | None
    begins: str
    ends: str

    def probe(self) -> None:
        """Find out that the page can be written, before the work is done. Raises StateError."""
        path = next(self._names()) if self.output is None else self.output
        with _explained(path):
            FILES.try_output(path)

    def write(self, view: View) -> Path:
        """Write the page for its owner alone, whole or not at all. Raises StateError where it cannot be."""
        from app.page.render import render

        page = render(view).encode()
        if self.output is None:
            return self._write_new(page)
        if own_descriptor(self.output) == STANDARD_OUTPUT:
            Output().write_document(page)
            return self.output
        with _explained(self.output):
            FILES.output(self.output, page, over=True)
        return self.output

    def _write_new(self, page: bytes) -> Path:
        for path in self._names():
            with _explained(path), suppress(FileExistsError):
                FILES.write_new(path, page)
                return path
        raise AssertionError("there is no last number")

    def _names(self) -> Iterator[Path]:
        yield Path(f"{self.begins}{self.ends}")
        yield from (Path(f"{self.begins}-{number}{self.ends}") for number in count(2))


def _explained(output: Path) -> AbstractContextManager[None]:
    return explained(str(output), {}, "name another file with --output")


def _tell(view: View, output: Path) -> None:
    """Say what is on the page; on standard error where the page itself is standard output."""
    is_shown = own_descriptor(output) == STANDARD_OUTPUT
    out = Output()
    say = complain if is_shown else out.show
    window = f"from {moment(view.window.start)} to {moment(view.window.end)}"
    say(f"{view.verdict.headline}: {window}, {view.verdict.sentence}.")
    for text in view.verdict.lacking:
        say(text)
    for text in view.verdict.aside:
        say(f"not compared: {text}")
    for unread in view.unread:
        complain("; ".join(filter(None, (unread.said, unread.do))))
    if not is_shown:
        out.show(f"written to {output}")
