"""The JSON Schema of config.yaml, for editors: made of the classes of schema.py and the marks on their types.

It knows what a value looks like, not what it must be beside others; `check --offline` does. A rule that
has no form here is an error, so that a new setting cannot be forgotten.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any, Final

from app.base.files import is_file
from app.base.instants import write_duration
from app.base.wire_forms import OUR_PROPERTIES
from app.settings import rules
from app.settings.document import is_secret
from app.settings.fields import ENTRIES, SECTIONS, WrittenField, fields_of, top_fields, words_of
from app.settings.rules import Reads
from app.settings.schema import Written, WrittenForm, WrittenHub

DIALECT: Final = "https://json-schema.org/draft/2020-12/schema"

Form = dict[str, Any]
_VARIABLE: Final[Form] = {"$ref": "#/$defs/variable"}
_HUB: Final[Form] = {"$ref": "#/$defs/hub"}
_TEXT: Final[Form] = {"type": "string"}
_NAMES: Final[Form] = {"type": "object", "additionalProperties": {"type": "string", "minLength": 1}}
# The forms of rules that take no measures.
_FORMS: Final[Mapping[Callable[[Any], object], Form]] = {
    rules.plain_text: _TEXT,
    rules.word: {"type": "string", "pattern": r"^[^\s/,\"'\[\]{}]*$"},
    rules.base_url: {"type": "string", "pattern": "^https?://"},
    rules.url_or_nothing: {"type": "string", "pattern": "^(https?://.*)?$"},
    rules.secret_url: {"type": "string", "pattern": "^(https?://.*)?$"},
    rules.account_name: {"type": "string", "pattern": "^([a-z0-9]{3,24})?$"},
    rules.authorities: _TEXT,
    rules.schedule: {"type": "string", "pattern": r"^\s*\S+(\s+\S+){5}\s*$"},
    rules.start: {"type": "string", "pattern": r"^\s*([0-9]{1,7}[smhd]|[0-9]{4}-.*)\s*$"},
    rules.names: _NAMES,
    rules.names_in_view: _NAMES,
    rules.static_properties: {
        "type": "object",
        "maxProperties": rules.MOST_PROPERTIES,
        "propertyNames": {"minLength": 1, "maxLength": 128, "not": {"enum": list(OUR_PROPERTIES)}},
        "additionalProperties": {
            "anyOf": [
                {"type": "string", "maxLength": rules.LONGEST_PROPERTY},
                {"type": "integer", "minimum": -(2**31), "maximum": 2**31 - 1},
                {"type": "number", "not": {"type": "integer"}},
                {"type": "boolean"},
            ]
        },
    },
}
# What is read entry by entry, elsewhere: its type says nothing.
_READ_ELSEWHERE: Final[Mapping[tuple[str, str], Form]] = {
    ("event_hubs", "primary"): {"anyOf": [_TEXT, _HUB]},
    ("event_hubs", "others"): {
        "anyOf": [_TEXT, _HUB, {"type": "array", "items": {"anyOf": [_TEXT, _HUB]}}],
    },
    ("event_hubs", "bodies"): {
        "type": "object",
        "additionalProperties": {"anyOf": [{"$ref": "#/$defs/form"}, {"type": "null"}]},
    },
    ("telemetry", "connection_string"): _TEXT,
}


def config_schema(commented: Path) -> dict[str, Any]:
    """Give the schema; the comments of a config.yaml become its descriptions, where there is that file."""
    said = _descriptions(commented.read_text(encoding="utf-8")) if is_file(commented) else {}
    sections = {name: section_schema(name, section, said) for name, section in SECTIONS.items()}
    feed = sections.pop(ENTRIES)
    feeds = {
        "type": "object",
        "minProperties": 1,
        "propertyNames": {"pattern": "^[a-z_][a-z0-9_]*$"},
        "additionalProperties": {"$ref": "#/$defs/feed"},
    }
    properties = {
        name: _described(feeds if name == ENTRIES else sections[name], said.get(name)) for name in SECTIONS
    }
    needed = [name for name, section in SECTIONS.items() if any(one.needed for one in fields_of(section))]
    for name in properties.keys() - needed:
        properties[name]["type"] = ["object", "null"]
    properties |= {found.name: _property("", found, said.get(found.name)) for found in top_fields()}
    return {
        "$schema": DIALECT,
        "title": "config.yaml of microshare-forwarder",
        "type": "object",
        "properties": properties,
        "required": needed,
        "additionalProperties": False,
        "$defs": {
            "feed": feed,
            "form": section_schema("", WrittenForm),
            "hub": section_schema("", WrittenHub),
            "variable": _variable(),
        },
    }


def _variable() -> Form:
    return {
        "type": "string",
        "pattern": r"\$\{[A-Za-z_][A-Za-z0-9_]*(:-|\})",
        "description": "A text with ${NAME} or ${NAME:-default} in it: that environment variable.",
    }


def section_schema(name: str, section: type[Written], said: Mapping[str, str] | None = None) -> Form:
    """Give what a section looks like; `said` has its keys' descriptions by their dotted names."""
    found = list(fields_of(section))
    return {
        "type": "object",
        "properties": {
            one.name: _property(name, one, (said or {}).get(f"{name}.{one.name}")) for one in found
        },
        "required": [one.name for one in found if one.needed],
        "additionalProperties": False,
    }


def _property(section: str, field: WrittenField, said: str | None) -> Form:
    form = _form(section, field)
    alternatives = list(form["anyOf"]) if "anyOf" in form else [form]
    if _TEXT not in alternatives:
        alternatives.append(_VARIABLE)
    if not field.needed:
        # A key without a value counts as left out.
        alternatives.append({"type": "null"})
    made: Form = {"anyOf": alternatives} if len(alternatives) > 1 else dict(alternatives[0])
    if field.needed:
        made |= {"minLength": 1, "minItems": 1}
    elif field.default not in (None, "", ()) and not is_secret((section, field.name)):
        made["default"] = _as_json(field.default)
    return _described(made, said)


def _described(form: Form, said: str | None) -> Form:
    return {"description": said, **form} if said else dict(form)


# --- forms of values --------------------------------------------------------------------------------


def _form(section: str, field: WrittenField) -> Form:
    """Give what a value looks like. Raises KeyError for a rule whose form is not known."""
    if (section, field.name) in _READ_ELSEWHERE:
        return _READ_ELSEWHERE[section, field.name]
    read = next((mark.read for mark in field.marks if isinstance(mark, Reads)), None)
    if words := words_of(field.kind):
        return _one_of(words)
    if isinstance(read, partial):
        return _MEASURED[read.func](**read.keywords)
    return _FORMS[read] if read is not None else _OF_TYPES[field.kind]


def _one_of(words: tuple[str, ...]) -> Form:
    """Give words of which the letters' case does not count."""
    pattern = "|".join("".join(map(_in_both_cases, word)) for word in words)
    return {"anyOf": [{"enum": list(words)}, {"type": "string", "pattern": rf"^\s*({pattern})\s*$"}]}


def _in_both_cases(letter: str) -> str:
    lower, upper = letter.lower(), letter.upper()
    return re.escape(letter) if lower == upper else f"[{lower}{upper}]"


def _duration(least: str, most: str) -> Form:
    return {
        "type": "string",
        "pattern": r"^\s*[0-9]{1,7}[smhd]\s*$",
        "description": f"{least} to {most}; a whole number and its unit: s, m, h or d.",
    }


def _whole_number(least: int, most: int) -> Form:
    return {
        "anyOf": [
            {"type": "integer", "minimum": least, "maximum": most},
            {"type": "string", "pattern": r"^\s*-?[0-9]{1,18}\s*$"},
        ]
    }


def _text_list(kind: str, *, one: bool) -> Form:
    """Give a list, which may also be written as a JSON array in a text, and with `one` as its only text."""
    as_text = _TEXT if one else {"type": "string", "pattern": r"^\s*(\[.*)?$"}
    items = {"type": "string", "minLength": 1, "description": kind}
    return {"anyOf": [{"type": "array", "items": items}, as_text]}


_MEASURED: Final[Mapping[Callable[..., object], Callable[..., Form]]] = {
    rules.duration: _duration,
    rules.whole_number: _whole_number,
    rules.text_list: _text_list,
}
_OF_TYPES: Final[Mapping[Any, Form]] = {
    str: _TEXT,
    bool: {"anyOf": [{"type": "boolean"}, *_one_of(rules.TRUTH_WORDS)["anyOf"][1:]]},
}


def _as_json(default: object) -> object:
    if isinstance(default, timedelta):
        return write_duration(default)
    return list(default) if isinstance(default, tuple) else default


# --- descriptions -----------------------------------------------------------------------------------

_KEY = re.compile(r"( *)(\w+):")
_COMMENT = re.compile(r" *# ?(.*)")
# `#   name   what it is`, and what goes on in the line below.
_OF_ENTRIES = re.compile(r"  (\w+) {2,}(\S.*)")
_FURTHER = re.compile(r" {12,}(\S.*)")


def _descriptions(commented: str) -> Mapping[str, str]:
    """Give the comments that stand right above keys, by the dotted names of these."""
    found: dict[str, str] = {}
    above: list[tuple[int, str]] = []
    comment: list[str] = []
    for line in commented.splitlines():
        if written := _COMMENT.fullmatch(line):
            comment.append(written[1])
        elif key := _KEY.match(line):
            indent = len(key[1])
            above = [*((at, name) for at, name in above if at < indent), (indent, key[2])]
            name = ".".join(part for _, part in above)
            found |= _of_entries(comment) if name == ENTRIES else {name: " ".join(comment)}
            comment = []
        else:
            comment = []
    return {name: said for name, said in found.items() if said}


def _of_entries(comment: list[str]) -> Iterator[tuple[str, str]]:
    """Give what is said of all entries, and of each of their keys, in a list."""
    said: dict[str, list[str]] = {ENTRIES: []}
    name = ENTRIES
    for line in comment:
        listed, further = _OF_ENTRIES.fullmatch(line), _FURTHER.fullmatch(line)
        if listed:
            name = f"{ENTRIES}.{listed[1]}"
            said[name] = [listed[2]]
        else:
            said[name].append(further[1] if further else line)
    return ((name, " ".join(lines)) for name, lines in said.items())
