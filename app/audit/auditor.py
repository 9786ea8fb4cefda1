"""An audit carried out: the source and the hubs are asked for a window, and what they give is compared.

`compared_feeds` gives a `ComparedFeed` at a time: its `audits` are the results, a `HubAudit` (see
`app.audit.findings`) for each hub, and what lies under them is for whoever is to repair what is missing.
Nothing is written but a private temporary file, and no lock is taken.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from functools import partial

from app.audit.causes import Promised, promised
from app.audit.comparing import Counts, compare
from app.audit.comparison_file import ComparisonFile
from app.audit.findings import Failing, HubAudit
from app.audit.hub_contents import HubContents, read_hub
from app.audit.source_contents import SourceContents
from app.audit.summary import NamedReading, Summary, named_readings, summarised
from app.base.budget import GRACE, Budget
from app.base.checkpoints import LocationState
from app.base.errors import ForwarderError, HubUnreachable, StateDamaged
from app.base.instants import format_time
from app.base.readings import Slice
from app.base.text import dashed
from app.feeds.feed import load_feed
from app.microshare.client import MicroshareClient
from app.run.due_runs import expected_position
from app.run.horizon import agreed_clocks
from app.run.hub_events import names_on_the_wire
from app.run.locations import find_locations
from app.run.planning import Limits
from app.run.ports import Wiring
from app.settings.schema import HubSettings, Settings
from app.state.store import MendableStore

# An audit takes the time it takes; each request has a limit of its own.
UNHURRIED = timedelta(days=7)

# What is being done, how much of it is done, and of how much.
Tell = Callable[[str, float, float], None]


def untold(_doing: str, _done: float, _whole: float) -> None:
    """Tell nobody."""


@dataclass(frozen=True, slots=True)
class Asked:
    """A feed to be audited: the window, cut to the horizon, and locations; none: all that are forwarded."""

    feed: str
    window: Slice
    locations: tuple[str, ...] = ()


class UnknownLocation(ForwarderError):
    """No feed forwards a location of that name. `known` lists those there are."""

    def __init__(self, name: str, known: Collection[str]) -> None:
        super().__init__(f"{name!r} is not one of the locations")
        self.name = name
        self.known = sorted(known)


def compared_feeds(
    asked: Sequence[Asked],
    hubs: Sequence[HubSettings],
    wiring: Wiring,
    *,
    consumer_group: str = "$Default",
    progress: Tell = untold,
) -> Iterator[ComparedFeed]:
    """Compare feeds with hubs, reading by reading; give each, to be used before the next is asked for.

    1. Load the states, and find the horizon and the locations.
    2. Read every hub, once for all feeds.
    3. Ask the source, a feed at a time, slice by slice.
    4. Compare, a hub at a time.

    The order matters while runs go on: what is published or delivered meanwhile is at the source
    when the hub lacks it, and the state from before says then that a run is going to bring it.

    A hub or a location that cannot be asked is named in its result, and the others are compared.
    `progress` is told what is being done, how much of it is done, and of how much. Raises SourceError
    where the source can be asked for nothing, StateError where the state cannot be read,
    UnknownLocation, and ForwarderError for a window that is yet to come, all before the first result.
    """
    at_once = wiring.settings.run.concurrency
    client = wiring.make_client(Budget(UNHURRIED))
    with ExitStack() as stack:
        stack.callback(client.close)
        client.login()
        feeds = [ComparedFeed(one, hubs, wiring, client) for one in asked]
        _check_names(asked, feeds)
        for feed in feeds:
            stack.enter_context(feed.file)
        for hub in hubs:
            contents = [feed.contents[hub.key] for feed in feeds]
            read_hub(hub, consumer_group, contents, partial(progress, f"reading hub {hub.name}"))
        workers = wiring.make_workers(at_once)
        stack.callback(workers.shutdown, wait=False, cancel_futures=True)
        for feed in feeds:
            doing = f"asking the source for {dashed(feed.settings.name)}"
            feed.source.ask(feed.locations, workers, at_once, partial(progress, doing))
            feed.compare_with_hubs()
            yield feed


class ComparedFeed:
    """One feed under audit: what it was asked for, both sides, and what was found, a hub at a time."""

    def __init__(
        self, asked: Asked, hubs: Sequence[HubSettings], wiring: Wiring, client: MicroshareClient
    ) -> None:
        self.settings = wiring.settings.feeds[asked.feed]
        self.feed = load_feed(asked.feed)
        self.hubs = hubs
        self._limits = Limits.of(self.settings)
        self._warnings: list[str] = []
        # From before hubs and source are asked: what comes meanwhile is a coming run's.
        self.state = wiring.store.load(self.feed.state_name)
        self._quarantined = self._load_quarantine(wiring.store)
        clocks = agreed_clocks(client, self.settings.cluster_ids, wiring.now, self.state.last_run_ended())
        self._horizon = clocks.horizon(self.settings.settle)
        # As `status` judges it; positions stop short of the clock by `settle`.
        settle, longest_run = self.settings.settle, wiring.settings.run.budget + GRACE
        due = expected_position(self.settings.schedule, self._horizon + settle, longest_run)
        self._expected = due and due - settle
        window = replace(asked.window, end=min(asked.window.end, self._horizon))
        if window.start >= window.end:
            raise ForwarderError(
                f"audit: the window begins at {format_time(window.start)}, and by the earlier of this "
                f"host's clock and the API's it is {format_time(self._horizon)}; choose an earlier --from"
            )
        self._window = window
        start = wiring.settings.run.start_from
        self._start = start if isinstance(start, datetime) else self._horizon - start
        forwarded, self.known = self._find_locations(client, wiring.settings)
        named = [name for name in asked.locations if name in self.known]
        self.locations: Sequence[str] = sorted(named if asked.locations else forwarded)
        self.file = ComparisonFile(sorted({*self.locations, ""}), [hub.key for hub in hubs])
        self.source = SourceContents(self.feed, self.settings, client, window, self._limits, self.file)
        # An event that says of itself nothing of its location is told under no name.
        name_of = names_on_the_wire(self.locations) | {None: ""}
        of_feed = self.feed, window, name_of, self.settings.late == "hour", self.file
        self.contents = {hub.key: HubContents(hub.key, *of_feed) for hub in hubs}
        self._counts: dict[str, Counts] = {}
        self._stuck: dict[str, dict[str, Failing]] = {}

    def summary(self, *, examples: int = 0) -> Summary:
        """Count by cause what was found at the hubs that could be read, as it is now; name some of each."""
        return summarised(self.file.by_reading(), examples=examples)

    def readings(self, cause: str) -> Iterator[NamedReading]:
        """Give the readings that `summary` counts under a cause, by location and time."""
        found = (reading for reading, _ in named_readings(self.file.by_reading()))
        return (reading for reading in found if reading.cause == cause)

    def audits(self) -> Iterator[HubAudit]:
        """Give the result for each hub, as it is now."""
        return (self._audit(hub.key) for hub in self.hubs)

    def repaired(self, hub: str, location: str, sent: Collection[tuple[datetime, str]]) -> None:
        """Note that missing readings, told by time and id, have been sent."""
        self.file.repaired(hub, location, sent)
        self._counts[hub].repaired += len(sent)

    @property
    def compared_hubs(self) -> list[HubSettings]:
        """The hubs that could be read."""
        return [hub for hub in self.hubs if hub.key in self._counts]

    def compare_with_hubs(self) -> None:
        """Compare what is published with each hub that could be read."""
        for hub, contents in self.contents.items():
            if contents.failed is None:
                self._counts[hub] = self._compared_with(hub)

    def _find_locations(self, client: MicroshareClient, settings: Settings) -> tuple[set[str], set[str]]:
        """Find what runs ask for, and what they did ask for in the window; give all names there are too."""
        found = find_locations(client, self.state, settings, self.settings, self._horizon)
        self._warnings += (*found.warnings, *(text for _, text in found.failures))
        earlier = {
            name
            for name, location in self.state.locations.items()
            if any(known.delivered_until > self._window.start for known in location.checkpoints.values())
        }
        return ({*found.names} | earlier) - found.refused, {
            *found.names,
            *self.state.locations,
        } - found.refused

    def _load_quarantine(self, store: MendableStore) -> dict[tuple[str, str], set[str]]:
        """Give the ids in quarantine by hub and location."""
        quarantined: dict[tuple[str, str], set[str]] = {}
        try:
            for _, item in store.quarantined(self.feed.state_name, self.settings.name):
                for hub in item.hubs:
                    quarantined.setdefault((hub, item.location), set()).add(item.id)
        except StateDamaged as error:
            self._warnings.append(str(error))
        return quarantined

    def _compared_with(self, hub: str) -> Counts:
        """Put every reading under its heading; what is to be named goes into the file."""
        counts, failures = Counts(), self.source.failures
        promises: dict[str, Promised] = {}
        stuck = self._stuck.setdefault(hub, {})
        published = (found for found in self.file.published() if found.location not in failures)
        held = (found for found in self.file.held(hub) if found.location not in failures)
        for finding in compare(published, held):
            location = finding.location
            if finding.heading == "missing":
                if location not in promises:
                    promises[location] = self._promised(location, hub)
                flawed = self.source.is_flawed(location, finding.id)
                finding = promises[location].explained(finding, flawed=flawed)
                failing = promises[location].failing
                if finding.stuck and failing is not None:
                    stuck[location] = failing
            elif finding.heading == "unknown" and self.source.is_saturated(location, finding.time):
                continue
            counts.add(finding)
            if finding.heading not in ("delivered", "superseded"):
                self.file.find(hub, finding)
        counts.close()
        return counts

    def _promised(self, location: str, hub: str) -> Promised:
        return promised(
            self.state.locations.get(location, LocationState()),
            hub,
            start=self._start,
            expected=self._expected,
            limits=self._limits,
            quarantined=self._quarantined.get((hub, location), frozenset()),
            expired=self.contents[hub].expired(location),
        )

    def _audit(self, hub: str) -> HubAudit:
        contents = self.contents[hub]
        audit = HubAudit(
            self.settings.name,
            hub,
            self._window,
            locations=len(self.locations),
            failures=self.source.failures,
            warnings=(*self._warnings, *self.source.warnings, *contents.warnings),
            error=self._unread(contents),
        )
        counts = self._counts.get(hub)
        if counts is None:
            return audit
        told, seen = counts.headings, {hour.location for hour in counts.hours}
        published = told["delivered"] + told["missing"] + told["changed"]
        return replace(
            audit,
            published=published,
            delivered=told["delivered"],
            missing=self.file.findings(hub, "missing"),
            repeated=self.file.findings(hub, "repeated"),
            changed=self.file.findings(hub, "changed"),
            unknown=self.file.findings(hub, "unknown"),
            wrong=counts.wrong,
            repaired=counts.repaired,
            superseded=told["superseded"],
            foreign=contents.foreign,
            readable_from=contents.readable_from,
            hours=counts.hours,
            delays=counts.delays,
            max_delay_s=counts.max_delay_s,
            causes=dict(counts.causes),
            to_come=dict(counts.to_come),
            stuck=self._stuck[hub],
            compared=published + told["unknown"],
            without_readings=[
                name for name in self.locations if name not in seen and name not in self.source.failures
            ],
        )

    def _unread(self, contents: HubContents) -> str | None:
        """Give why a hub could not be read; what to do depends on whether another one could be."""
        error = contents.failed
        if isinstance(error, HubUnreachable) and any(
            other.failed is None for other in self.contents.values()
        ):
            error = error.where_others_are_reached()
        return None if error is None else str(error)


def _check_names(asked: Sequence[Asked], feeds: Sequence[ComparedFeed]) -> None:
    known = {name for feed in feeds for name in feed.known}
    for name in (name for one in asked for name in one.locations):
        if name not in known:
            raise UnknownLocation(name, known)
