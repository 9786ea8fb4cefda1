"""No secret in what any command says or writes, whether all is well, everything complains, or nothing is set.

Commands are processes of their own, at log level DEBUG, and what complains repeats what it was sent:
the source in every form, hubs as it is, URL-encoded and in base64.
"""

from __future__ import annotations

import base64
import json
import signal
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from urllib.parse import quote

import click
import pytest

from app.cli import COMMANDS, commands
from app.run.forwarder import run_forwarder
from app.settings.loading import load_settings
from app.wiring import wire
from emulators.estate import Building, Estate
from emulators.eventhubs import EventHubsEmulator
from emulators.microshare import MicroshareEmulator, Request, Response
from tests.canaries import API_KEY, HUB_KEY, PASSWORD, forms, shown_in
from tests.commands import Ended
from tests.environments.terminal import Terminal, finish, read_until

MINUTE = timedelta(minutes=1)
MILL = Building("Mill & Lane", groups=(("Mill & Lane", "0", "Main Entrance"),))


@dataclass(frozen=True, slots=True)
class Line:
    """A command's words. `reaches` says whether it asks the source or a hub at all."""

    words: str
    reaches: bool = True


# A new command belongs here, with its words, and with those of each command below it.
LINES = {
    # What it says to somebody at a terminal is for test_init.py.
    "init": [Line("init", reaches=False)],
    "config": [
        Line("config show", reaches=False),
        Line("config show --json", reaches=False),
        Line("config schema", reaches=False),
    ],
    "check": [Line("check"), Line("check --json")],
    "locations": [Line("locations"), Line("locations --json")],
    "run": [Line("run all"), Line("run all --json"), Line("run all --dry-run")],
    "serve": [Line("serve")],
    "status": [
        Line("status", reaches=False),
        Line("status --json", reaches=False),
        Line("status --format prometheus", reaches=False),
    ],
    "runs": [Line("runs", reaches=False), Line("runs --json", reaches=False)],
    "backfill": [Line("backfill people-counter --from 3h --to 0s --only-missing --yes")],
    "audit": [Line("audit --from 3h"), Line("audit --from 3h --json --repair --yes")],
    "report": [Line("report --from 3h --output {page}")],
    "tail": [
        Line("tail --hub second --count 3 --seconds 5"),
        Line("tail --hub second --count 3 --seconds 5 --json"),
        Line("tail --hub second --count 3 --seconds 5 --validate"),
    ],
    "send-test": [Line("send-test")],
    "state": [
        Line("state show people-counter --json", reaches=False),
        Line("state export people-counter", reaches=False),
        Line("state import people-counter {exported} --yes", reaches=False),
        Line("state skip people-counter --to 0s --yes", reaches=False),
        Line("state move people-counter --from {location} --to {other} --yes", reaches=False),
        Line("state reset people-counter --yes", reaches=False),
    ],
    "quarantine": [
        Line("quarantine list", reaches=False),
        Line("quarantine show {quarantined}", reaches=False),
        Line("quarantine replay --all --yes", reaches=False),
    ],
    # It reads no settings.
    "completion": [Line("completion bash", reaches=False)],
}


@pytest.fixture
def terminal(tmp_path: Path) -> Iterator[Terminal]:
    """A terminal with canaries for secrets, a state, and a reading in quarantine."""
    estate = Estate(buildings=[MILL], generated=False, people_lag=timedelta(0))
    now = datetime.now(UTC)
    for minutes in (1, 2, 3):
        estate.add_people(MILL.name, None, now - minutes * MINUTE)
    estate.add_people(MILL.name, None, now - MINUTE, without=["time"])
    source = MicroshareEmulator(estate, password=PASSWORD, api_key=API_KEY)
    with source, EventHubsEmulator(["a", "b"], key=HUB_KEY) as hubs:
        terminal = Terminal(source, hubs, tmp_path)
        terminal.environ["LOG_LEVEL"] = "DEBUG"
        yield terminal


def complain(terminal: Terminal) -> Counter[str]:
    """Let the source and hubs refuse everything, in words that hold what they were sent; count it."""
    complaints = Counter[str]()

    def refuse(request: Request) -> Response | None:
        token = request.headers.get("authorization", "").removeprefix("Bearer ")
        if not token:
            return None
        complaints["source"] += 1
        told = " ".join(form for secret in (PASSWORD, API_KEY, token) for form in sorted(forms(secret)))
        return Response.text(400, json.dumps({"error": f"bad request: {told} Authorization: Bearer {token}"}))

    terminal.source.intercept = refuse
    key = " ".join(written(f"SharedAccessKey={HUB_KEY}") + written(HUB_KEY))
    terminal.a.reject("amqp:not-allowed", None, key)
    # A condition has no more room than for one of them.
    terminal.b.refuse_attach(f"example:refused-{HUB_KEY}", links=("send", "receive"))
    return complaints


def written(secret: str) -> list[str]:
    return [secret, quote(secret, safe=""), base64.b64encode(secret.encode()).decode()]


def served_once(terminal: Terminal) -> Ended:
    """Let `serve` run both feeds once, and stop it."""
    process = terminal.start("serve")
    read = read_until("run.finished", process, times=2)
    process.send_signal(signal.SIGTERM)
    ended = finish(process)
    return Ended(ended.status, ended.out, read + ended.err)


def words(line: Line, terminal: Terminal) -> list[str]:
    """Give the words, with the names of a file, of a reading and of locations where they are wanted."""
    names = {"location": MILL.name, "other": "Mill West", "page": str(terminal.folder / "page.html")}
    if "{exported}" in line.words:
        exported = terminal.folder / "exported.json"
        exported.write_text(terminal.call("state", "export", "people-counter").out)
        names["exported"] = str(exported)
    if "{quarantined}" in line.words:
        quarantined = next((terminal.folder / "state" / "quarantine").rglob("*.json"))
        names["quarantined"] = json.loads(quarantined.read_text())["id"]
    return [word.format(**names) for word in line.words.split()]


def kept(terminal: Terminal) -> str:
    files = [path for path in terminal.folder.rglob("*") if path.is_file() and path.name != "config.yaml"]
    return "\n".join(path.read_text("utf-8", "replace") for path in files)


def secrets(terminal: Terminal) -> list[str]:
    return [PASSWORD, API_KEY, HUB_KEY, *terminal.source._tokens]


EACH = [pytest.param(line, id=line.words) for lines in LINES.values() for line in lines]


@pytest.mark.parametrize("line", EACH)
def test_no_command_shows_or_keeps_a_secret_when_all_is_well_or_everything_complains(
    terminal: Terminal, line: Line
) -> None:
    run_forwarder("people_counter", wire(load_settings(terminal.environ)))
    called = words(line, terminal)

    def call() -> Ended:
        return served_once(terminal) if line.words == "serve" else terminal.call(*called)

    ended = [call()]
    if line.reaches:
        complaints = complain(terminal)
        ended.append(call())
        assert complaints.total() + terminal.a.fired.total() + terminal.b.fired.total() > 0

    said = "\n".join(found.out + found.err for found in ended)
    assert shown_in(f"{said}\n{kept(terminal)}", secrets(terminal)) == []


@pytest.mark.parametrize("name", [name for name in COMMANDS if name not in ("init", "completion")])
def test_no_command_shows_a_secret_when_it_refuses_the_settings(terminal: Terminal, name: str) -> None:
    broken = terminal.hubs.connection_string("a").replace("EntityPath", "EntityPth")
    terminal.environ |= {
        "EVENT_HUB_CONNECTION_STRING": broken,
        "EVENT_HUB_CONNECTION_STRINGS": f"[{terminal.hubs.connection_string('b')}]",
        "MICROSHARE_API_URL": f"https://svc:{quote(PASSWORD, safe='')}@api.example.test",
        "MICROSHARE_AUTH": f"web {PASSWORD}",
    }
    ended = terminal.call(*words(LINES[name][0], terminal))

    assert ended.status == 2
    assert "EntityPath" in ended.out + ended.err
    assert shown_in(f"{ended.out}{ended.err}{kept(terminal)}", secrets(terminal)) == []


def test_the_lines_are_of_all_commands_and_of_those_below_them() -> None:
    assert set(LINES) == set(COMMANDS)
    for name, lines in LINES.items():
        command = commands.get_command(click.Context(commands), name)
        assert command is not None
        below = command.list_commands(click.Context(command)) if isinstance(command, click.Group) else []
        assert set(below) <= {line.words.split()[1] for line in lines if len(line.words.split()) > 1}
