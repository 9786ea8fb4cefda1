"""Variables: where they are set, and how they are put into the texts of a settings file, as `${NAME}`."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path

from app.base.errors import SettingsError
from app.base.program import CONFIG_VARIABLE
from app.base.text import shown
from app.settings.env_file import read_env_file
from app.settings.places import env_file_of

# ${NAME:-${OTHER:-...}}: each level is looked through once more.
_DEEPEST_DEFAULT = 10
_VARIABLE = re.compile(r"(?s)([A-Za-z_][A-Za-z0-9_]*)(?::-(.*))?")


def read_environment(environ: Mapping[str, str], config_file: Path, dotenv: Path | None) -> Mapping[str, str]:
    """Give the variables of `.env` and of the environment, which wins; an empty value is none."""
    env_file = dotenv or env_file_of(config_file, environ)
    in_file = read_env_file(env_file)
    if CONFIG_VARIABLE in in_file and not environ.get(CONFIG_VARIABLE):
        raise SettingsError(
            [f"{CONFIG_VARIABLE}: is not read here; set it in the environment, or remove it"],
            source=str(env_file),
        )
    return variables_of(in_file, environ)


def variables_of(in_env_file: Mapping[str, str], environ: Mapping[str, str]) -> dict[str, str]:
    """Give the variables that are set: the environment goes before `.env`, and an empty value is none."""
    return {name: value for name, value in [*in_env_file.items(), *environ.items()] if value}


def filled_text(
    written: str, environment: Mapping[str, str], named: list[str], *, level: int = 1
) -> str | None:
    """Put variables into a text; None where one without a default is unset.

    `named` gets their names, in the order in which they count. Raises ValueError for what names none.
    """
    if level > _DEEPEST_DEFAULT:
        raise ValueError(f"holds defaults within defaults over {_DEEPEST_DEFAULT} deep; write fewer")
    texts: list[str | None] = []
    for literal, inner in _split(written):
        texts.append(literal)
        if inner is None:
            continue
        match = _VARIABLE.fullmatch(inner)
        if match is None:
            raise ValueError(
                f"{shown('${' + inner + '}')} names no variable; write ${{NAME}} or ${{NAME:-default}}"
            )
        name, default = match.groups()
        named.append(name)
        # The default is read even when it is not needed, to know the variables it names.
        fallback = None if default is None else filled_text(default, environment, named, level=level + 1)
        texts.append(environment.get(name, fallback))
    known = [text for text in texts if text is not None]
    return "".join(known) if len(known) == len(texts) else None


def _split(written: str) -> Iterator[tuple[str, str | None]]:
    """Give each literal text with what stands between the braces of the `${...}` after it."""
    at = 0
    while (start := written.find("${", at)) >= 0:
        end, depth = start + 2, 1
        while end < len(written) and depth:
            depth += {"{": 1, "}": -1}.get(written[end], 0)
            end += 1
        if depth:
            raise ValueError(f"{shown(written[start:])} is not closed; write ${{NAME}} or ${{NAME:-default}}")
        yield written[at:start], written[start + 2 : end - 1]
        at = end
    yield written[at:], None
