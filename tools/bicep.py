"""What is wrong with Bicep files, as far as that is seen without its compiler.

python -m tools.bicep FILE...    prints a line for each problem; 1 where there is any

Each file is parsed, and compared with the models of Azure's SDKs (`azure_models.py`): types and their
versions, properties and which of them must be there, the kind of what is written for them, and values of
enumerations. Names are declared, and used; modules are given the parameters that they have, and asked for
the outputs that they have. What an expression comes to, and what a type allows beyond its kind, only the
compiler knows.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterator, Mapping, Set
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from lark.exceptions import LarkError
from pycep import BicepParser
from pycep.models import BicepElement

from tools.azure_models import MODELS

# The roles that templates here may name, by their ids, which are the same everywhere.
ROLES = {
    "b7e6dc6d-f1e8-4753-8033-0f276bb0955b": "Storage Blob Data Owner",
    "974c5e8b-45b9-4653-ba55-5f855dd0fb88": "Storage Queue Data Contributor",
    "0a9a7e1f-b9d0-4cc4-a60d-0319b160aaa3": "Storage Table Data Contributor",
    "76199698-9eea-4c19-bc75-cec21354c6b6": "Storage Table Data Reader",
    "4633458b-17de-408a-b874-0445c86b69e6": "Key Vault Secrets User",
    "7f951dda-4ed3-4680-a7ca-43fe172d538d": "AcrPull",
    "3913510d-42f4-4e42-8a64-420c390055eb": "Monitoring Metrics Publisher",
    "2b629674-e913-4c01-ae53-ef4638d8f975": "Azure Event Hubs Data Sender",
    "a638d3c7-ab3a-418d-83e6-5f17a39d4fde": "Azure Event Hubs Data Receiver",
}
# What each resource may have beside what its model knows.
_OF_RESOURCES = {"name", "scope", "parent", "dependsOn"}
_OF_MODULES = {"name", "scope", "params", "dependsOn"}
_OF_LANGUAGE = {"true", "false", "null", "sys", "az"}
_GUID = re.compile(r"\b[0-9a-f]{8}-(?:[0-9a-f]{4}-){3}[0-9a-f]{12}\b")


@dataclass(frozen=True, slots=True)
class Bicep:
    """A file as it was parsed. A parameter without a default has None."""

    path: Path
    text: str
    tree: Mapping[str, Mapping[str, Mapping[str, Any]]]

    def of(self, kind: str) -> Mapping[str, Mapping[str, Any]]:
        """Give what is declared of a kind: parameters, variables, resources, modules, outputs."""
        return self.tree.get(kind, {})

    @property
    def required(self) -> Set[str]:
        """Give the parameters that have no default."""
        return {name for name, one in self.of("parameters").items() if one["default"] is None}

    def module_path(self, name: str) -> Path:
        """Give where the file of a module is."""
        return self.path.parent / str(self.of("modules")[name]["detail"]["path"])


@cache
def _parser() -> BicepParser:
    return BicepParser()


@cache
def _azure() -> Mapping[str, Any]:
    document: Mapping[str, Any] = json.loads(MODELS.read_text(encoding="ascii"))
    return document


def parse(path: Path, text: str | None = None) -> Bicep:
    """Read a file, or a text in its place. Raises LarkError, or ValueError, where it cannot be parsed."""
    written = path.read_text(encoding="utf-8") if text is None else text
    tree: Any = _parser().parse(text=written)
    return Bicep(path, written, tree)


def problems(path: Path, text: str | None = None) -> list[str]:
    """Say what is wrong with a file, or with a text in its place; modules are read from where they are."""
    try:
        file = parse(path, text)
    except (LarkError, ValueError) as error:
        return [f"cannot be parsed: {str(error).splitlines()[0]}"]
    return [
        *_of_resources(file),
        *_of_names(file),
        *_of_modules(file),
        *(f"{guid} is not the id of a role" for guid in _GUID.findall(file.text) if guid not in ROLES),
    ]


# --- properties ------------------------------------------------------------------------------------


def _of_resources(file: Bicep) -> Iterator[str]:
    types = _azure()["types"]
    for name, resource in file.of("resources").items():
        kind = f"{resource['type']}@{resource['api_version']}"
        if kind not in types:
            known = [one for one in types if one.startswith(f"{resource['type']}@")]
            yield f"{name}: {kind} is not known; " + (
                f"{known[0]} is" if known else "add it to tools/azure_models.py, and run that"
            )
        elif not resource["existing"]:
            body = {key: value for key, value in body_of(resource).items() if key not in _OF_RESOURCES}
            yield from _of_value(name, body, types[kind])


def body_of(declared: Mapping[str, Any]) -> Mapping[str, Any]:
    """Give what a resource or module is made of, also where there is one of each, or only sometimes one."""
    body: Mapping[str, Any] = declared["config"]
    while set(body) <= {"condition", "config", "loop_type"}:
        body = body["config"]
    return body


def _of_value(where: str, value: Any, shape: Any) -> Iterator[str]:
    """Say what is wrong with a value; of an expression, only what it may come to as it is written."""
    if isinstance(value, dict) and set(value) == {"loop_type", "condition", "config"}:
        if not str(shape).startswith("[]"):
            yield f"{where}: is a loop, and wants no list"
        else:
            yield from _of_value(where, value["config"], shape[2:])
    elif isinstance(value, dict) and _is_expression(value):
        for one in _either(value):
            yield from _of_value(where, one, shape)
    elif value is None or isinstance(value, BicepElement) or shape == "any":
        pass
    elif isinstance(shape, list):
        if not (isinstance(value, str) and ("${" in value or value in shape)):
            yield f"{where}: {value!r} is not one of {', '.join(map(str, shape))}"
    elif shape.startswith("[]"):
        if isinstance(value, list):
            for one in value:
                yield from _of_value(where, one, shape[2:])
        else:
            yield f"{where}: is not a list"
    elif shape in _KINDS:
        if not isinstance(value, _KINDS[shape]) or (shape == "number" and isinstance(value, bool)):
            yield f"{where}: {value!r} is not a {shape}"
    elif not isinstance(value, dict):
        yield f"{where}: is not an object"
    else:
        fields = _azure()["models"].get(shape, {})
        for missing in _azure()["required"].get(shape, []):
            if missing not in {key.strip("'") for key in value}:
                yield f"{where}: the property {missing} is not given"
        for key, one in value.items():
            name = key.strip("'")
            if shape.startswith("{}"):
                yield from _of_value(f"{where}.{name}", one, shape[2:])
            elif name in fields:
                yield from _of_value(f"{where}.{name}", one, fields[name])
            else:
                near = [field for field in fields if field.lower() == name.lower()]
                yield f"{where}: has no property {name}" + "".join(f"; did you mean {one}?" for one in near)


def _is_expression(value: Mapping[str, Any]) -> bool:
    [only, *more] = value.items() or [("", None)]
    return (
        not more and only[0] in ("operator", "function") and isinstance(only[1], dict) and "type" in only[1]
    )


def _either(expression: Mapping[str, Any]) -> list[Any]:
    """Give the two that a condition chooses from; `a == b ? c : d` is parsed as `a == (b ? c : d)`."""
    operator = expression.get("operator", {})
    operands = list(operator.get("operands", {}).values())
    if operator.get("type") == "conditional":
        return operands[1:]
    return _either(operands[-1]) if operands and isinstance(operands[-1], dict) else []


_KINDS = {"text": str, "bool": bool, "number": int}


# --- names -----------------------------------------------------------------------------------------


def _of_names(file: Bicep) -> Iterator[str]:
    declared = {
        name: kind for kind in ("parameters", "variables", "resources", "modules") for name in file.of(kind)
    }
    used: set[str] = set()
    for kind in ("parameters", "variables", "resources", "modules", "outputs"):
        for name, one in file.of(kind).items():
            names = names_in({key: value for key, value in one.items() if key not in _NO_NAMES})
            used |= names - {name}
            for unknown in sorted(names - declared.keys()):
                yield f"{name}: {unknown} is not declared"
    for name, kind in declared.items():
        if name not in used and (
            kind in ("parameters", "variables")
            or (kind == "resources" and file.of("resources")[name]["existing"])
        ):
            yield f"{name}: is not used"


# Of a declaration, what holds names of types and files.
_NO_NAMES = {"type", "api_version", "existing", "detail"}


def names_in(value: Any) -> set[str]:
    """Give what is referred to by name in a value: parameters, variables, resources, modules."""
    return set(_names(value, set()))


def _names(value: Any, bound: Set[str], *, of_property: bool = False) -> Iterator[str]:
    if isinstance(value, BicepElement):
        if not of_property and value not in bound | _OF_LANGUAGE:
            yield str(value)
    elif isinstance(value, str):
        for expression in re.findall(r"\$\{([^}]*)\}", value):
            without_texts = re.sub(r"'[^']*'", "", expression)
            found = re.findall(r"(?<![\w.])([A-Za-z_]\w*)\b(?!\s*\()", without_texts)
            yield from (name for name in found if name not in bound | _OF_LANGUAGE)
    elif isinstance(value, list):
        for one in value:
            yield from _names(one, bound)
    elif isinstance(value, dict):
        if value.get("type") == "lambda_expression":
            variables = {name for key, name in value["detail"].items() if key.startswith("var_")}
            yield from _names(value["detail"]["expression"], bound | variables)
        elif "loop_type" in value:
            loop = value["loop_type"]["detail"]
            yield from _names({key: one for key, one in loop.items() if key.endswith("_array_name")}, bound)
            yield from _names(loop.get("array_name", loop.get("object_name")), bound)
            variables = {str(loop[key]) for key in ("item_name", "index_name") if key in loop}
            yield from _names([value["condition"], value["config"]], bound | variables)
        elif "operands" in value:
            # `a.b == c` is parsed as a property `b == c` of a: the first name of it is none of ours.
            accesses = value["type"] in ("property_accessor", "nested_resource_accessor")
            for index, one in enumerate(value["operands"].values()):
                yield from _names(one, bound, of_property=accesses if index else of_property)
        elif "operator" in value:
            yield from _names(value["operator"], bound, of_property=of_property)
        else:
            for key, one in value.items():
                yield from _names(str(key), bound)
                yield from _names(one, bound)


# --- modules ---------------------------------------------------------------------------------------


def _of_modules(file: Bicep) -> Iterator[str]:
    for name in file.of("modules"):
        path = file.module_path(name)
        if not path.is_file():
            yield f"{name}: there is no file {path.name}"
            continue
        module, body = parse(path), body_of(file.of("modules")[name])
        given = set(body.get("params", {}))
        yield from (f"{name}: a module has no {key}" for key in sorted(body.keys() - _OF_MODULES))
        yield from (
            f"{name}: has no parameter {key}" for key in sorted(given - module.of("parameters").keys())
        )
        yield from (f"{name}: the parameter {key} is not given" for key in sorted(module.required - given))
        asked = set(re.findall(rf"\b{name}!?\.outputs\.(\w+)", file.text))
        yield from (f"{name}: has no output {key}" for key in sorted(asked - module.of("outputs").keys()))


def waited_for(file: Bicep, name: str) -> set[str]:
    """Give the modules and resources that are there before the one of that name is made.

    What is waited for by one that may not be there, for it has a condition or is a loop, does not count.
    """
    before: set[str] = set()
    open_names = [name]
    while open_names:
        one = open_names.pop()
        for kind in ("modules", "resources", "variables"):
            declared = file.of(kind).get(one, {})
            if one == name or not declared.get("config", {}).keys() & {"condition", "loop_type"}:
                found = names_in({key: part for key, part in declared.items() if key not in _NO_NAMES})
                open_names += found - before
                before |= found
    return before & (file.of("modules").keys() | file.of("resources").keys())


def main(paths: list[str]) -> int:
    """Print what is wrong; give the exit status."""
    found = [f"{path}: {problem}" for path in paths for problem in problems(Path(path))]
    print("\n".join(found) or f"nothing is wrong with {len(paths)} files")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
