"""What is measured, by the heading under which it stands."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

from benchmarks import (
    answers,
    calls,
    cold_start,
    cpu,
    delivery,
    memory,
    scaling,
    shards,
    state,
    status,
)
from benchmarks.results import Result

# Each is told whether there is time for the long form.
BENCHMARKS: Mapping[str, Callable[[bool], Iterable[Result]]] = {
    "The processor": cpu.results,
    "Delivery": delivery.results,
    "Cold start": cold_start.results,
    "Memory": memory.results,
    "Calls": calls.results,
    "State at scale": state.results,
    "Reading an answer": answers.results,
    "Status": status.results,
    "Scaling": scaling.results,
    "Shards": shards.results,
}
# What is written of a heading in other places.
WRITTEN_BESIDES: Mapping[str, Callable[[], None]] = {"Scaling": scaling.write}


def measured(heading: str, *, long: bool, write: bool) -> list[Result]:
    """Measure what stands under a heading; write what of it stands elsewhere, too."""
    results = list(BENCHMARKS[heading](long))
    if write and heading in WRITTEN_BESIDES:
        WRITTEN_BESIDES[heading]()
    return results
