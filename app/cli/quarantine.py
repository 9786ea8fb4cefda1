"""`quarantine`: readings that hubs could not take, and sending them again."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import click

from app.base import exact_json
from app.base.errors import BatchRejected, HubError, MessageTooLarge, StateDamaged
from app.base.instants import format_time
from app.base.packed_ids import ID_LENGTH
from app.base.readings import Event, QuarantinedReading
from app.base.redaction import redact_json
from app.base.text import counted, dashed, moment, printable
from app.cli import COMMANDS, PROGRAM
from app.cli.choices import FeedName, find_feed, find_hub
from app.cli.output import hanging, text
from app.cli.session import (
    ALL_WELL,
    HUB_OPEN_S,
    HUB_SEND_S,
    SOMETHING_WRONG,
    Session,
    complain,
    confirmed,
    json_option,
    yes_option,
)
from app.cli.state_edit import write_new
from app.cli.tables import Column, FittedTable, table
from app.eventhub.batches import pack
from app.eventhub.hub import Hub
from app.feeds.feed import Feed, load_feed
from app.feeds.quarantine import NotForwardable, event_again
from app.network.addresses import run_async
from app.run.delivery import too_large
from app.settings.schema import FeedSettings, HubSettings

_HEAD_WIDTH = 10
# A reading is rarely longer; one that is was set aside for its size, and may be a megabyte long.
_SHOWN_CHARACTERS = 4_000
_FEED = Column("feed", whole=True)
_COLUMNS = (
    Column("id", key=True),
    Column("location", key=True),
    Column("hubs", key=True),
    Column("reason"),
    Column("at (UTC)"),
)


@dataclass(frozen=True, slots=True)
class _Kept:
    """A reading in quarantine, with its feed and the key it is kept under."""

    settings: FeedSettings
    feed: Feed
    key: str
    item: QuarantinedReading


@dataclass(slots=True)
class _Plan:
    """What is to be tried with one reading: its event, the hubs to send it to, and why to others not."""

    kept: _Kept
    event: Event | None
    hubs: Sequence[HubSettings] = ()
    refused: dict[str, str] = field(default_factory=dict)
    taken: list[str] = field(default_factory=list)


@click.group("quarantine", short_help=COMMANDS["quarantine"])
def command() -> None:
    """Look at readings that hubs could not take, and send them again.

    A reading that is larger than a message, has no time, or is not JSON is kept here in full, and
    blocks nothing. Nothing here is ever deleted: what is dealt with is moved aside.

    \b
    python -m app quarantine list
    python -m app quarantine show Zk1f3Qm0aB9xY7Lw
    python -m app quarantine replay --all --hub second
    """  # noqa: D301 - \b keeps click from filling the lines after it


# What begins with a dash and is no option is an id that is not there.
_WITH_AN_ID = {"ignore_unknown_options": True}
# An id may begin with one, and would be read as options of a letter each.
_LIKE_OPTIONS = re.compile(rf"-[A-Za-z0-9_-]{{{ID_LENGTH - 1}}}")


class _CommandWithAnId(click.Command):
    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        if "--" in args:
            return super().parse_args(ctx, args)
        ids = [word for word in args if _LIKE_OPTIONS.fullmatch(word)]
        options = [word for word in args if word not in ids]
        return super().parse_args(ctx, [*options, "--", *ids])


@command.command("list", short_help="List them, a line a reading.")
@click.argument("feed", metavar="[FEED]", type=FeedName(), required=False)
@json_option
def list_(feed: str | None, as_json: bool) -> int:
    """List the readings in quarantine, of one feed or of all, a line a reading."""
    session = Session.begin(as_json=as_json)
    settings, out = session.settings, session.out
    feeds = [find_feed(settings, feed)] if feed else settings.feeds.values()
    found, damaged = _found(session, feeds, lambda _: False)
    if as_json:
        for kept in found:
            out.write_object(_as_json(kept.item))
    elif found:
        out.show(_table(found, session))
    elif not damaged:
        out.show("nothing is in quarantine")
    _raise_all(damaged)
    return ALL_WELL


@command.command("show", cls=_CommandWithAnId, short_help="Show one in full.", context_settings=_WITH_AN_ID)
@click.argument("reading_id", metavar="ID")
@click.option(
    "--output",
    metavar="FILE",
    type=click.Path(path_type=Path),
    help="Write all of it into a new file (mode 0600), as --json prints it.",
)
@json_option
def show(reading_id: str, output: Path | None, as_json: bool) -> int:
    """Show a reading as it came: its tags, its entry, the object that held it. A long one is cut.

    There are two of one id where hubs refused it at different times.
    """
    session = Session.begin(as_json=as_json)
    out = session.out
    chosen = _chosen(session, reading_id)
    if output is not None:
        lines = [exact_json.dumps(redact_json(_in_full(kept.item))) + b"\n" for kept in chosen]
        write_new(output, b"".join(lines))
        out.show(f"{reading_id}: written to {output}")
        return ALL_WELL
    for kept in chosen:
        item = kept.item
        if as_json:
            out.write_object(_in_full(item))
            continue
        for head, said in (
            ("id", item.id),
            ("feed", dashed(item.feed)),
            ("location", item.location),
            ("hubs", session.name_hubs(item.hubs)),
            ("reason", item.reason),
            ("at", moment(item.at)),
        ):
            out.show(hanging(head, said, width=_HEAD_WIDTH))
        whole = exact_json.dumps(redact_json(exact_json.loads(item.text)), indent=1).decode()
        out.show(*(text(line) for line in whole[:_SHOWN_CHARACTERS].split("\n")))
        if len(whole) > _SHOWN_CHARACTERS:
            shown = f"{_SHOWN_CHARACTERS:,} of {len(whole):,} characters"
            out.show(text(f"… {shown}; --json shows all, --output FILE writes it into a file", "yellow"))
    return ALL_WELL


@command.command("replay", cls=_CommandWithAnId, short_help="Send them again.", context_settings=_WITH_AN_ID)
@click.argument("reading_id", metavar="[ID]", required=False)
@click.option("--all", "every", is_flag=True, help="All that are in quarantine.")
@click.option("--hub", "wanted", metavar="KEY", help="To this hub only, of those that could not take it.")
@click.option("--discard", is_flag=True, help="Count it as dealt with, without sending it.")
@yes_option
def replay(reading_id: str | None, every: bool, wanted: str | None, discard: bool, yes: bool) -> int:
    """Send a reading, or all of them, to the hubs that could not take it.

    For when a hub takes larger messages now, or a newer version repairs a flaw. It has the message
    id that it would have had; a snapshot goes as an update of its hour. What every hub has taken
    is moved aside, what one refuses stays, and the exit status is 1. What can never be forwarded
    (no time, no JSON) is dealt with by --discard.
    """
    if every == (reading_id is not None):
        raise click.UsageError("name one reading, or --all")
    session = Session.begin()
    hub = None if wanted is None else find_hub(session.settings, wanted)
    concerned = {kept.feed.state_name for kept in _chosen(session, reading_id)}
    if not concerned:
        session.out.show("nothing is in quarantine")
        return ALL_WELL
    # No run, and no other replay, may change what is kept meanwhile.
    with session.locked(concerned, "quarantine replay"):
        chosen = _chosen(session, reading_id, told=True)
        chosen = [kept for kept in chosen if kept.feed.state_name in concerned]
        if discard:
            return _discard(chosen, session, hub, yes=yes)
        return _replay([_plan(kept, session, hub) for kept in chosen], session, yes=yes)


# --- finding ----------------------------------------------------------------------------------------


def _found(
    session: Session, feeds: Iterable[FeedSettings], in_full: Callable[[QuarantinedReading], bool]
) -> tuple[list[_Kept], list[StateDamaged]]:
    """Give what is kept of these feeds, and what cannot be read of it.

    Readings may be large, so of those that are not wanted `in_full` the text is left out.
    """
    found: list[_Kept] = []
    damaged: list[StateDamaged] = []
    for settings in feeds:
        feed = load_feed(settings.name)
        try:
            for key, item in session.store.quarantined(feed.state_name, settings.name):
                found.append(_Kept(settings, feed, key, item if in_full(item) else replace(item, text=b"")))
        except StateDamaged as error:
            damaged.append(error)
    return found, damaged


def _chosen(session: Session, reading_id: str | None, *, told: bool = False) -> list[_Kept]:
    """Give the readings of that id, or all. Raises UsageError where there is none of that id.

    What cannot be read is complained of unless that is `told`, and left where it is. Raises StateDamaged
    where that is all there is.
    """
    found, damaged = _found(
        session, session.settings.feeds.values(), lambda item: reading_id in (None, item.id)
    )
    if reading_id is None and not found:
        _raise_all(damaged)
    for error in () if told else damaged:
        complain(str(error))
    if reading_id is None:
        return found
    chosen = [kept for kept in found if kept.item.id == reading_id]
    if not chosen:
        raise click.UsageError(
            f"{printable(reading_id)!r} is not in quarantine; see {PROGRAM} quarantine list"
        )
    return chosen


def _raise_all(damaged: Sequence[StateDamaged]) -> None:
    """Raise the last of them, and complain of the others; nothing where there is none."""
    for error in damaged[:-1]:
        complain(str(error))
    if damaged:
        raise damaged[-1]


def _as_json(item: QuarantinedReading) -> dict[str, Any]:
    return {
        "feed": item.feed,
        "id": item.id,
        "location": item.location,
        "hubs": list(item.hubs),
        "reason": item.reason,
        "at": format_time(item.at),
    }


def _in_full(item: QuarantinedReading) -> dict[str, Any]:
    return _as_json(item) | {"reading": exact_json.loads(item.text)}


def _table(found: Iterable[_Kept], session: Session) -> FittedTable:
    items = [kept.item for kept in found]
    of_several_feeds = len({item.feed for item in items}) > 1
    rows = [
        [
            *([dashed(item.feed)] if of_several_feeds else []),
            item.id,
            item.location,
            session.name_hubs(item.hubs),
            item.reason,
            item.at,
        ]
        for item in items
    ]
    return table([_FEED, *_COLUMNS] if of_several_feeds else _COLUMNS, rows)


# --- dealing with them ------------------------------------------------------------------------------


def _discard(chosen: Sequence[_Kept], session: Session, only: HubSettings | None, *, yes: bool) -> int:
    session.out.show(_table(chosen, session))
    hubs = [key for kept in chosen for key in kept.item.hubs if _is_meant(key, only)]
    question = f"{_how_many(chosen)} will never reach {session.name_hubs(dict.fromkeys(hubs))}. Continue?"
    if not confirmed(question, yes=yes):
        return SOMETHING_WRONG
    for kept in chosen:
        place = _deal_with(kept, [key for key in kept.item.hubs if _is_meant(key, only)], session)
        said = f"dealt with, kept at {place}" if place else "stays for other hubs"
        session.out.show(f"{kept.item.id}: {said}")
    return ALL_WELL


def _how_many(chosen: Sequence[_Kept]) -> str:
    """Count readings: one that several hubs could not take may be kept several times."""
    return counted(len({(kept.settings.name, kept.item.id) for kept in chosen}), "reading")


def _is_meant(key: str, only: HubSettings | None) -> bool:
    return only is None or key == only.key


def _plan(kept: _Kept, session: Session, only: HubSettings | None) -> _Plan:
    """Say to which hubs a reading can be sent, and why not to the others."""
    configured = {hub.key: hub for hub in session.settings.hubs}
    try:
        plan = _Plan(kept, event_again(kept.feed, kept.item, kept.settings))
    except NotForwardable as error:
        return _Plan(kept, None, refused=dict.fromkeys(kept.item.hubs, f"it cannot be forwarded: {error}"))
    for key in kept.item.hubs:
        if not _is_meant(key, only):
            continue
        if key not in configured:
            plan.refused[key] = "the hub is not in the settings any more"
        elif not configured[key].enabled:
            plan.refused[key] = "the hub is paused"
        else:
            plan.hubs = (*plan.hubs, configured[key])
    return plan


def _replay(plans: Sequence[_Plan], session: Session, *, yes: bool) -> int:
    to_send = [plan for plan in plans if plan.hubs]
    if not to_send and not any(plan.refused for plan in plans):
        session.out.show("nothing is kept for that hub")
    for plan in to_send:
        hubs = session.name_hubs(hub.key for hub in plan.hubs)
        session.out.show(f"{plan.kept.item.id}, {plan.kept.item.location}: is sent to {hubs}")
    meant = dict.fromkeys(hub.key for plan in to_send for hub in plan.hubs)
    question = (
        f"{_how_many([plan.kept for plan in to_send])} will be sent to {session.name_hubs(meant)}. Continue?"
    )
    if to_send and not confirmed(question, yes=yes):
        return SOMETHING_WRONG
    run_async(_send_all(to_send))
    for plan in plans:
        _tell(plan, session)
    return SOMETHING_WRONG if any(plan.refused for plan in plans) else ALL_WELL


def _tell(plan: _Plan, session: Session) -> None:
    """Tell what became of a reading, and move it away where no hub is left that lacks it."""
    item = plan.kept.item
    if plan.taken:
        place = _deal_with(plan.kept, plan.taken, session)
        done = f"; it is dealt with, and kept at {place}" if place else ""
        session.out.show(f"{item.id}: {session.name_hubs(plan.taken)} has it now{done}")
    for key, reason in plan.refused.items():
        session.out.show(text(f"{item.id}: stays for {session.name_hubs([key])}: {reason}", "yellow"))


def _deal_with(kept: _Kept, hubs: Sequence[str], session: Session) -> str | None:
    """Move a reading aside for these hubs; give its place where no hub is left that lacks it."""
    if not hubs:
        return None
    name, left = kept.feed.state_name, [hub for hub in kept.item.hubs if hub not in hubs]
    if left:
        # Written before the first is moved: a crash between leaves one too many, never one too few.
        session.store.quarantine(name, replace(kept.item, hubs=left))
    place = session.store.release(name, kept.item.feed, kept.key)
    return None if left else place


async def _send_all(plans: Sequence[_Plan]) -> None:
    """Send each plan's event to its hubs; the hubs at once, each in the order of the plans."""
    by_hub: dict[str, tuple[HubSettings, list[_Plan]]] = {}
    for plan in plans:
        for hub in plan.hubs:
            by_hub.setdefault(hub.key, (hub, []))[1].append(plan)
    await asyncio.gather(*(_send_to(hub, wanted) for hub, wanted in by_hub.values()))


async def _send_to(settings: HubSettings, plans: Sequence[_Plan]) -> None:
    hub = Hub(settings)
    waiting = list(plans)
    try:
        largest = await hub.open(HUB_OPEN_S)
        while waiting:
            await _send(hub, waiting[0], largest)
            waiting.pop(0)
    except HubError as error:
        for plan in waiting:
            plan.refused[settings.key] = str(error)
    finally:
        await hub.close()


async def _send(hub: Hub, plan: _Plan, largest: int) -> None:
    """Send one event; note what came of it. Raises HubError where the hub takes nothing any more."""
    key = hub.settings.key
    if plan.event is None:
        return
    packed = pack([plan.event], largest, plan.kept.feed.parts, hub.settings.form)
    if packed.oversize:
        plan.refused[key] = too_large(largest, hub.settings.form)
        return
    try:
        for batch in packed.batches:
            await hub.send(batch, HUB_SEND_S)
    except (BatchRejected, MessageTooLarge) as error:
        plan.refused[key] = str(error)
        return
    plan.taken.append(key)
