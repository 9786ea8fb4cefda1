"""The source and the hubs that a measured program talks to, in a process of their own.

    with services(buildings=4, hubs=("a",)) as served:
        run(["-m", "app", "run", "people-counter"], served.environment(state))

What they use of the processor is not counted as the program's.
"""

from __future__ import annotations

import json
import pickle
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any
from urllib.parse import urlencode

from benchmarks.processes import ROOT
from emulators.estate import Building, Estate
from emulators.eventhubs import EventHubsEmulator
from emulators.microshare import MicroshareEmulator


@dataclass(frozen=True, slots=True)
class Services:
    """What the process serves; `ask` has it answer for its hubs."""

    variables: Mapping[str, str]
    connection_strings: tuple[str, ...]
    _asks: IO[str]
    _answers: IO[str]

    def environment(self, state: Path | str, hubs: int | None = None, **more: str) -> dict[str, str]:
        """Give the variables of a forwarder with these hubs, the first so many, and its state in a folder."""
        first, *others = self.connection_strings[:hubs]
        return {
            **self.variables,
            "EVENT_HUB_CONNECTION_STRING": first,
            "EVENT_HUB_CONNECTION_STRINGS": json.dumps(others),
            "STATE_STORE": "json",
            "STATE_DIR": str(state),
            "FORWARDER_CONFIG": str(ROOT / "config.yaml"),
            "LOG_LEVEL": "CRITICAL",
            **more,
        }

    def ask(self, what: str, argument: str = "") -> Any:
        print(what, argument, file=self._asks, flush=True)
        return json.loads(self._answers.readline())


@contextmanager
def services(*, buildings: int = 4, hubs: Sequence[str] = ("a", "b"), doors: int = 4) -> Iterator[Services]:
    """Serve an estate and hubs while the context lasts."""
    command = [sys.executable, "-m", "benchmarks.services", str(buildings), str(doors), *hubs]
    with subprocess.Popen(
        command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        if process.stdin is None or process.stdout is None:
            raise AssertionError("both are pipes")
        said = json.loads(process.stdout.readline())
        yield Services(said["variables"], tuple(said["hubs"]), process.stdin, process.stdout)
        process.stdin.close()


def main() -> None:
    count, doors, *names = sys.argv[1:]
    estate = Estate(
        buildings=[
            Building(name, groups=tuple((name, "0", f"Door {door}") for door in range(int(doors))))
            for name in map(building_name, range(int(count)))
        ]
    )
    with MicroshareEmulator(estate) as source, EventHubsEmulator(names) as hubs:
        answers: Mapping[str, Callable[[str], object]] = {
            "received": lambda _: {name: len(hubs.hub(name).received()) for name in names},
            "clear": lambda _: [hubs.hub(name).discard(lambda _: True) for name in names],
            "save": lambda path: save(hubs, names[0], Path(path)),
            "last": lambda _: {name: last(hubs, name) for name in names},
            "trouble": lambda kind: trouble(hubs, names[-1], kind),
            "slow": lambda seconds: slow(source, float(seconds or 0)),
            "requests": lambda _: len(source.requests),
            "questions": lambda _: [
                f"{source.url}{request.path}?{urlencode(request.query, doseq=True)}"
                for request in source.requests
                if request.method == "GET"
            ],
        }
        said = {
            "variables": source.environment(),
            "hubs": [hubs.connection_string(name) for name in names],
        }
        print(json.dumps(said), flush=True)
        for line in sys.stdin:
            what, _, argument = line.strip().partition(" ")
            print(json.dumps(answers[what](argument)), flush=True)


def building_name(number: int) -> str:
    return f"Building {number:04}"


def last(hubs: EventHubsEmulator, name: str) -> float:
    """Give when a hub got its last event, in seconds since 1970; 0 where it has none."""
    return max((event.enqueued_at.timestamp() for event in hubs.hub(name).received()), default=0.0)


def trouble(hubs: EventHubsEmulator, name: str, kind: str) -> None:
    """Bring trouble over a hub; none ends all of it."""
    hub = hubs.hub(name)
    hub.clear_faults()
    if kind:
        {
            "throttle": lambda: hub.throttle(None),
            "stall": lambda: hub.stall("outcome"),
        }[kind]()


def slow(source: MicroshareEmulator, seconds: float) -> None:
    """Let each query take so long."""
    source.faults.clear()
    if seconds:
        source.faults.slow(seconds, on="query")


def save(hubs: EventHubsEmulator, name: str, path: Path) -> int:
    """Write a hub's events for a program that sends the same, in the batches that their keys make."""
    events = [
        (event.partition_key, event.message_id, event.content_type, event.body, dict(event.properties))
        for event in hubs.hub(name).received()
    ]
    path.write_bytes(pickle.dumps(events))
    return len(events)


if __name__ == "__main__":
    main()
