"""Texts that people read are in plain words, and commands are called by their name."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Final, TypeGuard

import pytest

from app.base.text import label_of

ROOT = Path(__file__).parents[2]
# Each as CONTRIBUTING.md's table has it on the left, in all its forms.
OUT: Final = re.compile(
    r"\b(?:wanting|mend(?:s|ed|ing)?|end(?:s|ed|ing)? well|drift(?:s|ed)?|anew|fare[sd]?|whoever)\b"
    r"|\b(?:beside|lies?)\b"
    r"|keys in the readings|state remembers|of this machine|of anybody|\bin mid-run\b|at the furthest"
    r"|\b(?:is|are) none of\b|(?<!there )\b(?:is|are|was|were) no (?!longer\b|more\b)[a-z…]"
    r"|\bstands? (?:there|here|twice|at|beside|between)\b|\bspeaks? again\b"
    r"|\bhands? (?:nothing |none )?out\b",
    re.IGNORECASE,
)
# What a state holds, or an earlier version wrote into one, is read and compared as it is.
KEPT: Final = {"speaks again", "(?:during the run, |in mid-run, )?clocks: "}
APP = sorted(ROOT.glob("app/**/*.py"))
TEMPLATES = sorted(ROOT.glob("app/page/templates/*.html"))
# The long forms of tests write the one, licences the other; CHANGELOG.md is of its time.
_MADE = {"faults.md", "licences.md", "CHANGELOG.md"}
PAGES = sorted(path for path in [*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md")] if path.name not in _MADE)
_CODE_AND_LINKS = re.compile(r"^```.*?^```|`[^`\n]*`|(?<=\])\([^)]*\)", re.DOTALL | re.MULTILINE)
_OF_TEMPLATES = re.compile(r"\{#.*?#\}|\{%.*?%\}|<[^>]*>", re.DOTALL)


def test_no_text_of_the_code_has_a_word_that_is_out() -> None:
    sources = [*APP, *ROOT.glob("emulators/**/*.py")]

    assert [
        (str(source.relative_to(ROOT)), line, found[0])
        for source in sources
        for line, text in _texts(source)
        if " " in text.strip() and text not in KEPT and (found := OUT.search(" ".join(text.split())))
    ] == []


def test_no_text_of_the_page_has_a_word_that_is_out() -> None:
    said = {
        path.name: " ".join(_OF_TEMPLATES.sub(" ", path.read_text("utf-8")).split()) for path in TEMPLATES
    }

    assert {name: found[0] for name, text in said.items() if (found := OUT.search(text))} == {}


@pytest.mark.parametrize("page", PAGES, ids=lambda path: path.name)
def test_no_page_of_the_docs_has_a_word_that_is_out(page: Path) -> None:
    """Code, and where links lead, are as they are."""
    prose = _CODE_AND_LINKS.sub(lambda found: "\n" * found[0].count("\n") or "…", page.read_text("utf-8"))

    assert [
        (number, found[0])
        for number, line in enumerate(prose.splitlines(), start=1)
        if (found := OUT.search(line))
    ] == []


def test_every_message_calls_commands_by_the_name_of_the_program() -> None:
    """Help is written for the tree, and gets the name as it is shown."""
    named = [
        (str(source.relative_to(ROOT)), line)
        for source in APP
        for line, text in _texts(source, with_help=False)
        if "python -m app" in text
    ]

    assert [place for place, _ in named] == ["app/base/program.py"]
    assert [path.name for path in TEMPLATES if "python -m app" in path.read_text("utf-8")] == []


@pytest.mark.parametrize(
    ("error", "label"),
    [
        ("microshare: login: 503; given up after 4 attempts, the next run tries again", "then"),
        ("microshare: discovery: the run's time is over; the next run goes on", "then"),
        ("view: a totalCount of 7 on one page of 1 object; all were taken", "then"),
        (
            "state: x: another run changed 'Mill'; these locations stop for this run, the next one goes on",
            "then",
        ),
        (
            "hub a: no answer to a batch within 60 s; the connection was closed, and the rest is sent again",
            "then",
        ),
        ("hub a is 2 h behind; it catches up, oldest first, when what fails works again", "then"),
        ("hub a: not-found: x; there is no such event hub; check EntityPath and the namespace", "do"),
        ("state: x; try again when it has ended: nothing was done", "do"),
        ("the view refuses it; compare it with the view's placeholders", "do"),
        ("odd; if it lasts, ask Microshare", "do"),
        ("1 reading in quarantine; `python -m app quarantine list` says why", "do"),
    ],
)
def test_what_follows_by_itself_is_not_told_as_something_to_do(error: str, label: str) -> None:
    said_to_do = error.partition("; ")[2]

    assert label_of(said_to_do) == label


def test_what_an_error_says_to_do_does_not_begin_with_a_fact() -> None:
    rooms = ("microshare", "eventhub", "state", "network", "run", "quality")
    errors = [
        (str(source.relative_to(ROOT)), line, advice)
        for source in APP
        if source.relative_to(ROOT).parts[1] in rooms
        for line, text in _texts(source)
        if (advice := text.partition("; ")[2])
    ]

    assert len(errors) > 50
    fact = re.compile(r"(?:an?|the|there|one|its|no|nobody|(?!as |this )[a-z]+s (?:is|are|was|changed))\b")
    assert [each for each in errors if fact.match(each[2]) and label_of(each[2]) == "do"] == []


def _texts(source: Path, *, with_help: bool = True) -> Iterator[tuple[int, str]]:
    """Give the literals of a module that may be read, each with its line; their fields are written as `…`."""
    tree = ast.parse(source.read_text("utf-8"))
    nodes = list(ast.walk(tree))
    out = {id(node.value) for node in nodes if isinstance(node, ast.Expr)}
    if with_help:
        out -= {
            id(each.value)
            for node in nodes
            if _is_command(node)
            for each in node.body[:1]
            if isinstance(each, ast.Expr)
        }
    for node in nodes:
        if isinstance(node, ast.JoinedStr):
            out |= {id(part) for part in node.values}
            yield (
                node.lineno,
                "".join(str(part.value) if isinstance(part, ast.Constant) else "…" for part in node.values),
            )
    for node in nodes:
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in out:
            yield node.lineno, node.value


def _is_command(node: ast.AST) -> TypeGuard[ast.FunctionDef]:
    """Whether a function is a command, whose docstring is its help."""
    return isinstance(node, ast.FunctionDef) and any(
        re.search(r"\b(?:command|group)\b", ast.unparse(each)) for each in node.decorator_list
    )
