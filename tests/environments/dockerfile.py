"""A Dockerfile, read as far as ours needs it: its last stage, and the steps of all."""

from __future__ import annotations

import json
import re
import shlex
from dataclasses import dataclass, field
from pathlib import Path


@dataclass(slots=True)
class Stage:
    """A stage: its name, and its steps in their order, each as its word and what follows it."""

    name: str
    steps: list[tuple[str, str]] = field(default_factory=list)
    variables: dict[str, str] = field(default_factory=dict)


@dataclass(slots=True)
class Dockerfile:
    """What it makes. `words` is CMD, `entry` ENTRYPOINT, `health` the command of HEALTHCHECK."""

    stages: list[Stage] = field(default_factory=list)
    arguments: dict[str, str] = field(default_factory=dict)
    labels: dict[str, str] = field(default_factory=dict)
    entry: list[str] = field(default_factory=list)
    words: list[str] = field(default_factory=list)
    health: list[str] = field(default_factory=list)
    user: str = ""
    volume: str = ""

    @property
    def variables(self) -> dict[str, str]:
        """Give what the image sets: what an earlier stage does is gone."""
        return self.stages[-1].variables

    @classmethod
    def read(cls, path: Path) -> Dockerfile:
        """Raises ValueError for an instruction that ours has not had so far."""
        made = cls()
        for line in _lines(path.read_text()):
            word, _, rest = line.partition(" ")
            made._take(word, rest.strip())
        return made

    def _take(self, word: str, rest: str) -> None:
        match word:
            case "ARG":
                name, _, self.arguments[name] = rest.partition("=")
            case "FROM":
                self.stages.append(Stage(rest.rpartition(" AS ")[2]))
            case "RUN" | "COPY" | "WORKDIR":
                self.stages[-1].steps.append((word, rest))
            case "ENV":
                self.stages[-1].variables |= _pairs(rest)
            case "LABEL":
                self.labels |= _pairs(rest)
            case "ENTRYPOINT":
                self.entry = json.loads(rest)
            case "CMD":
                self.words = json.loads(rest)
            case "HEALTHCHECK":
                self.health = json.loads(rest.partition("CMD ")[2])
            case "USER":
                self.user = rest
            case "VOLUME":
                [self.volume] = json.loads(rest)
            case "STOPSIGNAL":
                assert rest == "SIGTERM"
            case _:
                raise ValueError(f"{word} {rest}")


def _lines(text: str) -> list[str]:
    """Give the instructions, a line each, without comments."""
    bare = re.sub(r"(?m)^\s*#.*\n", "", text)
    return [" ".join(line.split()) for line in re.sub(r"\\\n", " ", bare).splitlines() if line.strip()]


def _pairs(rest: str) -> dict[str, str]:
    return dict(word.split("=", 1) for word in shlex.split(rest))
