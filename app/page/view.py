"""The page as data: every figure, list and sentence that it shows, in the order of the page. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from functools import reduce
from itertools import chain

from app.audit.findings import BEHIND
from app.base.grouping import by_key
from app.base.readings import Slice
from app.base.text import counted, moment, named, span
from app.health.past_runs import PastRun
from app.health.records import Condition, HubHealth, Kind, Trouble
from app.health.trend import compared_by
from app.page.comparison import Comparison, FindingGroup, Hour
from app.page.coverage import Heatmap, heatmap
from app.page.gathered import Gathered, GatheredFeed
from app.page.timeline import Timeline, timeline
from app.quality.lateness import DELAYS_S

# Lists end here, and say how much they leave out: the page is to be read, the commands give it all.
MOST_LISTED = 50
_MOST_NAMED = 3

WELL = "well"
WANTING = "wanting"
UNKNOWN = "unknown"

# How a feed fares, in a sentence.
_FARES = {
    Condition.FAILING: "is failing",
    Condition.BEHIND: "is behind",
    Condition.STOPPED: "has stopped",
    Condition.NEVER_RAN: "never ran",
}
# What the headings and causes of an audit mean, for readers who have not seen its documentation.
_HEADINGS = {
    "missing": "missing",
    "changed": "other content",
    "repeated": "more than once",
    "unknown": "not published",
}
_CAUSES = {
    "late": "published after the look-back had passed",
    "behind": "a run is going to bring them",
    "lost": "the hub acknowledged them, and does not hold them",
    "unexplained": "older than what the state remembers",
    "quarantined": "set aside, because they could not be forwarded",
    "retention": "older than what the hub still holds, so it cannot be told",
    "before start": "from before the hub's start, never promised",
    "saturated": "more of one millisecond than the view gave",
    "missed": "found by the daily comparison with the source",
    "left behind": "left behind by `state skip` or `state reset`",
}


@dataclass(frozen=True, slots=True)
class Verdict:
    """The answer of the first screen: WELL, WANTING or UNKNOWN, in a headline and the end of a sentence.

    `lacking` says of each hub and feed what it has and what not, where any of them lacks something.
    """

    state: str
    headline: str
    sentence: str
    lacking: Sequence[str] = ()


@dataclass(frozen=True, slots=True)
class HubRow:
    """A hub: how it fares, and figures.

    `hours` is None where it was not compared, `duplicates` where no run knew it.
    """

    health: HubHealth
    hours: Hour | None
    duplicates: int | None


@dataclass(frozen=True, slots=True)
class Share:
    """A count and its share of the largest of its column, in percent."""

    count: int
    percent: float


@dataclass(frozen=True, slots=True)
class Distribution:
    """Counts by class of delay, a column each for `heads`; what is at the far end of each in `longest`."""

    heads: Sequence[str]
    rows: Sequence[tuple[str, Sequence[Share]]]
    longest: Sequence[str]


@dataclass(frozen=True, slots=True)
class Told:
    """What runs said: failures, or warnings, alike ones once."""

    text: str
    runs: int
    first: datetime
    last: datetime


@dataclass(frozen=True, slots=True)
class Listed:
    """Rows of texts, numbers and instants, the first MOST_LISTED of them, and how many more there are."""

    rows: Sequence[Sequence[object]]
    more: int = 0

    def __bool__(self) -> bool:
        return bool(self.rows)


@dataclass(frozen=True, slots=True)
class FeedView:
    """All that is shown of one feed."""

    name: str
    title: str
    off: bool
    said: str
    hubs: Sequence[HubRow] = ()
    troubles: Sequence[Trouble] = ()
    heatmap: Heatmap | None = None
    differences: Listed = Listed(())
    gaps: Listed = Listed(())
    delays: Distribution | None = None
    lateness: Distribution | None = None
    look_back: str = ""
    timeline: Timeline | None = None
    failures: Sequence[Told] = ()
    changed: Listed = Listed(())
    quarantine: Listed = Listed(())
    notes: Sequence[str] = ()
    names: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class View:
    """The whole page."""

    made: datetime
    window: Slice
    verdict: Verdict
    problems: Sequence[str]
    feeds: Sequence[FeedView]


def make_view(found: Gathered) -> View:
    """Give the page of what was found."""
    feeds = [_Feed(feed, found.window) for feed in found.feeds]
    problems = by_key((text, feed.found.title) for feed in feeds for text in feed.problems)
    return View(
        made=found.made,
        window=found.window,
        verdict=_verdict([feed for feed in feeds if not feed.is_off]),
        problems=[f"{' and '.join(titles)}: {text}" for text, titles in problems.items()],
        feeds=[feed.view() for feed in feeds],
    )


class _Feed:
    """A feed on its way to the page: its audits gone through, and added up."""

    def __init__(self, found: GatheredFeed, window: Slice) -> None:
        self.found = found
        self._window = window
        self.is_off = found.health.verdict is Condition.OFF
        self.compared = {key: each for key, each in found.comparisons.items() if each.audit.error is None}
        self.totals = {key: comparison.total for key, comparison in self.compared.items()}
        self.problems = list(self._find_problems())
        self.is_wrong = any(each.audit.wrong for each in self.compared.values())

    def overdue(self) -> int:
        """Count what hubs should have by now, and a run still brings."""
        groups = (each for hub in self.compared.values() for each in hub.groups)
        return sum(each.readings for each in groups if each.due and each.cause == BEHIND)

    def trouble(self) -> Iterator[str]:
        """Say how the feed fares now, where that is not well."""
        health = self.found.health
        if not health.ok and health.verdict in _FARES:
            yield f"{self.found.title} {_FARES[health.verdict]}"

    def _find_problems(self) -> Iterator[str]:
        """Give what could not be read or compared, with what to do."""
        yield from self.found.problems
        for key, comparison in self.found.comparisons.items():
            if comparison.audit.error is not None:
                hub = f"hub {self.found.hubs[key]}"
                # A hub's own errors begin with its name.
                said = comparison.audit.error.removeprefix(f"{hub}: ")
                yield f"{hub} could not be compared: {said}"
        # Where a location could not be compared it is the source's trouble, so once for all hubs.
        failures = {name: text for hub in self.compared.values() for name, text in hub.audit.failures.items()}
        for text, names in by_key((text, name) for name, text in failures.items()).items():
            yield f"{named(names, _MOST_NAMED)} could not be compared: {text}"

    def view(self) -> FeedView:
        found, health = self.found, self.found.health
        if self.is_off:
            return FeedView(health.feed, found.title, off=True, said=health.said)
        return FeedView(
            name=health.feed,
            title=found.title,
            off=False,
            said=f"{health.verdict}: {health.said}",
            hubs=[self._hub_row(key, name) for key, name in found.hubs.items()],
            troubles=list(self._troubles()),
            heatmap=heatmap(self.compared, found.hubs, self._window, self._locations()),
            differences=self._differences(),
            gaps=self._gaps(),
            delays=self._delays(),
            lateness=self._lateness(),
            look_back=span(found.look_back),
            timeline=timeline(found.runs, found.hubs, self._window),
            failures=list(_told(found.runs)),
            changed=self._changed(),
            quarantine=self._quarantine(),
            notes=list(self._notes()),
            names=found.hubs,
        )

    def _locations(self) -> list[str]:
        """Give the locations that were asked for, or have readings in the window."""
        seen = {name for hub in self.compared.values() for name, _ in hub.hours}
        asked = {location.name for location in self.found.health.locations if location.asked}
        failed = {name for hub in self.compared.values() for name in hub.audit.failures}
        return sorted((seen | asked) - failed)

    def _hub_row(self, key: str, name: str) -> HubRow:
        health = self.found.health.hubs.get(key) or HubHealth(name, Condition.UNKNOWN)
        skipped = [run.hubs[key].duplicates for run in self.found.runs if key in run.hubs]
        return HubRow(health, self.totals.get(key), sum(skipped) if skipped else None)

    def _troubles(self) -> Iterator[Trouble]:
        """Give what is wrong, with where; gaps and quarantine have lists of their own."""
        for wrong in self.found.health.troubles:
            if wrong.kind not in (Kind.GAP, Kind.QUARANTINE) or wrong.grave:
                where = named(wrong.locations, _MOST_NAMED)
                yield wrong if where in wrong.said else replace(wrong, said=f"{where}: {wrong.said}")

    # --- lists --------------------------------------------------------------------------------------

    def _differences(self) -> Listed:
        """List the faults, then, of all locations together, what is none."""
        groups = [each for hub in self.compared.values() for each in hub.groups]
        faults = sorted(
            (each for each in groups if each.due), key=lambda each: (-each.readings, each.hub, each.location)
        )
        rest = by_key(((each.hub, each.heading, each.cause), each) for each in groups if not each.due)
        return _listed(
            (
                self.found.hubs[each.hub],
                named([one.location for one in alike], _MOST_NAMED),
                each.readings,
                _what(each),
                each.first,
                each.last,
            )
            for alike in (*([fault] for fault in faults), *rest.values())
            for each in (reduce(FindingGroup.plus, alike),)
        )

    def _gaps(self) -> Listed:
        gaps = sorted(self.found.health.gaps, key=lambda found: found[1].window.start, reverse=True)
        return _listed(
            (
                location,
                gap.window.start,
                gap.window.end,
                gap.cause,
                self._names(gap.hubs) or "all hubs",
                gap.found,
            )
            for location, gap in gaps
        )

    def _changed(self) -> Listed:
        found = [change for run in self.found.runs for change in run.changed]
        return _listed(
            (
                change.location,
                change.hour,
                len(change.ids) or None,
                ", ".join(f"{old} → {new}" for old, new in change.ids[:_MOST_NAMED]),
            )
            for change in reversed(found)
        )

    def _quarantine(self) -> Listed:
        newest_first = sorted(self.found.quarantined, key=lambda item: item.at, reverse=True)
        return _listed(
            (item.id, item.location, self._names(item.hubs), item.reason, item.at) for item in newest_first
        )

    def _names(self, keys: Iterable[str]) -> str:
        return ", ".join(self.found.hubs.get(key, key) for key in keys)

    # --- distributions ------------------------------------------------------------------------------

    def _delays(self) -> Distribution | None:
        return _distribution(
            [
                (
                    self.found.hubs[key],
                    {delay.up_to_s: delay.readings for delay in comparison.audit.delays},
                    comparison.audit.max_delay_s,
                )
                for key, comparison in self.compared.items()
            ]
        )

    def _lateness(self) -> Distribution | None:
        told = [run.lateness for run in self.found.runs if run.lateness]
        counts = by_key((delay.up_to_s, delay.readings) for lateness in told for delay in lateness.delays)
        longest = max((lateness.max_s for lateness in told), default=None)
        return _distribution([("readings", {end: sum(found) for end, found in counts.items()}, longest)])

    def _notes(self) -> Iterator[str]:
        """Give sentences on what was compared and how, and on what a day costs."""
        for key, comparison in self.compared.items():
            if comparison.audit.readable_from is not None:
                yield (
                    f"{self.found.hubs[key]} no longer holds all that came before "
                    f"{moment(comparison.audit.readable_from)}: its retention is over."
                )
        yield from dict.fromkeys(text for each in self.compared.values() for text in each.audit.warnings)
        daily = compared_by(self.found.runs)
        if daily:
            yield (
                f"The daily comparison asked the source again for {counted(daily.hours, 'hour')} "
                f"that had left the look-back; {daily.differ:,} differed."
            )
        per_day = next((run.per_day for run in reversed(self.found.runs) if run.per_day), None)
        if per_day:
            yield f"A day costs about {counted(per_day['api_calls'], 'API call')}."
            for key, hub in per_day["hubs"].items():
                yield (
                    f"{self._names([key])} gets about {counted(hub['events'], 'event')} a day, "
                    f"{hub['bytes'] / 1_000_000:,.1f} MB, {_percent(hub['unit_share'])} of a throughput unit."
                )


def _what(each: FindingGroup) -> str:
    """Say what readings are, and why."""
    heading = "to come" if each.cause == BEHIND and not each.due else _HEADINGS[each.heading]
    return f"{heading}: {_CAUSES.get(each.cause, each.cause)}" if each.cause else heading


def _published(hubs: Iterable[Comparison]) -> int:
    """Count what the source showed, which hubs are compared with one after the other."""
    most: dict[tuple[str, datetime], int] = {}
    for hub in hubs:
        for place, hour in hub.hours.items():
            most[place] = max(most.get(place, 0), hour.published)
    return sum(most.values())


def _told(runs: Sequence[PastRun]) -> Iterator[Told]:
    """Give what runs failed with, and warned of, alike texts once, the latest first."""
    texts = by_key(
        (text, run.started)
        for run in runs
        for text in dict.fromkeys((*(failure.error for failure in run.failures), *run.warnings))
    )
    latest_first = sorted(texts.items(), key=lambda item: item[1][-1], reverse=True)
    for text, started in latest_first[:MOST_LISTED]:
        yield Told(text, len(started), started[0], started[-1])


def _listed(rows: Iterable[Sequence[object]]) -> Listed:
    kept = list(rows)
    return Listed(kept[:MOST_LISTED], max(0, len(kept) - MOST_LISTED))


def _percent(share: float) -> str:
    return f"{share:.2%}" if share >= 0.0001 else "less than 0.01%"


def _distribution(
    columns: Sequence[tuple[str, Mapping[float | None, int], float | None]],
) -> Distribution | None:
    """Lay counts by class out side by side; the classes outside of all counts are left out."""
    ends: list[float | None] = [*DELAYS_S, None]
    used = [at for at, end in enumerate(ends) if any(counts.get(end) for _, counts, _ in columns)]
    if not used:
        return None
    rows = [
        (
            f"up to {span(end)}" if end is not None else f"more than {span(DELAYS_S[-1])}",
            [_share(counts, end) for _, counts, _ in columns],
        )
        for end in ends[: used[-1] + 1]
    ]
    return Distribution([head for head, _, _ in columns], rows, [span(longest) for _, _, longest in columns])


def _share(counts: Mapping[float | None, int], end: float | None) -> Share:
    count, most = counts.get(end, 0), max(counts.values(), default=0)
    return Share(count, round(100 * count / most, 1) if most else 0.0)


# --- the first screen -------------------------------------------------------------------------------


def _verdict(feeds: Sequence[_Feed]) -> Verdict:
    totals = [*chain.from_iterable(feed.totals.values() for feed in feeds)]
    if not totals:
        return Verdict(
            UNKNOWN, "Nothing could be compared", "it is not known what was published and delivered"
        )
    published = sum(_published(feed.compared.values()) for feed in feeds)
    partly = any(feed.problems for feed in feeds)
    doubtful = partly or any(feed.is_wrong for feed in feeds)
    trouble = ", ".join(chain.from_iterable(feed.trouble() for feed in feeds))
    complete = all(map(_has_all, totals))
    said = _lacks(feeds, totals) or _is_well(published, complete=complete, doubtful=doubtful)
    return Verdict(
        WANTING if doubtful or trouble else WELL,
        f"{said}; {trouble}" if trouble else said,
        _sentence(published, complete=complete, partly=partly),
        () if complete else [*chain.from_iterable(map(_lacking, feeds))],
    )


def _sentence(published: int, *, complete: bool, partly: bool) -> str:
    if not complete:
        return f"{counted(published, 'reading')} {'was' if published == 1 else 'were'} published"
    compared = " that could be compared" if partly else ""
    return f"{published:,} of {published:,} published readings are at every hub{compared}"


def _lacks(feeds: Sequence[_Feed], totals: Sequence[Hour]) -> str:
    """Say the worst of what hubs lack; nothing where they lack nothing."""
    worst_first = (
        (sum(total.missing for total in totals), "missing"),
        (sum(feed.overdue() for feed in feeds), "overdue"),
        (sum(total.differing for total in totals), "not as published"),
    )
    return next((f"{counted(number, 'reading')} {what}" for number, what in worst_first if number), "")


def _is_well(published: int, *, complete: bool, doubtful: bool) -> str:
    if doubtful:
        return "Not everything could be compared"
    if not published:
        return "Nothing was published"
    return "Every reading arrived" if complete else "Every reading that is due arrived"


def _has_all(total: Hour) -> bool:
    return total.delivered == total.published and not total.differing


def _lacking(feed: _Feed) -> Iterator[str]:
    """Say of each hub what it has of a feed, what it lacks, and where most of it."""
    for key, comparison in feed.compared.items():
        total = feed.totals[key]
        head = f"{feed.found.title}, {feed.found.hubs[key]}: "
        if _has_all(total):
            yield f"{head}all {total.published:,}."
            continue
        said = [
            text
            for number, text in (
                (total.missing, f"{total.missing:,} missing{_where(comparison)}"),
                (total.waiting, f"{total.waiting:,} still to come with a run"),
                (total.excused, f"{total.excused:,} from before its start or gone by its retention"),
                (total.changed, f"{total.changed:,} with other content"),
                (total.repeated, f"{total.repeated:,} more than once"),
                (total.unknown, f"{total.unknown:,} that the source does not show"),
            )
            if number
        ]
        yield f"{head}{total.delivered:,} of {total.published:,}; {', '.join(said)}."


def _where(comparison: Comparison) -> str:
    missing: dict[str, int] = {}
    for (location, _), hour in comparison.hours.items():
        if hour.missing:
            missing[location] = missing.get(location, 0) + hour.missing
    most = sorted(missing, key=lambda name: (-missing[name], name))
    return f" ({named([f'{missing[name]:,} in {name}' for name in most], _MOST_NAMED)})"
