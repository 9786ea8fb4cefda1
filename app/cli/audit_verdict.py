"""What `audit` says in its last line of a feed: a sentence that claims no more than was compared. Pure."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass

from app.audit.findings import BEFORE_START, RETENTION, HubAudit
from app.audit.summary import (
    DEALT_WITH,
    MISSING,
    OTHER_CONTENT,
    SENT,
    TO_COME,
    CauseCount,
    Summary,
    column_of,
)
from app.base.grouping import by_key
from app.base.instants import HOUR, MILLISECOND, floor_to
from app.base.readings import Slice
from app.base.text import IN_A_SENTENCE, counted, named, span

# What readings are behind their number, where that is not the cause itself; those alike are added up.
_SAID = {
    RETENTION: "gone by retention",
    OTHER_CONTENT: "with other content",
    TO_COME: "to come",
    BEFORE_START: "from before the start",
    DEALT_WITH: "dealt with",
    SENT: "sent now",
}


@dataclass(frozen=True, slots=True)
class Result:
    """One feed as it was found: an audit for each hub, all findings by cause, and the hubs' names by key."""

    feed: str
    audits: Sequence[HubAudit]
    summary: Summary
    names: Mapping[str, str]

    @property
    def window(self) -> Slice:
        return self.audits[0].window

    @property
    def locations(self) -> int:
        return self.audits[0].locations

    @property
    def failures(self) -> Mapping[str, str]:
        """The locations that could not be asked for, and why: the same for all hubs."""
        return self.audits[0].failures

    @property
    def compared(self) -> Sequence[HubAudit]:
        """The hubs that could be read."""
        return [audit for audit in self.audits if audit.error is None]

    @property
    def published(self) -> int:
        return max((audit.published for audit in self.audits), default=0)

    @property
    def has_readings(self) -> bool:
        """Whether there was anything to compare."""
        return any(audit.compared for audit in self.compared)

    @property
    def there(self) -> int:
        """How many of the published readings every hub that could be read has as they are."""
        return self.published - self.summary.incomplete

    def at(self, hubs: Collection[str]) -> str:
        """Say at which of the hubs (keys) something is."""
        if len(hubs) == 1:
            return self._named(hubs)[0]
        count = len(self.audits)
        if len(hubs) == count:
            return "both hubs" if count == 2 else f"all {count} hubs"
        if len(hubs) == 2:
            return " and ".join(self._named(hubs))
        return f"{len(hubs)} of {count} hubs"

    def where(self, each: CauseCount) -> str:
        """Say at which hubs readings of a cause are, and how many where not all of them are at each."""
        if each.is_at_each_hub:
            return self.at(each.hubs)
        if len(each.hubs) > IN_A_SENTENCE:
            return f"{len(each.hubs)} of {len(self.audits)} hubs, not all at each"
        return ", ".join(f"{self.names[key]} {each.hubs[key]:,}" for key in self.names if key in each.hubs)

    def _named(self, hubs: Collection[str]) -> list[str]:
        return [name for key, name in self.names.items() if key in hubs]


def verdict(result: Result) -> str:
    """Say whether something is wrong, and of what that is said."""
    if not result.compared:
        return f"nothing could be compared: {_unread(result)} could not be read"
    if result.summary.wrong:
        return f"something is wrong: {', '.join(_parts(result))}{_sent(result)}{_left_out(result)}"
    if not result.has_readings:
        return _nothing(result)
    where = " in what could be compared" if _is_in_part(result) else ""
    # Of readings that nobody has promised yet, or ever, nothing is proved.
    what = "wrong" if result.there else "due"
    return f"nothing is {what}{where}: {_said_of_all(result)}{_silent_hours(result)}{_left_out(result)}"


def is_all_well(result: Result) -> bool:
    """Whether all was compared and is as it should be, and there was something to compare."""
    return not (result.summary.wrong or _is_in_part(result)) and result.has_readings and result.there > 0


def _is_in_part(result: Result) -> bool:
    left_out = result.failures or len(result.compared) < len(result.audits)
    return bool(left_out) or any(audit.warnings for audit in result.audits)


def _nothing(result: Result) -> str:
    if not result.locations:
        return "nothing to compare: no location is forwarded"
    if len(result.failures) == result.locations:
        return "nothing could be compared: no location could be asked for"
    return f"nothing to compare: no readings in this window{_left_out(result)}"


def _parts(result: Result) -> Iterator[str]:
    """Give what is wrong, the worst first: how many readings, what of them, and at which hubs."""
    alike = by_key((_said(each.cause), each) for each in result.summary.wrong)
    for number, (what, causes) in enumerate(alike.items()):
        readings = sum(each.readings for each in causes)
        hubs = {key for each in causes for key in each.hubs}
        at_each = all(set(each.hubs) == hubs and each.is_at_each_hub for each in causes)
        count = f"{readings:,}" if number else counted(readings, "reading")
        yield f"{count} {what} at {result.at(hubs) if at_each else 'some hubs'}"


def _sent(result: Result) -> str:
    return "".join(f"; {each.readings:,} {SENT}" for each in result.summary.causes if each.cause == SENT)


def _said(cause: str) -> str:
    return _SAID.get(cause, MISSING if column_of(cause) == MISSING else cause)


def _said_of_all(result: Result) -> str:
    """Say how many of the published readings the hubs have, and what of the others."""
    there, published, causes = result.there, result.published, result.summary.causes
    others = [f"{each.readings:,} {_said(each.cause)}" for each in causes]
    if not there:
        return ", ".join([f"{counted(causes[0].readings, 'reading')} {_said(causes[0].cause)}", *others[1:]])
    whole = f"all {published:,} readings are" if published > 1 else "the only reading is"
    part = f"{there:,} of {published:,} readings {'is' if there == 1 else 'are'}"
    hubs = result.at([audit.hub for audit in result.compared])
    delay = max(audit.max_delay_s or 0.0 for audit in result.compared)
    after = f"at most {span(delay)} after {'its' if there == 1 else 'their'} time"
    return ", ".join([f"{whole if there == published else part} at {hubs}", after, *others])


def _silent_hours(result: Result) -> str:
    """Say in how many of the window's whole hours nothing was published, where there are such."""
    window = result.window
    first, end = floor_to(window.start + HOUR - MILLISECOND, HOUR), floor_to(window.end, HOUR)
    whole = max(0, (end - first) // HOUR)
    spoken = {hour.hour for audit in result.compared for hour in audit.hours if first <= hour.hour < end}
    silent = whole - len(spoken)
    return f"; no readings in {silent:,} of {counted(whole, 'hour')}" if silent else ""


def _left_out(result: Result) -> str:
    left = [_unread(result)] if len(result.compared) < len(result.audits) else []
    if result.failures:
        left.append(named(sorted(result.failures)))
    return f"; not compared: {', '.join(left)}" if left else ""


def _unread(result: Result) -> str:
    hubs = [result.names[audit.hub] for audit in result.audits if audit.error is not None]
    return f"hub{'' if len(hubs) == 1 else 's'} {named(hubs)}"
