"""Reports of runs as the history has them: read once, here; what one does not have is empty. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, fields
from datetime import datetime, timedelta
from typing import Any, TypeVar

from app.base.instants import parse_time
from app.base.readings import JsonObject
from app.quality.lateness import DelayCount, Lateness
from app.run.report import Changed, Compared, Failure, HubReport, Quarantined

_Record = TypeVar("_Record")


@dataclass(frozen=True, slots=True)
class PastRun:
    """What is kept of a run; see `app.run.report.Report`."""

    run: str | None
    started: datetime
    ok: bool
    left: int
    forecast: timedelta | None
    hubs: Mapping[str, HubReport]
    failures: Sequence[Failure]
    warnings: Sequence[str]
    quarantined: Sequence[Quarantined]
    changed: Sequence[Changed]
    lateness: Lateness | None
    compared: Compared | None
    per_day: JsonObject | None


def past_run(report: JsonObject) -> PastRun:
    """Read a report as it was kept."""
    forecast_s = report.get("forecast_s")
    compared, lateness = report.get("compared"), report.get("lateness")
    return PastRun(
        run=report.get("run"),
        started=parse_time(report["started"]),
        ok=report.get("ok", True),
        left=report.get("left", 0),
        forecast=None if forecast_s is None else timedelta(seconds=forecast_s),
        hubs={key: _hub(hub) for key, hub in report.get("hubs", {}).items()},
        failures=_all(Failure, report.get("failures", ())),
        warnings=report.get("warnings", ()),
        quarantined=_all(Quarantined, report.get("quarantined", ())),
        changed=[_changed(found) for found in report.get("changed", ())],
        lateness=lateness and _lateness(lateness),
        compared=compared and _read(Compared, compared),
        per_day=report.get("per_day"),
    )


def _hub(found: JsonObject) -> HubReport:
    until = found.get("delivered_until")
    return _read(HubReport, {**found, "delivered_until": until and parse_time(until)})


def _changed(found: JsonObject) -> Changed:
    ids = tuple((before, after) for before, after in found["ids"])
    return Changed(found["location"], parse_time(found["hour"]), ids)


def _lateness(found: JsonObject) -> Lateness:
    return _read(Lateness, {**found, "delays": _all(DelayCount, found.get("delays", ()))})


def _all(kind: type[_Record], found: Iterable[JsonObject]) -> tuple[_Record, ...]:
    return tuple(_read(kind, each) for each in found)


def _read(kind: type[_Record], found: JsonObject) -> _Record:
    """Give a record of what has its fields' names; what a later version adds is left out."""
    names = [each.name for each in fields(kind)]  # type: ignore[arg-type]  # it is a dataclass
    known: dict[str, Any] = {name: found[name] for name in names if name in found}
    return kind(**known)
