"""The page as HTML: one text with its style and script in it, which asks nothing of anybody.

Its policy (CSP) lets that one style and that one script be used, by their hashes, and no other.
Every text that comes from outside is redacted, made printable and escaped, here and nowhere else.
"""

from __future__ import annotations

import base64
import hashlib
from datetime import datetime
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup, escape

from app.base.instants import format_time
from app.base.program import PROGRAM
from app.base.readings import Slice
from app.base.redaction import redact
from app.base.text import counted, label_of, minute, moment, printable, span
from app.page.view import View

_TEMPLATES = Path(__file__).parent / "templates"


def render(view: View) -> str:
    """Write the page."""
    style, script = (_source(name) for name in ("page.css", "page.js"))
    return (
        _environment()
        .get_template("page.html")
        .render(
            view=view,
            program=PROGRAM,
            style=style,
            script=script,
            policy=_policy(style, script),
        )
    )


def _environment() -> Environment:
    made = Environment(
        loader=FileSystemLoader(_TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        finalize=_shown,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.filters |= {
        "cell": _cell,
        "commands": _commands,
        "counted": counted,
        "label": label_of,
        "minute": _minute,
        "moment": moment,
        "number": _number,
        "written": minute,
        "span": span,
    }
    return made


def _shown(value: Any) -> Any:
    """Make a text fit to be shown; what the templates themselves made is."""
    if isinstance(value, str) and not isinstance(value, Markup):
        return printable(redact(value))
    return value


def _minute(instant: datetime | None) -> Markup:
    """Write an instant to the minute, as one that programs can read and that no line ends within."""
    if instant is None:
        return Markup("-")
    return Markup('<time datetime="{}">{}</time>').format(format_time(instant), minute(instant))


def _number(count: int | None) -> str:
    return "-" if count is None else f"{count:,}"


def _commands(text: str) -> Markup:
    """Write a text in which what stands between backticks is to be typed."""
    parts = str(_shown(text)).split("`")
    code = Markup("<code>{}</code>")
    return Markup().join(code.format(part) if at % 2 else escape(part) for at, part in enumerate(parts))


def _stretch(first: datetime, last: datetime) -> Markup:
    """Write from when to when; the day once, and what is within a minute as one instant."""
    begins, ends = minute(first), minute(last)
    if begins == ends:
        return _minute(first)
    short = ends[11:] if begins[:10] == ends[:10] else ends
    said = Markup('<span class="t">{} to <time datetime="{}">{}</time></span>')
    return said.format(_minute(first), format_time(last), short)


def _cell(value: object) -> object:
    """Write what stands in a table: an instant, a stretch of time, a number, or a text."""
    if isinstance(value, Slice):
        return _stretch(value.start, value.end)
    if isinstance(value, datetime):
        return _minute(value)
    return _number(value) if isinstance(value, int) else value


def _source(name: str) -> Markup:
    """Give a file of ours that goes into the page as it is."""
    return Markup((_TEMPLATES / name).read_text(encoding="utf-8"))  # noqa: S704 - no text from outside


def _policy(style: str, script: str) -> str:
    return (
        f"default-src 'none'; style-src {_hash(style)}; script-src {_hash(script)}; img-src data:; "
        "base-uri 'none'; form-action 'none'"
    )


def _hash(source: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(source.encode()).digest()).decode()}'"
