"""The hubs of `event_hubs:`, each once: the primary and the others, in whatever form they are written."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from app.base.text import shown
from app.base.wire_forms import WireForm
from app.settings.connection_strings import HubAddress, hub_address, identity_address, is_within
from app.settings.document import Document, Keys
from app.settings.json_texts import json_array
from app.settings.rules import plain_text
from app.settings.schema import HubSettings, WrittenForm, WrittenHub, WrittenHubs

if TYPE_CHECKING:
    from app.settings.problems import Problems

_PRIMARY: Keys = ("event_hubs", "primary")
_OTHERS: Keys = ("event_hubs", "others")
# Of the public cloud, of China, and of the government of the United States.
_KNOWN_SUFFIXES = (
    "servicebus.windows.net",
    "servicebus.chinacloudapi.cn",
    "servicebus.usgovcloudapi.net",
)
_Entries = Sequence[tuple[Keys, object]]


def read_hubs(document: Document, problems: Problems) -> Sequence[HubSettings]:
    """Give the hubs, named; what is wrong with them is noted."""
    section = problems.section(WrittenHubs, "event_hubs")
    entries = _entries(document, problems)
    found = _each_once(entries, document, problems)
    if not entries:
        other = document.name(_OTHERS)
        problems.add(_PRIMARY, f"not set, and no hub in {other}; write a connection string with EntityPath")
    if section is None:
        return ()
    hubs = [replace(hub, transport=section.transport) for hub, _ in found]
    _check_identity(hubs, section.trusted_suffixes, problems)
    named = _named(hubs, section.names, problems)
    by_name = _forms(named, section.bodies, problems)
    return [
        replace(hub, form=_form(own, by_name.get(hub.key, own)))
        for hub, (_, own) in zip(named, found, strict=True)
    ]


def _entries(document: Document, problems: Problems) -> _Entries:
    written = document.values.get("event_hubs")
    section = written if isinstance(written, dict) else {}
    primary, others = section.get("primary"), section.get("others")
    entries: list[tuple[Keys, object]] = [(_PRIMARY, primary)] if primary else []
    if isinstance(others, str):
        try:
            others = json_array(others if others.strip() else "[]", secret=True)
        except ValueError as error:
            problems.add(_OTHERS, str(error))
            return [*entries, (_OTHERS, None)]
    listed = others if isinstance(others, list) else [] if others is None else [others]
    return entries + [((*_OTHERS, at), entry) for at, entry in enumerate(listed)]


def _each_once(
    entries: _Entries, document: Document, problems: Problems
) -> list[tuple[HubSettings, WrittenForm]]:
    """Read the entries. One of the primary that is not enabled pauses it, and is no hub of its own."""
    found: dict[str, tuple[Keys, HubSettings, WrittenForm]] = {}
    for keys, entry in entries:
        # Entries that could not be read as a list are noted already.
        unread = keys == _OTHERS or document.is_flawed(keys)
        read = None if unread else _hub(keys, entry, problems)
        if read is None:
            continue
        hub, form = read
        earlier_keys, earlier, _ = found.setdefault(hub.key.lower(), (keys, hub, form))
        if earlier is hub:
            continue
        if earlier_keys == _PRIMARY and earlier.enabled and not hub.enabled:
            paused = replace(earlier, enabled=False, name=hub.name or earlier.name)
            found[hub.key.lower()] = _PRIMARY, paused, form
        else:
            same = document.name(earlier_keys)
            problems.add(keys, f"is the same hub as {same} ({earlier.key}); remove one of them")
    return [(hub, form) for _, hub, form in found.values()]


def _hub(keys: Keys, entry: object, problems: Problems) -> tuple[HubSettings, WrittenForm] | None:
    """Read one entry; its name is empty where none was given. None where it is noted as a problem."""
    written = problems.check(WrittenHub, entry, keys) if isinstance(entry, dict) else WrittenHub()
    if written is None:
        return None
    try:
        connection_string = written.connection_string if isinstance(entry, dict) else plain_text(entry)
        address = _address(connection_string, written.namespace, written.event_hub)
    except ValueError as error:
        problems.add(keys, str(error))
        return None
    name = written.name or ("primary" if keys == _PRIMARY else "")
    hub = HubSettings(address.key, name, address.host, address.entity, connection_string, written.enabled)
    return hub, written


def _address(connection_string: str | None, namespace: str | None, event_hub: str | None) -> HubAddress:
    if connection_string is not None:
        if namespace or event_hub:
            raise ValueError("has a connection_string and a namespace or event_hub; keep one or the other")
        return hub_address(connection_string)
    if not namespace or not event_hub:
        raise ValueError("has no connection_string; write it, or namespace and event_hub")
    return identity_address(namespace, event_hub)


def _check_identity(hubs: Sequence[HubSettings], trusted: Sequence[str], problems: Problems) -> None:
    """Note hubs that would be given a token of the identity though they are none of Azure's.

    A mistyped namespace is somebody's host, and gets what this host may do. With a connection string
    nothing of the kind leaves: a signature is good for the hub it names alone.
    """
    for hub in hubs:
        known = any(is_within(hub.host, domain.strip()) for domain in (*_KNOWN_SUFFIXES, *trusted))
        if hub.enabled and hub.connection_string is None and not known:
            problems.note(
                f"event_hubs: {shown(hub.host)} is not a host of Event Hubs, and a token of the managed "
                "identity would go there; correct the namespace, or name its domain in "
                "event_hubs.trusted_suffixes"
            )


def _named(hubs: Sequence[HubSettings], names: Mapping[str, str], problems: Problems) -> list[HubSettings]:
    """Give the hubs named: where they have no name by the config file, else by their entity or key."""
    by_key = {key.lower(): name for key, name in names.items()}
    for key in names:
        if key.lower() not in {hub.key.lower() for hub in hubs}:
            keys = ", ".join(hub.key for hub in hubs)
            problems.add(
                ("event_hubs", "names", key), f"is not one of the hubs ({keys}); correct or remove it"
            )
    given = [replace(hub, name=by_key.get(hub.key.lower()) or hub.name) for hub in hubs]
    # A word that could mean another hub is no name.
    taken = Counter(word for hub in given for word in {hub.name.lower(), hub.entity.lower()})
    named = [
        hub if hub.name else replace(hub, name=hub.entity if taken[hub.entity.lower()] == 1 else hub.key)
        for hub in given
    ]
    for name, count in Counter(hub.name for hub in named).items():
        if count > 1:
            problems.add(
                ("event_hubs",), f"{count} hubs are called {shown(name)}; give each a name of its own"
            )
    return named


def _forms(
    hubs: Sequence[HubSettings], bodies: Mapping[str, object], problems: Problems
) -> dict[str, WrittenForm]:
    """Give what is written under `bodies:` by the keys of the hubs that are named there, or by their keys."""
    found: dict[str, WrittenForm] = {}
    for name, entry in bodies.items():
        keys = ("event_hubs", "bodies", name)
        form = problems.check(WrittenForm, entry, keys)
        hub = next((hub for hub in hubs if name.lower() in (hub.key.lower(), hub.name.lower())), None)
        if hub is None:
            known = ", ".join(hub.name for hub in hubs)
            problems.add(keys, f"is not one of the hubs ({known}); correct or remove it")
        elif hub.key in found:
            problems.add(keys, f"is the hub {hub.key}, which has another entry; remove one of them")
        elif form is not None:
            found[hub.key] = form
    return found


def _form(own: WrittenForm, by_name: WrittenForm) -> WireForm:
    """Give a hub's form; what its own entry says wins."""
    properties = by_name.properties if own.properties is None else own.properties
    return WireForm(own.body or by_name.body or "plain", tuple(sorted((properties or {}).items())))
