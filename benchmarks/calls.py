"""What a steady run asks of the API, as the API counts it: a process of its own, the second on its state.

    python -m benchmarks.calls

How many connections and writes there are besides is what `tests/flows/test_calls.py` holds.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator

from benchmarks.processes import run
from benchmarks.results import Result
from benchmarks.services import services

LOCATIONS = 20


def results(long: bool) -> Iterator[Result]:  # noqa: ARG001
    counts = []
    with services(buildings=LOCATIONS) as served, tempfile.TemporaryDirectory() as state:
        for _ in range(2):
            before = served.ask("requests")
            run(["-m", "app", "run", "people-counter"], served.environment(state, START_FROM="1h"))
            counts.append(served.ask("requests") - before)
    # A login, a question for the API's clock, and one for each location.
    bound = LOCATIONS + 2
    yield Result(f"requests of a steady run of {LOCATIONS} locations", counts[1], "calls", bound, of="ours")


if __name__ == "__main__":
    print(*results(long=False), sep="\n")
