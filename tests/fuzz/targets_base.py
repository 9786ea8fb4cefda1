"""Readers of texts that stand in many places: JSON, instants, durations, dates of HTTP, schedules."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from itertools import islice
from typing import Any

from hypothesis import strategies as st
from requests.structures import CaseInsensitiveDict

from app.base import exact_json
from app.base.instants import floor_to, format_time, parse_time, read_duration, write_duration
from app.microshare.retries import asked_pause, told_time
from app.settings.ncrontab import schedule_problem, times_after, times_before
from tests.fuzz.generators import TIMES, changed_bytes, json_texts
from tests.fuzz.oracle import Broken, outcome
from tests.fuzz.target import Target

_NOW = datetime(2026, 3, 2, 10, tzinfo=UTC)
_SCHEDULES_SHOWN = 3


def check_json(case: bytes) -> None:
    """Read JSON exactly: what can be read can be written, and is the same when it is read again."""
    found = outcome(lambda: exact_json.loads(case), exact_json.NotJson)
    if found.error is not None:
        return
    outcome(lambda: exact_json.dumps_with_flaws(found.value)).result()
    text = outcome(lambda: exact_json.dumps(found.value, sort_keys=True), exact_json.NotJson)
    if text.value is not None:
        again = exact_json.loads(text.value)
        if again != found.value or exact_json.dumps(again, sort_keys=True) != text.value:
            raise Broken(f"{found.value!r} is written as {text.value!r}")


def check_instant(case: bytes) -> None:
    """Take a text for an instant, a duration, a date and an age of an answer, and a schedule."""
    text = case.decode("utf-8", "surrogatepass" if _has_surrogates(case) else "replace")
    instant = outcome(lambda: parse_time(text), ValueError).value
    if instant is not None:
        written = format_time(instant)
        if parse_time(written) != floor_to(instant, timedelta(milliseconds=1)):
            raise Broken(f"{text!r} is {instant}, and is written as {written}")
        text.encode()
    duration = outcome(lambda: read_duration(text), ValueError).value
    if duration is not None and read_duration(write_duration(duration)) != duration:
        raise Broken(f"{text!r} is {duration}, and is written as {write_duration(duration)}")
    _read_headers(text)
    if schedule_problem(text) is None:
        list(islice(times_after(text, _NOW), _SCHEDULES_SHOWN))
        list(islice(times_before(text, _NOW), _SCHEDULES_SHOWN))


def _read_headers(text: str) -> None:
    for date, age, later in ((text, "3", "7"), ("Mon, 02 Mar 2026 10:00:00 GMT", text, text)):
        headers = CaseInsensitiveDict({"Date": date, "Age": age, "Retry-After": later})
        told = outcome(lambda headers=headers: told_time(headers)).result()  # type: ignore[misc]
        if told is not None and told.utcoffset() != timedelta(0):
            raise Broken(f"{headers} tell {told}, which is not UTC")
        pause = outcome(lambda headers=headers: asked_pause(headers, _NOW)).result()  # type: ignore[misc]
        if pause is not None and not pause > 0:
            raise Broken(f"{headers} ask for a pause of {pause}")


def _has_surrogates(case: bytes) -> bool:
    try:
        case.decode("utf-8", "surrogatepass")
    except UnicodeDecodeError:
        return False
    return True


_ROWS: list[Any] = [
    {"a": [1, 0.10, -2.5e-3, "x\ud800", None], "b": {"c": True, "d": {}}, "é": "🏢"},
    [12345678901234567890, 1.0, "2026-03-02T10:00:00Z"],
]
_texts = st.sampled_from(
    [
        *(time for time in TIMES if isinstance(time, str)),
        *("90s", "15m", "6h", "2d", "0s", "9999999d", "15", "1.5h", "٣s"),
        *(
            "0 */15 * * * *",
            "0 0 9-17/2 1,15 jan-mar mon",
            "0 0 0 29 2 0",
            "0 0 0 31 2 *",
            "* * * * *",
            "%X%",
        ),
        *("Mon, 02 Mar 2026 10:00:00 GMT", "Monday, 02-Mar-26 10:00:00 GMT", "Mon Mar  2 10:00:00 2026"),
        *(
            "Fri, 31 Dec 9999 23:59:59 -2359",
            "01 Jan 0001 00:00:00 +2359",
            "120",
            "1.5",
            "9" * 400,
            "1e5",
            "-1",
        ),
    ]
).map(lambda text: text.encode("utf-8", "surrogatepass"))

TARGETS = (
    Target(
        "json",
        "JSON, exactly",
        json_texts(*_ROWS) | changed_bytes(st.just(json.dumps(_ROWS).encode())),
        check_json,
    ),
    Target("instant", "instants, durations, dates, schedules", _texts | changed_bytes(_texts), check_instant),
)
