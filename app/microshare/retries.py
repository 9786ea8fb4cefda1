"""Passing trouble, and trying again: bounded by attempts here and by the run's time in `wait`."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from typing import TypeVar

from app.base.errors import SourceUnavailable
from app.base.text import counted

T = TypeVar("T")

_SECONDS = re.compile(r"[0-9]{1,9}(\.[0-9]+)?")
_AGE = re.compile(r"[0-9]{1,10}")


class PassingTrouble(SourceUnavailable):
    """One attempt failed in a way that may pass.

    `busy`: the API asks for fewer calls (429), of everybody; `pause` is how many seconds it wants.
    `timed_out`: the question was sent, the answer did not come in time.
    """

    def __init__(
        self, message: str, *, busy: bool = False, pause: float | None = None, timed_out: bool = False
    ) -> None:
        super().__init__(message)
        self.busy = busy
        self.pause = pause
        self.timed_out = timed_out


def with_retries(
    attempt: Callable[[], T],
    *,
    attempts: int,
    wait: Callable[[float], None],
    jitter: Callable[[], float],
    on_retry: Callable[[PassingTrouble, float], None],
) -> T:
    """Give what `attempt` gives, trying at most `attempts` times while it raises PassingTrouble.

    Waits the pause the API asks for, or else 1, 2, 4 ... s times 0.5 to 1.5 (`jitter` gives 0 to 1);
    `on_retry` hears of each wait before it begins. Raises SourceUnavailable at the end, and whatever
    `wait` raises.
    """
    made = 1
    while True:
        try:
            return attempt()
        except PassingTrouble as error:
            if made == attempts:
                raise SourceUnavailable(
                    f"microshare: {error}; given up after {counted(attempts, 'attempt')}, the next run tries "
                    "again"
                ) from error
            trouble = error
        pause = trouble.pause if trouble.pause is not None else 2 ** (made - 1) * (0.5 + jitter())
        on_retry(trouble, pause)
        wait(pause)
        made += 1


def http_date(text: str | None) -> datetime | None:
    """Read an HTTP date as UTC; None where there is none that can be read."""
    if not text:
        return None
    try:
        instant = parsedate_to_datetime(text)
        return instant.replace(tzinfo=UTC) if instant.tzinfo is None else instant.astimezone(UTC)
    except (ValueError, OverflowError):
        return None


def told_time(headers: Mapping[str, str]) -> datetime | None:
    """Give what time it was where an answer came from, as far as the answer tells; None where it does not.

    A cache gives an answer with the Date at which it was written and, as `Age`, how many seconds ago
    that was (RFC 9111, 5.1; one that is no number counts as none).
    """
    date = http_date(headers.get("Date"))
    age = headers.get("Age", "").strip()
    if date is None or not _AGE.fullmatch(age):
        return date
    try:
        return date + timedelta(seconds=int(age))
    except OverflowError:
        return None


def asked_pause(headers: Mapping[str, str], now: datetime) -> float | None:
    """Give the seconds that Retry-After asks to wait; None where it says nothing usable.

    A date counts from the answer's own Date, so that a wrong clock here changes nothing; `now` is
    for answers without one.
    """
    written = headers.get("Retry-After", "").strip()
    if _SECONDS.fullmatch(written):
        return float(written) or None
    until = http_date(written)
    if until is None:
        return None
    pause = (until - (http_date(headers.get("Date")) or now)).total_seconds()
    return pause if pause > 0 else None
