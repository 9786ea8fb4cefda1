"""What `check` finds, told as it comes: each finding says what was seen, and what to do about it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

from app.base.errors import ForwarderError
from app.base.text import counted, label_of, said_and_advised
from app.cli.output import Output, hanging
from app.cli.session import explain
from app.network.probing import Way

# The widest mark, and the longest of what is checked; of which feed or hub, the text says.
_MARK_WIDTH = len("FAILED")
_KIND_WIDTH = len("discovery")
_HEAD_WIDTH = _MARK_WIDTH + 2 + _KIND_WIDTH
_DO_AT_LEAST = "if it lasts, look for it in docs/trouble.md"


@dataclass(frozen=True, slots=True)
class CheckResult:
    """What was found of one thing; `do` is what to do about it.

    A warning is well as things are, but doubtful. `facts` are what programs get besides; `ways` are those
    that were taken over the network.
    """

    check: str
    ok: bool
    said: str
    do: str | None = None
    warning: bool = False
    facts: Mapping[str, Any] = field(default_factory=dict)
    ways: Sequence[Way] = ()


class _Mark(NamedTuple):
    """How a finding is marked; the graver, the greater."""

    gravity: int
    word: str
    style: str


_OK, _WARN, _FAILED = _Mark(0, "ok", "green"), _Mark(1, "warn", "yellow"), _Mark(2, "FAILED", "bold red")


def _kind_and_about(check: str) -> tuple[str, str]:
    """Take a check's name apart: `view of people-counter` is a view, about people-counter."""
    kind, _, about = check.partition(" ")
    if not about and len(kind) > _KIND_WIDTH:
        # A feed is called by its name alone.
        return "feed", check
    return kind, about.removeprefix("of ")


def fault(check: str, message: str) -> CheckResult:
    """Make a finding of an error's message, which may begin with what was checked."""
    said, do = said_and_advised(message.removeprefix(f"{check}: "))
    return CheckResult(check, False, said, do or _DO_AT_LEAST)


def doubt(check: str, message: str) -> CheckResult:
    """Make a finding of a warning."""
    said, do = said_and_advised(message)
    return CheckResult(check, True, said, do, warning=True)


class CheckResults:
    """Tells each finding as it comes. `ok` is whether all were well so far."""

    def __init__(self, out: Output) -> None:
        self._out = out
        # What was checked, in its order, each with the worst that was found of it.
        self._worst: dict[str, _Mark] = {}

    @property
    def ok(self) -> bool:
        return _FAILED not in self._worst.values()

    def summary(self) -> str:
        """Say how many checks there were, and how many of them failed or are doubtful."""
        marks = Counter(self._worst.values())
        doubtful = f", {marks[_WARN]} with a warning" if marks[_WARN] else ""
        if marks[_FAILED]:
            return f"{marks[_FAILED]} of {counted(marks.total(), 'check')} failed{doubtful}"
        return f"{counted(marks.total(), 'check')} passed{doubtful}"

    def tell(self, finding: CheckResult) -> None:
        mark = _FAILED if not finding.ok else _WARN if finding.warning else _OK
        self._worst[finding.check] = max(mark, self._worst.get(finding.check, mark))
        if self._out.as_json:
            said = {"said": finding.said, "do": finding.do, "warning": finding.warning}
            ways = {"ways": [way.as_json() for way in finding.ways]} if finding.ways else {}
            self._out.write_object(
                {"check": finding.check, "ok": finding.ok, **said, **finding.facts, **ways}
            )
            return
        kind, about = _kind_and_about(finding.check)
        head = f"{mark.word:{_MARK_WIDTH}}  {kind}"
        seen = f"{about}: {finding.said}" if about else finding.said
        parts = [hanging(head, seen, style=mark.style, width=_HEAD_WIDTH)]
        further = [f"{label_of(finding.do)}: {finding.do}"] if finding.do else []
        further += [f"way: {way.said()}" for way in finding.ways]
        parts += [hanging("", line, width=_HEAD_WIDTH) for line in further]
        self._out.show(*parts)

    def well(self, check: str, said: str, **facts: Any) -> None:
        self.tell(CheckResult(check, True, said, facts=facts))

    def warn(self, check: str, message: str) -> None:
        self.tell(doubt(check, message))

    def failed(self, check: str, error: Exception | str) -> None:
        self.tell(fault(check, error if isinstance(error, str) else explain(error).text))

    @contextmanager
    def of(self, check: str, ways: Sequence[Way] = ()) -> Iterator[None]:
        """Turn what fails inside into a finding, so that the next thing is checked all the same."""
        try:
            yield
        except ForwarderError as error:
            self.tell(replace(fault(check, explain(error).text), ways=ways))
