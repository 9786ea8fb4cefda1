"""Commands as processes of their own that cost a fork, not a start of Python and all that it imports.

    python -m tests.environments.forked

imports all of `app` and does nothing else. For each command that it is told on standard input, one JSON
object a line, it forks, and the fork is that command: it has its own environment, folder and standard
streams, and ends as the interpreter ends. Answers are the fork's process id, and then its exit status.
"""

from __future__ import annotations

import atexit
import gc
import importlib
import json
import os
import pkgutil
import select
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any, NoReturn

from app.base.program import APP_ROOT
from tests.commands import Ended
from tests.environments.polling import poll_quickly

LONGEST_COMMAND_S = 60.0


class ForkedCommands:
    """The process that forks, until the tests end. One command at a time."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        # Unbuffered, so that what `select` waits for has not been read already.
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.environments.forked"],
            cwd=APP_ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            bufsize=0,
        )
        atexit.register(self._end)

    def call(self, words: Sequence[str], environ: Mapping[str, str], folder: Path) -> Ended:
        with self._lock, tempfile.TemporaryDirectory() as streams:
            out, err = Path(streams) / "out", Path(streams) / "err"
            order = {"words": words, "environ": dict(environ), "folder": str(folder)}
            status = self._status_of({**order, "out": str(out), "err": str(err)})
            return Ended(status, out.read_text("utf-8"), err.read_text("utf-8"))

    def _status_of(self, order: Mapping[str, Any]) -> int:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps(order).encode() + b"\n")
        process = int(self._process.stdout.readline())
        if not select.select([self._process.stdout], [], [], LONGEST_COMMAND_S)[0]:
            os.kill(process, signal.SIGKILL)
        return int(self._process.stdout.readline())

    def _end(self) -> None:
        self._process.communicate()


@cache
def forked_commands() -> ForkedCommands:
    return ForkedCommands()


def _become(order: Mapping[str, Any]) -> NoReturn:
    os.chdir(order["folder"])
    os.environ.clear()
    os.environ.update(order["environ"])
    for descriptor, name, flags in (
        (0, os.devnull, os.O_RDONLY),
        (1, order["out"], os.O_WRONLY | os.O_CREAT),
        (2, order["err"], os.O_WRONLY | os.O_CREAT),
    ):
        os.dup2(os.open(name, flags, 0o600), descriptor)
    sys.stdin = os.fdopen(0, encoding="utf-8")
    sys.stdout = os.fdopen(1, "w", encoding="utf-8")
    sys.stderr = os.fdopen(2, "w", 1, encoding="utf-8", errors="backslashreplace")
    sys.argv = ["app", *order["words"]]
    from app.cli import main

    try:
        main()
    except SystemExit as ending:
        # As the interpreter ends, but for taking apart what was imported, which takes longer than a command.
        threading._shutdown()  # type: ignore[attr-defined]
        atexit._run_exitfuncs()
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(int(ending.code or 0))


def main() -> None:
    import app

    for module in pkgutil.walk_packages(app.__path__, "app."):
        if module.name != "app.__main__":
            importlib.import_module(module.name)
    for name in ("azure.data.tables", "azure.eventhub.aio", "requests"):
        importlib.import_module(name)
    poll_quickly()
    gc.collect()
    # What is there now is never garbage, and need not be copied into each fork to find that out.
    gc.freeze()
    for line in sys.stdin:
        process = os.fork()
        if process == 0:
            _become(json.loads(line))
        print(process, flush=True)
        print(os.waitstatus_to_exitcode(os.waitpid(process, 0)[1]), flush=True)


if __name__ == "__main__":
    main()
