"""`python -m tests.crashes.command_at INSTANT WORDS…`: the command line at an instant of the host's clock."""

from __future__ import annotations

import sys

from app.base import instants


def main() -> None:
    """Set the clock before anything else of the app is loaded, and do the command."""
    now = instants.parse_time(sys.argv[1])
    instants.utc_now = lambda: now
    from app.cli import main as command_line

    command_line(sys.argv[2:])


if __name__ == "__main__":
    main()
