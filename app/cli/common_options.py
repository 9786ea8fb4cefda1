"""What all commands have: options that stand before a command's name or after it, and the program's name.

Help is made of it: what a given option needs is loaded when it is given.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, tzinfo
from pathlib import Path
from typing import Any

import click
from click.core import ParameterSource

from app.base.program import CONFIG_VARIABLE, OF_THE_TREE, PROGRAM


@dataclass(slots=True)
class Chosen:
    """What was chosen for this call.

    `quiet` leaves out what is written for people alone; `verbose` tells errors whole, and each request,
    batch and save as it is made.
    """

    log_format: str | None = None
    quiet: bool = False
    verbose: bool = False


def chosen() -> Chosen:
    """Give what was chosen, with any command of the call."""
    ctx = click.get_current_context(silent=True)
    return Chosen() if ctx is None else _chosen_in(ctx)


def _chosen_in(ctx: click.Context) -> Chosen:
    found: Chosen = ctx.find_root().ensure_object(Chosen)
    return found


def _choose_log_format(ctx: click.Context, _: click.Parameter, named: str | None) -> None:
    if named is not None:
        _chosen_in(ctx).log_format = named


def _choose_quiet(ctx: click.Context, _: click.Parameter, given: bool) -> None:
    if given:
        _chosen_in(ctx).quiet = True
        _refuse_both(ctx)


def _choose_verbose(ctx: click.Context, _: click.Parameter, given: bool) -> None:
    if given:
        _chosen_in(ctx).verbose = True
        _refuse_both(ctx)


def _refuse_both(ctx: click.Context) -> None:
    if _chosen_in(ctx).quiet and _chosen_in(ctx).verbose:
        raise click.UsageError("--quiet and --verbose exclude one another; give one of them", ctx)


def _choose_settings_file(_: click.Context, __: click.Parameter, named: Path | None) -> None:
    if named is not None:
        from app.settings.places import use_config_file

        use_config_file(named)


class _Zone(click.ParamType[tzinfo | None]):
    """A time zone by its name, like Europe/Brussels; `local` is this host's."""

    name = "zone"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tzinfo | None:
        from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

        if str(value).lower() in ("local", "utc"):
            return UTC if str(value).lower() == "utc" else None
        try:
            return ZoneInfo(str(value))
        except (ValueError, OSError, ZoneInfoNotFoundError):
            from app.base.text import printable

            self.fail(
                f"{printable(str(value))!r} is not a time zone of this host; write one like Europe/Brussels, "
                "local, or UTC (where none is known, install Debian's package tzdata)",
                param,
                ctx,
            )


def _choose_zone(ctx: click.Context, param: click.Parameter, zone: tzinfo | None) -> None:
    if ctx.get_parameter_source(param.name or "") is ParameterSource.COMMANDLINE:
        from app.base.text import use_times_in

        use_times_in(zone)


_VERBOSE: Mapping[str, Any] = {
    "is_flag": True,
    "expose_value": False,
    "callback": _choose_verbose,
    "help": "Tell errors whole, and on standard error each request, batch and save.",
}
# For the help of a command of which it changes the screen.
verbose_option = click.option("-v", "--verbose", **_VERBOSE)


def _options(*, hidden: bool) -> list[click.Parameter]:
    return [
        click.Option(
            ["--config"],
            metavar="FILE",
            type=click.Path(exists=True, dir_okay=False, path_type=Path),
            expose_value=False,
            is_eager=True,
            callback=_choose_settings_file,
            hidden=hidden,
            help=f"The settings file, in place of {CONFIG_VARIABLE}.",
        ),
        click.Option(
            ["--tz"],
            metavar="ZONE",
            type=_Zone(),
            expose_value=False,
            is_eager=True,
            callback=_choose_zone,
            hidden=hidden,
            help="The zone of times on screen and in options: Europe/Brussels, local; UTC unless given.",
        ),
        click.Option(
            ["-q", "--quiet"],
            is_flag=True,
            expose_value=False,
            callback=_choose_quiet,
            hidden=hidden,
            help="Write nothing for people but questions and errors; the exit status tells.",
        ),
        click.Option(["-v", "--verbose"], hidden=hidden, **_VERBOSE),
        click.Option(
            ["--log-format"],
            type=click.Choice(["json", "text"]),
            expose_value=False,
            callback=_choose_log_format,
            hidden=hidden,
            help="How log lines are written to standard error; LOG_FORMAT unless given.",
        ),
    ]


OPTIONS = _options(hidden=False)
_BELOW = _options(hidden=True)


def accept_below(command: click.Command, *, shown: bool) -> None:
    """Let a command, and those below it, take the options that stand before commands, too.

    `shown` is for a shell that completes them; a command's help tells of its own.
    """
    known = {word for param in command.params for word in param.opts}
    command.params += [option for option in (OPTIONS if shown else _BELOW) if known.isdisjoint(option.opts)]
    if isinstance(command, click.Group):
        for below in command.commands.values():
            accept_below(below, shown=shown)


def call_by_name(command: click.Command) -> None:
    """Put the program's name into the help of a command, and of those below it, which is of the tree's."""
    if command.help:
        command.help = command.help.replace(OF_THE_TREE, PROGRAM)
    if type(command) is click.Group:
        for below in command.commands.values():
            call_by_name(below)
