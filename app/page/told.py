"""What is wrong with a feed, and what its runs said: each trouble once, with how often and when. Pure."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from app.base.causes import advice, said_and_advised_briefly, short_cause
from app.base.grouping import by_key
from app.base.text import joined, named
from app.health.past_runs import PastRun
from app.health.records import Kind, Trouble
from app.health.troubles import of_warning
from app.page.gathered import GatheredFeed
from app.run.report import is_note

# What the key of a warning begins with; that of a failure, with its hub.
_WARNING = "warning"


@dataclass(frozen=True, slots=True)
class TroubleRow:
    """One trouble: what it is in our words, what to do, and the newest error or warning as it was.

    `runs` counts those of the window that said so, from `first` to `last`; none for what only the state
    tells, where `first` is since when it lasts. It is `grave` where it keeps readings from their hubs.
    """

    said: str
    do: str | None
    technical: str | None
    grave: bool
    runs: int = 0
    first: datetime | None = None
    last: datetime | None = None


def tell(found: GatheredFeed) -> tuple[list[TroubleRow], list[TroubleRow]]:
    """Give what is wrong now, the gravest first, then what runs of the window said and is over."""
    earlier = _by_runs(found)
    now: list[TroubleRow] = []
    for trouble, behind in _with_consequences(found.health.troubles):
        # Gaps and quarantine have lists of their own.
        if trouble.kind in (Kind.GAP, Kind.QUARANTINE) and not trouble.grave:
            continue
        told = _now(trouble, found, earlier.pop(_key_of(trouble, found), None))
        hubs = joined([found.hubs.get(key, key) for key in behind])
        so = f"; so {hubs} {'is' if len(behind) == 1 else 'are'} behind" if behind else ""
        now.append(replace(told, said=f"{told.said}{so}"))
    return now, sorted(earlier.values(), key=_latest, reverse=True)


def _latest(told: TroubleRow) -> float:
    return told.last.timestamp() if told.last else 0.0


def _with_consequences(troubles: Sequence[Trouble]) -> Iterator[tuple[Trouble, list[str]]]:
    """Give each trouble with the hubs (keys) that are behind for no other reason."""
    explained: dict[int, list[str]] = {}
    left = []
    for number, trouble in enumerate(troubles):
        of_it = next((at for at, cause in enumerate(troubles) if _explains(cause, trouble)), None)
        if of_it is not None and trouble.hub is not None:
            explained.setdefault(of_it, []).append(trouble.hub)
        else:
            left.append(number)
    return ((troubles[number], explained.get(number, [])) for number in left)


def _explains(cause: Trouble, trouble: Trouble) -> bool:
    """Whether a hub is behind because of a cause: there is no more to be said of it then."""
    if trouble.kind is not Kind.BEHIND or not cause.grave:
        return False
    if cause.kind in (Kind.HUB, Kind.LOCATION):
        return cause.hub in (None, trouble.hub) and {*trouble.locations} <= {*cause.locations}
    return cause.kind in (Kind.STOPPED, Kind.RUN)


# --- now --------------------------------------------------------------------------------------------


def _now(trouble: Trouble, found: GatheredFeed, said_by_runs: TroubleRow | None) -> TroubleRow:
    whole = trouble.whole
    if trouble.cause is not None:
        said = _failed(trouble.hub, trouble.locations, trouble.cause, found)
        do, technical = advice(whole), whole
    else:
        said, do, technical = (
            _warned(whole) if trouble.kind is Kind.WARNING else (trouble.said, trouble.do, "")
        )
        where = named(trouble.locations)
        said = said if where in said else f"{where}: {said}"
    told = TroubleRow(said, do, technical or None, trouble.grave, first=trouble.since)
    if said_by_runs is None:
        return told
    since = trouble.since or said_by_runs.first
    return replace(told, runs=said_by_runs.runs, first=since, last=said_by_runs.last)


def _key_of(trouble: Trouble, found: GatheredFeed) -> tuple[object, ...]:
    if trouble.cause is not None:
        return trouble.hub, trouble.hub is None and bool(trouble.locations), trouble.cause
    return _WARNING, of_warning(trouble.whole, _names(found))[1]


# --- what runs said ---------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Said:
    """A failure or a warning of one run."""

    run: PastRun
    text: str
    location: str | None


def _by_runs(found: GatheredFeed) -> dict[tuple[object, ...], TroubleRow]:
    said = by_key(_all_said(found.runs, _names(found)))
    return {key: _told(key, of_runs, found) for key, of_runs in said.items()}


def _all_said(runs: Sequence[PastRun], names: Collection[str]) -> Iterator[tuple[tuple[object, ...], _Said]]:
    for run in runs:
        for failure in run.failures:
            of_location = failure.hub is None and failure.location is not None
            key = failure.hub, of_location, short_cause(failure.error)
            yield key, _Said(run, failure.error, failure.location)
        for text in run.warnings:
            if is_note(text):
                continue
            location, alike = of_warning(text, names)
            yield (_WARNING, alike), _Said(run, text, location)


def _told(key: tuple[object, ...], said: Sequence[_Said], found: GatheredFeed) -> TroubleRow:
    runs = {id(each.run): each.run.started for each in said}
    newest, when = said[-1].text, (min(runs.values()), max(runs.values()))
    locations = list(dict.fromkeys(each.location for each in said if each.location))
    if key[0] == _WARNING:
        text, do, technical = _warned(newest)
        if len(locations) > 1:
            text = f"{named(locations)}: {text.partition(': ')[2]}"
        return TroubleRow(text, do, technical or None, False, len(runs), *when)
    hub, of_location, cause = key
    return TroubleRow(
        _failed(hub if isinstance(hub, str) else None, locations if of_location else (), str(cause), found),
        advice(newest),
        newest,
        True,
        len(runs),
        *when,
    )


def _warned(text: str) -> tuple[str, str | None, str]:
    """Give what a warning says, what to do, and the whole of it where it quotes an error."""
    said, do = said_and_advised_briefly(text)
    return said, do, "" if text.startswith(said) else text


def _failed(hub: str | None, locations: Sequence[str], cause: str, found: GatheredFeed) -> str:
    """Say where something failed, and why."""
    if hub is None:
        where = named(locations)
        return f"{where}: {cause}" if where else cause
    asked = sum(location.asked for location in found.health.locations)
    some = f" ({named(locations)})" if 0 < len(locations) < asked else ""
    return f"hub {found.hubs.get(hub, hub)}: {cause}{some}"


def _names(found: GatheredFeed) -> frozenset[str]:
    return frozenset(location.name for location in found.health.locations)
