"""`init`: asks for settings, tries each answer, and writes them; what an installation begins with."""

from __future__ import annotations

import json
import shlex
import signal
import stat
from collections.abc import Mapping
from contextlib import AbstractContextManager
from pathlib import Path

import click

from app.base.errors import SettingsError
from app.base.files import FILES, explained
from app.base.log import configure_logging
from app.base.program import PROGRAM, typed_here
from app.base.redaction import redact
from app.base.text import counted, printable
from app.cli import COMMANDS
from app.cli.asking import agreed, require_terminal, typed
from app.cli.check_results import CheckResults
from app.cli.common_options import chosen
from app.cli.init_questions import Questions
from app.cli.init_trials import Trials
from app.cli.output import Output, text
from app.cli.session import ALL_WELL, SOMETHING_WRONG
from app.cli.tables import Column, table
from app.settings.answers import Answers
from app.settings.env_file import is_read_by_shells
from app.settings.loading import load_settings
from app.settings.places import find_config_file, find_env_file, given_or_own, new_env_file

# What works without, for most.
_NOT_ASKED = (
    "not asked: schedules, where to begin (START_FROM), category and metric of snapshots, single names of "
    "buildings, proxies, monitors, telemetry; docs/settings.md has them, and `config show` says what counts"
)

_path = click.Path(dir_okay=False, path_type=Path)


@click.command("init", short_help=COMMANDS["init"])
@click.option("--offline", is_flag=True, help="Try nothing: ask neither Microshare nor hubs nor the store.")
@click.option("--env-file", metavar="FILE", type=_path, help="Write there, and do not ask where.")
@click.option(
    "--appsettings",
    metavar="FILE",
    type=_path,
    help="Write what an app in Azure needs to this file, too, for `az functionapp config appsettings set`.",
)
def command(offline: bool, env_file: Path | None, appsettings: Path | None) -> int:
    """Ask for what is missing in the settings, try each answer at once, and write them to a file.

    Account, clusters, organisation, views, hubs and the state's place; what else can be set is said at
    the end. Enter keeps what is in brackets, - takes away what need not be there, and hubs can be
    removed. What is wrong is said at once, and can be corrected or kept. Passwords, keys and
    connection strings are not shown while they are typed.

    The file has mode 0600, or keeps 0640, and keeps its other lines and comments. A value that it has
    already is replaced only where that is agreed to. Ctrl-C leaves; what was answered then is kept, but
    for what would replace a value, and `init` offers it when it is called again.
    """
    out = Output()
    require_terminal(
        "write the variables of docs/settings.md to the environment, or to the file that "
        f"`{PROGRAM} config show` names, and call `{PROGRAM} check`"
    )
    if appsettings is not None and appsettings.exists():
        raise click.UsageError(f"{printable(str(appsettings))} is there already; name another file")
    # What is wrong is said by what tries it; an SDK's own lines would stand between questions.
    configure_logging("DEBUG" if chosen().verbose else "CRITICAL", to_stderr=True, as_text=True)
    environ = given_or_own(None)
    path = _chosen_path(env_file, new_env_file(environ))
    with _explained(path):
        FILES.try_output(path)
    answers = Answers(find_config_file(environ, None), path, environ)
    try:
        Questions(answers, out, None if offline else Trials(CheckResults(out))).all()
        _write(answers, out)
    except (click.Abort, KeyboardInterrupt):
        _keep(answers, out)
        raise click.Abort from None
    complete = _tell_what_is_missing(answers, out)
    _tell_what_next(path, answers, out)
    _tell_of_azure(answers, appsettings, out)
    return ALL_WELL if complete else SOMETHING_WRONG


def _chosen_path(given: Path | None, default: Path) -> Path:
    path = given or Path(typed("The settings are written to", str(default))).expanduser()
    return path.absolute()


def _explained(path: Path) -> AbstractContextManager[None]:
    return explained(str(path), {}, "name another file")


# --- writing ----------------------------------------------------------------------------------------


def _write(answers: Answers, out: Output) -> None:
    values = dict(answers.new())
    replaced = answers.replaced()
    if replaced:
        rows = [
            (name, _shown(answers, name, was, "a secret"), _shown(answers, name, to, "another secret"))
            for name, (was, to) in replaced.items()
        ]
        out.show("", table([Column("variable", key=True), Column("now"), Column("then")], rows))
        question = f"Replace {counted(len(replaced), 'value')} of {answers.env_file}?"
        if agreed(question, otherwise=False):
            values |= {name: to for name, (_, to) in replaced.items()}
    out.show("")
    if not values:
        out.show(f"{answers.env_file}: nothing was changed")
        return
    _save(answers, values)
    count, mode = counted(len(values), "value"), _mode(answers.env_file)
    out.show(f"{answers.env_file}: {count} written{mode}: {', '.join(values)}")


def _mode(path: Path) -> str:
    """Give a file's mode for a message; nothing of what is no file, as a pipe."""
    return f", mode {stat.S_IMODE(path.stat().st_mode):04o}" if path.is_file() else ""


def _keep(answers: Answers, out: Output) -> None:
    """Keep what was answered before somebody left."""
    # A second Ctrl-C would leave half a file beside, with secrets in it.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    values, replaced = answers.new(), answers.replaced()
    out.show("")
    if values:
        _save(answers, values)
        out.show(f"stopped; kept in {answers.env_file}: {', '.join(values)}")
    else:
        out.show("stopped; nothing was written")
    if replaced:
        out.show(f"not kept, as the file has other values: {', '.join(replaced)}")
    out.show(f"`{PROGRAM} init` goes on from there")


def _save(answers: Answers, values: Mapping[str, str]) -> None:
    with _explained(answers.env_file):
        FILES.output(answers.env_file, answers.text_with(values).encode(), over=True, for_its_group=True)


def _shown(answers: Answers, name: str, value: str, secret: str) -> str:
    if not value:
        return "none"
    return secret if answers.is_secret(name) else value


# --- what to do then --------------------------------------------------------------------------------


def _tell_what_is_missing(answers: Answers, out: Output) -> bool:
    """Say what is still wrong with the settings as they are written; whether nothing is."""
    try:
        load_settings(config_file=answers.config_file, dotenv=answers.env_file)
    except SettingsError as error:
        out.show("", text("the settings are not complete:", "bold red"))
        out.show(*(f"  {problem}" for problem in error.problems))
        out.show(f"`{PROGRAM} init` asks for it again")
        return False
    return True


def _tell_what_next(path: Path, answers: Answers, out: Output) -> None:
    read_here = find_env_file()
    if path != read_here.absolute():
        out.show("", f"commands here read {read_here}, not that file; to use it in a shell:")
        _line(f"  set -a; . {shlex.quote(str(path))}; set +a", out)
        odd = [name for name, value in answers.for_azure().items() if not is_read_by_shells(value)]
        if odd:
            out.show(f"a shell reads {', '.join(odd)} otherwise, for its quotes and backslashes")
    out.show("", _NOT_ASKED, "", "next:")
    for words in ("check", "run all --dry-run", "run all", "status", "report"):
        _line(f"  {typed_here()} {words}", out)


def _tell_of_azure(answers: Answers, path: Path | None, out: Output) -> None:
    if path is None:
        out.show("", f"for an app in Azure: `{PROGRAM} init --appsettings FILE` writes its settings, then:")
    else:
        settings = [
            {"name": name, "value": value, "slotSetting": False}
            for name, value in answers.for_azure().items()
        ]
        content = json.dumps(settings, indent=2, ensure_ascii=False)
        with _explained(path):
            FILES.output(path, f"{content}\n".encode(), over=False)
        out.show("", f"{path}: {counted(len(settings), 'setting')} written, mode 0600; remove it afterwards:")
    named = "@FILE" if path is None else shlex.quote(f"@{path.absolute()}")
    _line(
        f"  az functionapp config appsettings set --name APP --resource-group GROUP --settings {named}",
        out,
    )


def _line(words: str, out: Output) -> None:
    """Write a line to copy, which a terminal may fold and we do not."""
    out.write_document(f"{printable(redact(words))}\n".encode())
