"""Reads a settings file as YAML: an object at its top, no key twice, and of a size that people write.

YAML lets an alias (`*name`) stand for all that its anchor holds, aliases in it included: a dozen lines
can stand for more values than any memory holds, or for themselves. And libyaml composes by recursion in C,
which ends the process at some 30,000 levels. So a file is looked through before anything is made of it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

try:
    from yaml import CSafeLoader as SafeLoader
except ImportError:  # built without libyaml
    from yaml import SafeLoader  # type: ignore[assignment]

from app.base.errors import SettingsError
from app.settings.env_file import why_unreadable

if TYPE_CHECKING:
    from app.settings.document import Keys

# The file that is delivered nests four levels deep and has some hundred values.
_DEEPEST = 20
_MOST_VALUES = 10_000
# What PyYAML's constructors raise for a text that a tag does not fit: a date like 2026-02-30, `!!bool x`.
_OF_CONSTRUCTORS = (ValueError, LookupError, AttributeError, TypeError, OverflowError)


def read_yaml(path: Path) -> Mapping[str, object]:
    """Parse a settings file. Raises SettingsError, with the line where there is one."""
    try:
        text = path.read_text(encoding="utf-8-sig")
        _look_through(text)
        parsed = yaml.load(text, Loader=_Loader)  # noqa: S506 - a SafeLoader
    except (OSError, UnicodeDecodeError) as error:
        raise SettingsError([f"cannot be read ({why_unreadable(error)})"], source=str(path)) from error
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else 1
        raise SettingsError([f"line {line}: {error.problem}"], source=str(path)) from None
    except (yaml.YAMLError, *_OF_CONSTRUCTORS) as error:
        raise SettingsError([f"is not YAML ({error}); correct it"], source=str(path)) from None
    if not isinstance(parsed, dict):
        raise SettingsError(["holds no settings; write `microshare:` and so on"], source=str(path))
    return parsed


def feeds_in(values: Mapping[str, object]) -> Mapping[str, object]:
    """Give the entry of each feed by its name, whether it is on or not; none where the section has none."""
    entries = values.get("feeds")
    return {str(name): entry for name, entry in entries.items()} if isinstance(entries, Mapping) else {}


def lines_of(path: Path) -> Mapping[Keys, int]:
    """Give the line in which each key of a file stands that `read_yaml` takes."""
    node = yaml.compose(path.read_text(encoding="utf-8-sig"), Loader=SafeLoader)
    return dict(_lines(node, ()))


def _lines(node: yaml.Node | None, keys: Keys) -> Iterator[tuple[Keys, int]]:
    if isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            if isinstance(key, yaml.ScalarNode):
                yield (*keys, key.value), key.start_mark.line + 1
                yield from _lines(value, (*keys, key.value))
    elif isinstance(node, yaml.SequenceNode):
        for at, value in enumerate(node.value):
            yield (*keys, at), value.start_mark.line + 1
            yield from _lines(value, (*keys, at))


class _Loader(SafeLoader):
    """Refuses a key that stands twice, which YAML forbids and PyYAML allows."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[object, object]:
        seen: set[str] = set()
        for key in (key for key, _ in node.value if isinstance(key, yaml.ScalarNode)):
            if key.value in seen:
                raise yaml.constructor.ConstructorError(
                    problem=f"{key.value!r} is here twice; keep one", problem_mark=key.start_mark
                )
            seen.add(key.value)
        constructed: dict[object, object] = super().construct_mapping(node, deep=deep)
        return constructed


@dataclass(slots=True)
class _Extent:
    """How many values a node holds, itself and those of aliases included, and how many levels."""

    anchor: str | None = None
    values: int = 1
    levels: int = 0

    def take_in(self, inner: _Extent) -> None:
        self.values += inner.values
        self.levels = max(self.levels, inner.levels + 1)


def _look_through(text: str) -> None:
    """Raise MarkedYAMLError where a file holds more than anybody means to write."""
    known: dict[str, _Extent] = {}
    around = [_Extent()]
    for event in yaml.parse(text, Loader=SafeLoader):
        if isinstance(event, yaml.CollectionStartEvent):
            around.append(_Extent(event.anchor))
            found = None
        elif isinstance(event, yaml.CollectionEndEvent):
            found = around.pop()
        elif isinstance(event, yaml.ScalarEvent):
            found = _Extent(event.anchor)
        elif isinstance(event, yaml.AliasEvent):
            if any(event.anchor == outer.anchor for outer in around):
                raise _refused(event, f"*{event.anchor} is within what it stands for; write that out")
            # One that nothing is known of is for the loader to refuse.
            extent = known.get(event.anchor or "", _Extent())
            found = _Extent(None, extent.values, extent.levels)
        else:
            continue
        if found is not None:
            around[-1].take_in(found)
            if found.anchor is not None:
                known[found.anchor] = found
        if len(around) - 1 + around[-1].levels > _DEEPEST:
            raise _refused(event, f"nested over {_DEEPEST} levels deep; write it as docs/settings.md has it")
        if around[-1].values > _MOST_VALUES:
            raise _refused(event, f"over {_MOST_VALUES:,} values, with what aliases stand for; write fewer")


def _refused(event: Any, problem: str) -> yaml.MarkedYAMLError:
    return yaml.MarkedYAMLError(problem=problem, problem_mark=event.start_mark)
