"""`python -m app`: see app/cli."""

import atexit
import gc
import os
import signal
import sys

# The first process of a container is told of no signal that it has no handler for. So this comes before all
# that takes long to load; a command that has an order to end in sets its own.
if os.getpid() == 1:
    signal.signal(signal.SIGTERM, lambda number, _frame: os._exit(128 + number))

# What modules load is no garbage. To look for some every 700 objects, as Python does, takes a twentieth of a
# short run, which makes fewer than this in all; to look through it as the process ends, more than a tenth.
gc.set_threshold(100_000)
atexit.register(gc.freeze)

try:
    from app.cli import main
except ModuleNotFoundError as error:
    # The command line itself needs a package to be read with.
    from app.base.interpreter import lacking

    advice = lacking(error)
    if advice is None:
        raise
    print(advice, file=sys.stderr)
    sys.exit(2)

if __name__ == "__main__":
    main()
