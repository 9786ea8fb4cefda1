"""Who came: the consumer of deploy/consumers/python reads a hub, and is asked its first question."""

from __future__ import annotations

import subprocess
import sys
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

from deploy.consumers.python.ask import answer, chart
from emulators.next_steps import ROOT

CONSUMER = ROOT / "deploy" / "consumers" / "python"

# A building, an hour of its clocks, and how many came.
Visitors = tuple[str, str, int]


def read_hub(table: Path, environment: Mapping[str, str]) -> None:
    """Let the consumer's program write what the environment's hub holds now into a table."""
    done = subprocess.run(
        [sys.executable, str(CONSUMER / "consumer.py"), str(table), "--once"],
        env=dict(environment),
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise SystemExit(f"consumer.py ended with {done.returncode}:\n{done.stderr}")


def visitors_in(table: Path) -> list[Visitors]:
    """Ask a table who came in the last day that it has, by building and hour."""
    _, rows = answer(table, (CONSUMER / "questions" / "visitors.sql").read_text("utf-8"))
    return [(str(name), str(hour), int(str(came))) for name, hour, came in rows]


def visitors_chart(rows: Sequence[Visitors], *, first: str | None, bar: str) -> list[str]:
    """Give the lines that show visitors by building, and those of one building by hour.

    That is `first`, or without it the one with the most of them. Hours in which nobody came are left out.
    """
    buildings: Counter[str] = Counter()
    for name, _, came in rows:
        buildings[name] += came
    if not any(buildings.values()):
        return ["Nobody came on that day: each count is 0."]
    shown = first or max(buildings, key=lambda name: buildings[name])
    hours = [(hour, came) for name, hour, came in rows if name == shown and came]
    by_hour = chart([shown, "visitors"], hours, bar=bar) if hours else [f"Nobody came to {shown}."]
    return [*chart(["building", "visitors"], list(buildings.items()), bar=bar), "", *by_hour]
