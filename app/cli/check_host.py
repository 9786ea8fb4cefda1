"""The part of `check` that asks nobody: versions, schedules, the disk that holds the state."""

from __future__ import annotations

import json
import platform
import re
import shutil
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from datetime import date, datetime, timedelta
from importlib.metadata import PackageNotFoundError, version
from itertools import islice, pairwise
from pathlib import Path
from typing import Any, Final

from app.base.budget import GRACE
from app.base.instants import format_time
from app.base.program import APP_ROOT, INSTALLED
from app.base.text import dashed, in_shown_zone, shown, span, zone_name
from app.base.version import VERSION
from app.cli.check_results import CheckResult, CheckResults, doubt, fault
from app.eventhub.encoding import COMPARED_WITH
from app.settings.ncrontab import times_after
from app.settings.places import find_env_file
from app.settings.rights import too_open
from app.settings.schema import FeedSettings, Settings

# When each Python that this runs on gets no more security fixes (the developer's guide of Python).
_SUPPORTED_UNTIL = {(3, 11): date(2027, 10, 31), (3, 12): date(2028, 10, 31), (3, 13): date(2029, 10, 31)}
_NEWEST = ".".join(map(str, max(_SUPPORTED_UNTIL)))
_ENDS_SOON = timedelta(days=180)
_NAMED = ("azure-functions", "azure-eventhub", "azure-data-tables")
_PIN = re.compile(r"(?m)^([A-Za-z0-9._-]+)==([^\s;]+)")
_TIMES_SHOWN = 5
# An instance takes one message and no other until its run has ended; the next tick is the retry.
_QUEUES: Final = {"batchSize": 1, "newBatchThreshold": 0, "maxDequeueCount": 1}
_BUNDLE: Final = "Microsoft.Azure.Functions.ExtensionBundle"
_SPACE_BYTES = 200 * 1024 * 1024
_NETWORK = re.compile(r"nfs\d?|cifs|smb\w*|9p|afs|ceph|lustre|davfs|fuse\..*")
_VOLATILE = ("tmpfs", "ramfs")
# How a space in the name of a mount point is written.
_ESCAPED = re.compile(r"\\([0-7]{3})")


def check_versions(findings: CheckResults, today: date) -> None:
    """Tell the versions of the forwarder, of Python, and of what was installed against what is pinned."""
    requirements = APP_ROOT / "requirements.txt"
    pins = requirements.read_text(encoding="utf-8") if requirements.is_file() else ""
    installed = {name: _installed(name) for name in dict.fromkeys([*_NAMED, *_pinned(pins)])}
    packages = ", ".join(f"{name} {installed[name] or 'missing'}" for name in _NAMED)
    versions = {"forwarder": VERSION, "python": platform.python_version(), **installed}
    said = f"forwarder {VERSION}, Python {versions['python']}, {packages}"
    findings.well("versions", said, versions=versions)
    for finding in (
        python_finding(sys.version_info[:2], today),
        packages_finding(installed, _pinned(pins)),
        encoding_finding(installed["azure-eventhub"]),
    ):
        if finding is not None:
            findings.tell(finding)


def python_finding(running: tuple[int, int], today: date) -> CheckResult | None:
    """Say what is wrong with a version of Python; None where nothing is."""
    name = ".".join(map(str, running))
    until = _SUPPORTED_UNTIL.get(running)
    if until is None:
        known = ", ".join(".".join(map(str, one)) for one in _SUPPORTED_UNTIL)
        return fault("versions", f"Python {name} is not one that this is made for ({known}); use {_NEWEST}")
    if today > until:
        return fault("versions", f"Python {name} gets no security fixes since {until}; move to {_NEWEST}")
    if today > until - _ENDS_SOON:
        return doubt("versions", f"Python {name} gets security fixes until {until} only; move to {_NEWEST}")
    return None


def packages_finding(
    installed: Mapping[str, str | None], pinned: Mapping[str, frozenset[str]]
) -> CheckResult | None:
    """Say which packages are missing, or others than those that this was tested with."""
    missing = [name for name in pinned if installed[name] is None]
    do = "`pip install -r requirements.txt` in the environment that runs this"
    if missing:
        return fault("versions", f"not installed: {', '.join(missing)}; {do}")
    others = [
        f"{name} {installed[name]} for {' or '.join(sorted(wanted))}"
        for name, wanted in pinned.items()
        if installed[name] not in wanted
    ]
    return (
        doubt("versions", f"installed in place of what is pinned: {', '.join(others)}; {do}")
        if others
        else None
    )


def encoding_finding(installed: str | None) -> CheckResult | None:
    """Say that events are encoded by the slower way, for another version of the SDK than is known."""
    if installed in (None, COMPARED_WITH):
        return None
    return doubt(
        "versions",
        f"events are encoded by azure-eventhub {installed} itself, at ten times the cost: what is known of "
        f"its encoding is of {COMPARED_WITH}; `pip install azure-eventhub=={COMPARED_WITH}`",
    )


def check_schedule(feed: FeedSettings, settings: Settings, findings: CheckResults, now: datetime) -> None:
    """Tell when a feed's timer fires next."""
    check = f"schedule of {dashed(feed.name)}"
    times = list(islice(times_after(feed.schedule, now), _TIMES_SHOWN))
    if not times:
        findings.failed(check, f"{feed.schedule!r} never fires: no month has that day; correct it")
        return
    shown = ", ".join(_written(times))
    findings.well(
        check, f"{feed.schedule!r}, next {shown} {zone_name()}", next=[format_time(at) for at in times]
    )
    longest = settings.run.budget + GRACE
    shortest = min((later - at for at, later in pairwise(times)), default=longest)
    if shortest < longest:
        findings.warn(
            check,
            f"it fires every {span(shortest.total_seconds())}, and a run may take "
            f"{span(longest.total_seconds())}; lower run.budget, or let it fire less often: runs "
            "that meet another are skipped",
        )


def check_host_file(settings: Settings, findings: CheckResults) -> None:
    """Tell what host.json lacks for shards that are run from a queue; it is not looked at without them.

    A wheel has none: that of the app in Azure is elsewhere then.
    """
    path = APP_ROOT / "host.json"
    if settings.scale_out is None or INSTALLED:
        return
    try:
        problems = list(host_file_problems(json.loads(path.read_text(encoding="utf-8-sig"))))
    except (OSError, ValueError, RecursionError):
        problems = ["cannot be read as JSON"]
    if problems:
        todo = "; take the one that came with this version, or put that into it"
        findings.failed("queue", f"{path}: {', '.join(problems)}{todo}")
    else:
        findings.well("queue", "by host.json an instance takes one shard at a time, and none again")


def host_file_problems(host: Any) -> Iterator[str]:
    """Say what host.json has otherwise than shards from a queue need it."""
    bundle = _at(host, "extensionBundle", "id")
    if bundle != _BUNDLE:
        yield f"lacks extensionBundle.id {_BUNDLE}, which has queues"
    for name, needed in _QUEUES.items():
        found = _at(host, "extensions", "queues", name)
        if found != needed or isinstance(found, bool):
            seen = "lacks" if found is None else f"has {shown(found)} as"
            yield f"{seen} extensions.queues.{name}, which is to be {needed}"
    if (encoding := _at(host, "extensions", "queues", "messageEncoding")) not in (None, "base64"):
        yield f"has {shown(encoding)} as extensions.queues.messageEncoding, which is to be base64"


def _at(found: Any, *keys: str) -> Any:
    for key in keys:
        found = found.get(key) if isinstance(found, Mapping) else None
    return found


def check_rights(settings: Settings, findings: CheckResults) -> None:
    """Tell which files of the settings and the state are open to every account of this machine."""
    for told in too_open(find_env_file(), settings.state):
        findings.tell(doubt("rights of files", told))


def check_disk(directory: Path, findings: CheckResults) -> None:
    """Tell where the folder of the JSON store is no good place, though it can be written."""
    kind = None
    # Not every system tells; then there is nothing to say.
    with suppress(OSError):
        kind = mount_type(directory.resolve(), Path("/proc/self/mountinfo").read_text(encoding="utf-8"))
    with suppress(OSError):
        for finding in disk_findings(directory, kind, shutil.disk_usage(directory).free):
            findings.tell(finding)


def disk_findings(directory: Path, kind: str | None, free_bytes: int) -> Iterator[CheckResult]:
    if kind is not None and _NETWORK.fullmatch(kind):
        yield doubt(
            "state",
            f"{directory} is on a network share ({kind}), where locks may not hold and a rename may be lost; "
            "set STATE_DIR to a folder on a local disk, or STATE_STORE=table",
        )
    if kind in _VOLATILE:
        yield doubt(
            "state",
            f"{directory} is in memory ({kind}) and gone after a restart, and so are all positions; set "
            "STATE_DIR to a folder on a disk",
        )
    if free_bytes < _SPACE_BYTES:
        yield doubt(
            "state", f"{directory} has {free_bytes / 1e6:,.0f} MB left; free space, no run can save without"
        )


def mount_type(path: Path, mountinfo: str) -> str | None:
    """Give the type of the file system that holds a path, by Linux' /proc/self/mountinfo."""
    found: tuple[int, str] | None = None
    for line in mountinfo.splitlines():
        fields, _, rest = line.partition(" - ")
        try:
            point = Path(_ESCAPED.sub(lambda code: chr(int(code[1], 8)), fields.split()[4]))
            kind = rest.split()[0]
        except IndexError:
            continue
        # Of mounts over one another the last one counts.
        if path.is_relative_to(point) and (found is None or len(point.parts) >= found[0]):
            found = len(point.parts), kind
    return found and found[1]


def _written(times: Sequence[datetime]) -> Iterator[str]:
    """Write times without the days that need not be written again."""
    to = len("2026-03-02T12:00:00" if any(at.second for at in times) else "2026-03-02T12:00")
    day = None
    for at in map(in_shown_zone, times):
        yield str(at)[len("2026-03-02 ") if at.date() == day else 0 : to]
        day = at.date()


def _installed(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def _pinned(requirements: str) -> dict[str, frozenset[str]]:
    """Give the versions that a package may have: another one for each Python."""
    pins: dict[str, frozenset[str]] = {}
    for name, wanted in _PIN.findall(requirements):
        pins[name] = pins.get(name, frozenset()) | {wanted}
    return pins
