"""A `.env` file: each of its lines is read, or refused with its place.

python-dotenv goes by the same rules, but passes over a line that it cannot read, and takes the last of
two values, without a word.
"""

from __future__ import annotations

import io
import re
from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from app.base.errors import SettingsError

if TYPE_CHECKING:
    from dotenv.parser import Binding

READABLE = "save it as UTF-8, readable by this account"
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
# A statement as python-dotenv reads it, in what stands before its value, the value, and what follows. It is
# compiled where a file is written, which a run never does.
_STATEMENT = r"""(?xs)
    (?P<before> \s* (?:export[^\S\r\n]+)? (?:'[^']+'|[^=\#\s]+) [^\S\r\n]* = [^\S\r\n]*)
    (?:
        (?:'(?:\\.|[^'\\])*' | "(?:\\.|[^"\\])*") (?= [^\S\r\n]* (?:\#|[\r\n]|\Z))
        | (?<=[^\S\r\n]) (?=\#)
        | [^\r\n]*? (?= (?:[^\S\r\n]+\#[^\r\n]*)? [^\S\r\n]* (?:[\r\n]|\Z))
    )
    (?P<after> .*)"""
_ASSIGNMENT = re.compile(r"(?m)^[^\S\n]*(?:export[^\S\n]+)?[A-Za-z_][A-Za-z0-9_]*[^\S\n]*=")


def read_env_file(path: Path) -> Mapping[str, str]:
    """Give what a `.env` file sets; nothing where there is none.

    Raises SettingsError if it cannot be read, or names each line that sets nothing, or sets a name to
    another value than a line before. No message holds what stands in the file: it could be a secret.
    """
    try:
        text = path.read_text(encoding="utf-8-sig") if path.is_file() else ""
    except (OSError, UnicodeDecodeError) as error:
        said = f"cannot be read ({why_unreadable(error)}); {READABLE}"
        raise SettingsError([said], source=str(path)) from error
    values: dict[str, str] = {}
    lines: dict[str, int] = {}
    problems: list[str] = []
    for line, binding in _bindings(text):
        name, value = binding.key, binding.value
        if problem := _problem(binding):
            problems.append(f"{path.name} line {line}: {problem}")
        elif name is not None and value is not None:
            if values.get(name, value) != value:
                problems.append(
                    f"{path.name} line {line}: {name} has another value in line {lines[name]}; keep one"
                )
            values[name], lines[name] = value, line
    if problems:
        raise SettingsError(problems, source=str(path))
    return values


def with_values(text: str, values: Mapping[str, str]) -> str:
    """Give the text of a `.env` file with these values in it, each of its other lines and comments as it was.

    `text` is one that is read. A line that sets one of the names is written anew, and keeps the comment
    behind the value; the others come at the end. Raises ValueError as `quoted` does.
    """
    parts: list[str] = []
    missing = dict(values)
    for binding in _parsed(text):
        written = binding.original.string
        if binding.key is not None and binding.key in values:
            missing.pop(binding.key, None)
            written = re.sub(_STATEMENT, partial(_rewritten, quoted(values[binding.key])), written, count=1)
        parts.append(written)
    before = "".join(parts)
    if missing and before and not before.endswith("\n"):
        before += "\n"
    return before + "".join(f"{name}={quoted(value)}\n" for name, value in missing.items())


def quoted(value: str) -> str:
    """Write a value so that it is read back as it is, by a shell too wherever one form is read by both.

    Raises ValueError for one that no line can hold.
    """
    if set(value) & set("\r\n\0") or any("\ud800" <= character <= "\udfff" for character in value):
        raise ValueError("holds a line break or another character that no line of the file can hold")
    if not set(value) & {"'", "\\"}:
        return f"'{value}'"
    if is_read_by_shells(value):
        return f'"{value}"'
    escaped = value.replace("\\", "\\\\").replace("'", "\\'")
    return f"'{escaped}'"


def is_read_by_shells(value: str) -> bool:
    """Whether a shell that sources the file reads the value that `quoted` wrote."""
    return not set(value) & {"'", "\\"} or not set(value) & set('"\\$`!')


def _rewritten(value: str, statement: re.Match[str]) -> str:
    return f"{statement['before']}{value}{statement['after']}"


def why_unreadable(error: OSError | UnicodeDecodeError) -> str:
    """Say why a file could not be read as text."""
    return "it is not UTF-8" if isinstance(error, UnicodeDecodeError) else error.strerror or str(error)


def _bindings(text: str) -> Iterator[tuple[int, Binding]]:
    """Give each statement with the line it begins in; comments and empty lines are none."""
    line = 1
    for binding in _parsed(text):
        written = binding.original.string
        blank = len(written) - len(written.lstrip())
        if binding.error or binding.key is not None:
            yield line + written.count("\n", 0, blank), binding
        line += written.count("\n")


def _parsed(text: str) -> Iterator[Binding]:
    if not text:
        return
    from dotenv.parser import parse_stream

    yield from parse_stream(io.StringIO(text))


def _problem(binding: Binding) -> str | None:
    first, _, further = binding.original.string.strip().partition("\n")
    if binding.error and _ASSIGNMENT.match(first):
        return (
            "a quote is not closed, or something follows the closing one; write NAME='value' and nothing "
            "behind it, and within single quotes \\' for a quote, \\\\ for a backslash"
        )
    if binding.value is None and not (binding.error and "=" in first):
        return "sets nothing; write NAME='value', or begin it with # if it is a comment"
    if binding.error or (binding.key is not None and not _NAME.fullmatch(binding.key)):
        return (
            "what is before = is not the name of a variable; write NAME='value', the name in letters, digits "
            "and _"
        )
    if _ASSIGNMENT.search(further):
        return "a quote is closed only after further lines that set something; close it in its line"
    return None
