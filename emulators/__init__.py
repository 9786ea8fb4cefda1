"""Local stand-ins for Microshare and Azure Event Hubs. Never deployed.

They import nothing from `app`, but for `history`, which makes real runs.
"""

import sys
from importlib.util import find_spec
from pathlib import Path


def _refuse_a_python_without_packages() -> None:
    missing = [name for name in ("click", "rich", "yaml") if find_spec(name) is None]
    # While a package is found for `python -m`, this stands in place of the program's name.
    if sys.argv[:1] != ["-m"] or not missing:
        return
    root = Path(__file__).parent.parent
    print(
        f"this Python, {sys.executable}, lacks {', '.join(missing)}; call {root / '.venv/bin/python'}, which "
        f"`make demo` in {root} makes with all packages; or install them into this one: "
        f"{sys.executable} -m pip install -r {root / 'requirements-dev.txt'}",
        file=sys.stderr,
    )
    sys.exit(2)


_refuse_a_python_without_packages()
