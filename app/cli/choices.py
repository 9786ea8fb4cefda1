"""What commands are told to work on: feeds, locations, hubs, and windows of time, `--from` and `--to`."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import TYPE_CHECKING

import click
from click.shell_completion import CompletionItem

from app.base.errors import FeedOff
from app.base.instants import DAY, EPOCH, MILLISECOND, UNITS, floor_to, parse_time
from app.base.readings import Slice
from app.base.redaction import redact
from app.base.shards import Shard
from app.base.text import as_people_write, dashed, moment, printable

if TYPE_CHECKING:
    from app.settings.schema import FeedSettings, HubSettings, Settings


class FeedName(click.ParamType[str]):
    """The name of a feed, as people write it, or one of `others`. Which there are is told, and completed."""

    name = "feed"

    def __init__(self, *others: str) -> None:
        self._others = others

    def get_missing_message(self, param: click.Parameter, ctx: click.Context | None) -> str | None:  # noqa: ARG002
        names = self._names()
        return f"There {'is' if len(names) == 1 else 'are'} {', '.join(names)}" if names else None

    def shell_complete(
        self,
        ctx: click.Context,  # noqa: ARG002 - click's signature
        param: click.Parameter,  # noqa: ARG002
        incomplete: str,
    ) -> list[CompletionItem]:
        return [CompletionItem(name) for name in self._names() if name.startswith(incomplete.lower())]

    def _names(self) -> list[str]:
        from app.settings.sources import written_feeds

        names = [*map(dashed, written_feeds())]
        return [*names, *self._others] if names else []


class ShardName(click.ParamType[Shard]):
    """One of N parts of a feed, as people write it: 2/8."""

    name = "shard"

    def convert(self, value: str | Shard, param: click.Parameter | None, ctx: click.Context | None) -> Shard:
        try:
            return value if isinstance(value, Shard) else Shard.parse(value)
        except ValueError as error:
            self.fail(printable(str(error)), param, ctx)


_REPEATED = "This one only; may be repeated."
feed_argument = click.argument("feed", metavar="FEED", type=FeedName())
feeds_option = click.option(
    "--feed",
    "feeds",
    metavar="FEED",
    type=FeedName(),
    multiple=True,
    help="This feed only; may be repeated.",
)
since_option = click.option(
    "--from", "since", metavar="T", help="The window's start; a day before its end unless given."
)
until_option = click.option(
    "--to", "until", metavar="T", help="The window's end, not part of it; now unless given."
)
locations_option = click.option("--location", "locations", metavar="NAME", multiple=True, help=_REPEATED)
hubs_option = click.option("--hub", "hubs", metavar="KEY", multiple=True, help=_REPEATED)
hub_option = click.option(
    "--hub", "wanted", metavar="KEY", help="The hub's key or name; the primary unless given."
)
consumer_group_option = click.option(
    "--consumer-group",
    metavar="NAME",
    default="$Default",
    show_default=True,
    help="Read hubs through this one.",
)


# --- windows ----------------------------------------------------------------------------------------


def window_until_now(since: str | None, until: str | None, now: datetime) -> Slice:
    """Give the window that `since_option` and `until_option` tell, cut to now. Raises UsageError."""
    end = now if until is None else min(now, instant("--to", until, now))
    start = end - DAY if since is None else instant("--from", since, now)
    if start >= end:
        raise click.UsageError(f"--from {moment(start)} is not before --to {moment(end)}, and before now")
    return Slice(start, end)


def instant(option: str, text: str, now: datetime, *, cut: bool = False) -> datetime:
    """Read an ISO time, in the zone that is shown unless it names one, or a duration back from `now`: 6h.

    With `cut`, a duration is cut to its unit: 2d is a midnight. Raises UsageError for anything else,
    or before 1970.
    """
    found = _read(option, text, now, cut=cut)
    if found < EPOCH:
        raise click.UsageError(f"{option}: {printable(text)} is before 1970; no source goes back so far")
    return found


def _read(option: str, text: str, now: datetime, *, cut: bool) -> datetime:
    if text[:-1].isdecimal() and text[-1:] in UNITS:
        unit = UNITS[text[-1]]
        try:
            return floor_to(now - int(text[:-1]) * unit, unit if cut else MILLISECOND)
        except OverflowError:
            return EPOCH - unit
    try:
        return floor_to(parse_time(text, as_people_write), MILLISECOND)
    except (ValueError, OverflowError):
        raise click.UsageError(
            f"{option}: {printable(text)!r} is not a time; write it like 2026-03-01T06:00:00Z, or a duration "
            "back from now like 30d or 6h"
        ) from None


# --- feeds, locations, hubs -------------------------------------------------------------------------


def find_feed(settings: Settings, wanted: str) -> FeedSettings:
    """Give the feed of that name, with - or _, letter case ignored. Raises UsageError, listing them."""
    for feed in settings.feeds.values():
        if dashed(feed.name) == dashed(wanted.lower()):
            return feed
    known = ", ".join(map(dashed, settings.feeds))
    raise click.UsageError(f"{printable(wanted)!r} is not a feed; there are {known}")


def feeds_to(purpose: str, settings: Settings, wanted: Sequence[str]) -> list[FeedSettings]:
    """Give the feeds of these names, all that are on where none is named.

    Raises UsageError; FeedOff where one, or every one, is off, with its `purpose`: `audit`.
    """
    named = {feed.name: feed for feed in (find_feed(settings, name) for name in wanted)}
    off = [
        f"feeds.{feed.name}: the feed is off; set its view id to {purpose} it"
        for feed in named.values()
        if not feed.view_id
    ]
    chosen = list(named.values()) or [feed for feed in settings.feeds.values() if feed.view_id]
    if not chosen:
        off = [f"feeds: every feed is off; set the view id of one to {purpose} it"]
    if off:
        raise FeedOff(off)
    return chosen


def unknown_name(
    name: str, known: Iterable[str], *, what: str = "not one of the locations"
) -> click.UsageError:
    """Give the error for a name that is `what`, which lists those there are."""
    there_are = "".join(f"\n  {printable(one)}" for one in known) or " none"
    return click.UsageError(redact(f"{printable(name)!r} is {what}; there are:{there_are}"))


def find_hub(settings: Settings, wanted: str | None) -> HubSettings:
    """Give the hub of that key or name, letter case ignored; the first one where none is named.

    Raises UsageError, listing the hubs there are.
    """
    if wanted is None:
        return settings.hubs[0]
    for hub in settings.hubs:
        if wanted.lower() in (hub.key.lower(), hub.name.lower()):
            return hub
    known = [hub.name if hub.key == hub.name else f"{hub.name} ({hub.key})" for hub in settings.hubs]
    raise unknown_name(wanted, known, what="not one of the hubs")


def find_hubs(settings: Settings, wanted: Sequence[str]) -> list[HubSettings]:
    """Give the hubs that are on, or those of these keys or names, which must be. Raises UsageError."""
    named = {hub.key: hub for hub in (find_hub(settings, key) for key in wanted)}
    for hub in named.values():
        if not hub.enabled:
            raise click.UsageError(f"hub {hub.name} is paused; enable it first")
    hubs = list(named.values()) or [hub for hub in settings.hubs if hub.enabled]
    if not hubs:
        raise click.UsageError("every hub is paused; enable one first")
    return hubs
