"""Puts the parts of a run together from the settings. Imports what a run needs, no more."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

from app.base.budget import Budget
from app.eventhub.broadcaster import Broadcaster
from app.eventhub.deliveries import News
from app.eventhub.dry_run import Rehearsal
from app.microshare.auth import TokenCache
from app.microshare.client import MicroshareClient
from app.run.ports import Lanes, MakeLanes, Wiring
from app.settings.schema import HubSettings, Settings, TelemetrySettings
from app.state.opening import open_store
from app.state.read_only import ReadOnlyStore

# One for the process: both feeds share a login, and a warm process keeps its token.
_TOKENS = TokenCache()


def wire(settings: Settings, *, dry_run: bool = False, traceparent: str = "") -> Wiring:
    """Give the parts of a run. Nothing is asked, sent or written yet.

    `traceparent` is what the run is a part of, in W3C's form, for its telemetry.
    """
    store = open_store(settings.state)
    wiring = Wiring(
        settings=settings,
        store=ReadOnlyStore(store) if dry_run else store,
        make_client=lambda budget: MicroshareClient(settings.microshare, budget, tokens=_TOKENS),
        make_lanes=_rehearse if dry_run else _broadcast(settings),
        dry_run=dry_run,
    )
    return (
        wiring
        if settings.telemetry is None or dry_run
        else _observed(wiring, settings.telemetry, traceparent)
    )


def _observed(wiring: Wiring, telemetry: TelemetrySettings, traceparent: str) -> Wiring:
    """Give the same parts, of which a run tells what it did and what took it long."""
    from app.telemetry.run_telemetry import Spans, WatchedClient, exporter, watching

    spans = Spans()
    microshare = wiring.settings.microshare
    return replace(
        wiring,
        make_client=lambda budget: WatchedClient(microshare, budget, tokens=_TOKENS, spans=spans),
        make_lanes=watching(wiring.make_lanes, spans),
        export=exporter(telemetry, spans, _send_to_azure_monitor, traceparent),
    )


def _send_to_azure_monitor(*told: Any) -> str | None:
    # The exporter takes half a second to load, so only when there is something to send.
    from app.telemetry.azure_monitor import send

    return send(*told)


def _broadcast(settings: Settings) -> MakeLanes:
    def make_lanes(
        hubs: Sequence[HubSettings],
        budget: Budget,
        tell: Callable[[News], None],
        may_send: Callable[[], str | None],
    ) -> Lanes:
        return Broadcaster(
            hubs,
            budget,
            tell,
            send_timeout_s=settings.run.send_timeout.total_seconds(),
            lane_bytes=settings.run.lane_bytes,
            may_send=may_send,
        )

    return make_lanes


def _rehearse(
    hubs: Sequence[HubSettings],
    budget: Budget,  # noqa: ARG001 - a rehearsal takes no time
    tell: Callable[[News], None],
    may_send: Callable[[], str | None],  # noqa: ARG001 - and sends nothing
) -> Lanes:
    return Rehearsal(hubs, tell)
