"""Settings: config.yaml, with the environment in it, becomes frozen `Settings`, or every problem at once."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from app.settings.credentials import register_credentials
from app.settings.parts import read_parts
from app.settings.places import find_config_file, given_or_own
from app.settings.schema import Settings
from app.settings.sources import read_document, refusal


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
        scale_out=parts.scale_out,
        warnings=parts.warnings,
    )


def journal_stream(environ: Mapping[str, str] | None = None) -> str:
    """Give the device and inode by which systemd names the journal a service writes to; else nothing."""
    return given_or_own(environ).get("JOURNAL_STREAM", "")
