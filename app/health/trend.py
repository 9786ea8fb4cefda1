"""What a feed's last runs say together. Pure."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import astuple
from datetime import datetime, timedelta
from itertools import pairwise, takewhile

from app.base.grouping import by_key
from app.base.readings import JsonObject
from app.health.past_runs import PastRun
from app.health.records import Trend
from app.run.report import Compared
from app.settings.ncrontab import times_before

TREND = timedelta(hours=24)
# A day of runs is whole where its first one is not much later: some feeds run every hour or two.
_NEARLY = timedelta(hours=2)


def trend_of(runs: Sequence[PastRun], schedule: str, now: datetime, longest_run: timedelta) -> Trend | None:
    """Sum up the runs of the last day; None where there was none in two days.

    `runs` are those of two days, in the order in which they began.
    """
    if not runs:
        return None
    since = now - TREND
    began = [run.started for run in runs]
    split = bisect_left(began, since)
    today, before = runs[split:], runs[:split]
    reaches_back = began[0] <= since - TREND + _NEARLY
    return Trend(
        since=since,
        runs=len(today),
        failed=sum(not run.ok for run in today),
        missed=_missed(began, schedule, max(since, began[0]), now, longest_run),
        readings=_readings(today),
        readings_before=_readings(before) if reaches_back else None,
        changed=sum(len(one.ids) for run in today for one in run.changed),
        compared=compared_by(today),
        per_day=per_day_of(runs, since),
    )


def per_day_of(runs: Sequence[PastRun], since: datetime) -> JsonObject | None:
    """Give the mean of what runs say of a day, each for as long as it stands for: since the run before.

    One run by itself says little: it may have caught up, or had nothing to do. `runs` are in the order in
    which they began; those before `since` only say how long the next ones stand for.
    """
    said = [
        (run.per_day, (run.started - before.started).total_seconds())
        for before, run in pairwise(runs)
        if run.per_day and run.started >= since
    ]
    whole = sum(seconds for _, seconds in said)
    if whole <= 0:
        return None
    hubs = by_key((key, (hub, seconds)) for day, seconds in said for key, hub in day["hubs"].items())
    return {
        "api_calls": round(sum(day["api_calls"] * seconds for day, seconds in said) / whole),
        "hubs": {
            key: {
                name: round(sum(hub[name] * seconds for hub, seconds in found) / whole, digits)
                for name, digits in (("events", None), ("bytes", None), ("unit_share", 6))
            }
            for key, found in hubs.items()
        },
    }


def compared_by(runs: Sequence[PastRun]) -> Compared | None:
    """Sum up the comparisons with the source, which are done some locations a run; None if there is none."""
    done = [astuple(run.compared) for run in runs if run.compared]
    return Compared(*map(sum, zip(*done, strict=True))) if done else None


def _missed(
    began: Sequence[datetime], schedule: str, since: datetime, now: datetime, longest_run: timedelta
) -> int:
    """Count the times of the schedule after which no run began before the next one."""
    due = [*takewhile(lambda at: at >= since, times_before(schedule, now - longest_run))][::-1]
    return sum(bisect_left(began, at) == bisect_left(began, end) for at, end in pairwise([*due, now]))


def _readings(runs: Sequence[PastRun]) -> dict[str, int]:
    by_hub = by_key((key, hub.readings) for run in runs for key, hub in run.hubs.items())
    return {key: sum(readings) for key, readings in by_hub.items()}
