"""`check`: of settings, login, views, hubs and state, what is right, or what to do."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta

import click

from app.budget import Budget
from app.cli import COMMANDS
from app.cli.edge import (
    ALL_WELL,
    FOUND_WANTING,
    begin,
    dashed,
    explain,
    json_option,
    said_and_advised,
)
from app.cli.output import Output, counted, hanging, moment, text
from app.errors import ForwarderError, HubRefused, LockHeld, SettingsError
from app.eventhub.hub import Hub
from app.feeds.feed import load_feed, read_answer
from app.instants import MILLISECOND, floor_to, utc_now
from app.microshare.client import MicroshareClient
from app.model import FeedState, Slice
from app.settings import FeedSettings, HubSettings, Settings
from app.state.opening import open_store
from app.state.store import StateStore

_MICROSHARE_BUDGET = timedelta(seconds=90)
_HUB_S = 15.0
_WINDOW = timedelta(minutes=1)
_SKEW_TOLERATED = timedelta(minutes=5)
_HEAD_WIDTH = 32


@dataclass(frozen=True, slots=True)
class Finding:
    """What was found of one thing; `do` is what to do about it."""

    check: str
    ok: bool
    said: str
    do: str | None = None


def _fault(check: str, message: str) -> Finding:
    """Make a finding of an error's message, which may begin with what was checked."""
    return Finding(check, False, *said_and_advised(message.removeprefix(f"{check}: ")))


class _Findings:
    """Tells each finding as it comes."""

    def __init__(self, out: Output) -> None:
        self._out = out
        self.ok = True

    def tell(self, finding: Finding) -> None:
        self.ok = self.ok and finding.ok
        if self._out.as_json:
            self._out.write_object(
                {"check": finding.check, "ok": finding.ok, "said": finding.said, "do": finding.do}
            )
            return
        mark, style = ("ok", "green") if finding.ok else ("FAILED", "bold red")
        said = finding.said + (f"; {finding.do}" if finding.do else "")
        self._out.show(hanging(f"{mark:6}  {finding.check}", said, style=style, width=_HEAD_WIDTH))

    def well(self, check: str, said: str) -> None:
        self.tell(Finding(check, True, said))

    def failed(self, check: str, error: Exception | str) -> None:
        self.tell(_fault(check, error if isinstance(error, str) else explain(error).text))

    @contextmanager
    def of(self, check: str) -> Iterator[None]:
        """Turn what fails inside into a finding, so that the next thing is checked all the same."""
        try:
            yield
        except ForwarderError as error:
            self.failed(check, error)


@click.command("check", short_help=COMMANDS["check"])
@click.option("--offline", is_flag=True, help="Look at the settings and the state folder only.")
@json_option
def command(offline: bool, as_json: bool) -> int:
    """Say of settings, login, views, hubs and state what is right, or what to do.

    Nothing is sent to a hub. The state store is tried by writing something of another name, which
    is removed again. Ends with 2 where the settings are refused: nothing else is looked at then.
    """
    out = Output(as_json=as_json)
    findings = _Findings(out)
    try:
        settings = begin(as_json=as_json)
    except SettingsError as error:
        for problem in error.problems if as_json else ():
            findings.failed("settings", problem)
        raise
    _check_settings(settings, findings)
    if not offline:
        _check_source(settings, findings)
        _check_hubs(settings, findings)
    _check_state(settings, findings, offline=offline)
    if not as_json:
        summary = "all well" if findings.ok else "something is to be done, see above"
        out.show("", text(summary, "bold" if findings.ok else "bold red"))
    return ALL_WELL if findings.ok else FOUND_WANTING


def _check_settings(settings: Settings, findings: _Findings) -> None:
    on = [feed for feed in settings.feeds.values() if feed.view_id]
    findings.well("settings", f"{counted(len(on), 'feed')} on, {counted(len(settings.hubs), 'hub')}")
    for warning in settings.warnings:
        findings.well("settings", f"warning: {warning}")
    for feed in settings.feeds.values():
        with findings.of(dashed(feed.name)):
            load_feed(feed.name)
            if not feed.view_id:
                findings.well(dashed(feed.name), "off: it has no view id, so its timer does nothing")


# --- the source -------------------------------------------------------------------------------------


def _check_source(settings: Settings, findings: _Findings) -> None:
    client = MicroshareClient(settings.microshare, Budget(_MICROSHARE_BUDGET, grace=timedelta(0)))
    try:
        with findings.of("login"):
            client.login()
            who, where = settings.microshare.username, settings.microshare.api_url
            findings.well("login", f"{who} has a token ({settings.microshare.auth} login) for {where}")
            _check_clock(client, findings)
            found: dict[tuple[str, ...], str | None] = {}
            for feed in settings.feeds.values():
                if feed.view_id:
                    if feed.cluster_ids not in found:
                        found[feed.cluster_ids] = _discover(client, feed, findings)
                    _check_view(client, feed, found[feed.cluster_ids], findings)
    finally:
        client.close()


def _check_clock(client: MicroshareClient, findings: _Findings) -> None:
    api = client.api_time()
    if api is None:
        return
    ahead = utc_now() - api
    if abs(ahead) <= _SKEW_TOLERATED:
        findings.well("clock", f"within {_SKEW_TOLERATED.total_seconds() / 60:.0f} min of the API's")
    else:
        findings.failed(
            "clock", f"{ahead.total_seconds():.0f} s ahead of the API's; set the clock of this host right"
        )


def _discover(client: MicroshareClient, feed: FeedSettings, findings: _Findings) -> str | None:
    """Check discovery; give one location to ask for."""
    first = feed.locations[0] if feed.locations else None
    if not feed.cluster_ids:
        return first
    with findings.of("discovery"):
        found = client.discover_locations(feed.cluster_ids)
        owners = sorted({place.owner for place in found.places})
        devices = sum(place.devices for place in found.places)
        findings.well(
            "discovery",
            f"{counted(len(found.places), 'location')} with {counted(devices, 'device')}, "
            f"owned by {', '.join(owners) or 'nobody'}",
        )
        for warning in found.warnings:
            findings.well("discovery", f"warning: {warning}")
        for name in found.collisions:
            findings.failed(
                "discovery", f"{name!r} is owned by two organisations; set MICROSHARE_IDENTITY to one of them"
            )
        return found.places[0].name if found.places else first
    return first


def _check_view(
    client: MicroshareClient, settings: FeedSettings, location: str | None, findings: _Findings
) -> None:
    check = f"view of {dashed(settings.name)}"
    if location is None:
        findings.failed(
            check,
            "not asked: no location is known; set MICROSHARE_PC_DEVICE_CLUSTER_ID or MICROSHARE_LOCATIONS",
        )
        return
    with findings.of(check):
        feed = load_feed(settings.name)
        end = floor_to(client.api_time() or utc_now(), MILLISECOND)
        answer = feed.ask(client.query_dashboard, settings, location, Slice(end - _WINDOW, end))
        readings = read_answer(feed.rec_type, location, answer)
        findings.well(
            check, f"answers for {location!r}: {counted(len(readings), 'reading')} in the last minute"
        )
        for warning in answer.warnings:
            findings.well(check, f"warning: {warning}")


# --- hubs -------------------------------------------------------------------------------------------


def _check_hubs(settings: Settings, findings: _Findings) -> None:
    async def check_all() -> list[Finding]:
        return await asyncio.gather(*(_check_hub(hub) for hub in settings.hubs))

    for finding in asyncio.run(check_all()):
        findings.tell(finding)


async def _check_hub(settings: HubSettings) -> Finding:
    """Open a link for sending, as a run does, and ask for the hub's properties; nothing is sent."""
    check = f"hub {settings.name}"
    if not settings.enabled:
        return Finding(check, True, f"{settings.key} is paused: it is sent nothing, and catches up later")
    hub = Hub(settings)
    try:
        largest = await hub.open(_HUB_S)
        found = f"{settings.key} can be sent to, messages of up to {largest:,} bytes"
        try:
            properties = await hub.properties(_HUB_S)
        except HubRefused:
            # A key with nothing but the Send right may be refused this, and needs no more.
            return Finding(
                check, True, f"{found}; its properties may not be read, which sending does not need"
            )
        return Finding(check, True, f"{found}, {counted(len(properties['partition_ids']), 'partition')}")
    except ForwarderError as error:
        return _fault(check, str(error))
    finally:
        await hub.close()


# --- state ------------------------------------------------------------------------------------------


def _check_state(settings: Settings, findings: _Findings, *, offline: bool) -> None:
    if settings.state.store == "table":
        if offline:
            findings.well("state", "kept in tables, which are not asked with --offline")
            return
        what = "the app in Azure uses these tables too; a forwarder that keeps files does not know of them"
    else:
        what = "files of this machine; a forwarder elsewhere, or one that keeps tables, does not know of them"
    with findings.of("state"):
        store = open_store(settings.state)
        store.probe()
        findings.well("state", f"{store.place} can be written: {what}")
        for feed in settings.feeds.values():
            if feed.view_id:
                _check_feed_state(feed, store, findings)


def _check_feed_state(feed: FeedSettings, store: StateStore, findings: _Findings) -> None:
    check = f"state of {dashed(feed.name)}"
    with findings.of(check):
        name = load_feed(feed.name).state_name
        said = _described(store.load(name))
        try:
            with store.lock(name, "check"):
                pass
        except LockHeld:
            said += "; a run is under way now"
        findings.well(check, said)


def _described(state: FeedState) -> str:
    takeover, least = state.takeover, state.least_position()
    if takeover is not None and takeover.at is None:
        position = moment(takeover.position)
        return (
            f"the earlier forwarder's position {position} in {takeover.source} is taken over by the next run"
        )
    if least is None:
        return "nothing was forwarded yet; the first run begins at START_FROM"
    return f"{counted(len(state.locations), 'location')}, all done until {moment(least)}"
