"""What can be read of settings, part by part, however much of the rest is refused."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from app.settings.checks import (
    INSIGHTS,
    find_unknown_variables,
    read_feeds,
    read_scale_out,
    read_state,
    read_telemetry,
)
from app.settings.document import Document
from app.settings.hubs import read_hubs
from app.settings.network import read_network, telemetry_network
from app.settings.problems import Problems
from app.settings.schema import (
    FeedSettings,
    HubSettings,
    MicroshareSettings,
    NetworkSettings,
    RunSettings,
    ScaleOutSettings,
    StateSettings,
    TelemetrySettings,
    WrittenFile,
)


@dataclass(frozen=True, slots=True)
class Parts:
    """The settings by their sections; of those that are refused None, and what is wrong with them."""

    top: WrittenFile | None
    microshare: MicroshareSettings | None
    feeds: Mapping[str, FeedSettings]
    hubs: tuple[HubSettings, ...]
    state: StateSettings | None
    run: RunSettings | None
    telemetry: TelemetrySettings | None
    scale_out: ScaleOutSettings | None
    network: NetworkSettings
    problems: tuple[str, ...]
    warnings: tuple[str, ...]


def read_parts(document: Document, environment: Mapping[str, str], environ: Mapping[str, str]) -> Parts:
    """Read and check each section of a document.

    `environment` has all variables, `environ` those of the process: some are of the platform alone.
    """
    document = _without_unused(document)
    problems = Problems(document)
    warnings = [f"{document.name(keys)}: {warning}" for keys, warning in document.warnings.items()]
    find_unknown_variables(document, environment, problems, warnings)
    top = problems.check(WrittenFile, document.values, ())
    microshare = problems.section(MicroshareSettings, "microshare")
    feeds = read_feeds(document, problems)
    hubs = read_hubs(document, problems)
    state = read_state(problems, environ, warnings)
    run = problems.section(RunSettings, "run")
    telemetry = read_telemetry(problems, environ)
    scale_out = read_scale_out(problems, state)
    ca_file, client_id = top.ca_file if top else None, state.client_id if state else None
    network = read_network(environment, problems, ca_file=ca_file, client_id=client_id)
    by_identity = telemetry_network(environment, network)
    # The storage's own identity goes before the one of all other parts.
    of_storage = replace(network, client_id=client_id or network.client_id)
    return Parts(
        top=top,
        microshare=microshare and replace(microshare, network=network),
        feeds=feeds,
        hubs=tuple(replace(hub, network=network) for hub in hubs),
        state=state and replace(state, network=of_storage),
        run=run,
        telemetry=telemetry
        and replace(telemetry, network=by_identity or network, by_identity=by_identity is not None),
        scale_out=scale_out and replace(scale_out, network=of_storage),
        network=network,
        problems=tuple(problems.all()),
        warnings=tuple(warnings),
    )


def _without_unused(document: Document) -> Document:
    """Overlook a flawed Application Insights string, which Azure may have set, where it is not used."""
    section = document.values.get("telemetry")
    if isinstance(section, dict) and section.get("export", "none") != "none":
        return document
    return replace(document, flaws={keys: flaw for keys, flaw in document.flaws.items() if keys != INSIGHTS})
