"""A `.env` file: each of its lines is read, or refused with its place.

python-dotenv goes by the same rules, but passes over a line that it cannot read, and takes the last of
two values, without a word.
"""

from __future__ import annotations

import io
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from app.base.errors import SettingsError

if TYPE_CHECKING:
    from dotenv.parser import Binding

READABLE = "save it as UTF-8, readable by this account"
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
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


def why_unreadable(error: OSError | UnicodeDecodeError) -> str:
    """Say why a file could not be read as text."""
    return "it is not UTF-8" if isinstance(error, UnicodeDecodeError) else error.strerror or str(error)


def _bindings(text: str) -> Iterator[tuple[int, Binding]]:
    """Give each statement with the line it begins in; comments and empty lines are none."""
    if not text:
        return
    from dotenv.parser import parse_stream

    line = 1
    for binding in parse_stream(io.StringIO(text)):
        written = binding.original.string
        blank = len(written) - len(written.lstrip())
        if binding.error or binding.key is not None:
            yield line + written.count("\n", 0, blank), binding
        line += written.count("\n")


def _problem(binding: Binding) -> str | None:
    first, _, further = binding.original.string.strip().partition("\n")
    if binding.error and "=" in first:
        return (
            "a quote is not closed, or something follows the closing one; write NAME='value' and nothing "
            "behind it, and within single quotes \\' for a quote, \\\\ for a backslash"
        )
    if binding.error or binding.value is None:
        return "sets nothing; write NAME='value', or begin it with # if it is a comment"
    if binding.key is not None and not _NAME.fullmatch(binding.key):
        return (
            "what stands before = is no name of a variable; write NAME='value', the name in letters, digits "
            "and _"
        )
    if _ASSIGNMENT.search(further):
        return "a quote is closed only after further lines that set something; close it in its line"
    return None
