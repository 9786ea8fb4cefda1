"""What was fetched goes into the lanes of its group, and what comes back of it is noted."""

from __future__ import annotations

from collections import Counter
from contextlib import suppress
from dataclasses import replace
from datetime import datetime

from app.base.errors import StateDamaged, StateError
from app.base.log import Log
from app.base.readings import QuarantinedReading
from app.eventhub.batches import Counts
from app.eventhub.deliveries import Delivery
from app.feeds.feed import Feed
from app.run.availability import Availability
from app.run.delivery import Refused, dispatch
from app.run.draft import Draft
from app.run.fetching import Fetched
from app.run.ledger import Ledger
from app.run.planning import Group
from app.run.ports import Lanes, Wiring
from app.run.report import Quarantined
from app.settings.schema import FeedSettings


class Handover:
    """Between what is fetched and the lanes of one run. Used from the run's own thread.

    `undelivered` counts the deliveries that each hub's lane still has.
    """

    def __init__(
        self,
        feed: Feed,
        settings: FeedSettings,
        wiring: Wiring,
        ledger: Ledger,
        draft: Draft,
        available: Availability,
        lanes: Lanes,
        log: Log,
    ) -> None:
        self._feed = feed
        self._settings = settings
        self._store = wiring.store
        self._forms = {hub.key: hub.form for hub in wiring.settings.hubs}
        self._now = wiring.now
        self._ledger = ledger
        self._draft = draft
        self._available = available
        self._lanes = lanes
        self._log = log
        self.undelivered: Counter[str] = Counter()

    def hand_over(self, group: Group, fetched: Fetched, horizon: datetime) -> None:
        """Put what was fetched for a group into the lanes of those of its hubs that can be sent to.

        What no hub can take is set aside first: where that fails, nothing of the slice is sent.
        """
        name, available = group.location, self._available
        limits = {hub: available.connected[hub] for hub in group.hubs if available.is_usable(name, hub)}
        if not limits:
            return
        done_until = min(fetched.window.end, horizon)
        at_most = self._ledger.newest_at_most(name, limits)
        todo = dispatch(self._feed, self._settings, group, fetched, done_until, limits, at_most, self._forms)
        if not all(self._quarantine(name, refused) for refused in todo.refused):
            return
        for hub, deliveries in todo.deliveries.items():
            self._ledger.planned(name, hub, todo.ids, fetched.window, done_until, todo.newest)
            for delivery in deliveries:
                self.undelivered[hub] += 1
                self._lanes.put(hub, delivery)

    def delivered(self, hub: str, delivery: Delivery, *, maybe_twice: bool, took_s: float = 0.0) -> None:
        """Note that a hub acknowledged a delivery, after so many seconds."""
        self.undelivered[hub] -= 1
        self._ledger.delivered(hub, delivery, self._now())
        counts = delivery.batch.counts if delivery.batch is not None else Counts(0, 0, 0)
        self._draft.delivered(
            hub,
            events=counts.events,
            readings=counts.readings,
            duplicates=delivery.duplicates,
            maybe_twice=counts.readings if maybe_twice else 0,
            size=counts.body_bytes,
        )
        if delivery.batch is not None:
            self._log.debug(
                "batch.delivered",
                hub=hub,
                location=delivery.location,
                readings=counts.readings,
                bytes=counts.body_bytes,
                ms=round(took_s * 1000),
            )

    def dropped(self, hub: str) -> None:
        """Note that a lane put a delivery away, unsent."""
        self.undelivered[hub] -= 1

    def rejected(self, hub: str, delivery: Delivery, error: str) -> None:
        """Note that a hub did not take a delivery: the location's position stays where it is there."""
        self.undelivered[hub] -= 1
        self._available.refused(delivery.location, hub, error)

    def closed(self, hub: str) -> None:
        """Note that a lane has ended, with whatever was in it."""
        self.undelivered[hub] = 0

    def _quarantine(self, name: str, refused: Refused) -> bool:
        """Set readings aside. False where that failed: no position may move past them then."""
        for item in refused.as_quarantined(self._settings.name, name, self._now()):
            try:
                self._set_aside(item)
            except StateError as error:
                for hub in refused.hubs:
                    self._available.refused(name, hub, f"a reading could not be quarantined: {error}")
                return False
        return True

    def _set_aside(self, item: QuarantinedReading) -> None:
        """Set a reading aside for those of its hubs that quarantine does not have it for already."""
        before = self._in_quarantine(item)
        if had := tuple(hub for hub in item.hubs if hub in before):
            key = before[had[0]]
            self._draft.quarantined_before(Quarantined(item.location, had, item.id, item.reason, key))
        if new := tuple(hub for hub in item.hubs if hub not in before):
            place = self._store.quarantine(self._feed.state_name, replace(item, hubs=new))
            self._draft.quarantined(Quarantined(item.location, new, item.id, item.reason, place))

    def _in_quarantine(self, item: QuarantinedReading) -> dict[str, str]:
        """Give the hubs that quarantine has a reading for, each with the key it is kept under."""
        found: dict[str, str] = {}
        # What cannot be read is as good as not there: the reading is set aside anew, never left out.
        with suppress(StateDamaged):
            for key, kept in self._store.quarantined(self._feed.state_name, item.feed, item.id):
                if kept.location == item.location:
                    found |= dict.fromkeys(kept.hubs, key)
        return found
