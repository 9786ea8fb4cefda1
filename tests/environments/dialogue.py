"""Somebody who sits at a terminal and answers what a command asks."""

from __future__ import annotations

import os
import pty
import re
import select
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from app.base.program import APP_ROOT

_LONGEST_WAIT_S = 20.0
# The command's terminal is the one that Ctrl-C goes to, as in a shell.
_CONTROLLED = "import fcntl, sys, termios; fcntl.ioctl(0, termios.TIOCSCTTY, 0); "
_OF_THE_TREE = "from app.cli import main; main(sys.argv[1:])"


class Dialogue:
    """A command on a terminal of its own. `shown` is all that stood on it, what was typed included."""

    def __init__(
        self, words: Sequence[str], environ: Mapping[str, str], folder: Path, program: str = _OF_THE_TREE
    ) -> None:
        self._ours, theirs = pty.openpty()
        self.shown = ""
        self._read_until = 0
        self._process = subprocess.Popen(
            [sys.executable, "-c", _CONTROLLED + program, *words],
            cwd=folder,
            env={"TERM": "dumb", "COLUMNS": "80", "PYTHONPATH": str(APP_ROOT), **environ},
            stdin=theirs,
            stdout=theirs,
            stderr=theirs,
            start_new_session=True,
        )
        os.close(theirs)

    def answer(self, question: str, text: str) -> None:
        """Wait for a question, and type an answer and Enter."""
        self.wait_for(question)
        os.write(self._ours, f"{text}\n".encode())

    def interrupt(self, question: str) -> None:
        """Wait for a question, and press Ctrl-C until something happens.

        Python hears of one that comes just before it begins to read when there is something to read.
        """
        self.wait_for(question)
        until = time.monotonic() + _LONGEST_WAIT_S
        while "\n" not in self.shown[self._read_until :]:
            assert time.monotonic() < until, f"it did not stop:\n{self.shown}"
            os.write(self._ours, b"\x03")
            # The first is the echo of the key.
            self._read(0.5)
            self._read(0.5)

    def wait_for(self, said: str) -> None:
        """Wait until something stands on the screen, below all that was waited for before."""
        until = time.monotonic() + _LONGEST_WAIT_S
        # A question is asked when what ends it is there; before that the terminal would show the answer.
        pattern = re.compile(re.escape(said) + r"[^\n]*(?:: |\n)")
        while not (found := pattern.search(self.shown, self._read_until)):
            assert time.monotonic() < until, f"{said!r} was not asked for:\n{self.shown[self._read_until :]}"
            if not self._read(0.5):
                raise AssertionError(f"it ended before {said!r}:\n{self.shown}")
        self._read_until = found.end()

    def end(self) -> int:
        """Read until the command ends; give its exit status."""
        until = time.monotonic() + _LONGEST_WAIT_S
        while self._read(0.5):
            assert time.monotonic() < until, f"it did not end:\n{self.shown}"
        os.close(self._ours)
        return self._process.wait(_LONGEST_WAIT_S)

    def _read(self, seconds: float) -> bool:
        if not select.select([self._ours], [], [], seconds)[0]:
            return True
        try:
            found = os.read(self._ours, 65_536)
        except OSError:  # the other end was closed
            return False
        self.shown += found.decode(errors="replace").replace("\r\n", "\n")
        return bool(found)
