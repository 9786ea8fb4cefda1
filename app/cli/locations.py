"""`locations`: what discovery finds now."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field

import click

from app.base.budget import Budget
from app.base.text import dashed
from app.cli import COMMANDS
from app.cli.output import Output
from app.cli.session import ALL_WELL, DISCOVERY_TIME, SOMETHING_WRONG, begin, complain, json_option
from app.cli.tables import Column, table
from app.feeds.feed import name_in_view, why_not_asked
from app.microshare.client import MicroshareClient
from app.microshare.discovery import shared_identities
from app.settings.schema import Settings

_SNAPSHOTS = "hourly_snapshot"


@dataclass(slots=True)
class _Row:
    owner: str | None = None
    devices: int | None = None
    configured: bool = False
    feeds: list[str] = field(default_factory=list)
    snapshot_name: str | None = None


@click.command("locations", short_help=COMMANDS["locations"])
@json_option
def command(as_json: bool) -> int:
    """List the locations that discovery finds now, and those that are configured too.

    The name that snapshots are asked by is shown too: a wrong one is answered with nothing.
    """
    settings = begin(as_json=as_json)
    rows, warnings, collisions = _find(settings)
    refused = list(dict.fromkeys(_not_asked(rows, settings)))
    out = Output(as_json=as_json)
    if as_json:
        for name, row in rows.items():
            out.write_object({"location": name, **asdict(row)})
    else:
        _show(rows, out)
    for warning in warnings:
        complain(f"warning: {warning}")
    for name in collisions:
        complain(
            f"refused: {name!r} is owned by two organisations, and readings do not say whose they are; "
            "set MICROSHARE_IDENTITY to one of them"
        )
    for why in refused:
        complain(f"refused: {why}")
    return SOMETHING_WRONG if collisions or refused else ALL_WELL


def _not_asked(rows: Mapping[str, _Row], settings: Settings) -> Iterator[str]:
    for location, row in rows.items():
        for feed in row.feeds:
            if why := why_not_asked(location, settings.feeds[feed]):
                yield why


def _find(settings: Settings) -> tuple[dict[str, _Row], list[str], list[str]]:
    """Discover for each feed that is on, the same clusters once. Raises SourceError."""
    feeds = {name: feed for name, feed in settings.feeds.items() if feed.view_id}
    rows: dict[str, _Row] = {}
    warnings: dict[str, None] = {}
    collisions: dict[str, None] = {}
    client = MicroshareClient(settings.microshare, Budget(DISCOVERY_TIME))
    try:
        for clusters in dict.fromkeys(feed.cluster_ids for feed in feeds.values() if feed.cluster_ids):
            found = client.discover_locations(clusters)
            asking = [name for name, feed in feeds.items() if feed.cluster_ids == clusters]
            for place in found.places:
                row = rows.setdefault(place.name, _Row())
                row.owner, row.devices = place.owner, max(place.devices, row.devices or 0)
                row.feeds += asking
            warnings |= dict.fromkeys(found.warnings)
            collisions |= dict.fromkeys(found.collisions)
    finally:
        client.close()
    for name, feed in feeds.items():
        for location in feed.locations:
            row = rows.setdefault(location, _Row())
            row.configured = True
            row.feeds += [] if name in row.feeds else [name]
    for location, row in rows.items():
        if _SNAPSHOTS in row.feeds:
            row.snapshot_name = name_in_view(location, feeds[_SNAPSHOTS])
    shared = shared_identities(
        (row.owner for row in rows.values() if row.owner), settings.microshare.identity
    )
    return dict(sorted(rows.items())), [*warnings, *shared], list(collisions)


def _show(rows: Mapping[str, _Row], out: Output) -> None:
    if not rows:
        out.show("there is no location: set MICROSHARE_PC_DEVICE_CLUSTER_ID, or MICROSHARE_LOCATIONS")
        return
    columns = [
        Column("location", key=True),
        Column("owner"),
        Column("devices", number=True),
        Column("in snapshots"),
        Column("feeds"),
    ]
    shown = [
        [
            name,
            row.owner or "configured",
            row.devices,
            row.snapshot_name,
            ", ".join(map(dashed, row.feeds)),
        ]
        for name, row in rows.items()
    ]
    out.show(table(columns, shown))
