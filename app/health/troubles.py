"""What is wrong with a feed, since when, and what to do; alike things once. Pure."""

from __future__ import annotations

import re
import shlex
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import replace
from datetime import datetime
from itertools import takewhile

from app.base.causes import short_cause
from app.base.checkpoints import Gap
from app.base.grouping import by_key
from app.base.instants import MINUTE, format_time
from app.base.program import PROGRAM
from app.base.readings import Slice
from app.base.shards import Shard
from app.base.text import counted, dashed, minute, moment, named, said_and_advised, span, zone_name
from app.health.facts import Facts
from app.health.past_runs import PastRun
from app.health.records import Condition, Kind, Trouble
from app.health.trend import TREND
from app.quality.bounds import LEFT_BEHIND, SATURATED
from app.run.due_runs import RUNS_FORGIVEN
from app.run.report import Failure, is_note
from app.state.edits import advised

_NUMBERS = re.compile(r"\d+")
# Of what came for a hub within a day, set aside: a bad row now and then is no trouble of the feed, one
# sensor in ten that cannot be read at all is. One or two readings are no share of anything.
_MUCH = 0.1
_FEWEST = 3
# In what a gap says; a feed may have dozens of hubs.
_HUBS_NAMED = 4


def find_troubles(facts: Facts) -> Iterator[Trouble]:
    """Give what is wrong, the gravest first."""
    if facts.runs.missed >= RUNS_FORGIVEN:
        yield _stopped(facts)
    yield from _failures(facts)
    yield from _lags(facts)
    yield from _gaps(facts)
    yield from _set_aside(facts)
    for drift in (advised(facts.kept.state, found) for found in facts.kept.state.drift):
        locations = [drift.location] if drift.location else []
        yield Trouble(Kind.DRIFT, *said_and_advised(drift.text), None, locations, drift.since)
    yield from _warnings(facts)


def _stopped(facts: Facts) -> Trouble:
    """Tell a timer that does not fire from runs that are ended before they have saved that they ran."""
    runs, alive = facts.runs, facts.kept.last_success()
    # Readings taken later than a run can last came from runs that never said that they ended.
    if runs.ended is not None and alive is not None and alive > runs.ended + facts.longest_run:
        return Trouble(
            Kind.STOPPED,
            f"no run has come to its end since {moment(runs.ended)}, though hubs took readings until "
            f"{moment(alive)}",
            "look at the host's log for what ends runs; in Azure functionTimeout must "
            "leave run.budget and half a minute more",
            since=runs.ended,
            grave=True,
        )
    last = runs.ended or runs.began or facts.now
    return Trouble(
        Kind.STOPPED,
        f"the last run was {span(facts.since(last))} ago, at {moment(last)}; "
        f"{counted(runs.missed, 'run')} due since then did not come",
        "look at its timer: on a VM `systemctl list-timers`, in Azure whether the app runs and the "
        f"function is enabled; `{PROGRAM} run {dashed(facts.feed.name)}` runs it now",
        since=last,
        grave=True,
    )


# --- what fails -------------------------------------------------------------------------------------


def _failures(facts: Facts) -> Iterator[Trouble]:
    """Give what fails: the last run as a whole, hubs, and locations."""
    run = facts.kept.state.last_run or {}
    # Those that are of no hub or location: a login, discovery, the state.
    of_run = [failure.error for failure in _reported(facts) if failure.location is failure.hub is None]
    of_parts = [*_failures_of_hubs(facts), *_failures_of_locations(facts)]
    if not run.get("ok", True) and not of_run and not of_parts:
        # It failed with what is paused or gone by now.
        of_run = [str(run.get("error") or "the last run failed")]
    for text in dict.fromkeys(of_run):
        yield _failure(Kind.RUN, text, since=_failing_since(facts))
    yield from of_parts


def _reported(facts: Facts) -> Sequence[Failure]:
    """Give the failures of the last run as its report has them; none where that was not kept."""
    if (failed := facts.kept.not_begun(facts.now)) is not None:
        return failed.failures
    run, last = facts.kept.state.last_run or {}, facts.kept.last
    return last.failures if last is not None and last.run == run.get("run") else ()


def _failing_since(facts: Facts) -> datetime | None:
    """Give when the oldest of the runs began that failed one after the other up to now."""
    failed = takewhile(lambda run: not run.ok, reversed(facts.kept.runs))
    return min((run.started for run in failed), default=None)


def _failures_of_hubs(facts: Facts) -> Iterator[Trouble]:
    for key in facts.on:
        records = {name: facts.kept.record(name, key) for name in facts.asked}
        failing = by_key((record.error, name) for name, record in records.items() if record.error)
        for error, names in failing.items():
            since = _earliest(records[name].since for name in names)
            yield _failure(Kind.HUB, error or "", key, names, since)


def _failures_of_locations(facts: Facts) -> Iterator[Trouble]:
    """Give what queries fail with, alike ones once; and locations that are refused, so have no state."""
    asked = facts.asked
    errors = {name: location.error for name, location in asked.items() if location.error}
    for failure in _reported(facts):
        if failure.location is not None and failure.hub is None:
            errors.setdefault(failure.location, failure.error)
    for names in by_key((error.replace(name, ""), name) for name, error in errors.items()).values():
        since = _earliest(asked[name].since for name in names if name in asked)
        trouble = _failure(Kind.LOCATION, errors[names[0]], None, names, since)
        if len(names) > 1:
            # In an error of its own words the name would be that of one of them.
            trouble = replace(trouble, cause=short_cause(errors[names[0]].replace(names[0], "it")))
        yield trouble


def _failure(
    kind: Kind,
    error: str,
    hub: str | None = None,
    locations: Sequence[str] = (),
    since: datetime | None = None,
) -> Trouble:
    said, do = said_and_advised(error)
    return Trouble(kind, said, do, hub, locations, since, grave=True, cause=short_cause(error))


def _earliest(instants: Iterable[datetime | None]) -> datetime | None:
    return min((instant for instant in instants if instant is not None), default=None)


# --- what lags --------------------------------------------------------------------------------------


def _lags(facts: Facts) -> Iterator[Trouble]:
    for key in facts.on:
        at_hub = {name: found.hubs[key] for name, found in facts.asked.items() if key in found.hubs}
        late = {name: hub for name, hub in at_hub.items() if hub.behind}
        if late:
            worst = max(hub.lag for hub in late.values())
            where = f"at {len(late):,} of {counted(len(facts.asked), 'location')}"
            yield Trouble(
                Kind.BEHIND,
                f"{facts.hub_name(key)} is {span(worst)} behind {where}",
                how_it_catches_up(facts, failing=all(fails_at(facts, name, key) for name in late)),
                key,
                list(late),
                min(hub.position for hub in late.values()),
                grave=facts.given,
            )
    yield from _never_asked(facts)


def _never_asked(facts: Facts) -> Iterator[Trouble]:
    """Give the locations that no run has begun with, by the shard that holds them."""
    late = [found for found in facts.asked.values() if not found.hubs and found.verdict is Condition.BEHIND]
    if not late or facts.kept.last is None:
        return
    shards = by_key((Shard.of_location(each.name, facts.kept.last.shards), each.name) for each in late)
    which = [str(shard) for shard in sorted(shards)]
    longest = max(each.lag for each in late if each.lag is not None)
    yield Trouble(
        Kind.BEHIND,
        f"nothing of {len(late):,} of {counted(len(facts.asked), 'location')} was ever asked for: "
        f"{'shard' if len(which) == 1 else 'shards'} {named(which)} {'has' if len(which) == 1 else 'have'} "
        f"not run in {span(longest)}",
        "look at the timer and the host that run it: nothing of these locations reaches a hub until it runs",
        None,
        [each.name for each in late],
        facts.now - longest,
        grave=facts.given,
    )


def fails_at(facts: Facts, name: str, key: str) -> bool:
    """Whether a location is behind at a hub for what fails there, and not for want of time."""
    return bool(facts.asked[name].error or facts.kept.record(name, key).error)


def how_it_catches_up(facts: Facts, *, failing: bool) -> str:
    """Say what brings on what is behind, where what keeps it back is still `failing` or not."""
    again = "it catches up, oldest first, when what fails works again"
    if failing:
        return again
    if facts.runs.missed >= RUNS_FORGIVEN:
        return "it catches up when runs come again"
    last = facts.kept.last
    if last is not None and last.forecast is not None:
        return f"it catches up, oldest first, in about {span(last.forecast)} of running time"
    if last is not None and last.left and last.ok:
        return "raise run.budget in config.yaml, or run it more often: the last run made no progress"
    return again


# --- what is told beside ----------------------------------------------------------------------------


def _gaps(facts: Facts) -> Iterator[Trouble]:
    """Give the gaps, those that several locations share once, each with the command that closes it."""
    alike = by_key(((gap.window, gap.cause, gap.hubs), (name, gap)) for name, gap in facts.kept.gaps())
    for found in alike.values():
        gap = found[0][1]
        window = _stretch(gap.window)
        hubs = named([*map(facts.hub_name, gap.hubs)], _HUBS_NAMED)
        if not hubs or set(facts.on) <= set(gap.hubs):
            hubs = "all hubs"
        hub = gap.hubs[0] if len(gap.hubs) == 1 else None
        said, names = f"{gap.cause}, {window}, {hubs}", [name for name, _ in found]
        yield Trouble(Kind.GAP, said, _repair(facts, gap), hub, names, gap.found)


def _stretch(window: Slice) -> str:
    if window.start.second or window.end.second or window.end - window.start < MINUTE:
        return f"{moment(window.start)} to {moment(window.end)}"
    return f"{minute(window.start)} to {minute(window.end)} {zone_name()}"


def _repair(facts: Facts, gap: Gap) -> str:
    window = f"--from {format_time(gap.window.start)} --to {format_time(gap.window.end)}"
    hub = f" --hub {shlex.quote(facts.hub_name(gap.hubs[0]))}" if len(gap.hubs) == 1 else ""
    command = f"`{PROGRAM} audit --feed {dashed(facts.feed.name)} {window}{hub} --repair`"
    if gap.cause == SATURATED:
        return f"have Microshare raise the view's $limit, set record_limit to it, then {command}"
    if gap.cause == LEFT_BEHIND:
        return f"{command} if it is wanted after all; it was skipped by hand"
    return command


def _set_aside(facts: Facts) -> Iterator[Trouble]:
    """Tell what is in quarantine; it is grave where much of what came within a day went there."""
    if not facts.kept.quarantined:
        return
    more = "" if facts.kept.counted_all else " or more"
    feed = dashed(facts.feed.name)
    runs = [run for run in facts.kept.runs if facts.now - run.started <= TREND]
    much = max((found for key in facts.on if (found := _share(runs, key)) is not None), default=None)
    said = f"{counted(facts.kept.quarantined, 'reading')}{more} that hubs could not take"
    if much is not None:
        reasons = by_key(
            (_NUMBERS.sub("", set_aside.reason), set_aside.reason)
            for run in runs
            for set_aside in run.quarantined
        )
        why = f", most often since {max(reasons.values(), key=len)[-1]}" if reasons else ""
        said = f"{much:.0%} of what came in 24 h went to quarantine{why}; in all {said}"
    yield Trouble(
        Kind.QUARANTINE,
        said,
        f"`{PROGRAM} quarantine list {feed}` says why, `quarantine replay` sends them again",
        grave=much is not None,
    )


def _share(runs: Sequence[PastRun], key: str) -> float | None:
    """Give the share of what came for a hub that was set aside; None where that is not much."""
    got = [run.hubs[key] for run in runs if key in run.hubs]
    aside, sent = sum(hub.quarantined for hub in got), sum(hub.readings for hub in got)
    return aside / (aside + sent) if aside >= _FEWEST and aside >= _MUCH * (aside + sent) else None


def _warnings(facts: Facts) -> Iterator[Trouble]:
    """Give a day's warnings, those alike but for numbers and location once, the newest first."""
    lately = (run for run in facts.kept.runs if facts.now - run.started <= TREND)
    said = [
        (run.started, text, *of_warning(text, facts.kept.state.locations))
        for run in lately
        for text in run.warnings
        if not is_note(text)
    ]
    alike = by_key((kind, (began, text, name)) for began, text, name, kind in said)
    for found in sorted(alike.values(), key=lambda each: each[-1][0], reverse=True):
        since, (last, text, _) = found[0][0], found[-1]
        names = [*dict.fromkeys(name for _, _, name in found if name is not None)]
        yield Trouble(Kind.WARNING, *said_and_advised(text), None, names, since, last)


def of_warning(text: str, locations: Collection[str]) -> tuple[str | None, str]:
    """Give the location that a warning is of, if any, and what it has in common with those alike."""
    name, _, rest = text.partition(": ")
    is_of_location = name in locations
    return name if is_of_location else None, _NUMBERS.sub("", rest if is_of_location else text)
