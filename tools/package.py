"""Packages for Azure Functions, with all that runs: nothing is built or fetched where one is deployed.

python -m tools.package [--telemetry] [--to FOLDER] [PYTHON ...]

makes FOLDER/microshare-forwarder-VERSION-functions-pythonPYTHON.zip and its checksum, for each PYTHON like
3.12, on Linux x86-64. In it is what .funcignore lets in, and the files of the lock, unpacked, in
`.python_packages/lib/site-packages`. Any Python can make one for another. The same tree and lock give the
same bytes.
"""

from __future__ import annotations

import argparse
import hashlib
import re
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

from app.base.version import VERSION
from tools.locks import ROOT, RUN, TELEMETRY, Locked, read_lock

# Those that Azure Functions has, of those that the forwarder runs on, and that it will have for years.
PYTHONS = ("3.12", "3.13")
PACKAGES = ".python_packages/lib/site-packages"

# What the platform's image can load: glibc 2.28 and all before.
_PLATFORMS = (
    "manylinux_2_28_x86_64",
    "manylinux_2_17_x86_64",
    "manylinux2014_x86_64",
    "manylinux_2_12_x86_64",
)
_PLATFORMS_OF_OLD = ("manylinux2010_x86_64", "manylinux_2_5_x86_64", "manylinux1_x86_64", "linux_x86_64")
# The earliest that a zip can hold; what is deployed is not judged by its age.
_NO_TIME = (1980, 1, 1, 0, 0, 0)
_FILE = 0o100644 << 16


def let_in(root: Path = ROOT) -> list[str]:
    """Give the paths of all files that `.funcignore` lets in, sorted.

    Only its lines with ! count, as whole paths: ** is any folders, * anything but a slash. Those that let in
    folders are for readers that go by git's rules.
    """
    lines = (root / ".funcignore").read_text(encoding="utf-8").splitlines()
    globs = [line[2:] for line in lines if line.startswith("!/") and not line.endswith("/")]
    found = {path for glob in globs for path in root.glob(glob) if path.is_file() and not path.is_symlink()}
    paths = (path.relative_to(root) for path in found)
    # Of folders the lines let in those that begin with a letter.
    return sorted(path.as_posix() for path in paths if all(part[0].isalpha() for part in path.parts[:-1]))


def unpacked(wheel: Path) -> Iterator[tuple[str, bytes]]:
    """Give the files of a wheel where they are imported from; scripts, headers and manuals are left out."""
    with zipfile.ZipFile(wheel) as archive:
        for name in archive.namelist():
            if name.endswith("/"):
                continue
            of_data = re.fullmatch(r"[^/]+\.data/(?P<kind>[^/]+)/(?P<path>.+)", name)
            if of_data is None:
                yield name, archive.read(name)
            elif of_data["kind"] in ("purelib", "platlib"):
                yield of_data["path"], archive.read(name)


def gathered(tree: Mapping[str, bytes], wheels: Iterable[Path]) -> dict[str, bytes]:
    """Give all files of a package by their paths. Raises ValueError where two wheels disagree on one."""
    files = dict(tree)
    for wheel in wheels:
        for name, content in unpacked(wheel):
            path = f"{PACKAGES}/{name}"
            if files.setdefault(path, content) != content:
                raise ValueError(f"{name} is in {wheel.name} and in another wheel, and not the same")
    return files


def write_zip(files: Mapping[str, bytes], to: Path) -> None:
    """Write them sorted, of no time and nobody, so that the same files are the same bytes."""
    with zipfile.ZipFile(to, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as archive:
        for path in sorted(files):
            entry = zipfile.ZipInfo(path, _NO_TIME)
            entry.compress_type, entry.external_attr, entry.create_system = zipfile.ZIP_DEFLATED, _FILE, 3
            archive.writestr(entry, files[path])


def needed(locked: Iterable[Locked], python: str) -> str:
    """Write what of a lock such a Python needs, without markers: pip judges those by its own Python."""
    lines = (
        " ".join([f"{one.name}=={one.version}", *(f"--hash={found}" for found in one.hashes)])
        for one in locked
        if one.is_for(python)
    )
    return "".join(f"{line}\n" for line in lines)


def fetch(lock: str, python: str, to: Path) -> list[Path]:
    """Give the wheels of a lock for such a Python, each checked by its hash. Raises CalledProcessError."""
    wanted = to / "requirements.txt"
    wanted.write_text(needed(read_lock((ROOT / lock).read_text(encoding="utf-8")), python), encoding="ascii")
    pip = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-deps"]
    of_platform = [f"--platform={name}" for name in (*_PLATFORMS, *_PLATFORMS_OF_OLD)]
    of_python = ["--only-binary=:all:", "--implementation=cp", f"--python-version={python}"]
    asked = ["--require-hashes", f"--dest={to}", f"--requirement={wanted}"]
    subprocess.run([*pip, *of_platform, *of_python, *asked], check=True)
    return sorted(to.glob("*.whl"))


def package_name(python: str, *, telemetry: bool = False) -> str:
    with_it = "-telemetry" if telemetry else ""
    return f"microshare-forwarder-{VERSION}-functions{with_it}-python{python}"


def make(python: str, to: Path, *, telemetry: bool = False) -> Path:
    """Make a package and its checksum; give the package. Raises CalledProcessError, ValueError."""
    tree = {path: (ROOT / path).read_bytes() for path in let_in()}
    with tempfile.TemporaryDirectory() as folder:
        files = gathered(tree, fetch(TELEMETRY if telemetry else RUN, python, Path(folder)))
    to.mkdir(parents=True, exist_ok=True)
    package = to / f"{package_name(python, telemetry=telemetry)}.zip"
    write_zip(files, package)
    digest = hashlib.sha256(package.read_bytes()).hexdigest()
    package.with_name(f"{package.name}.sha256").write_text(f"{digest}  {package.name}\n", encoding="ascii")
    return package


def main(words: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m tools.package", description="Packages for Azure Functions"
    )
    parser.add_argument(
        "python", nargs="*", choices=[*PYTHONS, []], help="for which Python; all unless given"
    )
    parser.add_argument("--telemetry", action="store_true", help="with what TELEMETRY=azure-monitor needs")
    parser.add_argument("--to", type=Path, default=ROOT / "dist", help="the folder; dist unless given")
    given = parser.parse_args(words)
    for python in given.python or PYTHONS:
        try:
            made = make(python, given.to, telemetry=given.telemetry)
        except subprocess.CalledProcessError as error:
            print(f"for Python {python}: the wheels could not be fetched, see above", file=sys.stderr)
            return error.returncode
        print(f"{made}: {made.stat().st_size / 1e6:.0f} MB")
    return 0


if __name__ == "__main__":
    sys.exit(main())
