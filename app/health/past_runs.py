"""Reports of runs as the history has them: read once, here; what one does not have is empty. Pure.

A history is a file that others can write to, and a report in it may be anything that is JSON: each value
is of its field's type, or its report is none.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from datetime import datetime, timedelta
from functools import cache
from types import UnionType
from typing import Any, TypeVar, get_args, get_origin, get_type_hints

from app.base.instants import parse_time
from app.base.readings import JsonObject
from app.quality.lateness import DelayCount, Lateness
from app.run.report import Changed, Compared, Failure, HubReport, Quarantined

_Record = TypeVar("_Record")

# Over all that is counted; what is larger could not be reckoned with.
_MOST = 2**63
_UNREADABLE = (LookupError, TypeError, ValueError, AttributeError, OverflowError)


@dataclass(frozen=True, slots=True)
class PastRun:
    """What is kept of a run, see `app.run.report.Report`, or of those of `shards` that are told as one.

    `missing` are the numbers of those of them that have no run.
    """

    run: str | None
    started: datetime
    ok: bool
    took_s: float
    left: int
    slices: int
    forecast: timedelta | None
    hubs: Mapping[str, HubReport]
    failures: Sequence[Failure]
    warnings: Sequence[str]
    quarantined: Sequence[Quarantined]
    gaps: Sequence[Any]
    changed: Sequence[Changed]
    lateness: Lateness | None
    compared: Compared | None
    per_day: JsonObject | None
    interrupted: bool = False
    shards: int = 1
    missing: Sequence[int] = ()
    locations: int = 0
    api_calls: int = 0


@dataclass(frozen=True, slots=True)
class _HubPerDay:
    """What a hub gets in a day, as a report's `per_day` has it."""

    events: int
    bytes: int
    unit_share: float


def past_runs(reports: Iterable[JsonObject]) -> Iterator[PastRun]:
    """Read reports as they were kept; one that is none of a run is left out, as it proves nothing."""
    for report in reports:
        try:
            yield past_run(report)
        except ValueError:
            continue


def pace_of(runs: Iterable[PastRun]) -> timedelta | None:
    """Give how long runs took for a slice, all in all; None where there was none."""
    found = [(run.took_s, run.slices) for run in runs if run.slices > 0]
    slices = sum(slices for _, slices in found)
    return timedelta(seconds=sum(took_s for took_s, _ in found) / slices) if slices else None


def past_run(report: JsonObject) -> PastRun:
    """Read a report as it was kept. Raises ValueError where it is none."""
    try:
        return _past_run(report)
    except _UNREADABLE as error:
        raise ValueError(f"no report of a run: {error}") from error


def _past_run(report: JsonObject) -> PastRun:
    forecast_s = report.get("forecast_s")
    compared, lateness, per_day = report.get("compared"), report.get("lateness"), report.get("per_day")
    found = {
        "run": report.get("run"),
        "started": parse_time(report["started"]),
        "ok": report.get("ok", True),
        "took_s": report.get("took_s", 0.0),
        "left": report.get("left", 0),
        "slices": report.get("slices", 0),
        "forecast": None if forecast_s is None else timedelta(seconds=forecast_s),
        "hubs": {key: _hub(hub) for key, hub in report.get("hubs", {}).items()},
        "failures": _all(Failure, report.get("failures", ())),
        "warnings": report.get("warnings", ()),
        "quarantined": _all(Quarantined, report.get("quarantined", ())),
        "gaps": report.get("gaps", ()),
        "changed": [_changed(found) for found in report.get("changed", ())],
        "lateness": lateness and _lateness(lateness),
        "compared": compared and _read(Compared, compared),
        "per_day": per_day and _per_day(per_day),
        "interrupted": report.get("interrupted", False),
        "shards": report.get("shards", 1),
        "missing": report.get("missing", ()),
        "locations": report.get("locations", 0),
        "api_calls": report.get("api_calls", 0),
    }
    return _read(PastRun, found)


def _hub(found: JsonObject) -> HubReport:
    until = found.get("delivered_until")
    return _read(HubReport, {**found, "delivered_until": until and parse_time(until)})


def _changed(found: JsonObject) -> Changed:
    ids = tuple((before, after) for before, after in found.get("ids", ()))
    return _read(Changed, {"location": found["location"], "hour": parse_time(found["hour"]), "ids": ids})


def _lateness(found: JsonObject) -> Lateness:
    return _read(Lateness, {**found, "delays": _all(DelayCount, found.get("delays", ()))})


def _per_day(found: JsonObject) -> JsonObject:
    if not _is_a(found["api_calls"], int):
        raise TypeError("api_calls that are not a number")
    for hub in found["hubs"].values():
        _read(_HubPerDay, hub)
    return found


def _all(kind: type[_Record], found: Iterable[JsonObject]) -> tuple[_Record, ...]:
    return tuple(_read(kind, each) for each in found)


def _read(kind: type[_Record], found: JsonObject) -> _Record:
    """Give a record of what has its fields' names; what a later version adds is left out.

    Raises TypeError where a value is not of its field's type.
    """
    known: dict[str, Any] = {}
    for name, hint in _hints(kind).items():  # type: ignore[arg-type]  # every class is hashable
        if name in found:
            if not _is_a(found[name], hint):
                raise TypeError(f"{name} is not of the type {hint}")
            known[name] = found[name]
    return kind(**known)


@cache
def _hints(kind: type[Any]) -> Mapping[str, Any]:
    hints = get_type_hints(kind)
    return {each.name: hints[each.name] for each in fields(kind)}


def _is_a(value: Any, hint: Any) -> bool:
    """Whether a value is of a field's type; lists are what JSON has for tuples and sequences."""
    origin, members = get_origin(hint) or hint, get_args(hint)
    if origin is UnionType:
        return any(_is_a(value, member) for member in members)
    if hint is Any:
        return True
    if hint in (None, type(None)):
        return value is None
    if origin in (int, float):
        return _is_number(value, whole=origin is int)
    if origin in (tuple, Sequence):
        return isinstance(value, list | tuple) and all(_is_a(member, members[0]) for member in value)
    if origin is Mapping:
        return isinstance(value, Mapping) and all(_is_a(member, members[1]) for member in value.values())
    return isinstance(value, origin)


def _is_number(value: Any, *, whole: bool) -> bool:
    if isinstance(value, bool):
        return False
    return abs(value) < _MOST if isinstance(value, int) else isinstance(value, float) and not whole
