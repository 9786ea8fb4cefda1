"""`status`: how far every hub is, from the state alone."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any

import click

from app.cli import COMMANDS
from app.cli.edge import ALL_WELL, FOUND_WANTING, begin, dashed, json_option
from app.cli.output import Column, Output, counted, minute, moment, span, table, text
from app.errors import StateError
from app.feeds.feed import load_feed
from app.instants import format_time, parse_time, utc_now
from app.model import FeedState, HubRecord, LocationState
from app.report import gap_json
from app.settings import FeedSettings, Settings
from app.state.opening import open_store
from app.state.store import StateStore


@click.command("status", short_help=COMMANDS["status"])
@json_option
def command(as_json: bool) -> int:
    """Show how far every hub is, at every location: what it got, what failed last, and gaps.

    Reads the state only, also while a run is under way. Nothing is asked of Microshare or of hubs.
    """
    settings = begin(as_json=as_json)
    out = Output(as_json=as_json)
    store = open_store(settings.state)
    ok = True
    for number, feed in enumerate(settings.feeds.values()):
        found = _status(feed, settings, store)
        ok = ok and found["ok"]
        if as_json:
            out.write_object(found)
            continue
        if number:
            out.show("")
        _show(found, out)
    return ALL_WELL if ok else FOUND_WANTING


def _status(feed: FeedSettings, settings: Settings, store: StateStore) -> dict[str, Any]:
    if not feed.view_id:
        return {"feed": feed.name, "ok": True, "off": True}
    try:
        state = store.load(load_feed(feed.name).state_name)
    except StateError as error:
        return {"feed": feed.name, "ok": False, "error": str(error)}
    return _state_json(feed, settings, state, utc_now())


def _state_json(feed: FeedSettings, settings: Settings, state: FeedState, now: datetime) -> dict[str, Any]:
    """Give the documented JSON object; fields are only ever added."""
    locations = [
        _location_json(name, location, now, asked=_is_asked(name, location, feed, state))
        for name, location in sorted(state.locations.items())
    ]
    asked = [location for name, location in state.locations.items() if _is_asked(name, location, feed, state)]
    configured = {hub.key: hub for hub in settings.hubs}
    known = {key for location in state.locations.values() for key in (*location.checkpoints, *location.hubs)}
    hubs = {}
    for key in [*configured, *sorted(known - configured.keys())]:
        hub = configured.get(key)
        hubs[key] = {
            "name": hub.name if hub else key,
            "paused": hub is not None and not hub.enabled,
            "removed": hub is None,
            **_hub_json(key, asked, state.locations.values(), now),
        }
    least = state.least_position()
    return {
        "feed": feed.name,
        "ok": _is_well(state, asked, [hub.key for hub in settings.hubs if hub.enabled]),
        "last_run": state.last_run,
        "last_fetch_timestamp": least and format_time(least),
        "total_events_sent": state.total_events(),
        "total_duplicates_skipped": state.total_duplicates(),
        "takeover": _takeover_json(state),
        "hubs": hubs,
        "locations": locations,
        "gaps": [
            gap_json(name, gap) for name, found in sorted(state.locations.items()) for gap in found.gaps
        ],
    }


def _is_asked(name: str, location: LocationState, feed: FeedSettings, state: FeedState) -> bool:
    """Whether a run still asks for the location: one that is gone stays where it is, and is not behind."""
    if name in feed.locations:
        return True
    return location.last_listed is not None and not state.is_gone(location)


def _is_well(state: FeedState, asked: Sequence[LocationState], enabled: Sequence[str]) -> bool:
    """Whether the last run ended well, and no location that is asked for, or hub that is on, has an error."""
    if state.last_run is not None and not state.last_run.get("ok", True):
        return False
    return not any(
        location.error or any(record.error for key, record in location.hubs.items() if key in enabled)
        for location in asked
    )


def _hub_json(
    key: str, asked: Iterable[LocationState], ever: Iterable[LocationState], now: datetime
) -> dict[str, Any]:
    """Sum a hub up: the least position and the longest-lasting error of what is asked for, all its counts."""
    asked = list(asked)
    positions = [found.checkpoints[key].delivered_until for found in asked if key in found.checkpoints]
    records = [found.hubs[key] for found in ever if key in found.hubs]
    failing = [found.hubs[key] for found in asked if key in found.hubs and found.hubs[key].error]
    worst = min(failing, key=lambda record: record.since or now, default=HubRecord())
    summed = HubRecord(
        events=sum(record.events for record in records),
        readings=sum(record.readings for record in records),
        duplicates=sum(record.duplicates for record in records),
        last_success=max((record.last_success for record in records if record.last_success), default=None),
        error=worst.error,
        since=worst.since,
    )
    return {**_position_json(min(positions, default=None), now), **_record_json(summed)}


def _location_json(name: str, location: LocationState, now: datetime, *, asked: bool) -> dict[str, Any]:
    hubs = {
        key: {
            **_position_json(checkpoint.delivered_until, now),
            "known_from": format_time(checkpoint.known_from),
            **_record_json(location.hubs.get(key, HubRecord())),
        }
        for key, checkpoint in sorted(location.checkpoints.items())
    }
    return {
        "location": name,
        "asked": asked,
        "last_listed": _time(location.last_listed),
        "newest": _time(location.newest),
        "error": location.error,
        "since": _time(location.since),
        "hubs": hubs,
    }


def _position_json(position: datetime | None, now: datetime) -> dict[str, Any]:
    behind = None if position is None else round(max(0.0, (now - position).total_seconds()), 3)
    return {"delivered_until": _time(position), "behind_s": behind}


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


# --- for people -------------------------------------------------------------------------------------

_FIGURES = [
    Column("done until (UTC)", whole=True),
    Column("behind", number=True),
    Column("events", number=True),
    Column("readings", number=True),
    Column("duplicates", number=True),
]


def _show(found: Mapping[str, Any], out: Output) -> None:
    feed = dashed(found["feed"])
    if found.get("off"):
        out.show(f"{feed}: off, it has no view id")
        return
    if "locations" not in found:
        out.show(text(f"{feed}: {found['error']}", "bold red"))
        return
    out.show(text(f"{feed}: {_last_run(found)}", "bold" if found["ok"] else "bold red"))
    if not found["locations"]:
        return
    names = {key: hub["name"] for key, hub in found["hubs"].items()}
    out.show(table([Column("hub"), *_FIGURES, Column("last success", whole=True)], _hub_rows(found)), "")
    out.show(table([Column("location"), Column("hub"), *_FIGURES], _location_rows(found, names)))
    problems = list(_problems(found, names))
    if problems:
        out.show("", *(text(said, style) for style, said in problems))


def _last_run(found: Mapping[str, Any]) -> str:
    takeover, run = found["takeover"], found["last_run"]
    if run is None:
        if takeover is not None and takeover["at"] is None:
            return (
                f"nothing was forwarded yet; the next run takes over the earlier forwarder's position "
                f"{_moment(takeover['position'])} from {takeover['source']}"
            )
        return "nothing was forwarded yet"
    how = "well" if run.get("ok", True) else f"with failures: {run.get('error') or 'its report says which'}"
    return f"the last run ended {_moment(run.get('ended'))}, {how}"


def _hub_rows(found: Mapping[str, Any]) -> Iterator[list[object]]:
    for hub in found["hubs"].values():
        mark = " (removed)" if hub["removed"] else " (paused)" if hub["paused"] else ""
        yield [hub["name"] + mark, *_figures(hub), _minute(hub["last_success"])]


def _location_rows(found: Mapping[str, Any], names: Mapping[str, str]) -> Iterator[list[object]]:
    for location in found["locations"]:
        name = location["location"] + ("" if location["asked"] else " (gone)")
        for key, hub_name in names.items():
            if key in location["hubs"]:
                yield [name, hub_name, *_figures(location["hubs"][key])]
                name = ""


def _figures(hub: Mapping[str, Any]) -> list[object]:
    return [
        _minute(hub["delivered_until"]),
        span(hub["behind_s"]),
        hub["events"],
        hub["readings"],
        hub["duplicates"],
    ]


def _problems(found: Mapping[str, Any], names: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    """Give lines with their style: errors that last, each once, then gaps."""
    for location in found["locations"]:
        if location["error"] and location["asked"]:
            yield "red", f"{location['location']}: {location['error']} (since {_moment(location['since'])})"
    for key, hub in found["hubs"].items():
        if hub["error"] and not hub["removed"]:
            where = [
                place["location"]
                for place in found["locations"]
                if place["asked"] and place["hubs"].get(key, {}).get("error")
            ]
            at = where[0] if len(where) == 1 else counted(len(where), "location")
            yield "red", f"{names[key]}, at {at}: {hub['error']} (since {_moment(hub['since'])})"
    for gap in found["gaps"]:
        hubs = ", ".join(names.get(key, key) for key in gap["hubs"]) or "all hubs"
        window = f"{_moment(gap['from'])} to {_moment(gap['to'])}"
        yield "yellow", f"gap: {gap['location']}, {window}, {gap['cause']}, {hubs}"


def _moment(written: str | None) -> str:
    return moment(parse_time(written)) if written else "-"


def _minute(written: str | None) -> str:
    return minute(parse_time(written)) if written else "-"
