"""Settings: config.yaml, with the environment in it, becomes frozen `Settings`, or every problem at once."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from app.base.errors import SettingsError
from app.base.program import APP_ROOT as APP_ROOT
from app.settings.checks import INSIGHTS, find_unknown_variables, read_feeds, read_state, read_telemetry
from app.settings.credentials import register_credentials
from app.settings.document import Document, fill_in
from app.settings.hubs import read_hubs
from app.settings.ncrontab import schedule_problem
from app.settings.network import read_network, telemetry_network
from app.settings.places import find_config_file, given_or_own
from app.settings.schema import (
    MicroshareSettings,
    NetworkSettings,
    RunSettings,
    Settings,
    TelemetrySettings,
    WrittenFile,
)
from app.settings.sources import read_document, read_environment, standing_in
from app.settings.yaml_file import read_yaml

# When a timer fires whose schedule cannot be read: its run then says what is wrong.
_LAST_RESORT = "0 0 * * * *"


def load_settings(
    environ: Mapping[str, str] | None = None, *, config_file: Path | None = None, dotenv: Path | None = None
) -> Settings:
    """Read and check the settings.

    `environ` is the process's own environment unless given; it wins over the `.env` file, which
    stands beside the config file unless `dotenv` names another. The config file is the argument,
    else FORWARDER_CONFIG, else config.yaml of the application. A secret may be in a file, see
    `secret_files`. Nothing is asked or written, and the process's environment stays as it is.

    Every secret is registered for redaction before anything is checked. Raises SettingsError
    with all problems at once.
    """
    # pydantic is slow to import, and function_app.py needs `schedule` only.
    from app.settings.problems import Problems

    environ = given_or_own(environ)
    config_file = find_config_file(environ, config_file)
    document, environment = read_document(environ, config_file, dotenv)
    register_credentials(document, environment)
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
    ca_file, client_id = top.ca_file if top else None, state.client_id if state else None
    network = read_network(environment, problems, ca_file=ca_file, client_id=client_id)

    found = problems.all()
    if found or top is None or microshare is None or state is None or run is None:
        standing = standing_in(environ, config_file, dotenv)
        raise SettingsError(found, sources=[standing(problem) for problem in found])
    return Settings(
        microshare=replace(microshare, network=network),
        feeds=feeds,
        hubs=tuple(replace(hub, network=network) for hub in hubs),
        # The storage's own identity goes before the one of all other parts.
        state=replace(state, network=replace(network, client_id=client_id or network.client_id)),
        run=run,
        log_level=top.log_level,
        log_format=top.log_format,
        telemetry=telemetry and _on_its_way(telemetry, telemetry_network(environment, network), network),
        warnings=tuple(warnings),
    )


def _on_its_way(
    telemetry: TelemetrySettings, by_identity: NetworkSettings | None, network: NetworkSettings
) -> TelemetrySettings:
    return replace(telemetry, network=by_identity or network, by_identity=by_identity is not None)


def journal_stream(environ: Mapping[str, str] | None = None) -> str:
    """Give the device and inode by which systemd names the journal a service writes to; else nothing."""
    return given_or_own(environ).get("JOURNAL_STREAM", "")


def schedule(feed_name: str, environ: Mapping[str, str] | None = None) -> str:
    """Give the six-field schedule of a feed's timer, cheaply and without ever raising.

    Where the configured one is missing or wrong, it is the default of config.yaml, else every
    hour: the function must be there, so that its run can say what is wrong.
    """
    environ = given_or_own(environ)
    try:
        config_file = find_config_file(environ, None)
        written = read_yaml(config_file)
    except SettingsError:
        return _LAST_RESORT
    try:
        environment = read_environment(environ, config_file, None)
    except SettingsError:
        environment = environ
    for known in (environment, {}):
        feeds = fill_in(written, known).values.get("feeds")
        feed = feeds.get(feed_name) if isinstance(feeds, dict) else None
        found = feed.get("schedule") if isinstance(feed, dict) else None
        if isinstance(found, str) and schedule_problem(found) is None:
            return " ".join(found.split())
    return _LAST_RESORT


def _without_unused(document: Document) -> Document:
    """Overlook a flawed Application Insights string, which Azure may have set, where it is not used."""
    section = document.values.get("telemetry")
    if isinstance(section, dict) and section.get("export", "none") != "none":
        return document
    return replace(document, flaws={keys: flaw for keys, flaw in document.flaws.items() if keys != INSIGHTS})
