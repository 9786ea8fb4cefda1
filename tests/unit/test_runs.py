"""`runs`: what the history holds, a line a run."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from app.base.instants import MINUTE, format_time, utc_now
from app.state.json_file import JsonFileStore
from tests.commands import HUB, Call

STATE = "peoplecounterstate"


def keep(store: JsonFileStore, number: int, ago: timedelta, **fields: Any) -> dict[str, Any]:
    """Keep a report as a run of so long ago would have."""
    report = {
        "run": f"run{number}",
        "feed": "people_counter",
        "ok": True,
        "started": format_time(utc_now() - ago),
        "took_s": 4.2,
        "hubs": {HUB: {"readings": number}},
        **fields,
    }
    store.keep_report(STATE, report)
    return report


def to_the_minute(report: dict[str, Any]) -> str:
    return f"{report['started'][:10]} {report['started'][11:16]}"


def test_a_run_is_a_line_with_what_hubs_got_and_what_failed(call: Call, store: JsonFileStore) -> None:
    failure = {"location": "Mill & Lane", "hub": None, "error": "microshare: 500, a page"}
    first = keep(store, 1, 30 * MINUTE)
    second = keep(store, 2, 15 * MINUTE, ok=False, failures=[failure], left=1)

    shown = call("runs", "people-counter")

    assert shown.status == 0
    headline, one, two = shown.out.splitlines()
    assert headline == "people-counter: 2 runs, 1 failed (all the history holds)"
    assert one == f"{to_the_minute(first)}  ok         4 s  primary +1"
    assert two == (
        f"{to_the_minute(second)}  FAILED     4 s  primary +2; Mill & Lane failed "
        "(the API answers with 500); 1 location left for the next run"
    )


def test_the_newest_are_shown_and_not_more_than_asked_for(call: Call, store: JsonFileStore) -> None:
    for number in range(1, 5):
        keep(store, number, timedelta(days=5 - number))

    shown = call("runs", "people-counter", "--last", "2", "--json")
    all_of_them = call("runs", "people-counter", "--json")

    assert [report["run"] for report in shown.objects] == ["run3", "run4"]
    assert [report["run"] for report in all_of_them.objects] == ["run1", "run2", "run3", "run4"]


def test_without_a_feed_each_has_its_own(call: Call, store: JsonFileStore) -> None:
    keep(store, 1, MINUTE)

    shown = call("runs")

    assert "people-counter: 1 run, 0 failed" in shown.out
    assert "hourly-snapshot: the history holds no run of the last 30 days" in shown.out


def test_a_report_that_is_none_is_left_out(call: Call, store: JsonFileStore) -> None:
    keep(store, 1, 2 * MINUTE)
    keep(store, 2, MINUTE, hubs="none")

    shown = call("runs", "people-counter", "--json")

    assert [report["run"] for report in shown.objects] == ["run1"]


def test_a_word_that_is_no_feed_is_refused(call: Call) -> None:
    ended = call("runs", "nix")

    assert ended.status == 2
    assert "'nix' is not a feed" in ended.err


# --- in shards --------------------------------------------------------------------------------------


def keep_part(store: JsonFileStore, number: int, shard: int, ago: timedelta, **fields: Any) -> dict[str, Any]:
    """Keep a report of one of two shards, of the tick of a number."""
    part = {"shard": {"index": shard, "of": 2}, "tick": f"tick{number}"}
    return keep(store, 10 * number + shard, ago, **part, **fields)


def test_runs_of_shards_that_were_begun_together_are_a_line(call: Call, store: JsonFileStore) -> None:
    failure = {"location": "Mill & Lane", "hub": None, "error": "microshare: 500, a page"}
    first = keep_part(store, 1, 1, 31 * MINUTE)
    keep_part(store, 1, 2, 30 * MINUTE, took_s=9.0)
    second = keep_part(store, 2, 1, 16 * MINUTE, ok=False, failures=[failure])
    keep_part(store, 2, 2, 15 * MINUTE)

    shown = call("runs", "people-counter")

    headline, one, two = shown.out.splitlines()
    assert headline == "people-counter: 2 runs, 1 failed (all the history holds)"
    assert one == f"{to_the_minute(first)}  ok         9 s  primary +23"
    assert two == (
        f"{to_the_minute(second)}  FAILED     4 s  primary +43; Mill & Lane failed (the API answers with 500)"
    )


def test_each_shard_can_be_shown_below_them(call: Call, store: JsonFileStore) -> None:
    whole = keep(store, 1, 90 * MINUTE)
    tick = keep_part(store, 1, 2, 30 * MINUTE, took_s=9.0)

    shown = call("runs", "people-counter", "--shards")

    assert shown.out.splitlines()[1:] == [
        f"{to_the_minute(whole)}  ok         4 s  primary +1",
        f"{to_the_minute(tick)}  ok         9 s  no run of shard 1/2; primary +12",
        "       shard 1/2  no run",
        "       shard 2/2  ok         9 s  primary +12",
    ]


def test_as_many_ticks_are_shown_as_were_asked_for(call: Call, store: JsonFileStore) -> None:
    parts = [
        keep_part(store, number, shard, (60 - number) * MINUTE) for number in (1, 2, 3) for shard in (1, 2)
    ]

    one_each = call("runs", "people-counter", "--last", "2", "--json").objects
    by_shard = call("runs", "people-counter", "--last", "2", "--json", "--shards").objects

    assert [(report["tick"], report["shards"]) for report in one_each] == [("tick2", 2), ("tick3", 2)]
    assert [report["hubs"][HUB]["readings"] for report in one_each] == [43, 63]
    assert by_shard == parts[2:]


def test_runs_without_shards_are_printed_as_they_were_kept(call: Call, store: JsonFileStore) -> None:
    reports = [keep(store, number, (60 - number) * MINUTE, weather="fair") for number in (1, 2)]

    whole = call("runs", "people-counter")

    assert call("runs", "people-counter", "--json").objects == reports
    assert call("runs", "people-counter", "--json", "--shards").objects == reports
    assert call("runs", "people-counter", "--shards").out == whole.out
