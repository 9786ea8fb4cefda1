"""What people are told of what is wrong: each cause once, with what follows from it. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import timedelta

from app.base.causes import AGAIN, advice, of_several, said_and_advised_briefly
from app.base.grouping import by_key
from app.base.text import IN_A_SENTENCE, counted, cut_short, named, span
from app.health.facts import Facts
from app.health.records import HubOfLocation, Kind, Told, Trouble
from app.health.troubles import fails_at, how_it_catches_up

# A longer name is told by its beginning.
_LONGEST_NAME = 40
# What the API does not do for so long it hardly does by itself; a restart of a service takes minutes.
_LONG = timedelta(hours=1)
_BESIDE = (Kind.GAP, Kind.QUARANTINE, Kind.DRIFT, Kind.WARNING)


def tell(facts: Facts, troubles: Sequence[Trouble]) -> list[Told]:
    """Give what people are told, the gravest first.

    Errors of one cause are told once, whatever they say beside it. What is behind since a hub or location
    fails, no run ended, or nothing runs at all, is told with that.
    """
    by_kind = by_key((trouble.kind, trouble) for trouble in troubles)
    told = [Told(each.kind, each.said, each.do, each.grave) for each in by_kind.get(Kind.STOPPED, ())]
    told += _runs(facts, by_kind.get(Kind.RUN, ()))
    told += _hubs(facts, by_kind.get(Kind.HUB, ()))
    told += _locations(facts, by_kind.get(Kind.LOCATION, ()))
    if not by_kind.keys() & {Kind.STOPPED, Kind.RUN}:
        told += _lag(facts, by_kind.get(Kind.BEHIND, ()))
    told += [_beside(facts, each) for each in troubles if each.kind in _BESIDE]
    return told


# --- what fails, with what is behind for it ---------------------------------------------------------


def _runs(facts: Facts, troubles: Sequence[Trouble]) -> Iterator[Told]:
    for cause, alike in by_key((each.cause, each) for each in troubles).items():
        behind = _behind(facts, facts.on, facts.asked)
        yield _failure(facts, alike, f"{cause}{_lasts(facts, alike)}{behind}")


def _hubs(facts: Facts, troubles: Sequence[Trouble]) -> Iterator[Told]:
    """Tell what hubs fail with: those together that fail alike at the same locations."""
    of_hubs = by_key(((each.hub, each.cause), each) for each in troubles)
    alike = by_key(
        ((cause, frozenset(_places(found))), (key, found)) for (key, cause), found in of_hubs.items()
    )
    for (cause, names), hubs in alike.items():
        keys = [key for key, _ in hubs if key is not None]
        found = [each for _, of_hub in hubs for each in of_hub]
        told = of_several(cause or "") if len(keys) > 1 else cause
        where, behind = _where(facts, sorted(names)), _behind(facts, keys, names)
        yield _failure(
            facts, found, f"{_named_hubs(facts, keys)}: {told}{_lasts(facts, found)}{where}{behind}"
        )


def _locations(facts: Facts, troubles: Sequence[Trouble]) -> Iterator[Told]:
    for cause, alike in by_key((each.cause, each) for each in troubles).items():
        names = _places(alike)
        who, behind = _named_locations(facts, names), _behind(facts, facts.on, names)
        yield _failure(facts, alike, f"{who}: {cause}{_lasts(facts, alike)}{behind}")


def _failure(facts: Facts, alike: Sequence[Trouble], said: str) -> Told:
    technical = tuple(dict.fromkeys(each.whole for each in alike))
    do = advice(technical[0])
    since = min((each.since for each in alike if each.since), default=facts.now)
    if do == AGAIN and technical[0].startswith("microshare: ") and facts.since(since) >= _LONG:
        do = "ask Microshare about it: it lasts, and each run tries again"
    return Told(alike[0].kind, said, do, alike[0].grave, technical)


def _places(alike: Iterable[Trouble]) -> list[str]:
    return list(dict.fromkeys(name for each in alike for name in each.locations))


def _lasts(facts: Facts, alike: Iterable[Trouble]) -> str:
    since = min((each.since for each in alike if each.since), default=None)
    return f" for {span(facts.since(since))}" if since else ""


def _behind(facts: Facts, keys: Iterable[str], names: Iterable[str]) -> str:
    wanted = frozenset(keys)
    at_hubs = (facts.asked[name].hubs for name in names if name in facts.asked)
    lags = [hub.lag for hubs in at_hubs for key, hub in hubs.items() if key in wanted and hub.behind]
    return f", {span(max(lags))} behind" if lags else ""


# --- names ------------------------------------------------------------------------------------------


def _named_hubs(facts: Facts, keys: Sequence[str]) -> str:
    if len(keys) == 1:
        return f"hub {_shortened(facts.hub_name(keys[0]))}"
    if len(keys) > IN_A_SENTENCE and set(keys) == set(facts.on):
        return f"all {len(keys):,} hubs"
    return f"hubs {named([_shortened(facts.hub_name(key)) for key in keys])}"


def _named_locations(facts: Facts, names: Sequence[str]) -> str:
    if len(names) > 1 and set(names) == set(facts.asked):
        return f"all {len(names):,} locations"
    return named([*map(_shortened, names)])


def _where(facts: Facts, names: Sequence[str]) -> str:
    """Say at which locations a hub fails, where there are several."""
    of = len(facts.asked)
    if of == 1:
        return ""
    if len(names) == of:
        return f", all {of:,} locations"
    return f", at {_shortened(names[0])}" if len(names) == 1 else f", {len(names):,} of {of:,} locations"


def _shortened(name: str) -> str:
    return name if len(name) <= _LONGEST_NAME else f"{cut_short(name, _LONGEST_NAME - 1)}…"


# --- what is behind by itself -----------------------------------------------------------------------


def _lag(facts: Facts, lags: Sequence[Trouble]) -> Iterator[Told]:
    """Tell what is behind though nothing fails there, of all hubs together."""
    late: Mapping[str, Mapping[str, HubOfLocation]] = {
        key: {name: facts.asked[name].hubs[key] for name in each.locations if not fails_at(facts, name, key)}
        for each in lags
        if (key := each.hub) is not None
    }
    yield from (Told(each.kind, each.said, each.do, each.grave) for each in lags if each.hub is None)
    keys = [key for key, found in late.items() if found]
    if not keys:
        return
    names = list(dict.fromkeys(name for key in keys for name in late[key]))
    worst: timedelta = max(hub.lag for key in keys for hub in late[key].values())
    is_or_are = "is" if len(keys) == 1 else "are up to"
    where = f" at {len(names):,} of {counted(len(facts.asked), 'location')}"
    said = f"{_named_hubs(facts, keys)} {is_or_are} {span(worst)} behind{where}"
    yield Told(Kind.BEHIND, said, how_it_catches_up(facts, failing=False), any(each.grave for each in lags))


# --- what is told beside ----------------------------------------------------------------------------


def _beside(facts: Facts, trouble: Trouble) -> Told:
    at = trouble.last or trouble.since
    ago = f" ({span(facts.since(at))} ago)" if at is not None else ""
    if trouble.kind is Kind.WARNING:
        said, do = said_and_advised_briefly(trouble.whole)
        quotes = () if said == trouble.said else (trouble.whole,)
        return Told(trouble.kind, f"{said}{ago}", do, trouble.grave, quotes)
    said = f"{trouble.said}{ago}"
    if trouble.kind is Kind.GAP:
        said = f"{_named_locations(facts, trouble.locations)} may have readings missing: {said}"
    return Told(trouble.kind, said, trouble.do, trouble.grave)
