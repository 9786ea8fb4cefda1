"""`check`: of all that a run needs, what is right, or what to do; to begin with when anything is wrong."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Iterator
from contextlib import nullcontext, suppress
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from pathlib import Path

import click

from app.base.checkpoints import FeedState
from app.base.errors import (
    ForwarderError,
    HubRefused,
    HubUnreachable,
    LockHeld,
    SettingsError,
    StateError,
)
from app.base.instants import utc_now
from app.base.text import counted, dashed, moment
from app.cli import COMMANDS
from app.cli.check_host import check_disk, check_host_file, check_rights, check_schedule, check_versions
from app.cli.check_results import CheckResult, CheckResults, doubt, fault
from app.cli.check_source import check_source
from app.cli.output import Output, text
from app.cli.session import ALL_WELL, HUB_OPEN_S, SOMETHING_WRONG, begin, json_option
from app.eventhub.connecting import bypassed_proxy, hub_url
from app.eventhub.hub import Hub
from app.feeds.feed import load_feed
from app.network.addresses import run_async
from app.network.identity import identity_name
from app.network.probing import WAY_S, Way, walk
from app.settings.connection_strings import insights_url, policy_of, signature_end, table_url
from app.settings.network import shown_proxy
from app.settings.scale_out import POISON, QUEUE
from app.settings.schema import FeedSettings, HubSettings, Settings, StateSettings
from app.settings.sources import differs_from_local_settings, find_sources
from app.state.opening import open_store
from app.state.store import MendableStore, StateStore
from app.telemetry.packages import lacking_for_telemetry

_ALL_RIGHTS = "RootManageSharedAccessKey"
_ENDS_SOON = timedelta(days=7)


@click.command("check", short_help=COMMANDS["check"])
@click.option("--offline", is_flag=True, help="Look at what this machine has only: settings, state folder.")
@click.option("--all-locations", is_flag=True, help="Ask for a day of every location, not of 20 at most.")
@click.option("--sizing", is_flag=True, help="Say what the feeds need at their size; check nothing.")
@json_option
def command(offline: bool, all_locations: bool, sizing: bool, as_json: bool) -> int:
    """Say of all that a run needs what is right, or what to do.

    Settings, versions, schedules with the next times, the login and its rights, clocks, views,
    locations that give nothing, hubs, the state store and its lock, the queue of shards. Nothing is sent
    to a hub. State store and queue are tried by writing something of another name, which is removed again.

    Ends with 1 where something is wrong; what is only doubtful is marked `warn`. Ends with 2 where
    the settings are refused: nothing else is looked at then.

    With --sizing, what the feeds need at their size, and which switch to turn: API calls, questions at
    once, throughput units, transactions, memory, money. Each figure says where it is from: settings, the
    state, the last runs, or assumed. Only the state is asked.
    """
    if sizing and (offline or all_locations):
        raise click.UsageError("--sizing checks nothing; leave out --offline and --all-locations with it")
    out = Output(as_json=as_json)
    if sizing:
        from app.cli.check_sizing import show_sizing

        settings = begin(as_json=as_json)
        show_sizing(settings, open_store(settings.state), out)
        return ALL_WELL
    findings = CheckResults(out)
    try:
        settings = begin(as_json=as_json)
    except SettingsError as error:
        for problem in error.problems if as_json else ():
            findings.failed("settings", problem)
        raise
    now = utc_now()
    _check_settings(settings, findings)
    check_rights(settings, findings)
    check_versions(findings, now.date())
    check_host_file(settings, findings)
    for feed in _on(settings):
        check_schedule(feed, settings, findings, now)
    opened = _opened(settings)
    if not offline:
        check_source(
            settings,
            _known_states(settings, opened),
            findings,
            all_locations=all_locations,
            store=None if isinstance(opened, StateError) else opened,
        )
        _check_hubs(settings, findings, now)
    _check_telemetry(settings, findings, offline=offline)
    _check_state(settings, opened, findings, offline=offline)
    _check_queue(settings, findings, offline=offline)
    if not as_json:
        out.show("", text(findings.summary(), "bold" if findings.ok else "bold red"))
    return ALL_WELL if findings.ok else SOMETHING_WRONG


def _on(settings: Settings) -> list[FeedSettings]:
    return [feed for feed in settings.feeds.values() if feed.view_id]


def _check_settings(settings: Settings, findings: CheckResults) -> None:
    hubs = counted(len(settings.hubs), "hub")
    sources = find_sources()
    read = [str(path) for path in (sources.config_file, sources.env_file) if path]
    on = counted(len(_on(settings)), "feed")
    findings.well("settings", f"{on} on, {hubs}, as {', '.join(read)} and the environment say", files=read)
    if sources.covered:
        findings.warn(
            "settings",
            f"{', '.join(sources.covered)}: the environment has another value than {sources.env_file}, and "
            "it counts; unset it in this shell, or make both the same",
        )
    for warning in settings.warnings:
        findings.warn("settings", warning)
    views = Counter(feed.view_id for feed in _on(settings))
    for view_id in (view_id for view_id, feeds in views.items() if feeds > 1):
        findings.warn(
            "settings", f"{view_id} is the view of two feeds; correct one of them: a view serves one feed"
        )
    others = differs_from_local_settings()
    if others:
        findings.warn(
            "settings",
            f"local.settings.json, which `func start` reads and this command does not, has other values of "
            f"{', '.join(others)}; make them the same here and there",
        )
    for feed in settings.feeds.values():
        with findings.of(dashed(feed.name)):
            load_feed(feed.name)
            if not feed.view_id:
                findings.well(dashed(feed.name), "off: it has no view id, so its timer does nothing")


def _opened(settings: Settings) -> MendableStore | StateError:
    """Open the state store; what keeps it from being opened is told when its turn has come."""
    try:
        return open_store(settings.state)
    except StateError as error:
        return error


def _known_states(settings: Settings, opened: MendableStore | StateError) -> dict[str, FeedState]:
    """Give the states that can be read, to know whom to ask for first; what is wrong with one comes later."""
    states: dict[str, FeedState] = {}
    if isinstance(opened, StateError):
        return states
    for feed in _on(settings):
        with suppress(StateError, SettingsError):
            states[feed.name] = opened.load(load_feed(feed.name).state_name)
    return states


# --- hubs -------------------------------------------------------------------------------------------


def _check_hubs(settings: Settings, findings: CheckResults, now: datetime) -> None:
    async def check_all() -> list[_OfHub]:
        return await asyncio.gather(*(_check_hub(hub) for hub in settings.hubs))

    checked = run_async(check_all())
    some_reached = any(of_hub.reached for of_hub in checked)
    for hub, of_hub in zip(settings.hubs, checked, strict=True):
        findings.tell(_with_form(of_hub.finding(beside_others=some_reached), hub))
        for further in (*_key_findings(hub, now), *_proxy_findings(hub)):
            findings.tell(further)


def _with_form(found: CheckResult, hub: HubSettings) -> CheckResult:
    """Add how events go to a hub: for people where it is not failing, and not as to any other."""
    said = "; ".join(filter(None, [found.said, hub.form.said() if found.ok else ""]))
    return replace(found, said=said, facts={**found.facts, **hub.form.as_json()})


def _key_findings(hub: HubSettings, now: datetime) -> Iterator[CheckResult]:
    """Tell what a connection string itself shows of its key: more rights than needed, or an end."""
    check = f"hub {hub.name}"
    if hub.connection_string is None:
        return
    if policy_of(hub.connection_string) == _ALL_RIGHTS:
        yield doubt(
            check,
            f"its key {_ALL_RIGHTS} may manage the whole namespace; make a policy of the event hub with "
            "the Send right only, and use its connection string",
        )
    end = signature_end(hub.connection_string)
    if end is not None and end <= now:
        yield fault(check, f"its SharedAccessSignature ended at {moment(end)}; make a new one")
    elif end is not None and end <= now + _ENDS_SOON:
        yield doubt(check, f"its SharedAccessSignature ends at {moment(end)}; make a new one before")


def _proxy_findings(hub: HubSettings) -> Iterator[CheckResult]:
    """Tell where a proxy is set that this hub is not reached through."""
    proxy = bypassed_proxy(hub) if hub.enabled else None
    if proxy is not None:
        yield doubt(
            f"hub {hub.name}",
            f"it is reached past the proxy {shown_proxy(proxy)}, which carries no AMQP over TCP; set "
            "EVENT_HUB_TRANSPORT=websockets to go through it, or name the host in NO_PROXY",
        )


def _check_telemetry(settings: Settings, findings: CheckResults, *, offline: bool) -> None:
    if settings.telemetry is None:
        return
    if lacks := lacking_for_telemetry():
        findings.warn("telemetry", lacks)
        return
    if offline:
        return
    way = walk(settings.telemetry.network, insights_url(settings.telemetry.connection_string), WAY_S)
    if way.stopped:
        said = f"{way.host} is not reached ({way.stopped}), and runs go on without it"
        told = doubt("telemetry", f"{said}; check APPLICATIONINSIGHTS_CONNECTION_STRING, and the network")
    else:
        told = CheckResult("telemetry", True, f"goes to {way.host}")
    findings.tell(replace(told, ways=[way]))


@dataclass(frozen=True, slots=True)
class _OfHub:
    """What was found of a hub, or how it failed: what to do about that depends on the other hubs."""

    found: CheckResult
    reached: bool = False
    failed: ForwarderError | None = None

    def finding(self, *, beside_others: bool) -> CheckResult:
        error = self.failed
        if error is None:
            return self.found
        if beside_others and isinstance(error, HubUnreachable):
            error = error.where_others_are_reached()
        return replace(fault(self.found.check, str(error)), ways=self.found.ways)


async def _check_hub(settings: HubSettings) -> _OfHub:
    """Open a link for sending, as a run does, and ask for the hub's properties; nothing is sent."""
    check = f"hub {settings.name}"
    if not settings.enabled:
        said = f"{settings.key} is paused: it is sent nothing, and catches up later"
        return _OfHub(CheckResult(check, True, said))
    hub = Hub(settings)
    way = await asyncio.to_thread(
        walk, settings.network, hub_url(settings), WAY_S, identity=_signer(settings)
    )
    try:
        with way.timed("open"):
            largest = await hub.open(HUB_OPEN_S)
        found = f"{settings.key} can be sent to, messages of up to {largest:,} bytes"
        try:
            properties = await hub.properties(HUB_OPEN_S)
        except HubRefused:
            # A key with nothing but the Send right may be refused this, and needs no more.
            said = f"{found}; its properties may not be read, which sending does not need"
            return _OfHub(CheckResult(check, True, said, ways=[way]), reached=True)
        partitions = len(properties["partition_ids"])
        facts = {"largest_bytes": largest, "partitions": partitions}
        said = f"{found}, {counted(partitions, 'partition')}"
        return _OfHub(CheckResult(check, True, said, facts=facts, ways=[way]), reached=True)
    except ForwarderError as error:
        return _OfHub(CheckResult(check, False, "", ways=[way]), failed=error)
    finally:
        await hub.close()


def _signer(hub: HubSettings) -> str:
    """Say who signs in at a hub."""
    if hub.connection_string is None:
        return identity_name(hub.network)
    policy = policy_of(hub.connection_string)
    return f"policy {policy}" if policy else "a signature"


# --- state ------------------------------------------------------------------------------------------


def _check_state(
    settings: Settings, opened: MendableStore | StateError, findings: CheckResults, *, offline: bool
) -> None:
    if settings.state.store == "table":
        if offline:
            findings.well("state", "kept in tables, which are not asked with --offline")
            return
        what = "stored in tables, which the app in Azure uses too"
    else:
        what = "stored in local files"
    ways = [_way_to_tables(settings.state)] if settings.state.store == "table" else []
    with findings.of("state", ways):
        if isinstance(opened, StateError):
            raise opened
        with ways[0].timed("write") if ways else nullcontext():
            opened.probe()
        findings.tell(CheckResult("state", True, f"{opened.place} can be written: {what}", ways=ways))
        if settings.state.store == "json":
            check_disk(Path(settings.state.directory), findings)
        for feed in _on(settings):
            _check_feed_state(feed, opened, findings)


def _check_queue(settings: Settings, findings: CheckResults, *, offline: bool) -> None:
    """Try the queue of shards as the Functions host would use it, by a queue of another name."""
    scale_out = settings.scale_out
    if scale_out is None:
        return
    of = f"{QUEUE}, for {scale_out.shards} shards a feed"
    if offline:
        findings.well("queue", f"{of}; it is not asked with --offline")
        return
    # The SDK of tables, of which it has the words, is slow to load.
    from app.state.shard_queue import QueueService

    queues = QueueService(scale_out)
    signer = "the account's key" if scale_out.queue_connection_string else identity_name(scale_out.network)
    ways = [walk(scale_out.network, queues.url, WAY_S, identity=signer)]
    with findings.of("queue", ways):
        with ways[0].timed("write"):
            queues.probe()
        waiting, killed = queues.waiting(QUEUE), queues.waiting(POISON)
        said = f"{of}: queues can be made and written there; {counted(waiting, 'message')} in it"
        facts = {"messages": waiting, "poison": killed}
        findings.tell(CheckResult("queue", True, said, facts=facts, ways=ways))
        if killed:
            findings.warn(
                "queue",
                f"{counted(killed, 'message')} in {POISON}: so many instances were killed while they ran a "
                "shard; look for what they lack if it goes on (memory, time), then empty that queue",
            )


def _way_to_tables(state: StateSettings) -> Way:
    url = state.table_endpoint or table_url(state.table_connection_string or "")
    signer = "the account's key" if state.table_connection_string else identity_name(state.network)
    return walk(state.network, url, WAY_S, identity=signer)


def _check_feed_state(feed: FeedSettings, store: StateStore, findings: CheckResults) -> None:
    check = f"state of {dashed(feed.name)}"
    with findings.of(check):
        name = load_feed(feed.name).state_name
        said = _described(store.load(name))
        try:
            with store.lock(name, "check"):
                said += ", its run lock is free"
        except LockHeld as error:
            said += f", a run is under way now ({error})"
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
