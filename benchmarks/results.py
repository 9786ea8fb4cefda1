"""What a benchmark found: ours against a baseline of the same run, and the bound on it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Literal

Unit = Literal["s", "MiB", "calls", "a second"]


@dataclass(frozen=True, slots=True)
class Result:
    """One goal. `ours` and `baseline` are in `unit`; what they are of, `what` and `against` say.

    `bound` is the most that ours, divided by the baseline, may be (`of="ratio"`), or that ours may be
    more than it (`of="difference"`), or ours alone (`of="ours"`, without a baseline); the least that it
    may be where `at_least`.
    """

    what: str
    ours: float
    unit: Unit
    bound: float
    against: str = ""
    baseline: float | None = None
    of: Literal["ratio", "difference", "ours"] = "ratio"
    at_least: bool = False

    @property
    def measured(self) -> float:
        """Give what the bound is on."""
        if self.of == "ours" or self.baseline is None:
            return self.ours
        return self.ours / self.baseline if self.of == "ratio" else self.ours - self.baseline

    @property
    def is_met(self) -> bool:
        return self.measured >= self.bound if self.at_least else self.measured <= self.bound


def table(results: Iterable[Result]) -> Iterator[str]:
    """Give the lines of a Markdown table."""
    yield "| Goal | Baseline | Ours | Measured | Bound | |"
    yield "|---|---|---|---|---|---|"
    for found in results:
        baseline = (
            "" if found.baseline is None else f"{found.against}: {_written(found.baseline, found.unit)}"
        )
        sign = "≥" if found.at_least else "≤"
        unit = "" if found.of == "ratio" else f" {found.unit}"
        measured = f"{found.measured:,.2f}{unit} | {sign} {found.bound:g}{unit}"
        met = "met" if found.is_met else "**not met**"
        yield f"| {found.what} | {baseline} | {_written(found.ours, found.unit)} | {measured} | {met} |"


def _written(value: float, unit: Unit) -> str:
    digits = 0 if value >= 100 or unit == "calls" else 2
    return f"{value:,.{digits}f} {unit}"
