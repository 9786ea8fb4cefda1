"""The command line: one module a command, loaded when it is called.

What fails anywhere below becomes a message on standard error and an exit status here, and nowhere
else; no user meets a traceback.
"""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Sequence
from contextlib import suppress
from typing import NoReturn

import click

from app.base.program import PROGRAM as PROGRAM
from app.base.version import VERSION
from app.cli.common_options import OPTIONS, accept_below, call_by_name

_STOPPED_BY_CTRL_C = 130

# The order of a first session. A command is `command` of the module of its name, with _ for -.
COMMANDS = {
    "init": "Ask for what is missing in the settings, try each answer, and write them.",
    "check": "Say of all that a run needs what is right, or what to do.",
    "config": "Show the settings that count and where they come from, or the schema of config.yaml.",
    "locations": "List the locations that discovery finds now.",
    "run": "Run a feed once, exactly as its timer would.",
    "serve": "Run all feeds on their schedules until told to stop, as a container does.",
    "status": "Say of each feed whether it is healthy, what is behind or fails, and what to do.",
    "runs": "List the last runs: how each ended, and what every hub got.",
    "backfill": "Ask the source for a past window again, and send it to the hubs.",
    "audit": "Compare what the source shows with what the hubs hold, reading by reading.",
    "report": "Write one page of a window to look at: what was published, and what every hub has.",
    "tail": "Read a hub's events.",
    "send-test": "Send marked test events to a hub, to see it work end to end.",
    "state": "Look at a feed's state, copy it, move it elsewhere, or change it by hand.",
    "quarantine": "Look at readings that hubs could not take, and send them again.",
    "completion": "Write what a shell reads to complete commands, options and feeds.",
}


class _LazyGroup(click.Group):
    """A group that imports a command's module only when that command is asked for."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 - click's signature
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002
        if cmd_name not in COMMANDS:
            return None
        command: click.Command = importlib.import_module(f"app.cli.{cmd_name.replace('-', '_')}").command
        call_by_name(command)
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        try:
            name, command, rest = super().resolve_command(ctx, args)
        except click.exceptions.NoSuchCommand as error:
            # click suggests of what is loaded.
            raise click.exceptions.NoSuchCommand(
                error.command_name, possibilities=COMMANDS, ctx=ctx
            ) from None
        if command is not None:
            accept_below(command, shown=ctx.resilient_parsing)
        return name, command, rest

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))


@click.group(cls=_LazyGroup, params=[*OPTIONS], context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(VERSION, package_name="microshare-forwarder", message="%(package)s %(version)s")
def commands() -> None:
    """Forward Microshare building readings to Azure Event Hubs.

    Every reading that a dashboard view shows reaches every hub, in order; a hub that is down
    catches up by itself later. Settings come from config.yaml, the environment, and .env.

    \b
    A first session:
      python -m app init               ask for the settings, and try them
      python -m app check              do login, views, hubs, state work?
      python -m app locations          which buildings are forwarded?
      python -m app run all --dry-run  what would go where?
      python -m app run all            forward what is new
      python -m app status             does data flow, and if not, why?
      python -m app tail --count 5     what did the primary hub get?
      python -m app report             a page of what every hub has

    \b
    Exit status:
      0  success; also a run cut short by its time or SIGTERM, nothing failed
      1  something is wrong, or was not delivered
      2  the settings or the command's words are refused; nothing was done
      3  another run of the feed is under way

    With --json, standard output holds JSON objects only, one a line; logs go to standard error.
    On a terminal, without --json, log lines are left out unless --verbose is given or LOG_LEVEL is
    DEBUG. --config, --tz, --quiet, --verbose and --log-format may stand before or after a command's
    words.
    """  # noqa: D301 - \b keeps click from filling the lines after it


call_by_name(commands)


def main(args: Sequence[str] | None = None) -> NoReturn:
    """Do what `args` say, sys.argv unless given, and end with the exit status."""
    _open_what_is_closed()
    status = _status_of(args)
    _forget_what_cannot_be_written()
    sys.exit(status)


def _open_what_is_closed() -> None:
    """Let standard output and error lead nowhere where the process began without them."""
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:
            setattr(sys, name, os.fdopen(os.open(os.devnull, os.O_WRONLY), "w"))


def _forget_what_cannot_be_written() -> None:
    """Keep what is still buffered from failing once more at the end, which would be another exit status."""
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except OSError:
            os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


def _status_of(args: Sequence[str] | None) -> int:
    try:
        # Not standalone: a command's return value is the exit status.
        status = commands.main(args, prog_name=PROGRAM, standalone_mode=False)
    except click.ClickException as error:
        with suppress(OSError):
            error.show()
        return error.exit_code
    except click.Abort:
        return _STOPPED_BY_CTRL_C
    except Exception as error:  # noqa: BLE001 - the one place where nothing may escape
        from app.cli.session import complain, explain, show_traceback

        show_traceback(error)
        failure = explain(error)
        complain(failure.text)
        return failure.status
    return status or 0
