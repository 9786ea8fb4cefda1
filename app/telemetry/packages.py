"""Whether the packages that telemetry needs are there: they are not installed by default."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence

from app.base.interpreter import is_there
from app.base.log import get_log
from app.base.program import APP_ROOT
from app.run.report import Report
from app.settings.places import given_or_own
from app.settings.sources import SET_BY_AZURE

LISTED_IN = "requirements-telemetry.txt"
_LOADED = ("azure.monitor.opentelemetry.exporter", "opentelemetry.sdk")


def lacking_for_telemetry(
    loaded: Sequence[str] = _LOADED, environ: Mapping[str, str] | None = None
) -> str | None:
    """Say which package TELEMETRY=azure-monitor lacks here, and what to do; None where it lacks none."""
    lacks = next((name for name in loaded if not is_there(name)), None)
    if lacks is None:
        return None
    import shlex

    said = f"nothing is sent: the package {lacks} is not installed, which TELEMETRY=azure-monitor needs"
    if any(given_or_own(environ).get(name) for name in SET_BY_AZURE):
        do = f"put a line `-r {LISTED_IN}` into requirements.txt and deploy again, or set TELEMETRY=none"
    else:
        file = shlex.quote(str(APP_ROOT / LISTED_IN))
        do = f"`{shlex.quote(sys.executable)} -m pip install -r {file}`, or set TELEMETRY=none"
    return f"{said}; {do}"


def telling_instead(lacks: str) -> Callable[[Report, float], None]:
    """Give what a run does in place of sending its telemetry: a line that says what is lacking."""

    def tell(report: Report, _left_s: float) -> None:
        get_log(run=report.run, feed=report.feed).warning("telemetry.failed", error=f"telemetry: {lacks}")

    return tell
