"""What a change of a state means, for people: a table of every location, and what is asked before."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TYPE_CHECKING

from app.base.grouping import by_key
from app.base.readings import Slice
from app.base.text import counted, moment, span
from app.cli.output import hanging
from app.cli.tables import Column, table
from app.state.edits import Effect

if TYPE_CHECKING:
    from rich.console import RenderableType

NameHubs = Callable[[Iterable[str]], str]

_HUBS, _BECOMES = Column("hubs", key=True), Column("becomes (UTC)", whole=True)
_HEAD_WIDTH = len(_BECOMES.head)


def effects_parts(found: Sequence[Effect], name_hubs: NameHubs) -> Iterator[RenderableType]:
    """Give a row for each location; what is the same in all of them stands above, once."""
    hubs = [name_hubs(effect.hubs) for effect in found]
    becomes = [effect.after or "START_FROM" for effect in found]
    is_one_group, is_one_end = len({*hubs}) == 1 < len(found), len({*becomes}) == 1 < len(found)
    if is_one_group:
        yield hanging(_HUBS.head, hubs[0], width=_HEAD_WIDTH)
    if is_one_end:
        end = found[0].after
        yield hanging("becomes", "START_FROM" if end is None else moment(end), width=_HEAD_WIDTH)
    if is_one_group or is_one_end:
        yield ""
    columns = [
        Column("location", key=True),
        *([] if is_one_group else [_HUBS]),
        Column("done until (UTC)"),
        *([] if is_one_end else [_BECOMES]),
        Column("sent again", number=True, optional=True),
        Column("never sent", number=True, optional=True),
        Column("sent now", number=True, optional=True),
        Column("readings, about", number=True, optional=True),
    ]
    rows = [
        [
            effect.location,
            *([] if is_one_group else [group]),
            effect.before,
            *([] if is_one_end else [end]),
            *map(_length, (effect.again, effect.never, effect.more)),
            effect.readings,
        ]
        for effect, group, end in zip(found, hubs, becomes, strict=True)
    ]
    yield table(columns, rows)
    yield ""


def asked(found: Sequence[Effect], name_hubs: NameHubs, *, never: str, act: str) -> str:
    """Say how much is concerned, and ask whether to `act`; `never` says what is so of what is not sent."""
    kinds = (
        (never, [effect for effect in found if effect.never]),
        ("will be sent again to", [effect for effect in found if effect.again]),
        ("will be sent to", [effect for effect in found if effect.more]),
    )
    said = [f"{_amount(some)}, {what} {_hubs_of(some, name_hubs)}" for what, some in kinds if some]
    return f"{'; '.join(said)}. {act}" if said else act


def _amount(found: Sequence[Effect]) -> str:
    """Say of how many locations, how long, and about how many readings that is."""
    by_location = by_key((effect.location, effect) for effect in found)
    lengths = [effect.window.end - effect.window.start for effect in found if effect.window]
    shortest, longest = span(min(lengths)), span(max(lengths))
    length = longest if shortest == longest else f"{shortest} to {longest}"
    # Windows of a location end, or begin, at one instant: what one hub gets most of is all of it.
    most = [
        max((effect.readings for effect in some if effect.readings is not None), default=None)
        for some in by_location.values()
    ]
    return f"{counted(len(by_location), 'location')} x {length}, {_readings(most)}"


def _readings(most: Sequence[int | None]) -> str:
    known = [number for number in most if number is not None]
    if not known:
        return "how many readings is not known"
    rest = len(most) - len(known)
    and_more = f" (of {counted(rest, 'location')} it is not known)" if rest else ""
    return f"about {counted(sum(known), 'reading')} by the rate of the last day{and_more}"


def _hubs_of(found: Sequence[Effect], name_hubs: NameHubs) -> str:
    return name_hubs(dict.fromkeys(hub for effect in found for hub in effect.hubs))


def _length(window: Slice | None) -> str | None:
    return None if window is None else span(window.end - window.start)
