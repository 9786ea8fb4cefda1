"""Settings: config.yaml, with the environment in it, becomes frozen `Settings`, or every problem at once."""

from __future__ import annotations

import difflib
import json
import os
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from app.base.errors import SettingsError
from app.base.redaction import register_secret
from app.base.text import shown
from app.settings.connection_strings import (
    DEVELOPMENT_STORAGE,
    HubAddress,
    hub_address,
    identity_address,
    insights_connection,
    secrets_in,
    table_connection,
)
from app.settings.document import Document, Keys, fill_in, read_env_file, read_yaml
from app.settings.ncrontab import schedule_problem
from app.settings.schema import (
    FeedSettings,
    HubSettings,
    MicroshareSettings,
    RunSettings,
    Settings,
    StateSettings,
    TelemetrySettings,
)

if TYPE_CHECKING:
    from app.settings.rules import Problems, StateRules

APP_ROOT = Path(__file__).resolve().parents[2]

_PRIMARY: Keys = ("event_hubs", "primary")
_OTHERS: Keys = ("event_hubs", "others")
_INSIGHTS: Keys = ("telemetry", "connection_string")
# Set in an app that runs in Azure, and not by `func start`.
_SET_BY_AZURE = ("WEBSITE_INSTANCE_ID", "WEBSITE_SITE_NAME")
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
    from app.settings import rules

    environ = os.environ if environ is None else environ
    config_file = _config_file(environ, config_file)
    environment = _environment(environ, config_file, dotenv)
    document = fill_in(read_yaml(config_file), environment)
    _register_secrets(document)
    document = _without_unused(document)

    problems = rules.Problems(document)
    warnings = [f"{document.name(keys)}: {warning}" for keys, warning in document.warnings.items()]
    _find_misspelt_variables(document, environment, problems, warnings)
    sections = document.values
    root = problems.check(rules.RootRules, sections, ())
    microshare = problems.check(rules.MicroshareRules, sections.get("microshare", {}), ("microshare",))
    feeds = _feeds(document, problems)
    hubs = _hubs(document, problems)
    state_rules = problems.check(rules.StateRules, sections.get("state", {}), ("state",))
    state = _state(state_rules, environ, problems, warnings) if state_rules else None
    run = problems.check(rules.RunRules, sections.get("run", {}), ("run",))
    telemetry = _telemetry(document, environ, problems)

    found = problems.all()
    if found or root is None or microshare is None or state is None or run is None:
        raise SettingsError(found, source=config_file.name)
    ca_file = root.ca_file or None
    return Settings(
        microshare=MicroshareSettings(**microshare.model_dump(exclude_none=True), ca_file=ca_file),
        feeds=feeds,
        hubs=tuple(replace(hub, ca_file=ca_file) for hub in hubs),
        state=replace(state, ca_file=ca_file),
        run=RunSettings(**run.model_dump(exclude_none=True)),
        log_level=root.log_level,
        log_format=root.log_format,
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
    return replace(document, flaws={keys: flaw for keys, flaw in document.flaws.items() if keys != _INSIGHTS})


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


def _find_misspelt_variables(
    document: Document, environment: Mapping[str, str], problems: Problems, warnings: list[str]
) -> None:
    """Note names that are nearly one of ours which is not set; short ones could be another program's."""
    # Azure's own names (AzureWebJobsStorage__...) are many and near to one another.
    known = {name for name in document.variables | {"FORWARDER_CONFIG"} if name.isupper()}
    for name in sorted(environment.keys() - known):
        near = difflib.get_close_matches(name.upper(), known, 1, cutoff=0.9)
        if not near or near[0] in environment:
            continue
        message = f"{name}: is no known variable; did you mean {near[0]}?"
        if near[0].startswith(("MICROSHARE_", "EVENT_HUB_")) or near[0].endswith("_SCHEDULE"):
            problems.note(message)
        else:
            warnings.append(message)


def _feeds(document: Document, problems: Problems) -> dict[str, FeedSettings]:
    from app.settings.rules import FeedRules

    written = document.values.get("feeds", {})
    entries = written if isinstance(written, dict) else {}
    feeds: dict[str, FeedSettings] = {}
    for name, entry in entries.items():
        keys: Keys = ("feeds", name)
        if not (name.isidentifier() and name.islower()):
            problems.add(keys, "is no name of a feed; write that of its module in app/feeds")
        feed = problems.check(FeedRules, entry, keys)
        if feed is not None:
            feeds[name] = FeedSettings(name=name, **feed.model_dump(exclude_none=True))
    if isinstance(written, dict) and not any(
        isinstance(entry, dict) and entry.get("view_id") for entry in entries.values()
    ):
        views = [document.name(("feeds", name, "view_id")) for name in entries]
        problems.note(f"feeds: all are off; set {' or '.join(views) or 'one up'}")
    return feeds


def _hubs(document: Document, problems: Problems) -> tuple[HubSettings, ...]:
    """Read the primary and the others, each hub once; an entry that pauses the primary is no other hub."""
    from app.settings.rules import EventHubsRules

    written = document.values.get("event_hubs", {})
    section = problems.check(EventHubsRules, written, ("event_hubs",))
    entries = _hub_entries(written if isinstance(written, dict) else {}, problems)
    found: dict[str, tuple[Keys, HubSettings]] = {}
    for keys, entry in entries:
        # Entries that could not be read as a list are noted already.
        unread = keys == _OTHERS or document.is_flawed(keys)
        hub = None if unread else _hub(keys, entry, problems)
        if hub is None:
            continue
        earlier_keys, earlier = found.setdefault(hub.key.lower(), (keys, hub))
        if earlier is hub:
            continue
        if earlier_keys == _PRIMARY and earlier.enabled and not hub.enabled:
            found[hub.key.lower()] = _PRIMARY, replace(earlier, enabled=False, name=hub.name or earlier.name)
        else:
            same = document.name(earlier_keys)
            problems.add(keys, f"is the same hub as {same} ({earlier.key}); remove one of them")
    if not entries:
        other = document.name(_OTHERS)
        problems.add(_PRIMARY, f"not set, and no hub in {other}; write a connection string with EntityPath")
    if section is None:
        return ()
    hubs = [replace(hub, transport=section.transport) for _, hub in found.values()]
    return tuple(_named(hubs, section.names, problems))


def _hub_entries(written: Mapping[str, object], problems: Problems) -> list[tuple[Keys, object]]:
    from app.settings.rules import json_array

    primary, others = written.get("primary"), written.get("others")
    entries: list[tuple[Keys, object]] = [(_PRIMARY, primary)] if primary else []
    if isinstance(others, str):
        try:
            others = json_array(others.strip() or "[]", secret=True)
        except ValueError as error:
            problems.add(_OTHERS, str(error))
            return [*entries, (_OTHERS, None)]
    listed = others if isinstance(others, list) else [] if others is None else [others]
    return entries + [((*_OTHERS, at), entry) for at, entry in enumerate(listed)]


def _hub(keys: Keys, entry: object, problems: Problems) -> HubSettings | None:
    """Read one entry; its name is empty where none was given. None where it is noted as a problem."""
    from app.settings.rules import HubRules, plain_text

    rules = problems.check(HubRules, entry, keys) if isinstance(entry, dict) else HubRules()
    if rules is None:
        return None
    try:
        connection_string = rules.connection_string if isinstance(entry, dict) else plain_text(entry)
        address = _hub_address(connection_string, rules.namespace, rules.event_hub)
    except ValueError as error:
        problems.add(keys, str(error))
        return None
    name = rules.name or ("primary" if keys == _PRIMARY else "")
    return HubSettings(address.key, name, address.host, address.entity, connection_string, rules.enabled)


def _hub_address(connection_string: str | None, namespace: str | None, event_hub: str | None) -> HubAddress:
    if connection_string is not None:
        if namespace or event_hub:
            raise ValueError("has a connection_string and a namespace or event_hub; keep one or the other")
        return hub_address(connection_string)
    if not namespace or not event_hub:
        raise ValueError("has no connection_string; write it, or namespace and event_hub")
    return identity_address(namespace, event_hub)


def _named(hubs: Sequence[HubSettings], names: Mapping[str, str], problems: Problems) -> list[HubSettings]:
    """Give the hubs with the names of the config file, else their keys, where they have none."""
    by_key = {key.lower(): name for key, name in names.items()}
    for key in names:
        if key.lower() not in {hub.key.lower() for hub in hubs}:
            keys = ", ".join(hub.key for hub in hubs)
            problems.add(("event_hubs", "names", key), f"is none of the hubs ({keys}); correct or remove it")
    named = [replace(hub, name=by_key.get(hub.key.lower(), hub.name) or hub.name or hub.key) for hub in hubs]
    for name, count in Counter(hub.name for hub in named).items():
        if count > 1:
            problems.add(
                ("event_hubs",), f"{count} hubs are called {shown(name)}; give each a name of its own"
            )
    return named


def _state(
    rules: StateRules, environ: Mapping[str, str], problems: Problems, warnings: list[str]
) -> StateSettings | None:
    if not Path(rules.directory).is_absolute():
        warnings.append(
            f"STATE_DIR: {shown(rules.directory)} depends on the folder a run starts in; write the whole path"
        )
    in_files = StateSettings("json", rules.directory)
    if rules.store == "json":
        return in_files
    try:
        connection = table_connection(rules.connection_string) if rules.connection_string else None
    except ValueError as error:
        problems.add(("state", "connection_string"), str(error))
        return None
    in_table = replace(in_files, store="table")
    if connection is not None and connection != DEVELOPMENT_STORAGE:
        return replace(in_table, table_connection_string=connection)
    account = f"https://{rules.account_name}.table.core.windows.net" if rules.account_name else None
    if endpoint := rules.table_url or account:
        return replace(in_table, table_endpoint=endpoint, client_id=rules.client_id or None)
    if rules.store == "table":
        if connection is not None:
            return replace(in_table, table_connection_string=connection)
        problems.add(
            ("state", "connection_string"),
            "names no account with its key, and STATE_STORE is table; write a connection string with "
            "AccountName and AccountKey, or set AzureWebJobsStorage__accountName",
        )
        return None
    _warn_of_files_in_azure(environ, warnings)
    return in_files


def _warn_of_files_in_azure(environ: Mapping[str, str], warnings: list[str]) -> None:
    if any(environ.get(name) for name in _SET_BY_AZURE):
        warnings.append(
            "STATE_STORE: the state is a file, and files are lost when Azure moves the app; set "
            "AzureWebJobsStorage__accountName or a connection string with AccountKey, or STATE_STORE=table"
        )


def _telemetry(
    document: Document, environ: Mapping[str, str], problems: Problems
) -> TelemetrySettings | None:
    from app.settings.rules import TelemetryRules, plain_text

    rules = problems.check(TelemetryRules, document.values.get("telemetry", {}), ("telemetry",))
    if rules is None or rules.export == "none":
        return None
    if not rules.connection_string:
        problems.add(
            _INSIGHTS,
            "not set, and TELEMETRY is azure-monitor; copy the connection string of Application Insights, "
            "which begins with InstrumentationKey=, or write none there",
        )
        return None
    try:
        connection_string = insights_connection(plain_text(rules.connection_string))
    except ValueError as error:
        problems.add(_INSIGHTS, str(error))
        return None
    # The name under which the host's own telemetry of the app comes, too.
    return TelemetrySettings(connection_string, environ.get("WEBSITE_SITE_NAME") or "microshare-forwarder")
