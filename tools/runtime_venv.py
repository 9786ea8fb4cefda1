"""Makes the virtual environment in which the function app meets Microsoft's own runtime.

`azure-functions-runtime` is what indexes and invokes functions in the platform's Python worker
from 3.13 on, and it needs that version; the other tests run on any version we support. Run as
`python -m tools.runtime_venv`.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from tools.locks import TELEMETRY

ROOT = Path(__file__).resolve().parent.parent
VENV = ROOT / ".venvs" / "runtime"
VERSION = "3.13"

_LOCK = ROOT / TELEMETRY
PINS = ("azure-functions-runtime==1.3.0", "azurefunctions-extensions-base==1.2.0")
_STAMP = VENV / ".made-from"
# What an interpreter must be able to do: a shim of pyenv may refuse, and Debian packs ensurepip apart.
_PROBE = "import ensurepip, ssl, sys, venv; print('%d.%d' % sys.version_info[:2])"


def main() -> int:
    """Make the environment where it is missing or out of date; say in one line what was done."""
    python = find_python()
    if python is None:
        print(f"no Python {VERSION} was found: the tests with Microsoft's runtime will be skipped")
        return 0
    if runtime_python() is not None:
        print(f"{VENV.relative_to(ROOT)}: up to date")
        return 0
    shutil.rmtree(VENV, ignore_errors=True)
    try:
        subprocess.run([python, "-m", "venv", VENV], check=True)
        pip: list[str | Path] = [
            _interpreter(),
            "-m",
            "pip",
            "install",
            "--quiet",
            "--disable-pip-version-check",
        ]
        subprocess.run([*pip, "--require-hashes", "-r", _LOCK], check=True)
        subprocess.run([*pip, *PINS], check=True)
    except subprocess.CalledProcessError as error:
        print(f"{VENV.relative_to(ROOT)}: could not be made, see above", file=sys.stderr)
        return error.returncode
    _STAMP.write_text(_fingerprint(), encoding="ascii")
    print(f"{VENV.relative_to(ROOT)}: made with {python}")
    return 0


def runtime_python() -> Path | None:
    """Give the interpreter that has the runtime and the pinned requirements; None where it is to be made."""
    if not _STAMP.is_file() or _STAMP.read_text(encoding="ascii") != _fingerprint():
        return None
    return _interpreter() if _interpreter().exists() else None


def find_python(version: str = VERSION) -> Path | None:
    """Give a Python of that version, the runtime's unless told, that really runs; or None."""
    return next((python for python in _candidates(version) if _runs(python, version)), None)


def _candidates(version: str) -> Iterator[Path]:
    yield Path(sys.executable)
    on_path = shutil.which(f"python{version}")
    if on_path:
        yield Path(on_path)
    for root in dict.fromkeys((os.environ.get("PYENV_ROOT") or "~/.pyenv", "~/.pyenv")):
        yield from sorted(Path(root).expanduser().glob(f"versions/{version}*/bin/python"), reverse=True)


def _runs(python: Path, version: str) -> bool:
    try:
        told = subprocess.run([python, "-c", _PROBE], capture_output=True, text=True, timeout=30, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return False
    return told.stdout.strip() == version


def _interpreter() -> Path:
    return VENV / "bin" / "python"


def _fingerprint() -> str:
    return hashlib.sha256(_LOCK.read_bytes() + "\n".join(PINS).encode()).hexdigest()


if __name__ == "__main__":
    sys.exit(main())
