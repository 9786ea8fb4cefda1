"""Whether the feeds of config.yaml can stand beside one another, and whether each uses what it is given."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import replace
from itertools import combinations

from app.base.errors import SettingsError
from app.feeds.feed import Feed, load_feed
from app.settings.schema import Settings
from app.state.json_file import files_of, renaming_commands

# What Azure takes as the name of a table; file systems and Azure make no difference of letter case.
_STATE_NAME = re.compile(r"[A-Za-z][A-Za-z0-9]{2,62}")
# Files and tables of these names are others' (the earlier forwarder's, a probe's, Azure's own).
_TAKEN = frozenset({"state", "probe", "forwardercheck", "tables"})
# The tables that stand beside a feed's own.
_BESIDE = ("history", "quarantine", "replayed")


def check_feeds(settings: Settings) -> Settings:
    """Refuse feeds that would share a state, or be taken for one another, or whose state has no place.

    Two feeds under one state name move each other's positions, and readings are lost; under one
    recType, their readings are told apart neither by us nor by whoever reads the hubs. Feeds that
    are off count: their states are looked at, too.

    Gives the settings with a warning of each that means nothing to its feed, and without its value.
    Raises SettingsError with every problem. A feed whose module cannot be loaded is left to whoever
    asks for it.
    """
    feeds = dict(_loaded(settings))
    problems = [*_bad_names(feeds, settings), *_clashes(feeds)]
    if problems:
        raise SettingsError(problems, source="feeds")
    used = {name: replace(settings.feeds[name], **feed.unused) for name, feed in feeds.items()}
    return replace(
        settings,
        feeds={**settings.feeds, **used},
        warnings=(*settings.warnings, *_unused(feeds, settings)),
    )


def _unused(feeds: Mapping[str, Feed], settings: Settings) -> Iterator[str]:
    for name, feed in feeds.items():
        for key, without in feed.unused.items():
            value = getattr(settings.feeds[name], key)
            if value != without:
                ignored = f"{value!r} means nothing to this feed and is ignored"
                yield f"feeds.{name}.{key}: {ignored}; remove it, a later version refuses it"


def _loaded(settings: Settings) -> Iterator[tuple[str, Feed]]:
    for name in settings.feeds:
        try:
            yield name, load_feed(name)
        except SettingsError:
            continue


def _bad_names(feeds: Mapping[str, Feed], settings: Settings) -> Iterator[str]:
    for name, feed in feeds.items():
        state_name = feed.state_name
        if _STATE_NAME.fullmatch(state_name) and state_name.lower() not in _TAKEN:
            continue
        better = _better(state_name, name)
        if state_name.lower() in _TAKEN:
            reason = "that name is in use for something else"
        else:
            reason = "a table's name has 3 to 63 letters and digits, no others, and begins with a letter"
        todo = f"write state_name {better!r} in app/feeds/{name}.py"
        if settings.state.store == "json" and files_of(settings.state.directory, state_name):
            commands = "\n      ".join(renaming_commands(settings.state.directory, state_name, better))
            todo = (
                f"its state would be left behind and the feed would start again, so stop its timer, rename "
                f"what is there, then {todo}:\n      {commands}"
            )
        yield f"feeds.{name}: its state name is {state_name!r}; {reason}; {todo}"


def _better(state_name: str, feed: str) -> str:
    """Give a state name that is taken everywhere and reads like the one that is not."""
    plain = re.sub(r"[^A-Za-z0-9]", "", state_name).lstrip("0123456789")[:53]
    if len(plain) < 3 or plain.lower() in _TAKEN:
        plain = re.sub(r"[^A-Za-z0-9]", "", feed).lstrip("0123456789")[:53] + "state"
    return plain


def _clashes(feeds: Mapping[str, Feed]) -> Iterator[str]:
    for (one, a), (other, b) in combinations(feeds.items(), 2):
        modules = f"app/feeds/{one}.py and app/feeds/{other}.py"
        if a.state_name.lower() == b.state_name.lower():
            yield (
                f"feeds.{one} and feeds.{other}: both have the state name {a.state_name!r}, and would move "
                f"each other's positions, which loses readings; give each its own in {modules}"
            )
        elif _is_beside(a.state_name, b.state_name) or _is_beside(b.state_name, a.state_name):
            yield (
                f"feeds.{one} and feeds.{other}: the state names {a.state_name!r} and {b.state_name!r} would "
                f"share a table; give one another name in {modules}"
            )
        if a.rec_type == b.rec_type:
            yield (
                f"feeds.{one} and feeds.{other}: both have the recType {a.rec_type!r}, so nobody could tell "
                f"their readings apart; give each its own in {modules}"
            )


def _is_beside(name: str, other: str) -> bool:
    return other.lower() in (f"{name.lower()}{suffix}" for suffix in _BESIDE)
