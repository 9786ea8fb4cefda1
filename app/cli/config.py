"""`config`: the settings that count, and the JSON Schema of config.yaml."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from itertools import groupby
from typing import TYPE_CHECKING, Any

import click

from app.base.errors import SettingsError
from app.base.program import APP_ROOT
from app.cli import COMMANDS
from app.cli.output import Output, text
from app.cli.session import ALL_WELL, json_option
from app.cli.tables import Column, table
from app.settings.fields import ENTRIES
from app.settings.schema import HubSettings

if TYPE_CHECKING:
    from rich.text import Text

    from app.settings.effective import Covered, Effective, Inventory, Place


@click.group("config", short_help=COMMANDS["config"])
def command() -> None:
    """Say of each setting what counts and where it comes from; or print what config.yaml may hold."""


@command.command("show", short_help="Show each setting, its value, and where that comes from.")
@json_option
def show(as_json: bool) -> int:
    """Show each setting: its name in config.yaml, its value, its variable, and where that came from.

    Of secrets only that they are set is shown, and where a connection string leads. `covers` names
    what is set too, and does not count: the environment goes before the file of variables. It sends
    no request.

    Where settings are refused, the others are shown all the same; it ends with 2 then.
    """
    from app.settings.effective import take_inventory

    inventory = take_inventory()
    refused = inventory.error or _refused_feeds()
    out = Output(as_json=as_json)
    if as_json:
        _write(inventory, refused, out)
    else:
        _show(inventory, out)
    if refused is not None:
        raise refused
    return ALL_WELL


def _refused_feeds() -> SettingsError | None:
    """Give the error of feeds that cannot stand beside one another."""
    from app.run.feed_checks import check_feeds
    from app.settings.loading import load_settings

    try:
        check_feeds(load_settings())
    except SettingsError as error:
        return error
    return None


@command.command("schema", short_help="Print the JSON Schema of config.yaml, for editors.")
def schema() -> int:
    """Print the JSON Schema of config.yaml, for editors that complete and check it.

    The config.yaml that is delivered names it in its first line; for another, write it to a file, and
    name that in the same way: # yaml-language-server: $schema=FILE
    """
    from app.settings.json_schema import config_schema

    written = json.dumps(config_schema(APP_ROOT / "config.yaml"), indent=2, ensure_ascii=False)
    Output().write_document(f"{written}\n".encode())
    return ALL_WELL


# --- for programs -----------------------------------------------------------------------------------


def _write(inventory: Inventory, refused: SettingsError | None, out: Output) -> None:
    env_file = str(inventory.env_file) if inventory.has_env_file else None
    out.write_object({"config_file": str(inventory.config_file), "env_file": env_file})
    for setting in inventory.settings:
        out.write_object(_as_json(setting))
    for hub in inventory.parts.hubs:
        out.write_object(_hub_as_json(hub))
    for problem in refused.problems if refused else ():
        out.write_object({"problem": problem})


def _as_json(setting: Effective) -> dict[str, Any]:
    return {
        "key": setting.name,
        "variables": setting.variables,
        "value": setting.value,
        "set": setting.is_set,
        "secret": setting.secret,
        "summary": setting.summary,
        "from": _place_as_json(setting.place),
        "covers": [{**(_place_as_json(found.place) or {}), "value": found.value} for found in setting.covers],
    }


def _place_as_json(place: Place | None) -> dict[str, Any] | None:
    if place is None:
        return None
    return {"kind": place.kind, "where": place.where, "variable": place.variable}


def _hub_as_json(hub: HubSettings) -> dict[str, Any]:
    return {
        "hub": hub.name,
        "key": hub.key,
        "enabled": hub.enabled,
        "transport": hub.transport,
        "signs_in_with": _signs_in_with(hub),
        **hub.form.as_json(),
    }


# --- for people -------------------------------------------------------------------------------------


def _show(inventory: Inventory, out: Output) -> None:
    out.show(*_files(inventory))
    for section, settings in groupby(inventory.settings, _section_of):
        found = list(settings)
        out.show("", text(_heading(section, found), "bold"))
        out.show(table([Column("setting", key=True), Column("value (where it comes from)")], _rows(found)))
        if section == ("event_hubs",) and inventory.parts.hubs:
            out.show("", _hubs(inventory.parts.hubs))


def _files(inventory: Inventory) -> Iterator[str]:
    yield f"settings file: {inventory.config_file}"
    there = "" if inventory.has_env_file else " (not there)"
    yield f"variables: the environment, then {inventory.env_file}{there}"


def _section_of(setting: Effective) -> Sequence[object]:
    of_entries = setting.keys[0] == ENTRIES
    return setting.keys[: 2 if of_entries else min(1, len(setting.keys) - 1)]


def _heading(section: Sequence[object], settings: Sequence[Effective]) -> str:
    """Name a section as config.yaml does; of a feed whether it is off."""
    name = ".".join(map(str, section)) or "top level"
    off = any(setting.keys[-1] == "view_id" and not setting.is_set for setting in settings)
    return f"{name} (off: it has no view id)" if off else name


def _rows(settings: Sequence[Effective]) -> Iterator[Sequence[object]]:
    for setting in settings:
        yield ".".join(map(str, setting.keys[len(_section_of(setting)) :])), _told(setting)


def _told(setting: Effective) -> Text:
    told = text(_value(setting), "" if setting.is_set else "dim")
    return told.append_text(text(f"  {_origin(setting)}", "dim"))


def _value(setting: Effective) -> str:
    if not setting.is_set:
        return "not set"
    if setting.secret:
        return setting.summary or "set"
    return _written(setting.value)


def _written(value: object) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)


def _origin(setting: Effective) -> str:
    """Say where a value comes from, by which variables it could be set, and what is covered."""
    place = setting.place
    if place is not None and place.variable is not None:
        said = [f"{place.variable} in {place.where}"]
    else:
        said = [", ".join(filter(None, [" or ".join(setting.variables), _unset_origin(place)]))]
    if setting.covers:
        said.append(f"covers {', '.join(_covered(found, place) for found in setting.covers)}")
    return f"({'; '.join(filter(None, said))})"


def _unset_origin(place: Place | None) -> str:
    if place is None:
        return ""
    if place.kind == "default":
        return "default"
    return f"default in {place.where}" if place.kind == "config default" else place.where


def _covered(found: Covered, counts: Place | None) -> str:
    value = "" if found.value is None else f" ({_written(found.value)})"
    same = counts is not None and counts.variable == found.place.variable
    return f"{found.place.where if same else f'{found.place.variable} in {found.place.where}'}{value}"


def _hubs(hubs: Sequence[HubSettings]) -> Any:
    columns = [Column("hub", key=True), Column("address", key=True), Column("signs in with"), Column("state")]
    rows = [(hub.name, hub.key, _signs_in_with(hub), _state(hub)) for hub in hubs]
    return table(columns, rows)


def _state(hub: HubSettings) -> str:
    return "; ".join(filter(None, ["on" if hub.enabled else "paused", hub.form.said()]))


def _signs_in_with(hub: HubSettings) -> str:
    from app.settings.summaries import signs_in_with

    return signs_in_with(hub.connection_string)
