"""Every problem of the settings at once, each with the place where it stands."""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Mapping
from dataclasses import fields
from typing import Any, TypeVar, get_args, get_origin

from app.base.text import shown
from app.settings.document import Document, Keys, is_secret
from app.settings.fields import WrittenField, fields_of, taken_apart, words_of
from app.settings.rules import Checks, Reads, kind_of, truth
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
        found: dict[str, Any] = {}
        problems = list(_read_into(found, kind, values, keys))
        for place, problem in problems:
            self.add(place, problem)
        return None if problems else kind(**found)


class _Refused(ValueError):
    """What is wrong with a value, or with entries of it, by the keys within it."""

    def __init__(self, problems: Mapping[Keys, str]) -> None:
        self.problems = problems


def _read_into(
    found: dict[str, Any], kind: type[Written], values: object, keys: Keys
) -> Iterator[tuple[Keys, str]]:
    """Read the fields of a section, those that are not written by their defaults; give what is wrong."""
    if not isinstance(values, Mapping):
        yield keys, f"is {kind_of(values)}; write `key: value` lines under it"
        return
    known = list(fields_of(kind))
    for field in known:
        place = (*keys, field.name)
        try:
            found[field.name] = _field(field, values, found, place)
        except _Refused as error:
            yield from (((*place, *within), problem) for within, problem in error.problems.items())
        except ValueError as error:
            yield place, str(error)
    names = [field.name for field in known]
    yield from (((*keys, name), _unknown(name, kind, names)) for name in values if name not in names)


def _field(field: WrittenField, values: Mapping[str, Any], above: Mapping[str, Any], place: Keys) -> Any:
    if field.name in values:
        return _value(field.kind, field.marks, values[field.name], above, place)
    if field.needed:
        advice = next(mark.advice for mark in field.marks if isinstance(mark, Checks) and mark.advice)
        raise ValueError(f"not set; {advice}")
    if field.checked:
        _check(field.marks, field.default, above)
    return field.default


def _value(kind: Any, marks: tuple[Any, ...], written: Any, above: Mapping[str, Any], place: Keys) -> Any:
    """Read a value by its marks, those that stand closest to its type last. Raises ValueError."""
    for mark in reversed(marks):
        if isinstance(mark, Reads):
            written = mark.read(written)
    seen = "" if is_secret(place) else f"{shown(written)} "
    words = words_of(kind)
    if words and written not in words:
        *others, last = words
        raise ValueError(f"{seen}is not known; write {', '.join(others)} or {last}")
    if kind is bool:
        written = truth(written)
        if written is None:
            raise ValueError(f"{seen}is neither true nor false; write one of them")
    elif kind is str and not isinstance(written, str):
        raise ValueError(f"{seen}is not text; put it in quotes")
    elif get_origin(kind) is dict and not isinstance(written, Mapping):
        raise ValueError(f"is {kind_of(written)}; write `key: value` lines under it")
    elif get_origin(kind) is tuple:
        written = _entries(get_args(kind)[0], written, place)
    _check(marks, written, above)
    return written


def _entries(hint: Any, written: tuple[Any, ...], place: Keys) -> tuple[Any, ...]:
    kind, marks = taken_apart(hint)
    problems: dict[Keys, str] = {}
    for at, entry in enumerate(written):
        try:
            _value(kind, marks, entry, {}, (*place, at))
        except ValueError as error:
            problems[at,] = str(error)
    if problems:
        raise _Refused(problems)
    return written


def _check(marks: tuple[Any, ...], value: object, above: Mapping[str, Any]) -> None:
    for mark in marks:
        if isinstance(mark, Checks):
            mark.check(value, above)


def _unknown(name: str, kind: type[Written], known: list[str]) -> str:
    is_set_in_code = name in {field.name for field in fields(kind)}
    near = [] if is_set_in_code else difflib.get_close_matches(name, known, 1)
    return f"is not a known key; did you mean {near[0]}?" if near else "is not a known key; remove it"
