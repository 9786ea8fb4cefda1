"""The page as data: every figure, list and sentence that it shows, in the order of the page. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from functools import reduce

from app.audit.summary import MISSING, column_of, gravity
from app.base.grouping import by_key
from app.base.readings import Slice
from app.base.text import IN_A_SENTENCE, counted, joined, moment, named, span
from app.health.records import Condition, HubHealth
from app.health.trend import compared_by, per_day_of
from app.page.comparison import FindingGroup, Hour, total
from app.page.coverage import MOST_ROWS, Heatmap, heatmap
from app.page.examined import Examined
from app.page.gathered import Gathered, GatheredFeed
from app.page.timeline import Timeline, timeline
from app.page.told import TroubleRow, tell
from app.page.verdict import Verdict, give_verdict
from app.quality.lateness import DELAYS_S

# Lists end here, and say how much they leave out: the page is to be read, the commands give it all.
MOST_LISTED = 50

# The columns of what was compared: each published reading is in one of OF_PUBLISHED, so these add up.
_OF_PUBLISHED = {
    "delivered": "Delivered",
    "missing": "Missing",
    "expired": "Expired",
    "changed": "Other content",
    "waiting": "To come",
    "before_start": "Before start",
    "dealt_with": "Dealt with",
}
_BESIDE = {"repeated": "More than once", "unknown": "Not published"}
_ALWAYS = frozenset({"published", "delivered", "missing"})
_WRONG = frozenset({"missing", "expired", "changed", "repeated", "unknown"})
# What the causes of an audit mean, for readers who have not seen its documentation.
_CAUSES = {
    "lost": "acknowledged by the hub, and not there",
    "unexplained": "cause no longer known",
    "late": "published after the look-back",
    "missed": "found by the daily comparison",
    "saturated": "more of one millisecond than the view gave",
    "retention": "expired: older than what the hub still holds, so it cannot be told",
    "left behind": "left behind by `state skip` or `state reset`",
    "quarantined": "set aside, cannot be forwarded",
    "other content": "other content: the hub holds another version",
    "stuck": "to come: stuck at a location or hub that fails",
    "overdue": "to come: overdue, a run should have brought them",
    "not published": "not published: the source does not show them",
    "more than once": "more than once at the hub",
    "to come": "to come: the next run brings them",
    "before start": "from before the hub's start, never promised",
    "dealt with": "dealt with: set aside, and no longer in quarantine",
}


@dataclass(frozen=True, slots=True)
class Unread:
    """What could not be read: in our words, what to do, and the errors as they were."""

    said: str
    do: str | None
    technical: Sequence[str]


@dataclass(frozen=True, slots=True)
class CountColumn:
    """A column of counts: the field of an `Hour`, its head, and whether any in it is a fault."""

    name: str
    head: str
    wrong: bool


@dataclass(frozen=True, slots=True)
class HubRow:
    """A hub: how it fares, and what it has of the window; `why` says why it was not compared.

    `duplicates` is None where no run knew it.
    """

    health: HubHealth
    hours: Hour | None
    why: str
    duplicates: int | None


@dataclass(frozen=True, slots=True)
class Share:
    """A count and its share of the largest of all columns, in percent."""

    count: int
    percent: float


@dataclass(frozen=True, slots=True)
class Distribution:
    """Counts by class of delay, a column each for `heads`; what is at the far end of each in `longest`."""

    heads: Sequence[str]
    rows: Sequence[tuple[str, Sequence[Share]]]
    longest: Sequence[str]


@dataclass(frozen=True, slots=True)
class Listed:
    """Rows of what stands in a table, the first MOST_LISTED of them, and how many more there are."""

    rows: Sequence[Sequence[object]]
    more: int = 0

    def __bool__(self) -> bool:
        return bool(self.rows)


@dataclass(frozen=True, slots=True)
class PlaceRow:
    """What hubs have of one location: those that have the same stand in one row."""

    location: str
    hubs: str
    hours: Hour


@dataclass(frozen=True, slots=True)
class FeedView:
    """All that is shown of one feed. `place` is its name as an HTML id."""

    name: str
    place: str
    off: bool
    said: str
    where: str = ""
    columns: Sequence[CountColumn] = ()
    sum: str = ""
    hubs: Sequence[HubRow] = ()
    heatmap: Heatmap | None = None
    places: Sequence[PlaceRow] = ()
    differences: Listed = Listed(())
    now: Sequence[TroubleRow] = ()
    earlier: Sequence[TroubleRow] = ()
    gaps: Listed = Listed(())
    delays: Distribution | None = None
    lateness: Distribution | None = None
    look_back: str = ""
    timeline: Timeline | None = None
    changed: Listed = Listed(())
    quarantine: Listed = Listed(())
    notes: Sequence[str] = ()
    names: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class View:
    """The whole page. A `nameless` one has no texts of servers: they may name buildings."""

    made: datetime
    window: Slice
    title: str
    organisations: Sequence[str]
    hubs: Sequence[str]
    verdict: Verdict
    unread: Sequence[Unread]
    feeds: Sequence[FeedView]
    nameless: bool


def make_view(found: Gathered) -> View:
    """Give the page of what was found."""
    feeds = [_Feed(feed, found.window) for feed in found.feeds if feed.health.verdict is not Condition.OFF]
    shown = {feed.examined.found.name: feed.view() for feed in feeds}
    return View(
        made=found.made,
        window=found.window,
        title=found.title,
        organisations=found.organisations,
        hubs=list(dict.fromkeys(name for feed in feeds for name in feed.examined.hubs)),
        verdict=give_verdict([feed.examined for feed in feeds]),
        unread=list(_unread([feed.examined for feed in feeds])),
        feeds=[shown.get(feed.name) or _off(feed) for feed in found.feeds],
        nameless=found.nameless,
    )


def _off(feed: GatheredFeed) -> FeedView:
    return FeedView(feed.name, feed.health.feed, off=True, said=feed.health.said)


def _unread(feeds: Sequence[Examined]) -> Iterator[Unread]:
    """Give what could not be read, alike things of several feeds once."""
    alike = by_key(
        ((problem.said, problem.do), (feed.found.name, problem.technical))
        for feed in feeds
        for problem in feed.problems
    )
    for (said, do), of_feeds in alike.items():
        names = dict.fromkeys(name for name, _ in of_feeds)
        yield Unread(f"{' and '.join(names)}: {said}", do, list(dict.fromkeys(text for _, text in of_feeds)))


class _Feed:
    """A feed on its way to the page."""

    def __init__(self, found: GatheredFeed, window: Slice) -> None:
        self.found = found
        self.examined = Examined(found, window)
        self._window = window

    def view(self) -> FeedView:
        found, examined = self.found, self.examined
        now, earlier = tell(found)
        columns = self._columns()
        return FeedView(
            name=found.name,
            place=found.health.feed,
            off=False,
            said=found.health.verdict,
            where=examined.reach.where if examined.compared else "",
            columns=columns,
            sum=_sum(columns) if examined.compared else "",
            hubs=[self._hub_row(key, name) for key, name in found.hubs.items()],
            heatmap=heatmap(examined.compared, examined.reach, self._window, examined.locations),
            places=list(self._places())[:MOST_ROWS],
            differences=self._differences(),
            now=now,
            earlier=earlier[:MOST_LISTED],
            gaps=self._gaps(),
            delays=self._delays(),
            lateness=self._lateness(),
            look_back=span(found.look_back),
            timeline=timeline(found.runs, found.hubs, self._window),
            changed=self._changed(),
            quarantine=self._quarantine(),
            notes=list(self._notes()),
            names=found.hubs,
        )

    def _columns(self) -> list[CountColumn]:
        """Give the columns that hold anything at any hub, and those that are always asked for."""
        totals = self.examined.totals.values()
        heads = {"published": "Published", **_OF_PUBLISHED, **_BESIDE}
        return [
            CountColumn(name, head, name in _WRONG)
            for name, head in heads.items()
            if name in _ALWAYS or any(getattr(total, name) for total in totals)
        ]

    def _hub_row(self, key: str, name: str) -> HubRow:
        health = self.found.health.hubs.get(key) or HubHealth(name, Condition.UNKNOWN)
        skipped = [run.hubs[key].duplicates for run in self.found.runs if key in run.hubs]
        why = self.examined.reach.unread.get(name, "")
        if health.verdict is Condition.REMOVED:
            why = "is removed"
        return HubRow(
            health, self.examined.totals.get(key), f"not compared: it {why}" if why else "not compared",
            sum(skipped) if skipped else None,
        )  # fmt: skip

    def _places(self) -> Iterator[PlaceRow]:
        """Give the counts of each location, those of hubs that have the same once."""
        counts: dict[str, dict[str, Hour]] = {}
        for key, hub in self.examined.compared.items():
            for location, hours in by_key((at[0], hour) for at, hour in hub.hours.items()).items():
                counts.setdefault(location, {})[key] = total(hours)
        for location, of_hubs in sorted(counts.items()):
            for whole, keys in by_key((each, key) for key, each in of_hubs.items()).items():
                yield PlaceRow(location, self._at(keys), whole)

    def _at(self, keys: Sequence[str]) -> str:
        """Name hubs; all that were compared as that."""
        if len(keys) == len(self.examined.compared) > 2:
            return f"all {len(keys)}"
        return self._names(keys)

    # --- lists --------------------------------------------------------------------------------------

    def _differences(self) -> Listed:
        """List the faults, then, of all locations together, what is none."""
        groups = self.found.differences.groups
        faults = sorted(
            (each for each in groups if each.is_wrong),
            key=lambda each: (gravity(each.cause), -each.readings, each.location, each.hubs),
        )
        rest = by_key(((each.hubs, each.cause, each.timed), each) for each in groups if not each.is_wrong)
        return _listed(
            (
                named([one.location for one in alike]),
                each.readings,
                _what(each),
                self._at(each.hubs),
                Slice(each.first, each.last) if each.timed else "no time",
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
                ", ".join(f"{old} → {new}" for old, new in change.ids[:IN_A_SENTENCE]),
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
                for key, comparison in self.examined.compared.items()
            ]
        )

    def _lateness(self) -> Distribution | None:
        told = [run.lateness for run in self.found.runs if run.lateness]
        counts = by_key((delay.up_to_s, delay.readings) for lateness in told for delay in lateness.delays)
        longest = max((lateness.max_s for lateness in told), default=None)
        return _distribution([("readings", {end: sum(found) for end, found in counts.items()}, longest)])

    def _notes(self) -> Iterator[str]:
        """Give sentences on what was compared and how, and on what a day costs."""
        for key, comparison in self.examined.compared.items():
            if comparison.audit.readable_from is not None:
                yield (
                    f"{self.found.hubs[key]} no longer holds all that came before "
                    f"{moment(comparison.audit.readable_from)}: its retention is over."
                )
        yield from dict.fromkeys(
            text for each in self.examined.compared.values() for text in each.audit.warnings
        )
        daily = compared_by(self.found.runs)
        if daily:
            yield (
                f"The daily comparison asked the source again for {counted(daily.hours, 'hour')} "
                f"that had left the look-back; {daily.differ:,} differed."
            )
        per_day = per_day_of(self.found.runs, self._window.start)
        if per_day:
            yield f"A day costs about {counted(per_day['api_calls'], 'API call')}."
            for key, hub in per_day["hubs"].items():
                yield (
                    f"{self._names([key])} gets about {counted(hub['events'], 'event')} a day, "
                    f"{hub['bytes'] / 1_000_000:,.1f} MB, {_percent(hub['unit_share'])} of a throughput unit."
                )


def _what(each: FindingGroup) -> str:
    """Say what readings are, and why."""
    said = _CAUSES.get(each.cause, each.cause)
    return f"missing: {said}" if column_of(each.cause) == MISSING else said


def _sum(columns: Sequence[CountColumn]) -> str:
    """Say how the columns add up."""
    parts = [column.head.lower() for column in columns if column.name in _OF_PUBLISHED]
    beside = [column.head.lower() for column in columns if column.name in _BESIDE]
    said = f"Published is {' + '.join(parts)}"
    return f"{said}; what is {joined(beside)} is counted separately." if beside else f"{said}."


def _listed(rows: Iterable[Sequence[object]]) -> Listed:
    kept = list(rows)
    return Listed(kept[:MOST_LISTED], max(0, len(kept) - MOST_LISTED))


def _percent(share: float) -> str:
    return f"{share:.2%}" if share >= 0.0001 else "less than 0.01%"


def _distribution(
    columns: Sequence[tuple[str, Mapping[float | None, int], float | None]],
) -> Distribution | None:
    """Lay counts by class out side by side; the classes before and after all counts are left out."""
    ends: list[float | None] = [*DELAYS_S, None]
    used = [at for at, end in enumerate(ends) if any(counts.get(end) for _, counts, _ in columns)]
    if not used:
        return None
    most = max(count for _, counts, _ in columns for count in counts.values())
    rows = [
        (
            f"up to {span(end)}" if end is not None else f"more than {span(DELAYS_S[-1])}",
            [_share(counts.get(end, 0), most) for _, counts, _ in columns],
        )
        for end in ends[used[0] : used[-1] + 1]
    ]
    return Distribution([head for head, _, _ in columns], rows, [span(longest) for _, _, longest in columns])


def _share(count: int, most: int) -> Share:
    return Share(count, round(100 * count / most, 1) if most else 0.0)
