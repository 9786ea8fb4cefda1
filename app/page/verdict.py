"""The answer of the first screen: whether all that was published arrived, where it can be told. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain

from app.audit.findings import RETENTION
from app.audit.summary import MISSING, MORE_THAN_ONCE, NOT_PUBLISHED, OTHER_CONTENT, column_of
from app.base.grouping import by_key
from app.base.text import counted, joined, named
from app.health.records import Condition
from app.page.comparison import Hour
from app.page.examined import Examined

WELL = "well"
WRONG = "wrong"
UNKNOWN = "unknown"
NOTHING = "nothing"

# How feeds fare, in a sentence, of one and of more.
_FARE = {
    Condition.FAILING: ("is failing", "are failing"),
    Condition.BEHIND: ("is behind", "are behind"),
    Condition.STOPPED: ("has stopped", "have stopped"),
    Condition.NEVER_RAN: ("never ran", "never ran"),
}


@dataclass(frozen=True, slots=True)
class Verdict:
    """The answer of the first screen: WELL, WRONG, UNKNOWN or NOTHING, in a headline and a sentence's end.

    NOTHING is where neither side had a reading: that is no fault, and proves nothing.

    `lacking` says of each feed and its hubs what they have and what not, where any of them lacks
    something; `aside` what was left out of the comparison, though nothing failed.
    """

    state: str
    headline: str
    sentence: str
    lacking: Sequence[str] = ()
    aside: Sequence[str] = ()


def give_verdict(feeds: Sequence[Examined]) -> Verdict:
    """Judge the feeds that are on, all together."""
    totals = [*chain.from_iterable(feed.totals.values() for feed in feeds)]
    aside = tuple(dict.fromkeys(chain.from_iterable(feed.aside for feed in feeds)))
    if not totals:
        said = "it is not known what was published and delivered"
        return Verdict(UNKNOWN, "Nothing could be compared", said, aside=aside)
    published = sum(feed.published for feed in feeds)
    doubtful = any(feed.problems or feed.is_wrong for feed in feeds)
    trouble = joined(list(_trouble(feeds)))
    complete = all(total.is_as_published for total in totals)
    said = _lacks(feeds) or _is_well(feeds, published, complete=complete)
    nothing = not any(comparison.audit.compared for feed in feeds for comparison in feed.compared.values())
    return Verdict(
        WRONG if doubtful or trouble else NOTHING if nothing else WELL,
        f"{said}; {trouble}" if trouble else said,
        _sentence(feeds, published, complete=complete),
        () if complete else [*chain.from_iterable(map(_lacking, feeds))],
        aside,
    )


def _trouble(feeds: Sequence[Examined]) -> Iterator[str]:
    """Say which feeds do not fare well now."""
    ill = by_key((feed.found.health.verdict, feed.found.name) for feed in feeds if not feed.found.health.ok)
    for condition, names in ill.items():
        if condition in _FARE:
            one, more = _FARE[condition]
            yield f"{joined(names)} {one if len(names) == 1 else more}"


# --- the headline -----------------------------------------------------------------------------------


def _lacks(feeds: Sequence[Examined]) -> str:
    """Say the worst of what hubs lack, each reading once; nothing where they lack nothing."""
    for of_feed, what in ((_missing, "missing"), (_overdue, "overdue")):
        number = sum(sum(of_feed(feed).values()) for feed in feeds)
        if number:
            return f"{counted(number, 'reading')} {what}"
    others = (
        (RETENTION, "expired, so it cannot be told"),
        (OTHER_CONTENT, "with other content"),
        (NOT_PUBLISHED, "that the source does not show"),
        (MORE_THAN_ONCE, "more than once"),
    )
    readings = ((sum(_readings(feed, cause) for feed in feeds), what) for cause, what in others)
    return next((f"{counted(number, 'reading')} {what}" for number, what in readings if number), "")


def _missing(feed: Examined) -> Mapping[tuple[str, ...], int]:
    return feed.found.differences.missing


def _overdue(feed: Examined) -> Mapping[tuple[str, ...], int]:
    return feed.found.differences.overdue


def _readings(feed: Examined, cause: str) -> int:
    return sum(group.readings for group in feed.found.differences.groups if group.cause == cause)


def _is_well(feeds: Sequence[Examined], published: int, *, complete: bool) -> str:
    unread = list(dict.fromkeys(chain.from_iterable(map(_unread, feeds))))
    if unread:
        said = f"{named(unread)} could not be compared"
        return said[:1].upper() + said[1:]
    if any(feed.problems or feed.is_wrong for feed in feeds):
        return "Not everything could be compared"
    if not published:
        return "Nothing to compare: no readings in this window"
    return "Every reading arrived" if complete else "Every reading that is due arrived"


def _unread(feed: Examined) -> Iterator[str]:
    """Name what could not be compared: the feed where it is nothing of it, else hubs and locations."""
    for problem in feed.problems:
        if problem.what:
            yield problem.what
        elif not feed.compared:
            yield feed.found.name


# --- sentences --------------------------------------------------------------------------------------


def _sentence(feeds: Sequence[Examined], published: int, *, complete: bool) -> str:
    partly = any(not feed.reach.whole for feed in feeds)
    if not complete:
        compared = ", as far as it could be compared" if any(feed.problems for feed in feeds) else ""
        return f"{counted(published, 'reading')} {'was' if published == 1 else 'were'} published{compared}"
    places = dict.fromkeys(feed.reach.where for feed in feeds if feed.compared)
    where = next(iter(places)) if len(places) == 1 else "at the hubs that were compared"
    rest = " that could be compared" if partly and any(feed.problems for feed in feeds) else ""
    return f"{published:,} of {published:,} published readings{rest} are {where}"


def _lacking(feed: Examined) -> Iterator[str]:
    """Say of each hub what it has of a feed, and what it lacks; hubs of which that is the same once."""
    if _missing(feed):
        yield f"{feed.found.name}: {_once(feed)}"
    alike = by_key((_of_hub(feed.totals[key]), key) for key in feed.compared)
    for said, keys in alike.items():
        yield f"{feed.found.name} at {_at(keys, feed)}: {said}"


def _once(feed: Examined) -> str:
    """Say how many readings are missing, each counted once, and at which hubs."""
    by_hubs = Counter(_missing(feed))
    where = [
        f"{number:,} at {_at(hubs, feed)}" for hubs, number in sorted(by_hubs.items(), key=lambda at: -at[1])
    ]
    whole = sum(by_hubs.values())
    if len(feed.compared) == 1:
        return f"{counted(whole, 'reading')} missing{_locations(feed)}."
    return f"{counted(whole, 'reading')} missing, each counted once: {', '.join(where)}{_locations(feed)}."


def _at(hubs: Sequence[str], feed: Examined) -> str:
    if len(hubs) == len(feed.compared) > 2:
        return f"all {len(hubs)} hubs"
    return joined([feed.found.hubs[key] for key in hubs])


def _of_hub(total: Hour) -> str:
    if total.is_as_published:
        return f"all {total.published:,}."
    said = [
        text
        for number, text in (
            (total.missing, f"{total.missing:,} missing"),
            (total.expired, f"{total.expired:,} expired there"),
            (total.changed, f"{total.changed:,} with other content"),
            (total.waiting, f"{total.waiting:,} still to come"),
            (total.before_start, f"{total.before_start:,} from before its start"),
            (total.dealt_with, f"{total.dealt_with:,} dealt with"),
            (total.repeated, f"{total.repeated:,} more than once"),
            (total.unknown, f"{total.unknown:,} that the source does not show"),
        )
        if number
    ]
    return f"{total.delivered:,} of {total.published:,}; {', '.join(said)}."


def _locations(feed: Examined) -> str:
    """Say where most of what is missing is missing."""
    missing: Counter[str] = Counter()
    for group in feed.found.differences.groups:
        if column_of(group.cause) == MISSING:
            missing[group.location] += group.readings
    most = sorted(missing, key=lambda name: (-missing[name], name))
    return f" ({named([f'{missing[name]:,} in {name}' for name in most])})"
