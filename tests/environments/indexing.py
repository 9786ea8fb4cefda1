"""What the function app of a tree declares, as the Functions host would index it."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

_TELL_BINDINGS = """
import json, sys
import function_app
sys.stdout.write(json.dumps({
    function.get_function_name(): [json.loads(binding) for binding in function.get_raw_bindings()]
    for function in function_app.app.get_functions()
}))
"""


def indexed(
    tree: Path, environ: Mapping[str, str], python: Path = Path(sys.executable)
) -> dict[str, list[dict[str, object]]]:
    """Import function_app in a process that has `environ` alone; give the bindings of each function."""
    told = subprocess.run(
        [python, "-c", _TELL_BINDINGS],
        cwd=tree,
        env=dict(environ),
        stdout=subprocess.PIPE,
        check=True,
        timeout=60,
    )
    bindings: dict[str, list[dict[str, object]]] = json.loads(told.stdout)
    return bindings
