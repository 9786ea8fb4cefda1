"""How a feed fares: a verdict in a word, what is wrong, since when, and what to do. Pure.

It is judged from what is kept of the feed: its state, the reports of its last runs, and its
schedule. What comes out is the JSON object of `status`, docs/status.md; people are told the same.
"""

from __future__ import annotations

import re
import shlex
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import islice, takewhile
from typing import Any

from app.base.budget import GRACE
from app.base.checkpoints import FeedState, Gap, HubRecord, LocationState
from app.base.instants import format_time, parse_time
from app.base.readings import JsonObject
from app.base.text import counted, dashed, moment, said_and_advised, span
from app.health.trend import TREND, trend_json
from app.run.report import drift_json, gap_json
from app.settings.ncrontab import times_after, times_before
from app.settings.schema import FeedSettings, HubSettings, Settings

HEALTHY = "healthy"
BEHIND = "behind"
FAILING = "failing"
STOPPED = "stopped"
NEVER_RAN = "never ran"

# How much of the history is looked at: a day, and the day before it to compare with.
HISTORY = 2 * TREND
# One run that does not come, or brings a position no further, is forgiven: the next one catches up.
_RUNS_FORGIVEN = 2
_MISSED_AT_MOST = 10_000
# An error may quote a whole page of HTML; what is wrong has it in full.
_HEADLINE = 160
_NUMBERS = re.compile(r"\d+")
# What can make the verdict; the rest is only told.
_OF_VERDICTS = ("stopped", "run", "hub", "location", "behind")


@dataclass(frozen=True, slots=True)
class Kept:
    """What is kept of a feed: its state, the reports of its runs since `HISTORY`, readings set aside.

    `quarantined` is how many those are, counted up to a limit at which `counted_all` is False.
    """

    state: FeedState
    reports: Sequence[JsonObject] = ()
    quarantined: int = 0
    counted_all: bool = True


@dataclass(frozen=True, slots=True)
class Trouble:
    """One thing that is wrong, in the words of the log; `do` is what to do about it.

    `last` is when a warning was said last; what is without it lasts.

    `kind` is `state`, `stopped`, `run`, `hub`, `location`, `behind`, `gap`, `quarantine`, `drift` or
    `warning`. A `grave` one makes the feed not ok.
    """

    kind: str
    said: str
    do: str | None
    hub: str | None = None
    locations: Sequence[str] = ()
    since: datetime | None = None
    last: datetime | None = None
    grave: bool = False


def judge(
    feed: FeedSettings, settings: Settings, kept: Kept, now: datetime, max_behind: timedelta | None = None
) -> dict[str, Any]:
    """Give the documented JSON object; fields are only ever added.

    Behind is what two runs that were due did not bring on, or what lags by more than `max_behind`,
    which then makes the feed not ok.
    """
    return _Judgement(feed, settings, kept, now, max_behind).as_json()


def off_json(feed: FeedSettings) -> dict[str, Any]:
    """Give the object of a feed that has no view id."""
    return {"feed": feed.name, "ok": True, "off": True, "verdict": "off", "said": "it has no view id"}


def damaged_json(feed: FeedSettings, error: str) -> dict[str, Any]:
    """Give the object of a feed whose state cannot be read."""
    said, do = said_and_advised(error)
    wrong = [_trouble_json(Trouble("state", said, do, grave=True))]
    return {
        "feed": feed.name,
        "ok": False,
        "error": error,
        "verdict": "unknown",
        "said": said,
        "wrong": wrong,
    }


@dataclass(frozen=True, slots=True)
class _Runs:
    """When the feed ran, and when it should have.

    `missed` counts the runs that were due since the last one began, and should have ended by now.
    Every position should be at `expected` at least: when the last but one of those due was to begin.
    """

    began: datetime | None
    ended: datetime | None
    next_due: datetime | None
    missed: int
    expected: datetime | None


class _Judgement:
    """A feed under judgement. What is asked for counts at hubs that are on; all else is only shown."""

    def __init__(
        self, feed: FeedSettings, settings: Settings, kept: Kept, now: datetime, max_behind: timedelta | None
    ) -> None:
        self._feed = feed
        self._kept = kept
        self._state = kept.state
        self._now = now
        self._max_behind = max_behind
        self._last_report = kept.reports[-1] if kept.reports else {}
        self._hubs = {hub.key: hub for hub in settings.hubs}
        self._on = [hub.key for hub in settings.hubs if hub.enabled]
        self._asked = {
            name: location
            for name, location in sorted(kept.state.locations.items())
            if _is_asked(name, location, feed, kept.state)
        }
        self._longest_run = settings.run.budget + GRACE
        self._runs = self._find_runs()
        self._limit = self._find_limit()
        self._behind = self._find_behind()
        self._troubles = list(self._find_troubles())
        self._verdict = self._find_verdict()

    def as_json(self) -> dict[str, Any]:
        state, runs = self._state, self._runs
        least = state.least_position()
        return {
            "feed": self._feed.name,
            "ok": not any(trouble.grave for trouble in self._troubles),
            "verdict": self._verdict,
            "said": self._said(),
            "at": format_time(self._now),
            "last_run": state.last_run,
            "runs_missed": runs.missed,
            "next_run": _time(runs.next_due),
            "behind_s": self._worst_lag_s(),
            "limit_s": None if self._limit is None else round(self._limit.total_seconds(), 3),
            "last_fetch_timestamp": _time(least),
            "total_events_sent": state.total_events(),
            "total_duplicates_skipped": state.total_duplicates(),
            "takeover": _takeover_json(state),
            "hubs": {key: self._hub_json(key) for key in [*self._hubs, *self._removed()]},
            "locations": [self._location_json(name) for name in sorted(state.locations)],
            "wrong": [_trouble_json(trouble) for trouble in self._troubles],
            "gaps": [gap_json(name, gap) for name in sorted(state.locations) for gap in self._gaps_of(name)],
            "drift": [drift_json(drift) for drift in state.drift],
            "warnings": list(self._last_report.get("warnings", ())),
            "quarantined": self._kept.quarantined,
            "trend": trend_json(self._kept.reports, self._feed.schedule, self._now, self._longest_run),
        }

    # --- time ---------------------------------------------------------------------------------------

    def _find_runs(self) -> _Runs:
        run = self._state.last_run or {}
        began, ended = (_parsed(run.get(name)) for name in ("started", "ended"))
        # A run that was killed has said nothing of itself, but its hubs' positions tell of it.
        began = began or self._last_success()
        done = self._now - self._longest_run
        due = list(islice(times_before(self._feed.schedule, done), _RUNS_FORGIVEN))
        missed = 0
        if began is not None:
            since = takewhile(lambda at: at > began, times_before(self._feed.schedule, done))
            missed = sum(1 for _ in islice(since, _MISSED_AT_MOST))
        return _Runs(
            began,
            ended,
            next(times_after(self._feed.schedule, self._now), None),
            missed,
            due[-1] if len(due) == _RUNS_FORGIVEN else None,
        )

    def _last_success(self) -> datetime | None:
        return max(
            (
                record.last_success
                for location in self._state.locations.values()
                for record in location.hubs.values()
                if record.last_success is not None
            ),
            default=None,
        )

    def _find_limit(self) -> timedelta | None:
        if self._max_behind is not None:
            return self._max_behind
        expected = self._runs.expected
        return None if expected is None else self._now - expected + self._feed.settle

    def _lag_s(self, name: str, key: str) -> float:
        return _lag_s(self._state.locations[name].checkpoints[key].delivered_until, self._now)

    def _judged(self) -> Iterator[tuple[str, str]]:
        for name, location in self._asked.items():
            yield from ((name, key) for key in self._on if key in location.checkpoints)

    def _worst_lag_s(self) -> float | None:
        return max((self._lag_s(name, key) for name, key in self._judged()), default=None)

    def _find_behind(self) -> frozenset[tuple[str, str]]:
        limit = self._limit
        if limit is None:
            return frozenset()
        limit_s = limit.total_seconds()
        return frozenset((name, key) for name, key in self._judged() if self._lag_s(name, key) > limit_s)

    # --- the verdict --------------------------------------------------------------------------------

    def _find_verdict(self) -> str:
        kinds = {trouble.kind for trouble in self._troubles}
        if "stopped" in kinds:
            return STOPPED
        if kinds & {"run", "hub", "location"}:
            return FAILING
        if self._runs.began is None:
            return NEVER_RAN
        return BEHIND if "behind" in kinds else HEALTHY

    def _said(self) -> str:
        """Say in a sentence what the verdict is about."""
        if self._verdict == NEVER_RAN:
            return self._nothing_forwarded()
        of_verdict = [trouble for trouble in self._troubles if trouble.kind in _OF_VERDICTS]
        if of_verdict:
            first, *rest = of_verdict
            # Where nothing runs, everything is behind.
            more = [trouble for trouble in rest if first.kind != "stopped" or trouble.kind != "behind"]
            return _headline(first, self._now) + (f" (and {len(more)} more)" if more else "")
        worst = self._worst_lag_s()
        paused = len(self._hubs) - len(self._on)
        return (
            f"{counted(len(self._asked), 'location')} at {counted(len(self._on), 'hub')}"
            + ("" if worst is None else f", at most {span(worst)} behind")
            + (f"; {counted(paused, 'hub')} paused" if paused else "")
            + "".join(f"; {counted(count, noun)}" for noun, count in self._besides() if count)
        )

    def _besides(self) -> Iterator[tuple[str, int]]:
        """Count what is worth a look though the feed is healthy."""
        kinds = Counter(trouble.kind for trouble in self._troubles)
        yield "gap", kinds["gap"]
        yield "quarantined reading", self._kept.quarantined
        yield "drift", kinds["drift"]
        yield "warning", kinds["warning"]

    def _nothing_forwarded(self) -> str:
        takeover = self._state.takeover
        if takeover is None or takeover.at is not None:
            return "nothing was forwarded yet; the first run begins at START_FROM"
        return (
            "nothing was forwarded yet; the next run takes over the earlier forwarder's position "
            f"{moment(takeover.position)} from {takeover.source}"
        )

    # --- what is wrong ------------------------------------------------------------------------------

    def _find_troubles(self) -> Iterator[Trouble]:
        """Give what is wrong, the gravest first."""
        if self._runs.missed >= _RUNS_FORGIVEN:
            yield self._stop()
        yield from self._failures()
        yield from self._lags()
        yield from self._gaps()
        yield from self._set_aside()
        for drift in self._state.drift:
            locations = [drift.location] if drift.location else []
            yield Trouble("drift", *said_and_advised(drift.text), None, locations, drift.since)
        yield from self._warnings()

    def _warnings(self) -> Iterator[Trouble]:
        """Give a day's warnings, those alike but for numbers and location once, the newest first."""
        alike: dict[str, list[tuple[datetime, str]]] = {}
        where: dict[str, dict[str, None]] = {}
        for report in self._kept.reports:
            began = parse_time(report["started"])
            for text in report.get("warnings", ()) if self._now - began <= TREND else ():
                name, _, rest = text.partition(": ")
                is_of_location = name in self._state.locations
                kind = _NUMBERS.sub("", rest if is_of_location else text)
                alike.setdefault(kind, []).append((began, text))
                where.setdefault(kind, {}).update({name: None} if is_of_location else {})
        for kind, said in sorted(alike.items(), key=lambda item: item[1][-1][0], reverse=True):
            (since, _), (last, text) = said[0], said[-1]
            yield Trouble("warning", *said_and_advised(text), None, [*where[kind]], since, last)

    def _stop(self) -> Trouble:
        """Tell a timer that does not fire from runs that are ended before they have saved that they ran."""
        began, ended, alive = self._runs.began, self._runs.ended, self._last_success()
        if ended is not None and alive is not None and alive > ended + self._longest_run:
            return Trouble(
                "stopped",
                f"no run has come to its end since {moment(ended)}, though hubs took readings until "
                f"{moment(alive)}",
                "something ends runs from outside: look at the host's log; in Azure functionTimeout must "
                "leave run.budget and half a minute more",
                since=ended,
                grave=True,
            )
        last = ended or began or self._now
        return Trouble(
            "stopped",
            f"the last run was {span(_lag_s(last, self._now))} ago, at {moment(last)}; "
            f"{counted(self._runs.missed, 'run')} due since then did not come",
            "look at its timer: on a VM `systemctl list-timers`, in Azure whether the app runs and the "
            f"function is enabled; `python -m app run {dashed(self._feed.name)}` runs it now",
            since=last,
            grave=True,
        )

    def _failures(self) -> Iterator[Trouble]:
        """Give what fails: the last run as a whole, hubs, and locations."""
        run = self._state.last_run or {}
        of_run = list(self._failures_of_the_run())
        of_parts = [*self._failures_of_hubs(), *self._failures_of_locations()]
        if not run.get("ok", True) and not of_run and not of_parts:
            # It failed with what is paused or gone by now.
            said = str(run.get("error") or "the last run failed")
            of_run = [Trouble("run", *said_and_advised(said), since=self._failing_since(), grave=True)]
        yield from (*of_run, *of_parts)

    def _failures_of_the_run(self) -> Iterator[Trouble]:
        """Give what the last run failed with that is of no hub or location: a login, discovery, the state."""
        texts = (
            failure["error"]
            for failure in self._reported()
            if failure["location"] is None and failure["hub"] is None
        )
        for text in dict.fromkeys(texts):
            yield Trouble("run", *said_and_advised(text), since=self._failing_since(), grave=True)

    def _reported(self) -> Sequence[JsonObject]:
        """Give the failures of the last run as its report has them; none where that was not kept."""
        run = self._state.last_run or {}
        is_its_own = self._last_report.get("run") == run.get("run")
        failures: Sequence[JsonObject] = self._last_report.get("failures", ()) if is_its_own else ()
        return failures

    def _failing_since(self) -> datetime | None:
        """Give when the oldest of the runs began that failed one after the other up to now."""
        failed = takewhile(lambda report: not report.get("ok", True), reversed(self._kept.reports))
        return min((parse_time(report["started"]) for report in failed), default=None)

    def _failures_of_hubs(self) -> Iterator[Trouble]:
        for key in self._on:
            alike: dict[str, list[str]] = {}
            for name in self._asked:
                error = self._record(name, key).error
                if error:
                    alike.setdefault(error, []).append(name)
            for error, names in alike.items():
                since = _earliest(self._record(name, key).since for name in names)
                yield Trouble("hub", *said_and_advised(error), key, names, since, grave=True)

    def _failures_of_locations(self) -> Iterator[Trouble]:
        """Give what queries fail with, alike ones once; and locations that are refused, so have no state."""
        errors = {name: location.error for name, location in self._asked.items() if location.error}
        for failure in self._reported():
            if failure["location"] is not None and failure["hub"] is None:
                errors.setdefault(failure["location"], failure["error"])
        alike: dict[str, list[str]] = {}
        for name, error in errors.items():
            alike.setdefault(error.replace(name, ""), []).append(name)
        for names in alike.values():
            since = _earliest(self._asked[name].since for name in names if name in self._asked)
            said, do = said_and_advised(errors[names[0]])
            yield Trouble("location", said, do, None, names, since, grave=True)

    def _lags(self) -> Iterator[Trouble]:
        for key in self._on:
            names = [name for name in self._asked if (name, key) in self._behind]
            if names:
                worst = max(self._lag_s(name, key) for name in names)
                asked = counted(len(self._asked), "location")
                yield Trouble(
                    "behind",
                    f"{self._name(key)} is {span(worst)} behind at {len(names):,} of {asked}",
                    self._how_it_catches_up(),
                    key,
                    names,
                    min(self._asked[name].checkpoints[key].delivered_until for name in names),
                    grave=self._max_behind is not None,
                )

    def _how_it_catches_up(self) -> str:
        if self._runs.missed >= _RUNS_FORGIVEN:
            return "it catches up when runs come again"
        forecast = self._last_report.get("forecast_s")
        if forecast is not None:
            return f"wait: it catches up, oldest first, in about {span(forecast)} of running time"
        if self._last_report.get("left") and self._last_report.get("ok", True):
            return "the last run brought it no further; raise run.budget in config.yaml, or run it more often"
        return "it catches up, oldest first, when what fails is mended"

    def _gaps_of(self, name: str) -> Sequence[Gap]:
        return self._state.locations[name].gaps

    def _gaps(self) -> Iterator[Trouble]:
        """Give the gaps, those that several locations share once, each with the command that closes it."""
        alike: dict[tuple[Any, ...], tuple[Gap, list[str]]] = {}
        for name in sorted(self._state.locations):
            for gap in self._gaps_of(name):
                alike.setdefault((gap.window.start, gap.window.end, gap.cause, gap.hubs), (gap, []))[
                    1
                ].append(name)
        for gap, names in alike.values():
            window = f"{moment(gap.window.start)} to {moment(gap.window.end)}"
            hubs = ", ".join(map(self._name, gap.hubs)) or "all hubs"
            hub = gap.hubs[0] if len(gap.hubs) == 1 else None
            yield Trouble("gap", f"{gap.cause}, {window}, {hubs}", self._repair(gap), hub, names, gap.found)

    def _repair(self, gap: Gap) -> str:
        window = f"--from {format_time(gap.window.start)} --to {format_time(gap.window.end)}"
        hub = f" --hub {shlex.quote(self._name(gap.hubs[0]))}" if len(gap.hubs) == 1 else ""
        command = f"`python -m app audit --feed {dashed(self._feed.name)} {window}{hub} --repair`"
        if gap.cause == "saturated":
            return f"have Microshare raise the view's $limit, set record_limit to it, then {command}"
        if gap.cause == "left behind":
            return f"nothing, it was skipped by hand; if it is wanted after all, {command}"
        return command

    def _set_aside(self) -> Iterator[Trouble]:
        if self._kept.quarantined:
            more = "" if self._kept.counted_all else " or more"
            feed = dashed(self._feed.name)
            yield Trouble(
                "quarantine",
                f"{counted(self._kept.quarantined, 'reading')}{more} that hubs could not take",
                f"`python -m app quarantine list {feed}` says why, `quarantine replay` sends them again",
            )

    # --- hubs and locations -------------------------------------------------------------------------

    def _name(self, key: str) -> str:
        return self._hubs[key].name if key in self._hubs else key

    def _record(self, name: str, key: str) -> HubRecord:
        return self._state.locations[name].hubs.get(key, HubRecord())

    def _removed(self) -> list[str]:
        """Give the hubs of the state that the settings do not name any more."""
        locations = self._state.locations.values()
        known = {key for location in locations for key in (*location.checkpoints, *location.hubs)}
        return sorted(known - self._hubs.keys())

    def _hub_json(self, key: str) -> dict[str, Any]:
        """Sum a hub up: the least position and longest-lasting error of what is asked for, all its counts."""
        at = {name: found.checkpoints[key] for name, found in self._asked.items() if key in found.checkpoints}
        records = [self._record(name, key) for name in self._state.locations]
        successes = [record.last_success for record in records if record.last_success is not None]
        failing = [self._record(name, key) for name in self._asked if self._record(name, key).error]
        worst = min(failing, key=lambda record: record.since or self._now, default=HubRecord())
        behind = [name for name in at if (name, key) in self._behind]
        summed = HubRecord(
            events=sum(record.events for record in records),
            readings=sum(record.readings for record in records),
            duplicates=sum(record.duplicates for record in records),
            last_success=max(successes, default=None),
            error=worst.error,
            since=worst.since,
        )
        position = min((checkpoint.delivered_until for checkpoint in at.values()), default=None)
        hub = self._hubs.get(key)
        return {
            "name": self._name(key),
            "verdict": _hub_verdict(hub, failing=bool(failing), behind=bool(behind)),
            "paused": hub is not None and not hub.enabled,
            "removed": hub is None,
            "locations": len(at),
            "locations_behind": len(behind),
            "locations_failing": len(failing),
            **_position_json(position, self._now),
            **_record_json(summed),
        }

    def _location_json(self, name: str) -> dict[str, Any]:
        location = self._state.locations[name]
        hubs = {
            key: {
                **_position_json(checkpoint.delivered_until, self._now),
                "known_from": format_time(checkpoint.known_from),
                **_record_json(self._record(name, key)),
            }
            for key, checkpoint in sorted(location.checkpoints.items())
        }
        lags = [found["behind_s"] for key, found in hubs.items() if key in self._on]
        return {
            "location": name,
            "verdict": self._location_verdict(name, location),
            "asked": name in self._asked,
            "behind_s": max(lags, default=None),
            "last_listed": _time(location.last_listed),
            "newest": _time(location.newest),
            "error": location.error,
            "since": _time(location.since),
            "hubs": hubs,
        }

    def _location_verdict(self, name: str, location: LocationState) -> str:
        if name not in self._asked:
            return "gone"
        if location.error or any(self._record(name, key).error for key in self._on):
            return FAILING
        return BEHIND if any((name, key) in self._behind for key in self._on) else HEALTHY


def _headline(trouble: Trouble, now: datetime) -> str:
    """Say a trouble in one sentence, with how many locations it is about, and how long it lasts."""
    if trouble.kind in ("stopped", "behind"):
        return trouble.said
    places = len(trouble.locations)
    at = f", at {counted(places, 'location')}" if places > 1 else ""
    lasts = f", for {span(_lag_s(trouble.since, now))}" if trouble.since else ""
    said = trouble.said if len(trouble.said) <= _HEADLINE else f"{trouble.said[:_HEADLINE]}…"
    return f"{said}{at}{lasts}"


def _hub_verdict(hub: HubSettings | None, *, failing: bool, behind: bool) -> str:
    if hub is None:
        return "removed"
    if not hub.enabled:
        return "paused"
    return FAILING if failing else BEHIND if behind else HEALTHY


def _is_asked(name: str, location: LocationState, feed: FeedSettings, state: FeedState) -> bool:
    """Whether a run still asks for the location: one that is gone stays where it is, and is not behind."""
    if name in feed.locations:
        return True
    return location.last_listed is not None and not state.is_gone(location)


def _lag_s(position: datetime, now: datetime) -> float:
    return round(max(0.0, (now - position).total_seconds()), 3)


def _earliest(instants: Iterator[datetime | None]) -> datetime | None:
    return min((instant for instant in instants if instant is not None), default=None)


def _trouble_json(trouble: Trouble) -> dict[str, Any]:
    return {
        "kind": trouble.kind,
        "grave": trouble.grave,
        "hub": trouble.hub,
        "locations": list(trouble.locations),
        "since": _time(trouble.since),
        "last": _time(trouble.last),
        "said": trouble.said,
        "do": trouble.do,
    }


def _position_json(position: datetime | None, now: datetime) -> dict[str, Any]:
    return {
        "delivered_until": _time(position),
        "behind_s": None if position is None else _lag_s(position, now),
    }


def _record_json(record: HubRecord) -> dict[str, Any]:
    return {
        "events": record.events,
        "readings": record.readings,
        "duplicates": record.duplicates,
        "last_success": _time(record.last_success),
        "error": record.error,
        "since": _time(record.since),
    }


def _takeover_json(state: FeedState) -> dict[str, Any] | None:
    if state.takeover is None:
        return None
    return {
        "position": format_time(state.takeover.position),
        "source": state.takeover.source,
        "at": _time(state.takeover.at),
    }


def _time(instant: datetime | None) -> str | None:
    return None if instant is None else format_time(instant)


def _parsed(written: object) -> datetime | None:
    return parse_time(written) if isinstance(written, str) else None
