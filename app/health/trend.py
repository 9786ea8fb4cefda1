"""What the reports of a feed's last runs say together. Pure."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from datetime import datetime, timedelta
from itertools import pairwise, takewhile
from typing import Any

from app.base.instants import format_time, parse_time
from app.base.readings import JsonObject
from app.settings.ncrontab import times_before

TREND = timedelta(hours=24)
# A day of reports is whole where its first one is not much later: some feeds run every hour or two.
_NEARLY = timedelta(hours=2)


def trend_json(
    reports: Sequence[JsonObject], schedule: str, now: datetime, longest_run: timedelta
) -> dict[str, Any] | None:
    """Sum up the runs of the last day; None where there was none in two days.

    `reports` are those of two days, in the order in which they began. `readings_before` are those of
    the day before, None where the history does not reach back so far.
    """
    if not reports:
        return None
    since = now - TREND
    began = [parse_time(report["started"]) for report in reports]
    split = bisect_left(began, since)
    today, before = reports[split:], reports[:split]
    reaches_back = began[0] <= since - TREND + _NEARLY
    return {
        "from": format_time(since),
        "runs": len(today),
        "failed": sum(not report.get("ok", True) for report in today),
        "missed": _missed(began, schedule, max(since, began[0]), now, longest_run),
        "readings": _readings(today),
        "readings_before": _readings(before) if reaches_back else None,
        "changed": sum(one["readings"] or 0 for report in today for one in report.get("changed", ())),
        "compared": _compared(today),
        "per_day": next((report["per_day"] for report in reversed(reports) if report.get("per_day")), None),
    }


def _missed(
    began: Sequence[datetime], schedule: str, since: datetime, now: datetime, longest_run: timedelta
) -> int:
    """Count the times of the schedule after which no run began before the next one."""
    due = [*takewhile(lambda at: at >= since, times_before(schedule, now - longest_run))][::-1]
    return sum(bisect_left(began, at) == bisect_left(began, end) for at, end in pairwise([*due, now]))


def _compared(reports: Sequence[JsonObject]) -> dict[str, int] | None:
    """Sum up the comparisons with the source, which are done some locations a run."""
    done = [report["compared"] for report in reports if report.get("compared")]
    return (
        {name: sum(one[name] for one in done) for name in ("locations", "hours", "differ")} if done else None
    )


def _readings(reports: Sequence[JsonObject]) -> dict[str, int]:
    readings: dict[str, int] = {}
    for report in reports:
        for key, hub in report.get("hubs", {}).items():
            readings[key] = readings.get(key, 0) + hub["readings"]
    return readings
