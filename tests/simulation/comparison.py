"""What must hold of the daily comparison with the source, judged from what is saved of a location."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta

from app.base.checkpoints import Gap, LocationState
from app.base.instants import hour_of
from app.base.readings import Slice
from tests.simulation.oracle import Oracle, Sender
from tests.simulation.source import DAY, HOUR, Building, Version

_SEALED_FOR = timedelta(hours=48)
_MISSED = "missed"


def judge_seals(oracle: Oracle, building: Building, saved: LocationState, before: LocationState) -> None:
    """Every whole hour that left the reach has its seal, one that can be compared where nothing is odd."""
    is_odd = any(version.flawed or version.stray for version in building.versions)
    for hub, checkpoint in saved.checkpoints.items():
        earlier = before.checkpoints.get(hub)
        if earlier is None or checkpoint.known_from == earlier.known_from:
            continue
        seals = saved.seals.get(hub, {})
        begin = hour_of(oracle.begins[building.name, hub] - timedelta(milliseconds=1)) + HOUR
        hour = max(begin, hour_of(checkpoint.known_from - _SEALED_FOR))
        while hour < hour_of(checkpoint.known_from):
            oracle.require(
                hour in seals and (is_odd or seals[hour] is not None),
                "an hour that leaves the reach can be compared",
                building.name,
                hub,
                hour,
            )
            hour += HOUR


def judge_comparison(
    oracle: Oracle, building: Building, saved: LocationState, before: LocationState, run: Sender
) -> None:
    """A comparison finds what a hub lacks of the hours that are sealed, and that only.

    An answer that is stale twice shows a difference that is none.
    """
    new = [gap for gap in saved.gaps if gap not in before.gaps and gap.cause == _MISSED]
    for hub in saved.checkpoints:
        for gap in new:
            if not gap.hubs or hub in gap.hubs:
                _judge_told(oracle, building, hub, gap, before)
                is_true = run.had_stale_answers or _lacks_any(oracle, building, hub, gap)
                oracle.require(
                    is_true, "no difference is told where a hub lacks nothing", building.name, hub, gap
                )
    if saved.compared == before.compared:
        return
    oracle.counts["comparisons"] += 1
    for hub, seals in saved.seals.items():
        known = [
            hour for hour, seal in seals.items() if seal is not None and hour in before.seals.get(hub, {})
        ]
        untold = [
            version
            for version in _lacking(oracle, building, hub)
            # One without a time belongs to no hour that could be compared.
            if hour_of(version.time) in known
            and not version.flawed
            and not (version.replaces and oracle.has(hub, version.replaces.serial))
            and version.shown <= run.started < version.replaced
            and not _is_told(saved.gaps, hub, hour_of(version.time))
        ]
        oracle.require(not untold, "a comparison finds what a hub lacks", hub, *untold[:3])


def judge_daily(oracle: Oracle, locations: Mapping[str, LocationState], until: datetime) -> None:
    """After a run without faults every location with hours to compare was compared within a day."""
    for name, location in locations.items():
        oldest = min((min(seals) for seals in location.seals.values() if seals), default=until)
        if until - oldest >= 2 * DAY:
            compared = location.compared
            oracle.require(
                compared is not None and abs(until - compared) < DAY,
                "a location is compared once a day",
                name,
                compared,
                until,
            )


def _judge_told(oracle: Oracle, building: Building, hub: str, gap: Gap, before: LocationState) -> None:
    oracle.counts["differences"] += 1
    hour = gap.window.start
    while hour < gap.window.end:
        oracle.require(
            not _is_told(before.gaps, hub, hour), "a difference is told once", building.name, hub, hour
        )
        hour += HOUR


def _lacks_any(oracle: Oracle, building: Building, hub: str, gap: Gap) -> bool:
    """Whether a reading of the gap is not in the state of a hub, as far as is sure.

    One that is in quarantine may not be: it is set aside before its id is saved, and an answer of the next
    run that is stale may lack it.
    """
    shown = oracle.shown_of(building.name)
    return any(version.time in gap.window and version.serial not in oracle.settled[hub] for version in shown)


def _lacking(oracle: Oracle, building: Building, hub: str) -> list[Version]:
    """Give what the source has shown of a building and a hub has not got, flawed or not."""
    return [version for version in oracle.shown_of(building.name) if not oracle.has(hub, version.serial)]


def _is_told(gaps: tuple[Gap, ...], hub: str, hour: datetime) -> bool:
    window = Slice(hour, hour + HOUR)
    return any(
        gap.window.start < window.end and window.start < gap.window.end and (not gap.hubs or hub in gap.hubs)
        for gap in gaps
    )
