"""Makes the outputs that docs show again, or compares them with what commands print now: `make outputs`.

A block of a document that begins with `$ python -m app ...`, below a comment `<!-- output -->`, holds what
that command prints on a terminal of 80 columns, at the instant at which one scenario ended, with a copy of
its state. The documents are the only list of what is shown. `<!-- output, 9 lines -->` shows so many. What
is `slow`, for it reads hubs, is compared with `--slow` only.
"""

from __future__ import annotations

import difflib
import importlib
import os
import pty
import re
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import NoReturn

from dotenv import dotenv_values

from app.base import instants

ROOT = Path(__file__).resolve().parents[1]
END = "2026-03-04T14:20Z"
_DOCUMENTS = ("README.md", "docs/*.md")
_BLOCK = re.compile(
    r"(?ms)^(?P<head><!-- output(?:, (?P<lines>\d+) lines)?(?P<slow>, slow)? -->\n```console\n)"
    r"\$ python -m app (?P<words>[^\n]*)\n(?P<shown>.*?)^```$"
)
# None of them takes so long, unless it waits for an answer.
_LONGEST_S = 60
# What is another one each time, and says nothing: ports, durations of calls, names given at random.
_VARYING = (
    (re.compile(r"127\.0\.0\.1:\d+"), "127.0.0.1:47171"),
    (re.compile(r"\b\d+ ms\b"), "1 ms"),
    (re.compile(r"\b\d+\.\d s\b"), "0.1 s"),
    (re.compile(r"\bPython \d+\.\d+\.\d+"), "Python 3.12.0"),
    (re.compile(r"\bforwarder \d+\.\d+\.\d+"), "forwarder 1.0.0"),
)


@dataclass(frozen=True, slots=True)
class Difference:
    """A block that is not what its command prints."""

    document: str
    words: str
    lines: list[str]


def main() -> None:
    """Make the outputs in the documents again, or with `--compare FOLDER [--slow]` say where they differ.

    With `--call WORDS` be that command, at the end of the scenario.
    """
    if sys.argv[1:2] == ["--call"]:
        _stop_the_clock()
        from app.cli import main as command

        sys.argv[1:] = sys.argv[2:]
        command()
    if sys.argv[1:2] == ["--compare"]:
        different = list(_documents(Path(sys.argv[2]), slow="--slow" in sys.argv, write=False))
        for one in different:
            print(f"{one.document}: $ python -m app {one.words}", *one.lines, sep="\n")
        sys.exit("`make outputs` writes them as they are now" if different else 0)
    with tempfile.TemporaryDirectory() as folder, _scenario(Path(folder, "scenario")) as made:
        for one in _documents(made, slow=True, write=True):
            print(f"{one.document}: $ python -m app {one.words}")


@contextmanager
def _scenario(folder: Path) -> Iterator[Path]:
    """Run the scenario, its clock standing at its end, until the context ends."""
    words = ["-m", "emulators.scenario", "--folder", str(folder), "--end", END, "--still"]
    process = subprocess.Popen([sys.executable, *words], cwd=ROOT, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    try:
        if not any(line.startswith("Ctrl-C") for line in process.stdout):
            sys.exit("the scenario could not be made; see what it said above")
        yield folder
    finally:
        process.send_signal(signal.SIGINT)
        process.wait(timeout=30)


def _documents(scenario: Path, *, slow: bool, write: bool) -> Iterator[Difference]:
    """Call the commands of all documents; gives each block that is not what its command prints."""
    _stop_the_clock()
    for path in (path for pattern in _DOCUMENTS for path in sorted(ROOT.glob(pattern))):
        earlier = path.read_text(encoding="utf-8")
        later = _BLOCK.sub(lambda block: _made(block, scenario, slow=slow), earlier)
        for before, after in zip(_BLOCK.finditer(earlier), _BLOCK.finditer(later), strict=True):
            # A longer version breaks lines elsewhere, and says nothing else.
            if before["shown"].split() != after["shown"].split():
                lines = difflib.unified_diff(
                    before["shown"].splitlines(), after["shown"].splitlines(), "docs", "now", lineterm=""
                )
                yield Difference(path.name, before["words"], list(lines))
        if write and earlier != later:
            path.write_text(later, encoding="utf-8")


def _made(block: re.Match[str], scenario: Path, *, slow: bool) -> str:
    if block["slow"] and not slow:
        return block[0]
    printed = _printed(scenario, shlex.split(block["words"])).splitlines()
    most = int(block["lines"] or len(printed))
    shown = [f"$ python -m app {block['words']}", *printed[:most], *(["..."] if most < len(printed) else [])]
    return block["head"] + "\n".join([*shown, "```"])


def _stop_the_clock() -> None:
    """Let it be the end of the scenario, before commands are imported: each takes the clock by its name."""
    end = datetime.fromisoformat(END)
    instants.utc_now = lambda: end
    from app.cli import COMMANDS

    for name in COMMANDS:
        importlib.import_module(f"app.cli.{name.replace('-', '_')}")


def _printed(scenario: Path, words: list[str]) -> str:
    """Call a command on a copy of the scenario, in a terminal of 80 columns; gives what it prints."""
    # Random names of one length in one place, so that lines break where they broke.
    folder = Path(tempfile.mkdtemp(prefix="", dir="/tmp"))
    try:
        shutil.copytree(scenario, folder, dirs_exist_ok=True)
        for copied in (folder / ".env", folder / "config.yaml"):
            text = copied.read_text(encoding="utf-8").replace(str(scenario), str(folder))
            copied.write_text(text.replace("\n  attempts: 4", "\n  attempts: 2"), encoding="utf-8")
        printed = _on_a_terminal(folder, words).replace(str(folder), "/srv/scenario")
    finally:
        shutil.rmtree(folder)
    for varying, instead in _VARYING:
        printed = varying.sub(instead, printed)
    return "".join(f"{line.rstrip()}\n" for line in printed.splitlines())


def _on_a_terminal(folder: Path, words: list[str]) -> str:
    process, terminal = pty.fork()
    if not process:
        _be(folder, words)
    printed = b""
    while part := _read(terminal):
        printed += part
    os.close(terminal)
    os.waitpid(process, 0)
    return printed.decode()


def _be(folder: Path, words: list[str]) -> NoReturn:
    """Be the command, in a process of its own."""
    os.chdir(folder)
    os.environ.clear()
    os.environ.update({name: value or "" for name, value in dotenv_values(".env").items()})
    os.environ.update({"TERM": "dumb", "NO_COLOR": "1", "COLUMNS": "80", "LINES": "24"})
    signal.alarm(_LONGEST_S)
    # Log lines and what tells how far it is: no output.
    errors = os.open("errors.txt", os.O_WRONLY | os.O_CREAT, 0o600)
    os.dup2(errors, 2)
    sys.argv[1:] = words
    from app.cli import main

    try:
        main()
    finally:
        sys.stdout.flush()
        os._exit(0)


def _read(descriptor: int) -> bytes:
    try:
        return os.read(descriptor, 65_536)
    except OSError:  # how Linux says that the other end is closed
        return b""


if __name__ == "__main__":
    main()
