"""Settings: config.yaml, with the environment in it, becomes frozen `Settings`, or every problem at once."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from app.base.errors import SettingsError
from app.base.redaction import register_secret
from app.base.text import shown
from app.settings.checks import INSIGHTS, find_misspelt_variables, read_feeds, read_state, read_telemetry
from app.settings.connection_strings import DEVELOPMENT_STORAGE, secrets_in
from app.settings.document import Document, fill_in, read_env_file, read_yaml
from app.settings.hubs import read_hubs
from app.settings.ncrontab import schedule_problem
from app.settings.schema import MicroshareSettings, RunSettings, Settings, WrittenFile

APP_ROOT = Path(__file__).resolve().parents[2]

# When a timer fires whose schedule cannot be read: its run then says what is wrong.
_LAST_RESORT = "0 0 * * * *"


def load_settings(
    environ: Mapping[str, str] | None = None, *, config_file: Path | None = None, dotenv: Path | None = None
) -> Settings:
    """Read and check the settings.

    `environ` is the process's own environment unless given; it wins over the `.env` file, which
    stands beside the config file unless `dotenv` names another. The config file is the argument,
    else FORWARDER_CONFIG, else config.yaml of the application. Nothing is asked or written, and
    the process's environment stays as it is.

    Every secret is registered for redaction before anything is checked. Raises SettingsError
    with all problems at once.
    """
    # pydantic is slow to import, and function_app.py needs `schedule` only.
    from app.settings.problems import Problems

    environ = os.environ if environ is None else environ
    config_file = _config_file(environ, config_file)
    environment = _environment(environ, config_file, dotenv)
    document = fill_in(read_yaml(config_file), environment)
    _register_secrets(document)
    document = _without_unused(document)

    problems = Problems(document)
    warnings = [f"{document.name(keys)}: {warning}" for keys, warning in document.warnings.items()]
    find_misspelt_variables(document, environment, problems, warnings)
    top = problems.check(WrittenFile, document.values, ())
    microshare = problems.section(MicroshareSettings, "microshare")
    feeds = read_feeds(document, problems)
    hubs = read_hubs(document, problems)
    state = read_state(problems, environ, warnings)
    run = problems.section(RunSettings, "run")
    telemetry = read_telemetry(problems, environ)

    found = problems.all()
    if found or top is None or microshare is None or state is None or run is None:
        raise SettingsError(found, source=config_file.name)
    return Settings(
        microshare=replace(microshare, ca_file=top.ca_file),
        feeds=feeds,
        hubs=tuple(replace(hub, ca_file=top.ca_file) for hub in hubs),
        state=replace(state, ca_file=top.ca_file),
        run=run,
        log_level=top.log_level,
        log_format=top.log_format,
        telemetry=telemetry,
        warnings=tuple(warnings),
    )


def journal_stream(environ: Mapping[str, str] | None = None) -> str:
    """Give the device and inode by which systemd names the journal a service writes to; else nothing."""
    environ = os.environ if environ is None else environ
    return environ.get("JOURNAL_STREAM", "")


def schedule(feed_name: str, environ: Mapping[str, str] | None = None) -> str:
    """Give the six-field schedule of a feed's timer, cheaply and without ever raising.

    Where the configured one is missing or wrong, it is the default of config.yaml, else every
    hour: the function must be there, so that its run can say what is wrong.
    """
    environ = os.environ if environ is None else environ
    try:
        config_file = _config_file(environ, None)
        written = read_yaml(config_file)
    except SettingsError:
        return _LAST_RESORT
    try:
        environment = _environment(environ, config_file, None)
    except SettingsError:
        environment = environ
    for known in (environment, {}):
        feeds = fill_in(written, known).values.get("feeds")
        feed = feeds.get(feed_name) if isinstance(feeds, dict) else None
        found = feed.get("schedule") if isinstance(feed, dict) else None
        if isinstance(found, str) and schedule_problem(found) is None:
            return " ".join(found.split())
    return _LAST_RESORT


def differs_from_local_settings(environ: Mapping[str, str] | None = None) -> Sequence[str]:
    """Name the variables of ours to which `local.settings.json` gives another value than is used here.

    That file, beside the config file, is read by the Functions host alone; it need not be there.
    """
    environ = os.environ if environ is None else environ
    config_file = _config_file(environ, None)
    environment = _environment(environ, config_file, None)
    try:
        found = json.loads((config_file.parent / "local.settings.json").read_text(encoding="utf-8-sig"))
        written = {} if found.get("IsEncrypted") else dict(found["Values"])
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return ()
    # The host needs some storage; this one says nothing of where the state is.
    ours = fill_in(read_yaml(config_file), environment).variables
    return [
        name
        for name in sorted(ours & written.keys())
        if written[name] not in (environment.get(name, ""), DEVELOPMENT_STORAGE)
    ]


def _config_file(environ: Mapping[str, str], config_file: Path | None) -> Path:
    if config_file is not None:
        return config_file
    named = environ.get("FORWARDER_CONFIG")
    if named and not Path(named).is_file():
        raise SettingsError(
            [f"FORWARDER_CONFIG: {shown(named)} is no file; write the path of the settings file"]
        )
    return Path(named) if named else APP_ROOT / "config.yaml"


def _environment(environ: Mapping[str, str], config_file: Path, dotenv: Path | None) -> Mapping[str, str]:
    """Give the variables of `.env` and of the environment, which wins; an empty value is none."""
    in_file = read_env_file(dotenv or config_file.parent / ".env")
    return {name: value for name, value in [*in_file.items(), *environ.items()] if value}


def _without_unused(document: Document) -> Document:
    """Overlook a flawed Application Insights string, which Azure may have set, where it is not used."""
    section = document.values.get("telemetry")
    if isinstance(section, dict) and section.get("export", "none") != "none":
        return document
    return replace(document, flaws={keys: flaw for keys, flaw in document.flaws.items() if keys != INSIGHTS})


def _register_secrets(document: Document) -> None:
    microshare = document.values.get("microshare")
    if isinstance(microshare, dict):
        for name in ("password", "api_key"):
            value = microshare.get(name)
            if isinstance(value, str):
                register_secret(value)
                register_secret(value.strip("\ufeff\r\n\t "))
    for text in _texts(document.values):
        # A JSON array holds its connection strings between quotes.
        for piece in (text, *text.split('"')):
            if secrets_in(piece):
                register_secret(piece)
                for secret in secrets_in(piece):
                    register_secret(secret)


def _texts(values: object) -> Iterator[str]:
    if isinstance(values, str):
        yield values
    elif isinstance(values, dict | list):
        for value in values.values() if isinstance(values, dict) else values:
            yield from _texts(value)
