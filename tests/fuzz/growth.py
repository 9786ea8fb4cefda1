"""Whether a reader's time and memory grow as its input does: a piece of a case, repeated."""

from __future__ import annotations

import random
import time
import tracemalloc
from collections.abc import Callable
from dataclasses import dataclass

from tests.fuzz.oracle import Broken

_SIZES = (16 * 1024, 64 * 1024, 256 * 1024)
# From one size to the next linear work takes 4 times as long, quadratic work 16 times: in between,
# with room for a collector, a cache that is outgrown, a busy machine.
_TOO_STEEP = 9.0
# What is shorter tells nothing of how it grows.
_MEASURABLE_S = 0.04
_NOTICEABLE_S = 0.5
_NOTICEABLE_BYTES = 64 * 1024 * 1024
_LONGEST_PIECE = 40
_REPEATED = 2


@dataclass(frozen=True, slots=True)
class Pump:
    """A case, and which piece of it is repeated until it has a size."""

    case: bytes
    start: int
    end: int

    def to(self, size: int) -> bytes:
        piece = self.case[self.start : self.end]
        times = max(1, (size - len(self.case)) // len(piece))
        return self.case[: self.start] + piece * times + self.case[self.end :]


def pump_of(case: bytes, draw: random.Random) -> Pump | None:
    """Choose a piece of a case; None where it has none."""
    if not case:
        return None
    start = draw.randrange(len(case))
    return Pump(case, start, min(len(case), start + draw.randint(1, _LONGEST_PIECE)))


def grows_with_its_input(check: Callable[[bytes], None], pump: Pump) -> bytes | None:
    """Give the input that took out of all proportion longer than one of a quarter of its size; or None."""
    small, middle, large = (pump.to(size) for size in _SIZES)
    took = _seconds(check, middle)
    if took < _MEASURABLE_S or took < _TOO_STEEP * _seconds(check, small):
        return None
    # Not believed before it is seen again, with more to see.
    middle_s, large_s = (min(_seconds(check, each) for _ in range(_REPEATED)) for each in (middle, large))
    return large if large_s > max(_NOTICEABLE_S, _TOO_STEEP * middle_s) else None


def keeps_within_its_input(check: Callable[[bytes], None], pump: Pump) -> bytes | None:
    """Give the input that needed out of all proportion more memory than a smaller one; or None."""
    middle, large = (pump.to(size) for size in _SIZES[1:])
    needed = _bytes(check, large)
    return large if needed > max(_NOTICEABLE_BYTES, _TOO_STEEP * _bytes(check, middle)) else None


def _seconds(check: Callable[[bytes], None], case: bytes) -> float:
    began = time.process_time()
    _quietly(check, case)
    return time.process_time() - began


def _bytes(check: Callable[[bytes], None], case: bytes) -> int:
    tracemalloc.start()
    try:
        _quietly(check, case)
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def _quietly(check: Callable[[bytes], None], case: bytes) -> None:
    """Read a case for its cost alone: a pumped one is judged as all cases are, when it is drawn."""
    try:
        check(case)
    except Broken:
        return
