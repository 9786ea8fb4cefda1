"""Commands and how they end; and settings for those that ask nothing of anybody."""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from app.base.program import APP_ROOT

# The entries of config.yaml, by the names of their feeds; one that is added there is in every test of this.
FEEDS: dict[str, dict[str, Any]] = yaml.safe_load((APP_ROOT / "config.yaml").read_text())["feeds"]
HUB = "example.servicebus.windows.net/counts"
FALSE_KEY = "obviously-false-shared-access-key"
ENVIRONMENT = {
    "MICROSHARE_USERNAME": "svc@example.test",
    "MICROSHARE_PASSWORD": "obviously-false-password",
    "MICROSHARE_IDENTITY": "com.example.NORTH",
    "MICROSHARE_PC_DEVICE_CLUSTER_ID": "aaaaaaaaaaaaaaaaaaaaaa01",
    "MICROSHARE_PC_DASHBOARD_VIEW_ID": "ffffffffffffffffffffff0a",
    "EVENT_HUB_CONNECTION_STRING": (
        "Endpoint=sb://example.servicebus.windows.net/;SharedAccessKeyName=sender;"
        f"SharedAccessKey={FALSE_KEY};EntityPath=counts"
    ),
}


@dataclass(frozen=True, slots=True)
class Ended:
    """How a command ended."""

    status: int
    out: str
    err: str

    @property
    def objects(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.out.splitlines()]


Call = Callable[..., Ended]


def ended(
    command: Sequence[str | Path], folder: Path | str, environ: Mapping[str, str], patience_s: float
) -> Ended:
    """Run a command to its end; nobody is there to answer it."""
    done = subprocess.run(
        command,
        cwd=folder,
        env=environ,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
        timeout=patience_s,
    )
    return Ended(done.returncode, done.stdout, done.stderr)


def variables_of(feed: str) -> set[str]:
    """Give the variables that stand in a feed's entry of config.yaml."""
    return set(re.findall(r"\$\{(\w+)", json.dumps(FEEDS[feed])))


def of_two_feeds(config: str) -> str:
    """Give the text of config.yaml with people counts and snapshots alone, whatever other feeds it has."""
    head, feeds, rest = re.split(r"(?ms)(^feeds:\n.*?)(?=^event_hubs:)", config)
    others = r"(?ms)^  (?!people_counter:|hourly_snapshot:)\w+:$.*?(?=^  \w+:$|\Z)"
    return head + re.sub(others, "", feeds).rstrip() + "\n\n" + rest
