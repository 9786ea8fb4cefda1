"""Puts the parts of a run together from the settings. Imports what a run needs, no more."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import Any

from app.eventhub.broadcaster import Broadcaster
from app.eventhub.dry_run import DryRunLanes
from app.microshare.auth import TokenCache
from app.microshare.client import MicroshareClient
from app.run.pings import asking
from app.run.ports import MakeLanes, Wiring
from app.run.refused_logins import RefusedLogins
from app.settings.schema import Settings, TelemetrySettings
from app.state.opening import open_store
from app.state.read_only import ReadOnlyStore
from app.state.store import MendableStore

# One for the process: both feeds share a login, and a warm process keeps its token.
_TOKENS = TokenCache()


def wire(settings: Settings, *, dry_run: bool = False, traceparent: str = "") -> Wiring:
    """Give the parts of a run. Nothing is asked, sent or written yet.

    `traceparent` is what the run is a part of, in W3C's form, for its telemetry.
    """
    store, timeout_s = open_store(settings.state), settings.run.send_timeout.total_seconds()
    make_lanes: MakeLanes = partial(Broadcaster, send_timeout_s=timeout_s, lane_bytes=settings.run.lane_bytes)
    kept: MendableStore = ReadOnlyStore(store) if dry_run else store
    wiring = Wiring(
        settings=settings,
        store=kept,
        make_client=lambda budget: MicroshareClient(
            settings.microshare, budget, tokens=_TOKENS, refusals=RefusedLogins(kept)
        ),
        make_lanes=(lambda hubs, _, tell, __: DryRunLanes(hubs, tell)) if dry_run else make_lanes,
        dry_run=dry_run,
        ask_monitor=asking(settings.microshare.network),
    )
    if settings.telemetry is None or dry_run:
        return wiring
    return _observed(wiring, settings.telemetry, traceparent)


def _observed(wiring: Wiring, telemetry: TelemetrySettings, traceparent: str) -> Wiring:
    """Give the same parts, of which a run tells what it did and what took it long."""
    from app.telemetry.packages import lacking_for_telemetry, telling_instead
    from app.telemetry.run_telemetry import Spans, WatchedClient, exporter, watching

    if lacks := lacking_for_telemetry():
        return replace(wiring, export=telling_instead(lacks))
    spans = Spans()
    microshare = wiring.settings.microshare
    return replace(
        wiring,
        make_client=lambda budget: WatchedClient(
            microshare, budget, tokens=_TOKENS, spans=spans, refusals=RefusedLogins(wiring.store)
        ),
        make_lanes=watching(wiring.make_lanes, spans),
        export=exporter(telemetry, spans, _send_to_azure_monitor, traceparent),
    )


def _send_to_azure_monitor(*told: Any) -> str | None:
    # The exporter takes half a second to load, so only when there is something to send.
    from app.telemetry.azure_monitor import send

    return send(*told)
