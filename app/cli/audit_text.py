"""What `audit` shows people of a feed: readings by name, counts by hub, causes, what to do, the verdict."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from itertools import islice
from typing import TYPE_CHECKING

from app.audit.findings import BEFORE_START, HubAudit
from app.audit.summary import (
    COLUMNS,
    DEALT_WITH,
    DELIVERED,
    MORE_THAN_ONCE,
    NOT_PUBLISHED,
    OTHER_CONTENT,
    OVERDUE,
    SENT,
    STUCK,
    TO_COME,
    CauseCount,
    NamedReading,
    by_column,
)
from app.base.causes import advice, short_cause, without_quotes
from app.base.grouping import by_key
from app.base.text import counted, dashed, minute, moment, named, zone_name
from app.cli.audit_verdict import Result, is_all_well, verdict
from app.cli.output import Output, hanging, text
from app.cli.tables import Column, FittedTable, table

if TYPE_CHECKING:
    from rich.text import Text

# Of each cause so many readings are named unless all are wanted: enough to look one up at the source.
EXAMPLES = 3
# Rows of a long list that are laid out at once.
_AT_ONCE = 500
# What a cause means, and what to do.
_MEANINGS = {
    "lost": "the hub acknowledged it and does not hold it; --repair sends it",
    "unexplained": "cause no longer known; --repair sends it",
    "late": "published after the look-back; --repair sends it, a longer look_back finds it",
    "missed": "found by the daily comparison with the source; --repair sends it",
    "saturated": "more of one millisecond than the view gave; --repair sends what it gives now",
    "retention": "older than what the hub still holds, so it cannot be told; choose a later --from",
    "left behind": "left behind by `state skip` or `state reset`; --repair would send it all the same",
    "quarantined": "set aside, it could not be forwarded; `quarantine list` says why",
    OTHER_CONTENT: "the hub has it with other content than the source; tell its consumers",
    OVERDUE: "no run brought it in time, though nothing failed; `status` says why",
    NOT_PUBLISHED: "the hub has it, and the source does not show it; tell its consumers",
    MORE_THAN_ONCE: "the hub has it more than once; tell its consumers",
    TO_COME: "the next run brings it",
    BEFORE_START: "from before the hub's start, never promised; `backfill` would send it",
    DEALT_WITH: "it can never be forwarded, and was taken out of quarantine",
    SENT: "sent by this repair",
}
# What fails explains these, a list of readings does not.
_NOT_NAMED = (STUCK, OVERDUE)


def show_feed(result: Result, out: Output, *, every: Iterable[Iterable[NamedReading]] | None = None) -> None:
    """Show what was found but for the verdict: by hub, by cause, and a few readings by name.

    With `every`, which gives readings a cause at a time, all by name, and counts by location.
    """
    window = f"{minute(result.window.start)} to {minute(result.window.end)} {zone_name()}"
    of = f"{counted(result.locations, 'location')}, {counted(len(result.audits), 'hub')}"
    out.show(text(f"{dashed(result.feed)}, {window}, {of}", "bold"), "")
    if every is not None:
        _show_every_reading(result, every, out)
    if result.has_readings:
        out.show(_by_hub(result), "")
    # What is harmless stands in the table of hubs, and in the verdict.
    if result.summary.wrong or every is not None:
        _show_causes(result, out, examples=every is None)
    _show_what_was_not_compared(result, out)


def show_repaired(result: Result, out: Output) -> None:
    """Show what was put right, and what is left and why."""
    out.show(text(f"{dashed(result.feed)}, after the repair", "bold"), "")
    _show_causes(result, out, examples=False)


def show_verdicts(results: Sequence[Result], out: Output) -> None:
    """Show the verdict of each feed, by its name where they differ."""
    by_verdict = by_key((verdict(result), result) for result in results)
    for said, of in by_verdict.items():
        head = ", ".join(dashed(result.feed) for result in of)
        out.show(text(said if len(by_verdict) == 1 else f"{head}: {said}", _style(of[0])))


def _style(result: Result) -> str:
    if not all(audit.ok for audit in result.audits):
        return "red"
    return "green" if is_all_well(result) else "yellow"


# --- parts ------------------------------------------------------------------------------------------


def _show_every_reading(result: Result, every: Iterable[Iterable[NamedReading]], out: Output) -> None:
    for found in every:
        left = iter(found)
        while some := list(islice(left, _AT_ONCE)):
            out.show(_named(some, result), "")
    if result.has_readings:
        out.show(_by_place(result), "")


def _show_causes(result: Result, out: Output, *, examples: bool) -> None:
    """Show how many readings there are of each cause, the worst first, what that means, and some of them."""
    causes = result.summary.causes
    if not causes:
        return
    out.show(_by_cause(result), "")
    width = max(len(each.cause) for each in causes)
    for each in causes:
        out.show(hanging(each.cause, _meaning(each, result), width=width))
        if examples and not each.is_harmless and each.cause not in _NOT_NAMED:
            for line in _examples(each, result):
                out.show(hanging("", line, width=width))
    if result.summary.mixed:
        count = counted(result.summary.mixed, "reading")
        out.show(
            "", f"{count} with several causes count{'s' if result.summary.mixed == 1 else ''} under the worst"
        )
    out.show("")


def _examples(each: CauseCount, result: Result) -> Iterator[str]:
    for reading in each.examples:
        finding = reading.finding
        time = "no time" if finding.written is None else minute(finding.time)
        # Where all are at the same hubs, the table says at which.
        at = "" if each.is_at_each_hub else f", at {result.at(reading.hubs)}"
        yield f"{finding.location}, {time}, {finding.id}{at}"
    if more := each.readings - len(each.examples):
        yield f"and {more:,} more; --all names each"


def _named(readings: Sequence[NamedReading], result: Result) -> FittedTable:
    columns = [
        Column("cause", key=True),
        Column("location", key=True),
        Column("time (UTC)"),
        Column("id", key=True, whole=True),
        Column("at", key=True),
        Column("there", optional=True),
    ]
    return table(columns, [_named_row(reading, result) for reading in readings])


def _named_row(reading: NamedReading, result: Result) -> list[object]:
    finding = reading.finding
    time = None if finding.written is None else finding.time
    there = {MORE_THAN_ONCE: f"{finding.times} times", OTHER_CONTENT: f"as {finding.held}"}
    hubs = result.at(reading.hubs)
    return [reading.cause, finding.location, time, finding.id, hubs, there.get(reading.cause)]


def _by_hub(result: Result) -> FittedTable:
    rows = [
        (
            [result.names[audit.hub]],
            audit.published,
            result.summary.by_hub.get(audit.hub, {}),
        )
        for audit in result.compared
    ]
    return _counts(["hub"], rows)


def _by_place(result: Result) -> FittedTable:
    places = [
        (name, result.names[audit.hub], audit.hub, sum(published))
        for audit in result.compared
        for name, published in by_key((hour.location, hour.published) for hour in audit.hours).items()
    ]
    return _counts(
        ["location", "hub"],
        [
            ([name, hub], published, result.summary.by_place.get((key, name), {}))
            for name, hub, key, published in sorted(places)
        ],
    )


def _counts(
    heads: Sequence[str], rows: Sequence[tuple[Sequence[str], int, Mapping[str, int]]]
) -> FittedTable:
    """Lay out what is published, and what that adds up to; columns without any number are left out."""
    found = [(keys, published, by_column(published, causes)) for keys, published, causes in rows]
    shown = [
        column for column in COLUMNS if column == DELIVERED or any(counts[column] for *_, counts in found)
    ]
    columns = [
        *(Column(head, key=True) for head in heads),
        *(Column(head, number=True) for head in ("published", *shown)),
    ]
    return table(
        columns,
        [[*keys, published, *(counts[column] for column in shown)] for keys, published, counts in found],
    )


def _by_cause(result: Result) -> FittedTable:
    columns = [
        Column("cause", key=True),
        Column("readings", number=True),
        Column("locations", key=True),
        Column("hubs", key=True),
    ]
    causes = result.summary.causes
    rows: list[list[object]] = [
        [_styled(each), each.readings, _locations(each.locations, result), result.where(each)]
        for each in causes
    ]
    places = {name for each in causes for name in each.locations}
    hubs = {key for each in causes for key in each.hubs}
    total = ["total", result.summary.readings, _locations(places, result), result.at(hubs)]
    return table(columns, [*rows, total])


def _styled(each: CauseCount) -> Text:
    return text(each.cause, "" if each.is_harmless else "red")


def _locations(names: Collection[str], result: Result) -> str:
    if len(names) == 1:
        return next(iter(names))
    of = result.locations - len(result.failures)
    return f"all {of:,}" if len(names) == of else f"{len(names):,} of {of:,}"


def _meaning(each: CauseCount, result: Result) -> str:
    if each.cause == STUCK:
        return "; ".join(_why_stuck(result))
    return _MEANINGS.get(each.cause, "a gap; `status` says what to do")


def _why_stuck(result: Result) -> Iterator[str]:
    """Say which hubs and locations fail, and with what, in a few words."""
    failing = [(audit, name, why) for audit in result.audits for name, why in sorted(audit.stuck.items())]
    at_hubs = by_key(
        ((audit.hub, short_cause(why.error)), name) for audit, name, why in failing if why.where == "hub"
    )
    for (hub, cause), names in at_hubs.items():
        where = names[0] if len(names) == 1 else counted(len(names), "location")
        yield f"hub {result.names[hub]} failed at {where}: {cause}"
    at_source = by_key((short_cause(why.error), name) for _, name, why in failing if why.where == "location")
    for cause, names in at_source.items():
        yield f"{named(list(dict.fromkeys(names)))} failed: {cause}"


def _show_what_was_not_compared(result: Result, out: Output) -> None:
    said = [*(text(one, "red") for one in _not_compared(result)), *map(text, _notes(result))]
    said += (text(warning, "yellow") for warning in _warnings(result.audits))
    if said:
        out.show(*said, "")


def _not_compared(result: Result) -> Iterator[str]:
    for audit in result.audits:
        if audit.error is not None:
            yield f"hub {result.names[audit.hub]} could not be read: {_in_short(audit.error)}"
    for cause, names in by_key((short_cause(why), name) for name, why in result.failures.items()).items():
        yield f"{named(sorted(names))} could not be compared: {cause}; see `check`"


def _notes(result: Result) -> Iterator[str]:
    silent = [set(audit.without_readings) for audit in result.compared]
    if result.has_readings and (names := sorted(set.intersection(*silent))):
        yield f"no readings of {named(names)} in this window"
    for audit in result.compared:
        if audit.readable_from is not None:
            since = moment(audit.readable_from)
            yield f"hub {result.names[audit.hub]} no longer holds all that came before {since}"


def _in_short(error: str) -> str:
    do = advice(error)
    return short_cause(error) if do is None else f"{short_cause(error)}; {do}"


def _warnings(audits: Iterable[HubAudit]) -> Iterable[str]:
    return dict.fromkeys(without_quotes(warning) for audit in audits for warning in audit.warnings)
