"""What was gathered, cut to the hubs that were asked for: a page of one hub tells of no other. Pure."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import replace

from app.health.past_runs import PastRun
from app.health.records import Condition, FeedHealth, Kind
from app.page.gathered import GatheredFeed


def of_hubs(found: GatheredFeed, names: Mapping[str, str]) -> GatheredFeed:
    """Give a feed with `found.hubs` alone; `names` are those of all hubs there are, by key."""
    keys = found.hubs.keys()
    others = {key: name for key, name in names.items() if key not in keys}
    kept = {*found.hubs.values()}
    tells_of_others = _mentions([*others, *(name for name in others.values() if name not in kept)])
    return replace(
        found,
        health=_health(found.health, keys, tells_of_others),
        runs=[_run(run, keys, tells_of_others) for run in found.runs],
        quarantined=[item for item in found.quarantined if keys & {*item.hubs}],
        all_hubs=not others,
    )


def _mentions(names: Iterable[str]) -> Callable[[str], bool]:
    """Give what tells whether a text has one of these names in it, as a word of its own."""
    alternatives = "|".join(map(re.escape, names))
    if not alternatives:
        return lambda _: False
    found = re.compile(rf"(?<![\w-])(?:{alternatives})(?![\w-])")
    return lambda text: found.search(text) is not None


def _health(health: FeedHealth, keys: Collection[str], tells_of_others: Callable[[str], bool]) -> FeedHealth:
    troubles = [
        trouble
        for trouble in health.troubles
        if trouble.hub in (None, *keys)
        if trouble.kind is not Kind.WARNING or not tells_of_others(trouble.said)
    ]
    kept = replace(
        health,
        troubles=troubles,
        hubs={key: hub for key, hub in health.hubs.items() if key in keys},
        gaps=[
            (location, replace(gap, hubs=tuple(key for key in gap.hubs if key in keys)))
            for location, gap in health.gaps
            if not gap.hubs or {*gap.hubs} & {*keys}
        ],
    )
    if kept.ok and health.verdict is Condition.FAILING:
        behind = any(trouble.kind is Kind.BEHIND for trouble in troubles)
        return replace(kept, verdict=Condition.BEHIND if behind else Condition.HEALTHY)
    return kept


def _run(run: PastRun, keys: Collection[str], tells_of_others: Callable[[str], bool]) -> PastRun:
    failures = [failure for failure in run.failures if failure.hub in (None, *keys)]
    per_day = run.per_day and {
        **run.per_day,
        "hubs": {key: hub for key, hub in run.per_day["hubs"].items() if key in keys},
    }
    return replace(
        run,
        ok=run.ok or (bool(run.failures) and not failures),
        hubs={key: hub for key, hub in run.hubs.items() if key in keys},
        failures=failures,
        warnings=[text for text in run.warnings if not tells_of_others(text)],
        per_day=per_day,
    )
