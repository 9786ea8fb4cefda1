"""Makes the pictures that the README shows, from the scenario: `make pictures`, a browser is needed.

The screen of `status` becomes an SVG, the page of `report` a PNG. Both are of this moment's two days, so made
again they show other times, and nothing else that is new unless the code is.
"""

from __future__ import annotations

import io
import os
import pty
import re
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from dotenv import dotenv_values
from playwright.sync_api import ViewportSize
from rich.console import Console
from rich.terminal_theme import MONOKAI
from rich.text import Text

from app.base.program import APP_ROOT
from tests.browser.chromium import running_browser

_FOLDER = APP_ROOT / "docs" / "pictures"
_COLUMNS, _ROWS = 80, 24
# As wide as a README is shown, and down to the coverage.
_PAGE = ViewportSize(width=1100, height=1300)


def main() -> None:
    """Make both pictures anew."""
    _FOLDER.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory() as folder, _scenario(Path(folder)) as environ:
        _draw_screen(["status"], environ, _FOLDER / "status.svg")
        page = Path(folder, "report.html")
        _call(["report", "--feed", "people-counter", "--from", "50h", "--output", str(page)], environ)
        _photograph(page, _FOLDER / "page.png")
    print("docs/pictures/status.svg and docs/pictures/page.png are made")


@contextmanager
def _scenario(folder: Path) -> Iterator[dict[str, str]]:
    """Run the scenario until the context ends; gives the environment of its commands."""
    command = [sys.executable, "-m", "emulators.scenario", "--folder", str(folder / "scenario")]
    process = subprocess.Popen(command, cwd=APP_ROOT, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    try:
        if not any(line.startswith("Ctrl-C") for line in process.stdout):
            sys.exit("the scenario could not be made; see what it said above")
        settings = {name: value or "" for name, value in dotenv_values(folder / "scenario" / ".env").items()}
        yield {"PATH": os.environ["PATH"], "COLUMNS": str(_COLUMNS), "LINES": str(_ROWS), **settings}
    finally:
        process.send_signal(signal.SIGINT)
        process.wait(timeout=30)


def _call(words: list[str], environ: dict[str, str]) -> str:
    """Call a command on a terminal of its own; gives what that shows, colours included."""
    mine, its = pty.openpty()
    command = [sys.executable, "-m", "app", *words]
    process = subprocess.Popen(
        command, cwd=APP_ROOT, env={"TERM": "xterm-256color", **environ}, stdin=its, stdout=its, stderr=its
    )
    os.close(its)
    shown = b""
    while part := _read(mine):
        shown += part
    os.close(mine)
    # A status that is not well, and a page of which something could not be read, end with 1.
    if process.wait() not in (0, 1):
        sys.exit(f"{' '.join(words)} ended with {process.returncode}: {shown.decode()}")
    return shown.decode().replace("\r\n", "\n")


def _read(descriptor: int) -> bytes:
    try:
        return os.read(descriptor, 65_536)
    except OSError:  # how Linux says that the other end is closed
        return b""


def _draw_screen(words: list[str], environ: dict[str, str], to: Path) -> None:
    console = Console(width=_COLUMNS, record=True, file=io.StringIO())
    console.print(Text(f"$ python -m app {' '.join(words)}", style="bold"))
    console.print(Text.from_ansi(_call(words, environ)))
    drawn = console.export_svg(title="", theme=MONOKAI, unique_id="status")
    # A font of the network: whoever looks at it is not to be seen by others.
    to.write_text(re.sub(r"(?s)@font-face \{.*?\}\s*", "", drawn), encoding="utf-8")


def _photograph(page: Path, to: Path) -> None:
    with running_browser() as browser:
        tab = browser.new_page(viewport=_PAGE, device_scale_factor=1.5)
        tab.goto(page.as_uri())
        tab.screenshot(path=to)


if __name__ == "__main__":
    main()
