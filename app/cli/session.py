"""What all commands share: settings and logs to begin with, errors to end with."""

from __future__ import annotations

import logging
import sys
import traceback
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING

import click

from app.base.errors import ForwarderError, LockHeld, SettingsError
from app.base.interpreter import lacking
from app.base.redaction import redact
from app.base.text import printable, write_times_in_utc
from app.cli.common_options import chosen

if TYPE_CHECKING:
    from app.cli.output import Output
    from app.settings.schema import Settings
    from app.state.store import MendableStore, RunLock

ALL_WELL = 0
SOMETHING_WRONG = 1
REFUSED = 2
LOCKED = 3
# A person waits for a hub: less patience than a run has, which can do something else meanwhile.
HUB_OPEN_S = 15.0
HUB_SEND_S = 30.0
# For login and discovery, while a person waits.
DISCOVERY_TIME = timedelta(minutes=2)
# The worst comes last: a lock is somebody's work under way, and no reason to sleep through a failure.
_BY_SEVERITY = (ALL_WELL, LOCKED, SOMETHING_WRONG, REFUSED)

json_option = click.option(
    "--json", "as_json", is_flag=True, help="Print JSON objects, one a line, instead of text."
)
yes_option = click.option("--yes", is_flag=True, help="Do it without asking.")


def worst(statuses: Iterable[int]) -> int:
    """Give the exit status of a command that did several things, which ended with these."""
    return max(statuses, key=_BY_SEVERITY.index, default=ALL_WELL)


@dataclass(frozen=True, slots=True)
class Explained:
    """An error as a user meets it."""

    text: str
    status: int


def begin(*, as_json: bool = False, only_logs: bool = False) -> Settings:
    """Read the settings and set the logs up. Raises SettingsError before anything is asked or sent.

    With `as_json` a program reads what is written: its times are in UTC, whatever zone was chosen; so they
    are with `only_logs`, where nothing else is written, not on a terminal either.
    """
    from app.base.log import configure_logging
    from app.run.feed_checks import check_feeds
    from app.settings.loading import journal_stream, load_settings

    if as_json or only_logs:
        write_times_in_utc()
    settings = check_feeds(load_settings())
    level = "DEBUG" if chosen().verbose else settings.log_level
    # What people read on a terminal says all that the log lines say.
    told_twice = not as_json and not only_logs and sys.stderr.isatty() and level != "DEBUG"
    if chosen().quiet and level in ("DEBUG", "INFO"):
        level = "WARNING"
    configure_logging(
        "CRITICAL" if told_twice else level,
        to_stderr=True,
        as_text=_log_format(settings, only_logs=only_logs) == "text",
        journal_stream=journal_stream(),
    )
    return settings


@dataclass(frozen=True, slots=True)
class Session:
    """What a command works with that looks at what is kept, or changes it."""

    settings: Settings
    store: MendableStore
    out: Output

    @classmethod
    def begin(cls, *, as_json: bool = False) -> Session:
        """Read the settings. Nothing is asked of the store or locked yet."""
        from app.cli.output import Output
        from app.state.opening import open_store

        settings = begin(as_json=as_json)
        return cls(settings, open_store(settings.state), Output(as_json=as_json))

    @contextmanager
    def locked(self, names: Iterable[str], owner: str) -> Iterator[list[RunLock]]:
        """Hold the run locks of these states. Raises LockHeld."""
        with ExitStack() as locks:
            yield [locks.enter_context(self.store.lock(name, owner)) for name in sorted(names)]

    def name_hubs(self, keys: Iterable[str]) -> str:
        """Name hubs as the settings do, those that are not in them by their keys."""
        known = self.settings.hub_names
        return ", ".join(known.get(key, key) for key in keys)


def _log_format(settings: Settings, *, only_logs: bool) -> str:
    """Give what --log-format says, else text on the terminal of who asks for more, else the settings."""
    for_a_person = (chosen().verbose or only_logs) and sys.stderr.isatty()
    return chosen().log_format or ("text" if for_a_person else settings.log_format)


def explain(error: Exception) -> Explained:
    """Give the message and the exit status of whatever was raised."""
    if isinstance(error, SettingsError):
        return Explained(str(error), REFUSED)
    if isinstance(error, LockHeld):
        return Explained(str(error), LOCKED)
    if isinstance(error, ForwarderError):
        return Explained(str(error), SOMETHING_WRONG)
    if isinstance(error, ModuleNotFoundError) and (advice := lacking(error)) is not None:
        return Explained(advice, REFUSED)
    text = f"unexpected {type(error).__name__}: {error}; please report it, with what --verbose shows"
    return Explained(redact(text), SOMETHING_WRONG)


def complain(text: str) -> None:
    """Write to standard error, where nothing is read by a program."""
    lines = redact(text).split("\n")
    # Where it cannot be written there is nobody to tell that.
    with suppress(OSError):
        print("\n".join(printable(line) for line in lines), file=sys.stderr, flush=True)


def show_traceback(error: Exception) -> None:
    """Write where an unexpected error comes from, for --verbose or LOG_LEVEL=DEBUG only."""
    from app.base.log import LOGGER_NAME

    if not isinstance(error, ForwarderError) and logging.getLogger(LOGGER_NAME).isEnabledFor(logging.DEBUG):
        complain("".join(traceback.format_exception(error)).rstrip())


def confirmed(question: str, *, yes: bool) -> bool:
    """Ask at the terminal, unless `yes`. Raises UsageError where there is none to ask at."""
    if yes:
        return True
    if not sys.stdin.isatty():
        raise click.UsageError("nothing was done: there is no terminal to ask at; add --yes to do it")
    if click.confirm(question, err=True):
        return True
    complain("nothing was done")
    return False
