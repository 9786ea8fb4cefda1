"""One case of the fault matrix, as data."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from emulators.estate import Building
from emulators.eventhubs import HubSpec
from tests.environments.faulty import MILL, TOUR, Act, FaultyInstallation, run_once
from tests.environments.installation import START


def nothing(_: FaultyInstallation) -> None:
    """Nothing more is to be done."""


@dataclass(frozen=True, slots=True)
class Case:
    """A situation, the fault that makes it, and the right behaviour.

    `ends` is the exit status of the run under the fault (0 well, 1 something failed, 2 settings
    refused, 3 locked), `says` what its report or message must contain, letter case ignored;
    `check` asserts whatever is particular to the case, after that run.

    Before it, unless `new`, a healthy run has brought both hubs to the clock, and a quarter of an
    hour of readings has come since; `begins` arranges the installation before that. After it every fault is
    switched off, settings and clock are put back, `heals` does what an operator would have to, and
    one run must make all equal.

    `act` is the run under the fault where it is not one plain run. `live` sets the installation to the
    host's clock, which a process of its own needs. `table` keeps the state in Azure tables.
    `alters`: the fault changes what readings say, so hubs may hold what the source never showed.
    `slow`: not for the short form, which takes the first case of each id that is quick.
    """

    id: str
    name: str
    expects: str
    inject: Callable[[FaultyInstallation], None]
    ends: int = 0
    says: tuple[str, ...] = ()
    check: Callable[[FaultyInstallation], None] = nothing
    heals: Callable[[FaultyInstallation], None] = nothing
    act: Act = run_once
    begins: Callable[[FaultyInstallation], None] = nothing
    new: bool = False
    live: bool = False
    table: bool = False
    alters: bool = False
    slow: bool = False
    feed: str = "people_counter"
    at: datetime = START
    start_from: timedelta = timedelta(hours=3)
    buildings: tuple[Building, ...] = (MILL, TOUR)
    hubs: tuple[HubSpec, HubSpec] = (HubSpec("a", own_port=True), HubSpec("b", own_port=True))
    environ: Mapping[str, str] = field(default_factory=dict)
    known: str = ""

    @property
    def title(self) -> str:
        return f"{self.id}-{self.name}"
