"""What was gathered without the names of buildings: `Building 1` and so on in their place, everywhere. Pure.

Whoever asks for such a page gives it to others. So what may hold a name that is not known to be one is left
out as a whole: organisations, the texts of servers, and warnings, which tell of sensors and of names.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import fields, is_dataclass, replace
from enum import Enum
from itertools import chain
from typing import Any, TypeVar
from urllib.parse import quote, quote_plus

from app.base.text import printable
from app.health.records import FeedHealth, Kind
from app.page.comparison import Comparison, Hour
from app.page.gathered import Gathered, GatheredFeed

_Value = TypeVar("_Value")

_LEFT_OUT = frozenset({Kind.WARNING, Kind.DRIFT})
# A shorter name is replaced where it is a word; a longer one also within one.
_SHORT = 4
# Names stand in quotes in texts of ours; a quote within a word is an apostrophe.
_QUOTED = re.compile(r"(?<!\w)(['\"])(?!Building \d+\1)[^'\"]*\1(?!\w)")


def without_names(found: Gathered, aliases: Mapping[str, str]) -> Gathered:
    """Give what was gathered with a number in the place of each building's name.

    `aliases` are other names of buildings, as views have them, each with the building's own. The numbers
    are the same wherever a building is named, and on every page of the same buildings.
    """
    names = {name for feed in found.feeds for name in _names(feed) if name}
    names |= {name for name in aliases.values() if name}
    numbers = {name: f"Building {number}" for number, name in enumerate(sorted(names), start=1)}
    numbers |= {alias: numbers[name] for alias, name in aliases.items() if alias and name in numbers}
    rename = _renaming(numbers)
    feeds = [_without_names(feed, rename) for feed in found.feeds]
    return replace(found, feeds=feeds, title=rename(found.title), organisations=(), nameless=True)


def _names(feed: GatheredFeed) -> Iterator[str | None]:
    """Give every name of a building that is known to be one."""
    health = feed.health
    yield from (location.name for location in health.locations)
    yield from (location for location, _ in health.gaps)
    yield from (drift.location for drift in health.drift)
    yield from chain.from_iterable(trouble.locations for trouble in health.troubles)
    yield from (group.location for group in feed.differences.groups)
    yield from (item.location for item in feed.quarantined)
    for comparison in feed.comparisons.values():
        yield from (location for location, _ in comparison.hours)
        yield from comparison.audit.failures
    for run in feed.runs:
        told = (run.failures, run.changed, run.quarantined)
        yield from (each.location for each in chain.from_iterable(told))  # type: ignore[attr-defined]


def _renaming(numbers: Mapping[str, str]) -> Callable[[str], str]:
    """Give what replaces names in a text, in every form in which a text of ours or a URL has them."""
    by_form = {form: number for name, number in numbers.items() for form in _forms(name)}
    longest_first = sorted(by_form, key=len, reverse=True)
    if not longest_first:
        return lambda text: text
    found = re.compile("|".join(map(_as_written, longest_first)), re.IGNORECASE)
    whatever_case = {form.casefold(): number for form, number in by_form.items()}

    def rename(text: str) -> str:
        return numbers.get(text) or found.sub(
            lambda at: by_form.get(at[0]) or whatever_case.get(at[0].casefold(), "a building"), text
        )

    return rename


def _forms(name: str) -> Iterable[str]:
    return {
        name,
        printable(name),
        repr(name)[1:-1],
        json.dumps(name)[1:-1],
        quote(name),
        quote(name, safe=""),
        quote_plus(name),
    }


def _as_written(form: str) -> str:
    written = re.escape(form)
    return rf"(?<![^\W_]){written}(?![^\W_])" if len(form) < _SHORT else written


def _without_names(feed: GatheredFeed, rename: Callable[[str], str]) -> GatheredFeed:
    kept = replace(
        feed,
        health=_without_warnings(feed.health, rename),
        runs=[replace(run, warnings=()) for run in feed.runs],
        comparisons={key: _unwarned(each) for key, each in feed.comparisons.items()},
    )
    renamed: GatheredFeed = _renamed(kept, rename)
    # What a feed is called is no building's name, whatever buildings are called.
    return replace(renamed, name=feed.name, health=replace(renamed.health, feed=feed.health.feed))


def _without_warnings(health: FeedHealth, rename: Callable[[str], str]) -> FeedHealth:
    """Leave out what may hold any name, and advice that would name a building by its number."""
    troubles = [
        replace(trouble, do=trouble.do if trouble.do is None or rename(trouble.do) == trouble.do else None)
        for trouble in health.troubles
        if trouble.kind not in _LEFT_OUT
    ]
    return replace(health, troubles=troubles, drift=(), warnings=(), last_run=None)


def _unwarned(comparison: Comparison) -> Comparison:
    return replace(comparison, audit=replace(comparison.audit, warnings=()))


def _renamed(value: _Value, rename: Callable[[str], str]) -> Any:
    """Go through all that a value holds, and replace names in every text of it, keys among them."""
    if isinstance(value, Enum | Hour):
        return value
    if isinstance(value, str):
        return _QUOTED.sub(r"\1…\1", rename(value))
    if is_dataclass(value) and not isinstance(value, type):
        return replace(
            value, **{each.name: _renamed(getattr(value, each.name), rename) for each in fields(value)}
        )
    if isinstance(value, Mapping):
        return {_renamed(key, rename): _renamed(each, rename) for key, each in value.items()}
    if isinstance(value, tuple | list | set | frozenset):
        return type(value)(_renamed(each, rename) for each in value)
    return value
