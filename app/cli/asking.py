"""Questions at a terminal. What is typed for a secret is not shown; Ctrl-C raises click.Abort."""

from __future__ import annotations

import getpass
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import click

from app.base.redaction import redact
from app.base.text import printable
from app.cli import common_options

# What is typed to take a value away.
NONE = "-"


def require_terminal(instead: str) -> None:
    """Raise UsageError where nobody can be asked, saying what to do instead."""
    if not (sys.stdin.isatty() and sys.stdout.isatty()):
        raise click.UsageError(f"there is no terminal to ask at; {instead}")


def typed(question: str, current: str = "", *, removable: bool = False) -> str:
    """Give what is typed, without spaces around it; only Enter gives what is current."""
    hint = f", {NONE} removes it" if removable else ""
    shown = f" [{_safe(current)}{hint}]" if current else ""
    answer: str = click.prompt(f"{_safe(question)}{shown}", default="", show_default=False, err=True)
    return answer.strip() or current


def typed_unseen(question: str, *, is_set: bool, removable: bool = False) -> str:
    """Give what is typed, nothing for only Enter; it is not shown."""
    hint = f", {NONE} removes it" if removable else ""
    kept = f" (set; Enter keeps it{hint})" if is_set else ""
    try:
        # It turns the echo off before it asks, which click's own does after it.
        return getpass.getpass(f"{_safe(question)}, not shown{kept}: ", sys.stderr)
    except (EOFError, KeyboardInterrupt):
        raise click.Abort from None


def chosen(question: str, choices: Sequence[str], current: str) -> str:
    """Give one of a few words."""
    while True:
        answer = typed(f"{question} ({', '.join(choices)})", current).lower()
        if answer in choices:
            return answer
        click.echo(f"  write one of {', '.join(choices)}", err=True)


def agreed(question: str, *, otherwise: bool) -> bool:
    """Ask whether; only Enter is `otherwise`."""
    return click.confirm(_safe(question), default=otherwise, err=True)


@contextmanager
def trying(what: str) -> Iterator[None]:
    """Show what is being tried, until that has ended."""
    # Above log lines it stays: each has a line of its own.
    stays = common_options.chosen().verbose
    shown = f"trying {_safe(what)} ..."
    click.echo(shown, nl=stays, err=True)
    try:
        yield
    finally:
        if not stays:
            click.echo(f"\r{' ' * len(shown)}\r", nl=False, err=True)


def _safe(text: str) -> str:
    return printable(redact(text))
