"""A VM in a folder: install.sh works below it, with stand-ins for what would touch this machine's own."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

from app.base.program import APP_ROOT
from tests.commands import Ended, ended

NAME = "microshare-forwarder"
INSTALL = APP_ROOT / "deploy" / "vm" / "install.sh"
_PATIENCE_S = 240


# What is no part of a tree that somebody has fetched, or is large and not needed.
_NOT_FETCHED = shutil.ignore_patterns(
    ".git", ".venv", ".venvs", "node_modules", "dist", ".env", "__pycache__", ".*_cache", ".demo", ".scenario"
)


def copy_tree(to: Path) -> None:
    """Copy this tree as somebody fetches it."""
    shutil.copytree(APP_ROOT, to, ignore=_NOT_FETCHED)


def build_wheel(tree: Path, folder: Path) -> Path:
    """Build the wheel of a tree into a folder that has no other."""
    build = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder)]
    subprocess.run(build, cwd=tree, check=True, capture_output=True)
    [built] = folder.glob("*.whl")
    return built


class Vm:
    """A root with stand-ins for `systemctl` and `useradd`, which note how they are called."""

    def __init__(
        self, root: Path, os_release: str = 'PRETTY_NAME="Debian 12"\nID=debian\nVERSION_ID="12"\n'
    ) -> None:
        self.root = root
        self.base = root / "opt" / NAME
        self.settings = root / "etc" / NAME / "env"
        self.state = root / "var" / "lib" / NAME
        self.units = root / "etc" / "systemd" / "system"
        (root / "etc").mkdir(parents=True)
        (root / "etc" / "os-release").write_text(os_release)
        # In front of all that this machine has; what a test puts here is what install.sh finds.
        self.bin = root / "fakes"
        self.bin.mkdir()
        made = f"{NAME}:x:{os.getuid()}:{os.getgid()}::/var/lib/{NAME}:/usr/sbin/nologin"
        self.put("useradd", f'echo "useradd $*" >>{root}/calls; echo "{made}" >>{root}/etc/passwd')
        self.put("systemctl", f'echo "systemctl $*" >>{root}/calls')

    def put(self, command: str, script: str) -> Path:
        """Give a name on the PATH another meaning."""
        path = self.bin / command
        path.write_text(f"#!/bin/sh\n{script}\n")
        path.chmod(0o755)
        return path

    def install(self, *words: str | Path, script: Path = INSTALL) -> Ended:
        """Call install.sh; nobody is there to answer it."""
        environ = {
            **os.environ,
            "PATH": f"{self.bin}:{os.environ['PATH']}",
            "SYSTEMCTL": str(self.bin / "systemctl"),
        }
        return ended([script, "--root", self.root, *words], "/", environ, _PATIENCE_S)

    def call(self, *words: str) -> Ended:
        """Call the command that is in use, with the settings and the state of this VM."""
        environ = {"PATH": os.environ["PATH"], "HOME": str(self.state), "STATE_DIR": str(self.state)}
        environ["XDG_CONFIG_HOME"] = str(self.root / "etc")
        return ended([self.base / "current" / "bin" / NAME, *words], "/", environ, _PATIENCE_S)

    @property
    def in_use(self) -> str:
        """The release that `current` leads to."""
        return (self.base / "current").readlink().name

    @property
    def releases(self) -> set[str]:
        return {path.name for path in (self.base / "releases").iterdir()}

    @property
    def calls(self) -> list[str]:
        calls = self.root / "calls"
        return calls.read_text().splitlines() if calls.exists() else []

    def snapshot(self) -> dict[str, tuple[int, bytes]]:
        """Give all that lies below the root, so that two of them can be compared."""
        return {
            str(path.relative_to(self.root)): (
                path.lstat().st_mode,
                bytes(path.readlink()) if path.is_symlink() else path.read_bytes() if path.is_file() else b"",
            )
            for path in self.root.rglob("*")
        }


def small_wheel(folder: Path, version: str, *, refuses: str = "", runs: bool = True, needs: str = "") -> Path:
    """Make a wheel of the forwarder's name that needs little: it tells its version and checks its settings.

    It refuses settings that hold the text `refuses`, and where it does not run, fails as a damaged one does.
    """
    program = (
        _PROGRAM.format(version=version, refuses=refuses) if runs else "import a_module_that_is_missing\n"
    )
    command = f"[console_scripts]\n{NAME} = microshare_forwarder:main\n"
    return package_wheel(folder, NAME, version, program, needs=needs, command=command)


def package_wheel(
    folder: Path, name: str, version: str, program: str = "", *, needs: str = "", command: str = ""
) -> Path:
    """Make a wheel of one module, which may need one other package."""
    module = name.replace("-", "_")
    info = f"{module}-{version}.dist-info"
    needed = f"Requires-Dist: {needs}\n" if needs else ""
    files = {
        f"{module}/__init__.py": program,
        f"{info}/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n{needed}",
        f"{info}/WHEEL": "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
        f"{info}/entry_points.txt": command,
    }
    files[f"{info}/RECORD"] = "".join(f"{file},,\n" for file in [*files, f"{info}/RECORD"])
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{module}-{version}-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as wheel:
        for name, content in files.items():
            wheel.writestr(name, content)
    return path


_PROGRAM = """\
import os, pathlib, sys
def main():
    if sys.argv[1] == "--version":
        print("microshare-forwarder {version}")
        sys.exit(0)
    settings = pathlib.Path(os.environ["XDG_CONFIG_HOME"], "microshare-forwarder", "env").read_text()
    refused = "{refuses}" != "" and "{refuses}" in settings
    print("MICROSHARE_IDENTITY: not accepted" if refused else "nothing is wrong")
    sys.exit(2 if refused else 0)
"""
