"""How a feed fares: a verdict in a word, what is wrong, since when, and what to do. Pure.

It is judged from what is kept of the feed: its state, the reports of its last runs, and its
schedule.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta

from app.base.causes import advice, short_cause
from app.base.checkpoints import HubRecord, Takeover
from app.base.text import counted, moment, said_and_advised, span
from app.health.facts import Facts, Kept, fares, gather_facts, hub_condition
from app.health.records import Condition, FeedHealth, HubHealth, Kind, Told, Trouble
from app.health.told import tell
from app.health.trend import trend_of
from app.health.troubles import find_troubles
from app.settings.schema import FeedSettings, Settings

# What can make the verdict; the rest is only told.
_OF_VERDICTS = (Kind.STOPPED, Kind.RUN, Kind.HUB, Kind.LOCATION, Kind.BEHIND)


def judge(
    feed: FeedSettings, settings: Settings, kept: Kept, now: datetime, max_behind: timedelta | None = None
) -> FeedHealth:
    """Say how a feed fares.

    Behind is what two runs that were due did not bring on, or what lags by more than `max_behind`,
    which then makes the feed not ok.
    """
    facts = gather_facts(feed, settings, kept, now, max_behind)
    troubles, state = list(find_troubles(facts)), kept.state
    verdict, told = _verdict(facts, troubles), tell(facts, troubles)
    return FeedHealth(
        feed.name,
        now,
        verdict,
        _said(facts, verdict, told),
        troubles,
        told,
        _was_interrupted(kept),
        last_run=state.last_run,
        runs=facts.runs,
        lag=facts.lag,
        limit=facts.limit,
        position=state.least_position(),
        events=state.total_events(),
        duplicates=state.total_duplicates(),
        takeover=state.takeover,
        hubs={key: _hub(facts, key) for key in [*facts.hubs, *_removed(facts)]},
        locations=facts.locations,
        gaps=kept.gaps(),
        drift=state.drift,
        warnings=kept.last.warnings if kept.last else (),
        quarantined=kept.quarantined,
        trend=trend_of(kept.runs, feed.schedule, now, facts.longest_run),
    )


def off(feed: FeedSettings, now: datetime) -> FeedHealth:
    """Say that a feed has no view id."""
    return FeedHealth(feed.name, now, Condition.OFF, "it has no view id")


def unreadable(feed: FeedSettings, now: datetime, error: str) -> FeedHealth:
    """Say that a feed's state cannot be read."""
    said, do = said_and_advised(error)
    trouble = Trouble(Kind.STATE, said, do, grave=True, cause=short_cause(error))
    told = Told(Kind.STATE, short_cause(error), advice(error), grave=True, technical=(error,))
    return FeedHealth(feed.name, now, Condition.UNKNOWN, told.said, [trouble], [told], error=error)


def _was_interrupted(kept: Kept) -> bool:
    """Whether the last run that ended was interrupted, as its report has it."""
    ended, last = kept.state.last_run or {}, kept.last
    return last is not None and last.interrupted and last.run == ended.get("run")


def _verdict(facts: Facts, troubles: Sequence[Trouble]) -> Condition:
    kinds = {trouble.kind for trouble in troubles}
    if Kind.STOPPED in kinds:
        return Condition.STOPPED
    if kinds & {Kind.RUN, Kind.HUB, Kind.LOCATION} or any(map(_is_much_set_aside, troubles)):
        return Condition.FAILING
    if facts.runs.began is None:
        return Condition.NEVER_RAN
    return Condition.BEHIND if Kind.BEHIND in kinds else Condition.HEALTHY


def _is_much_set_aside(trouble: Trouble | Told) -> bool:
    return trouble.kind is Kind.QUARANTINE and trouble.grave


# --- in a sentence ----------------------------------------------------------------------------------


def _said(facts: Facts, verdict: Condition, told: Sequence[Told]) -> str:
    """Say in a sentence what the verdict is about."""
    if verdict is Condition.NEVER_RAN:
        return _nothing_forwarded(facts.kept.state.takeover)
    of_verdict = [each for each in told if each.kind in _OF_VERDICTS or _is_much_set_aside(each)]
    if of_verdict:
        first, *more = of_verdict
        return first.said + (f" (and {len(more)} more)" if more else "")
    paused = len(facts.hubs) - len(facts.on)
    return (
        f"{counted(len(facts.asked), 'location')} at {counted(len(facts.on), 'hub')}"
        + ("" if facts.lag is None else f", at most {span(facts.lag)} behind")
        + (f"; {counted(paused, 'hub')} paused" if paused else "")
        + "".join(f"; {said}" for said, count in _besides(facts, told) if count)
    )


def _besides(facts: Facts, told: Sequence[Told]) -> Iterator[tuple[str, int]]:
    """Say how much is worth a look though the feed is healthy, each with its number."""
    kinds, aside = Counter(each.kind for each in told), facts.kept.quarantined
    yield counted(kinds[Kind.GAP], "gap"), kinds[Kind.GAP]
    yield counted(aside, "quarantined reading"), aside
    yield f"{counted(kinds[Kind.DRIFT], 'change')} noticed", kinds[Kind.DRIFT]
    yield counted(kinds[Kind.WARNING], "warning"), kinds[Kind.WARNING]


def _nothing_forwarded(takeover: Takeover | None) -> str:
    if takeover is None or takeover.at is not None:
        return "nothing was forwarded yet; the first run begins at START_FROM"
    return (
        "nothing was forwarded yet; the next run takes over the earlier forwarder's position "
        f"{moment(takeover.position)} from {takeover.source}"
    )


# --- hubs -------------------------------------------------------------------------------------------


def _removed(facts: Facts) -> list[str]:
    """Give the hubs of the state that the settings do not name any more."""
    locations = facts.kept.state.locations.values()
    known = {key for location in locations for key in (*location.checkpoints, *location.hubs)}
    return sorted(known - facts.hubs.keys())


def _hub(facts: Facts, key: str) -> HubHealth:
    kept, asked = facts.kept, facts.asked
    at_hub = [location.hubs[key] for location in asked.values() if key in location.hubs]
    records = [kept.record(name, key) for name in kept.state.locations]
    failing = [record for name in asked if (record := kept.record(name, key)).error]
    behind = sum(hub.behind for hub in at_hub)
    worst = min(failing, key=lambda record: record.since or facts.now, default=HubRecord())
    successes = [record.last_success for record in records if record.last_success is not None]
    return HubHealth(
        facts.hub_name(key),
        hub_condition(facts.hubs.get(key), fares(failing=bool(failing), behind=behind > 0)),
        len(at_hub),
        behind,
        len(failing),
        min((hub.position for hub in at_hub), default=None),
        max((hub.lag for hub in at_hub), default=None),
        HubRecord(
            events=sum(record.events for record in records),
            readings=sum(record.readings for record in records),
            duplicates=sum(record.duplicates for record in records),
            last_success=max(successes, default=None),
            error=worst.error,
            since=worst.since,
        ),
    )
