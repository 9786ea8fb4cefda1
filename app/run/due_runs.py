"""Which runs of a schedule should have ended by now, and how far they should have brought every hub. Pure."""

from __future__ import annotations

from datetime import datetime, timedelta
from itertools import islice

from app.settings.ncrontab import times_before

# One run that does not come, or brings a position no further, is forgiven: the next one catches up.
RUNS_FORGIVEN = 2


def expected_position(schedule: str, now: datetime, longest_run: timedelta) -> datetime | None:
    """Give when the last but one of the runs that should have ended was due; None where so many never were.

    What was due later than `longest_run` ago may still be under way.
    """
    due = list(islice(times_before(schedule, now - longest_run), RUNS_FORGIVEN))
    return due[-1] if len(due) == RUNS_FORGIVEN else None
