"""Forwards Microshare building readings to Azure Event Hubs."""

import sys
from pathlib import Path

# All that stands here; every other module has its place in a folder. A copy that is laid over an
# earlier version's leaves that one's modules beside these, and whoever imports one gets two versions mixed.
_HERE = frozenset({"__init__.py", "__main__.py", "timer.py", "wiring.py"})


def _refuse_what_is_left_of_an_earlier_version() -> None:
    folder = Path(__file__).parent
    left = sorted(path.name for path in folder.glob("*.py") if path.name not in _HERE)
    if not left:
        return
    named = ", ".join(left[:5]) + (f" and {len(left) - 5} more" if len(left) > 5 else "")
    files = "file" if len(left) == 1 else "files"
    message = (
        f"{folder}: {len(left)} {files} of another version left among this one's ({named}); remove the "
        "folder and copy app/ and function_app.py again, as `rsync -a --delete app function_app.py "
        "HOST:PATH/` does"
    )
    # `python -m app` shows no traceback; the Functions host needs an error that it can report.
    if sys.argv[:1] == ["-m"]:
        print(message, file=sys.stderr)
        sys.exit(2)
    raise ImportError(message)


_refuse_what_is_left_of_an_earlier_version()
