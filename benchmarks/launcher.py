"""Runs a command, and writes what the operating system says that it took to a file that is open already.

    python -I -S benchmarks/launcher.py DESCRIPTOR COMMAND...

The peak of a process counts from the moment when it is made, with all that its maker holds: so a small one
makes those that are measured. Hence nothing is imported here but what Python has loaded, or nearly so.
"""

from __future__ import annotations

import json
import os
import sys
import time


def main() -> int:
    """Write seconds, bytes and how the command ended, which has the input, output and environment of this."""
    descriptor, *command = sys.argv[1:]
    began = time.perf_counter()
    process = os.posix_spawn(command[0], command, os.environ)
    _, status, usage = os.wait4(process, 0)
    wall_s = time.perf_counter() - began
    took = {
        "cpu_s": usage.ru_utime + usage.ru_stime,
        "wall_s": wall_s,
        "peak_bytes": usage.ru_maxrss * 1024,
        "exit": os.waitstatus_to_exitcode(status),
    }
    os.write(int(descriptor), json.dumps(took).encode())
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
