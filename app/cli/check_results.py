"""What `check` finds, told as it comes: each finding says what was seen, and what to do about it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any

from app.base.errors import ForwarderError
from app.base.text import said_and_advised
from app.cli.output import Output, hanging
from app.cli.session import explain
from app.network.probing import Way

# A mark, and the longest check of those that are always there.
_HEAD_WIDTH = len("FAILED  locations of hourly-snapshot")
# Little, so that a way fits a line.
_WAY_INDENT = 6
_DO_AT_LEAST = "if it lasts, look for it in the troubleshooting table of README.md"


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
        self.ok = True

    def tell(self, finding: CheckResult) -> None:
        self.ok = self.ok and finding.ok
        if self._out.as_json:
            said = {"said": finding.said, "do": finding.do, "warning": finding.warning}
            ways = {"ways": [way.as_json() for way in finding.ways]} if finding.ways else {}
            self._out.write_object(
                {"check": finding.check, "ok": finding.ok, **said, **finding.facts, **ways}
            )
            return
        mark, style = ("ok", "green") if finding.ok else ("FAILED", "bold red")
        if finding.warning:
            mark, style = "warn", "yellow"
        parts = [hanging(f"{mark:6}  {finding.check}", finding.said, style=style, width=_HEAD_WIDTH)]
        if finding.do:
            parts.append(hanging("", f"do: {finding.do}", width=_HEAD_WIDTH))
        parts += [hanging("", f"way: {way.said()}", width=_WAY_INDENT) for way in finding.ways]
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
