"""The licences, the lists (SBOM) and the known vulnerabilities of what is deployed.

python -m tools.dependencies licences           writes docs/licences.md
python -m tools.dependencies sbom               writes dist/*.cdx.json: what is in each package
python -m tools.dependencies vulnerabilities    asks PyPI's advisories; 1 where it has any, 2 where it
                                                cannot be asked, so that no answer is no all-clear
"""

from __future__ import annotations

import hashlib
import json
import shutil
import subprocess
import sys
import tempfile
import venv
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tools.locks import RUN, TELEMETRY
from tools.package import PYTHONS, fetch, package_name, unpacked

ROOT = Path(__file__).resolve().parent.parent
LICENCES = ROOT / "docs" / "licences.md"
DIST = ROOT / "dist"
LOCK = ROOT / TELEMETRY

_VENV = ROOT / ".venvs" / "dependencies"
# The tools are not among what they look at.
_DEPLOYED = _VENV / "deployed"
_TOOLS = ("pip-audit==2.10.1", "pip-licenses==5.5.5", "cyclonedx-bom==7.5.0")
_STAMP = _VENV / ".made-from"
_NONE_KNOWN, _FOUND, _NOT_KNOWN = 0, 1, 2


@dataclass(frozen=True, slots=True)
class Verdict:
    """What the advisories say, as an exit status and in words."""

    status: int
    lines: Sequence[str]


def verdict(document: Mapping[str, Any] | None, said: str = "") -> Verdict:
    """Judge what pip-audit wrote as JSON; None where it wrote nothing, `said` being its last words."""
    if document is None:
        return Verdict(_NOT_KNOWN, [f"not asked: {said or 'pip-audit said nothing'}", _UNREACHED])
    packages = document["dependencies"]
    found = [
        f"{package['name']} {package['version']}: {flaw['id']}, repaired in "
        f"{', '.join(flaw['fix_versions']) or 'no version yet'}"
        for package in packages
        for flaw in package.get("vulns", ())
    ]
    skipped = [package for package in packages if "skip_reason" in package]
    if found:
        return Verdict(
            _FOUND, [*found, f"{len(found)} found; raise the versions in requirements*.txt, and `make lock`"]
        )
    if skipped:
        first = skipped[0]["skip_reason"]
        return Verdict(
            _NOT_KNOWN, [f"not known of {len(skipped)} of {len(packages)} packages: {first}", _UNREACHED]
        )
    return Verdict(_NONE_KNOWN, [f"no known vulnerability in {len(packages)} packages"])


_UNREACHED = "no vulnerability was found or ruled out; try again where https://pypi.org can be reached"


def vulnerabilities() -> int:
    """Ask, and print what came of it; give the exit status."""
    packages = str(next(_DEPLOYED.glob("lib/python*/installation-packages")))
    options = ["--format", "json", "--progress-spinner", "off", "--path", packages]
    asked = [str(_VENV / "bin" / "pip-audit"), *options]
    ended = subprocess.run(asked, capture_output=True, text=True, check=False)
    try:
        document = json.loads(ended.stdout)
    except ValueError:
        document = None
    last = ended.stderr.strip().splitlines()[-1:]
    judged = verdict(document, "".join(last))
    for line in judged.lines:
        print(line, file=sys.stderr if judged.status else sys.stdout)
    return judged.status


def licences() -> int:
    """Write the list; give the exit status."""
    wanted = ["--format=markdown", f"--output-file={LICENCES}"]
    python = _DEPLOYED / "bin" / "python"
    return subprocess.run(
        [_VENV / "bin" / "pip-licenses", "--python", python, *wanted], check=False
    ).returncode


def sbom(to: Path = DIST) -> int:
    """Write what is in each package of `make package`; give the exit status, not 0 if a list is not valid.

    The same lock gives the same bytes.
    """
    to.mkdir(parents=True, exist_ok=True)
    form = ["--output-format=JSON", "--spec-version=1.6", "--output-reproducible", "--validate"]
    for python in PYTHONS:
        with tempfile.TemporaryDirectory() as folder:
            installed = Path(folder) / "python"
            _unpack(fetch(RUN, python, Path(folder)), Path(folder) / "packages")
            # What is asked of an environment's Python is where its packages are.
            installed.write_text(f"#!/bin/sh\necho '[\"{folder}/packages\"]'\n", encoding="utf-8")
            installed.chmod(0o700)
            ours = [
                f"--pyproject={ROOT / 'pyproject.toml'}",
                f"--output-file={to / package_name(python)}.cdx.json",
            ]
            command: list[str | Path] = [
                _VENV / "bin" / "cyclonedx-py",
                "environment",
                *form,
                *ours,
                installed,
            ]
            ended = subprocess.run(command, check=False)
        if ended.returncode:
            return ended.returncode
    return 0


def _unpack(wheels: Iterable[Path], to: Path) -> None:
    for wheel in wheels:
        for name, content in unpacked(wheel):
            (to / name).parent.mkdir(parents=True, exist_ok=True)
            (to / name).write_bytes(content)


def make() -> None:
    """Make the environments where they are missing or of other versions. Raises CalledProcessError."""
    if _STAMP.is_file() and _STAMP.read_text(encoding="ascii") == _fingerprint():
        return
    shutil.rmtree(_VENV, ignore_errors=True)
    venv.create(_VENV, with_pip=True)
    venv.create(_DEPLOYED, with_pip=False)
    pip = [str(_VENV / "bin" / "python"), "-m", "pip", "--disable-pip-version-check"]
    into = [f"--python={_DEPLOYED / 'bin' / 'python'}", "install", "--quiet", "--require-hashes"]
    subprocess.run([*pip, "install", "--quiet", *_TOOLS], check=True)
    subprocess.run([*pip, *into, f"--requirement={LOCK}"], check=True)
    _STAMP.write_text(_fingerprint(), encoding="ascii")


def _fingerprint() -> str:
    return hashlib.sha256(LOCK.read_bytes() + "\n".join(_TOOLS).encode()).hexdigest()


def main() -> int:
    commands = {"licences": licences, "sbom": sbom, "vulnerabilities": vulnerabilities}
    if sys.argv[1:] not in [[name] for name in commands]:
        print(__doc__, file=sys.stderr)
        return 2
    try:
        make()
    except subprocess.CalledProcessError as error:
        print("the packages could not be installed, see above; try again with a network", file=sys.stderr)
        return error.returncode
    return commands[sys.argv[1]]()


if __name__ == "__main__":
    sys.exit(main())
