from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
import pytest
import yaml

from app.base import log
from app.base.program import APP_ROOT
from app.cli import COMMANDS, commands
from app.telemetry.run_telemetry import METRICS

DOCS = {path.name: path.read_text() for path in (APP_ROOT / "docs").glob("*.md")}
# Those of packages and of folders that tests make are not ours.
PAGES = sorted(
    path.relative_to(APP_ROOT).as_posix()
    for path in [
        *APP_ROOT.glob("*.md"),
        *(found for top in ("docs", "deploy", "tests") for found in (APP_ROOT / top).rglob("*.md")),
    ]
)
README = (APP_ROOT / "README.md").read_text()
CONFIG = (APP_ROOT / "config.yaml").read_text()
VARIABLES = sorted(set(re.findall(r"\$\{(\w+)", re.sub(r"(?m)^#.*", "", CONFIG))))


def keys(document: dict[str, Any], *above: str) -> Iterator[str]:
    for key, value in document.items():
        path = (*above, "*" if above == ("feeds",) else key)
        if isinstance(value, dict) and value and path[-1] != "parameters":
            yield from keys(value, *path)
        else:
            yield ".".join(path)


@pytest.mark.parametrize("variable", VARIABLES)
def test_every_variable_is_documented(variable: str) -> None:
    assert f"`{variable}`" in DOCS["settings.md"]


def test_no_variable_is_documented_that_does_not_exist() -> None:
    rows = re.findall(r"(?m)^\| (`.+?) \|", DOCS["settings.md"].split("## config.yaml")[0])
    documented = {name for row in rows for name in re.findall(r"`(\w+)`", row)}

    assert documented - set(VARIABLES) == {"FORWARDER_CONFIG"}


@pytest.mark.parametrize("key", sorted(set(keys(yaml.safe_load(CONFIG)))))
def test_every_key_of_the_config_file_is_documented(key: str) -> None:
    assert f"`{key}`" in DOCS["settings.md"]


def options_of(command: click.Command) -> set[str]:
    """Give the options of a command; those that every command takes are hidden in it, and told once."""
    return {
        option
        for parameter in command.params
        for option in parameter.opts
        if option.startswith("--") and option != "--help" and not getattr(parameter, "hidden", False)
    }


def test_every_metric_is_documented_and_no_other() -> None:
    assert set(re.findall(r"`(forwarder\.\w+)`", DOCS["logs.md"])) == set(METRICS)


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_and_option_is_documented(name: str) -> None:
    command = commands.get_command(click.Context(commands), name)
    assert command is not None
    row = next(line for line in DOCS["commands.md"].splitlines() if line.startswith(f"| `{name}"))

    assert set(re.findall(r"--[a-z-]+", row)) >= options_of(command)


def test_every_event_of_the_log_is_documented_and_no_other() -> None:
    listed = re.findall(r"\b([a-z]+\.[a-z]+)\b", str(log.__doc__).split("closed list:")[1])
    logs = DOCS["logs.md"].split("## Logs")[1].split("\n## ")[0]
    documented = re.findall(r"`([a-z]+\.[a-z]+)`", "".join(re.findall(r"(?m)^\| (`.+?) \|", logs)))

    assert sorted(documented) == sorted(listed)


def below(group: click.Group, *path: str) -> Iterator[tuple[str, click.Command]]:
    for name in group.list_commands(click.Context(group)):
        found = group.get_command(click.Context(group), name)
        assert found is not None
        yield " ".join((*path, name)), found
        if isinstance(found, click.Group):
            yield from below(found, *path, name)


@pytest.mark.parametrize(("path", "command"), [*below(commands)], ids=[path for path, _ in below(commands)])
def test_every_command_below_has_a_row_with_its_words_and_no_others(
    path: str, command: click.Command
) -> None:
    rows = [
        line.split(" | ")[0]
        for line in DOCS["commands.md"].splitlines()
        if line.startswith((f"| `{path} ", f"| `{path}`"))
    ]
    documented = set(re.findall(r"--[a-z-]+", rows[0]))

    assert command.help
    if not isinstance(command, click.Group):
        assert documented == options_of(command)


@pytest.mark.parametrize("document", PAGES)
def test_links_between_documents_lead_somewhere(document: str) -> None:
    folder = (APP_ROOT / document).parent
    links = re.findall(r"\]\(([^)#:]+)[^):]*\)", (APP_ROOT / document).read_text())

    assert [link for link in links if not (folder / link).exists()] == []


HEADINGS = {
    path.resolve(): re.findall(r"(?m)^#{1,4} (.+)$", re.sub(r"(?ms)^```.*?^```", "", path.read_text()))
    for path in [*APP_ROOT.glob("*.md"), *APP_ROOT.glob("docs/*.md"), *APP_ROOT.glob("deploy/**/*.md")]
}


def anchor(heading: str) -> str:
    return re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-")


@pytest.mark.parametrize("path", HEADINGS, ids=[str(path.relative_to(APP_ROOT)) for path in HEADINGS])
def test_links_to_a_heading_lead_to_one(path: Path) -> None:
    links = re.findall(r"\]\(([^)#:]*)#([^)]+)\)", path.read_text())
    lost = [
        (document, heading)
        for document, heading in links
        if heading
        not in {anchor(found) for found in HEADINGS[(path.parent / document).resolve() if document else path]}
    ]

    assert lost == []


@pytest.mark.parametrize("name", [name for name in DOCS if name not in {"README.md", "operating.md"}])
def test_a_page_begins_with_its_contents(name: str) -> None:
    headings = re.findall(r"(?m)^## (.+)$", re.sub(r"(?ms)^```.*?^```", "", DOCS[name]))
    contents = re.search(r"(?s)\*\*Contents:\*\*(.*?)\n\n", DOCS[name])
    listed = re.findall(r"\(#([^)]+)\)", contents[1]) if contents else []

    assert listed == ([anchor(heading) for heading in headings] if len(headings) > 2 else [])


def test_the_index_leads_to_every_page() -> None:
    assert [name for name in DOCS if name != "README.md" and f"({name}" not in DOCS["README.md"]] == [
        "operating.md"
    ]


# A command as it is called from the tree or installed; not what has the name as an option's value.
_CALLED = re.compile(
    r"(?<!-[a-z] )(?:python3? -m app|(?:(?<=bin/)|(?<![\w@/-]))microshare-forwarder)"
    r"(?: (?![|&;=])([^\n`|;&<>)]*))"
)


def calls_in(page: str) -> list[str]:
    """Give what a page calls the forwarder's command with, in blocks and in a line."""
    code = "\n".join(
        (*re.findall(r"(?ms)^ *```\w*\n(.*?)^ *```", page), *re.findall(r"(?s)(?<!`)`([^`]+)`(?!`)", page))
    ).replace("\\\n", " ")
    return [found[1].split(" #")[0].strip() for found in _CALLED.finditer(code)]


def unknown_words(call: str) -> list[str]:
    """Give the commands and options of a call that do not exist; what they take may be anything."""
    taken = {option: parameter for parameter in commands.params for option in parameter.opts}
    command: click.Command = commands
    words = iter(re.sub("['\"]", "", call).split())
    unknown = []
    for word in words:
        if word.startswith("-") and word != "-":
            option = word.split("=")[0]
            if option not in taken and option not in ("--help", "-h"):
                unknown.append(word)
            elif "=" not in word and option in taken and takes_a_value(taken[option]):
                next(words, None)
        elif isinstance(command, click.Group) and word not in ("...", "COMMAND"):
            found = command.get_command(click.Context(command), word)
            if found is None:
                return [*unknown, word]
            command = found
            taken |= {option: parameter for parameter in command.params for option in parameter.opts}
    return unknown


def takes_a_value(parameter: click.Parameter) -> bool:
    return isinstance(parameter, click.Option) and not parameter.is_flag and not parameter.count


@pytest.mark.parametrize("page", PAGES)
def test_every_command_that_a_page_calls_exists_with_its_options(page: str) -> None:
    calls = calls_in((APP_ROOT / page).read_text())

    assert {call: unknown for call in calls if (unknown := unknown_words(call))} == {}


def test_a_mistyped_command_of_a_page_is_found() -> None:
    block = "```sh\nsudo -u microshare-forwarder microshare-forwarder --tz UTC run all --dry\n```\n"
    page = f"`python -m app runn all`\n{block}"

    assert [unknown_words(call) for call in calls_in(page)] == [["--dry"], ["runn"]]


def test_every_command_has_a_section() -> None:
    sections = re.findall(r"(?m)^## (.+)$", DOCS["commands.md"])

    assert [name for name in COMMANDS if name not in sections] == []


def test_the_tests_that_are_said_to_hold_a_line_are_there() -> None:
    named = re.findall(r"`(tests/[\w/.]+|test_\w+\.py)`", (APP_ROOT / "SECURITY.md").read_text())

    assert len(named) > 10
    assert [name for name in named if not [*APP_ROOT.glob(name), *APP_ROOT.glob(f"tests/*/{name}")]] == []


def test_the_readme_names_every_command() -> None:
    assert [name for name in COMMANDS if f"`{name}`" not in README] == []


def test_the_project_speaks_of_itself_alone() -> None:
    files = [
        path
        for pattern in ("*.md", "docs/*.md", "app/**/*.py", "emulators/*.py", "Makefile", "config.yaml")
        for path in APP_ROOT.glob(pattern)
    ]
    somebodys_folder = re.compile(r"/(?:home|root|Users|work)/")
    outside = [
        (path.name, link)
        for path in files
        for link in re.findall(r"\.\./[\w./-]+", path.read_text())
        if not (path.parent / link).resolve().is_relative_to(APP_ROOT)
    ]

    assert outside == []
    assert [path.name for path in files if somebodys_folder.search(path.read_text())] == []
