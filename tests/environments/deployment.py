"""What leaves the tree: what `.funcignore` publishes, and what `.dockerignore` lets into an image."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Iterator
from pathlib import Path

# The Core Tools never look into the first two; the others are large, and let in by no line.
_NOT_WALKED = {".git", ".vscode", ".venv", ".venvs", "node_modules"}


def published(root: Path) -> list[str]:
    """Give the paths of the files that `func azure functionapp publish` takes along, sorted.

    It tries each file against all lines; one with ! wins over every other, wherever it stands, and a
    line is the beginning of a path, with ** for anything and * for anything but a slash. Source:
    GitIgnoreParser.cs of azure-functions-core-tools.
    """
    lines = [line.strip() for line in (root / ".funcignore").read_text().splitlines()]
    rules = [line for line in lines if line and not line.startswith("#")]
    let_in = [_beginning(rule[1:]) for rule in rules if rule.startswith("!")]
    left_out = [_beginning(rule) for rule in rules if not rule.startswith("!")]
    return sorted(
        path
        for path in _files(root)
        if any(rule.match(path) for rule in let_in) or not any(rule.match(path) for rule in left_out)
    )


def in_context(root: Path) -> list[str]:
    """Give the paths of the files that `docker build` sends to the builder, sorted.

    The last line of `.dockerignore` that fits a file, or a folder that it lies in, wins, whatever was said of
    that folder before. Source: patternmatcher.go of moby.
    """
    lines = [line.strip() for line in (root / ".dockerignore").read_text().splitlines()]
    rules = [
        (line.startswith("!"), _of_docker(line.removeprefix("!")))
        for line in lines
        if line and not line.startswith("#")
    ]

    def is_in(path: str) -> bool:
        above = [str(each) for each in (Path(path), *Path(path).parents)]
        fitting = [lets_in for lets_in, rule in rules if any(rule.fullmatch(each) for each in above)]
        return fitting[-1] if fitting else True

    return sorted(filter(is_in, _files(root)))


def _of_docker(rule: str) -> re.Pattern[str]:
    parts = {"**/": "(?:.*/)?", "**": ".*", "*": "[^/]*", "?": "[^/]"}
    words = re.split(r"(\*\*/|\*\*|\*|\?)", rule.strip("/"))
    return re.compile("".join(parts.get(word, re.escape(word)) for word in words))


def publish(root: Path, to: Path) -> Path:
    """Copy what is published of the tree into a folder."""
    for path in published(root):
        (to / path).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(root / path, to / path)
    return to


def _beginning(rule: str) -> re.Pattern[str]:
    escaped = re.sub(r"[-\[\]/{}()+?.\\^$|]", r"\\\g<0>", rule.removeprefix("/"))
    return re.compile(escaped.replace("**", "(.+)").replace("*", "([^/]+)"))


def _files(root: Path) -> Iterator[str]:
    for folder, folders, files in os.walk(root):
        folders[:] = [name for name in folders if name not in _NOT_WALKED]
        yield from (str((Path(folder) / name).relative_to(root)) for name in files)
