"""Every problem of the settings at once, each with the place where it stands."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from dataclasses import fields
from functools import cache
from typing import Any, TypeVar, get_type_hints

from pydantic import TypeAdapter, ValidationError
from pydantic_core import ErrorDetails

from app.base.text import shown
from app.settings.document import Document, Keys, is_secret
from app.settings.rules import UNWRITTEN, Checks, kind_of
from app.settings.schema import Written

Section = TypeVar("Section", bound=Written)


class Problems:
    """Gathers what is wrong with a document, each problem once, with the place where it stands."""

    def __init__(self, document: Document) -> None:
        self._document = document
        self._found: dict[str, None] = {}
        for keys, flaw in document.flaws.items():
            self._found[f"{document.name(keys)}: {flaw}"] = None

    def add(self, keys: Keys, problem: str) -> None:
        """Note a problem; not of a value that is known to be no value at all."""
        if not self._document.is_flawed(keys):
            self._found[f"{self._document.name(keys)}: {problem}"] = None

    def note(self, problem: str) -> None:
        self._found[problem] = None

    def all(self) -> list[str]:
        return list(self._found)

    def section(self, kind: type[Section], name: str) -> Section | None:
        """Give the section of that name, or note everything that is wrong with it."""
        return self.check(kind, self._document.values.get(name, {}), (name,))

    def check(self, kind: type[Section], values: object, keys: Keys) -> Section | None:
        """Give the section that `values` are, or note everything that is wrong with them."""
        try:
            section: Section = _reader_of(kind).validate_python(values)  # type: ignore[arg-type]  # every class is hashable
        except ValidationError as error:
            for found in error.errors(include_url=False):
                place = (*keys, *found["loc"])
                self.add(place, _say(found, kind, place))
            return None
        return section


@cache
def _reader_of(kind: type[Written]) -> TypeAdapter[Any]:
    """Give what reads a section: making it takes longer than all reading."""
    return TypeAdapter(kind)


def _say(error: ErrorDetails, kind: type[Written], keys: Keys) -> str:
    context: Mapping[str, Any] = error.get("ctx", {})
    seen = "" if is_secret(keys) else f"{shown(error['input'])} "
    match error["type"]:
        case "value_error":
            return str(context["error"])
        case "missing":
            return f"not set; {_advice(kind, str(keys[-1]))}"
        case "unexpected_keyword_argument":
            near = difflib.get_close_matches(str(keys[-1]), _written_in(kind), 1)
            return f"is not a known key; did you mean {near[0]}?" if near else "is not a known key; remove it"
        case "literal_error":
            return f"{seen}is not known; write {str(context['expected']).replace(chr(39), '')}"
        case "dict_type" | "dataclass_type":
            return f"is {kind_of(error['input'])}; write `key: value` lines under it"
        case "bool_parsing" | "bool_type":
            return f"{seen}is neither true nor false; write one of them"
        case "string_type":
            return f"{seen}is not text; put it in quotes"
        case _:
            return f"{seen}is refused: {error['msg'].lower()}"


def _marks(kind: type[Written], name: str) -> tuple[Any, ...]:
    return getattr(get_type_hints(kind, include_extras=True)[name], "__metadata__", ())


def _advice(kind: type[Written], name: str) -> str:
    return next(mark.advice for mark in _marks(kind, name) if isinstance(mark, Checks) and mark.advice)


def _written_in(kind: type[Written]) -> list[str]:
    return [field.name for field in fields(kind) if UNWRITTEN not in _marks(kind, field.name)]
