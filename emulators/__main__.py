"""`python -m emulators`: start both stand-ins, write the settings that point a forwarder at them, stay."""

from __future__ import annotations

import json
import logging
import os
import re
import shutil
import signal
import tempfile
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path

import click

from emulators.counts import read_counts
from emulators.estate import Estate
from emulators.eventhubs import EmulatedHub, EventHubsEmulator
from emulators.microshare import MicroshareEmulator, fault_names, switch_on
from emulators.next_steps import in_another_terminal

COMMANDS = ("check", "run all", "status", "tail --count 5")
# What a proxy of the world around it is not to be asked for.
LOOPBACK = "127.0.0.1,localhost"
# What a shell and python-dotenv read differently between single quotes.
UNWRITABLE = frozenset("'\\\r\n")
HUBS = """\
Clients of the hubs, in any language: they need the connection string of the settings.
Tested with azure-eventhub 5.12 to 5.15 and @azure/event-hubs 6 for JavaScript.
  protocol    AMQP 1.0 on TCP, SASL ANONYMOUS and MSSBCBS, heartbeats, idle time-outs
  sign in     shared access signatures, put to $cbs
  properties  of a hub and of its partitions, by $management
  send        events and batches: by partition key, to a partition, or in turn
  receive     from an offset, a sequence number, a time, or the latest; owner levels
  flow        windows, credit, drain and echo
  ends        of links, sessions and connections, by either side or both at once

Left out:
  transport   TLS, WebSockets, the Kafka and HTTP protocols
  sign in     with an identity of Microsoft Entra
  receive     consumer groups besides $Default, trackLastEnqueuedEventProperties
  send        idempotent producers, transactions, a schema registry
  links       are not resumed; all is sent settled, so nothing waits for a receiver
  events      are never removed while it runs, and gone when it ends; no capture
Checkpoints are a consumer's own: no storage is started for them."""
UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days"}


def duration(text: str) -> timedelta:
    read = re.fullmatch(r"(\d+)([smhd])", text)
    if read is None:
        raise click.BadParameter(f"{text!r} is not a duration; write 2s, 70m, 3h or 1d")
    return timedelta(**{UNITS[read[2]]: int(read[1])})


def _hub_faults(hub: EmulatedHub) -> dict[str, Callable[..., None]]:
    def slow(seconds: float = 5.0) -> None:
        """Let the first hub acknowledge each batch after some `seconds`."""
        hub.delay(seconds)

    def busy(times: int | None = None) -> None:
        """Let the first hub answer server-busy."""
        hub.throttle(times)

    def down() -> None:
        """Let the first hub drop every connection."""
        hub.go_down()

    def well() -> None:
        """End every fault of the first hub."""
        hub.clear_faults()

    return {"slow-hub": slow, "busy-hub": busy, "hub-down": down, "hub-well": well}


def _epilog() -> str:
    hub_faults = _hub_faults(EventHubsEmulator(["first"]).hub("first"))
    faults = fault_names() | {name: act.__doc__ for name, act in hub_faults.items()}
    width = max(map(len, faults))
    lines = [f"  {name:<{width}}  {does}" for name, does in faults.items()]
    return "\n".join(
        (
            "\b",
            "Faults, for --fault NAME or --fault NAME:TIMES:",
            *lines,
            "",
            *(f"\b\n{block}\n" for block in HUBS.split("\n\n")),
            "\b",
            "While it runs, GET /_control on the Microshare port lists faults, and POST switches:",
            '  curl -d \'{"fault": "throttle", "retry_after": 5, "times": 2}\' URL/_control',
            '  curl -d \'{"fault": "status", "code": 502, "location": "Quay+One"}\' URL/_control',
            "  curl -d '{\"clear\": true}' URL/_control",
        )
    )


@click.command(epilog=_epilog())
@click.option(
    "--env-file",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Write the settings here; - prints them.",
)
@click.option(
    "--counts",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="A CSV file of time, in, out; replayed as the first building's main door.",
)
@click.option("--seed", default=1, show_default=True, help="Another seed, other readings.")
@click.option("--microshare-port", default=0, help="Port of the Microshare API; any free one if left out.")
@click.option("--eventhubs-port", default=0, help="Port of Event Hubs; any free one if left out.")
@click.option(
    "--hubs", default="people,backup", show_default=True, help="Names of the hubs, the primary first."
)
@click.option(
    "--people-lag", type=duration, default="2s", show_default=True, help="From reading to publication."
)
@click.option(
    "--snapshot-lag", type=duration, default="70m", show_default=True, help="The same for snapshots."
)
@click.option(
    "--state-dir",
    type=click.Path(file_okay=False, path_type=Path),
    help="Keep the forwarder's state here; a folder of its own, gone in the end, if left out.",
)
@click.option(
    "--fault", "faults", multiple=True, metavar="NAME[:TIMES]", help="Begin with a fault; see below."
)
def main(
    env_file: Path | None,
    counts: Path | None,
    seed: int,
    microshare_port: int,
    eventhubs_port: int,
    hubs: str,
    people_lag: timedelta,
    snapshot_lag: timedelta,
    state_dir: Path | None,
    faults: tuple[str, ...],
) -> None:
    """Start a Microshare API and Event Hubs on this host, until SIGINT or SIGTERM.

    Nothing they hold is real, and nothing is kept when they end.
    """
    # It warns of each packet for a client that has left, as `tail --count` does.
    logging.getLogger("asyncio").setLevel(logging.ERROR)
    ended = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: ended.set())
    names = [name.strip() for name in hubs.split(",") if name.strip()]
    if not names:
        raise click.BadParameter("name at least one hub", param_hint="--hubs")
    try:
        rows = read_counts(counts) if counts else None
    except ValueError as error:
        raise click.BadParameter(str(error), param_hint="--counts") from error
    estate = Estate(seed, people_lag=people_lag, snapshot_lag=snapshot_lag, counts=rows)
    microshare = MicroshareEmulator(estate, port=microshare_port)
    event_hubs = EventHubsEmulator(names, port=eventhubs_port)
    microshare.further_faults = _hub_faults(event_hubs.hub(names[0]))
    try:
        with event_hubs, microshare, _state_folder(state_dir, env_file) as state:
            for fault in faults:
                _begin_with(microshare, fault)
            settings = microshare.environment() | _hub_settings(event_hubs, names) | _apart(state)
            if env_file == Path("-"):
                env_file = None  # they are printed
            if env_file is not None:
                write_env_file(env_file, settings)
            click.echo(_started(microshare, event_hubs, names, env_file, settings))
            ended.wait()
    except OSError as error:
        raise click.ClickException(f"cannot start: {error}") from error


@contextmanager
def _state_folder(wanted: Path | None, env_file: Path | None) -> Iterator[Path]:
    """Give where a forwarder keeps its state of this world: unless `wanted`, in a folder that ends with it.

    Without one it would keep it where that of a real installation is.
    """
    if wanted is not None:
        yield wanted.resolve()
        return
    beside = env_file.resolve() if env_file is not None and env_file != Path("-") else None
    if beside is not None and (not _is_place(beside) or set(str(beside)) & UNWRITABLE):
        beside = None
    prefix = f"{(beside.stem if beside else '').strip('.') or 'emulators'}-state-"
    folder = Path(tempfile.mkdtemp(prefix=prefix, dir=beside and beside.parent))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _is_place(file: Path) -> bool:
    """Whether a folder can be made beside a file: it is none that is a device or a pipe."""
    return file.is_file() or not file.exists()


def _apart(state: Path) -> dict[str, str]:
    """Give what keeps a forwarder of this world from the proxy, state and telemetry of a real one."""
    return {
        "NO_PROXY": LOOPBACK,
        "STATE_STORE": "json",
        "STATE_DIR": str(state),
        "TELEMETRY": "none",
    }


def write_env_file(path: Path, settings: Mapping[str, str]) -> None:
    """Write settings so that a shell and python-dotenv read the same, for this user only.

    Raises ClickException for a value with a quote or a line break, which they read differently.
    """
    # What a link leads to; a device or a pipe is written into, and stays.
    path = path.resolve()
    if path.exists() and not path.is_file():
        path.write_text(env_text(settings), encoding="utf-8")
        return
    beside = path.with_name(path.name + ".new")
    beside.unlink(missing_ok=True)
    descriptor = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        file.write(env_text(settings))
    beside.replace(path)


def env_text(settings: Mapping[str, str]) -> str:
    for name, value in settings.items():
        if set(value) & UNWRITABLE:
            raise click.ClickException(f"{name}: {value!r} has a quote, a backslash or a line break in it")
    return "".join(f"{name}='{value}'\n" for name, value in settings.items())


def _hub_settings(event_hubs: EventHubsEmulator, names: list[str]) -> dict[str, str]:
    primary, *others = (event_hubs.connection_string(name) for name in names)
    return {"EVENT_HUB_CONNECTION_STRING": primary, "EVENT_HUB_CONNECTION_STRINGS": json.dumps(others)}


def _begin_with(microshare: MicroshareEmulator, fault: str) -> None:
    name, _, times = fault.partition(":")
    try:
        switch_on(microshare, name, **({"times": int(times)} if times else {}))
    except ValueError as error:
        raise click.BadParameter(str(error), param_hint="--fault") from error


def _started(
    microshare: MicroshareEmulator,
    event_hubs: EventHubsEmulator,
    names: list[str],
    env_file: Path | None,
    settings: Mapping[str, str],
) -> str:
    lines = [
        f"Microshare  {microshare.url}  (faults: {microshare.url}/_control)",
        f"Event Hubs  {event_hubs.host}:{event_hubs.port}  ({', '.join(names)})",
    ]
    if env_file is None:
        return "\n".join((*lines, "", "Settings:", env_text(settings), "Ctrl-C ends it."))
    return "\n".join(
        (
            *lines,
            f"Settings    {env_file}",
            "",
            "In another terminal:",
            *(f"  {line}" for line in in_another_terminal(env_file, COMMANDS)),
            "",
            "Ctrl-C ends it.",
        )
    )


if __name__ == "__main__":
    main(prog_name="python -m emulators")
