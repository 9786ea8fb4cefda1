"""`python -m app`: see app/cli."""

import sys

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
