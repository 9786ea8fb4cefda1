"""A run in one line for people: how it ended, what each hub got, what failed, in a few words. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Protocol

from app.base.causes import short_cause
from app.base.grouping import by_key
from app.base.text import counted, dashed, named
from app.run.report import Failure, HubReport, Report, is_note


class Outcome(Protocol):
    """What a run came to, in its own report or in one that was kept."""

    @property
    def hubs(self) -> Mapping[str, HubReport]: ...
    @property
    def failures(self) -> Sequence[Failure]: ...
    @property
    def left(self) -> int: ...
    @property
    def quarantined(self) -> Sequence[object]: ...
    @property
    def gaps(self) -> Sequence[object]: ...
    @property
    def warnings(self) -> Sequence[str]: ...


def in_brief(report: Report, hub_names: Mapping[str, str]) -> str:
    """Give a line such as `people-counter ok 8.3 s, 6 locations: primary +16, backup paused`.

    `hub_names` are the hubs' names by their keys.
    """
    did = "dry run, " if report.dry_run else ""
    ended = "FAILED" if not report.ok else "interrupted after" if report.interrupted else "ok"
    begins = (
        f"{dashed(report.feed)} {did}{ended} {report.took_s:.1f} s, {counted(report.locations, 'location')}"
    )
    hubs = ", ".join(_of_hub(hub_names.get(key, key), hub) for key, hub in report.hubs.items())
    return "; ".join([f"{begins}: {hubs}" if hubs else begins, *_besides(report, hub_names)])


def outcome_in_brief(outcome: Outcome, hub_names: Mapping[str, str]) -> str:
    """Give what each hub got, then what failed or was left: `all 3 hubs +16; Quay+One failed (no answer)`."""
    got = {hub.readings for hub in outcome.hubs.values()}
    if len(got) == 1 < len(outcome.hubs) and not any(
        hub.paused or hub.error for hub in outcome.hubs.values()
    ):
        hubs = [f"all {len(outcome.hubs)} hubs +{got.pop():,}"]
    else:
        hubs = [_of_hub(hub_names.get(key, key), hub) for key, hub in outcome.hubs.items()]
    return "; ".join([*([", ".join(hubs)] if hubs else []), *_besides(outcome, hub_names)])


def _of_hub(name: str, hub: HubReport) -> str:
    if hub.paused:
        return f"{name} paused"
    got = f"{name} +{hub.readings:,}"
    if hub.error is None:
        return got
    failed = f"failed ({short_cause(hub.error)})"
    return f"{got}, then {failed}" if hub.readings else f"{name} {failed}"


def _besides(report: Outcome, hub_names: Mapping[str, str]) -> Iterator[str]:
    """Give what failed of locations or of the whole run, then what is worth a look."""
    of_hubs = {(None, key, hub.error) for key, hub in report.hubs.items()}
    others = [
        failure
        for failure in report.failures
        if (failure.location, failure.hub, failure.error) not in of_hubs
    ]
    causes = by_key(((failure.hub, short_cause(failure.error)), failure) for failure in others)
    for (hub, cause), failures in causes.items():
        yield _failed(hub and hub_names.get(hub, hub), cause, failures)
    if report.left:
        yield f"{counted(report.left, 'location')} left for the next run"
    if report.quarantined:
        yield f"{counted(len(report.quarantined), 'reading')} quarantined"
    if report.gaps:
        yield counted(len(report.gaps), "gap")
    if warnings := sum(not is_note(warning) for warning in report.warnings):
        yield counted(warnings, "warning")


def _failed(hub: str | None, cause: str, failures: Sequence[Failure]) -> str:
    names = [failure.location for failure in failures if failure.location]
    which = named(names) or "the run"
    where = f" at {hub}" if hub else ""
    return f"{which} failed{where} ({cause})"
