"""What `init` asks of Microshare, of hubs and of the state store, to try an answer as soon as it is given."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import timedelta

from app.base.budget import Budget
from app.base.errors import ForwarderError, SourceRefused
from app.base.instants import MILLISECOND, floor_to, utc_now
from app.base.text import counted, dashed, named
from app.cli.asking import trying
from app.cli.check_results import CheckResult, CheckResults
from app.cli.check_source import ask_day, of_silence
from app.cli.session import HUB_OPEN_S
from app.eventhub.hub import Hub
from app.feeds.feed import why_not_asked
from app.microshare.auth import TokenCache
from app.microshare.client import MicroshareClient
from app.microshare.discovery import Organisation, shared_identities
from app.network.addresses import run_async
from app.settings.schema import FeedSettings, HubSettings, MicroshareSettings, StateSettings
from app.state.opening import open_store

# A person waits: less patience with one answer than a run has.
_TIMEOUT = timedelta(seconds=15)
_BUDGET = timedelta(seconds=90)
_NAMED_AT_MOST = 6


class Trials:
    """Tries settings and tells what came of it. Each method says whether it was well.

    One login serves all that is asked of Microshare.
    """

    def __init__(self, findings: CheckResults) -> None:
        self._findings = findings
        self._tokens = TokenCache()
        self._places: Sequence[str] = ()

    def login(self, source: MicroshareSettings) -> bool:
        def trial(client: MicroshareClient) -> str:
            client.login()
            return f"{source.username} has a token ({source.auth} login) for {source.api_url}"

        return self._asked("login", source, trial)

    def organisations(
        self, source: MicroshareSettings, cluster_ids: Sequence[str]
    ) -> Sequence[Organisation] | None:
        """Give who owns what is in these clusters; None where that was not to be had."""
        found: list[Organisation] = []

        def trial(client: MicroshareClient) -> str:
            found.extend(client.organisations(cluster_ids))
            if not found:
                raise SourceRefused(
                    f"no cluster with an owner is shown for {named(cluster_ids, _NAMED_AT_MOST)}; "
                    "check the id, and the account's rights"
                )
            clusters = sum(organisation.clusters for organisation in found)
            return f"{counted(clusters, 'device cluster')} of {counted(len(found), 'organisation')}"

        return found if self._asked("clusters", source, trial) else None

    def identity(self, source: MicroshareSettings, cluster_ids: Sequence[str]) -> bool:
        self._places = ()
        warnings: list[str] = []

        def trial(client: MicroshareClient) -> str:
            found = client.discover_locations(cluster_ids)
            owners = {place.owner for place in found.places}
            warnings.extend((*found.warnings, *shared_identities(owners, source.identity)))
            self._places = [place.name for place in found.places]
            devices = sum(place.devices for place in found.places)
            locations = counted(len(self._places), "location")
            return (
                f"{locations} with {counted(devices, 'device')}: "
                f"{named(self._places, _NAMED_AT_MOST) or 'none'}"
            )

        well = self._asked("identity", source, trial)
        for warning in warnings:
            self._findings.warn("identity", warning)
        return well

    def view(self, source: MicroshareSettings, feed: FeedSettings) -> bool:
        """Ask a feed's view for a day of some locations: one that it calls otherwise gives nothing."""
        check = f"view of {dashed(feed.name)}"

        def trial(client: MicroshareClient) -> CheckResult:
            names = [name for name in (*feed.locations, *self._places) if not why_not_asked(name, feed)]
            if not names:
                raise SourceRefused(
                    "not asked, as no location is known; correct the cluster id or the identity"
                )
            end = floor_to(client.api_time() or utc_now(), MILLISECOND)
            asked = [ask_day(client, feed, name, end) for name in names[:_NAMED_AT_MOST]]
            if silent := [one for one in asked if not one.readings]:
                said, do = of_silence(feed, silent, asked=len(asked))
                return CheckResult(check, False, said, do)
            answered = named([repr(one.location) for one in asked], _NAMED_AT_MOST)
            readings = counted(sum(one.readings for one in asked), "reading")
            return CheckResult(check, True, f"answers for {answered}: {readings} of the last day")

        return self._asked(check, source, trial)

    def hub(self, hub: HubSettings) -> bool:
        """Open a link for sending, as a run does; nothing is sent."""

        async def opened() -> int:
            link = Hub(hub)
            try:
                return await link.open(HUB_OPEN_S)
            finally:
                await link.close()

        def trial() -> str:
            return f"{hub.key} can be sent to, messages of up to {run_async(opened()):,} bytes"

        return self._tried(f"hub {hub.name}", trial)

    def state(self, state: StateSettings) -> bool:
        def trial() -> str:
            store = open_store(state)
            store.probe()
            return f"{store.place} can be written"

        return self._tried("state", trial)

    def _asked(
        self, check: str, source: MicroshareSettings, trial: Callable[[MicroshareClient], str | CheckResult]
    ) -> bool:
        source = replace(source, timeout=min(source.timeout, _TIMEOUT))
        client = MicroshareClient(source, Budget(_BUDGET, grace=timedelta(0)), tokens=self._tokens)
        try:
            return self._tried(check, lambda: trial(client))
        finally:
            client.close()

    def _tried(self, check: str, trial: Callable[[], str | CheckResult]) -> bool:
        try:
            with trying(check):
                found = trial()
        except ForwarderError as error:
            self._findings.failed(check, error)
            return False
        finding = found if isinstance(found, CheckResult) else CheckResult(check, True, found)
        self._findings.tell(finding)
        return finding.ok
