"""`state`: look at a feed's state, copy it, move it elsewhere, and change it by hand."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import click

from app.base.checkpoints import FeedState
from app.base.errors import StateDamaged
from app.base.files import STANDARD_OUTPUT, own_descriptor
from app.base.instants import parse_time
from app.base.packed_ids import ID_LENGTH
from app.base.text import counted, dashed, moment, printable
from app.cli import COMMANDS, PROGRAM
from app.cli.choices import feed_argument
from app.cli.output import hanging, text
from app.cli.session import ALL_WELL, Session, json_option, yes_option
from app.cli.state_edit import Change, StateEdit, exported, imported, summed_up, write_new
from app.state import document as documents
from app.state.edits import Part, move, reset, skip

_Command = TypeVar("_Command", bound=Callable[..., Any])


@click.group("state", short_help=COMMANDS["state"])
def command() -> None:
    """Look at a feed's state, copy it, move it elsewhere, or change it by hand.

    What changes something takes the feed's run lock, says what will be sent again or never, asks
    (or wants --yes), and writes an export of what there was first: in STATE_DIR/backups, with a
    table in the current folder, or to --backup FILE. `state import` of that undoes it.

    \b
    python -m app state show people-counter --location 'Beacon House'
    python -m app state export people-counter --output before.json
    python -m app state skip people-counter --to 2026-03-02T12:00Z
    python -m app state reset people-counter --hub second --to 2026-03-01

    \b
    Ways back from a damaged state, or a lost one with its backup left:
      python -m app state import people-counter STATE_DIR/NAME.json.bak
      python -m app state reset people-counter    start over at START_FROM
    """  # noqa: D301 - \b keeps click from filling the lines after it


def _part_options(function: _Command) -> _Command:
    for option in (
        click.option("--hub", metavar="KEY", help="This hub only, by key or name; all unless given."),
        click.option("--location", metavar="NAME", help="This location only; all unless given."),
    ):
        function = option(function)
    return function


_backup_option = click.option(
    "--backup", metavar="FILE", type=click.Path(path_type=Path), help="Where the export of before goes."
)


# --- looking, and copying ---------------------------------------------------------------------------


@command.command("show", short_help="Show positions, ids by hour, counts, errors and gaps.")
@feed_argument
@_part_options
@json_option
def show(feed: str, location: str | None, hub: str | None, as_json: bool) -> int:
    """Show a feed's state as it is kept: positions, known_from, ids by hour, counts, errors, gaps.

    Nothing before known_from is ever read. With --json the ids of an hour are their number.
    """
    edit = StateEdit.begin(feed, as_json=as_json)
    state = edit.load()
    part = edit.part(state, location, hub)
    found = {"feed": edit.feed.name, **_as_shown(edit.name, state, part)}
    if as_json:
        edit.session.out.write_object(found)
    else:
        _show(found, edit.session)
    return ALL_WELL


@command.command("export", short_help="Write a feed's whole state as one JSON text.")
@feed_argument
@click.option(
    "--output",
    metavar="FILE",
    type=click.Path(path_type=Path),
    help="A new file (mode 0600); standard output unless given, or for -.",
)
def export(feed: str, output: Path | None) -> int:
    """Write a feed's whole state, ids included, as one JSON text: what `state import` reads.

    It has the form of the JSON store's own file, so a file or its .bak can be imported too.
    """
    edit = StateEdit.begin(feed)
    state = edit.load()
    if output is None or own_descriptor(output) == STANDARD_OUTPUT:
        edit.session.out.write_document(exported(edit.name, state))
    else:
        write_new(output, exported(edit.name, state))
        edit.show(f"{dashed(edit.feed.name)}: {summed_up(state)}, written to {output}")
    return ALL_WELL


# --- changing ---------------------------------------------------------------------------------------


@command.command("import", short_help="Replace a feed's state by an exported one.")
@feed_argument
@click.argument("file", metavar="FILE", type=click.Path(path_type=Path))
@_backup_option
@yes_option
def import_(feed: str, file: Path, backup: Path | None, yes: bool) -> int:
    """Replace a feed's state by an exported one: into this store, whichever the file comes from.

    This moves a forwarder from files to tables and back, without loss. FILE may also be the JSON
    store's file or its .bak: the way back where a state is damaged, which is then moved aside.
    Stop the forwarder that the file comes from first.
    """
    edit = StateEdit.begin(feed)
    after, place = imported(file, edit.name), edit.session.store.place

    def replacement(before: FeedState, damage: StateDamaged | None) -> Change:
        return Change(
            after,
            f"Replace the state at {place}?",
            never="the file says that it was, so nothing of it is read again",
            unsent="will count as sent to",
            said=f"{file} holds {summed_up(after)}",
            remarks=list(_remarks_on_import(before, after, damage, edit.session)),
        )

    def change(before: FeedState) -> Change | str:
        if before == after:
            return f"{dashed(edit.feed.name)}: {place} holds this state already"
        return replacement(before, None)

    mend = partial(replacement, FeedState())
    return edit.carry_out("state import", change, mend=mend, backup=backup, yes=yes)


@command.command("skip", short_help="Move positions forward: what is in between is never sent.")
@feed_argument
@click.option("--to", metavar="TIME", required=True, help="An ISO time in UTC, or a duration back: 0s, 6h.")
@_part_options
@_backup_option
@yes_option
def skip_command(
    feed: str, to: str, location: str | None, hub: str | None, backup: Path | None, yes: bool
) -> int:
    """Move positions forward to TIME. What is in between is never sent, and kept as a gap `left behind`.

    Nothing before TIME is read again either, whatever the look-back says. Positions that are past
    TIME stay. `state import` of the export that is written first takes it back.
    """
    edit = StateEdit.begin(feed)
    instant = edit.instant(to)

    def change(before: FeedState) -> Change | str:
        part = edit.part(before, location, hub)
        edit.require_positions(before, part)
        after = skip(before, part, instant, edit.now)
        if after == before:
            return f"nothing to skip: all positions are at {moment(instant)} or past it"
        return Change(after, "Continue?")

    return edit.carry_out("state skip", change, backup=backup, yes=yes)


@command.command("move", short_help="Let a renamed location go on from where its earlier name stopped.")
@feed_argument
@click.option("--from", "former", metavar="NAME", required=True, help="The location's earlier name.")
@click.option("--to", "name", metavar="NAME", required=True, help="Its name now.")
@_backup_option
@yes_option
def move_command(feed: str, former: str, name: str, backup: Path | None, yes: bool) -> int:
    """Let the hubs of a renamed location go on from where they stopped under its earlier name.

    What they have under the earlier name is not sent under the new one. Counts and gaps go over; the
    earlier name is still asked for, until two days after discovery last listed it. Positions of the
    new name that are past the earlier one's stay; where it began past that, it is set back.
    """
    edit = StateEdit.begin(feed)

    def change(before: FeedState) -> Change | str:
        edit.require_positions(before, edit.part(before, former, None))
        edit.require_known(before, name)
        after = move(before, former, name)
        if former == name or after == before:
            return f"nothing to move: {printable(name)} is where {printable(former)} stopped, or past it"
        return Change(
            after,
            f"Go on there as {printable(name)}?",
            never=f"it was sent as {printable(former)}",
            unsent="will count as sent to",
        )

    return edit.carry_out("state move", change, backup=backup, yes=yes)


@command.command("reset", short_help="Forget positions and ids, to start over.")
@feed_argument
@click.option("--to", metavar="TIME", help="Begin there instead: an ISO time in UTC, or a duration back.")
@_part_options
@_backup_option
@yes_option
def reset_command(
    feed: str, to: str | None, location: str | None, hub: str | None, backup: Path | None, yes: bool
) -> int:
    """Forget positions and ids, so that the next run begins at START_FROM, or at TIME.

    All that the source shows since then is sent, again where a hub has it, with the same message
    ids. Counts and gaps stay. A state that is damaged, or gone with its backup left, is moved aside,
    never deleted; `state import` of its backup loses less, so try that first.
    """
    edit = StateEdit.begin(feed)
    instant = None if to is None else edit.instant(to)

    def change(before: FeedState) -> Change | str:
        part = edit.part(before, location, hub)
        after = reset(before, part, instant, edit.start, edit.now)
        if after == before and instant is None:
            return "nothing to forget: there is no position yet, the next run begins at START_FROM"
        edit.require_positions(before, part, but_takeover=instant is None and part.is_all)
        return Change(after, "Continue?")

    def mend(damage: StateDamaged) -> Change:
        if instant is not None or location is not None or hub is not None:
            raise click.UsageError(
                f"{damage}; leave out --location, --hub and --to, as a damaged state can be reset as a whole "
                "only, and set START_FROM to begin elsewhere"
            )
        said = (
            f"all positions are unknown: everything since START_FROM, {moment(edit.start)} now, is sent "
            "again, with the same message ids; what a hub lacked of the time before is never sent"
        )
        return Change(None, "Move it aside, and start over?", said=said)

    return edit.carry_out("state reset", change, mend=mend, backup=backup, yes=yes)


def _remarks_on_import(
    before: FeedState, after: FeedState, damage: StateDamaged | None, session: Session
) -> Iterator[str]:
    if damage is not None:
        yield "what was sent since the file was written is sent again, with the same message ids"
    if after.takeover is not None and after.takeover.at is None:
        yield f"the next run takes over the earlier forwarder's position {moment(after.takeover.position)}"
    known = {hub for location in after.locations.values() for hub in location.checkpoints}
    configured = {hub.key for hub in session.settings.hubs}
    if after.locations and configured - known:
        yield f"not in the file, so it begins at START_FROM: {session.name_hubs(sorted(configured - known))}"
    if known - configured:
        yield f"in the file, and not in the settings, so it waits: {', '.join(sorted(known - configured))}"
    gone = sorted(before.locations.keys() - after.locations.keys())
    if gone:
        yield f"not in the file, and forgotten: {', '.join(map(printable, gone))}"


# --- showing ----------------------------------------------------------------------------------------


def _as_shown(name: str, state: FeedState, part: Part) -> dict[str, Any]:
    """Give the document of what is meant, with the number of ids in place of the ids."""
    chosen = {
        key: replace(
            location,
            checkpoints={hub: found for hub, found in location.checkpoints.items() if part.has(key, hub)},
            hubs={hub: found for hub, found in location.hubs.items() if part.has(key, hub)},
            gaps=tuple(
                gap for gap in location.gaps if not gap.hubs or any(part.has(key, hub) for hub in gap.hubs)
            ),
        )
        for key, location in state.locations.items()
        if part.location in (None, key)
    }
    document = documents.whole_document(name, replace(state, locations=chosen))
    document |= documents.feed_document(state)
    for location in document["locations"].values():
        for group in location["groups"]:
            group["ids"] = {hour: len(ids) // ID_LENGTH for hour, ids in group["ids"].items()}
    return document


def _show(found: Mapping[str, Any], session: Session) -> None:
    out = session.out
    out.show(text(f"{dashed(found['feed'])}: {found['name']} in {session.store.place}", "bold"))
    for head, said in _of_the_feed(found):
        out.show(hanging(head, said, width=_HEAD_WIDTH))
    for name, location in found["locations"].items():
        out.show("", text(name, "bold"))
        for head, said in _of_a_location(location, session):
            out.show(hanging(head, said, width=_HEAD_WIDTH))


_HEAD_WIDTH = 14


def _of_the_feed(found: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    skipped = counted(found["total_duplicates_skipped"], "duplicate")
    yield "totals", f"{counted(found['total_events_sent'], 'event')}, {skipped}"
    discovery, takeover, run = found["discovery"], found["takeover"], found["last_run"]
    if discovery is not None:
        places = counted(len(discovery["places"]), "location")
        yield "discovery", f"{places} at {_moment(discovery['at'])}"
    if takeover is not None:
        taken = "by the next run" if takeover["at"] is None else f"at {_moment(takeover['at'])}"
        yield "takeover", f"{_moment(takeover['position'])} from {takeover['source']}, taken over {taken}"
    if run is not None:
        ended = _moment(run.get("ended"))
        yield (
            "last run",
            f"{run.get('run')}, succeeded {ended}"
            if run.get("ok", True)
            else f"{run.get('run')}, ended {ended}, with failures: {run.get('error')}",
        )
    if not found["locations"]:
        yield "locations", f"none yet; see {PROGRAM} status"


def _of_a_location(location: Mapping[str, Any], session: Session) -> Iterator[tuple[str, str]]:
    seen = f"listed {_moment(location['last_listed'])}, newest reading {_moment(location['newest'])}"
    yield "  seen", seen
    if location["error"]:
        yield "  error", f"{location['error']} (since {_moment(location['since'])})"
    for group in location["groups"]:
        yield "  hubs", session.name_hubs(group["hubs"])
        positions = (
            f"done until {_moment(group['delivered_until'])}, known from {_moment(group['known_from'])}"
        )
        yield "    position", positions
        by_hour = ", ".join(f"{hour[:10]} {hour[11:]}h {count:,}" for hour, count in group["ids"].items())
        yield "    ids", by_hour or "none"
    for key, hub in location["hubs"].items():
        counts = ", ".join(counted(hub[f"{noun}s"], noun) for noun in ("event", "reading", "duplicate"))
        error = f"; {hub['error']} (since {_moment(hub['since'])})" if hub["error"] else ""
        yield (
            "  counts",
            f"{session.name_hubs([key])}: {counts}, last success {_moment(hub['last_success'])}{error}",
        )
    for gap in location["gaps"]:
        whom = session.name_hubs(gap["hubs"]) or "all hubs"
        stretch = f"{_moment(gap['from'])} to {_moment(gap['to'])}"
        yield "  gap", f"{stretch}, {gap['cause']}, {whom}, found {_moment(gap['found'])}"


def _moment(written: str | None) -> str:
    return moment(parse_time(written)) if written else "-"
