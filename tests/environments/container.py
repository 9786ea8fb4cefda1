"""An image built of the Dockerfile by hand, and containers of it: a root of its own, without an engine.

A root holds the system of this host, read-only, in place of the base image: its /usr, and the Python that
runs the tests. All else is what the Dockerfile puts there. Needs root, and leave to mount (unshare).
"""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from tests.commands import Ended
from tests.environments.deployment import in_context
from tests.environments.dockerfile import Dockerfile, Stage

# What a process finds on the path of the base image.
_PATH = f"{sys.base_prefix}/bin:/usr/local/bin:/usr/bin:/bin"
# Does a command in a root. The image has Python's own library compiled: here an empty folder stands for it.
_ENTER = """
set -e
root=$1; mode=$2; shift 2
mount --make-rprivate /
mount --bind "$root" "$root"
mkdir -p "$root/usr" "$root/proc" "$root/dev" "$root{base}" "$root/wheelhouse" "$root/tmp"
for link in bin sbin lib lib64; do [ ! -L /$link ] || ln -sfn "$(readlink /$link)" "$root/$link"; done
mount --bind /usr "$root/usr"
mount -o remount,ro,bind "$root/usr"
mount --bind /dev "$root/dev"
mount --rbind /proc "$root/proc"
[ -d "$root/usr{base}" ] || mount --bind "{base}" "$root{base}"
mount -o remount,ro,bind "$root{base}" || true
if [ "$mode" = build ]; then
  mount -t tmpfs tmpfs "$root/usr/local/lib"; mkdir "$root/usr/local/lib/python3.12"
  mount --bind "{wheelhouse}" "$root/wheelhouse"
else
  mount --bind "$root.state" "$root{volume}"
  mount -o remount,ro,bind "$root"
  mount -t tmpfs tmpfs "$root/tmp"
fi
exec chroot $CHROOT "$root" /usr/bin/env -i "$@"
"""


class CannotMount(Exception):
    """This account, or this kernel, lets nobody make a root of its own."""


@dataclass(frozen=True, slots=True)
class Image:
    """What the Dockerfile makes, in the folder `root`."""

    root: Path
    dockerfile: Dockerfile
    wheelhouse: Path

    def files(self) -> list[str]:
        """Give the files that the image has beside those of its base."""
        return sorted(
            str(path.relative_to(self.root))
            for folder in ("opt", "var", "etc", "run")
            for path in (self.root / folder).rglob("*")
            if path.is_file()
        )

    def start(self, *words: str) -> subprocess.Popen[str]:
        """Start a container by its entry point; without words as it does by itself."""
        return subprocess.Popen(
            self._entered([*self.dockerfile.entry, *(words or self.dockerfile.words)]),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, "CHROOT": f"--userspec={self.dockerfile.user} --groups="},
        )

    def call(self, command: list[str]) -> Ended:
        """Run a command in a container of it."""
        environ = {**os.environ, "CHROOT": f"--userspec={self.dockerfile.user} --groups="}
        done = subprocess.run(
            self._entered(command), capture_output=True, text=True, check=False, env=environ
        )
        return Ended(done.returncode, done.stdout, done.stderr)

    def _entered(self, command: list[str]) -> list[str]:
        return _in_root(
            self.root, "run", self.dockerfile, self.wheelhouse, self.dockerfile.variables, command
        )


def build(tree: Path, folder: Path, wheelhouse: Path) -> Image:
    """Build the image of a tree. Raises CannotMount, or CalledProcessError where a step fails."""
    if subprocess.run(["unshare", "--mount", "true"], check=False, capture_output=True).returncode:
        raise CannotMount
    context = folder / "context"
    for path in in_context(tree):
        (context / path).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(tree / path, context / path)
    dockerfile = Dockerfile.read(tree / "Dockerfile")
    roots: dict[str, Path] = {}
    for number, stage in enumerate(dockerfile.stages):
        roots[stage.name] = root = folder / f"stage{number}"
        for name in ("etc", "run/secrets", "var", "opt"):
            (root / name).mkdir(parents=True)
        shutil.copytree("/etc/ssl", root / "etc/ssl")
        _carry_out(stage, root, roots, context, dockerfile, wheelhouse)
    state = folder / f"{root.name}.state"
    shutil.copytree(root / dockerfile.volume.lstrip("/"), state)
    status = (root / dockerfile.volume.lstrip("/")).stat()
    os.chown(state, status.st_uid, status.st_gid)
    return Image(root, dockerfile, wheelhouse)


def _carry_out(
    stage: Stage,
    root: Path,
    roots: Mapping[str, Path],
    context: Path,
    dockerfile: Dockerfile,
    wheelhouse: Path,
) -> None:
    inside = "/"
    for word, rest in stage.steps:
        if word == "WORKDIR":
            inside = rest
            (root / inside.lstrip("/")).mkdir(parents=True, exist_ok=True)
        elif word == "COPY":
            *sources, to = shlex.split(_filled(rest, dockerfile))
            taken = context
            if sources[0].startswith("--from="):
                taken = roots[sources.pop(0).removeprefix("--from=")]
            target = root / (to if to.startswith("/") else f"{inside}/{to}").lstrip("/")
            for source in sources:
                found = taken / source.lstrip("/")
                if found.is_dir():
                    shutil.copytree(found, target, symlinks=True, dirs_exist_ok=True)
                else:
                    shutil.copy(found, target)
        else:
            variables = {"PIP_NO_INDEX": "1", "PIP_FIND_LINKS": "/wheelhouse", **stage.variables}
            command = ["sh", "-ec", f"cd {inside}; {_filled(rest, dockerfile)}"]
            done = subprocess.run(
                _in_root(root, "build", dockerfile, wheelhouse, variables, command),
                capture_output=True,
                text=True,
                check=False,
            )
            assert done.returncode == 0, f"{rest}\n{done.stdout}\n{done.stderr}"


def _filled(rest: str, dockerfile: Dockerfile) -> str:
    return re.sub(r"\$\{(\w+)\}", lambda found: dockerfile.arguments[found[1]], rest)


def _in_root(
    root: Path,
    mode: str,
    dockerfile: Dockerfile,
    wheelhouse: Path,
    variables: Mapping[str, str],
    command: list[str],
) -> list[str]:
    filled = {"PATH": _PATH} | {name: value.replace("$PATH", _PATH) for name, value in variables.items()}
    enter = (
        _ENTER.replace("{base}", sys.base_prefix)
        .replace("{wheelhouse}", str(wheelhouse))
        .replace("{volume}", dockerfile.volume)
    )
    environ = [f"{name}={value}" for name, value in filled.items()]
    return ["unshare", "--mount", "sh", "-c", enter, "sh", str(root), mode, *environ, *command]
