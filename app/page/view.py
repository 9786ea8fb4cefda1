"""The page as data: every figure, list and sentence that it shows, in the order of the page. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from itertools import chain

from app.audit.findings import BEHIND
from app.base.instants import parse_time
from app.base.readings import JsonObject, Slice
from app.base.text import counted, moment, span
from app.page.comparison import Comparison, Difference, Hour
from app.page.coverage import Heatmap, heatmap
from app.page.findings import FeedFindings, Findings, Hub
from app.page.timeline import Timeline, timeline
from app.quality.lateness import DELAYS_S

# Lists end here, and say how much they leave out: the page is to be read, the commands give it all.
MOST_LISTED = 50
_MOST_NAMED = 3

WELL = "well"
WANTING = "wanting"
UNKNOWN = "unknown"

# How `status` says that a feed fares, in a sentence.
_FARES = {
    "failing": "is failing",
    "behind": "is behind",
    "stopped": "has stopped",
    "never ran": "never ran",
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
    """A hub in figures. `problem` says why it was not compared; `hours` is None then."""

    hub: Hub
    verdict: str
    hours: Hour | None
    behind: str
    delivered_until: datetime | None
    duplicates: int | None
    problem: str | None = None


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
class Trouble:
    """Something that is wrong, in the words of `status`."""

    said: str
    do: str | None
    since: datetime | None
    grave: bool


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


def make_view(found: Findings) -> View:
    """Give the page of what was found."""
    feeds = [_Feed(feed, found.window, found.made) for feed in found.feeds]
    return View(
        made=found.made,
        window=found.window,
        verdict=_verdict([feed for feed in feeds if not feed.found.off]),
        problems=list(_problems(feeds)),
        feeds=[feed.view() for feed in feeds],
    )


def _problems(feeds: Sequence[_Feed]) -> Iterator[str]:
    """Give what could not be read or compared, with the feeds that it is about, and what to do."""
    for text, titles in _alike((text, feed.found.title) for feed in feeds for text in feed.problems()):
        yield f"{' and '.join(titles)}: {text}"


class _Feed:
    """A feed on its way to the page: its audits gone through, and added up."""

    def __init__(self, found: FeedFindings, window: Slice, made: datetime) -> None:
        self.found = found
        self._window = window
        self._made = made
        self.names = {hub.key: hub.name for hub in found.hubs}
        self._status: JsonObject = found.status or {}
        self.compared = {key: each for key, each in found.comparisons.items() if each.error is None}
        self.totals = {key: comparison.total for key, comparison in self.compared.items()}

    @property
    def published(self) -> int:
        return _published(self.compared.values())

    def overdue(self) -> int:
        """Count what hubs should have by now, and a run still brings."""
        found = (each for hub in self.compared.values() for each in hub.differences)
        return sum(each.readings for each in found if each.due and each.cause == BEHIND)

    def trouble(self) -> Iterator[str]:
        """Say how the feed fares now, where that is not well."""
        if not self._status.get("ok", True) and self._status["verdict"] in _FARES:
            yield f"{self.found.title} {_FARES[self._status['verdict']]}"

    def problems(self) -> Iterator[str]:
        """Give what could not be read or compared, with what to do."""
        yield from self.found.problems
        for key, comparison in self.found.comparisons.items():
            if comparison.error is not None:
                hub = f"hub {self.names[key]}"
                # A hub's own errors begin with its name.
                said = comparison.error.removeprefix(f"{hub}: ")
                yield f"{hub} could not be compared: {said}"
        yield from self._not_compared()

    def _not_compared(self) -> Iterator[str]:
        """Give the locations that could not be compared; it is the source's trouble, so once for all hubs."""
        failures = {name: text for hub in self.compared.values() for name, text in hub.failures.items()}
        for text, names in _alike((text, name) for name, text in failures.items()):
            yield f"{_some(names)} could not be compared: {text}"

    def view(self) -> FeedView:
        found = self.found
        if found.off:
            return FeedView(found.name, found.title, off=True, said="it has no view id")
        troubles = list(self._troubles())
        return FeedView(
            name=found.name,
            title=found.title,
            off=False,
            said=self._said(),
            hubs=[self._hub_row(hub) for hub in found.hubs],
            troubles=troubles,
            heatmap=heatmap(self.compared, self.names, self._window, self._locations()),
            differences=self._differences(),
            gaps=self._gaps(),
            delays=self._delays(),
            lateness=self._lateness(),
            look_back=span(found.look_back.total_seconds()),
            timeline=timeline(found.runs, [hub.key for hub in found.hubs], self._window),
            failures=list(_told(found.runs)),
            changed=self._changed(),
            quarantine=self._quarantine(),
            notes=list(self._notes()),
            names=self.names,
        )

    def _said(self) -> str:
        if not self._status:
            return "its state could not be read"
        return f"{self._status['verdict']}: {self._status['said']}"

    def _locations(self) -> list[str]:
        """Give the locations that were asked for, or have readings in the window."""
        seen = {name for hub in self.compared.values() for name, _ in hub.hours}
        asked = {place["location"] for place in self._status.get("locations", ()) if place["asked"]}
        failed = {name for hub in self.compared.values() for name in hub.failures}
        return sorted((seen | asked) - failed)

    # --- hubs ---------------------------------------------------------------------------------------

    def _hub_row(self, hub: Hub) -> HubRow:
        comparison = self.found.comparisons.get(hub.key)
        status = self._status.get("hubs", {}).get(hub.key, {})
        return HubRow(
            hub,
            verdict=status.get("verdict", "unknown"),
            hours=self.totals.get(hub.key),
            behind=span(status.get("behind_s")),
            delivered_until=_time(status.get("delivered_until")),
            duplicates=_skipped(self.found.runs, hub.key),
            problem=None if comparison is None else comparison.error,
        )

    def _troubles(self) -> Iterator[Trouble]:
        """Give what `status` finds wrong; gaps and quarantine have lists of their own."""
        for wrong in self._status.get("wrong", ()):
            if wrong["kind"] not in ("gap", "quarantine"):
                where = _some(wrong["locations"]) if wrong["locations"] else ""
                said = f"{where}: {wrong['said']}" if where and where not in wrong["said"] else wrong["said"]
                yield Trouble(said, wrong["do"], _time(wrong["since"]), wrong["grave"])

    # --- lists --------------------------------------------------------------------------------------

    def _differences(self) -> Listed:
        found = [
            (each, [each.location]) for hub in self.compared.values() for each in hub.differences if each.due
        ]
        found.sort(key=lambda item: (-item[0].readings, item[0].hub, item[0].location))
        return _listed(
            (
                self.names[each.hub],
                _some(locations),
                each.readings,
                _what(each),
                each.first,
                each.last,
            )
            for each, locations in (*found, *_merged(self.compared.values()))
        )

    def _gaps(self) -> Listed:
        gaps = sorted(self._status.get("gaps", ()), key=lambda gap: gap["from"], reverse=True)
        return _listed(
            (
                gap["location"],
                _time(gap["from"]),
                _time(gap["to"]),
                gap["cause"],
                ", ".join(self.names.get(key, key) for key in gap["hubs"]) or "all hubs",
                _time(gap["found"]),
            )
            for gap in gaps
        )

    def _changed(self) -> Listed:
        found = [change for run in self.found.runs for change in run.get("changed", ())]
        return _listed(
            (
                change["location"],
                _time(change["hour"]),
                change["readings"],
                ", ".join(f"{old} → {new}" for old, new in change["ids"][:_MOST_NAMED]),
            )
            for change in reversed(found)
        )

    def _quarantine(self) -> Listed:
        newest_first = sorted(self.found.quarantined, key=lambda item: item.at, reverse=True)
        return _listed(
            (
                item.id,
                item.location,
                ", ".join(self.names.get(key, key) for key in item.hubs),
                item.reason,
                item.at,
            )
            for item in newest_first
        )

    # --- distributions ------------------------------------------------------------------------------

    def _delays(self) -> Distribution | None:
        return _distribution(
            [
                (
                    self.names[key],
                    {delay.up_to_s: delay.readings for delay in comparison.delays},
                    comparison.max_delay_s,
                )
                for key, comparison in self.compared.items()
            ]
        )

    def _lateness(self) -> Distribution | None:
        told = [run["lateness"] for run in self.found.runs if run.get("lateness")]
        counts: dict[float | None, int] = {}
        for lateness in told:
            for delay in lateness.get("delays", ()):
                counts[delay["up_to_s"]] = counts.get(delay["up_to_s"], 0) + delay["readings"]
        longest = max((lateness["max_s"] for lateness in told), default=None)
        return _distribution([("readings", counts, longest)])

    def _notes(self) -> Iterator[str]:
        """Give sentences on what was compared and how, and on what a day costs."""
        for key, comparison in self.compared.items():
            if comparison.readable_from is not None:
                yield (
                    f"{self.names[key]} no longer holds all that came before "
                    f"{moment(comparison.readable_from)}: its retention is over."
                )
        yield from dict.fromkeys(text for each in self.compared.values() for text in each.warnings)
        compared_runs = [run["compared"] for run in self.found.runs if run.get("compared")]
        if compared_runs:
            hours = sum(run["hours"] for run in compared_runs)
            differ = sum(run["differ"] for run in compared_runs)
            yield (
                f"The daily comparison asked the source again for {counted(hours, 'hour')} "
                f"that had left the look-back; {differ:,} differed."
            )
        forecast = next((run["per_day"] for run in reversed(self.found.runs) if run.get("per_day")), None)
        if forecast:
            yield f"A day costs about {counted(forecast['api_calls'], 'API call')}."
            for key, hub in forecast["hubs"].items():
                yield (
                    f"{self.names.get(key, key)} gets about {counted(hub['events'], 'event')} a day, "
                    f"{hub['bytes'] / 1_000_000:,.1f} MB, {_percent(hub['unit_share'])} of a throughput unit."
                )


def _what(each: Difference) -> str:
    """Say what readings are, and why."""
    heading = "to come" if each.cause == BEHIND and not each.due else _HEADINGS[each.heading]
    return f"{heading}: {_CAUSES.get(each.cause, each.cause)}" if each.cause else heading


def _time(written: str | None) -> datetime | None:
    return parse_time(written) if written else None


def _merged(hubs: Iterable[Comparison]) -> Iterator[tuple[Difference, list[str]]]:
    """Give what is no fault, of all locations together."""
    alike: dict[tuple[str, str, str | None], list[Difference]] = {}
    for hub in hubs:
        for each in hub.differences:
            if not each.due:
                alike.setdefault((each.hub, each.heading, each.cause), []).append(each)
    for found in alike.values():
        whole = replace(
            found[0],
            readings=sum(each.readings for each in found),
            first=min(each.first for each in found),
            last=max(each.last for each in found),
        )
        yield whole, [each.location for each in found]


def _published(hubs: Iterable[Comparison]) -> int:
    """Count what the source showed, which hubs are compared with one after the other."""
    most: dict[tuple[str, datetime], int] = {}
    for hub in hubs:
        for place, hour in hub.hours.items():
            most[place] = max(most.get(place, 0), hour.published)
    return sum(most.values())


def _skipped(runs: Sequence[JsonObject], key: str) -> int | None:
    said = [run["hubs"][key]["duplicates"] for run in runs if key in run["hubs"]]
    return sum(said) if said else None


def _told(runs: Sequence[JsonObject]) -> Iterator[Told]:
    """Give what runs failed with, and warned of, alike texts once, the latest first."""
    texts: dict[str, list[str]] = {}
    for run in runs:
        said = [failure["error"] for failure in run["failures"]] + list(run["warnings"])
        for text in dict.fromkeys(said):
            texts.setdefault(text, []).append(run["started"])
    latest_first = sorted(texts.items(), key=lambda item: item[1][-1], reverse=True)
    for text, started in latest_first[:MOST_LISTED]:
        yield Told(text, len(started), parse_time(started[0]), parse_time(started[-1]))


def _listed(rows: Iterable[Sequence[object]]) -> Listed:
    kept = list(rows)
    return Listed(kept[:MOST_LISTED], max(0, len(kept) - MOST_LISTED))


def _alike(pairs: Iterable[tuple[str, str]]) -> Iterator[tuple[str, list[str]]]:
    found: dict[str, list[str]] = {}
    for text, name in pairs:
        found.setdefault(text, []).append(name)
    yield from found.items()


def _some(names: Sequence[str]) -> str:
    """Name a few, and count the others."""
    if len(names) <= _MOST_NAMED:
        return ", ".join(names)
    return f"{', '.join(names[: _MOST_NAMED - 1])} and {len(names) - _MOST_NAMED + 1:,} more"


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
    published = sum(feed.published for feed in feeds)
    complete = all(map(_has_all, totals))
    partly = bool([*chain.from_iterable(feed.problems() for feed in feeds)])
    hubs = chain.from_iterable(feed.compared.values() for feed in feeds)
    wrong = any(hub.wrong for hub in hubs)
    trouble = [*chain.from_iterable(feed.trouble() for feed in feeds)]
    headline = "; ".join(
        [_lacks(feeds, totals) or _is_well(published, complete=complete, doubtful=partly or wrong)]
        + ([", ".join(trouble)] if trouble else [])
    )
    state = WANTING if wrong or partly or trouble else WELL
    if complete:
        everywhere = f"{published:,} of {published:,} published readings are at every hub"
        return Verdict(state, headline, everywhere + (" that could be compared" if partly else ""))
    lacking = [*chain.from_iterable(map(_lacking, feeds))]
    return Verdict(
        state,
        headline,
        f"{counted(published, 'reading')} {'was' if published == 1 else 'were'} published",
        lacking,
    )


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
        head = f"{feed.found.title}, {feed.names[key]}: "
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
    return f" ({_some([f'{missing[name]:,} in {name}' for name in most])})"
