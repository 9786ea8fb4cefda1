"""The part of `check` that asks Microshare: login, clock, discovery, views, and the names of locations."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from urllib.parse import urlsplit

from app.base.budget import Budget
from app.base.checkpoints import FeedState
from app.base.clocks import SKEW_TOLERATED, Clocks
from app.base.errors import AuthError, ForwarderError, Interrupted, NoPermission, SourceRefused, WindowTooWide
from app.base.instants import DAY, EPOCH, HOUR, MILLISECOND, MINUTE, floor_to, format_time, utc_now
from app.base.readings import Slice
from app.base.text import counted, dashed, moment, named, said_and_advised, span
from app.cli.check_results import CheckResult, CheckResults
from app.feeds.feed import load_feed, read_answer, why_not_asked
from app.microshare.client import MicroshareClient
from app.microshare.discovery import shared_identities
from app.network.probing import WAY_S, Way, walk
from app.run.refused_logins import RefusedLogins
from app.settings.schema import FeedSettings, MicroshareSettings, Settings
from app.state.store import StateStore

_BUDGET = timedelta(seconds=90)
_BUDGET_FOR_ALL = timedelta(minutes=15)
# The API is shared with people.
_AT_A_TIME = 4
_ASKED_AT_MOST = 20
_NAMED_AT_MOST = 10


@dataclass(frozen=True, slots=True)
class Asked:
    """What asking for a location came to: under which name, and how many readings, or why not."""

    location: str
    name: str
    readings: int = 0
    warnings: Sequence[str] = ()
    error: ForwarderError | None = None


def check_source(
    settings: Settings,
    states: Mapping[str, FeedState],
    findings: CheckResults,
    *,
    all_locations: bool,
    store: StateStore | None = None,
) -> None:
    """Tell of all that is asked of Microshare. `states` are those of the feeds, where they are known.

    A login is tried even where runs wait; in the `store`, one that is accepted ends their waiting.
    """
    budget = Budget(_BUDGET_FOR_ALL if all_locations else _BUDGET, grace=timedelta(0))
    refusals = None if store is None else RefusedLogins(store, at_once=True)
    client = MicroshareClient(settings.microshare, budget, refusals=refusals)
    ways = _ways(settings.microshare)
    try:
        with findings.of("login", ways):
            with ways[0].timed("login"):
                client.login()
            who, where = settings.microshare.username, settings.microshare.api_url
            said = f"{who} has a token ({settings.microshare.auth} login) for {where}"
            findings.tell(CheckResult("login", True, said, ways=ways))
            _SourceCheck(client, findings).everything(settings, states, all_locations=all_locations)
    finally:
        client.close()


def _ways(source: MicroshareSettings) -> Sequence[Way]:
    """Go the ways to where one logs in, and to the API where it is another host."""
    login = source.app_url if source.auth == "web" else source.auth_url
    places = {urlsplit(url).netloc: url for url in (source.api_url, login)}
    return [walk(source.network, url, WAY_S) for url in reversed(places.values())]


class _SourceCheck:
    """Asks Microshare, logged in; what the token was refused is told once, at the end."""

    def __init__(self, client: MicroshareClient, findings: CheckResults) -> None:
        self._client = client
        self._findings = findings
        self._rights_asked: list[str] = []
        self._rights_refused: list[str] = []

    def everything(self, settings: Settings, states: Mapping[str, FeedState], *, all_locations: bool) -> None:
        self._check_clock(settings, states)
        found: dict[tuple[str, ...], Sequence[str]] = {}
        for feed in settings.feeds.values():
            if not feed.view_id:
                continue
            if feed.cluster_ids not in found:
                found[feed.cluster_ids] = self._discover(feed, settings.microshare.identity)
            names = self._fit_to_ask(feed, [*feed.locations, *found[feed.cluster_ids]])
            if self._check_view(feed, names):
                names = _suspects_first(names, feed, states.get(feed.name))
                chosen = names if all_locations else names[:_ASKED_AT_MOST]
                self._check_locations(feed, chosen, len(names))
        self._check_rights(settings.microshare.username)

    def _check_clock(self, settings: Settings, states: Mapping[str, FeedState]) -> None:
        clusters = (feed.cluster_ids for feed in settings.feeds.values() if feed.cluster_ids)
        self._client.learn_time(next(clusters, ()))
        clocks = Clocks(utc_now(), self._client.api_time())
        if clocks.api is None:
            self._findings.warn("clock", clocks.warning() or "")
            return
        seconds = round(clocks.skew.total_seconds(), 1)
        well = not clocks.are_apart and abs(clocks.skew) <= SKEW_TOLERATED
        said, do = _of_skew(seconds, clocks.host, clocks.api, well=well), None
        if clocks.are_apart:
            ended = [found for state in states.values() if (found := state.last_run_ended()) is not None]
            said += "; no run does anything"
            _, do = said_and_advised(clocks.why_apart(max(ended, default=None)))
        elif abs(clocks.skew) > SKEW_TOLERATED:
            do = "set this host's clock right: `timedatectl set-ntp true` keeps it so"
        facts = {"skew_s": seconds, "host": format_time(clocks.host), "api": format_time(clocks.api)}
        self._findings.tell(CheckResult("clock", well, said, do, facts=facts))

    @contextmanager
    def _needing_rights(self, what: str, check: str) -> Iterator[None]:
        """Turn what fails inside into a finding, and remember it where rights are why."""
        self._rights_asked.append(what)
        try:
            yield
        except ForwarderError as error:
            if isinstance(error, AuthError | NoPermission | SourceRefused) and not _is_template_fault(error):
                self._rights_refused.append(what)
            self._findings.failed(check, error)

    def _check_rights(self, username: str) -> None:
        if self._rights_refused:
            self._findings.failed(
                "rights",
                f"the token is refused {', '.join(self._rights_refused)}; where the id is right, have Read, "
                f"Query and Execute on it granted to {username}, and check MICROSHARE_IDENTITY",
            )
        elif self._rights_asked:
            self._findings.well("rights", f"the token may read {', '.join(self._rights_asked)}")

    def _fit_to_ask(self, feed: FeedSettings, names: Sequence[str]) -> list[str]:
        """Give the names that the feed's view is asked for, each once."""
        refused = {name: why for name in names if (why := why_not_asked(name, feed))}
        for why in refused.values():
            self._findings.failed(f"locations of {dashed(feed.name)}", why)
        return [name for name in dict.fromkeys(names) if name not in refused]

    def _discover(self, feed: FeedSettings, identity: Sequence[str]) -> Sequence[str]:
        """Check discovery; give the names of the locations that it finds."""
        if not feed.cluster_ids:
            return ()
        with self._needing_rights("the device clusters", "discovery"):
            found = self._client.discover_locations(feed.cluster_ids)
            owners = sorted({place.owner for place in found.places})
            devices = sum(place.devices for place in found.places)
            self._findings.well(
                "discovery",
                f"{counted(len(found.places), 'location')} with {counted(devices, 'device')}, "
                f"owned by {', '.join(owners) or 'nobody'}",
            )
            shared = shared_identities({place.owner for place in found.places}, identity)
            for warning in (*found.warnings, *shared):
                self._findings.warn("discovery", warning)
            for name in found.collisions:
                said = f"{name!r} is owned by two organisations; set MICROSHARE_IDENTITY to one of them"
                self._findings.failed("discovery", said)
            return [place.name for place in found.places]
        return ()

    def _check_view(self, feed: FeedSettings, names: Sequence[str]) -> bool:
        """Ask a feed's view for a minute of one location. False where it cannot be asked for any."""
        check = f"view of {dashed(feed.name)}"
        if not names:
            todo = "set MICROSHARE_PC_DEVICE_CLUSTER_ID or MICROSHARE_LOCATIONS"
            if feed.cluster_ids:
                todo = "see what discovery gives, and put that right, or set MICROSHARE_LOCATIONS"
            self._findings.failed(check, f"not asked: no location is known; {todo}")
            return False
        with self._needing_rights(f"view {feed.view_id}", check):
            end = self._now()
            asked = _ask(self._client, feed, names[0], Slice(end - MINUTE, end))
            said = f"answers for {names[0]!r}: {counted(asked.readings, 'reading')} in the last minute"
            self._findings.well(check, said)
            for warning in asked.warnings:
                self._findings.warn(check, warning)
            return True
        return False

    def _check_locations(self, feed: FeedSettings, names: Sequence[str], known: int) -> None:
        """Ask for a day of each location: a wrong name is answered with nothing, and with no error."""
        check = f"locations of {dashed(feed.name)}"
        end = self._now() - feed.settle
        with ThreadPoolExecutor(_AT_A_TIME) as workers:
            asked = list(workers.map(lambda name: self._ask_day(feed, name, end), names))
        failed = [one for one in asked if one.error is not None and not isinstance(one.error, Interrupted)]
        for one in failed[:_NAMED_AT_MOST]:
            self._findings.failed(check, str(one.error))
        answered = [one for one in asked if one.error is None]
        silent = [one for one in answered if one.readings == 0]
        more = "" if len(names) == known else "; --all-locations asks for all"
        if silent:
            said, do = of_silence(feed, silent, asked=len(answered))
            facts = {"locations": [one.location for one in silent]}
            self._findings.tell(CheckResult(check, False, said, do + more, facts=facts))
        elif answered:
            whole = len(answered) == known
            of = f"all {known:,}" if whole else f"{len(answered):,} of {known:,} asked for, all"
            self._findings.well(check, f"{of} give readings of the last day{more}", locations=[])
        left = len(names) - len(answered) - len(failed)
        if left:
            self._findings.warn(check, f"{left:,} could not be asked for in time; try later, the API is slow")

    def _ask_day(self, feed: FeedSettings, name: str, end: datetime) -> Asked:
        try:
            return ask_day(self._client, feed, name, end)
        except ForwarderError as error:
            return Asked(name, name, error=error)

    def _now(self) -> datetime:
        return floor_to(self._client.api_time() or utc_now(), MILLISECOND)


def ask_day(client: MicroshareClient, feed: FeedSettings, location: str, end: datetime) -> Asked:
    """Ask for a day of a location, or an hour where a day is too much. Raises ForwarderError."""
    try:
        return _ask(client, feed, location, Slice(end - DAY, end))
    except WindowTooWide:
        return _ask(client, feed, location, Slice(end - HOUR, end))


def _ask(client: MicroshareClient, feed: FeedSettings, location: str, window: Slice) -> Asked:
    """Ask as a run does. Raises ForwarderError."""
    module = load_feed(feed.name)
    query = module.query(feed, location, window)
    answer = client.query_dashboard(query)
    readings = read_answer(module.rec_type, location, answer)
    return Asked(location, query.loc1, len(readings), answer.warnings)


def _of_skew(seconds: float, host: datetime, api: datetime, *, well: bool) -> str:
    apart = f"{abs(seconds):.1f} s" if abs(seconds) < MINUTE.total_seconds() else span(abs(seconds))
    if well:
        return f"{apart} from the API's, {moment(api)}"
    order = "ahead of" if seconds > 0 else "behind"
    return f"{apart} {order} the API's: this host says {moment(host)}, the API {moment(api)}"


def _is_template_fault(error: ForwarderError) -> bool:
    return isinstance(error, SourceRefused) and "refuses its parameters" in str(error)


def _suspects_first(names: Sequence[str], feed: FeedSettings, state: FeedState | None) -> list[str]:
    """Put first what is named by hand, then what never gave a reading, then what is silent for longest."""

    def suspicion(name: str) -> tuple[bool, datetime, str]:
        known = state.locations.get(name) if state else None
        return name not in feed.locations, (known and known.newest) or EPOCH, name

    return sorted(names, key=suspicion)


def of_silence(feed: FeedSettings, silent: Sequence[Asked], *, asked: int) -> tuple[str, str]:
    """Say which locations give nothing of the last day, of so many that were asked for, and what to do."""
    names = [
        repr(one.location) + (f" (asked as {one.name!r})" if one.name != one.location else "")
        for one in silent
    ]
    count = f"{len(silent):,} of {counted(asked, 'location')}"
    said = f"{count} asked for give nothing of the last day: {named(names, _NAMED_AT_MOST + 1)}"
    return said, _silence_advice(feed, all_silent=len(silent) == asked)


def _silence_advice(feed: FeedSettings, *, all_silent: bool) -> str:
    prefix = repr(feed.location_prefix) if feed.location_prefix else "none"
    names = (
        "compare the name with what the view calls the building: one that the view does not know looks like "
        f"this; where it differs, set location_prefix (now {prefix}) or location_names of feeds.{feed.name}"
    )
    if all_silent:
        context = ", ".join(feed.data_context)
        return f"see that {feed.view_id} is the view of this feed, and {context} its data context; {names}"
    return f"{names}; if it is right, look whether the sensors there send"
