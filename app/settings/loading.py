"""Settings: config.yaml, with the environment in it, becomes frozen `Settings`, or every problem at once."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from app.base.errors import SettingsError
from app.settings.credentials import register_credentials
from app.settings.document import feeds_in, fill_in
from app.settings.ncrontab import schedule_problem
from app.settings.parts import read_parts
from app.settings.places import find_config_file, given_or_own
from app.settings.schema import Settings
from app.settings.sources import read_document, read_environment, refusal
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
    environ = given_or_own(environ)
    config_file = find_config_file(environ, config_file)
    document, environment = read_document(environ, config_file, dotenv)
    register_credentials(document, environment)
    parts = read_parts(document, environment, environ)
    top, microshare, state, run = parts.top, parts.microshare, parts.state, parts.run
    if parts.problems or top is None or microshare is None or state is None or run is None:
        raise refusal(parts.problems, environ, config_file, dotenv)
    return Settings(
        microshare=microshare,
        feeds=parts.feeds,
        hubs=parts.hubs,
        state=state,
        run=run,
        log_level=top.log_level,
        log_format=top.log_format,
        telemetry=parts.telemetry,
        warnings=parts.warnings,
    )


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
        feed = feeds_in(fill_in(written, known).values).get(feed_name)
        found = feed.get("schedule") if isinstance(feed, dict) else None
        if isinstance(found, str) and schedule_problem(found) is None:
            return " ".join(found.split())
    return _LAST_RESORT
