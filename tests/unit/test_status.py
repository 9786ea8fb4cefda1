"""What `status` makes of what is kept of a feed: verdicts, words, exit status, and its JSON."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from app.base.checkpoints import (
    Checkpoint,
    Discovery,
    Drift,
    FeedState,
    Gap,
    HubRecord,
    LocationState,
    Place,
    Takeover,
)
from app.base.instants import format_time, parse_time, utc_now
from app.base.program import APP_ROOT
from app.base.readings import JsonObject, QuarantinedReading, Slice
from app.health.facts import Kept
from app.health.feed_health import judge
from app.health.past_runs import past_run
from app.health.ticks import past_ticks
from app.run.due_runs import RUNS_FORGIVEN
from app.settings.loading import load_settings
from app.settings.schema import Settings
from app.state.json_file import JsonFileStore
from tests.commands import HUB, Call

SECOND = "example.servicebus.windows.net/second"
MILL, QUAY = "Mill & Lane", "Quay+One"
MINUTE = timedelta(minutes=1)
DAY = timedelta(days=1)
# People counters run every quarter. A run may take four minutes and a half, so that of 12:00 is over.
NOON = parse_time("2026-03-02T12:00:00Z")
NOW = NOON + 10 * MINUTE


@pytest.fixture
def settings(environ: dict[str, str]) -> Settings:
    return load_settings({**environ, "EVENT_HUB_CONNECTION_STRINGS": second_hub()})


def second_hub(**fields: Any) -> str:
    connection_string = (
        "Endpoint=sb://example.servicebus.windows.net/;SharedAccessKeyName=sender;"
        "SharedAccessKey=obviously-false-second-key;EntityPath=second"
    )
    return json.dumps([{"name": "second", "connection_string": connection_string, **fields}])


def location(until: datetime = NOON, **fields: Any) -> LocationState:
    """Give a location that both hubs have up to `until`."""
    return LocationState(
        **{
            "last_listed": until,
            "checkpoints": {key: Checkpoint(until, until - DAY) for key in (HUB, SECOND)},
            "hubs": {key: HubRecord(10, 20, 3, last_success=until) for key in (HUB, SECOND)},
            **fields,
        }
    )


def ran(began: datetime = NOON, **fields: Any) -> JsonObject:
    ended = format_time(began + MINUTE)
    return {"run": "r1", "started": format_time(began), "ended": ended, "ok": True, "error": None, **fields}


def state(
    *, last_run: JsonObject | None = None, asked_at: datetime = NOON, **locations: LocationState
) -> FeedState:
    """Give the state of a feed whose last run began at noon, unless told."""
    places = tuple(Place(name, "com.example.NORTH", 4) for name in locations)
    return FeedState(locations, Discovery(asked_at, places), last_run=last_run or ran())


def report(began: datetime = NOON, **fields: Any) -> JsonObject:
    """Give what is kept of a run's report, as far as it is looked at."""
    hubs = {HUB: {"readings": 100}, SECOND: {"readings": 90}}
    said = {"ok": True, "warnings": [], "failures": [], "left": 0, "forecast_s": None, "hubs": hubs}
    return {"run": "r1", "started": format_time(began), **said, **fields}


def judged(
    settings: Settings,
    kept: Kept | FeedState,
    reports: Sequence[JsonObject] = (),
    *,
    now: datetime = NOW,
    max_behind: timedelta | None = None,
) -> dict[str, Any]:
    kept = kept if isinstance(kept, Kept) else Kept(kept, [past_run(report) for report in reports])
    return judge(settings.feeds["people_counter"], settings, kept, now, max_behind).as_json()


def wrong(found: Mapping[str, Any], kind: str) -> list[dict[str, Any]]:
    return [trouble for trouble in found["wrong"] if trouble["kind"] == kind]


# --- verdicts ---------------------------------------------------------------------------------------


def test_a_feed_that_keeps_its_schedule_is_healthy(settings: Settings) -> None:
    found = judged(settings, state(Mill=location(), Quay=location(NOON - 2 * MINUTE)))

    assert (found["verdict"], found["ok"], found["wrong"]) == ("healthy", True, [])
    assert found["said"] == "2 locations at 2 hubs, at most 12 min behind"
    assert (found["behind_s"], found["runs_missed"]) == (720.0, 0)
    assert found["next_run"] == "2026-03-02T12:15:00.000Z"


@pytest.mark.parametrize(
    ("until", "max_behind", "verdict", "ok"),
    [
        # The runs of 11:45 and 12:00 should have ended: what stands before 11:45 moved with neither.
        (NOON - 15 * MINUTE, None, "healthy", True),
        (NOON - 16 * MINUTE, None, "behind", True),
        (NOON - 16 * MINUTE, 30 * MINUTE, "healthy", True),
        (NOON - 21 * MINUTE, 30 * MINUTE, "behind", False),
        (NOON, 10 * MINUTE, "healthy", True),
        (NOON, 9 * MINUTE, "behind", False),
    ],
    ids=[
        "one run lost",
        "two runs lost",
        "within the limit",
        "over the limit",
        "at the limit",
        "narrow limit",
    ],
)
def test_behind_is_what_two_runs_did_not_bring_on_or_what_is_over_the_limit(
    settings: Settings, until: datetime, max_behind: timedelta | None, verdict: str, ok: bool
) -> None:
    found = judged(settings, state(Mill=location(), Quay=location(until)), max_behind=max_behind)

    assert (found["verdict"], found["ok"]) == (verdict, ok)
    assert bool(wrong(found, "behind")) == (verdict == "behind")


def test_what_is_behind_says_by_how_much_since_when_and_what_to_do(settings: Settings) -> None:
    late = location(checkpoints={HUB: Checkpoint(NOON, NOON), SECOND: Checkpoint(NOON - DAY, NOON - DAY)})
    found = judged(
        settings,
        state(Mill=location(), Quay=late),
        [report(left=1, forecast_s=180.0)],
    )

    assert found["said"] == "hub second is 1 d behind at 1 of 2 locations"
    assert wrong(found, "behind") == [
        {
            "kind": "behind",
            "grave": False,
            "hub": SECOND,
            "locations": ["Quay"],
            "since": "2026-03-01T12:00:00.000Z",
            "last": None,
            "said": "second is 1 d behind at 1 of 2 locations",
            "do": "it catches up, oldest first, in about 3 min of running time",
            "cause": None,
        }
    ]
    at_hub = found["hubs"][SECOND]
    assert (at_hub["verdict"], at_hub["locations_behind"], at_hub["behind_s"]) == ("behind", 1, 87_000.0)
    assert [place["verdict"] for place in found["locations"]] == ["healthy", "behind"]


@pytest.mark.parametrize(
    ("began", "now", "missed", "verdict"),
    [
        (NOON - 15 * MINUTE, NOW, 1, "healthy"),
        (NOON - 30 * MINUTE, NOW, 2, "stopped"),
        (NOON - 30 * MINUTE, NOON + 4 * MINUTE, 1, "healthy"),
        (NOON - DAY, NOW, 96, "stopped"),
    ],
    ids=["one run missed", "two runs missed", "the second may be under way", "a day"],
)
def test_a_feed_has_stopped_when_two_runs_that_were_due_did_not_come(
    settings: Settings, began: datetime, now: datetime, missed: int, verdict: str
) -> None:
    found = judged(settings, state(last_run=ran(began), Mill=location(NOON)), now=now)

    assert (found["runs_missed"], found["verdict"], found["ok"]) == (missed, verdict, verdict == "healthy")


def test_a_feed_that_stopped_is_told_from_runs_that_are_ended_from_outside(settings: Settings) -> None:
    stopped = judged(settings, state(last_run=ran(NOON - DAY), Mill=location(NOON - DAY)))
    killed = judged(settings, state(last_run=ran(NOON - DAY), Mill=location(NOON)))

    assert stopped["said"] == (
        "the last run was 1 d ago, at 2026-03-01 12:01:00 UTC; 96 runs due since then did not come"
    )
    assert "look at its timer" in wrong(stopped, "stopped")[0]["do"]
    assert killed["said"] == (
        "no run has come to its end since 2026-03-01 12:01:00 UTC, though hubs took readings until "
        "2026-03-02 12:00:00 UTC"
    )
    assert "functionTimeout" in wrong(killed, "stopped")[0]["do"]


def test_runs_that_fail_before_they_begin_are_told_and_are_no_timer_that_does_not_fire(
    settings: Settings,
) -> None:
    refused = "microshare: login refused for user svc@example.test (401); check MICROSHARE_PASSWORD"
    failures = [{"location": None, "hub": None, "error": refused}]
    began = [NOON - 30 * MINUTE, NOON - 15 * MINUTE, NOON]
    found = judged(
        settings,
        state(last_run=ran(NOON - 45 * MINUTE), Mill=location(NOON - 45 * MINUTE)),
        [report(at, run="refused", ok=False, failures=failures) for at in began],
    )

    assert (found["verdict"], found["runs_missed"], wrong(found, "stopped")) == ("failing", 0, [])
    [trouble] = wrong(found, "run")
    assert (trouble["do"], trouble["since"]) == ("check MICROSHARE_PASSWORD", "2026-03-02T11:30:00.000Z")


def test_a_run_that_failed_before_the_last_good_one_is_over(settings: Settings) -> None:
    failures = [{"location": None, "hub": None, "error": "microshare: login refused"}]
    found = judged(
        settings,
        state(Mill=location()),
        [report(NOON - 15 * MINUTE, run="refused", ok=False, failures=failures)],
    )

    assert (found["verdict"], found["wrong"]) == ("healthy", [])


def test_a_feed_that_runs_once_a_day_is_healthy_between_its_runs(settings: Settings) -> None:
    daily = replace(settings.feeds["people_counter"], schedule="0 0 2 * * *")
    kept = Kept(
        state(last_run=ran(NOON - 10 * timedelta(hours=1)), Mill=location(NOON - timedelta(hours=10)))
    )

    found = judge(daily, settings, kept, NOW).as_json()

    assert (found["verdict"], found["next_run"]) == ("healthy", "2026-03-03T02:00:00.000Z")


def test_a_new_feed_never_ran_and_announces_a_takeover(settings: Settings) -> None:
    new = judged(settings, FeedState())
    taken_over = judged(settings, FeedState(takeover=Takeover(NOON, "state.json", 7, 1)))

    assert (new["verdict"], new["ok"]) == ("never ran", True)
    assert new["said"] == "nothing was forwarded yet; the first run begins at START_FROM"
    assert "takes over the earlier forwarder's position 2026-03-02 12:00:00 UTC" in taken_over["said"]


# --- what fails -------------------------------------------------------------------------------------


def failing(error: str, since: datetime = NOON - 60 * MINUTE) -> dict[str, HubRecord]:
    return {HUB: HubRecord(), SECOND: HubRecord(error=error, since=since)}


def test_a_hub_that_fails_is_told_once_with_its_cause(settings: Settings) -> None:
    error = "hub second: unauthorized-access: the key may not send; grant the Send right, or renew the key"
    run = ran(ok=False, error=error)
    hubs = failing(error)

    found = judged(settings, state(last_run=run, Mill=location(hubs=hubs), Quay=location(hubs=hubs)))

    assert (found["verdict"], found["ok"]) == ("failing", False)
    assert found["said"] == "hub second: refuses the credentials for 1 h 10 min, all 2 locations"
    assert found["wrong"] == [
        {
            "kind": "hub",
            "grave": True,
            "hub": SECOND,
            "locations": ["Mill", "Quay"],
            "since": "2026-03-02T11:00:00.000Z",
            "last": None,
            "said": "hub second: unauthorized-access: the key may not send",
            "do": "grant the Send right, or renew the key",
            "cause": "refuses the credentials",
        }
    ]
    assert (found["hubs"][HUB]["verdict"], found["hubs"][SECOND]["verdict"]) == ("healthy", "failing")


def test_locations_whose_queries_fail_alike_are_told_together(settings: Settings) -> None:
    errors = {name: f"microshare: query for {name!r}: 503; try later" for name in (MILL, QUAY)}
    locations: dict[str, Any] = {name: location(error=error, since=NOON) for name, error in errors.items()}
    locations["Tour"] = location(error="microshare: query for 'Tour': 404; check the id", since=NOON)

    found = judged(settings, state(**locations))

    assert [(place["locations"], place["do"]) for place in wrong(found, "location")] == [
        ([MILL, QUAY], "try later"),
        (["Tour"], "check the id"),
    ]


def test_a_run_that_failed_as_a_whole_says_so_and_since_when(settings: Settings) -> None:
    error = "microshare: login refused for user svc@example.test (401); check MICROSHARE_PASSWORD"
    failures = [{"location": None, "hub": None, "error": error}]
    reports = [
        report(NOON - 45 * MINUTE, run="r0"),
        report(NOON - 30 * MINUTE, run="r2", ok=False, failures=failures),
        report(NOON, ok=False, failures=failures),
    ]
    without_reports = judged(settings, state(last_run=ran(ok=False, error=error), Mill=location()))

    found = judged(settings, state(last_run=ran(ok=False, error=error), Mill=location()), reports)

    [trouble] = wrong(found, "run")
    assert (trouble["said"], trouble["do"]) == (
        "microshare: login refused for user svc@example.test (401)",
        "check MICROSHARE_PASSWORD",
    )
    assert trouble["since"] == "2026-03-02T11:30:00.000Z"
    assert [found["verdict"], without_reports["verdict"]] == ["failing", "failing"]
    assert wrong(without_reports, "run")[0]["said"] == trouble["said"]


def test_a_location_that_is_refused_has_no_state_and_is_told_all_the_same(settings: Settings) -> None:
    error = "location 'Annex' is a name in two organisations; name it in MICROSHARE_LOCATIONS"
    failures = [{"location": "Annex", "hub": None, "error": error}]
    run = ran(ok=False, error=error)

    found = judged(settings, state(last_run=run, Mill=location()), [report(ok=False, failures=failures)])

    assert [place["locations"] for place in found["wrong"] if place["kind"] == "location"] == [["Annex"]]
    assert (found["verdict"], found["ok"]) == ("failing", False)


def test_a_run_that_failed_with_what_is_gone_by_now_still_failed(settings: Settings) -> None:
    failures = [{"location": "Annex", "hub": HUB, "error": "hub primary: gone; look"}]
    kept = state(last_run=ran(ok=False, error="hub primary: gone; look"), Mill=location())

    found = judged(settings, kept, [report(ok=False, failures=failures)])

    assert (found["verdict"], found["ok"]) == ("failing", False)
    assert [(trouble["said"], trouble["do"]) for trouble in found["wrong"]] == [("hub primary: gone", "look")]


OLD = NOON - 30 * DAY


@pytest.mark.parametrize(
    ("hub", "place", "verdicts"),
    [
        (second_hub(enabled=False), {}, ("paused", "healthy")),
        ("[]", {}, ("removed", "healthy")),
        (second_hub(), {"last_listed": OLD, "error": "microshare: 404", "since": OLD}, ("healthy", "gone")),
    ],
    ids=["paused hub", "removed hub", "location that is gone"],
)
def test_what_is_not_forwarded_any_more_is_shown_and_not_judged(
    environ: dict[str, str], hub: str, place: dict[str, Any], verdicts: tuple[str, str]
) -> None:
    settings = load_settings({**environ, "EVENT_HUB_CONNECTION_STRINGS": hub})
    checkpoints = {HUB: Checkpoint(NOON, NOON), SECOND: Checkpoint(OLD, OLD)}
    where = location(checkpoints=checkpoints, hubs=failing("refused", OLD), **place)

    found = judged(settings, state(Mill=location(), Quay=where), max_behind=30 * MINUTE)

    assert (found["verdict"], found["ok"]) == ("healthy", True)
    assert (found["hubs"][SECOND]["verdict"], found["locations"][1]["verdict"]) == verdicts
    assert found["locations"][1]["hubs"][SECOND]["behind_s"] > DAY.total_seconds()


# --- what else is told ------------------------------------------------------------------------------


def test_a_gap_comes_with_the_command_that_closes_it(settings: Settings) -> None:
    hour = Slice(NOON - 60 * MINUTE, NOON)
    gaps = (Gap(hour, "missed", NOON, (SECOND,)), Gap(hour, "left behind", NOON))

    found = judged(settings, state(Mill=location(gaps=gaps[:1]), Quay=location(gaps=gaps)))

    command = (
        "`python -m app audit --feed people-counter --from 2026-03-02T11:00:00.000Z "
        "--to 2026-03-02T12:00:00.000Z"
    )
    assert found["verdict"] == "healthy"
    assert [(gap["locations"], gap["hub"], gap["said"], gap["do"]) for gap in wrong(found, "gap")] == [
        (
            ["Mill", "Quay"],
            SECOND,
            "missed, 2026-03-02 11:00 to 2026-03-02 12:00 UTC, second",
            f"{command} --hub second --repair`",
        ),
        (
            ["Quay"],
            None,
            "left behind, 2026-03-02 11:00 to 2026-03-02 12:00 UTC, all hubs",
            f"{command} --repair` if it is wanted after all; it was skipped by hand",
        ),
    ]
    assert len(found["gaps"]) == 3


def test_warnings_of_a_day_are_told_in_the_words_of_the_run(settings: Settings) -> None:
    skew = "the host's clock is {} minutes behind the API's; set the host's clock right"
    reports = [
        report(NOON - DAY, warnings=["long over; forget it"]),
        report(NOON - 30 * MINUTE, warnings=[skew.format(6), "over by now; look there"]),
        report(NOON - 15 * MINUTE, warnings=[skew.format(9)]),
        report(warnings=[skew.format(7)]),
    ]

    found = judged(settings, state(Mill=location()), reports)

    told = [(one["said"], one["do"], one["since"], one["last"]) for one in wrong(found, "warning")]
    assert told == [
        (
            "the host's clock is 7 minutes behind the API's",
            "set the host's clock right",
            "2026-03-02T11:30:00.000Z",
            "2026-03-02T12:00:00.000Z",
        ),
        ("over by now", "look there", "2026-03-02T11:30:00.000Z", "2026-03-02T11:30:00.000Z"),
    ]
    assert found["warnings"] == [skew.format(7)]
    assert found["said"] == "1 location at 2 hubs, at most 10 min behind; 2 warnings"
    assert (found["verdict"], found["ok"]) == ("healthy", True)


def test_a_warning_that_many_locations_have_is_told_once(settings: Settings) -> None:
    late = "{}: {} readings came so late that the look-back (1h) all but ended before; raise it"
    reports = [
        report(NOON - 15 * MINUTE, warnings=[late.format(MILL, 3)]),
        report(warnings=[late.format(QUAY, 5), late.format(MILL, 4), late.format("Elsewhere", 1)]),
    ]

    locations: dict[str, Any] = {MILL: location(), QUAY: location()}
    found = judged(settings, state(**locations), reports)

    assert [(one["said"], one["locations"]) for one in wrong(found, "warning")] == [
        (late.format(MILL, 4).removesuffix("; raise it"), [MILL, QUAY]),
        (late.format("Elsewhere", 1).removesuffix("; raise it"), []),
    ]


@pytest.mark.parametrize(
    ("aside", "sent", "still_there", "verdict"),
    [
        (100, 0, 100, "failing"),
        (3, 0, 3, "failing"),
        (10, 90, 10, "failing"),
        (9, 91, 9, "healthy"),
        (2, 0, 2, "healthy"),
        (100, 0, 0, "healthy"),
    ],
    ids=["all of it", "three", "a tenth", "less than a tenth", "two", "dealt with since"],
)
def test_a_feed_of_which_much_goes_to_quarantine_is_not_healthy(
    settings: Settings, aside: int, sent: int, still_there: int, verdict: str
) -> None:
    reason = "its time '10:{}' is not an ISO time"
    hubs = {HUB: {"readings": sent, "quarantined": aside}, SECOND: {"readings": 100}}
    listed = [
        {"location": MILL, "hubs": [HUB], "id": f"r{at}", "reason": reason.format(at), "place": "there"}
        for at in range(aside)
    ]
    lately = past_run(report(hubs=hubs, quarantined=listed))
    before = past_run(report(NOON - 2 * DAY, hubs={HUB: {"readings": 0, "quarantined": 1000}}))

    found = judged(settings, Kept(state(Mill=location()), [before, lately], quarantined=still_there))

    grave = verdict == "failing"
    assert (found["verdict"], found["ok"], found["quarantined"]) == (verdict, not grave, still_there)
    assert [trouble["grave"] for trouble in wrong(found, "quarantine")] == [grave] * (still_there > 0)
    if grave:
        share = aside / (aside + sent)
        said = f"{share:.0%} of what came in 24 h went to quarantine, most often since {listed[-1]['reason']}"
        assert found["said"].startswith(said)


def test_what_drifts_and_what_is_in_quarantine_is_told_and_makes_nothing_unwell(settings: Settings) -> None:
    text = "Mill: a new location with the devices of Mull, which is gone: probably renamed; `state move` it"
    kept = replace(state(Mill=location()), drift=(Drift("renamed", "Mill", text, NOON),))

    found = judged(settings, Kept(kept, quarantined=100, counted_all=False))

    assert (found["verdict"], found["ok"], found["quarantined"]) == ("healthy", True, 100)
    assert found["drift"] == [
        {
            "kind": "renamed",
            "location": "Mill",
            "sensor": [],
            "text": text,
            "since": "2026-03-02T12:00:00.000Z",
        }
    ]
    assert [(one["kind"], one["said"], one["do"], one["locations"]) for one in found["wrong"]] == [
        (
            "quarantine",
            "100 readings or more that hubs could not take",
            "`python -m app quarantine list people-counter` says why, `quarantine replay` sends them again",
            [],
        ),
        (
            "drift",
            "Mill: a new location with the devices of Mull, which is gone: probably renamed",
            "`state move` it",
            ["Mill"],
        ),
    ]


def a_day_of_reports(*, but: Sequence[int] = (), days: int = 1, **fields: Any) -> list[JsonObject]:
    """Give the reports of every quarter of days up to noon, without those of some numbers."""
    begins = [NOON - number * 15 * MINUTE for number in range(days * 96)]
    return [report(began, **fields) for number, began in enumerate(begins) if number not in but][::-1]


def changed(*ids: tuple[str, str]) -> JsonObject:
    """Give what a report says of an hour whose readings changed after delivery."""
    return {"location": "Mill", "hour": format_time(NOON), "readings": len(ids) or None, "ids": ids}


def test_a_day_of_runs_is_summed_up(settings: Settings) -> None:
    reports = a_day_of_reports(but=[5, 6, 40])
    reports[3] = {**reports[3], "ok": False}
    reports[-2] = {**reports[-2], "per_day": {"api_calls": 480, "hubs": {}}}
    for number in (10, 20):
        reports[number] = {
            **reports[number],
            "compared": {"locations": 2, "hours": 24, "differ": 1},
            "changed": [changed(("a", "b"), ("c", "d"), ("e", "f")), changed()],
        }

    trend = judged(settings, state(Mill=location()), reports)["trend"]

    assert trend == {
        "from": "2026-03-01T12:10:00.000Z",
        "runs": 93,
        "failed": 1,
        "missed": 3,
        "readings": {HUB: 9_300, SECOND: 8_370},
        "readings_before": None,
        "changed": 6,
        "compared": {"locations": 4, "hours": 48, "differ": 2},
        "per_day": {"api_calls": 480, "hubs": {}},
    }


def test_a_day_is_the_mean_of_what_runs_say_of_it_each_for_as_long_as_it_stands_for(
    settings: Settings,
) -> None:
    def of_a_day(calls: int, events: int) -> JsonObject:
        hub = {"events": events, "bytes": 10 * events, "unit_share": events / 10_000}
        return {"per_day": {"api_calls": calls, "hubs": {HUB: hub}}}

    begins = [NOON - minutes * MINUTE for minutes in (46, 31, 1, 0)]
    # A run by hand a minute after another one made much of little.
    said: list[JsonObject] = [{}, of_a_day(300, 90), of_a_day(330, 120), of_a_day(9_000, 0)]
    reports = [report(began, **of_run) for began, of_run in zip(begins, said, strict=True)]

    per_day = judged(settings, state(Mill=location()), reports)["trend"]["per_day"]

    assert per_day == {
        "api_calls": round((300 * 15 + 330 * 30 + 9_000) / 46),
        "hubs": {HUB: {"events": round((90 * 15 + 120 * 30) / 46), "bytes": 1_076, "unit_share": 0.010761}},
    }


def test_a_day_of_runs_is_compared_with_the_day_before(settings: Settings) -> None:
    trend = judged(settings, state(Mill=location()), a_day_of_reports(days=2))["trend"]

    assert (trend["runs"], trend["missed"]) == (96, 0)
    assert trend["readings_before"] == {HUB: 9_600, SECOND: 8_640}
    assert judged(settings, state(Mill=location()))["trend"] is None


# --- the command ------------------------------------------------------------------------------------


def save(store: JsonFileStore, kept: FeedState, *reports: JsonObject) -> None:
    store.save("peoplecounterstate", kept, list(kept.locations))
    for one in reports:
        store.keep_report("peoplecounterstate", one)


@pytest.fixture
def now() -> datetime:
    """Give the clock's instant, which a command cannot be told, less the time of a run."""
    return utc_now() - 5 * MINUTE


def test_status_gives_position_counts_and_last_success_of_hub_and_location(
    call: Call, store: JsonFileStore, now: datetime
) -> None:
    at = {HUB: Checkpoint(now, now - DAY)}
    hubs = {HUB: HubRecord(10, 20, 3, last_success=now)}
    save(store, state(last_run=ran(now), Mill=location(now, checkpoints=at, hubs=hubs)))

    ended = call("status", "--json")

    found, *off = ended.objects
    figures = {
        "delivered_until": format_time(now),
        "behind_s": found["behind_s"],
        "events": 10,
        "readings": 20,
        "duplicates": 3,
        "last_success": format_time(now),
        "error": None,
        "since": None,
    }
    assert (ended.status, found["ok"], found["last_fetch_timestamp"]) == (0, True, format_time(now))
    assert (found["total_events_sent"], found["total_duplicates_skipped"]) == (10, 3)
    assert found["hubs"][HUB].items() >= {"name": "primary", "paused": False, "removed": False}.items()
    assert found["hubs"][HUB].items() >= figures.items()
    known_from = format_time(now - DAY)
    assert found["locations"][0]["hubs"] == {HUB: {**figures, "known_from": known_from}}
    assert found["behind_s"] >= 300
    assert {feed["off"] for feed in off} == {True}


def test_runs_of_shards_count_as_one_and_one_that_is_missing_is_told(
    call: Call, store: JsonFileStore, now: datetime
) -> None:
    def part(number: int, shard: int) -> JsonObject:
        of_tick = {"tick": f"tick{number}", "shard": {"index": shard, "of": 2}, "took_s": 4.0}
        return report(now - number * 15 * MINUTE, **of_tick)

    parts = [part(number, shard) for number in range(5, -1, -1) for shard in (1, 2)]
    del parts[5]
    save(store, state(last_run=ran(now), Mill=location(now)), *parts)

    found = call("status", "--json").objects[0]

    assert (found["trend"]["runs"], found["trend"]["failed"]) == (6, 1)
    assert found["trend"]["readings"] == {HUB: 1_100, SECOND: 990}
    [warning] = wrong(found, "warning")
    assert warning["said"].endswith("the history has no run of 2/2")
    assert warning["do"].startswith("look at the timer")
    assert found["ok"]


def test_a_feed_has_not_stopped_where_one_of_its_shards_has(
    call: Call, store: JsonFileStore, now: datetime
) -> None:
    # What the state puts together began with the shard that ran last three hours ago.
    long_ago = format_time(now - 12 * 15 * MINUTE)
    of_shard = {"shard": {"index": 1, "of": 2}, "took_s": 4.0}
    parts = [report(now - number * 15 * MINUTE, **of_shard) for number in range(12, -1, -1)]
    lags = location(now - 12 * 15 * MINUTE, last_listed=now)
    kept = state(last_run={**ran(now), "started": long_ago}, asked_at=now, Mill=location(now), Quay=lags)
    save(store, kept, *parts)

    found = call("status", "--json").objects[0]

    # A quarter may begin between that instant and now.
    assert (found["verdict"], found["runs_missed"] < RUNS_FORGIVEN) == ("behind", True)
    assert [trouble["locations"] for trouble in wrong(found, "behind")] == [["Quay"]]
    [warning] = wrong(found, "warning")
    assert warning["said"].endswith("no run of 2/2")


def of_first_half(number: int, **fields: Any) -> JsonObject:
    """Give the report of shard 1/2, so many quarters before noon."""
    of_shard = {"shard": {"index": 1, "of": 2}, "took_s": 4.0}
    return report(NOON - number * 15 * MINUTE, **of_shard, **fields)


def listed(*names: str, **fields: Any) -> FeedState:
    """Give the state of a feed with Mill, of shard 1/2, in it, and these others on the list of locations."""
    places = tuple(Place(name, "com.example.NORTH", 4) for name in ("Mill", *names))
    return replace(state(Mill=location()), discovery=Discovery(NOON, places, **fields))


def judged_in_ticks(
    settings: Settings, kept: FeedState, *reports: JsonObject, **fields: Any
) -> dict[str, Any]:
    schedule = settings.feeds["people_counter"].schedule
    return judged(settings, Kept(kept, list(past_ticks(reports, schedule))), **fields)


def test_what_a_shard_that_never_ran_should_have_begun_with_is_behind(settings: Settings) -> None:
    parts = [of_first_half(number) for number in range(5, -1, -1)]

    found = judged_in_ticks(settings, listed("Quay", "Tower"), *parts)
    told = judged_in_ticks(settings, listed("Quay", "Tower"), *parts, max_behind=80 * MINUTE)

    assert (found["verdict"], found["ok"], found["behind_s"]) == ("behind", True, 85 * 60.0)
    assert found["said"].startswith("nothing of 2 of 3 locations was ever asked for: shard 2/2 has not run")
    [trouble] = wrong(found, "behind")
    assert trouble["locations"] == ["Quay", "Tower"]
    assert trouble["do"].startswith("look at the timer and the host that run it")
    [_, quay, tower] = found["locations"]
    assert [quay["verdict"], quay["hubs"], tower["location"]] == ["behind", {}, "Tower"]
    assert (told["verdict"], told["ok"]) == ("behind", False)


@pytest.mark.parametrize(
    ("kept", "reports"),
    [
        pytest.param(listed("Quay"), [of_first_half(1), of_first_half(0)], id="two runs that were due"),
        pytest.param(
            listed("Mill & Lane"), [of_first_half(n) for n in (3, 2, 1, 0)], id="of a shard that runs"
        ),
        pytest.param(
            listed("Quay", collisions=("Quay",)),
            [of_first_half(n) for n in (3, 2, 1, 0)],
            id="two organisations",
        ),
        pytest.param(listed('a "name"'), [of_first_half(n) for n in (3, 2, 1, 0)], id="no name for a view"),
        pytest.param(listed("Quay"), [report(NOON - n * 15 * MINUTE) for n in (3, 2, 1, 0)], id="no shards"),
    ],
)
def test_what_the_next_run_begins_with_or_none_asks_for_is_not_behind(
    settings: Settings, kept: FeedState, reports: Sequence[JsonObject]
) -> None:
    found = judged_in_ticks(settings, kept, *reports)

    assert (found["verdict"], wrong(found, "behind")) == ("healthy", [])


@pytest.mark.parametrize(
    ("words", "minutes_behind", "status"),
    [
        ([], 0, 0),
        ([], 120, 0),
        (["--max-behind", "30m"], 0, 0),
        (["--max-behind", "30m"], 60, 1),
        (["--max-behind", "2h"], 60, 0),
        (["--max-behind", "30m", "--max-behind", "people-counter=2h"], 60, 0),
        (["--max-behind", "2h", "--max-behind", "people_counter=30m"], 60, 1),
        (["--max-behind", "hourly-snapshot=30m"], 60, 0),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else str(value),
)
def test_the_exit_status_says_whether_anything_lags_by_more_than_the_limit(
    call: Call, store: JsonFileStore, now: datetime, words: list[str], minutes_behind: int, status: int
) -> None:
    until = now - minutes_behind * MINUTE
    save(store, state(last_run=ran(now), asked_at=now, Mill=location(until, last_listed=now)))

    assert call("status", *words).status == status


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--max-behind", "30"], "'30' has no unit; write 30m or 1800s"),
        (["--max-behind", "soon"], "'soon' is not a duration"),
        (["--max-behind", "nix=30m"], "'nix' is not a feed; there are people-counter, hourly-snapshot"),
        (["--watch", "0"], "0.0 is not in the range"),
        (["--watch"], "there is none; add --json"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_options_that_mean_nothing_are_refused_with_2(call: Call, words: list[str], said: str) -> None:
    ended = call("status", *words)

    assert (ended.status, ended.out) == (2, "")
    assert said in ended.err


def test_status_reads_the_history_and_what_is_in_quarantine(
    call: Call, store: JsonFileStore, now: datetime
) -> None:
    save(store, state(last_run=ran(now), Mill=location(now)), report(now, warnings=["one; do this"]))
    store.quarantine(
        "peoplecounterstate",
        QuarantinedReading("people_counter", "Mill", [HUB], "id", "too large", now, b"{}"),
    )

    found = call("status", "--json").objects[0]

    assert (found["quarantined"], found["warnings"], found["trend"]["runs"]) == (1, ["one; do this"], 1)
    assert "do: do this" in call("status").out


def test_status_changes_nothing(call: Call, store: JsonFileStore, now: datetime) -> None:
    save(store, state(last_run=ran(now), Mill=location(now)), report(now))
    folder = Path(store.place)

    def everything() -> dict[Path, tuple[int, bytes]]:
        # A file that comes and goes changes the time of its folder.
        return {
            path: (path.stat().st_mtime_ns, path.read_bytes() if path.is_file() else b"")
            for path in (folder, *folder.rglob("*"))
        }

    before = everything()
    call("status")
    call("status", "--json", "--max-behind", "1s")

    assert everything() == before


def test_status_of_a_new_installation_makes_no_folder(call: Call, store: JsonFileStore) -> None:
    assert call("status").status == 0
    assert not Path(store.place).exists()


def test_status_loads_no_sdk(environ: dict[str, str]) -> None:
    heavy = ("azure", "requests", "urllib3", "asyncio")
    program = (
        "import sys; from app.cli import commands; commands.main(['status'], standalone_mode=False); "
        f"print([name for name in {heavy} if name in sys.modules], file=sys.stderr)"
    )

    ended = subprocess.run(
        [sys.executable, "-c", program], cwd=APP_ROOT, capture_output=True, text=True, check=True
    )

    assert ended.stderr == "[]\n"


# --- the contract -----------------------------------------------------------------------------------

DOCUMENT = (APP_ROOT / "docs" / "status.md").read_text()
# Their members are keyed by hub.
BY_HUB = ("hubs", "readings", "readings_before")


def fields(value: Any, *path: str) -> set[tuple[str, ...]]:
    """Give the path of every field of a JSON value, a list's members taken together."""
    if isinstance(value, list):
        return {found for member in value for found in fields(member, *path)}
    if not isinstance(value, dict):
        return {path}
    named = {("*" if path[-1:] and path[-1] in BY_HUB else name): member for name, member in value.items()}
    return {path} | {found for name, member in named.items() for found in fields(member, *path, name)}


def everything(settings: Settings) -> dict[str, Any]:
    """Give an object in which nothing is left out."""
    error = "hub second: refused; grant it"
    kept = replace(
        state(
            last_run=ran(ok=False, error=error),
            Mill=location(hubs=failing(error), gaps=(Gap(Slice(NOON, NOW), "saturated", NOW, (HUB,)),)),
        ),
        takeover=Takeover(NOON, "state.json", 7, 1, NOON),
        drift=(Drift("silent", "Mill", "Mill: silent", NOON, ("a",)),),
    )
    a_day = {"events": 1, "bytes": 1, "unit_share": 0.1}
    reports = a_day_of_reports(
        days=2,
        warnings=["one; do it"],
        compared={"locations": 1, "hours": 1, "differ": 0},
        per_day={"api_calls": 1, "hubs": {HUB: a_day}},
    )
    return judged(settings, kept, reports)


def test_the_example_of_the_documentation_has_every_field_and_no_other(settings: Settings) -> None:
    example = json.loads(DOCUMENT.split("```json\n")[1].split("```")[0])

    assert fields(example) == fields(everything(settings))


def test_every_field_and_every_word_of_it_is_documented(settings: Settings) -> None:
    told = DOCUMENT.split("```json\n")[1].split("```")[1]
    names = {path[-1] for path in fields(everything(settings)) if path} - {"*"}

    assert {name for name in names if f"`{name}`" not in told} == set()


def test_every_verdict_is_documented(settings: Settings) -> None:
    found = {
        judged(settings, kept)["verdict"]
        for kept in (
            FeedState(),
            state(Mill=location()),
            state(Mill=location(NOON - DAY)),
            state(Mill=location(error="no", since=NOON)),
            state(last_run=ran(NOON - DAY), Mill=location()),
        )
    }

    assert found == {"never ran", "healthy", "behind", "failing", "stopped"}
    assert all(f"| `{verdict}` |" in DOCUMENT for verdict in (*found, "unknown", "off"))
