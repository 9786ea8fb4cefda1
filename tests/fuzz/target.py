"""What is fuzzed: a reader of something from outside, and what it must hold of any bytes that it is given."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from hypothesis import strategies as st

SEEDS = Path(__file__).parent / "seeds"


@dataclass(frozen=True, slots=True)
class Target:
    """A reader. `cases` draws inputs, each as the bytes of a seed; `check` gives one to it, and judges.

    `check` raises Broken where something that is promised does not hold; whatever else it raises is
    a finding too. `reads` says what comes in, for the table of docs/faults.md.
    """

    name: str
    reads: str
    cases: st.SearchStrategy[bytes]
    check: Callable[[bytes], None]

    @property
    def folder(self) -> Path:
        return SEEDS / self.name

    def seeds(self) -> Sequence[Path]:
        """Give the inputs that are kept: examples of each form, and all that was ever found."""
        return sorted(self.folder.iterdir()) if self.folder.is_dir() else []
