"""Runs of a feed's shards that were begun together, told as one run of the feed. Pure.

Each shard's run has a report of its own in the history. Readers see ticks: of a feed that is run without
shards each run is one, its report as it was kept.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from app.base.grouping import by_key
from app.base.instants import parse_time
from app.base.readings import JsonObject
from app.base.shards import WHOLE, Shard
from app.base.text import named
from app.health.past_runs import PastRun, past_run, past_runs
from app.settings.ncrontab import times_after, times_before

# Hosts' clocks differ: a run that begins so shortly before its time belongs to that.
_EARLY: Final = timedelta(seconds=30)
# A shard of so many of the newest ticks may be under way, or wait for its turn.
_UNDER_WAY: Final = 2
_ALWAYS = (datetime.min.replace(tzinfo=UTC), datetime.max.replace(tzinfo=UTC))

_SUMS = ("locations", "slices", "api_calls", "left", "left_s")
_SUMS_OF_HUB = ("events", "readings", "duplicates", "maybe_twice", "bytes", "quarantined")
_LISTS = ("quarantined", "quarantined_before", "gaps", "changed")
# What is of a hub or of the whole feed is said by each of the shards.
_SAID = ("warnings", "failures", "drift")


@dataclass(frozen=True, slots=True)
class Tick:
    """The reports of runs that were begun together, by shard; of the whole feed there is one.

    `missing` are the shards of which there is none. It `is_over` where these will not come any more, and
    were to come: a tick with a shard missing is then not ok.
    """

    parts: Mapping[Shard, JsonObject]
    is_over: bool = True

    @property
    def missing(self) -> Sequence[Shard]:
        of = next(iter(self.parts)).of
        return [shard for index in range(of) if (shard := Shard(index, of)) not in self.parts]

    @property
    def report(self) -> JsonObject:
        """Give one report of them all, in the form of a run's; that of the whole feed as it was kept."""
        return self.parts[WHOLE] if WHOLE in self.parts else _as_one(self)


def ticks(reports: Iterable[JsonObject], schedule: str) -> Sequence[Tick]:
    """Put the runs of each tick together, in the order in which ticks began. `reports` are in that order.

    Runs of one number of shards are of the same tick where their `tick` is the same. Where they have none
    they are of the same where one time of the schedule was the last before all of them. No tick has two
    runs of a shard: a run that was begun by hand, between two times, is a tick of its own. What is no
    report of a shard is left out.
    """
    firsts: dict[object, list[dict[Shard, JsonObject]]] = {}
    found: list[tuple[dict[Shard, JsonObject], bool]] = []
    periods = _Periods(schedule)
    for report in reports:
        try:
            shard, key = _place(report, periods)
        except (ValueError, TypeError, LookupError, OverflowError):
            continue
        alike = [] if key is None else firsts.setdefault(key, [])
        parts = next((parts for parts in alike if shard not in parts), None)
        if parts is None:
            parts = {}
            # A second one was begun by hand: nobody said that all shards are to run.
            found.append((parts, not alike))
            alike.append(parts)
        parts[shard] = report
    # The history may have been read from the midst of the first one on.
    last = len(found) - _UNDER_WAY
    return [
        Tick(dict(sorted(parts.items())), is_over=is_due and 0 < number < last)
        for number, (parts, is_due) in enumerate(found)
    ]


def past_ticks(reports: Iterable[JsonObject], schedule: str) -> Iterator[PastRun]:
    """Read reports as `past_runs` does, the runs of each tick as one."""
    return past_runs(tick.report for tick in ticks(reports, schedule))


def _place(report: JsonObject, periods: _Periods) -> tuple[Shard, object]:
    """Give which shard's it is, and what runs of its tick have in common; None where it stands alone.

    Raises ValueError, TypeError, LookupError or OverflowError where it is no report of a shard.
    """
    written = report.get("shard")
    if written is None:
        return WHOLE, None
    index, of = written["index"], written["of"]
    if type(index) is not int or type(of) is not int:
        raise TypeError("a shard that is not told in numbers")
    shard = Shard(index - 1, of)
    if shard.is_whole:
        return WHOLE, None
    began = past_run(report).started
    tick = report.get("tick")
    return shard, (shard.of, tick if isinstance(tick, str) else periods.begin_of(began))


class _Periods:
    """The times of a schedule, looked for once while what is asked for lies between two of them."""

    def __init__(self, schedule: str) -> None:
        self._schedule = schedule
        self._begin = self._end = _ALWAYS[0]

    def begin_of(self, instant: datetime) -> datetime:
        at = instant + _EARLY
        if not self._begin <= at < self._end:
            self._begin = next(times_before(self._schedule, at), _ALWAYS[0])
            self._end = next(times_after(self._schedule, at), _ALWAYS[1])
        return self._begin


# --- one report of several --------------------------------------------------------------------------


def _as_one(tick: Tick) -> JsonObject:
    parts, missing = list(tick.parts.values()), tick.missing
    newest = max(parts, key=_began)
    lacks = bool(missing) and tick.is_over
    warnings = [_not_run(missing)] if lacks else []
    joined = {name: _unlike(_members(parts, name)) for name in _SAID}
    return {
        **{name: value for name, value in newest.items() if name != "shard"},
        "ok": all(part.get("ok", True) for part in parts) and not lacks,
        "started": min(parts, key=_began)["started"],
        "until": min(_texts(parts, "until"), default=None),
        "took_s": max(_numbers(parts, "took_s"), default=0.0),
        **{name: sum(_numbers(parts, name)) for name in _SUMS},
        "left_longest_s": max(_numbers(parts, "left_longest_s"), default=0.0),
        "forecast_s": _forecast(parts),
        "failing_since": min(_texts(parts, "failing_since"), default=None),
        "lateness": _lateness([part["lateness"] for part in parts if part.get("lateness")]),
        "hubs": _hubs(parts),
        **{name: list(_members(parts, name)) for name in _LISTS},
        **joined,
        "warnings": [*warnings, *joined["warnings"]],
        "compared": _added([part["compared"] for part in parts if part.get("compared")]),
        "per_day": None if missing else _per_day([part.get("per_day") for part in parts]),
        "interrupted": any(part.get("interrupted", False) for part in parts),
        "shards": len(parts) + len(missing),
        "missing": [shard.number for shard in missing],
    }


def _not_run(missing: Sequence[Shard]) -> str:
    which = named([str(shard) for shard in missing])
    return (
        f"of the shards that were due together, the history has no run of {which}; look at the timer and the "
        "host that run it: it did not begin, did not end, or the run before it was still under way"
    )


def _began(report: JsonObject) -> datetime:
    return parse_time(report["started"])


def _numbers(parts: Sequence[JsonObject], name: str) -> Iterator[Any]:
    values = (part.get(name) for part in parts)
    return (value for value in values if isinstance(value, int | float) and not isinstance(value, bool))


def _texts(parts: Sequence[JsonObject], name: str) -> Iterator[str]:
    return (value for part in parts if isinstance(value := part.get(name), str) and value)


def _members(parts: Sequence[JsonObject], name: str) -> Iterator[Any]:
    return (member for part in parts if isinstance(found := part.get(name), list) for member in found)


def _unlike(members: Iterable[Any]) -> list[Any]:
    """Give each once, in the order in which they came; most are objects, which cannot be looked up."""
    return list({repr(member): member for member in members}.values())


def _added(found: Sequence[JsonObject]) -> JsonObject | None:
    names = dict.fromkeys(name for each in found for name in each)
    return {name: sum(_numbers(found, name)) for name in names} or None


def _forecast(parts: Sequence[JsonObject]) -> float | None:
    """Give how long runs need for what is left, side by side; None where one of them made no progress."""
    told = [part.get("forecast_s") for part in parts if part.get("left")]
    return None if None in told else max(_numbers(parts, "forecast_s"), default=None)


def _lateness(found: Sequence[JsonObject]) -> JsonObject | None:
    """Put latenesses together: of the medians the mean, each as often as it has readings, else the worst."""
    readings = sum(each["readings"] for each in found)
    if not readings:
        return None
    counts = by_key(
        (delay["up_to_s"], delay["readings"]) for each in found for delay in each.get("delays", ())
    )
    return {
        "readings": readings,
        "median_s": round(sum(each["median_s"] * each["readings"] for each in found) / readings, 3),
        "p95_s": max(each["p95_s"] for each in found),
        "max_s": max(each["max_s"] for each in found),
        "delays": [
            {"up_to_s": end, "readings": sum(counts[end])}
            for end in sorted(counts, key=lambda end: (end is None, end))
        ],
    }


def _hubs(parts: Sequence[JsonObject]) -> dict[str, JsonObject]:
    by_hub = by_key((key, hub) for part in parts for key, hub in part.get("hubs", {}).items())
    return {key: _hub(found) for key, found in by_hub.items()}


def _hub(found: Sequence[JsonObject]) -> JsonObject:
    return {
        **found[0],
        **{name: sum(_numbers(found, name)) for name in _SUMS_OF_HUB},
        "delivered_until": min(_texts(found, "delivered_until"), key=parse_time, default=None),
        "behind_s": max(_numbers(found, "behind_s"), default=None),
        "error": next(_texts(found, "error"), None),
        "paused": all(hub.get("paused", False) for hub in found),
    }


def _per_day(found: Sequence[JsonObject | None]) -> JsonObject | None:
    """Add up what parts say of a day; None where one says nothing, for the sum would be too small."""
    told = [each for each in found if each]
    if len(told) < len(found):
        return None
    by_hub = by_key((key, hub) for each in told for key, hub in each["hubs"].items())
    return {
        "api_calls": sum(each["api_calls"] for each in told),
        "hubs": {
            key: {name: round(sum(_numbers(hubs, name)), 6) for name in ("events", "bytes", "unit_share")}
            for key, hubs in by_hub.items()
        },
    }
