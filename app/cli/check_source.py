"""The part of `check` that asks Microshare: login, clock, discovery, views, and the names of locations."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta

from app.base.budget import Budget
from app.base.checkpoints import FeedState
from app.base.clocks import SKEW_TOLERATED, Clocks
from app.base.errors import AuthError, ForwarderError, Interrupted, NoPermission, SourceRefused, WindowTooWide
from app.base.instants import DAY, EPOCH, HOUR, MILLISECOND, MINUTE, floor_to, format_time, utc_now
from app.base.readings import DashboardAnswer, Slice
from app.base.text import counted, dashed, moment, named, said_and_advised, span
from app.cli.check_findings import Finding, Findings
from app.feeds.feed import load_feed, read_answer
from app.microshare.client import MicroshareClient
from app.settings.schema import FeedSettings, Settings

_BUDGET = timedelta(seconds=90)
_BUDGET_FOR_ALL = timedelta(minutes=15)
# The API is shared with people.
_AT_A_TIME = 4
_ASKED_AT_MOST = 20
_NAMED_AT_MOST = 10


@dataclass(frozen=True, slots=True)
class _Asked:
    """What asking for a location came to: under which name, and how many readings, or why not."""

    location: str
    name: str
    readings: int
    error: ForwarderError | None = None


def check_source(
    settings: Settings, states: Mapping[str, FeedState], findings: Findings, *, all_locations: bool
) -> None:
    """Tell of all that is asked of Microshare. `states` are those of the feeds, where they are known."""
    budget = Budget(_BUDGET_FOR_ALL if all_locations else _BUDGET, grace=timedelta(0))
    client = MicroshareClient(settings.microshare, budget)
    rights = _Rights(settings.microshare.username, findings)
    try:
        with findings.of("login"):
            client.login()
            who, where = settings.microshare.username, settings.microshare.api_url
            findings.well("login", f"{who} has a token ({settings.microshare.auth} login) for {where}")
            _check_clock(client, settings, states, findings)
            found: dict[tuple[str, ...], Sequence[str]] = {}
            for feed in settings.feeds.values():
                if not feed.view_id:
                    continue
                if feed.cluster_ids not in found:
                    found[feed.cluster_ids] = _discover(client, feed, findings, rights)
                names = list(dict.fromkeys([*feed.locations, *found[feed.cluster_ids]]))
                if _check_view(client, feed, names, findings, rights):
                    names = _suspects_first(names, feed, states.get(feed.name))
                    chosen = names if all_locations else names[:_ASKED_AT_MOST]
                    _check_locations(client, feed, chosen, len(names), findings)
            rights.tell()
    finally:
        client.close()


def _check_clock(
    client: MicroshareClient, settings: Settings, states: Mapping[str, FeedState], findings: Findings
) -> None:
    client.learn_time(next((feed.cluster_ids for feed in settings.feeds.values() if feed.cluster_ids), ()))
    clocks = Clocks(utc_now(), client.api_time())
    if clocks.api is None:
        findings.warn("clock", clocks.warning() or "")
        return
    seconds = round(clocks.skew.total_seconds(), 1)
    facts = {"skew_s": seconds, "host": format_time(clocks.host), "api": format_time(clocks.api)}
    order = "ahead of" if seconds > 0 else "behind"
    said = (
        f"{span(abs(seconds))} {order} the API's: this host says {moment(clocks.host)}, "
        f"the API {moment(clocks.api)}"
    )
    if clocks.are_apart:
        ended = [found for state in states.values() if (found := state.last_run_ended()) is not None]
        _, do = said_and_advised(clocks.why_apart(max(ended, default=None)))
        findings.tell(Finding("clock", False, f"{said}; no run does anything", do, facts=facts))
    elif abs(clocks.skew) > SKEW_TOLERATED:
        do = "set this host's clock right: `timedatectl set-ntp true` keeps it so"
        findings.tell(Finding("clock", False, said, do, facts=facts))
    else:
        findings.well("clock", said, **facts)


class _Rights:
    """What the token was refused, told once at the end."""

    def __init__(self, username: str, findings: Findings) -> None:
        self._username = username
        self._findings = findings
        self._asked: list[str] = []
        self._refused: list[str] = []

    @contextmanager
    def on(self, what: str, check: str) -> Iterator[None]:
        """Turn what fails inside into a finding, and remember it where rights are why."""
        self._asked.append(what)
        try:
            yield
        except ForwarderError as error:
            if isinstance(error, AuthError | NoPermission | SourceRefused) and not _is_template_fault(error):
                self._refused.append(what)
            self._findings.failed(check, error)

    def tell(self) -> None:
        if self._refused:
            self._findings.failed(
                "rights",
                f"the token is refused {', '.join(self._refused)}; where the id is right, have Read, Query "
                f"and Execute on it granted to {self._username}, and check MICROSHARE_IDENTITY",
            )
        elif self._asked:
            self._findings.well("rights", f"the token may read {', '.join(self._asked)}")


def _is_template_fault(error: ForwarderError) -> bool:
    return isinstance(error, SourceRefused) and "refuses its parameters" in str(error)


def _discover(
    client: MicroshareClient, feed: FeedSettings, findings: Findings, rights: _Rights
) -> Sequence[str]:
    """Check discovery; give the names of the locations that it finds."""
    if not feed.cluster_ids:
        return ()
    with rights.on("the device clusters", "discovery"):
        found = client.discover_locations(feed.cluster_ids)
        owners = sorted({place.owner for place in found.places})
        devices = sum(place.devices for place in found.places)
        findings.well(
            "discovery",
            f"{counted(len(found.places), 'location')} with {counted(devices, 'device')}, "
            f"owned by {', '.join(owners) or 'nobody'}",
        )
        for warning in found.warnings:
            findings.warn("discovery", warning)
        for name in found.collisions:
            findings.failed(
                "discovery", f"{name!r} is owned by two organisations; set MICROSHARE_IDENTITY to one of them"
            )
        return [place.name for place in found.places]
    return ()


def _check_view(
    client: MicroshareClient, feed: FeedSettings, names: Sequence[str], findings: Findings, rights: _Rights
) -> bool:
    """Ask a feed's view for a minute of one location. False where it cannot be asked for any."""
    check = f"view of {dashed(feed.name)}"
    if not names:
        findings.failed(
            check,
            "not asked: no location is known; set MICROSHARE_PC_DEVICE_CLUSTER_ID or MICROSHARE_LOCATIONS",
        )
        return False
    with rights.on(f"view {feed.view_id}", check):
        end = _now(client)
        answer, _ = _ask(client, feed, names[0], Slice(end - MINUTE, end))
        readings = read_answer(load_feed(feed.name).rec_type, names[0], answer)
        findings.well(
            check, f"answers for {names[0]!r}: {counted(len(readings), 'reading')} in the last minute"
        )
        for warning in answer.warnings:
            findings.warn(check, warning)
        return True
    return False


# --- locations that give nothing --------------------------------------------------------------------


def _suspects_first(names: Sequence[str], feed: FeedSettings, state: FeedState | None) -> list[str]:
    """Put first what is named by hand, then what never gave a reading, then what is silent for longest."""

    def suspicion(name: str) -> tuple[bool, datetime, str]:
        known = state.locations.get(name) if state else None
        return name not in feed.locations, (known and known.newest) or EPOCH, name

    return sorted(names, key=suspicion)


def _check_locations(
    client: MicroshareClient, feed: FeedSettings, names: Sequence[str], known: int, findings: Findings
) -> None:
    """Ask for a day of each location: a wrong name is answered with nothing, and with no error."""
    check = f"locations of {dashed(feed.name)}"
    end = _now(client) - feed.settle
    with ThreadPoolExecutor(_AT_A_TIME) as workers:
        asked = list(workers.map(lambda name: _ask_day(client, feed, name, end), names))
    failed = [one for one in asked if one.error is not None and not isinstance(one.error, Interrupted)]
    for one in failed[:_NAMED_AT_MOST]:
        findings.failed(check, str(one.error))
    answered = [one for one in asked if one.error is None]
    silent = [one for one in answered if one.readings == 0]
    more = "" if len(names) == known else "; --all-locations asks for all"
    if silent:
        findings.tell(
            Finding(
                check,
                False,
                f"{len(silent):,} of {counted(len(answered), 'location')} asked for give nothing of the "
                f"last day: {_listed(silent)}",
                _silence_advice(feed, all_silent=len(silent) == len(answered)) + more,
                facts={"locations": [one.location for one in silent]},
            )
        )
    elif answered:
        of = f"all {known:,}" if len(answered) == known else f"{len(answered):,} of {known:,} asked for, all"
        findings.well(check, f"{of} give readings of the last day{more}", locations=[])
    if len(answered) + len(failed) < len(names):
        left = len(names) - len(answered) - len(failed)
        findings.warn(check, f"{left:,} could not be asked for in time; the API is slow, try later")


def _ask_day(client: MicroshareClient, feed: FeedSettings, name: str, end: datetime) -> _Asked:
    asked_as = name
    try:
        try:
            answer, asked_as = _ask(client, feed, name, Slice(end - DAY, end))
        except WindowTooWide:
            answer, asked_as = _ask(client, feed, name, Slice(end - HOUR, end))
        readings = read_answer(load_feed(feed.name).rec_type, name, answer)
    except ForwarderError as error:
        return _Asked(name, asked_as, 0, error)
    return _Asked(name, asked_as, len(readings))


def _ask(
    client: MicroshareClient, feed: FeedSettings, location: str, window: Slice
) -> tuple[DashboardAnswer, str]:
    """Ask as a run does; give the answer, and the name that the view was asked by."""
    query = load_feed(feed.name).query(feed, location, window)
    return client.query_dashboard(query), query.loc1


def _listed(silent: Sequence[_Asked]) -> str:
    names = [
        repr(one.location) + (f" (asked as {one.name!r})" if one.name != one.location else "")
        for one in silent
    ]
    return named(names, _NAMED_AT_MOST + 1)


def _silence_advice(feed: FeedSettings, *, all_silent: bool) -> str:
    if feed.location_prefix or feed.location_names or feed.name == "hourly_snapshot":
        prefix = repr(feed.location_prefix) if feed.location_prefix else "none"
        names = (
            "a name that the view does not know looks like this: set MICROSHARE_LOCATION_PREFIX (now "
            f"{prefix}), or the name in feeds.{feed.name}.location_names of config.yaml"
        )
    else:
        names = (
            "a name that the view does not know looks like this: compare it with what Microshare calls the "
            "building"
        )
    if all_silent:
        context = ", ".join(feed.data_context)
        return f"see that {feed.view_id} is the view of this feed, and {context} its data context; {names}"
    return f"{names}; if it is right, look whether the sensors there send"


def _now(client: MicroshareClient) -> datetime:
    return floor_to(client.api_time() or utc_now(), MILLISECOND)
