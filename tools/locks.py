"""The locks: what each list of requirements comes to, to the last package, with the hash of each file.

python -m tools.locks               writes them, keeping the versions that they have
python -m tools.locks --upgrade     writes them with the newest versions that the lists allow

They hold for every Python and system that the forwarder runs on: a marker says where a package is needed.
"""

from __future__ import annotations

import re
import subprocess
import sys
import venv
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parent.parent
PYTHONS = ("3.11", "3.12", "3.13")
RUN, TELEMETRY, DEV = "requirements.lock", "requirements-telemetry.lock", "requirements-dev.lock"
# What each lock is of. The first is also a constraint of the others, so that a package has one version.
LOCKS: Mapping[str, Sequence[str]] = {
    RUN: ("requirements.txt",),
    TELEMETRY: ("requirements.txt", "requirements-telemetry.txt"),
    DEV: ("requirements-dev.txt",),
}

_UV = "uv==0.13.9"
_VENV = ROOT / ".venvs" / "lock"
_ENTRY = re.compile(r"(?m)^(?P<wanted>[a-z0-9][^\\\n]*?) *\\?\n(?P<below>(?:    .*\n)*)")
_HASH = re.compile(r"--hash=(sha256:[0-9a-f]{64})")
_ASKED_BY = re.compile(r"(?m)# +(?:via )?-r (\S+)$")


@dataclass(frozen=True, slots=True)
class Locked:
    """A package of a lock, one version of it; `asked_by` are the lists that name it themselves."""

    wanted: Requirement
    hashes: tuple[str, ...]
    asked_by: frozenset[str]

    @property
    def name(self) -> str:
        return canonicalize_name(self.wanted.name)

    @property
    def version(self) -> str:
        return str(self.wanted.specifier).removeprefix("==")

    def is_for(self, python: str) -> bool:
        """Say whether it is needed on such a Python, on Linux."""
        return self.wanted.marker is None or self.wanted.marker.evaluate(linux(python))


def linux(python: str) -> dict[str, str]:
    """Give what markers ask, of a CPython like 3.12 on Linux."""
    return {
        "implementation_name": "cpython",
        "implementation_version": f"{python}.0",
        "os_name": "posix",
        "platform_machine": "x86_64",
        "platform_python_implementation": "CPython",
        "platform_system": "Linux",
        "python_full_version": f"{python}.0",
        "python_version": python,
        "sys_platform": "linux",
        "extra": "",
    }


def read_lock(text: str) -> list[Locked]:
    """Give the packages of a lock, in its order."""
    return [
        Locked(
            Requirement(found["wanted"]),
            tuple(_HASH.findall(found["below"])),
            frozenset(_ASKED_BY.findall(found["below"])),
        )
        for found in _ENTRY.finditer(text)
    ]


def read_lists(files: Sequence[str], root: Path = ROOT) -> Iterator[tuple[str, Requirement]]:
    """Give what lists ask for, each with the list that names it; lines with -r lead to further lists."""
    for file in files:
        for line in (root / file).read_text(encoding="utf-8").splitlines():
            written = line.partition("#")[0].strip()
            if written.startswith("-r "):
                yield from read_lists([written.removeprefix("-r ").strip()], root)
            elif written:
                yield file, Requirement(written)


def differences(asked: Sequence[tuple[str, Requirement]], locked: Sequence[Locked]) -> list[str]:
    """Say where a lock does not answer to the lists that it is of; nobody is asked for that."""
    named = {(canonicalize_name(wanted.name), file) for file, wanted in asked}
    found = {(package.name, file) for package in locked for file in package.asked_by}
    told = [f"{name} of {file} is not in it" for name, file in sorted(named - found)]
    told += [f"{name} is not in {file} any more" for name, file in sorted(found - named)]
    for file, wanted in asked:
        for python in PYTHONS:
            if wanted.marker is not None and not wanted.marker.evaluate(linux(python)):
                continue
            versions = [one.version for one in locked if _is(one, wanted) and one.is_for(python)]
            if (canonicalize_name(wanted.name), file) in found and not any(
                wanted.specifier.contains(version, prereleases=True) for version in versions
            ):
                told.append(
                    f"{wanted} of {file} is {' and '.join(versions) or 'missing'} for Python {python}"
                )
    told += [f"{package.name} has no hash" for package in locked if not package.hashes]
    return list(dict.fromkeys(told))


def _is(package: Locked, wanted: Requirement) -> bool:
    return package.name == canonicalize_name(wanted.name)


def write(*, upgrade: bool) -> None:
    """Write all of them. Raises CalledProcessError, having said why."""
    uv = _VENV / "bin" / "uv"
    if not uv.exists():
        venv.create(_VENV, with_pip=True)
    pip = [str(_VENV / "bin" / "python"), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    subprocess.run([*pip, _UV], check=True)
    made = ["--generate-hashes", "--universal", "--python-version", PYTHONS[0], "--quiet"]
    made += ["--no-config", "--custom-compile-command", "make lock"]
    for lock, lists in LOCKS.items():
        bounds = [] if lock == RUN else ["--constraint", RUN]
        newest = ["--upgrade"] if upgrade else []
        command = [str(uv), "pip", "compile", *made, *bounds, *newest, "--output-file", lock, *lists]
        subprocess.run(command, cwd=ROOT, check=True)


def main() -> int:
    if sys.argv[1:] not in ([], ["--upgrade"]):
        print(__doc__, file=sys.stderr)
        return 2
    try:
        write(upgrade=bool(sys.argv[1:]))
    except subprocess.CalledProcessError as error:
        print("the locks could not be made, see above; try again with a network", file=sys.stderr)
        return error.returncode
    return 0


if __name__ == "__main__":
    sys.exit(main())
